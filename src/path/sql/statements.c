/* What statements mean: one row a kind, and a function where a row isn't enough. */
#include "handlers.h"
#include "setting.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

/* ---- WITH: which names are queries, and where they are in sight ---- */

/* Visits the WITH queries and returns the place of the statement's own body. A query sees those before it; under RECURSIVE all. */
static struct place enter_with(struct walk *w, const PgQuery__WithClause *with, struct place place)
{
	struct place body = place;

	for (size_t i = 0; with && i < with->n_ctes; i++) {
		const PgQuery__CommonTableExpr *cte = with->ctes[i]->common_table_expr;
		if (!with->recursive)
			walk_push(w, cte, body);
		body.scope = walk_add_cte(w, cte->ctename, body.scope);
	}
	for (size_t i = 0; with && with->recursive && i < with->n_ctes; i++)
		walk_push(w, with->ctes[i], body);
	return body;
}

static bool visit_nothing(struct walk *w, const void *msg, struct place place)
{
	(void)w, (void)msg, (void)place;
	return false;
}

static bool visit_select(struct walk *w, const void *msg, struct place place)
{
	walk_push_children(w, msg, enter_with(w, ((const PgQuery__SelectStmt *)msg)->with_clause, place));
	return false;
}

/* INSERT, UPDATE, DELETE, MERGE: the table changed is a table even where a WITH query has its name. */
#define VISIT_CHANGE(function, type) \
	static bool function(struct walk *w, const void *msg, struct place place) \
	{ \
		const type *stmt = msg; \
		note_relation(w, stmt->relation, (struct place){ .is_quiet = place.is_quiet, .is_planned = place.is_planned }); \
		walk_push_children(w, msg, enter_with(w, stmt->with_clause, place)); \
		return false; \
	}
VISIT_CHANGE(visit_insert, PgQuery__InsertStmt)
VISIT_CHANGE(visit_any_update, PgQuery__UpdateStmt)
VISIT_CHANGE(visit_delete, PgQuery__DeleteStmt)
VISIT_CHANGE(visit_merge, PgQuery__MergeStmt)

/* UPDATE pg_settings is SET by another name. */
static bool visit_update(struct walk *w, const void *msg, struct place place)
{
	if (!place.is_quiet && !place.is_planned && strcmp(((const PgQuery__UpdateStmt *)msg)->relation->relname, "pg_settings") == 0)
		w->draft->pins |= SQL_PIN_SETTING;
	return visit_any_update(w, msg, place);
}

/* FOR UPDATE OF x: x is an alias, not a relation. */
static bool visit_locking(struct walk *w, const void *msg, struct place place)
{
	(void)msg;
	if (!place.is_planned)
		walk_raise(w, place, SQL_LOCK, SQL_R_ROW_LOCK, NULL);
	return false;
}

static bool visit_into(struct walk *w, const void *msg, struct place place)
{
	(void)msg;
	if (!place.is_planned && !place.is_quiet) {
		walk_raise(w, place, SQL_WRITE, SQL_R_WRITE, NULL);
		w->draft->flags |= SQL_F_DDL;
	}
	return true;
}

/* ---- statements around statements ---- */

/* What a view, function, rule, trigger, policy or prepared statement says is kept, not run. */
static bool visit_definition(struct walk *w, const void *msg, struct place place)
{
	place.is_quiet = true;
	walk_push_children(w, msg, place);
	return false;
}

/* As defGetBoolean() reads it; what it doesn't know counts as on. */
static bool is_option_on(const PgQuery__DefElem *option)
{
	const PgQuery__Node *arg = option->arg;

	if (!arg)
		return true;
	if (arg->node_case == PG_QUERY__NODE__NODE_INTEGER)
		return arg->integer->ival != 0;
	return strcasecmp(node_string(arg), "false") != 0 && strcasecmp(node_string(arg), "off") != 0;
}

/* The last ANALYZE counts. A cursor isn't declared here: its query is explained. */
static bool visit_explain(struct walk *w, const void *msg, struct place place)
{
	const PgQuery__ExplainStmt *stmt = msg;
	const PgQuery__Node *query = stmt->query;
	bool is_run = false;

	for (size_t i = 0; i < stmt->n_options; i++) {
		const PgQuery__DefElem *option = stmt->options[i]->def_elem;
		if (strcmp(option->defname, "analyze") == 0)
			is_run = is_option_on(option);
	}
	place.is_planned |= !is_run;
	if (query->node_case == PG_QUERY__NODE__NODE_DECLARE_CURSOR_STMT)
		query = query->declare_cursor_stmt->query;
	walk_push(w, query, place);
	return false;
}

