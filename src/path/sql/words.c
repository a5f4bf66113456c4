/* What can be said of a text that the grammar didn't read: its words. It goes to the primary in any case; the question is
 * whether it may leave something in the session, or begin or end a transaction. */
#include "builtins.h"
#include "lexer.h"
#include "verdict.h"
#include "walk.h"

#include <stdlib.h>

/* Sorted by byte. is_first: only where a statement begins. */
static const struct {
	const char *word;
	bool is_first;
	uint32_t pins, flags;
} rows[] = {
	{ "abort", true, 0, SQL_F_ENDS },
	{ "alter", true, 0, SQL_F_DDL | SQL_F_DEFAULTS },
	{ "begin", true, 0, SQL_F_BEGINS },
	{ "call", true, SQL_PIN_UNKNOWN, SQL_F_DDL },
	{ "close", true, 0, SQL_F_CURSOR | SQL_F_RELEASES },
	{ "comment", true, 0, SQL_F_DDL },
	{ "commit", true, 0, SQL_F_ENDS },
	{ "create", true, 0, SQL_F_DDL },
	{ "currval", false, SQL_PIN_SEQUENCE, 0 },
	{ "deallocate", true, SQL_PIN_UNKNOWN, SQL_F_DEALLOCATE },
	{ "declare", true, SQL_PIN_UNKNOWN, SQL_F_CURSOR },
	{ "discard", true, SQL_PIN_UNKNOWN, SQL_F_RELEASES },
	{ "do", true, SQL_PIN_UNKNOWN, SQL_F_DDL },
	{ "drop", true, 0, SQL_F_DDL | SQL_F_RELEASES },
	{ "end", true, 0, SQL_F_ENDS },
	{ "execute", false, SQL_PIN_UNKNOWN, 0 },
	{ "fetch", true, 0, SQL_F_CURSOR },
	{ "grant", true, 0, SQL_F_DDL },
	{ "import", true, 0, SQL_F_DDL },
	{ "lastval", false, SQL_PIN_SEQUENCE, 0 },
	{ "listen", true, SQL_PIN_UNKNOWN, 0 },
	{ "load", true, SQL_PIN_UNKNOWN, 0 },
	{ "move", true, 0, SQL_F_CURSOR },
	{ "nextval", false, SQL_PIN_SEQUENCE, 0 },
	{ "prepare", true, SQL_PIN_UNKNOWN, SQL_F_ENDS },
	{ "refresh", true, 0, SQL_F_DDL },
	{ "reindex", true, 0, SQL_F_DDL },
	{ "release", true, SQL_PIN_UNKNOWN, 0 },
	{ "reset", true, SQL_PIN_UNKNOWN, 0 },
	{ "revoke", true, 0, SQL_F_DDL },
	{ "rollback", true, SQL_PIN_UNKNOWN, SQL_F_ENDS | SQL_F_ROLLBACK_TO },     /* TO a savepoint undoes settings */
	{ "savepoint", true, SQL_PIN_UNKNOWN, 0 },
	{ "security", true, 0, SQL_F_DDL },
	{ "set", true, SQL_PIN_UNKNOWN, 0 },
	{ "set_config", false, SQL_PIN_UNKNOWN, 0 },
	{ "setseed", false, SQL_PIN_UNKNOWN, 0 },
	{ "setval", false, SQL_PIN_SEQUENCE, 0 },
	{ "start", true, 0, SQL_F_BEGINS },
	{ "temp", false, SQL_PIN_UNKNOWN, 0 },
	{ "temporary", false, SQL_PIN_UNKNOWN, 0 },
	{ "unlisten", true, 0, SQL_F_RELEASES },
};

/* Names that begin so, anywhere. */
static const struct {
	const char *word;
	uint32_t flags;
} prefixes[] = { { "dblink", SQL_F_EXTERNAL }, { "pg_advisory", SQL_F_RELEASES }, { "pg_temp", 0 }, { "pg_try_advisory", 0 } };

/* Words that stand before a parenthesis and are no functions. A function of the user's that is missed because it is called
 * like one of these has to be quoted, and quoted names aren't looked up here. */
static const char *const not_functions[] = {
	"all", "and", "any", "array", "as", "between", "bit", "by", "case", "cast", "char", "character", "check", "coalesce", "columns",
	"conflict", "cube", "cycle", "dec", "decimal", "distinct", "else", "except", "exists", "extract", "filter", "float", "from",
	"greatest", "group", "grouping", "having", "if", "ilike", "in", "int", "intersect", "interval", "into", "is", "join", "key",
	"lateral", "least", "like", "limit", "materialized", "national", "nchar", "not", "nullif", "numeric", "offset", "on", "only",
	"operator", "or", "order", "over", "overlaps", "overlay", "partition", "position", "precision", "primary", "range",
	"references", "returning", "rollup", "row", "rows", "select", "set", "sets", "similar", "some", "substring", "then", "time",
	"timestamp", "to", "treat", "trim", "union", "unique", "using", "values", "varchar", "varying", "when", "where", "with",
	"within", "xmlattributes", "xmlconcat", "xmlelement", "xmlexists", "xmlforest", "xmlparse", "xmlpi", "xmlroot", "xmlserialize",
};

