/* peer.h - one connection to a server, or to the proxy, and what it says, made comparable.
 *
 * What depends on the node, the run or the database is masked in `said`: process ids, object ids of what users made. ParameterStatus is not
 * in it; what they add up to follows a ReadyForQuery when it has changed. The rest is kept byte by byte. */
#ifndef PROPERTY_PEER_H
#define PROPERTY_PEER_H

#include "script.h"

#define PEER_SETTINGS_MAX 32

struct peer {
	int fd;                         /* -1: closed */
	struct buf in;                  /* read and not yet looked at */
	struct buf said;                /* since peer_forget(): whole messages, masked */
	char *settings[PEER_SETTINGS_MAX];      /* name=value, as ParameterStatus said, sorted */
	size_t setting_count;
	struct buf last;                /* the settings behind the last ReadyForQuery */
	unsigned ready, answers;        /* since peer_forget(); since the last ReadyForQuery */
	bool has_failed;                /* an ErrorResponse since the last ReadyForQuery */
	bool is_told_why;               /* an ErrorResponse since peer_forget() */
	char status;                    /* of the last ReadyForQuery */
};

/* Connects and sends the packet; false: errno says why. */
bool peer_open(struct peer *peer, const char *host, unsigned port, const struct buf *startup);
void peer_send(struct peer *peer, const void *data, size_t len);
/* Reads both until each has answered what `part` says, or closed, or the time is up ("TIMEOUT" is then the last thing said, and it is
 * closed). The second may be NULL. */
void peer_await(struct peer *a, struct peer *b, const struct part *part, int timeout_ms);
void peer_forget(struct peer *peer);    /* what it said so far */
/* Terminate, then until the other side has closed, which a server does when all of the session is gone; at most timeout_ms. */
void peer_close(struct peer *peer, int timeout_ms);

/* What was said as text: a message a line. */
void said_print(const struct buf *said, struct buf *out);
/* The first message in which two differ, in short: type, SQLSTATE. "" where they don't. */
void said_difference(const struct buf *a, const struct buf *b, char *out, size_t len);

/* For the tests' own statements: runs it, returns the first column of the first row in a static buffer; NULL after an error (in said). */
const char *peer_ask(struct peer *peer, const char *sql, int timeout_ms);

#endif
