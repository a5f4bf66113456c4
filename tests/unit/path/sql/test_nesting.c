/* Deep texts: just within the limit they must neither overrun a parsing thread's stack (16 MB) nor take long; past it they
 * are unknown, without a parse. */
#include "../../../../src/path/sql/nesting.h"
#include "test.h"

#include "pgshunt/sql.h"

#include <pthread.h>
#include <stdatomic.h>

/* before, what is repeated, what stands inside, what closes each */
static const char *const forms[][4] = {
	{ "select 1", "+1", "", "" }, { "select ", "(", "1", ")" }, { "select ", "not ", "true", "" },
	{ "select ", "-(", "a", ")" },
	{ "select ", "- ", "a", "" }, { "select a", " and b", "", "" }, { "select a", " and b or c", "", "" },
	{ "select ", "case when a then ", "1", " end" }, { "select ", "case a when 1 then 2 else ", "1", " end" },
	{ "select 1", " union all select 1", "", "" }, { "select 1", " except select 1", "", "" },
	{ "select ", "(select ", "1", ")" },
	{ "select * from ", "(select * from ", "t", ") x" }, { "select * from a", " join b on c", "", "" },
	{ "select * from a", " natural join b", "", "" }, { "select * from a", " cross join b", "", "" },
	{ "select * from ", "(a join ", "b", " on c)" },
	{ "select a", "[1]", "", "" }, { "select a", "[a", "[1]", "]" }, { "select x", "::int::int", "", "" },
	{ "select x", "::t(1)", "", "" },
	{ "select 1::t(", "1::t(", "1", ")" }, { "select x", " collate c", "", "" }, { "select array", "[", "1", "]" },
	{ "select ", "row(", "1", ")" },
	{ "select ", "(1,", "2", ")" }, { "select x", " is null", "", "" }, { "select x", " notnull", "", "" },
	{ "select x", " is true", "", "" },
	{ "select ", "f(", "1", ")" }, { "select ", "f(a => ", "1", ")" }, { "select ", "f(distinct a order by ", "1", ")" },
	{ "select ", "f() over (order by ", "1", ")" }, { "select ", "f() filter (where ", "1", ")" },
	{ "select ", "xmlforest(", "1", " as a)" },
	{ "select ", "coalesce(", "1", ")" }, { "select ", "cast(", "1", " as int)" },
	{ "select a in ", "(select a in ", "(1)", ")" },
	{ "", "with a as (", "select 1", ") select 1" }, { "select a", " at time zone b", "", "" },
	{ "select ", "a not between b and not ", "c", "" },
	{ "select ", "exists (select ", "1", ")" }, { "select a", " = any (b)", "", "" }, { "select a", " in (b)", "", "" },
	{ "select a", " operator(pg_catalog.+) b", "", "" }, { "select * from ", "lateral (select * from ", "t", ") x" },
	{ "select 1 group by ", "grouping sets (", "a", ")" }, { "", "(", "select 1", ")" },
	{ "values ", "((values ", "(1)", "))" },
	{ "select ", "(xmlforest(a or b and ", "1", "))" }, { "select ", "(a and (b or ", "c", "))" },
	{ "select (a)", ".b", "", "" },
	{ "select * from ", "rows from (f((select 1 from ", "t", "))) x" },
	{ "", "create function f() returns int begin atomic ", "select 1;", " end;" },
	{ "", "explain ", "select 1", "" }, { "select a", ", b as c", "", "" }, { "select a, b", " union select a, b", "", "" },
	{ "insert into t values (1)", ", (1)", "", "" }, { "select 1", "; select 1", "", "" },
};

/* No variable length arrays, no globals: the case travels to the thread and back. */
struct deep_case {
	char *text;
	enum sql_class class;
	atomic_bool done;
};

static char *text_of(const char *const form[4], size_t times)
{
	struct buf out = { 0 };
	char *text;

	buf_add_str(&out, form[0]);
	for (size_t i = 0; i < times; i++)
		buf_add_str(&out, form[1]);
	buf_add_str(&out, form[2]);
	for (size_t i = 0; i < times; i++)
		buf_add_str(&out, form[3]);
	text = mem_strdup(buf_cstr(&out));
	buf_free(&out);
	return text;
}

/* The most repetitions within both limits. */
static size_t most_times(const char *const form[4])
{
	size_t low = 1, high = 65536;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;
		char *text = text_of(form, middle);
		if (strlen(text) <= 65536 && nesting_is_within(span_of(text), NESTING_HARD_MAX))
			low = middle;
		else
			high = middle;
		mem_free(text);
	}
	return low;
}

static void *parse_deep(void *arg)
{
	static const struct sql_options most = { .cache_max_bytes = 0, .parse_max_bytes = 65536, .nesting_max = UINT32_MAX };
	struct deep_case *c = arg;
	struct sql_cache *cache = sql_cache_new(&most);
	struct verdict *v = sql_verdict(cache, span_of(c->text), (struct sql_mode){ true, true });

	c->class = v->class;
	verdict_unref(&v);
	sql_cache_free(&cache);
	return NULL;
}

/* 4 MB less than a worker has. */
static void run_with_small_stack(struct deep_case *c)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 12u << 20);
	CHECK_INT(pthread_create(&thread, &attr, parse_deep, c), 0);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attr);
}

TEST(nesting, the_deepest_texts_fit_the_stack)
{
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		size_t times = most_times(forms[i]);
		struct deep_case c = { .text = text_of(forms[i], times) };
		usec_t start = time_mono_us(), took;
		run_with_small_stack(&c);
		took = time_mono_us() - start;
		if (took > 500 * USEC_PER_MS)
			printf("  %s%s: %lld ms\n", forms[i][0], forms[i][1], (long long)(took / USEC_PER_MS));
		CHECK(took < 60 * USEC_PER_SEC);        /* not quadratic: seconds would be minutes */
		mem_free(c.text);
	}
}

TEST(nesting, past_the_limit_nothing_is_parsed)
{
	static const struct sql_options options = { .cache_max_bytes = 1 << 20, .parse_max_bytes = 65536, .nesting_max = 10000 };
	struct sql_cache *cache = sql_cache_new(&options);
	char *text = text_of(forms[0], 30000);
	struct verdict *v = sql_verdict(cache, span_of(text), (struct sql_mode){ true, true });
	char reason[64];

	CHECK_INT(v->class, SQL_UNKNOWN);
	CHECK_STR(verdict_reason(v, reason, sizeof(reason)), "unparsed");
	verdict_unref(&v);
	mem_free(text);
	sql_cache_free(&cache);
}

/* What real statements look like when they are large: they must pass. */
TEST(nesting, wide_texts_are_not_deep)
{
	static const char *const wide[][4] = {
		{ "select a", ", b + 1 as c", "", "" }, { "insert into t values (1, 'x')", ", (1 + 1, lower('x'))", "", "" },
		{ "select * from t where a in (1", ", 2", ")", "" },
		{ "select * from t where (a = 1 and b = 2)", " or (a = 3 and b = 4)", "", "" },
		{ "select * from t where a = 1", " or a = 2", "", "" }, { "select 1 + 1", "; select 1 + 1", "", "" },
		{ "select case a when 0 then 'x'", " when 1 then 'y' || 'z'", " end", "" }, { "select a", "::int, b", "", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(wide); i++) {
		char *text = text_of(wide[i], 1500);
		CHECK(nesting_is_within(span_of(text), 10000));
		mem_free(text);
	}
}
