/* What is checked beyond a single value's range: values that aren't built yet, and what only the whole file can tell. */
#include <stdio.h>
#include <stdlib.h>

#include "conf_private.h"

#define BIT(n) (1U << (n))

/* Values that the table has and that aren't built. ERROR: refused. A default is warned of too, unless it is to be set in silence. */
struct value_rule {
	const char *option;
	unsigned built;                 /* bit an enum value */
	enum conf_severity severity;
	bool silent_default;
	const char *text;
};
static const struct value_rule value_rules[] = {
	{ "auth_type", BIT(CONF_AUTH_TRUST) | BIT(CONF_AUTH_PLAIN) | BIT(CONF_AUTH_MD5) | BIT(CONF_AUTH_SCRAM), CONF_ERROR, false,
		"is not built yet" },
	{ "load_balance", BIT(LB_ROUND_ROBIN), CONF_WARNING, false, "is not in force yet: runs as round_robin" },
	{ "transaction_routing", BIT(TX_PRIMARY), CONF_WARNING, true, "is not in force yet: transactions run at the primary for now" },
	{ "consistency", BIT(CONS_EVENTUAL) | BIT(CONS_BOUNDED) | BIT(CONS_READ_YOUR_WRITES), CONF_WARNING, false,
		"is not in force yet: reads go to the primary until this level is built" },
	{ "consistency_scope", BIT(SCOPE_CONNECTION), CONF_WARNING, false,
		"is not in force yet: reads go to the primary until this scope is built" },
	{ "topology", BIT(TOPOLOGY_SQL), CONF_ERROR, false, "is not built yet" },
};

static const struct value_rule *find_rule(const struct option *option)
{
	for (size_t i = 0; i < ARRAY_LEN(value_rules); i++) {
		if (option->type == OPTION_ENUM && strcmp(value_rules[i].option, option->name) == 0)
			return &value_rules[i];
	}
	return NULL;
}

static void note_route(struct load *load, struct place place, const struct option *option, const void *base)
{
	const char *route;

	memcpy(&route, (const char *)base + option->offset, sizeof(route));
	load->routes = mem_realloc(load->routes, (load->route_count + 1) * sizeof(*load->routes));
	place.file = arena_strdup(&load->box->arena, place.file);
	load->routes[load->route_count++] = (struct route_use){ place, route };
}

void check_value(struct load *load, struct place place, const char *where, const struct option *option, const void *base)
{
	const struct value_rule *rule = find_rule(option);
	int value;

	if (strcmp(option->name, "route") == 0)
		note_route(load, place, option, base);
	if (!rule)
		return;
	value = option_enum(option, base);
	if (!(rule->built & BIT(value)))
		report_add(load->report, rule->severity, place, "%s%s = %s %s", where, option->name, option->names[value], rule->text);
}

/* ---- the whole ---- */

static struct place file_itself(const struct load *load)
{
	return (struct place){ load->conf->path, 0 };
}

/* Where an option was set; else the file as such. */
static struct place place_of(const struct load *load, const char *name)
{
	const struct option *option = option_find(conf_option_rows, conf_option_count, name);
	struct place place = load->seen[option - conf_option_rows];

	return place.file ? place : file_itself(load);
}

static void check_defaults(struct load *load)
{
	for (size_t i = 0; i < ARRAY_LEN(value_rules); i++) {
		const struct option *option = option_find(conf_option_rows, conf_option_count, value_rules[i].option);
		if (!value_rules[i].silent_default && !load->seen[option - conf_option_rows].file)
			check_value(load, place_of(load, option->name), "", option, option_base_const(option, load->conf));
	}
}

static bool same_address(const struct conf_node *a, const struct conf_node *b)
{
	const char *at_a = a->hostaddr ? a->hostaddr : a->host, *at_b = b->hostaddr ? b->hostaddr : b->host;

	return a->port == b->port && strcmp(at_a, at_b) == 0;
}

static void check_nodes(struct load *load)
{
	if (load->node_count == 0)
		LOAD_ERROR(load, file_itself(load), "no nodes: [nodes] needs at least one row, as pg1 = host=127.0.0.1 port=5432");
	if (load->node_count > CONF_NODES_MAX)
		LOAD_ERROR(load, load->node_places[CONF_NODES_MAX], "more than %d nodes", CONF_NODES_MAX);
	for (size_t i = 0; i < MIN(load->node_count, (size_t)CONF_NODES_MAX); i++) {
		for (size_t k = 0; k < i; k++) {
			if (same_address(&load->nodes[i], &load->nodes[k]))
				LOAD_ERROR(load, load->node_places[i], "node %s has the same address as node %s", load->nodes[i].name,
					load->nodes[k].name);
		}
	}
}

static bool has_target(const struct load *load, enum conf_route route, const char *name)
{
	for (size_t i = 0; i < load->node_count; i++) {
		if (strcmp(route == ROUTE_NODE ? load->nodes[i].name : load->nodes[i].label, name) == 0)
			return true;
	}
	return false;
}

