/* Lending: idle servers, who waits, when to open another, when to close one. */
#include <stdio.h>

#include "private.h"

static void pool_serve(struct pool *pool);

/* ---- sizes ---- */

static size_t pool_size(const struct pool *pool)
{
	const struct pools *pools = pool->set->pools;

	return (size_t)conf_pool_size(pools->conf, &pool->set->entry, conf_user_find(pools->conf, pool->set->user));
}

/* This worker's share of pool_size: the shares of all workers add up to it (at least one each). */
static size_t pool_share(const struct pool *pool)
{
	const struct pool_env *env = &pool->set->pools->env;
	size_t size = pool_size(pool);

	return MAX(size / env->workers + (env->worker < size % env->workers), 1);
}

static size_t pool_total(const struct pool *pool)
{
	int32_t total = pool->total ? atomic_load_explicit(&pool->total->servers, memory_order_relaxed) : 0;

	return MAX((size_t)MAX(total, 0), pool_servers(pool) - pool->pinned_count);
}

void pool_count(struct pool *pool, int more)
{
	if (pool->total)
		atomic_fetch_add_explicit(&pool->total->servers, more, memory_order_relaxed);
}

/* A worker is sure of its share and may have what others leave. Where both want theirs the sum is over pool_size for as long as it takes
 * the one beyond its share to release a server: see pool_has_too_many(). */
static bool pool_may_open(const struct pool *pool)
{
	return pool_servers(pool) - pool->pinned_count < pool_share(pool) || pool_total(pool) < pool_size(pool);
}

void pool_tell_starving(struct pool *pool, bool is_starving)
{
	if (!pool->total || pool->is_starving == is_starving)
		return;
	pool->is_starving = is_starving;
	atomic_fetch_add_explicit(&pool->total->starving, is_starving ? 1 : -1, memory_order_relaxed);
}

/* An idle server that another worker's clients wait for. */
bool pool_can_spare(const struct pool *pool)
{
	return pool->total && pool->idle_count > 0 && list_is_empty(&pool->waiters) &&
	       atomic_load_explicit(&pool->total->starving, memory_order_relaxed) > 0;
}

bool pool_has_too_many(const struct pool *pool)
{
	return pool_servers(pool) - pool->pinned_count > pool_share(pool) && pool_total(pool) > pool_size(pool);
}

/* ---- waiters ---- */

static struct pool_waiter *waiter_pop(struct pool *pool)
{
	struct pool_waiter *waiter = LIST_ITEM(pool->waiters.next, struct pool_waiter, link);

	list_remove(&waiter->link);
	waiter->pool = NULL;
	pool->waiter_count--;
	return waiter;
}

static void pool_fail_waiters(struct pool *pool, const struct err *err)
{
	struct err copy = *err;
	struct list now;

	/* Those who wait again from within their callback belong to the next round. */
	list_init(&now);
	while (!list_is_empty(&pool->waiters)) {
		struct list *first = pool->waiters.next;
		list_remove(first);
		list_push(&now, first);
	}
	while (!list_is_empty(&now)) {
		struct pool_waiter *waiter = LIST_ITEM(now.next, struct pool_waiter, link);
		list_remove(&waiter->link);
		waiter->pool = NULL;
		pool->waiter_count--;
		waiter->fn(waiter->owner, NULL, &copy);
	}
}

/* ---- lending ---- */

static struct server *pool_lend(struct pool *pool, struct server *server)
{
	list_remove(&server->link);
	list_push(&pool->lent, &server->link);
	pool->lent_count++;
	server->state = SERVER_LENT;
	server->lent_seq++;
	server->lent_us = time_mono_us();
	counter_add(&pool->set->stats.server_assignment_count, 1);
	return server;
}

bool pool_server_is_usable(const struct server *server)
{
	const struct topo *topo = server_pools(server)->topo;

	return !server->must_close && (size_t)server->node < topo->node_count &&
	       topo->nodes[server->node].incarnation == server->incarnation;
}

/* Takes the most recently used idle server that may still be lent. */
static struct server *pool_pop_idle(struct pool *pool)
{
	while (!list_is_empty(&pool->idle)) {
		struct server *server = LIST_ITEM(pool->idle.next, struct server, link);

		if (!pool_server_is_usable(server)) {
			pool_server_close(server, "its node has changed");
			continue;
		}
		pool->idle_count--;
		return pool_lend(pool, server);
	}
	return NULL;
}

