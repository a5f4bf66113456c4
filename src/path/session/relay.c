/* A server's answers on their way to the client.
 *
 * Rows pass through untouched and uncopied. What comes before them (ParseComplete, RowDescription, notices) is kept back until a row
 * or the end is here: as long as the client has seen nothing, a read can still run elsewhere. */
#include <stdio.h>

#include "private.h"

enum relay_rc { RELAY_ON, RELAY_STOP };

#define COPY_TERMINATED (SIZE_MAX - 1)
#define ERROR_MAX_BYTES ((size_t)1 << 20)       /* longer errors are passed on unread */

struct relay {
	struct session *s;
	const uint8_t *data;
	size_t len, at;                 /* scanned up to here */
	size_t from;                    /* first byte not yet passed on */
};

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

static void skip(struct relay *r, size_t len)
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

/* An error: the server ignores everything up to Sync. Names given by what it ignored are taken back. */
static void fail_expects(struct session *s)
{
	s->answer_failed = true;
	while (s->expect_count > 0 && s->expects[s->expect_first].kind != EX_SYNC) {
		struct expect *e = &s->expects[s->expect_first];

		if (e->kind == EX_PARSE && e->statement && e->name)
			named_drop(s, e->name);
		if (e->kind == EX_CLOSE_OURS && (e->closed.lo | e->closed.hi))
			server_add_statement(s->server, e->closed);
		pop_expect(s);
	}
}

