/* Sessions on database pgshunt: their statements go to the console, in both protocols. */
#include <stdio.h>
#include <strings.h>

#include "private.h"

#define CONSOLE_MESSAGE_MAX_BYTES 65536

void act_open_console(struct session *s)
{
	struct buf *out = stream_queued(s->client);

	wire_put_parameter_status(out, "server_version", PGSHUNT_VERSION "/pgshunt");
	wire_put_parameter_status(out, "client_encoding", "UTF8");
	wire_put_parameter_status(out, "server_encoding", "UTF8");
	wire_put_parameter_status(out, "standard_conforming_strings", "on");
	wire_put_parameter_status(out, "DateStyle", "ISO");
	wire_put_parameter_status(out, "TimeZone", "GMT");
	wire_put_parameter_status(out, "integer_datetimes", "on");
	wire_put_backend_key(out, s->key_pid, s->key, s->key_len);
	wire_put_ready(out, 'I');
	stream_flush(s->client);
	auth_server_free(&s->login);
	s->is_greeted = true;
	stream_set_window(s->client, CONSOLE_MESSAGE_MAX_BYTES + WIRE_HEADER_BYTES);
	client_pump(s);
}

enum session_event console_scan(struct session *s)
{
	struct wire_msg m = { 0 };
	enum wire_rc rc = wire_peek(stream_data(s->client), stream_len(s->client), WIRE_FROM_CLIENT, CONSOLE_MESSAGE_MAX_BYTES, &m, session_err(s));

	if (rc == WIRE_FAIL)
		return EV_C_VIOLATION;
	if (rc == WIRE_AGAIN || m.have < m.total)
		return EV_COUNT;
	return m.type == 'X' ? EV_C_TERMINATE : EV_C_CONSOLE;
}

static void put_columns(struct buf *out, const struct console_result *result)
{
	if (result->column_count)
		wire_put_row_description(out, result->columns, result->column_count);
	else if (!result->err)
		wire_put_empty(out, 'n');
}

static void put_answer(struct session *s, const struct console_result *result)
{
	struct buf *out = stream_queued(s->client);
	bool is_extended = s->batch.kind == BATCH_EXTENDED;

	if (result->err) {
		wire_put_error(out, "ERROR", result->err);
		s->batch.has_unknown = is_extended;     /* skip to Sync */
	} else {
		if (result->notice)
			wire_put_notice_plain(out, "NOTICE", "00000", result->notice);
		if (!is_extended && result->column_count)
			put_columns(out, result);
		if (result->rows)
			buf_add(out, result->rows->data, result->rows->len);
		if (result->tag[0])
			wire_put_command_complete(out, result->tag);
		else
			wire_put_empty(out, 'I');
	}
	if (!is_extended)
		wire_put_ready(out, 'I');
	stream_flush(s->client);
}

/* Describe: the columns are known only by running it; console statements with columns change nothing, so running twice is harmless. */
static void put_description(struct session *s, const struct console_result *result)
{
	struct buf *out = stream_queued(s->client);

	if (result->err) {
		wire_put_error(out, "ERROR", result->err);
		s->batch.has_unknown = true;
	} else {
		put_columns(out, result);
	}
	stream_flush(s->client);
}

static void console_done(void *ticket, const struct console_result *result)
{
	struct session *s = ticket;

	s->console_busy = false;
	if (s->state == ST_CLOSED) {            /* the client has left meanwhile: session_bury() left the rest to us */
		session_bury_late(s);
		return;
	}
	if (s->batch.has_execute)
		put_answer(s, result);
	else
		put_description(s, result);
	client_pump(s);
}

static void run(struct session *s, bool for_answer)
{
	char peer[80], host[64];
	int port;

	stream_peer(s->client, host, sizeof(host), &port);
	snprintf(peer, sizeof(peer), "%s:%d", host, port);
	s->batch.has_execute = for_answer;
	s->console_busy = true;
	s->env->console_run(s->env->owner, s->role, s->user, peer, buf_cstr(&s->console_text), console_done, s);
}

static bool is_show(struct session *s)
{
	const char *text = buf_cstr(&s->console_text);

	while (*text == ' ' || *text == '\n' || *text == '\t')
		text++;
	return strncasecmp(text, "show", 4) == 0 || strncasecmp(text, "select", 6) == 0;
}

/* One message; its bytes are dropped before anything runs. */
void act_run_console(struct session *s)
{
	struct buf *out = stream_queued(s->client);
	struct wire_msg m = { 0 };
	struct wire_parse parse;
	struct wire_target target = { 'P', "" };
	struct span sql = { NULL, 0 };
	struct err err;
	bool skips;

	wire_peek(stream_data(s->client), stream_len(s->client), WIRE_FROM_CLIENT, CONSOLE_MESSAGE_MAX_BYTES, &m, &err);
	s->batch.kind = m.type == 'Q' ? BATCH_SIMPLE : BATCH_EXTENDED;
	skips = s->batch.has_unknown && m.type != 'S' && m.type != 'Q';
	if ((m.type == 'Q' && !wire_read_query(&m, &sql, session_err(s))) || (m.type == 'P' && !wire_read_parse(&m, &parse, session_err(s)))) {
		session_step(s, EV_C_VIOLATION);
		return;
	}
	if (m.type == 'Q') {
		s->console_text.len = 0;
		buf_add(&s->console_text, sql.data, sql.len);
	} else if (m.type == 'P' && !skips) {
		s->console_text.len = 0;
		buf_add(&s->console_text, parse.sql, parse.sql_len);
	} else if (m.type == 'D') {
		wire_read_target(&m, &target, &err);
	}
	stream_consume(s->client, m.total);
	if (skips)
		return;
	switch (m.type) {
	case 'Q':
		run(s, true);
		return;
	case 'E':
		run(s, true);
		return;
	case 'P':
		wire_put_empty(out, '1');
		break;
	case 'B':
		wire_put_empty(out, '2');
		break;
	case 'C':
		wire_put_empty(out, '3');
		break;
	case 'D':
		if (target.kind == 'S') {
			buf_add_u8(out, 't');
			buf_add_u32(out, 6);
			buf_add_u16(out, 0);
		}
		if (is_show(s)) {
			run(s, false);
			return;
		}
		wire_put_empty(out, 'n');
		break;
	case 'S':
		s->batch.has_unknown = false;
		wire_put_ready(out, 'I');
		break;
	case 'H':
		break;
	default:
		err_set(session_err(s), "08P01", "message '%c' means nothing on the console", m.type);
		session_step(s, EV_C_VIOLATION);
		return;
	}
	stream_flush(s->client);
}
