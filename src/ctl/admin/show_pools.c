/* SHOW POOLS, DATABASES, USERS, LISTS, MEM: from what the workers hold and what the configuration says. */
#include <stdio.h>
#include <unistd.h>

#include "private.h"

static const struct conf *conf_of(const struct job *job)
{
	return job->admin->env.conf(job->admin->env.owner);
}

static void pool_mode_of(const struct conf *conf, const struct conf_database *db, const char *user, char *out, size_t len)
{
	struct conf_policy policy = conf->policy;

	if (db)
		conf_policy_of(conf, db, user ? conf_user_find(conf, user) : NULL, &policy);
	conf_policy_show(&policy, "pool_mode", out, len);
}

/* The console's own row, and all others in order. */
static void complete(struct job *job)
{
	struct pool_row *console = gather_pool(&job->gather, CONSOLE_NAME, CONSOLE_NAME);

	console->is_console = true;
	gather_sort(&job->gather);
}

/* ---- POOLS ---- */

#define POOL(name, format, field) COLUMN(pool_row, name, format, field)
static const struct column pool_columns[] = {
	POOL("database", TEXT, database), POOL("user", TEXT, user), POOL("cl_active", INT, cl_active),
	POOL("cl_waiting", INT, cl_waiting), POOL("cl_active_cancel_req", INT, cl_cancel),
	POOL("cl_waiting_cancel_req", INT, cl_cancel), POOL("sv_active", INT, sv_active),
	POOL("sv_active_cancel", INT, sv_active_cancel), POOL("sv_being_canceled", INT, sv_being_canceled),
	POOL("sv_idle", INT, sv_idle), POOL("sv_used", INT, sv_used), POOL("sv_tested", INT, sv_tested),
	POOL("sv_login", INT, sv_login), POOL("maxwait", INT, maxwait_s), POOL("maxwait_us", INT, maxwait_rest_us),
	POOL("pool_mode", CHARS, pool_mode), POOL("load_balance_hosts", TEXT, load_balance_hosts), POOL("sv_pinned", INT, sv_pinned),
};

static void fill_pools(struct job *job)
{
	const struct conf *conf = conf_of(job);

	complete(job);
	for (size_t i = 0; i < job->gather.pool_count; i++) {
		struct pool_row *row = job->gather.pools[i];

		row->maxwait_s = row->maxwait_us / USEC_PER_SEC;
		row->maxwait_rest_us = row->maxwait_us % USEC_PER_SEC;
		if (row->is_console)
			snprintf(row->pool_mode, sizeof(row->pool_mode), "statement");
		else
			pool_mode_of(conf, conf_database_find(conf, row->database), row->user, row->pool_mode, sizeof(row->pool_mode));
		job_put(job, row);
	}
}

/* ---- DATABASES ---- */

struct database_row {
	const char *name, *host, *database, *force_user, *pool_mode, *load_balance_hosts;
	int64_t port, pool_size, min_pool_size, reserve_pool_size, server_lifetime, max_connections, current_connections,
		max_client_connections, current_client_connections, paused, disabled;
};

#define DATABASE(name, format, field) COLUMN(database_row, name, format, field)
static const struct column database_columns[] = {
	DATABASE("name", TEXT, name), DATABASE("host", TEXT, host), DATABASE("port", INT, port), DATABASE("database", TEXT, database),
	DATABASE("force_user", TEXT, force_user), DATABASE("pool_size", INT, pool_size),
	DATABASE("min_pool_size", INT, min_pool_size), DATABASE("reserve_pool_size", INT, reserve_pool_size),
	DATABASE("server_lifetime", INT, server_lifetime), DATABASE("pool_mode", TEXT, pool_mode),
	DATABASE("load_balance_hosts", TEXT, load_balance_hosts), DATABASE("max_connections", INT, max_connections),
	DATABASE("current_connections", INT, current_connections), DATABASE("max_client_connections", INT, max_client_connections),
	DATABASE("current_client_connections", INT, current_client_connections), DATABASE("paused", INT, paused),
	DATABASE("disabled", INT, disabled),
};

/* A host is named once: the text must not change with roles, it is a label in people's graphs. */
static void list_hosts(const struct conf *conf, struct buf *out)
{
	for (size_t i = 0; i < conf->node_count; i++) {
		bool is_new = true;

		for (size_t j = 0; j < i; j++)
			is_new &= strcmp(conf->nodes[j].host, conf->nodes[i].host) != 0;
		if (is_new)
			buf_printf(out, "%s%s", out->len ? "," : "", conf->nodes[i].host);
	}
}

static int64_t given_or(int64_t given, int64_t general)
{
	return given >= 0 ? given : general;
}

