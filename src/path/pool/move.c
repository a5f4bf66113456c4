/* Letters between the pools of two workers, and the server that moves in one: it leaves its worker's loop, its settings become texts,
 * and at the other worker it is as if it had just been released there: what was prepared on it stays prepared. */
#include "private.h"

_Static_assert(sizeof(struct setting) == 3 * sizeof(char *), "copy_settings() knows all fields of a setting");

void mail_send(struct pools *pools, size_t worker, const struct pool_mail *mail)
{
	struct pool_mail *copy = mem_alloc(sizeof(*copy));

	*copy = *mail;
	pools->env.send(pools->env.owner, worker, copy);
}

static void free_settings(struct pool_mail *mail)
{
	for (size_t i = 0; i < mail->setting_count; i++) {
		mem_free((char *)(uintptr_t)mail->settings[i].name);
		mem_free((char *)(uintptr_t)mail->settings[i].value);
		mem_free((char *)(uintptr_t)mail->settings[i].sql);
	}
	mem_free(mail->settings);
}

void pool_mail_free(struct pool_mail **mail)
{
	if (!*mail)
		return;
	if ((*mail)->server)
		server_free((*mail)->server);
	free_settings(*mail);
	mem_free(*mail);
	*mail = NULL;
}

/* ---- sending ---- */

/* Interned settings belong to their worker. */
static void copy_settings(struct pool_mail *mail, const struct settings *settings)
{
	if (!settings)
		return;
	mail->setting_count = settings->count;
	mail->settings = mem_alloc(settings->count * sizeof(*mail->settings));
	for (size_t i = 0; i < settings->count; i++)
		mail->settings[i] = (struct setting){ mem_strdup(settings->items[i].name), mem_strdup(settings->items[i].value),
			                              mem_strdup(settings->items[i].sql) };
}

static void send_server(struct server *server, size_t worker)
{
	struct pools *pools = server_pools(server);
	struct pool_mail mail = { .kind = MAIL_SERVER, .account = pool_account(server->pool, SEAT_POOL), .want = WANT_SERVER, .server = server };

	pool_unlink(server);
	stream_detach(server->stream);
	copy_settings(&mail, server->settings);
	settings_unref(&server->settings);
	for (int kind = 0; kind < SEATS; kind++) {
		mail.seats[kind] = server->seats.desk[kind]->account;
		desk_count_server(server->seats.desk[kind], false);
		desk_unref(&server->seats.desk[kind]);
	}
	server->pool = NULL;
	counter_add(&pools->env.stats->server_moves, 1);
	mail_send(pools, worker, &mail);
}

/* The most recently used one that can leave: its bytes all read and sent. */
static struct server *find_movable(struct pool *pool)
{
	LIST_EACH(pos, &pool->idle) {
		struct server *server = LIST_ITEM(pos, struct server, link);
		if (stream_is_quiet(server->stream) && pool_server_is_usable(server))
			return server;
	}
	return NULL;
}

static void offer_idle(struct pool *pool)
{
	struct account *account = pool_account(pool, SEAT_POOL);
	uint64_t mine = pools_bit(pool->set->pools);
	struct server *server;
	int worker;

	while ((atomic_load(&account->waiting[WANT_SERVER]) & ~mine) && (server = find_movable(pool))) {
		worker = account_claim(account, WANT_SERVER, pool_waits_since(pool), mine);
		if (worker < 0)
			return;
		send_server(server, (size_t)worker);
	}
}

void pool_offer(struct pool *pool)
{
	struct desk *desk = pool->at[SEAT_POOL].desk;
	struct account *account = desk->account;

	if (pool->idle_count == 0 || !(atomic_load(&account->waiting[WANT_SERVER]) & ~pools_bit(desk->pools)))
		return;
	offer_idle(pool);
	if (pool->idle_count == 0 || !list_is_empty(&pool->waiters) || desk->told_idle)
		return;
	desk->told_idle = true;
	account_mark(&account->idle, desk->pools->env.worker, true);
	offer_idle(pool);               /* a ticket that was put before our bit could be seen */
}

/* ---- receiving ---- */

static void take_want(struct pools *pools, const struct pool_mail *mail)
{
	struct desk *desk = map_get(&pools->desks, mail->account->key);

	if (!desk)
		return;
	LIST_EACH(pos, &desk->pools_here) {
		struct pool *pool = LIST_ITEM(pos, struct pool_at, link)->pool;
		if (mail->want == WANT_SERVER)
			pool_offer(pool);
		else
			pool->attention = true;
	}
	if (mail->want != WANT_SERVER)
		desk_evict(desk);
}

static void take_seat(struct pools *pools, const struct pool_mail *mail)
{
	struct desk *desk = desk_get(pools, mail->account);

	desk_arrived(desk, mail->want);
	desk->in_hand += mail->has_seat;
	desk_use_seats(desk);
	desk_unref(&desk);
}

/* Of the pools here the one whose configuration dialled it: under another the same names may mean another database. */
static struct pool *find_pool(const struct desk *desk, const struct server *server)
{
	LIST_EACH(pos, &desk->pools_here) {
		struct pool *pool = LIST_ITEM(pos, struct pool_at, link)->pool;
		if (pool->set->conf->version == server->conf_version)
			return pool;
	}
	return NULL;
}

static void settle_server(struct pools *pools, struct pool *pool, struct server *server)
{
	if (!pool) {
		closing_new(pools, &server->stream, &server->seats, false);
		server_free(server);
		return;
	}
	server->pool = pool;
	server->node = pool->node;
	pool_enlist(pool, server);
	if (!pool_server_is_usable(server))
		pool_server_close(server, "its node has changed");
	pool_serve(pool);
}

static void take_server(struct pools *pools, struct pool_mail *mail)
{
	struct server *server = mail->server;
	struct desk *desk = desk_get(pools, mail->account);

	mail->server = NULL;
	desk_arrived(desk, WANT_SERVER);
	stream_attach(server->stream, pools->env.io, server_idle_event, server);
	server->settings = settings_intern(pools->env.settings, mail->settings, mail->setting_count);
	for (int kind = 0; kind < SEATS; kind++) {
		server->seats.desk[kind] = desk_get(pools, mail->seats[kind]);
		desk_count_server(server->seats.desk[kind], true);
	}
	settle_server(pools, find_pool(desk, server), server);
	desk_unref(&desk);
}

void pools_take_mail(struct pools *pools, struct pool_mail *mail)
{
	switch (mail->kind) {
	case MAIL_WANT:
		take_want(pools, mail);
		break;
	case MAIL_SEAT:
		take_seat(pools, mail);
		break;
	case MAIL_SERVER:
		take_server(pools, mail);
		break;
	}
	pool_mail_free(&mail);
}
