/* The tables that are searched by halves must be sorted, and say one thing a name. */
#include "test.h"

#include "pgshunt/sql.h"

static const char *const read_functions[] = {
#include "../../../../src/path/sql/builtin_read.def"
};
static const char *const node_functions[] = {
#include "../../../../src/path/sql/builtin_node.def"
};
static const char *const operators[] = {
#include "../../../../src/path/sql/builtin_operators.def"
};
static const char *const types[] = {
#include "../../../../src/path/sql/builtin_types.def"
};
static const char *const scalar_functions[] = {
#include "../../../../src/path/sql/builtin_scalar.def"
};
#define FUNCTION(name, effect, flags, pins, uses) name,
static const char *const special_functions[] = {
#include "../../../../src/path/sql/functions.def"
};
#undef FUNCTION

static void check_sorted(const char *const *names, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		if (strcmp(names[i - 1], names[i]) >= 0)
			printf("  %s before %s\n", names[i - 1], names[i]);
		CHECK(strcmp(names[i - 1], names[i]) < 0);
	}
}

static bool is_in(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

TEST(tables, are_sorted)
{
	check_sorted(read_functions, ARRAY_LEN(read_functions));
	check_sorted(node_functions, ARRAY_LEN(node_functions));
	check_sorted(special_functions, ARRAY_LEN(special_functions));
	check_sorted(scalar_functions, ARRAY_LEN(scalar_functions));
	check_sorted(operators, ARRAY_LEN(operators));
	check_sorted(types, ARRAY_LEN(types));
}

TEST(tables, a_function_stands_in_one)
{
	for (size_t i = 0; i < ARRAY_LEN(special_functions); i++) {
		CHECK(!is_in(special_functions[i], read_functions, ARRAY_LEN(read_functions)));
		CHECK(!is_in(special_functions[i], node_functions, ARRAY_LEN(node_functions)));
	}
	for (size_t i = 0; i < ARRAY_LEN(node_functions); i++)
		CHECK(!is_in(node_functions[i], read_functions, ARRAY_LEN(read_functions)));
}

/* Each word of words.c, in a text that doesn't parse. */
TEST(tables, every_word_is_found)
{
	static const char *const rows[] = {
		"abort", "alter", "begin", "call", "close", "comment", "commit", "create", "currval", "deallocate", "declare", "discard", "do",
		"drop", "end", "execute", "fetch", "grant", "import", "lastval", "listen", "load", "move", "nextval", "prepare", "refresh",
		"reindex", "release", "reset", "revoke", "rollback", "savepoint", "security", "set", "set_config", "setseed", "setval",
		"start", "temp", "temporary", "unlisten",
		"pg_temp_3", "pg_advisory_x", "pg_try_advisory_x", "dblink_connect",
	};
	static const struct sql_options options = { .cache_max_bytes = 0, .parse_max_bytes = 65536, .nesting_max = 10000 };
	struct sql_cache *cache = sql_cache_new(&options);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[64];
		struct verdict *v;
		snprintf(text, sizeof(text), "%s ) (", rows[i]);
		v = sql_verdict(cache, span_of(text), (struct sql_mode){ true, true });
		CHECK_INT(v->class, SQL_UNKNOWN);
		if (!v->pins && !v->flags)
			printf("  %s\n", rows[i]);
		CHECK(v->pins || v->flags);
		verdict_unref(&v);
	}
	sql_cache_free(&cache);
}

/* A call of any of these words is no function's: large statements must not pin for their syntax. */
TEST(tables, syntax_is_no_call)
{
	static const struct sql_options options = { .cache_max_bytes = 0, .parse_max_bytes = 8, .nesting_max = 10000 };
	static const char *const texts[] = {
		"INSERT INTO t (a) VALUES (1), (2) ON CONFLICT (a) DO UPDATE SET (a, b) = (1, 2) WHERE t.a IN (3) AND (4 = 5) OR NOT (true)",
		"SELECT count(*) FILTER (WHERE (a)), cast(a AS varchar(10)), row(1), array(SELECT 2), coalesce(b, c) FROM (SELECT 1) x JOIN u",
		"INSERT INTO s.t (a) SELECT b FROM u WHERE EXISTS (SELECT 1) AND c = ANY (ARRAY[1]) AND d BETWEEN (1) AND (2)",
		"INSERT INTO \"T\" (a) VALUES (now(), upper('x'), CASE WHEN (a) THEN (b) ELSE (c) END, extract(year from d))",
	};
	struct sql_cache *cache = sql_cache_new(&options);

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct verdict *v = sql_verdict(cache, span_of(texts[i]), (struct sql_mode){ true, true });
		CHECK_INT(v->reason, SQL_R_TOO_LONG);
		CHECK_INT(v->pins, 0);
		verdict_unref(&v);
	}
	sql_cache_free(&cache);
}
