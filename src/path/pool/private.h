/* private.h - of src/path/pool */
#ifndef PGSHUNT_POOL_PRIVATE_H
#define PGSHUNT_POOL_PRIVATE_H

#include "pgshunt/pool.h"

/* ---- account.c: shared by all workers, atomics alone; see there for how they are used ---- */

enum want {
	WANT_SERVER,
	WANT_SEAT,
	WANT_FIRST_SEAT,        /* the same, of a pool that has no server at all: not only idle servers make room for it */
	WANTS
};

struct account {
	struct account *next;           /* in the hub's list, fixed once it is there */
	enum seat_kind kind;
	struct hash128 key;
	size_t workers;
	_Atomic int32_t used;
	_Atomic int32_t leaving;        /* of these: will be given back because there are too many */
	_Atomic uint64_t holders;       /* bit i: worker i has servers of it */
	_Atomic uint64_t idle;          /* bit i: worker i has left one of them idle although somebody waited (SEAT_POOL) */
	_Atomic uint64_t waiting[WANTS];        /* bit i: worker i may have a ticket */
	_Atomic int64_t tickets[];      /* WANTS times workers: since when the first one waits; 0 = nobody, or claimed */
};

static inline bool account_is_wanted(const struct account *account)
{
	return (atomic_load(&account->waiting[WANT_SEAT]) | atomic_load(&account->waiting[WANT_FIRST_SEAT])) != 0;
}
struct account *hub_account(struct pool_hub *hub, enum seat_kind kind, struct hash128 key);
uint32_t hub_epoch(struct pool_hub *hub);
void hub_bump_epoch(struct pool_hub *hub);
uint64_t hub_next_id(struct pool_hub *hub);
bool account_try(struct account *account, int64_t limit);       /* takes a seat; limit 0 = there is none */
void account_put(struct account *account);                      /* and gives it back */
int64_t account_used(const struct account *account);
bool account_try_leaving(struct account *account, int64_t limit);       /* true: there were more than that, and now one is leaving */
void account_left(struct account *account);                             /* after account_put() */
/* Sets this worker's ticket (0 = takes it back) and returns what it was: 0 = there was none, or it has been claimed. */
usec_t account_ask(struct account *account, enum want want, size_t worker, usec_t since_us);
void account_mark(_Atomic uint64_t *workers, size_t worker, bool is_set);       /* this worker's bit: nobody else writes it */
bool account_is_asked(struct account *account, enum want want, size_t worker);
/* Claims the oldest ticket that is older than before_us; except: bits of workers. Returns whose it was, -1 = none. */
int account_claim(struct account *account, enum want want, usec_t before_us, uint64_t except);

/* ---- desk.c: an account as one worker sees it ---- */

/* What we have asked for. */
struct ask {
	usec_t since_us;                /* the ticket we have put; 0 = none */
	bool is_marked;                 /* our bit in account->waiting: set until nobody waits any more */
	unsigned coming;                /* tickets that were claimed and whose answer isn't here yet */
};

struct desk {
	struct pools *pools;
	struct account *account;
	size_t refs;                    /* pools that stand at it, servers and closings that hold a seat */
	struct list pools_here;         /* struct pool_at */
	unsigned servers;               /* of this worker, those in closing included */
	unsigned idle;                  /* of these (SEAT_POOL) */
	bool told_idle;                 /* our bit in account->idle */
	unsigned in_hand;               /* seats that were sent to us and are not used yet */
	int64_t limit;                  /* as last looked up; 0 = none */
	struct ask asks[WANTS];
};

struct pool_at {
	struct list link;               /* desk->pools_here */
	struct desk *desk;              /* NULL = the pool hasn't been used yet */
	struct pool *pool;
};

/* One node's servers of one set. */
struct pool {
	struct pool_set *set;
	int node;
	struct list idle;               /* most recently used first: the rest may age and close */
	struct list lent;
	struct list opening;            /* connecting, logging in, resetting, being checked */
	struct list waiters;            /* struct pool_waiter, first come first served */
	struct list dials;              /* struct dial that have no server yet */
	unsigned idle_count, lent_count, opening_count, waiter_count;
	unsigned dialing_count;         /* of the opening ones: for one client alone */
	struct pool_at at[SEATS];
	unsigned blocked;               /* bits of enum seat_kind: which limit has kept us from opening one */
	bool attention;                 /* others wait for a seat of these accounts: look before a server goes idle */
	bool serve_scheduled;
	struct timer *reserve_timer;    /* made when first needed */
	usec_t retry_at_us;             /* after a failed login: not before */
	struct err last_error;
};

