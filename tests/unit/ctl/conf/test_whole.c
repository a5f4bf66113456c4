/* What only the whole file tells, the snapshot, a client's settings, the difference of two, the generated pages. */
#include "conf_test.h"

#define MAIN "[pgshunt]\nauth_file = u\n"

TEST(whole, no_nodes)
{
	load(MAIN);
	CHECK(!conf);
	CHECK_INT(findings(CONF_ERROR, "no nodes"), 1);
}

TEST(whole, default_consistency_warns)
{
	load(MAIN A_NODE);
	CHECK_ONE_WARNING("consistency = session is not in force yet: reads go to the primary until this level is built");
	CHECK_INT(conf->policy.consistency, CONS_SESSION);
}

struct built_case {
	const char *line;
	bool is_error;
	const char *part;       /* NULL: nothing is said */
};

TEST(whole, values_built_and_not)
{
	static const struct built_case cases[] = {
		{ "pool_mode = transaction", false, NULL },
		{ "pool_mode = session", false, NULL },
		{ "pool_mode = statement", false, NULL },
		{ "auth_type = trust", false, NULL },
		{ "auth_type = md5", false, NULL },
		{ "auth_type = plain", false, NULL },
		{ "auth_type = cert", true, "auth_type = cert is not built yet" },
		{ "auth_type = hba", true, "is not built yet" },
		{ "auth_type = any", true, "must be one of" },
		{ "load_balance = round_robin", false, NULL },
		{ "load_balance = latency", false, "runs as round_robin" },
		{ "transaction_routing = primary", false, NULL },
		{ "transaction_routing = lazy", false, "transactions run at the primary for now" },
		{ "consistency_scope = user", false, "until this scope is built" },
		{ "topology = patroni", true, "topology = patroni is not built yet" },
		{ "topology = sql", false, NULL },
		{ "read_from = any", false, NULL },
		{ "zone = a", false, "not in force yet" },
		{ "client_tls_sslmode = require", false, "client_tls_sslmode is accepted but not in force yet" },
		{ "auth_hba_file = x", false, "not in force yet" },
		{ "state_file = x", false, "not in force yet" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		load_main(cases[i].line);
		if (cases[i].is_error)
			CHECK_ONE_ERROR(cases[i].part);
		else if (cases[i].part)
			CHECK_ONE_WARNING(cases[i].part);
		else
			CHECK_QUIET();
	}
}

TEST(whole, bounded_needs_a_limit)
{
	load("[pgshunt]\nauth_file=u\nconsistency = bounded\n" A_NODE);
	CHECK_ONE_ERROR("consistency = bounded needs a limit");
	CHECK_INT(line_of("needs a limit"), 3);
	load("[pgshunt]\nauth_file=u\nconsistency = bounded\nmax_lag_time = 5s\n" A_NODE);
	CHECK_QUIET();
}

TEST(whole, bounded_in_databases_and_users)
{
	load_main("[databases]\na = consistency=bounded max_lag_bytes=1MB\nb = consistency=bounded");
	CHECK(!conf);
	CHECK_INT(line_of("[databases] b: consistency = bounded needs a limit"), 6);
	load_main("[databases]\na = max_lag_bytes=1MB\nb =\n[users]\nann = consistency=bounded");
	CHECK(!conf);
	CHECK_INT(line_of("[users] ann: in database b consistency = bounded needs a limit"), 8);
	load_main("[databases]\na = max_lag_bytes=1MB\n[users]\nann = consistency=bounded");
	CHECK_LOADED();
	load_main("[users]\nann = consistency=bounded");
	CHECK(!conf);
}

TEST(whole, nobody_can_log_in)
{
	load("[pgshunt]\nconsistency = eventual\n" A_NODE);
	CHECK_ONE_WARNING("auth_file is not set");
	load("[pgshunt]\nconsistency = eventual\nauth_type = trust\n" A_NODE);
	CHECK_QUIET();
}

TEST(whole, nothing_to_listen_on)
{
	load_main("listen_addr =\nunix_socket_dir =");
	CHECK_ONE_ERROR("nothing to listen on");
	load_main("listen_addr =");
	CHECK_QUIET();
}

TEST(whole, http_off_loopback_needs_a_password)
{
	static const char *const open[] = { "0.0.0.0:9632", "*:9632", ":9632", "[::]:9632", "10.0.0.1:80" };
	static const char *const shut[] = { "127.0.0.1:80", "127.1.2.3:80", "localhost:80", "[::1]:80", "" };
	char line[100];

	for (size_t i = 0; i < ARRAY_LEN(open); i++) {
		snprintf(line, sizeof(line), "http_listen = %s", open[i]);
		load_main(line);
		CHECK_ONE_ERROR("http_password must be set");
		snprintf(line, sizeof(line), "http_listen = %s\nhttp_password = x", open[i]);
		load_main(line);
		CHECK_LOADED();
	}
	for (size_t i = 0; i < ARRAY_LEN(shut); i++) {
		snprintf(line, sizeof(line), "http_listen = %s", shut[i]);
		load_main(line);
		CHECK_LOADED();
	}
	load_main("http_listen = 9632");
	CHECK_ONE_ERROR("http_listen must be ADDRESS:PORT, or empty");
	load_main("http_listen = localhost:99999");
	CHECK_ONE_ERROR("ADDRESS:PORT");
}

TEST(snapshot, lives_as_long_as_somebody_holds_it)
{
	struct conf *mine;

	load_main("logfile = somewhere");
	CHECK_QUIET();
	mine = conf_ref(conf);
	load_main("logfile = elsewhere");
	CHECK_STR(mine->opt.logfile, "somewhere");
	CHECK_STR(conf->opt.logfile, "elsewhere");
	conf_unref(&mine);
	CHECK(mine == NULL);
	conf_unref(&mine);
}

TEST(names, listed)
{
	CHECK(conf_name_listed("a, b ,c", "a"));
	CHECK(conf_name_listed("a, b ,c", "b"));
	CHECK(conf_name_listed("a, b ,c", "c"));
	CHECK(!conf_name_listed("a, b ,c", ""));
	CHECK(!conf_name_listed("ab,c", "a"));
	CHECK(!conf_name_listed("", "a"));
	CHECK(!conf_name_listed(",, ,", "a"));
	CHECK(!conf_name_listed("a", "ab"));
}

TEST(route, words)
{
	enum conf_route route;
	const char *name;
	struct err err = { 0 };

	CHECK(conf_parse_route("auto", &route, &name, &err) && route == ROUTE_AUTO && !name);
	CHECK(conf_parse_route("primary", &route, &name, &err) && route == ROUTE_PRIMARY);
	CHECK(conf_parse_route("standby", &route, &name, &err) && route == ROUTE_STANDBY);
	CHECK(conf_parse_route("node:10.0.0.1:5432", &route, &name, &err) && route == ROUTE_NODE);
	CHECK_STR(name, "10.0.0.1:5432");
	CHECK(conf_parse_route("label:x", &route, &name, &err) && route == ROUTE_LABEL);
	CHECK(!conf_parse_route("node:", &route, &name, &err));
	CHECK(!conf_parse_route("", &route, &name, &err));
	CHECK(!conf_parse_route("primary2", &route, &name, &err));
	CHECK(!conf_parse_route("Auto ", &route, &name, &err));
	CHECK_STR(err.sqlstate, "22023");
}

TEST(client, sets_shows_and_resets)
{
	struct conf_policy mine;
	struct err err = { 0 };
	char out[40];

	load_main("");
	CHECK_QUIET();
	mine = conf->policy;
	CHECK(conf_policy_set(&mine, "consistency", "strong", &err));
	CHECK_INT(mine.consistency, CONS_STRONG);
	CHECK(conf_policy_set(&mine, "max_lag_time", "1500ms", &err));
	CHECK(conf_policy_set(&mine, "max_lag_bytes", "16MB", &err));
	CHECK(conf_policy_set(&mine, "consistency_wait", "0.02", &err));
	CHECK(conf_policy_show(&mine, "max_lag_time", out, sizeof(out)));
	CHECK_STR(out, "1500ms");
	CHECK(conf_policy_show(&mine, "max_lag_bytes", out, sizeof(out)));
	CHECK_STR(out, "16MB");
	CHECK(conf_policy_show(&mine, "consistency_wait", out, sizeof(out)));
	CHECK_STR(out, "20ms");
	CHECK(conf_policy_show(&mine, "consistency", out, sizeof(out)));
	CHECK_STR(out, "strong");
	conf_policy_reset(&mine, &conf->policy, "consistency");
	CHECK_INT(mine.consistency, CONS_EVENTUAL);
	CHECK_INT(mine.max_lag_bytes, 16777216);
	CHECK(!conf_policy_show(&mine, "listen_port", out, sizeof(out)));
}

TEST(client, is_refused)
{
	static const char *const names[] = { "listen_port", "query_timeout", "client_overrides", "consistency_scope", "nope", "route", "" };
	struct conf_policy mine;
	struct err err = { 0 };

	load_main("");
	mine = conf->policy;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		CHECK(!conf_policy_set(&mine, names[i], "1", &err));
		CHECK_STR(err.sqlstate, "42704");
	}
	CHECK(!conf_policy_set(&mine, "consistency", "sometimes", &err));
	CHECK_STR(err.sqlstate, "22023");
	CHECK(!conf_policy_set(&mine, "max_lag_time", "-5", &err));
	CHECK(!conf_policy_set(&mine, "consistency", "bounded", &err));
	CHECK_STR(err.sqlstate, "22023");
	CHECK(memcmp(&mine, &conf->policy, sizeof(mine)) == 0);
	CHECK(conf_policy_set(&mine, "max_lag_time", "5", &err));
	CHECK(conf_policy_set(&mine, "consistency", "bounded", &err));
	CHECK(!conf_policy_set(&mine, "max_lag_time", "0", &err));
}

