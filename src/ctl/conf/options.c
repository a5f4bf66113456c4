#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf_private.h"

/* ---- the table ---- */

static const char *const names_pool_mode[] = { "session", "transaction", "statement", NULL };
static const char *const names_auth_type[] = { "trust", "plain", "md5", "scram-sha-256", "cert", "hba", NULL };
static const char *const names_load_balance[] = { "round_robin", "least_conn", "random", "latency", NULL };
static const char *const names_read_from[] = { "standbys", "any", "primary", NULL };
static const char *const names_transaction_routing[] = { "lazy", "lazy_relaxed", "primary", NULL };
static const char *const names_consistency[] = { "eventual", "bounded", "monotonic", "read_your_writes", "session", "strong", NULL };
static const char *const names_consistency_scope[] = { "connection", "user", "database", "global", NULL };
static const char *const names_lost_commit[] = { "error", "warn", "ignore", NULL };
static const char *const names_topology[] = { "sql", "patroni", NULL };
static const char *const names_sslmode[] = { "disable", "allow", "prefer", "require", "verify-ca", "verify-full", NULL };
static const char *const names_NONE[] = { NULL };

_Static_assert(ARRAY_LEN(names_pool_mode) == POOL_STATEMENT + 2, "pool_mode");
_Static_assert(ARRAY_LEN(names_auth_type) == CONF_AUTH_HBA + 2, "auth_type");
_Static_assert(ARRAY_LEN(names_load_balance) == LB_LATENCY + 2, "load_balance");
_Static_assert(ARRAY_LEN(names_read_from) == READ_FROM_PRIMARY + 2, "read_from");
_Static_assert(ARRAY_LEN(names_transaction_routing) == TX_PRIMARY + 2, "transaction_routing");
_Static_assert(ARRAY_LEN(names_consistency) == CONS_STRONG + 2, "consistency");
_Static_assert(ARRAY_LEN(names_consistency_scope) == SCOPE_GLOBAL + 2, "consistency_scope");
_Static_assert(ARRAY_LEN(names_lost_commit) == LOST_IGNORE + 2, "lost_commit");
_Static_assert(ARRAY_LEN(names_topology) == TOPOLOGY_PATRONI + 2, "topology");
_Static_assert(ARRAY_LEN(names_sslmode) == SSLMODE_VERIFY_FULL + 2, "sslmode");

#define GROUPS(G) \
	G(LISTEN, "Process and listening") G(HTTP, "Metrics and health over HTTP") G(POOLING, "Pooling") G(STATE, "Session state") \
	G(AUTH, "Logins") G(SERVERS, "Server connections") G(TIMEOUTS, "Timeouts") G(ROUTING, "Routing") \
	G(CONSISTENCY, "Consistency") G(FAILOVER, "Monitor and failover") G(CLIENT_TLS, "TLS towards clients") \
	G(SERVER_TLS, "TLS towards servers") G(LOG, "Log") G(NETWORK, "Network")
#define GROUP_ENUM(name, title) GROUP_##name,
#define GROUP_TITLE(name, title) title,
enum { GROUPS(GROUP_ENUM) GROUP_COUNT };
static const char *const group_titles[] = { GROUPS(GROUP_TITLE) };

const char *conf_group_title(int group)
{
	return group_titles[group];
}

/* Numbers the SESSION rows: SESSION_INDEX_consistency ... */
enum {
#define OPTION(group, scope, type, name, ...) INDEX_##scope(name)
#define INDEX_SESSION(name) SESSION_INDEX_##name,
#define INDEX_GLOBAL(name)
#include "pgshunt/options.def"
	SESSION_COUNT
#undef OPTION
};
_Static_assert(SESSION_COUNT <= 64, "policy_set has 64 bits");

#define FIELD_SESSION(name) offsetof(struct conf_policy, name)
#define FIELD_GLOBAL(name) offsetof(struct conf_options, name)
#define NUMBER_SESSION(name) SESSION_INDEX_##name
#define NUMBER_GLOBAL(name) -1

const struct option conf_option_rows[] = {
#define OPTION(group_, scope_, type_, name_, default_, min_, max_, values_, flags_, text_) { \
	.name = #name_, .default_text = default_, .min = min_, .max = max_, .names = names_##values_, .text = text_, \
	.offset = FIELD_##scope_(name_), .flags = (flags_), .type = OPTION_##type_, .scope = OPTION_##scope_, \
	.group = GROUP_##group_, .session_index = NUMBER_##scope_(name_) },
#include "pgshunt/options.def"
#undef OPTION
};
const size_t conf_option_count = ARRAY_LEN(conf_option_rows);

const char *const conf_option_names[] = {
#define OPTION(group, scope, type, name, ...) #name,
#include "pgshunt/options.def"
#undef OPTION
	"monitor_password_file", "http_password_file", NULL
};

const struct option *option_find(const struct option *rows, size_t count, const char *name)
{
	for (size_t i = 0; i < count && rows[i].name; i++) {
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	}
	return NULL;
}

