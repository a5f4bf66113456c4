/* All sessions of a worker: timeouts, new topologies, kill, shutdown, and the view the console takes of them. */
#include <stdio.h>

#include "private.h"

void session_env_init(struct session_env *env)
{
	list_init(&env->sessions);
	list_init(&env->topo_waiters);
	list_init(&env->cancelers);
	env->settings = settings_table_new();
	env->fsm_index = fsm_index_new();
}

void session_env_free(struct session_env *env)
{
	mem_free(env->spare_err);
	ENSURE(list_is_empty(&env->sessions));
	cancelers_free(env);
	welcome_forget_all(env);
	map_free(&env->by_key);
	map_free(&env->statements);
	settings_table_free(&env->settings);
	mem_free(env->fsm_index);
	env->fsm_index = NULL;
}

/* A session keeps the configuration it was admitted under until a reload; then it looks again. */
void session_refresh_conf(struct session *s)
{
	const struct conf_database *db = conf_database_find(s->env->conf, s->database);
	const struct conf_user *user = conf_user_find(s->env->conf, s->user);

	if (s->conf != s->env->conf) {
		conf_unref(&s->conf);
		s->conf = conf_ref(s->env->conf);
	}
	mem_free(s->policy_copy);
	s->policy_copy = NULL;
	s->policy = &s->conf->policy;
	if (db && (db->policy_set || (user && user->policy_set))) {
		s->policy_copy = mem_alloc(sizeof(*s->policy_copy));
		conf_policy_of(s->conf, db, user, s->policy_copy);
		s->policy = s->policy_copy;
	}
}

void session_pins_text(uint32_t pins, char *out, size_t len)
{
	size_t at = (size_t)snprintf(out, len, "%s", pins & PIN_POOL_MODE ? "pool_mode" : "");

	for (int bit = 0; bit < SQL_PIN_COUNT && at < len; bit++)
		if (pins & 1u << bit)
			at += (size_t)snprintf(out + at, len - at, "%s%s", at ? "," : "", sql_pin_name((enum sql_pin)(1u << bit)));
}

/* ---- topology ---- */

const char *session_node_name(const struct session *s, int node)
{
	const struct topo *topo = s->env->topo;

	return node >= 0 && (size_t)node < topo->node_count ? topo->nodes[node].name : "?";
}

/* A server on a node that is no longer what it was when it was borrowed. */
static bool server_is_stale(const struct session *s)
{
	const struct topo *topo = s->env->topo;
	bool needs_primary = !s->batch.is_movable || s->is_tunnel || s->tx != 'I' || s->server->is_pinned;
	const struct topo_node *node;

	if ((size_t)s->server->node >= topo->node_count)
		return true;
	node = &topo->nodes[s->server->node];
	if (s->state == ST_WELCOME)
		return node->state == TOPO_DOWN;
	if (s->state == ST_LAY)
		return !find_node_fits(s, s->server->node);
	if (needs_primary)
		return topo->primary >= 0 && topo->primary != s->server->node && s->batch.is_sent + (s->state == ST_HELD || s->is_tunnel) > 0 &&
		       node->role != TOPO_STANDBY;
	return node->state == TOPO_DOWN && !s->delivered;
}

static bool home_is_stale(const struct session *s)
{
	const struct topo *topo = s->env->topo;

	if ((size_t)s->home->node >= topo->node_count)
		return true;
	return topo->primary >= 0 && topo->primary != s->home->node && topo->nodes[s->home->node].role != TOPO_STANDBY;
}

void sessions_topo_sampled(struct session_env *env)
{
	struct list now;

	/* Those who wait again from within their step belong to the next topology. */
	list_init(&now);
	while (!list_is_empty(&env->topo_waiters)) {
		struct list *first = env->topo_waiters.next;
		list_remove(first);
		list_push(&now, first);
	}
	while (!list_is_empty(&now)) {
		struct session *s = LIST_ITEM(now.next, struct session, waiting);
		list_remove(&s->waiting);
		find_topo_changed(s);
	}
}

