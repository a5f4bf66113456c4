/* topo.h - what is known of the cluster at one moment: nodes, roles, timelines, positions; and what a read needs of them.
 *
 * A struct topo is immutable once published and reference-counted (atomic): any thread may read it, the monitor makes the next one.
 * Times are time_mono_us() of this process. Positions are byte positions in the WAL of one timeline (PostgreSQL manual, 30.6). */
#ifndef PGSHUNT_TOPO_H
#define PGSHUNT_TOPO_H

#include <sys/socket.h>

#include "pgshunt/base.h"

typedef uint64_t lsn_t;         /* 0 = not known */

struct wal_pos {
	uint32_t timeline;      /* 0 = none */
	lsn_t lsn;
};

/* "1/0/3000148": TIMELINE/LSN. */
void wal_pos_print(struct wal_pos pos, char *out, size_t len);
bool wal_pos_parse(const char *text, struct wal_pos *out);
bool lsn_parse(const char *text, lsn_t *out);  /* "0/3000148" */
void lsn_print(lsn_t lsn, char *out, size_t len);
/* Just behind a page or segment header nothing has been written yet: the position counts as the page boundary (design 7). */
lsn_t lsn_round_to_page(lsn_t lsn);
/* The same for another page and segment size; sizes that are no powers of two leave the position as it is. */
lsn_t lsn_round_to_page_of(lsn_t lsn, uint32_t page_bytes, uint64_t segment_bytes);

enum topo_role { TOPO_ROLE_UNKNOWN, TOPO_PRIMARY, TOPO_STANDBY };
enum topo_state { TOPO_DOWN, TOPO_UP, TOPO_STARTING, TOPO_STALE, TOPO_LAGGING, TOPO_DRAINED, TOPO_DIVERGED, TOPO_DEPOSED, TOPO_FOREIGN };
const char *topo_role_name(enum topo_role role);
const char *topo_state_name(enum topo_state state);

#define TOPO_NODES_MAX 32       /* nodes of one cluster; a node's index fits a byte and a bit of a 32-bit mask */

struct topo_node {
	const char *name, *host, *label, *zone;         /* "" = none */
	int port;
	int weight;
	struct sockaddr_storage addr;                   /* resolved; addr_len 0 = not resolved yet */
	socklen_t addr_len;
	enum topo_role role;            /* as last seen: whether writes may go there is said by topo->primary alone */
	enum topo_state state;
	uint32_t timeline;              /* 0 = not known */
	lsn_t write_lsn;                /* primary: insert position; standby: received */
	lsn_t flush_lsn;
	lsn_t replay_lsn;               /* primary: its insert position too */
	int64_t lag_bytes;              /* -1 = unknown */
	usec_t lag_us;                  /* -1 = unknown; by our own clock from the history of primary samples */
	usec_t caught_up_us;            /* it has replayed all that was written before this moment; 0 = unknown. A read now is at most
	                                 * now - caught_up_us behind: this, not lag_us, is what a limit in time is held against */
	usec_t sample_begun_us, sample_done_us;         /* of the positions above; 0 = never sampled */
	bool receiver_streaming;        /* standby: its WAL receiver is connected */
	uint64_t incarnation;           /* rises whenever connections to the node may have died: restart, promotion, address */
	const char *reason;             /* why it isn't used, for people; "" = nothing to say */
};

/* Where an older timeline was left for the next one: a line of the primary's TIMELINE_HISTORY. */
struct topo_switch {
	uint32_t timeline;
	lsn_t lsn;
	lsn_t least_lsn;        /* 0 = the point is exactly lsn; else it is not known better than "from here up to lsn" */
};

struct topo {
	uint64_t version;               /* rises with each snapshot */
	int primary;                    /* index, or -1: none known */
	uint32_t timeline;              /* of the line we follow; 0 = not known yet */
	struct wal_pos primary_sample;  /* newest position of the primary ... */
	usec_t primary_sample_begun_us; /* ... and when that sample was begun (before the query was sent) */
	usec_t published_us;
	usec_t fresh_within_us;         /* three monitor intervals: older standby samples don't count */
	const struct topo_switch *switches; size_t switch_count;       /* ascending timelines */
	size_t node_count;
	struct topo_node nodes[];       /* in the order of the configuration */
};

struct topo *topo_new(size_t node_count);      /* one reference; to be filled by its maker, then published */
struct topo *topo_copy(const struct topo *topo);        /* deep; for the monitor to change */
struct topo *topo_ref(const struct topo *topo);         /* any thread */
void topo_unref(const struct topo **topo);     /* any thread; sets *topo to NULL; accepts NULL inside */
/* The texts are copied; NULL leaves what is there. */
void topo_node_set_text(struct topo_node *node, const char *name, const char *host, const char *label, const char *zone, const char *reason);
void topo_set_switches(struct topo *topo, const struct topo_switch *switches, size_t count);
/* Whether more than positions differs: nodes, roles, states, the primary. Samples come by the hundred, such changes are rare. */
bool topo_nodes_differ(const struct topo *a, const struct topo *b);
int topo_find(const struct topo *topo, const char *name);       /* -1 = no such node */

/* A topology from a line of text, for tests: "p:primary a:900ms b:950ms@0/5000000 c:down d:label=x,weight=2" (see topo_fixture.c).
 * Everything was sampled just before TOPO_FIXTURE_NOW_US. */
#define TOPO_FIXTURE_NOW_US (1000 * USEC_PER_SEC)
struct topo *topo_fixture(const char *text);

/* ---- needs: what a session's next read must see ---- */

/* Empty when both parts are 0. after_us: "all that was committed up to this moment"; a primary sample begun later tells the position. */
struct need {
	usec_t after_us;
	struct wal_pos pos;
};

static inline bool need_is_empty(const struct need *need)
{
	return need->after_us == 0 && need->pos.lsn == 0;
}
/* Something was committed (or seen on the primary) no later than now_us. */
void need_add_time(struct need *need, usec_t now_us);
/* Keeps the later of the two positions on the line we follow. topo may be NULL: then the higher timeline counts as later. */
void need_add_pos(struct need *need, struct wal_pos pos, const struct topo *topo);
/* Turns the moment into a position if the topology holds a primary sample begun after it. A position beyond the point where its
 * timeline was left (a lost commit) becomes that point. Returns true when only a position (or nothing) is left. */
bool need_resolve(struct need *need, const struct topo *topo);

/* Where a position is on the line we follow: one beyond the point where its timeline was left, or on a timeline that isn't ours
 * but older than ours, counts as the point where ours went on without it. False: not known to be of our line (then nothing covers it). */
bool topo_line_lsn(const struct topo *topo, struct wal_pos pos, lsn_t *out);
/* Whether what the node has replayed is part of the line we follow: false for a diverged one, and for one of which we can't tell. */
bool topo_is_on_line(const struct topo *topo, const struct topo_node *node);
/* Whether a standby's replayed position, as sampled, covers a resolved need, over the switches of timelines. */
bool topo_covers(const struct topo *topo, const struct topo_node *node, struct wal_pos pos);
/* Whether the node's last sample counts at now_us. */
bool topo_is_fresh(const struct topo *topo, const struct topo_node *node, usec_t now_us);

#endif
