/* What statements mean: one row a statement in verdicts.def, and what rows can't say. */
#include "test.h"

#include "pgshunt/sql.h"

static const struct sql_options options = { .cache_max_bytes = 1 << 20, .parse_max_bytes = 65536, .nesting_max = 10000 };
static const struct sql_mode plain = { true, true };

static const char *const flag_names[] = {
	"MULTI", "BEGINS", "ENDS", "TX_START", "COPY_IN", "COPY_OUT", "CURSOR", "DISCARD_ALL", "DEALLOCATE", "DDL", "PGSHUNT", "EXTERNAL",
	"ROLLBACK_TO", "EFFECTS", "EXECUTES", "RELEASES", "DEFAULTS"
};

static struct verdict *verdict_of(const char *text)
{
	struct sql_cache *cache = sql_cache_new(&options);
	struct verdict *v = sql_verdict(cache, span_of(text), plain);

	sql_cache_free(&cache);
	return v;
}

static void add_name(struct buf *out, bool *any, const char *name)
{
	buf_printf(out, "%s%s", *any ? " " : "", name);
	*any = true;
}

/* As verdicts.def writes it. */
static void describe(const struct verdict *v, struct buf *out)
{
	bool any_flag = false, any_pin = false;
	char reason[128];

	buf_printf(out, "%s %s | ", sql_class_name(v->class), verdict_reason(v, reason, sizeof(reason)));
	for (size_t i = 0; i < ARRAY_LEN(flag_names); i++)
		if (v->flags & (1u << i))
			add_name(out, &any_flag, flag_names[i]);
	buf_add_str(out, any_flag ? " | " : "- | ");
	for (int i = 0; i < SQL_PIN_COUNT; i++)
		if (v->pins & (1u << i))
			add_name(out, &any_pin, sql_pin_name((enum sql_pin)(1u << i)));
	buf_add_str(out, any_pin ? "" : "-");
}

static bool has_name(const struct sql_name *names, size_t count, const char *schema, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i].name, name) == 0 && !schema == !names[i].schema && (!schema || strcmp(names[i].schema, schema) == 0))
			return true;
	return false;
}

TEST(verdict, every_row_of_the_table)
{
	static const struct {
		const char *text, *want;
		int statements;
	} rows[] = {
#define ROW(text, want, statements) { text, want, statements },
#include "verdicts.def"
#undef ROW
	};
	int wrong = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct verdict *v = verdict_of(rows[i].text);
		struct buf got = { 0 };
		describe(v, &got);
		if (strcmp(buf_cstr(&got), rows[i].want) != 0 || v->statements != rows[i].statements) {
			printf("  %s\n    got  \"%s\" %d\n    want \"%s\" %d\n", rows[i].text, buf_cstr(&got), v->statements, rows[i].want,
			       rows[i].statements);
			wrong++;
		}
		buf_free(&got);
		verdict_unref(&v);
	}
	CHECK_INT(wrong, 0);
	CHECK(ARRAY_LEN(rows) > 350);
}

TEST(verdict, collects_tables_but_not_with_queries)
{
	struct verdict *v = verdict_of("WITH a AS (SELECT * FROM \"T\"), b AS (SELECT * FROM a, s.u) SELECT * FROM a, b, c, a AS d, s.a");

	CHECK_INT(v->table_count, 4);
	CHECK(has_name(v->tables, v->table_count, NULL, "T"));
	CHECK(has_name(v->tables, v->table_count, "s", "u"));
	CHECK(has_name(v->tables, v->table_count, NULL, "c"));
	CHECK(has_name(v->tables, v->table_count, "s", "a"));
	verdict_unref(&v);
}

TEST(verdict, a_with_query_does_not_see_itself_unless_recursive)
{
	struct verdict *v = verdict_of("WITH a AS (SELECT * FROM a) SELECT * FROM a");

	CHECK_INT(v->table_count, 1);
	verdict_unref(&v);
	v = verdict_of("WITH RECURSIVE a AS (SELECT * FROM a, b), b AS (SELECT 1) SELECT * FROM a");
	CHECK_INT(v->table_count, 0);
	verdict_unref(&v);
}

TEST(verdict, a_with_query_is_not_in_sight_outside)
{
	struct verdict *v = verdict_of("SELECT (WITH a AS (SELECT 1) SELECT * FROM a) FROM a; SELECT * FROM a");

	CHECK_INT(v->table_count, 1);
	verdict_unref(&v);
	v = verdict_of("SELECT (WITH a AS (SELECT 1) SELECT (SELECT x FROM a) FROM b)");
	CHECK_INT(v->table_count, 1);
	verdict_unref(&v);
}

