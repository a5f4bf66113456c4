/* session.h - one client's life: start-up, login, batches, transactions, COPY, retry, pins, cancel.
 *
 * Thread: the worker's. A session owns its client's stream and its state; a server is borrowed from the pool. What a session shares
 * with the others of its worker stands in struct session_env, which the worker fills and owns.
 * The states and their transitions are src/path/session/session_fsm.def. */
#ifndef PGSHUNT_SESSION_H
#define PGSHUNT_SESSION_H

#include <stdatomic.h>

#include "pgshunt/auth.h"
#include "pgshunt/base.h"
#include "pgshunt/conf.h"
#include "pgshunt/io.h"
#include "pgshunt/loop.h"
#include "pgshunt/pool.h"
#include "pgshunt/route.h"
#include "pgshunt/sql.h"
#include "pgshunt/stats.h"
#include "pgshunt/topo.h"

struct session;

/* The console's answer to one statement: either err, or columns with rows (may be none) and a tag. Called exactly once, on the session's
 * thread, maybe before console_run() returns. rows are whole DataRow messages, made with wire_put_row_*. */
struct console_result {
	const struct err *err;
	const struct wire_column *columns;
	size_t column_count;
	const struct buf *rows;
	const char *tag;
	const char *notice;     /* SHOW HELP: text of a NOTICE, or NULL */
};
typedef void console_done_fn(void *ticket, const struct console_result *result);

enum console_role { CONSOLE_STATS, CONSOLE_ADMIN };

/* A cancel request on its way between workers. Sent by env->send_cancel(), received by session_take_cancel(). */
struct canceler;
struct cancel_letter {
	enum {
		CANCEL_ASK,             /* to worker (home + asked): whose key is it? When all were asked: NOT_FOUND */
		CANCEL_PASS_ON,         /* to worker (peer): send it to the peer */
		CANCEL_NOT_FOUND,       /* to worker home */
		CANCEL_DONE             /* to worker home: the server, or the peer, has been told */
	} stage;
	size_t home, asked;
	struct canceler *canceler;      /* home's */
	struct session_env *holder;     /* who waits for the server or the peer */
	bool is_passed_on;              /* by a peer, or to one: not once more */
	unsigned peer;
	uint32_t pid;
	size_t key_len;
	uint8_t key[];
};
void cancel_letter_free(struct cancel_letter **letter);        /* when there is no worker any more */

/* Everything a session reaches beyond itself. */
struct session_env {
	struct loop *loop;
	struct io *io;
	size_t worker;                          /* this worker's number */
	struct conf *conf;                      /* replaced by the worker on reload */
	const struct topo *topo;                /* replaced by the worker with each snapshot */
	struct auth_users *users;               /* auth_file; NULL = none */
	struct sql_cache *sql;
	struct pools *pools;
	struct settings_table *settings;
	struct route_state route;
	struct stats_worker *stats;
	struct stats_node *node_stats;          /* TOPO_NODES_MAX */
	_Atomic int64_t *client_count;          /* of all workers: max_client_conn */
	bool is_shutting_down;                  /* sessions end at their next transaction boundary */
	struct list sessions;                   /* all of this worker's */
	struct list topo_waiters;               /* those that wait for a newer topology */
	struct map by_key;                      /* cancel key with its pid -> session */
	struct list cancelers;                  /* connections whose cancel request is under way, see session/cancel.c */
	int64_t canceler_count;
	struct map statements;                  /* interned statements, see session/statement.c */
	struct map welcomes;                    /* what a login is told, see session/startup.c */
	uint32_t last_key;
	uint64_t last_id, last_salt;
	struct err *spare_err;                  /* for the next session that needs one */
	uint8_t *fsm_index;                     /* see session/fsm.c */
	/* upward calls, given by the worker */
	void *owner;
	void (*want_sample)(void *owner);
	void (*node_trouble)(void *owner, int node);
	void (*send_cancel)(void *owner, struct cancel_letter *letter);         /* to the worker whose turn it is; takes it */
	/* Runs one console statement; ticket comes back in done(). The session stays alive until then. */
	void (*console_run)(void *owner, enum console_role role, const char *user, const char *peer, const char *sql,
	                    console_done_fn *done, void *ticket);
};

void session_env_init(struct session_env *env);
void session_env_free(struct session_env *env);        /* all sessions must be gone */

/* A connection just accepted. The descriptor is the session's. */
void session_new(struct session_env *env, int fd);

/* After env->topo was replaced: those who wait look again. */
void sessions_topo_sampled(struct session_env *env);
/* The same when a role or a state has changed too, or a reload has moved nodes (before: the topology so far): those whose server's node is
 * gone are told, those who wait for a server of a node that may not run their batch any more look again. */
void sessions_topo_changed(struct session_env *env, const struct topo *before);
/* Once a second: the timeouts that need no precision. */
void sessions_tick(struct session_env *env);
/* Shutdown: every client gets FATAL 57P01 at its next transaction boundary (now: at once). */
void sessions_shutdown(struct session_env *env, bool now);
/* Mail of env->send_cancel(); takes it. */
void session_take_cancel(struct session_env *env, struct cancel_letter *letter);
/* KILL_CLIENT: false when there is no such client. */
bool session_kill(struct session_env *env, uint64_t id);

/* ---- for the console: SHOW CLIENTS ---- */

struct session_view {
	const char *user, *database, *state;    /* state: active, idle, waiting, login */
	const char *fsm_state;
	char addr[64], local_addr[64];
	int port, local_port;
	usec_t connected_us, request_us;        /* wall clock; 0 = none yet */
	usec_t wait_us;                         /* how long it has been waiting, 0 = it isn't */
	uint64_t id;
	const void *ptr, *link;                 /* the session's and its server's address, as names */
	uint32_t remote_pid;
	const char *application_name;
	size_t prepared_statements;
	int node;                               /* of the server it holds, else of its last statement; -1 none */
	char pinned_by[160];
	const char *consistency;
	char need_lsn[48];
	char last_reason[80];
	bool is_console, in_transaction, is_pinned;
};
typedef void session_view_fn(void *owner, const struct session_view *view);
void sessions_each(struct session_env *env, session_view_fn *fn, void *owner);

/* The table of states, for docs and tests: one line an edge, "STATE EVENT GUARD ACTION NEXT". */
void session_fsm_print(struct buf *out);
/* Checks the table: every state reachable, no row shadowed. Returns the number of faults, described in out. */
size_t session_fsm_check(struct buf *out);

#endif
