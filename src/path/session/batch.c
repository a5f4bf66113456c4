/* Cuts the client's bytes into batches: what is routed as one. */
#include <stdio.h>

#include "private.h"

static struct item *add_item(struct batch *b, const struct wire_msg *m)
{
	struct item *item;

	if (b->item_count == b->item_cap) {
		size_t cap = b->item_cap * 2;
		struct item *items = mem_alloc(cap * sizeof(*items));
		memcpy(items, b->items, b->item_count * sizeof(*items));
		if (b->items != b->inline_items)
			mem_free(b->items);
		b->items = items;
		b->item_cap = cap;
	}
	item = &b->items[b->item_count++];
	*item = (struct item){ .type = m->type, .off = (uint32_t)b->len, .len = (uint32_t)m->total };
	return item;
}

static void clear_items(struct batch *b)
{
	for (size_t i = 0; i < b->item_count; i++)
		if (b->items[i].statement)
			statement_unref(&b->items[i].statement);
	b->item_count = 0;
	if (b->items != b->inline_items) {
		mem_free(b->items);
		b->items = b->inline_items;
		b->item_cap = BATCH_INLINE_ITEMS;
	}
}

void batch_clear(struct session *s)
{
	struct batch *b = &s->batch;

	clear_items(b);
	verdict_unref(&b->verdict);
	b->kind = BATCH_NONE;
	b->is_movable = b->only_begins = b->only_ours = b->only_ends = true;
	b->is_whole = b->has_execute = b->is_sent = b->execute_sent = b->is_streamed = false;
	b->unnamed_at_server = b->has_unknown = b->uses_named = false;
	b->parses_unnamed = 0;
	b->flags = b->pins = b->uses = 0;
	b->len = b->sent_len = b->bytes_seen = b->unread = 0;
	s->exclude = 0;
	s->retries = 0;
	s->must_primary = false;
	s->delivered = s->answer_failed = s->copy_ended = s->trace_told = s->reports_startup = false;
	s->has_hint_route = false;
	if (s->hint_policy) {
		mem_free(s->hint_policy);
		s->hint_policy = NULL;
	}
}

void batch_consume(struct session *s)
{
	struct batch *b = &s->batch;

	if (b->sent_len == 0)
		return;
	stream_consume(s->client, b->sent_len);
	b->len -= b->sent_len;
	b->sent_len = 0;
	clear_items(b);
}

/* ---- portals of statements with effects ---- */

void portals_clear(struct session *s)
{
	while (s->portal_count)
		statement_unref(&s->portals[--s->portal_count].statement);
	mem_free(s->portals);
	s->portals = NULL;
	s->portal_cap = 0;
}

static struct hash128 portal_id(const char *name)
{
	return hash_bytes(name, strlen(name));
}

static struct portal *portal_find(struct session *s, struct hash128 id)
{
	for (size_t i = 0; i < s->portal_count; i++)
		if (s->portals[i].name.lo == id.lo && s->portals[i].name.hi == id.hi)
			return &s->portals[i];
	return NULL;
}

/* Most statements leave nothing behind, and their portals needn't be known. */
static void portal_bind(struct session *s, const char *name, struct statement *statement)
{
	bool counts = statement && (statement->verdict->flags & (SQL_F_EFFECTS | SQL_F_NAMES) || statement->verdict->pins & SQL_PIN_SETTING);
	struct portal *portal;

	if (!counts && s->portal_count == 0)
		return;
	portal = portal_find(s, portal_id(name));
	if (portal) {
		statement_unref(&portal->statement);
		portal->statement = counts ? statement_ref(statement) : NULL;
		return;
	}
	if (!counts)
		return;
	if (s->portal_count == s->portal_cap) {
		s->portal_cap = s->portal_cap ? s->portal_cap * 2 : 2;
		s->portals = mem_realloc(s->portals, s->portal_cap * sizeof(*s->portals));
	}
	s->portals[s->portal_count++] = (struct portal){ portal_id(name), statement_ref(statement) };
}

/* ---- verdicts ---- */

