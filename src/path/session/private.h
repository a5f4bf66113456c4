/* private.h - of src/path/session: one client's state, and the calls its files make of each other. */
#ifndef PGSHUNT_SESSION_PRIVATE_H
#define PGSHUNT_SESSION_PRIVATE_H

#include "pgshunt/session.h"

/* Faults built in on purpose, to show that the tests find them. */
#ifndef FAULT_NO_REPLAY
#define FAULT_NO_REPLAY 0
#endif
#ifndef FAULT_NO_PIN
#define FAULT_NO_PIN 0
#endif
#ifndef FAULT_NO_PREPARE
#define FAULT_NO_PREPARE 0
#endif

enum session_state {
#define STATE(name, text) ST_##name,
#include "session_fsm.def"
	ST_COUNT,
	ST_SAME = ST_COUNT
};

enum session_event {
#define EVENT(name) EV_##name,
#include "session_fsm.def"
	EV_COUNT
};

/* ---- statements: texts that were parsed by the protocol, interned a worker ---- */

#define STATEMENT_NAME_LEN 35           /* "ps_" and 32 hexadecimal digits */
struct statement {
	struct hash128 id;              /* of parameter types and text */
	size_t refs;
	struct session_env *env;
	struct verdict *verdict;
	uint64_t salt;                  /* text_salt at that time ... */
	struct settings *settings;      /* ... and the settings, if has_settings */
	bool has_settings;
	uint8_t mode_bits;              /* the sql_mode under which it was read */
	uint16_t type_count;
	const uint8_t *types;           /* 4 bytes each, as in the message */
	struct span sql;
	char server_name[STATEMENT_NAME_LEN + 1];       /* under which servers know it: from its id, so that nobody has to remember one */
};
struct statement *statement_intern(struct session *s, const struct wire_parse *parse);
struct statement *statement_ref(struct statement *statement);
void statement_unref(struct statement **statement);
void statement_server_name(struct hash128 id, char out[STATEMENT_NAME_LEN + 1]);

/* A client's named statement: parsed by the protocol, or prepared by SQL. */
struct named {
	char *name;
	struct statement *statement;    /* NULL: by SQL */
	char *sql;                      /* the PREPARE statement */
	struct verdict *verdict;        /* of the query in it */
	struct hash128 id;              /* of what the name stands for */
	uint64_t salt;                  /* text_salt at that time ... */
	struct settings *settings;      /* ... and the settings, if has_settings */
	bool has_settings;
	bool is_closing;                /* a Close of it stands in the batch under way */
};
const struct named *named_get(const struct session *s, const char *name);      /* NULL = none */
struct statement *named_find(struct session *s, const char *name);     /* "" = the unnamed one; NULL = none by the protocol */
void named_put(struct session *s, const char *name, struct statement *statement);      /* takes its own reference */
struct hash128 named_put_sql(struct session *s, const char *name, const char *sql, const char *query);
void named_drop(struct session *s, const char *name);
void named_close(struct session *s, const char *name); /* a Close has been read: what SQL has prepared lives until that is answered */
void named_end_close(struct session *s, const char *name, bool is_closed);
void named_drop_all(struct session *s);                /* but the unnamed one: as DISCARD ALL does */

/* ---- a batch: what is routed as one ---- */

enum batch_kind { BATCH_NONE, BATCH_SIMPLE, BATCH_EXTENDED, BATCH_FUNCTION };

struct item {
	char type;                      /* message type */
	bool is_named;                  /* Parse, Bind, Describe, Close of a statement with a name */
	bool is_taken;                  /* Parse of a name that is in use: an error when its turn comes */
	uint32_t off, len;              /* in the client's window */
	struct statement *statement;    /* Parse, Bind, Describe, Close; Execute of one with effects; a reference */
};

#define BATCH_INLINE_ITEMS 6

