/* Sets of pools by (database, user), and what holds for all pools of a worker: configuration, topology, time, the console's figures. */
#include <stdio.h>

#include "private.h"

/* ---- sets ---- */

static void past_free(struct pool_past *past)
{
	list_remove(&past->link);
	mem_free(past->database);
	mem_free(past->user);
	mem_free(past);
}

static struct pool_past *past_find(struct pools *pools, const char *database, const char *user)
{
	LIST_EACH(pos, &pools->past) {
		struct pool_past *past = LIST_ITEM(pos, struct pool_past, link);
		if (strcmp(past->database, database) == 0 && strcmp(past->user, user) == 0)
			return past;
	}
	return NULL;
}

static void past_keep(const struct pool_set *set)
{
	struct pool_past *past = past_find(set->pools, set->database, set->user);

	if (!past) {
		past = mem_alloc(sizeof(*past));
		past->database = mem_strdup(set->database);
		past->user = mem_strdup(set->user);
		list_push(&set->pools->past, &past->link);
	}
	stats_sum(&past->stats, &set->stats, stats_pool_rows);
}

static void set_free(struct pool_set *set)
{
	past_keep(set);
	list_remove(&set->link);
	for (int i = 0; i < TOPO_NODES_MAX; i++) {
		pool_leave(&set->nodes[i]);
		timer_free(&set->nodes[i].reserve_timer);
	}
	auth_secret_clear(&set->secret);
	conf_unref(&set->conf);
	mem_free(set->database);
	mem_free(set->dbname);
	mem_free(set->user);
	mem_free(set);
}

static struct pool_set *set_new(struct pools *pools, const char *database, const struct conf_database *entry, const char *user)
{
	struct pool_set *set = mem_alloc(sizeof(*set));
	struct pool_past *past;

	set->pools = pools;
	set->database = mem_strdup(database);
	set->dbname = mem_strdup(entry->dbname ? entry->dbname : database);
	set->user = mem_strdup(user);
	set->entry = *entry;
	set->conf = conf_ref(pools->conf);
	for (int i = 0; i < TOPO_NODES_MAX; i++) {
		struct pool *pool = &set->nodes[i];
		pool->set = set;
		pool->node = i;
		list_init(&pool->idle);
		list_init(&pool->lent);
		list_init(&pool->opening);
		list_init(&pool->waiters);
		list_init(&pool->dials);
	}
	list_push(&pools->sets, &set->link);
	past = past_find(pools, set->database, set->user);
	if (past) {
		stats_sum(&set->stats, &past->stats, stats_pool_rows);
		past_free(past);
	}
	return set;
}

static void secret_copy(struct auth_secret *to, const struct auth_secret *from)
{
	struct auth_secret copy;

	auth_secret_copy(&copy, from);
	auth_secret_clear(to);
	*to = copy;
}

struct pool_set *pool_set_get(struct pools *pools, const char *database, const struct conf_database *entry, const char *user,
                              const struct auth_secret *file_secret)
{
	const char *server_user = entry->user ? entry->user : user;
	struct pool_set *set = NULL;

	LIST_EACH(pos, &pools->sets) {
		struct pool_set *s = LIST_ITEM(pos, struct pool_set, link);
		if (strcmp(s->database, database) == 0 && strcmp(s->user, server_user) == 0 && s->conf == pools->conf)
			set = s;
	}
	if (!set)
		set = set_new(pools, database, entry, server_user);
	set->refs++;
	if (set->secret.kind != AUTH_NONE)
		return set;             /* what it has learned since is worth more */
	if (entry->password) {
		struct auth_secret forced = { .kind = AUTH_TEXT, .text = (char *)(uintptr_t)entry->password };
		secret_copy(&set->secret, &forced);
	} else if (file_secret) {
		secret_copy(&set->secret, file_secret);
	}
	return set;
}

void pool_set_release(struct pool_set **set)
{
	if (*set)
		(*set)->refs--;         /* pools_tick() frees it when it holds no server either */
	*set = NULL;
}

/* A key without the password must not push out the password, which can answer any server. */
void pool_set_learn(struct pool_set *set, const struct auth_secret *secret)
{
	if (set->secret.kind == AUTH_TEXT && secret->kind != AUTH_TEXT)
		return;
	secret_copy(&set->secret, secret);
}

static void keep_forced(struct pools *pools, const struct conf_database *entry, const struct auth_users *users)
{
	const struct auth_secret *secret = users ? auth_users_find(users, entry->user) : NULL;
	struct pool_kept *kept = mem_alloc(sizeof(*kept));

	kept->set = pool_set_get(pools, entry->name, entry, entry->user, secret);
	list_push(&pools->kept, &kept->link);
}

static void kept_release(struct pools *pools)
{
	LIST_EACH_SAFE(pos, &pools->kept) {
		struct pool_kept *kept = LIST_ITEM(pos, struct pool_kept, link);
		list_remove(pos);
		pool_set_release(&kept->set);
		mem_free(kept);
	}
}

