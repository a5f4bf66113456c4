/* admin.h - the console: SHOW views from column tables, commands, each logged with who and from where.
 *
 * Thread: the main thread. What workers know is collected by a letter that travels from worker to worker and back: nothing is shared.
 * Columns: PgBouncer's first and in its order (../shared/conventions.md section 3), then ours (design.md section 5). */
#ifndef PGSHUNT_ADMIN_H
#define PGSHUNT_ADMIN_H

#include "pgshunt/base.h"
#include "pgshunt/conf.h"
#include "pgshunt/pool.h"
#include "pgshunt/session.h"
#include "pgshunt/stats.h"
#include "pgshunt/topo.h"
#include "pgshunt/wire.h"

/* What a letter sees of a worker, on that worker's thread. */
struct admin_worker {
	size_t number;
	struct session_env *sessions;
	struct pools *pools;
	struct stats_worker *stats;
	struct stats_node *node_stats;          /* TOPO_NODES_MAX */
	struct sql_cache *sql;
};

typedef void admin_visit_fn(void *letter, struct admin_worker *worker);        /* on each worker's thread, one after the other */
typedef void admin_back_fn(void *letter);                                       /* on the main thread, once */

struct admin_env {
	void *owner;
	void (*send_round)(void *owner, admin_visit_fn *visit, admin_back_fn *back, void *letter);
	struct conf *(*conf)(void *owner);              /* the one in force; borrowed for the call */
	const struct topo *(*topo)(void *owner);        /* the newest; borrowed for the call */
	struct stats_monitor *monitor_stats;
	usec_t started_us;                              /* wall clock */
	/* Reads and applies the configuration; report says what changed or is wrong. */
	bool (*reload)(void *owner, struct buf *report, struct err *err);
	/* mode: 0 = at once, 1 = WAIT_FOR_SERVERS, 2 = WAIT_FOR_CLIENTS */
	void (*shutdown)(void *owner, int mode);
};

struct admin;
struct admin *admin_new(const struct admin_env *env);
void admin_free(struct admin **admin);

/* The result's memory is the admin's, valid during the call. Called exactly once for each admin_run(), on the main thread. */
typedef void admin_done_fn(void *ticket, const struct console_result *result);
void admin_run(struct admin *admin, enum console_role role, const char *user, const char *peer, const char *sql, admin_done_fn *done,
               void *ticket);

/* To be called each stats_period, whatever log_stats says: it ends a period of the averages, and writes the line if log_stats is on:
 * "stats: N xacts/s, N queries/s, in N B/s, out N B/s, xact N us, query N us, wait N us". */
void admin_log_stats(struct admin *admin);

#endif
