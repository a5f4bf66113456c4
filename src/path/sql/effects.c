/* One reader a statement's first word. The text parses: what PostgreSQL's grammar excludes needn't be refused again. */
#include "setting.h"

/* ---- names ---- */

static void add_named(struct effects *e, enum sql_effect_kind kind, const char *name)
{
	struct sql_effect effect = { .kind = kind, .name = name };

	effects_add(e, &effect);
}

static bool read_named(struct effects *e, enum sql_effect_kind kind)
{
	struct literal name;
	bool is_read = scan_take_name(&e->in, &name) && !name.is_coded;

	if (is_read)
		add_named(e, kind, buf_cstr(&name.plain));
	literal_free(&name);
	return is_read;
}

/* Skips a word of noise, which may as well be the name itself: RELEASE savepoint. */
static void take_noise(struct scan *s, const char *word)
{
	struct scan at = *s;

	if (scan_take_word(&at, word) && !scan_at_end(&at))
		scan_skip(s);
}

static bool skip_rest(struct effects *e)
{
	scan_skip_rest(&e->in);
	return true;
}

/* ---- transactions ---- */

static bool read_savepoint(struct effects *e)
{
	return read_named(e, SQL_E_SAVEPOINT);
}

static bool read_release(struct effects *e)
{
	take_noise(&e->in, "savepoint");
	return read_named(e, SQL_E_RELEASE);
}

static bool read_rollback(struct effects *e)
{
	if (!scan_take_word(&e->in, "work"))
		scan_take_word(&e->in, "transaction");
	if (!scan_take_word(&e->in, "to"))
		return skip_rest(e);
	take_noise(&e->in, "savepoint");
	return read_named(e, SQL_E_ROLLBACK_TO);
}

/* ---- prepared statements ---- */

/* What another standard_conforming_strings would read otherwise, or not at all. */
static bool is_of_mode(const struct token *t)
{
	return t->kind == LEX_STRING_UNICODE || (t->kind == LEX_STRING && *t->at == '\'' && memchr(t->at, '\\', (size_t)(t->end - t->at)));
}

/* The statement as written but for those strings, from the token in sight to the last one before the semicolon. */
static bool render(struct scan s, struct buf *sql)
{
	const char *from = s.t.at;

	while (!scan_at_char(&s, ';') && s.t.kind != LEX_END && s.t.kind != LEX_ERROR) {
		struct token t = s.t;
		struct literal string = { .is_coded = false };
		bool is_read = !is_of_mode(&t) || scan_take_string(&s, &string);
		buf_add(sql, from, (size_t)(t.at - from));
		if (is_of_mode(&t)) {
			buf_printf(sql, " %s ", buf_cstr(&string.quoted));      /* a word may touch it: date'..' */
			from = s.t.at;
		} else {
			buf_add(sql, t.at, (size_t)(t.end - t.at));
			from = t.end;
			scan_skip(&s);
		}
		literal_free(&string);
		if (!is_read)
			return false;
	}
	return s.t.kind != LEX_ERROR;
}

static struct span rest_of(struct scan s)
{
	struct span rest = { s.t.at, 0 };

	for (; !scan_at_char(&s, ';') && s.t.kind != LEX_END && s.t.kind != LEX_ERROR; scan_skip(&s))
		rest.len = (size_t)(s.t.end - rest.data);
	return rest;
}

/* PREPARE TRANSACTION 'x' is another matter; PREPARE transaction AS ... is not. */
static bool read_prepare(struct effects *e)
{
	struct scan at = e->in;
	struct buf sql = { 0 };
	struct literal name;
	bool is_read;

	if (scan_take_word(&at, "transaction") && token_is_literal(&at.t))
		return skip_rest(e);
	is_read = scan_take_name(&e->in, &name) && !name.is_coded;
	if (scan_at_char(&e->in, '('))
		scan_skip_group(&e->in);
	is_read = is_read && scan_take_word(&e->in, "as") && render(e->start, &sql);
	if (is_read) {
		struct sql_effect effect = { .kind = SQL_E_PREPARE, .name = buf_cstr(&name.plain), .sql = buf_cstr(&sql), .query = rest_of(e->in) };
		effects_add(e, &effect);
		skip_rest(e);
	}
	literal_free(&name);
	buf_free(&sql);
	return is_read;
}

