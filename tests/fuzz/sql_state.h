/* sql_state.h - what a text does to its session, by PostgreSQL's tree alone; and how that compares with sql_effects(). */
#ifndef PGSHUNT_FUZZ_SQL_STATE_H
#define PGSHUNT_FUZZ_SQL_STATE_H

#include "sql_tree.h"

#include "pgshunt/sql.h"

/* What is wrong, or NULL. The two lists of effects, a line each, go to by_tree and by_tokens. */
const char *state_compare(const char *sql, const PgQuery__ParseResult *tree, const struct verdict *verdict, struct buf *by_tree,
                          struct buf *by_tokens);

#endif
