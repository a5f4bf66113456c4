/* Interned settings, and the SQL that leads from one list to another. */
#include "test.h"

#include "pgshunt/pool.h"

static struct settings *make(struct settings_table *table, const char *name, const char *value, const char *name2, const char *value2)
{
	struct setting items[] = { { name, value, NULL }, { name2, value2, NULL } };

	return settings_intern(table, items, name2 ? 2 : name ? 1 : 0);
}

/* The texts of the Query messages, one behind the other, each in brackets. */
static void check_lay(const struct settings *from, const struct settings *to, const char *want)
{
	struct buf messages = { 0 }, got = { 0 };
	struct cursor c;
	unsigned count = settings_lay(from, to, &messages), seen = 0;

	c = cursor_of(messages.data, messages.len);
	while (cursor_left(&c)) {
		const char *text;
		CHECK_INT(cursor_u8(&c), 'Q');
		cursor_u32(&c);
		text = cursor_cstr(&c, NULL);
		buf_printf(&got, "[%s]", text ? text : "?");
		seen++;
	}
	CHECK_INT(seen, count);
	CHECK_STR(buf_cstr(&got), want);
	buf_free(&messages);
	buf_free(&got);
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

TEST(settings, lay)
{
	struct settings_table *table = settings_table_new();
	struct settings *a = make(table, "search_path", "x, y", "work_mem", "1MB"), *b = make(table, "work_mem", "2MB", NULL, NULL);

	check_lay(NULL, NULL, "");
	check_lay(a, a, "");
	check_lay(NULL, b, "[SELECT pg_catalog.set_config(E'work_mem',E'2MB',false);]");
	check_lay(b, NULL, "[RESET \"work_mem\";]");
	check_lay(a, b, "[RESET \"search_path\";SELECT pg_catalog.set_config(E'work_mem',E'2MB',false);]");
	check_lay(b, a, "[SELECT pg_catalog.set_config(E'search_path',E'x, y',false);SELECT pg_catalog.set_config(E'work_mem',E'1MB',false);]");
	settings_unref(&a);
	settings_unref(&b);
	settings_table_free(&table);
}

TEST(settings, lists_that_differ_in_their_order_alone)
{
	struct settings_table *table = settings_table_new();
	struct settings *a = make(table, "a", "1", "b", "2"), *b = make(table, "b", "2", "a", "1");

	CHECK(a != b);
	check_lay(a, b, "");
	settings_unref(&a);
	settings_unref(&b);
	settings_table_free(&table);
}

TEST(settings, put_and_drop)
{
	struct settings_table *table = settings_table_new();
	struct settings *list = make(table, "a", "1", "b", "2");
	struct setting item = { "A", "3", NULL };

	settings_put(table, &list, &item);
	CHECK_STR(settings_find(list, "a")->value, "3");
	CHECK_STR(list->items[0].name, "b");
	settings_drop(table, &list, "nothing");
	settings_drop(table, &list, "B");
	CHECK_INT(list->count, 1);
	settings_drop(table, &list, "a");
	CHECK(list == NULL);
	settings_table_free(&table);
}

/* The role decides who may set what: everything is done again, in its order, with the login's own rights. */
TEST(settings, a_role_is_laid_in_its_place)
{
	struct settings_table *table = settings_table_new();
	struct settings *from = make(table, "work_mem", "1MB", NULL, NULL), *to = NULL;
	struct setting items[] = { { "log_statement", "all", NULL }, { "role", NULL, "SET ROLE 'app'" }, { "work_mem", "2MB", NULL } };

	to = settings_intern(table, items, 3);
	check_lay(from, to, "[RESET SESSION AUTHORIZATION;RESET ROLE;RESET \"work_mem\";SELECT pg_catalog.set_config(E'log_statement',E'all',false);"
	          "SET ROLE 'app';SELECT pg_catalog.set_config(E'work_mem',E'2MB',false);]");
	check_lay(to, NULL, "[RESET SESSION AUTHORIZATION;RESET ROLE;RESET \"log_statement\";RESET \"work_mem\";]");
	settings_unref(&from);
	settings_unref(&to);
	settings_table_free(&table);
}

/* A message is read in the encoding that holds when it comes: the change has a message of its own. */
TEST(settings, the_encoding_comes_first)
{
	struct settings_table *table = settings_table_new();
	struct settings *to = make(table, "a", "x", "client_encoding", "latin1");

	check_lay(NULL, to, "[SELECT pg_catalog.set_config(E'client_encoding',E'latin1',false);]"
	          "[SELECT pg_catalog.set_config(E'a',E'x',false);]");
	settings_unref(&to);
	settings_table_free(&table);
}

TEST(settings, what_a_server_can_be_brought_to)
{
	struct settings_table *table = settings_table_new();
	struct settings *plain = make(table, "a", "1", NULL, NULL), *custom = make(table, "app.user", "1", NULL, NULL);
	struct settings *other = make(table, "app.user", "2", "a", "1"), *left = settings_ref(other);

	CHECK_INT(settings_fit(plain, plain), FIT_SAME);
	CHECK_INT(settings_fit(NULL, plain), FIT_LAY);
	CHECK_INT(settings_fit(plain, NULL), FIT_LAY);
	CHECK_INT(settings_fit(plain, custom), FIT_LAY);
	CHECK_INT(settings_fit(custom, plain), FIT_NEVER);      /* app.user would be '' there, not unknown */
	CHECK_INT(settings_fit(custom, other), FIT_LAY);
	settings_discard(&left);
	CHECK_INT(left->count, 1);
	CHECK_STR(left->items[0].sql, "RESET \"app.user\"");
	check_lay(custom, left, "[RESET \"app.user\";]");
	settings_unref(&plain);
	settings_unref(&custom);
	settings_unref(&other);
	settings_unref(&left);
	settings_table_free(&table);
}

TEST(settings, nothing_breaks_out_of_its_quotes)
{
	struct settings_table *table = settings_table_new();
	struct settings *evil = make(table, "a\"; DROP TABLE t; --", "'; DROP TABLE t; \\'", NULL, NULL);

	check_lay(NULL, evil, "[SELECT pg_catalog.set_config(E'a\"; DROP TABLE t; --',E'''; DROP TABLE t; \\\\''',false);]");
	check_lay(evil, NULL, "[RESET \"a\"\"; DROP TABLE t; --\";]");
	settings_unref(&evil);
	settings_table_free(&table);
}
