/* conf.h - the configuration: one option table, PgBouncer's file format, an immutable snapshot, the difference of two.
 *
 * Thread: built by the main thread; a finished struct conf is immutable and reference-counted (atomic), any thread may read it.
 * The only user of inih. Units: times are usec_t, sizes bytes. Source of names and defaults: design.md section 3; PgBouncer's
 * config manual for the names we share. pgshunt/options.def is the master copy of every option of [pgshunt]:
 * name, type, default, range, unit, reloadable, scope, in force or not, text. */
#ifndef PGSHUNT_CONF_H
#define PGSHUNT_CONF_H

#include "pgshunt/base.h"

enum conf_pool_mode { POOL_SESSION, POOL_TRANSACTION, POOL_STATEMENT };
enum conf_auth_type { CONF_AUTH_TRUST, CONF_AUTH_PLAIN, CONF_AUTH_MD5, CONF_AUTH_SCRAM, CONF_AUTH_CERT, CONF_AUTH_HBA };
enum conf_load_balance { LB_ROUND_ROBIN, LB_LEAST_CONN, LB_RANDOM, LB_LATENCY };
enum conf_read_from { READ_FROM_STANDBYS, READ_FROM_ANY, READ_FROM_PRIMARY };
enum conf_tx_routing { TX_LAZY, TX_LAZY_RELAXED, TX_PRIMARY };
enum conf_consistency { CONS_EVENTUAL, CONS_BOUNDED, CONS_MONOTONIC, CONS_READ_YOUR_WRITES, CONS_SESSION, CONS_STRONG };
enum conf_scope { SCOPE_CONNECTION, SCOPE_USER, SCOPE_DATABASE, SCOPE_GLOBAL };
enum conf_lost_commit { LOST_ERROR, LOST_WARN, LOST_IGNORE };
enum conf_topology { TOPOLOGY_SQL, TOPOLOGY_PATRONI };
enum conf_sslmode { SSLMODE_DISABLE, SSLMODE_ALLOW, SSLMODE_PREFER, SSLMODE_REQUIRE, SSLMODE_VERIFY_CA, SSLMODE_VERIFY_FULL };
enum conf_route { ROUTE_AUTO, ROUTE_PRIMARY, ROUTE_STANDBY, ROUTE_NODE, ROUTE_LABEL };

/* Field types that rows of options.def use: CONF_STR const char * (never NULL), CONF_INT int64_t, CONF_BOOL bool, CONF_TIME usec_t,
 * CONF_SIZE int64_t, CONF_ENUM int (one of the enums above; names in a table). A field has its option's name: conf->opt.listen_port,
 * policy.consistency. opt.workers == 0 stands for auto; policy.route is text that conf_parse_route() accepts. */

/* Options that can differ by database, user and session ("per session" in the reference): rows of options.def with scope SESSION. */
struct conf_policy {
#define CONF_STR(name) const char *name;
#define CONF_INT(name) int64_t name;
#define CONF_BOOL(name) bool name;
#define CONF_TIME(name) usec_t name;
#define CONF_SIZE(name) int64_t name;
#define CONF_ENUM(name) int name;
#define OPTION(group, scope, type, name, ...) CONF_FIELD_##scope(type, name)
#define CONF_FIELD_SESSION(type, name) CONF_##type(name)
#define CONF_FIELD_GLOBAL(type, name)
#include "pgshunt/options.def"
#undef CONF_FIELD_SESSION
#undef CONF_FIELD_GLOBAL
};

/* All other options of [pgshunt]. */
struct conf_options {
#define CONF_FIELD_SESSION(type, name)
#define CONF_FIELD_GLOBAL(type, name) CONF_##type(name)
#include "pgshunt/options.def"
#undef CONF_FIELD_SESSION
#undef CONF_FIELD_GLOBAL
#undef OPTION
#undef CONF_STR
#undef CONF_INT
#undef CONF_BOOL
#undef CONF_TIME
#undef CONF_SIZE
#undef CONF_ENUM
};

struct conf_node {
	const char *name;
	const char *host;               /* a name, an address, or a directory (Unix socket: starts with '/') */
	const char *hostaddr;           /* as in libpq: overrides the look-up of host; NULL = not given */
	int port;
	int weight;                     /* >= 0; 0 = no reads */
	const char *label, *zone;       /* "" = none */
};

