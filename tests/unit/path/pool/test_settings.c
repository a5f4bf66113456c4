/* Interned settings, and the SQL that leads from one list to another. */
#include "test.h"

#include "pgshunt/pool.h"

static struct settings *make(struct settings_table *table, const char *name, const char *value, const char *name2, const char *value2)
{
	struct setting items[] = { { name, value }, { name2, value2 } };

	return settings_intern(table, items, name2 ? 2 : name ? 1 : 0);
}

static void check_diff(const struct settings *from, const struct settings *to, const char *want)
{
	struct buf sql = { 0 };
	char got[1024];

	settings_diff(from, to, &sql);
	snprintf(got, sizeof(got), "%s", buf_cstr(&sql));
	buf_free(&sql);
	CHECK_STR(got, want);
}

TEST(settings, equal_lists_are_one_object)
{
	struct settings_table *table = settings_table_new();
	struct settings *a = make(table, "a", "1", "b", "2"), *b = make(table, "a", "1", "b", "2"), *c = make(table, "a", "1", "b", "3");

	CHECK(a == b);
	CHECK(a != c);
	CHECK(make(table, NULL, NULL, NULL, NULL) == NULL);
	settings_unref(&a);
	CHECK(a == NULL);
	settings_unref(&b);
	settings_unref(&c);
	settings_unref(&c);     /* NULL inside is fine */
	settings_table_free(&table);
	CHECK(table == NULL);
}

/* Where a name ends and a value begins is part of what is compared. */
TEST(settings, names_and_values_do_not_run_together)
{
	struct settings_table *table = settings_table_new();
	struct settings *a = make(table, "ab", "c", NULL, NULL), *b = make(table, "a", "bc", NULL, NULL);

	CHECK(a != b);
	settings_unref(&a);
	settings_unref(&b);
	settings_table_free(&table);
}

TEST(settings, diff)
{
	struct settings_table *table = settings_table_new();
	struct settings *a = make(table, "search_path", "x, y", "work_mem", "1MB"), *b = make(table, "work_mem", "2MB", NULL, NULL);

	check_diff(NULL, NULL, "");
	check_diff(a, a, "");
	check_diff(NULL, b, "SELECT pg_catalog.set_config(E'work_mem',E'2MB',false);");
	check_diff(b, NULL, "RESET \"work_mem\";");
	check_diff(a, b, "RESET \"search_path\";SELECT pg_catalog.set_config(E'work_mem',E'2MB',false);");
	check_diff(b, a, "SELECT pg_catalog.set_config(E'search_path',E'x, y',false);SELECT pg_catalog.set_config(E'work_mem',E'1MB',false);");
	settings_unref(&a);
	settings_unref(&b);
	settings_table_free(&table);
}

/* Lists that differ in the order alone lead to the same server state: a statement all the same, so that a ReadyForQuery comes. */
TEST(settings, diff_of_the_same_in_another_order)
{
	struct settings_table *table = settings_table_new();
	struct settings *a = make(table, "a", "1", "b", "2"), *b = make(table, "b", "2", "a", "1");

	CHECK(a != b);
	check_diff(a, b, ";");
	settings_unref(&a);
	settings_unref(&b);
	settings_table_free(&table);
}

TEST(settings, nothing_breaks_out_of_its_quotes)
{
	struct settings_table *table = settings_table_new();
	struct settings *evil = make(table, "a\"; DROP TABLE t; --.b", "'; DROP TABLE t; \\'", NULL, NULL);

	check_diff(NULL, evil, "SELECT pg_catalog.set_config(E'a\"; DROP TABLE t; --.b',E'''; DROP TABLE t; \\\\''',false);");
	check_diff(evil, NULL, "RESET \"a\"\"; DROP TABLE t; --\".\"b\";");
	settings_unref(&evil);
	settings_table_free(&table);
}
