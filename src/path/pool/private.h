/* private.h - of src/path/pool */
#ifndef PGSHUNT_POOL_PRIVATE_H
#define PGSHUNT_POOL_PRIVATE_H

#include "pgshunt/pool.h"

/* One node's servers of one set. */
struct pool {
	struct pool_set *set;
	int node;
	struct list idle;               /* most recently used first: the rest may age and close */
	struct list lent;
	struct list opening;            /* connecting, logging in, resetting */
	struct list waiters;            /* struct pool_waiter, first come first served */
	unsigned idle_count, lent_count, opening_count, waiter_count;
	unsigned pinned_count;          /* of the lent ones */
	pool_total_t *total;            /* of all workers, this one included; NULL = the only worker */
	bool is_starving;               /* told in total */
	usec_t retry_at_us;             /* after a failed login: not before */
	struct err last_error;
};

struct pool_set {
	struct pools *pools;
	struct list link;
	size_t refs;
	char *database;                 /* as the client names it */
	char *dbname, *user;            /* as the server is told */
	struct conf_database entry;     /* strings belong to conf */
	struct conf *conf;
	struct auth_secret secret;
	struct stats_pool stats;
	struct pool nodes[TOPO_NODES_MAX];
};

/* What is left of a set that was freed. */
struct pool_past {
	struct list link;
	char *database, *user;
	struct stats_pool stats;
};

struct pools {
	struct pool_env env;
	struct conf *conf;
	const struct topo *topo;
	struct list sets;
	struct list past;               /* struct pool_past */
	struct list cancels;            /* struct cancel: connections under way */
	uint64_t last_server_id;
	struct buf scratch;
};

static inline struct pools *server_pools(const struct server *server)
{
	return server->pool->set->pools;
}

/* pool.c */
bool pool_server_is_usable(const struct server *server);                /* its node is what it was when it was dialled */
void pool_tell_starving(struct pool *pool, bool is_starving);
bool pool_can_spare(const struct pool *pool);
bool pool_has_too_many(const struct pool *pool);                        /* more than its share, where others want theirs */
void pool_serve_later(struct pool *pool);                               /* waiters must never hear from us before their call returns */
void pool_count(struct pool *pool, int more);                           /* in the totals of all workers */
static inline unsigned pool_servers(const struct pool *pool)
{
	return pool->idle_count + pool->lent_count + pool->opening_count;
}
void pool_server_ready(struct server *server);                          /* logged in or reset: lend it on or keep it */
void pool_server_failed(struct server *server, const struct err *err);  /* login failed: closes it, tells the waiters */
void pool_server_close(struct server *server, const char *why);        /* unlinks and frees */
void pool_retire(struct server *server);                                /* idle, but may not be lent again */

/* server.c */
void server_open(struct pool *pool);
void server_reset(struct server *server);
void server_drain(struct server *server);                               /* until ReadyForQuery */
void server_idle_event(void *owner, enum stream_event event);
void server_free(struct server *server);

/* cancel.c */
void cancels_free(struct pools *pools);
void cancels_tick(struct pools *pools, usec_t now);

#endif
