#include "test.h"

#include "pgshunt/route.h"

#define NOW TOPO_FIXTURE_NOW_US

/* ---- verdicts ---- */

static const struct verdict v_read = { .class = SQL_READ, .reason = SQL_R_READ, .table_count = 1 };
static const struct verdict v_empty = { .class = SQL_EMPTY, .reason = SQL_R_READ };
static const struct verdict v_write = { .class = SQL_WRITE, .reason = SQL_R_WRITE };
static const struct verdict v_lock = { .class = SQL_LOCK, .reason = SQL_R_ROW_LOCK };
static const struct verdict v_utility = { .class = SQL_UTILITY, .reason = SQL_R_UTILITY };
static const struct verdict v_function = { .class = SQL_WRITE, .reason = SQL_R_FUNCTION, .reason_name = "nextval" };
static const struct verdict v_unlogged = { .class = SQL_READ, .reason = SQL_R_UNLOGGED, .reason_name = "cache" };
static const struct verdict v_unknown = { .class = SQL_UNKNOWN, .reason = SQL_R_UNPARSED };
static const struct verdict v_set = { .class = SQL_SESSION, .reason = SQL_R_SETTING, .pins = SQL_PIN_SETTING };
static const struct verdict v_begin = { .class = SQL_TRANSACTION, .reason = SQL_R_TRANSACTION };
static const struct verdict v_local = { .class = SQL_READ, .reason = SQL_R_NODE_LOCAL };
static const struct verdict v_local_view = { .class = SQL_READ, .reason = SQL_R_NODE_LOCAL, .table_count = 1 };
static const struct verdict v_seed = { .class = SQL_READ, .reason = SQL_R_READ, .pins = SQL_PIN_SEED };

/* ---- one pick, said in one line: "a read", "primary p consistency" is "p consistency", "wait-sample consistency", "refuse 25006" ---- */

struct ask {
	const char *topo;
	const struct verdict *verdict;          /* NULL: a read */
	struct conf_policy conf;                /* zeroes: eventual, standbys; primary_fallback is switched on unless no_fallback */
	bool no_fallback;
	enum conf_route target;
	const char *name;
	bool hint;
	struct need need;
	bool may_wait;
	uint32_t exclude;
	bool must_primary;
	enum route_reason primary_reason;
	const char *primary_reason_name;
	usec_t later_us;                        /* asked this long after the fixture's now */
};

static struct err last_err;

static const char *say(const struct topo *topo, const struct route_choice *choice)
{
	static const char *const waits[] = { [ROUTE_WAIT_SAMPLE] = "wait-sample", [ROUTE_WAIT_PRIMARY] = "wait-primary",
		                             [ROUTE_WAIT_NODE] = "wait-node" };
	static char text[200];
	char reason[100];

	route_reason_text(choice->reason, choice->reason_name, reason, sizeof(reason));
	if (choice->outcome == ROUTE_REFUSE)
		snprintf(text, sizeof(text), "refuse %s", last_err.sqlstate);
	else if (choice->outcome == ROUTE_TO_NODE)
		snprintf(text, sizeof(text), "%s %s", topo->nodes[choice->node].name, reason);
	else
		snprintf(text, sizeof(text), "%s %s", waits[choice->outcome], reason);
	if (choice->outcome != ROUTE_TO_NODE && choice->node != -1)
		return "a node without ROUTE_TO_NODE";
	return text;
}

static const char *pick(struct ask ask)
{
	const struct topo *topo = topo_fixture(ask.topo);
	struct route_policy policy = { &ask.conf, ask.target, ask.name, ask.hint };
	struct route_state state = { 0 };
	struct route_choice choice;
	const char *said;

	ask.conf.primary_fallback = !ask.no_fallback;
	if (ask.conf.consistency_wait == 0)
		ask.conf.consistency_wait = 10 * USEC_PER_MS;
	last_err = (struct err){ .sqlstate = "" };
	choice = route_pick(&(struct route_request){ .err = &last_err, .topo = topo, .policy = &policy,
		.verdict = ask.verdict ? ask.verdict : &v_read,
		.need = ask.need, .now_us = NOW + ask.later_us, .may_wait = ask.may_wait, .exclude = ask.exclude,
		.must_primary = ask.must_primary, .primary_reason = ask.primary_reason,
		.primary_reason_name = ask.primary_reason_name }, &state);
	said = say(topo, &choice);
	topo_unref(&topo);
	return said;
}

