#include "test.h"

#include "pgshunt/topo.h"

/* Whether node "s" of this topology covers the position. */
static bool covers(const char *fixture, const char *token)
{
	const struct topo *topo = topo_fixture(fixture);
	struct wal_pos pos = { 0, 0 };
	bool answer;

	ENSURE(!*token || wal_pos_parse(token, &pos));
	answer = topo_covers(topo, &topo->nodes[topo_find(topo, "s")], pos);
	topo_unref(&topo);
	return answer;
}

static bool on_line(const char *fixture)
{
	const struct topo *topo = topo_fixture(fixture);
	bool answer = topo_is_on_line(topo, &topo->nodes[topo_find(topo, "s")]);

	topo_unref(&topo);
	return answer;
}

static const char *at(struct wal_pos pos)
{
	static char text[64];

	wal_pos_print(pos, text, sizeof(text));
	return text;
}

/* ---- the object ---- */

TEST(topo, new_one_knows_nothing)
{
	const struct topo *topo = topo_new(2);

	CHECK_INT(topo->primary, -1);
	CHECK_INT(topo->node_count, 2);
	CHECK_STR(topo->nodes[1].name, "");
	CHECK_INT(topo->nodes[0].lag_bytes, -1);
	CHECK_INT(topo->nodes[0].lag_us, -1);
	CHECK_INT(topo->nodes[0].state, TOPO_DOWN);
	topo_unref(&topo);
	CHECK(topo == NULL);
	topo_unref(&topo);
}

TEST(topo, copy_is_deep)
{
	const struct topo *topo = topo_fixture("line=2 switch=1/0/4000000 p:primary s:label=x");
	struct topo *copy = topo_copy(topo);

	topo_node_set_text(&copy->nodes[1], NULL, NULL, "y", NULL, "why");
	CHECK_STR(topo->nodes[1].label, "x");
	CHECK_STR(copy->nodes[1].label, "y");
	CHECK_STR(copy->nodes[1].reason, "why");
	CHECK_STR(copy->nodes[1].name, "s");
	CHECK(copy->switches != topo->switches);
	CHECK_INT(copy->switch_count, 1);
	topo_unref(&topo);
	CHECK_INT(copy->switches[0].lsn, 0x4000000);
	topo = copy;
	topo_unref(&topo);
}

TEST(topo, lives_until_the_last_reference)
{
	const struct topo *topo = topo_fixture("p:primary"), *other = topo_ref(topo);

	topo_unref(&topo);
	CHECK_STR(other->nodes[0].name, "p");
	topo_unref(&other);
}

TEST(topo, find)
{
	const struct topo *topo = topo_fixture("p:primary a: b:");

	CHECK_INT(topo_find(topo, "p"), 0);
	CHECK_INT(topo_find(topo, "b"), 2);
	CHECK_INT(topo_find(topo, "B"), -1);
	CHECK_INT(topo_find(topo, ""), -1);
	topo_unref(&topo);
}

TEST(topo, switches_can_be_replaced)
{
	struct topo *topo = topo_new(0);
	const struct topo *done = topo;

	topo_set_switches(topo, (struct topo_switch[]){ { 1, 10, 0 }, { 2, 20, 0 } }, 2);
	topo_set_switches(topo, topo->switches, 1);
	CHECK_INT(topo->switch_count, 1);
	topo_set_switches(topo, NULL, 0);
	CHECK(topo->switches == NULL);
	topo_unref(&done);
}

TEST(topo, names)
{
	CHECK_STR(topo_role_name(TOPO_PRIMARY), "primary");
	CHECK_STR(topo_role_name(TOPO_ROLE_UNKNOWN), "unknown");
	CHECK_STR(topo_state_name(TOPO_FOREIGN), "foreign");
	CHECK_STR(topo_state_name(TOPO_UP), "up");
	CHECK_STR(topo_state_name(TOPO_DOWN), "down");
}

