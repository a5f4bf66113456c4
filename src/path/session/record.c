/* What a session sets, so that it can be set again on another server: settings, and the statements it has prepared by SQL.
 *
 * An effect is read from its statement's text when that is sent, and happens when the server has answered the statement: in the open
 * transaction at first (the log), for good when that commits. What PostgreSQL does not undo (PREPARE, DEALLOCATE) happens at once.
 * Source: PostgreSQL manual, SET, RESET, SET ROLE, PREPARE, DISCARD; "RESET" goes back to what the start-up packet said. */
#include <stdio.h>
#include <strings.h>

#include "record.h"

struct record *record_of(struct session *s)
{
	if (!s->record)
		s->record = mem_alloc(sizeof(*s->record));
	return s->record;
}

void record_watch(struct session *s)
{
	record_of(s);
}

static bool is_custom(const char *name)
{
	return strchr(name, '.') != NULL;
}

static void change_free(struct change *c)
{
	mem_free(c->name);
	mem_free(c->sql);
	mem_free(c->value);
}

struct change *change_add(struct change_list *list)
{
	if (list->count == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 4;
		list->items = mem_realloc(list->items, list->cap * sizeof(*list->items));
	}
	list->items[list->count] = (struct change){ .kind = SQL_E_SET };
	return &list->items[list->count++];
}

static void list_cut(struct change_list *list, size_t count)
{
	while (list->count > count)
		change_free(&list->items[--list->count]);
}

static void list_free(struct change_list *list)
{
	list_cut(list, 0);
	mem_free(list->items);
	*list = (struct change_list){ NULL, 0, 0 };
}

void record_free(struct session *s)
{
	if (!s->record)
		return;
	list_free(&s->record->pending);
	list_free(&s->record->log);
	mem_free(s->record);
	s->record = NULL;
}

/* ---- the salt: texts whose constants PostgreSQL reads or computes under different settings must not meet ---- */

static bool is_read_by_parser(const char *name)
{
	static const char *const names[] = {
		"array_nulls", "backslash_quote", "bytea_output", "client_encoding", "datestyle", "default_text_search_config",
		"default_transaction_isolation", "extra_float_digits", "intervalstyle", "lc_monetary", "lc_numeric", "quote_all_identifiers", "role",
		"search_path",
		"session_authorization", "standard_conforming_strings", "timezone", "timezone_abbreviations", "transform_null_equals", "xmlbinary",
		"xmloption"
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcasecmp(names[i], name) == 0)
			return true;
	return false;
}

static void add_salt(struct session *s, struct buf *text, const char *name, const char *value)
{
	if (!name || !is_read_by_parser(name))
		return;
	s->path_is_temp |= strcasecmp(name, "search_path") == 0 && value && strstr(value, "pg_temp");
	s->is_serializable |= strcasecmp(name, "default_transaction_isolation") == 0 && value && strcasestr(value, "serializable");
	buf_add_cstr(text, name);
	buf_add_cstr(text, value ? value : "");
}

void record_salt(struct session *s)
{
	struct buf text = { NULL, 0, 0 };

	s->path_is_temp = s->is_serializable = false;
	for (size_t i = 0; s->settings && i < s->settings->count; i++) {
		const struct setting *item = &s->settings->items[i];
		add_salt(s, &text, item->name, item->sql ? item->sql : item->value);
	}
	for (size_t i = 0; s->record && i < s->record->log.count; i++) {
		const struct change *c = &s->record->log.items[i];
		add_salt(s, &text, c->name, c->sql ? c->sql : c->value);
	}
	s->text_salt = s->salt_extra;
	if (text.len)
		s->text_salt += hash_bytes(text.data, text.len).lo;
	buf_free(&text);
}

/* ---- settings ---- */

static void put(struct session *s, const char *name, const char *value, const char *sql)
{
	const struct setting item = { name, value, sql };

	settings_put(s->env->settings, &s->settings, &item);
}

/* A custom setting, once named, is no longer unknown, whatever becomes of its value. */
static void leave_placeholder(struct session *s, const char *name)
{
	if (is_custom(name) && !settings_find(s->settings, name))
		settings_put_reset(s->env->settings, &s->settings, name);
}

static void note_name(void *owner, const struct sql_effect *effect)
{
	leave_placeholder(owner, effect->name);
}

void record_names(struct session *s, struct span text)
{
	record_of(s);                   /* the server's list follows when the transaction ends */
	sql_setting_names(text, note_name, s);
}

static void reset_one(struct session *s, const char *name)
{
	const struct setting *first = settings_find(s->startup, name);

	if (strcasecmp(name, "session_authorization") == 0)
		settings_drop(s->env->settings, &s->settings, "role");
	settings_drop(s->env->settings, &s->settings, name);
	if (first)
		settings_put(s->env->settings, &s->settings, first);
	leave_placeholder(s, name);
}

