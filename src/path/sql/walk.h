/* walk.h - from a parsed text to the draft of its verdict: one walk over the tree, with a stack of its own. */
#ifndef PGSHUNT_SQL_WALK_H
#define PGSHUNT_SQL_WALK_H

#include "pgshunt/sql.h"

#include <protobuf-c/protobuf-c.h>

/* Names as they stand in the tree: borrowed from it. Each one once. */
struct name_list {
	struct sql_name *items;
	size_t count, cap;
	struct map seen;
};

/* What is known of a text so far. */
struct draft {
	enum sql_class class;
	enum sql_reason reason;
	const char *reason_name;
	uint32_t flags, pins, uses;
	size_t statements;
	enum sql_setting_verb setting_verb;
	char *setting;                          /* owned; of DEALLOCATE the name */
	struct name_list tables, functions, builtins, types, temps;
};

/* The list keeps the pointers, not copies. */
void name_list_add(struct name_list *list, const char *schema, const char *name);
void draft_free(struct draft *draft);

/* Where in the text a message stands: handed down from message to message. */
struct place {
	uint32_t scope;                         /* innermost WITH query in sight: index into walk.ctes, 0 = none */
	bool is_quiet : 1;                      /* a definition: what stands here isn't run by this statement */
	bool is_planned : 1;                    /* EXPLAIN without ANALYZE: planned, not run */
};

struct visit {
	const ProtobufCMessage *msg;
	struct place place;
};

/* A WITH query in sight, and the one before it. */
struct cte {
	const char *name;
	uint32_t before;
};

struct walk {
	struct draft *draft;
	/* of the statement being walked */
	enum sql_class class;
	enum sql_reason reason;
	const char *reason_name;
	bool has_user_table, has_node_function;
	bool has_row_function;                  /* a function that may give several rows, or none: any but those known not to */
	unsigned set_configs;                   /* how often set_config() is called */
	struct visit *stack;
	size_t depth, stack_cap;
	struct cte *ctes;                       /* [0] is unused: 0 means none */
	size_t cte_count, cte_cap;
};

/* Walks one statement (a Node) and adds what it does to the draft. */
void walk_statement(struct walk *w, const ProtobufCMessage *stmt);
void walk_free(struct walk *w);

/* ---- between walk.c and the handlers ---- */

/* Returns true when the children are to be visited as well, each at the same place. */
typedef bool visit_fn(struct walk *w, const void *msg, struct place place);

struct handler {
	const char *node;                       /* the message's name, as "SelectStmt" */
	visit_fn *visit;                        /* NULL: only what the row says */
	/* Of statements: what they are by themselves. */
	enum sql_class class;
	enum sql_reason reason;
	uint32_t flags, pins;
};
/* NULL for a message that only has children. */
const struct handler *handler_find(const char *node);

void walk_push(struct walk *w, const void *msg, struct place place);
void walk_push_children(struct walk *w, const ProtobufCMessage *msg, struct place place);
void walk_push_list(struct walk *w, size_t count, void *msgs, struct place place);
/* The statement is at least of this class; the first reason of the strongest class stays. */
void walk_raise(struct walk *w, struct place place, enum sql_class class, enum sql_reason reason, const char *name);
uint32_t walk_add_cte(struct walk *w, const char *name, uint32_t before);
bool walk_sees_cte(const struct walk *w, uint32_t scope, const char *name);

#endif
