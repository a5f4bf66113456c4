/* A batch goes to a server: settings laid on before it, statements prepared where they are missing, names put in place.
 *
 * A batch in which nothing is rewritten goes out as it came, from the client's window, in one system call. Where messages are added,
 * left out or renamed, the list of expected answers says which of them are the client's. */
#include <stdio.h>

#include "private.h"

/* ---- expected answers ---- */

void expects_add(struct session *s, enum expect_kind kind, struct statement *statement, const char *name)
{
	if (s->expect_first + s->expect_count == s->expect_cap) {
		if (s->expect_first) {
			memmove(s->expects, s->expects + s->expect_first, s->expect_count * sizeof(*s->expects));
			s->expect_first = 0;
		} else {
			s->expect_cap = s->expect_cap ? s->expect_cap * 2 : 8;
			s->expects = mem_realloc(s->expects, s->expect_cap * sizeof(*s->expects));
		}
	}
	s->expects[s->expect_first + s->expect_count++] = (struct expect){ .kind = kind, .statement = statement_ref(statement),
		                                                                      .name = mem_strdup(name) };
}

void expects_clear(struct session *s)
{
	for (size_t i = 0; i < s->expect_count; i++) {
		struct expect *e = &s->expects[s->expect_first + i];
		statement_unref(&e->statement);
		mem_free(e->name);
	}
	s->expect_first = s->expect_count = 0;
}

bool expects_are_open(const struct session *s)
{
	return s->expect_count > 0;
}

/* ---- building ---- */

struct sending {
	struct session *s;
	struct server *server;
	struct buf *out;                /* the server's queue */
	const uint8_t *window;
	size_t run_from, run_to;        /* untouched bytes of the window that follow what is queued */
	bool is_tracked;
};

static void end_run(struct sending *snd)
{
	buf_add(snd->out, snd->window + snd->run_from, snd->run_to - snd->run_from);
	snd->run_from = snd->run_to;
}

static void expect(struct sending *snd, enum expect_kind kind, struct statement *statement, const char *name)
{
	/* After an error the server ignores all but Sync. */
	if (snd->is_tracked && (kind == EX_SYNC || !snd->s->answer_failed))
		expects_add(snd->s, kind, statement, name);
}

/* As it came. */
static void pass(struct sending *snd, const struct item *item)
{
	snd->run_to = item->off + item->len;
}

/* Whatever was due for this message has been queued: its own bytes stay behind. */
static void leave_out(struct sending *snd, const struct item *item)
{
	snd->run_from = snd->run_to = item->off + item->len;
}

static const char *item_name(const struct sending *snd, const struct item *item)
{
	const char *body = (const char *)snd->window + item->off + WIRE_HEADER_BYTES;

	if (item->type == 'P')
		return body;
	if (item->type == 'B')
		return body + strlen(body) + 1;         /* behind the portal's name; checked when it was cut */
	return body + 1;
}

/* The server forgets its oldest statement when it has too many. */
static void evict(struct sending *snd)
{
	size_t most = (size_t)snd->s->conf->opt.max_prepared_statements;
	struct server_statement *oldest;
	struct hash128 id;
	char name[STATEMENT_NAME_LEN + 1];

	if (snd->s->answer_failed)
		return;
	while (most && snd->server->prepared.used >= most && !list_is_empty(&snd->server->prepared_order)) {
		oldest = LIST_ITEM(snd->server->prepared_order.next, struct server_statement, link);
		id = oldest->id;
		statement_server_name(id, name);
		wire_put_target(snd->out, 'C', 'S', name);
		expects_add(snd->s, EX_CLOSE_OURS, NULL, NULL);
		snd->s->expects[snd->s->expect_first + snd->s->expect_count - 1].closed = id;
		server_forget_statement(snd->server, id);
	}
}

/* Parse under the server's name, asked for by us or by the client. */
static void put_parse(struct sending *snd, struct statement *statement, const char *name, enum expect_kind kind, const char *client_name)
{
	wire_put_parse(snd->out, name, statement->sql, statement->type_count, statement->types);
	expect(snd, kind, statement, client_name);
	counter_add(&pool_set_stats(snd->s->set)->server_parse_count, 1);
}

static void put_parse_text(struct sending *snd, const char *sql)
{
	wire_put_parse(snd->out, "", span_of(sql), 0, NULL);
	expect(snd, EX_PARSE_OURS, NULL, NULL);
}

static bool is_prepared(const struct sending *snd, const struct statement *statement)
{
	if (server_has_statement(snd->server, statement->id))
		return true;
	for (size_t i = 0; i < snd->s->expect_count; i++) {
		const struct expect *e = &snd->s->expects[snd->s->expect_first + i];
		if ((e->kind == EX_PARSE || e->kind == EX_PARSE_OURS) && e->statement == statement && e->name)
			return true;
	}
	return false;
}

