/* How a batch ends: answered, refused, run again elsewhere, or lost with its server. */
#include <stdio.h>

#include "private.h"

/* ---- answered ---- */

static void count_finished(struct session *s)
{
	struct stats_pool *stats = pool_set_stats(s->set);
	usec_t now = loop_now_us(s->env->loop);
	uint64_t in = stream_bytes_in(s->client), out = stream_bytes_out(s->client);

	counter_add(&stats->query_time, (uint64_t)(now - s->batch_began_us));
	counter_add(&s->env->node_stats[s->server->node].time_us, (uint64_t)(now - s->batch_began_us));
	counter_add(&stats->bytes_received, in - s->counted_in);
	counter_add(&stats->bytes_sent, out - s->counted_out);
	s->counted_in = in;
	s->counted_out = out;
	if (s->tx == 'I') {
		counter_add(&stats->xact_count, 1);
		counter_add(&stats->xact_time, (uint64_t)(now - s->tx_began_us));
	}
	s->idle_since_us = now;
}

/* ALTER ROLE ... SET: who logs in from now on gets servers that have logged in from now on. */
static void note_defaults(struct session *s)
{
	s->defaults_changed |= (s->batch.flags & SQL_F_DEFAULTS) && !s->answer_failed;
	if (s->tx != 'I' || !s->defaults_changed)
		return;
	s->defaults_changed = false;
	pools_bump_epoch(s->env->pools);
}

static void end_batch(struct session *s)
{
	count_finished(s);
	expects_clear(s);
	if (s->batch.is_movable && !s->answer_failed && s->batch.verdict && s->server->node != s->env->topo->primary)
		verdict_prove(s->batch.verdict);
	if (!s->batch.is_movable) {
		s->write_server = s->server->id;
		s->write_seq = s->server->lent_seq;
		s->write_node = s->server->node;
		s->server->last_writer = s->id;
		note_defaults(s);
	}
	if (s->tx == 'I')
		vars_end_transaction(s);
	s->tx_releases |= (s->batch.flags & SQL_F_RELEASES) != 0;
}

static void begin_next(struct session *s)
{
	session_give_err(s);
	batch_clear(s);
	s->reason_name[0] = '\0';
	s->wait_began_us = s->batch_began_us = 0;
	stream_set_window(s->client, 0);
	stream_resume(s->client);       /* a COPY that failed may have left it waiting for the server */
}

void act_finish_batch(struct session *s)
{
	end_batch(s);
	begin_next(s);
	if (stream_len(s->server->stream) > 0)
		server_event(s, STREAM_READABLE);
	client_pump(s);
}

void act_finish_and_release(struct session *s)
{
	end_batch(s);
	portals_clear(s);
	if (s->client_pass_left)        /* left over: copy data it got half of */
		lose_server(s);
	else if (!home_keep(s))
		pool_release(&s->server, RELEASE_CLEAN);
	begin_next(s);
	home_wake(s);
	client_pump(s);
}

/* The batch has not been sent: what it takes for granted could not be laid. */
void act_answer_laying(struct session *s)
{
	struct buf *out = stream_queued(s->client);

	buf_add(out, s->lay_error.data, s->lay_error.len);
	wire_put_ready(out, s->tx);
	stream_flush(s->client);
	buf_free(&s->lay_error);
	s->batch.sent_len = s->batch.len;
	batch_consume(s);
	if (s->tx != 'I')
		stream_set_owner(s->server->stream, server_event, s);
	else if (!home_keep(s))
		pool_release(&s->server, RELEASE_CLEAN);
	begin_next(s);
	client_pump(s);
}

/* ---- refused ---- */

/* ErrorResponse, and ReadyForQuery when the batch is here to its end. */
static void answer_error(struct session *s)
{
	struct buf *out = stream_queued(s->client);
	bool is_whole = s->batch.is_whole;

	s->skips_message = !is_whole && s->batch.kind != BATCH_EXTENDED;
	find_stop_waiting(s);
	wire_put_error(out, "ERROR", session_err(s));
	if (is_whole)
		wire_put_ready(out, (uint8_t)s->tx);
	stream_flush(s->client);
	s->batch.sent_len = s->batch.len;
	batch_consume(s);
	batch_clear(s);
	buf_free(&s->held);
	expects_clear(s);
	session_give_err(s);
	s->preludes = 0;
	s->pass_left = 0;
	s->reason_name[0] = '\0';
	s->wait_began_us = s->batch_began_us = 0;
	s->idle_since_us = time_mono_us();
	stream_set_window(s->client, 0);
	stream_resume(s->client);
	client_pump(s);
}

void act_answer_error(struct session *s)
{
	answer_error(s);
}

void act_answer_canceled(struct session *s)
{
	err_set(session_err(s), "57014", "canceling statement due to user request");
	answer_error(s);
}

void act_cancel_on_server(struct session *s)
{
	pool_cancel(s->server);
}

void act_answer_ready(struct session *s)
{
	wire_put_ready(stream_queued(s->client), s->tx);
	stream_flush(s->client);
}

/* ---- run again ---- */