static bool read_execute(struct effects *e)
{
	return read_named(e, SQL_E_EXECUTE) && skip_rest(e);
}

/* CREATE [TEMP] TABLE x ... AS EXECUTE p: the first AS outside of parentheses. */
static bool read_create(struct effects *e)
{
	static const char *const kinds[] = { "global", "local", "temp", "temporary", "unlogged" };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		scan_take_word(&e->in, kinds[i]);
	if (!scan_take_word(&e->in, "table"))
		return skip_rest(e);
	while (!scan_at_word(&e->in, "as") && !scan_at_end(&e->in) && e->in.t.kind != LEX_ERROR)
		scan_skip_group(&e->in);
	if (!scan_take_word(&e->in, "as") || !scan_take_word(&e->in, "execute"))
		return skip_rest(e);
	return read_execute(e);
}

static bool read_explain(struct effects *e)
{
	static const char *const options[] = { "analyze", "analyse", "verbose" };

	if (scan_at_char(&e->in, '('))
		scan_skip_group(&e->in);
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		scan_take_word(&e->in, options[i]);
	if (scan_take_word(&e->in, "create"))
		return read_create(e);
	return scan_take_word(&e->in, "execute") ? read_execute(e) : skip_rest(e);
}

static bool read_deallocate(struct effects *e)
{
	take_noise(&e->in, "prepare");
	if (!scan_take_word(&e->in, "all"))
		return read_named(e, SQL_E_DEALLOCATE);
	add_named(e, SQL_E_DEALLOCATE, "");
	return true;
}

/* ---- the rest ---- */

static bool read_discard(struct effects *e)
{
	if (scan_at_word(&e->in, "all"))
		add_named(e, SQL_E_DISCARD_ALL, NULL);
	else if (scan_at_word(&e->in, "sequences"))
		add_named(e, SQL_E_DISCARD_SEQUENCES, NULL);
	return skip_rest(e);
}

static bool read_listen(struct effects *e)
{
	return read_named(e, SQL_E_LISTEN);
}

static bool read_unlisten(struct effects *e)
{
	if (!scan_take_char(&e->in, '*'))
		return read_named(e, SQL_E_UNLISTEN);
	add_named(e, SQL_E_UNLISTEN, "");
	return true;
}

/* By the statement's first word. */
static const struct {
	const char *word;
	bool (*read)(struct effects *e);
} readers[] = {
	{ "set", setting_read_set }, { "select", setting_read_select }, { "reset", setting_read_reset }, { "execute", read_execute },
	{ "prepare", read_prepare }, { "deallocate", read_deallocate }, { "savepoint", read_savepoint }, { "release", read_release },
	{ "rollback", read_rollback }, { "discard", read_discard }, { "listen", read_listen }, { "unlisten", read_unlisten },
	{ "explain", read_explain }, { "create", read_create },
};

void effects_add(struct effects *e, const struct sql_effect *effect)
{
	e->count++;
	if (e->fn)
		e->fn(e->owner, effect);
}

bool effects_read(struct span statement, sql_effect_fn *fn, void *owner, struct effects *e)
{
	*e = (struct effects){ .in = scan_of(statement), .fn = fn, .owner = owner };
	while (scan_take_char(&e->in, ';'))
		;
	e->start = e->in;
	for (size_t i = 0; i < ARRAY_LEN(readers); i++)
		if (scan_take_word(&e->in, readers[i].word))
			return readers[i].read(e) && scan_at_end(&e->in);
	return true;
}

void sql_effects(struct span statement, sql_effect_fn *fn, void *owner)
{
	struct effects e;

	if (effects_read(statement, NULL, NULL, &e) && e.count > 0)
		effects_read(statement, fn, owner, &e);
}
