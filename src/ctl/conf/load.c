#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf_private.h"

#define SECRET_FILE_MAX 8192

/* ---- values ---- */

/* Length of NAME in "${NAME}" at text, 0 when it isn't one. */
static size_t variable_len(const char *text)
{
	const char *at = text + 2;

	if (!isalpha((unsigned char)*at) && *at != '_')
		return 0;
	while (isalnum((unsigned char)*at) || *at == '_')
		at++;
	return *at == '}' ? (size_t)(at - text - 2) : 0;
}

/* At "${": appends the variable's value and returns what follows; NULL when there is an error. */
static const char *expand_one(struct load *load, struct place place, const char *key, const char *at, struct buf *out)
{
	size_t len = variable_len(at);
	char *name = mem_strndup(at + 2, len);
	const char *value = len ? getenv(name) : NULL;

	if (value)
		buf_add_str(out, value);
	else if (len)
		LOAD_ERROR(load, place, "%s: the environment has no variable %s", key, name);
	else
		LOAD_ERROR(load, place, "%s: expected ${NAME} (write $${ for a plain ${)", key);
	mem_free(name);
	return value ? at + len + 3 : NULL;
}

char *load_expand(struct load *load, struct place place, const char *key, const char *text)
{
	struct buf out = { 0 };
	char *copy = NULL;

	while (text && *text) {
		if (strncmp(text, "$${", 3) == 0) {
			buf_add_str(&out, "${");
			text += 3;
		} else if (strncmp(text, "${", 2) == 0) {
			text = expand_one(load, place, key, text, &out);
		} else {
			buf_add_u8(&out, (uint8_t)*text++);
		}
	}
	if (text)
		copy = arena_strdup(&load->box->arena, buf_cstr(&out));
	mem_wipe(out.data, out.len);
	buf_free(&out);
	return copy;
}

static void warn_unused(struct load *load, struct place place, const char *where, const struct option *option)
{
	if (option->flags & NOT_YET)
		LOAD_WARNING(load, place, "%s%s is accepted but not in force yet", where, option->name);
	if (option->flags & NO_EFFECT)
		LOAD_WARNING(load, place, "%s%s has no effect: %s", where, option->name, option->text);
}

static bool parse_into(struct load *load, struct place place, const char *where, const struct option *option, const char *written,
	char *value, void *base)
{
	struct err err = { 0 };

	if (option_parse(option, value, base, &err))
		return true;
	if (option->flags & SECRET)
		LOAD_ERROR(load, place, "%s%s: %s", where, option->name, err.text);
	else
		LOAD_ERROR(load, place, "%s%s = \"%.80s\": %s", where, option->name, written, err.text);
	return false;
}

bool load_value(struct load *load, struct place place, const char *where, const struct option *option, const char *text, void *base)
{
	char *value = load_expand(load, place, option->name, text);

	if (!value || !parse_into(load, place, where, option, text, value, base))
		return false;
	check_value(load, place, where, option, base);
	if (option->scope == OPTION_ROW || option->flags & NO_EFFECT)
		warn_unused(load, place, where, option);
	else if (value[0] && !option_equal(option, base, option_base_const(option, &load->defaults)))   /* empty = off: as it is */
		warn_unused(load, place, where, option);
	return true;
}

/* ---- [pgshunt] ---- */

/* NAME_file of a secret NAME: its row; NULL when key isn't one. */
static const struct option *find_secret_file(const char *key)
{
	size_t len = strlen(key);
	char name[64];

	if (len < 6 || len - 5 >= sizeof(name) || strcmp(key + len - 5, "_file") != 0)
		return NULL;
	memcpy(name, key, len - 5);
	name[len - 5] = '\0';
	for (size_t i = 0; i < conf_option_count; i++) {
		if (conf_option_rows[i].flags & SECRET && strcmp(conf_option_rows[i].name, name) == 0)
			return &conf_option_rows[i];
	}
	return NULL;
}

/* The file's text without the end of its last line. */
static char *read_secret(struct load *load, const struct conf_item *item, const char *path)
{
	size_t len;
	char *text = reader_slurp(path, SECRET_FILE_MAX, &len), *copy;

	if (!text) {
		LOAD_ERROR(load, item->place, "%s: cannot read \"%s\": %s", item->key, path, strerror(errno));
		return NULL;
	}
	len = strlen(text);
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		text[--len] = '\0';
	copy = arena_strdup(&load->box->arena, text);
	mem_wipe(text, len);
	mem_free(text);
	return copy;
}

static void set_secret_file(struct load *load, const struct conf_item *item, const struct option *option)
{
	void *base = option_base(option, load->conf);
	char *path = load_expand(load, item->place, item->key, item->value);
	char *secret = path ? read_secret(load, item, path) : NULL;

	/* Straight to the field: a ${ in a file is nothing special. */
	if (secret && parse_into(load, item->place, "", option, "${file}", secret, base))
		warn_unused(load, item->place, "", option);
}

