/* Types, units, ranges, duplicates, the environment, secrets. */
#include "conf_test.h"

struct time_case {
	const char *text;
	usec_t us;      /* -1: refused */
};

TEST(values, times)
{
	static const struct time_case cases[] = {
		{ "5", 5000000 }, { "0.5", 500000 }, { ".25", 250000 }, { "500ms", 500000 }, { "30s", 30000000 }, { "5min", 300000000 },
		{ "1h", 3600000000 }, { "1d", 86400000000 }, { "250 ms", 250000 }, { "10us", 10 }, { "1.5min", 90000000 }, { "0", 0 },
		{ "", -1 }, { "ms", -1 }, { "-1", -1 }, { "1.2.3", -1 }, { "5 parsecs", -1 }, { "5MS", -1 }, { "inf", -1 }, { "nan", -1 },
		{ "0x10", -1 }, { "1e3", -1 }, { ".", -1 }, { "99999999999999999999", -1 }, { "9999999999", -1 }
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char line[100];
		snprintf(line, sizeof(line), "query_timeout = %s", cases[i].text);
		load_main(line);
		if (cases[i].us >= 0) {
			CHECK_QUIET();
			CHECK_INT(conf->policy.query_timeout, cases[i].us);
		} else {
			CHECK_ONE_ERROR("query_timeout");
		}
	}
}

TEST(values, sizes)
{
	static const struct time_case cases[] = {
		{ "1234", 1234 }, { "64kB", 65536 }, { "16MB", 16777216 }, { "1GB", 1073741824 }, { "100B", 100 }, { "1TB", 1099511627776 },
		{ "64KB", -1 }, { "64k", -1 }, { "x", -1 }, { "-1", -1 }
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char line[100];
		snprintf(line, sizeof(line), "max_lag_bytes = %s", cases[i].text);
		load_main(line);
		if (cases[i].us >= 0)
			CHECK_INT(conf->policy.max_lag_bytes, cases[i].us);
		else
			CHECK_ONE_ERROR("max_lag_bytes");
	}
}

TEST(values, booleans)
{
	static const struct time_case cases[] = {
		{ "on", 1 }, { "OFF", 0 }, { "1", 1 }, { "0", 0 }, { "true", 1 }, { "false", 0 }, { "yes", 1 }, { "No", 0 }, { "2", -1 }, { "", -1 }
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char line[100];
		snprintf(line, sizeof(line), "retry_reads = %s", cases[i].text);
		load_main(line);
		if (cases[i].us >= 0)
			CHECK_INT(conf->policy.retry_reads, cases[i].us);
		else
			CHECK_ONE_ERROR("must be on or off");
	}
}

TEST(values, numbers_as_pgbouncer_reads_them)
{
	load_main("unix_socket_mode = 0770\nlisten_port = 0x1000");
	CHECK_QUIET();
	CHECK_INT(conf->opt.unix_socket_mode, 0770);
	CHECK_INT(conf->opt.listen_port, 4096);
}

TEST(values, workers_auto)
{
	load_main("workers = auto");
	CHECK_QUIET();
	CHECK_INT(conf->opt.workers, 0);
	load_main("workers = 4");
	CHECK_INT(conf->opt.workers, 4);
	load_main("workers = many");
	CHECK_ONE_ERROR("workers = \"many\": must be auto, or 1 to 64");
}

TEST(values, range_and_unit_are_named)
{
	load_main("listen_port = 70000");
	CHECK_ONE_ERROR("listen_port = \"70000\": must be 1 to 65535");
	load_main("monitor_interval = 1ms");
	CHECK_ONE_ERROR("must be 10ms to 1min (bare seconds, or us, ms, s, min, h, d)");
	load_main("pool_mode = fast");
	CHECK_ONE_ERROR("must be one of session, transaction, statement");
}

TEST(values, enums_ignore_case)
{
	load_main("pool_mode = TRANSACTION");
	CHECK_QUIET();
	CHECK_INT(conf->policy.pool_mode, POOL_TRANSACTION);
}