/* In a failed transaction PostgreSQL parses nothing but what ends it. */
static bool is_refused_now(const struct session *s, const struct statement *statement)
{
	return s->tx == 'E' && !(statement->verdict->flags & (SQL_F_ENDS | SQL_F_ROLLBACK_TO));
}

static void send_parse(struct sending *snd, const struct item *item)
{
	if (!item->is_named || !item->statement) {
		pass(snd, item);
		expect(snd, EX_PARSE, NULL, NULL);
		snd->s->batch.unnamed_at_server |= item->statement != NULL;
		return;
	}
	end_run(snd);
	if (item->is_taken) {           /* behind the analysis something the server refuses, so that it too ignores what follows up to Sync */
		evict(snd);
		if (!is_prepared(snd, item->statement) || is_refused_now(snd->s, item->statement))
			put_parse(snd, item->statement, item->statement->server_name, EX_PARSE_OURS, "");
		wire_put_target(snd->out, 'D', 'S', "pgshunt: name in use");
		expect(snd, EX_PARSE_TAKEN, NULL, item_name(snd, item));
	} else if (is_prepared(snd, item->statement) && !is_refused_now(snd->s, item->statement)) {
		expect(snd, EX_PARSE_FAKE, NULL, item_name(snd, item));
	} else {
		evict(snd);
		put_parse(snd, item->statement, item->statement->server_name, EX_PARSE, item_name(snd, item));
	}
	leave_out(snd, item);
}

/* Sees to it that the server knows the statement. */
static void prepare(struct sending *snd, const struct item *item)
{
	struct batch *b = &snd->s->batch;

	if ((item->is_named ? is_prepared(snd, item->statement) : b->unnamed_at_server) || FAULT_NO_PREPARE)
		return;
	end_run(snd);
	if (item->is_named) {
		evict(snd);
		snd->server->must_close |= item->statement->salt != snd->s->text_salt;  /* read under other settings than its id says */
	}
	put_parse(snd, item->statement, item->is_named ? item->statement->server_name : "", EX_PARSE_OURS, item->is_named ? "" : NULL);
	if (!item->is_named)
		b->unnamed_at_server = true;
}

/* The message with the statement's name replaced: header, what stands before the name, the new name, the rest. */
static void put_renamed(struct sending *snd, const struct item *item, const char *name)
{
	const uint8_t *message = snd->window + item->off;
	const char *old = item_name(snd, item);
	size_t front = (size_t)((const uint8_t *)old - message) - WIRE_HEADER_BYTES, old_len = strlen(old);
	size_t rest = item->len - WIRE_HEADER_BYTES - front - old_len;
	uint32_t announced;
	struct cursor c = cursor_of(message + 1, 4);

	/* A long Bind is only partly here: its announced length counts, not what stands in the window. */
	announced = cursor_u32(&c) + (uint32_t)strlen(name) - (uint32_t)old_len;
	end_run(snd);
	buf_add_u8(snd->out, message[0]);
	buf_add_u32(snd->out, announced);
	buf_add(snd->out, message + WIRE_HEADER_BYTES, front);
	buf_add(snd->out, name, strlen(name));
	buf_add(snd->out, message + WIRE_HEADER_BYTES + front + old_len, rest);
	leave_out(snd, item);
}

/* The client has no unnamed statement, but its last borrower may have left the server one: that must not be taken for it. */
static void drop_unnamed(struct sending *snd, const struct item *item)
{
	struct session *s = snd->s;
	bool is_portal = item->type == 'D' && snd->window[item->off + WIRE_HEADER_BYTES] != 'S';

	if (item->is_named || is_portal || s->batch.unnamed_at_server || s->unnamed_streamed || s->answer_failed)
		return;
	end_run(snd);
	wire_put_target(snd->out, 'C', 'S', "");
	expect(snd, EX_CLOSE_OURS, NULL, NULL);
}

static void send_using(struct sending *snd, const struct item *item, enum expect_kind kind)
{
	if (!item->statement)
		drop_unnamed(snd, item);
	if (item->statement) {
		prepare(snd, item);
		snd->s->batch.uses_named |= item->is_named;
		if (item->is_named)
			put_renamed(snd, item, item->statement->server_name);
		else
			pass(snd, item);
	} else {
		pass(snd, item);
	}
	expect(snd, kind, NULL, NULL);
}

