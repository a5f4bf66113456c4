/* sql.h - from a statement's text to its verdict: lexer, shape, PostgreSQL's own grammar, a cache in front.
 *
 * Pure: no I/O, no clock. One struct sql_cache a worker, used by that worker alone; a verdict is immutable and
 * reference-counted without locks, so it never leaves its worker. The only user of libpg_query.
 * Source of the lexical rules: PostgreSQL manual, section 4.1 "Lexical Structure" (and scan.l). */
#ifndef PGSHUNT_SQL_H
#define PGSHUNT_SQL_H

#include "pgshunt/base.h"

/* What a statement does, from the harmless to the unknown. Of a text of several statements the strongest counts. */
enum sql_class {
	SQL_EMPTY,              /* no statement at all: comment, blanks, lone semicolons */
	SQL_READ,               /* gives the same answer on a standby that has replayed enough */
	SQL_LOCK,               /* FOR UPDATE/SHARE, LOCK TABLE */
	SQL_WRITE,
	SQL_SESSION,            /* changes session state: SET, PREPARE, LISTEN, DISCARD ... */
	SQL_TRANSACTION,        /* BEGIN, COMMIT, SAVEPOINT ... */
	SQL_UTILITY,            /* DDL, VACUUM, and all the rest that the grammar knows */
	SQL_UNKNOWN             /* not parseable, too long, too deep: the primary answers */
};
const char *sql_class_name(enum sql_class class);      /* "read", "write", "lock", ... */

/* The vocabulary of reasons (design.md section 5) as far as a verdict can give one. */
enum sql_reason {
	SQL_R_READ, SQL_R_WRITE, SQL_R_ROW_LOCK, SQL_R_TRANSACTION, SQL_R_UTILITY, SQL_R_SETTING,
	SQL_R_FUNCTION,         /* with the function's name */
	SQL_R_UNLOGGED, SQL_R_VOLATILE_VIEW,    /* with the relation's name; need catalog facts */
	SQL_R_UNPARSED, SQL_R_TOO_LONG, SQL_R_NODE_LOCAL, SQL_R_PINNED,
	SQL_R_COUNT
};

/* State a statement leaves in its session: a bit each. Until it can be replayed, it pins the session to its server. */
enum sql_pin {
	SQL_PIN_SETTING = 1 << 0,       /* a setting (or savepoint) that sql_effects() can't read: SET x FROM CURRENT, set_config() in FROM ... */
	SQL_PIN_PREPARE = 1 << 1,       /* SQL PREPARE, EXECUTE that can't be read; of uses: any EXECUTE */
	SQL_PIN_TEMP    = 1 << 2,       /* CREATE TEMP, SELECT INTO TEMP, anything named pg_temp */
	SQL_PIN_LISTEN  = 1 << 3,
	SQL_PIN_ADVISORY = 1 << 4,      /* session-level advisory locks */
	SQL_PIN_HOLD    = 1 << 5,       /* DECLARE ... WITH HOLD */
	SQL_PIN_LOAD    = 1 << 6,
	SQL_PIN_SEED    = 1 << 7,       /* setseed */
	SQL_PIN_FUNCTION = 1 << 8,      /* calls a function that may touch the session: unknown ones, DO, CALL */
	SQL_PIN_SEQUENCE = 1 << 9,      /* currval, lastval: depend on this session's earlier nextval; nextval, setval feed it */
	SQL_PIN_UNKNOWN = 1 << 10       /* text nobody could parse, whose words may touch the session */
};
#define SQL_PIN_COUNT 11
const char *sql_pin_name(enum sql_pin one_bit);        /* "setting", "prepare", "temp", "listen", ... */

