/* What a batch takes for granted is laid on its server first: settings, statements prepared by SQL. The batch waits for the answer: sent
 * along, it would run without its settings when they fail, and a write that runs in the wrong search_path is worse than a round trip,
 * which only a change of settings costs. */
#include <stdio.h>

#include "private.h"

#define LAY_TRIES_MAX 3
#define LAY_MESSAGE_MAX_BYTES 65536u

/* currval() and lastval() of a session that uses them must tell of its own writes only: where another session has written last, the
 * server forgets its sequences before this one writes, or asks. */
static bool forgets_sequences(const struct session *s)
{
	bool asks = s->batch.uses & SQL_PIN_SEQUENCE;

	if (!asks && !(s->reads_sequences && !s->batch.is_movable))
		return false;
	return s->server->last_writer && s->server->last_writer != s->id;
}

bool lay_is_needed(struct session *s)
{
	if (s->tx == 'E')
		return false;
	if (s->tx == 'I' && ((s->server->settings != s->settings && !FAULT_NO_REPLAY) || forgets_sequences(s)))
		return true;
	return names_need_laying(s) && !FAULT_NO_PREPARE;
}

static void laid(struct session *s)
{
	stream_set_window(s->server->stream, 0);
	if (s->tx == 'I') {
		settings_unref(&s->server->settings);
		s->server->settings = settings_ref(s->settings);
	}
	session_step(s, s->lay_error.len && s->batch.is_whole ? EV_P_REFUSED : EV_S_READY);
}

static void note_parameter(struct session *s, const struct wire_msg *m)
{
	const char *name, *value;
	struct err err;

	if (wire_read_parameter_status(m, &name, &value, &err))
		server_set_parameter(s->server, name, value);
}

/* A statement could not be prepared again (its table is gone ...): the first such error is the answer, as it would be that of EXECUTE on a
 * connection of the client's own. What else is prepared there nobody knows. */
static void keep_error(struct session *s, const struct wire_msg *m)
{
	if (s->lay_error.len == 0)
		buf_add(&s->lay_error, m->body - WIRE_HEADER_BYTES, m->total);
	s->server->must_deallocate = true;
}

static void lay_readable(struct session *s)
{
	struct stream *stream = s->server->stream;

	for (;;) {
		struct wire_msg m = { 0 };
		struct err err;
		enum wire_rc rc = wire_peek(stream_data(stream), stream_len(stream), WIRE_FROM_SERVER, LAY_MESSAGE_MAX_BYTES, &m, &err);
		char type = m.type;
		bool is_failed = rc == WIRE_DONE && type == 'Z' && m.body_len == 1 && m.body[0] == 'E';

		if (rc == WIRE_AGAIN || (rc == WIRE_DONE && m.have < m.total)) {
			stream_set_window(stream, LAY_MESSAGE_MAX_BYTES + WIRE_HEADER_BYTES);
			return;
		}
		if (rc == WIRE_DONE && type == 'S')
			note_parameter(s, &m);
		if (rc == WIRE_FAIL || (type == 'E' && s->lay_settings > 0)) {
			session_step(s, EV_S_RETRY);
			return;
		}
		if (type == 'E' && s->tx == 'I' && s->batch.is_movable && s->server->node != s->env->topo->primary) {
			s->must_primary = true;         /* what a standby can't prepare the primary may */
			s->primary_reason = ROUTE_R_RETRIED;
			session_step(s, EV_S_RETRY);
			return;
		}
		if (type == 'E')
			keep_error(s, &m);
		stream_consume(stream, m.total);
		if (type != 'Z')
			continue;
		s->lay_settings -= s->lay_settings > 0;
		if (s->lay_error.len && s->tx == 'T' && is_failed)
			s->tx = 'E';
		if (--s->lay_left == 0) {
			laid(s);
			return;
		}
	}
}

static void lay_event(void *owner, enum stream_event event)
{
	struct session *s = owner;

	if (event == STREAM_READABLE)
		lay_readable(s);
	else if (event == STREAM_EOF || event == STREAM_FAILED)
		session_step(s, EV_S_LOST);
}

void act_lay_settings(struct session *s)
{
	struct buf *out = stream_queued(s->server->stream);

	find_stop_waiting(s);
	buf_free(&s->lay_error);
	stream_set_owner(s->server->stream, lay_event, s);
	s->lay_settings = s->tx == 'I' ? settings_lay(s->server->settings, s->settings, out) : 0;
	s->lay_left = s->lay_settings;
	if (s->tx == 'I' && forgets_sequences(s)) {
		wire_put_query(out, "DISCARD SEQUENCES");
		s->lay_left++;
		s->server->last_writer = 0;
	}
	s->lay_left += names_lay(s, out);
	stream_flush(s->server->stream);
	if (s->lay_left == 0)           /* lists that differ in their order only */
		laid(s);
}

/* Nothing of the batch has been sent: another server may do. But a home has no like. */
void act_lay_elsewhere(struct session *s)
{
	bool was_home = s->server->is_pinned;

	lose_server(s);
	if (was_home || ++s->retries > LAY_TRIES_MAX) {
		err_set(session_err(s), "08006", "the settings of this session could not be laid on any server");
		err_hint(session_err(s), "A setting that was accepted before is refused now; connect again. The statement was not run.");
		session_step(s, EV_P_REFUSED);
		return;
	}
	s->wait_began_us = 0;
	act_find_server(s);
}

void act_cancel_laying(struct session *s)
{
	lose_server(s);
	act_answer_canceled(s);
}
