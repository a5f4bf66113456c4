/* daemon.h - private to src/daemon: the process, its workers, the subcommands. */
#ifndef PGSHUNT_DAEMON_H
#define PGSHUNT_DAEMON_H

#include "pgshunt/admin.h"
#include "pgshunt/monitor.h"
#include "pgshunt/session.h"

struct daemon;
struct listen_set;
struct worker;

/* A worker's thread is started by worker_run(); everything else goes by its mailbox. */
struct worker_start {
	struct daemon *daemon;
	size_t number;
	struct conf *conf;                      /* references are taken */
	const struct topo *topo;
	struct auth_users *users;
	_Atomic int64_t *client_count;
	struct pool_hub *pool_hub;
	struct listen_set *listening;           /* the daemon's; each worker closes its own part of it */
};

struct worker *worker_new(const struct worker_start *start);
void worker_run(struct worker *worker);        /* once all workers are there: they send each other mail */
void worker_wait(struct worker *worker);       /* until its thread has ended: all of them, before any is freed */
void worker_free(struct worker **worker);

/* From any thread. */
void worker_send_topo(struct worker *worker, const struct topo *topo);                         /* takes its own reference */
void worker_send_conf(struct worker *worker, struct conf *conf, struct auth_users *users);     /* the same */
void worker_send_cancel(struct worker *worker, struct cancel_letter *letter);                   /* takes it */
void worker_send_shutdown(struct worker *worker, bool now);
void worker_send_pool(struct worker *worker, struct pool_mail *mail);
/* A letter for each worker, one after the other; the last one sends it to the daemon. */
struct letter {
	admin_visit_fn *visit;
	admin_back_fn *back;
	void *content;
};
void worker_send_letter(struct worker *worker, struct letter *letter);
/* The console's answer, copied, to the session that waits for it. */
struct console_answer;
void worker_send_console(struct worker *worker, struct console_answer *answer);

/* What workers ask of the daemon, from their threads. */
void daemon_send_cancel(struct daemon *daemon, struct cancel_letter *letter);  /* to the worker whose turn it is; takes it */
void daemon_want_sample(struct daemon *daemon, size_t worker);
void daemon_node_trouble(struct daemon *daemon, const char *node);      /* NULL = any */
void daemon_pass_letter(struct daemon *daemon, size_t from, struct letter *letter);
void daemon_send_pool(struct daemon *daemon, size_t worker, struct pool_mail *mail);
void daemon_worker_idle(struct daemon *daemon, size_t number);         /* no client left after a shutdown was asked for */

struct console_request {
	size_t worker;
	enum console_role role;
	char *user, *peer, *sql;
	console_done_fn *done;
	void *ticket;
};
void daemon_send_console(struct daemon *daemon, struct console_request *request);
void console_request_free(struct console_request *request);

/* Subcommands; each returns the exit code. */
int daemon_run(const char *conf_path, bool verbose);
int command_check(const char *conf_path);
int command_route(int argc, char **argv);

#endif
