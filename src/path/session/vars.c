/* pgshunt.* settings of a session: a table of names, each with what setting, resetting and showing it means. */
#include <stdio.h>
#include <strings.h>

#include "private.h"

static struct session_vars *vars_of(struct session *s)
{
	if (!s->vars) {
		s->vars = mem_alloc(sizeof(*s->vars));
		s->vars->policy = s->policy ? *s->policy : s->conf->policy;
	}
	return s->vars;
}

typedef bool set_fn(struct session *s, const char *value, struct err *err);
typedef void show_fn(struct session *s, char *out, size_t len);

static bool set_route(struct session *s, const char *value, struct err *err)
{
	struct session_vars *vars;
	enum conf_route route;
	const char *name;

	if (!conf_parse_route(value ? value : "auto", &route, &name, err))
		return false;
	if (route == ROUTE_NODE && topo_find(s->env->topo, name) == -1) {
		err_set(err, "22023", "there is no node \"%s\"", name);
		return err_hint(err, "SHOW NODES in the console lists the nodes.");
	}
	if (!session_policy(s)->client_overrides) {
		err_set(err, "42501", "pgshunt.route can't be set: client_overrides is off");
		return err_hint(err, "The administrator's routes and rules hold.");
	}
	vars = vars_of(s);
	vars->has_route = value != NULL;
	vars->route = route;
	mem_free(vars->route_name);
	vars->route_name = mem_strdup(name);
	return true;
}

static void show_route(struct session *s, char *out, size_t len)
{
	static const char *const names[] = { "auto", "primary", "standby", "node:", "label:" };

	if (s->vars && s->vars->has_route)
		snprintf(out, len, "%s%s", names[s->vars->route], s->vars->route_name ? s->vars->route_name : "");
	else
		snprintf(out, len, "%s", session_policy(s)->route);
}

static bool set_trace(struct session *s, const char *value, struct err *err)
{
	static const char *const on[] = { "on", "true", "yes", "1" }, *const off[] = { "off", "false", "no", "0" };

	for (size_t i = 0; i < ARRAY_LEN(on); i++) {
		if (value && strcasecmp(value, on[i]) == 0)
			return vars_of(s)->trace = true;
		if (!value || strcasecmp(value, off[i]) == 0)
			return vars_of(s)->trace = false, true;
	}
	err_set(err, "22023", "invalid value for pgshunt.trace: \"%s\"", value);
	return err_hint(err, "Use on or off.");
}

static void show_trace(struct session *s, char *out, size_t len)
{
	snprintf(out, len, "%s", s->vars && s->vars->trace ? "on" : "off");
}

static void show_last_node(struct session *s, char *out, size_t len)
{
	bool known = s->last_node >= 0 && (size_t)s->last_node < s->env->topo->node_count;

	snprintf(out, len, "%s", known ? s->env->topo->nodes[s->last_node].name : "");
}

static void show_last_reason(struct session *s, char *out, size_t len)
{
	if (s->last_node < 0)
		snprintf(out, len, "%s", "");
	else
		route_reason_text(s->last_reason, s->last_reason_name[0] ? s->last_reason_name : NULL, out, len);
}

static const struct var {
	const char *name;
	set_fn *set;            /* NULL: read only; the value NULL resets */
	show_fn *show;
} var_table[] = {
	{ "route", set_route, show_route },
	{ "trace", set_trace, show_trace },
	{ "last_node", NULL, show_last_node },
	{ "last_reason", NULL, show_last_reason },
};

/* Names of the contract that have an issue of their own. */
static const char *const not_yet[] = { "lsn", "wait_for_lsn", "causality_key" };

static bool unknown(const char *name, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(not_yet); i++)
		if (strcasecmp(not_yet[i], name) == 0) {
			err_set(err, "0A000", "pgshunt.%s is not built yet", name);
			return err_hint(err, "Use pgshunt.route = primary where a read must see another session's write.");
		}
	err_set(err, "42704", "unrecognized configuration parameter \"pgshunt.%s\"", name);
	return err_hint(err, "Known: route, consistency, consistency_wait, max_lag_bytes, max_lag_time, trace, last_node, last_reason.");
}

