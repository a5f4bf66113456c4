/* private.h - of src/ctl/monitor: one node's polls (node.c), its libpq connection (conn.c), what a poll says (sample.c), questions that
 * need a replication connection (ask.c), who is the primary (line.c), lag by our own clock (past.c), the snapshot (publish.c). */
#ifndef PGSHUNT_MONITOR_PRIVATE_H
#define PGSHUNT_MONITOR_PRIVATE_H

#include <libpq-fe.h>
#include <stdatomic.h>

#include "pgshunt/monitor.h"

#define HUNT_INTERVAL_US (50 * USEC_PER_MS)     /* between polls while no primary answers */
#define HISTORY_MAX 256                         /* the newest lines of a timeline history that are kept */

/* ---- conn.c: one asynchronous connection ---- */

enum conn_loss {
	CONN_REFUSED,           /* nobody listens there */
	CONN_REJECTED,          /* a server answered, and said no: sqlstate */
	CONN_BROKEN             /* it was there */
};
struct conn_failure {
	enum conn_loss loss;
	char sqlstate[6];
	char text[256];         /* one line, for people; never a password */
};
struct conn;
struct conn_handler {
	void (*ready)(void *owner);
	/* The last result of what was sent, the failed one if one failed; cleared by the caller of this. */
	void (*result)(void *owner, const PGresult *result);
	void (*lost)(void *owner, const struct conn_failure *failure);  /* closed by then */
};
struct conn_target {
	const char *host;
	const struct sockaddr_storage *addr;    /* libpq never looks up a name */
	int port;
	const struct conf_options *opt;
	bool replication;
};

struct conn *conn_new(struct loop *loop, const struct conn_handler *handler, void *owner);
void conn_free(struct conn **conn);
void conn_open(struct conn *conn, const struct conn_target *target);    /* no callback before it returns */
void conn_close(struct conn *conn);             /* no callback */
bool conn_is_open(const struct conn *conn);
bool conn_is_ready(const struct conn *conn);    /* open, and nothing asked */
void conn_send(struct conn *conn, const char *sql);     /* no callback before it returns */
/* A result that is an error, as a failure. */
void conn_result_failure(const PGresult *result, struct conn_failure *out);
/* The SQLSTATE in libpq's verbose text of a failed login ("FATAL:  57P03: ..."); "" = none. For tests. */
void conn_text_sqlstate(const char *text, char sqlstate[6]);

/* ---- sample.c ---- */

struct sample {
	bool in_recovery;
	lsn_t write_lsn, flush_lsn, replay_lsn;
	uint32_t timeline;              /* 0 = the node couldn't say */
	bool has_receiver, streaming;
	bool receiver_hidden;           /* there is one, but this role may not see it */
};
struct identity {
	uint64_t system_id;
	uint64_t started_us;            /* of the postmaster, by the node's clock: only compared for equality */
	uint32_t page_bytes;
	uint64_t segment_bytes;
};
extern const char sample_first_sql[];           /* once a connection: prepares the other, gives sample and identity */
extern const char sample_next_sql[];
/* identity may be NULL. False when the row isn't what was asked for. */
bool sample_read(const PGresult *result, struct sample *sample, struct identity *identity);

/* ---- past.c: where the primary was when ---- */

#define PAST_MAX 2048
struct past_entry {
	lsn_t lsn;
	usec_t first_us, last_us;       /* begin of the first and of the last sample that said so */
};
struct past {
	struct past_entry entries[PAST_MAX];
	size_t count;
};
void past_add(struct past *past, lsn_t lsn, usec_t begun_us);
void past_cut(struct past *past, lsn_t lsn);    /* forgets positions beyond this one */
usec_t past_caught_up(const struct past *past, lsn_t replay_lsn);       /* see topo_node.caught_up_us */
usec_t past_lag(const struct past *past, lsn_t replay_lsn, usec_t at_us);       /* see topo_node.lag_us */

/* ---- line.c: the line of timelines, and who may write on it ---- */

struct history {
	uint32_t timeline;              /* whose history this is; 0 = none */
	struct topo_switch switches[HISTORY_MAX];
	size_t count;
};
/* The content of a history file. False when it isn't one. */
bool history_parse(const char *text, size_t len, uint32_t timeline, struct history *out);

struct line {
	uint64_t system_id;             /* 0 = no node has answered yet */
	struct history history;         /* its timeline is the line's; 0 = not known yet */
	bool history_known;             /* else at best the last switch, inexactly */
};

