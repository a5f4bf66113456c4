/* SipHash-1-3 with a 128-bit result (Aumasson, Bernstein: "SipHash: a fast short-input PRF"), and the table keyed by it. */
#include "pgshunt/base.h"

#include <stdlib.h>

static struct {
	uint64_t k0, k1;
} hash_key;

void hash_key_init(void)
{
	random_bytes(&hash_key, sizeof(hash_key));
}

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define SIP_ROUND() \
	do { \
		v0 += v1; v1 = ROTL(v1, 13); v1 ^= v0; v0 = ROTL(v0, 32); \
		v2 += v3; v3 = ROTL(v3, 16); v3 ^= v2; \
		v0 += v3; v3 = ROTL(v3, 21); v3 ^= v0; \
		v2 += v1; v1 = ROTL(v1, 17); v1 ^= v2; v2 = ROTL(v2, 32); \
	} while (0)

struct hash128 hash_bytes(const void *data, size_t len)
{
	uint64_t v0 = hash_key.k0 ^ 0x736f6d6570736575ull, v1 = hash_key.k1 ^ 0x646f72616e646f6dull ^ 0xee;
	uint64_t v2 = hash_key.k0 ^ 0x6c7967656e657261ull, v3 = hash_key.k1 ^ 0x7465646279746573ull;
	const uint8_t *at = data, *words_end = at + (len & ~(size_t)7);
	uint64_t word, last = (uint64_t)len << 56;
	struct hash128 out;

	for (; at < words_end; at += 8) {
		memcpy(&word, at, 8);
		v3 ^= word;
		SIP_ROUND();
		v0 ^= word;
	}
	for (size_t i = 0; i < (len & 7); i++)
		last |= (uint64_t)at[i] << (8 * i);
	v3 ^= last;
	SIP_ROUND();
	v0 ^= last;
	v2 ^= 0xee;
	SIP_ROUND();
	SIP_ROUND();
	SIP_ROUND();
	out.lo = v0 ^ v1 ^ v2 ^ v3;
	v1 ^= 0xdd;
	SIP_ROUND();
	SIP_ROUND();
	SIP_ROUND();
	out.hi = v0 ^ v1 ^ v2 ^ v3;
	return out;
}

/* ---- map: linear probing; a slot is free (value NULL, not dead), dead, or holds an entry ---- */

struct map_slot {
	struct hash128 key;
	void *value;
	bool is_dead;
};

static struct map_slot *map_find(const struct map *map, struct hash128 key)
{
	if (map->cap == 0)
		return NULL;
	for (size_t i = key.lo & (map->cap - 1);; i = (i + 1) & (map->cap - 1)) {
		struct map_slot *slot = &map->slots[i];
		if (!slot->value && !slot->is_dead)
			return NULL;
		if (slot->value && hash128_equal(slot->key, key))
			return slot;
	}
}

void *map_get(const struct map *map, struct hash128 key)
{
	struct map_slot *slot = map_find(map, key);

	return slot ? slot->value : NULL;
}

static void map_add(struct map *map, struct hash128 key, void *value)
{
	size_t i = key.lo & (map->cap - 1);

	while (map->slots[i].value)
		i = (i + 1) & (map->cap - 1);
	if (map->slots[i].is_dead)
		map->dead--;
	map->slots[i] = (struct map_slot){ key, value, false };
	map->used++;
}

static void map_rebuild(struct map *map)
{
	struct map_slot *old = map->slots;
	size_t old_cap = map->cap, cap = 16;

	while (cap < (map->used + 1) * 2)
		cap *= 2;
	*map = (struct map){ mem_alloc(cap * sizeof(*map->slots)), cap, 0, 0 };
	for (size_t i = 0; i < old_cap; i++)
		if (old[i].value)
			map_add(map, old[i].key, old[i].value);
	mem_free(old);
}

void *map_put(struct map *map, struct hash128 key, void *value)
{
	struct map_slot *slot = map_find(map, key);
	void *before = NULL;

	ENSURE(value != NULL);
	if (slot) {
		before = slot->value;
		slot->value = value;
		return before;
	}
	if ((map->used + map->dead + 1) * 4 > map->cap * 3)
		map_rebuild(map);
	map_add(map, key, value);
	return NULL;
}

void *map_remove(struct map *map, struct hash128 key)
{
	struct map_slot *slot = map_find(map, key);
	void *value;

	if (!slot)
		return NULL;
	value = slot->value;
	slot->value = NULL;
	slot->is_dead = true;
	map->used--;
	map->dead++;
	return value;
}

void map_free(struct map *map)
{
	mem_free(map->slots);
	*map = (struct map){ NULL, 0, 0, 0 };
}

void *map_next(const struct map *map, size_t *it)
{
	while (*it < map->cap) {
		void *value = map->slots[(*it)++].value;
		if (value)
			return value;
	}
	return NULL;
}