static void report_target(struct load *load, const struct route_use *use, enum conf_route route, const char *name)
{
	const char **names = mem_alloc((load->node_count + 1) * sizeof(*names));
	struct hint hint;

	for (size_t i = 0; i < load->node_count; i++)
		names[i] = route == ROUTE_NODE ? load->nodes[i].name : load->nodes[i].label;
	LOAD_ERROR(load, use->place, "route = %.80s: no node has this %s%s", use->route, route == ROUTE_NODE ? "name" : "label",
		report_hint(&hint, name, names));
	mem_free(names);
}

static void check_routes(struct load *load)
{
	for (size_t i = 0; i < load->route_count; i++) {
		struct err err = { 0 };
		enum conf_route route;
		const char *name;
		if (!conf_parse_route(load->routes[i].route, &route, &name, &err))
			continue;
		if ((route == ROUTE_NODE || route == ROUTE_LABEL) && !has_target(load, route, name))
			report_target(load, &load->routes[i], route, name);
	}
}

static bool is_unbounded(const struct conf_policy *policy)
{
	return policy->consistency == CONS_BOUNDED && policy->max_lag_bytes == 0 && policy->max_lag_time == 0;
}

#define UNBOUNDED "consistency = bounded needs a limit: max_lag_bytes or max_lag_time"

static bool touches_lag(uint64_t policy_set)
{
	static const char *const names[] = { "consistency", "max_lag_bytes", "max_lag_time" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (policy_set >> option_find_session(names[i])->session_index & 1)
			return true;
	}
	return false;
}

/* A user's overrides meet every database's. */
static void check_bounded_user(struct load *load, size_t user)
{
	struct conf_policy policy;

	for (size_t i = 0; i < load->database_count; i++) {
		conf_policy_of(load->conf, &load->databases[i], &load->users[user], &policy);
		if (!is_unbounded(&policy))
			continue;
		LOAD_ERROR(load, load->user_places[user], "[users] %.64s: in database %.64s " UNBOUNDED, load->users[user].name,
			load->databases[i].name);
		return;
	}
	conf_policy_of(load->conf, NULL, &load->users[user], &policy);
	if (load->database_count == 0 && is_unbounded(&policy))
		LOAD_ERROR(load, load->user_places[user], "[users] %.64s: " UNBOUNDED, load->users[user].name);
}

static void check_bounded(struct load *load)
{
	struct conf_policy policy;

	if (is_unbounded(&load->conf->policy)) {
		LOAD_ERROR(load, place_of(load, "consistency"), UNBOUNDED);
		return;
	}
	for (size_t i = 0; i < load->database_count; i++) {
		conf_policy_of(load->conf, &load->databases[i], NULL, &policy);
		if (is_unbounded(&policy)) {
			LOAD_ERROR(load, load->database_places[i], "[databases] %.64s: " UNBOUNDED, load->databases[i].name);
			return;
		}
	}
	for (size_t i = 0; i < load->user_count; i++) {
		if (touches_lag(load->users[i].policy_set))
			check_bounded_user(load, i);
	}
}

static void check_login(struct load *load)
{
	const struct conf_options *opt = &load->conf->opt;

	if (opt->auth_type != CONF_AUTH_TRUST && *opt->auth_file == '\0')
		LOAD_WARNING(load, place_of(load, "auth_type"), "auth_file is not set: no client can log in");
}

static void check_listen(struct load *load)
{
	const struct conf_options *opt = &load->conf->opt;

	if (*opt->listen_addr == '\0' && *opt->unix_socket_dir == '\0')
		LOAD_ERROR(load, place_of(load, "listen_addr"), "listen_addr and unix_socket_dir are both empty: nothing to listen on");
}

static bool is_loopback(const char *listen, size_t host_len)
{
	static const char *const hosts[] = { "localhost", "::1", "[::1]", NULL };

	for (size_t i = 0; hosts[i]; i++) {
		if (strlen(hosts[i]) == host_len && strncmp(hosts[i], listen, host_len) == 0)
			return true;
	}
	return strncmp(listen, "127.", 4) == 0;
}

static void check_http(struct load *load)
{
	const struct conf_options *opt = &load->conf->opt;
	const char *colon = strrchr(opt->http_listen, ':');
	char *end = NULL;
	long port = colon ? strtol(colon + 1, &end, 10) : 0;

	if (*opt->http_listen == '\0')
		return;
	if (port < 1 || port > 65535 || *end != '\0')
		LOAD_ERROR(load, place_of(load, "http_listen"), "http_listen must be ADDRESS:PORT, or empty");
	else if (!is_loopback(opt->http_listen, (size_t)(colon - opt->http_listen)) && *opt->http_password == '\0')
		LOAD_ERROR(load, place_of(load, "http_listen"), "http_listen is not on loopback: http_password must be set");
}

void check_whole(struct load *load)
{
	static void (*const checks[])(struct load *load) = {
		check_defaults, check_nodes, check_routes, check_bounded, check_login, check_listen, check_http, peers_check
	};

	for (size_t i = 0; i < ARRAY_LEN(checks); i++)
		checks[i](load);
}
