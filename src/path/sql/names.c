/* What names in the tree mean: relations, functions, operators, types. */
#include "handlers.h"

#include <strings.h>

/* The text of a String node, "" for any other. */
const char *node_string(const PgQuery__Node *node)
{
	return node->node_case == PG_QUERY__NODE__NODE_STRING ? node->string->sval : "";
}

struct sql_name name_of_list(size_t count, PgQuery__Node **items)
{
	struct sql_name n = { NULL, count > 0 ? node_string(items[count - 1]) : "" };

	if (count > 1)
		n.schema = node_string(items[count - 2]);
	return n;
}

static bool is_pg_catalog(const char *schema)
{
	return !schema || strcmp(schema, "pg_catalog") == 0;
}

/* pg_temp, or a session's own pg_temp_3: what it names exists in this session only. */
static bool is_temp_schema(const char *schema)
{
	return strncmp(schema, "pg_temp", 7) == 0 && (schema[7] == '\0' || schema[7] == '_');
}

static void touch_temp(struct walk *w, struct place place)
{
	w->draft->pins |= SQL_PIN_TEMP;
	w->draft->uses |= SQL_PIN_TEMP;
	walk_raise(w, place, SQL_READ, SQL_R_PINNED, "temp");
}

bool visit_string(struct walk *w, const void *msg, struct place place)
{
	if (is_temp_schema(((const PgQuery__String *)msg)->sval))
		touch_temp(w, place);
	return false;
}

/* ---- relations ---- */

void note_relation(struct walk *w, const PgQuery__RangeVar *rel, struct place place)
{
	const char *schema = rel->schemaname[0] ? rel->schemaname : NULL;

	if (!schema && walk_sees_cte(w, place.scope, rel->relname))
		return;
	name_list_add(&w->draft->tables, schema, rel->relname);
	if (strcmp(rel->relpersistence, "t") == 0 || (schema && is_temp_schema(schema))) {
		name_list_add(&w->draft->temps, schema, rel->relname);
		touch_temp(w, place);
	}
	if (is_pg_catalog(schema) && builtin_is_node_view(rel->relname))
		walk_raise(w, place, SQL_READ, SQL_R_NODE_LOCAL, NULL);
	w->has_user_table |= schema ? strcmp(schema, "pg_catalog") != 0 && strcmp(schema, "information_schema") != 0
	                            : !builtin_is_catalog(rel->relname);
}

bool visit_range_var(struct walk *w, const void *msg, struct place place)
{
	note_relation(w, msg, place);
	return false;
}

/* ---- functions ---- */

static const PgQuery__AConst *constant_of(const PgQuery__FuncCall *call, size_t index)
{
	const PgQuery__Node *arg = index < call->n_args ? call->args[index] : NULL;

	return arg && arg->node_case == PG_QUERY__NODE__NODE_A_CONST ? arg->a_const : NULL;
}

/* What a built-in means can hang on its arguments. A rule may look at a literal only where shape.c keeps it; the words true
 * and false are always kept. */
static void rule_set_config(struct walk *w, const PgQuery__FuncCall *call, struct place place, struct builtin *b)
{
	const PgQuery__AConst *is_local = constant_of(call, 2);

	if (!place.is_quiet && !place.is_planned)
		w->set_configs++;
	if (is_local && is_local->val_case == PG_QUERY__A__CONST__VAL_BOOLVAL && is_local->boolval->boolval)
		b->pins = 0;
}

static void rule_current_setting(struct walk *w, const PgQuery__FuncCall *call, struct place place, struct builtin *b)
{
	const PgQuery__AConst *name = constant_of(call, 0);

	(void)b;
	if (!name || name->val_case != PG_QUERY__A__CONST__VAL_SVAL || !builtin_is_session_setting(name->sval->sval))
		walk_raise(w, place, SQL_READ, SQL_R_NODE_LOCAL, NULL);
}

/* With two arguments it counts from today. */
static void rule_age(struct walk *w, const PgQuery__FuncCall *call, struct place place, struct builtin *b)
{
	(void)w, (void)place;
	if (call->n_args != 1)
		b->flags = 0;
}

/* With two arguments it runs the text of a query. */
static void rule_ts_rewrite(struct walk *w, const PgQuery__FuncCall *call, struct place place, struct builtin *b)
{
	(void)w, (void)place;
	if (call->n_args == 3)
		*b = (struct builtin){ .name = b->name, .effect = BUILTIN_READ };
}

static const struct {
	const char *function;
	void (*apply)(struct walk *w, const PgQuery__FuncCall *call, struct place place, struct builtin *b);
} argument_rules[] = {
	{ "age", rule_age },
	{ "current_setting", rule_current_setting },
	{ "set_config", rule_set_config },
	{ "ts_rewrite", rule_ts_rewrite },
};