TEST(verdict, collects_functions_once_and_builtins_apart)
{
	struct verdict *v = verdict_of("SELECT f(1), f(2), s.f(3), lower(a), pg_catalog.upper(b), nextval('x'), a +! b, c::mood FROM t");

	CHECK_INT(v->function_count, 4);
	CHECK(has_name(v->functions, v->function_count, NULL, "f"));
	CHECK(has_name(v->functions, v->function_count, "s", "f"));
	CHECK(has_name(v->functions, v->function_count, NULL, "nextval"));
	CHECK(has_name(v->functions, v->function_count, NULL, "+!"));
	CHECK_INT(v->builtin_count, 1);
	CHECK_STR(v->builtins[0].name, "lower");
	CHECK_INT(v->type_count, 1);
	CHECK_STR(v->types[0].name, "mood");
	verdict_unref(&v);
}

TEST(verdict, names_what_the_answer_depends_on)
{
	struct verdict *v = verdict_of("SELECT random(), 'x'::regclass");

	CHECK_INT(v->uses, SQL_PIN_SEED | SQL_PIN_TEMP);
	CHECK_INT(v->pins, 0);
	verdict_unref(&v);
	v = verdict_of("SELECT a FROM t");
	CHECK_INT(v->uses, 0);
	verdict_unref(&v);
}

TEST(verdict, knows_our_settings)
{
	static const struct {
		const char *text, *setting;
		enum sql_setting_verb verb;
	} rows[] = {
		{ "SET pgshunt.route = 'x'", "pgshunt.route", SQL_SET },
		{ "set \"PGSHUNT\".Route to 'x'", "pgshunt.route", SQL_SET },
		{ "SET LOCAL pgshunt.consistency TO strong", "pgshunt.consistency", SQL_SET_LOCAL },
		{ "SET SESSION pgshunt.route = primary", "pgshunt.route", SQL_SET },
		{ "RESET pgshunt.route", "pgshunt.route", SQL_RESET },
		{ "SHOW pgshunt.lsn;", "pgshunt.lsn", SQL_SHOW },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct verdict *v = verdict_of(rows[i].text);
		CHECK(v->flags & SQL_F_PGSHUNT);
		CHECK_STR(v->setting, rows[i].setting);
		CHECK_INT(v->setting_verb, rows[i].verb);
		verdict_unref(&v);
	}
}

