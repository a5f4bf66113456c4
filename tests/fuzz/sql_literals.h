/* sql_literals.h - literals of every kind, in the spellings in which a lexer may misread them. */
#ifndef PGSHUNT_FUZZ_SQL_LITERALS_H
#define PGSHUNT_FUZZ_SQL_LITERALS_H

#include "dice.h"
#include "sql_tokens.h"

/* kind: PG_INT .. PG_HEX. */
void literal_write(struct buf *out, enum pg_kind kind, struct dice *dice);
/* '..' only: what may stand behind the N of N'..'. */
void literal_write_quoted(struct buf *out, struct dice *dice);
void blank_write(struct buf *out, struct dice *dice);

#endif
