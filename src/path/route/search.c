/* Which nodes may take a read: up and fresh, on our line, within the lag limits, far enough for what the session needs. */
#include "private.h"

/* A standby that hasn't followed a promotion is served from for as long as this, where no limit is set (design.md section 7). */
#define OLD_TIMELINE_LAG_MAX_US (10 * USEC_PER_SEC)

enum fitness { FITS, ABSENT, PAST_LIMIT, BEHIND };

/* ---- is it asked for at all ---- */

static bool is_wanted(const struct route_request *request, const struct topo_node *node)
{
	const struct route_policy *policy = request->policy;

	switch (policy->target) {
	case ROUTE_NODE:
		return strcmp(node->name, policy->target_name) == 0;
	case ROUTE_LABEL:
		return strcmp(node->label, policy->target_name) == 0;
	case ROUTE_AUTO:
	case ROUTE_STANDBY:
	case ROUTE_PRIMARY:
		break;
	}
	return node->weight > 0;
}

/* The primary is one of the nodes to choose from where it is named, or joins by its weight. */
static bool is_primary_wanted(const struct route_request *request, const struct topo_node *node)
{
	const struct route_policy *policy = request->policy;

	if (policy->target == ROUTE_AUTO && policy->conf->read_from != READ_FROM_ANY)
		return false;
	return policy->target != ROUTE_STANDBY && is_wanted(request, node);
}

static bool is_there(const struct route_request *request, const struct topo_node *node)
{
	return node->role == TOPO_STANDBY && (node->state == TOPO_UP || node->state == TOPO_LAGGING) &&
		topo_is_fresh(request->topo, node, request->now_us) && topo_is_on_line(request->topo, node);
}

/* ---- lag ---- */

/* A node that was taken out for lagging comes back a fifth below the limit, so that it doesn't come and go with every sample. */
static int64_t limit_for(int64_t limit, const struct topo_node *node)
{
	return node->state == TOPO_LAGGING ? limit - limit / 5 : limit;
}

static bool is_within_bytes(const struct route_request *request, const struct topo_node *node)
{
	int64_t limit = request->policy->conf->max_lag_bytes;

	return limit == 0 || (node->lag_bytes >= 0 && node->lag_bytes <= limit_for(limit, node));
}

static usec_t time_limit(const struct route_request *request, const struct topo_node *node)
{
	usec_t limit = request->policy->conf->max_lag_time;

	if (limit == 0 && node->timeline != request->topo->timeline)
		limit = OLD_TIMELINE_LAG_MAX_US;
	return limit_for(limit, node);
}

/* Held against the limit is what is known now: a node that had all a while ago may lack what was written since. Where only the age
 * of the sample breaks the limit, a newer one is worth waiting for. */
static bool is_within_time(const struct route_request *request, const struct topo_node *node, bool *sample_is_old)
{
	usec_t limit = time_limit(request, node);

	if (limit == 0 || (node->caught_up_us != 0 && request->now_us - node->caught_up_us <= limit))
		return true;
	*sample_is_old = node->lag_us >= 0 && node->lag_us <= limit;
	return false;
}

static enum fitness lag_fitness(const struct route_request *request, const struct topo_node *node, struct route_search *search)
{
	const struct conf_policy *conf = request->policy->conf;
	bool sample_is_old = false;

	if ((conf->max_lag_bytes != 0 || conf->max_lag_time != 0) && !node->receiver_streaming)
		return PAST_LIMIT;
	if (!is_within_bytes(request, node))
		return PAST_LIMIT;
	if (is_within_time(request, node, &sample_is_old))
		return FITS;
	search->may_catch_up |= sample_is_old;
	return PAST_LIMIT;
}

/* ---- the session's need ---- */

/* A sample of the node that is older than the primary's newest says nothing of how far it is behind that one. */
static bool may_catch_up(const struct route_request *request, const struct topo_node *node, bool resolved)
{
	if (!resolved)
		return request->topo->primary >= 0;
	return node->sample_done_us < request->topo->primary_sample_begun_us || node->lag_us < request->policy->conf->consistency_wait;
}

