/* How many servers there may be: what the configuration says, and the seats of a pool's servers in its three accounts (account.c). */
#include "private.h"

/* ---- what conf says ---- */

static const struct conf_user *user_of(const struct pool *pool)
{
	return conf_user_find(pool->set->pools->conf, pool->set->user);
}

static int64_t size_limit(const struct pool *pool)
{
	return MAX(conf_pool_size(pool->set->pools->conf, &pool->set->entry, user_of(pool)), 1);
}

static int64_t reserve_size(const struct pool *pool)
{
	const struct conf *conf = pool->set->pools->conf;
	const struct conf_user *user = user_of(pool);

	if (conf->opt.reserve_pool_timeout == 0)
		return 0;
	if (user && user->reserve_pool_size >= 0)
		return user->reserve_pool_size;
	return pool->set->entry.reserve_pool_size >= 0 ? pool->set->entry.reserve_pool_size : conf->opt.reserve_pool_size;
}

int64_t pool_min_size(const struct pool *pool)
{
	int64_t min = pool->set->entry.min_pool_size;

	return MIN(min >= 0 ? min : pool->set->pools->conf->opt.min_pool_size, size_limit(pool));
}

static int64_t database_limit(const struct pool *pool)
{
	int64_t limit = pool->set->entry.max_db_connections;

	return limit >= 0 ? limit : pool->set->pools->conf->opt.max_db_connections;
}

static int64_t user_limit(const struct pool *pool)
{
	const struct conf_user *user = user_of(pool);

	return user && user->max_user_connections >= 0 ? user->max_user_connections : pool->set->pools->conf->opt.max_user_connections;
}

usec_t pool_reserve_in_us(const struct pool *pool)
{
	if (list_is_empty(&pool->waiters) || reserve_size(pool) == 0)
		return -1;
	return MAX(pool_waits_since(pool) + pool->set->pools->conf->opt.reserve_pool_timeout - time_mono_us(), 0);
}

/* What the next server of the pool is held against. */
static int64_t limit_now(const struct pool *pool, enum seat_kind kind)
{
	switch (kind) {
	case SEAT_POOL:
		return size_limit(pool) + (pool_reserve_in_us(pool) == 0 ? reserve_size(pool) : 0);
	case SEAT_DATABASE:
		return database_limit(pool);
	case SEAT_USER:
		return user_limit(pool);
	case SEATS:
		break;
	}
	return 0;
}

static void look_up_limits(struct pool *pool)
{
	for (int kind = 0; kind < SEATS; kind++)
		if (pool->at[kind].desk)
			pool->at[kind].desk->limit = kind == SEAT_POOL ? size_limit(pool) + reserve_size(pool) : limit_now(pool, kind);
}

void pools_look_up_limits(struct pools *pools)
{
	LIST_EACH(pos, &pools->sets)
		for (int i = 0; i < TOPO_NODES_MAX; i++) {
			struct pool *pool = &LIST_ITEM(pos, struct pool_set, link)->nodes[i];
			look_up_limits(pool);
			pool->attention = pool->at[0].desk != NULL;     /* limits may have been lowered */
		}
}

static bool seat_tries_leaving(struct seats *seats, enum seat_kind kind, int64_t limit)
{
	if (limit > 0 && !seats->leaves[kind])
		seats->leaves[kind] = account_try_leaving(seats->desk[kind]->account, limit);
	return seats->leaves[kind];
}

bool server_is_too_many(struct server *server, bool with_reserve)
{
	bool leaves = false;

	for (int kind = 0; kind < SEATS; kind++) {
		const struct desk *desk = server->seats.desk[kind];
		if (desk)
			leaves |= seat_tries_leaving(&server->seats, kind,
			                             kind == SEAT_POOL && !with_reserve ? size_limit(server->pool) : desk->limit);
	}
	return leaves;
}

bool server_is_above_minimum(struct server *server)
{
	int64_t min = pool_min_size(server->pool);

	return min == 0 || seat_tries_leaving(&server->seats, SEAT_POOL, min);
}

