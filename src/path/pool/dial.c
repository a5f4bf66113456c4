/* Servers that are dialled for one client alone, with its own start-up parameters: replication. They count against the limits of database
 * and user, not against the pool's size, and end with their client. */
#include "private.h"

struct dial {
	struct list link;               /* pool->dials while it waits for seats */
	struct pool *pool;
	struct pool_waiter *waiter;     /* NULL: has left */
	struct buf params;              /* name NUL value NUL ... */
	bool is_dialled;                /* server->dial points here */
};

static void dial_free(struct dial *dial)
{
	list_remove(&dial->link);
	buf_free(&dial->params);
	mem_free(dial);
}

void pool_dial(struct pool_set *set, int node, const struct wire_param *params, size_t count, struct pool_waiter *waiter, pool_done_fn *fn,
               void *owner)
{
	struct dial *dial = mem_alloc(sizeof(*dial));

	dial->pool = &set->nodes[node];
	dial->waiter = waiter;
	for (size_t i = 0; i < count; i++) {
		buf_add_cstr(&dial->params, params[i].name);
		buf_add_cstr(&dial->params, params[i].value);
	}
	*waiter = (struct pool_waiter){ .pool = dial->pool, .fn = fn, .owner = owner, .since_us = time_mono_us(), .dial = dial };
	list_init(&waiter->link);
	list_push(&dial->pool->dials, &dial->link);
	pool_serve_later(dial->pool);
}

/* The waiter hears of it, exactly once. */
static void dial_answer(struct dial *dial, struct server *server, const struct err *err)
{
	struct pool_waiter *waiter = dial->waiter;

	dial_free(dial);
	waiter->pool = NULL;
	waiter->dial = NULL;
	waiter->fn(waiter->owner, server, err);
}

void dial_cancel(struct dial *dial)
{
	dial->waiter->pool = NULL;
	dial->waiter->dial = NULL;
	dial->waiter = NULL;
	if (dial->is_dialled)
		return;                 /* closed as soon as it has logged in */
	pool_serve_later(dial->pool);   /* its ticket */
	dial_free(dial);
}

usec_t dials_since(const struct pool *pool)
{
	return list_is_empty(&pool->dials) ? INT64_MAX : LIST_ITEM(pool->dials.next, struct dial, link)->waiter->since_us;
}

void dials_fail(struct pool *pool, const struct err *err)
{
	struct err copy = *err;
	struct list now;

	list_init(&now);
	while (!list_is_empty(&pool->dials)) {
		struct list *first = pool->dials.next;
		list_remove(first);
		list_push(&now, first);
	}
	while (!list_is_empty(&now))
		dial_answer(LIST_ITEM(now.next, struct dial, link), NULL, &copy);
}

void dials_serve(struct pool *pool)
{
	struct seats seats;

	while (!list_is_empty(&pool->dials)) {
		struct dial *dial = LIST_ITEM(pool->dials.next, struct dial, link);

		if (!pool_take_seats(pool, SEAT_DATABASE, &seats))
			return;
		list_remove(&dial->link);
		dial->is_dialled = true;
		server_open(pool, &seats, dial);
	}
}

void dial_ready(struct server *server)
{
	struct dial *dial = server->dial;

	server->dial = NULL;
	if (!dial->waiter || !pool_server_is_usable(server)) {
		struct err err;
		err_set(&err, "57P03", "the node has changed while it was dialled");
		pool_server_close(server, "nobody waits for it any more");
		if (dial->waiter)
			dial_answer(dial, NULL, &err);
		else
			dial_free(dial);
		return;
	}
	pool_unlink(server);
	server->is_pinned = server->must_close = true;
	dial_answer(dial, pool_lend(server->pool, server), NULL);
}

void dial_failed(struct server *server, const struct err *err)
{
	struct dial *dial = server->dial;

	server->dial = NULL;
	if (dial->waiter)
		dial_answer(dial, NULL, err);
	else
		dial_free(dial);
}

void dial_put_startup(const struct server *server, struct buf *out)
{
	const struct pool_set *set = server->pool->set;
	struct wire_param params[2 + WIRE_STARTUP_PARAMS_MAX] = { { "user", set->user }, { "database", set->dbname } };
	struct cursor c = cursor_of(server->dial->params.data, server->dial->params.len);
	size_t count = 2;

	while (cursor_left(&c) && count < ARRAY_LEN(params)) {
		params[count].name = cursor_cstr(&c, NULL);
		params[count].value = cursor_cstr(&c, NULL);
		count++;
	}
	wire_put_startup(out, WIRE_PROTOCOL_3_0, params, count);
}
