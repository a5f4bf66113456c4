/* Statements prepared by SQL, on whichever server they are needed. They stand there under the client's own names, so before a text that
 * names one goes to a server, the name must mean there what it means to this client: the same statement, or nothing. Names of statements
 * that the client has parsed by the protocol count too: PostgreSQL has one list for both. */
#include <stdio.h>

#include "private.h"

typedef void name_fn(void *owner, const char *name);

struct naming {
	name_fn *fn;
	void *owner;
};

static void take_effect(void *owner, const struct sql_effect *effect)
{
	const struct naming *n = owner;

	if ((effect->kind == SQL_E_PREPARE || effect->kind == SQL_E_EXECUTE || effect->kind == SQL_E_DEALLOCATE) && effect->name[0])
		n->fn(n->owner, effect->name);
}

void each_statement_effect(struct span text, sql_effect_fn *fn, void *owner)
{
	while (text.len) {
		size_t len = sql_split(text);
		struct span one = { text.data, len ? len : text.len };

		sql_effects(one, fn, owner);
		text = (struct span){ text.data + one.len, text.len - one.len };
	}
}

/* The name in a Bind or Describe of a statement; NULL for other messages. (A Close takes whatever there is.) */
static const char *name_in(const struct session *s, const struct item *item)
{
	const char *body = (const char *)stream_data(s->client) + item->off + WIRE_HEADER_BYTES;

	if (!item->is_named || item->statement)
		return NULL;
	if (item->type == 'B')
		return body + strlen(body) + 1;
	return item->type == 'D' ? body + 1 : NULL;
}

/* Every name that the batch uses for a statement prepared by SQL. */
static void each_name(const struct session *s, name_fn *fn, void *owner)
{
	const struct batch *b = &s->batch;
	struct naming n = { fn, owner };

	for (size_t i = 0; i < b->item_count; i++) {
		const struct item *item = &b->items[i];
		const char *name = name_in(s, item);

		if (name)
			fn(owner, name);
		else if (item->type == 'Q' && b->flags & SQL_F_EFFECTS)
			each_statement_effect(span_of((const char *)stream_data(s->client) + item->off + WIRE_HEADER_BYTES), take_effect, &n);
		else if (item->type == 'P' || item->type == 'B' || item->type == 'D')
			if (item->statement && item->statement->verdict->flags & SQL_F_EFFECTS)
				sql_effects(item->statement->sql, take_effect, &n);
	}
}

static bool is_laid(const struct session *s, const char *name)
{
	const struct named *want = named_get(s, name);
	const struct server_name *have = server_find_name(s->server, name);

	if (!want || !have)
		return !want && !have;
	return have->id.lo == want->id.lo && have->id.hi == want->id.hi;
}

/* ---- are they there? ---- */

struct check {
	const struct session *s;
	bool is_missing;
};

static void check_name(void *owner, const char *name)
{
	struct check *check = owner;

	check->is_missing |= !is_laid(check->s, name);
}

/* A text that was parsed under other settings ('1.2.2024' under DateStyle DMY is a constant by now), and that this server doesn't know. */
static bool is_of_other_times(const struct session *s, const struct item *item)
{
	const struct statement *st = item->statement;

	return item->is_named && st && item->type != 'C' && st->salt != s->text_salt && st->has_settings && s->tx == 'I' && !s->salt_extra &&
	       !server_has_statement(s->server, st->id);
}

/* Code that nobody has read may prepare statements, or ask which there are: others' must not be among them. */
static bool may_name_any(const struct session *s)
{
	return s->batch.pins & (SQL_PIN_FUNCTION | SQL_PIN_UNKNOWN);
}

/* pg_prepared_statements tells of all of the client's, and of no others. */
static bool lists_all(const struct session *s)
{
	const struct verdict *v = s->batch.verdict;

	for (size_t i = 0; v && v->reason == SQL_R_NODE_LOCAL && i < v->table_count; i++)
		if (strcmp(v->tables[i].name, "pg_prepared_statements") == 0)
			return true;
	return false;
}

static const char *foreign_name(const struct session *s)
{
	LIST_EACH(pos, &s->server->names_order) {
		const struct server_name *known = LIST_ITEM(pos, struct server_name, link);

		if (!is_laid(s, known->name))
			return known->name;
	}
	return NULL;
}

