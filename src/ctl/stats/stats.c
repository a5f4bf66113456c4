#include "pgshunt/stats.h"

#define COUNTER_ROW(block, name, unit, text) { #name, unit, text, offsetof(struct block, name) },
#define END_ROW { NULL, NULL, NULL, 0 }

#define COUNTER(name, unit, text) COUNTER_ROW(stats_pool, name, unit, text)
const struct stats_row stats_pool_rows[] = {
#include "pgshunt/counters_pool.def"
	END_ROW
};
#undef COUNTER

#define COUNTER(name, unit, text) COUNTER_ROW(stats_worker, name, unit, text)
const struct stats_row stats_worker_rows[] = {
#include "pgshunt/counters_worker.def"
	END_ROW
};
#undef COUNTER

#define COUNTER(name, unit, text) COUNTER_ROW(stats_monitor, name, unit, text)
const struct stats_row stats_monitor_rows[] = {
#include "pgshunt/counters_monitor.def"
	END_ROW
};
#undef COUNTER

#define COUNTER(name, unit, text) COUNTER_ROW(stats_node, name, unit, text)
const struct stats_row stats_node_rows[] = {
#include "pgshunt/counters_node.def"
	END_ROW
};
#undef COUNTER

uint64_t stats_value(const void *block, const struct stats_row *row)
{
	return counter_read((const counter_t *)((const char *)block + row->offset));
}

void stats_sum(void *sum, const void *one, const struct stats_row *rows)
{
	for (const struct stats_row *row = rows; row->name; row++)
		counter_add((counter_t *)((char *)sum + row->offset), stats_value(one, row));
}
