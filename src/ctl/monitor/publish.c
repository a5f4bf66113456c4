/* The snapshot: what is known of each node, and what state that makes. */
#include <stdio.h>

#include "private.h"

#define FRESH_INTERVALS 3

struct finding {
	enum topo_state state;
	char reason[480];
};

static void found(struct finding *out, enum topo_state state, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void found(struct finding *out, enum topo_state state, const char *fmt, ...)
{
	va_list args;

	out->state = state;
	va_start(args, fmt);
	vsnprintf(out->reason, sizeof(out->reason), fmt, args);
	va_end(args);
}

/* ---- states ---- */

static void judge_writer(const struct monitor *m, const struct mon_node *node, struct finding *out)
{
	uint32_t ours = m->line.history.timeline;

	if (node->index == m->primary) {
		found(out, TOPO_UP, "%s", "");
		return;
	}
	switch (node->standing) {
	case DEPOSED:
		found(out, TOPO_DEPOSED, "takes writes on timeline %u, but the line went on to %u", node->timeline, ours);
		break;
	case FOREIGN:
		found(out, TOPO_FOREIGN, "takes writes on timeline %u, which doesn't continue ours (%u)", node->timeline, ours);
		break;
	case ASK_HISTORY:
		found(out, TOPO_STALE, "takes writes on timeline %u; its history isn't known yet", node->timeline);
		break;
	case MAY_WRITE:
		found(out, TOPO_FOREIGN, "takes writes beside the primary, on its timeline %u", ours);
		break;
	}
}

/* A sample of the primary taken later that is behind what the standby had replayed: they can't be of one line. */
static bool is_ahead_of_primary(const struct monitor *m, const struct mon_node *node)
{
	return m->primary >= 0 && node->timeline == m->primary_sample.timeline &&
		m->primary_sample_begun_us > node->sample_done_us && node->sample.replay_lsn > m->nodes[m->primary]->sample.write_lsn;
}

static void judge_off_line(const struct topo *topo, const struct mon_node *node, struct finding *out)
{
	lsn_t lsn;
	char at[32];

	lsn_print(node->sample.replay_lsn, at, sizeof(at));
	if (node->timeline == 0 && node->sample.receiver_hidden)
		found(out, TOPO_STALE, "its timeline isn't known: monitor_user may not see its receiver (GRANT pg_monitor to it)");
	else if (node->timeline == 0)
		found(out, TOPO_STALE, "its timeline isn't known: no receiver, and IDENTIFY_SYSTEM %s",
			node->timeline_refused ? "was refused (grant REPLICATION to monitor_user)" : "hasn't answered yet");
	else if (node->timeline > topo->timeline)
		found(out, TOPO_STALE, "follows timeline %u, ours is %u", node->timeline, topo->timeline);
	else if (!topo_line_lsn(topo, (struct wal_pos){ node->timeline, node->sample.replay_lsn }, &lsn))
		found(out, TOPO_STALE, "on timeline %u; the history of ours (%u) isn't known", node->timeline, topo->timeline);
	else if (lsn < node->sample.replay_lsn)
		found(out, TOPO_DIVERGED, "has replayed timeline %u up to %s, past the point where it was left", node->timeline, at);
	else
		found(out, TOPO_STALE, "on timeline %u at %s; where that was left isn't known exactly", node->timeline, at);
}

/* The limit of [pgshunt]; sessions have their own, but this is what people are shown. Back a fifth below it. */
static bool is_lagging(const struct conf_policy *policy, const struct topo_node *shown, const struct mon_node *node)
{
	bool was = node->shown && node->shown_state == TOPO_LAGGING;
	int64_t bytes = policy->max_lag_bytes, us = policy->max_lag_time;

	bytes -= was ? bytes / 5 : 0;
	us -= was ? us / 5 : 0;
	return (bytes != 0 && shown->lag_bytes > bytes) || (us != 0 && shown->lag_us > us);
}

static void judge_standby(const struct monitor *m, const struct topo *topo, const struct topo_node *shown, const struct mon_node *node,
	struct finding *out)
{
	if (m->line.system_id != 0 && node->identity.system_id != m->line.system_id)
		found(out, TOPO_FOREIGN, "system identifier %llu, the cluster's is %llu", (unsigned long long)node->identity.system_id,
			(unsigned long long)m->line.system_id);
	else if (!topo_is_fresh(topo, shown, topo->published_us))
		found(out, TOPO_STALE, "last sample is %lld ms old", (long long)((topo->published_us - shown->sample_begun_us) / USEC_PER_MS));
	else if (!topo_is_on_line(topo, shown))
		judge_off_line(topo, node, out);
	else if (is_ahead_of_primary(m, node))
		found(out, TOPO_DIVERGED, "has replayed more of timeline %u than its primary has written", node->timeline);
	else if (is_lagging(&m->conf->policy, shown, node))
		found(out, TOPO_LAGGING, "behind by %lld bytes, %lld ms%s", (long long)shown->lag_bytes, (long long)(shown->lag_us / USEC_PER_MS),
			node->sample.streaming ? "" : "; its receiver isn't streaming");
	else
		found(out, TOPO_UP, "%s", node->sample.streaming ? "" : "its receiver isn't streaming");
}

static void judge(const struct monitor *m, const struct topo *topo, const struct topo_node *shown, const struct mon_node *node,
	struct finding *out)
{
	switch (node->reach) {
	case REACH_UNTRIED:
		found(out, TOPO_DOWN, "not asked yet");
		break;
	case REACH_DOWN:
		found(out, TOPO_DOWN, "%s", node->failure);
		break;
	case REACH_STARTING:
		found(out, TOPO_STARTING, "%s", node->failure);
		break;
	case REACH_UP:
		if (m->line.history.timeline == 0)
			found(out, TOPO_STALE, "which of the nodes are of one cluster isn't known yet");
		else if (shown->role == TOPO_PRIMARY)
			judge_writer(m, node, out);
		else
			judge_standby(m, topo, shown, node, out);
		break;
	}
}

/* ---- what is shown ---- */

static enum topo_role role_of(const struct mon_node *node)
{
	if (!node->has_sample)
		return TOPO_ROLE_UNKNOWN;
	return node->sample.in_recovery ? TOPO_STANDBY : TOPO_PRIMARY;
}

static void show_lag(const struct monitor *m, const struct mon_node *node, struct topo_node *shown)
{
	lsn_t newest = m->primary_sample.lsn, replay = shown->replay_lsn;

	shown->lag_bytes = shown->lag_us = -1;
	if (node->index == m->primary) {
		shown->lag_bytes = shown->lag_us = 0;
		shown->caught_up_us = node->sample_begun_us;
	} else if (newest != 0 && replay != 0 && shown->role == TOPO_STANDBY) {
		shown->lag_bytes = newest > replay ? (int64_t)(newest - replay) : 0;
		shown->lag_us = past_lag(&m->past, replay, node->sample_done_us);
		shown->caught_up_us = past_caught_up(&m->past, replay);
	}
}

static void show_node(const struct monitor *m, const struct mon_node *node, struct topo_node *shown)
{
	topo_node_set_text(shown, node->name, node->host, node->label, node->zone, NULL);
	shown->port = node->port;
	shown->weight = node->weight;
	shown->addr = node->addr;
	shown->addr_len = node->addr_len;
	shown->role = role_of(node);
	shown->timeline = node->timeline;
	shown->write_lsn = node->sample.write_lsn;
	shown->flush_lsn = node->sample.flush_lsn;
	shown->replay_lsn = node_position(node);
	shown->sample_begun_us = node->sample_begun_us;
	shown->sample_done_us = node->sample_done_us;
	shown->receiver_streaming = node->sample.streaming;
	shown->incarnation = node->incarnation;
	show_lag(m, node, shown);
}

/* ---- the log: one line a change ---- */

static enum log_level level_of(enum topo_state state)
{
	static const enum log_level levels[] = {
		[TOPO_DOWN] = LOG_WARNING, [TOPO_UP] = LOG_INFO, [TOPO_STARTING] = LOG_INFO, [TOPO_STALE] = LOG_WARNING,
		[TOPO_LAGGING] = LOG_WARNING, [TOPO_DRAINED] = LOG_INFO, [TOPO_DIVERGED] = LOG_ERROR, [TOPO_DEPOSED] = LOG_ERROR,
		[TOPO_FOREIGN] = LOG_ERROR,
	};
	return levels[state];
}

static void log_change(const struct monitor *m, struct mon_node *node, const struct topo_node *shown)
{
	bool first = !node->shown;
	char was[64] = "";

	/* Before a node has been asked, or the first election held, there is nothing to say. */
	if (node->reach == REACH_UNTRIED || (node->reach == REACH_UP && m->line.history.timeline == 0) ||
	    (!first && node->shown_role == shown->role && node->shown_state == shown->state))
		return;
	if (!first)
		snprintf(was, sizeof(was), " (was %s %s)", topo_role_name(node->shown_role), topo_state_name(node->shown_state));
	log_msg(level_of(shown->state), "node %s: %s %s%s%s%s", shown->name, topo_role_name(shown->role), topo_state_name(shown->state), was,
		*shown->reason ? ": " : "", shown->reason);
	node->shown = true;
	node->shown_role = shown->role;
	node->shown_state = shown->state;
}

struct topo *publish_build(struct monitor *m)
{
	struct topo *topo = topo_new(m->node_count);

	topo->version = ++m->version;
	topo->primary = m->primary;
	topo->timeline = m->line.history.timeline;
	topo->primary_sample = m->primary_sample;
	topo->primary_sample_begun_us = m->primary_sample_begun_us;
	topo->published_us = time_mono_us();
	topo->fresh_within_us = FRESH_INTERVALS * m->conf->opt.monitor_interval;
	topo_set_switches(topo, m->line.history.switches, m->line.history.count);
	for (size_t i = 0; i < m->node_count; i++) {
		struct finding finding = { .reason = "" };

		show_node(m, m->nodes[i], &topo->nodes[i]);
		judge(m, topo, &topo->nodes[i], m->nodes[i], &finding);
		topo->nodes[i].state = finding.state;
		topo_node_set_text(&topo->nodes[i], NULL, NULL, NULL, NULL, finding.reason);
		log_change(m, m->nodes[i], &topo->nodes[i]);
	}
	return topo;
}
