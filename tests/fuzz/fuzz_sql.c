/* The oracle of the lexer, as a libFuzzer target. Of every text:
 * - our tokens are PostgreSQL's (pg_query_scan), wherever PostgreSQL can read the text at all;
 * - written again with other blanks, comments and case it has the same shape;
 * - a second text of the same shape, with other literals or small changes, or an earlier input, has the same tokens but for the
 *   values of literals, the same verdict, computed without the cache, and one pg_query_fingerprint;
 * - a constant of its tree that says now, today, tomorrow or yesterday is known to the verdict;
 * - what it does to the session, by its tree, is what sql_effects() reads from its tokens, or pins.
 * The text also runs through the functions that read hints, settings and statement ends: they must survive anything.
 *
 * tests/fuzz/planted shows that it finds the bugs of src/path/sql/fault.h. */
#include "sql_grammar.h"
#include "sql_mutate.h"
#include "sql_second.h"
#include "sql_state.h"
#include "sql_tokens.h"
#include "sql_tree.h"

#include "../../src/path/sql/lexer.h"
#include "../../src/path/sql/shape.h"

#include "pgshunt/sql.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX 3000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static const struct sql_mode plain = { true, true };

/* The input itself is saved by libFuzzer; what it was compared with may be needed to see it again. */
static void fail(const char *what, const char *a, const char *b)
{
	fprintf(stderr, "FOUND: %s\n--- A\n%s\n--- B\n%s\n---\n", what, a, b ? b : "");
	abort();
}

/* ---- a text and all that is known of it; what takes a parse, only once it is asked for ---- */

struct text {
	const char *sql;
	struct hash128 shape;
	bool is_scanned, is_readable, is_judged;
	struct pg_tokens tokens;
	struct verdict *verdict;
	uint64_t fingerprint;
	bool has_fingerprint;
};

static struct text text_of(const char *sql)
{
	struct buf normalized = { 0 };
	struct text t = { .sql = sql, .shape = sql_shape(span_of(sql), plain, &normalized) };

	buf_free(&normalized);
	return t;
}

static void text_scan(struct text *t)
{
	if (!t->is_scanned)
		t->is_readable = pg_tokens_read(t->sql, &t->tokens);
	t->is_scanned = true;
}

static void read_fingerprint(struct text *t)
{
	char *blanked = mem_strdup(t->sql);
	PgQueryFingerprintResult result;

	shape_blank_comments(blanked, strlen(blanked));
	result = pg_query_fingerprint(blanked);
	mem_free(blanked);
	t->has_fingerprint = !result.error;
	t->fingerprint = result.fingerprint;
	pg_query_free_fingerprint_result(result);
}

static void text_judge(struct text *t)
{
	static const struct sql_options no_cache = { .cache_max_bytes = 0, .parse_max_bytes = 65536, .nesting_max = 10000 };
	struct sql_cache *cache;

	if (t->is_judged)
		return;
	cache = sql_cache_new(&no_cache);
	t->verdict = sql_verdict(cache, span_of(t->sql), plain);
	sql_cache_free(&cache);
	read_fingerprint(t);
	t->is_judged = true;
}

static void text_free(struct text *t)
{
	pg_tokens_free(&t->tokens);
	verdict_unref(&t->verdict);
}

/* ---- tokens ---- */

static void check_tokens(const char *text, const struct pg_tokens *tokens)
{
	struct lexer lx = lexer_of(span_of(text));
	struct token t;

	for (size_t i = 0; i < tokens->count; i++) {
		const struct pg_token *want = &tokens->items[i];
		lex_next(&lx, &t);
		/* N'..' are two tokens there */
		if (t.kind == LEX_NATIONAL && i + 1 < tokens->count && t.at == text + want->at)
			t.at = text + (want = &tokens->items[++i])->at;
		/* what no rule matches PostgreSQL's scanner hands to the grammar, which refuses it */
		if (t.kind == LEX_ERROR && want->end - want->at == 1)
			return;
		if (t.kind == LEX_ERROR || t.at != text + want->at || t.end != text + want->end) {
			fprintf(stderr, "token at %zu..%zu, ours %zd..%zd kind %d\n", want->at, want->end, t.at - text, t.end - text, (int)t.kind);
			fail("tokens differ", text, NULL);
		}
	}
}