static enum fitness need_fitness(const struct route_request *request, const struct topo_node *node, struct route_search *search)
{
	struct need need = request->need;
	bool resolved;

	if (request->policy->conf->consistency < CONS_MONOTONIC)
		return FITS;
	resolved = need_resolve(&need, request->topo);
	if (resolved && topo_covers(request->topo, node, need.pos))
		return FITS;
	search->may_catch_up |= may_catch_up(request, node, resolved);
	return BEHIND;
}

/* ---- all together ---- */

static enum fitness standby_fitness(const struct route_request *request, const struct topo_node *node, bool asks_node_itself,
	struct route_search *search)
{
	enum fitness lag;

	if (!is_wanted(request, node) || !is_there(request, node))
		return ABSENT;
	if (asks_node_itself)
		return FITS;
	lag = lag_fitness(request, node, search);
	return lag == FITS ? need_fitness(request, node, search) : lag;
}

/* Where nobody has named a node or set a limit, and what the session needs is a place on our own timeline (or nothing), one comparison
 * tells of a standby all there is to say: nearly every one at nearly every read. The others are looked at closely. */
static bool is_plain(const struct route_request *request, lsn_t *least)
{
	const struct conf_policy *conf = request->policy->conf;
	const struct need *need = &request->need;

	*least = 0;
	if (request->policy->target != ROUTE_AUTO || conf->max_lag_bytes != 0 || conf->max_lag_time != 0)
		return false;
	if (conf->consistency < CONS_MONOTONIC)
		return true;
	*least = MAX(need->pos.lsn, 1);
	return need->after_us == 0 && (need->pos.lsn == 0 || need->pos.timeline == request->topo->timeline);
}

/* The mask of the nodes that fit, where each is plainly fit or plainly none to choose from; else 0. */
static uint32_t find_plainly_fit(const struct route_request *request, lsn_t least)
{
	const struct topo *topo = request->topo;
	const struct topo_node *node = topo->nodes;
	int left_out = request->policy->conf->read_from == READ_FROM_ANY ? -1 : topo->primary, count = (int)topo->node_count;
	usec_t oldest = MAX(request->now_us - topo->fresh_within_us, 1);        /* as topo_is_fresh() says */
	uint32_t fit = 0, bit = 1;

	for (int i = 0; i < count; i++, node++, bit <<= 1) {
		if (i == left_out || request->exclude & bit)
			continue;
		if (node->role != TOPO_STANDBY || node->state != TOPO_UP || node->weight <= 0 || node->timeline != topo->timeline ||
		    node->timeline == 0 || node->replay_lsn < least || node->sample_begun_us < oldest)
			return 0;
		fit |= bit;
	}
	return fit;
}

static struct route_search look_closely(const struct route_request *request, bool asks_node_itself)
{
	const struct topo *topo = request->topo;
	struct route_search search = { 0 };

	for (int i = 0; i < (int)topo->node_count; i++) {
		enum fitness fitness = ABSENT;

		if (route_has(request->exclude, i))
			continue;
		if (i != topo->primary)
			fitness = standby_fitness(request, &topo->nodes[i], asks_node_itself, &search);
		else if (is_primary_wanted(request, &topo->nodes[i]))
			fitness = FITS;
		search.fit |= fitness == FITS ? 1u << i : 0u;
		search.lagging |= fitness == PAST_LIMIT;
		search.behind |= fitness == BEHIND;
	}
	return search;
}

struct route_search route_search_nodes(const struct route_request *request, bool asks_node_itself)
{
	lsn_t least;
	uint32_t fit = is_plain(request, &least) ? find_plainly_fit(request, least) : 0;

	return fit ? (struct route_search){ .fit = fit } : look_closely(request, asks_node_itself);
}
