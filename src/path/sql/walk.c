/* The walk itself knows nothing of SQL: it follows the message descriptors. What a node means is in handlers.c. */
#include "walk.h"

void name_list_add(struct name_list *list, const char *schema, const char *name)
{
	char key[160];
	size_t schema_len = schema ? strlen(schema) : 0, name_len = strlen(name), len = schema_len + name_len + 1;
	char *joined = len <= sizeof(key) ? key : mem_alloc(len);
	struct hash128 hash;

	memcpy(joined, schema ? schema : "", schema_len);
	joined[schema_len] = '\0';
	memcpy(joined + schema_len + 1, name, name_len);
	hash = hash_bytes(joined, len);
	if (joined != key)
		mem_free(joined);
	if (map_get(&list->seen, hash))
		return;
	map_put(&list->seen, hash, (void *)(uintptr_t)name);
	if (list->count == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 8;
		list->items = mem_realloc(list->items, list->cap * sizeof(*list->items));
	}
	list->items[list->count++] = (struct sql_name){ schema, name };
}

static void name_list_free(struct name_list *list)
{
	mem_free(list->items);
	map_free(&list->seen);
}

void draft_free(struct draft *draft)
{
	name_list_free(&draft->tables);
	name_list_free(&draft->functions);
	name_list_free(&draft->builtins);
	name_list_free(&draft->types);
	name_list_free(&draft->temps);
	mem_free(draft->setting);
	*draft = (struct draft){ .class = SQL_EMPTY };
}

void walk_push(struct walk *w, const void *msg, struct place place)
{
	if (!msg)
		return;
	if (w->depth == w->stack_cap) {
		w->stack_cap = w->stack_cap ? w->stack_cap * 2 : 256;
		w->stack = mem_realloc(w->stack, w->stack_cap * sizeof(*w->stack));
	}
	w->stack[w->depth++] = (struct visit){ msg, place };
}

/* Backwards, so that they are visited in the order of the text. */
void walk_push_list(struct walk *w, size_t count, void *msgs, struct place place)
{
	ProtobufCMessage **items = msgs;

	while (count > 0)
		walk_push(w, items[--count], place);
}

static void push_field(struct walk *w, const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field, struct place place)
{
	const char *base = (const char *)msg;

	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return;
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		walk_push_list(w, *(const size_t *)(base + field->quantifier_offset), *(void *const *)(base + field->offset), place);
		return;
	}
	if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && *(const uint32_t *)(base + field->quantifier_offset) != field->id)
		return;
	walk_push(w, *(void *const *)(base + field->offset), place);
}

void walk_push_children(struct walk *w, const ProtobufCMessage *msg, struct place place)
{
	for (unsigned i = msg->descriptor->n_fields; i > 0; i--)
		push_field(w, msg, &msg->descriptor->fields[i - 1], place);
}

/* A Node wraps one of 238 messages; its case says which, so that not every field has to be asked. */
static bool push_wrapped(struct walk *w, const ProtobufCMessage *msg, struct place place)
{
	const ProtobufCFieldDescriptor *field;
	uint32_t which;

	if (strcmp(msg->descriptor->short_name, "Node") != 0)
		return false;
	which = *(const uint32_t *)((const char *)msg + msg->descriptor->fields[0].quantifier_offset);
	field = which ? protobuf_c_message_descriptor_get_field(msg->descriptor, which) : NULL;
	if (field)
		push_field(w, msg, field, place);
	return true;
}

static unsigned reason_rank(enum sql_reason reason)
{
	return reason == SQL_R_READ ? 0 : reason == SQL_R_NODE_LOCAL ? 1 : 2;
}

void walk_raise(struct walk *w, struct place place, enum sql_class class, enum sql_reason reason, const char *name)
{
	if (place.is_quiet || class < w->class || (class == w->class && reason_rank(reason) <= reason_rank(w->reason)))
		return;
	w->class = class;
	w->reason = reason;
	w->reason_name = name;
}

uint32_t walk_add_cte(struct walk *w, const char *name, uint32_t before)
{
	if (w->cte_count == 0)
		w->cte_count = 1;
	if (w->cte_count >= w->cte_cap) {
		w->cte_cap = w->cte_cap ? w->cte_cap * 2 : 16;
		w->ctes = mem_realloc(w->ctes, w->cte_cap * sizeof(*w->ctes));
	}
	w->ctes[w->cte_count] = (struct cte){ name, before };
	return (uint32_t)w->cte_count++;
}

bool walk_sees_cte(const struct walk *w, uint32_t scope, const char *name)
{
	for (; scope != 0; scope = w->ctes[scope].before)
		if (strcmp(w->ctes[scope].name, name) == 0)
			return true;
	return false;
}

static bool is_statement(const char *node)
{
	size_t len = strlen(node);

	return len > 4 && strcmp(node + len - 4, "Stmt") == 0;
}

/* What the row says of the statement by itself. */
static void apply_row(struct walk *w, const struct handler *h, struct place place)
{
	if (h->class != SQL_EMPTY && !(place.is_planned && h->class != SQL_SESSION))
		walk_raise(w, place, h->class, h->reason, NULL);
	if (!place.is_planned) {
		w->draft->flags |= h->flags;
		w->draft->pins |= h->pins;
	}
}

static void visit(struct walk *w, struct visit v)
{
	const char *node = v.msg->descriptor->short_name;
	uint32_t flags = w->draft->flags, pins = w->draft->pins, uses = w->draft->uses;
	const struct handler *h;

	if (push_wrapped(w, v.msg, v.place))
		return;
	h = handler_find(node);
	if (!h && is_statement(node))
		h = handler_find("Stmt");
	if (h)
		apply_row(w, h, v.place);
	if (!h || !h->visit || h->visit(w, v.msg, v.place))
		walk_push_children(w, v.msg, v.place);
	if (v.place.is_quiet) {
		/* A definition does nothing of what it says; but one that names a temporary object is temporary itself. */
		w->draft->flags = flags;
		w->draft->pins = pins | (w->draft->pins & SQL_PIN_TEMP);
		w->draft->uses = uses | (w->draft->uses & SQL_PIN_TEMP);
	}
}

/* A statement that only asks the node about itself belongs on the node that the client thinks it is on: the primary. */
static void finish_statement(struct walk *w)
{
	struct draft *d = w->draft;

	if (w->class == SQL_READ && w->has_node_function && !w->has_user_table)
		walk_raise(w, (struct place){ .scope = 0 }, SQL_READ, SQL_R_NODE_LOCAL, NULL);
	if (d->statements == 0 || w->class > d->class || (w->class == d->class && reason_rank(w->reason) > reason_rank(d->reason))) {
		d->class = w->class;
		d->reason = w->reason;
		d->reason_name = w->reason_name;
	}
	d->statements++;
}

void walk_statement(struct walk *w, const ProtobufCMessage *stmt)
{
	w->class = SQL_EMPTY;
	w->reason = SQL_R_READ;
	w->reason_name = NULL;
	w->has_user_table = w->has_node_function = w->has_row_function = false;
	w->set_configs = 0;
	w->depth = w->cte_count = 0;
	walk_push(w, stmt, (struct place){ .scope = 0 });
	while (w->depth > 0)
		visit(w, w->stack[--w->depth]);
	finish_statement(w);
}

void walk_free(struct walk *w)
{
	mem_free(w->stack);
	mem_free(w->ctes);
}
