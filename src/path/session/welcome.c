/* What a client is told after its login: the parameters of the servers behind the proxy, learned once for each combination of
 * database, user and start-up settings, and then remembered by the worker. */
#include <stdio.h>
#include <strings.h>

#include "private.h"

#define WELCOMES_MAX 1024

struct welcome {
	struct buf messages;            /* ParameterStatus messages */
	struct buf params;              /* name NUL value NUL: the same, for startup_watch_parameter() */
};

static struct hash128 welcome_id(const struct session *s)
{
	struct buf text = { NULL, 0, 0 };
	struct hash128 id = { 0, 0 };

	buf_add_cstr(&text, s->database);
	buf_add_cstr(&text, s->user);
	buf_add(&text, &s->epoch, sizeof(s->epoch));
	if (s->startup)
		buf_add(&text, &s->startup->id, sizeof(s->startup->id));
	id = hash_bytes(text.data, text.len);
	buf_free(&text);
	return id;
}

static bool find_param(struct session *s, const char *name, const char **known, const char **value)
{
	const struct welcome *welcome = map_get(&s->env->welcomes, welcome_id(s));
	struct cursor c;

	if (!welcome)
		return false;
	c = cursor_of(welcome->params.data, welcome->params.len);
	while (cursor_left(&c)) {
		*known = cursor_cstr(&c, NULL);
		*value = cursor_cstr(&c, NULL);
		if (*value && strcasecmp(*known, name) == 0)
			return true;
	}
	return false;
}

const char *welcome_value(struct session *s, const char *name)
{
	const char *known, *value;

	return find_param(s, name, &known, &value) ? value : NULL;
}

const char *welcome_name(struct session *s, const char *name)
{
	const char *known, *value;

	return find_param(s, name, &known, &value) ? known : name;
}

static void welcome_free(struct welcome *welcome)
{
	buf_free(&welcome->messages);
	buf_free(&welcome->params);
	mem_free(welcome);
}

void welcome_forget_all(struct session_env *env)
{
	struct welcome *welcome;
	size_t it = 0;

	while ((welcome = map_next(&env->welcomes, &it)))
		welcome_free(welcome);
	map_free(&env->welcomes);
}

const struct buf *welcome_find(struct session *s)
{
	struct welcome *welcome = map_get(&s->env->welcomes, welcome_id(s));

	return welcome ? &welcome->messages : NULL;
}

/* A later value replaces an earlier one of the same name. */
static void add_param(struct welcome *welcome, const char *name, const char *value)
{
	struct cursor c = cursor_of(welcome->params.data, welcome->params.len);
	struct buf rest = { NULL, 0, 0 };

	while (cursor_left(&c)) {
		const char *n = cursor_cstr(&c, NULL), *v = cursor_cstr(&c, NULL);
		if (!v)
			break;
		if (strcmp(n, name) != 0) {
			buf_add_cstr(&rest, n);
			buf_add_cstr(&rest, v);
		}
	}
	buf_add_cstr(&rest, name);
	/* To the client the proxy always looks like the primary. */
	buf_add_cstr(&rest, strcmp(name, "in_hot_standby") == 0 ? "off" : value);
	buf_free(&welcome->params);
	welcome->params = rest;
}

static void add_params(struct welcome *welcome, const struct buf *params)
{
	struct cursor c = cursor_of(params->data, params->len);

	while (cursor_left(&c)) {
		const char *name = cursor_cstr(&c, NULL), *value = cursor_cstr(&c, NULL);
		if (!value)
			return;
		add_param(welcome, name, value);
	}
}

static void remember(struct session *s)
{
	struct welcome *welcome = mem_alloc(sizeof(*welcome)), *before;
	struct cursor c;

	if (s->env->welcomes.used >= WELCOMES_MAX)
		welcome_forget_all(s->env);
	add_params(welcome, &s->server->params);
	c = cursor_of(welcome->params.data, welcome->params.len);
	while (cursor_left(&c)) {
		const char *name = cursor_cstr(&c, NULL), *value = cursor_cstr(&c, NULL);
		wire_put_parameter_status(&welcome->messages, name, value);
	}
	before = map_put(&s->env->welcomes, welcome_id(s), welcome);
	if (before)
		welcome_free(before);
}

/* ---- greeting ---- */

void act_greet(struct session *s)
{
	struct welcome *welcome = map_get(&s->env->welcomes, welcome_id(s));
	struct buf *out = stream_queued(s->client);
	struct cursor c = cursor_of(welcome->params.data, welcome->params.len);

	while (cursor_left(&c)) {
		const char *name = cursor_cstr(&c, NULL), *value = cursor_cstr(&c, NULL);
		startup_watch_parameter(s, name, value);
	}
	buf_add(out, welcome->messages.data, welcome->messages.len);
	wire_put_backend_key(out, s->key_pid, s->key, s->key_len);
	wire_put_ready(out, 'I');
	session_give_err(s);
	stream_flush(s->client);
	auth_server_free(&s->login);
	s->is_greeted = true;
	vars_logged_in(s);
	s->idle_since_us = time_mono_us();
	client_pump(s);
}

/* ---- asking a server ---- */

