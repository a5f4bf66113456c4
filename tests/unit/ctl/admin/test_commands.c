#include "admin_test.h"

static void check_refused(enum console_role role, const char *sql, const char *sqlstate, const char *text, const char *hint)
{
	run_as(role, sql);
	if (strcmp(t.err.sqlstate, sqlstate) != 0 || !strstr(t.err.text, text) || !strstr(t.err.hint, hint))
		printf("  %s: %s %s (%s)\n", sql, t.err.sqlstate, t.err.text, t.err.hint);
	CHECK_STR(t.err.sqlstate, sqlstate);
	CHECK(strstr(t.err.text, text));
	CHECK(strstr(t.err.hint, hint));
	CHECK_INT(t.row_count, 0);
}

static void check_tag(const char *sql, const char *tag)
{
	run(sql);
	if (strcmp(t.tag, tag) != 0)
		printf("  %s: %s %s\n", sql, t.err.sqlstate, t.err.text);
	CHECK_STR(t.err.sqlstate, "");
	CHECK_STR(t.tag, tag);
}

TEST(commands, are_read_as_people_write_them)
{
	static const char *const ways[] = {
		"SHOW VERSION", "show version;", "  Show\n\tVersion ; ", "select version", "SELECT version();", "/* a /* b */ c */ show--x\n version",
		"show \"VERSION\"", "show 'version'", "-- ping\nSHOW VERSION -- now", "SHOW VERSION;;",
	};

	test_open("p:primary");
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		check_tag(ways[i], "SHOW");
		CHECK_STR(t.columns[0].name, "version");
		CHECK_INT(t.row_count, 1);
	}
}

TEST(commands, nothing_is_nothing)
{
	static const char *const ways[] = { "", ";", " \n ", "-- ping", "/* */", ";;" };

	test_open("p:primary");
	for (size_t i = 0; i < ARRAY_LEN(ways); i++)
		check_tag(ways[i], "");
}

TEST(commands, what_cannot_be_read_is_an_error)
{
	char *large = mem_alloc(60001);

	memset(large, 'x', 60000);
	test_open("p:primary");
	check_refused(CONSOLE_ADMIN, "SHOW POOLS; RELOAD", "42601", "one statement", "by itself");
	check_refused(CONSOLE_ADMIN, "SHOW 'x", "42601", "isn't closed", "'");
	check_refused(CONSOLE_ADMIN, "SHOW \"x\"\"", "42601", "isn't closed", "\"");
	check_refused(CONSOLE_ADMIN, "/* /* */ SHOW POOLS", "42601", "comment", "*/");
	check_refused(CONSOLE_ADMIN, "RELAOD", "42601", "did you mean RELOAD?", "SHOW HELP");
	check_refused(CONSOLE_ADMIN, "SHOW POLLS", "42601", "did you mean POOLS?", "SHOW HELP");
	check_refused(CONSOLE_ADMIN, "SHOW", "42601", "SHOW", "Usage: SHOW view");
	check_refused(CONSOLE_ADMIN, "SELECT", "42601", "unknown view", "SHOW HELP");
	check_refused(CONSOLE_ADMIN, "(((((((((((((((((((((((", "42601", "unknown command", "SHOW HELP");
	check_refused(CONSOLE_ADMIN, "'SHOW' POOLS", "42601", "unknown command", "SHOW HELP");
	check_refused(CONSOLE_ADMIN, "KILL_CLIENT", "42601", "KILL_CLIENT", "Usage: KILL_CLIENT id");
	check_refused(CONSOLE_ADMIN, "KILL_CLIENT 1x", "42601", "KILL_CLIENT", "Usage: KILL_CLIENT id");
	check_refused(CONSOLE_ADMIN, "SHUTDOWN LATER", "42601", "SHUTDOWN", "WAIT_FOR_CLIENTS");
	check_refused(CONSOLE_ADMIN, "RELOAD 1", "42601", "RELOAD", "Usage: RELOAD");
	check_refused(CONSOLE_ADMIN, "SET verbose", "42601", "SET", "Usage: SET key = value");
	check_refused(CONSOLE_ADMIN, "SWITCHOVER pg2 NOW", "42601", "SWITCHOVER", "Usage: SWITCHOVER TO node [FORCE]");
	CHECK_INT(t.shutdown, -1);
	CHECK_INT(t.reloads, 0);
	check_refused(CONSOLE_ADMIN, large, "42601", "unknown command", "SHOW HELP");
	mem_free(large);
}

