/* conf_private.h - what the files of conf share. Nothing here leaves the folder.
 *
 * options.c  rows of the option table, a value from and to text        reader.c  files -> (section, key, value), with inih
 * report.c   findings                                                  load.c    snapshot, [pgshunt]
 * row.c      "name = key=value ..."                                    check.c   what only the whole can tell
 * nodes.c databases.c rules.c peers.c: the sections made of rows       arena.c   memory of a snapshot
 * policy.c   look-ups and per-session options                          diff.c    reload's answer, SHOW CONFIG
 * docs.c     reference and sample file */
#ifndef PGSHUNT_CONF_PRIVATE_H
#define PGSHUNT_CONF_PRIVATE_H

#include <stdatomic.h>

#include "pgshunt/conf.h"

#define CONF_NODES_MAX 32

/* ---- arena: all memory of one snapshot; wiped when freed, it holds passwords ---- */

struct arena {
	struct arena_chunk *chunks;
};
void *arena_alloc(struct arena *arena, size_t len);    /* zeroed, aligned for anything */
char *arena_strdup(struct arena *arena, const char *text);
void arena_free(struct arena *arena);

struct conf_box {
	struct conf conf;               /* first: a struct conf * is its box */
	atomic_uint refs;
	struct arena arena;
};

/* ---- options ---- */

/* Flags as options.def spells them. */
enum {
	RELOAD = 0, RESTART = 1 << 0, NOT_YET = 1 << 1, NO_EFFECT = 1 << 2, SECRET = 1 << 3, CLIENT = 1 << 4, AUTO = 1 << 5,
	OCTAL = 1 << 6, PGB = 1 << 7
};
#define TIME_MAX (INT64_C(2147483647) * USEC_PER_SEC)
#define SIZE_LIMIT (INT64_C(1) << 50)

enum option_type { OPTION_STR, OPTION_INT, OPTION_BOOL, OPTION_TIME, OPTION_SIZE, OPTION_ENUM };
enum option_scope { OPTION_GLOBAL, OPTION_SESSION, OPTION_ROW };       /* ROW: a key of a row of [nodes], [databases] ... */

/* One row. The field lies at offset in struct conf_options, struct conf_policy, or the struct of the row. */
struct option {
	const char *name;
	const char *default_text;
	int64_t min, max;
	const char *const *names;       /* of an ENUM, ends with NULL */
	const char *text;
	size_t offset;
	unsigned flags;
	enum option_type type;
	enum option_scope scope;
	int group;
	int session_index;              /* bit in policy_set; -1 for GLOBAL and ROW */
};

extern const struct option conf_option_rows[];
extern const size_t conf_option_count;
extern const char *const conf_option_names[];          /* ends with NULL */
const char *conf_group_title(int group);

/* No memory behind it: number of rows until the one without a name. */
const struct option *option_find(const struct option *rows, size_t count, const char *name);
const struct option *option_find_session(const char *name);

/* text -> the field in base. STR: the field points at text, so the caller copies it first. err says what is allowed, never
 * a secret; false = nothing was changed. */
bool option_parse(const struct option *option, const char *text, void *base, struct err *err);
/* The field as one would write it; a secret is "********" unless empty. */
void option_format(const struct option *option, const void *base, struct buf *out);
bool option_equal(const struct option *option, const void *a, const void *b);
void option_copy(const struct option *option, void *to, const void *from);
/* "1 to 65535", "on | off", "10ms to 1min" ...; "" when anything goes. */
void option_range(const struct option *option, struct buf *out);
int option_enum(const struct option *option, const void *base);

static inline void *option_base(const struct option *option, struct conf *conf)
{
	return option->scope == OPTION_SESSION ? (void *)&conf->policy : (void *)&conf->opt;
}
static inline const void *option_base_const(const struct option *option, const struct conf *conf)
{
	return option->scope == OPTION_SESSION ? (const void *)&conf->policy : (const void *)&conf->opt;
}

/* ---- report ---- */

struct place {
	const char *file;
	unsigned line;
};
void report_add(struct conf_report *report, enum conf_severity severity, struct place place, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* ", did you mean NAME?" or "", for the end of a finding about written. out: a buffer of the caller's. */
struct hint {
	char text[160];
};
const char *report_hint(struct hint *out, const char *written, const char *const *names);
bool report_is_full(const struct conf_report *report);

/* ---- reader ---- */

struct conf_item {
	struct place place;
	const char *section;            /* one of reader_sections, or "?" */
	const char *key;
	char *value;                    /* may be changed in place */
};
typedef void conf_item_fn(void *owner, const struct conf_item *item);
/* Hands over every key of path and of what it includes; syntax errors go to the report. False: not read to the end. */
bool reader_run(const char *path, struct conf_report *report, conf_item_fn *fn, void *owner);
/* The whole file, NUL-terminated; NULL and errno when it can't be read or is longer than most bytes (EFBIG). The caller wipes it. */
char *reader_slurp(const char *path, size_t most, size_t *len);

/* ---- loading ---- */

struct route_use {                      /* a route= to look at when all nodes are known */
	struct place place;
	const char *route;
};

struct host_use {                       /* host= of a database: becomes nodes when all of [nodes] is known */
	struct place place;
	const char *database, *hosts;
	int64_t port;
};

struct load {
	struct conf_report *report;
	struct conf_box *box;
	struct conf *conf;              /* box->conf */
	struct conf defaults;           /* only opt and policy */
	struct place *seen;             /* by index of conf_option_rows: where it was set; file NULL = not set */
	struct conf_node *nodes;
	struct place *node_places;
	size_t node_count;
	struct conf_database *databases;
	struct place *database_places;
	size_t database_count;
	struct conf_user *users;
	struct place *user_places;
	size_t user_count;
	struct route_use *routes;
	size_t route_count;
	struct host_use *hosts;
	size_t host_count;
	struct conf_peer *peers;
	struct place *peer_places;
	size_t peer_count;
	const char **rules;
	struct place *rule_places;
	size_t rule_count;
};

#define LOAD_ERROR(load, place, ...) report_add((load)->report, CONF_ERROR, place, __VA_ARGS__)
#define LOAD_WARNING(load, place, ...) report_add((load)->report, CONF_WARNING, place, __VA_ARGS__)

/* ${NAME} from the environment, into the arena; NULL when there was an error (reported). */
char *load_expand(struct load *load, struct place place, const char *key, const char *text);
/* Value of a row: expansion, range, warnings. where is "[databases] app: " or "". */
bool load_value(struct load *load, struct place place, const char *where, const struct option *option, const char *text, void *base);

void nodes_row(struct load *load, const struct conf_item *item);
void databases_row(struct load *load, const struct conf_item *item);
void users_row(struct load *load, const struct conf_item *item);
void rules_row(struct load *load, const struct conf_item *item);
void peers_row(struct load *load, const struct conf_item *item);
void nodes_from_hosts(struct load *load);   /* after the last item: databases' hosts become nodes */
/* The keys of rows, for the reference; ends with a row without a name. */
extern const struct option conf_node_keys[], conf_database_keys[], conf_user_keys[], conf_rule_keys[], conf_peer_keys[];

/* A value that is in the table but not built: warns or refuses. place.file NULL: the value is a default. */
void check_value(struct load *load, struct place place, const char *where, const struct option *option, const void *base);
void check_whole(struct load *load);
void peers_check(struct load *load);

#endif
