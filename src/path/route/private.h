/* private.h - of src/path/route: which nodes may take a read, and which of them does. */
#ifndef PGSHUNT_ROUTE_PRIVATE_H
#define PGSHUNT_ROUTE_PRIVATE_H

#include "pgshunt/route.h"

/* What became of the nodes a read could have gone to. */
struct route_search {
	uint32_t fit;           /* bit a node: may take it now */
	bool lagging;           /* one was past a lag limit */
	bool behind;            /* one was within it, but isn't known to have what the read needs */
	bool may_catch_up;      /* of these: one of which a newer sample may change that within consistency_wait */
};

/* A statement that asks the node about itself reads no data: it needs no position. */
struct route_search route_search_nodes(const struct route_request *request, bool asks_node_itself);

/* One of the nodes of a mask that isn't empty, by load_balance. */
int route_balance(const struct route_request *request, struct route_state *state, uint32_t fit);

static inline bool route_has(uint32_t mask, int node)
{
	return node >= 0 && (mask >> node & 1u) != 0;
}

#endif
