/* One worker: a thread with its loop, its clients, its servers, its caches. Nothing in it is locked. */
#include <stdio.h>
#include <unistd.h>

#include "console.h"
#include "listen.h"

/* libpg_query recurses: see sql.h. */
#define WORKER_STACK_BYTES (16u << 20)

enum mail_kind { MAIL_TOPO, MAIL_CONF, MAIL_CANCEL, MAIL_SHUTDOWN, MAIL_LETTER, MAIL_CONSOLE, MAIL_POOL };

struct new_conf {
	struct conf *conf;
	struct auth_users *users;
};

struct worker {
	struct daemon *daemon;
	size_t number;
	struct thread *thread;
	struct loop *loop;
	struct io *io;
	struct mailbox *mailbox;
	struct listener *listeners[LISTEN_ADDRS_MAX], *unix_listener;
	struct listen_set *listening;
	struct ticker *tick;
	struct session_env env;
	struct stats_worker stats;
	struct stats_node node_stats[TOPO_NODES_MAX];
	bool is_shutting_down, idle_told;
};

/* ---- upward calls of sessions and pools ---- */

static void want_sample(void *owner)
{
	daemon_want_sample(((struct worker *)owner)->daemon, ((struct worker *)owner)->number);
}

static void node_trouble(void *owner, int node)
{
	struct worker *w = owner;
	bool known = node >= 0 && (size_t)node < w->env.topo->node_count;

	daemon_node_trouble(w->daemon, known ? w->env.topo->nodes[node].name : NULL);
}

static void send_cancel(void *owner, struct cancel_letter *letter)
{
	daemon_send_cancel(((struct worker *)owner)->daemon, letter);
}

static void console_run(void *owner, enum console_role role, const char *user, const char *peer, const char *sql, console_done_fn *done,
                        void *ticket)
{
	struct worker *w = owner;
	struct console_request *request = mem_alloc(sizeof(*request));

	*request = (struct console_request){ w->number, role, mem_strdup(user), mem_strdup(peer), mem_strdup(sql), done, ticket };
	daemon_send_console(w->daemon, request);
}

void console_request_free(struct console_request *request)
{
	mem_free(request->user);
	mem_free(request->peer);
	mem_free(request->sql);
	mem_free(request);
}

static void send_pool(void *owner, size_t worker, struct pool_mail *mail)
{
	daemon_send_pool(((struct worker *)owner)->daemon, worker, mail);
}

static void accepted(void *owner, int fd)
{
	struct worker *w = owner;

	session_new(&w->env, fd);
}

/* ---- mail ---- */

static void take_topo(struct worker *w, const struct topo *topo)
{
	const struct topo *before = w->env.topo;

	w->env.topo = topo;
	pools_set_topo(w->env.pools, topo);
	if (topo_nodes_differ(before, topo))
		sessions_topo_changed(&w->env, before);
	else
		sessions_topo_sampled(&w->env);
	topo_unref(&before);
}

static struct sql_options sql_options_of(const struct conf *conf)
{
	return (struct sql_options){ .cache_max_bytes = (size_t)conf->opt.verdict_cache_size,
		                     .parse_max_bytes = (size_t)conf->opt.parse_max_bytes, .nesting_max = 10000 };
}

/* One worker is enough: the others' clients get what it has. */
static void keep_pools(struct worker *w)
{
	if (w->number == 0)
		pools_keep_forced(w->env.pools, w->env.users);
}

static void take_conf(struct worker *w, struct new_conf *mail)
{
	struct sql_options sql = sql_options_of(mail->conf);

	conf_unref(&w->env.conf);
	auth_users_unref(&w->env.users);
	w->env.conf = mail->conf;
	w->env.users = mail->users;
	sql_cache_configure(w->env.sql, &sql);
	pools_set_conf(w->env.pools, w->env.conf);
	pools_set_users(w->env.pools, w->env.users);
	keep_pools(w);
	mem_free(mail);
}

static void tell_when_idle(struct worker *w)
{
	if (!w->is_shutting_down || w->idle_told || !list_is_empty(&w->env.sessions) || !list_is_empty(&w->env.cancelers))
		return;
	w->idle_told = true;
	daemon_worker_idle(w->daemon, w->number);
}

/* The Unix socket stays: by it peers bring cancel requests for those who are still here. */
static void stop_listening(struct worker *w)
{
	for (size_t i = 0; i < ARRAY_LEN(w->listeners); i++)
		listener_free(&w->listeners[i]);
	listen_close_tcp(w->listening, w->number);
}

static void take_shutdown(struct worker *w, bool now)
{
	w->is_shutting_down = true;
	stop_listening(w);
	sessions_shutdown(&w->env, now);
	tell_when_idle(w);
	if (now)
		loop_stop(w->loop);
}

static void take_letter(struct worker *w, struct letter *letter)
{
	struct admin_worker view = { w->number, &w->env, w->env.pools, &w->stats, w->node_stats, w->env.sql };

	letter->visit(letter->content, &view);
	daemon_pass_letter(w->daemon, w->number, letter);
}

static void take_mail(void *owner, int kind, void *content)
{
	struct worker *w = owner;
	bool *now = content;

	switch ((enum mail_kind)kind) {
	case MAIL_TOPO:
		take_topo(w, content);
		break;
	case MAIL_CONF:
		take_conf(w, content);
		break;
	case MAIL_CANCEL:
		session_take_cancel(&w->env, content);
		break;
	case MAIL_SHUTDOWN:
		take_shutdown(w, *now);
		mem_free(now);
		break;
	case MAIL_LETTER:
		take_letter(w, content);
		break;
	case MAIL_CONSOLE:
		console_answer_deliver(content);
		break;
	case MAIL_POOL:
		pools_take_mail(w->env.pools, content);
		break;
	}
}

