/* The monitor as a whole: its nodes, the election, the calls of other threads, the publication. */
#include <stdio.h>

#include "private.h"

enum mail { MAIL_WANT, MAIL_HINT };

/* loop_later() can't be taken back: it gets this, which outlives the monitor. */
struct turn {
	struct monitor *monitor;        /* NULL: freed meanwhile */
};

/* Where a limit on lag in time is set, samples must come often enough to tell. */
usec_t monitor_interval(const struct monitor *m)
{
	usec_t interval = m->conf->opt.monitor_interval, limit = m->conf->policy.max_lag_time;

	if (limit != 0)
		interval = MIN(interval, MAX(limit / 4, HUNT_INTERVAL_US));
	return m->hunting ? MIN(interval, HUNT_INTERVAL_US) : interval;
}

/* ---- publication: once a turn of the loop ---- */

static void publish(void *object)
{
	struct turn *turn = object;
	struct monitor *m = turn->monitor;
	const struct topo *before;

	mem_free(turn);
	if (!m)
		return;
	m->turn = NULL;
	before = m->topo;
	m->topo = publish_build(m);
	topo_unref(&before);
	counter_add(&m->stats->snapshots, 1);
	m->publish(m->owner, m->topo);
}

void monitor_changed(struct monitor *m)
{
	timer_stop(m->round);
	if (m->turn)
		return;
	m->turn = mem_alloc(sizeof(*m->turn));
	m->turn->monitor = m;
	loop_later(m->loop, publish, m->turn);
}

static void round_over(void *owner)
{
	monitor_changed(owner);
}

/* The nodes of one round answer within a fraction of a millisecond: one publication for all of them, unless one is late. */
static void monitor_changed_soon(struct monitor *m)
{
	usec_t now = time_mono_us();

	for (size_t i = 0; i < m->node_count; i++)
		if (m->nodes[i]->step == POLL_ASKING && now - m->nodes[i]->poll_begun_us < ROUND_GAP_US) {
			if (!timer_is_set(m->round))
				timer_set(m->round, ROUND_GAP_US);
			return;
		}
	monitor_changed(m);
}

/* ---- the election ---- */

static bool is_up(const struct mon_node *node)
{
	return node->reach == REACH_UP && node->has_sample;
}

static bool all_tried(const struct monitor *m)
{
	for (size_t i = 0; i < m->node_count; i++) {
		if (m->nodes[i]->reach == REACH_UNTRIED)
			return false;
	}
	return true;
}

/* The system identifier of most nodes; of the first one where they are equal in number. */
static uint64_t majority_system(const struct monitor *m)
{
	uint64_t best = 0;
	size_t best_votes = 0;

	for (size_t i = 0; i < m->node_count; i++) {
		size_t votes = 0;

		for (size_t j = 0; j < m->node_count; j++)
			votes += is_up(m->nodes[j]) && m->nodes[j]->identity.system_id == m->nodes[i]->identity.system_id;
		if (is_up(m->nodes[i]) && votes > best_votes) {
			best_votes = votes;
			best = m->nodes[i]->identity.system_id;
		}
	}
	return best;
}

static bool is_known_primary(const struct monitor *m, const struct mon_node *node)
{
	return m->known_primary && strcmp(m->known_primary, node->name) == 0;
}

static bool has_known_primary(const struct monitor *m)
{
	for (size_t i = 0; i < m->node_count; i++) {
		if (is_known_primary(m, m->nodes[i]))
			return true;
	}
	return false;
}

static struct writer writer_of(const struct monitor *m, const struct mon_node *node)
{
	return (struct writer){
		.system_id = node->identity.system_id,
		.timeline = node->timeline,
		.insert_lsn = node->sample.write_lsn,
		.is_known_primary = is_known_primary(m, node),
		.has_known_primary = has_known_primary(m),
		.was_ours = node->was_ours,
		.was_ours_before = node->was_ours_before,
		.last_replay_lsn = node->last_replay_lsn,
		.history = &node->history,
		.history_refused = node->history_refused,
	};
}

static bool is_writer(const struct mon_node *node)
{
	return is_up(node) && !node->sample.in_recovery;
}

/* Of those that may write: the highest timeline, then the one we knew, then the first. */
static struct mon_node *best_writer(const struct monitor *m)
{
	struct mon_node *best = NULL;

	for (size_t i = 0; i < m->node_count; i++) {
		struct mon_node *node = m->nodes[i];
		struct writer writer = writer_of(m, node);

		if (!is_writer(node) || line_judge(&m->line, &writer) != MAY_WRITE)
			continue;
		if (!best || node->timeline > best->timeline || (node->timeline == best->timeline && is_known_primary(m, node)))
			best = node;
	}
	return best;
}

