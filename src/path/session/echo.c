/* Statements with effects on their way to the server. Behind what resets a setting goes an echo of ours: the setting as the start-up packet
 * had it, which is where RESET leads a client that connects directly, and which a server of the pool has never been told. */
#include <stdio.h>
#include <strings.h>

#include "record.h"

struct reading {
	struct session *s;
	struct buf *echo;               /* statements, each with its semicolon */
	unsigned echoes;
};

static void echo_one(struct reading *r, const struct setting *item, bool is_local)
{
	settings_echo(item, is_local, r->echo);
	r->echoes++;
}

/* What goes back to its default goes back to what the start-up packet said, which this server has never seen. */
static void add_echo(struct reading *r, const struct sql_effect *effect)
{
	const struct settings *startup = r->s->startup;
	const struct setting *item;

	if (!startup)
		return;
	if (effect->kind == SQL_E_RESET_LOCAL && r->s->tx == 'I' && !(r->s->batch.flags & SQL_F_MULTI))
		return;                 /* without effect, and PostgreSQL warns of that */
	if (effect->kind == SQL_E_RESET_ALL) {
		for (size_t i = 0; i < startup->count; i++)
			echo_one(r, &startup->items[i], false);
	} else if (effect->kind == SQL_E_RESET || effect->kind == SQL_E_RESET_LOCAL) {
		item = settings_find(startup, effect->name);
		if (item)
			echo_one(r, item, effect->kind == SQL_E_RESET_LOCAL);
	}
}

/* Behind a change of standard_conforming_strings in the same batch nobody knows how a backslash will be read. */
static bool is_unreadable(struct record *record, const struct sql_effect *effect)
{
	if (effect->name && strcasecmp(effect->name, "standard_conforming_strings") == 0)
		record->strings_change = true;
	return record->strings_change && effect->sql && strchr(effect->sql, '\\');
}

static void expect_effect(void *owner, const struct sql_effect *effect)
{
	struct reading *r = owner;
	struct record *record = record_of(r->s);
	struct change *c;

	if (is_unreadable(record, effect)) {
		session_pin(r->s, SQL_PIN_SETTING);
		return;
	}
	c = change_add(&record->pending);

	c->kind = effect->kind;
	c->statement = r->s->sent_statements;
	c->column = effect->column;
	c->name = mem_strdup(effect->name);
	c->sql = mem_strdup(effect->sql);
	if (effect->kind == SQL_E_PREPARE)
		c->value = mem_strndup(effect->query.data, effect->query.len);
	add_echo(r, effect);
}

static void count_statement(struct session *s, bool is_echo)
{
	if (is_echo) {
		struct change *c = change_add(&record_of(s)->pending);
		c->kind = SQL_E_EXECUTE;
		c->is_echo = true;
		c->statement = s->sent_statements;
	}
	s->sent_statements++;
}

/* One statement goes to the server; what must be sent behind it is added to echo, and counts as sent. */
static void record_statement(struct session *s, struct span sql, struct buf *echo)
{
	struct reading r = { s, echo, 0 };

	sql_effects(sql, expect_effect, &r);
	count_statement(s, false);
	while (r.echoes-- > 0)
		count_statement(s, true);
}

bool record_execute(struct session *s, struct span sql, struct buf *echo)
{
	record_statement(s, sql, echo);
	return echo->len > 0;
}

static bool is_blank(struct span text)
{
	struct buf shown = { NULL, 0, 0 };
	bool is_empty;

	sql_shape(text, (struct sql_mode){ true, true }, &shown);
	is_empty = shown.len == 0 || (shown.len == 1 && shown.data[0] == ';');
	buf_free(&shown);
	return is_empty;
}

/* As PostgreSQL counts them; of an encoding that isn't UTF-8, bytes. */
static unsigned count_chars(struct span text)
{
	unsigned count = 0;

	for (size_t i = 0; i < text.len; i++)
		count += ((uint8_t)text.data[i] & 0xc0) != 0x80;
	return count;
}

/* Of the echo just counted. */
static void note_place(struct session *s, unsigned at, unsigned chars)
{
	struct change *echo = &s->record->pending.items[s->record->pending.count - 1];

	echo->at = at;
	echo->chars = chars;
}

bool record_moves_positions(const struct session *s)
{
	for (size_t i = 0; s->record && i < s->record->pending.count; i++)
		if (s->record->pending.items[i].chars)
			return true;
	return false;
}

unsigned record_position(const struct session *s, unsigned position)
{
	unsigned ours = 0;

	for (size_t i = 0; s->record && i < s->record->pending.count; i++)
		if (s->record->pending.items[i].chars && position > s->record->pending.items[i].at)
			ours += s->record->pending.items[i].chars;
	return position - ours;
}

bool record_query(struct session *s, struct span text, struct buf *rewritten)
{
	bool has_echo = false;
	unsigned chars = 0;

	while (text.len) {
		size_t len = sql_split(text);
		struct span one = { text.data, len ? len : text.len };
		struct buf echo = { NULL, 0, 0 };

		if (!is_blank(one))
			record_statement(s, one, &echo);
		buf_add(rewritten, one.data, one.len);
		chars += count_chars(one);
		if (echo.len) {
			size_t before = rewritten->len;
			buf_add_str(rewritten, len ? " " : "\n;");
			buf_add(rewritten, echo.data, echo.len);
			note_place(s, chars, (unsigned)(rewritten->len - before));
			chars += (unsigned)(rewritten->len - before);
			has_echo = true;
		}
		buf_free(&echo);
		text = (struct span){ text.data + one.len, text.len - one.len };
	}
	return has_echo;
}
