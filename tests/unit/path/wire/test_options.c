#include "test.h"

#include "pgshunt/wire.h"

static struct buf seen;

static bool note(void *owner, const char *name, const char *value, struct err *err)
{
	CHECK(owner == &seen);
	buf_printf(&seen, "[%s|%s]", name, value);
	return strcmp(name, "forbidden") == 0 ? err_set(err, "42501", "no") : true;
}

static const char *parse(const char *options, struct err *err)
{
	bool is_good;

	buf_free(&seen);
	is_good = wire_parse_options(options, note, &seen, err);
	CHECK(is_good == !err_is_set(err));
	return buf_cstr(&seen);
}

TEST(options, as_postgresql_reads_them)
{
	static const struct { const char *options, *want; } rows[] = {
		{ "", "" },
		{ " \t\n ", "" },
		{ "-c a=b", "[a|b]" },
		{ "-ca=b", "[a|b]" },
		{ "--a=b", "[a|b]" },
		{ "--search-path=x-y", "[search_path|x-y]" },
		{ "-c search-path=x-y", "[search_path|x-y]" },
		{ "-c a=b=c", "[a|b=c]" },
		{ "-c a=", "[a|]" },
		{ "  -c   a=b\t-c c=d ", "[a|b][c|d]" },
		{ "-c search_path=a,\\ b", "[search_path|a, b]" },
		{ "-c a=\\\\b", "[a|\\b]" },
		{ "-c a=b\\", "[a|b]" },
		{ "-c pgshunt.route=primary", "[pgshunt.route|primary]" },
		{ "-e -S 64", "[datestyle|euro][work_mem|64]" },
		{ "-esS64", "[datestyle|euro][log_statement_stats|true][work_mem|64]" },
		{ "-fs -f h", "[enable_seqscan|false][enable_hashjoin|false]" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = { 0 };
		CHECK_STR(parse(rows[i].options, &err), rows[i].want);
		CHECK_STR(err.text, "");
	}
	buf_free(&seen);
}

TEST(options, malformed_ones_fail)
{
	static const struct { const char *options, *sqlstate; } rows[] = {
		{ "-c", "42601" }, { "-c a", "42601" }, { "--a", "42601" }, { "--", "42601" }, { "-c =b", "42601" }, { "--=b", "42601" },
		{ "-S", "42601" }, { "-f", "42601" }, { "-fsx", "42601" }, { "-f x", "42601" }, { "a=b", "42601" }, { "-", "42601" },
		{ "\\", "42601" }, { "-c \\", "42601" },
		{ "-p 5432", "0A000" }, { "-d 5", "0A000" }, { "-\x01", "0A000" }, { "-c a=b -x", "0A000" },
		{ "-c forbidden=1 -c a=b", "42501" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = { 0 };
		parse(rows[i].options, &err);
		CHECK_STR(err.sqlstate, rows[i].sqlstate);
	}
	buf_free(&seen);
}
