/* What time does to servers: timeouts, min_pool_size, and the second look at everything once a second. */
#include "private.h"

bool server_is_too_old(const struct server *server, usec_t now)
{
	usec_t lifetime = conf_server_lifetime(server_pools(server)->conf, &server->pool->set->entry);

	return lifetime ? now - server->opened_us > lifetime : server->lent_seq > 0;
}

/* Of an idle server; NULL = none. The minimum is kept but for what is too old. */
static const char *reason_to_close(struct server *server, usec_t now)
{
	const struct pool *pool = server->pool;
	usec_t idle_timeout = server_pools(server)->conf->opt.server_idle_timeout;

	if (server_is_too_old(server, now))
		return "server_lifetime";
	if (idle_timeout && now - server->idle_since_us > idle_timeout && server_is_above_minimum(server))
		return "server_idle_timeout";
	if (list_is_empty(&pool->waiters) && server_is_too_many(server, false))
		return "over a limit";  /* the reserve, when nobody waits any more; a limit that was lowered */
	return NULL;
}

static void close_old(struct pool *pool, usec_t now)
{
	/* The least recently used first. */
	for (struct list *pos = pool->idle.prev, *before = pos->prev; pos != &pool->idle; pos = before, before = pos->prev) {
		struct server *server = LIST_ITEM(pos, struct server, link);
		const char *reason = reason_to_close(server, now);

		if (reason)
			pool_server_close(server, reason);
	}
}

static void give_up_opening(struct server *server)
{
	struct err err;

	if (server->state == SERVER_RESETTING) {
		pool_server_close(server, "the reset, check or cancel did not end");
		return;
	}
	err_set(&err, "08001", "server_connect_timeout: the server accepted the connection but did not answer the login");
	err_hint(&err, "See SHOW NODES on database pgshunt for the state of all nodes.");
	pool_server_failed(server, &err);
}

/* While connecting the stream has a timer of its own. Returns the next deadline. */
static usec_t close_late(struct pool *pool, usec_t now)
{
	usec_t next_us = INT64_MAX;

	LIST_EACH_SAFE(pos, &pool->opening) {
		struct server *server = LIST_ITEM(pos, struct server, link);

		if (server->state == SERVER_CONNECTING || !server->deadline_us)
			continue;
		if (now >= server->deadline_us)
			give_up_opening(server);
		else
			next_us = MIN(next_us, server->deadline_us);
	}
	return next_us;
}

static void late_timer_fired(void *owner)
{
	struct pools *pools = owner;
	usec_t now = time_mono_us(), next_us = INT64_MAX;

	LIST_EACH(pos, &pools->sets)
		for (int i = 0; i < TOPO_NODES_MAX; i++)
			next_us = MIN(next_us, close_late(&LIST_ITEM(pos, struct pool_set, link)->nodes[i], now));
	if (next_us != INT64_MAX)
		timer_set(pools->late_timer, next_us - now);
}

/* One timer for all: it fires at the first deadline, met or not, and goes on from there. */
void pools_watch_deadline(struct pools *pools, usec_t in_us)
{
	if (!pools->late_timer)
		pools->late_timer = timer_new(pools->env.loop, late_timer_fired, pools);
	if (!timer_is_set(pools->late_timer))
		timer_set(pools->late_timer, in_us);
}

/* Servers in reserve for clients that come: of pools that have any, or that are kept for their forced user. */
static void fill_to_minimum(struct pool *pool, usec_t now)
{
	const struct topo *topo = pool->set->pools->topo;
	int64_t min = pool_min_size(pool);
	struct seats seats;

	if (min == 0 || pool->set->refs == 0 || (size_t)pool->node >= topo->node_count)
		return;
	if (topo->nodes[pool->node].state != TOPO_UP || topo->nodes[pool->node].addr_len == 0 || pool->retry_at_us > now)
		return;
	pool_join(pool);
	while (pool_take_seats_below(pool, min, &seats))
		server_open(pool, &seats, NULL);
}

void pool_tick(struct pool *pool, usec_t now)
{
	fill_to_minimum(pool, now);
	if (!pool->at[SEAT_POOL].desk)
		return;
	close_late(pool, now);
	close_old(pool, now);
	for (int kind = SEAT_DATABASE; kind < SEATS; kind++)
		pool->attention |= account_is_wanted(pool_account(pool, kind));
	pool_serve(pool);
}
