/* The parts of the monitor that decide without a server: history files, the line, lag, rows of a poll. */
#include "test.h"

#include "../../../../src/ctl/monitor/private.h"

/* ---- history files ---- */

static bool parse(const char *text, uint32_t timeline, struct history *out)
{
	return history_parse(text, strlen(text), timeline, out);
}

TEST(history, reads_what_postgresql_writes)
{
	struct history h;

	CHECK(parse("1\t0/408B918\tno recovery target specified\n\n2\t0/40A69A8\tno recovery target specified\n", 3, &h));
	CHECK_INT(h.timeline, 3);
	CHECK_INT(h.count, 2);
	CHECK_INT(h.switches[0].timeline, 1);
	CHECK_INT(h.switches[0].lsn, 0x408B918);
	CHECK_INT(h.switches[1].lsn, 0x40A69A8);
	CHECK_INT(h.switches[1].least_lsn, 0);
}

TEST(history, comments_blanks_and_no_last_newline)
{
	struct history h;

	CHECK(parse("# comment\n   \n 1 0/100\r\n", 2, &h));
	CHECK_INT(h.count, 1);
	CHECK(parse("1\t0/100", 2, &h));
}

TEST(history, refuses_what_is_none)
{
	static const char *const bad[] = {
		"", "\n\n", "1", "1\t", "x\t0/1\n", "0\t0/1\n", "1\t0-1\n", "2\t0/1\n", "3\t0/1\n", "1\t0/1\n1\t0/2\n",
		"4294967297\t0/1\n", "1\t0/1\ngarbage\n",
	};
	struct history h;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK(!parse(bad[i], 2, &h));
	CHECK(!history_parse("1\t0/1\0002\t0/2", 12, 2, &h) || h.count == 1);
}

TEST(history, long_lines_and_long_files)
{
	struct buf text = { 0 };
	struct history h;

	buf_printf(&text, "1\t0/1\t");
	for (int i = 0; i < 5000; i++)
		buf_add_u8(&text, 'x');
	CHECK(parse(buf_cstr(&text), 2, &h));
	text.len = 0;
	for (int i = 1; i <= 1000; i++)
		buf_printf(&text, "%d\t0/%X\twhy\n", i, i * 16);
	CHECK(parse(buf_cstr(&text), 1001, &h));
	CHECK_INT(h.count, HISTORY_MAX);
	CHECK_INT(h.switches[HISTORY_MAX - 1].timeline, 1000);
	CHECK_INT(h.switches[0].timeline, 1000 - HISTORY_MAX + 1);
	buf_free(&text);
}

/* ---- who may write ---- */

static struct line line_at(uint32_t timeline, const char *history)
{
	struct line line = { .system_id = 7, .history_known = true };

	ENSURE(timeline == 1 || parse(history, timeline, &line.history));
	line.history.timeline = timeline;
	return line;
}

static enum standing judge(const struct line *line, struct writer writer, const char *history)
{
	struct history h = { 0 };

	if (history)
		ENSURE(parse(history, writer.timeline, &h));
	writer.history = &h;
	if (writer.system_id == 0)
		writer.system_id = 7;
	return line_judge(line, &writer);
}

TEST(line, another_system_is_foreign)
{
	struct line line = line_at(1, NULL);

	CHECK_INT(judge(&line, (struct writer){ .system_id = 8, .timeline = 1, .is_known_primary = true }, NULL), FOREIGN);
}

TEST(line, first_writer_seen_may_write)
{
	struct line line = { .system_id = 7 };

	CHECK_INT(judge(&line, (struct writer){ .timeline = 5 }, NULL), MAY_WRITE);
}

TEST(line, of_one_timeline_the_known_one_stays)
{
	struct line line = line_at(1, NULL);

	CHECK_INT(judge(&line, (struct writer){ .timeline = 1, .is_known_primary = true, .has_known_primary = true }, NULL), MAY_WRITE);
	CHECK_INT(judge(&line, (struct writer){ .timeline = 1, .has_known_primary = true }, NULL), FOREIGN);
	CHECK_INT(judge(&line, (struct writer){ .timeline = 1 }, NULL), MAY_WRITE);
}