#define PICK(fixture, ...) pick((struct ask){ .topo = fixture, ##__VA_ARGS__ })
#define RYW .conf = { .consistency = CONS_READ_YOUR_WRITES }
#define NEED(after, tl, pos) .need = { after, { tl, pos } }

/* ---- what the statement demands ---- */

TEST(route, read_goes_to_the_standby)
{
	CHECK_STR(PICK("p:primary a:"), "a read");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_empty), "a read");
}

TEST(route, all_else_goes_to_the_primary_and_says_why)
{
	CHECK_STR(PICK("p:primary a:", .verdict = &v_write), "p write");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_lock), "p row-lock");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_utility), "p utility");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_function), "p function:nextval");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_unlogged), "p unlogged:cache");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_unknown), "p unparsed");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_set), "p setting");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_begin), "p transaction");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_local), "p node-local");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_seed), "p pinned");
}

TEST(route, movable)
{
	CHECK(route_is_movable(&v_read) && route_is_movable(&v_empty));
	CHECK(!route_is_movable(&v_write) && !route_is_movable(&v_local) && !route_is_movable(&v_seed) && !route_is_movable(&v_unlogged));
	CHECK(!route_is_movable(&v_set) && !route_is_movable(&v_begin) && !route_is_movable(&v_unknown));
}

TEST(route, must_primary)
{
	CHECK_STR(PICK("p:primary a:", .must_primary = true, .primary_reason = ROUTE_R_TRANSACTION), "p transaction");
	CHECK_STR(PICK("p:primary a:", .must_primary = true, .primary_reason = ROUTE_R_RETRIED, .primary_reason_name = "25006"),
		"p retried:25006");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_function, .must_primary = true, .primary_reason = ROUTE_R_FUNCTION), "p function:nextval");
	CHECK_STR(PICK("p: a:", .must_primary = true, .primary_reason = ROUTE_R_TRANSACTION), "wait-primary no-primary");
}

TEST(route, write_without_primary_waits)
{
	CHECK_STR(PICK("a: b:", .verdict = &v_write), "wait-primary no-primary");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_write, .exclude = 1), "wait-primary no-primary");
}

/* ---- which standbys are there ---- */

TEST(route, states_that_take_no_reads)
{
	static const char *const states[] = { "down", "starting", "stale", "drained", "diverged", "deposed", "foreign" };

	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		char topo[100];
		snprintf(topo, sizeof(topo), "p:primary a:%s", states[i]);
		CHECK_STR(PICK(topo), "p no-standby");
		snprintf(topo, sizeof(topo), "p:primary a:%s b:", states[i]);
		CHECK_STR(PICK(topo), "b read");
	}
}

TEST(route, lagging_without_a_limit_is_used)
{
	CHECK_STR(PICK("p:primary a:lagging,5000ms"), "a read");
}

TEST(route, no_standby_at_all)
{
	CHECK_STR(PICK("p:primary"), "p no-standby");
}

TEST(route, weight_zero_takes_no_reads)
{
	CHECK_STR(PICK("p:primary a:weight=0"), "p no-standby");
	CHECK_STR(PICK("p:primary a:weight=0 b:"), "b read");
}

TEST(route, old_sample_fails_closed)
{
	CHECK_STR(PICK("p:primary a:age=1500ms"), "a read");
	CHECK_STR(PICK("p:primary a:age=1501ms"), "p no-standby");
	CHECK_STR(PICK("p:primary a:age=1500ms", .later_us = 1), "p no-standby");
	CHECK_STR(PICK("p:primary a:unsampled"), "p no-standby");
}

TEST(route, unknown_timeline_fails_closed)
{
	CHECK_STR(PICK("p:primary a:tl=0"), "p no-standby");
	CHECK_STR(PICK("p:primary a:tl=2"), "p no-standby");
	CHECK_STR(PICK("line=2 p:primary a:tl=1"), "p no-standby");
}

TEST(route, tried_nodes_are_left_out)
{
	CHECK_STR(PICK("p:primary a: b:", .exclude = 2), "b read");
	CHECK_STR(PICK("p:primary a: b:", .exclude = 6), "p no-standby");
	CHECK_STR(PICK("p:primary a: b:", .exclude = 7), "wait-primary no-primary");
}