TEST(topo, fixture_reads_its_words)
{
	const struct topo *t = topo_fixture("p:primary a:900ms b:950ms@0/4000000 c:down d:label=x,weight=2 e:@2/0/5000001,no-receiver f:100B");

	CHECK_INT(t->primary, 0);
	CHECK_INT(t->nodes[1].lag_us, 900000);
	CHECK_INT(t->nodes[1].lag_bytes, 900000);
	CHECK_INT(t->nodes[2].replay_lsn, 0x4000000);
	CHECK_INT(t->nodes[2].lag_us, 950000);
	CHECK_INT(t->nodes[2].lag_bytes, 0x1000000);
	CHECK_INT(t->nodes[3].state, TOPO_DOWN);
	CHECK_STR(t->nodes[4].label, "x");
	CHECK_INT(t->nodes[4].weight, 2);
	CHECK_INT(t->nodes[5].timeline, 2);
	CHECK(!t->nodes[5].receiver_streaming);
	CHECK_INT(t->nodes[6].lag_bytes, 100);
	topo_unref(&t);
}

/* ---- the line of timelines ---- */

TEST(line, same_timeline_is_a_comparison)
{
	CHECK(covers("p:primary s:@0/5000000", "1/0/4000000"));
	CHECK(covers("p:primary s:@0/5000000", "1/0/5000000"));
	CHECK(!covers("p:primary s:@0/5000000", "1/0/5000001"));
}

TEST(line, empty_position_needs_only_our_line)
{
	CHECK(covers("p:primary s:@0/1", ""));
	CHECK(!covers("p:primary s:tl=0", ""));
}

TEST(line, never_sampled_covers_nothing)
{
	CHECK(!covers("p:primary s:@0/0", "1/0/1"));
}

TEST(line, unknown_line_covers_nothing)
{
	CHECK(!covers("line=0 p: s:tl=1", "1/0/1"));
	CHECK(!on_line("line=0 p: s:tl=1"));
}

TEST(line, ancestor_covers_up_to_the_switch)
{
	CHECK(covers("line=2 switch=1/0/4000000 p:primary s:@1/0/3F00000", "1/0/3F00000"));
	CHECK(covers("line=2 switch=1/0/4000000 p:primary s:@1/0/4000000", "1/0/4000000"));
	CHECK(!covers("line=2 switch=1/0/4000000 p:primary s:@1/0/3F00000", "1/0/3F00001"));
	CHECK(!covers("line=2 switch=1/0/4000000 p:primary s:@1/0/4000000", "2/0/4000001"));
}

TEST(line, past_the_switch_is_diverged)
{
	CHECK(!on_line("line=2 switch=1/0/4000000 p:primary s:@1/0/4000001"));
	CHECK(on_line("line=2 switch=1/0/4000000 p:primary s:@1/0/4000000"));
	CHECK(!covers("line=2 switch=1/0/4000000 p:primary s:@1/0/4000001", "1/0/1"));
}

TEST(line, descendant_covers_ancestors_positions)
{
	CHECK(covers("line=2 switch=1/0/4000000 p:primary s:@2/0/5000000", "1/0/3000000"));
	/* on the new timeline, but still replaying the old one's part */
	CHECK(!covers("line=2 switch=1/0/4000000 p:primary s:@2/0/3000000", "1/0/3500000"));
}

TEST(line, lost_commit_counts_as_the_switch_point)
{
	CHECK(covers("line=2 switch=1/0/4000000 p:primary s:@2/0/4000000", "1/0/9000000"));
	CHECK(covers("line=2 switch=1/0/4000000 p:primary s:@1/0/4000000", "1/0/9000000"));
	CHECK(!covers("line=2 switch=1/0/4000000 p:primary s:@2/0/3FFFFFF", "1/0/9000000"));
}

TEST(line, newer_timeline_than_ours_fails_closed)
{
	CHECK(!covers("line=2 switch=1/0/4000000 p:primary s:@2/0/5000000", "3/0/1"));
	CHECK(!on_line("line=2 switch=1/0/4000000 p:primary s:tl=3"));
}

