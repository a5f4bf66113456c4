/* One node's polls: look up its name, connect, ask, again after an interval; one at a time, each within monitor_timeout. */
#include <stdio.h>
#include <stdlib.h>

#include "private.h"

/* A look-up can't be taken back: what it reports to must outlive the node. */
struct lookup {
	struct mon_node *node;          /* NULL: nobody waits any more */
};

static const struct conf_options *opt_of(const struct mon_node *node)
{
	return &node->monitor->conf->opt;
}

static void lookup_forget(struct mon_node *node)
{
	if (node->lookup)
		node->lookup->node = NULL;
	node->lookup = NULL;
}

/* ---- the end of a poll ---- */

static void poll_end(struct mon_node *node)
{
	node->step = POLL_NONE;
	timer_stop(node->deadline);
}

/* The election may have begun the next one already. */
static void poll_next(struct mon_node *node, usec_t in_us)
{
	if (node->step != POLL_NONE)
		return;
	if (!node->again)
		timer_set(node->timer, in_us);
	else if (node->asked)
		node_poll_asked(node);
	else
		node_poll(node);
}

/* Sessions that wait for a standby ask again and again: ROUND_GAP_US bounds what that costs, here and at the node. */
void node_poll_asked(struct mon_node *node)
{
	usec_t gap = node->poll_begun_us + ROUND_GAP_US - time_mono_us();

	node->asked = true;
	if (node->step == POLL_NONE && gap > 0)
		timer_set(node->timer, gap);
	else
		node_poll(node);
}

/* One look is enough where nobody listens, where the node says itself that it isn't ready, and where it has never been up. */
static enum reach reach_after(const struct mon_node *node, const struct conn_failure *failure)
{
	if (strcmp(failure->sqlstate, "57P03") == 0)
		return REACH_STARTING;
	if (failure->loss == CONN_REFUSED || node->reach != REACH_UP || node->failures >= opt_of(node)->failure_threshold)
		return REACH_DOWN;
	return REACH_UP;
}

static void poll_failed(struct mon_node *node, const struct conn_failure *failure)
{
	bool guest = failure->loss != CONN_REFUSED && node->step == POLL_CONNECTING && !*opt_of(node)->monitor_user;

	poll_end(node);
	conn_close(node->conn);
	node->failures++;
	node->reach = reach_after(node, failure);
	snprintf(node->failure, sizeof(node->failure), "%s%s", failure->text,
		guest ? " (monitor_user isn't set: create a role with pg_monitor and name it there)" : "");
	counter_add(&node->monitor->stats->sample_failures, 1);
	monitor_unreachable(node);
	/* A node that still counts as up is looked at again at once: a hang is seen within two timeouts. */
	poll_next(node, node->reach == REACH_UP ? 0 : monitor_interval(node->monitor));
}

static void on_deadline(void *owner)
{
	struct mon_node *node = owner;
	static const char *const texts[] = {
		[POLL_NONE] = "", [POLL_RESOLVING] = "no answer of the name server", [POLL_CONNECTING] = "no answer to a connection attempt",
		[POLL_ASKING] = "no answer to a query",
	};
	struct conn_failure failure = { .loss = CONN_BROKEN };

	snprintf(failure.text, sizeof(failure.text), "%s within monitor_timeout", texts[node->step]);
	lookup_forget(node);
	poll_failed(node, &failure);
}

/* ---- what it says ---- */

static void note_identity(struct mon_node *node, const struct identity *identity)
{
	if (!node->has_identity || node->identity.started_us != identity->started_us ||
		node->identity.system_id != identity->system_id) {
		if (node->has_identity)
			node->incarnation++;
		node->timeline = 0;
		node->was_ours = false;
		node->history.timeline = 0;
	}
	node->identity = *identity;
	node->has_identity = true;
}

/* A standby without a receiver keeps its timeline while its replay stands still; else it is asked. */
static void note_timeline(struct mon_node *node)
{
	const struct sample *sample = &node->sample;

	if (sample->timeline != 0) {
		node->timeline = sample->timeline;
		node->timeline_replay_lsn = sample->replay_lsn;
	} else if (node->timeline == 0 || node->timeline_replay_lsn != sample->replay_lsn) {
		ask_timeline(node->ask);
	}
}

static void note_sample(struct mon_node *node, const struct sample *sample)
{
	if (node->has_sample && node->sample.in_recovery && !sample->in_recovery)
		node->incarnation++;
	node->sample = *sample;
	node->has_sample = true;
	node->sample_begun_us = node->sample_sent_us;
	node->sample_done_us = time_mono_us();
	node->failures = 0;
	node->reach = REACH_UP;
	node->failure[0] = '\0';
	note_timeline(node);
	if (sample->receiver_hidden && !node->hidden_warned)
		log_warning("node %s: monitor_user may not see pg_stat_wal_receiver: GRANT pg_monitor to it", node->name);
	node->hidden_warned |= sample->receiver_hidden;
}

lsn_t node_position(const struct mon_node *node)
{
	if (node->sample.in_recovery)
		return node->sample.replay_lsn;
	return lsn_round_to_page_of(node->sample.write_lsn, node->identity.page_bytes, node->identity.segment_bytes);
}

static void on_result(void *owner, const PGresult *result)
{
	struct mon_node *node = owner;
	struct sample sample;
	struct identity identity;
	bool first = node->step == POLL_CONNECTING;

	if (!sample_read(result, &sample, first ? &identity : NULL)) {
		struct conn_failure failure;

		conn_result_failure(result, &failure);
		poll_failed(node, &failure);
		return;
	}
	poll_end(node);
	if (first)
		note_identity(node, &identity);
	note_sample(node, &sample);
	counter_add(&node->monitor->stats->samples, 1);
	if (node->asked)
		counter_add(&node->monitor->stats->samples_asked, 1);
	node->asked = false;
	monitor_sampled(node);
	poll_next(node, node->poll_begun_us + monitor_interval(node->monitor) - time_mono_us());
}