/* Nodes are known by their place in the topology: a reload may have given places away. */
static bool nodes_moved(const struct topo *before, const struct topo *now)
{
	if (before->node_count != now->node_count)
		return true;
	for (size_t i = 0; i < now->node_count; i++)
		if (strcmp(before->nodes[i].name, now->nodes[i].name) != 0)
			return true;
	return false;
}

static void forget_places(struct session *s)
{
	s->exclude = 0;
	s->last_node = -1;
	s->write_server = 0;
}

void sessions_topo_changed(struct session_env *env, const struct topo *before)
{
	bool moved = nodes_moved(before, env->topo);

	LIST_EACH(pos, &env->sessions)
		if (moved)
			forget_places(LIST_ITEM(pos, struct session, link));
	sessions_topo_sampled(env);
	LIST_EACH_SAFE(pos, &env->sessions) {
		struct session *s = LIST_ITEM(pos, struct session, link);
		if (s->home && home_is_stale(s))
			home_lose(s);
		if (s->server ? server_is_stale(s) : s->waits_for == WAIT_SERVER && (moved || !find_node_fits(s, s->waiter_node))) {
			find_stop_waiting(s);
			session_step(s, s->server ? EV_S_LOST : EV_P_AGAIN);
		}
	}
}

/* ---- the end ---- */

static void kill_session(struct session *s, const char *text)
{
	err_set(session_err(s), "57P01", "%s", text);
	err_hint(session_err(s), "Connect again.");
	session_step(s, EV_K_KILL);
}

bool session_at_boundary(const struct session *s)
{
	return s->state == ST_READY || s->state == ST_CONSOLE;
}

void session_shut(struct session *s)
{
	kill_session(s, "the proxy is shutting down");
}

/* ---- time ---- */

struct timeout {
	usec_t after_us, since_us;
	const char *sqlstate, *text;
};

static bool timeout_of(const struct session *s, struct timeout *out)
{
	const struct conf_policy *policy = session_policy(s);
	const struct conf_options *opt = &s->conf->opt;

	switch (s->state) {
	case ST_START:
	case ST_AUTH:
	case ST_WELCOME:
	case ST_DIAL:
		*out = (struct timeout){ opt->client_login_timeout, s->idle_since_us, "08P01", "client_login_timeout" };
		break;
	case ST_LAY:
	case ST_RELAY:
	case ST_COPY_IN:
	case ST_OPEN:
		*out = (struct timeout){ policy->query_timeout, s->batch_began_us, "57014", "query_timeout" };
		break;
	case ST_HELD:
	case ST_FAILED:
		*out = (struct timeout){ policy->idle_transaction_timeout, s->idle_since_us, "25P03", "idle_transaction_timeout" };
		break;
	case ST_READY:
		*out = (struct timeout){ policy->client_idle_timeout, s->idle_since_us, "57P05", "client_idle_timeout" };
		break;
	default:
		return false;
	}
	return out->after_us > 0;
}

/* An error right behind an answer would be read together with it, and taken for a notice by libpq: whoever has just had one is told
 * when it sends something (client_pump), or by a later tick. */
static bool is_settled(const struct session *s, usec_t now)
{
	return session_at_boundary(s) && now - s->idle_since_us > 100 * USEC_PER_MS;
}

/* Only cancel requests are still taken. */
static bool came_too_late(const struct session *s, usec_t now)
{
	return s->env->is_shutting_down && !s->is_greeted && now - s->idle_since_us > USEC_PER_SEC;
}

/* Who has nothing to do holds nothing that is made in no time. */
static void slim(struct session *s)
{
	if (s->waits_for == WAIT_NOTHING)
		timer_free(&s->timer);
	mem_free(s->err);
	s->err = NULL;
	if (s->expect_count == 0) {
		mem_free(s->expects);
		s->expects = NULL;
		s->expect_cap = s->expect_first = 0;
	}
}

static void session_tick(struct session *s, usec_t now)
{
	struct timeout timeout;

	if (listen_is_lost(s))
		listen_again(s);
	if (s->state == ST_READY && now - s->idle_since_us > USEC_PER_SEC)
		slim(s);
	if ((s->closing_asked && is_settled(s, now)) || came_too_late(s, now)) {
		session_shut(s);
		return;
	}
	if (!timeout_of(s, &timeout) || now - timeout.since_us < timeout.after_us)
		return;
	if (s->state == ST_RELAY)
		pool_cancel(s->server);
	err_set(session_err(s), timeout.sqlstate, "%s", timeout.text);
	err_hint(session_err(s), "The configured %s has passed.", timeout.text);
	session_step(s, EV_K_KILL);
}