/* A node that takes writes, as the election sees it. */
struct writer {
	uint64_t system_id;
	uint32_t timeline;
	lsn_t insert_lsn;
	bool is_known_primary;          /* the one we knew last */
	bool has_known_primary;         /* there is one we knew last, and it is still configured */
	bool was_ours;                  /* the same server process was a standby on our line */
	bool was_ours_before;           /* the node was, under whatever process */
	lsn_t last_replay_lsn;          /* then */
	const struct history *history;  /* timeline 0 = not known */
	bool history_refused;           /* and can't be got */
};
enum standing { MAY_WRITE, DEPOSED, FOREIGN, ASK_HISTORY };
enum standing line_judge(const struct line *line, const struct writer *writer);
/* The line goes on with this writer. */
void line_follow(struct line *line, const struct writer *writer);
/* The history of the line's own timeline has come. */
void line_learn(struct line *line, const struct history *history);

/* ---- a node ---- */

enum reach { REACH_UNTRIED, REACH_UP, REACH_DOWN, REACH_STARTING };
/* Between two polls of a node that sessions ask for; and how long one node's answer waits for the others'. */
#define ROUND_GAP_US (1 * USEC_PER_MS)

enum poll_step { POLL_NONE, POLL_RESOLVING, POLL_CONNECTING, POLL_ASKING };

struct mon_node {
	struct monitor *monitor;
	int index;
	char *name, *host, *hostaddr, *label, *zone;    /* hostaddr NULL = look host up */
	int port, weight;

	struct sockaddr_storage addr;
	socklen_t addr_len;
	usec_t resolved_us;
	struct lookup *lookup;          /* under way; NULL = none */

	struct conn *conn;
	struct timer *timer, *deadline;
	enum poll_step step;
	bool again;                     /* one more as soon as this poll is over ... */
	bool asked;                     /* ... because a session waits */
	usec_t poll_begun_us, sample_sent_us;
	int failures;                   /* polls missed in a row */

	enum reach reach;
	char failure[400];              /* why it isn't up */
	bool has_sample, has_identity;
	struct sample sample;
	struct identity identity;
	usec_t sample_begun_us, sample_done_us;
	uint32_t timeline;
	lsn_t timeline_replay_lsn;      /* replay when the timeline was last confirmed */
	uint64_t incarnation;

	enum standing standing;         /* of a node that takes writes */
	bool was_ours, was_ours_before;
	lsn_t last_replay_lsn;

	struct ask *ask;
	struct history history;
	bool history_refused, timeline_refused, hidden_warned;

	enum topo_role shown_role;      /* as last published */
	enum topo_state shown_state;
	bool shown;
};

struct mon_node *node_new(struct monitor *monitor, const struct conf_node *conf);
void node_free(struct mon_node **node);
void node_configure(struct mon_node *node, const struct conf_node *conf);       /* what may change under a connection */
bool node_is_same(const struct mon_node *node, const struct conf_node *conf);   /* the same server, as far as the file says */
void node_reconnect(struct mon_node *node);     /* login changed */
void node_poll(struct mon_node *node);          /* now, or right after the poll under way */
void node_poll_asked(struct mon_node *node);    /* the same for a session that waits: not sooner than ROUND_GAP_US after the last one */
lsn_t node_position(const struct mon_node *node);       /* sampled: insert position rounded to the page, or replay */

/* ---- ask.c: IDENTIFY_SYSTEM and TIMELINE_HISTORY over a short replication connection ---- */

struct ask *ask_new(struct mon_node *node);
void ask_free(struct ask **ask);
void ask_timeline(struct ask *ask);                     /* -> monitor_timeline_told(); nothing if one is under way or was just refused */
void ask_history(struct ask *ask, uint32_t timeline);   /* -> monitor_history_told() */
bool ask_parse_timeline(const PGresult *result, uint32_t *out);

/* ---- monitor.c ---- */

struct turn;
struct monitor {
	struct loop *loop;
	struct conf *conf;
	struct stats_monitor *stats, own_stats;
	monitor_publish_fn *publish;
	void *owner;
	struct mailbox *mailbox;
	atomic_bool wanted;
	struct mon_node *nodes[TOPO_NODES_MAX];
	size_t node_count;

	struct line line;
	char *known_primary;            /* name of the last one; NULL = none yet */
	int primary;                    /* index of the node writes go to, or -1 */
	struct wal_pos primary_sample;
	usec_t primary_sample_begun_us;
	struct past past;
	bool hunting;

	struct turn *turn;              /* a publication waits for the end of this turn of the loop */
	struct timer *round;            /* ... or for the other nodes' answers of the same round, for so long */
	const struct topo *topo;        /* last published */
	uint64_t version;
};

void monitor_sampled(struct mon_node *node);            /* a poll has answered */
void monitor_unreachable(struct mon_node *node);        /* reach or failures changed */
void monitor_timeline_told(struct mon_node *node, uint32_t timeline);
void monitor_history_told(struct mon_node *node, const struct history *history);       /* NULL: refused */
void monitor_changed(struct monitor *monitor);          /* publish at the end of this turn */
usec_t monitor_interval(const struct monitor *monitor);

/* ---- publish.c ---- */

struct topo *publish_build(struct monitor *monitor);

#endif
