/* relay.h - of src/path/session: between relay.c, which passes answers on, and errors.c, which judges those that failed. */
#ifndef PGSHUNT_SESSION_RELAY_H
#define PGSHUNT_SESSION_RELAY_H

#include "private.h"

#define ERROR_MAX_BYTES ((size_t)1 << 20)       /* longer errors are passed on unread */

enum relay_rc { RELAY_ON, RELAY_STOP };

struct relay {
	struct session *s;
	const uint8_t *data;
	size_t len, at;                 /* scanned up to here */
	size_t from;                    /* first byte not yet passed on */
};

void relay_skip(struct relay *r, size_t len);          /* what comes next isn't for the client */
void relay_fail_expects(struct session *s);
enum relay_rc relay_error(struct relay *r, const struct wire_msg *m);

#endif