struct server *pool_take(struct pool_set *set, int node)
{
	struct pool *pool = &set->nodes[node];

	return list_is_empty(&pool->waiters) ? pool_pop_idle(pool) : NULL;
}

struct server *pool_take_same(struct pool_set *set, int node, uint64_t server_id, uint64_t lent_seq)
{
	struct pool *pool = &set->nodes[node];

	LIST_EACH(pos, &pool->idle) {
		struct server *server = LIST_ITEM(pos, struct server, link);

		if (server->id != server_id)
			continue;
		if (server->lent_seq != lent_seq || !pool_server_is_usable(server))
			return NULL;
		pool->idle_count--;
		return pool_lend(pool, server);
	}
	return NULL;
}

static void pool_try_later(void *object)
{
	struct pool *pool = object;

	pool->set->refs--;
	pool_serve(pool);
}

void pool_serve_later(struct pool *pool)
{
	pool->set->refs++;
	loop_later(pool->set->pools->env.loop, pool_try_later, pool);
}

void pool_wait(struct pool_set *set, int node, struct pool_waiter *waiter, pool_done_fn *fn, void *owner)
{
	struct pool *pool = &set->nodes[node];

	waiter->pool = pool;
	waiter->fn = fn;
	waiter->owner = owner;
	waiter->since_us = time_mono_us();
	list_push(&pool->waiters, &waiter->link);
	pool->waiter_count++;
	pool_serve_later(pool);
}

void pool_wait_cancel(struct pool_waiter *waiter)
{
	if (!waiter->pool)
		return;
	list_remove(&waiter->link);
	waiter->pool->waiter_count--;
	waiter->pool = NULL;
}

static void pool_open_more(struct pool *pool)
{
	while (pool->opening_count < pool->waiter_count && pool_may_open(pool))
		server_open(pool);
	pool_tell_starving(pool, pool->opening_count < pool->waiter_count && !pool_may_open(pool));
}

/* Idle servers to waiters, first come first served; then as many new connections as are missing. */
static void pool_serve(struct pool *pool)
{
	struct pools *pools = pool->set->pools;

	while (!list_is_empty(&pool->waiters)) {
		struct server *server = pool_pop_idle(pool);
		struct pool_waiter *waiter;

		if (!server)
			break;
		waiter = waiter_pop(pool);
		counter_add(&pool->set->stats.wait_time, (uint64_t)(time_mono_us() - waiter->since_us));
		waiter->fn(waiter->owner, server, NULL);
	}
	if (list_is_empty(&pool->waiters)) {
		pool_tell_starving(pool, false);
		return;
	}
	if ((size_t)pool->node >= pools->topo->node_count || pools->topo->nodes[pool->node].addr_len == 0) {
		struct err err;
		err_set(&err, "57P03", "the server's address is not known yet");
		pool_fail_waiters(pool, &err);
		return;
	}
	if (pool->retry_at_us > time_mono_us() && pool_servers(pool) == 0) {
		pool_fail_waiters(pool, &pool->last_error);
		return;
	}
	if (pool->retry_at_us <= time_mono_us())
		pool_open_more(pool);
}

/* ---- what becomes of a server ---- */

static void pool_unlink(struct server *server)
{
	struct pool *pool = server->pool;

	list_remove(&server->link);
	switch (server->state) {
	case SERVER_CONNECTING:
	case SERVER_LOGIN:
	case SERVER_RESETTING:
		pool->opening_count--;
		break;
	case SERVER_IDLE:
		pool->idle_count--;
		break;
	case SERVER_LENT:
		pool->lent_count--;
		pool->pinned_count -= server->is_pinned;
		pool_count(pool, server->is_pinned);
		server->is_pinned = false;
		break;
	case SERVER_CLOSED:
		break;
	}
}

static void pool_park(struct server *server)
{
	pool_unlink(server);
	server->state = SERVER_RESETTING;
	server->request_us = time_mono_us();
	list_push(&server->pool->opening, &server->link);
	server->pool->opening_count++;
}

