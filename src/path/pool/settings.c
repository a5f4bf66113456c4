/* Settings of sessions: interned lists, and the SQL that leads from one to another. */
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "private.h"

/* PostgreSQL makes a placeholder of a name with a dot, and no RESET takes it away: it stays, '' instead of unknown. */
static bool is_custom(const char *name)
{
	return strchr(name, '.') != NULL;
}

struct settings_table {
	struct map by_id;
};

struct settings_table *settings_table_new(void)
{
	return mem_alloc(sizeof(struct settings_table));
}

void settings_table_free(struct settings_table **table)
{
	if (!*table)
		return;
	ENSURE((*table)->by_id.used == 0);
	map_free(&(*table)->by_id);
	mem_free(*table);
	*table = NULL;
}

static struct hash128 settings_hash(const struct setting *items, size_t count)
{
	struct buf text = { NULL, 0, 0 };
	struct hash128 id;

	for (size_t i = 0; i < count; i++) {
		buf_add_cstr(&text, items[i].name);
		buf_add_u8(&text, items[i].sql != NULL);
		buf_add_cstr(&text, items[i].sql ? items[i].sql : items[i].value);
	}
	id = hash_bytes(text.data, text.len);
	buf_free(&text);
	return id;
}

struct settings *settings_intern(struct settings_table *table, const struct setting *items, size_t count)
{
	struct hash128 id;
	struct settings *settings;

	if (count == 0)
		return NULL;
	id = settings_hash(items, count);
	settings = map_get(&table->by_id, id);
	if (settings)
		return settings_ref(settings);
	settings = mem_alloc(sizeof(*settings) + count * sizeof(struct setting));
	settings->id = id;
	settings->refs = 1;
	settings->count = count;
	settings->table = table;
	for (size_t i = 0; i < count; i++)
		settings->items[i] = (struct setting){ mem_strdup(items[i].name), mem_strdup(items[i].value), mem_strdup(items[i].sql) };
	map_put(&table->by_id, id, settings);
	return settings;
}

struct settings *settings_ref(struct settings *settings)
{
	if (settings)
		settings->refs++;
	return settings;
}

void settings_unref(struct settings **settings)
{
	struct settings *s = *settings;

	*settings = NULL;
	if (!s || --s->refs)
		return;
	map_remove(&s->table->by_id, s->id);
	for (size_t i = 0; i < s->count; i++) {
		mem_free((char *)(uintptr_t)s->items[i].name);
		mem_free((char *)(uintptr_t)s->items[i].value);
		mem_free((char *)(uintptr_t)s->items[i].sql);
	}
	mem_free(s);
}

const struct setting *settings_find(const struct settings *settings, const char *name)
{
	for (size_t i = 0; settings && i < settings->count; i++)
		if (strcasecmp(settings->items[i].name, name) == 0)
			return &settings->items[i];
	return NULL;
}

/* ---- changing a list ---- */

static void add_identifier(struct buf *sql, const char *name)
{
	buf_add_u8(sql, '"');
	for (; *name; name++) {
		if (*name == '"')
			buf_add_u8(sql, '"');
		buf_add_u8(sql, (uint8_t)*name);
	}
	buf_add_u8(sql, '"');
}

static void replace(struct settings_table *table, struct settings **list, const char *without, const struct setting *last)
{
	size_t most = (*list ? (*list)->count : 0) + 1, count = 0;
	struct setting *items = mem_alloc(most * sizeof(*items));
	struct settings *before = *list;

	for (size_t i = 0; before && i < before->count; i++)
		if (strcasecmp(before->items[i].name, without) != 0)
			items[count++] = before->items[i];
	if (last)
		items[count++] = *last;
	*list = settings_intern(table, items, count);
	settings_unref(&before);
	mem_free(items);
}

void settings_put(struct settings_table *table, struct settings **list, const struct setting *item)
{
	replace(table, list, item->name, item);
}

