/* What a poll asks, and what its row says. Source: PostgreSQL manual 9.27.3 (WAL functions), 28.2.6 (pg_stat_wal_receiver). */
#include <stdio.h>
#include <stdlib.h>

#include "private.h"

/* pg_is_in_recovery() comes first, and only once: it can turn false meanwhile, and the functions of a standby still answer then; those
 * of a primary never run on a standby. The insert position is read before the flush position. */
#define SAMPLE_SQL \
	"WITH n AS MATERIALIZED (SELECT pg_is_in_recovery() AS rec) " \
	"SELECT n.rec," \
	" CASE WHEN n.rec THEN coalesce(r.written_lsn, pg_last_wal_receive_lsn()) ELSE pg_current_wal_insert_lsn() END AS write_lsn," \
	" CASE WHEN n.rec THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_flush_lsn() END AS flush_lsn," \
	" pg_last_wal_replay_lsn() AS replay_lsn," \
	" CASE WHEN n.rec THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS writes_timeline," \
	" r.received_tli AS received_timeline," \
	" r.pid IS NOT NULL AS has_receiver," \
	" r.status AS receiver_status " \
	"FROM n LEFT JOIN pg_stat_wal_receiver r ON true"

#define IDENTITY_SQL \
	"SELECT (pg_control_system()).system_identifier AS system_id," \
	" (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS started_us," \
	" current_setting('wal_block_size') AS page_bytes," \
	" pg_size_bytes(current_setting('wal_segment_size')) AS segment_bytes"

const char sample_first_sql[] = "PREPARE pgshunt_sample AS " SAMPLE_SQL "; SELECT s.*, i.* FROM (" SAMPLE_SQL ") s, (" IDENTITY_SQL ") i";
const char sample_next_sql[] = "EXECUTE pgshunt_sample";

/* The field's text, "" for NULL and for a column that isn't there. */
static const char *field(const PGresult *result, const char *column)
{
	int n = PQfnumber(result, column);

	return n == -1 ? "" : PQgetvalue(result, 0, n);
}

static bool read_flag(const PGresult *result, const char *column)
{
	return strcmp(field(result, column), "t") == 0;
}

static bool read_u64(const PGresult *result, const char *column, uint64_t *out)
{
	const char *text = field(result, column);
	char *end;

	/* pg_control_system() shows the identifier as a signed number. */
	*out = *text == '-' ? (uint64_t)strtoll(text, &end, 10) : strtoull(text, &end, 10);
	return *text && !*end;
}

/* NULL and nonsense are 0: not known. */
static lsn_t read_lsn(const PGresult *result, const char *column)
{
	lsn_t lsn;

	return lsn_parse(field(result, column), &lsn) ? lsn : 0;
}

static uint32_t read_timeline(const PGresult *result, bool in_recovery)
{
	const char *text = field(result, in_recovery ? "received_timeline" : "writes_timeline");
	char *end;
	unsigned long timeline = strtoul(text, &end, in_recovery ? 10 : 16);

	return *text && !*end && timeline <= UINT32_MAX ? (uint32_t)timeline : 0;
}

static bool read_identity(const PGresult *result, struct identity *identity)
{
	uint64_t page_bytes;

	if (!read_u64(result, "system_id", &identity->system_id) || !read_u64(result, "started_us", &identity->started_us) ||
		!read_u64(result, "page_bytes", &page_bytes) || !read_u64(result, "segment_bytes", &identity->segment_bytes))
		return false;
	identity->page_bytes = (uint32_t)page_bytes;
	return identity->system_id != 0;
}

bool sample_read(const PGresult *result, struct sample *sample, struct identity *identity)
{
	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		return false;
	*sample = (struct sample){
		.in_recovery = read_flag(result, "rec"),
		.write_lsn = read_lsn(result, "write_lsn"),
		.flush_lsn = read_lsn(result, "flush_lsn"),
		.replay_lsn = read_lsn(result, "replay_lsn"),
		.has_receiver = read_flag(result, "has_receiver"),
		.streaming = strcmp(field(result, "receiver_status"), "streaming") == 0,
	};
	sample->timeline = read_timeline(result, sample->in_recovery);
	sample->receiver_hidden = sample->has_receiver && !*field(result, "receiver_status");
	if (!sample->in_recovery && (sample->write_lsn == 0 || sample->timeline == 0))
		return false;
	return !identity || read_identity(result, identity);
}