/* COPY TO STDOUT is what its query is; a file or program is the primary's. */
static bool visit_copy(struct walk *w, const void *msg, struct place place)
{
	const PgQuery__CopyStmt *stmt = msg;
	bool is_client = !stmt->is_program && stmt->filename[0] == '\0';

	if (stmt->is_from || !is_client)
		walk_raise(w, place, SQL_WRITE, SQL_R_WRITE, NULL);
	if (is_client)
		w->draft->flags |= stmt->is_from ? SQL_F_COPY_IN : SQL_F_COPY_OUT;
	else
		w->draft->flags |= SQL_F_EXTERNAL;
	return true;
}

#define CURSOR_OPT_HOLD 0x0020  /* parsenodes.h */
static bool visit_declare(struct walk *w, const void *msg, struct place place)
{
	if ((((const PgQuery__DeclareCursorStmt *)msg)->options & CURSOR_OPT_HOLD) && !place.is_planned)
		w->draft->pins |= SQL_PIN_HOLD;
	return true;
}

static bool visit_prepare(struct walk *w, const void *msg, struct place place)
{
	walk_raise(w, place, SQL_SESSION, SQL_R_PINNED, "prepare");
	return visit_definition(w, msg, place);
}

/* EXPLAIN EXECUTE needs the prepared statement just as well. */
static bool visit_execute(struct walk *w, const void *msg, struct place place)
{
	(void)msg;
	walk_raise(w, place, SQL_SESSION, SQL_R_PINNED, "prepare");
	w->draft->pins |= SQL_PIN_PREPARE;
	w->draft->uses |= SQL_PIN_PREPARE;
	return true;
}

/* ---- code whose text we don't see ---- */

static bool visit_do(struct walk *w, const void *msg, struct place place)
{
	const PgQuery__DoStmt *stmt = msg;

	(void)place;
	w->draft->uses |= SQL_PIN_TEMP | SQL_PIN_FUNCTION;
	for (size_t i = 0; i < stmt->n_args; i++) {
		const PgQuery__DefElem *arg = stmt->args[i]->def_elem;
		if (strcmp(arg->defname, "language") == 0 && arg->arg && strcmp(node_string(arg->arg), "plpgsql") != 0)
			w->draft->flags |= SQL_F_EXTERNAL;
		if (strcmp(arg->defname, "as") == 0 && arg->arg && strcasestr(node_string(arg->arg), "alter"))
			w->draft->flags |= SQL_F_DEFAULTS;
	}
	return false;
}

static bool visit_call(struct walk *w, const void *msg, struct place place)
{
	const PgQuery__FuncCall *call = ((const PgQuery__CallStmt *)msg)->funccall;

	walk_raise(w, place, SQL_WRITE, SQL_R_FUNCTION, name_of_list(call->n_funcname, call->funcname).name);
	return true;
}

/* ---- settings ---- */

