/* What the console understands: a table of commands, and what drivers say without being asked. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "private.h"

#define TEXT_BYTES 160

struct command {
	const char *name;
	enum console_role role;         /* who may; what an admin may is logged */
	size_t least, most;             /* words that may follow */
	const char *usage;              /* NULL: not for people, not in SHOW HELP */
	void (*run)(struct job *job, const struct command *command);
	const char *note;               /* HINT of what isn't built yet; tag of what is accepted and does nothing */
};

static void fail(struct job *job, const char *sqlstate, const char *hint, const char *fmt, ...) PRINTF_LIKE(4, 5);
static void fail(struct job *job, const char *sqlstate, const char *hint, const char *fmt, ...)
{
	char text[sizeof(job->err.text)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	err_set(&job->err, sqlstate, "%s", text);
	err_hint(&job->err, "%s", hint);
	job_done(job);
}

static void fail_usage(struct job *job, const struct command *command)
{
	char hint[TEXT_BYTES];

	snprintf(hint, sizeof(hint), "Usage: %s", command->usage);
	fail(job, "42601", hint, "%s is not written like this", command->name);
}

static void finish(struct job *job, const char *tag)
{
	job->tag = tag;
	job_done(job);
}

/* ---- SHOW and SELECT ---- */

/* What drivers ask for, or set, whether they need it or not. */
static const struct fake {
	const char *name, *value;
	const char *column;             /* NULL = name */
	uint32_t type_oid;              /* 0 = text */
} fakes[] = {
	{ "client_encoding", "UTF8", NULL, 0 },
	{ "server_encoding", "UTF8", NULL, 0 },
	{ "server_version", PGSHUNT_VERSION "/pgshunt", NULL, 0 },
	{ "standard_conforming_strings", "on", NULL, 0 },
	{ "datestyle", "ISO", NULL, 0 },
	{ "timezone", "GMT", NULL, 0 },
	{ "time zone", "GMT", "timezone", 0 },
	{ "extra_float_digits", "2", NULL, 0 },
	{ "application_name", "", NULL, 0 },
	{ "client_min_messages", "notice", NULL, 0 },
	{ "statement_timeout", "0", NULL, 0 },
	{ "search_path", "", NULL, 0 },
	{ "default_transaction_isolation", "read committed", NULL, 0 },
	{ "transaction_isolation", "read committed", NULL, 0 },
	{ "transaction isolation level", "read committed", "transaction_isolation", 0 },
	{ "default_transaction_read_only", "off", NULL, 0 },
	{ "transaction_read_only", "off", NULL, 0 },
	{ "in_hot_standby", "off", NULL, 0 },
	{ "pg_is_in_recovery", "f", NULL, 16 },
	{ "pg_catalog.pg_is_in_recovery", "f", "pg_is_in_recovery", 16 },
	{ "1", "1", "?column?", 23 },
};

static const struct fake *fake_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(fakes); i++)
		if (strcasecmp(fakes[i].name, name) == 0)
			return &fakes[i];
	return NULL;
}

static void show_fake(struct job *job, const struct fake *fake)
{
	size_t mark;

	job->single = (struct wire_column){ fake->column ? fake->column : fake->name, fake->type_oid ? fake->type_oid : 25 };
	wire_put_row_begin(&job->rows, 1, &mark);
	wire_put_row_value(&job->rows, fake->value);
	wire_put_row_end(&job->rows, mark);
	finish(job, "SHOW");
}

static void to_upper(char *text)
{
	for (; *text; text++)
		*text = (char)toupper((unsigned char)*text);
}

static void fail_unknown(struct job *job, const char *what, char *name, const char *nearest)
{
	if (nearest)
		fail(job, "42601", "SHOW HELP lists what the console understands.", "unknown %s \"%s\", did you mean %s?", what, name, nearest);
	else
		fail(job, "42601", "SHOW HELP lists what the console understands.", "unknown %s \"%s\"", what, name);
}

/* "version ( )" -> "version": functions without arguments. */
static void drop_parentheses(char *name)
{
	size_t len = strlen(name);

	if (len > 4 && strcmp(name + len - 4, " ( )") == 0)
		name[len - 4] = '\0';
}

