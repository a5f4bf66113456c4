#include <stdio.h>

#include "conf_private.h"

/* ---- SHOW CONFIG ---- */

void conf_show(const struct conf *conf, conf_show_fn *fn, void *owner)
{
	struct conf defaults = { 0 };

	for (size_t i = 0; i < conf_option_count; i++) {
		const struct option *option = &conf_option_rows[i];
		struct buf value = { 0 }, plain = { 0 };
		struct err err = { 0 };
		ENSURE(option_parse(option, option->default_text, option_base(option, &defaults), &err));
		option_format(option, option_base_const(option, conf), &value);
		option_format(option, option_base_const(option, &defaults), &plain);
		fn(owner, option->name, buf_cstr(&value), buf_cstr(&plain), !(option->flags & RESTART));
		buf_free(&value);
		buf_free(&plain);
	}
}

/* ---- the answer to RELOAD ---- */

struct diff {
	conf_change_fn *fn;
	void *owner;
};

static void tell(const struct diff *diff, enum conf_change_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void tell(const struct diff *diff, enum conf_change_kind kind, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	diff->fn(diff->owner, kind, text);
}

static void diff_option(const struct diff *diff, const struct option *option, const void *before, const void *after)
{
	enum conf_change_kind kind = option->flags & RESTART ? CONF_NEEDS_RESTART : CONF_APPLIED;
	struct buf was = { 0 }, is = { 0 };

	if (option_equal(option, before, after))
		return;
	option_format(option, before, &was);
	option_format(option, after, &is);
	if (option->flags & SECRET)
		tell(diff, kind, "%s changed", option->name);
	else
		tell(diff, kind, "%s: %.120s -> %.120s", option->name, *buf_cstr(&was) ? buf_cstr(&was) : "(empty)",
			*buf_cstr(&is) ? buf_cstr(&is) : "(empty)");
	buf_free(&was);
	buf_free(&is);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_policy(const struct conf_policy *a, uint64_t set_a, const struct conf_policy *b, uint64_t set_b)
{
	if (set_a != set_b)
		return false;
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct option *option = &conf_option_rows[i];
		if (option->scope == OPTION_SESSION && set_a >> option->session_index & 1 && !option_equal(option, a, b))
			return false;
	}
	return true;
}

static bool same_node(const void *left, const void *right)
{
	const struct conf_node *a = left, *b = right;

	return same_text(a->host, b->host) && same_text(a->hostaddr, b->hostaddr) && a->port == b->port && a->weight == b->weight &&
		same_text(a->label, b->label) && same_text(a->zone, b->zone);
}

static bool same_database(const void *left, const void *right)
{
	const struct conf_database *a = left, *b = right;

	return same_text(a->dbname, b->dbname) && same_text(a->user, b->user) && same_text(a->password, b->password) &&
		same_text(a->connect_query, b->connect_query) && a->pool_size == b->pool_size && a->min_pool_size == b->min_pool_size &&
		a->reserve_pool_size == b->reserve_pool_size && a->max_db_connections == b->max_db_connections &&
		a->server_lifetime == b->server_lifetime && same_policy(&a->policy, a->policy_set, &b->policy, b->policy_set);
}

static bool same_user(const void *left, const void *right)
{
	const struct conf_user *a = left, *b = right;

	return a->pool_size == b->pool_size && a->reserve_pool_size == b->reserve_pool_size &&
		a->max_user_connections == b->max_user_connections && same_policy(&a->policy, a->policy_set, &b->policy, b->policy_set);
}

static bool same_peer(const void *left, const void *right)
{
	const struct conf_peer *a = left, *b = right;

	return same_text(a->host, b->host) && a->port == b->port && a->pool_size == b->pool_size;
}

/* Rows whose struct begins with their name. */
struct rows {
	const char *what;
	const void *rows;
	size_t count, bytes;
	bool (*same)(const void *a, const void *b);
};

static const char *row_name(const void *row)
{
	const char *name;

	memcpy(&name, row, sizeof(name));
	return name;
}

static const void *row_find(const struct rows *in, const char *name)
{
	for (size_t i = 0; i < in->count; i++) {
		const void *row = (const char *)in->rows + i * in->bytes;
		if (strcmp(row_name(row), name) == 0)
			return row;
	}
	return NULL;
}

static void diff_rows(const struct diff *diff, struct rows before, struct rows after)
{
	for (size_t i = 0; i < before.count; i++) {
		const void *row = (const char *)before.rows + i * before.bytes;
		if (!row_find(&after, row_name(row)))
			tell(diff, CONF_APPLIED, "%s %.120s removed", before.what, row_name(row));
	}
	for (size_t i = 0; i < after.count; i++) {
		const void *row = (const char *)after.rows + i * after.bytes;
		const void *was = row_find(&before, row_name(row));
		if (!was)
			tell(diff, CONF_APPLIED, "%s %.120s added", after.what, row_name(row));
		else if (!after.same(was, row))
			tell(diff, CONF_APPLIED, "%s %.120s changed", after.what, row_name(row));
	}
}

static struct rows rows_nodes(const struct conf *conf)
{
	return (struct rows){ "node", conf->nodes, conf->node_count, sizeof(*conf->nodes), same_node };
}

static struct rows rows_databases(const struct conf *conf)
{
	return (struct rows){ "database", conf->databases, conf->database_count, sizeof(*conf->databases), same_database };
}

static struct rows rows_users(const struct conf *conf)
{
	return (struct rows){ "user", conf->users, conf->user_count, sizeof(*conf->users), same_user };
}

static struct rows rows_peers(const struct conf *conf)
{
	return (struct rows){ "peer", conf->peers, conf->peer_count, sizeof(*conf->peers), same_peer };
}

void conf_diff(const struct conf *before, const struct conf *after, conf_change_fn *fn, void *owner)
{
	struct diff diff = { fn, owner };

	for (size_t i = 0; i < conf_option_count; i++)
		diff_option(&diff, &conf_option_rows[i], option_base_const(&conf_option_rows[i], before),
			option_base_const(&conf_option_rows[i], after));
	diff_rows(&diff, rows_nodes(before), rows_nodes(after));
	diff_rows(&diff, rows_databases(before), rows_databases(after));
	diff_rows(&diff, rows_users(before), rows_users(after));
	diff_rows(&diff, rows_peers(before), rows_peers(after));
}
