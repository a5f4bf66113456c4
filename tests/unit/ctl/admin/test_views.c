#include "admin_test.h"

/* Names and types as PgBouncer has them (conventions.md section 3): s text, i int4, q int8, N numeric, T a text. */
struct want {
	const char *sql, *columns;
};
#define SOCKET_COLUMNS \
	"type s,user s,database s,replication s,state s,addr s,port i,local_addr s,local_port i,connect_time T,request_time T,wait i," \
	"wait_us i,close_needed i,ptr s,link s,remote_pid i,tls s,application_name s,prepared_statements i,id i"
static const struct want wants[] = {
	{ "SHOW VERSION", "version s" },
	{ "SHOW CONFIG", "key s,value s,default s,changeable s" },
	{ "SHOW POOLS", "database s,user s,cl_active i,cl_waiting i,cl_active_cancel_req i,cl_waiting_cancel_req i,sv_active i,"
	                "sv_active_cancel i,sv_being_canceled i,sv_idle i,sv_used i,sv_tested i,sv_login i,maxwait i,maxwait_us i,"
	                "pool_mode s,load_balance_hosts s,sv_pinned i" },
	{ "SHOW CLIENTS", SOCKET_COLUMNS ",node s,pinned_by s,consistency s,need_lsn s,last_reason s" },
	{ "SHOW SERVERS", SOCKET_COLUMNS ",node s" },
	{ "SHOW SOCKETS", SOCKET_COLUMNS ",recv_pos i,pkt_pos i,pkt_remain i,send_pos i,send_remain i,pkt_avail i,send_avail i,node s" },
	{ "SHOW STATS", "database s,total_server_assignment_count N,total_xact_count N,total_query_count N,total_received N,total_sent N,"
	                "total_xact_time N,total_query_time N,total_wait_time N,total_client_parse_count N,total_server_parse_count N,"
	                "total_bind_count N,total_client_login_count N,avg_server_assignment_count N,avg_xact_count N,avg_query_count N,"
	                "avg_recv N,avg_sent N,avg_xact_time N,avg_query_time N,avg_wait_time N,avg_client_parse_count N,"
	                "avg_server_parse_count N,avg_bind_count N,avg_client_login_count N" },
	{ "SHOW STATS_TOTALS", "database s,server_assignment_count N,xact_count N,query_count N,bytes_received N,bytes_sent N,xact_time N,"
	                       "query_time N,wait_time N,client_parse_count N,server_parse_count N,bind_count N,client_login_count N" },
	{ "SHOW STATS_AVERAGES", "database s,server_assignment_count N,xact_count N,query_count N,bytes_received N,bytes_sent N,"
	                         "xact_time N,query_time N,wait_time N,avg_client_parse_count N,avg_server_parse_count N,"
	                         "avg_bind_count N,avg_client_login_count N" },
	{ "SHOW TOTALS", "name s,value N" },
	{ "SHOW LISTS", "list s,items i" },
	{ "SHOW DATABASES", "name s,host s,port i,database s,force_user s,pool_size i,min_pool_size i,reserve_pool_size i,"
	                    "server_lifetime i,pool_mode s,load_balance_hosts s,max_connections i,current_connections i,"
	                    "max_client_connections i,current_client_connections i,paused i,disabled i" },
	{ "SHOW USERS", "name s,pool_size s,reserve_pool_size s,pool_mode s,max_user_connections i,current_connections i,"
	                "max_user_client_connections i,current_client_connections i" },
	{ "SHOW PEERS", "peer_id i,host s,port i,pool_size i" },
	{ "SHOW MEM", "name s,size i,used i,free i,memtotal i" },
	{ "SHOW STATE", "key s,value s" },
	{ "SHOW PREPARED_STATEMENTS", "statement s,database s,user s,node s,server_id i" },
	{ "SHOW NODES", "name s,host s,port i,role s,state s,timeline q,write_lsn s,flush_lsn s,replay_lsn s,lag_bytes q,lag_ms q,"
	                "weight i,label s,zone s,reads q,writes q,errors q,retries q,latency_us q,last_sample_ms q,reason s" },
};

