/* admin_test.h - a console over two workers without clients, its answers as text. */
#ifndef PGSHUNT_ADMIN_TEST_H
#define PGSHUNT_ADMIN_TEST_H

#include <fcntl.h>
#include <unistd.h>

#include "pgshunt/admin.h"
#include "test.h"

#define WORKERS 2

struct fake_worker {
	struct session_env sessions;
	struct pools *pools;
	struct stats_worker stats;
	struct stats_node nodes[TOPO_NODES_MAX];
};

static struct {
	struct admin *admin;
	struct conf *conf;
	const struct topo *topo;
	struct fake_worker workers[WORKERS];
	struct pool_set *sets[8];
	size_t set_count;
	size_t visits;
	/* what was asked of the daemon */
	unsigned reloads;
	int shutdown;                   /* -1 = not asked */
	bool answered_before_shutdown;
	const char *reload_says, *reload_fails;
	/* the last answer */
	unsigned answers;
	struct err err;
	struct wire_column columns[64];
	size_t column_count;
	struct buf rows;                /* "a|b|c\n" a row; NULL is \N */
	size_t row_count;
	char tag[64], notice[2048];
	char log_path[64];
} t;

static inline struct conf *test_conf_load(const char *text)
{
	char path[] = "/tmp/admin_test.XXXXXX";
	int fd = mkstemp(path);
	struct conf_report report = { 0 };
	struct conf *conf;

	if (fd == -1 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
	conf = conf_load(path, &report);
	for (size_t i = 0; !conf && i < report.count; i++)
		printf("  %s:%u: %s\n", report.findings[i].file, report.findings[i].line, report.findings[i].text);
	conf_report_free(&report);
	unlink(path);
	ENSURE(conf);
	return conf;
}

static inline void test_send_round(void *owner, admin_visit_fn *visit, admin_back_fn *back, void *letter)
{
	(void)owner;
	for (size_t i = 0; i < WORKERS; i++) {
		struct fake_worker *w = &t.workers[i];
		struct admin_worker view = { i, &w->sessions, w->pools, &w->stats, w->nodes, NULL };
		visit(letter, &view);
		t.visits++;
	}
	back(letter);
}

static inline struct conf *test_conf(void *owner)
{
	(void)owner;
	return t.conf;
}

static inline const struct topo *test_topo(void *owner)
{
	(void)owner;
	return t.topo;
}

static inline bool test_reload(void *owner, struct buf *report, struct err *err)
{
	(void)owner;
	t.reloads++;
	if (t.reload_fails) {
		err_set(err, "F0000", "%s", t.reload_fails);
		return err_hint(err, "correct it");
	}
	buf_add_str(report, t.reload_says ? t.reload_says : "");
	return true;
}

static inline void test_shutdown(void *owner, int mode)
{
	(void)owner;
	t.shutdown = mode;
	t.answered_before_shutdown = t.answers > 0;
}

static inline void test_take_rows(struct cursor c)
{
	while (cursor_left(&c)) {
		char type = (char)cursor_u8(&c);
		uint32_t len = cursor_u32(&c);
		struct cursor row = cursor_of(cursor_bytes(&c, len - 4), len - 4);
		uint16_t count = cursor_u16(&row);

		ENSURE(type == 'D' && !c.short_read && count == t.column_count);
		for (uint16_t i = 0; i < count; i++) {
			uint32_t bytes = cursor_u32(&row);
			if (i)
				buf_add_u8(&t.rows, '|');
			if (bytes == UINT32_MAX)
				buf_add_str(&t.rows, "\\N");
			else
				buf_add(&t.rows, cursor_bytes(&row, bytes), bytes);
		}
		ENSURE(!row.short_read && cursor_left(&row) == 0);
		buf_add_u8(&t.rows, '\n');
		t.row_count++;
	}
}

static inline void test_done(void *ticket, const struct console_result *result)
{
	ENSURE(ticket == &t);
	t.answers++;
	t.err = result->err ? *result->err : (struct err){ .sqlstate = "" };
	t.column_count = result->column_count;
	if (result->column_count)
		memcpy(t.columns, result->columns, result->column_count * sizeof(t.columns[0]));
	if (result->rows)
		test_take_rows(cursor_of(result->rows->data, result->rows->len));
	snprintf(t.tag, sizeof(t.tag), "%s", result->tag);
	snprintf(t.notice, sizeof(t.notice), "%s", result->notice ? result->notice : "");
}

/* Runs it; CHECKs that there is one answer. */
static inline void run_as(enum console_role role, const char *sql)
{
	t.answers = 0;
	t.rows.len = 0;
	t.row_count = 0;
	admin_run(t.admin, role, "ann", "10.0.0.1:999", sql, test_done, &t);
	CHECK_INT(t.answers, 1);
}

static inline void run(const char *sql)
{
	run_as(CONSOLE_ADMIN, sql);
}

static inline const char *rows(void)
{
	return buf_cstr(&t.rows);
}

static inline void test_close(void)
{
	admin_free(&t.admin);
	for (size_t i = 0; i < t.set_count; i++)
		pool_set_release(&t.sets[i]);
	for (size_t i = 0; i < WORKERS; i++)
		pools_free(&t.workers[i].pools);
	topo_unref(&t.topo);
	conf_unref(&t.conf);
	buf_free(&t.rows);
	if (t.log_path[0]) {
		struct err err;
		log_set_file(NULL, &err);
		unlink(t.log_path);
	}
}

#define TEST_CONF \
	"[pgshunt]\nauth_file = u\nconsistency = eventual\nadmin_users = ann\ndefault_pool_size = 7\nstats_period = 60\n" \
	"[nodes]\npg1 = host=127.0.0.1 port=5432\npg2 = host=127.0.0.1 port=5433\n" \
	"[databases]\napp = dbname=app_real pool_size=5\n* =\n[users]\nreport = pool_size=3\n" \
	"[peers]\n2 = host=10.0.0.2\n3 = host=/run/pgshunt-3 port=6433 pool_size=9\n"

static inline void test_open(const char *nodes)
{
	test_close();
	memset(&t, 0, sizeof(t));
	t.shutdown = -1;
	log_set_level(LOG_FATAL);
	t.conf = test_conf_load(TEST_CONF);
	t.topo = topo_fixture(nodes);
	for (size_t i = 0; i < WORKERS; i++) {
		struct fake_worker *w = &t.workers[i];
		struct pool_env env = { .stats = &w->stats, .node_stats = w->nodes, .worker = i };

		list_init(&w->sessions.sessions);
		w->sessions.conf = t.conf;
		w->sessions.topo = t.topo;
		w->pools = pools_new(&env, t.conf, t.topo);
	}
	t.admin = admin_new(&(struct admin_env){ .send_round = test_send_round, .conf = test_conf, .topo = test_topo,
		                                 .reload = test_reload, .shutdown = test_shutdown });
}

__attribute__((destructor)) static void test_end(void)
{
	test_close();
}

/* A pool of one worker; its counters. */
static inline struct stats_pool *with_pool(size_t worker, const char *database, const char *user)
{
	struct pools *pools = t.workers[worker].pools;

	t.sets[t.set_count] = pool_set_get(pools, database, conf_database_find(t.conf, database), user, NULL);
	return pool_set_stats(t.sets[t.set_count++]);
}

/* From now on the log goes where log_text() reads it. */
static inline void catch_log(void)
{
	struct err err;
	int fd;

	strcpy(t.log_path, "/tmp/admin_log.XXXXXX");
	fd = mkstemp(t.log_path);
	ENSURE(fd != -1 && log_set_file(t.log_path, &err));
	close(fd);
	log_set_level(LOG_INFO);
}

static inline bool is_logged(const char *part)
{
	char text[8192];
	int fd = open(t.log_path, O_RDONLY);
	ssize_t len = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[MAX(len, 0)] = '\0';
	return strstr(text, part) != NULL;
}

#endif