/* A level that isn't built yet never runs as a weaker one: its reads go to the primary, and whoever asks for it hears so. */
const char *vars_warning(const struct session *s, const char *name)
{
	switch ((enum conf_consistency)session_policy(s)->consistency) {
	case CONS_MONOTONIC:
	case CONS_SESSION:
	case CONS_STRONG:
		return strcasecmp(name, "consistency") == 0 ? "pgshunt: this consistency level is not built yet: reads go to the primary" : NULL;
	case CONS_EVENTUAL:
	case CONS_BOUNDED:
	case CONS_READ_YOUR_WRITES:
		break;
	}
	return NULL;
}

static const struct var *var_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(var_table); i++)
		if (strcasecmp(var_table[i].name, name) == 0)
			return &var_table[i];
	return NULL;
}

static struct session_vars *vars_copy(const struct session_vars *vars)
{
	struct session_vars *copy = NULL;

	if (!vars)
		return NULL;
	copy = mem_alloc(sizeof(*copy));
	*copy = *vars;
	copy->route_name = mem_strdup(vars->route_name);
	return copy;
}

/* A change inside a transaction is undone with it. */
static void keep_for_rollback(struct session *s)
{
	if (s->tx == 'I' || s->vars_are_kept)
		return;
	s->vars_are_kept = true;
	s->vars_begin = vars_copy(s->vars);
	record_watch(s);
}

bool vars_set(struct session *s, const char *name, const char *value, struct err *err)
{
	const struct var *var = var_find(name);
	char now[256];

	if (!value)
		return vars_reset(s, name, err);
	keep_for_rollback(s);
	if (!var && !conf_policy_show(session_policy(s), name, now, sizeof(now)))
		return unknown(name, err);
	if (var && !var->set)
		return err_set(err, "55P02", "parameter \"pgshunt.%s\" cannot be changed", name);
	if (var ? var->set(s, value, err) : conf_policy_set(&vars_of(s)->policy, name, value, err))
		return true;
	return err->hint[0] ? false : err_hint(err, "SHOW pgshunt.%s tells the value in force.", name);
}

bool vars_reset(struct session *s, const char *name, struct err *err)
{
	const struct var *var = var_find(name);
	char now[256];

	if (var && !var->set)
		return err_set(err, "55P02", "parameter \"pgshunt.%s\" cannot be changed", name);
	keep_for_rollback(s);
	if (var)
		return var->set(s, NULL, err);
	if (!conf_policy_show(session_policy(s), name, now, sizeof(now)))
		return unknown(name, err);
	conf_policy_reset(&vars_of(s)->policy, s->policy ? s->policy : &s->conf->policy, name);
	return true;
}

bool vars_show(struct session *s, const char *name, char *out, size_t len, struct err *err)
{
	const struct var *var = var_find(name);

	if (var) {
		var->show(s, out, len);
		return true;
	}
	return conf_policy_show(session_policy(s), name, out, len) || unknown(name, err);
}

/* ---- SET LOCAL ---- */

void vars_free(struct session_vars **vars)
{
	if (*vars)
		mem_free((*vars)->route_name);
	mem_free(*vars);
	*vars = NULL;
}

void vars_set_local(struct session *s)
{
	if (!s->vars_outer)
		s->vars_outer = vars_copy(vars_of(s));
}

void vars_end_transaction(struct session *s)
{
	if (!s->vars_outer)
		return;
	vars_free(&s->vars);
	s->vars = s->vars_outer;
	s->vars_outer = NULL;
}

/* ---- COMMIT and ROLLBACK, RESET ALL and DISCARD ALL ---- */

void vars_commit(struct session *s)
{
	vars_free(&s->vars_begin);
	s->vars_are_kept = false;
}

void vars_rollback(struct session *s)
{
	if (!s->vars_are_kept)
		return;
	vars_free(&s->vars);
	vars_free(&s->vars_outer);
	s->vars = s->vars_begin;
	s->vars_begin = NULL;
	s->vars_are_kept = false;
}

void vars_logged_in(struct session *s)
{
	s->vars_startup = vars_copy(s->vars);
}

void vars_reset_all(struct session *s)
{
	keep_for_rollback(s);
	vars_free(&s->vars);
	s->vars = vars_copy(s->vars_startup);
}