static void run_show(struct job *job, const struct command *command)
{
	char name[TEXT_BYTES];
	const struct view *view;
	const struct fake *fake;

	(void)command;
	words_join(&job->words, 1, name, sizeof(name));
	drop_parentheses(name);
	view = view_find(name);
	fake = view ? NULL : fake_find(name);
	if (view && view->not_yet)
		fail(job, "0A000", view->not_yet, "SHOW %s is not built yet", view->name);
	else if (view)
		job_show(job, view);
	else if (fake)
		show_fake(job, fake);
	else {
		to_upper(name);
		fail_unknown(job, "view", name, view_nearest(name));
	}
}

/* ---- SET ---- */

static void log_command(const struct job *job, const char *text, const char *outcome)
{
	log_info("console: user \"%s\" at %s: %s%s", job->user, job->peer, text, outcome);
}

/* SET TRANSACTION ..., SET SESSION CHARACTERISTICS ..., SET NAMES x, SET TIME ZONE x */
static bool is_set_without_name(const struct words *words, size_t at)
{
	static const char *const names[] = { "TRANSACTION", "CHARACTERISTICS", "NAMES", "TIME" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (word_is(words, at, names[i]))
			return true;
	return false;
}

static void run_set(struct job *job, const struct command *command)
{
	const struct words *words = &job->words;
	size_t at = word_is(words, 1, "SESSION") || word_is(words, 1, "LOCAL") ? 2 : 1;
	char text[TEXT_BYTES];

	if (is_set_without_name(words, at)) {
		finish(job, "SET");
		return;
	}
	if (words->count < at + 3 || !(word_is(words, at + 1, "=") || word_is(words, at + 1, "TO"))) {
		fail_usage(job, command);
		return;
	}
	if (fake_find(words->items[at].text)) {
		finish(job, "SET");
		return;
	}
	/* The value may be a secret: it is not logged. */
	snprintf(text, sizeof(text), "SET %s", words->items[at].text);
	if (job->role != CONSOLE_ADMIN) {
		log_command(job, text, " (refused)");
		fail(job, "42501", "Only admin_users may; stats_users may only SHOW.", "permission denied for SET");
		return;
	}
	log_command(job, text, "");
	fail(job, "0A000", command->note, "SET %s is not built yet", words->items[at].text);
}

/* ---- commands in force ---- */

static void run_reload(struct job *job, const struct command *command)
{
	struct admin *admin = job->admin;

	(void)command;
	if (!admin->env.reload(admin->env.owner, &job->notice, &job->err)) {
		job->notice.len = 0;    /* the error says it */
		if (!err_is_set(&job->err))
			err_set(&job->err, "F0000", "the configuration could not be reloaded");
		if (!job->err.hint[0])
			err_hint(&job->err, "Nothing was changed; the log has all errors.");
	} else if (job->notice.len == 0) {
		buf_add_str(&job->notice, "nothing changed");
	}
	finish(job, "RELOAD");
}

static void run_shutdown(struct job *job, const struct command *command)
{
	static const char *const modes[] = { "", "WAIT_FOR_SERVERS", "WAIT_FOR_CLIENTS" };

	job->shutdown = 0;
	if (job->words.count > 1) {
		for (int mode = 1; mode < (int)ARRAY_LEN(modes); mode++)
			if (word_is(&job->words, 1, modes[mode]))
				job->shutdown = mode;
		if (job->shutdown == 0) {
			job->shutdown = -1;
			fail_usage(job, command);
			return;
		}
	}
	finish(job, "SHUTDOWN");
}

/* On a worker's thread: the whole id of the client that shows this one. */
struct kill_search {
	int64_t shown;
	uint64_t id;
	unsigned found;
};

static void search_client(void *owner, const struct session_view *view)
{
	struct kill_search *search = owner;

	if (socket_shown_id(view->id) != search->shown || strcmp(view->state, "closed") == 0)
		return;
	search->id = view->id;
	search->found++;
}

static void kill_visit(void *letter, struct admin_worker *worker)
{
	struct job *job = letter;
	struct kill_search search = { .shown = job->kill_id };

	sessions_each(worker->sessions, search_client, &search);
	job->killed += search.found;
	if (search.found == 1 && !session_kill(worker->sessions, search.id))
		job->killed--;
}

static void kill_back(void *letter)
{
	struct job *job = letter;

	if (job->killed == 0)
		fail(job, "42704", "SHOW CLIENTS has the ids of all clients.", "there is no client %lld", (long long)job->kill_id);
	else if (job->killed > 1)
		fail(job, "42P09", "Their user, database or address tells them apart: end them from their own side.",
			"%u clients have the id %lld", job->killed, (long long)job->kill_id);
	else
		finish(job, "KILL_CLIENT");
}

static void run_kill_client(struct job *job, const struct command *command)
{
	const char *text = job->words.items[1].text;
	char *end;
	long long id;

	errno = 0;
	id = strtoll(text, &end, 10);
	if (errno || end == text || *end || id < 0) {
		fail_usage(job, command);
		return;
	}
	job->kill_id = id;
	job_round(job, kill_visit, kill_back);
}

/* ---- commands of later, and what is accepted ---- */

static void run_not_built(struct job *job, const struct command *command)
{
	bool is_writes = word_is(&job->words, 1, "WRITES") && strstr(command->usage, "WRITES");

	fail(job, "0A000", command->note, "%s%s is not built yet", command->name, is_writes ? " WRITES" : "");
}

static void run_switchover(struct job *job, const struct command *command)
{
	if (!word_is(&job->words, 1, "TO") || (job->words.count == 4 && !word_is(&job->words, 3, "FORCE")))
		fail_usage(job, command);
	else
		run_not_built(job, command);
}

static void run_accepted(struct job *job, const struct command *command)
{
	finish(job, command->note);
}

/* clang-format off */
static const struct command commands[] = {
	/* name          role           words       usage                                              run              hint or tag */
	{ "SHOW",        CONSOLE_STATS, 1, 15,      "SHOW view",                                       run_show,        NULL },
	{ "SELECT",      CONSOLE_STATS, 1, 15,      NULL,                                              run_show,        NULL },
	{ "RELOAD",      CONSOLE_ADMIN, 0, 0,       "RELOAD",                                          run_reload,      NULL },
	{ "KILL_CLIENT", CONSOLE_ADMIN, 1, 1,       "KILL_CLIENT id",                                  run_kill_client, NULL },
	{ "SHUTDOWN",    CONSOLE_ADMIN, 0, 1,       "SHUTDOWN [WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]",    run_shutdown,    NULL },
	{ "SET",         CONSOLE_STATS, 1, 15,      "SET key = value",                                 run_set,
	  "Change the configuration file, then RELOAD." },
	{ "PAUSE",       CONSOLE_ADMIN, 0, 1,       "PAUSE [db] | PAUSE WRITES",                       run_not_built,
	  "SHUTDOWN WAIT_FOR_CLIENTS lets clients end at their next transaction boundary." },
	{ "RESUME",      CONSOLE_ADMIN, 0, 1,       "RESUME [db] | RESUME WRITES",                     run_not_built,
	  "Nothing can be paused yet, so nothing has to be resumed." },
	{ "DISABLE",     CONSOLE_ADMIN, 1, 1,       "DISABLE db",                                      run_not_built,
	  "Take the database out of [databases], then RELOAD: new clients are refused." },
	{ "ENABLE",      CONSOLE_ADMIN, 1, 1,       "ENABLE db",                                       run_not_built,
	  "Nothing can be disabled yet, so nothing has to be enabled." },
	{ "RECONNECT",   CONSOLE_ADMIN, 0, 1,       "RECONNECT [db]",                                  run_not_built,
	  "RELOAD closes the idle servers; server_lifetime closes the others in time." },
	{ "KILL",        CONSOLE_ADMIN, 0, 1,       "KILL [db]",                                       run_not_built,
	  "KILL_CLIENT id ends one client; SHOW CLIENTS has the ids." },
	{ "SUSPEND",     CONSOLE_ADMIN, 0, 0,       "SUSPEND",                                         run_not_built,
	  "For a restart start a second process on the same port (so_reuseport), then SHUTDOWN WAIT_FOR_CLIENTS in this one." },
	{ "WAIT_CLOSE",  CONSOLE_ADMIN, 0, 1,       "WAIT_CLOSE [db]",                                 run_not_built,
	  "SHOW SERVERS says which servers are left to be closed (close_needed)." },
	{ "DRAIN",       CONSOLE_ADMIN, 1, 1,       "DRAIN node",                                      run_not_built,
	  "weight=0 for the node in [nodes], then RELOAD, keeps reads off it." },
	{ "UNDRAIN",     CONSOLE_ADMIN, 1, 1,       "UNDRAIN node",                                    run_not_built,
	  "Give the node its weight back in [nodes], then RELOAD." },
	{ "SWITCHOVER",  CONSOLE_ADMIN, 2, 3,       "SWITCHOVER TO node [FORCE]",                      run_switchover,
	  "Stop the primary cleanly and promote the standby by the tools you have: pgshunt follows by itself." },
	{ "ADOPT",       CONSOLE_ADMIN, 1, 1,       "ADOPT node",                                      run_not_built,
	  "SHOW NODES says why the node isn't used." },
	/* Drivers open transactions and tidy up: there is nothing to do. */
	{ "BEGIN",       CONSOLE_STATS, 0, 15,      NULL,                                              run_accepted,    "BEGIN" },
	{ "START",       CONSOLE_STATS, 1, 15,      NULL,                                              run_accepted,    "START TRANSACTION" },
	{ "COMMIT",      CONSOLE_STATS, 0, 15,      NULL,                                              run_accepted,    "COMMIT" },
	{ "END",         CONSOLE_STATS, 0, 15,      NULL,                                              run_accepted,    "COMMIT" },
	{ "ROLLBACK",    CONSOLE_STATS, 0, 15,      NULL,                                              run_accepted,    "ROLLBACK" },
	{ "ABORT",       CONSOLE_STATS, 0, 15,      NULL,                                              run_accepted,    "ROLLBACK" },
	{ "DISCARD",     CONSOLE_STATS, 1, 1,       NULL,                                              run_accepted,    "DISCARD ALL" },
	{ "RESET",       CONSOLE_STATS, 1, 15,      NULL,                                              run_accepted,    "RESET" },
	{ "DEALLOCATE",  CONSOLE_STATS, 1, 2,       NULL,                                              run_accepted,    "DEALLOCATE" },
};
/* clang-format on */

void commands_list(struct buf *out)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i].usage && commands[i].run != run_show && commands[i].run != run_not_built &&
			commands[i].run != run_switchover && commands[i].run != run_set)
			buf_printf(out, "\t%s\n", commands[i].usage);
}