static void append_change(void *owner, enum conf_change_kind kind, const char *what)
{
	buf_printf(owner, "%s%s\n", kind == CONF_NEEDS_RESTART ? "! " : "", what);
}

TEST(diff, lists_changes)
{
	struct buf out = { 0 };
	struct conf *before;

	load_main("listen_port = 7000\nmonitor_password = hush1\n[databases]\na = pool_size=1\nb =\n"
		"[users]\nann = pool_size=2\n[nodes]\nx=host=x\n");
	before = conf_ref(conf);
	load_main("listen_port = 7001\nmonitor_password = hush2\nquery_timeout = 5\nworkers = 2\n"
		"[databases]\na = pool_size=1 route=primary\nc =\n[users]\nann = pool_size=2\n[nodes]\nx=host=x weight=2\n");
	CHECK_QUIET();
	conf_diff(before, conf, append_change, &out);
	CHECK_STR(buf_cstr(&out), "! listen_port: 7000 -> 7001\n! workers: auto -> 2\nquery_timeout: 0 -> 5\nmonitor_password changed\n"
		"node x changed\ndatabase b removed\ndatabase a changed\ndatabase c added\n");
	buf_free(&out);
	conf_diff(conf, conf, append_change, &out);
	CHECK_INT(out.len, 0);
	conf_unref(&before);
	buf_free(&out);
}

