/* One statement after the other, by the lexer alone; as psql does it (psqlscan.l): a semicolon inside parentheses (CREATE RULE)
 * or inside the BEGIN ATOMIC ... END of a function ends nothing. */
#include "lexer.h"

#include "pgshunt/sql.h"

struct splitter {
	unsigned words;         /* words of this statement so far, at the most 5 */
	bool is_create, is_routine;
	unsigned parentheses, begins;
};

static void see_word(struct splitter *s, const struct token *t)
{
	if (s->words < 5)
		s->words++;
	if (s->words == 1)
		s->is_create = token_is_word(t, "create");
	else if (s->words < 5 && s->is_create && (token_is_word(t, "function") || token_is_word(t, "procedure")))
		s->is_routine = true;
	if (!s->is_routine || s->parentheses > 0)
		return;
	if (token_is_word(t, "begin") || (s->begins > 0 && token_is_word(t, "case")))
		s->begins++;
	else if (s->begins > 0 && token_is_word(t, "end"))
		s->begins--;
}

static bool is_end(struct splitter *s, const struct token *t)
{
	if (t->kind == LEX_WORD)
		see_word(s, t);
	else if (token_is_char(t, '('))
		s->parentheses++;
	else if (token_is_char(t, ')') && s->parentheses > 0)
		s->parentheses--;
	return token_is_char(t, ';') && s->parentheses == 0 && s->begins == 0;
}

size_t sql_split(struct span text)
{
	struct splitter s = { .words = 0 };
	struct lexer lx = lexer_of(text);
	struct token t;

	while (lex_next(&lx, &t) != LEX_END && t.kind != LEX_ERROR)
		if (is_end(&s, &t))
			return (size_t)(t.end - text.data);
	return 0;
}