TEST(line, older_timeline_is_deposed)
{
	struct line line = line_at(2, "1\t0/100\n");

	CHECK_INT(judge(&line, (struct writer){ .timeline = 1, .is_known_primary = true, .has_known_primary = true }, NULL), DEPOSED);
}

TEST(line, our_own_standby_goes_on_at_once)
{
	struct line line = line_at(1, NULL);

	CHECK_INT(judge(&line, (struct writer){ .timeline = 2, .was_ours = true, .has_known_primary = true }, NULL), MAY_WRITE);
}

TEST(line, others_must_show_their_history)
{
	struct line line = line_at(2, "1\t0/100\n");

	CHECK_INT(judge(&line, (struct writer){ .timeline = 3 }, NULL), ASK_HISTORY);
	CHECK_INT(judge(&line, (struct writer){ .timeline = 3 }, "1\t0/100\n2\t0/200\n"), MAY_WRITE);
	CHECK_INT(judge(&line, (struct writer){ .timeline = 3 }, "1\t0/101\n2\t0/200\n"), FOREIGN);        /* another timeline 2 */
	CHECK_INT(judge(&line, (struct writer){ .timeline = 3 }, "1\t0/100\n"), FOREIGN);                   /* beside ours */
	CHECK_INT(judge(&line, (struct writer){ .timeline = 4 }, "1\t0/100\n2\t0/200\n3\t0/300\n"), MAY_WRITE);
}

TEST(line, where_histories_are_refused)
{
	struct line line = line_at(1, NULL);

	CHECK_INT(judge(&line, (struct writer){ .timeline = 2, .history_refused = true }, NULL), FOREIGN);
	CHECK_INT(judge(&line, (struct writer){ .timeline = 2, .history_refused = true, .was_ours_before = true, .insert_lsn = 200,
		.last_replay_lsn = 100 }, NULL), MAY_WRITE);
	CHECK_INT(judge(&line, (struct writer){ .timeline = 2, .history_refused = true, .was_ours_before = true, .insert_lsn = 50,
		.last_replay_lsn = 100 }, NULL), FOREIGN);
}

TEST(line, follow_before_the_history_is_inexact)
{
	struct line line = line_at(2, "1\t0/100\n");
	struct history none = { 0 }, h;

	line_follow(&line, &(struct writer){ .timeline = 3, .insert_lsn = 0x250, .last_replay_lsn = 0x200, .history = &none });
	CHECK_INT(line.history.timeline, 3);
	CHECK(!line.history_known);
	CHECK_INT(line.history.count, 2);
	CHECK_INT(line.history.switches[1].timeline, 2);
	CHECK_INT(line.history.switches[1].lsn, 0x250);
	CHECK_INT(line.history.switches[1].least_lsn, 0x200);
	/* a later one must fit into what is known of it */
	CHECK_INT(judge(&line, (struct writer){ .timeline = 4 }, "1\t0/100\n2\t0/210\n3\t0/300\n"), MAY_WRITE);
	CHECK_INT(judge(&line, (struct writer){ .timeline = 4 }, "1\t0/100\n2\t0/1FF\n3\t0/300\n"), FOREIGN);
	CHECK(parse("1\t0/100\n2\t0/210\n", 3, &h));
	line_learn(&line, &h);
	CHECK(line.history_known);
	CHECK_INT(line.history.switches[1].lsn, 0x210);
	CHECK_INT(line.history.switches[1].least_lsn, 0);
}

