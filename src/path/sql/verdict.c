#include "verdict.h"
#include "effects.h"
#include "nesting.h"
#include "setting.h"
#include "shape.h"
#include "walk.h"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include <stdio.h>

/* How much of a text SHOW ROUTES shows. */
#define SHOWN_MAX_BYTES 1024

const char *sql_class_name(enum sql_class class)
{
	static const char *const names[] = {
		[SQL_EMPTY] = "empty", [SQL_READ] = "read", [SQL_LOCK] = "lock", [SQL_WRITE] = "write", [SQL_SESSION] = "session",
		[SQL_TRANSACTION] = "transaction", [SQL_UTILITY] = "utility", [SQL_UNKNOWN] = "unknown",
	};

	return names[class];
}

const char *sql_pin_name(enum sql_pin one_bit)
{
	static const char *const names[SQL_PIN_COUNT] = {
		"setting", "prepare", "temp", "listen", "advisory", "hold", "load", "seed", "function", "sequence", "unknown"
	};

	for (size_t i = 0; i < SQL_PIN_COUNT; i++)
		if ((uint32_t)one_bit & (1u << i))
			return names[i];
	return "none";
}

struct verdict *verdict_ref(struct verdict *v)
{
	v->refs++;
	return v;
}

void verdict_unref(struct verdict **v)
{
	if (*v && --(*v)->refs == 0)
		mem_free(*v);
	*v = NULL;
}

const char *verdict_reason(const struct verdict *v, char *out, size_t len)
{
	static const char *const names[SQL_R_COUNT] = {
		[SQL_R_READ] = "read", [SQL_R_WRITE] = "write", [SQL_R_ROW_LOCK] = "row-lock", [SQL_R_TRANSACTION] = "transaction",
		[SQL_R_UTILITY] = "utility", [SQL_R_SETTING] = "setting", [SQL_R_FUNCTION] = "function", [SQL_R_UNLOGGED] = "unlogged",
		[SQL_R_VOLATILE_VIEW] = "volatile-view", [SQL_R_UNPARSED] = "unparsed", [SQL_R_TOO_LONG] = "too-long",
		[SQL_R_NODE_LOCAL] = "node-local", [SQL_R_PINNED] = "pinned",
	};
	const char *name = v->reason_name;

	if (v->refused[0]) {
		snprintf(out, len, "retried:%s", v->refused);
		return out;
	}
	if (!name && v->reason == SQL_R_PINNED)
		name = sql_pin_name((enum sql_pin)v->pins);
	snprintf(out, len, "%s%s%s", names[v->reason], name ? ":" : "", name ? name : "");
	return out;
}

/* ---- one block: the struct, its arrays, its strings ---- */

/* Where the next piece of the block goes. */
struct packer {
	struct sql_name *names;
	char *text;
};

static size_t text_bytes(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static size_t list_bytes(const struct name_list *list)
{
	size_t bytes = list->count * sizeof(*list->items);

	for (size_t i = 0; i < list->count; i++)
		bytes += text_bytes(list->items[i].schema) + text_bytes(list->items[i].name);
	return bytes;
}

static const char *pack_text(struct packer *p, const char *text)
{
	size_t bytes = text_bytes(text);
	char *copy = p->text;

	if (!text)
		return NULL;
	memcpy(copy, text, bytes);
	p->text += bytes;
	return copy;
}

static const struct sql_name *pack_list(struct packer *p, const struct name_list *list, size_t *count)
{
	struct sql_name *names = p->names;

	p->names += list->count;
	*count = list->count;
	for (size_t i = 0; i < list->count; i++) {
		names[i].schema = pack_text(p, list->items[i].schema);
		names[i].name = pack_text(p, list->items[i].name);
	}
	return names;
}

struct verdict *verdict_build(const struct draft *d, struct hash128 shape, struct span shown)
{
	const struct name_list *lists[] = { &d->tables, &d->functions, &d->builtins, &d->types, &d->temps };
	size_t bytes = sizeof(struct verdict) + text_bytes(d->reason_name) + text_bytes(d->setting) + shown.len + 1, names = 0;
	struct packer p;
	struct verdict *v;

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		bytes += list_bytes(lists[i]);
		names += lists[i]->count;
	}
	v = mem_alloc(bytes);
	p.names = (struct sql_name *)(v + 1);
	p.text = (char *)(p.names + names);
	v->shape = shape;
	v->class = d->class;
	v->reason = d->reason;
	v->flags = d->flags;
	v->pins = d->pins;
	v->uses = d->uses;
	v->statements = (uint16_t)MIN(d->statements, UINT16_MAX);
	v->setting_verb = d->setting_verb;
	v->tables = pack_list(&p, &d->tables, &v->table_count);
	v->functions = pack_list(&p, &d->functions, &v->function_count);
	v->builtins = pack_list(&p, &d->builtins, &v->builtin_count);
	v->types = pack_list(&p, &d->types, &v->type_count);
	v->temps = pack_list(&p, &d->temps, &v->temp_count);
	v->reason_name = pack_text(&p, d->reason_name);
	v->setting = pack_text(&p, d->setting);
	memcpy(p.text, shown.data ? shown.data : "", shown.len);
	v->shown = p.text;
	v->refs = 1;
	v->bytes = bytes;
	return v;
}