static bool is_identity(const char *name)
{
	return strcasecmp(name, "role") == 0 || strcasecmp(name, "session_authorization") == 0;
}

/* RESET ALL leaves the role alone. */
static void reset_all(struct session *s, bool identity_too)
{
	struct settings *before = settings_ref(s->settings);

	for (size_t i = 0; before && i < before->count; i++)
		if (identity_too || !is_identity(before->items[i].name))
			reset_one(s, before->items[i].name);
	settings_unref(&before);
}

/* DISCARD ALL: the server has lost all but the names of custom settings. */
static void discard_all(struct session *s)
{
	reset_all(s, true);
	vars_reset_all(s);
	settings_unref(&s->server->settings);
	s->server->settings = settings_ref(s->settings);
	settings_discard(&s->server->settings);
	s->record->is_discarded = true;
	server_forget_statements(s->server);
	server_drop_names(s->server);
	named_drop_all(s);
	s->server->must_close |= (s->pins & (SQL_PIN_SETTING | SQL_PIN_FUNCTION | SQL_PIN_UNKNOWN | SQL_PIN_LOAD)) != 0;
	s->pins &= PIN_POOL_MODE | SQL_PIN_LOAD;        /* what has been loaded stays */
	s->lost_pins = 0;
	listen_free(s);
	s->salt_extra = 0;
}

static void apply(struct session *s, const struct change *c)
{
	switch (c->kind) {
	case SQL_E_SET:
		if (strcasecmp(c->name, "session_authorization") == 0)
			settings_drop(s->env->settings, &s->settings, "role");
		s->record->sets_datestyle |= strcasecmp(c->name, "datestyle") == 0;
		put(s, c->name, NULL, c->sql);
		break;
	case SQL_E_SET_CONFIG:
		put(s, c->name, c->value ? c->value : "", NULL);
		break;
	case SQL_E_RESET:
		reset_one(s, c->name);
		break;
	case SQL_E_RESET_ALL:
		reset_all(s, false);
		break;
	case SQL_E_SET_LOCAL:
	case SQL_E_RESET_LOCAL:
		leave_placeholder(s, c->name);
		break;
	case SQL_E_LISTEN:
	case SQL_E_UNLISTEN:
		listen_note(s, &(struct sql_effect){ .kind = c->kind, .name = c->name });
		break;
	default:
		break;
	}
}

/* ---- the transaction ---- */

static void commit(struct session *s)
{
	struct change_list *log = &s->record->log;

	for (size_t i = 0; i < log->count; i++)
		apply(s, &log->items[i]);
	list_cut(log, 0);
	vars_commit(s);
	record_salt(s);
}

static void undo_to(struct session *s, size_t count)
{
	struct change_list *log = &s->record->log;

	for (size_t i = count; i < log->count; i++)
		if (log->items[i].name && log->items[i].kind <= SQL_E_SET_CONFIG)
			leave_placeholder(s, log->items[i].name);
	list_cut(log, count);
	if (count == 0)
		vars_rollback(s);
	record_salt(s);
}

/* The place of the newest savepoint of that name; log.count when there is none (the server has said so). */
static size_t find_savepoint(const struct change_list *log, const char *name)
{
	for (size_t i = log->count; i > 0; i--)
		if (log->items[i - 1].kind == SQL_E_SAVEPOINT && strcmp(log->items[i - 1].name, name) == 0)
			return i - 1;
	return log->count;
}

/* The changes since then stay; the savepoints since then are gone. */
static void release_savepoint(struct change_list *log, const char *name)
{
	size_t to = find_savepoint(log, name), from = to;

	for (; from < log->count; from++)
		if (log->items[from].kind == SQL_E_SAVEPOINT)
			change_free(&log->items[from]);
		else
			log->items[to++] = log->items[from];
	log->count = to;
}

/* ---- an effect happens ---- */

static void keep_prepared(struct session *s, const struct change *c)
{
	server_put_name(s->server, c->name, named_put_sql(s, c->name, c->sql, c->value));
}

static void drop_prepared(struct session *s, const char *name)
{
	if (name[0] == '\0') {
		server_forget_statements(s->server);
		server_drop_names(s->server);
		named_drop_all(s);
		return;
	}
	server_drop_name(s->server, name);
	named_drop(s, name);
}

static void keep_in_log(struct session *s, struct change *c)
{
	*change_add(&s->record->log) = *c;
	*c = (struct change){ .kind = SQL_E_EXECUTE };
	record_salt(s);
}

/* A seed can't be read back, and is used up as it is drawn from. */
static bool is_seed(const struct change *c)
{
	return c->kind == SQL_E_SET_CONFIG && strcasecmp(c->name, "seed") == 0;
}

