/* SET and RESET, read from the tokens each time, for the shape doesn't know the value. */
#include "setting.h"

#include <stdio.h>
#include <strings.h>

/* ---- names ---- */

/* The setting that stands before TO, = or FROM. */
struct target {
	struct buf name;        /* a.b, as written */
	struct buf quoted;      /* "a"."b" */
	unsigned parts;
};

static void target_free(struct target *target)
{
	buf_free(&target->name);
	buf_free(&target->quoted);
}

static void add_quoted_name(struct buf *out, struct buf *name)
{
	buf_add_u8(out, '"');
	for (size_t i = 0; i < name->len; i++) {
		if (name->data[i] == '"')
			buf_add_u8(out, '"');
		buf_add_u8(out, name->data[i]);
	}
	buf_add_u8(out, '"');
}

static bool take_part(struct scan *s, struct target *out)
{
	struct literal part;
	bool is_read = scan_take_name(s, &part) && !part.is_coded;

	if (is_read) {
		buf_add(&out->name, part.plain.data, part.plain.len);
		add_quoted_name(&out->quoted, &part.plain);
		out->parts++;
	}
	literal_free(&part);
	return is_read;
}

/* Has to be freed in any case. */
static bool take_target(struct scan *s, struct target *out)
{
	*out = (struct target){ .parts = 0 };
	if (!take_part(s, out))
		return false;
	while (scan_take_char(s, '.')) {
		buf_add_u8(&out->name, '.');
		buf_add_u8(&out->quoted, '.');
		if (!take_part(s, out))
			return false;
	}
	return true;
}

char *setting_name(struct buf *name)
{
	/* guc.c: map_old_guc_names */
	static const char *const renamed[][2] = { { "sort_mem", "work_mem" }, { "vacuum_mem", "maintenance_work_mem" } };
	char *lower = mem_strdup(buf_cstr(name));

	for (char *c = lower; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)lex_fold[(uint8_t)*c];
	for (size_t i = 0; i < ARRAY_LEN(renamed); i++)
		if (strcmp(lower, renamed[i][0]) == 0) {
			mem_free(lower);
			lower = mem_strdup(renamed[i][1]);
		}
	buf_free(name);
	return lower;
}

const char setting_no_role[] = "SET ROLE NONE";