TEST(line, timeline_never_ours_counts_as_the_last_switch_before_it)
{
	/* 1 -> 3; timeline 2 was another node's, promoted and dropped */
	CHECK(covers("line=3 switch=1/0/4000000 p:primary s:@3/0/4000000", "2/0/9000000"));
	CHECK(!covers("line=3 switch=1/0/4000000 p:primary s:@3/0/3000000", "2/0/9000000"));
	CHECK(!on_line("line=3 switch=1/0/4000000 p:primary s:@2/0/1000000"));
}

TEST(line, without_history_older_positions_fail_closed)
{
	CHECK(!covers("line=3 p:primary s:@3/0/5000000", "1/0/1"));
	CHECK(!on_line("line=3 p:primary s:@2/0/1"));
	CHECK(!covers("line=3 switch=2/0/4000000 p:primary s:@3/0/5000000", "1/0/1"));
}

TEST(line, over_several_switches)
{
	static const char t[] = "line=4 switch=1/0/1000000 switch=2/0/2000000 switch=3/0/3000000 p:primary s:@4/0/3500000";

	CHECK(covers(t, "1/0/1000000"));
	CHECK(covers(t, "2/0/F000000"));
	CHECK(covers(t, "3/0/2800000"));
	CHECK(!covers(t, "4/0/3500001"));
	CHECK(covers("line=4 switch=1/0/1000000 switch=2/0/2000000 switch=3/0/3000000 p:primary s:@2/0/1800000", "1/0/F000000"));
	CHECK(!covers("line=4 switch=1/0/1000000 switch=2/0/2000000 switch=3/0/3000000 p:primary s:@2/0/1800000", "2/0/F000000"));
}

TEST(line, inexact_switch_is_narrow_for_nodes_and_wide_for_needs)
{
	static const char at_least[] = "line=2 switch=1/0/4000000..0/4000100 p:primary s:@1/0/4000000";
	static const char between[] = "line=2 switch=1/0/4000000..0/4000100 p:primary s:@1/0/4000001";

	CHECK(on_line(at_least));
	CHECK(!on_line(between));
	CHECK(covers(at_least, "1/0/4000000"));
	CHECK(!covers(at_least, "1/0/4000001"));
	CHECK(covers("line=2 switch=1/0/4000000..0/4000100 p:primary s:@2/0/4000100", "1/0/9000000"));
	CHECK(!covers("line=2 switch=1/0/4000000..0/4000100 p:primary s:@2/0/40000FF", "1/0/9000000"));
}

/* ---- needs ---- */

TEST(need, time_keeps_the_latest)
{
	struct need need = { 0, { 0, 0 } };

	CHECK(need_is_empty(&need));
	need_add_time(&need, 10);
	need_add_time(&need, 5);
	CHECK_INT(need.after_us, 10);
	CHECK(!need_is_empty(&need));
}

TEST(need, empty_is_resolved)
{
	const struct topo *topo = topo_fixture("no-sample p:primary");
	struct need need = { 0, { 0, 0 } };

	CHECK(need_resolve(&need, topo));
	CHECK(need_is_empty(&need));
	topo_unref(&topo);
}

