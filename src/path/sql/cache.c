/* Verdicts by shape, bounded in bytes; what hasn't been asked for since the hand came by last goes first (CLOCK).
 *
 * The shape's hash is under a secret key and strong, since it alone identifies the text: that takes its time. Shapes asked for lately are
 * found without it, by a cheap hash and a comparison of the whole normalized text. */
#include "shape.h"
#include "verdict.h"

#define LATELY_BITS 9
#define LATELY_TEXT_MAX 1024u

struct entry {
	struct list order;
	struct hash128 key;
	struct verdict *verdict;
	bool was_used;
	uint16_t place;                 /* in lately, while it stands there */
	uint32_t text_len;              /* 0: too long to be kept */
	uint8_t text[];                 /* normalized */
};

struct sql_cache {
	struct sql_options options;
	struct map by_shape;
	struct list order;              /* the hand is at the front, new entries come to the back */
	struct entry *lately[1 << LATELY_BITS];
	struct buf room;                /* for shape_in(), kept from text to text */
	struct sql_cache_counters counters;
};

/* What an entry costs besides its verdict: itself, and its share of a table that is half full. */
#define ENTRY_BYTES (sizeof(struct entry) + 2 * 40)

struct sql_cache *sql_cache_new(const struct sql_options *options)
{
	struct sql_cache *cache = mem_alloc(sizeof(*cache));

	cache->options = *options;
	list_init(&cache->order);
	return cache;
}

static size_t entry_bytes(size_t text_len, const struct verdict *v)
{
	return ENTRY_BYTES + text_len + v->bytes;
}

static void drop(struct sql_cache *cache, struct entry *e)
{
	list_remove(&e->order);
	map_remove(&cache->by_shape, e->key);
	if (cache->lately[e->place] == e)
		cache->lately[e->place] = NULL;
	cache->counters.bytes -= entry_bytes(e->text_len, e->verdict);
	cache->counters.entries--;
	verdict_unref(&e->verdict);
	mem_free(e);
}

void sql_cache_free(struct sql_cache **cache)
{
	struct sql_cache *c = *cache;

	*cache = NULL;
	if (!c)
		return;
	LIST_EACH_SAFE(pos, &c->order)
		drop(c, LIST_ITEM(pos, struct entry, order));
	map_free(&c->by_shape);
	buf_free(&c->room);
	mem_free(c);
}

/* Makes room for so many bytes more; those used since the hand's last visit are passed over once. */
static void make_room(struct sql_cache *cache, size_t bytes)
{
	while (!list_is_empty(&cache->order) && cache->counters.bytes + bytes > cache->options.cache_max_bytes) {
		struct entry *e = LIST_ITEM(cache->order.next, struct entry, order);
		if (e->was_used) {
			e->was_used = false;
			list_remove(&e->order);
			list_push(&cache->order, &e->order);
		} else {
			drop(cache, e);
			cache->counters.evictions++;
		}
	}
}

void sql_cache_configure(struct sql_cache *cache, const struct sql_options *options)
{
	cache->options = *options;
	make_room(cache, 0);
}

/* Takes its own reference. A verdict larger than the cache isn't kept. */
static void keep(struct sql_cache *cache, struct verdict *v, struct span normalized)
{
	size_t text_len = normalized.len <= LATELY_TEXT_MAX ? normalized.len : 0, bytes = entry_bytes(text_len, v);
	struct entry *e;

	if (bytes > cache->options.cache_max_bytes)
		return;
	make_room(cache, bytes);
	e = mem_alloc(sizeof(*e) + text_len);
	e->key = v->shape;
	e->verdict = verdict_ref(v);
	e->text_len = (uint32_t)text_len;
	if (text_len)
		memcpy(e->text, normalized.data, text_len);
	list_push(&cache->order, &e->order);
	map_put(&cache->by_shape, e->key, e);
	cache->counters.bytes += bytes;
	cache->counters.entries++;
}

static struct verdict *parse(struct sql_cache *cache, struct span text, struct span normalized, struct hash128 shape)
{
	struct verdict *v = verdict_parse(text, shape, cache->options.nesting_max);

	cache->counters.misses++;
	cache->counters.parses++;
	keep(cache, v, normalized);
	return v;
}

/* ---- looking up ---- */

/* Good enough to spread the shapes of one application; whoever makes them meet gets the slower look-up. */
static inline uint16_t place_of(struct span text)
{
	const char *at = text.data, *last = text.data + text.len - 8;
	uint64_t hash = text.len, word;

	if (text.len < 8)
		return (uint16_t)text.len;
	for (; at < last; at += 8) {
		memcpy(&word, at, 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 32;
	}
	memcpy(&word, last, 8);
	return (uint16_t)((hash ^ word) * 0x9e3779b97f4a7c15ull >> (64 - LATELY_BITS));
}

static inline bool has_text(const struct entry *e, struct span text)
{
	return e && e->text_len == text.len && memcmp(e->text, text.data, text.len) == 0;
}

static struct entry *find(struct sql_cache *cache, struct span normalized, uint16_t place, struct hash128 *shape)
{
	struct entry *e;

	*shape = hash_bytes(normalized.data, normalized.len);
	e = map_get(&cache->by_shape, *shape);
	if (e && e->text_len) {
		e->place = place;
		cache->lately[place] = e;
	}
	return e;
}

struct verdict *sql_verdict(struct sql_cache *cache, struct span text, struct sql_mode mode)
{
	struct span normalized;
	struct hash128 shape;
	struct entry *e;
	uint16_t place;

	if (!shape_is_readable(text, mode))
		return verdict_of_words(text, shape_of_whole(text), SQL_R_UNPARSED, false);
	if (text.len > cache->options.parse_max_bytes)
		return verdict_of_words(text, shape_of_whole(text), SQL_R_TOO_LONG, true);
	normalized = shape_in(&cache->room, text);
	place = place_of(normalized);
	e = cache->lately[place];
	if (!has_text(e, normalized))
		e = find(cache, normalized, place, &shape);
	if (!e)
		return parse(cache, text, normalized, shape);
	e->was_used = true;
	cache->counters.hits++;
	return verdict_ref(e->verdict);
}

struct sql_cache_counters sql_cache_read(const struct sql_cache *cache)
{
	return cache->counters;
}

void sql_learn_refused(struct sql_cache *cache, const struct verdict *v, const char *sqlstate)
{
	struct entry *e = map_get(&cache->by_shape, v->shape);
	struct verdict *learned = verdict_refused(v, sqlstate);

	if (e)
		drop(cache, e);
	keep(cache, learned, (struct span){ NULL, 0 });         /* found by its hash: it goes to the primary anyway */
	verdict_unref(&learned);
}
