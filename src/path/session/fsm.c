/* The table of session_fsm.def at work: one function steps. */
#include <stdio.h>

#include "private.h"

enum guard {
	G_ALWAYS, G_IS_CONSOLE, G_IS_REPLICATION,
	G_IS_WELCOME, G_HAS_LOST_STATE, G_IS_LOCAL, G_IS_WHOLE, G_KEEPS_SERVER, G_CAN_RETRY, G_LOSES_TX, G_MUST_MOVE,
	G_COPY_HAS_ENDED, G_OWES_SYNC, G_IN_TX, G_NEEDS_LAYING, G_ROLLS_ON, G_ENDS_TX
};

struct row {
	int state;                      /* -1: any but CLOSED */
	enum session_event event;
	enum guard guard;
	void (*action)(struct session *s);
	enum session_state next;
	const char *text;
};

static const struct row rows[] = {
#define ROW(state, event, guard, action, next) \
	{ ST_##state, EV_##event, G_##guard, act_##action, ST_##next, #state " " #event " " #guard " " #action " " #next },
#define ROW_ANY(event, guard, action, next) \
	{ -1, EV_##event, G_##guard, act_##action, ST_##next, "ANY " #event " " #guard " " #action " " #next },
#include "session_fsm.def"
};

static const char *const state_names[] = {
#define STATE(name, text) #name,
#include "session_fsm.def"
	NULL
};
static const char *const state_texts[] = {
#define STATE(name, text) text,
#include "session_fsm.def"
};
static const char *const event_names[] = {
#define EVENT(name) #name,
#include "session_fsm.def"
};

const char *session_state_name(enum session_state state)
{
	return state_names[state];
}

const char *session_state_text(enum session_state state)
{
	return state_texts[state];
}

/* ---- guards ---- */

static bool is_always(struct session *s)
{
	(void)s;
	return true;
}
static bool is_console(struct session *s)
{
	return s->is_console;
}
static bool is_replication(struct session *s)
{
	return s->replication != NULL;
}
static bool is_welcome_known(struct session *s)
{
	return session_policy(s)->pool_mode != POOL_SESSION && welcome_find(s) != NULL;
}
static bool has_lost_state(struct session *s)
{
	return s->lost_pins != 0;
}
static bool is_whole(struct session *s)
{
	return s->batch.is_whole;
}
static bool keeps_server(struct session *s)
{
	return s->tx != 'I';
}
static bool in_tx(struct session *s)
{
	return s->tx != 'I';
}
static bool copy_has_ended(struct session *s)
{
	return relay_copy_ends(s);
}

/* The Sync that came with the COPY was ignored, as in PostgreSQL: the one behind the data is still to come. */
static bool owes_sync(struct session *s)
{
	return s->batch.kind == BATCH_EXTENDED;
}

static bool (*const guards[])(struct session *s) = {
	[G_ALWAYS] = is_always, [G_IS_CONSOLE] = is_console, [G_IS_REPLICATION] = is_replication,
	[G_IS_WELCOME] = is_welcome_known, [G_HAS_LOST_STATE] = has_lost_state,
	[G_IS_LOCAL] = local_is, [G_IS_WHOLE] = is_whole, [G_KEEPS_SERVER] = keeps_server, [G_CAN_RETRY] = loss_can_retry,
	[G_LOSES_TX] = loss_loses_tx, [G_MUST_MOVE] = batch_must_move, [G_COPY_HAS_ENDED] = copy_has_ended, [G_OWES_SYNC] = owes_sync,
	[G_NEEDS_LAYING] = lay_is_needed, [G_ROLLS_ON] = local_rolls_on, [G_IN_TX] = in_tx,
	[G_ENDS_TX] = local_ends_tx,
};

/* ---- stepping ---- */

#define NO_ROW UINT8_MAX

static bool row_is_for(const struct row *row, int state, int event)
{
	return row->event == (enum session_event)event && (row->state == state || row->state == -1);
}

uint8_t *fsm_index_new(void)
{
	uint8_t *index = mem_alloc((size_t)ST_COUNT * EV_COUNT);

	_Static_assert(ARRAY_LEN(rows) < NO_ROW, "the index holds row numbers in a byte");
	for (int state = 0; state < ST_COUNT; state++)
		for (int event = 0; event < EV_COUNT; event++) {
			size_t row = 0;
			while (row < ARRAY_LEN(rows) && !row_is_for(&rows[row], state, event))
				row++;
			index[state * EV_COUNT + event] = row < ARRAY_LEN(rows) ? (uint8_t)row : NO_ROW;
		}
	return index;
}

static const struct row *find_row(struct session *s, enum session_event event)
{
	size_t row = s->env->fsm_index[(int)s->state * EV_COUNT + (int)event];

	for (; row < ARRAY_LEN(rows); row++)
		if (row_is_for(&rows[row], (int)s->state, (int)event) && (rows[row].guard == G_ALWAYS || guards[rows[row].guard](s)))
			return &rows[row];
	return NULL;
}

void session_step(struct session *s, enum session_event event)
{
	const struct row *row;

	if (s->state == ST_CLOSED)
		return;
	memmove(s->edges + 1, s->edges, sizeof(s->edges) - 1);
	s->edges[0] = (uint8_t)event;
	row = find_row(s, event);
	if (!row) {
		err_set(session_err(s), "08P01", "unexpected message in state %s", state_names[s->state]);
		err_hint(session_err(s), "The client does not follow the protocol.");
		log_warning("session %llu: no row for %s in state %s", (unsigned long long)s->id, event_names[event], state_names[s->state]);
		s->state = ST_CLOSED;
		act_close_with_error(s);
		return;
	}
	if (row->next != ST_SAME)
		s->state = row->next;
	row->action(s);
}

/* ---- the table itself ---- */

void session_fsm_print(struct buf *out)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		buf_printf(out, "%s\n", rows[i].text);
}

static size_t check_reachable(struct buf *out)
{
	bool reached[ST_COUNT] = { [ST_START] = true };
	size_t faults = 0;

	for (int round = 0; round < ST_COUNT; round++)
		for (size_t i = 0; i < ARRAY_LEN(rows); i++)
			if (rows[i].next != ST_SAME && (rows[i].state == -1 || reached[rows[i].state]))
				reached[rows[i].next] = true;
	for (int state = 0; state < ST_COUNT; state++)
		if (!reached[state]) {
			buf_printf(out, "state %s can't be reached\n", state_names[state]);
			faults++;
		}
	return faults;
}

/* A row behind one for the same pair without a guard, or with the same guard, can never be taken. */
static size_t check_shadowed(struct buf *out)
{
	size_t faults = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t j = 0; j < i; j++)
			if (rows[j].state == rows[i].state && rows[j].event == rows[i].event &&
			    (rows[j].guard == G_ALWAYS || rows[j].guard == rows[i].guard)) {
				buf_printf(out, "\"%s\" is shadowed by \"%s\"\n", rows[i].text, rows[j].text);
				faults++;
			}
	return faults;
}

size_t session_fsm_check(struct buf *out)
{
	return check_reachable(out) + check_shadowed(out);
}