void settings_put_reset(struct settings_table *table, struct settings **list, const char *name)
{
	struct buf sql = { NULL, 0, 0 };
	struct setting item = { name, NULL, NULL };

	buf_add_str(&sql, "RESET ");
	add_identifier(&sql, name);
	item.sql = buf_cstr(&sql);
	replace(table, list, name, &item);
	buf_free(&sql);
}

void settings_drop(struct settings_table *table, struct settings **list, const char *name)
{
	if (settings_find(*list, name))
		replace(table, list, name, NULL);
}

void settings_discard(struct settings **list)
{
	struct settings *before = *list, *after = NULL;

	for (size_t i = 0; before && i < before->count; i++)
		if (is_custom(before->items[i].name))
			settings_put_reset(before->table, &after, before->items[i].name);
	*list = after;
	settings_unref(&before);
}

/* ---- SQL ---- */

/* E'' with every quote and backslash doubled reads the same whatever standard_conforming_strings says. */
static void add_literal(struct buf *sql, const char *text)
{
	buf_add_str(sql, "E'");
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			buf_add_u8(sql, (uint8_t)*text);
		buf_add_u8(sql, (uint8_t)*text);
	}
	buf_add_u8(sql, '\'');
}

/* set_config() rather than SET: it takes the value as the start-up packet does (search_path = 'a, b' is a list). */
static void add_set_config(struct buf *sql, const struct setting *item, bool is_local)
{
	buf_add_str(sql, "pg_catalog.set_config(");
	add_literal(sql, item->name);
	buf_add_u8(sql, ',');
	add_literal(sql, item->value);
	buf_add_str(sql, is_local ? ",true)" : ",false)");
}

