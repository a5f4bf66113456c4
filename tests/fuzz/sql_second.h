/* sql_second.h - a text written again. */
#ifndef PGSHUNT_FUZZ_SQL_SECOND_H
#define PGSHUNT_FUZZ_SQL_SECOND_H

#include "dice.h"
#include "sql_tokens.h"

enum second_kind {
	SECOND_SAME,            /* other blanks, comments, case of words: the shape has to stay */
	SECOND_LITERALS,        /* other values of literals too: if the shape stays, so must the verdict */
	SECOND_NEAR             /* and one change that may matter: an identifier's case, a literal's kind, a blank gone ... */
};
void second_write(struct buf *out, const char *text, const struct pg_tokens *tokens, enum second_kind kind, struct dice *dice);

#endif