TEST(route, writable_node_that_is_not_the_primary_gets_nothing)
{
	CHECK_STR(PICK("x:primary p:primary"), "p no-standby");
	CHECK_STR(PICK("x:primary p:primary", .target = ROUTE_NODE, .name = "x"), "p no-standby");
}

/* ---- after a promotion ---- */

TEST(route, ancestor_up_to_the_switch_point)
{
	CHECK_STR(PICK("line=2 switch=1/0/4000000 p:primary a:1000ms@1/0/4000000"), "a read");
	CHECK_STR(PICK("line=2 switch=1/0/4000000 p:primary a:1000ms@1/0/4000001"), "p no-standby");
}

TEST(route, ancestor_for_ten_seconds)
{
	CHECK_STR(PICK("line=2 switch=1/0/4000000 p:primary a:10000ms@1/0/4000000,no-receiver"), "a read");
	CHECK_STR(PICK("line=2 switch=1/0/4000000 p:primary a:10001ms@1/0/4000000,no-receiver"), "p lag");
	CHECK_STR(PICK("line=2 switch=1/0/4000000 p:primary a:no-lag,@1/0/4000000"), "p lag");
}

TEST(route, ancestor_under_the_users_own_limit)
{
	CHECK_STR(PICK("line=2 switch=1/0/4000000 p:primary a:12000ms@1/0/4000000", .conf = { .max_lag_time = 20 * USEC_PER_SEC }), "a read");
	CHECK_STR(PICK("line=2 switch=1/0/4000000 p:primary a:3000ms@1/0/4000000", .conf = { .max_lag_time = USEC_PER_SEC }), "p lag");
}

/* ---- lag limits ---- */

TEST(route, lag_in_bytes)
{
	CHECK_STR(PICK("p:primary a:1000B", .conf = { .max_lag_bytes = 1000 }), "a read");
	CHECK_STR(PICK("p:primary a:1001B", .conf = { .max_lag_bytes = 1000 }), "p lag");
	CHECK_STR(PICK("p:primary a:1001B b:10B", .conf = { .max_lag_bytes = 1000 }), "b read");
	CHECK_STR(PICK("p:primary a:no-lag", .conf = { .max_lag_bytes = 1000 }), "p lag");
}

TEST(route, lag_in_time)
{
	CHECK_STR(PICK("p:primary a:900ms b:950ms", .conf = { .max_lag_time = 500 * USEC_PER_MS }), "p lag");
	CHECK_STR(PICK("p:primary a:900ms b:450ms", .conf = { .max_lag_time = 500 * USEC_PER_MS }), "b read");
	CHECK_STR(PICK("p:primary a:no-lag", .conf = { .max_lag_time = 500 * USEC_PER_MS }), "p lag");
}

TEST(route, both_limits_hold)
{
	CHECK_STR(PICK("p:primary a:2000B", .conf = { .max_lag_time = USEC_PER_SEC, .max_lag_bytes = 1000 }), "p lag");
	CHECK_STR(PICK("p:primary a:500B", .conf = { .max_lag_time = USEC_PER_SEC, .max_lag_bytes = 1000 }), "a read");
}

TEST(route, under_a_limit_the_receiver_must_stream)
{
	CHECK_STR(PICK("p:primary a:no-receiver", .conf = { .max_lag_bytes = 1000 }), "p lag");
	CHECK_STR(PICK("p:primary a:no-receiver", .conf = { .max_lag_time = USEC_PER_SEC }), "p lag");
	CHECK_STR(PICK("p:primary a:no-receiver"), "a read");
}

TEST(route, age_of_the_sample_counts_as_lag)
{
	/* it had everything 500 ms ago; what was written since is unknown: worth a sample, not a stale read */
	CHECK_STR(PICK("p:primary a:", .conf = { .max_lag_time = 100 * USEC_PER_MS }, .later_us = 500 * USEC_PER_MS), "p lag");
	CHECK_STR(PICK("p:primary a:", .conf = { .max_lag_time = 100 * USEC_PER_MS }, .later_us = 500 * USEC_PER_MS, .may_wait = true),
		"wait-sample lag");
	CHECK_STR(PICK("p:primary a:900ms", .conf = { .max_lag_time = 100 * USEC_PER_MS }, .may_wait = true), "p lag");
}