bool names_need_laying(const struct session *s)
{
	struct check check = { s, s->server->must_deallocate || (may_name_any(s) && foreign_name(s)) || lists_all(s) };

	for (size_t i = 0; i < s->batch.item_count; i++)
		if (is_of_other_times(s, &s->batch.items[i]))
			return true;
	if (s->batch.flags & SQL_F_EFFECTS || s->batch.has_unknown)
		each_name(s, check_name, &check);
	return check.is_missing;
}

/* ---- laying them ---- */

struct laying {
	struct session *s;
	struct buf *out;
	unsigned ready;         /* ReadyForQuery messages to come */
};

static void put_deallocate(struct laying *l, const char *name)
{
	struct buf sql = { NULL, 0, 0 };

	buf_add_str(&sql, "DEALLOCATE \"");
	for (const char *c = name; *c; c++) {
		if (*c == '"')
			buf_add_u8(&sql, '"');
		buf_add_u8(&sql, (uint8_t)*c);
	}
	buf_add_u8(&sql, '"');
	wire_put_query(l->out, buf_cstr(&sql));
	l->ready++;
	buf_free(&sql);
	server_drop_name(l->s->server, name);
}

static void make_room(struct laying *l)
{
	size_t most = (size_t)l->s->conf->opt.max_prepared_statements;
	struct server *server = l->s->server;

	while (most && server->names.used >= most && !list_is_empty(&server->names_order)) {
		char *name = mem_strdup(LIST_ITEM(server->names_order.next, struct server_name, link)->name);

		put_deallocate(l, name);
		mem_free(name);
	}
}

/* Should it fail, the name means nothing there: the statement that uses it will hear of that. */
static void lay_name(void *owner, const char *name)
{
	struct laying *l = owner;
	const struct named *want = named_get(l->s, name);
	bool lays_old;

	if (is_laid(l->s, name))
		return;
	if (server_find_name(l->s->server, name))
		put_deallocate(l, name);
	if (!want)
		return;
	make_room(l);
	lays_old = want->salt != l->s->text_salt && want->has_settings && l->s->tx == 'I' && !l->s->salt_extra;
	/* Read under other settings than at its time, it isn't what its id says: nobody else must find it. */
	l->s->server->must_close |= want->salt != l->s->text_salt && !lays_old;
	if (lays_old)
		l->ready += settings_lay(l->s->settings, want->settings, l->out);
	if (want->statement) {
		wire_put_parse(l->out, name, want->statement->sql, want->statement->type_count, want->statement->types);
		wire_put_empty(l->out, 'S');
	} else {
		wire_put_query(l->out, want->sql);
	}
	l->ready++;
	if (lays_old)
		l->ready += settings_lay(want->settings, l->s->settings, l->out);
	server_put_name(l->s->server, name, want->id);
}

static void lay_all(struct laying *l)
{
	const struct named *named;
	size_t it = 0;

	while ((named = map_next(&l->s->named, &it)))
		lay_name(l, named->name);
}

/* Under the settings of its time. */
static void lay_statement(struct laying *l, struct statement *st)
{
	struct session *s = l->s;

	l->ready += settings_lay(s->settings, st->settings, l->out);
	wire_put_parse(l->out, st->server_name, st->sql, st->type_count, st->types);
	wire_put_empty(l->out, 'S');
	l->ready += 1 + settings_lay(st->settings, s->settings, l->out);
	server_add_statement(s->server, st->id);
}

/* After the session's settings have been laid. */
unsigned names_lay(struct session *s, struct buf *out)
{
	struct laying l = { s, out, 0 };

	if (s->server->must_deallocate || lists_all(s)) {
		wire_put_query(out, "DEALLOCATE ALL");
		l.ready++;
		server_forget_statements(s->server);
		server_drop_names(s->server);
		s->server->must_deallocate = false;
	}
	for (size_t i = 0; i < s->batch.item_count; i++)
		if (is_of_other_times(s, &s->batch.items[i]))
			lay_statement(&l, s->batch.items[i].statement);

	while (may_name_any(s) && foreign_name(s)) {
		char *name = mem_strdup(foreign_name(s));

		put_deallocate(&l, name);
		mem_free(name);
	}
	if (lists_all(s))
		lay_all(&l);
	if (s->batch.flags & SQL_F_EFFECTS || s->batch.has_unknown)
		each_name(s, lay_name, &l);
	return l.ready;
}
