/* SHOW STATS and its kin, and the line of log_stats: PgBouncer's counters, a row a database. */
#include <stdio.h>

#include "private.h"

enum stat {
#define COUNTER(name, unit, text) STAT_##name,
#include "pgshunt/counters_pool.def"
#undef COUNTER
	STAT_COUNT
};

struct values {
	uint64_t total[STAT_COUNT], average[STAT_COUNT];
};
struct stats_view_row {
	const char *database;
	struct values values;
};
struct total_row {
	char name[64];
	uint64_t value;
};

#define TOTAL(name, stat) COLUMN(stats_view_row, name, NUMERIC, values.total[STAT_##stat])
#define AVERAGE(name, stat) COLUMN(stats_view_row, name, NUMERIC, values.average[STAT_##stat])
#define DATABASE COLUMN(stats_view_row, "database", TEXT, database)

static const struct column stats_columns[] = {
	DATABASE,
	TOTAL("total_server_assignment_count", server_assignment_count), TOTAL("total_xact_count", xact_count),
	TOTAL("total_query_count", query_count), TOTAL("total_received", bytes_received), TOTAL("total_sent", bytes_sent),
	TOTAL("total_xact_time", xact_time), TOTAL("total_query_time", query_time), TOTAL("total_wait_time", wait_time),
	TOTAL("total_client_parse_count", client_parse_count), TOTAL("total_server_parse_count", server_parse_count),
	TOTAL("total_bind_count", bind_count), TOTAL("total_client_login_count", client_login_count),
	AVERAGE("avg_server_assignment_count", server_assignment_count), AVERAGE("avg_xact_count", xact_count),
	AVERAGE("avg_query_count", query_count), AVERAGE("avg_recv", bytes_received), AVERAGE("avg_sent", bytes_sent),
	AVERAGE("avg_xact_time", xact_time), AVERAGE("avg_query_time", query_time), AVERAGE("avg_wait_time", wait_time),
	AVERAGE("avg_client_parse_count", client_parse_count), AVERAGE("avg_server_parse_count", server_parse_count),
	AVERAGE("avg_bind_count", bind_count), AVERAGE("avg_client_login_count", client_login_count),
};
static const struct column totals_columns[] = {
	DATABASE,
	TOTAL("server_assignment_count", server_assignment_count), TOTAL("xact_count", xact_count), TOTAL("query_count", query_count),
	TOTAL("bytes_received", bytes_received), TOTAL("bytes_sent", bytes_sent), TOTAL("xact_time", xact_time),
	TOTAL("query_time", query_time), TOTAL("wait_time", wait_time), TOTAL("client_parse_count", client_parse_count),
	TOTAL("server_parse_count", server_parse_count), TOTAL("bind_count", bind_count), TOTAL("client_login_count", client_login_count),
};
static const struct column averages_columns[] = {
	DATABASE,
	AVERAGE("server_assignment_count", server_assignment_count), AVERAGE("xact_count", xact_count), AVERAGE("query_count", query_count),
	AVERAGE("bytes_received", bytes_received), AVERAGE("bytes_sent", bytes_sent), AVERAGE("xact_time", xact_time),
	AVERAGE("query_time", query_time), AVERAGE("wait_time", wait_time), AVERAGE("avg_client_parse_count", client_parse_count),
	AVERAGE("avg_server_parse_count", server_parse_count), AVERAGE("avg_bind_count", bind_count),
	AVERAGE("avg_client_login_count", client_login_count),
};
static const struct column sum_columns[] = {
	COLUMN(total_row, "name", CHARS, name), COLUMN(total_row, "value", NUMERIC, value),
};

/* Names in SHOW TOTALS, behind total_ and avg_. */
static const char *const sum_names[] = {
	[STAT_server_assignment_count] = "server_assignment_count", [STAT_xact_count] = "xact_count", [STAT_query_count] = "query_count",
	[STAT_bytes_received] = "client_bytes", [STAT_bytes_sent] = "server_bytes", [STAT_xact_time] = "xact_time",
	[STAT_query_time] = "query_time", [STAT_wait_time] = "wait_time", [STAT_client_parse_count] = "client_parse_count",
	[STAT_server_parse_count] = "server_parse_count", [STAT_bind_count] = "bind_count",
	[STAT_client_login_count] = "client_login_count",
};
_Static_assert(ARRAY_LEN(sum_names) == STAT_COUNT, "SHOW TOTALS has a name for every counter");

/* ---- averages ---- */

/* A pool that was dropped takes its counts along: then a total is smaller than before. */
static uint64_t risen(const uint64_t *now, const uint64_t *before, size_t i)
{
	return now[i] > before[i] ? now[i] - before[i] : 0;
}