TEST(route, hysteresis_after_lagging)
{
	CHECK_STR(PICK("p:primary a:lagging,810B", .conf = { .max_lag_bytes = 1000 }), "p lag");
	CHECK_STR(PICK("p:primary a:lagging,800B", .conf = { .max_lag_bytes = 1000 }), "a read");
	CHECK_STR(PICK("p:primary a:lagging,450ms", .conf = { .max_lag_time = 500 * USEC_PER_MS }), "p lag");
}

/* ---- consistency ---- */

TEST(route, eventual_and_bounded_ignore_the_need)
{
	CHECK_STR(PICK("p:primary a:900ms", NEED(NOW, 1, 0x9000000)), "a read");
	CHECK_STR(PICK("p:primary a:900ms", .conf = { .consistency = CONS_BOUNDED, .max_lag_time = USEC_PER_SEC }, NEED(NOW, 0, 0)), "a read");
	CHECK_STR(PICK("p:primary a:900ms", .conf = { .consistency = CONS_BOUNDED, .max_lag_time = USEC_PER_MS }, NEED(NOW, 0, 0)), "p lag");
}

TEST(route, without_a_need_read_your_writes_is_free)
{
	CHECK_STR(PICK("p:primary a:900ms", RYW), "a read");
}

TEST(route, covered_need)
{
	CHECK_STR(PICK("p:primary a:", RYW, NEED(0, 1, 0x5000000)), "a read");
	CHECK_STR(PICK("p:primary a:100B b:", RYW, NEED(0, 1, 0x5000000)), "b read");
}

TEST(route, need_resolves_by_the_topologys_sample)
{
	CHECK_STR(PICK("sampled=2ms p:primary a:", RYW, NEED(NOW - 3000, 0, 0)), "a read");
	CHECK_STR(PICK("sampled=2ms p:primary a:", RYW, NEED(NOW - 2000, 0, 0)), "p consistency");
	CHECK_STR(PICK("sampled=2ms p:primary a:", RYW, NEED(NOW - 2000, 0, 0), .may_wait = true), "wait-sample consistency");
}

TEST(route, behind_goes_to_the_primary_when_waiting_is_over)
{
	CHECK_STR(PICK("p:primary a:1B", RYW, NEED(0, 1, 0x5000000)), "p consistency");
}

TEST(route, little_behind_waits)
{
	CHECK_STR(PICK("p:primary a:5ms", RYW, NEED(0, 1, 0x5000000), .may_wait = true), "wait-sample consistency");
}

TEST(route, far_behind_does_not_wait)
{
	CHECK_STR(PICK("p:primary a:900ms", RYW, NEED(0, 1, 0x5000000), .may_wait = true), "p consistency");
	CHECK_STR(PICK("p:primary a:900ms b:5ms", RYW, NEED(0, 1, 0x5000000), .may_wait = true), "wait-sample consistency");
}

TEST(route, sample_older_than_the_primarys_says_nothing_of_the_distance)
{
	CHECK_STR(PICK("sampled=2ms p:primary a:900ms,age=400ms", RYW, NEED(0, 1, 0x5000000), .may_wait = true), "wait-sample consistency");
}

TEST(route, absent_standby_is_not_waited_for)
{
	CHECK_STR(PICK("p:primary a:down", RYW, NEED(NOW, 0, 0), .may_wait = true), "p no-standby");
	CHECK_STR(PICK("p:primary a:500B", .conf = { .consistency = CONS_READ_YOUR_WRITES, .max_lag_bytes = 10 }, NEED(NOW, 0, 0), .may_wait = true),
		"p lag");
}

TEST(route, need_over_a_promotion)
{
	CHECK_STR(PICK("line=2 switch=1/0/4000000 p:primary a:@2/0/5000000", RYW, NEED(0, 1, 0x9000000)), "a read");
	CHECK_STR(PICK("line=2 switch=1/0/4000000 p:primary a:900ms@1/0/4000000", RYW, NEED(0, 1, 0x9000000)), "a read");
	CHECK_STR(PICK("line=2 switch=1/0/4000000 p:primary a:900ms@1/0/4000000", RYW, NEED(0, 2, 0x4000010)), "p consistency");
}