/* The change moves from the pending ones to where it belongs. */
static void happen(struct session *s, struct change *c)
{
	struct change_list *log = &s->record->log;
	size_t at;

	switch (c->kind) {
	case SQL_E_ROLLBACK_TO:
		at = find_savepoint(log, c->name);
		undo_to(s, MIN(at + 1, log->count));
		break;
	case SQL_E_RELEASE:
		release_savepoint(log, c->name);
		break;
	case SQL_E_DISCARD_ALL:
		discard_all(s);
		break;
	case SQL_E_PREPARE:
		keep_prepared(s, c);
		break;
	case SQL_E_DEALLOCATE:
		drop_prepared(s, c->name);
		break;
	case SQL_E_RESET_ALL:
		vars_reset_all(s);
		keep_in_log(s, c);
		break;
	case SQL_E_DISCARD_SEQUENCES:
	case SQL_E_EXECUTE:
		break;
	default:
		if (is_seed(c))
			session_pin(s, SQL_PIN_SEED);
		else
			keep_in_log(s, c);
		break;
	}
}

/* ---- what is answered ---- */

static bool is_answered(const struct session *s, const struct change *c)
{
	return c->statement == s->answered_statements;
}

bool record_is_open(const struct session *s)
{
	return s->record && s->record->log.count;
}

bool record_hides_answer(const struct session *s)
{
	for (size_t i = 0; i < s->record->pending.count; i++)
		if (is_answered(s, &s->record->pending.items[i]) && s->record->pending.items[i].is_echo)
			return true;
	return false;
}

/* Field number `column` of a DataRow, or NULL. */
static char *field_of(const struct wire_msg *m, unsigned column)
{
	struct cursor c = cursor_of(m->body, m->body_len);
	unsigned count = cursor_u16(&c);

	for (unsigned i = 0; i < count; i++) {
		int32_t len = (int32_t)cursor_u32(&c);
		const uint8_t *data;

		if (len < 0)
			continue;
		data = cursor_bytes(&c, (size_t)len);
		if (!data)
			return NULL;
		if (i == column)
			return mem_strndup((const char *)data, (size_t)len);
	}
	return NULL;
}

void record_row(struct session *s, const struct wire_msg *m)
{
	struct record *record = s->record;

	for (size_t i = 0; i < record->pending.count; i++) {
		struct change *c = &record->pending.items[i];

		if (!is_answered(s, c) || c->kind != SQL_E_SET_CONFIG)
			continue;
		mem_free(c->value);
		c->value = field_of(m, c->column);
	}
}

static bool tag_is(const struct wire_msg *m, const char *tag)
{
	size_t len = strlen(tag);

	return m->type == 'C' && m->body_len == len + 1 && memcmp(m->body, tag, len) == 0;
}

/* ROLLBACK TO has the tag of ROLLBACK. */
static bool rolls_back_to(const struct session *s)
{
	const struct change_list *pending = &s->record->pending;

	for (size_t i = 0; i < pending->count; i++)
		if (is_answered(s, &pending->items[i]) && pending->items[i].kind == SQL_E_ROLLBACK_TO)
			return true;
	return false;
}

void record_answered(struct session *s, const struct wire_msg *m)
{
	struct record *record = s->record;

	if (tag_is(m, "COMMIT") || tag_is(m, "PREPARE TRANSACTION"))
		commit(s);
	else if (tag_is(m, "ROLLBACK") && !rolls_back_to(s))
		undo_to(s, 0);
	for (size_t i = 0; i < record->pending.count; i++)
		if (is_answered(s, &record->pending.items[i]))
			happen(s, &record->pending.items[i]);
}

/* SET DateStyle = DMY changes half of it: the whole is what the server has just reported. */
static void take_datestyle(struct session *s)
{
	const char *whole = server_parameter(s->server, "DateStyle");

	if (whole && settings_find(s->settings, "datestyle"))
		put(s, "datestyle", whole, NULL);
}

/* ReadyForQuery. Outside a transaction the server has now what the session has. */
void record_ready(struct session *s)
{
	struct record *record = s->record;

	list_cut(&record->pending, 0);
	record->strings_change = false;
	s->sent_statements = s->answered_statements = 0;
	if (s->tx != 'I')
		return;
	if (s->answer_failed)
		undo_to(s, 0);
	else
		commit(s);
	if (record->sets_datestyle)
		take_datestyle(s);
	if (!record->is_discarded && s->server->settings != s->settings) {
		settings_unref(&s->server->settings);
		s->server->settings = settings_ref(s->settings);
	}
	record_free(s);
}

/* The server is gone, and the transaction with it. */
void record_lost(struct session *s)
{
	if (!s->record)
		return;
	list_cut(&s->record->pending, 0);
	undo_to(s, 0);
	record_free(s);
}