static void log_promotion(const struct monitor *m, const struct mon_node *node)
{
	char at[32];

	lsn_print(node->sample.write_lsn, at, sizeof(at));
	log_warning("node %s is the primary now, of timeline %u at %s (was %s, of timeline %u)", node->name, node->timeline, at,
		m->known_primary ? m->known_primary : "unknown", m->line.history.timeline);
}

static void follow(struct monitor *m, struct mon_node *node)
{
	struct writer writer = writer_of(m, node);

	if (m->line.history.timeline != 0 && m->line.history.timeline != node->timeline) {
		log_promotion(m, node);
		counter_add(&m->stats->promotions, 1);
	}
	line_follow(&m->line, &writer);
	if (is_known_primary(m, node))
		return;
	mem_free(m->known_primary);
	m->known_primary = mem_strdup(node->name);
}

/* What the others are, now that the line's end is known; an unknown history may decide. */
static void judge_writers(struct monitor *m)
{
	for (size_t i = 0; i < m->node_count; i++) {
		struct mon_node *node = m->nodes[i];
		struct writer writer = writer_of(m, node);

		if (!is_writer(node))
			continue;
		node->standing = line_judge(&m->line, &writer);
		if (node->standing == ASK_HISTORY)
			ask_history(node->ask, node->timeline);
	}
}

/* No primary since the start: the standbys' newest timeline is the line, so that reads go on. */
static struct mon_node *follow_standbys(struct monitor *m)
{
	struct mon_node *best = NULL;

	if (m->known_primary)
		return NULL;
	for (size_t i = 0; i < m->node_count; i++) {
		struct mon_node *node = m->nodes[i];

		if (is_up(node) && node->sample.in_recovery && node->identity.system_id == m->line.system_id && node->timeline != 0 &&
			(!best || node->timeline > best->timeline))
			best = node;
	}
	if (best && best->timeline > m->line.history.timeline) {
		m->line.history = (struct history){ .timeline = best->timeline };
		m->line.history_known = best->timeline == 1;
	}
	return best;
}

static void set_hunting(struct monitor *m, bool hunting)
{
	bool before = m->hunting;

	m->hunting = hunting;
	if (before || !hunting)
		return;
	for (size_t i = 0; i < m->node_count; i++)
		node_poll(m->nodes[i]);
}

static void note_primary_sample(struct monitor *m, const struct mon_node *node)
{
	m->primary_sample = (struct wal_pos){ node->timeline, node_position(node) };
	m->primary_sample_begun_us = node->sample_begun_us;
	past_add(&m->past, m->primary_sample.lsn, node->sample_begun_us);
}

static void elect(struct monitor *m)
{
	struct mon_node *best, *witness;

	if (m->line.history.timeline == 0) {
		if (!all_tried(m))
			return;
		m->line.system_id = majority_system(m);
		if (m->line.system_id == 0)
			return;
	}
	best = best_writer(m);
	if (best) {
		follow(m, best);
		note_primary_sample(m, best);
	}
	m->primary = best ? best->index : -1;
	judge_writers(m);
	witness = best ? best : follow_standbys(m);
	if (witness && !m->line.history_known)
		ask_history(witness->ask, witness->timeline);
	set_hunting(m, !best || best->failures > 0);
}

/* ---- what the nodes report ---- */

/* Whether the standby's server process is one of our line: then whatever it becomes goes on from here. */
static void note_standby(const struct monitor *m, struct mon_node *node)
{
	struct topo line = { .timeline = m->line.history.timeline, .switches = m->line.history.switches,
		.switch_count = m->line.history.count };
	struct topo_node at = { .timeline = node->timeline, .replay_lsn = node->sample.replay_lsn };

	node->was_ours = node->identity.system_id == m->line.system_id && node->sample.replay_lsn != 0 && topo_is_on_line(&line, &at);
	node->was_ours_before |= node->was_ours;
	if (node->was_ours)
		node->last_replay_lsn = node->sample.replay_lsn;
}

void monitor_sampled(struct mon_node *node)
{
	struct monitor *m = node->monitor;

	elect(m);
	if (node->sample.in_recovery)
		note_standby(m, node);
	monitor_changed_soon(m);
}

void monitor_unreachable(struct mon_node *node)
{
	elect(node->monitor);
	monitor_changed(node->monitor);
}

void monitor_timeline_told(struct mon_node *node, uint32_t timeline)
{
	node->timeline_refused = false;
	node->timeline = timeline;
	node->timeline_replay_lsn = node->sample.replay_lsn;
	if (node->sample.in_recovery)
		note_standby(node->monitor, node);
	elect(node->monitor);
	monitor_changed(node->monitor);
}

