/* monitor.h - the thread that asks the nodes: roles, timelines, positions; publishes one struct topo after the other.
 *
 * Owns one asynchronous libpq connection a node; the only user of libpq. Runs on its own loop. Everything here is called on the
 * monitor's thread, except monitor_want() and monitor_hint(), which any thread may call. */
#ifndef PGSHUNT_MONITOR_H
#define PGSHUNT_MONITOR_H

#include "pgshunt/base.h"
#include "pgshunt/conf.h"
#include "pgshunt/loop.h"
#include "pgshunt/stats.h"
#include "pgshunt/topo.h"

struct monitor;

/* A new snapshot; the callee takes its own reference. Called on the monitor's thread. */
typedef void monitor_publish_fn(void *owner, const struct topo *topo);

struct monitor *monitor_new(struct loop *loop, struct conf *conf, struct stats_monitor *stats, monitor_publish_fn *publish, void *owner);
void monitor_free(struct monitor **monitor);
void monitor_reconfigure(struct monitor *monitor, struct conf *conf);  /* takes its own reference; nodes come and go */

/* Somebody waits for samples begun after now: one is begun at once on every node that has none in flight, or right after the one that is.
 * Calls made while one is already asked for are merged (an atomic flag: cheap enough to be called for every waiting read). */
void monitor_want(struct monitor *monitor);
/* A connection to this node broke, or a statement failed as on a standby: poll it now. */
void monitor_hint(struct monitor *monitor, const char *node_name);

#endif