static char letter_of(const struct wire_column *column, const char *want)
{
	switch (column->type_oid) {
	case 25: return *want == 'T' ? 'T' : 's';
	case 23: return 'i';
	case 20: return 'q';
	case 1700: return 'N';
	default: return '?';
	}
}

static void check_columns(const struct want *want)
{
	char text[2048], *save = NULL;
	size_t i = 0;

	run(want->sql);
	CHECK_STR(t.err.sqlstate, "");
	CHECK_STR(t.tag, "SHOW");
	snprintf(text, sizeof(text), "%s", want->columns);
	for (char *at = strtok_r(text, ",", &save); at; at = strtok_r(NULL, ",", &save), i++) {
		char got[128];

		CHECK(i < t.column_count);
		snprintf(got, sizeof(got), "%s %c", t.columns[i].name, letter_of(&t.columns[i], strchr(at, ' ') + 1));
		CHECK_STR(got, at);
	}
	CHECK_INT(t.column_count, i);
}

TEST(views, columns_are_pgbouncers_then_ours)
{
	test_open("p:primary a: b:900ms");
	with_pool(0, "app", "alice");
	for (size_t i = 0; i < ARRAY_LEN(wants); i++)
		check_columns(&wants[i]);
}

TEST(views, version_is_one_column)
{
	test_open("p:primary");
	run("SHOW VERSION");
	CHECK_STR(rows(), "pgshunt " PGSHUNT_VERSION "\n");
	CHECK_INT(t.visits, 0);
}

TEST(views, help_is_a_notice)
{
	test_open("p:primary");
	run("SHOW HELP");
	CHECK_INT(t.column_count, 0);
	CHECK_STR(t.tag, "SHOW");
	CHECK(strstr(t.notice, "SHOW HELP|VERSION|") && strstr(t.notice, "|NODES") && strstr(t.notice, "KILL_CLIENT id"));
	CHECK(!strstr(t.notice, "ROUTES") && !strstr(t.notice, "SWITCHOVER"));
}

TEST(views, pools_sum_workers_and_show_the_console)
{
	test_open("p:primary a:");
	with_pool(0, "app", "alice");
	with_pool(1, "app", "alice");
	with_pool(1, "app", "bob");
	with_pool(1, "other", "alice");
	run("SHOW POOLS");
	CHECK_STR(rows(), "app|alice|0|0|0|0|0|0|0|0|0|0|0|0|0|transaction|\\N|0\n"
			  "app|bob|0|0|0|0|0|0|0|0|0|0|0|0|0|transaction|\\N|0\n"
			  "other|alice|0|0|0|0|0|0|0|0|0|0|0|0|0|transaction|\\N|0\n"
			  "pgshunt|pgshunt|0|0|0|0|0|0|0|0|0|0|0|0|0|statement|\\N|0\n");
	CHECK_INT(t.visits, 2);
}

TEST(views, databases_are_those_configured_those_in_use_and_the_console)
{
	test_open("p:primary a:");
	with_pool(0, "other", "alice");
	with_pool(1, "other", "bob");
	run("SHOW DATABASES");
	CHECK_STR(rows(), "app|127.0.0.1|5432|app_real|\\N|5|0|0|3600|\\N|\\N|0|0|0|0|0|0\n"
			  "other|127.0.0.1|5432|other|\\N|7|0|0|3600|\\N|\\N|0|0|0|0|0|0\n"
			  "pgshunt|\\N|6432|pgshunt|pgshunt|2|0|0|0|statement|\\N|0|0|0|0|0|0\n");
}

TEST(views, users_and_lists)
{
	test_open("p:primary a:");
	with_pool(0, "app", "alice");
	run("SHOW USERS");
	CHECK_STR(rows(), "report|3||\\N|0|0|0|0\nalice|||\\N|0|0|0|0\n");
	run("SHOW LISTS");
	CHECK_STR(rows(), "databases|2\nusers|2\npeers|2\npools|2\npeer_pools|0\nfree_clients|0\nused_clients|0\nlogin_clients|0\n"
			  "free_servers|0\nused_servers|0\ndns_names|0\ndns_zones|0\ndns_queries|0\ndns_pending|0\n");
}

