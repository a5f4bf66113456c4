/* [nodes] [databases] [users] [rules] [peers]. */
#include "conf_test.h"

#define MAIN "[pgshunt]\nconsistency = eventual\nauth_file = u\n"

TEST(nodes, all_keys)
{
	load(MAIN "[nodes]\npg-1.a_b = host=db1 hostaddr=10.0.0.1 port=5433 weight=0 label=reports zone=a\n");
	CHECK_QUIET();
	CHECK_INT(conf->node_count, 1);
	CHECK_STR(conf->nodes[0].name, "pg-1.a_b");
	CHECK_STR(conf->nodes[0].host, "db1");
	CHECK_STR(conf->nodes[0].hostaddr, "10.0.0.1");
	CHECK_INT(conf->nodes[0].port, 5433);
	CHECK_INT(conf->nodes[0].weight, 0);
	CHECK_STR(conf->nodes[0].label, "reports");
	CHECK_STR(conf->nodes[0].zone, "a");
}

TEST(nodes, defaults)
{
	load(MAIN "[nodes]\npg1 = host=/run/postgresql\n");
	CHECK_QUIET();
	CHECK_INT(conf->nodes[0].port, 5432);
	CHECK_INT(conf->nodes[0].weight, 1);
	CHECK_STR(conf->nodes[0].label, "");
	CHECK(conf->nodes[0].hostaddr == NULL);
}

TEST(nodes, hostaddr_alone)
{
	load(MAIN "[nodes]\npg1 = hostaddr=::1\n");
	CHECK_QUIET();
	CHECK_STR(conf->nodes[0].host, "::1");
}

struct bad_row {
	const char *row, *part;
};

static void check_bad_rows(const char *section, const struct bad_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *text = mem_printf(MAIN "[nodes]\npg0 = host=h0\n[%s]\n%s\n", section, rows[i].row);
		load(text);
		mem_free(text);
		CHECK_ONE_ERROR(rows[i].part);
		CHECK_INT(line_of(rows[i].part), 7);
	}
}

TEST(nodes, refused)
{
	static const struct bad_row rows[] = {
		{ "pg1 =", "host is missing" },
		{ "pg1 = port=5432", "host is missing" },
		{ "pg1 = host=''", "one host" },
		{ "pg1 = host=a,b", "host must name one host" },
		{ "pg1 = hostaddr=name", "hostaddr must be one address" },
		{ "pg1 = host=a user=x", "user doesn't belong to a node" },
		{ "pg1 = host=a password=secret", "password doesn't belong" },
		{ "pg1 = host=a weigth=2", "unknown key \"weigth\", did you mean weight?" },
		{ "pg1 = host=a port=0", "must be 1 to 65535" },
		{ "pg1 = host=a weight=-1", "must be 0 to 1000" },
		{ "* = host=a", "a node's name" },
		{ "\"a b\" = host=a", "a node's name" },
		{ "pg1 = host=a host=b", "duplicate key host" },
		{ "pg0 = host=b", "duplicate name" },
		{ "pg1 = host=h0", "same address as node pg0" },
		{ "pg1 = host=a label='x y'", "label and zone" },
		{ "pg1 = host", "syntax error" },
		{ "pg1 = host=a consistency=strong", "unknown key" },
	};

	check_bad_rows("nodes", rows, ARRAY_LEN(rows));
}

TEST(nodes, thirty_two_and_no_more)
{
	struct buf text = { 0 };

	buf_add_str(&text, MAIN "[nodes]\n");
	for (int i = 1; i <= 32; i++)
		buf_printf(&text, "pg%d = host=h%d\n", i, i);
	load(buf_cstr(&text));
	CHECK_QUIET();
	buf_add_str(&text, "pg33 = host=h33\n");
	load(buf_cstr(&text));
	buf_free(&text);
	CHECK_ONE_ERROR("more than 32 nodes");
	CHECK_INT(report.findings[0].line, 37);
}

