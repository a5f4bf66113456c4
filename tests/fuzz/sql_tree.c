#include "sql_tree.h"

#include "../../src/path/sql/shape.h"

#include <strings.h>

PgQuery__ParseResult *tree_parse(const char *text)
{
	char *copy = mem_strdup(text);
	PgQuery__ParseResult *tree = NULL;
	PgQueryProtobufParseResult parsed;

	shape_blank_comments(copy, strlen(copy));
	parsed = pg_query_parse_protobuf(copy);
	mem_free(copy);
	if (!parsed.error)
		tree = pg_query__parse_result__unpack(NULL, parsed.parse_tree.len, (const uint8_t *)parsed.parse_tree.data);
	pg_query_free_protobuf_parse_result(parsed);
	return tree;
}

static const void *field_at(const ProtobufCMessage *msg, size_t offset)
{
	return (const char *)msg + offset;
}

static bool is_absent(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field)
{
	return field->type != PROTOBUF_C_TYPE_MESSAGE ||
	       ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && *(const uint32_t *)field_at(msg, field->quantifier_offset) != field->id);
}

void tree_walk(const ProtobufCMessage *msg, tree_visit_fn *fn, void *owner)
{
	if (!msg)
		return;
	fn(owner, msg, msg->descriptor->short_name);
	for (unsigned i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &msg->descriptor->fields[i];
		if (is_absent(msg, field))
			continue;
		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			size_t count = *(const size_t *)field_at(msg, field->quantifier_offset);
			for (size_t j = 0; j < count; j++)
				tree_walk((*(ProtobufCMessage *const *const *)field_at(msg, field->offset))[j], fn, owner);
		} else {
			tree_walk(*(ProtobufCMessage *const *)field_at(msg, field->offset), fn, owner);
		}
	}
}

/* ---- dates ---- */

static bool is_letter(char c)
{
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = text; *at; at++)
		if (strncasecmp(at, word, len) == 0 && (at == text || !is_letter(at[-1])) && !is_letter(at[len]))
			return true;
	return false;
}

/* SET x = today makes a constant of a word. */
static bool is_literal_at(const char *at)
{
	return *at == '\'' || *at == '$' || at[1] == '\'' || strncmp(at + 1, "&'", 2) == 0;
}

struct dates {
	const char *sql, *found;
};

static void see_constant(void *owner, const ProtobufCMessage *msg, const char *name)
{
	static const char *const words[] = { "now", "today", "tomorrow", "yesterday" };
	const PgQuery__AConst *constant = (const PgQuery__AConst *)(const void *)msg;
	struct dates *dates = owner;

	if (strcmp(name, "AConst") != 0 || constant->val_case != PG_QUERY__A__CONST__VAL_SVAL)
		return;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (has_word(constant->sval->sval, words[i]) && is_literal_at(dates->sql + constant->location))
			dates->found = constant->sval->sval;
}

const char *tree_find_dated(const PgQuery__ParseResult *tree, const char *sql)
{
	struct dates dates = { .sql = sql };

	tree_walk(&tree->base, see_constant, &dates);
	return dates.found;
}
