/* An account as one worker sees it: which of its pools stand there, what they have asked for, what was sent to them. How the workers
 * share an account is told in account.c. */
#include "private.h"

struct desk *desk_get(struct pools *pools, struct account *account)
{
	struct desk *desk = map_get(&pools->desks, account->key);

	if (!desk) {
		desk = mem_alloc(sizeof(*desk));
		desk->pools = pools;
		desk->account = account;
		list_init(&desk->pools_here);
		map_put(&pools->desks, account->key, desk);
	}
	desk->refs++;
	return desk;
}

/* One that an answer is on its way to stays until it is here. */
static void desk_free_unused(struct desk *desk)
{
	if (desk->refs || desk->in_hand)
		return;
	for (int want = 0; want < WANTS; want++)
		if (desk->asks[want].coming || desk->asks[want].since_us)
			return;
	map_remove(&desk->pools->desks, desk->account->key);
	mem_free(desk);
}

void desk_unref(struct desk **desk)
{
	struct desk *d = *desk;

	*desk = NULL;
	d->refs--;
	desk_free_unused(d);
}

void desk_count_server(struct desk *desk, bool comes)
{
	desk->servers += comes ? 1 : -1u;
	if (desk->servers == (comes ? 1 : 0))
		account_mark(&desk->account->holders, desk->pools->env.worker, comes);
}

void pool_count_idle(struct pool *pool, int more)
{
	struct desk *desk = pool->at[SEAT_POOL].desk;

	pool->idle_count += (unsigned)more;
	desk->idle += (unsigned)more;
	if (desk->idle == 0 && desk->told_idle) {
		desk->told_idle = false;
		account_mark(&desk->account->idle, desk->pools->env.worker, false);
	}
}

/* ---- asking ---- */

static enum want seat_wanted(const struct pool *pool)
{
	return account_used(pool_account(pool, SEAT_POOL)) > 0 ? WANT_SEAT : WANT_FIRST_SEAT;
}

/* How many servers, or seats, the pools here miss, and since when. */
static unsigned desk_needs(const struct desk *desk, enum want want, usec_t *since_us)
{
	unsigned needs = 0;

	*since_us = INT64_MAX;
	LIST_EACH(pos, &desk->pools_here) {
		const struct pool *pool = LIST_ITEM(pos, struct pool_at, link)->pool;
		unsigned missing = pool_missing(pool);

		if (want != WANT_SERVER && (!(pool->blocked & 1u << desk->account->kind) || want != seat_wanted(pool)))
			continue;
		if (missing)
			*since_us = MIN(*since_us, pool_waits_since(pool));
		if (want != WANT_SERVER && desk->account->kind != SEAT_POOL && !list_is_empty(&pool->dials)) {
			*since_us = MIN(*since_us, dials_since(pool));
			missing++;
		}
		needs += missing;
	}
	return needs;
}

/* Whether our ticket has been claimed since we looked last. */
static void desk_look(struct desk *desk, enum want want)
{
	struct ask *ask = &desk->asks[want];

	if (!ask->since_us || account_is_asked(desk->account, want, desk->pools->env.worker))
		return;
	ask->since_us = 0;
	ask->coming++;
}

static void desk_put_ticket(struct desk *desk, enum want want, usec_t since_us)
{
	struct ask *ask = &desk->asks[want];
	bool was_put = ask->since_us != 0;

	if (since_us == ask->since_us)
		return;
	ask->since_us = since_us;
	if (account_ask(desk->account, want, desk->pools->env.worker, since_us) == 0 && was_put)
		ask->coming++;          /* claimed between the look and now */
}

enum asked desk_refresh(struct desk *desk, enum want want)
{
	struct ask *ask = &desk->asks[want];
	struct ask before;
	unsigned needs;
	usec_t since_us;

	desk_look(desk, want);
	before = *ask;
	needs = desk_needs(desk, want, &since_us);
	desk_put_ticket(desk, want, needs > ask->coming ? since_us : 0);
	if (needs > 0 && ask->since_us && !ask->is_marked) {
		ask->is_marked = true;
		account_mark(&desk->account->waiting[want], desk->pools->env.worker, true);
	} else if (needs == 0 && ask->is_marked) {
		ask->is_marked = false;
		account_mark(&desk->account->waiting[want], desk->pools->env.worker, false);
	}
	if (!ask->since_us || (before.since_us && before.coming == ask->coming))
		return ASKED_NOTHING_NEW;
	return before.is_marked ? ASKED_AGAIN : ASKED_FIRST;
}

