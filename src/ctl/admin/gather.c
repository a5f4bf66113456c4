/* What the workers know, summed: one row a (database, user), one a login user. Visits run on the workers' threads, one after the other. */
#include <stdlib.h>

#include "private.h"

static struct hash128 key_of(const char *database, const char *user)
{
	struct buf text = { NULL, 0, 0 };
	struct hash128 key;

	buf_add_cstr(&text, database);
	buf_add_cstr(&text, user);
	key = hash_bytes(text.data, text.len);
	buf_free(&text);
	return key;
}

/* Grows by doubling: count is a power of two when the array is full. */
static void *grow(void *items, size_t count, size_t item_bytes)
{
	bool is_full = count == 0 || (count & (count - 1)) == 0;

	return is_full ? mem_realloc(items, MAX(count * 2, 1) * item_bytes) : items;
}

struct pool_row *gather_pool(struct gather *gather, const char *database, const char *user)
{
	struct hash128 key = key_of(database, user);
	struct pool_row *row = map_get(&gather->pools_by_key, key);

	if (row)
		return row;
	row = mem_alloc(sizeof(*row));
	row->database = mem_strdup(database);
	row->user = mem_strdup(user);
	map_put(&gather->pools_by_key, key, row);
	gather->pools = grow(gather->pools, gather->pool_count, sizeof(struct pool_row *));
	gather->pools[gather->pool_count++] = row;
	return row;
}

static struct user_count *gather_user(struct gather *gather, const char *name)
{
	struct hash128 key = key_of("", name);
	struct user_count *row = map_get(&gather->users_by_key, key);

	if (row)
		return row;
	row = mem_alloc(sizeof(*row));
	row->name = mem_strdup(name);
	map_put(&gather->users_by_key, key, row);
	gather->users = grow(gather->users, gather->user_count, sizeof(struct user_count *));
	gather->users[gather->user_count++] = row;
	return row;
}

/* ---- visits ---- */

struct visit {
	struct gather *gather;
	const struct conf *conf;        /* the worker's */
	usec_t now_us;
};

/* Clients are counted where their servers are: under the forced user of the database, if there is one. */
static struct pool_row *row_of_client(struct visit *visit, const struct session_view *view)
{
	const struct conf_database *db;

	if (view->is_console)
		return gather_pool(visit->gather, CONSOLE_NAME, CONSOLE_NAME);
	db = conf_database_find(visit->conf, view->database);
	return gather_pool(visit->gather, view->database, db && db->user ? db->user : view->user);
}

static void count_client(void *owner, const struct session_view *view)
{
	struct visit *visit = owner;
	struct pool_row *row;

	if (strcmp(view->state, "login") == 0) {
		visit->gather->login_clients++;
		return;
	}
	if (strcmp(view->state, "closed") == 0)
		return;
	visit->gather->clients++;
	gather_user(visit->gather, view->is_console ? CONSOLE_NAME : view->user)->clients++;
	row = row_of_client(visit, view);
	if (strcmp(view->state, "waiting") == 0)
		row->cl_waiting++;
	else
		row->cl_active++;
	row->sv_pinned += view->is_pinned;
	row->maxwait_us = MAX(row->maxwait_us, view->wait_us);
}

static void count_pool(void *owner, struct pool_set *set)
{
	struct visit *visit = owner;
	struct pool_row *row = gather_pool(visit->gather, pool_set_database(set), pool_set_user(set));
	struct pool_counts counts = pool_set_counts(set, -1);
	int64_t servers = pool_row_servers(row);

	row->has_pool = true;
	row->sv_active += (int64_t)counts.active - counts.being_canceled;
	row->sv_active_cancel += counts.active_cancel;
	row->sv_being_canceled += counts.being_canceled;
	row->sv_idle += counts.idle;
	row->sv_used += counts.used;
	row->sv_tested += counts.tested;
	row->sv_login += counts.login;
	if (counts.oldest_wait_us)
		row->maxwait_us = MAX(row->maxwait_us, visit->now_us - counts.oldest_wait_us);
	stats_sum(&row->stats, pool_set_stats(set), stats_pool_rows);
	servers = pool_row_servers(row) - servers;
	visit->gather->servers += servers;
	gather_user(visit->gather, pool_set_user(set))->servers += servers;
}

static void sum_nodes(struct gather *gather, const struct stats_node *nodes)
{
	if (!gather->nodes)
		gather->nodes = mem_alloc(TOPO_NODES_MAX * sizeof(*gather->nodes));
	for (size_t i = 0; nodes && i < TOPO_NODES_MAX; i++)
		stats_sum(&gather->nodes[i], &nodes[i], stats_node_rows);
}

static void count_past(void *owner, const char *database, const char *user, const struct stats_pool *stats)
{
	struct visit *visit = owner;

	stats_sum(&gather_pool(visit->gather, database, user)->stats, stats, stats_pool_rows);
}

void gather_visit(void *letter, struct admin_worker *worker)
{
	struct job *job = letter;
	struct visit visit = { &job->gather, worker->sessions->conf, time_mono_us() };

	sessions_each(worker->sessions, count_client, &visit);
	if (worker->pools) {
		pools_each(worker->pools, count_pool, &visit);
		pools_each_past(worker->pools, count_past, &visit);
	}
	sum_nodes(&job->gather, worker->node_stats);
}

/* ---- afterwards ---- */

int64_t pool_row_servers(const struct pool_row *row)
{
	return row->sv_active + row->sv_active_cancel + row->sv_being_canceled + row->sv_idle + row->sv_used + row->sv_tested + row->sv_login;
}

static int compare_pools(const void *a, const void *b)
{
	const struct pool_row *left = *(struct pool_row *const *)a, *right = *(struct pool_row *const *)b;
	int order = strcmp(left->database, right->database);

	return order ? order : strcmp(left->user, right->user);
}

static int compare_users(const void *a, const void *b)
{
	return strcmp((*(struct user_count *const *)a)->name, (*(struct user_count *const *)b)->name);
}

void gather_sort(struct gather *gather)
{
	if (gather->pool_count)
		qsort(gather->pools, gather->pool_count, sizeof(struct pool_row *), compare_pools);
	if (gather->user_count)
		qsort(gather->users, gather->user_count, sizeof(struct user_count *), compare_users);
}

void gather_free(struct gather *gather)
{
	for (size_t i = 0; i < gather->pool_count; i++) {
		mem_free(gather->pools[i]->database);
		mem_free(gather->pools[i]->user);
		mem_free(gather->pools[i]);
	}
	for (size_t i = 0; i < gather->user_count; i++) {
		mem_free(gather->users[i]->name);
		mem_free(gather->users[i]);
	}
	mem_free(gather->pools);
	mem_free(gather->users);
	mem_free(gather->nodes);
	map_free(&gather->pools_by_key);
	map_free(&gather->users_by_key);
	*gather = (struct gather){ .pools = NULL };
}
