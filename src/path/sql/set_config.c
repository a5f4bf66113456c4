/* SELECT set_config('name', value, false) [AS alias], ...: whatever has more to it (FROM, WHERE, LIMIT ...) may call it more than
 * once, or never, and is not read. */
#include "setting.h"

#include <strings.h>

static bool take_this_name(struct scan *s, const char *want)
{
	struct scan at = *s;
	struct literal name;
	bool is_it = scan_take_name(&at, &name) && !name.is_coded && strcmp(buf_cstr(&name.plain), want) == 0;

	literal_free(&name);
	if (is_it)
		*s = at;
	return is_it;
}

/* set_config( or pg_catalog.set_config( */
static bool take_opening(struct scan *s)
{
	struct scan at = *s;
	bool is_call = take_this_name(&at, "pg_catalog") ? scan_take_char(&at, '.') : true;

	is_call = is_call && take_this_name(&at, "set_config") && scan_take_char(&at, '(');
	if (is_call)
		*s = at;
	return is_call;
}

/* A cast that changes nothing: drivers and libraries like to write one. */
static bool take_cast(struct scan *s)
{
	static const char *const types[] = { "text", "varchar", "boolean", "bool" };

	if (s->t.kind != LEX_OPERATOR || s->t.end - s->t.at != 2 || memcmp(s->t.at, "::", 2) != 0)
		return true;
	scan_skip(s);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (scan_take_word(s, types[i]))
			return true;
	return false;
}

static bool take_value(struct scan *s)
{
	while (!scan_at_char(s, ',') && !scan_at_char(s, ')') && s->t.kind != LEX_END && s->t.kind != LEX_ERROR)
		scan_skip_group(s);
	return scan_take_char(s, ',');
}

/* What PostgreSQL's boolean reads: blanks around, any beginning of a word that is the beginning of no other. */
static bool is_beginning(const char *text, size_t len, const char *word, size_t min)
{
	return len >= min && len <= strlen(word) && strncasecmp(text, word, len) == 0;
}

enum truth { IS_FALSE, IS_TRUE, IS_NEITHER };

static enum truth truth_of(struct buf *plain)
{
	static const char blanks[] = " \t\n\v\f\r";
	const char *text = buf_cstr(plain);
	size_t len;

	text += strspn(text, blanks);
	for (len = strlen(text); len > 0 && strchr(blanks, text[len - 1]);)
		len--;
	if (is_beginning(text, len, "true", 1) || is_beginning(text, len, "yes", 1) || is_beginning(text, len, "on", 2) ||
	    is_beginning(text, len, "1", 1))
		return IS_TRUE;
	if (is_beginning(text, len, "false", 1) || is_beginning(text, len, "no", 1) || is_beginning(text, len, "off", 2) ||
	    is_beginning(text, len, "0", 1))
		return IS_FALSE;
	return IS_NEITHER;
}

/* is_local; NULL counts as false. A text that is no boolean is an error of the server's, and then nothing is set. */
static bool take_truth(struct scan *s, enum truth *out)
{
	struct literal text;
	bool is_read;

	*out = scan_at_word(s, "true") ? IS_TRUE : IS_FALSE;
	if (scan_take_word(s, "true") || scan_take_word(s, "false") || scan_take_word(s, "null"))
		return take_cast(s);
	is_read = scan_take_string(s, &text);
	if (is_read)
		*out = text.is_coded ? IS_NEITHER : truth_of(&text.plain);
	literal_free(&text);
	return is_read && take_cast(s);
}

/* seed is never local: the numbers drawn from it go on. */
static void call_back(struct effects *e, const char *name, bool is_local, unsigned column)
{
	static const struct sql_effect no_role = { .kind = SQL_E_SET, .name = "role", .sql = setting_no_role };
	static const struct sql_effect no_local_role = { .kind = SQL_E_SET_LOCAL, .name = "role" };
	struct sql_effect effect = { .kind = SQL_E_SET_CONFIG, .name = name, .column = column };

	if (is_local && strcmp(name, "seed") != 0)
		effect = (struct sql_effect){ .kind = SQL_E_SET_LOCAL, .name = name };
	e->fn(e->owner, &effect);
	if (setting_drops_role(name))
		e->fn(e->owner, is_local ? &no_local_role : &no_role);
}

/* What is counted mustn't depend on the name or on a text for is_local. */
static void add_effect(struct effects *e, const char *name, enum truth is_local, unsigned column)
{
	e->set_configs++;
	e->count++;
	if (e->fn && is_local != IS_NEITHER && !setting_is_of_transaction(name))
		call_back(e, name, is_local == IS_TRUE, column);
}

/* Behind the opening parenthesis. */
static bool read_call(struct effects *e, unsigned column)
{
	struct literal literal;
	enum truth is_local;
	bool is_read = scan_take_string(&e->in, &literal) && !literal.is_coded && take_cast(&e->in) && scan_take_char(&e->in, ',') &&
	               take_value(&e->in) && take_truth(&e->in, &is_local) && scan_take_char(&e->in, ')');
	char *name = setting_name(&literal.plain);

	if (is_read)
		add_effect(e, name, is_local, column);
	mem_free(name);
	literal_free(&literal);
	return is_read;
}

static bool take_alias(struct scan *s)
{
	struct literal alias;
	bool has_as = scan_take_word(s, "as"), is_read = scan_take_name(s, &alias);

	literal_free(&alias);
	return is_read || !has_as;
}

static bool is_clause(const struct scan *s)
{
	static const char *const words[] = {
		"from", "where", "group", "having", "window", "union", "except", "intersect", "order", "limit", "offset", "fetch", "for", "into"
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (scan_at_word(s, words[i]))
			return true;
	return false;
}

/* Another column; x.* is nobody knows how many. */
static bool take_item(struct scan *s)
{
	bool is_behind_dot = false;

	while (!scan_at_char(s, ',') && !scan_at_char(s, ';') && s->t.kind != LEX_END) {
		if (s->t.kind == LEX_ERROR || is_clause(s) || (is_behind_dot && scan_at_char(s, '*')))
			return false;
		is_behind_dot = scan_at_char(s, '.');
		scan_skip_group(s);
	}
	return true;
}

static bool read_items(struct effects *e)
{
	unsigned column = 0;

	do {
		bool is_read = take_opening(&e->in) ? read_call(e, column) && take_alias(&e->in) : take_item(&e->in);
		if (!is_read)
			return false;
		column++;
	} while (scan_take_char(&e->in, ','));
	return scan_at_end(&e->in);
}

bool setting_read_select(struct effects *e)
{
	if (!read_items(e)) {
		e->count = e->set_configs = 0;
		scan_skip_rest(&e->in);
	}
	return true;
}

void sql_setting_names(struct span text, sql_effect_fn *fn, void *owner)
{
	struct scan s = scan_of(text);

	while (s.t.kind != LEX_END && s.t.kind != LEX_ERROR) {
		struct literal literal;
		bool is_call = take_opening(&s);
		bool is_named = is_call && scan_take_string(&s, &literal);

		if (is_named && !literal.is_coded) {
			char *name = setting_name(&literal.plain);
			fn(owner, &(struct sql_effect){ .kind = SQL_E_SET_LOCAL, .name = name });
			mem_free(name);
		}
		if (is_call)
			literal_free(&literal);
		else
			scan_skip(&s);
	}
}