TEST(lists, quoting)
{
	load(MAIN A_NODE "[databases]\na = user = u   password='it''s \\ x = y' dbname='a b'\tpool_size=3\nb = dbname=x=y user='u' \n");
	CHECK_QUIET();
	CHECK_STR(conf->databases[0].password, "it's \\ x = y");
	CHECK_STR(conf->databases[0].dbname, "a b");
	CHECK_STR(conf->databases[0].user, "u");
	CHECK_INT(conf->databases[0].pool_size, 3);
	CHECK_STR(conf->databases[1].dbname, "x=y");
}

TEST(lists, empty_value_must_be_quoted)
{
	load(MAIN A_NODE "[databases]\na = user=u password=''\n");
	CHECK_QUIET();
	CHECK_STR(conf->databases[0].password, "");
	load(MAIN A_NODE "[databases]\na = user=u password=\n");
	CHECK_ONE_ERROR("syntax error in the list of key=value, behind user");
}

TEST(lists, refused)
{
	static const struct bad_row rows[] = {
		{ "a = dbname='x", "syntax error" },
		{ "a = dbname='x'y", "syntax error" },
		{ "a = =x", "syntax error" },
		{ "a = dbname x", "syntax error" },
		{ "a = dbname=x dbname=y", "duplicate key dbname" },
		{ "a = consistency=eventual consistency=session", "duplicate key consistency" },
		{ "a = pool_sise=3", "unknown key \"pool_sise\", did you mean pool_size?" },
		{ "a = consistensy=strong", "did you mean consistency?" },
		{ "a = pool_size=0", "must be 1 to 100000" },
		{ "a = listen_port=1", "unknown key \"listen_port\"" },
		{ "a = route=here", "must be auto, primary, standby, node:NAME or label:NAME" },
		{ "a = route=node:pg9", "no node has this name" },
		{ "a = route=label:x", "no node has this label" },
		{ "pgshunt = dbname=x", "reserved" },
		{ "pgbouncer =", "reserved" },
	};

	check_bad_rows("databases", rows, ARRAY_LEN(rows));
}

TEST(lists, no_part_of_a_password_in_errors)
{
	load(MAIN A_NODE "[databases]\na = user=u password=my hush=hush\nb = user=u password='hush'hush\nc = user=u password=hush hush\n");
	CHECK(!conf);
	CHECK_INT(report.errors, 3);
	CHECK_INT(findings(CONF_ERROR, "hush"), 0);
	CHECK_INT(findings(CONF_ERROR, "behind password"), 2);
}

TEST(lists, reserve_pool_is_an_old_spelling)
{
	load(MAIN A_NODE "[databases]\na = reserve_pool=4\n");
	CHECK_QUIET();
	CHECK_INT(conf->databases[0].reserve_pool_size, 4);
}

TEST(databases, overrides)
{
	load(MAIN "[nodes]\npg1 = host=h label=reports\n[databases]\n* =\n"
		"rep = dbname=app route=label:reports consistency=read_your_writes pool_size=5 query_timeout=0.5 server_lifetime=1h\n");
	CHECK_QUIET();
	const struct conf_database *rep = conf_database_find(conf, "rep"), *other = conf_database_find(conf, "nobody");
	struct conf_policy policy;
	CHECK_STR(rep->dbname, "app");
	CHECK_STR(other->name, "*");
	CHECK(other->dbname == NULL);
	conf_policy_of(conf, rep, NULL, &policy);
	CHECK_STR(policy.route, "label:reports");
	CHECK_INT(policy.consistency, CONS_READ_YOUR_WRITES);
	CHECK_INT(policy.query_timeout, 500000);
	CHECK_INT(policy.primary_wait, 30000000);
	conf_policy_of(conf, other, NULL, &policy);
	CHECK_INT(policy.consistency, CONS_EVENTUAL);
	CHECK_STR(policy.route, "auto");
	CHECK_INT(conf_pool_size(conf, rep, NULL), 5);
	CHECK_INT(conf_pool_size(conf, other, NULL), 20);
	CHECK_INT(conf_server_lifetime(conf, rep), 3600000000);
	CHECK_INT(conf_server_lifetime(conf, other), 3600000000);
}

TEST(databases, duplicate)
{
	load(MAIN A_NODE "[databases]\na = pool_size=1\n\"a\" = pool_size=2\n");
	CHECK_ONE_ERROR("[databases] a: duplicate name");
	CHECK_INT(report.findings[0].line, 8);
}

