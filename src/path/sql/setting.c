/* The value in SET name = value: read from the tokens each time, for the shape doesn't know it. */
#include "setting.h"
#include "lexer.h"

#include "pgshunt/sql.h"

static bool is_name(const struct token *t)
{
	return t->kind == LEX_WORD || t->kind == LEX_QUOTED;
}

/* What stands before the value. */
struct target {
	struct token first, last;       /* the name's first and last part */
	unsigned parts;
	bool is_local;
};

/* Reads up to and including TO or =. */
static bool read_target(struct lexer *lx, struct target *target)
{
	struct token t;

	*target = (struct target){ .parts = 0 };
	lex_next(lx, &t);
	if (!token_is_word(&t, "set"))
		return false;
	lex_next(lx, &t);
	target->is_local = token_is_word(&t, "local");
	if (target->is_local || token_is_word(&t, "session"))
		lex_next(lx, &t);
	target->first = t;
	while (is_name(&t)) {
		target->last = t;
		target->parts++;
		lex_next(lx, &t);
		if (!token_is_char(&t, '.'))
			break;
		lex_next(lx, &t);
		if (!is_name(&t))
			return false;
	}
	return token_is_char(&t, '=') || token_is_word(&t, "to");
}

static char unescape(char c)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *found = c ? strchr(from, c) : NULL;

	return found ? to[found - from] : c;
}

/* The inside of one quoted piece: quotes doubled, backslashes where the string has escapes. */
static char *unquote(const char *at, const char *end, char quote, bool has_escapes)
{
	char *out = mem_alloc((size_t)(end - at) + 1), *to = out;

	while (at < end) {
		if (has_escapes && *at == '\\' && at + 1 < end) {
			*to++ = unescape(at[1]);
			at += 2;
		} else {
			bool is_doubled = *at == quote && at + 1 < end && at[1] == quote;
			*to++ = *at;
			at += is_doubled ? 2 : 1;
		}
	}
	*to = '\0';
	return out;
}

static char *fold_word(const struct token *t)
{
	char *out = mem_strndup(t->at, (size_t)(t->end - t->at));

	for (char *c = out; *c; c++)
		*c = (char)lex_fold[(uint8_t)*c];
	return out;
}

/* $tag$ ... $tag$ */
static char *dollar_inside(const struct token *t)
{
	const char *tag_end = memchr(t->at + 1, '$', (size_t)(t->end - t->at) - 1);
	size_t tag_len = (size_t)(tag_end - t->at) + 1;

	return mem_strndup(t->at + tag_len, (size_t)(t->end - t->at) - 2 * tag_len);
}

static char *string_value(const struct token *t)
{
	if (t->is_opaque)
		return NULL;
	if (*t->at == '$')
		return dollar_inside(t);
	if (*t->at == '\'')
		return unquote(t->at + 1, t->end - 1, '\'', false);
	return unquote(t->at + 2, t->end - 1, '\'', true);
}

/* NULL: not a single constant. */
static char *constant_value(struct lexer *lx, const struct token *first)
{
	struct token t = *first;
	bool is_negative = token_is_char(&t, '-');

	if (is_negative || token_is_char(&t, '+'))
		lex_next(lx, &t);
	if (t.kind == LEX_INT || t.kind == LEX_FLOAT)
		return mem_printf("%s%.*s", is_negative ? "-" : "", (int)(t.end - t.at), t.at);
	if (t.at != first->at)
		return NULL;
	if (t.kind == LEX_STRING)
		return string_value(&t);
	if (t.kind == LEX_QUOTED)
		return unquote(t.at + 1, t.end - 1, '"', false);
	return t.kind == LEX_WORD ? fold_word(&t) : NULL;
}

static bool is_at_end(struct lexer *lx)
{
	struct token t;

	do
		lex_next(lx, &t);
	while (token_is_char(&t, ';'));
	return t.kind == LEX_END;
}

bool sql_setting_value(struct span text, char **out, struct err *err)
{
	struct lexer lx = lexer_of(text);
	struct token t = { .kind = LEX_END };
	struct target target;
	bool is_default;

	*out = NULL;
	if (!read_target(&lx, &target))
		return err_set(err, "22023", "a value is expected: SET name = value");
	lex_next(&lx, &t);
	is_default = token_is_word(&t, "default");
	if (!is_default)
		*out = constant_value(&lx, &t);
	if ((is_default || *out) && is_at_end(&lx))
		return true;
	mem_free(*out);
	*out = NULL;
	return err_set(err, "22023", "the value of a pgshunt setting must be a single constant");
}

bool setting_read_own(struct span text, char **name, enum sql_setting_verb *verb)
{
	struct lexer lx = lexer_of(text);
	struct target target;
	char *value, *last;

	if (!read_target(&lx, &target) || target.parts != 2 || !token_is_word(&target.first, "pgshunt") || target.last.kind != LEX_WORD)
		return false;
	if (!sql_setting_value(text, &value, NULL))
		return false;
	mem_free(value);
	last = fold_word(&target.last);
	*name = mem_printf("pgshunt.%s", last);
	*verb = target.is_local ? SQL_SET_LOCAL : SQL_SET;
	mem_free(last);
	return true;
}