TEST(line, follow_the_first)
{
	struct line line = { .system_id = 7 };
	struct history none = { 0 };

	line_follow(&line, &(struct writer){ .timeline = 4, .history = &none });
	CHECK_INT(line.history.timeline, 4);
	CHECK_INT(line.history.count, 0);
	CHECK(!line.history_known);
	line = (struct line){ .system_id = 7 };
	line_follow(&line, &(struct writer){ .timeline = 1, .history = &none });
	CHECK(line.history_known);
}

/* ---- lag by our own clock ---- */

static struct past past;

#define MS USEC_PER_MS

static void past_fill(void)
{
	past.count = 0;
	past_add(&past, 100, 1000 * MS);
	past_add(&past, 200, 1500 * MS);
	past_add(&past, 300, 2000 * MS);
}

TEST(past, lag_is_the_time_since_the_primary_passed)
{
	past_fill();
	CHECK_INT(past_lag(&past, 300, 2500 * MS), 0);
	CHECK_INT(past_lag(&past, 299, 2500 * MS), 500 * MS);
	CHECK_INT(past_lag(&past, 150, 2500 * MS), 1000 * MS);
	CHECK_INT(past_lag(&past, 299, 1999 * MS), 0);
	CHECK_INT(past_lag(&past, 99, 2500 * MS), -1);
}

TEST(past, caught_up_is_the_last_sample_reached)
{
	past_fill();
	CHECK_INT(past_caught_up(&past, 99), 0);
	CHECK_INT(past_caught_up(&past, 100), 1000 * MS);
	CHECK_INT(past_caught_up(&past, 299), 1500 * MS);
	CHECK_INT(past_caught_up(&past, 900), 2000 * MS);
}

TEST(past, an_idle_primary_never_looks_like_lag)
{
	past_fill();
	for (int i = 1; i <= 100; i++)
		past_add(&past, 300, (2000 + i * 500) * MS);
	CHECK_INT(past.count, 3);
	CHECK_INT(past_lag(&past, 300, 60000 * MS), 0);
	CHECK_INT(past_caught_up(&past, 300), 52000 * MS);
}

TEST(past, a_crash_takes_back_what_was_not_flushed)
{
	past_fill();
	past_add(&past, 250, 2500 * MS);
	CHECK_INT(past.count, 3);
	CHECK_INT(past_lag(&past, 250, 3000 * MS), 0);
	CHECK_INT(past_caught_up(&past, 250), 2500 * MS);
}

TEST(past, the_newest_sample_always_counts)
{
	past.count = 0;
	for (int i = 1; i <= 1000; i++) {
		past_add(&past, (lsn_t)i, i * 100);
		CHECK_INT(past_caught_up(&past, (lsn_t)i), i * 100);
	}
	CHECK(past.count <= 12);        /* 100 ms of samples, 10 ms apart */
}

TEST(past, long_times_are_thinned_and_never_flatter)
{
	const int n = 20000;

	past.count = 0;
	for (int i = 1; i <= n; i++)
		past_add(&past, (lsn_t)i * 10, i * 500 * MS);
	CHECK(past.count <= PAST_MAX);
	CHECK_INT(past.entries[0].lsn, 10);
	for (int i = 1; i <= n; i += 7) {
		CHECK(past_caught_up(&past, (lsn_t)i * 10) <= i * 500 * MS);
		CHECK(past_caught_up(&past, (lsn_t)i * 10) > 0);
	}
	for (size_t i = 1; i < past.count; i++)
		CHECK(past.entries[i].lsn > past.entries[i - 1].lsn && past.entries[i].first_us > past.entries[i - 1].first_us);
}

/* ---- rows ---- */

struct column {
	const char *name, *value;       /* NULL is NULL */
};

static PGresult *row_of(const struct column *columns, int count)
{
	PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc attributes[16] = { 0 };

	for (int i = 0; i < count; i++)
		attributes[i].name = (char *)(uintptr_t)columns[i].name;
	PQsetResultAttrs(result, count, attributes);
	for (int i = 0; i < count; i++)
		PQsetvalue(result, 0, i, (char *)(uintptr_t)columns[i].value, columns[i].value ? (int)strlen(columns[i].value) : -1);
	return result;
}

