#include <ctype.h>
#include <stdio.h>

#include "conf_private.h"

/* ---- look-ups ---- */

static const struct conf_database pass_through = {
	.name = "*", .pool_size = -1, .min_pool_size = -1, .reserve_pool_size = -1, .max_db_connections = -1, .server_lifetime = -1
};

static const struct conf_database *find_database(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->database_count; i++) {
		if (strcmp(conf->databases[i].name, name) == 0)
			return &conf->databases[i];
	}
	return NULL;
}

const struct conf_database *conf_database_find(const struct conf *conf, const char *name)
{
	const struct conf_database *db = find_database(conf, name);

	if (conf->database_count == 0)
		return &pass_through;
	return db ? db : find_database(conf, "*");
}

const struct conf_user *conf_user_find(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->user_count; i++) {
		if (strcmp(conf->users[i].name, name) == 0)
			return &conf->users[i];
	}
	return NULL;
}

bool conf_name_listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	while (*list) {
		size_t word;
		list += strspn(list, ", \t");
		word = strcspn(list, ",");
		while (word > 0 && isspace((unsigned char)list[word - 1]))
			word--;
		if (word == len && len > 0 && strncmp(list, name, len) == 0)
			return true;
		list += strcspn(list, ",");
	}
	return false;
}

int64_t conf_pool_size(const struct conf *conf, const struct conf_database *db, const struct conf_user *user)
{
	if (user && user->pool_size >= 0)
		return user->pool_size;
	return db && db->pool_size >= 0 ? db->pool_size : conf->opt.default_pool_size;
}

usec_t conf_server_lifetime(const struct conf *conf, const struct conf_database *db)
{
	return db && db->server_lifetime >= 0 ? db->server_lifetime : conf->opt.server_lifetime;
}

/* ---- per-session options ---- */

static void lay_on(struct conf_policy *out, const struct conf_policy *from, uint64_t set)
{
	for (size_t i = 0; i < conf_option_count && set; i++) {
		const struct option *option = &conf_option_rows[i];
		if (option->session_index >= 0 && set >> option->session_index & 1)
			option_copy(option, out, from);
	}
}

void conf_policy_of(const struct conf *conf, const struct conf_database *db, const struct conf_user *user, struct conf_policy *out)
{
	*out = conf->policy;
	if (db)
		lay_on(out, &db->policy, db->policy_set);
	if (user)
		lay_on(out, &user->policy, user->policy_set);
}

struct route_word {
	const char *text;
	enum conf_route route;
	bool has_name;
};
static const struct route_word route_words[] = {
	{ "auto", ROUTE_AUTO, false }, { "primary", ROUTE_PRIMARY, false }, { "standby", ROUTE_STANDBY, false },
	{ "node:", ROUTE_NODE, true }, { "label:", ROUTE_LABEL, true }
};

bool conf_parse_route(const char *text, enum conf_route *route, const char **name, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(route_words); i++) {
		const struct route_word *word = &route_words[i];
		size_t len = strlen(word->text);
		if (strncmp(text, word->text, len) != 0 || (text[len] != '\0') != word->has_name)
			continue;
		*route = word->route;
		*name = word->has_name ? text + len : NULL;
		return true;
	}
	return err_set(err, "22023", "must be auto, primary, standby, node:NAME or label:NAME");
}

static const struct option *find_client_option(const char *name, struct err *err)
{
	const struct option *option = option_find_session(name);

	if (option && option->flags & CLIENT)
		return option;
	err_set(err, "42704", "unrecognized configuration parameter \"pgshunt.%.64s\"", name);
	return NULL;
}

bool conf_policy_set(struct conf_policy *policy, const char *name, const char *value, struct err *err)
{
	const struct option *option = find_client_option(name, err);
	struct conf_policy next = *policy;
	struct err why = { 0 };

	if (!option)
		return false;
	if (!option_parse(option, value, &next, &why))
		return err_set(err, "22023", "invalid value for parameter \"pgshunt.%s\": \"%.80s\": %s", name, value, why.text);
	if (next.consistency == CONS_BOUNDED && next.max_lag_bytes == 0 && next.max_lag_time == 0) {
		err_set(err, "22023", "consistency \"bounded\" needs a limit");
		return err_hint(err, "Set pgshunt.max_lag_time or pgshunt.max_lag_bytes first.");
	}
	*policy = next;
	return true;
}

bool conf_policy_show(const struct conf_policy *policy, const char *name, char *out, size_t len)
{
	const struct option *option = option_find_session(name);
	struct buf text = { 0 };

	if (!option)
		return false;
	option_format(option, policy, &text);
	snprintf(out, len, "%s", buf_cstr(&text));
	buf_free(&text);
	return true;
}

void conf_policy_reset(struct conf_policy *policy, const struct conf_policy *defaults, const char *name)
{
	const struct option *option = option_find_session(name);

	if (option)
		option_copy(option, policy, defaults);
}