struct batch {
	enum batch_kind kind;
	bool is_whole;                  /* ends with Sync (or is a simple query): the server will say ReadyForQuery */
	bool is_movable;                /* may run on a standby: all of it reads */
	bool only_begins;               /* nothing but BEGIN: harmless to send again */
	bool only_ours;                 /* nothing but pgshunt.* settings */
	bool only_ends;                 /* nothing but COMMIT, ROLLBACK and the like */
	bool has_execute;
	bool is_sent;                   /* part of it (or all) has been given to a server */
	bool execute_sent;              /* that part held an Execute */
	unsigned parses_unnamed;        /* of the unnamed statement, not answered yet */
	bool uses_named;                /* statements that stand prepared at the server: their plans may be out of date */
	bool is_streamed;               /* too long to be held: bytes go on as they come */
	bool unnamed_at_server;         /* the unnamed statement has been given to the server in this batch */
	bool has_unknown;               /* names a statement we don't know: the server says the error */
	uint32_t flags, pins, uses;     /* of all its verdicts */
	struct verdict *verdict;        /* the one that decides: the first that isn't movable, else the first; a reference */
	size_t len;                     /* bytes of the client's window that belong to it and are whole messages */
	size_t sent_len;                /* of these: given to the server and still in the window (kept for a retry) */
	size_t bytes_seen;              /* of the whole batch so far */
	size_t unread;                  /* texts that nobody but PostgreSQL can read */
	struct item *items;
	size_t item_count, item_cap;
	struct item inline_items[BATCH_INLINE_ITEMS];
};

/* Looks at the client's window and extends the batch. Returns the event it gives rise to, or EV_COUNT when more bytes are needed. */
enum session_event batch_scan(struct session *s);
void batch_clear(struct session *s);
void portals_clear(struct session *s);                 /* the transaction has ended, and its portals with it */
/* The batch's bytes are no longer needed for a retry. */
void batch_consume(struct session *s);
void batch_hint(struct session *s, struct span sql);

/* ---- what a server still has to answer, where its answers are not the client's one to one ---- */

enum expect_kind {
	EX_PARSE, EX_PARSE_OURS, EX_PARSE_FAKE, EX_PARSE_TAKEN, EX_BIND, EX_BIND_OURS, EX_CLOSE, EX_CLOSE_OURS, EX_CLOSE_FAKE, EX_DESCRIBE,
	EX_EXECUTE, EX_EXECUTE_OURS, EX_SYNC
};
struct expect {
	enum expect_kind kind;
	struct statement *statement;    /* EX_PARSE*, EX_CLOSE*: a reference, or NULL */
	char *name;                     /* the client's name for it: taken back when the server refuses */
	struct hash128 closed;          /* EX_CLOSE_OURS: which */
};

/* What a client may set for itself; NULL until it does. */
struct session_vars {
	struct conf_policy policy;
	enum conf_route route;
	char *route_name;
	bool has_route, trace;
};

enum pending_wait { WAIT_NOTHING, WAIT_SAMPLE, WAIT_PRIMARY, WAIT_NODE, WAIT_SERVER, WAIT_HOME };

/* Beside enum sql_pin: pool_mode = session keeps the primary server for the client's life. */
#define PIN_POOL_MODE (1u << 30)

/* A portal whose Execute will change the session's state: which statement it was bound to. */
struct portal {
	struct hash128 name;
	struct statement *statement;
};

#define KEY_BYTES_3_0 4         /* the secret of a cancel key, by protocol; see key.c */
#define KEY_BYTES_MAX 32

