#include "row.h"

/* ---- [databases] ---- */

struct database_draft {
	struct conf_database row;
	const char *host, *unused_text;
	int64_t port, unused_number;
};

const struct option conf_database_keys[] = {
	ROW_KEY(database_draft, row.dbname, STR, "dbname", 0, 0, 0, "Name on the servers; the same unless given.")
	ROW_KEY(database_draft, host, STR, "host", 0, 0, 0,
		"As in a pgbouncer.ini: each host of the comma list becomes a node, unless [nodes] has it.")
	ROW_KEY(database_draft, port, INT, "port", 1, 65535, 0, "Port of host; 5432 unless given.")
	ROW_KEY(database_draft, row.user, STR, "user", 0, 0, 0, "Server login for all clients of this database, with password.")
	ROW_KEY(database_draft, row.password, STR, "password", 0, 0, SECRET, "See user.")
	ROW_KEY(database_draft, row.connect_query, STR, "connect_query", 0, 0, NOT_YET, "Run on each new server connection.")
	ROW_KEY(database_draft, row.pool_size, INT, "pool_size", 1, 100000, 0, "Server connections a user and node.")
	ROW_KEY(database_draft, row.min_pool_size, INT, "min_pool_size", 0, 100000, 0, "As in [pgshunt].")
	ROW_KEY(database_draft, row.reserve_pool_size, INT, "reserve_pool_size", 0, 100000, 0,
		"As in [pgshunt]; also spelled reserve_pool.")
	ROW_KEY(database_draft, row.max_db_connections, INT, "max_db_connections", 0, 100000, 0, "As in [pgshunt].")
	ROW_KEY(database_draft, unused_number, INT, "max_db_client_connections", 0, 1000000, NOT_YET, "As in [pgshunt].")
	ROW_KEY(database_draft, row.server_lifetime, TIME, "server_lifetime", 0, TIME_MAX, 0, "As in [pgshunt].")
	ROW_KEY(database_draft, unused_text, STR, "auth_user", 0, 0, NOT_YET, "As in [pgshunt].")
	ROW_KEY(database_draft, unused_text, STR, "auth_query", 0, 0, NOT_YET, "As in [pgshunt].")
	ROW_KEY(database_draft, unused_text, STR, "auth_dbname", 0, 0, NOT_YET, "As in [pgshunt].")
	ROW_KEY(database_draft, unused_text, STR, "client_encoding", 0, 0, NOT_YET, "Startup parameter for the servers.")
	ROW_KEY(database_draft, unused_text, STR, "datestyle", 0, 0, NOT_YET, "Startup parameter for the servers.")
	ROW_KEY(database_draft, unused_text, STR, "timezone", 0, 0, NOT_YET, "Startup parameter for the servers.")
	ROW_KEY(database_draft, unused_text, STR, "application_name", 0, 0, NOT_YET, "Startup parameter for the servers.")
	ROW_KEY(database_draft, unused_text, STR, "load_balance_hosts", 0, 0, NO_EFFECT, "Reads are balanced by load_balance.")
	ROW_KEYS_END
};

static bool is_reserved(const char *name)
{
	return strcmp(name, "pgshunt") == 0 || strcmp(name, "pgbouncer") == 0;
}

static void host_add(struct load *load, struct place place, const char *database, const char *hosts, int64_t port)
{
	struct host_use *use;

	load->hosts = mem_realloc(load->hosts, (load->host_count + 1) * sizeof(*load->hosts));
	use = &load->hosts[load->host_count++];
	*use = (struct host_use){ row_place(load, place), database, hosts, port };
}

static void database_add(struct load *load, struct place place, const struct database_draft *draft)
{
	size_t n = load->database_count++;

	load->databases = mem_realloc(load->databases, (n + 1) * sizeof(*load->databases));
	load->database_places = mem_realloc(load->database_places, (n + 1) * sizeof(*load->database_places));
	load->databases[n] = draft->row;
	load->database_places[n] = row_place(load, place);
	if (draft->host)
		host_add(load, place, draft->row.name, draft->host, draft->port);
}

void databases_row(struct load *load, const struct conf_item *item)
{
	struct database_draft draft = { .port = 5432, .row = { .pool_size = -1, .min_pool_size = -1, .reserve_pool_size = -1,
		.max_db_connections = -1, .server_lifetime = -1 } };
	struct row row;

	row_init(&row, load, item, conf_database_keys, &draft);
	row.policy = &draft.row.policy;
	row.policy_set = &draft.row.policy_set;
	draft.row.policy = load->defaults.policy;
	if (is_reserved(item->key))
		LOAD_ERROR(load, item->place, "%sthe name is reserved for the console", row.where);
	if (!row_read(&row))
		return;
	if (row_is_taken(&row, load->databases, load->database_count, sizeof(*load->databases), load->database_places))
		return;
	draft.row.name = arena_strdup(&load->box->arena, item->key);
	database_add(load, item->place, &draft);
}

/* ---- [users] ---- */

struct user_draft {
	struct conf_user row;
	int64_t unused_number;
};

const struct option conf_user_keys[] = {
	ROW_KEY(user_draft, row.pool_size, INT, "pool_size", 1, 100000, 0, "Server connections a database and node.")
	ROW_KEY(user_draft, row.reserve_pool_size, INT, "reserve_pool_size", 0, 100000, 0, "As in [pgshunt].")
	ROW_KEY(user_draft, row.max_user_connections, INT, "max_user_connections", 0, 100000, 0, "As in [pgshunt].")
	ROW_KEY(user_draft, unused_number, INT, "max_user_client_connections", 0, 1000000, NOT_YET, "As in [pgshunt].")
	ROW_KEYS_END
};

void users_row(struct load *load, const struct conf_item *item)
{
	struct user_draft draft = { .row = { .pool_size = -1, .reserve_pool_size = -1, .max_user_connections = -1 } };
	struct row row;
	size_t n = load->user_count;

	row_init(&row, load, item, conf_user_keys, &draft);
	row.policy = &draft.row.policy;
	row.policy_set = &draft.row.policy_set;
	draft.row.policy = load->defaults.policy;
	if (!row_read(&row) || row_is_taken(&row, load->users, load->user_count, sizeof(*load->users), load->user_places))
		return;
	draft.row.name = arena_strdup(&load->box->arena, item->key);
	load->users = mem_realloc(load->users, (n + 1) * sizeof(*load->users));
	load->user_places = mem_realloc(load->user_places, (n + 1) * sizeof(*load->user_places));
	load->users[n] = draft.row;
	load->user_places[n] = row_place(load, item->place);
	load->user_count++;
}
