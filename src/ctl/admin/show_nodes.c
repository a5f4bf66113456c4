/* SHOW NODES: the newest topology, and the workers' counts of each node. */
#include "private.h"

struct node_row {
	const char *name, *host, *role, *state, *label, *zone, *reason;
	int64_t port, timeline, lag_bytes, lag_ms, weight, reads, writes, errors, retries, latency_us, last_sample_ms;
	lsn_t write_lsn, flush_lsn, replay_lsn;
};

#define NODE(name, format, field) COLUMN(node_row, name, format, field)
static const struct column node_columns[] = {
	NODE("name", TEXT, name), NODE("host", TEXT, host), NODE("port", INT, port), NODE("role", TEXT, role), NODE("state", TEXT, state),
	NODE("timeline", BIGINT_KNOWN, timeline), NODE("write_lsn", LSN, write_lsn), NODE("flush_lsn", LSN, flush_lsn),
	NODE("replay_lsn", LSN, replay_lsn), NODE("lag_bytes", BIGINT_KNOWN, lag_bytes), NODE("lag_ms", BIGINT_KNOWN, lag_ms),
	NODE("weight", INT, weight), NODE("label", TEXT, label), NODE("zone", TEXT, zone), NODE("reads", BIGINT, reads),
	NODE("writes", BIGINT, writes), NODE("errors", BIGINT, errors), NODE("retries", BIGINT, retries),
	NODE("latency_us", BIGINT_KNOWN, latency_us), NODE("last_sample_ms", BIGINT_KNOWN, last_sample_ms), NODE("reason", TEXT, reason),
};

static void count_node(struct node_row *row, const struct stats_node *stats)
{
	row->reads = (int64_t)counter_read(&stats->reads);
	row->writes = (int64_t)counter_read(&stats->writes);
	row->errors = (int64_t)counter_read(&stats->errors);
	row->retries = (int64_t)counter_read(&stats->retries);
	if (row->reads + row->writes > 0)
		row->latency_us = (int64_t)counter_read(&stats->time_us) / (row->reads + row->writes);
}

static struct node_row row_of(const struct topo_node *node, usec_t now_us)
{
	return (struct node_row){
		.name = node->name, .host = node->host, .role = topo_role_name(node->role), .state = topo_state_name(node->state),
		.label = node->label, .zone = node->zone, .reason = node->reason, .port = node->port,
		.timeline = node->timeline ? (int64_t)node->timeline : -1, .lag_bytes = node->lag_bytes,
		.lag_ms = node->lag_us < 0 ? -1 : node->lag_us / USEC_PER_MS, .weight = node->weight, .latency_us = -1,
		.last_sample_ms = node->sample_done_us ? MAX(now_us - node->sample_done_us, 0) / USEC_PER_MS : -1,
		.write_lsn = node->write_lsn, .flush_lsn = node->flush_lsn, .replay_lsn = node->replay_lsn,
	};
}

static void fill_nodes(struct job *job)
{
	const struct topo *topo = job->admin->env.topo(job->admin->env.owner);
	usec_t now_us = time_mono_us();

	for (size_t i = 0; i < topo->node_count; i++) {
		struct node_row row = row_of(&topo->nodes[i], now_us);

		if (job->gather.nodes && i < TOPO_NODES_MAX)
			count_node(&row, &job->gather.nodes[i]);
		job_put(job, &row);
	}
}

const struct view views_nodes[] = {
	{ "NODES", node_columns, ARRAY_LEN(node_columns), gather_visit, fill_nodes, NULL },
	{ "ROUTES", NULL, 0, NULL, NULL,
	  "pgshunt.trace = on and pgshunt.last_reason say how a statement was routed; SHOW HELP lists what is built." },
	{ "FAILOVERS", NULL, 0, NULL, NULL, "The log says when the primary changed; SHOW HELP lists what is built." },
	{ NULL, NULL, 0, NULL, NULL, NULL },
};