TEST(commands, what_is_not_built_says_so)
{
	static const struct { const char *sql, *text; } rows_[] = {
		{ "PAUSE", "PAUSE is not built yet" }, { "PAUSE app", "PAUSE is not built yet" }, { "pause writes", "PAUSE WRITES is not" },
		{ "RESUME WRITES", "RESUME WRITES is not" }, { "DISABLE app", "DISABLE is not" }, { "ENABLE app;", "ENABLE is not" },
		{ "RECONNECT", "RECONNECT is not" }, { "KILL app", "KILL is not" }, { "SUSPEND", "SUSPEND is not" },
		{ "SET verbose = '1'", "SET verbose is not" }, { "set verbose=1", "SET verbose is not" }, { "WAIT_CLOSE", "WAIT_CLOSE is not" },
		{ "DRAIN pg2", "DRAIN is not" }, { "UNDRAIN pg2", "UNDRAIN is not" }, { "SWITCHOVER TO pg2", "SWITCHOVER is not" },
		{ "SWITCHOVER TO \"pg2\" FORCE", "SWITCHOVER is not" }, { "ADOPT pg2", "ADOPT is not" }, { "SHOW ROUTES", "SHOW ROUTES is not" },
		{ "SHOW FAILOVERS", "SHOW FAILOVERS is not" },
	};

	test_open("p:primary");
	for (size_t i = 0; i < ARRAY_LEN(rows_); i++) {
		check_refused(CONSOLE_ADMIN, rows_[i].sql, "0A000", rows_[i].text, "");
		CHECK(t.err.hint[0]);
	}
}

TEST(commands, stats_users_may_look_only)
{
	static const char *const forbidden[] = {
		"RELOAD", "SHUTDOWN", "SHUTDOWN WAIT_FOR_CLIENTS", "KILL_CLIENT 1", "PAUSE", "RESUME", "SET verbose = '1'", "DISABLE app", "KILL",
		"SWITCHOVER TO pg2", "RECONNECT", "ADOPT pg2", "SUSPEND", "KILL_CLIENT",
	};

	test_open("p:primary");
	for (size_t i = 0; i < ARRAY_LEN(forbidden); i++)
		check_refused(CONSOLE_STATS, forbidden[i], "42501", "permission denied", "admin_users");
	CHECK_INT(t.reloads, 0);
	CHECK_INT(t.shutdown, -1);
	CHECK_INT(t.visits, 0);
	run_as(CONSOLE_STATS, "SHOW POOLS");
	CHECK_STR(t.err.sqlstate, "");
	run_as(CONSOLE_STATS, "BEGIN");
	CHECK_STR(t.tag, "BEGIN");
	run_as(CONSOLE_STATS, "SET client_encoding TO 'UTF8'");
	CHECK_STR(t.tag, "SET");
}