struct pool_set {
	struct pools *pools;
	struct list link;
	size_t refs;
	char *database;                 /* as the client names it */
	char *dbname, *user;            /* as the server is told */
	struct conf_database entry;     /* strings belong to conf */
	struct conf *conf;
	struct auth_secret secret;
	struct stats_pool stats;
	struct pool nodes[TOPO_NODES_MAX];
};

/* What is left of a set that was freed. */
struct pool_past {
	struct list link;
	char *database, *user;
	struct stats_pool stats;
};

/* A set that is there without clients, for min_pool_size. */
struct pool_kept {
	struct list link;
	struct pool_set *set;
};

struct pools {
	struct pool_env env;
	struct conf *conf;
	const struct topo *topo;
	struct list sets;
	struct list past;               /* struct pool_past */
	struct list kept;               /* struct pool_kept */
	struct list cancels;            /* struct cancel: connections under way */
	struct list peer_lines;         /* struct peer_line: cancel requests for other processes */
	usec_t peer_logged_us;          /* when one of them was last said to be lost */
	struct list closings;           /* struct closing: servers that haven't confirmed their end */
	struct timer *late_timer;       /* for deadlines of servers that log in or are checked */
	struct map desks;               /* account's key -> struct desk * */
	bool is_ending;                 /* seats are given back no more */
};

static inline struct pools *server_pools(const struct server *server)
{
	return server->pool->set->pools;
}
static inline struct account *pool_account(const struct pool *pool, enum seat_kind kind)
{
	return pool->at[kind].desk->account;
}
static inline uint64_t pools_bit(const struct pools *pools)
{
	return (uint64_t)1 << pools->env.worker;
}
/* For what needs no more than the time of this turn of the loop. */
static inline usec_t pool_now_us(const struct pool *pool)
{
	return loop_now_us(pool->set->pools->env.loop);
}
/* Since when the first one waits; INT64_MAX = nobody does. */
static inline usec_t pool_waits_since(const struct pool *pool)
{
	return list_is_empty(&pool->waiters) ? INT64_MAX : LIST_ITEM(pool->waiters.next, struct pool_waiter, link)->since_us;
}

struct desk *desk_get(struct pools *pools, struct account *account);    /* one reference */
void desk_unref(struct desk **desk);
/* Puts, renews or takes back our ticket, by what the pools here need. */
enum asked {
	ASKED_NOTHING_NEW,
	ASKED_AGAIN,            /* a new ticket, after one that was claimed */
	ASKED_FIRST             /* the first one: nobody knows yet that somebody waits here */
};
static inline bool desk_is_asking(const struct desk *desk)     /* for a seat */
{
	return desk->asks[WANT_SEAT].is_marked || desk->asks[WANT_FIRST_SEAT].is_marked;
}
enum asked desk_refresh(struct desk *desk, enum want want);
void desk_count_server(struct desk *desk, bool comes);
void desk_arrived(struct desk *desk, enum want want);   /* the answer to a claimed ticket */
void desk_give_back(struct desk *desk, bool leaves);    /* a seat: to the oldest ticket, else (leaves: always) it is free */
void desk_tell(struct desk *desk, enum want want, uint64_t workers);    /* our ticket is there: look at it */
void desk_use_seats(struct desk *desk);                 /* those in hand, then gives back the rest */
bool desk_evict(struct desk *desk);                     /* closes an idle server for who wants a seat here */
/* Claims a ticket for a seat, those for a first one before the others; false = there is none older than before_us. */
struct claim {
	enum seat_kind kind;
	enum want want;
	int worker;
};
bool desk_claim(const struct desk *desk, enum want least, usec_t before_us, struct claim *out);
void pool_count_idle(struct pool *pool, int more);

/* ---- limits.c: what conf says, and seats of a server ---- */

void pool_join(struct pool *pool);                      /* finds its desks */
void pool_leave(struct pool *pool);
bool pool_take_seats(struct pool *pool, enum seat_kind first, struct seats *out);      /* else marks in pool->blocked which one is missing */
bool pool_take_seats_below(struct pool *pool, int64_t size, struct seats *out);         /* for min_pool_size: nobody waits for it */
bool pool_retake_seat(struct server *server);           /* that of the pool's size, which a pinned server has given back */
void seat_give(struct seats *seats, enum seat_kind kind);
void seats_give(struct seats *seats);
usec_t pool_reserve_in_us(const struct pool *pool);     /* until the first waiter may use the reserve; -1 = never, or already */
int64_t pool_min_size(const struct pool *pool);
void pools_look_up_limits(struct pools *pools);         /* after a reload */
/* More servers than a limit allows (it was lowered; the reserve): this one may go. */
bool server_is_too_many(struct server *server, bool with_reserve);
bool server_is_above_minimum(struct server *server);            /* the same for min_pool_size */

