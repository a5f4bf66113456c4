/* Limits and turns over several workers, on one loop. */
#include "pool_test.h"

TEST(limits, never_more_than_pool_size_over_all_workers)
{
	struct client clients[12];

	bed_begin("default_pool_size = 2\n");
	for (size_t i = 0; i < 12; i++)
		client_ask(&clients[i], i % WORKERS);
	for (size_t served = 0; served < 12;) {
		settle(5);
		for (size_t i = 0; i < 12; i++)
			if (clients[i].server) {
				client_done(&clients[i]);
				served++;
			}
	}
	settle(5);
	CHECK_INT(bed.most, 2);
	CHECK_INT(bed.dialled, 2);
	bed_end();
}

TEST(limits, first_come_first_served_over_all_workers)
{
	struct client clients[9];

	bed_begin("default_pool_size = 1\n");
	turns = 0;
	for (size_t i = 0; i < 9; i++) {
		client_ask(&clients[i], (i * 2) % WORKERS);
		settle(2);
	}
	for (size_t i = 0; i < 9; i++) {
		settle(5);
		CHECK(clients[i].server != NULL);
		CHECK_INT(clients[i].turn, i + 1);
		client_done(&clients[i]);
	}
	CHECK_INT(bed.dialled, 1);
	bed_end();
}

/* A server idle at one worker comes to the client of another, with all that is on it. */
TEST(limits, idle_servers_move)
{
	struct hash128 id = hash_bytes("x", 1);
	struct setting items[] = { { .name = "work_mem", .value = "1MB" }, { .name = "a.b", .sql = "SET a.b = 'c'" } };
	struct client a, b;
	uint64_t server_id;

	bed_begin("default_pool_size = 1\n");
	client_ask(&a, 0);
	settle(5);
	server_id = a.server->id;
	server_add_statement(a.server, id);
	server_put_name(a.server, "p", id);
	a.server->settings = settings_intern(bed.settings[0], items, 2);
	client_done(&a);
	b = (struct client){ .worker = 1 };
	list_init(&b.waiter.link);
	{
		struct settings *wanted = settings_intern(bed.settings[1], items, 2);
		client_ask_of(&b, 1, bed.sets[1], &(struct pool_wish){ wanted, 0 });
		settle(10);
		CHECK(b.server != NULL);
		CHECK_INT(b.server->id, server_id);
		CHECK(b.server->settings == wanted);
		settings_unref(&wanted);
	}
	CHECK(server_has_statement(b.server, id));
	CHECK(server_find_name(b.server, "p") != NULL);
	CHECK_INT(counter_read(&bed.stats[0].server_moves), 1);
	CHECK_INT(pool_set_counts(bed.sets[0], -1).idle, 0);
	CHECK_INT(pool_set_counts(bed.sets[1], -1).active, 1);
	client_done(&b);
	CHECK_INT(bed.most, 1);
	bed_end();
}

TEST(limits, who_gives_up_waiting_leaves_no_ticket)
{
	struct client a, b, c;

	bed_begin("default_pool_size = 1\n");
	client_ask(&a, 0);
	settle(5);
	client_ask(&b, 1);
	settle(5);
	pool_wait_cancel(&b.waiter);
	settle(5);
	client_done(&a);
	settle(5);
	CHECK(b.server == NULL);
	CHECK_INT(pool_set_counts(bed.sets[0], -1).idle, 1);
	client_ask(&c, 2);
	settle(10);
	CHECK(c.server != NULL);
	client_done(&c);
	bed_end();
}

/* The letter is under way when the client leaves: what comes is kept, and found by the next one anywhere. */
TEST(limits, a_server_that_comes_too_late)
{
	struct client a, b, c;

	bed_begin("default_pool_size = 1\n");
	client_ask(&a, 0);
	settle(5);
	client_ask(&b, 1);
	settle(5);
	client_done(&a);                /* claims b's ticket as soon as the loop runs */
	pool_wait_cancel(&b.waiter);
	settle(5);
	client_ask(&c, 2);
	settle(10);
	CHECK(c.server != NULL);
	CHECK_INT(bed.dialled, 1);
	client_done(&c);
	bed_end();
}

TEST(limits, max_db_connections_over_users)
{
	struct client a, b;
	struct pool_set *other;

	bed_begin("default_pool_size = 5\nmax_db_connections = 1\n");
	other = bed_set(1, "d", "v");
	client_ask(&a, 0);
	settle(5);
	client_done(&a);
	settle(5);
	CHECK_INT(pool_set_counts(bed.sets[0], -1).idle, 1);
	client_ask_of(&b, 1, other, &(struct pool_wish){ NULL, 0 });    /* the idle one of the other user makes room */
	settle(10);
	CHECK(b.server != NULL);
	CHECK_INT(bed.most, 1);
	CHECK_INT(bed.dialled, 2);
	client_ask(&a, 0);
	settle(5);
	CHECK(a.server == NULL);
	client_done(&b);                /* somebody of another user has waited: it closes at once */
	settle(10);
	CHECK(a.server != NULL);
	CHECK_INT(bed.most, 1);
	client_done(&a);
	pool_set_release(&other);
	bed_end();
}

