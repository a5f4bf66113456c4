/* What the workers' pools share: seats and tickets, by one thread and by several. */
#include "test.h"

#include "../../../../src/path/pool/private.h"

static struct hash128 key_of(const char *name)
{
	return hash_bytes(name, strlen(name));
}

TEST(account, equal_keys_are_one_account)
{
	struct pool_hub *hub = pool_hub_new(2);
	struct account *a = hub_account(hub, SEAT_POOL, key_of("a"));

	CHECK(a == hub_account(hub, SEAT_POOL, key_of("a")));
	CHECK(a != hub_account(hub, SEAT_DATABASE, key_of("b")));
	CHECK_INT(hub_account(hub, SEAT_DATABASE, key_of("b"))->kind, SEAT_DATABASE);
	pool_hub_free(&hub);
	CHECK(hub == NULL);
}

TEST(account, seats)
{
	struct pool_hub *hub = pool_hub_new(1);
	struct account *a = hub_account(hub, SEAT_POOL, key_of("a"));

	CHECK(account_try(a, 2) && account_try(a, 2));
	CHECK(!account_try(a, 2));
	CHECK(account_try(a, 3));
	CHECK(account_try(a, 0));       /* no limit */
	CHECK_INT(account_used(a), 4);
	account_put(a);
	account_put(a);
	account_put(a);
	CHECK(account_try(a, 2));
	CHECK(!account_try(a, 2));
	pool_hub_free(&hub);
}

static void ask(struct account *a, enum want want, size_t worker, usec_t since_us)
{
	account_ask(a, want, worker, since_us);
	account_mark(&a->waiting[want], worker, since_us != 0);
}

TEST(account, the_oldest_ticket_is_claimed_first)
{
	struct pool_hub *hub = pool_hub_new(64);
	struct account *a = hub_account(hub, SEAT_POOL, key_of("a"));

	CHECK_INT(account_claim(a, WANT_SERVER, INT64_MAX, 0), -1);
	ask(a, WANT_SERVER, 5, 300);
	ask(a, WANT_SERVER, 63, 100);
	ask(a, WANT_SERVER, 0, 200);
	ask(a, WANT_SEAT, 1, 50);
	CHECK_INT(account_claim(a, WANT_SERVER, 100, 0), -1);           /* older than 100: nobody */
	CHECK_INT(account_claim(a, WANT_SERVER, INT64_MAX, (uint64_t)1 << 63), 0);
	CHECK_INT(account_claim(a, WANT_SERVER, INT64_MAX, 0), 63);
	CHECK_INT(account_claim(a, WANT_SERVER, INT64_MAX, 0), 5);
	CHECK_INT(account_claim(a, WANT_SERVER, INT64_MAX, 0), -1);
	CHECK_INT(account_claim(a, WANT_SEAT, INT64_MAX, 0), 1);
	pool_hub_free(&hub);
}

TEST(account, a_claimed_ticket_is_seen_by_its_owner)
{
	struct pool_hub *hub = pool_hub_new(2);
	struct account *a = hub_account(hub, SEAT_POOL, key_of("a"));

	ask(a, WANT_SERVER, 1, 7);
	CHECK(account_is_asked(a, WANT_SERVER, 1));
	CHECK_INT(account_claim(a, WANT_SERVER, INT64_MAX, 1), 1);
	CHECK(!account_is_asked(a, WANT_SERVER, 1));
	CHECK_INT(account_ask(a, WANT_SERVER, 1, 8), 0);                /* it was claimed */
	CHECK_INT(account_ask(a, WANT_SERVER, 1, 0), 8);                /* this one wasn't */
	pool_hub_free(&hub);
}

/* ---- several threads ---- */

#define THREADS 4
#define ROUNDS 20000
#define LIMIT 3

struct hammer {
	struct pool_hub *hub;
	struct account *account;
	size_t number;
	_Atomic int *inside, *most;
	_Atomic unsigned *claims;
	uint64_t taken, asked, claimed;
};

static void hammer_seats(void *owner)
{
	struct hammer *h = owner;

	h->account = hub_account(h->hub, SEAT_POOL, key_of("shared"));
	for (int i = 0; i < ROUNDS; i++) {
		int now, most;

		if (!account_try(h->account, LIMIT))
			continue;
		now = atomic_fetch_add(h->inside, 1) + 1;
		most = atomic_load(h->most);
		while (now > most && !atomic_compare_exchange_weak(h->most, &most, now))
			;
		h->taken++;
		atomic_fetch_sub(h->inside, 1);
		account_put(h->account);
	}
}

/* Puts tickets, and claims the others': each one put is claimed once or taken back. */
static void hammer_tickets(void *owner)
{
	struct hammer *h = owner;

	h->account = hub_account(h->hub, SEAT_POOL, key_of("shared"));
	account_mark(&h->account->waiting[WANT_SERVER], h->number, true);
	for (int i = 1; i <= ROUNDS; i++) {
		int worker = account_claim(h->account, WANT_SERVER, INT64_MAX, (uint64_t)1 << h->number);

		if (worker >= 0)
			atomic_fetch_add(&h->claims[worker], 1);
		if (account_ask(h->account, WANT_SERVER, h->number, i) == 0 && i > 1)
			h->claimed++;
		h->asked++;
	}
	if (account_ask(h->account, WANT_SERVER, h->number, 0) == 0)
		h->claimed++;
}

static void run_hammers(struct hammer *hammers, thread_fn *fn)
{
	static _Atomic int inside, most;
	static _Atomic unsigned claims[THREADS];
	struct thread *threads[THREADS];
	struct pool_hub *hub = pool_hub_new(THREADS);

	atomic_store(&most, 0);
	for (size_t i = 0; i < THREADS; i++) {
		hammers[i] = (struct hammer){ .hub = hub, .number = i, .inside = &inside, .most = &most, .claims = claims };
		threads[i] = thread_start("hammer", 0, fn, &hammers[i]);
	}
	for (size_t i = 0; i < THREADS; i++)
		thread_join(&threads[i]);
}

TEST(account, threads_never_get_over_a_limit)
{
	struct hammer hammers[THREADS];

	run_hammers(hammers, hammer_seats);
	CHECK(atomic_load(hammers[0].most) <= LIMIT);
	CHECK(hammers[0].taken > 0);
	CHECK_INT(account_used(hammers[0].account), 0);
	for (size_t i = 1; i < THREADS; i++)
		CHECK(hammers[i].account == hammers[0].account);
	pool_hub_free(&hammers[0].hub);
}

TEST(account, each_ticket_is_claimed_once)
{
	struct hammer hammers[THREADS];

	run_hammers(hammers, hammer_tickets);
	for (size_t i = 0; i < THREADS; i++)
		CHECK_INT(hammers[i].claimed, atomic_load(&hammers[0].claims[i]));
	pool_hub_free(&hammers[0].hub);
}
