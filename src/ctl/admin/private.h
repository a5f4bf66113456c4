/* private.h - of src/ctl/admin: one statement on its way (struct job), the views and their columns, what a round brings home. */
#ifndef PGSHUNT_ADMIN_PRIVATE_H
#define PGSHUNT_ADMIN_PRIVATE_H

#include "pgshunt/admin.h"

/* The console's own name, as a database and as its user in PgBouncer's views. */
#define CONSOLE_NAME "pgshunt"

/* ---- words.c: a statement cut into words ---- */

#define WORDS_MAX 16

enum word_kind { WORD_PLAIN, WORD_QUOTED, WORD_SYMBOL };
struct word {
	enum word_kind kind;
	const char *text;               /* without its quotes */
};
struct words {
	struct word items[WORDS_MAX];
	size_t count;
	bool has_more;                  /* more than WORDS_MAX: the rest was dropped */
	struct buf texts;
};
/* Comments, white space and a closing semicolon are dropped. False: 42601 (something isn't closed; a second statement follows). */
bool words_read(struct words *words, const char *sql, struct err *err);
void words_free(struct words *words);
/* The i-th word is this one, whatever its case; never a quoted one. */
bool word_is(const struct words *words, size_t i, const char *text);
/* Words from..count joined by blanks, cut to len. */
void words_join(const struct words *words, size_t from, char *out, size_t len);

/* ---- view.c: one table of columns drives RowDescription and rows ---- */

enum format {
	FORMAT_TEXT,            /* const char *; NULL is SQL NULL */
	FORMAT_CHARS,           /* char[] inside the row */
	FORMAT_INT,             /* int64_t as int4: what doesn't fit becomes the nearest that does */
	FORMAT_BIGINT,          /* int64_t as int8 */
	FORMAT_BIGINT_KNOWN,    /* the same; negative is NULL */
	FORMAT_NUMERIC,         /* uint64_t as numeric */
	FORMAT_TIME,            /* usec_t since 1970 as "YYYY-MM-DD HH:MM:SS TZ"; 0 is NULL */
	FORMAT_POINTER,         /* const void *, as a name only; NULL is "" */
	FORMAT_LSN,             /* lsn_t; 0 is NULL */
};
struct column {
	const char *name;
	enum format format;
	size_t offset;          /* in the row */
};
#define COLUMN(row, name, format, field) { name, FORMAT_##format, offsetof(struct row, field) }

struct job;
struct view {
	const char *name;
	const struct column *columns;
	size_t count;
	admin_visit_fn *visit;          /* the letter is the job; NULL: no need to ask the workers */
	void (*fill)(struct job *job);  /* on the main thread, after the round; NULL: the visits have made the rows */
	const char *not_yet;            /* HINT of a view that isn't built yet; else NULL */
};
const struct view *view_find(const char *name);
const char *view_nearest(const char *name);            /* NULL = none near */
void views_list(struct buf *out);                       /* "A|B|C" of what is built */

void view_columns(const struct view *view, struct wire_column *out);
void put_row(struct buf *out, const struct column *columns, size_t count, const void *row);
/* Appends one row of the job's view. */
void job_put(struct job *job, const void *row);

/* ---- gather.c: what the workers know, summed ---- */

/* One (database, user of the servers), over workers and nodes. */
struct pool_row {
	char *database, *user;
	bool is_console, has_pool;
	int64_t cl_active, cl_waiting, cl_cancel;       /* cl_cancel: requests are forwarded at once, never queued: 0 */
	int64_t sv_active, sv_active_cancel, sv_being_canceled, sv_idle, sv_used, sv_tested, sv_login, sv_pinned;
	int64_t maxwait_us;
	struct stats_pool stats;
	int64_t maxwait_s, maxwait_rest_us;             /* for SHOW POOLS */
	char pool_mode[32];
	const char *load_balance_hosts;                 /* always NULL: nodes are balanced by statement */
};
/* One user as clients log in. */
struct user_count {
	char *name;
	int64_t clients, servers;
};
struct gather {
	struct map pools_by_key, users_by_key;
	struct pool_row **pools;
	size_t pool_count;
	struct user_count **users;
	size_t user_count;
	int64_t clients, login_clients, servers;
	struct stats_node *nodes;                       /* TOPO_NODES_MAX, summed over workers; NULL until the first visit */
};
void gather_visit(void *letter, struct admin_worker *worker);   /* a struct job's gather */
void gather_sort(struct gather *gather);                        /* by database and user */
struct pool_row *gather_pool(struct gather *gather, const char *database, const char *user);
void gather_free(struct gather *gather);
int64_t pool_row_servers(const struct pool_row *row);

/* ---- history.c: totals of every database now and at the ends of the last two periods: averages ---- */

struct history {
	struct list databases;          /* struct history_row */
	usec_t older_us, newer_us, taken_us;
};
struct history_row {
	struct list link;
	char *database;
	bool is_seen;
	struct stats_pool older, newer, now;
};
void history_init(struct history *history);
void history_free(struct history *history);
/* Takes the totals in (the pools are sorted). Once a period has passed, the end of the previous one becomes the base of averages:
 * they are over older_us to taken_us. */
void history_take(struct history *history, const struct gather *gather, usec_t period_us);

/* ---- admin.c ---- */

struct admin {
	struct admin_env env;
	struct list jobs;               /* under way */
	struct stats_pool console;      /* the console's own row in SHOW STATS */
	struct history history;
};

/* One statement. Lives until its answer has been given. */
struct job {
	struct list link;
	struct admin *admin;
	enum console_role role;
	char *user, *peer;
	admin_done_fn *done;            /* NULL: the line of log_stats */
	void *ticket;
	usec_t began_us;
	struct words words;
	const struct view *view;
	struct buf rows, notice;
	struct gather gather;
	struct wire_column single;      /* the only column of an answer without a view; name NULL = none */
	int64_t kill_id;                /* KILL_CLIENT: as SHOW CLIENTS shows it */
	unsigned killed;                /* clients found by that id */
	int shutdown;                   /* the mode, once the answer has been given; -1 = none */
	struct err err;
	const char *tag;
};
/* Each gives the answer and frees the job. */
void job_done(struct job *job);         /* job->err, or the columns of job->view, job->rows, job->notice and job->tag */
void job_round(struct job *job, admin_visit_fn *visit, admin_back_fn *back);
void job_show(struct job *job, const struct view *view);

/* ---- command.c ---- */
void command_run(struct job *job, const char *sql);
void commands_list(struct buf *out);    /* usage of those in force, a line each */

/* ---- the views: columns and what fills them ---- */
extern const struct view views_sockets[], views_pools[], views_stats[], views_simple[], views_nodes[];  /* end with name NULL */
int64_t socket_shown_id(uint64_t id);   /* as column id shows it, and KILL_CLIENT reads it */
void finish_log_line(void *letter);

#endif
