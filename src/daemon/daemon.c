/* The process: main thread, monitor thread, workers; signals, reload, shutdown. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "console.h"
#include "listen.h"
#include "notify.h"

#define WORKERS_MAX 64
/* Samples are taken by the thousand while sessions wait; the others hear of new positions this often. */
#define ROUTINE_NEWS_US (100 * USEC_PER_MS)

enum mail_kind { MAIL_TOPO, MAIL_LETTER, MAIL_CONSOLE, MAIL_WORKER_IDLE };
enum monitor_mail_kind { MONITOR_CONF, MONITOR_STOP };

/* What somebody has been told of the topology. Positions alone are news only to those who wait for them. */
struct told {
	const struct topo *topo;        /* the monitor's thread alone */
	usec_t at_us;
	atomic_bool is_waiting;         /* set by the worker that asks for a sample */
};

struct daemon {
	struct loop *loop;
	struct mailbox *mailbox;
	struct conf *conf;
	struct auth_users *users;
	const struct topo *topo;
	const char *conf_path;
	bool is_verbose;
	struct worker *workers[WORKERS_MAX];
	size_t worker_count, idle_workers;
	_Atomic int64_t client_count;
	struct pool_hub *pool_hub;
	struct listen_set listening;
	struct admin *admin;
	struct timer *stats_timer;
	struct signal_watch *signals[6];
	/* the monitor's thread */
	struct loop *monitor_loop;
	struct mailbox *monitor_mailbox;
	struct monitor *monitor;
	struct thread *monitor_thread;
	struct stats_monitor monitor_stats;
	struct told told[WORKERS_MAX], told_main;
	unsigned shutdowns;             /* how often it was asked for */
	bool is_over;                   /* the loop has ended: what is still in the mailbox is only put away */
};

/* ---- from workers, on their threads ---- */

/* Under session pooling the process id is that of a server: only the worker that knows the key can say. */
void daemon_send_cancel(struct daemon *d, struct cancel_letter *letter)
{
	size_t to = letter->home;

	if (letter->stage == CANCEL_ASK && letter->asked == d->worker_count)
		letter->stage = CANCEL_NOT_FOUND;
	if (letter->stage == CANCEL_ASK)
		to = (letter->home + letter->asked) % d->worker_count;
	else if (letter->stage == CANCEL_PASS_ON)
		to = letter->peer % d->worker_count;    /* always the same one: it counts the peer's pool_size */
	if (d->workers[to])
		worker_send_cancel(d->workers[to], letter);
	else
		cancel_letter_free(&letter);
}

void daemon_want_sample(struct daemon *d, size_t worker)
{
	atomic_store(&d->told[worker].is_waiting, true);
	monitor_want(d->monitor);
}

void daemon_node_trouble(struct daemon *d, const char *node)
{
	if (node)
		monitor_hint(d->monitor, node);
	else
		monitor_want(d->monitor);
}

/* From worker to worker, then home. */
void daemon_pass_letter(struct daemon *d, size_t from, struct letter *letter)
{
	if (from + 1 < d->worker_count)
		worker_send_letter(d->workers[from + 1], letter);
	else
		mailbox_send(d->mailbox, MAIL_LETTER, letter);
}

void daemon_worker_idle(struct daemon *d, size_t number)
{
	(void)number;
	mailbox_send(d->mailbox, MAIL_WORKER_IDLE, NULL);
}

/* Workers are freed one after the other, after all threads have ended. */
void daemon_send_pool(struct daemon *d, size_t worker, struct pool_mail *mail)
{
	if (d->workers[worker])
		worker_send_pool(d->workers[worker], mail);
	else
		pool_mail_free(&mail);
}

void daemon_send_console(struct daemon *d, struct console_request *request)
{
	mailbox_send(d->mailbox, MAIL_CONSOLE, request);
}

/* ---- the monitor ---- */

static bool is_news(struct told *told, const struct topo *topo)
{
	usec_t now = time_mono_us();
	bool is_waiting = atomic_exchange(&told->is_waiting, false);

	if (!is_waiting && told->topo && now - told->at_us < ROUTINE_NEWS_US && !topo_nodes_differ(told->topo, topo))
		return false;
	topo_unref(&told->topo);
	told->topo = topo_ref(topo);
	told->at_us = now;
	return true;
}

