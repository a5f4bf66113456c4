/* What becomes of a server: logged in, lent, come back, to be closed. */
#include "private.h"

bool pool_server_is_usable(const struct server *server)
{
	const struct topo *topo = server_pools(server)->topo;

	return !server->must_close && (size_t)server->node < topo->node_count &&
	       topo->nodes[server->node].incarnation == server->incarnation;
}

void pool_unlink(struct server *server)
{
	struct pool *pool = server->pool;

	list_remove(&server->link);
	switch (server->state) {
	case SERVER_CONNECTING:
	case SERVER_LOGIN:
	case SERVER_RESETTING:
		pool->opening_count--;
		pool->dialing_count -= server->is_pinned;
		break;
	case SERVER_IDLE:
		pool_count_idle(pool, -1);
		break;
	case SERVER_LENT:
		pool->lent_count--;
		server->is_pinned = false;
		break;
	case SERVER_CLOSED:
		break;
	}
}

void pool_park(struct server *server, usec_t at_most_us)
{
	pool_unlink(server);
	server->state = SERVER_RESETTING;
	server->request_us = pool_now_us(server->pool);
	server->deadline_us = at_most_us ? server->request_us + at_most_us : 0;
	list_push(&server->pool->opening, &server->link);
	server->pool->opening_count++;
}

void pool_enlist(struct pool *pool, struct server *server)
{
	server->state = SERVER_IDLE;
	server->idle_since_us = pool_now_us(pool);
	list_push_front(&pool->idle, &server->link);
	pool_count_idle(pool, 1);
}

/* One that would lie idle makes room for whoever wants a seat in one of its accounts; one that its own pool's clients wait for only for a
 * pool that has no server at all. True: it is gone. */
static bool yields_seat(struct server *server)
{
	struct pool *pool = server->pool;
	bool is_wanted = !list_is_empty(&pool->waiters) || atomic_load(&pool_account(pool, SEAT_POOL)->waiting[WANT_SERVER]);
	struct claim claim;

	pool->attention = false;
	for (int kind = SEAT_DATABASE; kind < SEATS; kind++) {
		struct desk *desk = pool->at[kind].desk;

		pool->attention |= account_is_wanted(desk->account);
		if (!desk_claim(desk, is_wanted ? WANT_FIRST_SEAT : WANT_SEAT, pool_waits_since(pool), &claim))
			continue;
		pool->attention = true;
		pool_server_close_for(server, "others need its place", &claim);
		return true;
	}
	return false;
}

/* Somebody waits for a seat in one of its accounts, or a limit was lowered. */
static bool attend(struct server *server)
{
	if (!server_is_too_many(server, true))
		return yields_seat(server);
	pool_server_close(server, "over a limit");
	return true;
}

static const char *reason_to_close(struct server *server)
{
	if (!pool_server_is_usable(server) || stream_at_eof(server->stream))
		return "its node has changed";
	if (server_is_too_old(server, pool_now_us(server->pool)))
		return "server_lifetime";
	return pool_retake_seat(server) ? NULL : "the pool is full again";
}

void pool_server_ready(struct server *server)
{
	struct pool *pool = server->pool;
	const char *reason;

	pool->retry_at_us = 0;
	stream_set_owner(server->stream, server_idle_event, server);
	if (server->dial) {
		dial_ready(server);
		return;
	}
	if (server->cancels > 0)        /* it could hit the next borrower: pool_retire() comes back to it */
		return;
	reason = reason_to_close(server);
	if (reason) {
		pool_server_close(server, reason);
		return;
	}
	if (pool->attention && attend(server))
		return;
	pool_unlink(server);
	pool_enlist(pool, server);
	if (!list_is_empty(&pool->waiters) ||
	    (atomic_load_explicit(&pool_account(pool, SEAT_POOL)->waiting[WANT_SERVER], memory_order_relaxed) & ~pools_bit(pool->set->pools)))
		pool_serve_later(pool);
	if (stream_len(server->stream) > 0)             /* a notice behind ReadyForQuery */
		server_idle_event(server, STREAM_READABLE);
}

static void log_close(const struct server *server, const char *why)
{
	const struct pool_set *set = server->pool->set;
	const struct topo *topo = set->pools->topo;

	log_debug("server %s/%s@%s closing because: %s (age=%llds)", set->dbname, set->user,
	          (size_t)server->node < topo->node_count ? topo->nodes[server->node].name : "?", why,
	          (long long)((time_mono_us() - server->opened_us) / USEC_PER_SEC));
}

static void close_server(struct server *server, const char *why, bool may_be_in_a_message)
{
	struct pool *pool = server->pool;
	bool has_backend = server->state != SERVER_CONNECTING && !server->login;

	log_close(server, why);
	pool_unlink(server);
	server->state = SERVER_CLOSED;
	if (has_backend && server->stream && !stream_at_eof(server->stream))
		closing_new(pool->set->pools, &server->stream, &server->seats, may_be_in_a_message);
	stream_free(&server->stream);
	seats_give(&server->seats);
	if (pool_has_demand(pool))
		pool_serve_later(pool);
	if (server->cancels == 0)
		server_free(server);
}

void pool_server_close(struct server *server, const char *why)
{
	close_server(server, why, false);
}

void pool_server_close_for(struct server *server, const char *why, const struct claim *claim)
{
	server->seats.promised[claim->kind].is_set = true;
	server->seats.promised[claim->kind].worker = (uint8_t)claim->worker;
	server->seats.promised[claim->kind].want = (uint8_t)claim->want;
	pool_server_close(server, why);
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
	pools->env.node_trouble(pools->env.owner, pool->node);
	if (server->dial) {             /* what its own parameters may have caused says nothing of the others */
		dial_failed(server, &copy);
		pool_server_close(server, "login failed");
		return;
	}
	pool->retry_at_us = time_mono_us() + pools->conf->opt.server_login_retry;
	pool->last_error = copy;
	pool_server_close(server, "login failed");
	pool_fail_if_none(pool);
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
	seat_give(&server->seats, SEAT_POOL);
	if (pool_has_demand(server->pool))
		pool_serve_later(server->pool);
}

/* What has to be done before it can be lent again, or NULL. */
static const char *unfit_to_keep(const struct server *s, enum pool_release how)
{
	if (how == RELEASE_CLOSE || stream_at_eof(s->stream))
		return "unclean server";
	if (how != RELEASE_DRAIN && stream_unsent(s->stream) > 0)
		return "unclean server";
	if (how == RELEASE_RESET && !server_pools(s)->conf->opt.server_reset_query[0])
		return "no server_reset_query";
	return NULL;
}

void pool_release(struct server **server, enum pool_release how)
{
	struct server *s = *server;
	const char *unfit;

	*server = NULL;
	ENSURE(s->state == SERVER_LENT);
	stream_set_owner(s->stream, server_idle_event, s);
	stream_resume(s->stream);
	stream_set_window(s->stream, 0);
	unfit = unfit_to_keep(s, how);
	if (unfit) {
		close_server(s, unfit, true);
		return;
	}
	if (how == RELEASE_CLEAN && s->cancels == 0) {
		pool_server_ready(s);
		return;
	}
	pool_park(s, server_pools(s)->conf->opt.cancel_wait_timeout);
	if (how == RELEASE_DRAIN)
		server_drain(s);
	else if (how == RELEASE_RESET)
		server_reset(s);
}
