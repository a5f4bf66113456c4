/* The oracle of the lexer, as a libFuzzer target:
 * - our tokens are PostgreSQL's (pg_query_scan), wherever PostgreSQL can read the text at all;
 * - two texts of one shape have the same verdict, computed without the cache, and one pg_query_fingerprint. The second text is
 *   the first with other literals, blanks, comments and case; or an earlier input that happens to have the same shape.
 * The text also runs through the functions that read hints, settings and statement ends: they must survive anything.
 *
 *   clang -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Iinclude -Isrc/path/sql tests/fuzz/fuzz_sql.c \
 *       src/path/sql/[a-z]*.c src/core/base/[a-z]*.c -lpg_query -lprotobuf-c -o fuzz_sql
 *   ./fuzz_sql -dict=tests/fuzz/sql.dict -detect_leaks=0 tests/fuzz/corpus/sql */
#include "../../src/path/sql/lexer.h"
#include "../../src/path/sql/shape.h"

#include "pgshunt/sql.h"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX 3000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct sql_mode plain = { true, true };

static void fail(const char *what, const char *a, const char *b)
{
	fprintf(stderr, "%s\n--- A\n%s\n--- B\n%s\n", what, a, b ? b : "");
	abort();
}

/* ---- tokens ---- */

static bool is_comment(const PgQuery__ScanToken *t)
{
	return t->token == PG_QUERY__TOKEN__SQL_COMMENT || t->token == PG_QUERY__TOKEN__C_COMMENT;
}

static void check_tokens(const char *text)
{
	PgQueryScanResult scanned = pg_query_scan(text);
	struct lexer lx = lexer_of(span_of(text));
	PgQuery__ScanResult *tokens;
	struct token t;

	if (scanned.error) {
		pg_query_free_scan_result(scanned);
		return;
	}
	tokens = pg_query__scan_result__unpack(NULL, scanned.pbuf.len, (uint8_t *)scanned.pbuf.data);
	for (size_t i = 0; i < tokens->n_tokens; i++) {
		const PgQuery__ScanToken *want = tokens->tokens[i];
		if (is_comment(want))
			continue;
		lex_next(&lx, &t);
		/* what no rule matches PostgreSQL's scanner hands to the grammar, which refuses it */
		if (t.kind == LEX_ERROR && want->end - want->start == 1)
			break;
		/* N'..' are two tokens there: NCHAR and the string */
		if (t.kind == LEX_NATIONAL && i + 1 < tokens->n_tokens && t.at - text == want->start)
			t.at = text + (want = tokens->tokens[++i])->start;
		/* libpg_query, not PostgreSQL, ends a string at a comment: 'a' -- x (newline) 'b' */
		if ((t.is_opaque || t.kind == LEX_ERROR) && t.at - text == want->start && t.end - text > want->end &&
		    i + 1 < tokens->n_tokens && is_comment(tokens->tokens[i + 1]))
			break;
		/* pg_query_scan doesn't tell where U&'..' and U&".." end: where the next token begins will show */
		if (t.kind == LEX_STRING_UNICODE || t.kind == LEX_QUOTED_UNICODE)
			t.end = text + want->end;
		if (t.kind == LEX_ERROR || t.at - text != want->start || t.end - text != want->end) {
			fprintf(stderr, "token at %d..%d, ours %d..%d kind %d\n", want->start, want->end, (int)(t.at - text),
			        (int)(t.end - text), (int)t.kind);
			fail("tokens differ", text, NULL);
		}
	}
	pg_query__scan_result__free_unpacked(tokens, NULL);
	pg_query_free_scan_result(scanned);
}

/* ---- verdicts ---- */

static struct verdict *verdict_of(const char *text)
{
	static const struct sql_options no_cache = { .cache_max_bytes = 0, .parse_max_bytes = 65536, .nesting_max = 10000 };
	struct sql_cache *cache = sql_cache_new(&no_cache);
	struct verdict *v = sql_verdict(cache, span_of(text), plain);