TEST(sample, primary)
{
	static const struct column row[] = { { "rec", "f" }, { "write_lsn", "0/3000148" }, { "flush_lsn", "0/3000100" }, { "replay_lsn", NULL },
		{ "writes_timeline", "0000000A" }, { "received_timeline", NULL }, { "has_receiver", "f" }, { "receiver_status", NULL } };
	PGresult *result = row_of(row, ARRAY_LEN(row));
	struct sample s;

	CHECK(sample_read(result, &s, NULL));
	CHECK(!s.in_recovery && !s.streaming && !s.has_receiver && !s.receiver_hidden);
	CHECK_INT(s.timeline, 10);
	CHECK_INT(s.write_lsn, 0x3000148);
	CHECK_INT(s.flush_lsn, 0x3000100);
	PQclear(result);
}

TEST(sample, standby_with_identity)
{
	static const struct column row[] = { { "rec", "t" }, { "write_lsn", "0/3000148" }, { "flush_lsn", "0/3000148" },
		{ "replay_lsn", "0/3000100" }, { "writes_timeline", NULL }, { "received_timeline", "3" }, { "has_receiver", "t" },
		{ "receiver_status", "streaming" }, { "system_id", "-7" }, { "started_us", "1700000000000000" }, { "page_bytes", "8192" },
		{ "segment_bytes", "16777216" } };
	PGresult *result = row_of(row, ARRAY_LEN(row));
	struct sample s;
	struct identity id;

	CHECK(sample_read(result, &s, &id));
	CHECK(s.in_recovery && s.streaming);
	CHECK_INT(s.timeline, 3);
	CHECK_INT(s.replay_lsn, 0x3000100);
	CHECK(id.system_id == UINT64_MAX - 6);
	CHECK_INT(id.segment_bytes, 16 << 20);
	PQclear(result);
}

TEST(sample, receiver_that_may_not_be_seen)
{
	static const struct column row[] = { { "rec", "t" }, { "write_lsn", "0/1" }, { "replay_lsn", "0/1" }, { "received_timeline", NULL },
		{ "has_receiver", "t" }, { "receiver_status", NULL } };
	PGresult *result = row_of(row, ARRAY_LEN(row));
	struct sample s;

	CHECK(sample_read(result, &s, NULL));
	CHECK(s.receiver_hidden && !s.streaming);
	CHECK_INT(s.timeline, 0);
	PQclear(result);
}

TEST(sample, what_is_no_answer)
{
	static const struct column half[] = { { "rec", "f" }, { "write_lsn", NULL }, { "writes_timeline", "00000001" } };
	PGresult *result = row_of(half, ARRAY_LEN(half)), *none = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresult *error = PQmakeEmptyPGresult(NULL, PGRES_FATAL_ERROR);
	struct sample s;
	struct identity id;

	CHECK(!sample_read(result, &s, NULL));
	CHECK(!sample_read(result, &s, &id));
	CHECK(!sample_read(none, &s, NULL));
	CHECK(!sample_read(error, &s, NULL));
	PQclear(result);
	PQclear(none);
	PQclear(error);
}

TEST(conn, sqlstate_of_a_refused_login)
{
	static const struct { const char *text, *sqlstate; } rows[] = {
		{ "connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  57P03: the database system is starting up\nLOCATION:  x",
			"57P03" },
		{ "FATAL:  28P01: password authentication failed", "28P01" },
		{ "FATAL:  the database system is starting up", "" }, { "connection refused", "" }, { "", "" }, { ":  ", "" }, { ":  ABCDE", "" },
		{ ":  no:  53300: too many", "53300" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char sqlstate[6];
		conn_text_sqlstate(rows[i].text, sqlstate);
		CHECK_STR(sqlstate, rows[i].sqlstate);
	}
}