TEST(views, stats_are_a_row_a_database)
{
	struct stats_pool *stats;

	test_open("p:primary a:");
	stats = with_pool(0, "app", "alice");
	counter_add(&stats->query_count, 5);
	counter_add(&stats->bytes_sent, 100);
	stats = with_pool(1, "app", "bob");
	counter_add(&stats->query_count, 2);
	stats = with_pool(1, "db2", "bob");
	counter_add(&stats->client_login_count, 3);
	run("SHOW STATS_TOTALS");
	CHECK(strstr(rows(), "app|0|0|7|0|100|0|0|0|0|0|0|0\ndb2|0|0|0|0|0|0|0|0|0|0|0|3\npgshunt|0|0|0|"));
	CHECK_INT(t.row_count, 3);
	run("SHOW STATS");
	CHECK(strstr(rows(), "app|0|0|7|0|100|0|0|0|0|0|0|0|"));
	CHECK(strstr(rows(), "\npgshunt|0|1|1|"));      /* the console counts itself */
	run("SHOW TOTALS");
	CHECK(strstr(rows(), "total_query_count|9\n") && strstr(rows(), "total_server_bytes|"));
	CHECK(strstr(rows(), "avg_client_login_count|"));
	CHECK_INT(t.row_count, 24);
}

TEST(views, totals_outlive_their_pool)
{
	struct stats_pool *stats;
	struct fake_worker *w;

	test_open("p:primary a:");
	stats = with_pool(0, "old", "alice");
	counter_add(&stats->query_count, 5);
	pool_set_release(&t.sets[0]);
	w = &t.workers[0];
	pools_tick(w->pools);
	run("SHOW STATS_TOTALS");
	CHECK_INT(t.row_count, 2);
	CHECK(strstr(rows(), "old|0|0|5|"));
	stats = with_pool(0, "old", "alice");          /* and go on in the next one of the same names */
	CHECK_INT(counter_read(&stats->query_count), 5);
}

TEST(views, log_line)
{
	struct stats_pool *stats;

	test_open("p:primary a:");
	catch_log();
	stats = with_pool(0, "app", "alice");
	counter_add(&stats->query_count, 4);
	counter_add(&stats->query_time, 4000);
	counter_add(&stats->xact_count, 2);
	counter_add(&stats->xact_time, 4000);
	admin_log_stats(t.admin);
	CHECK(is_logged(" stats: ") && is_logged(" xacts/s, "));
	CHECK(is_logged(" queries/s, in 0 B/s, out 0 B/s, xact 2000 us, query 1000 us, wait 0 us\n"));
}

TEST(views, nodes)
{
	test_open("p:primary a:900ms,label=x,weight=3 b:down");
	counter_add(&t.workers[0].nodes[1].reads, 2);
	counter_add(&t.workers[1].nodes[1].reads, 2);
	counter_add(&t.workers[1].nodes[1].time_us, 400);
	run("SHOW NODES");
	CHECK_INT(t.row_count, 3);
	CHECK(strncmp(rows(), "p|", 2) == 0 && strstr(rows(), "|primary|up|1|0/5000000|"));
	CHECK(strstr(rows(), "\na|") && strstr(rows(), "|standby|up|") && strstr(rows(), "|900|3|x||4|0|0|0|100|"));
	CHECK(strstr(rows(), "\nb|") && strstr(rows(), "|down|"));
}

TEST(views, config_hides_secrets)
{
	test_open("p:primary");
	run("SHOW CONFIG");
	CHECK(strstr(rows(), "\nmax_client_conn|100|100|yes\n") && strstr(rows(), "\nlisten_port|6432|6432|no\n"));
}

TEST(views, texts_are_valid_utf8)
{
	test_open("p:primary");
	with_pool(0, "caf\xc3\xa9", "b\xff\xc3");
	run("SHOW POOLS");
	CHECK(strstr(rows(), "caf\xc3\xa9|b??|"));
}

TEST(views, state_and_peers)
{
	test_open("p:primary");
	run("SHOW STATE");
	CHECK_STR(rows(), "active|yes\npaused|no\nsuspended|no\n");
	run("SHOW PEERS");
	CHECK_STR(rows(), "2|10.0.0.2|6432|7\n3|/run/pgshunt-3|6433|9\n");
	CHECK_INT(t.column_count, 4);
}
