/* pool.h - opens, lends and retires the server connections of one worker.
 *
 * Thread: the worker's. A struct pool_set stands for one (database, user); inside it one pool a node. A struct server is the pool's;
 * between taking and releasing it, it is the borrower's: its stream's events go to him, and he keeps `settings`, `prepared` true. */
#ifndef PGSHUNT_POOL_H
#define PGSHUNT_POOL_H

#include <stdatomic.h>

#include "pgshunt/auth.h"
#include "pgshunt/base.h"
#include "pgshunt/conf.h"
#include "pgshunt/io.h"
#include "pgshunt/loop.h"
#include "pgshunt/stats.h"
#include "pgshunt/topo.h"
#include "pgshunt/wire.h"

/* ---- settings: what a session has set, from its start-up packet on, laid onto whichever server it borrows ---- */

/* One of the two is given: value as set_config() takes it, or sql, a statement that does the same on any server. */
struct setting {
	const char *name, *value, *sql;
};
/* Interned: equal lists are one object within a worker, so that comparing pointers is comparing lists. NULL = the empty list. */
struct settings {
	struct hash128 id;
	size_t refs, count;
	struct settings_table *table;
	struct setting items[];         /* in the order in which they were set; a name stands in it once */
};
struct settings_table;
struct settings_table *settings_table_new(void);
void settings_table_free(struct settings_table **table);       /* all must have been given back */
struct settings *settings_intern(struct settings_table *table, const struct setting *items, size_t count);
struct settings *settings_ref(struct settings *settings);
void settings_unref(struct settings **settings);
const struct setting *settings_find(const struct settings *settings, const char *name);
/* *list becomes one in which the item stands last, or without that name. */
void settings_put(struct settings_table *table, struct settings **list, const struct setting *item);
void settings_drop(struct settings_table *table, struct settings **list, const char *name);
/* The name of a custom setting whose value has been taken back: no longer unknown, but what the role says or ''. */
void settings_put_reset(struct settings_table *table, struct settings **list, const char *name);
/* What DISCARD ALL leaves of them on a server: the names of custom settings. */
void settings_discard(struct settings **list);
/* Query messages that turn a server with settings `from` into one with `to`, appended; returns how many. Not for FIT_NEVER. */
unsigned settings_lay(const struct settings *from, const struct settings *to, struct buf *messages);
/* "SET x TO ...;" for an item as it was given at start-up, appended. */
void settings_echo(const struct setting *item, bool is_local, struct buf *sql);

/* ---- servers ---- */

/* A server counts in three accounts, of which each may have a limit. Private to the pool. */
enum seat_kind { SEAT_POOL, SEAT_DATABASE, SEAT_USER, SEATS };
struct desk;
struct dial;
struct seats {
	struct desk *desk[SEATS];       /* NULL = holds none: a pinned server, one that was dialled for one client */
	struct {
		bool is_set;
		uint8_t worker, want;
	} promised[SEATS];              /* whose ticket it answers when it is given back */
	bool leaves[SEATS];             /* there are more than a limit allows: it is given back to nobody */
};

enum server_state {
	SERVER_CONNECTING,      /* TCP under way */
	SERVER_LOGIN,           /* start-up, authentication, until the first ReadyForQuery */
	SERVER_IDLE,
	SERVER_LENT,
	SERVER_RESETTING,       /* server_reset_query or server_check_query under way, or a cancel connection not yet ended */
	SERVER_CLOSED
};
const char *server_state_name(enum server_state state);

struct server {
	/* for the borrower */
	struct stream *stream;
	int node;                       /* index in the topology; stays with the node's name over reloads */
	uint64_t id;                    /* of this process, never reused */
	uint64_t lent_seq;              /* rises with each lending: whether somebody else has had it since */
	struct settings *settings;      /* as laid on the server */
	struct map prepared;            /* id of a statement -> struct server_statement * */
	struct list prepared_order;     /* oldest first */
	struct map names;               /* statements prepared by SQL: name -> struct server_name * */
	struct list names_order;        /* oldest first */
	bool must_deallocate;           /* nobody knows any more what is prepared there */
	uint64_t last_writer;           /* the session that ran the last batch which may have fed a sequence; 0 = none */
	uint32_t backend_pid;
	bool must_close;                /* close it instead of lending it again */
	bool is_pinned;                 /* by pool_pin() or pool_dial() */
	bool is_ending;                 /* RESETTING: a ReadyForQuery is still to come */
	/* for the pool */
	struct pool *pool;
	struct list link;
	enum server_state state;
	uint64_t incarnation;
	struct sockaddr_storage addr;   /* where it was dialled: a cancel goes to this very place */
	socklen_t addr_len;
	usec_t opened_us, idle_since_us, lent_us, request_us;
	usec_t deadline_us;             /* LOGIN, RESETTING: when it is given up; 0 = never */
	struct seats seats;
	uint32_t epoch;                 /* pools_epoch() when it was dialled */
	uint64_t conf_version;          /* by which it was dialled */
	struct dial *dial;              /* for whom, until it is ready */
	struct auth_client *login;
	struct buf params;              /* name NUL value NUL ...: what it has reported last, by server_set_parameter() */
	uint8_t key[WIRE_CANCEL_KEY_MAX];
	size_t key_len;
	unsigned cancels;               /* cancel connections on their way: not lent until they have ended */
};