enum sql_flag {
	SQL_F_MULTI      = 1 << 0,      /* more than one statement in the text */
	SQL_F_BEGINS     = 1 << 1,      /* BEGIN / START TRANSACTION */
	SQL_F_ENDS       = 1 << 2,      /* COMMIT / ROLLBACK / PREPARE TRANSACTION ...: may end a transaction */
	SQL_F_TX_START   = 1 << 3,      /* its answer depends on the transaction's start: now(), CURRENT_TIMESTAMP, 'now' */
	SQL_F_COPY_IN    = 1 << 4,      /* COPY ... FROM STDIN */
	SQL_F_COPY_OUT   = 1 << 5,
	SQL_F_CURSOR     = 1 << 6,      /* DECLARE, FETCH, MOVE, CLOSE */
	SQL_F_DISCARD_ALL = 1 << 7,     /* exactly DISCARD ALL: the session is as new afterwards */
	SQL_F_DEALLOCATE = 1 << 8,      /* DEALLOCATE [ALL]: touches protocol-level statements too */
	SQL_F_DDL        = 1 << 9,      /* may change what the catalog says of functions, views, tables */
	SQL_F_PGSHUNT    = 1 << 10,     /* SET/RESET/SHOW of a pgshunt.* setting, alone in its text: answered by the proxy */
	SQL_F_EXTERNAL   = 1 << 11,     /* may act outside the database (dblink, untrusted languages): never run twice */
	SQL_F_ROLLBACK_TO = 1 << 12,
	SQL_F_EFFECTS    = 1 << 13,     /* changes session state that sql_effects() reads from the text: SET, RESET, PREPARE, SAVEPOINT ... */
	SQL_F_EXECUTES   = 1 << 14,     /* nothing but EXECUTE with harmless arguments: as good or bad as what was prepared */
	SQL_F_RELEASES   = 1 << 15,     /* may end what pins the session: UNLISTEN, DISCARD, CLOSE, DROP, pg_advisory_unlock ... (the end of a
	                                 * transaction may as well: ON COMMIT DROP, a rolled back CREATE) */
	SQL_F_NAMES      = 1 << 17,     /* calls set_config() in a way that can't be read: sql_setting_names() tells what it may name */
	SQL_F_DEFAULTS   = 1 << 16      /* later logins get other defaults: ALTER ROLE / DATABASE ... SET, ALTER SYSTEM, pg_reload_conf(), renaming a
	                                 * role or database */
};

/* What a pgshunt.* statement asks for (SQL_F_PGSHUNT). The value is read from the text each time, see sql_setting_value(). */
enum sql_setting_verb { SQL_SET, SQL_SET_LOCAL, SQL_RESET, SQL_SHOW };

struct sql_name {
	const char *schema;     /* NULL where the text has none */
	const char *name;       /* folded as PostgreSQL folds it, quotes taken off */
};

/* Movable (any standby may answer) is: class SQL_READ, reason SQL_R_READ, no pins. A read with reason SQL_R_NODE_LOCAL asks about
 * the node itself, one with SQL_R_PINNED names an object of this session (pg_temp): both belong on the primary. */
struct verdict {
	struct hash128 shape;
	enum sql_class class;
	enum sql_reason reason;
	const char *reason_name;        /* for function:NAME and the like; NULL otherwise */
	uint32_t flags;                 /* enum sql_flag */
	uint32_t pins;                  /* enum sql_pin, what it leaves behind */
	uint16_t statements;            /* how many, empty ones not counted */
	enum sql_setting_verb setting_verb;
	const char *setting;            /* SQL_F_PGSHUNT: "pgshunt.route" ... (lower case); "all" for RESET ALL is not one of these.
	                                 * SQL_F_DEALLOCATE alone in its text: the statement's name, "" for ALL. NULL otherwise */
	const struct sql_name *tables;  size_t table_count;      /* every relation named, CTE names left out */
	const struct sql_name *functions; size_t function_count; /* every function called that isn't known harmless: the catalog decides.
	                                                          * Operators that aren't built in stand here too, by their name */
	const struct sql_name *builtins;  size_t builtin_count;  /* harmless built-in names called without a schema: an overload or a
	                                                          * function of that name earlier in search_path makes them the catalog's business */
	const struct sql_name *types;     size_t type_count;     /* types named that aren't built in (a cast or a domain's check may run code) */
	const struct sql_name *temps;     size_t temp_count;     /* relations it creates as temporary, or names in pg_temp */
	uint32_t uses;                  /* enum sql_pin: session state its answer may depend on (random: seed; regclass text: temp ...) */
	char refused[6];                /* sql_learn_refused(): SQLSTATE; class is then SQL_WRITE and the reason retried:SQLSTATE; "" = none */
	const char *shown;              /* text with literals as $n: SHOW ROUTES; never a literal; cut where it gets long */
	/* private to sql */
	bool is_proved;
	uint32_t refs;
	size_t bytes;
};