TEST(values, every_error_is_reported)
{
	load_main("listen_port = x\nmax_client_conn = y\nnope = 1\nwrong line\nretry_reads = 7");
	CHECK(!conf);
	CHECK_INT(report.errors, 5);
	CHECK_INT(report.findings[0].line, 4);
	CHECK_INT(report.findings[4].line, 8);
}

TEST(values, unknown_key_with_nearest)
{
	load_main("max_client_con = 5");
	CHECK_ONE_ERROR("unknown key \"max_client_con\", did you mean max_client_conn?");
	CHECK_INT(report.findings[0].line, 4);
}

TEST(values, unknown_key_with_nothing_near)
{
	load_main("xyzzyxyzzyxyzzy = 5");
	CHECK_ONE_ERROR("unknown key \"xyzzyxyzzyxyzzy\"");
	CHECK_INT(findings(CONF_ERROR, "did you mean"), 0);
}

TEST(values, duplicate_key)
{
	load_main("listen_port = 5\nlisten_port = 6");
	CHECK_ONE_ERROR("duplicate key listen_port");
	CHECK_INT(findings(CONF_ERROR, ":4)"), 1);
	CHECK_INT(report.findings[0].line, 5);
}

TEST(values, duplicate_over_both_names_of_the_section)
{
	load_main("listen_port = 5\n[pgbouncer]\nlisten_port = 6");
	CHECK_ONE_ERROR("duplicate key listen_port");
}

TEST(values, environment)
{
	setenv("CONF_TEST_A", "val", 1);
	load_main("logfile = /x/${CONF_TEST_A}/${CONF_TEST_A}.log");
	CHECK_QUIET();
	CHECK_STR(conf->opt.logfile, "/x/val/val.log");
}

TEST(values, environment_unset)
{
	unsetenv("CONF_TEST_B");
	load_main("logfile = ${CONF_TEST_B}");
	CHECK_ONE_ERROR("logfile: the environment has no variable CONF_TEST_B");
}

TEST(values, environment_malformed_and_escaped)
{
	load_main("logfile = ${no-name}");
	CHECK_ONE_ERROR("expected ${NAME}");
	load_main("logfile = ${");
	CHECK_ONE_ERROR("expected ${NAME}");
	load_main("logfile = $${HOME} $x $");
	CHECK_QUIET();
	CHECK_STR(conf->opt.logfile, "${HOME} $x $");
}

TEST(values, environment_stays_one_value)
{
	setenv("CONF_TEST_A", "a' user=root b", 1);
	load("[databases]\napp = user=u password=${CONF_TEST_A}\n" A_NODE);
	CHECK_LOADED();
	CHECK_STR(conf->databases[0].password, "a' user=root b");
	CHECK_STR(conf->databases[0].user, "u");
}

TEST(values, environment_is_not_echoed)
{
	setenv("CONF_TEST_A", "hushhush", 1);
	load_main("listen_port = ${CONF_TEST_A}");
	CHECK_ONE_ERROR("listen_port");
	CHECK_INT(findings(CONF_ERROR, "hushhush"), 0);
}

TEST(values, secret_from_a_file)
{
	char path[] = "/tmp/conf_test.XXXXXX", line[100];

	write_file(path, "s3cret ${x}\r\n", 13);
	snprintf(line, sizeof(line), "monitor_password_file = %s", path);
	load_main(line);
	unlink(path);
	CHECK_QUIET();
	CHECK_STR(conf->opt.monitor_password, "s3cret ${x}");
}

TEST(values, secret_file_missing)
{
	load_main("monitor_password_file = /nonexistent");
	CHECK_ONE_ERROR("monitor_password_file: cannot read \"/nonexistent\": No such file");
}

TEST(values, secret_given_twice)
{
	load_main("monitor_password = a\nmonitor_password_file = /nonexistent");
	CHECK_ONE_ERROR("duplicate key monitor_password_file");
}

TEST(values, only_secrets_have_a_file)
{
	load_main("listen_port_file = /x");
	CHECK_ONE_ERROR("unknown key \"listen_port_file\"");
}