static void published(void *owner, const struct topo *topo)
{
	struct daemon *d = owner;

	for (size_t i = 0; i < d->worker_count; i++)
		if (is_news(&d->told[i], topo))
			worker_send_topo(d->workers[i], topo);
	if (is_news(&d->told_main, topo))
		mailbox_send(d->mailbox, MAIL_TOPO, (void *)(uintptr_t)topo_ref(topo));
}

static void monitor_mail(void *owner, int kind, void *content)
{
	struct daemon *d = owner;
	struct conf *conf = content;

	if (kind == MONITOR_STOP) {
		loop_stop(d->monitor_loop);
		return;
	}
	monitor_reconfigure(d->monitor, conf);
	conf_unref(&conf);
}

static void monitor_run(void *owner)
{
	struct daemon *d = owner;

	loop_run(d->monitor_loop);
}

static void monitor_start(struct daemon *d)
{
	d->monitor_loop = loop_new();
	d->monitor_mailbox = mailbox_new(d->monitor_loop, monitor_mail, d);
	d->monitor = monitor_new(d->monitor_loop, d->conf, &d->monitor_stats, published, d);
}

static void monitor_end(struct daemon *d)
{
	monitor_free(&d->monitor);
	mailbox_free(&d->monitor_mailbox);
	loop_free(&d->monitor_loop);
}

/* Until the monitor has spoken: the configured nodes, nothing known of them. */
static const struct topo *first_topo(const struct conf *conf)
{
	struct topo *topo = topo_new(conf->node_count);

	topo->primary = -1;
	for (size_t i = 0; i < conf->node_count; i++) {
		const struct conf_node *n = &conf->nodes[i];
		topo_node_set_text(&topo->nodes[i], n->name, n->host, n->label, n->zone, "not asked yet");
		topo->nodes[i].port = n->port;
		topo->nodes[i].weight = n->weight;
	}
	return topo;
}

/* ---- reload ---- */

static void log_report(const struct conf_report *report, struct buf *out)
{
	for (size_t i = 0; i < report->count; i++) {
		const struct conf_finding *f = &report->findings[i];
		log_msg(f->severity == CONF_ERROR ? LOG_ERROR : LOG_WARNING, "%s:%u: %s", f->file, f->line, f->text);
		if (out && f->severity == CONF_ERROR)
			buf_printf(out, "%s%s:%u: %s", out->len ? "\n" : "", f->file, f->line, f->text);
	}
}

static bool load_users(const struct conf *conf, struct auth_users **users, struct err *err)
{
	*users = NULL;
	if (!conf->opt.auth_file[0])
		return true;
	*users = auth_users_parse(conf->opt.auth_file, err);
	return *users != NULL;
}

static void report_change(void *owner, enum conf_change_kind kind, const char *what)
{
	buf_printf(owner, "%s%s%s", ((struct buf *)owner)->len ? "\n" : "", what, kind == CONF_NEEDS_RESTART ? " (needs a restart)" : "");
}

static void apply_logging(const struct daemon *d)
{
	struct err err;

	log_set_level(d->is_verbose || d->conf->opt.verbose > 0 ? LOG_DEBUG : LOG_INFO);
	if (d->conf->opt.logfile[0] && !log_set_file(d->conf->opt.logfile, &err))
		log_error("%s", err.text);
}

/* All or nothing: whatever is wrong, the running configuration stays as it is. */
static bool reload(void *owner, struct buf *report, struct err *err)
{
	struct daemon *d = owner;
	struct conf_report findings = { NULL, 0, 0 };
	struct conf *conf = conf_load(d->conf_path, &findings);
	struct auth_users *users = NULL;

	log_report(&findings, report);
	conf_report_free(&findings);
	if (!conf || !load_users(conf, &users, err)) {
		if (!conf)
			err_set(err, "F0000", "the configuration has errors, nothing was changed: %s", buf_cstr(report));
		err_hint(err, "Correct the file and reload again; pgshunt --check says the same without a reload.");
		log_error("reload refused: %s", err->text);
		conf_unref(&conf);
		return false;
	}
	if (users && d->users)
		auth_users_keep_keys(users, d->users);
	conf->version = d->conf->version + 1;
	conf_diff(d->conf, conf, report_change, report);
	conf_unref(&d->conf);
	auth_users_unref(&d->users);
	d->conf = conf;
	d->users = users;
	apply_logging(d);
	for (size_t i = 0; i < d->worker_count; i++)
		worker_send_conf(d->workers[i], conf, users);
	mailbox_send(d->monitor_mailbox, MONITOR_CONF, conf_ref(conf));
	log_info("configuration reloaded%s%s", report->len ? ": " : ", nothing changed", report->len ? buf_cstr(report) : "");
	return true;
}

