/* sql_grammar.h - random SQL by rules: what a coverage-guided fuzzer would take long to spell. */
#ifndef PGSHUNT_FUZZ_SQL_GRAMMAR_H
#define PGSHUNT_FUZZ_SQL_GRAMMAR_H

#include "dice.h"

/* rule: "texts", "statement", "expr", "from", "type" ... */
void grammar_write(struct buf *out, const char *rule, struct dice *dice);

#endif