	sql_cache_free(&cache);
	return v;
}

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
	       same_names(a->types, a->type_count, b->types, b->type_count);
}

static void describe(const struct verdict *v)
{
	char reason[200];

	fprintf(stderr, "%s %s flags %x pins %x uses %x statements %u tables %zu functions %zu builtins %zu types %zu: %s\n",
	        sql_class_name(v->class), verdict_reason(v, reason, sizeof(reason)), v->flags, v->pins, v->uses, v->statements,
	        v->table_count, v->function_count, v->builtin_count, v->type_count, v->shown);
}

static void check_fingerprints(const char *a, const char *b)
{
	char *blank_a = mem_strdup(a), *blank_b = mem_strdup(b);
	PgQueryFingerprintResult fa, fb;

	shape_blank_comments(blank_a, strlen(a));
	shape_blank_comments(blank_b, strlen(b));
	fa = pg_query_fingerprint(blank_a);
	fb = pg_query_fingerprint(blank_b);
	mem_free(blank_a);
	mem_free(blank_b);
	if (!fa.error != !fb.error)
		fail("one shape, but only one parses", a, b);
	if (!fa.error && fa.fingerprint != fb.fingerprint)
		fail("one shape, two fingerprints", a, b);
	pg_query_free_fingerprint_result(fa);
	pg_query_free_fingerprint_result(fb);
}

static bool is_same_shape(const char *a, const char *b)
{
	struct buf na = { 0 }, nb = { 0 };
	bool same = hash128_equal(sql_shape(span_of(a), plain, &na), sql_shape(span_of(b), plain, &nb));

	buf_free(&na);
	buf_free(&nb);
	return same;
}

static void check_pair(const char *a, const char *b)
{
	struct verdict *va, *vb;

	if (strcmp(a, b) == 0 || !is_same_shape(a, b))
		return;
	va = verdict_of(a);
	vb = verdict_of(b);
	if (!same_verdict(va, vb)) {
		describe(va);
		describe(vb);
		fail("one shape, two verdicts", a, b);
	}
	verdict_unref(&va);
	verdict_unref(&vb);
	check_fingerprints(a, b);
}

/* ---- the second text ---- */

static uint32_t dice_state;

static uint32_t dice(uint32_t sides)
{
	dice_state = dice_state * 1664525u + 1013904223u;
	return (dice_state >> 8) % sides;
}

static const char *pick(const char *const *items, size_t count)
{
	return items[dice((uint32_t)count)];
}

static void add_blank(struct buf *out)
{
	static const char *const blanks[] = { " ", "\n", "\t", " \r\n", "/* x */", "/* ' /* */ \" */", "-- it's\n", " --\r", "\f" };

	buf_add_str(out, pick(blanks, ARRAY_LEN(blanks)));
}

static void add_literal(struct buf *out, const struct token *t)
{
	static const char *const ints[] = { "0", "1", "42", "2147483647", "0000000000000000000007", "54", "25", "100" };
	static const char *const floats[] = { "1.5", ".5", "1.", "1e10", "2147483648", "1.e-3", "99999999999999999999" };
	static const char *const strings[] = {
		"''", "'a'", "'it''s'", "$$x$$", "$q$ ' $q$", "E'\\\\'", "e'\\''", "'\\'", "'1'", "'t'", "'pg_temp'", "'in_hot_standby'",
		"'; drop'", "'--'", "'/*'", "'work_mem'", "E'a\\nb'", "'%'", "'on'", "'nowhere'"
	};
	static const char *const dated[] = { "'now'", "'Today 10:00'", "$$tomorrow$$", "E'\\tyesterday'", "'[now,)'" };
	static const char *const nationals[] = { "N'x'", "n''" };
	static const char *const bits[] = { "B'01'", "b''", "B'2'" };
	static const char *const hexes[] = { "X'1F'", "x''", "x'zz'" };

	switch (t->kind) {
	case LEX_INT: buf_add_str(out, pick(ints, ARRAY_LEN(ints))); break;
	case LEX_FLOAT: buf_add_str(out, pick(floats, ARRAY_LEN(floats))); break;
	case LEX_STRING: buf_add_str(out, t->is_dated ? pick(dated, ARRAY_LEN(dated)) : pick(strings, ARRAY_LEN(strings))); break;
	case LEX_NATIONAL: buf_add_str(out, pick(nationals, ARRAY_LEN(nationals))); break;
	case LEX_BITS: buf_add_str(out, pick(bits, ARRAY_LEN(bits))); break;
	case LEX_HEX: buf_add_str(out, pick(hexes, ARRAY_LEN(hexes))); break;
	default: buf_add(out, t->at, (size_t)(t->end - t->at)); break;
	}
}

