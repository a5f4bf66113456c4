/* shrink.h - makes a script that differs as short as it can while it still differs in the same way. */
#ifndef PROPERTY_SHRINK_H
#define PROPERTY_SHRINK_H

#include "bed.h"

#define DIFFERENCE_BYTES 160

/* Where and how a run differed. */
struct difference {
	char what[DIFFERENCE_BYTES];    /* type and SQLSTATE of the first message that differs, as the server / as pgshunt says it */
	size_t step;                    /* 0: start-up; n: the n-th step */
	struct buf replies;             /* both, as text */
};

/* Runs a script. True: it differed (or broke), *out says how; out->replies is the caller's to free. */
bool script_differs(struct bed *bed, const struct script *script, struct difference *out);
/* Notes how the run in the bed differs right now. */
void difference_note(struct difference *out, const struct bed *bed, enum bed_rc rc, const char *why, size_t step);

/* Shortens script in place: drops steps, then messages, then start-up parameters; at most max_runs runs. What another server would have
 * said differs from run to run, so that each candidate has `tries` tries. */
void shrink(struct bed *bed, struct script *script, const char *what, unsigned tries, unsigned max_runs);

#endif
