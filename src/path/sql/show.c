/* A text made fit for others: for the grammar, without comments; for people, with literals as $n, always, and never a value. */
#include "shape.h"

/* The highest $n in use: literals are numbered behind it (as pg_stat_statements does). */
static unsigned highest_param(struct span text)
{
	struct lexer lx = lexer_of(text);
	unsigned highest = 0;
	struct token t;

	while (lex_next(&lx, &t) != LEX_END && t.kind != LEX_ERROR) {
		unsigned number = 0;
		for (const char *at = t.at + 1; t.kind == LEX_PARAM && at < t.end && number < 65536; at++)
			number = number * 10 + (unsigned)(*at - '0');
		highest = MAX(highest, number);
	}
	return highest;
}

/* Blanks between two tokens become one; where there were none, none. */
static void show_token(struct buf *out, const struct token *t, unsigned *param)
{
	if (t->kind == LEX_ERROR)
		buf_add_str(out, "...");
	else if (token_is_literal(t))
		buf_printf(out, "$%u", ++*param);
	else
		buf_add(out, t->at, (size_t)(t->end - t->at));
}

void shape_show(struct span text, size_t max_bytes, struct buf *out)
{
	struct lexer lx = lexer_of(text);
	unsigned param = highest_param(text);
	size_t start = out->len;
	struct token t = { .kind = LEX_END };
	const char *before;

	do {
		before = lx.at;
		if (lex_next(&lx, &t) == LEX_END)
			break;
		if (out->len - start + (size_t)(t.end - t.at) > max_bytes && !token_is_literal(&t))
			t.kind = LEX_ERROR;
		if (t.at > before && out->len > start)
			buf_add_u8(out, ' ');
		show_token(out, &t, &param);
	} while (t.kind != LEX_ERROR && out->len - start < max_bytes);
}

void shape_blank_comments(char *text, size_t len)
{
	struct lexer lx = { text, text + len };
	size_t from = 0;
	struct token t;

	do {
		lex_next(&lx, &t);
		memset(text + from, ' ', (size_t)(t.at - text) - from);
		from = (size_t)(t.end - text);
	} while (t.kind != LEX_END && t.kind != LEX_ERROR);
}