static void add_verdict(struct session *s, struct verdict *v)
{
	struct batch *b = &s->batch;
	bool movable = route_is_movable(v);

	b->flags |= v->flags;
	b->pins |= v->pins;
	b->uses |= v->uses;
	/* The first that can't move decides, and gives the reason; an empty text decides nothing. */
	if (!b->verdict || (b->is_movable && !movable) || (b->verdict->class == SQL_EMPTY && v->class != SQL_EMPTY)) {
		struct verdict *before = b->verdict;
		b->verdict = verdict_ref(v);
		verdict_unref(&before);
	}
	b->is_movable &= movable;
	b->only_begins &= v->class == SQL_TRANSACTION && (v->flags & SQL_F_BEGINS) && v->statements == 1;
	b->only_ours &= (v->flags & SQL_F_PGSHUNT) || local_deallocates(s, v);
	b->only_ends &= v->class == SQL_TRANSACTION && (v->flags & SQL_F_ENDS) && v->statements == 1;
}

/* What EXECUTE runs, wherever it stands in a text. */
struct prepared {
	struct session *s;
	const struct named *only;       /* what the last one has run */
	char *name;                     /* prepared just before, in the same text */
	struct verdict *verdict;
};

static void note_prepare(struct prepared *p, const struct sql_effect *effect)
{
	mem_free(p->name);
	verdict_unref(&p->verdict);
	p->name = mem_strdup(effect->name);
	p->verdict = sql_verdict(p->s->env->sql, effect->query, p->s->mode);
}

static const struct verdict *verdict_prepared(struct prepared *p, const char *name)
{
	if (p->name && strcmp(p->name, name) == 0)
		return p->verdict;
	p->only = named_get(p->s, name);
	if (!p->only)
		return NULL;
	return p->only->statement ? p->only->statement->verdict : p->only->verdict;
}

static void add_prepared(void *owner, const struct sql_effect *effect)
{
	struct prepared *p = owner;
	struct batch *b = &p->s->batch;
	const struct verdict *v;

	if (effect->kind == SQL_E_PREPARE)
		note_prepare(p, effect);
	if (effect->kind != SQL_E_EXECUTE)
		return;
	v = verdict_prepared(p, effect->name);
	if (!v) {                       /* nowhere, for all we know */
		b->pins |= SQL_PIN_UNKNOWN;
		return;
	}
	b->flags |= v->flags & (SQL_F_DDL | SQL_F_EXTERNAL | SQL_F_RELEASES | SQL_F_TX_START);
	b->uses |= v->uses;
	b->pins |= v->pins | (v->flags & SQL_F_EFFECTS ? SQL_PIN_SETTING : 0);   /* read from a text that isn't this one */
}

/* The verdict of a text; of a bare EXECUTE that of what was prepared. */
static void add_text(struct session *s, struct verdict *v, struct span sql)
{
	struct prepared p = { s, NULL, NULL, NULL };

	if (v->flags & SQL_F_EFFECTS)
		each_statement_effect(sql, add_prepared, &p);
	s->batch.flags |= v->flags;
	if (v->flags & SQL_F_EXECUTES && p.only)
		add_verdict(s, p.only->statement ? p.only->statement->verdict : p.only->verdict);
	else
		add_verdict(s, v);
	mem_free(p.name);
	verdict_unref(&p.verdict);
}

struct hint_owner {
	struct session *s;
};

static void take_hint(void *owner, struct span key, struct span value)
{
	struct session *s = ((struct hint_owner *)owner)->s;
	char *text = mem_strndup(value.data, value.len), name[64];
	struct err err = { 0 };
	const char *target;
	enum conf_route route;

	snprintf(name, sizeof(name), "%.*s", (int)MIN(key.len, sizeof(name) - 1), key.data);
	if (strcmp(name, "route") == 0) {
		if (conf_parse_route(text, &route, &target, &err)) {
			s->has_hint_route = true;
			s->hint_route.target = route;
			mem_free(s->hint_route_name);
			s->hint_route_name = mem_strdup(target);
		}
	} else {
		if (!s->hint_policy) {
			s->hint_policy = mem_alloc(sizeof(*s->hint_policy));
			*s->hint_policy = *session_policy(s);
		}
		conf_policy_set(s->hint_policy, name, text, &err);
	}
	if (err_is_set(&err))
		log_warning("C-%llu hint ignored: %s", (unsigned long long)s->id, err.text);
	mem_free(text);
}