TEST(need, only_a_sample_begun_later_resolves)
{
	const struct topo *topo = topo_fixture("sampled=2ms p:primary");
	static const struct { usec_t after_us; bool resolved; } rows[] = {
		{ TOPO_FIXTURE_NOW_US - 2001, true }, { TOPO_FIXTURE_NOW_US - 2000, false }, { TOPO_FIXTURE_NOW_US - 1999, false }, { 1, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct need need = { rows[i].after_us, { 0, 0 } };
		CHECK_INT(need_resolve(&need, topo), rows[i].resolved);
		CHECK_INT(need.after_us, rows[i].resolved ? 0 : rows[i].after_us);
		CHECK_INT(need.pos.lsn, rows[i].resolved ? 0x5000000 : 0);
	}
	topo_unref(&topo);
}

TEST(need, without_a_sample_stays_unresolved)
{
	const struct topo *topo = topo_fixture("no-sample p:primary");
	struct need need = { 1, { 0, 0 } };

	CHECK(!need_resolve(&need, topo));
	CHECK_INT(need.after_us, 1);
	topo_unref(&topo);
}

TEST(need, resolving_keeps_the_later_position)
{
	const struct topo *topo = topo_fixture("p:primary");
	struct need need = { 1, { 1, 0x6000000 } };

	CHECK(need_resolve(&need, topo));
	CHECK_STR(at(need.pos), "1/0/6000000");
	topo_unref(&topo);
}

TEST(need, lost_commit_becomes_the_switch_point)
{
	const struct topo *topo = topo_fixture("line=2 switch=1/0/4000000 p:primary");
	struct need need = { 0, { 1, 0x9000000 } };

	CHECK(need_resolve(&need, topo));
	CHECK_STR(at(need.pos), "1/0/4000000");
	topo_unref(&topo);
}

TEST(need, position_of_a_newer_timeline_is_left_alone)
{
	const struct topo *topo = topo_fixture("line=2 switch=1/0/4000000 p:primary");
	struct need need = { 1, { 3, 0x100 } };

	CHECK(need_resolve(&need, topo));
	CHECK_STR(at(need.pos), "3/0/100");
	topo_unref(&topo);
}

TEST(need, positions_compare_on_the_line)
{
	const struct topo *topo = topo_fixture("line=2 switch=1/0/4000000 p:primary");
	static const struct { struct wal_pos a, b, later; } rows[] = {
		{ { 1, 0x100 }, { 1, 0x200 }, { 1, 0x200 } },
		{ { 1, 0x9000000 }, { 2, 0x4000001 }, { 2, 0x4000001 } },       /* what was lost doesn't count */
		{ { 2, 0x4500000 }, { 1, 0x9000000 }, { 2, 0x4500000 } },
		{ { 1, 0x3000000 }, { 2, 0x2000000 }, { 1, 0x3000000 } },
		{ { 3, 0x10 }, { 2, 0x4500000 }, { 3, 0x10 } },
		{ { 2, 0x4500000 }, { 3, 0x10 }, { 3, 0x10 } },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct need need = { 0, { 0, 0 } };
		need_add_pos(&need, rows[i].a, topo);
		need_add_pos(&need, rows[i].b, topo);
		CHECK_INT(need.pos.timeline, rows[i].later.timeline);
		CHECK_INT(need.pos.lsn, rows[i].later.lsn);
	}
	topo_unref(&topo);
}

TEST(need, position_older_than_all_history_gives_way)
{
	const struct topo *topo = topo_fixture("line=3 p:primary");
	struct need need = { 1, { 1, 0x9000000 } };

	CHECK(need_resolve(&need, topo));
	CHECK_STR(at(need.pos), "3/0/5000000");
	topo_unref(&topo);
}

TEST(need, without_topology_the_higher_timeline_is_later)
{
	struct need need = { 0, { 0, 0 } };

	need_add_pos(&need, (struct wal_pos){ 1, 0x900 }, NULL);
	need_add_pos(&need, (struct wal_pos){ 2, 0x100 }, NULL);
	need_add_pos(&need, (struct wal_pos){ 2, 0x50 }, NULL);
	need_add_pos(&need, (struct wal_pos){ 0, 0 }, NULL);
	CHECK_STR(at(need.pos), "2/0/100");
}

/* ---- freshness ---- */

TEST(fresh, three_intervals)
{
	const struct topo *topo = topo_fixture("interval=100ms p:primary s:age=300ms o:age=301ms n:unsampled");

	CHECK(topo_is_fresh(topo, &topo->nodes[1], TOPO_FIXTURE_NOW_US));
	CHECK(!topo_is_fresh(topo, &topo->nodes[1], TOPO_FIXTURE_NOW_US + 1));
	CHECK(!topo_is_fresh(topo, &topo->nodes[2], TOPO_FIXTURE_NOW_US));
	CHECK(!topo_is_fresh(topo, &topo->nodes[3], TOPO_FIXTURE_NOW_US));
	topo_unref(&topo);
}
