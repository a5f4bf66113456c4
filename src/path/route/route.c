/* The decision: what the statement and the settings demand, then the nodes that may take a read, then the primary. */
#include "private.h"

/* ---- answers ---- */

static struct route_choice choice_of(enum route_outcome outcome, int node, enum route_reason reason, const char *name)
{
	return (struct route_choice){ .outcome = outcome, .node = node, .reason = reason, .reason_name = name };
}

static struct route_choice wait_for(enum route_outcome outcome, enum route_reason reason)
{
	return choice_of(outcome, -1, reason, NULL);
}

static struct route_choice to_primary(const struct route_request *request, enum route_reason reason, const char *name)
{
	int primary = request->topo->primary;

	if (primary < 0 || route_has(request->exclude, primary))
		return wait_for(ROUTE_WAIT_PRIMARY, ROUTE_R_NO_PRIMARY);
	return choice_of(ROUTE_TO_NODE, primary, reason, name);
}

static struct route_choice by_verdict(const struct route_request *request)
{
	const struct verdict *verdict = request->verdict;
	enum route_reason reason = (enum route_reason)verdict->reason;

	if (reason == ROUTE_R_READ && verdict->pins != 0)
		reason = ROUTE_R_PINNED;
	return to_primary(request, reason, verdict->reason_name);
}

static enum route_reason target_reason(const struct route_policy *policy)
{
	return policy->target_is_hint ? ROUTE_R_HINT : ROUTE_R_SETTING;
}

/* ---- what the statement is ---- */

static bool is_read(const struct verdict *verdict)
{
	return (verdict->class == SQL_READ || verdict->class == SQL_EMPTY) && verdict->pins == 0;
}

bool route_is_movable(const struct verdict *verdict)
{
	return is_read(verdict) && verdict->reason == SQL_R_READ;
}

/* Functions about the node, and nothing else: no table whose contents could be too old. */
static bool asks_node_itself(const struct verdict *verdict)
{
	return verdict->reason == SQL_R_NODE_LOCAL && verdict->table_count == 0 && verdict->function_count == 0;
}

/* Certainly changes something. What changes the session, and what nobody could read, isn't refused: the primary answers. */
static bool is_write(const struct verdict *verdict)
{
	return verdict->class == SQL_WRITE || verdict->class == SQL_LOCK || verdict->class == SQL_UTILITY;
}

/* ---- what the settings forbid ---- */

static bool check_node(const struct route_request *request, struct err *err)
{
	const char *name = request->policy->target_name;
	int node = topo_find(request->topo, name);

	if (node == -1) {
		err_set(err, "22023", "there is no node \"%s\"", name);
		return err_hint(err, "SHOW NODES in the console lists the nodes.");
	}
	if (!is_write(request->verdict) || node == request->topo->primary)
		return true;
	err_set(err, "25006", "cannot run a write on node \"%s\"%s", name, request->topo->primary >= 0 ? ", which isn't the primary" : "");
	return err_hint(err, "Set pgshunt.route to auto or primary.");
}

static bool check_target(const struct route_request *request, struct err *err)
{
	bool concerned;

	if (!request->verdict)          /* a batch without a statement: Describe of a portal, say */
		return true;
	concerned = is_write(request->verdict) || is_read(request->verdict);
	if (request->policy->target == ROUTE_NODE && concerned)
		return check_node(request, err);
	if (request->policy->target != ROUTE_STANDBY || !is_write(request->verdict))
		return true;
	err_set(err, "25006", "cannot run a write while pgshunt.route is standby");
	return err_hint(err, "Set pgshunt.route to auto or primary.");
}

/* ---- reads ---- */

/* A level that isn't built never runs as a weaker one. */
static bool is_level_built(const struct conf_policy *conf)
{
	switch ((enum conf_consistency)conf->consistency) {
	case CONS_EVENTUAL:
	case CONS_BOUNDED:
		return true;
	case CONS_READ_YOUR_WRITES:
		return conf->consistency_scope == SCOPE_CONNECTION;
	case CONS_MONOTONIC:
	case CONS_SESSION:
	case CONS_STRONG:
		break;
	}
	return false;
}

/* No standby qualifies: the primary, or a wait. */
static struct route_choice fall_back(const struct route_request *request, const struct route_search *search)
{
	enum route_reason reason = search->behind ? ROUTE_R_CONSISTENCY : search->lagging ? ROUTE_R_LAG : ROUTE_R_NO_STANDBY;

	if (search->may_catch_up && request->may_wait)
		return wait_for(ROUTE_WAIT_SAMPLE, reason);
	if (!request->policy->conf->primary_fallback)
		return wait_for(ROUTE_WAIT_NODE, reason);
	return to_primary(request, reason, NULL);
}

static struct route_choice pick_read(const struct route_request *request, struct route_state *state)
{
	bool itself = asks_node_itself(request->verdict);
	enum route_reason reason = request->policy->target == ROUTE_AUTO ? ROUTE_R_READ : target_reason(request->policy);
	struct route_search search;

	if (!is_level_built(request->policy->conf) && !itself)
		return to_primary(request, ROUTE_R_CONSISTENCY, NULL);
	search = route_search_nodes(request, itself);
	if (search.fit == 0)
		return fall_back(request, &search);
	return choice_of(ROUTE_TO_NODE, route_balance(request, state, search.fit), reason, NULL);
}

static bool wants_standby(const struct route_policy *policy)
{
	return policy->target == ROUTE_STANDBY || policy->target == ROUTE_NODE || policy->target == ROUTE_LABEL;
}

/* What is about one node runs on the primary, unless somebody asks for another. */
static bool may_move(const struct route_request *request)
{
	const struct verdict *verdict = request->verdict;

	return route_is_movable(verdict) ||
		(is_read(verdict) && verdict->reason == SQL_R_NODE_LOCAL && wants_standby(request->policy));
}

static struct route_choice pick_forced(const struct route_request *request)
{
	const char *name = request->primary_reason_name;

	if (!name && request->verdict && request->primary_reason == (enum route_reason)request->verdict->reason)
		name = request->verdict->reason_name;
	return to_primary(request, request->primary_reason, name);
}

struct route_choice route_pick(const struct route_request *request, struct route_state *state)
{
	const struct route_policy *policy = request->policy;

	if (!check_target(request, request->err))
		return wait_for(ROUTE_REFUSE, target_reason(policy));
	if (request->must_primary)
		return pick_forced(request);
	if (!may_move(request))
		return by_verdict(request);
	if (policy->target == ROUTE_PRIMARY)
		return to_primary(request, target_reason(policy), NULL);
	if (policy->target == ROUTE_AUTO && policy->conf->read_from == READ_FROM_PRIMARY)
		return to_primary(request, ROUTE_R_SETTING, NULL);
	return pick_read(request, state);
}
