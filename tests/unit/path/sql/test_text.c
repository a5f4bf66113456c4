/* What is read from the text by the lexer alone: hints, statement ends, values of settings. */
#include "test.h"

#include "pgshunt/sql.h"

static void add_pair(void *owner, struct span key, struct span value)
{
	buf_printf(owner, "[%.*s=%.*s]", (int)key.len, key.data, (int)value.len, value.data);
}

TEST(hints, only_a_leading_comment_of_ours)
{
	static const char *const rows[][2] = {
		{ "/* pgshunt: route=primary consistency=strong */ select 1", "[route=primary][consistency=strong]" },
		{ "/*pgshunt:route=node:pg1,max_lag_time=5s*/select 1", "[route=node:pg1][max_lag_time=5s]" },
		{ "  \n/* pgshunt:\n route=auto\n*/ select 1", "[route=auto]" }, { "/* pgshunt: a= =b c d=e=f */", "[a=][d=e=f]" },
		{ "select 1 /* pgshunt: route=primary */", "" }, { "/* other */ /* pgshunt: route=primary */ select 1", "" },
		{ "/* pgshunt: route=primary", "" }, { "-- pgshunt: route=primary\nselect 1", "" },
		{ "/* pgshunts: route=primary */", "" },
		{ "/* PGSHUNT: route=primary */", "" }, { "", "" }, { "/", "" }, { "/*", "" }, { "/* pgshunt:*/", "" },
		{ "/* pgshunt", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf out = { 0 };
		sql_hints(span_of(rows[i][0]), add_pair, &out);
		CHECK_STR(buf_cstr(&out), rows[i][1]);
		buf_free(&out);
	}
}

TEST(split, at_semicolons_that_end_something)
{
	static const char *const rows[][2] = {
		{ "select 1; select 2;", "select 1;" }, { "select ';'; x", "select ';';" },
		{ "select $$;$$, \";\" /* ; */ -- ;\n; x", "select $$;$$, \";\" /* ; */ -- ;\n;" },
		{ "create rule r as on insert to t do (select 1; select 2); x", "create rule r as on insert to t do (select 1; select 2);" },
		{ "create or replace function f() returns int begin atomic select 1; select case when a then b end; end; x",
		  "create or replace function f() returns int begin atomic select 1; select case when a then b end; end;" },
		{ "create table begin_t (a int); x", "create table begin_t (a int);" }, { "begin; commit;", "begin;" },
		{ ";x", ";" },
		{ "select case a when 1 then 2 end; x", "select case a when 1 then 2 end;" }, { "select 1", "" },
		{ "select 'x;", "" }, { "", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_INT(sql_split(span_of(rows[i][0])), strlen(rows[i][1]));
}

TEST(setting, the_value_as_the_server_would_read_it)
{
	static const char *const rows[][2] = {
		{ "SET pgshunt.route = 'node:pg1'", "node:pg1" }, { "set local pgshunt.route to Primary;", "primary" },
		{ "set session \"pgshunt\".\"x\" = \"A\"\"b\"", "A\"b" }, { "set a.b = 'it''s'", "it's" },
		{ "set a.b = E'a\\'b\\n\\\\'", "a'b\n\\" },
		{ "set a.b = $$x'y$$", "x'y" }, { "set a.b = $q$x$q$ ; ;", "x" }, { "set a.b = 42", "42" },
		{ "set a.b = -1.5", "-1.5" },
		{ "set a.b = + 7", "7" }, { "set a.b = on -- x", "on" }, { "/* c */ set a.b = ''", "" },
		{ "set a.b = E'a''b'", "a'b" }, { "set a.b = U&'x\\0041'", "xA" }, { "set a.b = E'\\x41'", "A" },
		{ "set a.b = 'x'\n'y'", "xy" }, { "set session.b = 1", "1" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = { .sqlstate = "" };
		char *value;
		CHECK(sql_setting_value(span_of(rows[i][0]), &value, &err));
		CHECK_STR(value, rows[i][1]);
		mem_free(value);
	}
}

TEST(setting, default_is_no_value)
{
	char *value = (char *)"";

	CHECK(sql_setting_value(span_of("SET pgshunt.route = DEFAULT;"), &value, NULL));
	CHECK(!value);
}

TEST(setting, what_is_not_one_constant)
{
	static const char *const rows[] = {
		"set a.b = 1, 2", "set a.b = a b", "set a.b", "set a.b =", "set a.b = $1", "reset a.b", "set a.b = U&'\\00e9'", "set a.b = E'\\xe9'",
		"set a.b = 'x", "set a.b = - 'x'", "set a.b = 1; select 1", "", "set", "set local", "set a.b = default x", "set a. = 1",
		"set a.b = U&'\\00'",
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = { .sqlstate = "" };
		char *value;
		CHECK(!sql_setting_value(span_of(rows[i]), &value, &err));
		CHECK(!value);
		CHECK_STR(err.sqlstate, "22023");
	}
}