static void add_word(struct buf *out, const struct token *t)
{
	bool is_upper = dice(2);

	for (const char *c = t->at; c < t->end; c++)
		buf_add_u8(out, is_upper && *c >= 'a' && *c <= 'z' ? (uint8_t)(*c - 32) : (uint8_t)*c);
}

static char *mutate(const char *text)
{
	struct lexer lx = lexer_of(span_of(text));
	struct buf out = { 0 };
	struct token t;
	char *result;

	while (lex_next(&lx, &t) != LEX_END && t.kind != LEX_ERROR) {
		if (out.len == 0 ? dice(4) == 0 : true)
			add_blank(&out);
		if (token_is_literal(&t) && dice(2))
			add_literal(&out, &t);
		else if (t.kind == LEX_WORD)
			add_word(&out, &t);
		else
			buf_add(&out, t.at, (size_t)(t.end - t.at));
	}
	if (t.kind == LEX_ERROR) {
		add_blank(&out);
		buf_add(&out, t.at, (size_t)(t.end - t.at));
	}
	result = mem_strdup(buf_cstr(&out));
	buf_free(&out);
	return result;
}

/* ---- all that reads text ---- */

static void see_hint(void *owner, struct span key, struct span value)
{
	*(size_t *)owner += key.len + value.len;
}

static void check_readers(const char *text)
{
	static const struct sql_mode odd = { false, false };
	static const struct sql_options small = { .cache_max_bytes = 4096, .parse_max_bytes = 16, .nesting_max = 40 };
	struct sql_cache *cache = sql_cache_new(&small);
	struct verdict *v = sql_verdict(cache, span_of(text), odd);
	struct span rest = span_of(text);
	size_t hint_bytes = 0, len;
	struct err err;
	char *value;

	verdict_unref(&v);
	v = sql_verdict(cache, span_of(text), plain);
	verdict_unref(&v);
	sql_cache_free(&cache);
	sql_hints(rest, see_hint, &hint_bytes);
	if (sql_setting_value(rest, &value, &err))
		mem_free(value);
	while ((len = sql_split(rest)) > 0)
		rest = (struct span){ rest.data + len, rest.len - len };
}

/* ---- earlier inputs by shape ---- */

#define SEEN 8192
static char *seen[SEEN];

static void check_against_seen(const char *text)
{
	struct buf normalized = { 0 };
	uint64_t slot = sql_shape(span_of(text), plain, &normalized).lo % SEEN;

	buf_free(&normalized);
	if (seen[slot])
		check_pair(text, seen[slot]);
	mem_free(seen[slot]);
	seen[slot] = mem_strdup(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text, *other;

	if (size > TEXT_MAX || memchr(data, 0, size))
		return 0;
	text = mem_strndup((const char *)data, size);
	dice_state = 2166136261u;
	for (size_t i = 0; i < size; i++)
		dice_state = (dice_state ^ data[i]) * 16777619u;
	check_tokens(text);
	check_readers(text);
	check_against_seen(text);
	for (int i = 0; i < 2; i++) {
		other = mutate(text);
		check_pair(text, other);
		mem_free(other);
	}
	mem_free(text);
	return 0;
}