/* ---- a poll ---- */

static void poll_ask(struct mon_node *node, const char *sql)
{
	node->sample_sent_us = time_mono_us();
	conn_send(node->conn, sql);
}

/* The step stays POLL_CONNECTING until the first row of the connection is here. */
static void on_ready(void *owner)
{
	struct mon_node *node = owner;

	poll_ask(node, sample_first_sql);
}

static void on_lost(void *owner, const struct conn_failure *failure)
{
	struct mon_node *node = owner;

	if (node->step == POLL_CONNECTING) {
		poll_failed(node, failure);
		return;
	}
	/* One broken connection is a hint to look, and others of this node may have died with it. */
	node->incarnation++;
	log_debug("node %s: monitor's connection lost: %s", node->name, failure->text);
	poll_end(node);
	node_poll(node);
}

static void poll_connect(struct mon_node *node)
{
	node->step = POLL_CONNECTING;
	conn_open(node->conn, &(struct conn_target){ node->host, &node->addr, node->port, opt_of(node), false });
}

static void note_address(struct mon_node *node, const struct sockaddr_storage *addr, socklen_t len)
{
	bool moved = node->addr_len != 0 && (node->addr_len != len || memcmp(&node->addr, addr, len) != 0);

	node->addr = *addr;
	node->addr_len = len;
	node->resolved_us = time_mono_us();
	if (!moved)
		return;
	log_info("node %s: %s has another address now", node->name, node->host);
	node->incarnation++;
	if (node->step != POLL_RESOLVING)
		node_reconnect(node);
}

static void on_resolved(void *owner, const struct sockaddr_storage *addr, socklen_t len, const struct err *err)
{
	struct lookup *lookup = owner;
	struct mon_node *node = lookup->node;

	mem_free(lookup);
	if (!node)
		return;
	node->lookup = NULL;
	if (!err)
		note_address(node, addr, len);
	if (node->step != POLL_RESOLVING)
		return;
	if (node->addr_len != 0) {      /* where the name server is away, the address of before serves */
		poll_connect(node);
		return;
	}
	struct conn_failure failure = { .loss = CONN_REFUSED };
	snprintf(failure.text, sizeof(failure.text), "%.200s", err ? err->text : "no address");
	poll_failed(node, &failure);
}

static void resolve(struct mon_node *node)
{
	if (node->lookup)
		return;
	node->lookup = mem_alloc(sizeof(*node->lookup));
	node->lookup->node = node;
	loop_resolve(node->monitor->loop, node->hostaddr ? node->hostaddr : node->host, node->port, on_resolved, node->lookup);
}

void node_poll(struct mon_node *node)
{
	if (node->step != POLL_NONE) {
		node->again = true;
		return;
	}
	timer_stop(node->timer);
	node->again = false;
	node->poll_begun_us = time_mono_us();
	timer_set(node->deadline, opt_of(node)->monitor_timeout);
	if (!conn_is_ready(node->conn)) {
		conn_close(node->conn);
		node->step = POLL_RESOLVING;
		resolve(node);
		return;
	}
	if (node->poll_begun_us - node->resolved_us > MAX(opt_of(node)->dns_max_ttl, USEC_PER_SEC))
		resolve(node);
	node->step = POLL_ASKING;
	poll_ask(node, sample_next_sql);
}

static void on_timer(void *owner)
{
	node_poll(owner);
}

void node_reconnect(struct mon_node *node)
{
	lookup_forget(node);
	poll_end(node);
	conn_close(node->conn);
	node_poll(node);
}

/* ---- the object ---- */

static const struct conn_handler handler = { on_ready, on_result, on_lost };

static void text_set(char **field, const char *text)
{
	char *copy = mem_strdup(text);

	mem_free(*field);
	*field = copy;
}

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool node_is_same(const struct mon_node *node, const struct conf_node *conf)
{
	return is_same_text(node->name, conf->name) && is_same_text(node->host, conf->host) &&
		is_same_text(node->hostaddr, conf->hostaddr) && node->port == conf->port;
}

void node_configure(struct mon_node *node, const struct conf_node *conf)
{
	text_set(&node->label, conf->label);
	text_set(&node->zone, conf->zone);
	node->weight = conf->weight;
}

struct mon_node *node_new(struct monitor *monitor, const struct conf_node *conf)
{
	struct mon_node *node = mem_alloc(sizeof(*node));

	node->monitor = monitor;
	text_set(&node->name, conf->name);
	text_set(&node->host, conf->host);
	text_set(&node->hostaddr, conf->hostaddr);
	node->port = conf->port;
	node_configure(node, conf);
	/* A node that comes back under its old name must not seem to be what it was: start above all that was counted before. */
	node->incarnation = (uint64_t)time_mono_us();
	node->conn = conn_new(monitor->loop, &handler, node);
	node->timer = timer_new(monitor->loop, on_timer, node);
	node->deadline = timer_new(monitor->loop, on_deadline, node);
	node->ask = ask_new(node);
	return node;
}

void node_free(struct mon_node **node)
{
	struct mon_node *n = *node;

	if (!n)
		return;
	*node = NULL;
	lookup_forget(n);
	ask_free(&n->ask);
	conn_free(&n->conn);
	timer_free(&n->timer);
	timer_free(&n->deadline);
	mem_free(n->name);
	mem_free(n->host);
	mem_free(n->hostaddr);
	mem_free(n->label);
	mem_free(n->zone);
	mem_free(n);
}
