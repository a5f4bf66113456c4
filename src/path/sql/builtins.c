#include "builtins.h"

#include <stdlib.h>
#include <strings.h>

/* functions.def is written with the short names of sql.h's enums. */
enum { READ = BUILTIN_READ, PRIMARY = BUILTIN_PRIMARY };
enum {
	PLANNED = 1 << 30, TX_START = SQL_F_TX_START, CURSOR = SQL_F_CURSOR, EXTERNAL = SQL_F_EXTERNAL,
	RELEASES = SQL_F_RELEASES, DEFAULTS = SQL_F_DEFAULTS
};
enum {
	SETTING = SQL_PIN_SETTING, TEMP = SQL_PIN_TEMP, LISTEN = SQL_PIN_LISTEN, ADVISORY = SQL_PIN_ADVISORY, HOLD = SQL_PIN_HOLD,
	SEED = SQL_PIN_SEED, FUNCTION = SQL_PIN_FUNCTION, SEQUENCE = SQL_PIN_SEQUENCE, PREPARE = SQL_PIN_PREPARE
};

#define FUNCTION(name, effect, flags, pins, uses) \
	{ name, (enum builtin_effect)(effect), ((flags) & PLANNED) != 0, (flags) & ~PLANNED, pins, uses },
static const struct builtin special_functions[] = {
#include "functions.def"
};
#undef FUNCTION

static const char *const read_functions[] = {
#include "builtin_read.def"
};
static const char *const node_functions[] = {
#include "builtin_node.def"
};
static const char *const operators[] = {
#include "builtin_operators.def"
};
static const char *const types[] = {
#include "builtin_types.def"
};
static const char *const session_settings[] = {
#include "builtin_settings.def"
};

/* Views of pg_catalog whose rows are the node's or the session's own; those of the statistics by their prefix. pg_sequences is
 * one because a standby sees a sequence's value ahead of the primary's (it is logged 32 values in advance). */
static const char *const node_views[] = {
	"pg_backend_memory_contexts", "pg_cursors", "pg_file_settings", "pg_hba_file_rules", "pg_ident_file_mappings", "pg_locks",
	"pg_prepared_statements", "pg_prepared_xacts", "pg_replication_origin_status", "pg_replication_slots", "pg_sequences",
	"pg_settings", "pg_shmem_allocations"
};
static const char *const node_view_prefixes[] = { "pg_stat_", "pg_statio_", "pg_stat_xact_" };

static const char *const scalar_functions[] = {
#include "builtin_scalar.def"
};

static int compare_names(const void *key, const void *item)
{
	return strcmp(key, *(const char *const *)item);
}

static int compare_special(const void *key, const void *item)
{
	return strcmp(key, ((const struct builtin *)item)->name);
}

static bool is_in(const char *name, const char *const *names, size_t count)
{
	return bsearch(name, names, count, sizeof(*names), compare_names) != NULL;
}

const struct builtin *builtin_function(const char *name)
{
	static const struct builtin plain_read = { .effect = BUILTIN_READ }, plain_node = { .effect = BUILTIN_NODE };
	/* dblink stands for every extension that reaches out: by its prefix, for none of it is built in. */
	static const struct builtin external = { .effect = BUILTIN_UNKNOWN, .flags = SQL_F_EXTERNAL, .pins = SQL_PIN_FUNCTION };
	static const struct builtin unknown = { .effect = BUILTIN_UNKNOWN, .pins = SQL_PIN_FUNCTION };
	const struct builtin *found = bsearch(name, special_functions, ARRAY_LEN(special_functions), sizeof(*found), compare_special);

	if (found)
		return found;
	if (is_in(name, read_functions, ARRAY_LEN(read_functions)))
		return &plain_read;
	if (is_in(name, node_functions, ARRAY_LEN(node_functions)))
		return &plain_node;
	return strncmp(name, "dblink", 6) == 0 ? &external : &unknown;
}

bool builtin_is_scalar(const char *name)
{
	return is_in(name, scalar_functions, ARRAY_LEN(scalar_functions));
}

bool builtin_is_operator(const char *name)
{
	return is_in(name, operators, ARRAY_LEN(operators));
}

bool builtin_is_type(const char *name)
{
	return is_in(name, types, ARRAY_LEN(types));
}

bool builtin_is_node_view(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(node_view_prefixes); i++)
		if (strncmp(name, node_view_prefixes[i], strlen(node_view_prefixes[i])) == 0)
			return true;
	return is_in(name, node_views, ARRAY_LEN(node_views));
}

bool builtin_is_catalog(const char *name)
{
	return strncmp(name, "pg_", 3) == 0;
}

bool builtin_is_session_setting(const char *name)
{
	if (strchr(name, '.'))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(session_settings); i++)
		if (strcasecmp(name, session_settings[i]) == 0)
			return true;
	return false;
}