static void count_database(const struct gather *gather, struct database_row *row)
{
	for (size_t i = 0; i < gather->pool_count; i++) {
		const struct pool_row *pool = gather->pools[i];

		if (strcmp(pool->database, row->name) != 0)
			continue;
		row->current_connections += pool_row_servers(pool);
		row->current_client_connections += pool->cl_active + pool->cl_waiting;
	}
}

static void put_database(struct job *job, const char *name, const struct conf_database *db, const char *hosts)
{
	const struct conf *conf = conf_of(job);
	const struct conf_options *opt = &conf->opt;
	char mode[32] = "";
	struct database_row row = {
		.name = name, .host = hosts, .port = conf->node_count ? conf->nodes[0].port : 0, .database = db && db->dbname ? db->dbname : name,
		.force_user = db ? db->user : NULL, .pool_size = db ? conf_pool_size(conf, db, NULL) : opt->default_pool_size,
		.min_pool_size = given_or(db ? db->min_pool_size : -1, opt->min_pool_size),
		.reserve_pool_size = given_or(db ? db->reserve_pool_size : -1, opt->reserve_pool_size),
		.server_lifetime = (db ? conf_server_lifetime(conf, db) : opt->server_lifetime) / USEC_PER_SEC,
		.max_connections = given_or(db ? db->max_db_connections : -1, opt->max_db_connections),
		.max_client_connections = opt->max_db_client_connections,
	};

	count_database(&job->gather, &row);
	pool_mode_of(conf, db, NULL, mode, sizeof(mode));
	if (db && db->policy_set && db->policy.pool_mode != conf->policy.pool_mode)
		row.pool_mode = mode;
	job_put(job, &row);
}

static void put_console_database(struct job *job)
{
	struct database_row row = { .name = CONSOLE_NAME, .port = conf_of(job)->opt.listen_port, .database = CONSOLE_NAME,
		                    .force_user = CONSOLE_NAME, .pool_size = 2, .pool_mode = "statement" };

	count_database(&job->gather, &row);
	job_put(job, &row);
}

static const struct conf_database *database_named(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->database_count; i++)
		if (strcmp(conf->databases[i].name, name) == 0)
			return &conf->databases[i];
	return NULL;
}

/* Those in use that aren't configured by name: made by "*", or passed through. i-th row of the sorted pools begins one. */
static bool begins_other_database(const struct job *job, size_t i)
{
	struct pool_row *const *pools = job->gather.pools;

	if (pools[i]->is_console || (i > 0 && strcmp(pools[i]->database, pools[i - 1]->database) == 0))
		return false;
	return !database_named(conf_of(job), pools[i]->database);
}

static void fill_databases(struct job *job)
{
	const struct conf *conf = conf_of(job);
	struct buf hosts = { NULL, 0, 0 };

	complete(job);
	list_hosts(conf, &hosts);
	for (size_t i = 0; i < conf->database_count; i++)
		if (strcmp(conf->databases[i].name, "*") != 0)
			put_database(job, conf->databases[i].name, &conf->databases[i], buf_cstr(&hosts));
	for (size_t i = 0; i < job->gather.pool_count; i++)
		if (begins_other_database(job, i))
			put_database(job, job->gather.pools[i]->database, conf_database_find(conf, job->gather.pools[i]->database),
				buf_cstr(&hosts));
	put_console_database(job);
	buf_free(&hosts);
}

/* ---- USERS ---- */

struct user_row {
	const char *name, *pool_mode;
	char pool_size[24], reserve_pool_size[24];
	int64_t max_connections, current_connections, max_client_connections, current_client_connections;
};

#define USER(name, format, field) COLUMN(user_row, name, format, field)
static const struct column user_columns[] = {
	USER("name", TEXT, name), USER("pool_size", CHARS, pool_size), USER("reserve_pool_size", CHARS, reserve_pool_size),
	USER("pool_mode", TEXT, pool_mode), USER("max_user_connections", INT, max_connections),
	USER("current_connections", INT, current_connections), USER("max_user_client_connections", INT, max_client_connections),
	USER("current_client_connections", INT, current_client_connections),
};

static void print_given(int64_t value, char *out, size_t len)
{
	if (value >= 0)
		snprintf(out, len, "%lld", (long long)value);
}

static const struct user_count *count_of(const struct gather *gather, const char *name)
{
	for (size_t i = 0; i < gather->user_count; i++)
		if (strcmp(gather->users[i]->name, name) == 0)
			return gather->users[i];
	return NULL;
}

