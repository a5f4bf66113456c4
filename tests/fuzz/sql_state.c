#include "sql_state.h"

#include <strings.h>

static const char *const kinds[] = {
	[SQL_E_SET] = "set", [SQL_E_SET_LOCAL] = "local", [SQL_E_RESET] = "reset", [SQL_E_RESET_LOCAL] = "reset-local",
	[SQL_E_RESET_ALL] = "reset-all", [SQL_E_SET_CONFIG] = "set-config", [SQL_E_SAVEPOINT] = "savepoint",
	[SQL_E_RELEASE] = "release", [SQL_E_ROLLBACK_TO] = "rollback-to", [SQL_E_DISCARD_ALL] = "discard-all",
	[SQL_E_DISCARD_SEQUENCES] = "discard-sequences", [SQL_E_PREPARE] = "prepare", [SQL_E_EXECUTE] = "execute",
	[SQL_E_DEALLOCATE] = "deallocate", [SQL_E_LISTEN] = "listen", [SQL_E_UNLISTEN] = "unlisten",
};

/* ---- by the tree ---- */

struct reading {
	struct buf *out;
	bool is_unreadable;             /* something only the server knows: no verdict may say that all can be read */
	bool has_lasting;               /* an effect that outlives the transaction */
	size_t set_configs;             /* calls that were understood */
};

static void add(struct reading *r, enum sql_effect_kind kind, const char *name)
{
	r->has_lasting |= kind != SQL_E_SET_LOCAL && kind != SQL_E_RESET_LOCAL;
	buf_printf(r->out, "%s %s\n", kinds[kind], name ? name : "");
}

