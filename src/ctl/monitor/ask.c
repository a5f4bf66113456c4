/* Questions only a replication connection answers (PostgreSQL manual 55.4): the timeline a standby replays, and the history of one. */
#include <stdio.h>
#include <stdlib.h>

#include "private.h"

#define RETRY_US (1 * USEC_PER_SEC)
#define RETRY_REFUSED_US (30 * USEC_PER_SEC)    /* somebody has to grant something first */

struct ask {
	struct mon_node *node;
	struct conn *conn;
	struct timer *deadline;
	uint32_t history_of;            /* 0: the question is IDENTIFY_SYSTEM */
	usec_t not_before_us;
};

static void ask_finish(struct ask *ask, usec_t pause_us)
{
	timer_stop(ask->deadline);
	conn_close(ask->conn);
	ask->not_before_us = time_mono_us() + pause_us;
}

/* ---- answers ---- */

/* Somebody has to grant something; all else may pass by itself. */
static bool is_refusal(const struct conn_failure *failure)
{
	return strncmp(failure->sqlstate, "28", 2) == 0 || strncmp(failure->sqlstate, "42", 2) == 0;
}

static void ask_failed(struct ask *ask, const struct conn_failure *failure)
{
	struct mon_node *node = ask->node;
	bool *refused = ask->history_of ? &node->history_refused : &node->timeline_refused, refusal = is_refusal(failure);

	ask_finish(ask, refusal ? RETRY_REFUSED_US : RETRY_US);
	if (refusal && !*refused)
		log_warning("node %s: %s can't be asked for: %s; give monitor_user the REPLICATION attribute and a pg_hba.conf line for "
			"\"replication\"", node->name, ask->history_of ? "the history of its timeline" : "its timeline", failure->text);
	*refused |= refusal;
	if (refusal && ask->history_of)
		monitor_history_told(node, NULL);
}

bool ask_parse_timeline(const PGresult *result, uint32_t *out)
{
	int column = PQfnumber(result, "timeline");
	unsigned long timeline;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 || column == -1)
		return false;
	timeline = strtoul(PQgetvalue(result, 0, column), NULL, 10);
	*out = (uint32_t)timeline;
	return timeline > 0 && timeline <= UINT32_MAX;
}

static bool parse_history(const PGresult *result, uint32_t timeline, struct history *out)
{
	return PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 && PQnfields(result) == 2 &&
		history_parse(PQgetvalue(result, 0, 1), (size_t)PQgetlength(result, 0, 1), timeline, out);
}

static void on_result(void *owner, const PGresult *result)
{
	struct ask *ask = owner;
	struct history history;
	uint32_t timeline;
	bool understood = ask->history_of ? parse_history(result, ask->history_of, &history) : ask_parse_timeline(result, &timeline);

	if (!understood) {
		struct conn_failure failure;

		conn_result_failure(result, &failure);
		ask_failed(ask, &failure);
		return;
	}
	ask_finish(ask, 0);
	if (ask->history_of)
		monitor_history_told(ask->node, &history);
	else
		monitor_timeline_told(ask->node, timeline);
}

static void on_ready(void *owner)
{
	struct ask *ask = owner;
	char sql[64] = "IDENTIFY_SYSTEM";

	if (ask->history_of)
		snprintf(sql, sizeof(sql), "TIMELINE_HISTORY %u", ask->history_of);
	conn_send(ask->conn, sql);
}

static void on_lost(void *owner, const struct conn_failure *failure)
{
	ask_failed(owner, failure);
}

static void on_deadline(void *owner)
{
	ask_finish(owner, RETRY_US);
}

/* ---- questions ---- */

static const struct conn_handler handler = { on_ready, on_result, on_lost };

static void ask_start(struct ask *ask, uint32_t history_of)
{
	struct mon_node *node = ask->node;

	if (conn_is_open(ask->conn) || time_mono_us() < ask->not_before_us || node->addr_len == 0)
		return;
	ask->history_of = history_of;
	timer_set(ask->deadline, node->monitor->conf->opt.monitor_timeout);
	conn_open(ask->conn, &(struct conn_target){ node->host, &node->addr, node->port, &node->monitor->conf->opt, true });
}

void ask_timeline(struct ask *ask)
{
	ask_start(ask, 0);
}

void ask_history(struct ask *ask, uint32_t timeline)
{
	if (timeline > 1)
		ask_start(ask, timeline);
}

struct ask *ask_new(struct mon_node *node)
{
	struct ask *ask = mem_alloc(sizeof(*ask));

	ask->node = node;
	ask->conn = conn_new(node->monitor->loop, &handler, ask);
	ask->deadline = timer_new(node->monitor->loop, on_deadline, ask);
	return ask;
}

void ask_free(struct ask **ask)
{
	if (!*ask)
		return;
	conn_free(&(*ask)->conn);
	timer_free(&(*ask)->deadline);
	mem_free(*ask);
	*ask = NULL;
}