static bool is_lexed_to_the_end(const char *text)
{
	struct lexer lx = lexer_of(span_of(text));
	struct token t;

	while (lex_next(&lx, &t) != LEX_END)
		if (t.kind == LEX_ERROR)
			return false;
	return true;
}

/* ---- verdicts ---- */

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_names(const struct sql_name *a, size_t a_count, const struct sql_name *b, size_t b_count)
{
	for (size_t i = 0; i < a_count && i < b_count; i++)
		if (!same_text(a[i].schema, b[i].schema) || !same_text(a[i].name, b[i].name))
			return false;
	return a_count == b_count;
}

static bool same_verdict(const struct verdict *a, const struct verdict *b)
{
	return a->class == b->class && a->reason == b->reason && same_text(a->reason_name, b->reason_name) && a->flags == b->flags &&
	       a->pins == b->pins && a->uses == b->uses && a->statements == b->statements && a->setting_verb == b->setting_verb &&
	       same_text(a->setting, b->setting) && same_names(a->tables, a->table_count, b->tables, b->table_count) &&
	       same_names(a->functions, a->function_count, b->functions, b->function_count) &&
	       same_names(a->builtins, a->builtin_count, b->builtins, b->builtin_count) &&
	       same_names(a->types, a->type_count, b->types, b->type_count) && same_names(a->temps, a->temp_count, b->temps, b->temp_count);
}

static void describe(const struct verdict *v)
{
	char reason[200];

	fprintf(stderr, "%s %s flags %x pins %x uses %x statements %u tables %zu functions %zu builtins %zu types %zu: %s\n",
	        sql_class_name(v->class), verdict_reason(v, reason, sizeof(reason)), v->flags, v->pins, v->uses, v->statements,
	        v->table_count, v->function_count, v->builtin_count, v->type_count, v->shown);
}

static void check_pair(struct text *a, struct text *b)
{
	if (!hash128_equal(a->shape, b->shape) || strcmp(a->sql, b->sql) == 0)
		return;
	text_scan(a);
	text_scan(b);
	if (a->is_readable != b->is_readable)
		fail("one shape, but PostgreSQL's scanner reads only one", a->sql, b->sql);
	if (!pg_tokens_same(a->sql, &a->tokens, b->sql, &b->tokens))
		fail("one shape, different tokens", a->sql, b->sql);
	text_judge(a);
	text_judge(b);
	if (!same_verdict(a->verdict, b->verdict)) {
		describe(a->verdict);
		describe(b->verdict);
		fail("one shape, two verdicts", a->sql, b->sql);
	}
	if (a->has_fingerprint != b->has_fingerprint)
		fail("one shape, but only one parses", a->sql, b->sql);
	if (a->has_fingerprint && a->fingerprint != b->fingerprint)
		fail("one shape, two fingerprints", a->sql, b->sql);
}

/* ---- second texts ---- */

static void check_again(struct text *a, enum second_kind kind, struct dice *dice)
{
	struct buf again = { 0 };
	struct text b;

	second_write(&again, a->sql, &a->tokens, kind, dice);
	b = text_of(buf_cstr(&again));
	if (kind == SECOND_SAME && !hash128_equal(a->shape, b.shape))
		fail("other blanks or case, another shape", a->sql, b.sql);
	if (kind != SECOND_SAME)
		check_pair(a, &b);
	text_free(&b);
	buf_free(&again);
}

static void check_seconds(struct text *a, struct dice *dice)
{
	if (!a->is_readable)
		return;
	if (is_lexed_to_the_end(a->sql))
		check_again(a, SECOND_SAME, dice);
	check_again(a, SECOND_LITERALS, dice);
	for (int i = 0; i < 4; i++)
		check_again(a, SECOND_NEAR, dice);
}

/* Earlier inputs, by shape. */
static void check_against_seen(struct text *a)
{
	static char *seen[8192];
	char **slot = &seen[a->shape.lo % ARRAY_LEN(seen)];
	struct text b;

	if (*slot) {
		b = text_of(*slot);
		check_pair(a, &b);
		text_free(&b);
	}
	mem_free(*slot);
	*slot = mem_strdup(a->sql);
}

/* ---- the tree ---- */