static struct name_list borrow_list(const struct sql_name *names, size_t count)
{
	return (struct name_list){ .items = (struct sql_name *)(uintptr_t)names, .count = count };
}

struct verdict *verdict_refused(const struct verdict *v, const char *sqlstate)
{
	struct draft d = {
		.class = SQL_WRITE, .reason = SQL_R_WRITE, .flags = v->flags, .pins = v->pins, .uses = v->uses,
		.statements = v->statements, .setting_verb = v->setting_verb, .setting = (char *)(uintptr_t)v->setting,
		.tables = borrow_list(v->tables, v->table_count), .functions = borrow_list(v->functions, v->function_count),
		.builtins = borrow_list(v->builtins, v->builtin_count), .types = borrow_list(v->types, v->type_count),
		.temps = borrow_list(v->temps, v->temp_count),
	};
	struct verdict *copy = verdict_build(&d, v->shape, span_of(v->shown));

	snprintf(copy->refused, sizeof(copy->refused), "%s", sqlstate);
	return copy;
}

/* ---- without the grammar ---- */

struct verdict *verdict_of_words(struct span text, struct hash128 shape, enum sql_reason reason, bool is_readable)
{
	struct draft d = { .class = SQL_UNKNOWN, .reason = reason, .statements = 1 };
	struct buf shown = { 0 };
	struct verdict *v;

	words_scan(text, is_readable, &d);
	if (is_readable)
		shape_show(text, SHOWN_MAX_BYTES, &shown);
	else
		buf_add_str(&shown, "...");
	v = verdict_build(&d, shape, (struct span){ (const char *)shown.data, shown.len });
	buf_free(&shown);
	draft_free(&d);
	return v;
}

/* A text the grammar doesn't take: ours, or anybody's guess. */
static struct verdict *verdict_of_unparsed(struct span text, struct hash128 shape)
{
	struct draft d = { .class = SQL_SESSION, .reason = SQL_R_SETTING, .flags = SQL_F_PGSHUNT, .statements = 1 };
	struct buf shown = { 0 };
	struct verdict *v;

	if (!setting_read_own(text, &d.setting, &d.setting_verb))
		return verdict_of_words(text, shape, SQL_R_UNPARSED, true);
	shape_show(text, SHOWN_MAX_BYTES, &shown);
	v = verdict_build(&d, shape, (struct span){ (const char *)shown.data, shown.len });
	buf_free(&shown);
	draft_free(&d);
	return v;
}

/* ---- with it ---- */

/* Whether any literal of the text means another time tomorrow. The shape knows, so the verdict may. */
static bool has_dated_literal(struct span text)
{
	struct lexer lx = lexer_of(text);
	struct token t;

	while (lex_next(&lx, &t) != LEX_END && t.kind != LEX_ERROR)
		if (t.is_dated)
			return true;
	return false;
}

/* What counts only for a text of one statement. */
static void finish_draft(struct draft *d, struct span text)
{
	if (has_dated_literal(text))
		d->flags |= SQL_F_TX_START;
	if (d->statements > 1) {
		d->flags = (d->flags | SQL_F_MULTI) & ~(uint32_t)SQL_F_DISCARD_ALL;
	} else if (d->setting) {
		if (!(d->flags & SQL_F_DEALLOCATE)) {
			d->flags = (d->flags | SQL_F_PGSHUNT) & ~(uint32_t)SQL_F_EFFECTS;
			d->pins = 0;
		}
		return;
	}
	mem_free(d->setting);
	d->setting = NULL;
	d->setting_verb = SQL_SET;
}

/* What of a text's session state can be read from it again when it runs. */
struct judge {
	struct span rest;               /* of the text, statement by statement */
	uint32_t unread, read;          /* pins: if any statement isn't readable, if all are */
	unsigned effects, set_configs;
	bool is_unreadable;
};

/* The next statement that isn't empty; of length 0 behind the last one. */
static struct span next_statement(struct span *rest)
{
	struct span statement;

	do {
		struct scan s;
		size_t len = sql_split(*rest);
		statement = (struct span){ rest->data, len ? len : rest->len };
		*rest = (struct span){ rest->data + statement.len, rest->len - statement.len };
		s = scan_of(statement);
		if (!scan_at_end(&s))
			return statement;
	} while (rest->len > 0);
	return (struct span){ rest->data, 0 };
}

