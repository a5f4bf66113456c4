/* The cache: hits, bounds, eviction, what was learned. */
#include "test.h"

#include "pgshunt/sql.h"

static const struct sql_mode plain = { true, true };

static struct sql_cache *cache_of(size_t max_bytes)
{
	return sql_cache_new(&(struct sql_options){ .cache_max_bytes = max_bytes, .parse_max_bytes = 65536, .nesting_max = 10000 });
}

static struct verdict *ask(struct sql_cache *cache, const char *text)
{
	return sql_verdict(cache, span_of(text), plain);
}

static void ask_number(struct sql_cache *cache, int n)
{
	char text[64];
	struct verdict *v;

	snprintf(text, sizeof(text), "SELECT column%d FROM t", n);
	v = ask(cache, text);
	verdict_unref(&v);
}

TEST(cache, one_parse_a_shape)
{
	struct sql_cache *cache = cache_of(1 << 20);
	struct verdict *a = ask(cache, "SELECT * FROM t WHERE a = 1"), *b = ask(cache, "select * from T where a=2");

	CHECK(a == b);
	CHECK_INT(sql_cache_read(cache).parses, 1);
	CHECK_INT(sql_cache_read(cache).hits, 1);
	CHECK_INT(sql_cache_read(cache).entries, 1);
	sql_cache_free(&cache);
	CHECK_STR(a->tables[0].name, "t");      /* lives on */
	verdict_unref(&a);
	verdict_unref(&b);
	CHECK(!a && !b);
	verdict_unref(&a);
}

TEST(cache, keeps_its_bound)
{
	struct sql_cache *cache = cache_of(20000);

	for (int i = 0; i < 1000; i++) {
		ask_number(cache, i);
		CHECK(sql_cache_read(cache).bytes <= 20000);
	}
	CHECK(sql_cache_read(cache).entries > 10);
	CHECK_INT(sql_cache_read(cache).evictions + sql_cache_read(cache).entries, 1000);
	sql_cache_free(&cache);
}

TEST(cache, what_is_asked_for_stays)
{
	struct sql_cache *cache = cache_of(20000);
	uint64_t parses;

	ask_number(cache, 0);
	for (int i = 1; i < 500; i++) {
		ask_number(cache, i);
		ask_number(cache, 0);
	}
	parses = sql_cache_read(cache).parses;
	CHECK_INT(parses, 500);
	sql_cache_free(&cache);
}

TEST(cache, shrinks_when_told)
{
	struct sql_cache *cache = cache_of(1 << 20);
	struct sql_options small = { .cache_max_bytes = 4000, .parse_max_bytes = 65536, .nesting_max = 10000 };

	for (int i = 0; i < 100; i++)
		ask_number(cache, i);
	sql_cache_configure(cache, &small);
	CHECK(sql_cache_read(cache).bytes <= 4000);
	small.cache_max_bytes = 0;
	sql_cache_configure(cache, &small);
	CHECK_INT(sql_cache_read(cache).entries, 0);
	CHECK_INT(sql_cache_read(cache).bytes, 0);
	ask_number(cache, 1);
	CHECK_INT(sql_cache_read(cache).entries, 0);
	sql_cache_free(&cache);
}

/* Texts far more than there are places for the shapes asked for lately, long ones among them, in a cache that is always full. */
TEST(cache, never_gives_one_text_the_verdict_of_another)
{
	struct sql_cache *cache = cache_of(200000);
	char text[3000], name[16], column[1600];

	for (int round = 0; round < 4; round++)
		for (int n = 0; n < 1500; n++) {
			int table = round & 1 ? 1500 - n : n;
			snprintf(name, sizeof(name), "t%d", table);
			snprintf(column, sizeof(column), "c%0*d", table % 100 ? 3 : 1500, 7);
			snprintf(text, sizeof(text), "SELECT %s FROM %s", column, name);
			for (int i = 0; i < 3; i++) {
				struct verdict *v = ask(cache, text);
				CHECK_INT(v->table_count, 1);
				CHECK_STR(v->tables[0].name, name);
				verdict_unref(&v);
			}
			CHECK(sql_cache_read(cache).bytes <= 200000);
		}
	sql_cache_free(&cache);
}

TEST(cache, learns_what_a_standby_refused)
{
	struct sql_cache *cache = cache_of(1 << 20);
	struct verdict *before = ask(cache, "SELECT * FROM v WHERE a = 1"), *after = ask(cache, "SELECT * FROM v WHERE a = 3");
	char reason[64];

	CHECK(before == after);
	verdict_unref(&after);
	sql_learn_refused(cache, before, "25006");
	after = ask(cache, "SELECT * FROM v WHERE a = 2");
	CHECK_INT(before->class, SQL_READ);
	CHECK_INT(after->class, SQL_WRITE);
	CHECK_STR(verdict_reason(after, reason, sizeof(reason)), "retried:25006");
	CHECK_STR(after->tables[0].name, "v");
	CHECK_STR(after->shown, before->shown);
	CHECK_INT(sql_cache_read(cache).parses, 1);
	sql_learn_refused(cache, after, "0A000");
	CHECK_INT(sql_cache_read(cache).entries, 1);
	verdict_unref(&after);
	after = ask(cache, "SELECT * FROM v WHERE a = 4");
	CHECK_STR(verdict_reason(after, reason, sizeof(reason)), "retried:0A000");
	verdict_unref(&before);
	verdict_unref(&after);
	sql_cache_free(&cache);
}

TEST(cache, keeps_what_could_not_be_parsed_too)
{
	struct sql_cache *cache = cache_of(1 << 20);
	struct verdict *a = ask(cache, "SELEC 1"), *b = ask(cache, "SELEC 1");

	CHECK(a == b);
	CHECK_INT(a->class, SQL_UNKNOWN);
	verdict_unref(&a);
	verdict_unref(&b);
	sql_cache_free(&cache);
}