/* ---- the accounts of a pool ---- */

/* By the node's name: its index may change at a reload while servers of the old one are still lent. */
static struct account *find_account(const struct pool *pool, enum seat_kind kind)
{
	const struct pools *pools = pool->set->pools;
	struct buf names = { NULL, 0, 0 };
	struct hash128 key;

	buf_add_u8(&names, (uint8_t)kind);
	buf_add_cstr(&names, kind == SEAT_USER ? "" : pool->set->database);
	buf_add_cstr(&names, kind == SEAT_DATABASE ? "" : pool->set->user);
	buf_add_cstr(&names, pools->topo->nodes[pool->node].name);
	key = hash_bytes(names.data, names.len);
	buf_free(&names);
	return hub_account(pools->env.hub, kind, key);
}

void pool_join(struct pool *pool)
{
	if (pool->at[0].desk)
		return;
	for (int kind = 0; kind < SEATS; kind++) {
		struct pool_at *at = &pool->at[kind];
		at->desk = desk_get(pool->set->pools, find_account(pool, kind));
		at->pool = pool;
		list_push(&at->desk->pools_here, &at->link);
	}
	look_up_limits(pool);
}

void pool_leave(struct pool *pool)
{
	if (!pool->at[0].desk)
		return;
	pool->blocked = 0;
	for (int kind = 0; kind < SEATS; kind++) {
		struct pool_at *at = &pool->at[kind];
		list_remove(&at->link);
		for (int want = 0; want < WANTS; want++)
			desk_refresh(at->desk, want);
		desk_unref(&at->desk);
	}
}

/* ---- seats ---- */

static void seat_sit(struct seats *seats, struct desk *desk)
{
	seats->desk[desk->account->kind] = desk;
	desk->refs++;
	desk_count_server(desk, true);
}

static bool seat_take(struct pool *pool, enum seat_kind kind, int64_t limit, struct seats *out)
{
	struct desk *desk = pool->at[kind].desk;

	if (desk->in_hand > 0)
		desk->in_hand--;
	else if (!account_try(desk->account, limit))
		return false;
	seat_sit(out, desk);
	return true;
}

/* All or none: who waits for one seat holds no other. */
bool pool_take_seats(struct pool *pool, enum seat_kind first, struct seats *out)
{
	*out = (struct seats){ .desk = { NULL } };
	for (int kind = first; kind < SEATS; kind++) {
		if (seat_take(pool, kind, limit_now(pool, kind), out))
			continue;
		pool->blocked |= 1u << kind;
		seats_give(out);
		return false;
	}
	return true;
}

bool pool_take_seats_below(struct pool *pool, int64_t size, struct seats *out)
{
	*out = (struct seats){ .desk = { NULL } };
	for (int kind = SEAT_POOL; kind < SEATS; kind++)
		if (!seat_take(pool, kind, kind == SEAT_POOL ? size : limit_now(pool, kind), out)) {
			seats_give(out);
			return false;
		}
	return true;
}

bool pool_retake_seat(struct server *server)
{
	struct pool *pool = server->pool;
	struct desk *desk = pool->at[SEAT_POOL].desk;

	if (server->seats.desk[SEAT_POOL])
		return true;
	if (!desk || !account_try(desk->account, size_limit(pool)))
		return false;
	seat_sit(&server->seats, desk);
	return true;
}

void seat_give(struct seats *seats, enum seat_kind kind)
{
	struct desk *desk = seats->desk[kind];

	if (!desk)
		return;
	seats->desk[kind] = NULL;
	desk_count_server(desk, false);
	if (seats->promised[kind].is_set && !desk->pools->is_ending)
		mail_send(desk->pools, seats->promised[kind].worker,
		          &(struct pool_mail){ .kind = MAIL_SEAT, .account = desk->account, .want = seats->promised[kind].want, .has_seat = true });
	else
		desk_give_back(desk, seats->leaves[kind]);
	desk_unref(&desk);
}

void seats_give(struct seats *seats)
{
	for (int kind = 0; kind < SEATS; kind++)
		seat_give(seats, kind);
}
