/* stats.h - counters declared in one table, one writer each, read by anybody at any time.
 *
 * A counter is written by its owner's thread only (plain add, relaxed store) and read with relaxed loads: never locked, never torn,
 * exact once the writer is quiet. src/ctl/stats/counters.def is the master copy: name, unit, text. */
#ifndef PGSHUNT_STATS_H
#define PGSHUNT_STATS_H

#include <stdatomic.h>

#include "pgshunt/base.h"

typedef _Atomic uint64_t counter_t;

static inline void counter_add(counter_t *counter, uint64_t more)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}
static inline uint64_t counter_read(const counter_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* PgBouncer's totals, for one (database, user) in one worker: rows of SHOW STATS after summing. */
struct stats_pool {
#define COUNTER(name, unit, text) counter_t name;
#include "pgshunt/counters_pool.def"
#undef COUNTER
};

/* One worker's. */
struct stats_worker {
#define COUNTER(name, unit, text) counter_t name;
#include "pgshunt/counters_worker.def"
#undef COUNTER
};

/* The monitor's. */
struct stats_monitor {
#define COUNTER(name, unit, text) counter_t name;
#include "pgshunt/counters_monitor.def"
#undef COUNTER
};

/* Per node and worker. */
struct stats_node {
#define COUNTER(name, unit, text) counter_t name;
#include "pgshunt/counters_node.def"
#undef COUNTER
};

struct stats_row {
	const char *name, *unit, *text;
	size_t offset;
};
extern const struct stats_row stats_pool_rows[], stats_worker_rows[], stats_monitor_rows[], stats_node_rows[]; /* end with name NULL */

/* sum += one, counter by counter, as rows say. */
void stats_sum(void *sum, const void *one, const struct stats_row *rows);
uint64_t stats_value(const void *block, const struct stats_row *row);

#endif