static void put_user(struct job *job, const char *name, const struct conf_user *user, const struct user_count *count)
{
	const struct conf *conf = conf_of(job);
	char mode[32] = "";
	struct user_row row = { .name = name, .max_connections = given_or(user ? user->max_user_connections : -1, conf->opt.max_user_connections),
		                .current_connections = count ? count->servers : 0,
		                .max_client_connections = conf->opt.max_user_client_connections,
		                .current_client_connections = count ? count->clients : 0 };

	if (user) {
		print_given(user->pool_size, row.pool_size, sizeof(row.pool_size));
		print_given(user->reserve_pool_size, row.reserve_pool_size, sizeof(row.reserve_pool_size));
		conf_policy_show(&user->policy, "pool_mode", mode, sizeof(mode));
		if (user->policy_set && user->policy.pool_mode != conf->policy.pool_mode)
			row.pool_mode = mode;
	}
	job_put(job, &row);
}

static void fill_users(struct job *job)
{
	const struct conf *conf = conf_of(job);

	complete(job);
	for (size_t i = 0; i < conf->user_count; i++)
		put_user(job, conf->users[i].name, &conf->users[i], count_of(&job->gather, conf->users[i].name));
	for (size_t i = 0; i < job->gather.user_count; i++)
		if (!conf_user_find(conf, job->gather.users[i]->name))
			put_user(job, job->gather.users[i]->name, NULL, job->gather.users[i]);
}

/* ---- LISTS ---- */

struct list_row {
	const char *name;
	int64_t items;
};
static const struct column list_columns[] = { COLUMN(list_row, "list", TEXT, name), COLUMN(list_row, "items", INT, items) };

static int64_t count_databases(const struct job *job)
{
	const struct conf *conf = conf_of(job);
	int64_t count = 1;      /* the console */

	for (size_t i = 0; i < conf->database_count; i++)
		count += strcmp(conf->databases[i].name, "*") != 0;
	for (size_t i = 0; i < job->gather.pool_count; i++)
		count += begins_other_database(job, i);
	return count;
}

static int64_t count_users(const struct job *job)
{
	const struct conf *conf = conf_of(job);
	int64_t count = (int64_t)conf->user_count;

	for (size_t i = 0; i < job->gather.user_count; i++)
		count += conf_user_find(conf, job->gather.users[i]->name) == NULL;
	return count;
}

static void fill_lists(struct job *job)
{
	complete(job);
	{
		const struct list_row rows[] = {
			{ "databases", count_databases(job) }, { "users", count_users(job) }, { "peers", (int64_t)conf_of(job)->peer_count },
			{ "pools", (int64_t)job->gather.pool_count }, { "peer_pools", 0 }, { "free_clients", 0 },
			{ "used_clients", job->gather.clients }, { "login_clients", job->gather.login_clients }, { "free_servers", 0 },
			{ "used_servers", job->gather.servers }, { "dns_names", 0 }, { "dns_zones", 0 }, { "dns_queries", 0 },
			{ "dns_pending", 0 },
		};

		for (size_t i = 0; i < ARRAY_LEN(rows); i++)
			job_put(job, &rows[i]);
	}
}

/* ---- MEM ---- */

struct mem_row {
	const char *name;
	int64_t size, used, free, total;
};
static const struct column mem_columns[] = {
	COLUMN(mem_row, "name", TEXT, name), COLUMN(mem_row, "size", INT, size), COLUMN(mem_row, "used", INT, used),
	COLUMN(mem_row, "free", INT, free), COLUMN(mem_row, "memtotal", INT, total),
};

/* Pages of the process that are in memory; 0 where /proc isn't there. */
static int64_t resident_pages(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long long pages = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%*s %lld", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages;
}

static void fill_mem(struct job *job)
{
	int64_t page = sysconf(_SC_PAGESIZE), pages = resident_pages(), server = (int64_t)sizeof(struct server);
	const struct mem_row rows[] = {
		{ "resident_pages", page, pages, 0, page * pages },
		{ "server_cache", server, job->gather.servers, 0, server * job->gather.servers },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		job_put(job, &rows[i]);
}

const struct view views_pools[] = {
	{ "POOLS", pool_columns, ARRAY_LEN(pool_columns), gather_visit, fill_pools, NULL },
	{ "DATABASES", database_columns, ARRAY_LEN(database_columns), gather_visit, fill_databases, NULL },
	{ "USERS", user_columns, ARRAY_LEN(user_columns), gather_visit, fill_users, NULL },
	{ "LISTS", list_columns, ARRAY_LEN(list_columns), gather_visit, fill_lists, NULL },
	{ "MEM", mem_columns, ARRAY_LEN(mem_columns), gather_visit, fill_mem, NULL },
	{ NULL, NULL, 0, NULL, NULL, NULL },
};