TEST(limits, max_user_connections_over_databases)
{
	struct client a, b;
	struct pool_set *other;

	bed_begin("max_user_connections = 1\n");
	other = bed_set(2, "e", "u");
	client_ask(&a, 0);
	settle(5);
	client_ask_of(&b, 2, other, &(struct pool_wish){ NULL, 0 });
	settle(5);
	CHECK(a.server && !b.server);
	client_done(&a);
	settle(10);
	CHECK(b.server != NULL);
	CHECK_INT(bed.most, 1);
	client_done(&b);
	pool_set_release(&other);
	bed_end();
}

TEST(limits, a_pinned_server_counts_for_its_user_alone)
{
	struct client a, b, c;

	bed_begin("default_pool_size = 1\nmax_user_connections = 2\n");
	client_ask(&a, 0);
	settle(5);
	pool_pin(a.server);
	client_ask(&b, 1);
	settle(10);
	CHECK(b.server != NULL);
	client_ask(&c, 2);
	settle(10);
	CHECK(c.server == NULL);
	client_done(&a);                /* the pool is full again: it is closed, and c still waits for the pool's size */
	settle(10);
	CHECK(c.server == NULL);
	CHECK_INT(bed.ended, 1);
	client_done(&b);
	settle(10);
	CHECK(c.server != NULL);
	CHECK_INT(bed.most, 2);
	client_done(&c);
	bed_end();
}

/* A seat is free when the server has ended, not when it was asked to. */
TEST(limits, the_end_is_waited_for)
{
	struct client a, b;

	bed_begin("default_pool_size = 1\n");
	bed.is_slow_to_end = true;
	client_ask(&a, 0);
	settle(5);
	client_ask(&b, 1);
	settle(5);
	pool_release(&a.server, RELEASE_CLOSE);
	settle(20);
	CHECK(b.server == NULL);
	CHECK_INT(bed.dialled, 1);
	backend_end(LIST_ITEM(bed.backends.next, struct backend, link));
	settle(20);
	CHECK(b.server != NULL);
	CHECK_INT(bed.most, 1);
	client_done(&b);
	bed_end();
}

TEST(limits, the_reserve)
{
	struct client clients[4];

	bed_begin("default_pool_size = 1\nreserve_pool_size = 2\nreserve_pool_timeout = 50ms\n");
	for (size_t i = 0; i < 4; i++)
		client_ask(&clients[i], i % WORKERS);
	settle(20);
	CHECK_INT(bed.dialled, 1);
	settle(80);
	CHECK_INT(bed.dialled, 3);
	CHECK_INT(!clients[0].server + !clients[1].server + !clients[2].server + !clients[3].server, 1);
	for (size_t i = 0; i < 4; i++)
		if (clients[i].server)
			client_done(&clients[i]);
	settle(10);
	for (size_t i = 0; i < 4; i++)
		if (clients[i].server)
			client_done(&clients[i]);
	settle(10);
	for (size_t i = 0; i < WORKERS; i++) {
		pools_tick(bed.pools[i]);       /* nobody waits: back to the pool's size */
		settle(5);
	}
	CHECK_INT(bed.open_now, 1);
	CHECK_INT(bed.most, 3);
	bed_end();
}

TEST(limits, the_minimum_over_all_workers)
{
	bed_begin("default_pool_size = 4\nmin_pool_size = 3\n");
	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < WORKERS; i++) {
			pools_tick(bed.pools[i]);
			settle(3);
		}
	CHECK_INT(bed.open_now, 3);
	CHECK_INT(bed.most, 3);
	bed_end();
}

TEST(limits, a_refused_login_is_told_when_nobody_has_a_server)
{
	struct client a, b;

	bed_begin("default_pool_size = 2\n");
	client_ask(&a, 0);
	settle(5);
	bed.refuses = true;
	client_ask(&b, 1);
	settle(10);
	CHECK(!b.server && !err_is_set(&b.err));        /* worker 0 has one: it may come */
	client_done(&a);
	settle(5);
	CHECK(b.server != NULL);
	pool_release(&b.server, RELEASE_CLOSE);
	settle(5);
	client_ask(&b, 1);
	settle(10);
	CHECK_STR(b.err.sqlstate, "53300");
	bed_end();
}

