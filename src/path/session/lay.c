/* Settings are laid on a server before the batch goes to it. The batch waits for the answer: sent along, it would run without its
 * settings when they fail, and a write that runs in the wrong search_path is worse than a round trip, which only a change of settings
 * costs. */
#include <stdio.h>

#include "private.h"

#define LAY_TRIES_MAX 3
#define LAY_MESSAGE_MAX_BYTES 65536u

/* What currval() would tell a session that has never written is another session's. */
static bool forgets_sequences(const struct session *s)
{
	return s->batch.uses & SQL_PIN_SEQUENCE && !s->write_server && !s->pins;
}

bool lay_is_needed(struct session *s)
{
	return s->tx == 'I' && (s->server->settings != s->settings || forgets_sequences(s));
}

static void lay_readable(struct session *s)
{
	struct stream *stream = s->server->stream;

	for (;;) {
		struct wire_msg m = { 0 };
		struct err err;
		enum wire_rc rc = wire_peek(stream_data(stream), stream_len(stream), WIRE_FROM_SERVER, LAY_MESSAGE_MAX_BYTES, &m, &err);
		char type = m.type;

		if (rc == WIRE_AGAIN || (rc == WIRE_DONE && m.have < m.total)) {
			stream_set_window(stream, LAY_MESSAGE_MAX_BYTES + WIRE_HEADER_BYTES);
			return;
		}
		if (rc == WIRE_FAIL || type == 'E') {
			session_step(s, EV_S_RETRY);
			return;
		}
		stream_consume(stream, m.total);
		if (type == 'Z') {
			stream_set_window(stream, 0);
			settings_unref(&s->server->settings);
			s->server->settings = settings_ref(s->settings);
			session_step(s, EV_S_READY);
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
	struct buf sql = { NULL, 0, 0 };

	find_stop_waiting(s);
	stream_set_owner(s->server->stream, lay_event, s);
	settings_diff(s->server->settings, s->settings, &sql);
	if (forgets_sequences(s))
		buf_add_str(&sql, "DISCARD SEQUENCES;");
	wire_put_query(stream_queued(s->server->stream), buf_cstr(&sql));
	stream_flush(s->server->stream);
	buf_free(&sql);
}

/* Nothing of the batch has been sent: another server may do. */
void act_lay_elsewhere(struct session *s)
{
	s->env->node_trouble(s->env->owner, s->server->node);
	pool_release(&s->server, RELEASE_CLOSE);
	if (++s->retries > LAY_TRIES_MAX) {
		err_set(&s->err, "08006", "the settings of this session could not be laid on any server");
		err_hint(&s->err, "A start-up parameter that was accepted before is refused now; connect again. The statement was not run.");
		session_step(s, EV_P_REFUSED);
		return;
	}
	s->wait_began_us = 0;
	act_find_server(s);
}

void act_cancel_laying(struct session *s)
{
	pool_release(&s->server, RELEASE_CLOSE);
	act_answer_canceled(s);
}
