/* docs/configuration.md and conf/pgshunt.full.ini, from the tables. */
#include <stdio.h>

#include "conf_private.h"

/* ---- reference ---- */

/* A '|' would end the cell. */
static void add_cell(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '|' || *text == '<')
			buf_add_u8(out, '\\');
		buf_add_u8(out, (uint8_t)*text);
	}
}

static void add_values(struct buf *out, const struct option *option)
{
	struct buf range = { 0 };
	static const char *const kinds[] = {
		[OPTION_STR] = "text", [OPTION_INT] = "number", [OPTION_BOOL] = "", [OPTION_TIME] = "time", [OPTION_SIZE] = "size",
		[OPTION_ENUM] = ""
	};
	size_t len;

	option_range(option, &range);
	len = strcspn(buf_cstr(&range), "(");           /* units are explained once, above */
	buf_add_str(out, kinds[option->type]);
	if (len && *kinds[option->type])
		buf_add_str(out, ", ");
	while (len > 0 && range.data[len - 1] == ' ')
		len--;
	buf_add(out, range.data, len);
	buf_free(&range);
}

static void add_notes(struct buf *out, const struct option *option)
{
	if (option->flags & NOT_YET)
		buf_add_str(out, " *Not in force yet.*");
	if (option->flags & NO_EFFECT)
		buf_add_str(out, " *Accepted for PgBouncer's files, has no effect.*");
	if (option->flags & SECRET && option->scope == OPTION_GLOBAL)
		buf_printf(out, " Also `%s_file`: the path of a file that holds it.", option->name);
}

static void add_default(struct buf *out, const struct option *option)
{
	if (!*option->default_text)
		return;
	buf_add_str(out, "`");
	buf_add_str(out, option->default_text);
	buf_add_str(out, "`");
}

static void add_reference_row(struct buf *out, const struct option *option)
{
	buf_printf(out, "| `%s` | ", option->name);
	add_default(out, option);
	buf_add_str(out, " | ");
	add_values(out, option);
	buf_printf(out, " | %s | %s | ", option->flags & RESTART ? "restart" : "reload",
		option->flags & CLIENT ? "per session, client" : option->scope == OPTION_SESSION ? "per session" : "");
	add_cell(out, option->text);
	add_notes(out, option);
	buf_add_str(out, " |\n");
}

static void add_row_keys(struct buf *out, const struct option *keys)
{
	buf_add_str(out, "| key | value | meaning |\n| --- | --- | --- |\n");
	for (; keys->name; keys++) {
		buf_printf(out, "| `%s` | ", keys->name);
		add_values(out, keys);
		buf_add_str(out, " | ");
		add_cell(out, keys->text);
		add_notes(out, keys);
		buf_add_str(out, " |\n");
	}
}

static const char reference_head[] =
	"# Configuration\n\n"
	"Written by `make docs` from `include/pgshunt/options.def`; change it there.\n\n"
	"The file is PgBouncer's: sections, `key = value`, comments on lines of their own that begin with `;` or `#`, `%include FILE`\n"
	"(from the working directory). `[pgbouncer]` is another name of `[pgshunt]`, and a pgbouncer.ini can be used as it is: the\n"
	"`host=` of its databases becomes the nodes. A key that stands twice, an unknown key, a bad value and a duplicate name are\n"
	"errors; `pgshunt --check CONFIG` prints all of them with file and line.\n\n"
	"- time: bare numbers are seconds (`0.5` too), or with a unit: `500ms`, `30s`, `5min`, `1h`, `1d`, `10us`.\n"
	"- size: bare numbers are bytes, or with a unit: `64kB`, `16MB`, `1GB`, `1TB`.\n"
	"- on or off: also `1`, `0`, `true`, `false`, `yes`, `no`.\n"
	"- `${NAME}` is the value of an environment variable; one that isn't set is an error; `$${` is a plain `${`.\n"
	"- reload, restart: when a change takes effect (RELOAD or SIGHUP, all or nothing; or a new start).\n"
	"- per session: can be overridden in `[databases]` and `[users]`; precedence is user, database, `[pgshunt]`.\n"
	"  client: a client may say it too, as `SET pgshunt.NAME`, at connect, or in a comment.\n\n";

static const char reference_columns[] =
	"| key | default | value | change | scope | meaning |\n| --- | --- | --- | --- | --- | --- |\n";
static const char nodes_head[] =
	"\n## [nodes]\n\n`NAME = key=value ...`: the servers of the cluster, one host each, at most 32. Roles are discovered. No user or\n"
	"password: clients log in as themselves, the monitor as monitor_user.\n\n";
static const char databases_head[] =
	"\n## [databases]\n\n`NAME = key=value ...`: optional; without the section every database name passes through. `*` is every other\n"
	"name. A name of other characters than letters, digits, `_ . -` stands in double quotes, a value with blanks in single quotes\n"
	"(a quote in it doubled). Any option marked per session can stand here too.\n\n";
static const char users_head[] =
	"\n## [users]\n\n`NAME = key=value ...`: overrides for a user. Any option marked per session can stand here too.\n\n";
static const char rules_head[] =
	"\n## [rules]\n\n`NAME = condition=... route=...`: the first rule whose conditions all hold routes the statement. *Not in\n"
	"force yet.*\n\n";