void desk_tell(struct desk *desk, enum want want, uint64_t workers)
{
	struct pool_mail mail = { .kind = MAIL_WANT, .account = desk->account, .want = want };

	for (workers &= ~pools_bit(desk->pools); workers; workers &= workers - 1)
		mail_send(desk->pools, (size_t)__builtin_ctzll(workers), &mail);
}

void desk_arrived(struct desk *desk, enum want want)
{
	desk_look(desk, want);
	ENSURE(desk->asks[want].coming > 0);
	desk->asks[want].coming--;
}

/* ---- giving ---- */

bool desk_claim(const struct desk *desk, enum want least, usec_t before_us, struct claim *out)
{
	for (enum want want = WANT_FIRST_SEAT; want >= least; want--) {
		int worker = account_claim(desk->account, want, before_us, 0);
		*out = (struct claim){ desk->account->kind, want, worker };
		if (worker >= 0)
			return true;
	}
	return false;
}

static bool answer_ticket(struct desk *desk, bool has_seat)
{
	struct claim claim;

	if (!desk_claim(desk, WANT_SEAT, INT64_MAX, &claim))
		return false;
	mail_send(desk->pools, (size_t)claim.worker,
	          &(struct pool_mail){ .kind = MAIL_SEAT, .account = desk->account, .want = claim.want, .has_seat = has_seat });
	return true;
}

/* Handed on without being free in between, so that nobody who has just come is faster than those who wait. A limit that was lowered is
 * reached by not handing on. */
void desk_give_back(struct desk *desk, bool leaves)
{
	bool is_over = leaves || (desk->limit > 0 && account_used(desk->account) > desk->limit);

	if (desk->pools->is_ending || (!is_over && answer_ticket(desk, true)))
		return;
	account_put(desk->account);
	if (leaves)
		account_left(desk->account);
	answer_ticket(desk, false);     /* one that was put meanwhile */
}

static struct pool *oldest_blocked(const struct desk *desk)
{
	struct pool *oldest = NULL;
	usec_t since_us = INT64_MAX;

	LIST_EACH(pos, &desk->pools_here) {
		struct pool *pool = LIST_ITEM(pos, struct pool_at, link)->pool;
		usec_t since = MIN(pool_waits_since(pool), dials_since(pool));

		if (pool->blocked & 1u << desk->account->kind && since < since_us) {
			since_us = since;
			oldest = pool;
		}
	}
	return oldest;
}

void desk_use_seats(struct desk *desk)
{
	struct pool *pool;

	for (unsigned before = desk->in_hand + 1; desk->in_hand < before && (pool = oldest_blocked(desk));) {
		before = desk->in_hand;
		pool_serve(pool);
		if (before == 0)
			break;          /* there was none: just try */
	}
	while (desk->in_hand > 0) {
		desk->in_hand--;
		desk_give_back(desk, false);
	}
	desk_refresh(desk, WANT_SEAT);
	desk_refresh(desk, WANT_FIRST_SEAT);
}

/* The least recently used; not one that is about to be lent or to move. */
static struct server *find_victim(const struct desk *desk)
{
	struct server *victim = NULL;

	LIST_EACH(pos, &desk->pools_here) {
		const struct pool *pool = LIST_ITEM(pos, struct pool_at, link)->pool;
		struct server *server = LIST_ITEM(pool->idle.prev, struct server, link);

		if (!list_is_empty(&pool->idle) && !pool->serve_scheduled && (!victim || server->idle_since_us < victim->idle_since_us))
			victim = server;
	}
	return victim;
}

bool desk_evict(struct desk *desk)
{
	struct server *victim = find_victim(desk);
	struct claim claim;

	if (!victim || !desk_claim(desk, WANT_SEAT, INT64_MAX, &claim))
		return false;
	pool_server_close_for(victim, "others need its place", &claim);
	return true;
}