TEST(commands, drivers_get_what_they_ask_for)
{
	static const struct { const char *sql, *column, *value; } shows[] = {
		{ "SHOW client_encoding", "client_encoding", "UTF8\n" }, { "show DateStyle", "datestyle", "ISO\n" },
		{ "SHOW TimeZone", "timezone", "GMT\n" }, { "SHOW standard_conforming_strings;", "standard_conforming_strings", "on\n" },
		{ "SHOW TRANSACTION ISOLATION LEVEL", "transaction_isolation", "read committed\n" },
		{ "SHOW default_transaction_isolation", "default_transaction_isolation", "read committed\n" },
		{ "SHOW transaction_read_only", "transaction_read_only", "off\n" }, { "SELECT 1", "?column?", "1\n" },
		{ "SELECT pg_catalog.pg_is_in_recovery()", "pg_is_in_recovery", "f\n" },
	};
	static const char *const sets[] = {
		"SET extra_float_digits = 3", "SET application_name = 'PostgreSQL JDBC Driver'", "set datestyle to 'ISO, MDY'",
		"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET TIME ZONE 'UTC'",
		"SET SESSION client_encoding = UTF8", "SET client_min_messages TO warning",
	};

	test_open("p:primary");
	for (size_t i = 0; i < ARRAY_LEN(shows); i++) {
		check_tag(shows[i].sql, "SHOW");
		CHECK_INT(t.column_count, 1);
		CHECK_STR(t.columns[0].name, shows[i].column);
		CHECK_STR(rows(), shows[i].value);
	}
	for (size_t i = 0; i < ARRAY_LEN(sets); i++)
		check_tag(sets[i], "SET");
	check_tag("BEGIN", "BEGIN");
	check_tag("BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE, READ ONLY, READ ONLY, READ ONLY, READ ONLY", "BEGIN");
	check_tag("START TRANSACTION", "START TRANSACTION");
	check_tag("COMMIT;", "COMMIT");
	check_tag("END", "COMMIT");
	check_tag("rollback", "ROLLBACK");
	check_tag("DISCARD ALL", "DISCARD ALL");
}

TEST(commands, reload_tells_what_changed)
{
	test_open("p:primary");
	t.reload_says = "verbose: 0 -> 1";
	check_tag("RELOAD", "RELOAD");
	CHECK_STR(t.notice, "verbose: 0 -> 1");
	t.reload_says = "";
	check_tag("reload;", "RELOAD");
	CHECK_STR(t.notice, "nothing changed");
	t.reload_fails = "x.ini:3: unknown key";
	check_refused(CONSOLE_ADMIN, "RELOAD", "F0000", "x.ini:3", "correct it");
	CHECK_INT(t.reloads, 3);
}

TEST(commands, shutdown_answers_first)
{
	test_open("p:primary");
	check_tag("SHUTDOWN", "SHUTDOWN");
	CHECK_INT(t.shutdown, 0);
	CHECK(t.answered_before_shutdown);
	check_tag("shutdown wait_for_servers;", "SHUTDOWN");
	CHECK_INT(t.shutdown, 1);
	check_tag("SHUTDOWN WAIT_FOR_CLIENTS", "SHUTDOWN");
	CHECK_INT(t.shutdown, 2);
}

TEST(commands, kill_client_asks_every_worker)
{
	test_open("p:primary");
	check_refused(CONSOLE_ADMIN, "KILL_CLIENT 12", "42704", "no client 12", "SHOW CLIENTS");
	CHECK_INT(t.visits, 2);
}

TEST(commands, are_logged_with_who_and_from_where)
{
	test_open("p:primary");
	catch_log();
	run("SHOW POOLS");
	CHECK(!is_logged("POOLS"));
	run("RELOAD;");
	CHECK(is_logged("INFO console: user \"ann\" at 10.0.0.1:999: RELOAD\n"));
	run_as(CONSOLE_STATS, "KILL_CLIENT 4");
	CHECK(is_logged("\"ann\" at 10.0.0.1:999: KILL_CLIENT 4 (refused)\n"));
	run("SET http_password = 'verysecret'");
	CHECK(is_logged(": SET http_password\n"));
	run_as(CONSOLE_STATS, "SET http_password = 'verysecret'");
	CHECK(is_logged(": SET http_password (refused)\n"));
	run("ALTER USER ann PASSWORD 'verysecret'");
	CHECK(is_logged(": ALTER ... (unknown)\n"));
	CHECK(!is_logged("verysecret"));
}