struct server_statement {
	struct hash128 id;
	struct list link;
};
bool server_has_statement(const struct server *server, struct hash128 id);
void server_add_statement(struct server *server, struct hash128 id);
void server_forget_statement(struct server *server, struct hash128 id);
void server_forget_statements(struct server *server);

/* Whoever reads a server's ParameterStatus messages tells this. */
void server_set_parameter(struct server *server, const char *name, const char *value);
const char *server_parameter(const struct server *server, const char *name);   /* NULL = never reported */

struct server_name {
	struct list link;
	struct hash128 id;              /* of the text that was prepared */
	char name[];
};
const struct server_name *server_find_name(const struct server *server, const char *name);
void server_put_name(struct server *server, const char *name, struct hash128 id);
void server_drop_name(struct server *server, const char *name);
void server_drop_names(struct server *server);

/* ---- pools ---- */

struct pools;
struct pool_set;

/* What the pools of all workers share: limits and turns, made of atomics. Made before them, freed after them. */
struct pool_hub;
struct pool_hub *pool_hub_new(size_t workers);
void pool_hub_free(struct pool_hub **hub);
/* What the pools of two workers send each other, through the workers' mailboxes. */
struct pool_mail;
void pool_mail_free(struct pool_mail **mail);  /* for one that can't be delivered any more */

struct pool_env {
	struct loop *loop;
	struct io *io;
	struct stats_worker *stats;
	struct stats_node *node_stats;          /* TOPO_NODES_MAX of them */
	struct settings_table *settings;        /* the worker's */
	size_t worker;                          /* this one's number */
	struct pool_hub *hub;
	void (*node_trouble)(void *owner, int node);    /* a connection to the node failed: the monitor should look */
	void (*send)(void *owner, size_t worker, struct pool_mail *mail);       /* to pools_take_mail() of that worker, later; moves it */
	void *owner;
};

struct pools *pools_new(const struct pool_env *env, struct conf *conf, const struct topo *topo);
void pools_free(struct pools **pools);         /* closes everything; nothing may be lent any more */
void pools_set_conf(struct pools *pools, struct conf *conf);
/* Closes idle servers whose node has restarted, moved or gone; lent ones close at their release. */
void pools_set_topo(struct pools *pools, const struct topo *topo);
void pools_take_mail(struct pools *pools, struct pool_mail *mail);      /* not from within a stream's callback */
void pools_tick(struct pools *pools);          /* once a second: idle and old servers */
void pools_close_idle(struct pools *pools);    /* shutdown */
/* Role and database defaults have changed (ALTER ROLE ... SET): servers opened before are not lent to sessions that log in from now on. */
uint32_t pools_epoch(const struct pools *pools);
void pools_bump_epoch(struct pools *pools);

/* The set for a client's (database entry, user); made on demand, freed when unused. forced user/password of the entry win over the client's. */
struct pool_set *pool_set_get(struct pools *pools, const char *database, const struct conf_database *entry, const char *user,
                              const struct auth_secret *file_secret);
void pool_set_release(struct pool_set **set);
/* Sets that are there without clients, for min_pool_size: of the entries with a forced user. Again after each pools_set_conf(). */
void pools_keep_forced(struct pools *pools, const struct auth_users *users);
/* After each pools_set_conf(): whose secret in auth_file is another now logs in to servers with that one, sets that sessions hold since before
 * the reload too: a changed password doesn't end them. */
void pools_set_users(struct pools *pools, const struct auth_users *users);
/* What a client's login taught: used for server logins from now on. */
void pool_set_learn(struct pool_set *set, const struct auth_secret *secret);
struct stats_pool *pool_set_stats(struct pool_set *set);
const char *pool_set_database(const struct pool_set *set);     /* as clients name it */
const char *pool_set_user(const struct pool_set *set);