/* Only a text in which a word of time may hide, or which may change the session's state, is worth a parse. */
static bool is_worth_a_tree(const char *text)
{
	static const char *const words[] = { "now", "today", "tomorrow", "yesterday", "\\", "'\n", "'\r", "set", "prepare", "execute", "savepoint",
		"release", "rollback", "discard", "deallocate", "listen" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcasestr(text, words[i]))
			return true;
	return false;
}

static void check_state(struct text *t, const PgQuery__ParseResult *tree)
{
	struct buf by_tree = { 0 }, by_tokens = { 0 };
	const char *wrong = state_compare(t->sql, tree, t->verdict, &by_tree, &by_tokens);

	if (wrong) {
		describe(t->verdict);
		fprintf(stderr, "by the tree:\n%sby the tokens:\n%s", buf_cstr(&by_tree), buf_cstr(&by_tokens));
		fail(wrong, t->sql, NULL);
	}
	buf_free(&by_tree);
	buf_free(&by_tokens);
}

static void check_tree(struct text *t)
{
	PgQuery__ParseResult *tree = is_worth_a_tree(t->sql) ? tree_parse(t->sql) : NULL;

	if (!tree)
		return;
	text_judge(t);
	if (tree_find_dated(tree, t->sql) && t->verdict->class != SQL_UNKNOWN && !(t->verdict->flags & SQL_F_TX_START))
		fail("a word of time isn't seen", t->sql, NULL);
	check_state(t, tree);
	pg_query__parse_result__free_unpacked(tree, NULL);
}

/* ---- all that reads text ---- */

static void see_hint(void *owner, struct span key, struct span value)
{
	*(size_t *)owner += key.len + value.len;
}

static void see_name(void *owner, const struct sql_effect *effect)
{
	*(size_t *)owner += strlen(effect->name);
}

static void check_readers(const char *text)
{
	static const struct sql_mode odd = { false, false };
	static const struct sql_options small = { .cache_max_bytes = 4096, .parse_max_bytes = 16, .nesting_max = 40 };
	struct sql_cache *cache = sql_cache_new(&small);
	struct verdict *v = sql_verdict(cache, span_of(text), odd);
	struct span rest = span_of(text);
	size_t hint_bytes = 0, name_bytes = 0, len;
	struct err err;
	char *value;

	verdict_unref(&v);
	v = sql_verdict(cache, span_of(text), plain);
	verdict_unref(&v);
	sql_cache_free(&cache);
	sql_hints(rest, see_hint, &hint_bytes);
	sql_setting_names(rest, see_name, &name_bytes);
	if (sql_setting_value(rest, &value, &err))
		mem_free(value);
	while ((len = sql_split(rest)) > 0)
		rest = (struct span){ rest.data + len, rest.len - len };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice dice = dice_of(data, size);
	struct text a;
	char *text;

	if (size > TEXT_MAX || memchr(data, 0, size))
		return 0;
	text = mem_strndup((const char *)data, size);
	a = text_of(text);
	text_scan(&a);
	if (a.is_readable)
		check_tokens(text, &a.tokens);
	check_readers(text);
	check_tree(&a);
	check_against_seen(&a);
	check_seconds(&a, &dice);
	text_free(&a);
	mem_free(text);
	return 0;
}

/* ---- for libFuzzer ---- */

static size_t give(struct buf *made, uint8_t *out, size_t max_size)
{
	size_t len = MIN(made->len, max_size);

	if (len)
		memcpy(out, made->data, len);
	buf_free(made);
	return len;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	struct dice dice = { seed };
	struct buf made = { 0 };

	if (size && dice_once_in(&dice, 8))
		return LLVMFuzzerMutate(data, size, max_size);
	mutate_text(&made, (struct span){ (const char *)data, size }, &dice);
	return give(&made, data, max_size);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out, size_t max_size, unsigned seed)
{
	struct dice dice = { seed };
	struct buf made = { 0 };

	/* libFuzzer would cross two texts every other time, and few of these are SQL */
	if (dice_once_in(&dice, 8))
		mutate_cross(&made, (struct span){ (const char *)a, a_size }, (struct span){ (const char *)b, b_size }, &dice);
	else
		mutate_text(&made, (struct span){ (const char *)a, a_size }, &dice);
	return give(&made, out, max_size);
}
