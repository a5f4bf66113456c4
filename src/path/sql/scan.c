#include "scan.h"

struct scan scan_of(struct span text)
{
	struct scan s = { .lx = lexer_of(text) };

	scan_skip(&s);
	return s;
}

void scan_skip(struct scan *s)
{
	lex_next(&s->lx, &s->t);
}

bool scan_take_char(struct scan *s, char c)
{
	bool is_here = scan_at_char(s, c);

	if (is_here)
		scan_skip(s);
	return is_here;
}

bool scan_take_word(struct scan *s, const char *want)
{
	bool is_here = scan_at_word(s, want);

	if (is_here)
		scan_skip(s);
	return is_here;
}

bool scan_at_end(struct scan *s)
{
	while (scan_at_char(s, ';'))
		scan_skip(s);
	return s->t.kind == LEX_END;
}

void scan_skip_rest(struct scan *s)
{
	while (!scan_at_end(s) && s->t.kind != LEX_ERROR)
		scan_skip(s);
}

void scan_skip_group(struct scan *s)
{
	size_t depth = 0;

	do {
		if (scan_at_char(s, '(') || scan_at_char(s, '['))
			depth++;
		else if (depth > 0 && (scan_at_char(s, ')') || scan_at_char(s, ']')))
			depth--;
		scan_skip(s);
	} while (depth > 0 && s->t.kind != LEX_END && s->t.kind != LEX_ERROR);
}

/* UESCAPE 'c', which may follow U&'..' and U&"..". False: there is one, and it is wrong. */
static bool take_uescape(struct scan *s, char *escape)
{
	struct literal l = { .is_coded = false };
	bool is_one;

	*escape = '\\';
	if (!scan_take_word(s, "uescape"))
		return true;
	is_one = s->t.kind == LEX_STRING && literal_of_string(&s->t, '\\', &l) && l.plain.len == 1 && !l.is_coded;
	if (is_one)
		*escape = (char)l.plain.data[0];
	literal_free(&l);
	scan_skip(s);
	return is_one;
}

typedef bool literal_fn(const struct token *t, char uescape, struct literal *out);

static bool take(struct scan *s, bool is_unicode, literal_fn *read, struct literal *out)
{
	struct token t = s->t;
	char escape = '\\';

	*out = (struct literal){ .is_coded = false };
	scan_skip(s);
	if (is_unicode && !take_uescape(s, &escape))
		return false;
	return read(&t, escape, out);
}

bool scan_take_string(struct scan *s, struct literal *out)
{
	if (s->t.kind == LEX_STRING || s->t.kind == LEX_STRING_UNICODE)
		return take(s, s->t.kind == LEX_STRING_UNICODE, literal_of_string, out);
	*out = (struct literal){ .is_coded = false };
	return false;
}

bool scan_take_name(struct scan *s, struct literal *out)
{
	if (s->t.kind == LEX_WORD || s->t.kind == LEX_QUOTED || s->t.kind == LEX_QUOTED_UNICODE)
		return take(s, s->t.kind == LEX_QUOTED_UNICODE, literal_of_name, out);
	*out = (struct literal){ .is_coded = false };
	return false;
}