/* What a borrower asks of a server besides its node. */
struct pool_wish {
	const struct settings *settings;        /* those of the session; a server that has them already is preferred */
	uint32_t epoch;                         /* pools_epoch() at its login: an older server has older role and database defaults */
};
/* Whether a server with settings `have` can be brought to `want`: a custom setting can't be taken back (see settings_fit()). */
enum settings_fit { FIT_SAME, FIT_LAY, FIT_NEVER };
enum settings_fit settings_fit(const struct settings *have, const struct settings *want);

/* Waiting for a server. Embedded in its owner; linked while waiting. */
struct pool_waiter;
/* Runs exactly once, never before pool_wait() returns, not after pool_wait_cancel(). server is NULL when err is set. */
typedef void pool_done_fn(void *owner, struct server *server, const struct err *err);
struct pool_waiter {
	struct list link;
	struct pool *pool;
	pool_done_fn *fn;
	void *owner;
	struct pool_wish wish;
	usec_t since_us;
	struct dial *dial;              /* of pool_dial() */
};
static inline bool pool_is_waiting(const struct pool_waiter *waiter)
{
	return waiter->pool != NULL;
}

/* An idle server at once, or NULL (none idle that suits, or others wait already). */
struct server *pool_take(struct pool_set *set, int node, const struct pool_wish *wish);
/* That very server if it is idle and nobody has had it since lent_seq (currval, lastval); else NULL. */
struct server *pool_take_same(struct pool_set *set, int node, uint64_t server_id, uint64_t lent_seq);
/* The wish is copied; its settings must live until the waiting ends. */
void pool_wait(struct pool_set *set, int node, const struct pool_wish *wish, struct pool_waiter *waiter, pool_done_fn *fn, void *owner);
void pool_wait_cancel(struct pool_waiter *waiter);
/* A connection of one client's own, dialled with these start-up parameters besides user and database (replication=..., copied), which
 * counts against the limits of database and user but not against the pool's size. It is pinned; RELEASE_CLOSE is the only way back. */
void pool_dial(struct pool_set *set, int node, const struct wire_param *params, size_t count, struct pool_waiter *waiter, pool_done_fn *fn,
               void *owner);

/* The borrower keeps it between transactions: it no longer counts against the pool's size, so that pinned clients starve nobody, but still
 * against max_db_connections and max_user_connections. */
void pool_pin(struct server *server);

enum pool_release {
	RELEASE_CLEAN,          /* idle, between transactions, nothing left behind */
	RELEASE_RESET,          /* idle, but with session state: server_reset_query first */
	RELEASE_DRAIN,          /* one ReadyForQuery is still to come: what arrives until then is nobody's */
	RELEASE_CLOSE           /* unknown or broken state */
};
void pool_release(struct server **server, enum pool_release how);

/* Dials the very server and hands it its cancel key; it is not lent again before that connection has ended. */
void pool_cancel(struct server *server);
/* Runs exactly once: the server, or the peer, has closed the connection by which it was told, so it has acted on it; or that won't happen
 * any more (refused, cancel_wait_timeout, the pools are freed). Must not call into the pools. */
typedef void pool_passed_fn(void *owner);
/* When the cancel request under way to this server has ended; false = there is none. */
bool pool_cancel_watch(struct server *server, pool_passed_fn *fn, void *owner);
/* A cancel request for another process, a row of [peers]. fn may run before this returns. The peer's pool_size counts here alone: one worker
 * sends all that is for a peer. */
void pools_pass_cancel(struct pools *pools, unsigned peer, uint32_t pid, const uint8_t *key, size_t key_len, pool_passed_fn *fn, void *owner);

/* ---- for the console; columns of SHOW POOLS that the pool knows ---- */

struct pool_counts {
	unsigned active, idle, used, tested, login, active_cancel, being_canceled, waiting;
	usec_t oldest_wait_us;  /* since when the first waiter waits; 0 = nobody */
};
typedef void pool_set_fn(void *owner, struct pool_set *set);
void pools_each(struct pools *pools, pool_set_fn *fn, void *owner);
/* Totals of sets that have been freed: a total never falls. They go on in a new set of the same names. */
typedef void pool_past_fn(void *owner, const char *database, const char *user, const struct stats_pool *stats);
void pools_each_past(struct pools *pools, pool_past_fn *fn, void *owner);
struct pool_counts pool_set_counts(const struct pool_set *set, int node);      /* node -1: all nodes */
typedef void pool_server_fn(void *owner, const struct server *server);
void pool_set_each_server(struct pool_set *set, pool_server_fn *fn, void *owner);

#endif
