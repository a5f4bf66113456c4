/* sql_mutate.h - a text changed token by token, for libFuzzer: bytes alone would rarely be SQL. */
#ifndef PGSHUNT_FUZZ_SQL_MUTATE_H
#define PGSHUNT_FUZZ_SQL_MUTATE_H

#include "dice.h"

void mutate_text(struct buf *out, struct span text, struct dice *dice);
/* The beginning of one, the end of the other, cut between tokens. */
void mutate_cross(struct buf *out, struct span a, struct span b, struct dice *dice);

#endif