TEST(databases, unknown_without_star)
{
	load(MAIN A_NODE "[databases]\na = dbname=b\n");
	CHECK_QUIET();
	CHECK(conf_database_find(conf, "b") == NULL);
}

TEST(databases, pass_through_without_the_section)
{
	load(MAIN A_NODE);
	CHECK_QUIET();
	CHECK(conf_database_find(conf, "anything") != NULL);
	CHECK_INT(conf_pool_size(conf, conf_database_find(conf, "x"), NULL), 20);
}

TEST(databases, values_not_built_warn_here_too)
{
	load(MAIN A_NODE "[databases]\na = load_balance=latency\nb = connect_query=x auth_user=x\nc = load_balance_hosts=disable\n");
	CHECK_LOADED();
	CHECK_INT(line_of("[databases] a: load_balance = latency is not in force yet: runs as round_robin"), 7);
	CHECK_INT(line_of("[databases] b: connect_query is accepted"), 8);
	CHECK_INT(line_of("[databases] b: auth_user is accepted"), 8);
	CHECK_INT(line_of("[databases] c: load_balance_hosts has no effect"), 9);
}

TEST(users, overrides_win_over_the_database)
{
	struct conf_policy policy;

	load(MAIN "[nodes]\npg1 = host=h\n[databases]\na = route=primary query_timeout=5 pool_size=4\n[users]\n"
		"ann = route=node:pg1 pool_size=3\n");
	CHECK_QUIET();
	const struct conf_user *ann = conf_user_find(conf, "ann");
	CHECK(ann != NULL);
	CHECK(conf_user_find(conf, "bob") == NULL);
	conf_policy_of(conf, conf_database_find(conf, "a"), ann, &policy);
	CHECK_STR(policy.route, "node:pg1");
	CHECK_INT(policy.query_timeout, 5000000);
	CHECK_INT(conf_pool_size(conf, conf_database_find(conf, "a"), ann), 3);
	CHECK_INT(conf_pool_size(conf, conf_database_find(conf, "a"), NULL), 4);
}

TEST(users, refused)
{
	static const struct bad_row rows[] = {
		{ "ann = dbname=x", "unknown key" },
		{ "ann = pool_size=x", "must be 1 to" },
		{ "ann = auth_type=md5", "unknown key" },
		{ "ann = query_timeout=x", "bare seconds" },
	};

	check_bad_rows("users", rows, ARRAY_LEN(rows));
	load(MAIN A_NODE "[users]\na = pool_size=1\na = pool_size=1\n");
	CHECK_ONE_ERROR("[users] a: duplicate name");
}

TEST(rules, read_and_warned_of_once)
{
	load(MAIN "[nodes]\npg1=host=h label=reports\n[rules]\n"
		"heavy = table=public.events,public.audit  route=label:reports\nb = user=x route=primary\n");
	CHECK_ONE_WARNING("[rules] is accepted but not in force yet");
}

TEST(rules, refused)
{
	static const struct bad_row rows[] = {
		{ "a = table=x", "route is missing" },
		{ "a = tabel=x route=primary", "did you mean table?" },
		{ "a = route=up", "must be auto" },
		{ "a = route=label:none", "no node has this label" },
		{ "a = route=primary user", "syntax error" },
	};

	check_bad_rows("rules", rows, ARRAY_LEN(rows));
}

#define PEERED "[pgshunt]\nauth_file = u\nconsistency = eventual\nlisten_addr = 10.0.0.1, 10.0.0.2\nunix_socket_dir = /run/a\npeer_id = 1\n" A_NODE

