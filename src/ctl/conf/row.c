/* row.c - a row of [nodes], [databases] ...: the list of key=value, and where each value goes.
 *
 * Lexical rules of the list are PgBouncer's (loader.c): pairs between blanks, blanks around '=' allowed, a value with blanks in '...',
 * a quote in it doubled, a backslash is a backslash; an empty value must be quoted. */
#include <stdio.h>

#include "row.h"

/* ---- key=value lists ---- */

struct pairs {
	char *at;
	const char *key;
	char *value;
	bool quoted;
};
enum pair_rc { PAIR_END, PAIR_DONE, PAIR_BAD };

static char *skip_blanks(char *at)
{
	return at + strspn(at, " \t");
}

/* Behind the opening quote; unquotes in place, returns what follows the closing one, NULL when there is none. */
static char *unquote(char *from)
{
	char *to = from;

	for (; *from; from++) {
		if (*from == '\'' && *++from != '\'') {
			*to = '\0';
			return from;
		}
		*to++ = *from;
	}
	return NULL;
}

static enum pair_rc take_value(struct pairs *p, char *at)
{
	char *end;

	p->quoted = *at == '\'';
	p->value = p->quoted ? at + 1 : at;
	if (p->quoted)
		end = unquote(at + 1);
	else
		end = at + strcspn(at, " \t");
	if (!end || end == at || (*end && !strchr(" \t", *end)))
		return PAIR_BAD;
	p->at = *end ? end + 1 : end;
	if (!p->quoted)
		*end = '\0';
	return PAIR_DONE;
}

static enum pair_rc pairs_next(struct pairs *p)
{
	char *key = skip_blanks(p->at), *end, *at;

	if (*key == '\0')
		return PAIR_END;
	end = key + strcspn(key, "= \t");
	at = skip_blanks(end);
	if (*at != '=' || end == key)
		return PAIR_BAD;
	*end = '\0';
	p->key = key;
	return take_value(p, skip_blanks(at + 1));
}

/* ---- a row ---- */

void row_init(struct row *row, struct load *load, const struct conf_item *item, const struct option *keys, void *base)
{
	*row = (struct row){ .load = load, .item = item, .keys = keys, .base = base };
	snprintf(row->where, sizeof(row->where), "[%s] %.64s: ", item->section, item->key);
}

static void names_add(const char **names, size_t *count, const struct option *rows, size_t most, enum option_scope scope)
{
	for (size_t i = 0; i < most && rows[i].name; i++) {
		if (rows[i].scope == scope)
			names[(*count)++] = rows[i].name;
	}
}

static void report_unknown(const struct row *row, const char *key)
{
	const char *names[64 + 64 + 1] = { NULL };
	struct hint hint;
	size_t count = 0;

	names_add(names, &count, row->keys, 64, OPTION_ROW);
	if (row->policy)
		names_add(names, &count, conf_option_rows, conf_option_count, OPTION_SESSION);
	LOAD_ERROR(row->load, row->item->place, "%sunknown key \"%.64s\"%s", row->where, key, report_hint(&hint, key, names));
}

/* False: it was there before. */
static bool mark_set(const struct row *row, uint64_t *set, int bit, const char *key)
{
	if (*set >> bit & 1) {
		LOAD_ERROR(row->load, row->item->place, "%sduplicate key %s", row->where, key);
		return false;
	}
	*set |= UINT64_C(1) << bit;
	return true;
}

/* PgBouncer's older spellings. */
static const char *real_key(const char *key)
{
	return strcmp(key, "reserve_pool") == 0 ? "reserve_pool_size" : key;
}

static void row_pair(struct row *row, const struct option *option, const char *key, const char *value)
{
	const struct conf_item *item = row->item;

	if (option && mark_set(row, &row->keys_set, (int)(option - row->keys), key))
		load_value(row->load, item->place, row->where, option, value, row->base);
	if (option || !row->policy)
		return;
	option = option_find_session(key);
	if (option && mark_set(row, row->policy_set, option->session_index, key))
		load_value(row->load, item->place, row->where, option, value, row->policy);
}

static bool is_known(const struct row *row, const char *key)
{
	return option_find(row->keys, 64, key) || (row->policy && option_find_session(key));
}

/* Texts of the list are shown only where no part of a password can be among them. */
static void report_bad(const struct row *row, const char *last_key)
{
	LOAD_ERROR(row->load, row->item->place, "%ssyntax error in the list of key=value%s%.64s (a value with blanks needs '...')",
		row->where, last_key ? ", behind " : "", last_key ? last_key : "");
}

bool row_read(struct row *row)
{
	struct pairs p = { .at = row->item->value };
	const struct option *option = NULL;
	const char *last = NULL;
	size_t errors = row->load->report->errors;
	enum pair_rc rc;

	while ((rc = pairs_next(&p)) == PAIR_DONE) {
		const char *key = real_key(p.key);
		if (!is_known(row, key) && option && option->flags & SECRET) {
			report_bad(row, last);
			return false;
		}
		if (!is_known(row, key)) {
			report_unknown(row, key);
			continue;
		}
		option = option_find(row->keys, 64, key);
		last = option ? option->name : option_find_session(key)->name;
		row_pair(row, option, key, p.value);
	}
	if (rc == PAIR_BAD)
		report_bad(row, last);
	return row->load->report->errors == errors;
}

struct place row_place(struct load *load, struct place place)
{
	return (struct place){ arena_strdup(&load->box->arena, place.file), place.line };
}

bool row_is_taken(const struct row *row, const void *rows, size_t count, size_t bytes, const struct place *places)
{
	for (size_t i = 0; i < count; i++) {
		const char *name;
		memcpy(&name, (const char *)rows + i * bytes, sizeof(name));
		if (strcmp(name, row->item->key) != 0)
			continue;
		LOAD_ERROR(row->load, row->item->place, "%sduplicate name (the first stands at %s:%u)", row->where, places[i].file,
			places[i].line);
		return true;
	}
	return false;
}