TEST(diff, lists_changes_of_peers)
{
	struct buf out = { 0 };
	struct conf *before;

	load_main("peer_id = 1\n[peers]\n2 = host=a\n3 = host=a\n4 = host=a pool_size=2");
	before = conf_ref(conf);
	load_main("peer_id = 9\n[peers]\n3 = host=a\n4 = host=a pool_size=3\n5 = host=/b");
	CHECK_QUIET();
	conf_diff(before, conf, append_change, &out);
	CHECK_STR(buf_cstr(&out), "peer_id: 1 -> 9\npeer 2 removed\npeer 4 changed\npeer 5 added\n");
	conf_unref(&before);
	buf_free(&out);
}

static bool is_not_yet(const struct conf_finding *finding)
{
	return finding->severity == CONF_WARNING && strstr(finding->text, "not in force yet");
}

TEST(pages, sample_loads)
{
	struct buf sample = { 0 };

	conf_write_sample(&sample);
	load(buf_cstr(&sample));
	buf_free(&sample);
	CHECK_LOADED();
	CHECK_INT(conf->node_count, 3);
	for (size_t i = 0; i < report.count; i++) {
		if (!is_not_yet(&report.findings[i]))
			print_findings();
		CHECK(is_not_yet(&report.findings[i]));
	}
}

/* With every key taken out of its comment it is the table of defaults still. */
TEST(pages, sample_uncommented_loads_as_the_defaults)
{
	struct buf sample = { 0 }, text = { 0 };
	struct conf *plain;
	struct buf out = { 0 };

	conf_write_sample(&sample);
	for (const char *line = buf_cstr(&sample); *line; line += strcspn(line, "\n"), line += *line == '\n') {
		bool key = *line == ';' && line[1] != ' ';
		buf_add(&text, line + key, strcspn(line, "\n") - key);
		buf_add_str(&text, "\n");
	}
	load(buf_cstr(&text));
	CHECK_LOADED();
	plain = conf_ref(conf);
	load("[pgshunt]\nauth_file = /etc/pgshunt/userlist.txt\nmonitor_user = pgshunt_monitor\n[databases]\n*=\n"
		"app_reports = dbname=app route=label:reports consistency=eventual pool_size=5\n[users]\nreport = route=label:reports\n"
		"[nodes]\npg1 = host=127.0.0.1\npg2 = host=127.0.0.1 port=5433 zone=a\npg3 = host=127.0.0.1 port=5434 label=reports\n");
	CHECK_LOADED();
	conf_diff(conf, plain, append_change, &out);
	CHECK_STR(buf_cstr(&out), "");
	conf_unref(&plain);
	buf_free(&sample);
	buf_free(&text);
	buf_free(&out);
}

TEST(pages, reference_has_every_option)
{
	static const char *const names[] = {
#define OPTION(group, scope, type, name, ...) "| `" #name "` |",
#include "pgshunt/options.def"
#undef OPTION
	};
	struct buf page = { 0 };

	conf_write_reference(&page);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		CHECK(strstr(buf_cstr(&page), names[i]) != NULL);
	buf_free(&page);
}

/* conventions.md section 1: PgBouncer's keys, all 101 of them. */
TEST(table, knows_pgbouncers_keys)
{
	int known = 0;
	enum { PGB = 1, RELOAD = 0, RESTART = 0, NOT_YET = 0, NO_EFFECT = 0, SECRET = 0, CLIENT = 0, AUTO = 0, OCTAL = 0 };
#define OPTION(group, scope, type, name, default_, min, max, names, flags, text) known += ((flags) & PGB) != 0;
#include "pgshunt/options.def"
#undef OPTION
	CHECK_INT(known, 101);
}

TEST(pages, minimal_file_loads_without_a_word)
{
	static const char path[] = "conf/pgshunt.minimal.ini";

	if (access(path, R_OK) == -1)
		return;         /* not run from the top of the tree */
	conf_test_forget();
	conf = conf_load(path, &report);
	CHECK_QUIET();
}