void monitor_history_told(struct mon_node *node, const struct history *history)
{
	struct monitor *m = node->monitor;

	node->history_refused = !history;
	if (history)
		node->history = *history;
	if (history && history->timeline == m->line.history.timeline && !m->line.history_known &&
		(node->index == m->primary || m->primary == -1))
		line_learn(&m->line, history);
	elect(m);
	monitor_changed(m);
}

/* ---- calls of other threads ---- */

static void poll_wanted(struct monitor *m)
{
	/* Cleared first: who asks from now on may need a sample begun later than these. */
	atomic_store(&m->wanted, false);
	for (size_t i = 0; i < m->node_count; i++) {
		if (!is_up(m->nodes[i]))
			continue;
		node_poll_asked(m->nodes[i]);
	}
}

static void poll_hinted(struct monitor *m, const char *name)
{
	for (size_t i = 0; i < m->node_count; i++) {
		if (strcmp(m->nodes[i]->name, name) == 0)
			node_poll(m->nodes[i]);
	}
}

static void on_mail(void *owner, int kind, void *content)
{
	struct monitor *m = owner;

	if (kind == MAIL_WANT)
		poll_wanted(m);
	else
		poll_hinted(m, content);
	mem_free(content);
}

void monitor_want(struct monitor *m)
{
	if (!atomic_exchange(&m->wanted, true))
		mailbox_send(m->mailbox, MAIL_WANT, NULL);
}

void monitor_hint(struct monitor *m, const char *node_name)
{
	mailbox_send(m->mailbox, MAIL_HINT, mem_strdup(node_name));
}

/* ---- the object ---- */

/* Takes the node that is already there, or a new one. */
static struct mon_node *take_node(struct monitor *m, struct mon_node **old, size_t old_count, const struct conf_node *conf)
{
	for (size_t i = 0; i < old_count; i++) {
		struct mon_node *node = old[i];

		if (node && node_is_same(node, conf)) {
			old[i] = NULL;
			node_configure(node, conf);
			return node;
		}
	}
	return node_new(m, conf);
}

static void set_nodes(struct monitor *m)
{
	struct mon_node *old[TOPO_NODES_MAX];
	size_t old_count = m->node_count;

	ENSURE(m->conf->node_count <= TOPO_NODES_MAX);
	memcpy(old, m->nodes, sizeof(old));
	memset(m->nodes, 0, sizeof(m->nodes));
	m->primary = -1;
	m->node_count = m->conf->node_count;
	for (size_t i = 0; i < m->node_count; i++) {
		m->nodes[i] = take_node(m, old, old_count, &m->conf->nodes[i]);
		m->nodes[i]->index = (int)i;
	}
	for (size_t i = 0; i < old_count; i++)
		node_free(&old[i]);
}

static bool is_same_login(const struct conf_options *a, const struct conf_options *b)
{
	return strcmp(a->monitor_user, b->monitor_user) == 0 && strcmp(a->monitor_password, b->monitor_password) == 0 &&
		strcmp(a->monitor_dbname, b->monitor_dbname) == 0;
}

void monitor_reconfigure(struct monitor *m, struct conf *conf)
{
	struct conf *before = m->conf;

	m->conf = conf_ref(conf);
	set_nodes(m);
	elect(m);
	for (size_t i = 0; i < m->node_count; i++) {
		if (!is_same_login(&before->opt, &conf->opt))
			node_reconnect(m->nodes[i]);
		else
			node_poll(m->nodes[i]);
	}
	conf_unref(&before);
	monitor_changed(m);
}

struct monitor *monitor_new(struct loop *loop, struct conf *conf, struct stats_monitor *stats, monitor_publish_fn *publish_fn, void *owner)
{
	struct monitor *m = mem_alloc(sizeof(*m));

	m->loop = loop;
	m->conf = conf_ref(conf);
	m->stats = stats ? stats : &m->own_stats;
	m->publish = publish_fn;
	m->owner = owner;
	m->mailbox = mailbox_new(loop, on_mail, m);
	m->round = timer_new(loop, round_over, m);
	set_nodes(m);
	for (size_t i = 0; i < m->node_count; i++)
		node_poll(m->nodes[i]);
	monitor_changed(m);
	return m;
}

void monitor_free(struct monitor **monitor)
{
	struct monitor *m = *monitor;

	if (!m)
		return;
	*monitor = NULL;
	m->node_count = 0;              /* undelivered mail finds nobody */
	mailbox_free(&m->mailbox);
	for (size_t i = 0; i < ARRAY_LEN(m->nodes); i++)
		node_free(&m->nodes[i]);
	if (m->turn)
		m->turn->monitor = NULL;
	timer_free(&m->round);
	topo_unref(&m->topo);
	conf_unref(&m->conf);
	mem_free(m->known_primary);
	mem_free(m);
}
