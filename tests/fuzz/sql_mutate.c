#include "sql_mutate.h"
#include "sql_grammar.h"
#include "sql_literals.h"

#include "../../src/path/sql/lexer.h"

#define PIECES_MAX 512

/* Tokens with the blanks before them; the last piece is what the lexer can't read, or what is too much. */
struct pieces {
	struct span items[PIECES_MAX];
	enum token_kind kinds[PIECES_MAX];
	size_t count;
};

static void cut(struct pieces *p, struct span text)
{
	const char *from = text.len ? text.data : "", *end = from + text.len;
	struct lexer lx = { from, end };
	struct token t;

	p->count = 0;
	while (p->count < PIECES_MAX - 1 && lex_next(&lx, &t) != LEX_END && t.kind != LEX_ERROR) {
		p->kinds[p->count] = t.kind;
		p->items[p->count++] = (struct span){ from, (size_t)(t.end - from) };
		from = t.end;
	}
	if (from < end) {
		p->kinds[p->count] = LEX_ERROR;
		p->items[p->count++] = (struct span){ from, (size_t)(end - from) };
	}
}

static void write_pieces(struct buf *out, const struct pieces *p, size_t from, size_t to)
{
	for (size_t i = from; i < to && i < p->count; i++)
		buf_add(out, p->items[i].data, p->items[i].len);
}

static bool is_literal(enum token_kind kind)
{
	return kind >= LEX_INT && kind <= LEX_HEX;
}

static void write_fragment(struct buf *out, struct dice *dice)
{
	static const char *const fragments[] = {
		"expr", "expr", "lit", "name", "op", "select", "keepers", "unicode", "typed", "type", "call", "tail", "from"
	};

	buf_add_u8(out, ' ');
	grammar_write(out, DICE_PICK(dice, fragments), dice);
	buf_add_u8(out, ' ');
}

/* In the place of a literal another literal, mostly; in the place of anything else whatever comes. */
static void write_instead(struct buf *out, enum token_kind kind, struct dice *dice)
{
	static const char *const rules[] = { "lit", "lit", "lit", "expr", "keepers", "unicode" };

	if (!is_literal(kind)) {
		write_fragment(out, dice);
		return;
	}
	buf_add_u8(out, ' ');
	grammar_write(out, DICE_PICK(dice, rules), dice);
}

static size_t choose_piece(const struct pieces *p, struct dice *dice)
{
	size_t chosen = dice_roll(dice, p->count);

	for (size_t i = 0; i < p->count && dice_once_in(dice, 2); i++) {
		if (is_literal(p->kinds[chosen]))
			break;
		chosen = (chosen + 1) % p->count;
	}
	return chosen;
}

static void change_once(struct buf *out, struct span text, struct dice *dice)
{
	struct pieces p;
	size_t at, behind;

	cut(&p, text);
	if (p.count == 0) {
		grammar_write(out, "texts", dice);
		return;
	}
	at = choose_piece(&p, dice);
	behind = at + 1 + (dice_once_in(dice, 3) ? dice_roll(dice, MIN(p.count - at, 6)) : 0);
	write_pieces(out, &p, 0, at);
	switch (dice_roll(dice, 10)) {
	case 0: break;
	case 1: write_pieces(out, &p, at, behind); write_pieces(out, &p, at, p.count); return;
	case 2: write_pieces(out, &p, at + 1, at + 2); write_pieces(out, &p, at, at + 1); write_pieces(out, &p, at + 2, p.count); return;
	case 3: write_fragment(out, dice); write_pieces(out, &p, at, p.count); return;
	case 4: blank_write(out, dice); write_pieces(out, &p, at, p.count); return;
	case 5: write_pieces(out, &p, at, p.count); buf_add_str(out, "; "); grammar_write(out, "statement", dice); return;
	case 6: buf_add_u8(out, '('); write_pieces(out, &p, at, behind); buf_add_u8(out, ')'); break;
	default: write_instead(out, p.kinds[at], dice); break;
	}
	write_pieces(out, &p, behind, p.count);
}

void mutate_text(struct buf *out, struct span text, struct dice *dice)
{
	struct buf once = { 0 };
	size_t changes = dice_roll(dice, 4);

	if (dice_once_in(dice, 2))
		grammar_write(&once, "texts", dice);
	else
		buf_add(&once, text.data, text.len);
	for (size_t i = 0; i < changes; i++) {
		struct buf before = once;
		once = (struct buf){ 0 };
		change_once(&once, (struct span){ (const char *)before.data, before.len }, dice);
		buf_free(&before);
	}
	buf_add(out, once.data, once.len);
	buf_free(&once);
}

void mutate_cross(struct buf *out, struct span a, struct span b, struct dice *dice)
{
	struct pieces p;

	cut(&p, a);
	write_pieces(out, &p, 0, dice_roll(dice, p.count + 1));
	cut(&p, b);
	write_pieces(out, &p, dice_roll(dice, p.count + 1), p.count);
}