static const char peers_head[] =
	"\n## [peers]\n\n`PEER_ID = key=value ...`: the other processes behind the same port or load balancer (`so_reuseport`), as in\n"
	"PgBouncer; a row for this process itself does no harm. A cancel request comes by a connection of its own, maybe to\n"
	"another process than the one that runs the statement: with `peer_id` set the key that a client gets says whose it is,\n"
	"and the request is passed on, once. (A key of protocol 3.0 under `pool_mode = session` has no room for that: all peers\n"
	"are asked.) All processes of a group must be pgshunt. As they share the port, each needs an address or a\n"
	"`unix_socket_dir` of its own, by which the others reach it (the directory also while it is shutting down, when its\n"
	"port is left to the others):\n\n"
	"```\n[peers]\n1 = host=/run/pgshunt-1\n2 = host=/run/pgshunt-2\n```\n\n";

void conf_write_reference(struct buf *out)
{
	int group = -1;

	buf_add_str(out, reference_head);
	buf_add_str(out, "## [pgshunt]\n");
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct option *option = &conf_option_rows[i];
		if (option->group != group)
			buf_printf(out, "\n### %s\n\n%s", conf_group_title(option->group), reference_columns);
		group = option->group;
		add_reference_row(out, option);
	}
	buf_add_str(out, nodes_head);
	add_row_keys(out, conf_node_keys);
	buf_add_str(out, databases_head);
	add_row_keys(out, conf_database_keys);
	buf_add_str(out, users_head);
	add_row_keys(out, conf_user_keys);
	buf_add_str(out, rules_head);
	add_row_keys(out, conf_rule_keys);
	buf_add_str(out, peers_head);
	add_row_keys(out, conf_peer_keys);
}

/* ---- sample ---- */

/* text as comment lines of at most 100 columns. */
static void add_comment(struct buf *out, const char *text)
{
	while (*text) {
		size_t len = strlen(text);
		if (len > 98) {
			for (len = 98; len > 1 && text[len] != ' '; len--)
				;
		}
		buf_add_str(out, "; ");
		buf_add(out, text, len);
		buf_add_str(out, "\n");
		text += len;
		text += strspn(text, " ");
	}
}

/* Where the default isn't what one would write into a file. */
struct sample_value {
	const char *name, *value;
};
static const struct sample_value sample_values[] = {
	{ "auth_file", "/etc/pgshunt/userlist.txt" }, { "monitor_user", "pgshunt_monitor" }
};

static const char *sample_value(const struct option *option)
{
	for (size_t i = 0; i < ARRAY_LEN(sample_values); i++) {
		if (strcmp(sample_values[i].name, option->name) == 0)
			return sample_values[i].value;
	}
	return option->default_text;
}

static void add_sample_row(struct buf *out, const struct option *option)
{
	struct buf range = { 0 };
	const char *value = sample_value(option);
	bool off = option->flags & (NOT_YET | SECRET);

	option_range(option, &range);
	buf_add_str(out, "\n");
	add_comment(out, option->text);
	if (range.len)
		buf_printf(out, "; %s\n", buf_cstr(&range));
	if (option->flags & NOT_YET)
		buf_add_str(out, "; Not in force yet.\n");
	buf_printf(out, "%s%s =%s%s\n", off ? ";" : "", option->name, *value ? " " : "", value);
	buf_free(&range);
}

static const char sample_head[] =
	"; Every option of pgshunt with its default. Written by `make docs`; docs/configuration.md has the same as a table.\n"
	"; A small file to begin with: pgshunt.minimal.ini. Comments stand on lines of their own.\n\n[pgshunt]\n";

static const char sample_tail[] =
	"\n; The servers, with libpq's keywords: host, hostaddr, port; and weight, label, zone. Roles are discovered.\n"
	"[nodes]\n"
	"pg1 = host=127.0.0.1 port=5432\n"
	"pg2 = host=127.0.0.1 port=5433 weight=1 zone=a\n"
	"pg3 = host=127.0.0.1 port=5434 label=reports\n"
	"\n; Without this section every database name passes through; * is every other name.\n"
	"[databases]\n"
	"* =\n"
	"app_reports = dbname=app route=label:reports consistency=eventual pool_size=5\n"
	"\n; Overrides for a user; they win over those of the database.\n"
	"[users]\n"
	"report = route=label:reports\n"
	"\n; The first rule that matches routes the statement. Not in force yet.\n"
	"[rules]\n"
	";heavy = table=public.events,public.audit route=label:reports\n"
	"\n; The other processes behind this port, by peer_id: cancel requests that are theirs are passed on.\n"
	"[peers]\n"
	"; 2 = host=/run/pgshunt-2 port=6432\n";

void conf_write_sample(struct buf *out)
{
	int group = -1;

	buf_add_str(out, sample_head);
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct option *option = &conf_option_rows[i];
		if (option->flags & NO_EFFECT)
			continue;
		if (option->group != group)
			buf_printf(out, "\n; ---- %s\n", conf_group_title(option->group));
		group = option->group;
		add_sample_row(out, option);
	}
	buf_add_str(out, sample_tail);
}