static void report_unknown(struct load *load, const struct conf_item *item)
{
	struct hint hint;

	LOAD_ERROR(load, item->place, "unknown key \"%.64s\"%s", item->key, report_hint(&hint, item->key, conf_option_names));
}

/* PgBouncer lets the last of two win and says nothing; we don't guess. */
static bool is_duplicate(struct load *load, const struct conf_item *item, const struct option *option)
{
	struct place *seen = &load->seen[option - conf_option_rows];

	if (seen->file) {
		LOAD_ERROR(load, item->place, "duplicate key %s (the first stands at %s:%u)", item->key, seen->file, seen->line);
		return true;
	}
	*seen = (struct place){ arena_strdup(&load->box->arena, item->place.file), item->place.line };
	return false;
}

static void main_key(struct load *load, const struct conf_item *item)
{
	const struct option *option = option_find(conf_option_rows, conf_option_count, item->key);
	const struct option *secret = option ? NULL : find_secret_file(item->key);

	if (!option && !secret)
		report_unknown(load, item);
	else if (is_duplicate(load, item, option ? option : secret))
		return;
	else if (secret)
		set_secret_file(load, item, secret);
	else
		load_value(load, item->place, "", option, item->value, option_base(option, load->conf));
}

/* ---- the whole ---- */

struct section {
	const char *name;
	void (*key)(struct load *load, const struct conf_item *item);
};
static const struct section load_sections[] = {
	{ "pgshunt", main_key }, { "nodes", nodes_row }, { "databases", databases_row }, { "users", users_row },
	{ "rules", rules_row }, { "peers", peers_row }
};

static void on_item(void *owner, const struct conf_item *item)
{
	for (size_t i = 0; i < ARRAY_LEN(load_sections); i++) {
		if (strcmp(load_sections[i].name, item->section) == 0)
			load_sections[i].key(owner, item);
	}
}

static void set_defaults(struct conf *conf)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct option *option = &conf_option_rows[i];
		struct err err = { 0 };
		ENSURE(option_parse(option, option->default_text, option_base(option, conf), &err));
	}
}

static const void *keep(struct arena *arena, const void *rows, size_t count, size_t bytes)
{
	void *copy = arena_alloc(arena, count * bytes);

	if (count)
		memcpy(copy, rows, count * bytes);
	return copy;
}

static void keep_rows(struct load *load)
{
	struct arena *arena = &load->box->arena;
	struct conf *conf = load->conf;

	conf->nodes = keep(arena, load->nodes, load->node_count, sizeof(*load->nodes));
	conf->databases = keep(arena, load->databases, load->database_count, sizeof(*load->databases));
	conf->users = keep(arena, load->users, load->user_count, sizeof(*load->users));
	conf->peers = keep(arena, load->peers, load->peer_count, sizeof(*load->peers));
	conf->node_count = load->node_count;
	conf->database_count = load->database_count;
	conf->user_count = load->user_count;
	conf->peer_count = load->peer_count;
}

static void load_free(struct load *load)
{
	mem_free(load->seen);
	mem_free(load->nodes);
	mem_free(load->node_places);
	mem_free(load->databases);
	mem_free(load->database_places);
	mem_free(load->users);
	mem_free(load->user_places);
	mem_free(load->routes);
	mem_free(load->hosts);
	mem_free(load->peers);
	mem_free(load->peer_places);
	mem_free(load->rules);
	mem_free(load->rule_places);
}

struct conf *conf_load(const char *path, struct conf_report *report)
{
	struct conf_box *box = mem_alloc(sizeof(*box));
	struct load load = { .report = report, .box = box, .conf = &box->conf };
	bool is_read;

	atomic_init(&box->refs, 1);
	load.seen = mem_alloc(conf_option_count * sizeof(*load.seen));
	box->conf.path = arena_strdup(&box->arena, path);
	box->conf.version = 1;
	set_defaults(&load.defaults);
	box->conf.opt = load.defaults.opt;
	box->conf.policy = load.defaults.policy;
	*report = (struct conf_report){ NULL, 0, 0 };
	is_read = reader_run(path, report, on_item, &load);
	nodes_from_hosts(&load);
	keep_rows(&load);
	if (is_read)
		check_whole(&load);
	load_free(&load);
	if (report->errors == 0)
		return &box->conf;
	arena_free(&box->arena);
	mem_free(box);
	return NULL;
}

struct conf *conf_ref(struct conf *conf)
{
	atomic_fetch_add_explicit(&((struct conf_box *)conf)->refs, 1, memory_order_relaxed);
	return conf;
}

void conf_unref(struct conf **conf)
{
	struct conf_box *box = (struct conf_box *)*conf;

	*conf = NULL;
	if (!box || atomic_fetch_sub_explicit(&box->refs, 1, memory_order_acq_rel) != 1)
		return;
	arena_free(&box->arena);
	mem_free(box);
}
