/* base.h - what every module stands on: errors as values, byte buffers, cursors, lists, hashes, log, time.
 *
 * Knows nothing of PostgreSQL or of threads. Nothing here locks: an object belongs to the thread that made it,
 * except the log, which any thread may write (one write(2) a line). */
#ifndef PGSHUNT_BASE_H
#define PGSHUNT_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define COLD __attribute__((cold))      /* rarely called: what leads to it is kept out of the way of the rest */
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* ---- memory: small fixed-size allocations abort when they fail; what a peer sizes is bounded by the caller ---- */

void *mem_alloc(size_t len);                   /* zeroed; never NULL */
void *mem_realloc(void *ptr, size_t len);      /* never NULL for len > 0 */
char *mem_strdup(const char *text);            /* NULL stays NULL */
char *mem_strndup(const char *text, size_t len);
void mem_free(void *ptr);                      /* accepts NULL */
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Bytes that held a secret are overwritten before they are freed. */
void mem_wipe(void *ptr, size_t len);

/* A pool of blocks of one size, for one thread: freed blocks are kept (at most keep of them) for the next taker. */
struct mem_pool;
struct mem_pool *mem_pool_new(size_t block_bytes, size_t keep);
void mem_pool_free(struct mem_pool **pool);    /* all blocks must have come back */
void *mem_pool_take(struct mem_pool *pool);    /* not zeroed */
void mem_pool_give(struct mem_pool *pool, void *block);

/* ---- error value: becomes the client's ErrorResponse, the log line and the counter ---- */

struct err {
	char sqlstate[6];       /* "" = no error */
	char text[384];         /* primary message, without the "pgshunt: " prefix */
	char hint[256];         /* what to do; "" = none */
};

static inline bool err_is_set(const struct err *err)
{
	return err->sqlstate[0] != '\0';
}
static inline void err_clear(struct err *err)
{
	err->sqlstate[0] = err->text[0] = err->hint[0] = '\0';
}
/* Both return false, so that a function can `return err_set(err, ...)`. err may be NULL (nothing is kept). */
bool err_set(struct err *err, const char *sqlstate, const char *fmt, ...) PRINTF_LIKE(3, 4) COLD;
bool err_hint(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3) COLD;

/* ---- growable bytes ---- */

struct buf {
	uint8_t *data;
	size_t len;             /* bytes in use */
	size_t cap;
};

void buf_grow(struct buf *buf, size_t more) COLD;      /* by more than there is room for */
/* Room for more bytes beyond len. */
static inline void buf_reserve(struct buf *buf, size_t more)
{
	if (more > buf->cap - buf->len)
		buf_grow(buf, more);
}
static inline void buf_add(struct buf *buf, const void *data, size_t len)
{
	if (len == 0)
		return;
	buf_reserve(buf, len);
	memcpy(buf->data + buf->len, data, len);
	buf->len += len;
}
static inline void buf_add_u8(struct buf *buf, uint8_t value)
{
	buf_add(buf, &value, sizeof(value));
}
/* Integers in network byte order. */
static inline void buf_add_u16(struct buf *buf, uint16_t value)
{
	uint16_t net = __builtin_bswap16(value);

	buf_add(buf, &net, sizeof(net));
}
static inline void buf_add_u32(struct buf *buf, uint32_t value)
{
	uint32_t net = __builtin_bswap32(value);

	buf_add(buf, &net, sizeof(net));
}
void buf_add_u64(struct buf *buf, uint64_t value);
void buf_add_str(struct buf *buf, const char *text);   /* without the NUL */
void buf_add_cstr(struct buf *buf, const char *text);  /* with the NUL */
void buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_consume(struct buf *buf, size_t len);         /* drops len bytes at the front (moves the rest) */
const char *buf_cstr(struct buf *buf);                 /* NUL-terminated view, valid until the next change */
void buf_free(struct buf *buf);                        /* the struct itself may be used again */

/* ---- cursor: a straight list of reads and one check at the end ---- */

struct cursor {
	const uint8_t *at;
	const uint8_t *end;
	bool short_read;        /* set by the first read past the end; later reads return 0 / NULL */
};

static inline struct cursor cursor_of(const void *data, size_t len)
{
	const uint8_t *at = data ? (const uint8_t *)data : (const uint8_t *)"";        /* NULL, 0 is a window too */

	return (struct cursor){ at, data ? at + len : at, false };
}
static inline size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->at);
}
static inline const uint8_t *cursor_bytes(struct cursor *c, size_t len)
{
	const uint8_t *at = c->at;

	if (c->short_read || cursor_left(c) < len) {
		c->short_read = true;
		return NULL;
	}
	c->at += len;
	return at;
}
static inline uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *at = cursor_bytes(c, 1);

	return at ? *at : 0;
}
static inline uint16_t cursor_u16(struct cursor *c)
{
	const uint8_t *at = cursor_bytes(c, 2);

	return at ? (uint16_t)(at[0] << 8 | at[1]) : 0;
}
static inline uint32_t cursor_u32(struct cursor *c)
{
	const uint8_t *at = cursor_bytes(c, 4);

	return at ? (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3] : 0;
}
uint64_t cursor_u64(struct cursor *c);
/* A string that ends with a NUL inside the window; NULL and short_read where there is none. len may be NULL. */
const char *cursor_cstr(struct cursor *c, size_t *len);