struct session {
	struct list link;               /* env->sessions */
	struct list waiting;            /* env->topo_waiters, linked while it waits for a topology */
	struct session_env *env;
	enum session_state state;
	uint8_t edges[8];               /* last events, for SHOW CLIENTS and crash logs */
	uint64_t id;
	struct stream *client;
	struct server *server;          /* borrowed; NULL when none */
	struct listening *listening;    /* channels, while there are any: see listen.c */
	struct server *home;            /* the server this session is pinned to, while it isn't the one in use: see home.c */
	/* identity */
	char *user, *database, *application_name;
	uint32_t protocol;
	uint32_t key_pid;
	uint8_t key[KEY_BYTES_MAX];
	size_t key_len;
	bool is_console, is_greeted, is_tunnel;
	struct buf *replication;        /* a replication client's start-up parameters until its server is dialled; NULL = none */
	enum console_role role;
	struct auth_server *login;
	struct pool_set *set;
	uint32_t epoch;                 /* pools_epoch() at the login */
	struct settings *settings;      /* what it has set and committed: every server it borrows gets them */
	struct settings *startup;       /* start-up parameters: where RESET leads */
	struct record *record;          /* of the open transaction and the batch under way; NULL = nothing to record */
	unsigned sent_statements, answered_statements;  /* of the batch under way */
	struct conf *conf;
	const struct conf_policy *policy;       /* conf's own, or policy_copy */
	struct conf_policy *policy_copy;
	struct session_vars *vars;
	struct session_vars *vars_outer;        /* as they were before a SET LOCAL: they come back with the transaction's end */
	struct session_vars *vars_begin;        /* as they were before the transaction's first change, if vars_are_kept */
	struct session_vars *vars_startup;      /* as the start-up packet has them */
	bool vars_are_kept;
	struct sql_mode mode;
	/* statements */
	struct map named;
	struct named *named_last;       /* the one found last; NULL = look */
	struct statement *unnamed;
	struct portal *portals;
	size_t portal_count, portal_cap;
	bool unnamed_streamed;          /* too long to be read: only the server it pins us to knows it */
	/* the batch under way */
	struct batch batch;
	struct conf_policy *hint_policy;        /* overrides for this batch alone; NULL = none */
	struct route_policy hint_route;
	char *hint_route_name;
	bool has_hint_route;
	struct need need;
	uint32_t exclude;               /* nodes tried for this batch */
	unsigned retries;
	bool must_primary;
	enum route_reason primary_reason, last_reason;
	char reason_name[64], last_reason_name[64];
	int last_node;                  /* -1 none */
	/* answers */
	char tx;                        /* 'I', 'T', 'E': as the client knows it */
	bool delivered;                 /* some of the answer has reached the client: no retry any more */
	bool answer_failed;             /* an error has been answered: the server ignores what is left of the batch */
	bool skips_message;             /* SKIP: the rest of one long simple query, which no Sync follows */
	bool copy_ended, trace_told, reports_startup;
	unsigned preludes;              /* ReadyForQuery messages to swallow: an error of our own ends the transaction on the server too */
	struct buf lay_error;           /* LAY: the ErrorResponse to a statement that could not be prepared */
	unsigned lay_left, lay_settings;        /* LAY: ReadyForQuery messages to come; the first of them answer settings */
	size_t pass_left;               /* bytes of a long server message still to be passed on */
	size_t client_pass_left;        /* the same of a long client message */
	struct buf held;                /* the answer's beginning, kept back until something is delivered */
	struct expect *expects;
	size_t expect_first, expect_count, expect_cap;
	/* pins and sequences */
	uint32_t pins, lost_pins;       /* enum sql_pin */
	uint32_t pins_before;           /* as they were when the batch under way was sent */
	uint32_t pins_at_begin;         /* and when its transaction began */
	uint64_t text_salt;             /* keeps apart texts whose constants PostgreSQL reads under different settings */
	uint64_t salt_extra;            /* the same for settings nobody knows */
	struct map temp_names;          /* while pinned by temporary tables: what they may be called */
	bool temp_names_unknown, home_checking, reads_sequences;
	bool path_is_temp;              /* search_path names pg_temp: whatever is created may be temporary */
	bool tx_releases;               /* something in the open transaction may have ended a pin */
	bool is_serializable;           /* by default_transaction_isolation: a standby can't */
	bool defaults_changed;          /* ALTER ROLE ... SET in the open transaction */
	uint64_t write_server, write_seq;       /* server of the last write and its lent_seq: currval, lastval */
	int write_node;
	/* waiting */
	struct pool_waiter waiter;
	int waiter_node;                /* whose servers it waits for */
	enum pending_wait waits_for;
	struct timer *timer;            /* made when first needed */
	uint64_t counted_in, counted_out;       /* bytes already in the statistics */
	usec_t wait_began_us, batch_began_us, tx_began_us, idle_since_us, connected_us;
	struct err *err;                /* for the next error answer or the closing one; by session_err(); given up while idle */
	struct err *tx_err;             /* FAILED: to be told once; NULL = has been */
	bool client_at_end, pumping, closing_asked, asked_ssl, asked_gssenc;
	/* console, welcome */
	struct buf console_text;
	bool console_busy;
};