struct conf_database {
	const char *name;               /* as clients say it; "*" = every other name */
	const char *dbname;             /* on the servers; NULL = the same */
	const char *user, *password;    /* forced server login; NULL = the client's own */
	const char *connect_query;      /* NULL = none */
	int64_t pool_size, min_pool_size, reserve_pool_size, max_db_connections;        /* -1 = as [pgshunt] says */
	usec_t server_lifetime;         /* -1 = as [pgshunt] says */
	uint64_t policy_set;            /* bit i: the i-th SESSION row of options.def is overridden here */
	struct conf_policy policy;
};

struct conf_user {
	const char *name;
	int64_t pool_size, reserve_pool_size, max_user_connections;     /* -1 = not given */
	uint64_t policy_set;
	struct conf_policy policy;
};

#define CONF_PEER_ID_MAX 16383
struct conf_peer {
	const char *name;               /* the id as text */
	unsigned id;                    /* 1 to CONF_PEER_ID_MAX; the process's own peer_id may be among them */
	const char *host;               /* a name, an address, or a directory */
	int port;
	int64_t pool_size;              /* -1 = not given: conf_peer_pool_size() */
};

struct conf {
	const char *path;
	struct conf_options opt;
	struct conf_policy policy;
	const struct conf_node *nodes;          size_t node_count;
	const struct conf_database *databases;  size_t database_count;
	const struct conf_user *users;          size_t user_count;
	const struct conf_peer *peers;          size_t peer_count;
	uint64_t version;               /* 1, 2, 3 ... of this process: 1 from the loader, the owner counts on at a reload */
};

struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf **conf);

/* ---- loading ---- */

enum conf_severity { CONF_ERROR, CONF_WARNING, CONF_NOTE };
struct conf_finding {
	enum conf_severity severity;
	const char *file;               /* as opened */
	unsigned line;                  /* 0 = the file as a whole */
	const char *text;
};
struct conf_report {
	struct conf_finding *findings;
	size_t count, errors;
};
void conf_report_free(struct conf_report *report);
/* Reads and validates the whole: every error is reported, not just the first. NULL when there was any error. */
struct conf *conf_load(const char *path, struct conf_report *report);

/* ---- using ---- */

/* The entry for a name a client asks for: its own, else "*", else (no [databases] at all) a pass-through one; NULL = unknown. */
const struct conf_database *conf_database_find(const struct conf *conf, const char *name);
const struct conf_user *conf_user_find(const struct conf *conf, const char *name);      /* NULL = no overrides */
/* Precedence: user over database over [pgshunt]. */
void conf_policy_of(const struct conf *conf, const struct conf_database *db, const struct conf_user *user, struct conf_policy *out);
int64_t conf_pool_size(const struct conf *conf, const struct conf_database *db, const struct conf_user *user);
usec_t conf_server_lifetime(const struct conf *conf, const struct conf_database *db);
const struct conf_peer *conf_peer_find(const struct conf *conf, unsigned id);           /* NULL = unknown */
int64_t conf_peer_pool_size(const struct conf *conf, const struct conf_peer *peer);
bool conf_name_listed(const char *list, const char *name);     /* "a, b, c": admin_users, ignore_startup_parameters ... */

/* "auto", "primary", "standby", "node:pg1", "label:reports". *name points into text. */
bool conf_parse_route(const char *text, enum conf_route *route, const char **name, struct err *err);

/* One per-session option by its short name ("consistency", "max_lag_time", ...) from text, as SET pgshunt.x would: 22023 when bad.
 * Strings are interned by the caller: STR values point at text. Names that a client may not set: 42704. */
bool conf_policy_set(struct conf_policy *policy, const char *name, const char *value, struct err *err);
bool conf_policy_show(const struct conf_policy *policy, const char *name, char *out, size_t len);
void conf_policy_reset(struct conf_policy *policy, const struct conf_policy *defaults, const char *name);

/* ---- the difference of two (answer to RELOAD) and the console ---- */

enum conf_change_kind { CONF_APPLIED, CONF_NEEDS_RESTART };
typedef void conf_change_fn(void *owner, enum conf_change_kind kind, const char *what);
void conf_diff(const struct conf *before, const struct conf *after, conf_change_fn *fn, void *owner);

/* Every option in the table's order: SHOW CONFIG. Secrets come as "********". */
typedef void conf_show_fn(void *owner, const char *key, const char *value, const char *default_value, bool changeable);
void conf_show(const struct conf *conf, conf_show_fn *fn, void *owner);

/* docs/configuration.md and conf/pgshunt.full.ini, from the table. */
void conf_write_reference(struct buf *out);
void conf_write_sample(struct buf *out);

#endif
