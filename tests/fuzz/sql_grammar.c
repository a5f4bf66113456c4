#include "sql_grammar.h"
#include "sql_literals.h"

struct rule {
	const char *name;
	const char *const *alternatives;
};

static const struct rule rules[] = {
#define RULE(name, ...) { name, (const char *const[]){ __VA_ARGS__, NULL } },
#include "sql_grammar.def"
#undef RULE
};

#define DEPTH_MAX 5
#define BYTES_MAX 1500

static const struct rule *find_rule(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (strlen(rules[i].name) == len && memcmp(rules[i].name, name, len) == 0)
			return &rules[i];
	return NULL;
}

static void write_literal(struct buf *out, const char *name, size_t len, struct dice *dice)
{
	static const struct {
		const char *name;
		enum pg_kind kind;
	} rows[] = { { "int", PG_INT }, { "float", PG_FLOAT }, { "string", PG_STRING }, { "bits", PG_BITS }, { "hex", PG_HEX } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strlen(rows[i].name) == len && memcmp(rows[i].name, name, len) == 0) {
			literal_write(out, rows[i].kind, dice);
			return;
		}
	ENSURE(!"a rule that isn't there");
}

static void expand(struct buf *out, const struct rule *rule, unsigned depth, struct dice *dice)
{
	bool is_short = depth >= DEPTH_MAX || out->len > BYTES_MAX;
	size_t count = 0;
	const char *at;

	while (rule->alternatives[count])
		count++;
	for (at = rule->alternatives[is_short ? 0 : dice_roll(dice, count)]; *at; at++) {
		const char *close = *at == '{' ? strchr(at, '}') : NULL;
		const struct rule *inner;
		if (!close) {
			buf_add_u8(out, (uint8_t)*at);
			continue;
		}
		inner = find_rule(at + 1, (size_t)(close - at) - 1);
		if (inner)
			expand(out, inner, depth + 1, dice);
		else
			write_literal(out, at + 1, (size_t)(close - at) - 1, dice);
		at = close;
	}
}

void grammar_write(struct buf *out, const char *rule, struct dice *dice)
{
	expand(out, find_rule(rule, strlen(rule)), 0, dice);
}
