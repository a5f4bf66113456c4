/* Lending: idle servers, who waits for one, when to open another. */
#include "private.h"

/* Idle servers that are looked at for one with the very settings that are wanted. */
#define LOOK_AT_MOST 16
/* Waiters that are looked at for one whom an idle server suits, when it doesn't suit the first. */
#define OVERTAKE_MOST 64
/* A waiter is overtaken by those whom the idle servers suit, but not for longer. */
#define PATIENCE_US (10 * USEC_PER_MS)

/* ---- waiters ---- */

static void waiter_remove(struct pool_waiter *waiter)
{
	list_remove(&waiter->link);
	waiter->pool->waiter_count--;
	waiter->pool = NULL;
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
		waiter_remove(waiter);
		waiter->fn(waiter->owner, NULL, &copy);
	}
}

/* ---- idle servers ---- */

struct server *pool_lend(struct pool *pool, struct server *server)
{
	list_push(&pool->lent, &server->link);
	pool->lent_count++;
	server->state = SERVER_LENT;
	server->lent_seq++;
	server->lent_us = pool_now_us(pool);
	counter_add(&pool->set->stats.server_assignment_count, 1);
	return server;
}

static struct server *lend_idle(struct pool *pool, struct server *server)
{
	list_remove(&server->link);
	pool_count_idle(pool, -1);
	return pool_lend(pool, server);
}

/* The most recently used one that has the settings already, else the most recently used one they can be laid on. */
static struct server *find_idle(struct pool *pool, const struct pool_wish *wish)
{
	struct server *best = NULL;
	unsigned seen = 0;

	LIST_EACH_SAFE(pos, &pool->idle) {
		struct server *server = LIST_ITEM(pos, struct server, link);

		if (!pool_server_is_usable(server)) {
			pool_server_close(server, "its node has changed");
			continue;
		}
		seen++;
		if (server->epoch < wish->epoch)
			continue;
		if (server->settings == wish->settings)
			return server;
		if (!best && settings_fit(server->settings, wish->settings) != FIT_NEVER)
			best = server;
		if (best && seen >= LOOK_AT_MOST)
			break;
	}
	return best;
}

static bool check_is_due(const struct server *server)
{
	const struct conf_options *opt = &server_pools(server)->conf->opt;

	return opt->server_check_query[0] && pool_now_us(server->pool) - server->idle_since_us > opt->server_check_delay;
}

/* One that must be checked first is not lent: it comes back through pool_server_ready(). One check a waiter; coming: not in the queue yet. */
static struct server *take_idle(struct pool *pool, const struct pool_wish *wish, unsigned coming)
{
	struct server *server = pool->idle_count ? find_idle(pool, wish) : NULL;

	if (!server)
		return NULL;
	if (!check_is_due(server))
		return lend_idle(pool, server);
	if (pool->opening_count < pool->waiter_count + coming)
		server_check(server);
	return NULL;
}

struct server *pool_take(struct pool_set *set, int node, const struct pool_wish *wish)
{
	struct pool *pool = &set->nodes[node];

	return list_is_empty(&pool->waiters) ? take_idle(pool, wish, 1) : NULL;
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
		return lend_idle(pool, server);
	}
	return NULL;
}

void pool_wait(struct pool_set *set, int node, const struct pool_wish *wish, struct pool_waiter *waiter, pool_done_fn *fn, void *owner)
{
	struct pool *pool = &set->nodes[node];

	*waiter = (struct pool_waiter){ .pool = pool, .fn = fn, .owner = owner, .wish = *wish, .since_us = time_mono_us() };
	list_push(&pool->waiters, &waiter->link);
	pool->waiter_count++;
	pool_serve_later(pool);
}

void pool_wait_cancel(struct pool_waiter *waiter)
{
	struct pool *pool = waiter->pool;

	if (!pool)
		return;
	if (waiter->dial) {
		dial_cancel(waiter->dial);
		return;
	}
	waiter_remove(waiter);
	pool_serve_later(pool);         /* its ticket */
}

/* ---- serving those who wait ---- */

static void pool_try_later(void *object)
{
	struct pool *pool = object;

	pool->serve_scheduled = false;
	pool->set->refs--;
	pool_serve(pool);
}

void pool_serve_later(struct pool *pool)
{
	if (pool->serve_scheduled)
		return;
	pool->serve_scheduled = true;
	pool->set->refs++;
	loop_later(pool->set->pools->env.loop, pool_try_later, pool);
}

static void reserve_timer_fired(void *owner)
{
	pool_serve(owner);
}

/* Blocked by the pool's size: the reserve is for those who wait long enough. */
static void await_reserve(struct pool *pool)
{
	usec_t in_us = pool->blocked & 1u << SEAT_POOL ? pool_reserve_in_us(pool) : -1;

	if (in_us <= 0)
		return;
	if (!pool->reserve_timer)
		pool->reserve_timer = timer_new(pool->set->pools->env.loop, reserve_timer_fired, pool);
	timer_set(pool->reserve_timer, in_us);
}

