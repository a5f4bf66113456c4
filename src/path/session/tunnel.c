/* Replication connections (pg_basebackup, pg_receivewal, logical decoding): a server of the primary dialled for this client alone, with its
 * own start-up parameters. What passes between the two is theirs; we don't read it.
 * Source: PostgreSQL manual, 55.4 Streaming Replication Protocol. */
#include <stdio.h>

#include "private.h"

#define LOOK_AGAIN_US (500 * USEC_PER_MS)

void tunnel_keep_parameters(struct session *s, const struct wire_startup *packet)
{
	struct buf *params = mem_alloc(sizeof(*params));

	buf_add_cstr(params, "replication");
	buf_add_cstr(params, packet->replication_logical ? "database" : "true");
	for (size_t i = 0; i < packet->param_count; i++) {
		buf_add_cstr(params, packet->params[i].name);
		buf_add_cstr(params, packet->params[i].value);
	}
	s->replication = params;
}

void tunnel_free(struct session *s)
{
	if (s->replication)
		buf_free(s->replication);
	mem_free(s->replication);
	s->replication = NULL;
}

static void dialled(void *owner, struct server *server, const struct err *err)
{
	struct session *s = owner;

	if (s->timer)
		timer_stop(s->timer);
	s->waits_for = WAIT_NOTHING;
	if (server) {
		s->server = server;
		session_step(s, EV_P_SERVER);
		return;
	}
	*session_err(s) = *err;
	session_step(s, EV_P_REFUSED);
}

static void dial(struct session *s, int node)
{
	struct wire_param params[WIRE_STARTUP_PARAMS_MAX + 1];
	struct cursor c = cursor_of(s->replication->data, s->replication->len);
	usec_t most = session_policy(s)->query_wait_timeout;
	size_t count = 0;

	while (cursor_left(&c) && count < ARRAY_LEN(params)) {
		params[count].name = cursor_cstr(&c, NULL);
		params[count++].value = cursor_cstr(&c, NULL);
	}
	s->waits_for = WAIT_SERVER;
	s->waiter_node = node;
	if (most)
		wait_set_timer(s, MAX(most - (time_mono_us() - s->wait_began_us), 0));
	pool_dial(s->set, node, params, count, &s->waiter, dialled, s);
}

void act_dial_primary(struct session *s)
{
	usec_t now = time_mono_us();

	find_stop_waiting(s);
	if (!s->wait_began_us)
		s->wait_began_us = now;
	if (s->env->topo->primary >= 0) {
		dial(s, s->env->topo->primary);
		return;
	}
	if (now - s->wait_began_us > session_policy(s)->primary_wait) {
		err_set(session_err(s), "57P03", "no primary within primary_wait");
		err_hint(session_err(s), "See SHOW NODES on database pgshunt; promote a standby or bring the primary back.");
		session_step(s, EV_P_REFUSED);
		return;
	}
	s->waits_for = WAIT_PRIMARY;
	list_push(&s->env->topo_waiters, &s->waiting);
	wait_set_timer(s, LOOK_AGAIN_US);
}

/* ---- both ways ---- */

/* What has come from one end goes to the other; the slower one sets the pace. */
static void pass(struct stream *from, struct stream *to)
{
	stream_send(to, stream_data(from), stream_len(from));
	stream_consume(from, stream_len(from));
	if (stream_unsent(to) > 0)
		stream_pause(from);
}

void tunnel_from_client(struct session *s)
{
	pass(s->client, s->server->stream);
}

static void server_says(void *owner, enum stream_event event)
{
	struct session *s = owner;

	switch (event) {
	case STREAM_READABLE:
		pass(s->server->stream, s->client);
		break;
	case STREAM_DRAINED:
		stream_resume(s->client);
		client_pump(s);
		break;
	case STREAM_EOF:
	case STREAM_FAILED:
		session_step(s, EV_S_LOST);
		break;
	case STREAM_CONNECTED:
		break;
	}
}

void act_open_tunnel(struct session *s)
{
	struct buf *out = stream_queued(s->client);
	struct cursor c = cursor_of(s->server->params.data, s->server->params.len);

	while (cursor_left(&c)) {
		const char *name = cursor_cstr(&c, NULL), *value = cursor_cstr(&c, NULL);
		wire_put_parameter_status(out, name, value);
	}
	wire_put_backend_key(out, s->key_pid, s->key, s->key_len);
	wire_put_ready(out, 'I');
	stream_flush(s->client);
	auth_server_free(&s->login);
	tunnel_free(s);
	s->is_tunnel = s->is_greeted = true;
	s->last_node = s->server->node;
	s->wait_began_us = 0;
	stream_set_owner(s->server->stream, server_says, s);
	client_pump(s);
}

/* The server has said why, if it could. */
void act_close_tunnel(struct session *s)
{
	stream_end(s->client);
	session_bury(s);
}
