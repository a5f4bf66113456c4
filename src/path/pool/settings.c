/* Settings of sessions: interned lists, and the SQL that leads from one to another. */
#include <stdio.h>
#include <strings.h>

#include "private.h"

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
		buf_add_cstr(&text, items[i].value);
	}
	id = hash_bytes(text.data, text.len);
	buf_free(&text);
	return id;
}

struct settings *settings_intern(struct settings_table *table, const struct setting *items, size_t count)
{
	struct hash128 id = settings_hash(items, count);
	struct settings *settings;

	if (count == 0)
		return NULL;
	settings = map_get(&table->by_id, id);
	if (settings)
		return settings_ref(settings);
	settings = mem_alloc(sizeof(*settings) + count * sizeof(struct setting));
	settings->id = id;
	settings->refs = 1;
	settings->count = count;
	settings->table = table;
	for (size_t i = 0; i < count; i++)
		settings->items[i] = (struct setting){ mem_strdup(items[i].name), mem_strdup(items[i].value) };
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
	}
	mem_free(s);
}

static const char *settings_value(const struct settings *settings, const char *name)
{
	for (size_t i = 0; settings && i < settings->count; i++)
		if (strcasecmp(settings->items[i].name, name) == 0)
			return settings->items[i].value;
	return NULL;
}

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

static void add_name(struct buf *sql, const char *name)
{
	for (const char *part = name; part; part = strchr(part, '.') ? strchr(part, '.') + 1 : NULL) {
		if (part != name)
			buf_add_u8(sql, '.');
		buf_add_u8(sql, '"');
		for (const char *c = part; *c && *c != '.'; c++) {
			if (*c == '"')
				buf_add_u8(sql, '"');
			buf_add_u8(sql, (uint8_t)*c);
		}
		buf_add_u8(sql, '"');
	}
}

/* RESET for what is gone: the servers are opened without start-up options, so it leads to the role's and database's defaults.
 * set_config() rather than SET: it takes the value as the start-up packet does (search_path = 'a, b' is a list). */
void settings_diff(const struct settings *from, const struct settings *to, struct buf *sql)
{
	size_t begun = sql->len;

	if (from == to)
		return;
	for (size_t i = 0; from && i < from->count; i++) {
		if (settings_value(to, from->items[i].name))
			continue;
		buf_add_str(sql, "RESET ");
		add_name(sql, from->items[i].name);
		buf_add_u8(sql, ';');
	}
	for (size_t i = 0; to && i < to->count; i++) {
		const char *before = settings_value(from, to->items[i].name);

		if (before && strcmp(before, to->items[i].value) == 0)
			continue;
		buf_add_str(sql, "SELECT pg_catalog.set_config(");
		add_literal(sql, to->items[i].name);
		buf_add_u8(sql, ',');
		add_literal(sql, to->items[i].value);
		buf_add_str(sql, ",false);");
	}
	if (sql->len == begun)
		buf_add_str(sql, ";");
}
