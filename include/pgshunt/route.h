/* route.h - choose a node for a batch and say why.
 *
 * Pure but for the caller's cursor: no I/O, no clock (the caller passes now). Thread: any; struct route_state is the worker's own. */
#ifndef PGSHUNT_ROUTE_H
#define PGSHUNT_ROUTE_H

#include "pgshunt/base.h"
#include "pgshunt/conf.h"
#include "pgshunt/sql.h"
#include "pgshunt/topo.h"

/* One vocabulary of reasons (design.md section 5); those a verdict gives come first. */
enum route_reason {
	ROUTE_R_READ, ROUTE_R_WRITE, ROUTE_R_ROW_LOCK, ROUTE_R_TRANSACTION, ROUTE_R_UTILITY, ROUTE_R_SETTING, ROUTE_R_FUNCTION,
	ROUTE_R_UNLOGGED, ROUTE_R_VOLATILE_VIEW, ROUTE_R_UNPARSED, ROUTE_R_TOO_LONG, ROUTE_R_NODE_LOCAL, ROUTE_R_PINNED,
	ROUTE_R_CONSISTENCY, ROUTE_R_LAG, ROUTE_R_NO_STANDBY, ROUTE_R_NO_PRIMARY, ROUTE_R_HINT, ROUTE_R_RULE, ROUTE_R_RETRIED,
	ROUTE_R_COUNT
};

/* What a statement wants, put together by the session from its settings, its hint and the configuration. */
struct route_policy {
	const struct conf_policy *conf;
	enum conf_route target;         /* route= of session, user, database, rule or hint */
	const char *target_name;        /* node or label; NULL otherwise */
	bool target_is_hint;            /* the reason then says hint, else setting */
};

/* One worker's memory between picks. */
struct route_state {
	uint32_t cursor;                        /* where ties begin: a worker sets its own number once, so that workers don't march in step */
	int32_t credit[TOPO_NODES_MAX];         /* smooth weighted round robin */
	uint32_t loads[TOPO_NODES_MAX];         /* requests in flight of this worker, for least_conn */
};

enum route_outcome {
	ROUTE_TO_NODE,          /* node is the answer */
	ROUTE_WAIT_SAMPLE,      /* nothing qualifies yet, but a newer sample may change that: ask the monitor, wait (consistency_wait) */
	ROUTE_WAIT_PRIMARY,     /* needs a primary and there is none: wait (primary_wait), then 57P03 */
	ROUTE_WAIT_NODE,        /* primary_fallback = off and no standby: wait query_wait_timeout, then 57P03 */
	ROUTE_REFUSE            /* request->err says why: 25006 write while route=standby, 0A000, 57P03 ... */
};

struct route_choice {
	enum route_outcome outcome;
	int node;               /* index into topo->nodes; -1 unless ROUTE_TO_NODE */
	enum route_reason reason;
	const char *reason_name;        /* for function:NAME, retried:SQLSTATE ...; NULL otherwise; lives as long as the request's parts */
};

struct route_request {
	const struct topo *topo;
	const struct route_policy *policy;
	const struct verdict *verdict;          /* the batch's strongest; NULL: it names no statement (must_primary is set then) */
	struct need need;                       /* as far as it is resolved (resolving it further is done on a copy) */
	usec_t now_us;
	bool may_wait;          /* false: consistency_wait is over; then the primary takes the read */
	uint32_t exclude;       /* bit a node: tried already for this batch. When all are, the answer is a wait: the caller clears it
	                         * when it asks again with a newer topology */
	bool must_primary;      /* pinned, in a transaction, retried after a refusal */
	enum route_reason primary_reason;       /* with must_primary */
	struct err *err;        /* filled by ROUTE_REFUSE; a pointer, since an error is big and a refusal rare */
	const char *primary_reason_name;        /* for retried:SQLSTATE, pinned:WHAT ...; NULL = as the verdict says */
};

struct route_choice route_pick(const struct route_request *request, struct route_state *state);

/* Whether a batch with this verdict may run on a standby at all (class read, not node-local, no pins). */
bool route_is_movable(const struct verdict *verdict);

/* "read", "consistency", "function:nextval" ...; returns out. */
const char *route_reason_text(enum route_reason reason, const char *name, char *out, size_t len);

#endif