void pool_server_ready(struct server *server)
{
	struct pool *pool = server->pool;
	usec_t now = time_mono_us();

	pool->retry_at_us = 0;
	stream_set_owner(server->stream, server_idle_event, server);
	if (server->cancels > 0)        /* it could hit the next borrower: pool_retire() comes back to it */
		return;
	if (!pool_server_is_usable(server) || stream_at_eof(server->stream)) {
		pool_server_close(server, "its node has changed");
		return;
	}
	if (pool_has_too_many(pool)) {
		pool_server_close(server, "another worker needs its place");
		return;
	}
	pool_unlink(server);
	server->state = SERVER_IDLE;
	server->idle_since_us = now;
	list_push_front(&pool->idle, &server->link);
	pool->idle_count++;
	if (!list_is_empty(&pool->waiters))
		pool_serve_later(pool);
	if (stream_len(server->stream) > 0)             /* a notice behind ReadyForQuery */
		server_idle_event(server, STREAM_READABLE);
}

void pool_server_close(struct server *server, const char *why)
{
	struct pool *pool = server->pool;

	log_debug("server %s/%s@%s closing because: %s (age=%llds)", pool->set->dbname, pool->set->user,
	          (size_t)server->node < server_pools(server)->topo->node_count ? server_pools(server)->topo->nodes[server->node].name : "?",
	          why, (long long)((time_mono_us() - server->opened_us) / USEC_PER_SEC));
	pool_unlink(server);
	pool_count(pool, -1);
	server->state = SERVER_CLOSED;
	if (server->stream && !stream_is_broken(server->stream)) {
		wire_put_empty(stream_queued(server->stream), 'X');
		stream_flush(server->stream);
	}
	stream_free(&server->stream);
	if (!list_is_empty(&pool->waiters))
		pool_serve_later(pool);
	if (server->cancels == 0)
		server_free(server);
}

void pool_server_failed(struct server *server, const struct err *err)
{
	struct pool *pool = server->pool;
	struct pools *pools = pool->set->pools;
	struct err copy = *err;

	counter_add(&pools->env.stats->server_login_failures, 1);
	counter_add(&pools->env.node_stats[pool->node].errors, 1);
	if (pool->retry_at_us == 0)
		log_warning("%s", err->text);
	pool->retry_at_us = time_mono_us() + pools->conf->opt.server_login_retry;
	pool->last_error = copy;
	pools->env.node_trouble(pools->env.owner, pool->node);
	pool_server_close(server, "login failed");
	if (pool->lent_count + pool->idle_count == 0)
		pool_fail_waiters(pool, &copy);
}

/* A cancel connection has ended: a server parked for it goes on, one closed meanwhile can be freed. */
void pool_retire(struct server *server)
{
	if (server->state == SERVER_CLOSED)
		server_free(server);
	else if (server->state == SERVER_RESETTING && !server->is_ending)
		pool_server_ready(server);
}

void pool_pin(struct server *server)
{
	if (server->is_pinned)
		return;
	server->is_pinned = true;
	server->pool->pinned_count++;
	pool_count(server->pool, -1);
	if (!list_is_empty(&server->pool->waiters))
		pool_serve_later(server->pool);
}

void pool_release(struct server **server, enum pool_release how)
{
	struct server *s = *server;

	*server = NULL;
	ENSURE(s->state == SERVER_LENT);
	stream_set_owner(s->stream, server_idle_event, s);
	stream_resume(s->stream);
	stream_set_window(s->stream, 0);
	if (how == RELEASE_CLOSE || stream_at_eof(s->stream)) {
		pool_server_close(s, "unclean server");
		return;
	}
	if (how == RELEASE_DRAIN) {
		pool_park(s);
		server_drain(s);
		return;
	}
	if (stream_unsent(s->stream) > 0) {
		pool_server_close(s, "unclean server");
		return;
	}
	if (how == RELEASE_RESET && !server_pools(s)->conf->opt.server_reset_query[0]) {
		pool_server_close(s, "no server_reset_query");
		return;
	}
	if (how == RELEASE_RESET) {
		pool_park(s);
		server_reset(s);
		return;
	}
	if (s->cancels > 0) {
		pool_park(s);
		return;
	}
	pool_server_ready(s);
}