static void any_server_done(void *owner, struct server *server, const struct err *err)
{
	struct session *s = owner;

	timer_stop(s->timer);
	s->waits_for = WAIT_NOTHING;
	if (server) {
		s->server = server;
		session_step(s, EV_P_SERVER);
		return;
	}
	*session_err(s) = *err;
	s->exclude |= s->waiter_node >= 0 ? 1u << s->waiter_node : 0;
	/* What another node would answer too goes to the client; a node that can't be reached doesn't matter as long as there are others. */
	if (find_is_final(err))
		session_step(s, EV_P_REFUSED);
	else
		session_step(s, EV_P_AGAIN);
}

/* The primary if there is one, else any standby that is up: it only has to say what it is. */
static int pick_any(const struct session *s)
{
	const struct topo *topo = s->env->topo;

	if (topo->primary >= 0 && !(s->exclude & 1u << topo->primary))
		return topo->primary;
	for (size_t i = 0; i < topo->node_count; i++)
		if (topo->nodes[i].role == TOPO_STANDBY && topo->nodes[i].addr_len && topo->nodes[i].state != TOPO_DOWN && !(s->exclude & 1u << i))
			return (int)i;
	return -1;
}

void act_find_any_server(struct session *s)
{
	int node;

	if (s->server)
		pool_release(&s->server, RELEASE_CLOSE);
	if (!s->wait_began_us)
		s->wait_began_us = time_mono_us();
	if (time_mono_us() - s->wait_began_us > session_policy(s)->primary_wait) {
		if (!err_is_set(session_err(s)))
			err_set(session_err(s), "57P03", "no server can be reached");
		err_hint(session_err(s), "See SHOW NODES on database pgshunt for the state of all nodes.");
		session_step(s, EV_P_REFUSED);
		return;
	}
	node = pick_any(s);
	if (node == -1) {
		s->exclude = 0;
		s->waits_for = WAIT_PRIMARY;
		list_remove(&s->waiting);
		list_push(&s->env->topo_waiters, &s->waiting);
		wait_set_timer(s, USEC_PER_SEC / 2);
		return;
	}
	wait_set_timer(s, session_policy(s)->primary_wait);
	s->waits_for = WAIT_SERVER;
	s->waiter_node = node;
	pool_wait(s->set, node, &(struct pool_wish){ s->settings, s->epoch }, &s->waiter, any_server_done, s);
}

void act_ask_parameters(struct session *s)
{
	s->waits_for = WAIT_NOTHING;
	stream_set_owner(s->server->stream, startup_server_event, s);
	s->lay_left = settings_lay(s->server->settings, s->settings, stream_queued(s->server->stream));
	if (s->lay_left == 0)
		session_step(s, EV_S_READY);
	else
		stream_flush(s->server->stream);
}

static bool take_error(struct session *s, const struct wire_msg *m)
{
	struct wire_error error;

	if (!wire_read_error(m, &error, session_err(s)))
		return false;
	err_set(session_err(s), error.sqlstate, "%s", error.message);
	err_hint(session_err(s), "A start-up parameter of the connection was refused by the server.");
	return false;
}

/* false: the login has failed with session_err(s)-> */
static bool welcome_message(struct session *s, const struct wire_msg *m)
{
	const char *name, *value;

	if (m->type == 'E')
		return take_error(s, m);
	if (m->type == 'S') {
		if (!wire_read_parameter_status(m, &name, &value, session_err(s)))
			return false;
		server_set_parameter(s->server, name, value);
	}
	return true;
}

static void welcome_readable(struct session *s)
{
	for (;;) {
		struct wire_msg m = { 0 };
		enum wire_rc rc = wire_peek(stream_data(s->server->stream), stream_len(s->server->stream), WIRE_FROM_SERVER, 65536, &m,
		                            session_err(s));

		if (rc == WIRE_AGAIN || (rc == WIRE_DONE && m.have < m.total)) {
			stream_set_window(s->server->stream, 65536 + WIRE_HEADER_BYTES);
			return;
		}
		if (rc == WIRE_FAIL || !welcome_message(s, &m)) {
			pool_release(&s->server, RELEASE_CLOSE);
			session_step(s, EV_L_FAILED);
			return;
		}
		stream_consume(s->server->stream, m.total);
		if (m.type == 'Z' && --s->lay_left == 0) {
			settings_unref(&s->server->settings);
			s->server->settings = settings_ref(s->settings);
			session_step(s, EV_S_READY);
			return;
		}
	}
}

void startup_server_event(void *owner, enum stream_event event)
{
	struct session *s = owner;

	if (event == STREAM_READABLE)
		welcome_readable(s);
	else if (event == STREAM_EOF || event == STREAM_FAILED)
		session_step(s, EV_S_LOST);
}

void act_learn_and_greet(struct session *s)
{
	remember(s);
	if (session_policy(s)->pool_mode == POOL_SESSION && s->server->node == s->env->topo->primary)
		home_begin(s);
	else
		pool_release(&s->server, RELEASE_CLEAN);
	err_clear(session_err(s));
	s->exclude = 0;
	s->wait_began_us = 0;
	act_greet(s);
}