/* ---- lend.c ---- */

static inline bool pool_has_demand(const struct pool *pool)
{
	return !list_is_empty(&pool->waiters) || !list_is_empty(&pool->dials);
}
struct server *pool_lend(struct pool *pool, struct server *server);     /* one that is in no list */
void pool_serve(struct pool *pool);
void pool_serve_later(struct pool *pool);                               /* waiters must never hear from us before their call returns */
void pool_fail_if_none(struct pool *pool);                              /* waiters, after a failed login: nobody has a server they could get */

/* ---- pool.c ---- */

bool pool_server_is_usable(const struct server *server);                /* its node is what it was when it was dialled */
/* Servers that those who wait still need. */
static inline unsigned pool_missing(const struct pool *pool)
{
	unsigned opening = pool->opening_count - pool->dialing_count;

	return pool->waiter_count > opening ? pool->waiter_count - opening : 0;
}
static inline unsigned pool_servers(const struct pool *pool)
{
	return pool->idle_count + pool->lent_count + pool->opening_count;
}
void pool_park(struct server *server, usec_t at_most_us);               /* RESETTING; 0 = as long as it takes */
void pool_unlink(struct server *server);
void pool_enlist(struct pool *pool, struct server *server);             /* to the idle ones */
void pool_server_ready(struct server *server);                          /* logged in or reset: lend it on or keep it */
void pool_server_failed(struct server *server, const struct err *err);  /* login failed: closes it, tells the waiters */
void pool_server_close(struct server *server, const char *why);        /* unlinks and frees */
/* The same for somebody whose ticket for a seat of this kind was claimed. */
void pool_server_close_for(struct server *server, const char *why, const struct claim *claim);
void pool_retire(struct server *server);                                /* idle, but may not be lent again */

/* ---- move.c ---- */

void pool_offer(struct pool *pool);     /* idle servers to those who wait longer elsewhere; not in a stream's callback */
/* A letter of one worker's pools to another's; account is the hub's. */
enum mail_kind {
	MAIL_WANT,              /* there is a ticket of ours */
	MAIL_SEAT,              /* answers a claimed ticket for a seat: with one, or just: try */
	MAIL_SERVER             /* answers a claimed ticket for a server */
};
struct pool_mail {
	enum mail_kind kind;
	struct account *account;
	enum want want;
	bool has_seat;
	struct server *server;                  /* detached, in no list */
	struct account *seats[SEATS];           /* that it holds */
	struct setting *settings;               /* of its own */
	size_t setting_count;
};
void mail_send(struct pools *pools, size_t worker, const struct pool_mail *mail);

/* ---- closing.c ---- */

/* Takes the stream, and the seats, which are given back when the server has ended. In the middle of a message a Terminate could be what
 * completes it: then the stream just ends. */
void closing_new(struct pools *pools, struct stream **stream, struct seats *seats, bool may_be_in_a_message);
void closings_tick(struct pools *pools, usec_t now);
void closings_free(struct pools *pools);

/* ---- dial.c: servers of one client's own ---- */

void dials_serve(struct pool *pool);
void dials_fail(struct pool *pool, const struct err *err);
usec_t dials_since(const struct pool *pool);            /* the first one; INT64_MAX = none */
void dial_cancel(struct dial *dial);
void dial_ready(struct server *server);
void dial_failed(struct server *server, const struct err *err);        /* before the server is closed */
void dial_put_startup(const struct server *server, struct buf *out);

/* ---- age.c ---- */

void pool_tick(struct pool *pool, usec_t now);
void pools_watch_deadline(struct pools *pools, usec_t in_us);   /* a server has got one */
bool server_is_too_old(const struct server *server, usec_t now);

/* ---- server.c ---- */

void server_open(struct pool *pool, struct seats *seats, struct dial *dial);   /* takes the seats */
void server_reset(struct server *server);
void server_check(struct server *server);
void server_drain(struct server *server);                               /* until ReadyForQuery */
void server_idle_event(void *owner, enum stream_event event);
void server_free(struct server *server);

/* ---- cancel.c ---- */

void cancels_free(struct pools *pools);
void cancels_tick(struct pools *pools, usec_t now);
usec_t cancel_time_limit(const struct pools *pools);    /* of a connection */

/* ---- peers.c ---- */

void peers_free(struct pools *pools);
void peers_tick(struct pools *pools, usec_t now);

#endif