/* Hints are read per text: a comment in front of it. */
void batch_hint(struct session *s, struct span sql)
{
	struct hint_owner owner = { s };
	size_t i = 0;

	if (sql.len < 5 || (sql.data[0] != '/' && sql.data[0] > ' ') || !session_policy(s)->client_overrides)
		return;
	while (i < sql.len && (sql.data[i] == ' ' || sql.data[i] == '\n' || sql.data[i] == '\t' || sql.data[i] == '\r'))
		i++;
	if (sql.len - i > 4 && sql.data[i] == '/' && sql.data[i + 1] == '*')
		sql_hints(sql, take_hint, &owner);
}

/* ---- one message ---- */

/* Nobody but PostgreSQL can read it. */
static bool is_unread(const struct verdict *v)
{
	return v->pins & SQL_PIN_UNKNOWN;
}

static bool take_query(struct session *s, const struct wire_msg *m)
{
	struct batch *b = &s->batch;
	struct verdict *v;
	struct span sql;

	if (!wire_read_query(m, &sql, session_err(s)))
		return false;
	named_drop(s, "");                      /* as PostgreSQL does */
	batch_hint(s, sql);
	v = sql_verdict(s->env->sql, sql, s->mode);
	b->unread += is_unread(v);
	add_text(s, v, sql);
	verdict_unref(&v);
	if (b->kind == BATCH_EXTENDED)
		b->is_movable = false;          /* a simple query inside an unfinished extended batch: let the primary sort it out */
	else
		b->kind = BATCH_SIMPLE;
	b->is_whole = true;
	add_item(b, m);
	return true;
}

static bool take_parse(struct session *s, const struct wire_msg *m)
{
	struct batch *b = &s->batch;
	struct wire_parse parse;
	struct item *item;

	if (!wire_read_parse(m, &parse, session_err(s)))
		return false;
	item = add_item(b, m);
	item->statement = statement_intern(s, &parse);
	item->is_named = parse.name[0] != '\0';
	b->parses_unnamed += !item->is_named;
	item->is_taken = item->is_named && named_get(s, parse.name) && !named_get(s, parse.name)->is_closing;
	if (!item->is_taken && !s->answer_failed)
		named_put(s, parse.name, item->statement);
	batch_hint(s, item->statement->sql);
	b->unread += is_unread(item->statement->verdict);
	add_text(s, item->statement->verdict, item->statement->sql);
	counter_add(&pool_set_stats(s->set)->client_parse_count, 1);
	return true;
}

/* Bind, Describe and Close of a statement. */
static void take_statement(struct session *s, const struct wire_msg *m, const char *name)
{
	struct batch *b = &s->batch;
	struct item *item = add_item(b, m);
	struct statement *statement = named_find(s, name);

	item->statement = statement_ref(statement);
	item->is_named = name[0] != '\0';
	if (m->type == 'C') {
		b->has_unknown |= !statement && named_get(s, name);
		if (!s->answer_failed)
			named_close(s, name);
		return;
	}
	if (!statement) {
		b->has_unknown = true;
		b->is_movable = false;
		return;
	}
	batch_hint(s, statement->sql);
	b->unread += is_unread(statement->verdict) && !(m->type == 'D' || b->parses_unnamed);
	add_text(s, statement->verdict, statement->sql);
}

static bool take_bind(struct session *s, const struct wire_msg *m)
{
	struct wire_bind bind;

	if (!wire_read_bind(m, &bind, session_err(s)))
		return false;
	take_statement(s, m, bind.statement);
	portal_bind(s, bind.portal, s->batch.items[s->batch.item_count - 1].statement);
	counter_add(&pool_set_stats(s->set)->bind_count, 1);
	return true;
}

static bool take_target(struct session *s, const struct wire_msg *m)
{
	struct wire_target target;

	if (!wire_read_target(m, &target, session_err(s)))
		return false;
	if (target.kind == 'S')
		take_statement(s, m, target.name);
	else
		add_item(&s->batch, m);
	return true;
}