/* Idle servers to waiters, first come first served, but for those whom none suits. */
static bool serve_one(struct pool *pool)
{
	unsigned looked = 0;

	LIST_EACH(pos, &pool->waiters) {
		struct pool_waiter *waiter = LIST_ITEM(pos, struct pool_waiter, link);
		struct server *server = take_idle(pool, &waiter->wish, 0);

		if (server) {
			waiter_remove(waiter);
			counter_add(&pool->set->stats.wait_time, (uint64_t)(time_mono_us() - waiter->since_us));
			waiter->fn(waiter->owner, server, NULL);
			return true;
		}
		if (pool->idle_count == 0 || ++looked >= OVERTAKE_MOST)
			break;
	}
	return false;
}

/* The first waiter, if none of the idle servers suits it and it has been overtaken for long enough: one of them makes room. */
static void make_room(struct pool *pool)
{
	const struct pool_waiter *first = LIST_ITEM(pool->waiters.next, struct pool_waiter, link);

	if (!pool->blocked || list_is_empty(&pool->waiters) || pool->idle_count == 0)
		return;
	if (time_mono_us() - first->since_us > PATIENCE_US && !find_idle(pool, &first->wish) && pool->idle_count > 0)
		desk_evict(pool->at[__builtin_ctz(pool->blocked)].desk);
}

static void ask_for_server(struct pool *pool)
{
	struct desk *desk = pool->at[SEAT_POOL].desk;
	enum asked asked = desk_refresh(desk, WANT_SERVER);

	if (asked != ASKED_NOTHING_NEW)
		desk_tell(desk, WANT_SERVER, atomic_load(asked == ASKED_FIRST ? &desk->account->holders : &desk->account->idle));
}

static void pool_refresh(struct pool *pool)
{
	ask_for_server(pool);
	for (unsigned kind = 0; kind < SEATS; kind++) {
		struct desk *desk = pool->at[kind].desk;

		if (!(pool->blocked & 1u << kind) && !desk_is_asking(desk))
			continue;
		desk_refresh(desk, WANT_SEAT);
		desk_refresh(desk, WANT_FIRST_SEAT);
	}
}

/* Idle servers that don't help here make room; else the other workers are told. True when something is new, and it is worth another try: a
 * seat may have become free before our ticket was there. */
static bool ask_for_seat(struct desk *desk)
{
	bool is_new = desk_refresh(desk, WANT_SEAT) != ASKED_NOTHING_NEW;

	is_new |= desk_refresh(desk, WANT_FIRST_SEAT) != ASKED_NOTHING_NEW;
	if (desk_evict(desk))
		return true;
	if (is_new && desk->account->kind != SEAT_POOL)         /* idle servers of the very pool come by themselves */
		desk_tell(desk, WANT_SEAT, atomic_load(&desk->account->holders));
	return is_new;
}

static bool ask_for_seats(struct pool *pool)
{
	bool is_new = false;

	ask_for_server(pool);           /* better one that moves than one that is closed to make room */
	for (unsigned kind = 0; kind < SEATS; kind++)
		if (pool->blocked & 1u << kind)
			is_new |= ask_for_seat(pool->at[kind].desk);
	return is_new;
}

static void pool_open_more(struct pool *pool)
{
	struct seats seats;

	while (pool_missing(pool) > 0 && pool_take_seats(pool, SEAT_POOL, &seats))
		server_open(pool, &seats, NULL);
}

/* After a failed login nobody tries again for a while; those who wait may still get a server that others have. */
void pool_fail_if_none(struct pool *pool)
{
	struct err err = pool->last_error;

	if (pool_servers(pool) > 0 || account_used(pool_account(pool, SEAT_POOL)) > 0)
		return;
	dials_fail(pool, &err);
	pool_fail_waiters(pool, &err);
}

static bool fails_for_now(struct pool *pool)
{
	if (pool->retry_at_us <= time_mono_us())
		return false;
	pool_fail_if_none(pool);
	return true;
}

static bool has_address(struct pool *pool)
{
	const struct topo *topo = pool->set->pools->topo;
	struct err err;

	if ((size_t)pool->node < topo->node_count && topo->nodes[pool->node].addr_len > 0)
		return true;
	err_set(&err, "57P03", "the server's address is not known yet");
	dials_fail(pool, &err);
	pool_fail_waiters(pool, &err);
	return false;
}

void pool_serve(struct pool *pool)
{
	if (pool_has_demand(pool) && has_address(pool))
		pool_join(pool);
	if (!pool->at[SEAT_POOL].desk)
		return;
	pool_offer(pool);
	make_room(pool);
	while (serve_one(pool))
		;
	pool->blocked = 0;
	if (pool_has_demand(pool) && has_address(pool) && !fails_for_now(pool)) {
		do {
			pool->blocked = 0;
			dials_serve(pool);
			pool_open_more(pool);
		} while (pool->blocked && ask_for_seats(pool));
		await_reserve(pool);
	}
	pool_refresh(pool);
}