void worker_send_topo(struct worker *worker, const struct topo *topo)
{
	mailbox_send(worker->mailbox, MAIL_TOPO, (void *)(uintptr_t)topo_ref(topo));
}

void worker_send_conf(struct worker *worker, struct conf *conf, struct auth_users *users)
{
	struct new_conf *mail = mem_alloc(sizeof(*mail));

	*mail = (struct new_conf){ conf_ref(conf), users ? auth_users_ref(users) : NULL };
	mailbox_send(worker->mailbox, MAIL_CONF, mail);
}

void worker_send_cancel(struct worker *worker, struct cancel_letter *letter)
{
	mailbox_send(worker->mailbox, MAIL_CANCEL, letter);
}

void worker_send_shutdown(struct worker *worker, bool now)
{
	bool *mail = mem_alloc(sizeof(*mail));

	*mail = now;
	mailbox_send(worker->mailbox, MAIL_SHUTDOWN, mail);
}

void worker_send_letter(struct worker *worker, struct letter *letter)
{
	mailbox_send(worker->mailbox, MAIL_LETTER, letter);
}

void worker_send_console(struct worker *worker, struct console_answer *answer)
{
	mailbox_send(worker->mailbox, MAIL_CONSOLE, answer);
}

void worker_send_pool(struct worker *worker, struct pool_mail *mail)
{
	mailbox_send(worker->mailbox, MAIL_POOL, mail);
}

/* ---- life ---- */

static void count_sql(struct worker *w)
{
	struct sql_cache_counters now = sql_cache_read(w->env.sql);

	counter_add(&w->stats.verdict_hits, now.hits - counter_read(&w->stats.verdict_hits));
	counter_add(&w->stats.verdict_misses, now.misses - counter_read(&w->stats.verdict_misses));
	counter_add(&w->stats.parses, now.parses - counter_read(&w->stats.parses));
}

static void tick(void *owner)
{
	struct worker *w = owner;

	sessions_tick(&w->env);
	pools_tick(w->env.pools);
	count_sql(w);
	tell_when_idle(w);
}

static void run(void *owner)
{
	struct worker *w = owner;

	loop_run(w->loop);
}

static void start_listening(struct worker *w, struct listen_set *set)
{
	w->listening = set;
	for (size_t i = 0; i < set->addr_count; i++)
		w->listeners[i] = listener_new(w->loop, set->tcp[w->number * set->addr_count + i], accepted, w);
	if (set->unix_fd)
		w->unix_listener = listener_new(w->loop, set->unix_fd, accepted, w);
}

struct worker *worker_new(const struct worker_start *start)
{
	struct worker *w = mem_alloc(sizeof(*w));
	struct session_env *env = &w->env;
	struct pool_env pool_env;
	struct sql_options sql = sql_options_of(start->conf);

	w->daemon = start->daemon;
	w->number = start->number;
	w->loop = loop_new();
	w->io = io_new(w->loop);
	w->mailbox = mailbox_new(w->loop, take_mail, w);
	*env = (struct session_env){ .loop = w->loop, .io = w->io, .worker = start->number, .conf = conf_ref(start->conf),
		                     .topo = topo_ref(start->topo), .users = start->users ? auth_users_ref(start->users) : NULL,
		                     .sql = sql_cache_new(&sql), .stats = &w->stats, .node_stats = w->node_stats,
		                     .client_count = start->client_count, .owner = w, .want_sample = want_sample,
		                     .node_trouble = node_trouble, .send_cancel = send_cancel, .console_run = console_run };
	session_env_init(env);
	pool_env = (struct pool_env){ .loop = w->loop, .io = w->io, .stats = &w->stats, .node_stats = w->node_stats, .settings = env->settings,
		                      .worker = start->number, .hub = start->pool_hub, .node_trouble = node_trouble, .send = send_pool,
		                      .owner = w };
	env->pools = pools_new(&pool_env, env->conf, env->topo);
	keep_pools(w);
	start_listening(w, start->listening);
	w->tick = ticker_new(w->loop, USEC_PER_SEC, tick, w);
	return w;
}

void worker_run(struct worker *w)
{
	char name[16];

	snprintf(name, sizeof(name), "worker-%zu", w->number);
	w->thread = thread_start(name, WORKER_STACK_BYTES, run, w);
}

void worker_wait(struct worker *worker)
{
	thread_join(&worker->thread);
}

void worker_free(struct worker **worker)
{
	struct worker *w = *worker;
	const struct topo *topo;

	if (!w)
		return;
	*worker = NULL;
	mailbox_free(&w->mailbox);
	sessions_shutdown(&w->env, true);
	ticker_free(&w->tick);
	stop_listening(w);
	listener_free(&w->unix_listener);
	loop_flush(w->loop);
	pools_free(&w->env.pools);
	session_env_free(&w->env);
	sql_cache_free(&w->env.sql);
	loop_flush(w->loop);
	conf_unref(&w->env.conf);
	auth_users_unref(&w->env.users);
	topo = w->env.topo;
	topo_unref(&topo);
	io_free(&w->io);
	loop_free(&w->loop);
	mem_free(w);
}
