/* COPY FROM STDIN: the client's data on its way to the server. */
#include "private.h"

#define COPY_TERMINATED (SIZE_MAX - 1)

/* Whether the next piece of copy data is the last the server needs before it answers: in the simple protocol CopyDone or CopyFail, in
 * the extended one the Sync behind it. */
bool relay_copy_ends(struct session *s)
{
	struct wire_msg m = { 0 };
	struct err err;

	if (s->client_pass_left ||
	    wire_peek(stream_data(s->client), stream_len(s->client), WIRE_FROM_CLIENT, INT32_MAX, &m, &err) != WIRE_DONE || m.have < m.total)
		return false;
	if (s->batch.kind == BATCH_EXTENDED)
		return s->copy_ended && m.type == 'S';
	return m.type == 'c' || m.type == 'f';
}

/* How many of the window's bytes go on now: rows as they come; what may end the COPY whole, and as a step of its own, since its row in
 * the table has the guard COPY_HAS_ENDED. SIZE_MAX: not the protocol. */
static size_t copy_bytes(struct session *s, const uint8_t *data, size_t len)
{
	size_t at = 0;

	while (at < len) {
		struct wire_msg m = { 0 };
		enum wire_rc rc;

		if (s->client_pass_left) {
			size_t now = MIN(s->client_pass_left, len - at);
			at += now;
			s->client_pass_left -= now;
			continue;
		}
		rc = wire_peek(data + at, len - at, WIRE_FROM_CLIENT, (size_t)s->conf->opt.max_packet_size, &m, session_err(s));
		if (rc == WIRE_AGAIN)
			return at;
		if (rc == WIRE_FAIL)
			return SIZE_MAX;
		if (m.type == 'd') {
			at += m.have;
			s->client_pass_left = m.total - m.have;
			continue;
		}
		if (m.type == 'X')
			return at > 0 ? at : COPY_TERMINATED;
		if (!strchr("cfSH", m.type)) {
			err_set(session_err(s), "08P01", "unexpected message '%c' during COPY", m.type);
			return SIZE_MAX;
		}
		if (at > 0)
			return at;
		if (m.have < m.total) {
			stream_set_window(s->client, MIN(m.total, (size_t)1 << 20) + 4096);
			return 0;
		}
		s->copy_ended |= m.type == 'c' || m.type == 'f';
		return m.total;
	}
	return at;
}

void act_forward_copy(struct session *s)
{
	const uint8_t *data = stream_data(s->client);
	size_t now = copy_bytes(s, data, stream_len(s->client));

	if (now == SIZE_MAX || now == COPY_TERMINATED) {
		session_step(s, now == SIZE_MAX ? EV_C_VIOLATION : EV_C_TERMINATE);
		return;
	}
	stream_send(s->server->stream, data, now);
	stream_consume(s->client, now);
	if (stream_unsent(s->server->stream) > 0)
		stream_pause(s->client);
}