/* ---- shutdown ---- */

static void shut_down(struct daemon *d, bool now)
{
	now |= d->shutdowns > 0;
	d->shutdowns++;
	notify_systemd("STOPPING=1");
	log_info(now ? "shutting down at once" : "shutting down: clients end at their next transaction boundary; again to end at once");
	for (size_t i = 0; i < d->worker_count; i++)
		worker_send_shutdown(d->workers[i], now);
	if (now)
		loop_stop(d->loop);
}

static void admin_shutdown(void *owner, int mode)
{
	shut_down(owner, mode == 0);
}

static void signalled(void *owner, int signo)
{
	struct daemon *d = owner;
	struct buf report = { NULL, 0, 0 };
	struct err err;

	log_info("got signal %d (%s)", signo, strsignal(signo));
	switch (signo) {
	case SIGHUP:
		reload(d, &report, &err);
		break;
	case SIGQUIT:
		shut_down(d, true);
		break;
	case SIGTERM:
	case SIGINT:
		shut_down(d, false);
		break;
	default:
		log_info("PAUSE and RESUME are not built yet");
		break;
	}
	buf_free(&report);
}

/* ---- the console ---- */

static void send_round(void *owner, admin_visit_fn *visit, admin_back_fn *back, void *content)
{
	struct daemon *d = owner;
	struct letter *letter = mem_alloc(sizeof(*letter));

	*letter = (struct letter){ visit, back, content };
	worker_send_letter(d->workers[0], letter);
}

static struct conf *current_conf(void *owner)
{
	return ((struct daemon *)owner)->conf;
}

static const struct topo *current_topo(void *owner)
{
	return ((struct daemon *)owner)->topo;
}

struct console_ticket {
	struct daemon *daemon;
	struct console_request *request;
};

static void console_answered(void *ticket, const struct console_result *result)
{
	struct console_ticket *t = ticket;

	if (t->daemon->workers[t->request->worker])     /* else the process ends, and the asker with it */
		worker_send_console(t->daemon->workers[t->request->worker], console_answer_new(t->request, result));
	console_request_free(t->request);
	mem_free(t);
}

static void run_console(struct daemon *d, struct console_request *request)
{
	struct console_ticket *ticket = mem_alloc(sizeof(*ticket));

	*ticket = (struct console_ticket){ d, request };
	admin_run(d->admin, request->role, request->user, request->peer, request->sql, console_answered, ticket);
}

/* ---- mail ---- */

static void take_topo(struct daemon *d, const struct topo *topo)
{
	const struct topo *before = d->topo;

	d->topo = topo;
	topo_unref(&before);
}

static void take_mail(void *owner, int kind, void *content)
{
	struct daemon *d = owner;
	struct letter *letter = content;

	switch ((enum mail_kind)kind) {
	case MAIL_TOPO:
		take_topo(d, content);
		break;
	case MAIL_LETTER:
		letter->back(letter->content);
		mem_free(letter);
		break;
	case MAIL_CONSOLE:
		if (d->is_over)
			console_request_free(content);
		else
			run_console(d, content);
		break;
	case MAIL_WORKER_IDLE:
		if (++d->idle_workers == d->worker_count && !d->is_over)
			shut_down(d, true);
		break;
	}
}

static void log_stats(void *owner)
{
	struct daemon *d = owner;

	admin_log_stats(d->admin);
	timer_set(d->stats_timer, MAX(d->conf->opt.stats_period, USEC_PER_SEC));
}

/* ---- start ---- */

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static bool write_pidfile(const char *path, struct err *err)
{
	FILE *file;

	if (!path[0])
		return true;
	file = fopen(path, "we");
	if (!file || fprintf(file, "%d\n", (int)getpid()) < 0 || fclose(file) != 0)
		return err_set(err, "58030", "cannot write pidfile \"%s\": %s", path, strerror(errno));
	return true;
}

static void start_workers(struct daemon *d)
{
	d->pool_hub = pool_hub_new(d->worker_count);
	for (size_t i = 0; i < d->worker_count; i++) {
		struct worker_start start = { .daemon = d, .number = i, .conf = d->conf, .topo = d->topo,
			                      .users = d->users, .client_count = &d->client_count,
			                      .pool_hub = d->pool_hub, .listening = &d->listening };
		d->workers[i] = worker_new(&start);
	}
	for (size_t i = 0; i < d->worker_count; i++)
		worker_run(d->workers[i]);
}