static inline struct err *session_err(struct session *s)
{
	if (!s->err) {
		s->err = s->env->spare_err ? s->env->spare_err : mem_alloc(sizeof(*s->err));
		s->env->spare_err = NULL;
	}
	return s->err;
}

/* Nothing is to be told any more. */
static inline void session_give_err(struct session *s)
{
	if (!s->err)
		return;
	err_clear(s->err);
	if (s->env->spare_err)
		mem_free(s->err);
	else
		s->env->spare_err = s->err;
	s->err = NULL;
}

/* fsm.c */
void session_step(struct session *s, enum session_event event);        /* the only place that writes s->state */
const char *session_state_name(enum session_state state);
const char *session_state_text(enum session_state state);

/* client.c: the client's stream */
void client_event(void *owner, enum stream_event event);
void client_pump(struct session *s);                   /* looks at what is in the window, as far as the state lets it */
void client_flush_error(struct session *s, const char *severity);
void session_bury(struct session *s);
void session_bury_late(struct session *s);             /* after the console's answer to one that has left */

/* startup.c, welcome.c */
enum session_event startup_scan(struct session *s);
enum session_event password_scan(struct session *s);
bool startup_take_options(const char *options, wire_option_fn *fn, void *owner, struct buf *kept, struct err *err);
void startup_watch_parameter(struct session *s, const char *name, const char *value);  /* a ParameterStatus the client is told */
bool login_admit(struct session *s);
void startup_server_event(void *owner, enum stream_event event);
void welcome_forget_all(struct session_env *env);

/* vars.c: pgshunt.* settings */
bool vars_set(struct session *s, const char *name, const char *value, struct err *err);        /* name without "pgshunt." */
bool vars_reset(struct session *s, const char *name, struct err *err);
void vars_free(struct session_vars **vars);
void vars_set_local(struct session *s);                /* what follows holds until the transaction ends */
void vars_end_transaction(struct session *s);
void vars_commit(struct session *s);
void vars_rollback(struct session *s);
void vars_reset_all(struct session *s);
void vars_logged_in(struct session *s);
const char *vars_warning(const struct session *s, const char *name);    /* after a SET; NULL = nothing to say */
bool vars_show(struct session *s, const char *name, char *out, size_t len, struct err *err);

/* key.c */
void session_give_key(struct session *s);
void session_lengthen_key(struct session *s);
void session_take_pid(struct session *s, uint32_t pid);        /* the cancel key's process id becomes that of its server */
void session_drop_key(struct session *s);
struct hash128 session_key_id(uint32_t pid, const uint8_t *key, size_t len);
unsigned session_key_peer(uint32_t pid, const uint8_t *key, size_t len);        /* the peer_id of who gave it; 0 = it doesn't say */

/* cancel.c */
/* The packet a client came with: takes its connection (s->client is NULL then), unless there is nothing to wait for. */
void cancel_begin(struct session *s, uint32_t pid, const uint8_t *key, size_t key_len);
void cancelers_free(struct session_env *env);

/* find.c */
bool find_is_final(const struct err *err);             /* a login error that every node would give: password, database, rights */
void wait_set_timer(struct session *s, usec_t in_us);
void find_policy(struct session *s, struct route_policy *out);
void find_stop_waiting(struct session *s);
bool find_node_fits(const struct session *s, int node);        /* the batch may still go there, by the newest topology */
void find_topo_changed(struct session *s);

/* send.c, relay.c */
void session_pin(struct session *s, uint32_t pins);    /* to the server in use */
void server_event(void *owner, enum stream_event event);
void expects_clear(struct session *s);
void expects_add(struct session *s, enum expect_kind kind, struct statement *statement, const char *name);
bool expects_are_open(const struct session *s);
void relay_deliver(struct session *s);
void lose_server(struct session *s);                   /* finish.c: it is gone, with what it held */
void relay_answer_fakes(struct session *s);            /* after sending: nothing may come that they could stand in front of */

/* lay.c */
bool lay_is_needed(struct session *s);