/* A standby has answered this shape without an error: it doesn't write. Kept with the verdict in its cache. */
static inline void verdict_prove(struct verdict *v)
{
	v->is_proved = true;
}
static inline bool verdict_is_proved(const struct verdict *v)
{
	return v->is_proved;
}

struct verdict *verdict_ref(struct verdict *v);
void verdict_unref(struct verdict **v);        /* sets *v to NULL; accepts NULL inside */
/* "function:nextval", "row-lock" ...: for SHOW, NOTICE, log. Writes at most len bytes, returns out. */
const char *verdict_reason(const struct verdict *v, char *out, size_t len);

/* How the session's text must be read. Anything that isn't the plain case makes texts whose reading would differ "unknown". */
struct sql_mode {
	bool standard_conforming_strings;      /* off: a text with a backslash is SQL_UNKNOWN */
	bool ascii_safe_encoding;              /* false for SJIS, BIG5, GBK, GB18030, UHC, JOHAB: a text with a byte >= 0x80 is SQL_UNKNOWN */
};

struct sql_options {
	size_t cache_max_bytes;         /* verdict_cache_size */
	size_t parse_max_bytes;         /* longer texts are not parsed: SQL_UNKNOWN, reason too-long */
	uint32_t nesting_max;           /* a tree that may get deeper than this many messages: SQL_UNKNOWN (libpg_query recurses, 1 kB a
	                                 * message; an operator is two, a sub-select up to 12); 10000, which fits a 16 MB stack */
};

/* A cache of verdicts by shape. Thread: the worker's, which needs a 16 MB stack (libpg_query recurses). */
struct sql_cache;
struct sql_cache *sql_cache_new(const struct sql_options *options);
void sql_cache_free(struct sql_cache **cache);         /* verdicts still referenced live on until unref */
void sql_cache_configure(struct sql_cache *cache, const struct sql_options *options);

/* The verdict of a text (need not be NUL-terminated; a NUL byte inside makes it unknown). Never NULL. The caller owns
 * one reference. A shape seen before costs no parse. */
struct verdict *sql_verdict(struct sql_cache *cache, struct span text, struct sql_mode mode);

struct sql_cache_counters {
	uint64_t hits, misses, parses, evictions;
	size_t bytes, entries;
};
struct sql_cache_counters sql_cache_read(const struct sql_cache *cache);

/* What was learned by running: a standby refused this shape with that SQLSTATE. From now on its verdict in this cache is
 * `write` with reason retried:SQLSTATE (kept apart, bounded; forgotten on eviction). */
void sql_learn_refused(struct sql_cache *cache, const struct verdict *v, const char *sqlstate);

/* The value of `SET pgshunt.x = value` / `TO value`: unquoted, or NULL for DEFAULT. The text is the one that gave a verdict
 * with SQL_F_PGSHUNT. Returns false (22023) when it isn't a single constant. out is the caller's to free. */
bool sql_setting_value(struct span text, char **out, struct err *err);

/* ---- effects: what one statement does to the session, as far as it can be done again on another server ----
 *
 * A verdict has SQL_F_EFFECTS when its text has any and all of them can be read from the text; then SET, RESET, set_config() and PREPARE
 * don't pin. Otherwise the text pins as a whole. SET TRANSACTION, SET CONSTRAINTS and the settings transaction_* end with the transaction and
 * have no effect; SET seed pins (SQL_PIN_SEED). Effects are what the statement does if it succeeds. */

