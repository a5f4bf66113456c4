/* A server's answers on their way to the client.
 *
 * Rows pass through untouched and uncopied. What comes before them (ParseComplete, RowDescription, notices) is kept back until a row
 * or the end is here: as long as the client has seen nothing, a read can still run elsewhere. */
#include <stdio.h>

#include "relay.h"

/* ---- towards the client ---- */

static void keep_back(struct session *s, const void *data, size_t len)
{
	if (s->delivered)
		stream_queue(s->client, data, len);
	else
		buf_add(&s->held, data, len);
}

/* The run so far, copied: something is left out or put in behind it. */
static void end_run(struct relay *r)
{
	keep_back(r->s, r->data + r->from, r->at - r->from);
	r->from = r->at;
}

void relay_skip(struct relay *r, size_t len)
{
	end_run(r);
	r->at += len;
	r->from = r->at;
}

static void put_trace(struct session *s)
{
	char reason[128];
	struct err notice;

	if (!s->vars || !s->vars->trace || s->trace_told)
		return;
	s->trace_told = true;
	err_set(&notice, "00000", "node=%s reason=%s", session_node_name(s, s->last_node),
	        route_reason_text(s->last_reason, s->last_reason_name[0] ? s->last_reason_name : NULL, reason, sizeof(reason)));
	wire_put_notice(stream_queued(s->client), "NOTICE", &notice);
}

/* From here on the client knows something of this answer: no retry any more, the batch's own bytes can go. */
void relay_deliver(struct session *s)
{
	if (s->delivered)
		return;
	s->delivered = true;
	put_trace(s);
	if (s->held.len) {
		stream_queue(s->client, s->held.data, s->held.len);
		buf_free(&s->held);
	}
	batch_consume(s);
}

/* ---- expected answers ---- */

static void pop_expect(struct session *s)
{
	struct expect *e = &s->expects[s->expect_first];

	statement_unref(&e->statement);
	mem_free(e->name);
	s->expect_first++;
	s->expect_count--;
}

/* Answers the server doesn't give because it wasn't asked. */
static void put_fakes(struct relay *r)
{
	struct session *s = r->s;

	while (s->expect_count > 0) {
		enum expect_kind kind = s->expects[s->expect_first].kind;
		uint8_t message[WIRE_HEADER_BYTES] = { kind == EX_PARSE_FAKE ? '1' : '3', 0, 0, 0, 4 };

		if (kind != EX_PARSE_FAKE && kind != EX_CLOSE_FAKE)
			return;
		end_run(r);
		keep_back(s, message, sizeof(message));
		pop_expect(s);
	}
}

void relay_answer_fakes(struct session *s)
{
	struct relay r = { .s = s, .data = (const uint8_t *)"" };

	put_fakes(&r);
	if (s->held.len)
		relay_deliver(s);
	stream_flush(s->client);
}

/* What a message has done to our knowledge that the server ignored it. */
static void take_back(struct session *s, const struct expect *e)
{
	switch (e->kind) {
	case EX_PARSE:
	case EX_PARSE_FAKE:
		named_drop(s, e->name ? e->name : "");
		break;
	case EX_CLOSE_FAKE:
		named_put(s, e->name, e->statement);
		break;
	case EX_CLOSE:
		if (e->name)
			named_end_close(s, e->name, false);
		break;
	case EX_CLOSE_OURS:
		if (e->closed.lo | e->closed.hi)
			server_add_statement(s->server, e->closed);
		break;
	default:
		break;
	}
}

/* An error: the server ignores everything up to Sync. */
void relay_fail_expects(struct session *s)
{
	size_t count = 0;

	s->answer_failed = true;
	if (s->expect_count == 0 && s->batch.parses_unnamed)    /* not tracked: the Parse itself, as nobody has answered it */
		named_drop(s, "");
	while (count < s->expect_count && s->expects[s->expect_first + count].kind != EX_SYNC)
		count++;
	for (size_t i = count; i > 0; i--)      /* the last first: a name may have been closed and given anew */
		take_back(s, &s->expects[s->expect_first + i - 1]);
	while (count--)
		pop_expect(s);
}

static bool answers(enum expect_kind kind, char type)
{
	switch (kind) {
	case EX_PARSE:
	case EX_PARSE_OURS:
		return type == '1';
	case EX_BIND:
	case EX_BIND_OURS:
		return type == '2';
	case EX_CLOSE:
	case EX_CLOSE_OURS:
		return type == '3';
	case EX_DESCRIBE:
		return type == 'T' || type == 'n';
	case EX_EXECUTE:
	case EX_EXECUTE_OURS:
		return type == 'C' || type == 'I' || type == 's';
	case EX_SYNC:
		return type == 'Z';
	case EX_PARSE_FAKE:
	case EX_PARSE_TAKEN:
	case EX_CLOSE_FAKE:
		return false;
	}
	return false;
}