bool setting_is_of_transaction(const char *name)
{
	static const char *const names[] = {
		"transaction", "transaction snapshot", "transaction_isolation", "transaction_read_only", "transaction_deferrable"
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

/* ---- values ---- */

/* A number's sign is no part of its token. Of a number plain and quoted are the same, without quotes. */
static bool take_number(struct scan *s, struct literal *out)
{
	struct scan back = *s;
	bool is_negative = scan_take_char(s, '-');

	*out = (struct literal){ .is_coded = false };
	if (!is_negative)
		scan_take_char(s, '+');
	if (s->t.kind != LEX_INT && s->t.kind != LEX_FLOAT) {
		*s = back;
		return false;
	}
	buf_printf(&out->plain, "%s%.*s", is_negative ? "-" : "", (int)(s->t.end - s->t.at), s->t.at);
	buf_add(&out->quoted, out->plain.data, out->plain.len);
	scan_skip(s);
	return true;
}

/* A string, a number, or a word that the grammar takes for a string: on, off, iso. */
static bool take_value(struct scan *s, struct literal *out)
{
	if (take_number(s, out))
		return true;
	return s->t.kind == LEX_STRING || s->t.kind == LEX_STRING_UNICODE ? scan_take_string(s, out) : scan_take_name(s, out);
}

static bool take_values(struct scan *s, struct buf *sql)
{
	struct literal value;
	bool is_read;

	do {
		is_read = take_value(s, &value);
		if (is_read)
			buf_add(sql, value.quoted.data, value.quoted.len);
		literal_free(&value);
		if (is_read && scan_at_char(s, ','))
			buf_add_u8(sql, ',');
	} while (is_read && scan_take_char(s, ','));
	return is_read;
}

/* Words with one blank between them, or nothing. */
static bool take_words(struct scan *s, const char *words)
{
	struct scan at = *s;
	char word[16];

	while (*words) {
		size_t len = strcspn(words, " ");
		memcpy(word, words, len);
		word[len] = '\0';
		if (!scan_take_word(&at, word))
			return false;
		words += len + (words[len] == ' ');
	}
	*s = at;
	return true;
}

/* ---- effects ---- */

/* What ends with the transaction is none; nor is seed, which pins. */
static bool is_recorded(const char *name)
{
	return !setting_is_of_transaction(name) && strcmp(name, "seed") != 0;
}

bool setting_drops_role(const char *name)
{
	return strcmp(name, "session_authorization") == 0;
}

static bool add_set(struct effects *e, bool is_local, const char *name, const char *sql)
{
	struct sql_effect effect = { .kind = is_local ? SQL_E_SET_LOCAL : SQL_E_SET, .name = name, .sql = is_local ? NULL : sql };

	if (is_recorded(name))
		effects_add(e, &effect);
	return !setting_drops_role(name) || add_set(e, is_local, "role", setting_no_role);
}

static bool add_reset(struct effects *e, bool is_local, const char *name)
{
	struct sql_effect effect = { .kind = is_local ? SQL_E_RESET_LOCAL : SQL_E_RESET, .name = name };

	if (is_recorded(name))
		effects_add(e, &effect);
	return !setting_drops_role(name) || add_reset(e, is_local, "role");
}

/* name TO value, value. quoted is the name as it stands in SQL. */
static bool read_values(struct effects *e, bool is_local, const char *name, const char *quoted)
{
	struct buf sql = { 0 };
	bool is_read;

	buf_printf(&sql, "SET %s TO ", quoted);
	is_read = take_values(&e->in, &sql) && add_set(e, is_local, name, buf_cstr(&sql));
	buf_free(&sql);
	return is_read;
}

/* What follows the name. FROM CURRENT makes the session's what may be the transaction's: only the server knows the value. */
static bool read_assignment(struct effects *e, bool is_local, const char *name, const char *quoted)
{
	if (take_words(&e->in, "from current"))
		return is_local && add_set(e, is_local, name, NULL);
	if (!scan_take_char(&e->in, '=') && !scan_take_word(&e->in, "to"))
		return false;
	if (scan_take_word(&e->in, "default"))
		return add_reset(e, is_local, name);
	return read_values(e, is_local, name, quoted);
}

/* Alone in their text our own settings never come here; beside other statements they go to the server, and are not ours. */
static bool is_own(const char *name)
{
	return strncmp(name, "pgshunt.", 8) == 0;
}

static bool read_plain(struct effects *e, bool is_local)
{
	struct target target;
	bool is_read = take_target(&e->in, &target);
	char *name = setting_name(&target.name);

	is_read = is_read && !is_own(name) && read_assignment(e, is_local, name, buf_cstr(&target.quoted));
	mem_free(name);
	target_free(&target);
	return is_read;
}

/* ---- SET with a grammar of its own ---- */

/* INTERVAL '-8' HOUR TO MINUTE, INTERVAL(0) '-8'. */
static bool read_interval(struct effects *e, bool is_local)
{
	struct scan *s = &e->in;
	struct buf sql = { 0 };
	bool is_read = true;

	buf_add_str(&sql, "SET TIME ZONE");
	while (is_read && !scan_at_end(s)) {
		struct literal zone;
		struct token t = s->t;
		if (scan_take_string(s, &zone)) {
			buf_printf(&sql, " %s", buf_cstr(&zone.quoted));
		} else {
			is_read = t.kind == LEX_WORD || t.kind == LEX_INT || token_is_char(&t, '(') || token_is_char(&t, ')');
			buf_printf(&sql, " %.*s", (int)(t.end - t.at), t.at);
			scan_skip(s);
		}
		literal_free(&zone);
	}
	is_read = is_read && add_set(e, is_local, "timezone", buf_cstr(&sql));
	buf_free(&sql);
	return is_read;
}

static bool read_zone(struct effects *e, bool is_local)
{
	if (!scan_take_word(&e->in, "zone"))
		return false;
	if (scan_take_word(&e->in, "default") || scan_take_word(&e->in, "local"))
		return add_reset(e, is_local, "timezone");
	if (scan_at_word(&e->in, "interval"))
		return read_interval(e, is_local);
	return read_values(e, is_local, "timezone", "\"timezone\"");
}

static bool read_names(struct effects *e, bool is_local)
{
	if (scan_at_end(&e->in) || scan_take_word(&e->in, "default"))
		return add_reset(e, is_local, "client_encoding");
	return read_values(e, is_local, "client_encoding", "\"client_encoding\"");
}

static bool read_schema(struct effects *e, bool is_local)
{
	return read_values(e, is_local, "search_path", "\"search_path\"");
}

static bool read_xml(struct effects *e, bool is_local)
{
	if (take_words(&e->in, "option document"))
		return add_set(e, is_local, "xmloption", "SET \"xmloption\" TO E'DOCUMENT'");
	return take_words(&e->in, "option content") && add_set(e, is_local, "xmloption", "SET \"xmloption\" TO E'CONTENT'");
}

static bool read_role(struct effects *e, bool is_local)
{
	if (scan_take_word(&e->in, "none"))
		return add_set(e, is_local, "role", setting_no_role);
	return read_values(e, is_local, "role", "\"role\"");
}

static bool read_authorization(struct effects *e, bool is_local)
{
	if (scan_take_word(&e->in, "default"))
		return add_reset(e, is_local, "session_authorization");
	return read_values(e, is_local, "session_authorization", "\"session_authorization\"");
}

static bool read_characteristics(struct effects *e, bool is_local)
{
	static const struct {
		const char *words, *name, *value;
	} modes[] = {
		{ "isolation level read uncommitted", "default_transaction_isolation", "read uncommitted" },
		{ "isolation level read committed", "default_transaction_isolation", "read committed" },
		{ "isolation level repeatable read", "default_transaction_isolation", "repeatable read" },
		{ "isolation level serializable", "default_transaction_isolation", "serializable" },
		{ "read only", "default_transaction_read_only", "on" }, { "read write", "default_transaction_read_only", "off" },
		{ "deferrable", "default_transaction_deferrable", "on" }, { "not deferrable", "default_transaction_deferrable", "off" },
	};
	size_t i;

	if (!take_words(&e->in, "as transaction"))
		return false;
	do {
		char sql[128];
		for (i = 0; i < ARRAY_LEN(modes) && !take_words(&e->in, modes[i].words);)
			i++;
		if (i == ARRAY_LEN(modes))
			return false;
		snprintf(sql, sizeof(sql), "SET \"%s\" TO E'%s'", modes[i].name, modes[i].value);
		add_set(e, is_local, modes[i].name, sql);
		scan_take_char(&e->in, ',');
	} while (!scan_at_end(&e->in));
	return true;
}

/* SET TRANSACTION, SET CONSTRAINTS: of the transaction. */
static bool read_nothing(struct effects *e, bool is_local)
{
	(void)is_local;
	scan_skip_rest(&e->in);
	return true;
}

static const struct {
	const char *word;
	bool (*read)(struct effects *e, bool is_local);
} specials[] = {
	{ "authorization", read_authorization }, { "characteristics", read_characteristics }, { "constraints", read_nothing },
	{ "names", read_names }, { "role", read_role }, { "schema", read_schema }, { "time", read_zone },
	{ "transaction", read_nothing }, { "xml", read_xml },
};

/* Nearly all of these words may begin a setting's name too: SET role = x, SET session.x TO y. */
static bool is_before_assignment(const struct scan *s)
{
	struct scan at = *s;

	scan_skip(&at);
	return scan_at_char(&at, '.') || scan_at_char(&at, '=') || scan_at_word(&at, "to") || scan_at_word(&at, "from");
}

static bool take_prefix(struct scan *s, const char *word)
{
	return !is_before_assignment(s) && scan_take_word(s, word);
}

/* Both words at once (SET LOCAL SESSION AUTHORIZATION) stand where the second belongs to what follows. */
bool setting_read_set(struct effects *e)
{
	bool is_local = take_prefix(&e->in, "local");

	if (!is_local)
		take_prefix(&e->in, "session");
	take_prefix(&e->in, "session");
	if (is_before_assignment(&e->in))
		return read_plain(e, is_local);
	for (size_t i = 0; i < ARRAY_LEN(specials); i++)
		if (scan_take_word(&e->in, specials[i].word))
			return specials[i].read(e, is_local);
	return read_plain(e, is_local);
}

bool setting_read_reset(struct effects *e)
{
	static const struct sql_effect all = { .kind = SQL_E_RESET_ALL };
	struct target target;
	bool is_read;
	char *name;

	if (take_words(&e->in, "transaction isolation level"))
		return true;
	if (take_words(&e->in, "time zone"))
		return add_reset(e, false, "timezone");
	if (take_words(&e->in, "session authorization"))
		return add_reset(e, false, "session_authorization");
	if (scan_take_word(&e->in, "all")) {
		effects_add(e, &all);
		return true;
	}
	is_read = take_target(&e->in, &target);
	name = setting_name(&target.name);
	is_read = is_read && !is_own(name) && add_reset(e, false, name);
	mem_free(name);
	target_free(&target);
	return is_read;
}

/* ---- pgshunt's own settings ---- */

/* SET [SESSION|LOCAL] name TO: what stands before the value. */
static bool take_own(struct scan *s, struct target *target, bool *is_local)
{
	*target = (struct target){ .parts = 0 };
	if (!scan_take_word(s, "set"))
		return false;
	*is_local = take_prefix(s, "local");
	if (!*is_local)
		take_prefix(s, "session");
	return take_target(s, target) && (scan_take_char(s, '=') || scan_take_word(s, "to"));
}

/* The rest of the text is DEFAULT (value NULL) or one constant. */
static bool take_only_value(struct scan *s, char **value)
{
	struct literal constant;
	bool is_read;

	*value = NULL;
	if (scan_take_word(s, "default"))
		return scan_at_end(s);
	is_read = take_value(s, &constant) && !constant.is_coded && scan_at_end(s);
	if (is_read)
		*value = mem_strdup(buf_cstr(&constant.plain));
	literal_free(&constant);
	return is_read;
}

bool sql_setting_value(struct span text, char **out, struct err *err)
{
	struct scan s = scan_of(text);
	struct target target;
	bool is_local, is_assignment = take_own(&s, &target, &is_local);

	*out = NULL;
	target_free(&target);
	if (!is_assignment)
		return err_set(err, "22023", "a value is expected: SET name = value");
	if (take_only_value(&s, out))
		return true;
	return err_set(err, "22023", "the value of a pgshunt setting must be a single constant");
}

bool setting_read_own(struct span text, char **name, enum sql_setting_verb *verb)
{
	struct scan s = scan_of(text);
	struct target target;
	bool is_local, is_ours = take_own(&s, &target, &is_local) && target.parts == 2;
	char *value = NULL, *lower = setting_name(&target.name);

	is_ours = is_ours && is_own(lower) && take_only_value(&s, &value);
	mem_free(value);
	target_free(&target);
	if (!is_ours) {
		mem_free(lower);
		return false;
	}
	*name = lower;
	*verb = is_local ? SQL_SET_LOCAL : SQL_SET;
	return true;
}