/* Servers keep statements for others: a client's Close of a name is between it and us. */
static void send_close(struct sending *snd, const struct item *item)
{
	if (item->is_named && item->statement) {
		end_run(snd);
		leave_out(snd, item);
		expect(snd, EX_CLOSE_FAKE, item->statement, item_name(snd, item));
		return;
	}
	pass(snd, item);        /* one prepared by SQL has the client's name there too */
	expect(snd, EX_CLOSE, NULL, item->is_named ? item_name(snd, item) : NULL);
}

/* A statement of ours in the middle of the client's: by a portal of its own, the client's unnamed one may still be in use. */
static void put_ours(struct sending *snd, const char *sql)
{
	static const char portal[] = "pgshunt";
	static const uint8_t nothing[8] = { 0 };

	end_run(snd);
	put_parse_text(snd, sql);
	buf_add_u8(snd->out, 'B');
	buf_add_u32(snd->out, 4 + sizeof(portal) + 1 + 6);
	buf_add(snd->out, portal, sizeof(portal));
	buf_add(snd->out, nothing, 1 + 6);              /* the unnamed statement; no formats, no parameters, no result formats */
	expect(snd, EX_BIND_OURS, NULL, NULL);
	buf_add_u8(snd->out, 'E');
	buf_add_u32(snd->out, 4 + sizeof(portal) + 4);
	buf_add(snd->out, portal, sizeof(portal));
	buf_add(snd->out, nothing, 4);
	expect(snd, EX_EXECUTE_OURS, NULL, NULL);
	wire_put_target(snd->out, 'C', 'P', portal);
	expect(snd, EX_CLOSE_OURS, NULL, NULL);
	snd->s->batch.unnamed_at_server = false;        /* ours has taken its place */
}

static void put_all_ours(struct sending *snd, struct span statements)
{
	while (statements.len) {
		size_t len = sql_split(statements);
		char *one = mem_strndup(statements.data, len ? len : statements.len);

		put_ours(snd, one);
		statements = (struct span){ statements.data + strlen(one), statements.len - strlen(one) };
		mem_free(one);
	}
}

static void send_execute(struct sending *snd, const struct item *item)
{
	struct buf echo = { NULL, 0, 0 };

	pass(snd, item);
	expect(snd, EX_EXECUTE, NULL, NULL);
	if (item->statement && item->statement->verdict->flags & SQL_F_NAMES)
		record_names(snd->s, item->statement->sql);
	if (!item->statement)
		snd->s->sent_statements++;
	else if (record_execute(snd->s, item->statement->sql, &echo))
		put_all_ours(snd, span_of(buf_cstr(&echo)));
	buf_free(&echo);
}

static void send_query(struct sending *snd, const struct item *item)
{
	struct buf rewritten = { NULL, 0, 0 };
	const char *text = (const char *)snd->window + item->off + WIRE_HEADER_BYTES;

	expect(snd, EX_SYNC, NULL, NULL);
	if (snd->s->batch.flags & SQL_F_NAMES)
		record_names(snd->s, span_of(text));
	/* Beside something unreadable, which pins, RESET needs its echo all the same. */
	if ((snd->s->batch.flags & SQL_F_EFFECTS || snd->s->batch.pins & SQL_PIN_SETTING) && record_query(snd->s, span_of(text), &rewritten)) {
		end_run(snd);
		wire_put_query(snd->out, buf_cstr(&rewritten));
		leave_out(snd, item);
	} else {
		pass(snd, item);
	}
	buf_free(&rewritten);
}

static void send_item(struct sending *snd, const struct item *item)
{
	switch (item->type) {
	case 'P':
		send_parse(snd, item);
		return;
	case 'B':
		send_using(snd, item, EX_BIND);
		return;
	case 'D':
		send_using(snd, item, EX_DESCRIBE);
		return;
	case 'C':
		send_close(snd, item);
		return;
	case 'E':
		send_execute(snd, item);
		return;
	case 'Q':
		send_query(snd, item);
		return;
	case 'S':
	case 'F':
		expect(snd, EX_SYNC, NULL, NULL);
		break;
	default:
		break;
	}
	pass(snd, item);
}

/* Whether an answer may come that isn't the client's, or one that changes what we know. */
static bool needs_tracking(const struct sending *snd)
{
	const struct batch *b = &snd->s->batch;
	bool has_unnamed = b->unnamed_at_server;

	if (!b->is_whole || b->has_unknown || b->flags & SQL_F_EFFECTS || b->pins & SQL_PIN_SETTING || snd->s->expect_count > 0)
		return b->kind == BATCH_EXTENDED;
	for (size_t i = 0; i < b->item_count; i++) {
		const struct item *item = &b->items[i];

		if (item->type == 'P' && !item->is_named)
			has_unnamed = true;
		else if ((item->type == 'P' || item->type == 'C') && item->is_named)
			return true;
		else if (item->statement && item->is_named && !server_has_statement(snd->server, item->statement->id))
			return true;
		else if (item->statement && !item->is_named && !has_unnamed)
			return true;
	}
	return false;
}