TEST(peers, read)
{
	load(PEERED "[peers]\n1 = host=10.0.0.1\n2 = host=/run/b port=6433\n16383 = host=far.example pool_size=7\n");
	CHECK_QUIET();
	CHECK_INT(conf->peer_count, 3);
	CHECK(conf_peer_find(conf, 3) == NULL);
	CHECK(conf_peer_find(conf, 0) == NULL);
	CHECK_INT(conf_peer_find(conf, 1)->port, 6432);
	const struct conf_peer *b = conf_peer_find(conf, 2), *far = conf_peer_find(conf, 16383);
	CHECK_STR(b->host, "/run/b");
	CHECK_INT(b->port, 6433);
	CHECK_INT(conf_peer_pool_size(conf, b), 20);
	CHECK_STR(far->host, "far.example");
	CHECK_INT(conf_peer_pool_size(conf, far), 7);
	load(PEERED);
	CHECK_QUIET();
	CHECK_INT(conf->peer_count, 0);
}

TEST(peers, refused)
{
	static const struct bad_row rows[] = {
		{ "0 = host=h", "a number from 1 to 16383" },
		{ "16384 = host=h", "a number from 1 to 16383" },
		{ "99999999999 = host=h", "a number from 1 to 16383" },
		{ "01 = host=h", "a number from 1 to 16383" },
		{ "a = host=h", "a number from 1 to 16383" },
		{ "1 = port=6432", "host is missing" },
		{ "1 = host=''", "host must name one host" },
		{ "1 = host=a,b", "host must name one host" },
		{ "1 = host=a port=0", "must be 1 to 65535" },
		{ "1 = host=a pool_size=0", "must be 1 to" },
		{ "1 = host=a user=b", "unknown key" },
	};

	check_bad_rows("peers", rows, ARRAY_LEN(rows));
	load(PEERED "[peers]\n2 = host=a\n2 = host=b\n");
	CHECK_ONE_ERROR("[peers] 2: duplicate name");
}

TEST(peers, warned_of)
{
	load(MAIN A_NODE "[peers]\n2 = host=/tmp/b\n3 = host=/tmp/c\n");
	CHECK_ONE_WARNING("[peers] has no effect: peer_id is not set");
	load(PEERED "[peers]\n2 = host=10.0.0.2\n");
	CHECK_ONE_WARNING("[peers] 2: host and port are this process's own too");
	load(PEERED "[peers]\n2 = host=/run/a\n3 = host=/run/a port=1\n");
	CHECK_ONE_WARNING("[peers] 2: host and port are this process's own too");
	load(PEERED "[users]\nann = consistency_scope=global\n[peers]\n2 = host=h\n");
	CHECK_INT(findings(CONF_WARNING, "consistency_scope ends at this process"), 1);
}

TEST(pgbouncer_ini, hosts_become_nodes)
{
	load("[databases]\n"
		"app = host=10.0.0.1 port=5433 dbname=app user=u password='x y'\n"
		"app2 = host=10.0.0.1 port=5433\n"
		"rep = host=10.0.0.2,10.0.0.3\n"
		"six = host=::1\n"
		"* = host=/run/postgresql\n"
		"[pgbouncer]\nlisten_port = 6432\nlisten_addr = *\nauth_type = md5\nauth_file = u\n"
		"pool_mode = transaction\nconsistency=eventual\n"
		"server_reset_query = DISCARD ALL\nmax_client_conn = 100\ndefault_pool_size = 20\nlog_connections = 1\n");
	CHECK_LOADED();
	CHECK_INT(conf->node_count, 5);
	CHECK_STR(conf->nodes[0].name, "10.0.0.1:5433");
	CHECK_INT(conf->nodes[0].port, 5433);
	CHECK_STR(conf->nodes[2].name, "10.0.0.3:5432");
	CHECK_STR(conf->nodes[3].name, "[::1]:5432");
	CHECK_STR(conf->nodes[4].host, "/run/postgresql");
	CHECK_INT(findings(CONF_NOTE, "becomes node"), 5);
	CHECK_INT(report.count, 5);
	CHECK_INT(conf->policy.pool_mode, POOL_TRANSACTION);
}

TEST(pgbouncer_ini, hosts_that_nodes_has)
{
	load("[databases]\napp = host=db1 port=5433\n[nodes]\npg1 = host=db1 port=5433\n" MAIN);
	CHECK_QUIET();
	CHECK_INT(conf->node_count, 1);
}

TEST(pgbouncer_ini, empty_host_in_a_list)
{
	load("[databases]\napp = host=a,,b\n" MAIN);
	CHECK_ONE_ERROR("empty name");
}
