#include "bed.h"
#include "pgshunt/wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RESET_TIMEOUT_MS 20000
#define REPLAY_TIMEOUT_MS 20000
#define CLOSE_TIMEOUT_MS 2000
#define RUNS_A_VACUUM 200

static void give_up(const char *what, unsigned port) __attribute__((noreturn));
static void give_up(const char *what, unsigned port)
{
	fprintf(stderr, "property: port %u: %s\n", port, what);
	exit(2);
}

static void open_admin(const struct bed *bed, struct peer *peer, unsigned port, const char *database, const char *line)
{
	static const struct part login = { .ready = 1 };
	struct buf startup = { .len = 0 };

	startup_encode(&startup, line, database, &bed->names);
	if (!peer_open(peer, bed->options->host, port, &startup))
		give_up(strerror(errno), port);
	peer_await(peer, NULL, &login, RESET_TIMEOUT_MS);
	if (peer->fd == -1)
		give_up("does not let the superuser in", port);
	buf_free(&startup);
}

void bed_init(struct bed *bed, const struct bed_options *options, unsigned job)
{
	static const char superuser[] = "user=postgres application_name=property-reset";

	*bed = (struct bed){ .options = options, .names = { .job = job }, .direct = { .fd = -1 }, .proxied = { .fd = -1 },
		.console = { .fd = -1 } };
	open_admin(bed, &bed->resets[0], options->direct_port, options->direct_database, superuser);
	open_admin(bed, &bed->resets[1], options->direct_port, options->proxy_database, superuser);
	for (size_t i = 0; i < options->standby_count; i++)
		open_admin(bed, &bed->standbys[i], options->standby_ports[i], "postgres", superuser);
	if (options->is_fresh)
		open_admin(bed, &bed->console, options->proxy_port, "pgshunt", "user=pgadmin");
}

void bed_free(struct bed *bed)
{
	bed_end(bed);
	for (size_t i = 0; i < ARRAY_LEN(bed->resets); i++)
		peer_close(&bed->resets[i], CLOSE_TIMEOUT_MS);
	for (size_t i = 0; i < bed->options->standby_count; i++)
		peer_close(&bed->standbys[i], CLOSE_TIMEOUT_MS);
	peer_close(&bed->console, CLOSE_TIMEOUT_MS);
}

/* --- the state before a run */

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* Autovacuum would also analyze, at another time in one database than in the other: it is off for these. */
static bool vacuum(struct bed *bed, struct peer *peer)
{
	static const char *const tables[] = { "acct", "log", "plain", "secret", "tenants" };
	char sql[64];

	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		snprintf(sql, sizeof(sql), "VACUUM w%u.%s", bed->names.job, tables[i]);
		if (!peer_ask(peer, sql, RESET_TIMEOUT_MS))
			return false;
	}
	return true;
}

static bool put_schema_back(struct bed *bed)
{
	char sql[64];

	snprintf(sql, sizeof(sql), "SELECT lab_reset(%u)", bed->names.job);
	for (size_t i = 0; i < ARRAY_LEN(bed->resets); i++) {
		if (!peer_ask(&bed->resets[i], sql, RESET_TIMEOUT_MS))
			return false;
		if (bed->runs % RUNS_A_VACUUM == RUNS_A_VACUUM - 1 && !vacuum(bed, &bed->resets[i]))
			return false;
	}
	return true;
}

/* A session's first reads may go to a standby: it must not see the last run's rows. */
static bool wait_for_replay(struct bed *bed)
{
	usec_t deadline = time_mono_us() + REPLAY_TIMEOUT_MS * USEC_PER_MS;
	const char *position = peer_ask(&bed->resets[1], "SELECT pg_current_wal_insert_lsn()", RESET_TIMEOUT_MS);
	char sql[128];

	if (!position)
		return false;
	snprintf(sql, sizeof(sql), "SELECT pg_last_wal_replay_lsn() >= '%s'", position);
	for (size_t i = 0; i < bed->options->standby_count; i++) {
		const char *answer;

		while ((answer = peer_ask(&bed->standbys[i], sql, RESET_TIMEOUT_MS)) && answer[0] != 't') {
			if (time_mono_us() > deadline)
				return false;
			nap();
		}
		if (!answer)
			return false;
	}
	return true;
}