/* record.c */
/* An Execute of a statement with effects is sent: what must go behind it is added to echo; true: there is some. */
bool record_execute(struct session *s, struct span sql, struct buf *echo);
/* The same for a simple query; rewritten gets the whole text with its echoes. */
bool record_query(struct session *s, struct span text, struct buf *rewritten);
/* The text names custom settings that we can't say more of. */
void record_names(struct session *s, struct span text);
bool record_is_open(const struct session *s);                  /* settings of a transaction that has not committed */
bool record_hides_answer(const struct session *s);             /* what comes now answers an echo */
/* Texts of ours in the client's simple query move what stands behind them. */
bool record_moves_positions(const struct session *s);
unsigned record_position(const struct session *s, unsigned position);  /* of the text sent -> of the client's */
void record_row(struct session *s, const struct wire_msg *m);
void record_answered(struct session *s, const struct wire_msg *m);     /* CommandComplete, EmptyQueryResponse, PortalSuspended */
void record_ready(struct session *s);
void record_lost(struct session *s);
void record_free(struct session *s);
void record_watch(struct session *s);                          /* the end of the transaction is of interest */
void record_salt(struct session *s);

/* names.c */
void each_statement_effect(struct span text, sql_effect_fn *fn, void *owner);
bool names_need_laying(const struct session *s);
unsigned names_lay(struct session *s, struct buf *out);        /* how many ReadyForQuery messages answer it */

/* listen.c */
void listen_note(struct session *s, const struct sql_effect *effect);          /* LISTEN or UNLISTEN has been committed */
void listen_again(struct session *s);                  /* the server it was heard on is lost: once a second until another is found */
void listen_free(struct session *s);
bool listen_is_lost(const struct session *s);

/* home.c */
bool home_is_wanted(struct session *s);                        /* the batch must or may best run on the server it is pinned to */
void home_enter(struct session *s);
void home_adopt(struct session *s, struct server *server, const char *sql);    /* a server becomes the home, once it has answered the text */
void home_begin(struct session *s);                            /* pool_mode = session: the server of the login stays */
bool home_keep(struct session *s);                             /* at the end of a batch: true when the server stays ours */
void home_lose(struct session *s);
void forget_pins(struct session *s, uint32_t lost);            /* with the server that held them */
void home_drop(struct session *s, enum pool_release how);
void home_name_temp(struct session *s);                        /* the batch creates temporary objects: remembers their names */
void home_wake(struct session *s);                             /* what the home server has said meanwhile may go to the client now */

/* local.c */
bool local_rolls_on(struct session *s);
bool local_is(struct session *s);
bool local_ends_tx(struct session *s);
/* A DEALLOCATE that concerns the protocol's statements alone, which are ours to keep. */
bool local_deallocates(struct session *s, const struct verdict *v);

/* tunnel.c */
void tunnel_keep_parameters(struct session *s, const struct wire_startup *packet);
void tunnel_from_client(struct session *s);
void tunnel_free(struct session *s);

/* console.c */
enum session_event console_scan(struct session *s);

/* Guards that need more than a look at one field. */
bool loss_can_retry(struct session *s);
bool loss_loses_tx(struct session *s);
bool batch_must_move(struct session *s);
bool relay_copy_ends(struct session *s);
const struct buf *welcome_find(struct session *s);
const char *welcome_name(struct session *s, const char *name);         /* as PostgreSQL writes it: TimeZone */
const char *welcome_value(struct session *s, const char *name);        /* as the client was told at its login; NULL = it wasn't */

/* fsm.c: first row to look at for each (state, event); made once for an env */
uint8_t *fsm_index_new(void);

/* env.c */
void session_pins_text(uint32_t pins, char *out, size_t len);
const struct conf_policy *session_policy(const struct session *s);
bool session_at_boundary(const struct session *s);     /* between two transactions: it may be shut */
void session_shut(struct session *s);
void session_refresh_conf(struct session *s);
const char *session_node_name(const struct session *s, int node);      /* "?" for a node a reload has taken away */

/* Actions and guards named in session_fsm.def. */
#define ROW(state, event, guard, action, next) void act_##action(struct session *s);
#define ROW_ANY(event, guard, action, next) void act_##action(struct session *s);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wredundant-decls"
#include "session_fsm.def"
#pragma GCC diagnostic pop

#endif
