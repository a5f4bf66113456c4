/* An upper bound of the depth of PostgreSQL's raw tree.
 *
 * A level is what stands between brackets: ( [ CASE and the text itself. Its depth is what it takes by itself, plus what the
 * operators of one operand can pile up, plus the joins, unions and sub-statements, which go on over commas. A comma, AND, OR,
 * WHEN begins a new operand; the deepest one counts (lists are flat, and the grammar flattens chains of AND and of OR). A
 * closed level becomes part of the operand it stands in. */
#include "nesting.h"
#include "lexer.h"

struct level {
	uint32_t own;           /* what the bracket itself may cost */
	uint32_t operand;       /* the operand being read */
	uint32_t deepest;       /* the deepest operand before it */
	uint32_t chained;       /* joins, set operations, clauses */
	uint16_t betweens;      /* BETWEEN without its AND so far: that AND begins no new operand */
	bool is_case;
};

#define BRACKET 10
#define LEVELS_MAX (NESTING_HARD_MAX / BRACKET + 1)

struct nesting {
	struct level levels[LEVELS_MAX];
	uint32_t open;          /* index of the innermost level */
	uint32_t below;         /* sum of what the levels outside the innermost take */
	uint32_t max;
	bool has_atomic;        /* BEGIN ATOMIC ... ; ... END: a semicolon may be inside a statement */
};

/* What a word may add. A bracket costs at most 4 messages of its own (xmlforest(a), a[i]), a named argument 2, and an AND
 * inside an OR 4 more. */
enum word_role { OPERAND, CHAIN, CASE_OPENS, CASE_ENDS, JOINS_OPERANDS, BETWEEN, ATOMIC };
static const struct {
	const char *word;
	enum word_role role;
	uint8_t messages;
} words[] = {
	{ "all", OPERAND, 2 }, { "and", JOINS_OPERANDS, 2 }, { "any", OPERAND, 2 }, { "array", OPERAND, 2 },
	{ "at", OPERAND, 2 }, { "atomic", ATOMIC, 4 }, { "begin", CHAIN, 4 }, { "between", BETWEEN, 4 }, { "by", OPERAND, 2 },
	{ "case", CASE_OPENS, BRACKET }, { "cast", OPERAND, 3 }, { "collate", OPERAND, 3 }, { "create", CHAIN, 4 },
	{ "cross", CHAIN, 2 }, { "delete", CHAIN, 3 }, { "else", JOINS_OPERANDS, 2 }, { "end", CASE_ENDS, 0 },
	{ "except", CHAIN, 2 }, { "exists", OPERAND, 2 }, { "explain", CHAIN, 2 }, { "filter", OPERAND, 2 }, { "from", OPERAND, 2 },
	{ "ilike", OPERAND, 4 }, { "in", OPERAND, 4 }, { "insert", CHAIN, 3 }, { "intersect", CHAIN, 2 }, { "into", CHAIN, 2 },
	{ "is", OPERAND, 4 }, { "isnull", OPERAND, 2 }, { "join", CHAIN, 2 }, { "lateral", OPERAND, 2 }, { "like", OPERAND, 4 },
	{ "merge", CHAIN, 3 }, { "natural", CHAIN, 1 }, { "not", OPERAND, 2 }, { "notnull", OPERAND, 2 }, { "or", JOINS_OPERANDS, 2 },
	{ "order", OPERAND, 2 }, { "over", OPERAND, 3 }, { "overlaps", OPERAND, 4 }, { "prepare", CHAIN, 2 }, { "row", OPERAND, 2 },
	{ "select", CHAIN, 4 }, { "similar", OPERAND, 4 }, { "some", OPERAND, 2 }, { "table", CHAIN, 4 }, { "then", JOINS_OPERANDS, 2 },
	{ "union", CHAIN, 2 }, { "update", CHAIN, 3 }, { "values", CHAIN, 4 }, { "when", JOINS_OPERANDS, 2 }, { "with", OPERAND, 4 },
};

static uint32_t level_depth(const struct level *l)
{
	return l->own + l->chained + MAX(l->operand, l->deepest);
}

static bool open_level(struct nesting *n, bool is_case)
{
	if (n->open + 1 == LEVELS_MAX)
		return false;
	n->below += level_depth(&n->levels[n->open]);
	n->levels[++n->open] = (struct level){ .own = BRACKET, .is_case = is_case };
	return true;
}

/* A bracket that nothing opened is a syntax error; the count just goes on. */
static void close_level(struct nesting *n, bool is_case)
{
	uint32_t depth;

	if (n->open == 0 || n->levels[n->open].is_case != is_case)
		return;
	depth = level_depth(&n->levels[n->open--]);
	n->below -= level_depth(&n->levels[n->open]);
	n->levels[n->open].operand += depth;
}

static void next_operand(struct level *l)
{
	l->deepest = MAX(l->deepest, l->operand);
	l->operand = 0;
	l->betweens = 0;
}

static void next_statement(struct nesting *n)
{
	struct level *l = &n->levels[n->open];

	if (n->open == 0 && !n->has_atomic)
		*l = (struct level){ .own = l->own };
	else
		next_operand(l);
}

static bool add_word(struct nesting *n, enum word_role role, uint32_t messages)
{
	struct level *l = &n->levels[n->open];

	switch (role) {
	case CASE_OPENS:
		return open_level(n, true);
	case CASE_ENDS:
		close_level(n, true);
		return true;
	case BETWEEN:
		l->betweens++;
		break;
	case JOINS_OPERANDS:
		if (l->betweens == 0)
			next_operand(l);
		else
			l->betweens--;
		break;
	case ATOMIC:
		n->has_atomic = true;
		l->chained += messages;
		return true;
	case CHAIN:
		l->chained += messages;
		return true;
	case OPERAND:
		break;
	}
	l->operand += messages;
	return true;
}

static bool add_self(struct nesting *n, char c)
{
	struct level *l = &n->levels[n->open];

	switch (c) {
	case '(': case '[':
		return open_level(n, false);
	case ')': case ']':
		close_level(n, false);
		return true;
	case ',':
		next_operand(l);
		return true;
	case ';':
		next_statement(n);
		return true;
	case '.':
		return true;
	}
	l->operand += 2;
	return true;
}

static bool add_token(struct nesting *n, const struct token *t)
{
	if (t->kind == LEX_SELF)
		return add_self(n, *t->at);
	if (t->kind == LEX_OPERATOR)
		n->levels[n->open].operand += 3;        /* x::type is three: TypeCast, TypeName and a modifier's Node */
	for (size_t i = 0; t->kind == LEX_WORD && i < ARRAY_LEN(words); i++)
		if (words[i].word[0] == (*t->at | 0x20) && token_is_word(t, words[i].word))
			return add_word(n, words[i].role, words[i].messages);
	return true;
}

bool nesting_is_within(struct span text, uint32_t max)
{
	struct nesting *n = mem_alloc(sizeof(*n));
	struct lexer lx = lexer_of(text);
	bool is_within = true;
	struct token t;

	n->levels[0].own = BRACKET;
	while (is_within && lex_next(&lx, &t) != LEX_END && t.kind != LEX_ERROR)
		is_within = add_token(n, &t) && n->below + level_depth(&n->levels[n->open]) <= max;
	mem_free(n);
	return is_within;
}
