/* Which texts are one shape, and which must not be. */
#include "test.h"

#include "pgshunt/sql.h"

static const struct sql_mode plain = { true, true };

static bool is_same(const char *a, const char *b)
{
	struct buf na = { 0 }, nb = { 0 };
	bool same = hash128_equal(sql_shape(span_of(a), plain, &na), sql_shape(span_of(b), plain, &nb));

	CHECK_INT(same, na.len == nb.len && memcmp(na.data, nb.data, na.len) == 0);
	buf_free(&na);
	buf_free(&nb);
	return same;
}

TEST(shape, what_does_not_enter)
{
	static const char *const rows[][2] = {
		{ "select a from t where b = 1", "SELECT\n a FROM/* x */t -- y\n WHERE B=99999" },
		{ "select 'a', 1.5, 2", "select 'b''c', 1e10, 3" },
		{ "select 'a'", "select $$b$$" }, { "select 'a'", "select e'b\\n'" }, { "select b'1'", "select b''" },
		{ "select -1", "select - 2" }, { "select 1-1", "select 5 - 7" }, { "select 'now'", "select ' Today '" },
		{ "insert into t values (1, 'a')", "INSERT INTO t VALUES (2,'b')" }, { "execute p (1)", "execute p (2)" },
		{ "call p (1)", "call p (2)" },
		{ "set a.b = '1'", "SET a.b='2'" }, { "select set_config('a', 'b', true)", "select set_config('c', 'd', true)" },
		{ "/* pgshunt: route=primary */ select 1", "select 1" },
		{ "with a as (select 1) select 2", "with a as (select 3) select 4" },
		{ "(select 1)", "(select 2)" }, { "select float8 '1'", "select float8 '2'" },
		{ "select any(array[1])", "select any(array[2])" }, { "select array[[1],[2]], 1", "select array[[1],[3]], 2" },
		{ "select a[1, 2]", "select a[1, 3]" },
		{ "select 1; select 2", "select 3; select 4" }, { "select 'x' from t limit 5", "select 'y' from t limit 6" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!is_same(rows[i][0], rows[i][1]))
			printf("  %s <> %s\n", rows[i][0], rows[i][1]);
		CHECK(is_same(rows[i][0], rows[i][1]));
	}
}

TEST(shape, what_does)
{
	static const char *const rows[][2] = {
		{ "select a", "select b" }, { "select a", "select \"A\"" }, { "select \"select\" from t", "select select from t" },
		{ "select 1", "select '1'" }, { "select 1", "select 1.0" }, { "select 1", "select 2147483648" },
		{ "select 'a'", "select b'1'" },
		{ "select 'a'", "select n'a'" }, { "select b'1'", "select x'1'" }, { "select 1", "select $1" },
		{ "select $1", "select $2" },
		{ "select 'a'", "select 'now'" }, { "select a b", "select ab" }, { "select a.b", "select a b" },
		{ "select a . b", "select a .. b" },
		{ "select a < = b", "select a <= b" }, { "select a - - b", "select a -- b" }, { "select : : a", "select :: a" },
		{ "select 1 . 5", "select 1.5" }, { "select in (1)", "select in (1, 2)" },
		{ "explain (analyze 0) select 1", "explain (analyze 1) select 1" }, { "copy t to 'a'", "copy t to 'b'" },
		{ "begin", "begin read only" }, { "fetch 1 from c", "fetch 2 from c" }, { "notify a, 'b'", "notify a, 'c'" },
		{ "select float(10) '1'", "select float(30) '1'" }, { "select x::float ( 24 )", "select x::float ( 25 )" },
		{ "select current_timestamp(1)", "select current_timestamp(2)" },
		{ "select localtime (1)", "select localtime (2)" },
		{ "select current_setting('a')", "select current_setting('b')" },
		{ "select \"current_setting\"('a')", "select \"current_setting\"('b')" },
		{ "select a::int[3]", "select a::int[4]" }, { "select a::int array[3]", "select a::int array[4]" },
		{ "select a::numeric(5)[3][4]", "select a::numeric(5)[3][5]" },
		{ "select current_setting(('a'))", "select current_setting(('b'))" },
		{ "select pg_catalog.current_setting(/**/'a')", "select pg_catalog.current_setting('b')" },
		{ "select U&\"current_setting\"('a')", "select U&\"current_setting\"('b')" },
		{ "select U&'a!0061' uescape '!'", "select U&'a!0061' uescape '?'" }, { "select U&'\\0061'", "select U&'\\006g'" },
		{ "select E'\\x41'", "select E'\\x00'" },
		{ "select set_config('a', 'b', true)", "select set_config('a', 'b', false)" },
		{ "select 1; explain (analyze 0) select 1", "select 1; explain (analyze 1) select 1" },
		{ "select 'a'\n'b'", "select 'a' 'b'" }, { "select 'a", "select 'b" }, { "select 1a", "select 1 a" },
		{ "select 1", "select 1;" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (is_same(rows[i][0], rows[i][1]))
			printf("  %s == %s\n", rows[i][0], rows[i][1]);
		CHECK(!is_same(rows[i][0], rows[i][1]));
	}
}

TEST(shape, an_unreadable_text_is_its_own_shape)
{
	static const struct sql_mode off = { false, true };
	struct buf n = { 0 };
	struct hash128 a = sql_shape(span_of("select '\\1'"), off, &n), b = sql_shape(span_of("select '\\2'"), off, &n);

	CHECK(!hash128_equal(a, b));
	CHECK(!hash128_equal(a, sql_shape(span_of("select '\\1'"), plain, &n)));
	buf_free(&n);
}

TEST(shape, fits_the_room_it_says)
{
	struct buf n = { 0 };
	struct buf text = { 0 };

	for (int i = 0; i < 500; i++)
		buf_add_str(&text, i % 3 ? "a+" : "1");
	sql_shape((struct span){ (const char *)text.data, text.len }, plain, &n);
	CHECK(n.len <= 2 * text.len + 16);
	buf_free(&text);
	buf_free(&n);
}
