/* The console: a statement becomes a job, which may travel round the workers, and ends with one answer. */
#include "private.h"

#define VIEW_COLUMNS_MAX 64

struct admin *admin_new(const struct admin_env *env)
{
	struct admin *admin = mem_alloc(sizeof(*admin));

	admin->env = *env;
	list_init(&admin->jobs);
	history_init(&admin->history);
	return admin;
}

static struct job *job_new(struct admin *admin)
{
	struct job *job = mem_alloc(sizeof(*job));

	job->admin = admin;
	job->began_us = time_mono_us();
	job->shutdown = -1;
	list_push(&admin->jobs, &job->link);
	return job;
}

static void job_free(struct job *job)
{
	list_remove(&job->link);
	words_free(&job->words);
	gather_free(&job->gather);
	buf_free(&job->rows);
	buf_free(&job->notice);
	mem_free(job->user);
	mem_free(job->peer);
	mem_free(job);
}

/* No letter is under way any more, or none ever comes back. */
void admin_free(struct admin **admin)
{
	if (!*admin)
		return;
	LIST_EACH_SAFE(pos, &(*admin)->jobs)
		job_free(LIST_ITEM(pos, struct job, link));
	history_free(&(*admin)->history);
	mem_free(*admin);
	*admin = NULL;
}

/* ---- the answer ---- */

static void count_job(const struct job *job)
{
	struct stats_pool *stats = &job->admin->console;
	uint64_t took_us = (uint64_t)(time_mono_us() - job->began_us);

	counter_add(&stats->query_count, 1);
	counter_add(&stats->xact_count, 1);
	counter_add(&stats->query_time, took_us);
	counter_add(&stats->xact_time, took_us);
	counter_add(&stats->bytes_sent, job->rows.len);
}

static void answer(struct job *job)
{
	struct wire_column columns[VIEW_COLUMNS_MAX];
	struct console_result result = { .columns = columns, .rows = &job->rows, .tag = job->tag ? job->tag : "" };

	if (err_is_set(&job->err)) {
		job->rows.len = 0;
		result.err = &job->err;
	} else if (job->single.name) {
		columns[0] = job->single;
		result.column_count = 1;
	} else if (job->view) {
		ENSURE(job->view->count <= VIEW_COLUMNS_MAX);
		view_columns(job->view, columns);
		result.column_count = job->view->count;
	}
	if (job->notice.len)
		result.notice = buf_cstr(&job->notice);
	job->done(job->ticket, &result);
}

void job_done(struct job *job)
{
	struct admin *admin = job->admin;
	int shutdown = job->shutdown;

	if (job->done) {
		count_job(job);
		answer(job);
	}
	job_free(job);
	/* After the answer: it goes ahead of the end on the same way. */
	if (shutdown >= 0)
		admin->env.shutdown(admin->env.owner, shutdown);
}

void job_round(struct job *job, admin_visit_fn *visit, admin_back_fn *back)
{
	job->admin->env.send_round(job->admin->env.owner, visit, back, job);
}

/* ---- SHOW ---- */

static void show_back(void *letter)
{
	struct job *job = letter;

	if (job->view->fill)
		job->view->fill(job);
	job_done(job);
}

void job_show(struct job *job, const struct view *view)
{
	job->view = view;
	job->tag = "SHOW";
	if (view->visit)
		job_round(job, view->visit, show_back);
	else
		show_back(job);
}

/* ---- in ---- */

void admin_run(struct admin *admin, enum console_role role, const char *user, const char *peer, const char *sql, admin_done_fn *done,
               void *ticket)
{
	struct job *job = job_new(admin);

	job->role = role;
	job->user = mem_strdup(user);
	job->peer = mem_strdup(peer);
	job->done = done;
	job->ticket = ticket;
	command_run(job, sql);
}

void admin_log_stats(struct admin *admin)
{
	job_round(job_new(admin), gather_visit, finish_log_line);
}
