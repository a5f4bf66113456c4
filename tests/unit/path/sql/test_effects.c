/* What statements do to their session: one row a text in effects.def; and what PostgreSQL's own grammar says of the same text. */
#include "test.h"

#include "../../../../src/path/sql/shape.h"

#include "pgshunt/sql.h"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include <strings.h>

static const struct sql_options options = { .cache_max_bytes = 0, .parse_max_bytes = 65536, .nesting_max = 10000 };

static const char *const kinds[] = {
	[SQL_E_SET] = "set", [SQL_E_SET_LOCAL] = "local", [SQL_E_RESET] = "reset", [SQL_E_RESET_LOCAL] = "reset-local",
	[SQL_E_RESET_ALL] = "reset-all", [SQL_E_SET_CONFIG] = "set-config", [SQL_E_SAVEPOINT] = "savepoint",
	[SQL_E_RELEASE] = "release", [SQL_E_ROLLBACK_TO] = "rollback-to", [SQL_E_DISCARD_ALL] = "discard-all",
	[SQL_E_DISCARD_SEQUENCES] = "discard-sequences", [SQL_E_PREPARE] = "prepare", [SQL_E_EXECUTE] = "execute",
	[SQL_E_DEALLOCATE] = "deallocate", [SQL_E_LISTEN] = "listen", [SQL_E_UNLISTEN] = "unlisten",
};

static const struct {
	const char *text, *want;
} rows[] = {
#define ROW(text, want) { text, want },
#include "effects.def"
#undef ROW
};

static struct verdict *verdict_of(const char *text)
{
	struct sql_cache *cache = sql_cache_new(&options);
	struct verdict *v = sql_verdict(cache, span_of(text), (struct sql_mode){ true, true });

	sql_cache_free(&cache);
	return v;
}

typedef void statement_fn(struct span statement, void *owner);

static void each_statement(const char *text, statement_fn *fn, void *owner)
{
	struct span rest = span_of(text);

	while (rest.len > 0) {
		size_t len = sql_split(rest);
		struct span statement = { rest.data, len ? len : rest.len };
		fn(statement, owner);
		rest = (struct span){ rest.data + statement.len, rest.len - statement.len };
	}
}

/* ---- as effects.def writes it ---- */

static void add_effect(void *owner, const struct sql_effect *e)
{
	struct buf *out = owner;

	buf_printf(out, "%s%s", out->len > 0 ? "; " : "", kinds[e->kind]);
	if (e->name && e->name[0])
		buf_printf(out, " %s", e->name);
	if (e->kind == SQL_E_SET_CONFIG)
		buf_printf(out, " [%u]", e->column);
	if (e->sql)
		buf_printf(out, " {%s}", e->sql);
	if (e->query.data)
		buf_printf(out, " <%.*s>", (int)e->query.len, e->query.data);
}

static void add_effects(struct span statement, void *owner)
{
	sql_effects(statement, add_effect, owner);
}

static void add_pins(uint32_t pins, struct buf *out)
{
	buf_add_str(out, out->len > 0 ? " (" : "(");
	for (int i = 0; i < SQL_PIN_COUNT; i++)
		if (pins & (1u << i)) {
			buf_printf(out, "%s ", sql_pin_name((enum sql_pin)(1u << i)));
			pins &= ~(1u << i);
		}
	out->len--;
	buf_add_str(out, ")");
}

TEST(effects, every_row_of_the_table)
{
	int wrong = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct verdict *v = verdict_of(rows[i].text);
		struct buf got = { 0 };
		if (v->flags & SQL_F_EFFECTS)
			each_statement(rows[i].text, add_effects, &got);
		if (v->pins)
			add_pins(v->pins, &got);
		else if (!(v->flags & SQL_F_EFFECTS))
			buf_add_str(&got, "-");
		if (strcmp(buf_cstr(&got), rows[i].want) != 0) {
			printf("  %s\n    got  %s\n    want %s\n", rows[i].text, buf_cstr(&got), rows[i].want);
			wrong++;
		}
		buf_free(&got);
		verdict_unref(&v);
	}
	CHECK_INT(wrong, 0);
	CHECK(ARRAY_LEN(rows) > 200);
}

/* ---- by PostgreSQL's grammar ---- */

/* The text in the one way libpg_query writes its tree, or NULL. */
static char *rewritten(const char *text, size_t len)
{
	char *copy = mem_strndup(text, len), *out = NULL;
	PgQueryProtobufParseResult parsed;
	PgQueryDeparseResult deparsed = { .query = NULL };

	shape_blank_comments(copy, len);
	parsed = pg_query_parse_protobuf(copy);
	mem_free(copy);
	if (!parsed.error) {
		deparsed = pg_query_deparse_protobuf(parsed.parse_tree);
		if (!deparsed.error)
			out = mem_strdup(deparsed.query);
		pg_query_free_deparse_result(deparsed);
	}
	pg_query_free_protobuf_parse_result(parsed);
	return out;
}

