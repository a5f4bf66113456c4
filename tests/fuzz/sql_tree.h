/* sql_tree.h - what PostgreSQL's tree of a text says, read without any of pgshunt's own code. */
#ifndef PGSHUNT_FUZZ_SQL_TREE_H
#define PGSHUNT_FUZZ_SQL_TREE_H

#include "pgshunt/base.h"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

/* NULL: it doesn't parse. */
PgQuery__ParseResult *tree_parse(const char *text);

typedef void tree_visit_fn(void *owner, const ProtobufCMessage *msg, const char *name);
/* Calls fn for every message of the tree, outer ones first; name is its type, as "AConst". */
void tree_walk(const ProtobufCMessage *tree, tree_visit_fn *fn, void *owner);

/* A string constant that holds now, today, tomorrow or yesterday as a word, or NULL. sql is what was parsed. */
const char *tree_find_dated(const PgQuery__ParseResult *tree, const char *sql);

#endif