static const char *command_nearest(const char *name)
{
	const char *names[ARRAY_LEN(commands) + 1];

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		names[i] = commands[i].name;
	names[ARRAY_LEN(commands)] = NULL;
	return nearest_name(name, names);
}

static const struct command *command_find(const struct words *words)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (word_is(words, 0, commands[i].name))
			return &commands[i];
	return NULL;
}

/* Of an unknown statement only the first word is told: the rest may be somebody's password. */
static void run_unknown(struct job *job)
{
	char name[TEXT_BYTES];

	snprintf(name, sizeof(name), "%.64s", job->words.items[0].text);
	to_upper(name);
	log_command(job, name, " ... (unknown)");
	fail_unknown(job, "command", name, command_nearest(name));
}

static void run_command(struct job *job, const struct command *command)
{
	size_t following = job->words.count - 1;
	bool is_fitting = following >= command->least && following <= command->most && !job->words.has_more;
	char text[TEXT_BYTES];

	words_join(&job->words, 0, text, sizeof(text));
	if (command->role == CONSOLE_ADMIN && job->role != CONSOLE_ADMIN) {
		log_command(job, text, " (refused)");
		fail(job, "42501", "Only admin_users may; stats_users may only SHOW.", "permission denied for %s", command->name);
		return;
	}
	if (command->role == CONSOLE_ADMIN)
		log_command(job, text, "");
	if (is_fitting || !command->usage)
		command->run(job, command);
	else
		fail_usage(job, command);
}

void command_run(struct job *job, const char *sql)
{
	const struct command *command;

	if (!words_read(&job->words, sql, &job->err) || job->words.count == 0) {
		job_done(job);          /* an error, or the empty query: nothing comes back */
		return;
	}
	command = command_find(&job->words);
	if (command)
		run_command(job, command);
	else
		run_unknown(job);
}