/* Matches a message with what is expected; true: it isn't the client's. */
static bool take_expected(struct relay *r, const struct wire_msg *m)
{
	struct session *s = r->s;
	struct expect *e;
	bool is_ours;

	put_fakes(r);
	if (s->expect_count == 0)
		return false;
	e = &s->expects[s->expect_first];
	if (!answers(e->kind, m->type))
		return false;
	is_ours = e->kind == EX_PARSE_OURS || e->kind == EX_BIND_OURS || e->kind == EX_EXECUTE_OURS || e->kind == EX_CLOSE_OURS;
	if ((e->kind == EX_PARSE || e->kind == EX_PARSE_OURS) && e->statement && e->name)
		server_add_statement(s->server, e->statement->id);
	if (e->kind == EX_CLOSE && e->name) {
		server_drop_name(s->server, e->name);
		named_end_close(s, e->name, true);
	}
	pop_expect(s);
	return is_ours;
}

/* What the session sets becomes known as the server answers. true: the message answers something we have put in. */
static bool take_recorded(struct relay *r, const struct wire_msg *m)
{
	struct session *s = r->s;
	bool ends = m->type == 'C' || m->type == 'I' || m->type == 's';
	bool is_ours = false;

	if (s->record) {
		is_ours = (ends || m->type == 'T' || m->type == 'D') && record_hides_answer(s);
		if (m->type == 'D' && !is_ours)
			record_row(s, m);
		if (ends)
			record_answered(s, m);
	}
	s->answered_statements += ends;
	return is_ours;
}

/* ---- messages that must be understood ---- */

/* DISCARD ALL goes back to what the start-up packet said, which this server doesn't know; the next one will. */
static bool is_of_startup(const struct session *s, const char *name)
{
	return s->batch.flags & SQL_F_DISCARD_ALL && settings_find(s->startup, name) && welcome_value((struct session *)(uintptr_t)s, name);
}

static void report_startup(struct relay *r)
{
	struct session *s = r->s;

	for (size_t i = 0; s->startup && i < s->startup->count; i++) {
		const char *name = s->startup->items[i].name, *value = welcome_value(s, name);
		const char *now = server_parameter(s->server, welcome_name(s, name));
		struct buf message = { NULL, 0, 0 };

		if (value && s->answer_failed)
			value = now ? now : value;      /* rolled back, and kept from the client so far */
		if (!value || (!s->reports_startup && now && strcmp(now, value) == 0))
			continue;
		wire_put_parameter_status(&message, welcome_name(s, name), value);
		keep_back(s, message.data, message.len);
		buf_free(&message);
		startup_watch_parameter(s, name, value);
	}
}

static void take_parameter(struct relay *r, const struct wire_msg *m)
{
	const char *name, *value;
	struct err err;

	if (!wire_read_parameter_status(m, &name, &value, &err))
		return;
	server_set_parameter(r->s->server, name, value);
	if (is_of_startup(r->s, name)) {
		r->s->reports_startup = true;
		relay_skip(r, m->total);
		return;
	}
	if (strcmp(name, "in_hot_standby") == 0) {
		relay_skip(r, m->total);      /* the proxy always looks like the primary */
		return;
	}
	startup_watch_parameter(r->s, name, value);
	r->at += m->total;
}

/* A read that ran at the primary by the user's choice or for lack of standbys, and that no standby has answered yet: what its views and
 * operators call may write. (When the standbys are only behind, they will tell soon; the need must not run away from them.) */
static bool may_have_written(const struct session *s)
{
	return s->server->node == s->env->topo->primary && s->last_reason != ROUTE_R_CONSISTENCY && s->last_reason != ROUTE_R_LAG &&
	       s->batch.verdict && s->batch.verdict->class == SQL_READ && !verdict_is_proved(s->batch.verdict);
}

/* ReadyForQuery: the client's, or that of the text which broke its transaction. */
static enum relay_rc take_ready(struct relay *r, const struct wire_msg *m)
{
	struct session *s = r->s;

	if (s->preludes) {
		s->preludes--;
		relay_skip(r, m->total);
		return RELAY_ON;
	}
	s->tx = m->body_len ? (char)m->body[0] : 'I';
	if (s->batch.flags & SQL_F_DISCARD_ALL && (s->reports_startup || !s->answer_failed)) {
		end_run(r);
		report_startup(r);
	}
	r->at += m->total;
	relay_deliver(s);
	/* Before the client hears of it: what it writes next to read must be after this. */
	if (!s->batch.is_movable || may_have_written(s))
		need_add_time(&s->need, time_mono_us());
	stream_send(s->client, r->data + r->from, r->at - r->from);
	stream_consume(s->server->stream, r->at);
	if (s->record)
		record_ready(s);
	s->sent_statements = s->answered_statements = 0;
	session_step(s, EV_S_READY);
	return RELAY_STOP;
}

/* One whole message other than a row. */
static enum relay_rc take_message(struct relay *r, const struct wire_msg *m)
{
	struct session *s = r->s;
	bool is_ours;