static void session_reload(struct session *s)
{
	if (s->conf != s->env->conf && s->is_greeted && !s->is_console && s->state == ST_READY && !s->vars && s->batch.kind == BATCH_NONE)
		session_refresh_conf(s);
}

void sessions_tick(struct session_env *env)
{
	usec_t now = time_mono_us();

	LIST_EACH_SAFE(pos, &env->sessions) {
		struct session *s = LIST_ITEM(pos, struct session, link);
		session_reload(s);
		session_tick(s, now);
	}
}

/* ---- kill, shutdown ---- */

bool session_kill(struct session_env *env, uint64_t id)
{
	LIST_EACH(pos, &env->sessions) {
		struct session *s = LIST_ITEM(pos, struct session, link);

		if (s->id != id)
			continue;
		if (s->state == ST_RELAY)
			pool_cancel(s->server);
		kill_session(s, "terminating connection due to administrator command");
		return true;
	}
	return false;
}

void sessions_shutdown(struct session_env *env, bool now)
{
	usec_t at = time_mono_us();

	env->is_shutting_down = true;
	LIST_EACH_SAFE(pos, &env->sessions) {
		struct session *s = LIST_ITEM(pos, struct session, link);

		if (now || !s->is_greeted || s->client_at_end || is_settled(s, at))
			session_shut(s);
		else
			s->closing_asked = true;
	}
}

/* ---- the console's view ---- */

static usec_t waited_us(const struct session *s)
{
	return s->state == ST_WAIT && s->wait_began_us ? time_mono_us() - s->wait_began_us : 0;
}

static void view_of(struct session *s, struct session_view *v)
{
	static const char *const levels[] = { "eventual", "bounded", "monotonic", "read_your_writes", "session", "strong" };
	const struct server *server = s->server ? s->server : s->home;
	struct need need = s->need;

	*v = (struct session_view){ .user = s->user ? s->user : "", .database = s->database ? s->database : "",
		                    .state = session_state_text(s->state), .fsm_state = session_state_name(s->state),
		                    .connected_us = s->connected_us, .wait_us = waited_us(s), .id = s->id, .ptr = s, .link = server,
		                    .remote_pid = server ? server->backend_pid : 0, .prepared_statements = s->named.used,
		                    .application_name = s->application_name ? s->application_name : "",
		                    .node = server ? server->node : s->last_node, .is_console = s->is_console,
		                    .in_transaction = s->tx != 'I', .is_pinned = s->pins != 0 };
	/* PgBouncer calls a client with a server active, whatever it does with it. */
	if (s->state == ST_HELD || s->state == ST_CONSOLE || (s->state == ST_READY && s->home))
		v->state = "active";
	if (s->batch_began_us)
		v->request_us = time_wall_us() - (time_mono_us() - s->batch_began_us);
	stream_peer(s->client, v->addr, sizeof(v->addr), &v->port);
	stream_local(s->client, v->local_addr, sizeof(v->local_addr), &v->local_port);
	session_pins_text(s->pins, v->pinned_by, sizeof(v->pinned_by));
	v->consistency = levels[session_policy(s)->consistency];
	need_resolve(&need, s->env->topo);
	if (need.after_us)
		snprintf(v->need_lsn, sizeof(v->need_lsn), "newest");
	else if (need.pos.lsn)
		wal_pos_print(need.pos, v->need_lsn, sizeof(v->need_lsn));
	if (s->last_node >= 0)
		route_reason_text(s->last_reason, s->last_reason_name[0] ? s->last_reason_name : NULL, v->last_reason, sizeof(v->last_reason));
}

void sessions_each(struct session_env *env, session_view_fn *fn, void *owner)
{
	LIST_EACH(pos, &env->sessions) {
		struct session *s = LIST_ITEM(pos, struct session, link);
		struct session_view view;

		view_of(s, &view);
		fn(owner, &view);
	}
}
