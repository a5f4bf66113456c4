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

/* ---- settings: a session's start-up parameters (later: its SETs), laid onto whichever server it borrows ---- */

struct setting {
	const char *name, *value;
};
/* Interned: equal lists are one object within a worker, so that comparing pointers is comparing lists. NULL = the empty list. */
struct settings {
	struct hash128 id;
	size_t refs, count;
	struct settings_table *table;
	struct setting items[];         /* in the order given; a later value of the same name replaces the earlier */
};
struct settings_table;
struct settings_table *settings_table_new(void);
void settings_table_free(struct settings_table **table);       /* all must have been given back */
struct settings *settings_intern(struct settings_table *table, const struct setting *items, size_t count);
struct settings *settings_ref(struct settings *settings);
void settings_unref(struct settings **settings);
/* The SQL that turns a server with settings `from` into one with `to`, appended; nothing when they are equal. */
void settings_diff(const struct settings *from, const struct settings *to, struct buf *sql);

/* ---- servers ---- */

enum server_state {
	SERVER_CONNECTING,      /* TCP under way */
	SERVER_LOGIN,           /* start-up, authentication, until the first ReadyForQuery */
	SERVER_IDLE,
	SERVER_LENT,
	SERVER_RESETTING,       /* server_reset_query under way, or a cancel connection not yet ended */
	SERVER_CLOSED
};
const char *server_state_name(enum server_state state);

struct server {
	/* for the borrower */
	struct stream *stream;
	int node;                       /* index in the topology; stays with the node's name over reloads */
	uint64_t id;                    /* of this worker, never reused */
	uint64_t lent_seq;              /* rises with each lending: whether somebody else has had it since */
	struct settings *settings;      /* as laid on the server */
	struct map prepared;            /* id of a statement -> struct server_statement * */
	struct list prepared_order;     /* oldest first */
	uint32_t backend_pid;
	bool must_close;                /* close it instead of lending it again */
	bool is_pinned;                 /* by pool_pin() */
	bool is_ending;                 /* RESETTING: a ReadyForQuery is still to come */
	/* for the pool */
	struct pool *pool;
	struct list link;
	enum server_state state;
	uint64_t incarnation;
	struct sockaddr_storage addr;   /* where it was dialled: a cancel goes to this very place */
	socklen_t addr_len;
	usec_t opened_us, idle_since_us, lent_us, request_us;
	struct auth_client *login;
	struct buf params;              /* name NUL value NUL ...: ParameterStatus at login */
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

/* ---- pools ---- */

struct pools;
struct pool_set;

/* How many servers (not the pinned ones) all workers together have, by hash of (database, user, node): two pools that meet only make
 * each other smaller. */
#define POOL_TOTALS 4096
typedef struct {
	_Atomic int32_t servers;
	_Atomic int32_t starving;       /* workers whose clients wait and that may not open another */
} pool_total_t;

struct pool_env {
	struct loop *loop;
	struct io *io;
	struct stats_worker *stats;
	struct stats_node *node_stats;          /* TOPO_NODES_MAX of them */
	size_t worker, workers;                 /* this one's number, and how many there are: pool sizes are shared out */
	pool_total_t *totals;                   /* POOL_TOTALS of them, of all workers; NULL = this is the only one */
	void (*node_trouble)(void *owner, int node);    /* a connection to the node failed: the monitor should look */
	void *owner;
};

struct pools *pools_new(const struct pool_env *env, struct conf *conf, const struct topo *topo);
void pools_free(struct pools **pools);         /* closes everything; nothing may be lent any more */
void pools_set_conf(struct pools *pools, struct conf *conf);
/* Closes idle servers whose node has restarted, moved or gone; lent ones close at their release. */
void pools_set_topo(struct pools *pools, const struct topo *topo);
void pools_tick(struct pools *pools);          /* once a second: idle and old servers */
void pools_close_idle(struct pools *pools);    /* shutdown */

/* The set for a client's (database entry, user); made on demand, freed when unused. forced user/password of the entry win over the client's. */
struct pool_set *pool_set_get(struct pools *pools, const char *database, const struct conf_database *entry, const char *user,
                              const struct auth_secret *file_secret);
void pool_set_release(struct pool_set **set);
/* What a client's login taught: used for server logins from now on. */
void pool_set_learn(struct pool_set *set, const struct auth_secret *secret);
struct stats_pool *pool_set_stats(struct pool_set *set);
const char *pool_set_database(const struct pool_set *set);     /* as clients name it */
const char *pool_set_user(const struct pool_set *set);

/* Waiting for a server. Embedded in its owner; linked while waiting. */
struct pool_waiter;
/* Runs exactly once, never before pool_wait() returns, not after pool_wait_cancel(). server is NULL when err is set. */
typedef void pool_done_fn(void *owner, struct server *server, const struct err *err);
struct pool_waiter {
	struct list link;
	struct pool *pool;
	pool_done_fn *fn;
	void *owner;
	usec_t since_us;
};
static inline bool pool_is_waiting(const struct pool_waiter *waiter)
{
	return waiter->pool != NULL;
}

/* An idle server at once, or NULL (none idle, or others wait already). */
struct server *pool_take(struct pool_set *set, int node);
/* That very server if it is idle and nobody has had it since lent_seq (currval, lastval); else NULL. */
struct server *pool_take_same(struct pool_set *set, int node, uint64_t server_id, uint64_t lent_seq);
void pool_wait(struct pool_set *set, int node, struct pool_waiter *waiter, pool_done_fn *fn, void *owner);
void pool_wait_cancel(struct pool_waiter *waiter);

/* The borrower keeps it between transactions: it no longer counts against the pool's size, so that pinned clients starve nobody. */
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
