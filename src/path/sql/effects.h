/* effects.h - one statement's effects on its session, read by its tokens; what verdict and sql_effects() both go by. */
#ifndef PGSHUNT_SQL_EFFECTS_H
#define PGSHUNT_SQL_EFFECTS_H

#include "scan.h"

#include "pgshunt/sql.h"

/* A statement being read. */
struct effects {
	struct scan in, start;          /* in: what is still to be read */
	sql_effect_fn *fn;              /* may be NULL */
	void *owner;
	/* What the shape decides, so that a verdict may rest on it: neither depends on a literal's value. */
	unsigned count;                 /* forms that have an effect */
	unsigned set_configs;           /* those of them that are set_config() */
};

/* False when the statement has an effect that can't be read; fn may have been called all the same. A statement of no interest is
 * read: it has none. */
bool effects_read(struct span statement, sql_effect_fn *fn, void *owner, struct effects *out);

/* ---- between effects.c and setting.c ---- */

void effects_add(struct effects *e, const struct sql_effect *effect);

#endif
