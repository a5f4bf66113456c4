/* handlers.h - what the nodes of the tree mean: statements (statements.c), names (names.c). */
#ifndef PGSHUNT_SQL_HANDLERS_H
#define PGSHUNT_SQL_HANDLERS_H

#include "builtins.h"
#include "walk.h"

#include <pg_query/pg_query.pb-c.h>

const char *node_string(const PgQuery__Node *node);
/* The last two parts of a dotted name. */
struct sql_name name_of_list(size_t count, PgQuery__Node **items);
void note_relation(struct walk *w, const PgQuery__RangeVar *rel, struct place place);

visit_fn visit_string, visit_range_var, visit_func_call, visit_sql_value_function, visit_a_expr, visit_sub_link, visit_sort_by,
	visit_type_name;

#endif