TEST(values, keys_of_pgbouncer_without_meaning)
{
	load_main("server_round_robin = 1\njob_name = x\nclient_tls_dheparams = auto");
	CHECK_LOADED();
	CHECK_INT(findings(CONF_WARNING, "has no effect"), 3);
	CHECK_INT(report.count, 3);
}

TEST(values, not_in_force_yet)
{
	load_main("max_db_client_connections = 3");
	CHECK_ONE_WARNING("max_db_client_connections is accepted but not in force yet");
	CHECK_INT(report.findings[0].line, 4);
	CHECK_INT(conf->opt.max_db_client_connections, 3);
	load_main("max_db_client_connections = 0\nclient_tls_sslmode = disable\nhttp_listen = 127.0.0.1:9632");
	CHECK_QUIET();
	load_main("http_listen =");             /* off: as it is */
	CHECK_QUIET();
	load_main("http_listen = 127.0.0.1:9000");
	CHECK_ONE_WARNING("http_listen");
}

TEST(values, a_text_may_be_too_long)
{
	load_main("unix_socket_dir = /0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789");
	CHECK_ONE_ERROR("must not be longer than 90 bytes");
}

static void count_shown(void *owner, const char *key, const char *value, const char *default_value, bool changeable)
{
	int *n = owner;

	(void)changeable;
	n[0]++;
	n[1] += strstr(value, "hushhush") != NULL;
	n[2] += strcmp(value, "********") == 0 && strcmp(key, "monitor_password") == 0;
	n[3] += strcmp(value, default_value) != 0;
	n[4] += strcmp(key, "max_client_conn") == 0 && strcmp(value, "100") == 0;
}

TEST(values, show_hides_secrets)
{
	int n[5] = { 0 };

	load_main("monitor_password = hushhush");
	CHECK_QUIET();
	conf_show(conf, count_shown, n);
	CHECK_INT(n[0], 136);
	CHECK_INT(n[1], 0);
	CHECK_INT(n[2], 1);
	CHECK_INT(n[3], 3);
	CHECK_INT(n[4], 1);
}

struct shown {
	const char *key;
	char value[100], plain[100];
	bool changeable;
};

static void keep_shown(void *owner, const char *key, const char *value, const char *default_value, bool changeable)
{
	struct shown *shown = owner;

	if (strcmp(key, shown->key) != 0)
		return;
	snprintf(shown->value, sizeof(shown->value), "%s", value);
	snprintf(shown->plain, sizeof(shown->plain), "%s", default_value);
	shown->changeable = changeable;
}

TEST(values, show_formats)
{
	static const char *const want[][4] = {
		{ "server_connect_timeout", "2.5", "3", "yes" }, { "monitor_interval", "1500ms", "500ms", "yes" },
		{ "consistency_wait", "0", "10ms", "yes" }, { "unix_socket_mode", "0770", "0777", "no" }, { "workers", "auto", "auto", "no" },
		{ "log_stats", "0", "1", "yes" }, { "retry_reads", "off", "on", "yes" }, { "parse_max_bytes", "32kB", "64kB", "yes" },
		{ "max_packet_size", "1048576", "2147483647", "yes" }, { "auth_type", "trust", "scram-sha-256", "yes" },
		{ "primary_wait", "2min", "30s", "yes" }
	};

	load_main("server_connect_timeout = 2500ms\nmonitor_interval=1.5\nconsistency_wait=0\nunix_socket_mode=0770\nlog_stats=off\n"
		"retry_reads=0\nparse_max_bytes=32768\nmax_packet_size=1MB\nauth_type=trust\nprimary_wait=120s");
	CHECK_QUIET();
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		struct shown shown = { .key = want[i][0] };
		conf_show(conf, keep_shown, &shown);
		CHECK_STR(shown.value, want[i][1]);
		CHECK_STR(shown.plain, want[i][2]);
		CHECK_STR(shown.changeable ? "yes" : "no", want[i][3]);
	}
}
