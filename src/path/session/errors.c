/* A server's error: the client's, or a reason to run the batch elsewhere. */
#include <stdio.h>
#include <stdlib.h>

#include "relay.h"

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

/* Nothing of the batch has been executed, so even a write may run again, where its statement is parsed anew. */
static bool may_parse_anew(struct session *s)
{
	return s->batch.is_whole && s->batch.sent_len && !s->delivered && s->tx == 'I' && !s->server->is_pinned && s->answered_statements == 0 &&
	       ++s->retries < 3;
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
		if (!may_parse_anew(s))
			return false;
		s->server->must_close = true;
		return true;
	}
	if (!may_retry(s) || s->server->node == s->env->topo->primary)
		return false;
	if (s->home && s->pins & SQL_PIN_TEMP && strcmp(error->sqlstate, "42P01") == 0) {
		s->must_primary = true;         /* one of its own, by a name we haven't seen: at home it is known */
		return true;
	}
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
	relay_fail_expects(s);
	relay_deliver(s);
	relay_skip(r, m->total);
	wire_put_error_plain(stream_queued(s->client), "ERROR", "42P05", text);
}

/* What a statement may leave behind though it failed: locks and seeds aren't given back by a rollback. */
static uint32_t left_by_failure(const struct wire_error *e)
{
	uint32_t left = SQL_PIN_ADVISORY | SQL_PIN_FUNCTION | SQL_PIN_SEED | PIN_POOL_MODE;
	/* Not even PostgreSQL could read it: what it might have done has not been done. */
	bool is_read = strcmp(e->sqlstate, "42601") != 0 && strcmp(e->sqlstate, "26000") != 0;

	return is_read ? left | SQL_PIN_UNKNOWN : left;
}

/* ---- what the client must not see of ours ---- */

/* The client's name for the statement that the server knows by ours, "ps_<32 hexadecimal digits>"; NULL = another's. */
static const char *client_name(struct session *s, const char *server_name)
{
	struct named *named = s->named_last;    /* of several names for one text, the one used last */
	size_t it = 0;

	if (named && named->statement && memcmp(named->statement->server_name, server_name, STATEMENT_NAME_LEN) == 0)
		return named->name;
	while ((named = map_next(&s->named, &it)))
		if (named->statement && memcmp(named->statement->server_name, server_name, STATEMENT_NAME_LEN) == 0)
			return named->name;
	for (size_t i = 0; i < s->expect_count; i++) {          /* closed in the same batch */
		const struct expect *e = &s->expects[s->expect_first + i];
		if (e->kind == EX_CLOSE_FAKE && memcmp(e->statement->server_name, server_name, STATEMENT_NAME_LEN) == 0)
			return e->name;
	}
	return NULL;
}

/* The text with the server's names of statements replaced by the client's. */
static void put_text(struct session *s, struct buf *out, const char *text)
{
	const char *at;

	while ((at = strstr(text, "ps_"))) {
		const char *name = strlen(at) >= STATEMENT_NAME_LEN ? client_name(s, at) : NULL;

		buf_add(out, text, (size_t)(at - text));
		buf_add_str(out, name ? name : "ps_");
		text = at + (name ? STATEMENT_NAME_LEN : 3);
	}
	buf_add_cstr(out, text);
}

/* An error field by field: names and positions as the client knows them. False: malformed. */
static bool put_translated(struct session *s, const struct wire_msg *m, struct buf *out)
{
	struct cursor c = cursor_of(m->body, m->body_len);

	for (;;) {
		uint8_t field = cursor_u8(&c);
		const char *text;
		char position[16];

		if (field == 0) {
			buf_add_u8(out, 0);
			return cursor_left(&c) == 0;
		}
		text = cursor_cstr(&c, NULL);
		if (!text)
			return false;
		buf_add_u8(out, field);
		if (field == 'P') {
			snprintf(position, sizeof(position), "%u", record_position(s, (unsigned)strtoul(text, NULL, 10)));
			text = position;
		}
		put_text(s, out, text);
	}
}

static bool needs_translation(const struct session *s, const struct wire_msg *m)
{
	return (s->batch.uses_named && memmem(m->body, m->body_len, "ps_", 3)) || record_moves_positions(s);
}

static void pass_error(struct relay *r, const struct wire_msg *m)
{
	struct session *s = r->s;
	struct buf body = { NULL, 0, 0 };
	bool is_translated = needs_translation(s, m) && put_translated(s, m, &body);

	relay_fail_expects(s);
	relay_deliver(s);
	if (!is_translated) {
		r->at += m->total;
	} else {
		relay_skip(r, m->total);
		buf_add_u8(stream_queued(s->client), 'E');
		buf_add_u32(stream_queued(s->client), (uint32_t)body.len + 4);
		buf_add(stream_queued(s->client), body.data, body.len);
	}
	buf_free(&body);
}

enum relay_rc relay_error(struct relay *r, const struct wire_msg *m)
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
		relay_skip(r, m->total);
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
	if (s->answered_statements == 0)
		s->pins &= s->pins_before | left_by_failure(&error);
	else if (strcmp(error.routine, "scanner_yyerror") == 0 && s->batch.unread == 1)
		s->pins &= s->pins_before | ~(uint32_t)SQL_PIN_UNKNOWN;         /* the only text we could not read either */
	pass_error(r, m);
	return RELAY_ON;
}