/* The batch is in the client's window still, untouched. */
static void rewind_batch(struct session *s)
{
	expects_clear(s);
	record_lost(s);
	s->sent_statements = s->answered_statements = 0;
	buf_free(&s->held);
	s->preludes = 0;
	s->pass_left = 0;
	s->batch.is_sent = s->batch.unnamed_at_server = false;
	s->batch.sent_len = 0;
	s->wait_began_us = 0;
}

/* A statement we were about to close on the server is still there: it knows more than we think. */
static void forget_evictions(struct session *s)
{
	for (size_t i = 0; i < s->expect_count; i++)
		s->server->must_close |= s->expects[s->expect_first + i].kind == EX_CLOSE_OURS;
}

void act_release_and_retry(struct session *s)
{
	forget_evictions(s);
	pool_release(&s->server, RELEASE_DRAIN);
	rewind_batch(s);
	act_find_server(s);
}

void act_drop_and_retry(struct session *s)
{
	counter_add(&s->env->stats->retries_lost, 1);
	counter_add(&s->env->node_stats[s->server->node].retries, 1);
	s->env->node_trouble(s->env->owner, s->server->node);
	s->exclude |= 1u << s->server->node;
	s->retries++;
	pool_release(&s->server, RELEASE_CLOSE);
	rewind_batch(s);
	act_find_server(s);
}

/* ---- lost ---- */

bool loss_can_retry(struct session *s)
{
	const struct batch *b = &s->batch;

	if (s->delivered || s->tx != 'I' || s->server->is_pinned || !b->is_whole || s->retries > 2 || (b->flags & SQL_F_EXTERNAL) || b->sent_len == 0)
		return false;
	/* A read that no standby has answered yet may write by what its views and operators call: at the primary it isn't run twice. */
	if (b->is_movable && s->server->node == s->env->topo->primary && b->verdict && !verdict_is_proved(b->verdict))
		return false;
	return b->only_begins || (b->is_movable && session_policy(s)->retry_reads);
}

/* A transaction that was open before the batch and that the batch did not try to end: it is lost, and known to be. */
bool loss_loses_tx(struct session *s)
{
	return s->tx != 'I' && (!(s->batch.flags & SQL_F_ENDS) || !s->batch.is_sent);
}

static const char *node_name(const struct session *s)
{
	return session_node_name(s, s->server->node);
}

/* Parse, Describe and the like: nothing a server could have changed by it. */
static bool runs_nothing(const struct batch *b)
{
	return b->kind == BATCH_EXTENDED && !b->has_execute;
}

static void describe_loss(struct session *s)
{
	struct session_env *env = s->env;

	if (loss_loses_tx(s)) {
		counter_add(&env->stats->lost_in_transaction, 1);
		err_set(session_err(s), "40001", "the server \"%s\" was lost inside the transaction: nothing was committed", node_name(s));
		err_hint(session_err(s), "Roll back and run the transaction again.");
	} else if (s->tx == 'I' && (s->batch.is_movable || runs_nothing(&s->batch))) {
		counter_add(&env->stats->lost_after_rows, 1);
		err_set(session_err(s), "08006", "the server \"%s\" was lost while its result was being delivered", node_name(s));
		err_hint(session_err(s), "Nothing was changed; run the query again.");
	} else {
		counter_add(&env->stats->lost_unknown, 1);
		err_set(session_err(s), "08007", "the server \"%s\" was lost before it answered: whether the %s took effect is not known",
		        node_name(s),
		        s->tx != 'I' ? "commit" : "statement");
		err_hint(session_err(s), "Read back what it was to change before running it again.");
	}
}

/* Whatever a lost write did, later reads must not be older than it. */
void lose_server(struct session *s)
{
	/* What this very batch would have set up is no news to a client that hears of its loss. */
	uint32_t before = s->batch.is_sent ? s->pins_before : s->pins;

	record_lost(s);
	s->sent_statements = s->answered_statements = 0;
	portals_clear(s);
	if (!s->batch.is_movable)
		need_add_time(&s->need, time_mono_us());
	s->env->node_trouble(s->env->owner, s->server->node);
	if (!s->home)
		forget_pins(s, before);
	pool_release(&s->server, RELEASE_CLOSE);
}

void act_answer_lost(struct session *s)
{
	bool loses_tx = loss_loses_tx(s);

	describe_loss(s);
	s->tx = loses_tx ? 'E' : 'I';
	lose_server(s);
	relay_deliver(s);
	/* A message cut in the middle can't be completed: the client would read the error as its rest. */
	if (s->pass_left) {
		session_step(s, EV_K_KILL);
		return;
	}
	s->batch.is_whole = s->state != ST_SKIP;        /* COPY and long batches end here too; only an open one still owes its Sync */
	answer_error(s);
}

/* Between two statements of a transaction: told at the next one. */
void act_lose_transaction(struct session *s)
{
	describe_loss(s);
	s->tx_err = mem_alloc(sizeof(*s->tx_err));
	*s->tx_err = *session_err(s);
	s->tx = 'E';
	lose_server(s);
	err_clear(session_err(s));
}

void act_answer_lost_state(struct session *s)
{
	char what[160];

	session_pins_text(s->lost_pins, what, sizeof(what));
	err_set(session_err(s), "55000", "the server of this session was lost, and with it: %s", what);
	err_hint(session_err(s), "Set up what is named again; the statement was not run.");
	s->lost_pins = 0;
	answer_error(s);
}
