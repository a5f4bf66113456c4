/* What the proxy answers itself: pgshunt.* settings, batches that ask a server for nothing, statements of a transaction whose server
 * was lost. In both protocols an answer looks like PostgreSQL's. */
#include <stdio.h>
#include <strings.h>

#include "private.h"

#define OID_TEXT 25u

/* One statement's answer. */
struct answer {
	const char *column;             /* NULL: no row */
	char value[512];
	const char *tag;
	const char *warning_sqlstate, *warning;         /* a WARNING in front; NULL = none */
};

/* ---- guards ---- */

static bool asks_nothing(const struct batch *b)
{
	if (b->kind != BATCH_EXTENDED || b->verdict || b->has_unknown || b->is_streamed || b->is_sent)
		return false;
	for (size_t i = 0; i < b->item_count; i++) {
		const struct item *item = &b->items[i];
		if (item->type != 'S' && item->type != 'H' && !(item->type == 'C' && item->is_named && item->statement))
			return false;
	}
	return true;
}

bool local_is(struct session *s)
{
	const struct batch *b = &s->batch;

	if (s->tx == 'E' && s->server && b->verdict)
		return false;           /* the server says it: 25P02 */
	return asks_nothing(b) || (b->verdict && b->only_ours && !b->has_unknown && !b->is_sent);
}

bool local_deallocates(struct session *s, const struct verdict *v)
{
	if (!(v->flags & SQL_F_DEALLOCATE) || !v->setting || s->tx != 'I')       /* in a transaction it is a query like any other */
		return false;
	return !v->setting[0] || named_get(s, v->setting);
}

static bool is_rollback(const struct verdict *v)
{
	return strncasecmp(v->shown, "rollback", 8) == 0 || strncasecmp(v->shown, "abort", 5) == 0;
}

bool local_ends_tx(struct session *s)
{
	const struct batch *b = &s->batch;

	/* COMMIT must hear of the loss as an error; what ROLLBACK asks for has happened. */
	return b->verdict && b->only_ends && b->is_whole && !(b->flags & SQL_F_BEGINS) && (!s->tx_err || is_rollback(b->verdict));
}

/* "ROLLBACK; BEGIN" in one text: the first has happened already, the rest runs where it must. */
bool local_rolls_on(struct session *s)
{
	const struct batch *b = &s->batch;

	return b->kind == BATCH_SIMPLE && b->verdict && b->verdict->statements > 1 && is_rollback(b->verdict);
}

void act_roll_on(struct session *s)
{
	s->tx = 'I';
	mem_free(s->tx_err);
	s->tx_err = NULL;
	vars_end_transaction(s);
	act_find_server(s);
}

/* ---- building ---- */

static void put_columns(struct buf *out, const struct answer *a)
{
	struct wire_column column = { a->column, OID_TEXT };

	if (a->column)
		wire_put_row_description(out, &column, 1);
}

static void put_result(struct buf *out, const struct answer *a)
{
	size_t mark;

	if (a->warning)
		wire_put_notice_plain(out, "WARNING", a->warning_sqlstate, a->warning);
	if (a->column) {
		wire_put_row_begin(out, 1, &mark);
		wire_put_row_value(out, a->value);
		wire_put_row_end(out, mark);
	}
	wire_put_command_complete(out, a->tag);
}

typedef bool run_fn(struct session *s, const struct item *item, struct answer *a);

/* Describe of a statement says its parameters first: none. */
static void put_description(struct session *s, struct buf *out, const struct item *item, const struct answer *a)
{
	bool of_statement = stream_data(s->client)[item->off + WIRE_HEADER_BYTES] == 'S';

	if (of_statement) {
		buf_add_u8(out, 't');
		buf_add_u32(out, 6);
		buf_add_u16(out, 0);
	}
	if (a->column)
		put_columns(out, a);
	else
		wire_put_empty(out, 'n');
}

/* Answers the items one by one. An error skips the rest up to Sync. The settings themselves are changed when Execute comes. */
static bool answer_item(struct session *s, struct buf *out, const struct item *item, run_fn *run, struct statement **bound)
{
	struct answer a = { .column = NULL };
	struct item described = *item;

	if (item->statement && item->type != 'C')
		*bound = item->statement;
	switch (item->type) {
	case 'P':
		wire_put_empty(out, '1');
		return true;
	case 'B':
		wire_put_empty(out, '2');
		return true;
	case 'C':
		wire_put_empty(out, '3');
		return true;
	case 'D':
		described.type = 'D';
		described.statement = *bound;
		if (!run(s, &described, &a))
			return false;
		put_description(s, out, item, &a);
		return true;
	case 'E':
		described.statement = *bound;
		if (!run(s, &described, &a))
			return false;
		put_result(out, &a);
		return true;
	case 'Q':
		if (!run(s, item, &a))
			return false;
		put_columns(out, &a);
		put_result(out, &a);
		return true;
	default:
		return true;
	}
}