TEST(route, levels_and_scopes_not_built_go_to_the_primary)
{
	static const int levels[] = { CONS_MONOTONIC, CONS_SESSION, CONS_STRONG };
	static const int scopes[] = { SCOPE_USER, SCOPE_DATABASE, SCOPE_GLOBAL };

	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		CHECK_STR(PICK("p:primary a:", .conf = { .consistency = levels[i] }), "p consistency");
	for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
		CHECK_STR(PICK("p:primary a:", .conf = { .consistency = CONS_READ_YOUR_WRITES, .consistency_scope = scopes[i] }), "p consistency");
		CHECK_STR(PICK("p:primary a:", .conf = { .consistency_scope = scopes[i] }), "a read");
	}
	CHECK_STR(PICK("p:primary a:", .conf = { .consistency = CONS_SESSION }, .target = ROUTE_STANDBY), "p consistency");
}

/* ---- no primary ---- */

TEST(route, reads_go_on_without_a_primary)
{
	CHECK_STR(PICK("p:down a:"), "a read");
	CHECK_STR(PICK("p:down a:", RYW, NEED(0, 1, 0x4000000)), "a read");
}

TEST(route, unmet_need_without_a_primary_waits_for_one)
{
	CHECK_STR(PICK("p:down a:", RYW, NEED(NOW, 0, 0)), "wait-primary no-primary");
	CHECK_STR(PICK("p:down a:", RYW, NEED(NOW, 0, 0), .may_wait = true), "wait-primary no-primary");
	CHECK_STR(PICK("p:down a:down"), "wait-primary no-primary");
}

/* ---- primary_fallback = off ---- */

TEST(route, without_fallback_reads_wait_for_a_node)
{
	CHECK_STR(PICK("p:primary a:down", .no_fallback = true), "wait-node no-standby");
	CHECK_STR(PICK("p:primary a:100B", .no_fallback = true, .conf = { .max_lag_bytes = 10 }), "wait-node lag");
	CHECK_STR(PICK("p:primary a:100B", .no_fallback = true, RYW, NEED(0, 1, 0x5000000)), "wait-node consistency");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_write, .no_fallback = true), "p write");
}

/* ---- read_from ---- */

TEST(route, read_from_primary)
{
	CHECK_STR(PICK("p:primary a:", .conf = { .read_from = READ_FROM_PRIMARY }), "p setting");
	CHECK_STR(PICK("p:primary a:", .conf = { .read_from = READ_FROM_PRIMARY }, .target = ROUTE_STANDBY), "a setting");
}

TEST(route, read_from_any_takes_the_primary_as_it_is)
{
	CHECK_STR(PICK("p:primary a:down", .conf = { .read_from = READ_FROM_ANY }), "p read");
	CHECK_STR(PICK("p:primary a:1B", .conf = { .consistency = CONS_READ_YOUR_WRITES, .read_from = READ_FROM_ANY }, NEED(0, 1, 0x5000000)),
		"p read");
	CHECK_STR(PICK("p:primary,weight=0 a:", .conf = { .read_from = READ_FROM_ANY }), "a read");
}

/* ---- targets ---- */

TEST(route, target_primary)
{
	CHECK_STR(PICK("p:primary a:", .target = ROUTE_PRIMARY), "p setting");
	CHECK_STR(PICK("p:primary a:", .target = ROUTE_PRIMARY, .hint = true), "p hint");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_write, .target = ROUTE_PRIMARY, .hint = true), "p write");
}

TEST(route, target_standby)
{
	CHECK_STR(PICK("p:primary a:", .target = ROUTE_STANDBY), "a setting");
	CHECK_STR(PICK("p:primary a:", .target = ROUTE_STANDBY, .hint = true), "a hint");
	CHECK_STR(PICK("p:primary a:", .target = ROUTE_STANDBY, .conf = { .read_from = READ_FROM_ANY }), "a setting");
	CHECK_STR(PICK("p:primary a:down", .target = ROUTE_STANDBY), "p no-standby");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_local, .target = ROUTE_STANDBY), "a setting");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_unlogged, .target = ROUTE_STANDBY), "p unlogged:cache");
}

TEST(route, target_standby_refuses_writes)
{
	static const struct verdict *const writes[] = { &v_write, &v_lock, &v_utility, &v_function };

	for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
		CHECK_STR(PICK("p:primary a:", .verdict = writes[i], .target = ROUTE_STANDBY), "refuse 25006");
		CHECK(last_err.text[0] != '\0' && last_err.hint[0] != '\0');
	}
	CHECK_STR(PICK("p:primary a:", .verdict = &v_write, .target = ROUTE_STANDBY, .must_primary = true), "refuse 25006");
}