static void take_execute(struct session *s, const struct wire_msg *m)
{
	struct batch *b = &s->batch;
	struct item *item = add_item(b, m);
	const struct portal *portal;

	b->has_execute = true;
	if (!b->verdict)                        /* a portal bound in an earlier batch: it may do anything, a COMMIT too */
		b->is_movable = b->only_begins = b->only_ends = false;
	if (s->portal_count == 0 || !memchr(m->body, '\0', m->body_len))
		return;
	portal = portal_find(s, portal_id((const char *)m->body));
	if (portal && portal->statement) {
		item->statement = statement_ref(portal->statement);
		b->flags |= portal->statement->verdict->flags;
	}
}

/* The functions behind libpq's large objects (pg_proc.dat): they leave nothing in the session. */
static bool is_large_object_call(const struct wire_msg *m)
{
	static const uint16_t oids[] = { 715, 764, 765, 767, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172, 3457, 3458, 3459, 3460 };
	struct cursor c = cursor_of(m->body, m->body_len);
	uint32_t oid = cursor_u32(&c);

	for (size_t i = 0; i < ARRAY_LEN(oids); i++)
		if (oids[i] == oid)
			return true;
	return false;
}

/* false: malformed. */
static bool take_message(struct session *s, const struct wire_msg *m)
{
	struct batch *b = &s->batch;

	if (m->type == 'Q')
		return take_query(s, m);
	if (m->type == 'F') {
		b->kind = BATCH_FUNCTION;
		b->is_movable = b->only_begins = false;
		if (!is_large_object_call(m))
			b->pins |= SQL_PIN_FUNCTION;    /* by number: nobody knows what it does */
		b->is_whole = true;
		add_item(b, m);
		return true;
	}
	b->kind = BATCH_EXTENDED;
	switch (m->type) {
	case 'P':
		return take_parse(s, m);
	case 'B':
		return take_bind(s, m);
	case 'D':
	case 'C':
		return take_target(s, m);
	case 'E':
		take_execute(s, m);
		return true;
	case 'S':
		b->is_whole = true;
		break;
	default:
		break;
	}
	add_item(b, m);
	return true;
}

/* ---- long messages ---- */

/* Gives the server what has come of a message too long to be held. false: more is to come, or the server is full. */
static bool pass_on(struct session *s)
{
	size_t now = MIN(s->client_pass_left, stream_len(s->client));

	stream_send(s->server->stream, stream_data(s->client), now);
	stream_consume(s->client, now);
	s->client_pass_left -= now;
	s->batch.bytes_seen += now;
	return s->client_pass_left == 0;
}

/* What a statement we haven't read replaces is no longer known by that name: Bind and Describe of it are the server's to judge. */
static bool forget_renamed(struct session *s, const struct wire_msg *m)
{
	struct cursor c = cursor_of(m->body, m->have - WIRE_HEADER_BYTES);
	const char *name = m->type == 'P' ? cursor_cstr(&c, NULL) : "";

	if (!name)
		return err_set(session_err(s), "08P01", "a statement's name is too long");
	if (m->type == 'P' || m->type == 'Q')
		named_drop(s, name);
	s->unnamed_streamed |= m->type == 'P' && !name[0];
	return true;
}

/* The rest of a long piece of copy data whose COPY has ended in an error meanwhile: a server that got its beginning must get it all. */
static void pass_copy_rest(struct session *s)
{
	size_t now = MIN(s->client_pass_left, stream_len(s->client));

	if (s->server)
		stream_send(s->server->stream, stream_data(s->client), now);
	stream_consume(s->client, now);
	s->client_pass_left -= now;
}

/* A message longer than batch_max_bytes: the primary gets it as it comes, and since nobody has read it whole, the session stays with
 * that server. */
static enum session_event begin_streaming(struct session *s, const struct wire_msg *m)
{
	struct batch *b = &s->batch;
	struct item *item;