static bool is_list_of_names(const char *name)
{
	static const char *const names[] = { "search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcasecmp(names[i], name) == 0)
			return true;
	return false;
}

/* One name of a list as SplitIdentifierString() reads it; returns what follows, NULL where it isn't one. */
static const char *add_listed_name(struct buf *sql, const char *at)
{
	struct buf name = { NULL, 0, 0 };
	bool is_quoted;

	at += strspn(at, " \t\n");
	is_quoted = *at == '"';
	for (at += is_quoted; *at && (is_quoted ? *at != '"' || at[1] == '"' : !strchr(", \t\n\"", *at)); at++) {
		buf_add_u8(&name, (uint8_t)(is_quoted ? *at : tolower((unsigned char)*at)));
		at += is_quoted && *at == '"';
	}
	at = is_quoted && *at != '"' ? "?" : at + is_quoted;
	at += strspn(at, " \t\n");
	add_literal(sql, buf_cstr(&name));
	buf_free(&name);
	return *at == ',' || !*at ? at : NULL;
}

static bool add_name_list(struct buf *sql, const char *value)
{
	const char *at = value;

	do {
		if (at != value) {
			buf_add_u8(sql, ',');
			at++;
		}
		at = add_listed_name(sql, at);
	} while (at && *at);
	return at != NULL;
}

/* SET, for set_config() would be a query: no SET TRANSACTION could follow. */
void settings_echo(const struct setting *item, bool is_local, struct buf *sql)
{
	struct buf set = { NULL, 0, 0 };
	bool is_said = true;

	buf_add_str(&set, is_local ? "SET LOCAL " : "SET ");
	add_identifier(&set, item->name);
	buf_add_str(&set, " TO ");
	if (is_list_of_names(item->name))
		is_said = add_name_list(&set, item->value);
	else
		add_literal(&set, item->value);
	if (is_said) {
		buf_add(sql, set.data, set.len);
	} else {
		buf_add_str(sql, "SELECT ");
		add_set_config(sql, item, is_local);
	}
	buf_add_u8(sql, ';');
	buf_free(&set);
}

static void add_item(struct buf *sql, const struct setting *item)
{
	if (item->sql) {
		buf_add_str(sql, item->sql);
	} else {
		buf_add_str(sql, "SELECT ");
		add_set_config(sql, item, false);
	}
	buf_add_u8(sql, ';');
}

/* The servers are opened without start-up options: RESET leads to the role's and the database's defaults. */
static void add_reset(struct buf *sql, const struct setting *item)
{
	if (strcasecmp(item->name, "session_authorization") == 0) {
		buf_add_str(sql, "RESET SESSION AUTHORIZATION;");
		return;
	}
	buf_add_str(sql, "RESET ");
	add_identifier(sql, item->name);
	buf_add_u8(sql, ';');
}

static bool is_identity(const struct setting *item)
{
	return strcasecmp(item->name, "role") == 0 || strcasecmp(item->name, "session_authorization") == 0;
}

static bool has_identity(const struct settings *settings)
{
	for (size_t i = 0; settings && i < settings->count; i++)
		if (is_identity(&settings->items[i]))
			return true;
	return false;
}

static bool is_equal(const struct setting *a, const struct setting *b)
{
	if (!a || !b || !a->sql != !b->sql)
		return false;
	return strcmp(a->sql ? a->sql : a->value, b->sql ? b->sql : b->value) == 0;
}

/* Has a message of its own: see lay_encoding(). */
static bool is_encoding(const struct setting *item)
{
	return strcasecmp(item->name, "client_encoding") == 0;
}

/* Who may set what hangs on the role of that moment: all is taken back by the login's own rights and done again in its order. */
static void add_all(const struct settings *from, const struct settings *to, struct buf *sql)
{
	buf_add_str(sql, "RESET SESSION AUTHORIZATION;RESET ROLE;");
	for (size_t i = 0; from && i < from->count; i++)
		if (!is_identity(&from->items[i]) && !is_encoding(&from->items[i]) && !is_custom(from->items[i].name))
			add_reset(sql, &from->items[i]);
	for (size_t i = 0; to && i < to->count; i++)
		if (!is_encoding(&to->items[i]))
			add_item(sql, &to->items[i]);
}

static void add_differences(const struct settings *from, const struct settings *to, struct buf *sql)
{
	for (size_t i = 0; from && i < from->count; i++)
		if (!is_encoding(&from->items[i]) && !settings_find(to, from->items[i].name))
			add_reset(sql, &from->items[i]);
	for (size_t i = 0; to && i < to->count; i++)
		if (!is_encoding(&to->items[i]) && !is_equal(settings_find(from, to->items[i].name), &to->items[i]))
			add_item(sql, &to->items[i]);
}

/* A message is read in the encoding that holds when it arrives: values that were recorded in another must not come with the change. */
static bool lay_encoding(const struct settings *from, const struct settings *to, struct buf *messages)
{
	const struct setting *before = settings_find(from, "client_encoding"), *after = settings_find(to, "client_encoding");
	struct buf sql = { NULL, 0, 0 };

	if (before == after || is_equal(before, after))
		return false;
	if (after)
		add_item(&sql, after);
	else
		add_reset(&sql, before);
	wire_put_query(messages, buf_cstr(&sql));
	buf_free(&sql);
	return true;
}

unsigned settings_lay(const struct settings *from, const struct settings *to, struct buf *messages)
{
	struct buf sql = { NULL, 0, 0 };
	unsigned count;

	if (from == to)
		return 0;
	count = lay_encoding(from, to, messages);
	if (has_identity(from) || has_identity(to))
		add_all(from, to, &sql);
	else
		add_differences(from, to, &sql);
	if (sql.len) {
		wire_put_query(messages, buf_cstr(&sql));
		count++;
	}
	buf_free(&sql);
	return count;
}

enum settings_fit settings_fit(const struct settings *have, const struct settings *want)
{
	if (have == want)
		return FIT_SAME;
	for (size_t i = 0; have && i < have->count; i++)
		if (is_custom(have->items[i].name) && !settings_find(want, have->items[i].name))
			return FIT_NEVER;
	return FIT_LAY;
}
