/* catalog.h - immutable facts of a database: volatile functions, unlogged tables, views that reach them.
 *
 * Only the epoch exists so far: facts come with the catalog's own issue; until then user functions count as volatile and the
 * safety net (a standby's refusal is run again on the primary) covers the rest. Reference-counted (atomic). */
#ifndef PGSHUNT_CATALOG_H
#define PGSHUNT_CATALOG_H

#include "pgshunt/base.h"

struct catalog;         /* NULL = no facts yet */

#endif