	if (s->preludes && m->type != 'Z') {
		relay_skip(r, m->total);
		return RELAY_ON;
	}
	is_ours = !s->preludes && s->expect_count && take_expected(r, m);
	if (take_recorded(r, m) || is_ours) {
		relay_skip(r, m->total);
		return RELAY_ON;
	}
	switch (m->type) {
	case 'E':
		return relay_error(r, m);
	case 'S':
		take_parameter(r, m);
		return RELAY_ON;
	case 'Z':
		return take_ready(r, m);
	case 'A':
		need_add_time(&s->need, time_mono_us());        /* what it tells of was committed before */
		relay_deliver(s);
		break;
	case 'G':
		relay_deliver(s);
		r->at += m->total;
		session_step(s, EV_S_COPY_IN);
		return s->state == ST_CLOSED ? RELAY_STOP : RELAY_ON;
	case '1':
		s->batch.parses_unnamed -= s->batch.parses_unnamed > 0;
		break;
	case '2':
	case '3':
	case 'n':
	case 't':
	case 'T':
	case 'N':
	case 'H':
		break;          /* nothing is delivered by these */
	default:
		relay_deliver(s);
		break;
	}
	r->at += m->total;
	return RELAY_ON;
}

/* ---- the loop ---- */

static bool must_be_whole(char type)
{
	return type != 'D' && type != 'd';
}

/* A message that has come only in part is waited for: a row the client has half of could not be followed by an error, should the server
 * be lost. Only long ones go on as they come. */
static bool pass_part(struct relay *r, const struct wire_msg *m)
{
	struct session *s = r->s;

	if (s->preludes || m->total < (m->type == 'E' || m->type == 'S' || s->record ? ERROR_MAX_BYTES : 16384)) {
		stream_set_window(s->server->stream, MIN(m->total, ERROR_MAX_BYTES) + 32768);
		return false;
	}
	if (m->type == 'E')
		relay_fail_expects(s);        /* longer than any that could be answered by running elsewhere */
	else if (s->expect_count && must_be_whole(m->type) && take_expected(r, m))
		return false;           /* never: what is ours is short */
	relay_deliver(s);
	s->pass_left = m->total - m->have;
	r->at += m->have;
	return true;
}

static void finish_part(struct relay *r)
{
	size_t now = MIN(r->s->pass_left, r->len - r->at);

	r->at += now;
	r->s->pass_left -= now;
}

/* What was scanned goes on; the client sets the pace. */
static void flush(struct relay *r)
{
	struct session *s = r->s;

	if (!s->delivered) {
		end_run(r);
		if (s->held.len > 65536 || (s->held.len && !(s->batch.is_movable && s->batch.is_whole)))
			relay_deliver(s);       /* what can't run again isn't kept back: a notice, the answer to a Flush */
	}
	if (s->delivered)
		stream_send(s->client, r->data + r->from, r->at - r->from);
	stream_consume(s->server->stream, r->at);
	if (stream_unsent(s->client) > 0)
		stream_pause(s->server->stream);
}

static void relay_readable(struct session *s)
{
	struct relay r = { .s = s, .data = stream_data(s->server->stream), .len = stream_len(s->server->stream) };

	while (r.at < r.len) {
		struct wire_msg m = { 0 };
		enum wire_rc rc;

		if (s->pass_left) {
			finish_part(&r);
			continue;
		}
		rc = wire_peek(r.data + r.at, r.len - r.at, WIRE_FROM_SERVER, INT32_MAX, &m, session_err(s));
		if (rc == WIRE_AGAIN)
			break;
		if (rc == WIRE_FAIL) {
			log_warning("C-%llu server %s broke the protocol: %s", (unsigned long long)s->id,
			            session_node_name(s, s->server->node), session_err(s)->text);
			session_step(s, EV_S_LOST);
			return;
		}
		if (m.have < m.total) {
			if (!pass_part(&r, &m))
				break;
			continue;
		}
		if (m.type == 'D' && s->delivered && !s->preludes && !s->record) {
			r.at += m.total;
			continue;
		}
		if (take_message(&r, &m) == RELAY_STOP)
			return;
	}
	put_fakes(&r);
	flush(&r);
	if (s->state == ST_OPEN || s->state == ST_COPY_IN)      /* what the client has sent meanwhile was waiting for this answer */
		client_pump(s);
}

/* Between batches: notifications, notices, parameters of a held server go to the client as they come. */
static void held_readable(struct session *s)
{
	s->delivered = true;
	relay_readable(s);
}

void server_event(void *owner, enum stream_event event)
{
	struct session *s = owner;

	switch (event) {
	case STREAM_CONNECTED:
		break;
	case STREAM_READABLE:
		if (s->state == ST_HELD)
			held_readable(s);
		else
			relay_readable(s);
		break;
	case STREAM_DRAINED:
		stream_resume(s->client);
		client_pump(s);
		break;
	case STREAM_EOF:
	case STREAM_FAILED:
		session_step(s, EV_S_LOST);
		break;
	}
}