TEST(route, target_standby_does_not_refuse_what_is_no_write)
{
	CHECK_STR(PICK("p:primary a:", .verdict = &v_set, .target = ROUTE_STANDBY), "p setting");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_begin, .target = ROUTE_STANDBY), "p transaction");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_unknown, .target = ROUTE_STANDBY), "p unparsed");
}

TEST(route, target_node)
{
	CHECK_STR(PICK("p:primary a: b:", .target = ROUTE_NODE, .name = "b"), "b setting");
	CHECK_STR(PICK("p:primary a: b:weight=0", .target = ROUTE_NODE, .name = "b", .hint = true), "b hint");
	CHECK_STR(PICK("p:primary a:", .target = ROUTE_NODE, .name = "p"), "p setting");
	CHECK_STR(PICK("p:primary a: b:down", .target = ROUTE_NODE, .name = "b"), "p no-standby");
	CHECK_STR(PICK("p:primary a: b:1B", RYW, .target = ROUTE_NODE, .name = "b", NEED(0, 1, 0x5000000)), "p consistency");
}

TEST(route, target_node_unknown)
{
	CHECK_STR(PICK("p:primary a:", .target = ROUTE_NODE, .name = "x"), "refuse 22023");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_write, .target = ROUTE_NODE, .name = "x"), "refuse 22023");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_set, .target = ROUTE_NODE, .name = "x"), "p setting");
	CHECK(last_err.sqlstate[0] == '\0');
}

TEST(route, target_node_with_a_write)
{
	CHECK_STR(PICK("p:primary a:", .verdict = &v_write, .target = ROUTE_NODE, .name = "a"), "refuse 25006");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_write, .target = ROUTE_NODE, .name = "p"), "p write");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_write, .target = ROUTE_NODE, .name = "p", .exclude = 1), "wait-primary no-primary");
}

TEST(route, target_node_asked_about_itself_needs_no_position)
{
	CHECK_STR(PICK("p:primary a:1B", .verdict = &v_local, RYW, .target = ROUTE_NODE, .name = "a", NEED(NOW, 0, 0)), "a setting");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_local, .conf = { .consistency = CONS_STRONG }, .target = ROUTE_NODE, .name = "a"), "a setting");
	CHECK_STR(PICK("p:primary a:1B", .verdict = &v_local_view, RYW, .target = ROUTE_NODE, .name = "a", NEED(NOW, 0, 0)), "p consistency");
}

TEST(route, target_label)
{
	CHECK_STR(PICK("p:primary a: b:label=x", .target = ROUTE_LABEL, .name = "x"), "b setting");
	CHECK_STR(PICK("p:primary a: b:label=x,weight=0", .target = ROUTE_LABEL, .name = "x"), "b setting");
	CHECK_STR(PICK("p:primary,label=x a:", .target = ROUTE_LABEL, .name = "x"), "p setting");
	CHECK_STR(PICK("p:primary a:", .verdict = &v_write, .target = ROUTE_LABEL, .name = "x"), "p write");
}

TEST(route, target_label_with_no_node_up)
{
	CHECK_STR(PICK("p:primary a: b:label=x,down", .target = ROUTE_LABEL, .name = "x"), "p no-standby");
	CHECK_STR(PICK("p:primary a:", .target = ROUTE_LABEL, .name = "x"), "p no-standby");
	CHECK_STR(PICK("p:primary a: b:label=x,down", .target = ROUTE_LABEL, .name = "x", .no_fallback = true), "wait-node no-standby");
}

/* ---- texts ---- */

TEST(route, every_reason_has_a_text)
{
	char text[64];

	for (int r = 0; r < ROUTE_R_COUNT; r++)
		CHECK(strlen(route_reason_text((enum route_reason)r, NULL, text, sizeof(text))) > 2);
	CHECK_STR(route_reason_text(ROUTE_R_RETRIED, "40001", text, sizeof(text)), "retried:40001");
	CHECK_STR(route_reason_text(ROUTE_R_FUNCTION, "a_very_long_name", text, 12), "function:a_");
}