enum sql_effect_kind {
	SQL_E_SET,              /* name, sql. DateStyle's value may be half of it (SET datestyle = 'DMY' keeps ISO): what counts is what the
	                         * server reports */
	SQL_E_SET_LOCAL,        /* name: ends with the transaction; a custom name stays known to the server */
	SQL_E_RESET,            /* name: RESET x, SET x TO DEFAULT, SET TIME ZONE LOCAL, RESET ROLE ... */
	SQL_E_RESET_LOCAL,      /* name: SET LOCAL x TO DEFAULT */
	SQL_E_RESET_ALL,        /* role, session_authorization and seed excepted (PostgreSQL's GUC_NO_RESET_ALL) */
	SQL_E_SET_CONFIG,       /* name, column: SELECT set_config('name', ..., false); the new value stands in that column of its only row, as
	                         * set_config() takes it (SET would quote a list once more). seed's can't be read back: it comes with this
	                         * kind, be it local or not, and has to pin */
	SQL_E_SAVEPOINT,        /* name */
	SQL_E_RELEASE,          /* name: of several the last */
	SQL_E_ROLLBACK_TO,      /* name: the same */
	SQL_E_DISCARD_ALL,
	SQL_E_DISCARD_SEQUENCES,
	SQL_E_PREPARE,          /* name, sql: the whole statement; query: what stands behind AS */
	SQL_E_EXECUTE,          /* name: also in EXPLAIN EXECUTE and CREATE TABLE ... AS EXECUTE */
	SQL_E_DEALLOCATE,       /* name, "" = ALL */
	SQL_E_LISTEN,           /* name: the channel */
	SQL_E_UNLISTEN          /* name, "" = * */
};
/* Names are folded, unquoted and cut to 63 bytes as PostgreSQL does it; settings' names are lower case, and the new one of one renamed
 * (time zone = timezone, NAMES = client_encoding, SCHEMA = search_path, XML OPTION = xmloption, role, session_authorization, sort_mem =
 * work_mem; SESSION CHARACTERISTICS gives one effect for each default_transaction_* it names). What sets session_authorization gives a second
 * effect that sets role to none, what resets it one that resets role, as the server does it (LOCAL like the first). */
struct sql_effect {
	enum sql_effect_kind kind;
	const char *name, *sql;         /* live as long as the call; NULL where the kind doesn't name them. sql is one statement without its
	                                 * semicolon, which does the same whatever the server's standard_conforming_strings; its bytes beyond
	                                 * ASCII are in the client_encoding of the text */
	struct span query;              /* of the caller's text, without the semicolon; as the caller's standard_conforming_strings reads it */
	unsigned column;                /* from 0 */
};
typedef void sql_effect_fn(void *owner, const struct sql_effect *effect);
/* Calls fn for each effect of one statement (one that sql_split() has cut, with or without its semicolon), in order. The text is part of
 * one whose verdict has SQL_F_EFFECTS; of any other it may find none. */
void sql_effects(struct span statement, sql_effect_fn *fn, void *owner);
/* Calls fn with SQL_E_SET_LOCAL and the name for each set_config('name', ... in the text, wherever it stands. */
void sql_setting_names(struct span text, sql_effect_fn *fn, void *owner);

/* Hints: a comment at the very start of the text: "pgshunt: route=primary consistency=strong" between slash-star and star-slash.
 * Calls fn for each key=value in it. Unknown keys are passed too; the caller judges them. Returns how many. */
typedef void sql_hint_fn(void *owner, struct span key, struct span value);
size_t sql_hints(struct span text, sql_hint_fn *fn, void *owner);

/* Splits a text at its top-level semicolons by the lexer alone (for `pgshunt route` on stdin). Returns the length of the first
 * statement including its semicolon, or 0 when the text ends before a statement is complete. */
size_t sql_split(struct span text);

/* For tests, fuzzers and tools: the shape alone. */
struct hash128 sql_shape(struct span text, struct sql_mode mode, struct buf *normalized);

#endif