/* An error of ours aborts the transaction as any other would: the server hears of it by a text no grammar takes. */
static void break_transaction(struct session *s)
{
	if (s->tx != 'T')
		return;
	s->tx = 'E';
	if (!s->server)
		return;
	wire_put_query(stream_queued(s->server->stream), "pgshunt: transaction aborted by an error of the proxy");
	stream_flush(s->server->stream);
	s->preludes++;
}

static void answer_batch(struct session *s, run_fn *run)
{
	struct batch *b = &s->batch;
	struct buf *out = stream_queued(s->client);
	struct statement *bound = NULL;

	for (size_t i = 0; i < b->item_count; i++)
		if (!answer_item(s, out, &b->items[i], run, &bound)) {
			wire_put_error(out, "ERROR", session_err(s));
			break_transaction(s);
			break;
		}
	wire_put_ready(out, s->tx);
	stream_flush(s->client);
	b->sent_len = b->len;
	batch_consume(s);
	batch_clear(s);
	s->idle_since_us = time_mono_us();
	stream_set_window(s->client, 0);
}

/* ---- pgshunt.* and DEALLOCATE ---- */

static struct span text_of(struct session *s, const struct item *item)
{
	if (item->type == 'Q')
		return span_of((const char *)stream_data(s->client) + item->off + WIRE_HEADER_BYTES);
	return item->statement ? item->statement->sql : span_of("");
}

static bool run_set(struct session *s, const struct verdict *v, struct span sql, struct answer *a)
{
	const char *name = v->setting + strlen("pgshunt.");
	char *value = NULL;
	bool ok;

	a->tag = "SET";
	if (v->setting_verb == SQL_SET_LOCAL && s->tx == 'I') {
		a->warning_sqlstate = "25P01";
		a->warning = "SET LOCAL can only be used in transaction blocks";
		return true;
	}
	if (!sql_setting_value(sql, &value, session_err(s)))
		return false;
	if (v->setting_verb == SQL_SET_LOCAL)
		vars_set_local(s);
	ok = vars_set(s, name, value, session_err(s));
	mem_free(value);
	a->warning_sqlstate = "01000";
	a->warning = vars_warning(s, name);
	return ok;
}

static void run_deallocate(struct session *s, const char *name, struct answer *a)
{
	a->tag = name[0] ? "DEALLOCATE" : "DEALLOCATE ALL";
	if (name[0])
		named_drop(s, name);
	else
		named_drop_all(s);
}

static bool run_setting(struct session *s, const struct item *item, struct answer *a)
{
	struct span sql = text_of(s, item);
	struct verdict *v = sql_verdict(s->env->sql, sql, s->mode);
	const char *name = v->setting ? v->setting + strlen("pgshunt.") : "";
	bool ok = true, only_described = item->type == 'D';

	if (s->tx == 'E') {
		err_set(session_err(s), "25P02", "current transaction is aborted, commands ignored until end of transaction block");
		ok = false;
	} else if (v->setting_verb == SQL_SHOW) {
		ok = vars_show(s, name, a->value, sizeof(a->value), session_err(s));
		snprintf(s->reason_name, sizeof(s->reason_name), "pgshunt.%.50s", name);
		a->column = s->reason_name;     /* a place that lives until the answer is built */
		a->tag = "SHOW";
	} else if (only_described) {
		a->tag = "SET";
	} else if (v->flags & SQL_F_DEALLOCATE) {
		run_deallocate(s, v->setting, a);
	} else if (v->setting_verb == SQL_RESET) {
		ok = vars_reset(s, name, session_err(s));
		a->tag = "RESET";
	} else {
		ok = run_set(s, v, sql, a);
	}
	verdict_unref(&v);
	return ok;
}

void act_answer_local(struct session *s)
{
	answer_batch(s, run_setting);
	s->reason_name[0] = '\0';
}

/* ---- a transaction whose server was lost ---- */

static bool run_rollback(struct session *s, const struct item *item, struct answer *a)
{
	(void)s;
	(void)item;
	a->tag = "ROLLBACK";
	return true;
}

void act_answer_rollback(struct session *s)
{
	s->tx = 'I';
	mem_free(s->tx_err);
	s->tx_err = NULL;
	if (s->vars_outer)
		vars_end_transaction(s);
	answer_batch(s, run_rollback);
}

void act_answer_failed_tx(struct session *s)
{
	struct buf *out = stream_queued(s->client);

	if (s->tx_err)
		wire_put_error(out, "ERROR", s->tx_err);
	else
		wire_put_error_plain(out, "ERROR", "25P02", "current transaction is aborted, commands ignored until end of transaction block");
	mem_free(s->tx_err);
	s->tx_err = NULL;
	if (s->batch.is_whole)
		wire_put_ready(out, s->tx);
	s->skips_message = !s->batch.is_whole && s->batch.kind != BATCH_EXTENDED;
	stream_flush(s->client);
	s->batch.sent_len = s->batch.len;
	batch_consume(s);
	batch_clear(s);
	stream_set_window(s->client, 0);
}
