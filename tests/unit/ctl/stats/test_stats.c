#include "pgshunt/stats.h"
#include "test.h"

TEST(stats, rows_name_every_counter_in_order)
{
	size_t n = 0;

	for (const struct stats_row *row = stats_worker_rows; row->name; row++, n++)
		CHECK_INT(row->offset, n * sizeof(counter_t));
	CHECK_INT(n * sizeof(counter_t), sizeof(struct stats_worker));
	CHECK_STR(stats_pool_rows[0].name, "server_assignment_count");
	CHECK_STR(stats_pool_rows[1].unit, "count");
}

TEST(stats, adds_and_reads)
{
	struct stats_pool pool = { 0 };

	counter_add(&pool.query_count, 2);
	counter_add(&pool.query_count, 3);
	CHECK_INT(counter_read(&pool.query_count), 5);
	CHECK_INT(stats_value(&pool, &stats_pool_rows[2]), 5);
	CHECK_STR(stats_pool_rows[2].name, "query_count");
}

TEST(stats, sums_counter_by_counter)
{
	struct stats_node sum = { 0 }, one = { 0 }, two = { 0 };

	counter_add(&one.reads, 1);
	counter_add(&one.time_us, UINT64_C(1) << 40);
	counter_add(&two.reads, 2);
	counter_add(&two.errors, 7);
	stats_sum(&sum, &one, stats_node_rows);
	stats_sum(&sum, &two, stats_node_rows);
	CHECK_INT(counter_read(&sum.reads), 3);
	CHECK_INT(counter_read(&sum.errors), 7);
	CHECK_INT(counter_read(&sum.time_us), UINT64_C(1) << 40);
	CHECK_INT(counter_read(&sum.writes), 0);
	CHECK_INT(counter_read(&one.reads), 1);
}

TEST(stats, every_table_has_texts)
{
	const struct stats_row *const tables[] = { stats_pool_rows, stats_worker_rows, stats_monitor_rows, stats_node_rows };

	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		for (const struct stats_row *row = tables[i]; row->name; row++)
			CHECK(*row->name && *row->unit && *row->text);
	}
}