void pools_keep_forced(struct pools *pools, const struct auth_users *users)
{
	const struct conf *conf = pools->conf;

	for (size_t i = 0; i < conf->database_count; i++) {
		const struct conf_database *entry = &conf->databases[i];
		int64_t min = entry->min_pool_size >= 0 ? entry->min_pool_size : conf->opt.min_pool_size;

		if (entry->user && min > 0 && strcmp(entry->name, "*") != 0)
			keep_forced(pools, entry, users);
	}
}

void pools_set_users(struct pools *pools, const struct auth_users *users)
{
	LIST_EACH(pos, &pools->sets) {
		struct pool_set *set = LIST_ITEM(pos, struct pool_set, link);
		const struct auth_secret *secret = users && !set->entry.password ? auth_users_find(users, set->user) : NULL;

		if (secret && !auth_secret_is_same(&set->secret, secret))
			secret_copy(&set->secret, secret);
	}
}

struct stats_pool *pool_set_stats(struct pool_set *set)
{
	return &set->stats;
}

const char *pool_set_database(const struct pool_set *set)
{
	return set->database;
}

const char *pool_set_user(const struct pool_set *set)
{
	return set->user;
}

/* ---- all pools of a worker ---- */

struct pools *pools_new(const struct pool_env *env, struct conf *conf, const struct topo *topo)
{
	struct pools *pools = mem_alloc(sizeof(*pools));

	pools->env = *env;
	pools->conf = conf_ref(conf);
	pools->topo = topo_ref(topo);
	list_init(&pools->sets);
	list_init(&pools->past);
	list_init(&pools->cancels);
	list_init(&pools->peer_lines);
	list_init(&pools->closings);
	list_init(&pools->kept);
	return pools;
}

static void close_all(struct list *servers, const char *why)
{
	LIST_EACH_SAFE(pos, servers)
		pool_server_close(LIST_ITEM(pos, struct server, link), why);
}

void pools_close_idle(struct pools *pools)
{
	LIST_EACH(pos, &pools->sets)
		for (int i = 0; i < TOPO_NODES_MAX; i++) {
			close_all(&LIST_ITEM(pos, struct pool_set, link)->nodes[i].idle, "shutdown");
			close_all(&LIST_ITEM(pos, struct pool_set, link)->nodes[i].opening, "shutdown");
		}
}

void pools_free(struct pools **pools)
{
	struct desk *desk;
	size_t it = 0;

	if (!*pools)
		return;
	(*pools)->is_ending = true;
	timer_free(&(*pools)->late_timer);
	kept_release(*pools);
	cancels_free(*pools);
	peers_free(*pools);
	pools_close_idle(*pools);
	closings_free(*pools);
	LIST_EACH_SAFE(pos, &(*pools)->sets)
		set_free(LIST_ITEM(pos, struct pool_set, link));
	LIST_EACH_SAFE(pos, &(*pools)->past)
		past_free(LIST_ITEM(pos, struct pool_past, link));
	while ((desk = map_next(&(*pools)->desks, &it)))
		mem_free(desk);
	map_free(&(*pools)->desks);
	conf_unref(&(*pools)->conf);
	topo_unref(&(*pools)->topo);
	mem_free(*pools);
	*pools = NULL;
}

/* Sets made under an older configuration serve the sessions that hold them; new sessions get new sets. */
void pools_set_conf(struct pools *pools, struct conf *conf)
{
	conf_unref(&pools->conf);
	pools->conf = conf_ref(conf);
	kept_release(pools);
	LIST_EACH(pos, &pools->sets)
		for (int i = 0; i < TOPO_NODES_MAX; i++)
			close_all(&LIST_ITEM(pos, struct pool_set, link)->nodes[i].idle, "configuration reloaded");
	pools_look_up_limits(pools);
}

/* now_at: where the node stands in the new topology, when a reload has moved it; TOPO_NODES_MAX - 1 when it is gone. */
static void pool_check_node(struct pool *pool, bool moved, int now_at)
{
	LIST_EACH(pos, &pool->lent) {
		struct server *server = LIST_ITEM(pos, struct server, link);
		server->must_close |= moved;
		server->node = moved ? now_at : server->node;
	}
	LIST_EACH_SAFE(pos, &pool->idle) {
		struct server *server = LIST_ITEM(pos, struct server, link);
		if (moved || !pool_server_is_usable(server))
			pool_server_close(server, "its node has changed");
	}
	LIST_EACH_SAFE(pos, &pool->opening) {
		struct server *server = LIST_ITEM(pos, struct server, link);
		server->must_close |= moved;            /* being reset: closed when it is done */
		if (moved && server->state != SERVER_RESETTING)
			pool_server_close(server, "its node has moved");
	}
	if (moved)
		pool_leave(pool);       /* its accounts are those of the node that was here */
	if (pool->opening_count + pool->lent_count + pool->idle_count == 0)
		pool->retry_at_us = 0;
	if (pool_has_demand(pool))
		pool_serve_later(pool);
}