const struct option *option_find_session(const char *name)
{
	const struct option *option = option_find(conf_option_rows, conf_option_count, name);

	return option && option->scope == OPTION_SESSION ? option : NULL;
}

/* ---- fields ---- */

static const size_t field_bytes[] = {
	[OPTION_STR] = sizeof(const char *), [OPTION_INT] = sizeof(int64_t), [OPTION_BOOL] = sizeof(bool),
	[OPTION_TIME] = sizeof(usec_t), [OPTION_SIZE] = sizeof(int64_t), [OPTION_ENUM] = sizeof(int)
};

static const char *get_text(const struct option *option, const void *base)
{
	const char *text;

	memcpy(&text, (const char *)base + option->offset, sizeof(text));
	return text;
}

/* A number of any type as int64_t. */
static int64_t get_number(const struct option *option, const void *base)
{
	const char *at = (const char *)base + option->offset;

	if (option->type == OPTION_BOOL)
		return *(const bool *)at;
	return option->type == OPTION_ENUM ? *(const int *)at : *(const int64_t *)at;
}

static void set_number(const struct option *option, void *base, int64_t number)
{
	char *at = (char *)base + option->offset;

	if (option->type == OPTION_BOOL)
		*(bool *)at = number != 0;
	else if (option->type == OPTION_ENUM)
		*(int *)at = (int)number;
	else
		*(int64_t *)at = number;
}

int option_enum(const struct option *option, const void *base)
{
	return (int)get_number(option, base);
}

bool option_equal(const struct option *option, const void *a, const void *b)
{
	if (option->type == OPTION_STR)
		return strcmp(get_text(option, a), get_text(option, b)) == 0;
	return get_number(option, a) == get_number(option, b);
}

void option_copy(const struct option *option, void *to, const void *from)
{
	memcpy((char *)to + option->offset, (const char *)from + option->offset, field_bytes[option->type]);
}

/* ---- text -> value ---- */

struct unit {
	const char *name;
	int64_t factor;
};
/* PostgreSQL's names; largest last. */
static const struct unit time_units[] = {
	{ "us", 1 }, { "ms", USEC_PER_MS }, { "s", USEC_PER_SEC }, { "min", 60 * USEC_PER_SEC }, { "h", 3600 * USEC_PER_SEC },
	{ "d", 86400 * USEC_PER_SEC }, { NULL, 0 }
};
static const struct unit size_units[] = {
	{ "B", 1 }, { "kB", 1024 }, { "MB", INT64_C(1) << 20 }, { "GB", INT64_C(1) << 30 }, { "TB", INT64_C(1) << 40 }, { NULL, 0 }
};

static int64_t unit_factor(const struct unit *units, const char *name)
{
	for (; units->name; units++) {
		if (strcmp(units->name, name) == 0)
			return units->factor;
	}
	return -1;
}

/* "1.5min", "64 kB", ".5": a decimal, and a unit from units or none (then bare is the factor). */
static bool parse_with_unit(const char *text, const struct unit *units, int64_t bare, int64_t *out)
{
	size_t len = strspn(text, "0123456789.");
	const char *unit = text + len + strspn(text + len, " ");
	int64_t factor = *unit ? unit_factor(units, unit) : bare;
	double value;
	char *end;

	if (len == 0 || len > 30 || factor < 0)
		return false;
	value = strtod(text, &end);
	if (end != text + len)
		return false;
	value = value * (double)factor + 0.5;
	if (value >= 9.2e18)
		return false;
	*out = (int64_t)value;
	return true;
}

static bool parse_int(const struct option *option, const char *text, int64_t *out)
{
	char *end;

	if (option->flags & AUTO && strcasecmp(text, "auto") == 0) {
		*out = 0;
		return true;
	}
	errno = 0;
	*out = strtoll(text, &end, 0);          /* base 0, as PgBouncer reads it: 0777 is octal */
	return end != text && *end == '\0' && errno == 0 && !isspace((unsigned char)*text);
}

static bool parse_name(const char *const *names, const char *text, int64_t *out)
{
	for (int i = 0; names[i]; i++) {
		if (strcasecmp(names[i], text) == 0) {
			*out = i;
			return true;
		}
	}
	return false;
}

static bool parse_bool(const char *text, int64_t *out)
{
	static const char *const words[] = { "off", "on", "0", "1", "false", "true", "no", "yes", NULL };

	if (!parse_name(words, text, out))
		return false;
	*out &= 1;
	return true;
}

static bool parse_number(const struct option *option, const char *text, int64_t *out)
{
	switch (option->type) {
	case OPTION_STR: break;
	case OPTION_INT: return parse_int(option, text, out);
	case OPTION_BOOL: return parse_bool(text, out);
	case OPTION_TIME: return parse_with_unit(text, time_units, USEC_PER_SEC, out);
	case OPTION_SIZE: return parse_with_unit(text, size_units, 1, out);
	case OPTION_ENUM: return parse_name(option->names, text, out);
	}
	return false;
}

static bool has_range(const struct option *option)
{
	return option->type == OPTION_INT || option->type == OPTION_TIME || option->type == OPTION_SIZE;
}

