#include "test.h"

#include "pgshunt/route.h"

struct run {
	const struct topo *topo;
	struct conf_policy conf;
	struct route_policy policy;
	struct route_state state;
	int picks[TOPO_NODES_MAX];
};

static const struct verdict read_verdict = { .class = SQL_READ, .reason = SQL_R_READ };

static struct run run_of(const char *fixture)
{
	return (struct run){ .topo = topo_fixture(fixture), .conf = { .primary_fallback = true } };
}

static int pick(struct run *run, uint32_t exclude)
{
	struct route_choice choice;

	run->policy.conf = &run->conf;
	choice = route_pick(&(struct route_request){ .topo = run->topo, .policy = &run->policy, .verdict = &read_verdict,
		.now_us = TOPO_FIXTURE_NOW_US, .exclude = exclude }, &run->state);
	ENSURE(choice.outcome == ROUTE_TO_NODE);
	run->picks[choice.node]++;
	return choice.node;
}

/* After every pick each share is within one of its due. */
static bool is_exact(const struct run *run, int total, uint32_t fit)
{
	int weights = 0;

	for (size_t i = 0; i < run->topo->node_count; i++)
		weights += (fit >> i & 1) ? run->topo->nodes[i].weight : 0;
	for (size_t i = 0; i < run->topo->node_count; i++) {
		double due = (fit >> i & 1) ? (double)total * run->topo->nodes[i].weight / weights : 0;
		if (run->picks[i] > due + 1 || run->picks[i] < due - 1)
			return false;
	}
	return true;
}

static void check_exact(const char *fixture, uint32_t fit, int picks)
{
	struct run run = run_of(fixture);

	for (int n = 1; n <= picks; n++) {
		pick(&run, 0);
		CHECK(is_exact(&run, n, fit));
	}
	topo_unref(&run.topo);
}

TEST(balance, equal_weights)
{
	check_exact("p:primary a: b:", 6, 3000);
	check_exact("p:primary a: b: c:", 14, 3000);
}

TEST(balance, weights)
{
	check_exact("p:primary a:weight=3 b:weight=1", 6, 4000);
	check_exact("p:primary a:weight=100 b:weight=1", 6, 4040);
	check_exact("p:primary a:weight=5 b:weight=3 c:weight=2", 14, 5000);
}

TEST(balance, heavy_nodes_come_evenly_spread)
{
	struct run run = run_of("p:primary a:weight=2 b:weight=1");
	char order[7] = "";

	for (int n = 0; n < 6; n++)
		order[n] = *run.topo->nodes[pick(&run, 0)].name;
	CHECK_STR(order, "abaaba");
	topo_unref(&run.topo);
}

TEST(balance, primary_joins_by_weight)
{
	struct run run = run_of("p:primary,weight=2 a:weight=4 b:weight=4");

	run.conf.read_from = READ_FROM_ANY;
	for (int n = 0; n < 1000; n++)
		pick(&run, 0);
	CHECK_INT(run.picks[0], 200);
	CHECK_INT(run.picks[1], 400);
	topo_unref(&run.topo);
}

TEST(balance, a_node_that_comes_back_brings_no_burst)
{
	struct run run = run_of("p:primary a: b: c:");
	int in_a_row = 0, longest = 0;

	for (int n = 0; n < 10; n++)
		pick(&run, 0);
	for (int n = 0; n < 1000; n++)
		pick(&run, 2);
	for (int n = 0; n < 100; n++) {
		in_a_row = pick(&run, 0) == 1 ? in_a_row + 1 : 0;
		longest = MAX(longest, in_a_row);
	}
	CHECK(longest <= 2);
	topo_unref(&run.topo);
}

TEST(balance, candidates_that_come_and_go_stay_fair)
{
	struct run run = run_of("p:primary a: b: c:");

	for (int n = 0; n < 3000; n++)
		pick(&run, 2u << n % 3);       /* each of the three is missing in turn */
	for (int i = 1; i <= 3; i++)
		CHECK(run.picks[i] >= 990 && run.picks[i] <= 1010);
	for (int i = 1; i <= 3; i++)
		CHECK(run.state.credit[i] >= -3 && run.state.credit[i] <= 3);
	topo_unref(&run.topo);
}

TEST(balance, workers_do_not_march_in_step)
{
	struct run run = run_of("p:primary a: b: c: d:");
	int first[TOPO_NODES_MAX] = { 0 };

	for (uint32_t worker = 1; worker <= 4; worker++) {
		run.state = (struct route_state){ .cursor = worker };
		first[pick(&run, 0)]++;
	}
	for (int i = 1; i <= 4; i++)
		CHECK_INT(first[i], 1);
	topo_unref(&run.topo);
}

TEST(balance, least_conn_by_load_and_weight)
{
	struct run run = run_of("p:primary a:weight=1 b:weight=2 c:weight=1");

	run.conf.load_balance = LB_LEAST_CONN;
	run.state.loads[1] = 3;
	run.state.loads[2] = 4;
	run.state.loads[3] = 5;
	CHECK_INT(pick(&run, 0), 2);
	run.state.loads[2] = 7;
	CHECK_INT(pick(&run, 0), 1);
	topo_unref(&run.topo);
}

TEST(balance, least_conn_shares_ties)
{
	struct run run = run_of("p:primary a: b: c:");

	run.conf.load_balance = LB_LEAST_CONN;
	for (int n = 0; n < 300; n++)
		pick(&run, 0);
	for (int i = 1; i <= 3; i++)
		CHECK_INT(run.picks[i], 100);
	topo_unref(&run.topo);
}

TEST(balance, random_follows_the_weights)
{
	struct run run = run_of("p:primary a:weight=3 b:weight=1 c:weight=0");

	run.conf.load_balance = LB_RANDOM;
	for (int n = 0; n < 40000; n++)
		pick(&run, 0);
	CHECK(run.picks[1] > 29000 && run.picks[1] < 31000);
	CHECK_INT(run.picks[3], 0);
	CHECK_INT(run.picks[0], 0);
	topo_unref(&run.topo);
}

TEST(balance, absurd_weights_do_not_overflow)
{
	struct run run = run_of("p:primary a:weight=2147483647 b:weight=2147483647");

	for (int n = 0; n < 1000; n++)
		pick(&run, 0);
	CHECK_INT(run.picks[1], 500);
	topo_unref(&run.topo);
}
