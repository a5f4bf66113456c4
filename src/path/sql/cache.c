/* Verdicts by shape, bounded in bytes; what hasn't been asked for since the hand came by last goes first (CLOCK). */
#include "shape.h"
#include "verdict.h"

struct entry {
	struct list order;
	struct hash128 key;
	struct verdict *verdict;
	bool was_used;
};

struct sql_cache {
	struct sql_options options;
	struct map by_shape;
	struct list order;              /* the hand is at the front, new entries come to the back */
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

static void drop(struct sql_cache *cache, struct entry *e)
{
	list_remove(&e->order);
	map_remove(&cache->by_shape, e->key);
	cache->counters.bytes -= ENTRY_BYTES + e->verdict->bytes;
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
static void keep(struct sql_cache *cache, struct verdict *v)
{
	size_t bytes = ENTRY_BYTES + v->bytes;
	struct entry *e;

	if (bytes > cache->options.cache_max_bytes)
		return;
	make_room(cache, bytes);
	e = mem_alloc(sizeof(*e));
	e->key = v->shape;
	e->verdict = verdict_ref(v);
	list_push(&cache->order, &e->order);
	map_put(&cache->by_shape, e->key, e);
	cache->counters.bytes += bytes;
	cache->counters.entries++;
}

static struct verdict *parse(struct sql_cache *cache, struct span text, struct hash128 shape)
{
	struct verdict *v = verdict_parse(text, shape, cache->options.nesting_max);

	cache->counters.misses++;
	cache->counters.parses++;
	keep(cache, v);
	return v;
}

struct verdict *sql_verdict(struct sql_cache *cache, struct span text, struct sql_mode mode)
{
	struct span normalized;
	struct hash128 shape;
	struct entry *e;

	if (!shape_is_readable(text, mode))
		return verdict_of_words(text, shape_of_whole(text), SQL_R_UNPARSED, false);
	if (text.len > cache->options.parse_max_bytes)
		return verdict_of_words(text, shape_of_whole(text), SQL_R_TOO_LONG, true);
	normalized = shape_in(&cache->room, text);
	shape = hash_bytes(normalized.data, normalized.len);
	e = map_get(&cache->by_shape, shape);
	if (!e)
		return parse(cache, text, shape);
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
	keep(cache, learned);
	verdict_unref(&learned);
}
