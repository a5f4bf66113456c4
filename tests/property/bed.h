/* bed.h - where a session runs twice, step by step: directly at the primary and through pgshunt, each in a database of its own.
 *
 * Each job (process) has a bed of its own, with connections past the proxy to put its schema back before each run. */
#ifndef PROPERTY_BED_H
#define PROPERTY_BED_H

#include "peer.h"

#define BED_STANDBYS_MAX 4

struct bed_options {
	const char *host;
	unsigned direct_port;           /* of the primary */
	unsigned proxy_port;            /* = direct_port: a session is compared with itself */
	const char *direct_database, *proxy_database;
	unsigned standby_ports[BED_STANDBYS_MAX];
	size_t standby_count;
	int timeout_ms;                 /* for one step's answers */
	bool is_fresh;                  /* pgshunt's idle servers are closed before each run: what a session leaves at them is found with it */
};

struct bed {
	const struct bed_options *options;
	struct names names;
	struct peer resets[2];                          /* superuser; direct and proxy's database, both at the primary */
	struct peer standbys[BED_STANDBYS_MAX];
	struct peer console;                            /* with is_fresh */
	struct peer direct, proxied;                    /* the session that runs now */
	unsigned runs, connects;
};

void bed_init(struct bed *bed, const struct bed_options *options, unsigned job);
void bed_free(struct bed *bed);

enum bed_rc {
	BED_SAME,
	BED_ENDED,                      /* both closed the connection in the same way */
	BED_DIFFERS,                    /* see bed->direct.said and bed->proxied.said */
	BED_BROKEN                      /* why says what */
};

/* A fresh schema, fresh connections; the answers to start-up are compared. */
enum bed_rc bed_begin(struct bed *bed, const char *startup, const char **why);
enum bed_rc bed_step(struct bed *bed, const char *step, const char **why);
void bed_end(struct bed *bed);
/* 'I', 'T', 'E' */
static inline char bed_status(const struct bed *bed)
{
	return bed->direct.status;
}

#endif
