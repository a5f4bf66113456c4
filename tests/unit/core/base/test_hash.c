#include "test.h"

/* A sequence that is the same in every run. */
static uint64_t next_number(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

TEST(hash, depends_on_every_byte_and_on_the_length)
{
	enum { MAX = 40 };
	uint8_t bytes[MAX] = { 0 };
	struct hash128 seen[MAX + 1 + MAX * 8];
	size_t count = 0;

	for (size_t len = 0; len <= MAX; len++)
		seen[count++] = hash_bytes(bytes, len);
	for (size_t bit = 0; bit < MAX * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		seen[count++] = hash_bytes(bytes, MAX);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			CHECK(seen[i].lo != seen[j].lo && seen[i].hi != seen[j].hi);
	CHECK(hash128_equal(hash_bytes(bytes, MAX), seen[MAX]));
}

TEST(hash, does_not_care_about_alignment)
{
	uint8_t bytes[64];
	struct hash128 want;

	memcpy(bytes, "the quick brown fox jumps", 25);
	want = hash_bytes(bytes, 25);
	for (size_t shift = 1; shift < 16; shift++) {
		memmove(bytes + shift, bytes + shift - 1, 25);
		CHECK(hash128_equal(hash_bytes(bytes + shift, 25), want));
	}
}

TEST(hash, flips_half_the_bits)
{
	uint8_t bytes[16] = { 0 };
	struct hash128 base = hash_bytes(bytes, sizeof(bytes));
	int flipped = 0;

	for (size_t bit = 0; bit < 128; bit++) {
		struct hash128 h;
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		h = hash_bytes(bytes, sizeof(bytes));
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		flipped += __builtin_popcountll(h.lo ^ base.lo) + __builtin_popcountll(h.hi ^ base.hi);
	}
	CHECK(flipped > 128 * 58 && flipped < 128 * 70);
}

/* ---- map against an array ---- */

static struct hash128 key_of(uint64_t n, bool collide)
{
	return (struct hash128){ collide ? n % 7 : n * 0x9e3779b97f4a7c15ull, n };
}

static size_t count_entries(const struct map *map, void *values[], size_t max)
{
	size_t it = 0, count = 0;
	void *value;

	while ((value = map_next(map, &it))) {
		size_t n = (size_t)((void **)value - values);
		CHECK(n < max && values[n] == value);
		count++;
	}
	return count;
}

static void compare_with_array(bool collide)
{
	enum { KEYS = 500 };
	static void *slots[KEYS];               /* the value of key n is &slots[n]; slots[n] is that too while it is in the map */
	struct map map = { 0 };
	uint64_t state = 88172645463325252ull;
	size_t used = 0;

	memset(slots, 0, sizeof(slots));
	for (int step = 0; step < 100000; step++) {
		uint64_t r = next_number(&state);
		size_t n = r % KEYS;
		struct hash128 key = key_of(n, collide);
		CHECK(map_get(&map, key) == slots[n]);
		if (r >> 32 & 1) {
			CHECK(map_put(&map, key, &slots[n]) == slots[n]);
			used += !slots[n];
			slots[n] = &slots[n];
		} else {
			CHECK(map_remove(&map, key) == slots[n]);
			used -= slots[n] != NULL;
			slots[n] = NULL;
		}
		CHECK_INT(map.used, used);
		if (step % 5000 == 0)
			CHECK_INT(count_entries(&map, slots, KEYS), used);
	}
	CHECK(map.cap <= 4096);                 /* the dead are swept out */
	map_free(&map);
	CHECK(!map_get(&map, key_of(1, collide)));
}

TEST(map, agrees_with_an_array)
{
	compare_with_array(false);
}

TEST(map, agrees_with_an_array_when_keys_meet)
{
	compare_with_array(true);
}

TEST(map, entries_may_be_removed_while_walking)
{
	static int values[1000];
	struct map map = { 0 };
	size_t it = 0, seen = 0;
	int *value;

	for (size_t n = 0; n < 1000; n++)
		map_put(&map, key_of(n, false), &values[n]);
	while ((value = map_next(&map, &it))) {
		seen++;
		CHECK(map_remove(&map, key_of((uint64_t)(value - values), false)) == value);
	}
	CHECK_INT(seen, 1000);
	CHECK_INT(map.used, 0);
	map_free(&map);
}

TEST(map, empty)
{
	struct map map = { 0 };
	size_t it = 0;

	CHECK(!map_get(&map, key_of(1, false)));
	CHECK(!map_remove(&map, key_of(1, false)));
	CHECK(!map_next(&map, &it));
	map_free(&map);
}