/* What is allowed; the value itself is the caller's to show, if it may be shown. */
static bool refuse(const struct option *option, struct err *err)
{
	struct buf range = { 0 };

	option_range(option, &range);
	err_set(err, "22023", "must be %s", buf_cstr(&range));
	buf_free(&range);
	return false;
}

static bool parse_text(const struct option *option, const char *text, void *base, struct err *err)
{
	enum conf_route route;
	const char *name;

	if (option->max && strlen(text) > (size_t)option->max)
		return err_set(err, "22023", "must not be longer than %lld bytes", (long long)option->max);
	if (strcmp(option->name, "route") == 0 && !conf_parse_route(text, &route, &name, err))
		return false;
	memcpy((char *)base + option->offset, &text, sizeof(text));
	return true;
}

bool option_parse(const struct option *option, const char *text, void *base, struct err *err)
{
	int64_t number;

	if (option->type == OPTION_STR)
		return parse_text(option, text, base, err);
	if (!parse_number(option, text, &number))
		return refuse(option, err);
	if (has_range(option) && (number < option->min || number > option->max))
		return refuse(option, err);
	set_number(option, base, number);
	return true;
}

/* ---- value -> text ---- */

/* The largest unit that leaves a whole number. */
static void format_with_unit(const struct unit *units, int64_t number, struct buf *out)
{
	const struct unit *best = &units[0];

	if (number == 0) {
		buf_add_str(out, "0");
		return;
	}
	for (const struct unit *unit = units; unit->name; unit++) {
		if (number % unit->factor == 0)
			best = unit;
	}
	buf_printf(out, "%lld%s", (long long)(number / best->factor), best->name);
}

/* PgBouncer's own keys are shown as PgBouncer shows them: bare seconds, bare bytes. */
static void format_time(const struct option *option, int64_t number, struct buf *out)
{
	if (!(option->flags & PGB))
		format_with_unit(time_units, number, out);
	else if (number % USEC_PER_SEC == 0)
		buf_printf(out, "%lld", (long long)(number / USEC_PER_SEC));
	else
		buf_printf(out, "%.6g", (double)number / (double)USEC_PER_SEC);
}

static void format_size(const struct option *option, int64_t number, struct buf *out)
{
	if (option->flags & PGB)
		buf_printf(out, "%lld", (long long)number);
	else
		format_with_unit(size_units, number, out);
}

static void format_int(const struct option *option, int64_t number, struct buf *out)
{
	if (option->flags & AUTO && number == 0)
		buf_add_str(out, "auto");
	else if (option->flags & OCTAL)
		buf_printf(out, "0%03llo", (unsigned long long)number);
	else
		buf_printf(out, "%lld", (long long)number);
}

static void format_bool(const struct option *option, int64_t number, struct buf *out)
{
	bool digits = option->default_text && isdigit((unsigned char)option->default_text[0]);

	buf_add_str(out, number ? (digits ? "1" : "on") : (digits ? "0" : "off"));
}

static void format_number(const struct option *option, int64_t number, struct buf *out)
{
	switch (option->type) {
	case OPTION_STR: break;
	case OPTION_INT: format_int(option, number, out); break;
	case OPTION_BOOL: format_bool(option, number, out); break;
	case OPTION_TIME: format_time(option, number, out); break;
	case OPTION_SIZE: format_size(option, number, out); break;
	case OPTION_ENUM: buf_add_str(out, option->names[number]); break;
	}
}

void option_format(const struct option *option, const void *base, struct buf *out)
{
	const char *text;

	if (option->type != OPTION_STR) {
		format_number(option, get_number(option, base), out);
		return;
	}
	text = get_text(option, base);
	if (text && *text)
		buf_add_str(out, option->flags & SECRET ? "********" : text);
}

static const char *const unit_help[] = {
	[OPTION_STR] = "", [OPTION_INT] = "", [OPTION_BOOL] = "", [OPTION_ENUM] = "",
	[OPTION_TIME] = " (bare seconds, or us, ms, s, min, h, d)", [OPTION_SIZE] = " (bare bytes, or B, kB, MB, GB, TB)"
};

void option_range(const struct option *option, struct buf *out)
{
	struct option plain = *option;

	if (option->type == OPTION_BOOL)
		buf_add_str(out, "on or off");
	for (int i = 0; option->type == OPTION_ENUM && option->names[i]; i++)
		buf_printf(out, "%s%s", i ? ", " : "one of ", option->names[i]);
	if (!has_range(option))
		return;
	plain.flags &= ~(unsigned)(PGB | AUTO);         /* with units: it is the range that is to be understood */
	if (option->flags & AUTO)
		buf_add_str(out, "auto, or ");
	format_number(&plain, option->flags & AUTO ? MAX(option->min, 1) : option->min, out);
	buf_add_str(out, " to ");
	if (option->type == OPTION_TIME && option->max == TIME_MAX)
		buf_add_str(out, "2147483647s");
	else
		format_number(&plain, option->max, out);
	buf_add_str(out, unit_help[option->type]);
}