static void start_console(struct daemon *d)
{
	struct admin_env env = { .owner = d, .send_round = send_round, .conf = current_conf, .topo = current_topo,
		                 .monitor_stats = &d->monitor_stats, .started_us = time_wall_us(), .reload = reload,
		                 .shutdown = admin_shutdown };

	d->admin = admin_new(&env);
	d->stats_timer = timer_new(d->loop, log_stats, d);
	timer_set(d->stats_timer, MAX(d->conf->opt.stats_period, USEC_PER_SEC));
}

static void watch_signals(struct daemon *d)
{
	static const int wanted[] = { SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2 };

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		d->signals[i] = signal_watch_new(d->loop, wanted[i], signalled, d);
}

/* Nobody watches any more, and one that comes now must not end with its own exit code what has ended well. */
static void ignore_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
}

static size_t count_workers(const struct conf *conf)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	size_t wanted = conf->opt.workers > 0 ? (size_t)conf->opt.workers : (size_t)MAX(cores, 1);

	return MIN(wanted, WORKERS_MAX);
}

/* Everything that can fail does so before a thread exists. */
static bool prepare(struct daemon *d, struct err *err)
{
	struct conf_report report = { NULL, 0, 0 };

	d->conf = conf_load(d->conf_path, &report);
	log_report(&report, NULL);
	conf_report_free(&report);
	if (!d->conf)
		return err_set(err, "F0000", "the configuration \"%s\" has errors", d->conf_path);
	d->conf->version = 1;
	apply_logging(d);
	if (!load_users(d->conf, &d->users, err))
		return false;
	raise_descriptor_limit();
	d->worker_count = count_workers(d->conf);
	return listen_open(&d->listening, d->conf, d->worker_count, err) && write_pidfile(d->conf->opt.pidfile, err);
}

static void run(struct daemon *d)
{
	d->loop = loop_new();
	d->mailbox = mailbox_new(d->loop, take_mail, d);
	d->topo = first_topo(d->conf);
	watch_signals(d);
	monitor_start(d);
	start_workers(d);
	d->monitor_thread = thread_start("monitor", 0, monitor_run, d);
	start_console(d);
	log_info("pgshunt " PGSHUNT_VERSION " serves port %d with %zu workers", (int)d->conf->opt.listen_port, d->worker_count);
	notify_systemd("READY=1");
	loop_run(d->loop);
	d->is_over = true;
}

static void tidy_up(struct daemon *d)
{
	const struct topo *topo;

	if (d->loop) {
		/* First all threads end, then what they reach into is freed. */
		mailbox_send(d->monitor_mailbox, MONITOR_STOP, NULL);
		thread_join(&d->monitor_thread);
		for (size_t i = 0; i < d->worker_count; i++)
			worker_wait(d->workers[i]);
		for (size_t i = 0; i < d->worker_count; i++)
			worker_free(&d->workers[i]);
		pool_hub_free(&d->pool_hub);
		d->worker_count = 0;            /* what their last letters say is for nobody */
		monitor_end(d);
		mailbox_free(&d->mailbox);
		admin_free(&d->admin);
		timer_free(&d->stats_timer);
		ignore_signals();
		for (size_t i = 0; i < ARRAY_LEN(d->signals); i++)
			signal_watch_free(&d->signals[i]);
		loop_free(&d->loop);
	}
	listen_close(&d->listening);
	if (d->conf && d->conf->opt.pidfile[0])
		unlink(d->conf->opt.pidfile);
	auth_users_unref(&d->users);
	for (size_t i = 0; i < WORKERS_MAX; i++)
		topo_unref(&d->told[i].topo);
	topo_unref(&d->told_main.topo);
	topo = d->topo;
	topo_unref(&topo);
	conf_unref(&d->conf);
}

int daemon_run(const char *conf_path, bool verbose)
{
	struct daemon *d = mem_alloc(sizeof(*d));
	struct err err = { 0 };
	bool ok;

	d->conf_path = conf_path;
	d->is_verbose = verbose;
	hash_key_init();
	ok = prepare(d, &err);
	if (ok)
		run(d);
	else
		log_msg(LOG_FATAL, "%s", err.text);
	tidy_up(d);
	mem_free(d);
	return ok ? 0 : 1;
}
