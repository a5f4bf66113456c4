#include "sql_tokens.h"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

static bool is_comment(const PgQuery__ScanToken *t)
{
	return t->token == PG_QUERY__TOKEN__SQL_COMMENT || t->token == PG_QUERY__TOKEN__C_COMMENT;
}

static enum pg_kind kind_of(const PgQuery__ScanToken *t)
{
	switch ((int)t->token) {
	case PG_QUERY__TOKEN__IDENT: return PG_NAME;
	case PG_QUERY__TOKEN__PARAM: return PG_PARAM;
	case PG_QUERY__TOKEN__ICONST: return PG_INT;
	case PG_QUERY__TOKEN__FCONST: return PG_FLOAT;
	case PG_QUERY__TOKEN__SCONST: return PG_STRING;
	case PG_QUERY__TOKEN__BCONST: return PG_BITS;
	case PG_QUERY__TOKEN__XCONST: return PG_HEX;
	case PG_QUERY__TOKEN__USCONST: case PG_QUERY__TOKEN__UIDENT: return PG_UNICODE;
	case PG_QUERY__TOKEN__NCHAR: return t->end - t->start == 1 ? PG_NATIONAL : PG_OTHER;
	}
	return PG_OTHER;
}

/* Behind blanks and comments to the end of the line. A quote there continues a string, if there was a newline. */
static const char *skip_gap(const char *at, bool *saw_newline)
{
	*saw_newline = false;
	for (; *at; at++) {
		*saw_newline |= *at == '\n' || *at == '\r';
		if (at[0] == '-' && at[1] == '-')
			at += strcspn(at, "\r\n") - 1;
		else if (!strchr(" \t\n\r\f", *at))
			break;
	}
	return at;
}

static const char *skip_piece(const char *at, char quote)
{
	while ((at = strchr(at, quote))[1] == quote)
		at += 2;
	return at + 1;
}

/* U&'..' in all its pieces, U&"..". */
static const char *end_of_unicode(const char *at)
{
	const char *end = skip_piece(at + 3, at[2]), *next;
	bool is_joined;

	while (at[2] == '\'') {
		next = skip_gap(end, &is_joined);
		if (!is_joined || *next != '\'')
			break;
		end = skip_piece(next + 1, '\'');
	}
	return end;
}

static bool joins(const char *at, const char *quote)
{
	bool saw_newline;

	return *quote == '\'' && skip_gap(at, &saw_newline) == quote && saw_newline;
}

static bool ends_in_quote(const char *text, const struct pg_token *t)
{
	return text[t->end - 1] == '\'' && (t->kind == PG_STRING || t->kind == PG_BITS || t->kind == PG_HEX);
}

/* False: what stands behind the comment has been read by other rules than those of the string's beginning. */
static bool add_token(struct pg_tokens *out, const char *text, const PgQuery__ScanToken *t)
{
	struct pg_token *last = out->count ? &out->items[out->count - 1] : NULL;
	struct pg_token token = { .at = (size_t)t->start, .end = (size_t)t->end, .code = (int)t->token, .kind = kind_of(t) };

	if (token.kind == PG_UNICODE)
		token.end = (size_t)(end_of_unicode(text + token.at) - text);
	if (last && token.at < last->end)
		return true;
	if (last && ends_in_quote(text, last) && joins(text + last->end, text + token.at)) {
		last->end = token.end;
		return text[last->at] == '\'';
	}
	out->items[out->count++] = token;
	return true;
}

bool pg_tokens_read(const char *text, struct pg_tokens *out)
{
	PgQueryScanResult scanned = pg_query_scan(text);
	PgQuery__ScanResult *result = NULL;
	bool is_read = true;

	*out = (struct pg_tokens){ 0 };
	if (!scanned.error)
		result = pg_query__scan_result__unpack(NULL, scanned.pbuf.len, (const uint8_t *)scanned.pbuf.data);
	pg_query_free_scan_result(scanned);
	if (!result)
		return false;
	out->items = mem_alloc((result->n_tokens + 1) * sizeof(*out->items));
	for (size_t i = 0; i < result->n_tokens; i++)
		if (!is_comment(result->tokens[i]))
			is_read &= add_token(out, text, result->tokens[i]);
	pg_query__scan_result__free_unpacked(result, NULL);
	return is_read;
}

void pg_tokens_free(struct pg_tokens *tokens)
{
	mem_free(tokens->items);
	*tokens = (struct pg_tokens){ 0 };
}

static char fold(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool is_word_char(char c)
{
	return (fold(c) >= 'a' && fold(c) <= 'z') || c == '_' || (uint8_t)c >= 0x80;
}

static bool same_text(const char *a, const char *b, size_t len, bool is_word)
{
	if (!is_word)
		return memcmp(a, b, len) == 0;
	for (size_t i = 0; i < len; i++)
		if (fold(a[i]) != fold(b[i]))
			return false;
	return true;
}

bool pg_tokens_same(const char *a, const struct pg_tokens *tokens_a, const char *b, const struct pg_tokens *tokens_b)
{
	for (size_t i = 0; i < tokens_a->count && i < tokens_b->count; i++) {
		const struct pg_token *s = &tokens_a->items[i], *t = &tokens_b->items[i];
		size_t len = s->end - s->at;
		if (s->code != t->code)
			return false;
		if (pg_token_is_literal(s) || s->code == PG_QUERY__TOKEN__USCONST)
			continue;
		if (len != t->end - t->at || !same_text(a + s->at, b + t->at, len, s->kind != PG_UNICODE && is_word_char(a[s->at])))
			return false;
	}
	return tokens_a->count == tokens_b->count;
}
