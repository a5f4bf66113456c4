/* pgshunt route: where a statement would go, and why, without a server. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon.h"

#define STACK_BYTES (16u << 20)        /* libpg_query recurses */

struct route_job {
	const char *conf_path, *sql;
	bool json;
	int rc;
};

static const char *route_of(const struct verdict *v)
{
	if (v->flags & SQL_F_PGSHUNT)
		return "local";
	if (v->class == SQL_SESSION)
		return "session";
	return route_is_movable(v) ? "standby" : "primary";
}

static void add_json_text(struct buf *out, const char *name, const char *text, size_t len, const char *end)
{
	buf_printf(out, "\"%s\":\"", name);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '"' || c == '\\')
			buf_printf(out, "\\%c", c);
		else if (c < ' ')
			buf_printf(out, "\\u%04x", c);
		else
			buf_add_u8(out, c);
	}
	buf_printf(out, "\"%s", end);
}

/* Blanks and line ends become one blank: a statement is a line. */
static void add_line(struct buf *out, struct span sql)
{
	bool blank = false;

	for (size_t i = 0; i < sql.len; i++) {
		bool is_blank = strchr(" \t\r\n\f\v", sql.data[i]) != NULL && sql.data[i];
		if (!is_blank) {
			if (blank)
				buf_add_u8(out, ' ');
			buf_add_u8(out, (uint8_t)sql.data[i]);
		}
		blank = is_blank;
	}
}

static void print_statement(struct sql_cache *cache, struct span sql, bool json)
{
	struct sql_mode mode = { true, true };
	struct verdict *v;
	struct buf out = { NULL, 0, 0 };
	char reason[256];

	while (sql.len && strchr(" \t\r\n", sql.data[0]))
		sql.data++, sql.len--;
	while (sql.len && strchr(" \t\r\n", sql.data[sql.len - 1]))
		sql.len--;
	v = sql_verdict(cache, sql, mode);
	verdict_reason(v, reason, sizeof(reason));
	if (v->class != SQL_EMPTY) {
		if (json) {
			buf_add_u8(&out, '{');
			add_json_text(&out, "route", route_of(v), strlen(route_of(v)), ",");
			add_json_text(&out, "class", sql_class_name(v->class), strlen(sql_class_name(v->class)), ",");
			add_json_text(&out, "reason", reason, strlen(reason), ",");
			add_json_text(&out, "sql", sql.data, sql.len, "}");
		} else {
			buf_printf(&out, "%s\t%s\t%s\t", route_of(v), sql_class_name(v->class), reason);
			add_line(&out, sql);
		}
		puts(buf_cstr(&out));
	}
	buf_free(&out);
	verdict_unref(&v);
}

static void route_all(struct sql_cache *cache, struct span text, bool json)
{
	while (text.len) {
		size_t n = sql_split(text);

		if (n == 0)
			n = text.len;
		print_statement(cache, (struct span){ text.data, n }, json);
		text.data += n;
		text.len -= n;
	}
}

static void read_all(struct buf *out)
{
	char piece[65536];
	size_t got;

	while ((got = fread(piece, 1, sizeof(piece), stdin)) > 0)
		buf_add(out, piece, got);
}

static struct sql_options options_of(const struct conf *conf)
{
	if (!conf)
		return (struct sql_options){ .cache_max_bytes = 1 << 20, .parse_max_bytes = 64 << 10, .nesting_max = 10000 };
	return (struct sql_options){ .cache_max_bytes = (size_t)conf->opt.verdict_cache_size,
		                     .parse_max_bytes = (size_t)conf->opt.parse_max_bytes, .nesting_max = 10000 };
}

static void route_run(void *owner)
{
	struct route_job *job = owner;
	struct conf_report report = { NULL, 0, 0 };
	struct conf *conf = job->conf_path ? conf_load(job->conf_path, &report) : NULL;
	struct sql_options options = options_of(conf);
	struct sql_cache *cache;
	struct buf text = { NULL, 0, 0 };

	for (size_t i = 0; i < report.count; i++)
		if (report.findings[i].severity == CONF_ERROR)
			fprintf(stderr, "%s:%u: %s\n", report.findings[i].file, report.findings[i].line, report.findings[i].text);
	conf_report_free(&report);
	if (job->conf_path && !conf) {
		job->rc = 1;
		return;
	}
	cache = sql_cache_new(&options);
	if (job->sql)
		buf_add_str(&text, job->sql);
	else
		read_all(&text);
	route_all(cache, (struct span){ buf_cstr(&text), text.len }, job->json);
	buf_free(&text);
	sql_cache_free(&cache);
	conf_unref(&conf);
}

int command_route(int argc, char **argv)
{
	struct route_job job = { NULL, NULL, false, 0 };
	struct thread *thread;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "-c") == 0 && i + 1 < argc) {
			job.conf_path = argv[++i];
		} else if (strcmp(argv[i], "--json") == 0) {
			job.json = true;
		} else if (argv[i][0] == '-' && argv[i][1] && argv[i][1] != '-') {
			fprintf(stderr, "pgshunt route: unknown option %s\nusage: pgshunt route [-c CONFIG] [--json] [SQL]\n", argv[i]);
			return 2;
		} else if (job.sql) {
			fprintf(stderr, "pgshunt route: one SQL text only; quote it\n");
			return 2;
		} else {
			job.sql = argv[i];
		}
	}
	hash_key_init();
	thread = thread_start("route", STACK_BYTES, route_run, &job);
	thread_join(&thread);
	return job.rc;
}