/* A set_config() counts only where it runs once: not beside a function that may give several rows. */
static void judge_statement(struct judge *j, const struct walk *w, uint32_t pins)
{
	uint32_t state = pins & (SQL_PIN_SETTING | SQL_PIN_PREPARE);
	struct effects e;
	bool is_read = effects_read(next_statement(&j->rest), NULL, NULL, &e) && (!state || e.count > 0) && e.set_configs == w->set_configs;

	is_read = is_read && !(w->set_configs > 0 && w->has_row_function);
	j->is_unreadable |= !is_read;
	j->set_configs += (unsigned)w->set_configs;
	j->effects += e.count;
	j->unread |= pins | (is_read || w->set_configs > 0 ? 0 : SQL_PIN_SETTING);
	j->read |= pins & ~state;
}

/* The lexer and the grammar must have seen the same statements, for it is the lexer that will cut them when they run. Beside one that
 * can't be read no other is: what those do must pin too. */
static void finish_judge(struct judge *j, struct draft *d)
{
	j->is_unreadable |= next_statement(&j->rest).len > 0;
	d->pins = j->is_unreadable ? j->unread | (j->effects > 0 ? SQL_PIN_SETTING : 0) : j->read;
	if (j->effects > 0 && !j->is_unreadable)
		d->flags |= SQL_F_EFFECTS;
	else if (j->set_configs > 0)
		d->flags |= SQL_F_NAMES;
}

static void walk_tree(const PgQuery__ParseResult *tree, struct span text, struct draft *d)
{
	struct walk w = { .draft = d };
	struct judge j = { .rest = text };

	for (size_t i = 0; i < tree->n_stmts; i++)
		if (tree->stmts[i]->stmt) {
			d->pins = 0;
			walk_statement(&w, &tree->stmts[i]->stmt->base);
			judge_statement(&j, &w, d->pins);
		}
	finish_judge(&j, d);
	walk_free(&w);
}

/* Whether a SELECT of it would be movable. */
static bool is_harmless(const PgQuery__Node *expression)
{
	struct draft d = { .class = SQL_EMPTY, .reason = SQL_R_READ };
	struct walk w = { .draft = &d };
	bool is_movable;

	walk_statement(&w, &expression->base);
	is_movable = d.class <= SQL_READ && d.reason == SQL_R_READ && !d.pins;
	walk_free(&w);
	draft_free(&d);
	return is_movable;
}

static bool only_executes(const PgQuery__ParseResult *tree)
{
	const PgQuery__ExecuteStmt *stmt;

	if (tree->n_stmts != 1 || !tree->stmts[0]->stmt || tree->stmts[0]->stmt->node_case != PG_QUERY__NODE__NODE_EXECUTE_STMT)
		return false;
	stmt = tree->stmts[0]->stmt->execute_stmt;
	for (size_t i = 0; i < stmt->n_params; i++)
		if (!is_harmless(stmt->params[i]))
			return false;
	return true;
}

static struct verdict *verdict_of_tree(const PgQuery__ParseResult *tree, struct span text, struct hash128 shape)
{
	struct draft d = { .class = SQL_EMPTY, .reason = SQL_R_READ };
	struct buf shown = { 0 };
	struct verdict *v;

	walk_tree(tree, text, &d);
	if ((d.flags & SQL_F_EFFECTS) && only_executes(tree))
		d.flags |= SQL_F_EXECUTES;
	finish_draft(&d, text);
	shape_show(text, SHOWN_MAX_BYTES, &shown);
	v = verdict_build(&d, shape, (struct span){ (const char *)shown.data, shown.len });
	buf_free(&shown);
	draft_free(&d);
	return v;
}

struct verdict *verdict_parse(struct span text, struct hash128 shape, uint32_t nesting_max)
{
	PgQuery__ParseResult *tree = NULL;
	PgQueryProtobufParseResult parsed;
	struct verdict *v;
	char *copy;

	if (memchr(text.data, '\0', text.len))
		return verdict_of_words(text, shape, SQL_R_UNPARSED, false);
	if (!nesting_is_within(text, MIN(nesting_max, NESTING_HARD_MAX)))
		return verdict_of_words(text, shape, SQL_R_UNPARSED, true);
	copy = mem_strndup(text.data, text.len);
	shape_blank_comments(copy, text.len);
	parsed = pg_query_parse_protobuf(copy);
	mem_free(copy);
	if (!parsed.error)
		tree = pg_query__parse_result__unpack(NULL, parsed.parse_tree.len, (const uint8_t *)parsed.parse_tree.data);
	v = tree ? verdict_of_tree(tree, text, shape) : verdict_of_unparsed(text, shape);
	if (tree)
		pg_query__parse_result__free_unpacked(tree, NULL);
	pg_query_free_protobuf_parse_result(parsed);
	return v;
}