void pools_set_topo(struct pools *pools, const struct topo *topo)
{
	const struct topo *before = pools->topo;

	pools->topo = topo_ref(topo);
	for (size_t i = 0; i < TOPO_NODES_MAX; i++) {
		bool was = i < before->node_count, is = i < topo->node_count;
		bool moved = was != is || (is && strcmp(before->nodes[i].name, topo->nodes[i].name) != 0);
		bool changed = moved || (is && (before->nodes[i].incarnation != topo->nodes[i].incarnation ||
		                                before->nodes[i].state != topo->nodes[i].state));

		int now_at = was ? topo_find(topo, before->nodes[i].name) : -1;

		if (!changed)
			continue;
		LIST_EACH(pos, &pools->sets)
			pool_check_node(&LIST_ITEM(pos, struct pool_set, link)->nodes[i], moved, now_at >= 0 ? now_at : TOPO_NODES_MAX - 1);
	}
	topo_unref(&before);
}

static bool set_is_unused(const struct pool_set *set)
{
	for (int i = 0; i < TOPO_NODES_MAX; i++)
		if (pool_servers(&set->nodes[i]) || set->nodes[i].waiter_count || !list_is_empty(&set->nodes[i].dials))
			return false;
	return set->refs == 0;
}

void pools_tick(struct pools *pools)
{
	usec_t now = time_mono_us();

	cancels_tick(pools, now);
	peers_tick(pools, now);
	closings_tick(pools, now);
	LIST_EACH_SAFE(pos, &pools->sets) {
		struct pool_set *set = LIST_ITEM(pos, struct pool_set, link);

		for (int i = 0; i < TOPO_NODES_MAX; i++)
			pool_tick(&set->nodes[i], now);
		if (set_is_unused(set))
			set_free(set);
	}
}

uint32_t pools_epoch(const struct pools *pools)
{
	return hub_epoch(pools->env.hub);
}

void pools_bump_epoch(struct pools *pools)
{
	hub_bump_epoch(pools->env.hub);
}

/* ---- for the console ---- */

void pools_each(struct pools *pools, pool_set_fn *fn, void *owner)
{
	LIST_EACH(pos, &pools->sets)
		fn(owner, LIST_ITEM(pos, struct pool_set, link));
}

void pools_each_past(struct pools *pools, pool_past_fn *fn, void *owner)
{
	LIST_EACH(pos, &pools->past) {
		const struct pool_past *past = LIST_ITEM(pos, struct pool_past, link);
		fn(owner, past->database, past->user, &past->stats);
	}
}

/* Idle for so long that they are checked before they are lent. */
static unsigned count_unchecked(const struct pool *pool)
{
	const struct conf_options *opt = &pool->set->pools->conf->opt;
	usec_t now = time_mono_us();
	unsigned count = 0;

	if (!opt->server_check_query[0])
		return 0;
	LIST_EACH(pos, &pool->idle)
		count += now - LIST_ITEM(pos, struct server, link)->idle_since_us > opt->server_check_delay;
	return count;
}

static void count_pool(const struct pool *pool, struct pool_counts *counts)
{
	unsigned unchecked = count_unchecked(pool);

	counts->active += pool->lent_count;
	counts->used += unchecked;
	counts->idle += pool->idle_count - unchecked;
	counts->waiting += pool->waiter_count;
	LIST_EACH(pos, &pool->opening) {
		bool resets = LIST_ITEM(pos, struct server, link)->state == SERVER_RESETTING;
		counts->tested += resets;
		counts->login += !resets;
	}
	LIST_EACH(pos, &pool->lent)
		counts->being_canceled += LIST_ITEM(pos, struct server, link)->cancels > 0;
	if (!list_is_empty(&pool->waiters)) {
		usec_t since = LIST_ITEM(pool->waiters.next, struct pool_waiter, link)->since_us;
		if (!counts->oldest_wait_us || since < counts->oldest_wait_us)
			counts->oldest_wait_us = since;
	}
}

struct pool_counts pool_set_counts(const struct pool_set *set, int node)
{
	struct pool_counts counts = { 0 };

	for (int i = 0; i < TOPO_NODES_MAX; i++)
		if (node == -1 || node == i)
			count_pool(&set->nodes[i], &counts);
	return counts;
}

void pool_set_each_server(struct pool_set *set, pool_server_fn *fn, void *owner)
{
	for (int i = 0; i < TOPO_NODES_MAX; i++) {
		LIST_EACH(pos, &set->nodes[i].lent)
			fn(owner, LIST_ITEM(pos, struct server, link));
		LIST_EACH(pos, &set->nodes[i].idle)
			fn(owner, LIST_ITEM(pos, struct server, link));
		LIST_EACH(pos, &set->nodes[i].opening)
			fn(owner, LIST_ITEM(pos, struct server, link));
	}
}
