/* Rows from column tables. */
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "private.h"

#define TEXT_OID 25
#define INT4_OID 23
#define INT8_OID 20
#define NUMERIC_OID 1700
#define CELL_BYTES 64

/* ---- texts of peers: drivers drop the connection over one that isn't valid UTF-8 ---- */

/* Bytes of the valid character at text, 0 if there is none (RFC 3629). */
static size_t utf8_bytes(const unsigned char *text)
{
	static const struct { unsigned char low, high, second_low, second_high, bytes; } rows[] = {
		{ 0x01, 0x7f, 0x00, 0x00, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};
	size_t row = 0, i;

	while (row < ARRAY_LEN(rows) && (text[0] < rows[row].low || text[0] > rows[row].high))
		row++;
	if (row == ARRAY_LEN(rows))
		return 0;
	if (rows[row].bytes > 1 && (text[1] < rows[row].second_low || text[1] > rows[row].second_high))
		return 0;
	for (i = 2; i < rows[row].bytes; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return rows[row].bytes;
}

static bool is_utf8(const char *text)
{
	size_t bytes;

	for (; *text; text += bytes) {
		bytes = utf8_bytes((const unsigned char *)text);
		if (bytes == 0)
			return false;
	}
	return true;
}

static void put_text(struct buf *out, const char *text)
{
	char *copy, *to;

	if (!text || is_utf8(text)) {
		wire_put_row_value(out, text);
		return;
	}
	copy = to = mem_strdup(text);
	while (*to) {
		size_t bytes = utf8_bytes((const unsigned char *)to);
		if (bytes == 0)
			*to = '?';
		to += MAX(bytes, 1);
	}
	wire_put_row_value(out, copy);
	mem_free(copy);
}

/* ---- formats ---- */

static void put_integer(struct buf *out, int64_t value)
{
	char cell[CELL_BYTES];

	snprintf(cell, sizeof(cell), "%lld", (long long)value);
	wire_put_row_value(out, cell);
}

static void format_text(struct buf *out, const void *field)
{
	put_text(out, *(const char *const *)field);
}

static void format_chars(struct buf *out, const void *field)
{
	put_text(out, field);
}

static void format_int(struct buf *out, const void *field)
{
	int64_t value = *(const int64_t *)field;

	put_integer(out, MAX(MIN(value, INT32_MAX), INT32_MIN));
}

static void format_bigint(struct buf *out, const void *field)
{
	put_integer(out, *(const int64_t *)field);
}

static void format_bigint_known(struct buf *out, const void *field)
{
	int64_t value = *(const int64_t *)field;

	if (value < 0)
		wire_put_row_value(out, NULL);
	else
		put_integer(out, value);
}

static void format_numeric(struct buf *out, const void *field)
{
	char cell[CELL_BYTES];

	snprintf(cell, sizeof(cell), "%llu", (unsigned long long)*(const uint64_t *)field);
	wire_put_row_value(out, cell);
}

static void format_time(struct buf *out, const void *field)
{
	usec_t at_us = *(const usec_t *)field;
	time_t seconds = (time_t)(at_us / USEC_PER_SEC);
	char cell[CELL_BYTES];
	struct tm tm;

	if (at_us == 0 || !localtime_r(&seconds, &tm) || strftime(cell, sizeof(cell), "%Y-%m-%d %H:%M:%S %Z", &tm) == 0)
		wire_put_row_value(out, NULL);
	else
		wire_put_row_value(out, cell);
}

static void format_pointer(struct buf *out, const void *field)
{
	const void *pointer = *(const void *const *)field;
	char cell[CELL_BYTES] = "";

	if (pointer)
		snprintf(cell, sizeof(cell), "%p", pointer);
	wire_put_row_value(out, cell);
}

static void format_lsn(struct buf *out, const void *field)
{
	lsn_t lsn = *(const lsn_t *)field;
	char cell[CELL_BYTES];

	lsn_print(lsn, cell, sizeof(cell));
	wire_put_row_value(out, lsn ? cell : NULL);
}

static const struct format_row {
	uint32_t oid;
	void (*put)(struct buf *out, const void *field);
} formats[] = {
	[FORMAT_TEXT] = { TEXT_OID, format_text },
	[FORMAT_CHARS] = { TEXT_OID, format_chars },
	[FORMAT_INT] = { INT4_OID, format_int },
	[FORMAT_BIGINT] = { INT8_OID, format_bigint },
	[FORMAT_BIGINT_KNOWN] = { INT8_OID, format_bigint_known },
	[FORMAT_NUMERIC] = { NUMERIC_OID, format_numeric },
	[FORMAT_TIME] = { TEXT_OID, format_time },
	[FORMAT_POINTER] = { TEXT_OID, format_pointer },
	[FORMAT_LSN] = { TEXT_OID, format_lsn },
};

void view_columns(const struct view *view, struct wire_column *out)
{
	for (size_t i = 0; i < view->count; i++)
		out[i] = (struct wire_column){ view->columns[i].name, formats[view->columns[i].format].oid };
}

void put_row(struct buf *out, const struct column *columns, size_t count, const void *row)
{
	size_t mark;

	wire_put_row_begin(out, (uint16_t)count, &mark);
	for (size_t i = 0; i < count; i++)
		formats[columns[i].format].put(out, (const char *)row + columns[i].offset);
	wire_put_row_end(out, mark);
}

void job_put(struct job *job, const void *row)
{
	put_row(&job->rows, job->view->columns, job->view->count, row);
}

/* ---- all views ---- */

static const struct view *const groups[] = { views_simple, views_sockets, views_pools, views_stats, views_nodes };

/* The i-th of all, NULL behind the last. */
static const struct view *view_at(size_t i)
{
	for (size_t group = 0; group < ARRAY_LEN(groups); group++)
		for (const struct view *view = groups[group]; view->name; view++)
			if (i-- == 0)
				return view;
	return NULL;
}

const struct view *view_find(const char *name)
{
	const struct view *view;

	for (size_t i = 0; (view = view_at(i)); i++)
		if (strcasecmp(view->name, name) == 0)
			return view;
	return NULL;
}

const char *view_nearest(const char *name)
{
	const char *names[64];
	size_t count = 0;
	const struct view *view;

	while (count + 1 < ARRAY_LEN(names) && (view = view_at(count)))
		names[count++] = view->name;
	names[count] = NULL;
	return nearest_name(name, names);
}

void views_list(struct buf *out)
{
	const struct view *view;

	for (size_t i = 0; (view = view_at(i)); i++)
		if (!view->not_yet)
			buf_printf(out, "%s%s", i ? "|" : "", view->name);
}
