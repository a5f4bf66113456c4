/* verdict.h - making verdicts: by the grammar, or by the words alone where the grammar can't be asked. */
#ifndef PGSHUNT_SQL_VERDICT_H
#define PGSHUNT_SQL_VERDICT_H

#include "pgshunt/sql.h"

struct draft;

/* One block of memory with everything in it; one reference. The draft stays the caller's. shown need not end with a NUL. */
struct verdict *verdict_build(const struct draft *draft, struct hash128 shape, struct span shown);

/* Asks the grammar; text is readable (shape_is_readable) and at most parse_max_bytes long. */
struct verdict *verdict_parse(struct span text, struct hash128 shape, uint32_t nesting_max);

/* By the words alone. is_readable false: the lexer's reading can't be trusted either, so every word of it counts. */
struct verdict *verdict_of_words(struct span text, struct hash128 shape, enum sql_reason reason, bool is_readable);

/* The same, but a write, because a standby refused it with that SQLSTATE. */
struct verdict *verdict_refused(const struct verdict *v, const char *sqlstate);

/* words.c: what the words of a text say of session and transaction. */
void words_scan(struct span text, bool is_readable, struct draft *draft);

#endif
