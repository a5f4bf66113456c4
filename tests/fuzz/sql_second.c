#include "sql_second.h"
#include "sql_literals.h"

#include "../../src/path/sql/lexer.h"

struct writer {
	struct buf *out;
	const char *text;
	const struct pg_tokens *tokens;
	enum second_kind kind;
	struct dice *dice;
	size_t changed;         /* the token that SECOND_NEAR changes */
};

static char last_byte(const struct buf *out)
{
	return out->len ? (char)out->data[out->len - 1] : ' ';
}

static bool is_word_byte(char c)
{
	return lex_fold[(uint8_t)c] != 0;
}

/* What would run together if nothing stood between. A newline between two strings would join them. */
static void part(struct buf *out, char first)
{
	if ((is_word_byte(last_byte(out)) && is_word_byte(first)) || (last_byte(out) == '\'' && first == '\''))
		buf_add_u8(out, ' ');
}

static void write_gap(struct writer *w, size_t i)
{
	const struct pg_token *t = &w->tokens->items[i], *before = i ? t - 1 : NULL;
	size_t from = before ? before->end : 0;
	bool is_near = w->kind == SECOND_NEAR && i == w->changed && dice_once_in(w->dice, 3);

	if (before && before->kind == PG_NATIONAL && before->end == t->at)
		return;
	if (is_near && dice_once_in(w->dice, 2))
		return;
	if (dice_once_in(w->dice, 2))
		buf_add(w->out, w->text + from, t->at - from);
	else if (before && w->text[before->end - 1] == '\'' && w->text[t->at] == '\'' && !is_near)
		buf_add_u8(w->out, ' ');
	else if (i || dice_once_in(w->dice, 4))
		blank_write(w->out, w->dice);
	if (!is_near)
		part(w->out, w->text[t->at]);
}

static bool is_plain_word(const struct writer *w, const struct pg_token *t)
{
	for (size_t i = t->at; i < t->end; i++)
		if (!is_word_byte(w->text[i]))
			return false;
	return t->end > t->at && lex_class[(uint8_t)w->text[t->at]] == CH_LETTER;
}

static void write_word(struct writer *w, const struct pg_token *t)
{
	uint32_t style = dice_roll(w->dice, 4);

	for (const char *c = w->text + t->at; c < w->text + t->end; c++) {
		bool is_upper = style == 0 || (style == 1 && dice_once_in(w->dice, 2));
		buf_add_u8(w->out, is_upper && *c >= 'a' && *c <= 'z' ? (uint8_t)(*c - 32) : (uint8_t)*c);
	}
}

static void write_literal(struct writer *w, size_t i, enum pg_kind kind)
{
	struct buf literal = { 0 };

	if (i && w->tokens->items[i - 1].kind == PG_NATIONAL && last_byte(w->out) != ' ') {
		literal_write_quoted(w->out, w->dice);
		return;
	}
	literal_write(&literal, kind, w->dice);
	part(w->out, (char)*literal.data);
	buf_add(w->out, literal.data, literal.len);
	buf_free(&literal);
}

static void write_raw(struct writer *w, const struct pg_token *t)
{
	buf_add(w->out, w->text + t->at, t->end - t->at);
}

/* ---- the change that may matter ---- */

static void write_flipped(struct writer *w, const struct pg_token *t)
{
	size_t at = t->at + dice_roll(w->dice, t->end - t->at);
	char c = w->text[at];

	buf_add(w->out, w->text + t->at, at - t->at);
	buf_add_u8(w->out, (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? (uint8_t)(c ^ 0x20) : (uint8_t)c);
	buf_add(w->out, w->text + at + 1, t->end - at - 1);
}

static void write_split(struct writer *w, const struct pg_token *t)
{
	size_t at = t->at + dice_roll(w->dice, t->end - t->at + 1);

	buf_add(w->out, w->text + t->at, at - t->at);
	blank_write(w->out, w->dice);
	buf_add(w->out, w->text + at, t->end - at);
}

static void write_extended(struct writer *w, const struct pg_token *t)
{
	static const char extra[] = "+-*/%<>=~!@#^&|`?0123.e$'\"aZ_;:()[]\x80";

	write_raw(w, t);
	buf_add_u8(w->out, (uint8_t)extra[dice_roll(w->dice, sizeof(extra) - 1)]);
}

static void write_changed(struct writer *w, size_t i)
{
	static const enum pg_kind kinds[] = { PG_INT, PG_FLOAT, PG_STRING, PG_BITS, PG_HEX };
	const struct pg_token *t = &w->tokens->items[i];

	switch (dice_roll(w->dice, 8)) {
	case 0: write_split(w, t); break;
	case 1: write_extended(w, t); break;
	case 2: write_raw(w, t); blank_write(w->out, w->dice); write_raw(w, t); break;
	case 3: buf_add_str(w->out, "$1"); break;
	case 4: write_literal(w, i, DICE_PICK(w->dice, kinds)); break;
	case 5: buf_printf(w->out, "\"%.*s\"", (int)(t->end - t->at), w->text + t->at); break;
	case 6:
		if (w->text[t->at] == '"')
			buf_add(w->out, w->text + t->at + 1, t->end - t->at - 1);
		break;
	default: write_flipped(w, t); break;
	}
}

static void write_token(struct writer *w, size_t i)
{
	const struct pg_token *t = &w->tokens->items[i];

	if (w->kind == SECOND_NEAR && i == w->changed)
		write_changed(w, i);
	else if (w->kind != SECOND_SAME && pg_token_is_literal(t) && dice_once_in(w->dice, 2))
		write_literal(w, i, t->kind);
	else if (t->kind != PG_NATIONAL && is_plain_word(w, t))
		write_word(w, t);
	else
		write_raw(w, t);
}

void second_write(struct buf *out, const char *text, const struct pg_tokens *tokens, enum second_kind kind, struct dice *dice)
{
	struct writer w = { .out = out, .text = text, .tokens = tokens, .kind = kind, .dice = dice };

	if (tokens->count)
		w.changed = dice_roll(dice, tokens->count);
	for (size_t i = 0; i < tokens->count; i++) {
		write_gap(&w, i);
		write_token(&w, i);
	}
	if (dice_once_in(dice, 4))
		blank_write(out, dice);
}