/* As PgBouncer: times of transactions and queries are means of one of them, all others are sums a second. */
static void put_averages(struct values *values, const uint64_t *before, usec_t span_us)
{
	static const size_t counted_by[STAT_COUNT] = { [STAT_xact_time] = STAT_xact_count, [STAT_query_time] = STAT_query_count };

	for (size_t i = 0; i < STAT_COUNT; i++) {
		uint64_t more = risen(values->total, before, i);
		uint64_t count = counted_by[i] ? risen(values->total, before, counted_by[i]) : 0;

		if (counted_by[i])
			values->average[i] = count ? more / count : 0;
		else
			values->average[i] = (uint64_t)((double)more * (double)USEC_PER_SEC / (double)MAX(span_us, 1));
	}
}

static void read_counters(uint64_t *out, const struct stats_pool *stats)
{
	for (size_t i = 0; i < STAT_COUNT; i++)
		out[i] += stats_value(stats, &stats_pool_rows[i]);
}

static usec_t history_span_us(const struct history *history)
{
	return history->taken_us - history->older_us;
}

static struct values values_of(const struct history *history, const struct history_row *row)
{
	struct values values = { { 0 }, { 0 } };
	uint64_t before[STAT_COUNT] = { 0 };

	read_counters(values.total, &row->now);
	read_counters(before, &row->older);
	put_averages(&values, before, history_span_us(history));
	return values;
}

static struct values values_of_all(const struct history *history)
{
	struct values values = { { 0 }, { 0 } };
	uint64_t before[STAT_COUNT] = { 0 };

	LIST_EACH(pos, &history->databases) {
		read_counters(values.total, &LIST_ITEM(pos, struct history_row, link)->now);
		read_counters(before, &LIST_ITEM(pos, struct history_row, link)->older);
	}
	put_averages(&values, before, history_span_us(history));
	return values;
}

/* ---- views ---- */

static void take(struct job *job)
{
	struct admin *admin = job->admin;

	stats_sum(&gather_pool(&job->gather, CONSOLE_NAME, CONSOLE_NAME)->stats, &admin->console, stats_pool_rows);
	gather_sort(&job->gather);
	history_take(&admin->history, &job->gather, admin->env.conf(admin->env.owner)->opt.stats_period);
}

static void fill_stats(struct job *job)
{
	const struct history *history = &job->admin->history;

	take(job);
	LIST_EACH(pos, &history->databases) {
		const struct history_row *from = LIST_ITEM(pos, struct history_row, link);
		struct stats_view_row row = { from->database, values_of(history, from) };

		job_put(job, &row);
	}
}

static void put_sums(struct job *job, const char *prefix, const uint64_t *values)
{
	for (size_t i = 0; i < STAT_COUNT; i++) {
		struct total_row row = { "", values[i] };

		snprintf(row.name, sizeof(row.name), "%s%s", prefix, sum_names[i]);
		job_put(job, &row);
	}
}

static void fill_totals(struct job *job)
{
	struct values values;

	take(job);
	values = values_of_all(&job->admin->history);
	put_sums(job, "total_", values.total);
	put_sums(job, "avg_", values.average);
}

void finish_log_line(void *letter)
{
	struct job *job = letter;
	struct values values;
	const uint64_t *average = values.average;

	take(job);
	values = values_of_all(&job->admin->history);
	if (job->admin->env.conf(job->admin->env.owner)->opt.log_stats)
		log_info("stats: %llu xacts/s, %llu queries/s, in %llu B/s, out %llu B/s, xact %llu us, query %llu us, wait %llu us",
			(unsigned long long)average[STAT_xact_count], (unsigned long long)average[STAT_query_count],
			(unsigned long long)average[STAT_bytes_received], (unsigned long long)average[STAT_bytes_sent],
			(unsigned long long)average[STAT_xact_time], (unsigned long long)average[STAT_query_time],
			(unsigned long long)average[STAT_wait_time]);
	job_done(job);
}

const struct view views_stats[] = {
	{ "STATS", stats_columns, ARRAY_LEN(stats_columns), gather_visit, fill_stats, NULL },
	{ "STATS_TOTALS", totals_columns, ARRAY_LEN(totals_columns), gather_visit, fill_stats, NULL },
	{ "STATS_AVERAGES", averages_columns, ARRAY_LEN(averages_columns), gather_visit, fill_stats, NULL },
	{ "TOTALS", sum_columns, ARRAY_LEN(sum_columns), gather_visit, fill_totals, NULL },
	{ NULL, NULL, 0, NULL, NULL, NULL },
};