/* ---- the action ---- */

static void begin_sending(struct session *s)
{
	struct stats_pool *stats = pool_set_stats(s->set);
	struct stats_node *node = &s->env->node_stats[s->server->node];
	bool is_read = s->batch.is_movable;

	find_stop_waiting(s);
	stream_set_owner(s->server->stream, server_event, s);
	s->batch.is_sent = true;
	s->delivered = false;
	if (s->tx != 'I' || s->server->is_pinned) {
		s->last_reason = s->tx != 'I' ? ROUTE_R_TRANSACTION : ROUTE_R_PINNED;
		session_pins_text(s->tx != 'I' ? 0 : s->pins, s->last_reason_name, sizeof(s->last_reason_name));
		s->last_node = s->server->node;
	}
	if (!s->batch_began_us)
		s->batch_began_us = loop_now_us(s->env->loop);
	if (s->tx == 'I') {
		s->tx_began_us = s->batch_began_us;
		s->pins_at_begin = s->pins;
	}
	s->reads_sequences |= (s->batch.uses & SQL_PIN_SEQUENCE) != 0;
	s->server->request_us = s->batch_began_us;
	counter_add(&stats->query_count, 1);
	counter_add(is_read ? &node->reads : &node->writes, 1);
}

void session_pin(struct session *s, uint32_t pins)
{
	if (!s->pins)
		counter_add(&s->env->stats->pins, 1);
	s->pins |= pins;
	pool_pin(s->server);
	if (pins & (SQL_PIN_SETTING | SQL_PIN_FUNCTION | SQL_PIN_UNKNOWN)) {
		s->salt_extra = ++s->env->last_salt * 31 + s->id;
		record_salt(s);
	}
}

/* What will pin the session to this server counts from the moment it is sent. */
static void take_pins(struct session *s)
{
	/* In a transaction a portal bound now may be executed later, without naming its statement again. */
	bool is_run = s->batch.kind != BATCH_EXTENDED || s->batch.has_execute || s->tx != 'I';
	uint32_t pins = s->batch.pins & ~(uint32_t)SQL_PIN_SEQUENCE;

	if (!is_run || FAULT_NO_PIN)
		return;
	if (s->path_is_temp && s->batch.flags & SQL_F_DDL) {
		pins |= SQL_PIN_TEMP;
		s->temp_names_unknown = true;
	}
	if (session_policy(s)->pool_mode == POOL_SESSION && s->server->node == s->env->topo->primary)
		pins |= PIN_POOL_MODE;
	if ((pins | s->pins) & SQL_PIN_TEMP)
		home_name_temp(s);
	if (pins)
		session_pin(s, pins);
}

void act_send_batch(struct session *s)
{
	struct batch *b = &s->batch;
	struct sending snd = { .s = s, .server = s->server, .window = stream_data(s->client) };
	bool is_first = !b->is_sent;

	if (is_first)
		begin_sending(s);
	else if (b->is_whole && !b->execute_sent && !s->answer_failed && !expects_are_open(s))
		s->delivered = false;   /* only Parse and Describe have been flushed and answered: what is left may still run elsewhere */
	s->pins_before = is_first ? s->pins : s->pins_before;
	take_pins(s);
	snd.out = stream_queued(s->server->stream);
	snd.run_from = snd.run_to = b->sent_len;
	snd.is_tracked = needs_tracking(&snd);
	for (size_t i = 0; i < b->item_count; i++)
		send_item(&snd, &b->items[i]);
	stream_send(s->server->stream, snd.window + snd.run_from, snd.run_to - snd.run_from);
	b->sent_len = b->len;
	b->execute_sent = b->has_execute;
	if (!(b->is_whole && !s->delivered && (b->is_movable || b->only_begins || b->uses_named)))
		batch_consume(s);
	if (s->state == ST_OPEN)
		relay_answer_fakes(s);
}

/* An open batch leaves its standby: nothing of it that was answered needs to be done again but the parsing. */
void act_leave_server(struct session *s)
{
	wire_put_empty(stream_queued(s->server->stream), 'S');
	stream_flush(s->server->stream);
	pool_release(&s->server, RELEASE_DRAIN);
	s->batch.is_sent = s->batch.unnamed_at_server = false;
	s->must_primary = true;
	s->primary_reason = ROUTE_R_WRITE;
	s->wait_began_us = 0;
	act_find_server(s);
}
