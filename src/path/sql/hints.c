/* A leading comment for us: slash-star pgshunt: route=primary consistency=strong star-slash. */
#include "lexer.h"

#include "pgshunt/sql.h"

static bool is_blank(char c)
{
	return lex_class[(uint8_t)c] == CH_BLANK;
}

static struct span skip_blanks(struct span s)
{
	while (s.len > 0 && is_blank(*s.data)) {
		s.data++;
		s.len--;
	}
	return s;
}

/* What stands between the comment's "pgshunt:" and its end; len 0 when the text begins otherwise. */
static struct span hint_body(struct span text)
{
	static const char open[] = "/*", name[] = "pgshunt:";
	struct span s = skip_blanks(text);
	const char *close;

	if (s.len < 2 || memcmp(s.data, open, 2) != 0)
		return (struct span){ NULL, 0 };
	s = skip_blanks((struct span){ s.data + 2, s.len - 2 });
	if (s.len < strlen(name) || memcmp(s.data, name, strlen(name)) != 0)
		return (struct span){ NULL, 0 };
	s = (struct span){ s.data + strlen(name), s.len - strlen(name) };
	close = memmem(s.data, s.len, "*/", 2);
	return (struct span){ s.data, close ? (size_t)(close - s.data) : 0 };
}

/* One word up to a blank or comma; without '=' it is skipped. */
static size_t take_pair(struct span *rest, sql_hint_fn *fn, void *owner)
{
	const char *from = rest->data, *equals;
	size_t len = 0;

	while (len < rest->len && !is_blank(from[len]) && from[len] != ',')
		len++;
	rest->data += len;
	rest->len -= len;
	equals = len > 0 ? memchr(from, '=', len) : NULL;
	if (!equals || equals == from)
		return 0;
	fn(owner, (struct span){ from, (size_t)(equals - from) }, (struct span){ equals + 1, (size_t)(from + len - equals - 1) });
	return 1;
}

size_t sql_hints(struct span text, sql_hint_fn *fn, void *owner)
{
	struct span rest = hint_body(text);
	size_t pairs = 0;

	while (rest.len > 0) {
		if (is_blank(*rest.data) || *rest.data == ',')
			rest = (struct span){ rest.data + 1, rest.len - 1 };
		else
			pairs += take_pair(&rest, fn, owner);
	}
	return pairs;
}