/* A word, folded; longer ones are cut, which matches nothing but prefixes. */
struct word {
	char text[64];
	size_t len;
};

static struct word word_of(struct span s)
{
	struct word w = { .len = MIN(s.len, sizeof(w.text) - 1) };

	for (size_t i = 0; i < w.len; i++)
		w.text[i] = (char)lex_fold[(uint8_t)s.data[i]];
	return w;
}

static int compare_row(const void *key, const void *item)
{
	return strcmp(key, *(const char *const *)item);       /* the word is the row's first member */
}

static void see_word(struct draft *d, const struct word *w, bool is_first)
{
	size_t found = ARRAY_LEN(rows), prefix;
	const void *exact = bsearch(w->text, rows, ARRAY_LEN(rows), sizeof(rows[0]), compare_row);

	if (exact)
		found = (size_t)((const char *)exact - (const char *)rows) / sizeof(rows[0]);
	for (prefix = 0; !exact && prefix < ARRAY_LEN(prefixes); prefix++)
		if (strncmp(w->text, prefixes[prefix].word, strlen(prefixes[prefix].word)) == 0) {
			d->pins |= SQL_PIN_UNKNOWN;
			d->flags |= prefixes[prefix].flags;
		}
	if (found < ARRAY_LEN(rows) && (is_first || !rows[found].is_first)) {
		d->pins |= rows[found].pins;
		d->flags |= rows[found].flags;
	}
}

static int compare_words(const void *key, const void *item)
{
	return strcmp(key, *(const char *const *)item);
}

/* A name before a parenthesis: a call, for all we know. */
static void see_call(struct draft *d, const struct word *w, bool is_qualified, bool is_behind_into)
{
	const struct builtin *b = builtin_function(w->text);

	if (is_behind_into || bsearch(w->text, not_functions, ARRAY_LEN(not_functions), sizeof(*not_functions), compare_words))
		return;
	d->pins |= b->pins | (is_qualified ? SQL_PIN_FUNCTION : 0);
	d->flags |= b->flags;
}

/* By tokens: strings, comments and quoted identifiers can't hide or fake a word. */
struct reader {
	struct word name;               /* the word just read; len 0 when the last token was none */
	bool is_quoted, is_qualified;   /* it was "quoted"; it stands behind a dot */
	bool is_behind_into;            /* INSERT INTO name (columns) */
	bool at_start;
};

static void read_name(struct reader *r, struct draft *d, const struct token *t)
{
	if (r->name.len > 0) {
		r->is_behind_into = !r->is_quoted && strcmp(r->name.text, "into") == 0;
		r->is_qualified = false;
	} else if (!r->is_qualified) {
		r->is_behind_into = false;
	}
	r->is_quoted = t->kind != LEX_WORD;
	r->name = word_of(r->is_quoted ? span_of("x") : token_span(t));
	if (!r->is_quoted)
		see_word(d, &r->name, r->at_start);
	r->at_start = false;
}

static void read_token(struct reader *r, struct draft *d, const struct token *t)
{
	bool is_call = token_is_char(t, '(') && r->name.len > 0;

	if (t->kind == LEX_WORD || t->kind == LEX_QUOTED || t->kind == LEX_QUOTED_UNICODE) {
		read_name(r, d, t);
		return;
	}
	if (is_call && r->is_quoted && !r->is_behind_into)
		d->pins |= SQL_PIN_FUNCTION;
	else if (is_call)
		see_call(d, &r->name, r->is_qualified, r->is_behind_into);
	r->is_qualified = token_is_char(t, '.');
	r->is_behind_into &= r->is_qualified;
	r->at_start |= token_is_char(t, ';');
	r->name.len = 0;
}

static void scan_tokens(struct lexer *lx, struct draft *d)
{
	struct reader r = { .at_start = true };
	struct token t;

	while (lex_next(lx, &t) != LEX_END && t.kind != LEX_ERROR)
		read_token(&r, d, &t);
}

/* By bytes: every run of letters counts as a word that begins a statement, and as a call if a parenthesis follows. */
static const char *scan_word(const char *at, const char *end, struct draft *d)
{
	const char *from = at;
	struct word w;

	while (at < end && lex_fold[(uint8_t)*at])
		at++;
	w = word_of((struct span){ from, (size_t)(at - from) });
	see_word(d, &w, true);
	while (at < end && (lex_class[(uint8_t)*at] == CH_BLANK || *at == '"'))
		at++;
	if (at < end && *at == '(')
		see_call(d, &w, false, false);
	return at;
}

static void scan_bytes(const char *at, const char *end, struct draft *d)
{
	while (at < end)
		if (lex_fold[(uint8_t)*at])
			at = scan_word(at, end, d);
		else
			at++;
}

void words_scan(struct span text, bool is_readable, struct draft *draft)
{
	struct lexer lx = lexer_of(text);

	if (is_readable)
		scan_tokens(&lx, draft);
	scan_bytes(lx.at, lx.end, draft);
}