/* A view of bytes that someone else owns. */
struct span {
	const char *data;
	size_t len;
};
static inline struct span span_of(const char *text)
{
	return (struct span){ text, text ? strlen(text) : 0 };
}
static inline bool span_is(struct span s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

/* ---- intrusive doubly linked list (a head is a node linked to itself) ---- */

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *head)
{
	head->next = head->prev = head;
}
static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}
static inline void list_insert(struct list *before, struct list *item)
{
	item->prev = before->prev;
	item->next = before;
	before->prev->next = item;
	before->prev = item;
}
static inline void list_push(struct list *head, struct list *item)       /* at the end */
{
	list_insert(head, item);
}
static inline void list_push_front(struct list *head, struct list *item)
{
	list_insert(head->next, item);
}
/* Removing twice, or an item never linked but initialised, is harmless. */
static inline void list_remove(struct list *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	item->next = item->prev = item;
}
#define LIST_EACH(pos, head) for (struct list *pos = (head)->next; pos != (head); pos = pos->next)
/* The current item may be removed (nothing else). */
#define LIST_EACH_SAFE(pos, head) \
	for (struct list *pos = (head)->next, *pos##_next = pos->next; pos != (head); pos = pos##_next, pos##_next = pos->next)
#define LIST_ITEM(pos, type, member) CONTAINER_OF(pos, type, member)

/* ---- hashes ---- */

struct hash128 {
	uint64_t lo, hi;
};
static inline bool hash128_equal(struct hash128 a, struct hash128 b)
{
	return a.lo == b.lo && a.hi == b.hi;
}
/* SipHash-1-3 with 128 bits of output under a key drawn once a process: texts come from peers, who must not be able
 * to make two of them meet. hash_key_init() is called by main before any thread starts (tests: a fixed key). */
void hash_key_init(void);
struct hash128 hash_bytes(const void *data, size_t len);

/* Open hash table, 128-bit keys -> pointer. One thread. Never shrinks; entries are the caller's. */
struct map {
	struct map_slot *slots;
	size_t cap, used, dead;
};
void *map_get(const struct map *map, struct hash128 key);                  /* NULL when absent */
void *map_put(struct map *map, struct hash128 key, void *value);           /* returns the value it replaced, or NULL */
void *map_remove(struct map *map, struct hash128 key);                     /* returns what was there, or NULL */
void map_free(struct map *map);
/* size_t it = 0; while ((v = map_next(map, &it))) ...   The table must not change meanwhile (but for map_remove). */
void *map_next(const struct map *map, size_t *it);

/* ---- time: microseconds; monotonic for intervals and needs, wall clock for people ---- */

typedef int64_t usec_t;
#define USEC_PER_SEC ((usec_t)1000000)
#define USEC_PER_MS ((usec_t)1000)

usec_t time_mono_us(void);     /* CLOCK_MONOTONIC; one time line for all threads */
usec_t time_wall_us(void);     /* since 1970 */

/* ---- log: a line is "TIME [PID] LEVEL text"; stderr (journal or terminal) or a file ---- */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_FATAL };

void log_set_level(enum log_level least);      /* default LOG_INFO */
bool log_set_file(const char *path, struct err *err);  /* NULL = stderr; called again to reopen */
void log_msg(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3) COLD;
bool log_is_on(enum log_level level);

#define log_debug(...) do { if (log_is_on(LOG_DEBUG)) log_msg(LOG_DEBUG, __VA_ARGS__); } while (0)
#define log_info(...) log_msg(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_msg(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_msg(LOG_ERROR, __VA_ARGS__)

/* An invariant that does not hold is a bug: say where, and stop before it can do harm. Stays on in release builds. */
#define ENSURE(cond) ((cond) ? (void)0 : ensure_failed(#cond, __FILE__, __LINE__))
void ensure_failed(const char *cond, const char *file, int line) __attribute__((noreturn, cold));

/* ---- random bytes from the kernel; aborts when there are none ---- */
void random_bytes(void *out, size_t len);

/* The name nearest to what was written (for "did you mean"), or NULL when none is near. names ends with NULL. */
const char *nearest_name(const char *written, const char *const *names);

#endif