struct checking {
	struct span statement;
	int checked, wrong;
};

/* Several effects of one statement (SESSION CHARACTERISTICS, the role that SESSION AUTHORIZATION drops) are several statements; these
 * the table alone checks. */
static void check_sql(void *owner, const struct sql_effect *e)
{
	struct checking *c = owner;
	char *want, *got;

	if (!e->sql || memmem(c->statement.data, c->statement.len, "characteristics", 15) ||
	    (strcmp(e->sql, "SET ROLE NONE") == 0 && memmem(c->statement.data, c->statement.len, "authorization", 13)))
		return;
	want = rewritten(c->statement.data, c->statement.len);
	got = rewritten(e->sql, strlen(e->sql));
	c->checked++;
	if (!want || !got || strcmp(want, got) != 0) {
		printf("  %.*s\n    is   %s\n    ours %s\n", (int)c->statement.len, c->statement.data, want ? want : "?", got ? got : e->sql);
		c->wrong++;
	}
	mem_free(want);
	mem_free(got);
}

static void check_statement(struct span statement, void *owner)
{
	struct checking *c = owner;

	c->statement = statement;
	sql_effects(statement, check_sql, c);
}

TEST(effects, sql_has_the_tree_of_the_statement)
{
	struct checking c = { .wrong = 0 };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct verdict *v = verdict_of(rows[i].text);
		if (v->flags & SQL_F_EFFECTS)
			each_statement(rows[i].text, check_statement, &c);
		verdict_unref(&v);
	}
	CHECK_INT(c.wrong, 0);
	CHECK(c.checked > 70);
}

/* The name the tree has: of a setting, a prepared statement, a savepoint, a channel. NULL: none, or more than one. */
static const char *name_in(const PgQuery__Node *node)
{
	switch (node->node_case) {
	case PG_QUERY__NODE__NODE_VARIABLE_SET_STMT:
		return node->variable_set_stmt->name;
	case PG_QUERY__NODE__NODE_PREPARE_STMT:
		return node->prepare_stmt->name;
	case PG_QUERY__NODE__NODE_EXECUTE_STMT:
		return node->execute_stmt->name;
	case PG_QUERY__NODE__NODE_DEALLOCATE_STMT:
		return node->deallocate_stmt->name;
	case PG_QUERY__NODE__NODE_TRANSACTION_STMT:
		return node->transaction_stmt->savepoint_name;
	case PG_QUERY__NODE__NODE_LISTEN_STMT:
		return node->listen_stmt->conditionname;
	case PG_QUERY__NODE__NODE_UNLISTEN_STMT:
		return node->unlisten_stmt->conditionname;
	default:
		return NULL;
	}
}

static void keep_first_name(void *owner, const struct sql_effect *e)
{
	struct buf *name = owner;

	if (name->len == 0)
		buf_add_str(name, e->name ? e->name : "");
}

static void check_name(struct span statement, void *owner)
{
	char *copy = mem_strndup(statement.data, statement.len);
	PgQueryProtobufParseResult parsed;
	PgQuery__ParseResult *tree;
	struct checking *c = owner;
	struct buf got = { 0 };
	const char *want;

	shape_blank_comments(copy, statement.len);
	parsed = pg_query_parse_protobuf(copy);
	tree = pg_query__parse_result__unpack(NULL, parsed.parse_tree.len, (uint8_t *)parsed.parse_tree.data);
	want = tree->n_stmts == 1 ? name_in(tree->stmts[0]->stmt) : NULL;
	sql_effects(statement, keep_first_name, &got);
	if (want && got.len > 0 && !strchr(want, ' ')) {
		c->checked++;
		if (strcasecmp(want, buf_cstr(&got)) != 0 && !strstr(want, "_mem")) {
			printf("  %s\n    is %s, ours %s\n", copy, want, buf_cstr(&got));
			c->wrong++;
		}
	}
	pg_query__parse_result__free_unpacked(tree, NULL);
	pg_query_free_protobuf_parse_result(parsed);
	buf_free(&got);
	mem_free(copy);
}

TEST(effects, names_are_those_of_the_tree)
{
	struct checking c = { .wrong = 0 };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct verdict *v = verdict_of(rows[i].text);
		if (v->flags & SQL_F_EFFECTS)
			each_statement(rows[i].text, check_name, &c);
		verdict_unref(&v);
	}
	CHECK_INT(c.wrong, 0);
	CHECK(c.checked > 100);
}

/* ---- robustness ---- */

/* Every beginning of every text, as a statement that never was one. */
TEST(effects, survives_any_text)
{
	struct buf out = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t len = 0; len < strlen(rows[i].text); len++) {
			char *copy = mem_strndup(rows[i].text, len);
			sql_effects((struct span){ copy, len }, add_effect, &out);
			mem_free(copy);
			out.len = 0;
		}
	buf_free(&out);
}