/* --- a run */

static enum bed_rc compare(const struct bed *bed, const char **why)
{
	const struct peer *a = &bed->direct, *b = &bed->proxied;

	*why = "PostgreSQL itself closed the connection without an error, or did not answer";
	if (a->fd == -1 && !a->is_told_why)
		return BED_BROKEN;
	if (a->said.len != b->said.len || (a->said.len && memcmp(a->said.data, b->said.data, a->said.len) != 0))
		return BED_DIFFERS;
	return a->fd == -1 ? BED_ENDED : BED_SAME;
}

static bool open_session(struct bed *bed, struct peer *peer, const char *startup, unsigned port, const char *database)
{
	struct buf packet = { .len = 0 };
	bool is_open = startup_encode(&packet, startup, database, &bed->names) && peer_open(peer, bed->options->host, port, &packet);

	buf_free(&packet);
	return is_open;
}

/* Both as new clients. Advisory locks of a client that has left may be held a moment longer behind the proxy: they get another number. */
static enum bed_rc connect_both(struct bed *bed, const char *startup, const char **why)
{
	const struct bed_options *o = bed->options;

	bed_end(bed);
	bed->names.run = bed->names.job * 10000000 + ++bed->connects;
	*why = "the standbys do not replay";
	if (!wait_for_replay(bed))
		return BED_BROKEN;
	*why = "cannot connect";
	if (!open_session(bed, &bed->direct, startup, o->direct_port, o->direct_database) ||
		!open_session(bed, &bed->proxied, startup, o->proxy_port, o->proxy_database))
		return BED_BROKEN;
	peer_await(&bed->direct, &bed->proxied, &(struct part){ .ready = 1 }, o->timeout_ms);
	return compare(bed, why);
}

enum bed_rc bed_begin(struct bed *bed, const char *startup, const char **why)
{
	bed_end(bed);
	bed->runs++;
	*why = "the console does not take RELOAD";
	if (bed->options->is_fresh && !peer_ask(&bed->console, "RELOAD", RESET_TIMEOUT_MS))
		return BED_BROKEN;
	*why = "the schema could not be put back: somebody holds its rows";
	return put_schema_back(bed) ? connect_both(bed, startup, why) : BED_BROKEN;
}

enum bed_rc bed_step(struct bed *bed, const char *text, const char **why)
{
	struct step step;
	size_t sent = 0;

	if (strncmp(text, "X ", 2) == 0)
		return connect_both(bed, text + 2, why);
	*why = "PostgreSQL 15.18 crashes when a failed transaction executes the unnamed portal of a simple query";
	if (bed_status(bed) == 'E' && strncmp(text, "E ", 2) == 0)
		return BED_BROKEN;
	peer_forget(&bed->direct);
	peer_forget(&bed->proxied);
	if (!step_encode(&step, text, &bed->names, why)) {
		step_free(&step);
		return BED_BROKEN;
	}
	for (size_t i = 0; i < step.part_count; i++) {
		const struct part *part = &step.parts[i];

		peer_send(&bed->direct, step.bytes.data + sent, part->end - sent);
		peer_send(&bed->proxied, step.bytes.data + sent, part->end - sent);
		sent = part->end;
		peer_await(&bed->direct, &bed->proxied, part, bed->options->timeout_ms);
	}
	step_free(&step);
	return compare(bed, why);
}

void bed_end(struct bed *bed)
{
	peer_close(&bed->direct, CLOSE_TIMEOUT_MS);
	peer_close(&bed->proxied, CLOSE_TIMEOUT_MS);
}