TEST(verdict, names_what_is_deallocated)
{
	static const char *const rows[][2] = {
		{ "DEALLOCATE Foo", "foo" }, { "deallocate prepare \"A b\";", "A b" }, { "DEALLOCATE ALL", "" },
		{ "deallocate prepare all", "" },
		{ "DEALLOCATE a; DEALLOCATE b", NULL }, { "DEALLOCATE a; SET pgshunt.route = 'x'", NULL }, { "SET a.b = 1", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct verdict *v = verdict_of(rows[i][0]);
		CHECK(!v->setting == !rows[i][1]);
		CHECK(!v->setting || strcmp(v->setting, rows[i][1]) == 0);
		CHECK(!(v->flags & SQL_F_PGSHUNT));
		verdict_unref(&v);
	}
}

TEST(verdict, shows_never_a_literal)
{
	static const char *const rows[][2] = {
		{ "SELECT 'geheim', 5 , $2 -- geheim\n FROM t", "SELECT $3, $4 , $2 FROM t" },
		{ "ALTER ROLE x PASSWORD 'geheim'", "ALTER ROLE x PASSWORD $1" },
		{ "DO $x$ geheim $x$", "DO $1" },
		{ "SELECT E'geheim\\' geheim', N'geheim', U&'geheim'", "SELECT $1, $2, $3" },
		{ "SELECT 'geheim", "SELECT ..." },
		{ "SET pgshunt.causality_key = 'geheim'", "SET pgshunt.causality_key = $1" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct verdict *v = verdict_of(rows[i][0]);
		CHECK_STR(v->shown, rows[i][1]);
		verdict_unref(&v);
	}
}

TEST(verdict, shows_a_long_text_cut)
{
	struct buf text = { 0 };
	struct verdict *v;

	buf_add_str(&text, "SELECT a");
	for (int i = 0; i < 2000; i++)
		buf_printf(&text, ", column%d", i);
	v = verdict_of(buf_cstr(&text));
	CHECK(strlen(v->shown) < 1200);
	CHECK(strstr(v->shown, "...") != NULL);
	CHECK_INT(v->class, SQL_READ);
	verdict_unref(&v);
	buf_free(&text);
}

/* ---- modes and limits ---- */

TEST(verdict, a_backslash_is_unreadable_without_standard_conforming_strings)
{
	static const struct sql_mode off = { false, true };
	struct sql_cache *cache = sql_cache_new(&options);
	struct verdict *v = sql_verdict(cache, span_of("SELECT 'a\\' || ', nextval(1)"), off);

	CHECK_INT(v->class, SQL_UNKNOWN);
	CHECK_INT(v->pins, SQL_PIN_SEQUENCE);
	verdict_unref(&v);
	v = sql_verdict(cache, span_of("SELECT 'a'"), off);
	CHECK_INT(v->class, SQL_READ);
	verdict_unref(&v);
	v = sql_verdict(cache, span_of("SELECT '\\' ; SET x = 1"), off);
	CHECK_INT(v->pins, SQL_PIN_UNKNOWN);
	verdict_unref(&v);
	sql_cache_free(&cache);
}

TEST(verdict, a_high_byte_is_unreadable_in_an_unsafe_encoding)
{
	static const struct sql_mode sjis = { true, false };
	struct sql_cache *cache = sql_cache_new(&options);
	struct verdict *v = sql_verdict(cache, span_of("SELECT '\x95\x5c'"), sjis);

	CHECK_INT(v->class, SQL_UNKNOWN);
	CHECK_STR(v->shown, "...");
	verdict_unref(&v);
	v = sql_verdict(cache, span_of("SELECT '\x95\x5c'"), plain);
	CHECK_INT(v->class, SQL_READ);
	verdict_unref(&v);
	sql_cache_free(&cache);
}

TEST(verdict, a_nul_makes_it_unknown)
{
	struct sql_cache *cache = sql_cache_new(&options);
	struct verdict *v = sql_verdict(cache, (struct span){ "SELECT 1\0", 9 }, plain);

	CHECK_INT(v->class, SQL_UNKNOWN);
	verdict_unref(&v);
	sql_cache_free(&cache);
}

TEST(verdict, a_long_text_is_read_by_its_words)
{
	struct sql_options small = options;
	struct sql_cache *cache;
	struct verdict *v;
	char reason[64];

	small.parse_max_bytes = 20;
	cache = sql_cache_new(&small);
	v = sql_verdict(cache, span_of("INSERT INTO t (a, b) VALUES (1, 'set_config') ON CONFLICT (a) DO UPDATE SET b = lower('x')"), plain);
	CHECK_INT(v->class, SQL_UNKNOWN);
	CHECK_INT(v->pins, 0);
	CHECK_STR(verdict_reason(v, reason, sizeof(reason)), "too-long");
	verdict_unref(&v);
	v = sql_verdict(cache, span_of("SELECT 1                    ; SET x = 1"), plain);
	CHECK_INT(v->pins, SQL_PIN_UNKNOWN);
	verdict_unref(&v);
	v = sql_verdict(cache, span_of("INSERT INTO t SELECT my_function(1) FROM u"), plain);
	CHECK_INT(v->pins, SQL_PIN_FUNCTION);
	verdict_unref(&v);
	v = sql_verdict(cache, span_of("INSERT INTO t SELECT \"My Function\" (1) FROM u"), plain);
	CHECK_INT(v->pins, SQL_PIN_FUNCTION);
	verdict_unref(&v);
	v = sql_verdict(cache, span_of("INSERT INTO t VALUES (s.now(), 'DECLARE')"), plain);
	CHECK_INT(v->pins, SQL_PIN_FUNCTION);
	verdict_unref(&v);
	v = sql_verdict(cache, span_of("SELECT pg_try_advisory_lock (1) -- listen"), plain);
	CHECK_INT(v->pins, SQL_PIN_UNKNOWN | SQL_PIN_ADVISORY);
	verdict_unref(&v);
	v = sql_verdict(cache, span_of("-- comment longer than twenty\nBEGIN; SELECT 'LISTEN'; COMMIT"), plain);
	CHECK_INT(v->pins, 0);
	CHECK_INT(v->flags & (SQL_F_BEGINS | SQL_F_ENDS), SQL_F_BEGINS | SQL_F_ENDS);
	verdict_unref(&v);
	sql_cache_free(&cache);
}