static void note_setting(struct walk *w, const char *name, enum sql_setting_verb verb)
{
	struct draft *d = w->draft;

	if (strncasecmp(name, "pgshunt.", 8) != 0 || d->setting)
		return;
	d->setting = mem_strdup(name);
	for (char *c = d->setting; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	d->setting_verb = verb;
}

static bool visit_set(struct walk *w, const void *msg, struct place place)
{
	const PgQuery__VariableSetStmt *stmt = msg;
	bool is_reset = stmt->kind == PG_QUERY__VARIABLE_SET_KIND__VAR_RESET;

	if (place.is_quiet)
		return false;
	if (stmt->kind != PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL)
		note_setting(w, stmt->name, is_reset ? SQL_RESET : stmt->is_local ? SQL_SET_LOCAL : SQL_SET);
	if (strcasecmp(stmt->name, "seed") == 0)
		w->draft->pins |= SQL_PIN_SEED;
	else if (!stmt->is_local && !setting_is_of_transaction(stmt->name))
		w->draft->pins |= SQL_PIN_SETTING;
	return false;
}

static bool visit_show(struct walk *w, const void *msg, struct place place)
{
	const char *name = ((const PgQuery__VariableShowStmt *)msg)->name;

	note_setting(w, name, SQL_SHOW);
	w->draft->uses |= SQL_PIN_SETTING;
	if (!builtin_is_session_setting(name))
		walk_raise(w, place, SQL_READ, SQL_R_NODE_LOCAL, NULL);
	return false;
}

/* A role's or a database's defaults go by its name. */
static bool visit_rename(struct walk *w, const void *msg, struct place place)
{
	PgQuery__ObjectType type = ((const PgQuery__RenameStmt *)msg)->rename_type;

	if (!place.is_quiet && (type == PG_QUERY__OBJECT_TYPE__OBJECT_ROLE || type == PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE))
		w->draft->flags |= SQL_F_DEFAULTS;
	return true;
}

static bool visit_discard(struct walk *w, const void *msg, struct place place)
{
	(void)place;
	if (((const PgQuery__DiscardStmt *)msg)->target == PG_QUERY__DISCARD_MODE__DISCARD_ALL)
		w->draft->flags |= SQL_F_DISCARD_ALL;
	return false;
}

/* The name, "" for ALL: the session knows the protocol's statements of that name. */
static bool visit_deallocate(struct walk *w, const void *msg, struct place place)
{
	const PgQuery__DeallocateStmt *stmt = msg;

	if (!place.is_quiet && !w->draft->setting)
		w->draft->setting = mem_strdup(stmt->name);
	return false;
}

/* ---- transactions ---- */

static bool visit_transaction(struct walk *w, const void *msg, struct place place)
{
	static const uint32_t flags[] = {
		[PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_BEGIN] = SQL_F_BEGINS,
		[PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_START] = SQL_F_BEGINS,
		[PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT] = SQL_F_ENDS,
		[PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK] = SQL_F_ENDS,
		[PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_PREPARE] = SQL_F_ENDS,
		[PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_TO] = SQL_F_ROLLBACK_TO,
	};
	const PgQuery__TransactionStmt *stmt = msg;

	/* COMMIT PREPARED and ROLLBACK PREPARED end somebody else's transaction: a write like any other. */
	if (stmt->kind >= PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT_PREPARED) {
		walk_raise(w, place, SQL_WRITE, SQL_R_WRITE, NULL);
		return false;
	}
	walk_raise(w, place, SQL_TRANSACTION, SQL_R_TRANSACTION, NULL);
	if (stmt->kind < ARRAY_LEN(flags))
		w->draft->flags |= flags[stmt->kind] | (stmt->chain ? SQL_F_BEGINS : 0);
	return false;
}

/* ---- the table ---- */

/* A statement that isn't here is "Stmt": utility, and DDL for all we know. Sorted by byte. */
static const struct handler handlers[] = {
	{ "AConst", visit_nothing, SQL_EMPTY, 0, 0, 0 },
	{ "AExpr", visit_a_expr, SQL_EMPTY, 0, 0, 0 },
	{ "AlterDatabaseSetStmt", visit_definition, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DDL | SQL_F_DEFAULTS, 0 },
	{ "AlterFunctionStmt", visit_definition, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DDL, 0 },
	{ "AlterRoleSetStmt", visit_definition, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DDL | SQL_F_DEFAULTS, 0 },
	{ "AlterSystemStmt", visit_definition, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DEFAULTS, 0 },
	{ "CallStmt", visit_call, SQL_EMPTY, 0, SQL_F_DDL, SQL_PIN_FUNCTION },
	{ "CheckPointStmt", NULL, SQL_UTILITY, SQL_R_UTILITY, 0, 0 },
	{ "ClosePortalStmt", NULL, SQL_SESSION, SQL_R_TRANSACTION, SQL_F_CURSOR | SQL_F_RELEASES, 0 },
	{ "ConstraintsSetStmt", NULL, SQL_SESSION, SQL_R_SETTING, 0, 0 },
	{ "CopyStmt", visit_copy, SQL_READ, SQL_R_READ, 0, 0 },
	{ "CreateFunctionStmt", visit_definition, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DDL, 0 },
	{ "CreatePolicyStmt", visit_definition, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DDL, 0 },
	{ "CreateTrigStmt", visit_definition, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DDL, 0 },
	{ "DeallocateStmt", visit_deallocate, SQL_SESSION, SQL_R_SETTING, SQL_F_DEALLOCATE, 0 },
	{ "DeclareCursorStmt", visit_declare, SQL_SESSION, SQL_R_TRANSACTION, SQL_F_CURSOR, 0 },
	{ "DeleteStmt", visit_delete, SQL_WRITE, SQL_R_WRITE, 0, 0 },
	{ "DiscardStmt", visit_discard, SQL_SESSION, SQL_R_SETTING, SQL_F_RELEASES, 0 },
	{ "DoStmt", visit_do, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DDL, SQL_PIN_FUNCTION },
	{ "DropOwnedStmt", NULL, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DDL | SQL_F_RELEASES, 0 },
	{ "DropStmt", NULL, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DDL | SQL_F_RELEASES, 0 },
	{ "ExecuteStmt", visit_execute, SQL_EMPTY, 0, 0, 0 },
	{ "ExplainStmt", visit_explain, SQL_READ, SQL_R_READ, 0, 0 },
	{ "FetchStmt", NULL, SQL_SESSION, SQL_R_TRANSACTION, SQL_F_CURSOR, 0 },
	{ "FuncCall", visit_func_call, SQL_EMPTY, 0, 0, 0 },
	{ "InsertStmt", visit_insert, SQL_WRITE, SQL_R_WRITE, 0, 0 },
	{ "IntoClause", visit_into, SQL_EMPTY, 0, 0, 0 },
	{ "ListenStmt", NULL, SQL_SESSION, SQL_R_PINNED, 0, SQL_PIN_LISTEN },
	{ "LoadStmt", NULL, SQL_SESSION, SQL_R_PINNED, 0, SQL_PIN_LOAD },
	{ "LockStmt", NULL, SQL_LOCK, SQL_R_ROW_LOCK, 0, 0 },
	{ "LockingClause", visit_locking, SQL_EMPTY, 0, 0, 0 },
	{ "MergeStmt", visit_merge, SQL_WRITE, SQL_R_WRITE, 0, 0 },
	{ "NotifyStmt", NULL, SQL_WRITE, SQL_R_WRITE, 0, 0 },
	{ "PrepareStmt", visit_prepare, SQL_EMPTY, 0, 0, SQL_PIN_PREPARE },
	{ "RangeVar", visit_range_var, SQL_EMPTY, 0, 0, 0 },
	{ "RenameStmt", visit_rename, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DDL, 0 },
	{ "ReturnStmt", NULL, SQL_EMPTY, 0, 0, 0 },
	{ "RuleStmt", visit_definition, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DDL, 0 },
	{ "SQLValueFunction", visit_sql_value_function, SQL_EMPTY, 0, 0, 0 },
	{ "SelectStmt", visit_select, SQL_READ, SQL_R_READ, 0, 0 },
	{ "SortBy", visit_sort_by, SQL_EMPTY, 0, 0, 0 },
	{ "Stmt", NULL, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DDL, 0 },
	{ "String", visit_string, SQL_EMPTY, 0, 0, 0 },
	{ "SubLink", visit_sub_link, SQL_EMPTY, 0, 0, 0 },
	{ "TransactionStmt", visit_transaction, SQL_EMPTY, 0, 0, 0 },
	{ "TruncateStmt", NULL, SQL_WRITE, SQL_R_WRITE, 0, 0 },
	{ "TypeName", visit_type_name, SQL_EMPTY, 0, 0, 0 },
	{ "UnlistenStmt", NULL, SQL_SESSION, SQL_R_SETTING, SQL_F_RELEASES, 0 },
	{ "UpdateStmt", visit_update, SQL_WRITE, SQL_R_WRITE, 0, 0 },
	{ "VacuumStmt", NULL, SQL_UTILITY, SQL_R_UTILITY, 0, 0 },
	{ "VariableSetStmt", visit_set, SQL_SESSION, SQL_R_SETTING, 0, 0 },
	{ "VariableShowStmt", visit_show, SQL_READ, SQL_R_READ, 0, 0 },
	{ "ViewStmt", visit_definition, SQL_UTILITY, SQL_R_UTILITY, SQL_F_DDL, 0 },
	{ "WithClause", visit_nothing, SQL_EMPTY, 0, 0, 0 },
};

static int compare_node(const void *key, const void *item)
{
	return strcmp(key, ((const struct handler *)item)->node);
}

const struct handler *handler_find(const char *node)
{
	return bsearch(node, handlers, ARRAY_LEN(handlers), sizeof(*handlers), compare_node);
}