static bool is_one_of(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* As the server knows it (guc.c: guc_name_compare, map_old_guc_names). */
static char *setting_of(const char *written)
{
	static const char *const renamed[][2] = { { "sort_mem", "work_mem" }, { "vacuum_mem", "maintenance_work_mem" } };
	char *name = mem_strdup(written);

	for (char *c = name; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c | 0x20);
	for (size_t i = 0; i < ARRAY_LEN(renamed); i++)
		if (strcmp(name, renamed[i][0]) == 0) {
			mem_free(name);
			name = mem_strdup(renamed[i][1]);
		}
	return name;
}

/* What sets session_authorization sets role too, as the server does it. */
static void add_setting(struct reading *r, enum sql_effect_kind kind, const char *written)
{
	static const char *const passing[] = {
		"transaction", "transaction snapshot", "transaction_isolation", "transaction_read_only", "transaction_deferrable"
	};
	char *name = setting_of(written);
	bool is_seed = strcmp(name, "seed") == 0 && kind != SQL_E_SET_CONFIG;

	if (!is_one_of(name, passing, ARRAY_LEN(passing)) && !is_seed)
		add(r, kind, name);
	if (strcmp(name, "session_authorization") == 0)
		add(r, kind == SQL_E_SET_CONFIG ? SQL_E_SET : kind, "role");
	mem_free(name);
}

static void read_multi(struct reading *r, const PgQuery__VariableSetStmt *stmt)
{
	for (size_t i = 0; strcmp(stmt->name, "SESSION CHARACTERISTICS") == 0 && i < stmt->n_args; i++) {
		char *name = mem_printf("default_%s", stmt->args[i]->def_elem->defname);
		add_setting(r, stmt->is_local ? SQL_E_SET_LOCAL : SQL_E_SET, name);
		mem_free(name);
	}
}

/* Our own settings among other statements go to the server, and nobody takes them up. */
static void read_set(struct reading *r, const PgQuery__VariableSetStmt *stmt)
{
	r->is_unreadable |= strncasecmp(stmt->name, "pgshunt.", 8) == 0;
	switch ((int)stmt->kind) {
	case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_VALUE:
		add_setting(r, stmt->is_local ? SQL_E_SET_LOCAL : SQL_E_SET, stmt->name);
		break;
	case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_CURRENT:
		add_setting(r, stmt->is_local ? SQL_E_SET_LOCAL : SQL_E_SET, stmt->name);
		r->is_unreadable |= !stmt->is_local;
		break;
	case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_DEFAULT:
		add_setting(r, stmt->is_local ? SQL_E_RESET_LOCAL : SQL_E_RESET, stmt->name);
		break;
	case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET:
		add_setting(r, SQL_E_RESET, stmt->name);
		break;
	case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL:
		add(r, SQL_E_RESET_ALL, NULL);
		break;
	case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI:
		read_multi(r, stmt);
		break;
	}
}

static void read_transaction(struct reading *r, const PgQuery__TransactionStmt *stmt)
{
	static const enum sql_effect_kind rows[] = {
		[PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_SAVEPOINT] = SQL_E_SAVEPOINT,
		[PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_RELEASE] = SQL_E_RELEASE,
		[PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_TO] = SQL_E_ROLLBACK_TO,
	};

	if ((size_t)stmt->kind < ARRAY_LEN(rows) && rows[stmt->kind])
		add(r, rows[stmt->kind], stmt->savepoint_name);
}

/* ---- set_config() ---- */

static bool is_set_config(const PgQuery__FuncCall *call)
{
	const PgQuery__Node *last = call->n_funcname ? call->funcname[call->n_funcname - 1] : NULL;

	return last && strcmp(last->string->sval, "set_config") == 0 &&
	       (call->n_funcname == 1 || strcmp(call->funcname[0]->string->sval, "pg_catalog") == 0);
}

static const PgQuery__AConst *constant_of(const PgQuery__Node *node)
{
	while (node && node->node_case == PG_QUERY__NODE__NODE_TYPE_CAST)
		node = node->type_cast->arg;
	return node && node->node_case == PG_QUERY__NODE__NODE_A_CONST ? node->a_const : NULL;
}

static bool begins(const char *word, size_t min, const char *text)
{
	size_t len = strcspn(text, " \t\n\v\f\r");

	return len >= min && len <= strlen(word) && strncasecmp(word, text, len) == 0 && text[len + strspn(text + len, " \t\n\v\f\r")] == '\0';
}

/* bool.c: parse_bool_with_len(). 1, 0, or -1: an error of the server's, and nothing is set. */
static int truth_of(const PgQuery__AConst *constant)
{
	const char *text;

	if (constant->isnull)
		return 0;
	if (constant->val_case == PG_QUERY__A__CONST__VAL_BOOLVAL)
		return constant->boolval->boolval;
	if (constant->val_case != PG_QUERY__A__CONST__VAL_SVAL)
		return -1;
	text = constant->sval->sval + strspn(constant->sval->sval, " \t\n\v\f\r");
	if (begins("true", 1, text) || begins("yes", 1, text) || begins("on", 2, text) || begins("1", 1, text))
		return 1;
	return begins("false", 1, text) || begins("no", 1, text) || begins("off", 2, text) || begins("0", 1, text) ? 0 : -1;
}

static void read_set_config(struct reading *r, const PgQuery__FuncCall *call, size_t column)
{
	const PgQuery__AConst *name = call->n_args == 3 ? constant_of(call->args[0]) : NULL;
	const PgQuery__AConst *is_local = name ? constant_of(call->args[2]) : NULL;
	int truth = is_local ? truth_of(is_local) : -1;

	if (!is_local || name->isnull || name->val_case != PG_QUERY__A__CONST__VAL_SVAL)
		return;
	r->set_configs++;
	if (truth == -1)
		return;
	if (truth == 1 && strcasecmp(name->sval->sval, "seed") != 0) {
		add_setting(r, SQL_E_SET_LOCAL, name->sval->sval);
		return;
	}
	add_setting(r, SQL_E_SET_CONFIG, name->sval->sval);
	if (strcasecmp(name->sval->sval, "seed") == 0 || column > 0)
		buf_printf(r->out, "column %zu\n", column);
}

/* One row for certain, and each column once. */
static bool is_plain_select(const PgQuery__SelectStmt *s)
{
	return s->n_from_clause == 0 && !s->where_clause && s->n_group_clause == 0 && !s->having_clause && s->n_window_clause == 0 &&
	       s->n_sort_clause == 0 && !s->limit_count && !s->limit_offset && !s->with_clause && !s->into_clause && !s->larg &&
	       s->n_locking_clause == 0 && s->n_values_lists == 0;
}

static void read_select(struct reading *r, const PgQuery__SelectStmt *stmt)
{
	for (size_t i = 0; is_plain_select(stmt) && i < stmt->n_target_list; i++) {
		const PgQuery__Node *value = stmt->target_list[i]->res_target->val;
		if (value && value->node_case == PG_QUERY__NODE__NODE_FUNC_CALL && is_set_config(value->func_call))
			read_set_config(r, value->func_call, i);
	}
}

static void count_set_config(void *owner, const ProtobufCMessage *msg, const char *name)
{
	if (strcmp(name, "FuncCall") == 0)
		*(size_t *)owner += is_set_config((const PgQuery__FuncCall *)(const void *)msg);
}

/* ---- one statement after the other ---- */

static void read_execute(struct reading *r, const PgQuery__Node *node)
{
	if (node && node->node_case == PG_QUERY__NODE__NODE_CREATE_TABLE_AS_STMT)
		node = node->create_table_as_stmt->query;
	if (node && node->node_case == PG_QUERY__NODE__NODE_EXECUTE_STMT)
		add(r, SQL_E_EXECUTE, node->execute_stmt->name);
}

/* True: a call of set_config() in it runs. */
static bool read_statement(struct reading *r, const PgQuery__Node *node)
{
	switch ((int)node->node_case) {
	case PG_QUERY__NODE__NODE_VARIABLE_SET_STMT: read_set(r, node->variable_set_stmt); break;
	case PG_QUERY__NODE__NODE_TRANSACTION_STMT: read_transaction(r, node->transaction_stmt); break;
	case PG_QUERY__NODE__NODE_PREPARE_STMT: add(r, SQL_E_PREPARE, node->prepare_stmt->name); break;
	case PG_QUERY__NODE__NODE_DEALLOCATE_STMT: add(r, SQL_E_DEALLOCATE, node->deallocate_stmt->name); break;
	case PG_QUERY__NODE__NODE_LISTEN_STMT: add(r, SQL_E_LISTEN, node->listen_stmt->conditionname); break;
	case PG_QUERY__NODE__NODE_UNLISTEN_STMT: add(r, SQL_E_UNLISTEN, node->unlisten_stmt->conditionname); break;
	case PG_QUERY__NODE__NODE_EXPLAIN_STMT: read_execute(r, node->explain_stmt->query); break;
	case PG_QUERY__NODE__NODE_CREATE_TABLE_AS_STMT: read_execute(r, node); break;
	case PG_QUERY__NODE__NODE_EXECUTE_STMT: read_execute(r, node); return true;
	case PG_QUERY__NODE__NODE_SELECT_STMT: read_select(r, node->select_stmt); return true;
	case PG_QUERY__NODE__NODE_INSERT_STMT: case PG_QUERY__NODE__NODE_UPDATE_STMT: case PG_QUERY__NODE__NODE_DELETE_STMT:
		return true;
	case PG_QUERY__NODE__NODE_DISCARD_STMT:
		if (node->discard_stmt->target == PG_QUERY__DISCARD_MODE__DISCARD_ALL)
			add(r, SQL_E_DISCARD_ALL, NULL);
		else if (node->discard_stmt->target == PG_QUERY__DISCARD_MODE__DISCARD_SEQUENCES)
			add(r, SQL_E_DISCARD_SEQUENCES, NULL);
		break;
	}
	return false;
}

static void read_tree(struct reading *r, const PgQuery__ParseResult *tree)
{
	for (size_t i = 0; i < tree->n_stmts; i++) {
		const PgQuery__Node *node = tree->stmts[i]->stmt;
		size_t understood = r->set_configs, calls = 0;
		if (node && read_statement(r, node)) {
			tree_walk(&node->base, count_set_config, &calls);
			r->is_unreadable |= calls != r->set_configs - understood;
		}
	}
}

/* ---- by the tokens ---- */

struct listing {
	struct buf *out;
	struct span statement;
	const char *wrong;
};

/* SQL as libpg_query writes its tree, or NULL. */
static char *rewritten(struct span sql)
{
	char *copy = mem_strndup(sql.data, sql.len), *out = NULL;
	PgQuery__ParseResult *tree = tree_parse(copy);
	PgQueryProtobuf packed;
	PgQueryDeparseResult deparsed;

	mem_free(copy);
	if (!tree)
		return NULL;
	packed.len = pg_query__parse_result__get_packed_size(tree);
	packed.data = mem_alloc(packed.len + 1);
	pg_query__parse_result__pack(tree, (uint8_t *)packed.data);
	deparsed = pg_query_deparse_protobuf(packed);
	if (!deparsed.error)
		out = mem_strdup(deparsed.query);
	pg_query_free_deparse_result(deparsed);
	mem_free(packed.data);
	pg_query__parse_result__free_unpacked(tree, NULL);
	return out;
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* SESSION CHARACTERISTICS and SESSION AUTHORIZATION are several effects of one statement each. */
static void check_sql(struct listing *l, const struct sql_effect *e)
{
	char *want = rewritten(l->statement), *got = rewritten(span_of(e->sql)), *query = e->query.data ? rewritten(e->query) : NULL;

	if (want && strstr(want, "CHARACTERISTICS") == NULL && strcasestr(want, "authorization") == NULL) {
		if (!got || strcmp(want, got) != 0)
			l->wrong = "an effect's SQL isn't the statement's";
		if (e->kind == SQL_E_PREPARE && (!query || !ends_with(want, query)))
			l->wrong = "an effect's query isn't the statement's";
	}
	mem_free(want);
	mem_free(got);
	mem_free(query);
}

static void list_effect(void *owner, const struct sql_effect *e)
{
	struct listing *l = owner;

	buf_printf(l->out, "%s %s\n", kinds[e->kind], e->name ? e->name : "");
	if (e->kind == SQL_E_SET_CONFIG && (e->column > 0 || strcmp(e->name, "seed") == 0))
		buf_printf(l->out, "column %u\n", e->column);
	if (e->sql)
		check_sql(l, e);
}

static const char *list_effects(const char *sql, struct buf *out)
{
	struct listing l = { .out = out };
	struct span rest = span_of(sql);

	while (rest.len > 0) {
		size_t len = sql_split(rest);
		l.statement = (struct span){ rest.data, len ? len : rest.len };
		sql_effects(l.statement, list_effect, &l);
		rest = (struct span){ rest.data + l.statement.len, rest.len - l.statement.len };
	}
	return l.wrong;
}

const char *state_compare(const char *sql, const PgQuery__ParseResult *tree, const struct verdict *v, struct buf *by_tree, struct buf *by_tokens)
{
	struct reading r = { .out = by_tree };
	const char *wrong;

	read_tree(&r, tree);
	if (v->class == SQL_UNKNOWN)
		return NULL;
	if (!(v->flags & SQL_F_EFFECTS))
		return r.has_lasting && !v->pins && !(v->flags & SQL_F_PGSHUNT) ? "neither an effect nor a pin" : NULL;
	if (r.is_unreadable)
		return "what can't be read is said to be an effect";
	wrong = list_effects(sql, by_tokens);
	if (wrong)
		return wrong;
	return strcmp(buf_cstr(by_tree), buf_cstr(by_tokens)) != 0 ? "effects differ" : NULL;
}
