/* sql_tokens.h - the tokens of a text as PostgreSQL's own scanner sees them (pg_query_scan), without the comments. Two things libpg_query
 * has wrong are put right: it doesn't tell where U&'..' ends, and it ends a string at a comment ('a' -- x (newline) 'b' is one). */
#ifndef PGSHUNT_FUZZ_SQL_TOKENS_H
#define PGSHUNT_FUZZ_SQL_TOKENS_H

#include "pgshunt/base.h"

enum pg_kind {
	PG_OTHER,               /* keywords, operators, punctuation */
	PG_NAME,                /* identifiers, quoted or not */
	PG_PARAM, PG_INT, PG_FLOAT, PG_STRING, PG_BITS, PG_HEX,
	PG_NATIONAL,            /* the N before N'..', which is a token of its own */
	PG_UNICODE              /* U&'..' and U&".." */
};

struct pg_token {
	size_t at, end;
	int code;
	enum pg_kind kind;
};

struct pg_tokens {
	struct pg_token *items;
	size_t count;
};

/* False: PostgreSQL can't read the text, or libpg_query not as PostgreSQL would. */
bool pg_tokens_read(const char *text, struct pg_tokens *out);
void pg_tokens_free(struct pg_tokens *tokens);

static inline bool pg_token_is_literal(const struct pg_token *t)
{
	return t->kind >= PG_INT && t->kind <= PG_HEX;
}

/* Whether two texts differ, to the grammar, in the values of literals only. */
bool pg_tokens_same(const char *a, const struct pg_tokens *tokens_a, const char *b, const struct pg_tokens *tokens_b);

#endif
