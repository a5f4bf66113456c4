/* The vocabulary of reasons, and what of it a verdict says. */
#include "private.h"

#include <stdio.h>

static const char *const names[ROUTE_R_COUNT] = {
	[ROUTE_R_READ] = "read", [ROUTE_R_WRITE] = "write", [ROUTE_R_ROW_LOCK] = "row-lock", [ROUTE_R_TRANSACTION] = "transaction",
	[ROUTE_R_UTILITY] = "utility", [ROUTE_R_SETTING] = "setting", [ROUTE_R_FUNCTION] = "function", [ROUTE_R_UNLOGGED] = "unlogged",
	[ROUTE_R_VOLATILE_VIEW] = "volatile-view", [ROUTE_R_UNPARSED] = "unparsed", [ROUTE_R_TOO_LONG] = "too-long",
	[ROUTE_R_NODE_LOCAL] = "node-local", [ROUTE_R_PINNED] = "pinned", [ROUTE_R_CONSISTENCY] = "consistency", [ROUTE_R_LAG] = "lag",
	[ROUTE_R_NO_STANDBY] = "no-standby", [ROUTE_R_NO_PRIMARY] = "no-primary", [ROUTE_R_HINT] = "hint", [ROUTE_R_RULE] = "rule",
	[ROUTE_R_RETRIED] = "retried",
};

/* A verdict's reasons are the first of ours, in its order. */
_Static_assert((int)SQL_R_READ == (int)ROUTE_R_READ && (int)SQL_R_FUNCTION == (int)ROUTE_R_FUNCTION &&
	(int)SQL_R_NODE_LOCAL == (int)ROUTE_R_NODE_LOCAL && (int)SQL_R_PINNED == (int)ROUTE_R_PINNED &&
	(int)SQL_R_COUNT == (int)ROUTE_R_PINNED + 1, "enum sql_reason and enum route_reason go together");

const char *route_reason_text(enum route_reason reason, const char *name, char *out, size_t len)
{
	snprintf(out, len, "%s%s%s", names[reason], name ? ":" : "", name ? name : "");
	return out;
}