	if (m->type == 'B') {
		struct wire_msg front = *m;
		struct wire_bind bind;

		front.body_len = m->have - WIRE_HEADER_BYTES;
		front.total = m->have;
		if (!wire_read_bind(&front, &bind, session_err(s)))
			return EV_C_VIOLATION;
		take_statement(s, m, bind.statement);
		item = &b->items[b->item_count - 1];
	} else {
		if (!forget_renamed(s, m))
			return EV_C_VIOLATION;
		item = add_item(b, m);
		b->pins |= SQL_PIN_UNKNOWN;
		b->flags |= SQL_F_ENDS;                 /* for all we know */
	}
	item->len = (uint32_t)m->have;
	b->kind = m->type == 'Q' ? BATCH_SIMPLE : m->type == 'F' ? BATCH_FUNCTION : BATCH_EXTENDED;
	b->is_movable = false;
	b->is_streamed = true;
	b->len += m->have;
	b->bytes_seen += m->have;
	s->client_pass_left = m->total - m->have;
	return EV_C_FLUSH;
}

/* ---- the scan ---- */

/* A Flush right behind a Sync, as libpq's pipelines send it: what comes after it decides where the batch goes. */
static bool has_nothing_to_flush(const struct batch *b)
{
	if (b->is_sent)
		return false;
	for (size_t i = 0; i < b->item_count; i++)
		if (b->items[i].type != 'H')
			return false;
	return true;
}

enum session_event batch_scan(struct session *s)
{
	struct batch *b = &s->batch;
	size_t most = (size_t)s->conf->opt.batch_max_bytes;

	if (s->client_pass_left && b->kind == BATCH_NONE) {
		pass_copy_rest(s);
		if (stream_len(s->client) == 0)
			return EV_COUNT;
	} else if (s->client_pass_left) {
		if (!pass_on(s))
			return EV_COUNT;
		if (b->kind != BATCH_EXTENDED) {
			b->is_whole = true;
			return EV_C_BATCH;
		}
	}
	for (;;) {
		struct wire_msg m = { 0 };
		enum wire_rc rc = wire_peek(stream_data(s->client) + b->len, stream_len(s->client) - b->len, WIRE_FROM_CLIENT,
		                            (size_t)s->conf->opt.max_packet_size, &m, session_err(s));

		if (rc == WIRE_FAIL)
			return EV_C_VIOLATION;
		if (rc == WIRE_AGAIN) {
			stream_set_window(s->client, b->len + 4096);
			return EV_COUNT;
		}
		if (m.have < m.total) {
			if (b->bytes_seen + m.total > most && m.have > 4096)
				return begin_streaming(s, &m);
			stream_set_window(s->client, MIN(b->len + m.total, b->len + most + 4096));
			return EV_COUNT;
		}
		if (m.type == 'X')
			return EV_C_TERMINATE;
		if (m.type == 'p') {
			err_set(session_err(s), "08P01", "unexpected password message");
			return EV_C_VIOLATION;
		}
		if (b->kind == BATCH_NONE && strchr("dcfH", m.type)) {
			/* Copy data after a COPY that failed: PostgreSQL drops it too. A Flush of nothing asks for nothing. */
			stream_consume(s->client, m.total);
			if (stream_len(s->client) == 0)
				return EV_COUNT;
			continue;
		}
		if (!take_message(s, &m))
			return EV_C_VIOLATION;
		b->len += m.total;
		b->bytes_seen += m.total;
		if (b->is_whole)
			return EV_C_BATCH;
		if (m.type == 'H' && !has_nothing_to_flush(b))
			return EV_C_FLUSH;
		if (b->bytes_seen > most) {
			b->is_movable = false;
			b->is_streamed = true;
			return EV_C_FLUSH;
		}
		if (stream_len(s->client) == b->len) {
			stream_set_window(s->client, b->len + 4096);
			return EV_COUNT;
		}
	}
}

/* An open batch on a standby that turns out to need the primary: it leaves, as long as nothing but Parse and Describe was flushed. */
bool batch_must_move(struct session *s)
{
	const struct topo *topo = s->env->topo;

	return !s->batch.is_movable && !s->answer_failed && s->server &&
	       s->tx == 'I' && !s->server->is_pinned && s->server->node != topo->primary && topo->primary >= 0;
}