TEST(limits, settings_that_fit)
{
	struct setting custom = { .name = "a.b", .value = "1" }, plain = { .name = "work_mem", .value = "1MB" };
	struct settings *with_custom, *with_plain;
	struct client a, b;

	bed_begin("default_pool_size = 2\n");
	with_custom = settings_intern(bed.settings[0], &custom, 1);
	with_plain = settings_intern(bed.settings[0], &plain, 1);
	client_ask(&a, 0);
	client_ask(&b, 0);
	settle(5);
	a.server->settings = settings_ref(with_plain);
	b.server->settings = settings_ref(with_custom);
	client_done(&a);
	client_done(&b);
	client_ask_of(&a, 0, bed.sets[0], &(struct pool_wish){ with_plain, 0 });
	CHECK(a.server->settings == with_plain);        /* though the other one was used later */
	client_ask(&b, 0);              /* the custom setting can't be taken back: that server makes room */
	CHECK(b.server == NULL);
	settle(10);
	CHECK(b.server != NULL && b.server->settings == NULL);
	CHECK_INT(bed.most, 2);
	CHECK_INT(bed.dialled, 3);
	client_done(&a);
	client_done(&b);
	settings_unref(&with_custom);
	settings_unref(&with_plain);
	bed_end();
}

TEST(limits, an_older_epoch)
{
	struct client a, b;

	bed_begin("default_pool_size = 1\n");
	client_ask(&a, 0);
	settle(5);
	client_done(&a);
	pools_bump_epoch(bed.pools[2]);
	client_ask_of(&a, 0, bed.sets[0], &(struct pool_wish){ NULL, 0 });     /* an old session takes an old server */
	CHECK(a.server != NULL);
	client_ask(&b, 1);              /* a new one doesn't */
	settle(5);
	client_done(&a);
	settle(20);
	CHECK(b.server != NULL);
	CHECK_INT(b.server->epoch, 1);
	CHECK_INT(bed.dialled, 2);
	CHECK_INT(bed.most, 1);
	client_done(&b);
	bed_end();
}

TEST(limits, a_dialled_server_is_one_clients)
{
	const struct wire_param params[] = { { "replication", "database" }, { "application_name", "me" } };
	struct client a, b, c;

	bed_begin("default_pool_size = 1\nmax_db_connections = 2\n");
	client_ask(&a, 0);
	settle(5);
	c = (struct client){ .worker = 1 };
	pool_dial(bed.sets[1], 0, params, 2, &c.waiter, got_server, &c);
	CHECK(pool_is_waiting(&c.waiter));
	settle(10);
	CHECK(c.server != NULL && c.server->is_pinned);
	CHECK_INT(bed.startup_params, 8 + 5 + 2 + 9 + 2 + 12 + 9 + 17 + 3 + 1);
	pool_dial(bed.sets[2], 0, params, 2, &b.waiter, got_server, &b);
	b.server = NULL;
	settle(10);
	CHECK(b.server == NULL);        /* max_db_connections */
	pool_release(&c.server, RELEASE_CLEAN);         /* not lent to anybody else */
	settle(20);
	CHECK(b.server != NULL);
	CHECK_INT(bed.most, 2);
	CHECK_INT(bed.ended, 1);
	pool_release(&b.server, RELEASE_CLOSE);
	client_done(&a);
	bed_end();
}

TEST(limits, a_dial_that_is_given_up)
{
	struct client a, b;

	bed_begin("max_db_connections = 1\n");
	a = b = (struct client){ .worker = 0 };
	pool_dial(bed.sets[0], 0, NULL, 0, &a.waiter, got_server, &a);
	pool_dial(bed.sets[1], 0, NULL, 0, &b.waiter, got_server, &b);
	settle(0);
	pool_wait_cancel(&a.waiter);
	settle(10);
	CHECK(a.server == NULL);
	CHECK(b.server != NULL);
	pool_release(&b.server, RELEASE_CLOSE);
	pool_dial(bed.sets[2], 0, NULL, 0, &a.waiter, got_server, &a);
	bed.refuses = true;
	settle(10);
	CHECK_STR(a.err.sqlstate, "53300");
	bed_end();
}

TEST(limits, a_set_that_is_gone)
{
	struct client a, b;

	bed_begin("default_pool_size = 1\n");
	client_ask(&a, 0);
	settle(5);
	client_ask(&b, 1);
	settle(5);
	client_done(&a);
	pool_wait_cancel(&b.waiter);
	pool_set_release(&bed.sets[1]);
	loop_flush(bed.loop);           /* the server is on its way */
	pools_tick(bed.pools[1]);
	settle(10);
	client_ask(&a, 0);
	settle(20);
	CHECK(a.server != NULL);
	CHECK_INT(bed.most, 1);
	client_done(&a);
	bed_end();
}
