/* What the pools of all workers have in common, made of atomics alone: how many servers there are, and who waits for one.
 *
 * Limits. An account counts servers: one a (database, user, node) for the pool's size, one a (database, node) for max_db_connections, one a
 * (user, node) for max_user_connections. A seat in each of its accounts is taken before a server is dialled and given back when the
 * server is known to have ended (see closing.c), so that the sum over all workers is never over a limit, not even for a moment. A pinned
 * server gives its seat in the pool's account back and keeps the other two.
 *
 * Turns. A worker whose clients wait puts a ticket into the account: since when the first of them waits. There are two kinds: for a
 * server (in the pool's account), and for a seat (in the account that is at its limit). Whoever has something to give claims the oldest
 * ticket of all workers by setting it to 0 and sends that worker what it has: a server that was released (move.c), or a seat whose server
 * has ended. A claimed ticket is answered by exactly one message, so a worker knows how many are on their way to it (desk.c). Idle servers
 * are closed for who wants a seat; a server that its own pool's clients wait for only for a pool that has none at all.
 *
 * No wake-up is lost. (1) Something becomes free at A while B begins to wait. A server that is released while nobody else waits goes to A's
 * idle list after one relaxed load of `waiting`, which may miss B's ticket; so B, having put it there, sends a letter to every worker that
 * has servers of the pool (`holders`): A reads it either after the release, and finds the server idle, or before, and then A's loads see the
 * ticket, since a mailbox orders them. (2) B is served and asks again, while A, which had found B's ticket claimed, has left a server
 * idle: A then says so in `idle` and looks at the tickets once more; B puts its ticket first and looks at `idle` second; all four are
 * sequentially consistent, so one of the two sees the other. (3) A seat: who gives one back lowers `used` first and looks at the tickets
 * second; who wants one puts its ticket first and tries `used` second. (4) Once a second every pool looks again (age.c). */
#include "private.h"

#define HUB_BUCKETS 1024

struct pool_hub {
	size_t workers;
	_Atomic uint32_t epoch;
	_Atomic uint64_t last_server_id;
	_Atomic(struct account *) buckets[HUB_BUCKETS];         /* lists that only grow: see hub_account() */
};

struct pool_hub *pool_hub_new(size_t workers)
{
	struct pool_hub *hub = mem_alloc(sizeof(*hub));

	ENSURE(workers <= 64);          /* a bit each */
	hub->workers = workers;
	return hub;
}

void pool_hub_free(struct pool_hub **hub)
{
	if (!*hub)
		return;
	for (size_t i = 0; i < HUB_BUCKETS; i++)
		for (struct account *account = atomic_load(&(*hub)->buckets[i]), *next; account; account = next) {
			next = account->next;
			mem_free(account);
		}
	mem_free(*hub);
	*hub = NULL;
}

uint32_t hub_epoch(struct pool_hub *hub)
{
	return atomic_load_explicit(&hub->epoch, memory_order_relaxed);
}

void hub_bump_epoch(struct pool_hub *hub)
{
	atomic_fetch_add(&hub->epoch, 1);
}

uint64_t hub_next_id(struct pool_hub *hub)
{
	return atomic_fetch_add_explicit(&hub->last_server_id, 1, memory_order_relaxed) + 1;
}

static struct account *account_new(const struct pool_hub *hub, enum seat_kind kind, struct hash128 key)
{
	struct account *account = mem_alloc(sizeof(*account) + WANTS * hub->workers * sizeof(account->tickets[0]));

	account->kind = kind;
	account->key = key;
	account->workers = hub->workers;
	return account;
}

/* Accounts live as long as the process: one needs a login to make another, and what it leaves is smaller than struct pool_past. */
struct account *hub_account(struct pool_hub *hub, enum seat_kind kind, struct hash128 key)
{
	_Atomic(struct account *) *bucket = &hub->buckets[key.lo % HUB_BUCKETS];
	struct account *first = atomic_load(bucket), *mine = NULL, *account;

	for (;;) {
		for (account = first; account; account = account->next)
			if (hash128_equal(account->key, key))
				break;
		if (account)
			break;
		mine = mine ? mine : account_new(hub, kind, key);
		mine->next = first;
		if (atomic_compare_exchange_strong(bucket, &first, mine))
			return mine;
	}
	mem_free(mine);                 /* another worker was faster */
	return account;
}

/* ---- seats ---- */

bool account_try(struct account *account, int64_t limit)
{
	int32_t used = atomic_load(&account->used);

	do {
		if (limit > 0 && used >= limit)
			return false;
	} while (!atomic_compare_exchange_weak(&account->used, &used, used + 1));
	return true;
}

void account_put(struct account *account)
{
	ENSURE(atomic_fetch_sub(&account->used, 1) > 0);
}

int64_t account_used(const struct account *account)
{
	return atomic_load(&account->used);
}

/* Several workers may see that there are too many: each one too many leaves once. */
bool account_try_leaving(struct account *account, int64_t limit)
{
	int32_t leaving = atomic_load(&account->leaving);

	do {
		if (atomic_load(&account->used) - leaving <= limit)
			return false;
	} while (!atomic_compare_exchange_weak(&account->leaving, &leaving, leaving + 1));
	return true;
}

void account_left(struct account *account)
{
	atomic_fetch_sub(&account->leaving, 1);
}

/* ---- tickets ---- */

static _Atomic int64_t *ticket_of(struct account *account, enum want want, size_t worker)
{
	return &account->tickets[(size_t)want * account->workers + worker];
}

usec_t account_ask(struct account *account, enum want want, size_t worker, usec_t since_us)
{
	return atomic_exchange(ticket_of(account, want, worker), since_us);
}

void account_mark(_Atomic uint64_t *workers, size_t worker, bool is_set)
{
	if (is_set)
		atomic_fetch_or(workers, (uint64_t)1 << worker);
	else
		atomic_fetch_and(workers, ~((uint64_t)1 << worker));
}

bool account_is_asked(struct account *account, enum want want, size_t worker)
{
	return atomic_load(ticket_of(account, want, worker)) != 0;
}

int account_claim(struct account *account, enum want want, usec_t before_us, uint64_t except)
{
	for (;;) {
		uint64_t waiting = atomic_load(&account->waiting[want]) & ~except;
		int64_t oldest = before_us;
		int worker = -1;

		for (; waiting; waiting &= waiting - 1) {
			int i = __builtin_ctzll(waiting);
			int64_t since = atomic_load(ticket_of(account, want, (size_t)i));
			if (since != 0 && since < oldest) {
				oldest = since;
				worker = i;
			}
		}
		if (worker < 0 || atomic_compare_exchange_strong(ticket_of(account, want, (size_t)worker), &oldest, 0))
			return worker;
	}
}
