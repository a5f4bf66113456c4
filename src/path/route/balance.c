/* One node of several, by load_balance.
 *
 * Round robin is the smooth weighted one: every candidate earns its weight, the richest is taken and pays for all. Over any number of
 * picks each share is exact within one, and heavy nodes come evenly spread. What a node earned stays bounded by the sum of the weights, so
 * that one which comes back brings no burst. */
#include "private.h"

static int32_t weight_of(const struct topo_node *node)
{
	return MAX(1, MIN(node->weight, 1 << 20));      /* 0 only where the node was named */
}

static int32_t weight_sum(const struct topo *topo, uint32_t fit)
{
	int32_t sum = 0;

	for (; fit; fit &= fit - 1)
		sum += weight_of(&topo->nodes[__builtin_ctz(fit)]);
	return sum;
}

/* The nodes of the mask earn their weight; returns the richest, the first of equals. */
static int pay(const struct topo *topo, struct route_state *state, uint32_t mask, int32_t sum, int best)
{
	for (; mask; mask &= mask - 1) {
		int i = __builtin_ctz(mask);
		int32_t credit = MIN(state->credit[i] + weight_of(&topo->nodes[i]), sum);

		state->credit[i] = credit;
		if (best == -1 || credit > state->credit[best])
			best = i;
	}
	return best;
}

static int balance_round_robin(const struct topo *topo, struct route_state *state, uint32_t fit)
{
	uint32_t count = (uint32_t)topo->node_count;
	uint32_t before = (1u << (state->cursor < count ? state->cursor : state->cursor % count)) - 1;
	int32_t sum = weight_sum(topo, fit);
	int best;

	ENSURE(fit != 0);
	/* from the cursor on, then those before it */
	best = pay(topo, state, fit & ~before, sum, -1);
	best = pay(topo, state, fit & before, sum, best);
	state->credit[best] = MAX(state->credit[best] - sum, -sum);
	return best;
}

/* Those with the fewest requests in flight for their weight; among equals round robin decides. */
static int balance_least_conn(const struct topo *topo, struct route_state *state, uint32_t fit)
{
	uint32_t least = 0;
	int best = -1;

	for (int i = 0; i < (int)topo->node_count; i++) {
		int64_t mine, its;

		if (!route_has(fit, i))
			continue;
		mine = best == -1 ? -1 : (int64_t)state->loads[i] * weight_of(&topo->nodes[best]);
		its = best == -1 ? 0 : (int64_t)state->loads[best] * weight_of(&topo->nodes[i]);
		if (mine < its)
			least = 0;
		if (mine <= its) {
			least |= 1u << i;
			best = i;
		}
	}
	return balance_round_robin(topo, state, least);
}

/* A linear congruential step is random enough to spread load, and needs no more state than the cursor. */
static int balance_random(const struct topo *topo, struct route_state *state, uint32_t fit)
{
	int32_t left;
	int i = -1;

	state->cursor = state->cursor * 1664525u + 1013904223u;
	left = (int32_t)((uint64_t)state->cursor * (uint64_t)weight_sum(topo, fit) >> 32);
	do {
		i++;
		left -= route_has(fit, i) ? weight_of(&topo->nodes[i]) : 0;
	} while (left >= 0);
	return i;
}

int route_balance(const struct route_request *request, struct route_state *state, uint32_t fit)
{
	switch ((enum conf_load_balance)request->policy->conf->load_balance) {
	case LB_LEAST_CONN:
		return balance_least_conn(request->topo, state, fit);
	case LB_RANDOM:
		return balance_random(request->topo, state, fit);
	case LB_ROUND_ROBIN:
	case LB_LATENCY:        /* nobody measures it yet */
		break;
	}
	return balance_round_robin(request->topo, state, fit);
}