static bool answers(enum expect_kind kind, char type)
{
	switch (kind) {
	case EX_PARSE:
	case EX_PARSE_OURS:
		return type == '1';
	case EX_BIND:
		return type == '2';
	case EX_CLOSE:
	case EX_CLOSE_OURS:
		return type == '3';
	case EX_DESCRIBE:
		return type == 'T' || type == 'n';
	case EX_EXECUTE:
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
	is_ours = e->kind == EX_PARSE_OURS || e->kind == EX_CLOSE_OURS;
	if ((e->kind == EX_PARSE || e->kind == EX_PARSE_OURS) && e->statement && e->name)
		server_add_statement(s->server, e->statement->id);
	pop_expect(s);
	return is_ours;
}

/* ---- messages that must be understood ---- */

static void take_parameter(struct relay *r, const struct wire_msg *m)
{
	const char *name, *value;
	struct err err;

	if (!wire_read_parameter_status(m, &name, &value, &err))
		return;
	if (strcmp(name, "in_hot_standby") == 0) {
		skip(r, m->total);      /* the proxy always looks like the primary */
		return;
	}
	startup_watch_parameter(r->s, name, value);
	r->at += m->total;
}

/* Refused because it is a standby: 25006; "recovery is in progress" and "cannot ... during recovery" come as 55000 and 0A000; COPY of an
 * unlogged table finds no file, 58P01. A read that fails so on the primary too fails there once more, and the client hears that. */
static bool is_refusal(const struct wire_error *e)
{
	static const char *const sqlstates[] = { "25006", "55000", "0A000", "58P01" };

	for (size_t i = 0; i < ARRAY_LEN(sqlstates); i++)
		if (strcmp(e->sqlstate, sqlstates[i]) == 0)
			return true;
	return false;
}

static bool is_recovery_conflict(const struct wire_error *e)
{
	return (strcmp(e->sqlstate, "40001") == 0 || strcmp(e->sqlstate, "40P01") == 0) && strcmp(e->routine, "ProcessInterrupts") == 0;
}

static bool may_retry(const struct session *s)
{
	return s->batch.is_movable && s->batch.is_whole && !s->delivered && s->tx == 'I' && session_policy(s)->retry_reads &&
	       !(s->batch.flags & SQL_F_EXTERNAL);
}

/* Only what recovery itself forbids is a property of the shape; other 0A000 come from this session or this server. */
static bool is_learnt(const struct wire_error *e)
{
	return strcmp(e->sqlstate, "25006") == 0 || (strcmp(e->sqlstate, "0A000") == 0 && strcmp(e->routine, "get_relation_info") == 0);
}

static void learn_refusal(struct session *s, const char *sqlstate)
{
	struct batch *b = &s->batch;

	sql_learn_refused(s->env->sql, b->verdict, sqlstate);
	for (size_t i = 0; i < b->item_count; i++) {
		struct statement *statement = b->items[i].statement;

		if (!statement)
			continue;
		verdict_unref(&statement->verdict);
		statement->verdict = sql_verdict(s->env->sql, statement->sql, s->mode);
	}
}

/* Decides about an error of a standby that the client has not seen. true: the batch runs again elsewhere. */
static bool retry_on_error(struct session *s, const struct wire_error *error)
{
	struct stats_node *node = &s->env->node_stats[s->server->node];

	if (strcmp(error->routine, "RevalidateCachedQuery") == 0) {
		/* "cached plan must not change result type": the plan is the pool's, not the client's. It goes with its server. */
		s->server->must_close = true;
		return may_retry(s) && ++s->retries < 3;
	}
	if (!may_retry(s) || s->server->node == s->env->topo->primary)
		return false;
	if (is_refusal(error)) {
		counter_add(&s->env->stats->retries_refused, 1);
		if (is_learnt(error))
			learn_refusal(s, error->sqlstate);
		/* It may write after all: what follows must see it, and a loss of its server is no longer harmless. */
		s->batch.is_movable = s->batch.only_begins = false;
		s->must_primary = true;
	} else if (is_recovery_conflict(error)) {
		counter_add(&s->env->stats->retries_lost, 1);
		s->exclude |= 1u << s->server->node;
		s->must_primary = ++s->retries > 1;
	} else {
		return false;
	}
	counter_add(&node->retries, 1);
	s->primary_reason = ROUTE_R_RETRIED;
	snprintf(s->reason_name, sizeof(s->reason_name), "%s", error->sqlstate);
	return true;
}

/* The error of a Parse whose name is in use, in the place of the one we had the server raise. */
static void put_name_taken(struct relay *r, const struct wire_msg *m)
{
	struct session *s = r->s;
	char text[256];

	snprintf(text, sizeof(text), "prepared statement \"%s\" already exists", s->expects[s->expect_first].name);
	fail_expects(s);
	relay_deliver(s);
	skip(r, m->total);
	wire_put_error_plain(stream_queued(s->client), "ERROR", "42P05", text);
}

static enum relay_rc take_error(struct relay *r, const struct wire_msg *m)
{
	struct session *s = r->s;
	struct wire_error error;
	struct err err;

	if (!wire_read_error(m, &error, &err)) {
		r->at += m->total;
		return RELAY_ON;
	}
	/* The server ends: what that means for the batch is decided when the connection does (S_LOST), and told in our words. */
	if (strcmp(error.severity, "FATAL") == 0 || strcmp(error.severity, "PANIC") == 0) {
		log_info("C-%llu server %s ended: %s: %s", (unsigned long long)s->id, session_node_name(s, s->server->node),
		         error.sqlstate, error.message);
		skip(r, m->total);
		return RELAY_ON;
	}
	if (s->expect_count && s->expects[s->expect_first].kind == EX_PARSE_TAKEN) {
		put_name_taken(r, m);
		return RELAY_ON;
	}
	if (retry_on_error(s, &error)) {
		stream_consume(s->server->stream, r->at + m->total);
		session_step(s, EV_S_RETRY);
		return RELAY_STOP;
	}
	fail_expects(s);
	relay_deliver(s);
	r->at += m->total;
	return RELAY_ON;
}

/* A read that ran at the primary by the user's choice or for lack of standbys, and that no standby has answered yet: what its views and
 * operators call may write. (When the standbys are only behind, they will tell soon; the need must not run away from them.) */
static bool may_have_written(const struct session *s)
{
	return s->server->node == s->env->topo->primary && s->last_reason != ROUTE_R_CONSISTENCY && s->last_reason != ROUTE_R_LAG &&
	       s->batch.verdict && s->batch.verdict->class == SQL_READ && !verdict_is_proved(s->batch.verdict);
}

/* ReadyForQuery: the client's, or that of the settings in front. */
static enum relay_rc take_ready(struct relay *r, const struct wire_msg *m)
{
	struct session *s = r->s;

	if (s->preludes) {
		s->preludes--;
		s->breaks_tx = false;
		skip(r, m->total);
		return RELAY_ON;
	}
	s->tx = m->body_len ? (char)m->body[0] : 'I';
	r->at += m->total;
	relay_deliver(s);
	/* Before the client hears of it: what it writes next to read must be after this. */
	if (!s->batch.is_movable || may_have_written(s))
		need_add_time(&s->need, time_mono_us());
	stream_send(s->client, r->data + r->from, r->at - r->from);
	stream_consume(s->server->stream, r->at);
	finish_discard(s);
	session_step(s, EV_S_READY);
	return RELAY_STOP;
}

static void fail_prelude(struct session *s)
{
	err_set(&s->err, "08006", "the settings of this session could not be laid on server \"%s\"", session_node_name(s, s->server->node));
	err_hint(&s->err, "A start-up parameter that the server accepted before was refused; reconnect.");
	session_step(s, EV_K_KILL);
}

/* One whole message other than a row. */
static enum relay_rc take_message(struct relay *r, const struct wire_msg *m)
{
	struct session *s = r->s;

	if (s->preludes && m->type != 'Z') {
		if (m->type == 'E' && !s->breaks_tx) {
			fail_prelude(s);
			return RELAY_STOP;
		}
		skip(r, m->total);
		return RELAY_ON;
	}
	if (!s->preludes && s->expect_count && take_expected(r, m)) {
		skip(r, m->total);
		return RELAY_ON;
	}
	switch (m->type) {
	case 'E':
		return take_error(r, m);
	case 'S':
		take_parameter(r, m);
		return RELAY_ON;
	case 'Z':
		return take_ready(r, m);
	case 'G':
		relay_deliver(s);
		r->at += m->total;
		session_step(s, EV_S_COPY_IN);
		return s->state == ST_CLOSED ? RELAY_STOP : RELAY_ON;
	case '1':
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

	if (s->preludes || m->total < (m->type == 'E' || m->type == 'S' ? ERROR_MAX_BYTES : 16384)) {
		stream_set_window(s->server->stream, MIN(m->total, ERROR_MAX_BYTES) + 32768);
		return false;
	}
	if (m->type == 'E')
		fail_expects(s);        /* longer than any that could be answered by running elsewhere */
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
		rc = wire_peek(r.data + r.at, r.len - r.at, WIRE_FROM_SERVER, INT32_MAX, &m, &s->err);
		if (rc == WIRE_AGAIN)
			break;
		if (rc == WIRE_FAIL) {
			log_warning("C-%llu server %s broke the protocol: %s", (unsigned long long)s->id,
			            session_node_name(s, s->server->node), s->err.text);
			session_step(s, EV_S_LOST);
			return;
		}
		if (m.have < m.total) {
			if (!pass_part(&r, &m))
				break;
			continue;
		}
		if (m.type == 'D' && s->delivered && !s->preludes) {
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

/* ---- COPY FROM STDIN ---- */

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
		rc = wire_peek(data + at, len - at, WIRE_FROM_CLIENT, (size_t)s->conf->opt.max_packet_size, &m, &s->err);
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
			err_set(&s->err, "08P01", "unexpected message '%c' during COPY", m.type);
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
