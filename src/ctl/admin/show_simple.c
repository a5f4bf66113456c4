/* The views that need no worker: HELP, VERSION, CONFIG, STATE, PEERS. */
#include "private.h"

/* ---- HELP ---- */

static void fill_help(struct job *job)
{
	buf_add_str(&job->notice, "Console usage\n\tSHOW ");
	views_list(&job->notice);
	buf_add_str(&job->notice, "\n");
	commands_list(&job->notice);
}

/* ---- VERSION ---- */

struct version_row {
	const char *version;
};
static const struct column version_columns[] = { COLUMN(version_row, "version", TEXT, version) };

static void fill_version(struct job *job)
{
	job_put(job, &(struct version_row){ "pgshunt " PGSHUNT_VERSION });
}

/* ---- CONFIG ---- */

struct config_row {
	const char *key, *value, *default_value, *changeable;
};
static const struct column config_columns[] = {
	COLUMN(config_row, "key", TEXT, key), COLUMN(config_row, "value", TEXT, value), COLUMN(config_row, "default", TEXT, default_value),
	COLUMN(config_row, "changeable", TEXT, changeable),
};

static void put_option(void *owner, const char *key, const char *value, const char *default_value, bool changeable)
{
	job_put(owner, &(struct config_row){ key, value, default_value, changeable ? "yes" : "no" });
}

static void fill_config(struct job *job)
{
	conf_show(job->admin->env.conf(job->admin->env.owner), put_option, job);
}

/* ---- STATE ---- */

struct state_row {
	const char *key, *value;
};
static const struct column state_columns[] = { COLUMN(state_row, "key", TEXT, key), COLUMN(state_row, "value", TEXT, value) };

/* PAUSE and SUSPEND aren't built yet: always active. */
static void fill_state(struct job *job)
{
	static const struct state_row rows[] = { { "active", "yes" }, { "paused", "no" }, { "suspended", "no" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		job_put(job, &rows[i]);
}

/* ---- PEERS ---- */

struct peer_row {
	int64_t peer_id, port, pool_size;
	const char *host;
};
static const struct column peer_columns[] = {
	COLUMN(peer_row, "peer_id", INT, peer_id), COLUMN(peer_row, "host", TEXT, host), COLUMN(peer_row, "port", INT, port),
	COLUMN(peer_row, "pool_size", INT, pool_size),
};

static void fill_peers(struct job *job)
{
	const struct conf *conf = job->admin->env.conf(job->admin->env.owner);

	for (size_t i = 0; i < conf->peer_count; i++) {
		const struct conf_peer *peer = &conf->peers[i];
		job_put(job, &(struct peer_row){ peer->id, peer->port, conf_peer_pool_size(conf, peer), peer->host });
	}
}

const struct view views_simple[] = {
	{ "HELP", NULL, 0, NULL, fill_help, NULL },
	{ "VERSION", version_columns, ARRAY_LEN(version_columns), NULL, fill_version, NULL },
	{ "CONFIG", config_columns, ARRAY_LEN(config_columns), NULL, fill_config, NULL },
	{ "STATE", state_columns, ARRAY_LEN(state_columns), NULL, fill_state, NULL },
	{ "PEERS", peer_columns, ARRAY_LEN(peer_columns), NULL, fill_peers, NULL },
	{ NULL, NULL, 0, NULL, NULL, NULL },
};