static struct builtin find_function(struct sql_name name)
{
	struct builtin b = { .effect = BUILTIN_READ };

	if (is_pg_catalog(name.schema)) {
		b = *builtin_function(name.name);
		if (name.schema && b.effect == BUILTIN_UNKNOWN)
			b.pins = 0;     /* newer than our list, but PostgreSQL's: does not touch the session behind our back */
	} else if (strcmp(name.schema, "information_schema") != 0) {
		b = (struct builtin){ .effect = BUILTIN_UNKNOWN, .pins = SQL_PIN_FUNCTION };
		b.flags = builtin_function(name.name)->flags & SQL_F_EXTERNAL;
	}
	return b;
}

static void use_function(struct walk *w, struct sql_name name, const struct builtin *b, struct place place)
{
	if (b->effect == BUILTIN_PRIMARY || b->effect == BUILTIN_UNKNOWN)
		name_list_add(&w->draft->functions, name.schema, name.name);
	else if (!name.schema)
		name_list_add(&w->draft->builtins, NULL, name.name);
	if (place.is_quiet || (place.is_planned && b->effect == BUILTIN_PRIMARY && !b->is_planned))
		return;
	w->has_node_function |= b->effect == BUILTIN_NODE;
	w->draft->flags |= b->flags;
	w->draft->pins |= b->pins;
	w->draft->uses |= b->uses;
	if (b->effect == BUILTIN_UNKNOWN)
		w->draft->uses |= SQL_PIN_TEMP | SQL_PIN_FUNCTION;
	if (b->effect == BUILTIN_PRIMARY || b->effect == BUILTIN_UNKNOWN)
		walk_raise(w, place, SQL_WRITE, SQL_R_FUNCTION, name.name);
}

bool visit_func_call(struct walk *w, const void *msg, struct place place)
{
	const PgQuery__FuncCall *call = msg;
	struct sql_name name = name_of_list(call->n_funcname, call->funcname);
	struct builtin b = find_function(name);

	w->has_row_function |= !is_pg_catalog(name.schema) || !builtin_is_scalar(name.name);
	for (size_t i = 0; i < ARRAY_LEN(argument_rules) && is_pg_catalog(name.schema); i++)
		if (strcmp(argument_rules[i].function, name.name) == 0)
			argument_rules[i].apply(w, call, place, &b);
	use_function(w, name, &b, place);
	return true;
}

bool visit_sql_value_function(struct walk *w, const void *msg, struct place place)
{
	const PgQuery__SQLValueFunction *f = msg;

	if (!place.is_quiet && f->op >= PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_DATE &&
	    f->op <= PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_LOCALTIMESTAMP_N)
		w->draft->flags |= SQL_F_TX_START;
	return true;
}

/* ---- operators: a name PostgreSQL doesn't have is a user's function in disguise ---- */

static void use_operator(struct walk *w, size_t count, PgQuery__Node **items, struct place place)
{
	static const struct builtin unknown = { .effect = BUILTIN_UNKNOWN, .pins = SQL_PIN_FUNCTION };
	struct sql_name name = name_of_list(count, items);

	if (count == 0 || (is_pg_catalog(name.schema) && builtin_is_operator(name.name)))
		return;
	w->has_row_function = true;
	use_function(w, name, &unknown, place);
}

bool visit_a_expr(struct walk *w, const void *msg, struct place place)
{
	const PgQuery__AExpr *e = msg;

	if (e->kind == PG_QUERY__A__EXPR__KIND__AEXPR_OP || e->kind == PG_QUERY__A__EXPR__KIND__AEXPR_OP_ANY ||
	    e->kind == PG_QUERY__A__EXPR__KIND__AEXPR_OP_ALL)
		use_operator(w, e->n_name, e->name, place);
	return true;
}

bool visit_sub_link(struct walk *w, const void *msg, struct place place)
{
	const PgQuery__SubLink *s = msg;

	use_operator(w, s->n_oper_name, s->oper_name, place);
	return true;
}

bool visit_sort_by(struct walk *w, const void *msg, struct place place)
{
	const PgQuery__SortBy *s = msg;

	use_operator(w, s->n_use_op, s->use_op, place);
	return true;
}

/* ---- types ---- */

/* Types whose input looks a name up: the name may be a temporary table's. */
static bool is_name_type(const char *name)
{
	return strncmp(name, "reg", 3) == 0;
}

bool visit_type_name(struct walk *w, const void *msg, struct place place)
{
	const PgQuery__TypeName *t = msg;
	struct sql_name name = name_of_list(t->n_names, t->names);

	(void)place;
	if (!is_pg_catalog(name.schema) || !builtin_is_type(name.name))
		name_list_add(&w->draft->types, name.schema, name.name);
	else if (is_name_type(name.name))
		w->draft->uses |= SQL_PIN_TEMP;
	return true;
}
