/* The hot path: every statement runs through shape_normalize(). Words, blanks and punctuation are handled in its own loop,
 * everything else by lex_next().
 *
 * A literal becomes one byte that says which kind of token the grammar sees. It stays as written where its value can change
 * the verdict (or whether the text parses at all):
 * - in utility statements (EXPLAIN (ANALYZE 0), COPY ... TO 'file'): everything not begun by a word of opening_words;
 * - in the parentheses of float(54), current_timestamp(6) ..., current_setting('in_hot_standby');
 * - behind UESCAPE, in U&'' and in strings with escapes the lexer doesn't read;
 * - in a statement with a U&"" identifier (it may spell any of those names);
 * - where it may be the bound of an array type (int[3]): libpg_query's fingerprint tells those apart.
 * 'now', 'today', 'tomorrow', 'yesterday' make a kind of their own. */
#include "shape.h"
#include "fault.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Bytes that begin no token: the marks of literals in the normalized text. */
enum {
	MARK_INT = 1, MARK_FLOAT, MARK_STRING, MARK_STRING_DATED, MARK_NATIONAL, MARK_NATIONAL_DATED, MARK_BITS, MARK_HEX,
	MARK_ERROR = 0x1a, MARK_WHOLE = 0x1b
};

static const uint8_t marks[][2] = {
	[LEX_INT] = { MARK_INT, MARK_INT },
	[LEX_FLOAT] = { MARK_FLOAT, MARK_FLOAT },
	[LEX_STRING] = { MARK_STRING, MARK_STRING_DATED },
	[LEX_STRING_UNICODE] = { MARK_STRING, MARK_STRING_DATED },
	[LEX_NATIONAL] = { MARK_NATIONAL, MARK_NATIONAL_DATED },
	[LEX_BITS] = { MARK_BITS, MARK_BITS },
	[LEX_HEX] = { MARK_HEX, MARK_HEX },
};

/* Where the next byte goes is not in here: the loop keeps it in a register. */
struct shaper {
	const uint8_t *begin;   /* of the normalized text */
	bool at_start;          /* no word of the current statement seen yet */
	bool keeps_all;         /* the current statement keeps its literals */
	uint32_t depth;         /* open parentheses */
	uint32_t keep_depth;    /* literals stay while depth >= this; 0 = off */
};

struct known_word {
	const char *text;
	size_t len;
};
#define WORD(text) { text, sizeof(text) - 1 }

/* Statements whose literals can't change what they do. SET is one: its value is read from the text when it is needed. */
static const struct known_word opening_words[] = {
	WORD("select "), WORD("insert "), WORD("update "), WORD("delete "), WORD("with "), WORD("set "), WORD("execute "),
	WORD("values "), WORD("table "), WORD("merge "), WORD("call "),
};
/* As they stand in the normalized text. */
static const struct known_word keeping_names[] = {
	WORD("float "), WORD("current_time "), WORD("current_timestamp "), WORD("localtime "), WORD("localtimestamp "),
	WORD("current_setting "), WORD("\"current_setting\" "),
};
static const struct known_word uescape = WORD("uescape ");

static bool is_opening_word(const uint8_t *word, size_t len)
{
	if (len == 7 && memcmp(word, "select ", 7) == 0)
		return true;
	for (size_t i = 1; i < ARRAY_LEN(opening_words); i++)
		if (opening_words[i].len == len && memcmp(opening_words[i].text, word, len) == 0)
			return true;
	return false;
}

static inline void see_first_word(struct shaper *s, const uint8_t *word, size_t len)
{
	s->at_start = false;
	s->keeps_all = !is_opening_word(word, len);
}

/* Whether the last token written is this word. */
static bool is_behind(const struct shaper *s, const uint8_t *out, const struct known_word *word)
{
	const uint8_t *at = out - word->len;

	return out - s->begin >= (ptrdiff_t)word->len && memcmp(at, word->text, word->len) == 0 &&
	       (at == s->begin || !lex_fold[at[-1]]);
}

/* The last two letters of keeping_names: nearly every parenthesis stands behind something that ends otherwise. */
static inline bool may_end_keeping_name(uint8_t last_but_one, uint8_t last)
{
	switch (last) {
	case 't': return last_but_one == 'a';
	case 'e': return last_but_one == 'm';
	case 'p': return last_but_one == 'm';
	case 'g': return last_but_one == 'n';
	case '"': return last_but_one == 'g';
	}
	return false;
}

static void open_parenthesis(struct shaper *s, const uint8_t *out)
{
	s->depth++;
	if (s->keep_depth || out - s->begin < 6 || out[-1] != ' ' || !may_end_keeping_name(out[-3], out[-2]))
		return;
	for (size_t i = 0; i < ARRAY_LEN(keeping_names); i++)
		if (is_behind(s, out, &keeping_names[i]))
			s->keep_depth = s->depth;
}

static void close_parenthesis(struct shaper *s)
{
	if (s->keep_depth == s->depth)
		s->keep_depth = 0;
	if (s->depth > 0)
		s->depth--;
}

static inline uint8_t *shape_punct(struct shaper *s, uint8_t *out, uint8_t c)
{
	if (c == '(')
		open_parenthesis(s, out);
	else if (c == ')')
		close_parenthesis(s);
	else if (c == ';' && s->depth == 0)
		*s = (struct shaper){ .begin = s->begin, .at_start = !FAULT(SECOND_STATEMENT) };
	*out = c;
	return out + 1;
}

#define EACH_BYTE(b) (0x0101010101010101ull * (b))

/* Copies ASCII letters, folded, and returns how many: 16 at a time where there is SSE2 (on every amd64). What it writes
 * behind them is overwritten later. */
static inline size_t copy_letters(uint8_t *out, const uint8_t *at)
{
#ifdef __SSE2__
	for (size_t copied = 0;; copied += 16) {
		__m128i lower = _mm_or_si128(_mm_loadu_si128((const __m128i *)(at + copied)), _mm_set1_epi8(0x20));
		__m128i offset = _mm_sub_epi8(lower, _mm_set1_epi8('a'));
		__m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(offset, _mm_set1_epi8('z' - 'a')), offset);
		unsigned others = (unsigned)_mm_movemask_epi8(is_letter) ^ 0xffff;
		_mm_storeu_si128((__m128i *)(out + copied), lower);
		if (others)
			return copied + (size_t)__builtin_ctz(others);
	}
#else
	(void)out, (void)at;
	return 0;
#endif
}

/* Copies a word and a blank behind it; *at comes to stand behind the word. */
static inline uint8_t *copy_word(uint8_t *out, const uint8_t **at)
{
	const uint8_t *from = *at;
	uint8_t folded;

	for (;;) {
		size_t letters = copy_letters(out, from);
		out += letters;
		from += letters;
		folded = lex_fold[*from];
		if (__builtin_expect(!folded, 1))
			break;
		*out++ = folded;
		from++;
	}
	*at = from;
	*out = ' ';
	return out + 1;
}

static uint8_t *write_token(uint8_t *out, const struct token *t)
{
	size_t len = (size_t)(t->end - t->at);

	memcpy(out, t->at, len);
	out[len] = ' ';
	return out + len + 1;
}

static inline bool is_kept(const struct shaper *s)
{
	return s->keeps_all || s->keep_depth;
}

static inline bool is_behind_uescape(const struct shaper *s, const uint8_t *out)
{
	return !FAULT(UESCAPE) && out - s->begin >= 8 && out[-2] == 'e' && out[-3] == 'p' && is_behind(s, out, &uescape);
}

static bool ends_name(const struct shaper *s, const uint8_t *out)
{
	return out - s->begin >= 2 && out[-1] == ' ' && (lex_fold[out[-2]] || out[-2] == '"');
}

/* The 3 in int[3] stands in the fingerprint. It could be a type wherever a name or a bracket stands before: `a[3]` looks the
 * same, and so does ARRAY[3] unless it follows an operator or an opening parenthesis. */
static bool may_be_bound(const struct shaper *s, const uint8_t *out, const struct token *t)
{
	static const struct known_word array = WORD("array ");
	const uint8_t *bracket = out - 1;

	if (t->kind != LEX_INT || out == s->begin || *bracket != '[' || bracket == s->begin)
		return false;
	if (is_behind(s, bracket, &array))
		bracket -= array.len;
	return ends_name(s, bracket) || (bracket > s->begin && !FAULT(ARRAY_BOUND) && (bracket[-1] == ']' || bracket[-1] == ')'));
}

static uint8_t *shape_literal(struct shaper *s, uint8_t *out, const struct token *t)
{
	if (s->at_start)
		s->keeps_all = true;
	if (t->is_opaque || is_kept(s) || (t->kind == LEX_STRING && is_behind_uescape(s, out)) || may_be_bound(s, out, t))
		return write_token(out, t);
	*out = marks[t->kind][t->is_dated];
	return out + 1;
}

static uint8_t *shape_token(struct shaper *s, uint8_t *out, const struct token *t)
{
	uint8_t *behind;

	switch (t->kind) {
	case LEX_INT: case LEX_FLOAT: case LEX_STRING: case LEX_STRING_UNICODE: case LEX_NATIONAL: case LEX_BITS: case LEX_HEX:
		return shape_literal(s, out, t);
	case LEX_WORD:
		behind = write_token(out, t);
		for (uint8_t *c = out; c < behind - 1; c++)
			*c = lex_fold[*c];
		if (s->at_start)
			see_first_word(s, out, (size_t)(behind - out));
		return behind;
	case LEX_SELF:
		if (lex_class[(uint8_t)*t->at] == CH_PUNCT)
			return shape_punct(s, out, (uint8_t)*t->at);
		break;
	case LEX_QUOTED_UNICODE:
		s->keeps_all = true;
		break;
	case LEX_QUOTED: case LEX_PARAM: case LEX_OPERATOR: case LEX_END: case LEX_ERROR:
		break;
	}
	return write_token(out, t);
}

/* Whatever isn't a blank, a plain word or punctuation. A zero byte, wherever it hides, ends what can be read. */
static uint8_t *shape_slowly(struct shaper *s, uint8_t *out, const uint8_t **at, const uint8_t *end)
{
	struct lexer lx = { (const char *)*at, (const char *)end };
	struct token t;
	bool is_readable = lex_next(&lx, &t) != LEX_ERROR && !memchr(*at, '\0', (size_t)(lx.at - (const char *)*at));

	if (t.kind != LEX_END && is_readable) {
		*at = (const uint8_t *)lx.at;
		return shape_token(s, out, &t);
	}
	if (!is_readable) {
		t = (struct token){ .kind = LEX_ERROR, .at = (const char *)*at, .end = (const char *)end };
		*out++ = MARK_ERROR;
		out = write_token(out, &t);
	}
	*at = end;
	return out;
}

/* ---- what is short and common, without lex_next(); NULL: it has to look ---- */

/* An integer of few digits that nothing can be part of: no dot, exponent, or letter follows. */
static inline const uint8_t *skip_plain_int(const uint8_t *at)
{
	const uint8_t *from = at;

	while ((uint8_t)(*at - '0') <= 9)
		at++;
	return at - from <= 9 + FAULT(LONG_INT) && lex_class[*at] != CH_LETTER && *at != '.' ? at : NULL;
}

/* Every word of time (now, today, tomorrow, yesterday) has a w or a y. */
static inline bool may_be_dated(const char *at, const char *end)
{
	for (; at < end; at += 8) {
		uint64_t word, w, y;
		memcpy(&word, at, 8);
		word |= EACH_BYTE(0x20);
		w = word ^ EACH_BYTE('w');
		y = word ^ EACH_BYTE(FAULT(DATED_FAST) ? 'w' : 'y');
		if ((((w - EACH_BYTE(1)) & ~w) | ((y - EACH_BYTE(1)) & ~y)) & EACH_BYTE(0x80))
			return true;
	}
	return false;
}

/* The plainest of strings: no quote inside, no word of time, and on its line nothing that might continue it. */
static inline const char *skip_plain_string(const char *at, const char *end)
{
	const char *close = memchr(at + 1, '\'', (size_t)(end - at - 1)), *behind = close ? close + 1 : NULL;

	if (!close || may_be_dated(at + 1, close) || memchr(at, '\0', (size_t)(close - at)))
		return NULL;
	while (*behind == ' ')
		behind++;
	return *behind != '\'' && *behind != '-' && lex_class[(uint8_t)*behind] != CH_BLANK ? behind : NULL;
}

/* One character that can't be the beginning of anything longer: an operator alone, or the dot in a.b. */
static inline bool is_plain_char(const uint8_t *at, enum char_class class)
{
	enum char_class next = (enum char_class)lex_class[at[1]];

	return class == CH_OPERATOR ? next != CH_OPERATOR : class == CH_DOT && next != CH_DOT && next != CH_DIGIT;
}

static inline uint8_t *shape_common(const struct shaper *s, uint8_t *out, const uint8_t **at, const uint8_t *end,
                                    enum char_class class)
{
	const uint8_t *behind = NULL;

	if (is_plain_char(*at, class)) {
		out[0] = *(*at)++;
		out[1] = ' ';
		return out + 2;
	}
	if (s->at_start || is_kept(s))
		return NULL;
	if (class == CH_DIGIT && (out == s->begin || out[-1] != '['))
		behind = skip_plain_int(*at);
	else if (class == CH_QUOTE && !is_behind_uescape(s, out))
		behind = (const uint8_t *)skip_plain_string((const char *)*at, (const char *)end);
	if (!behind)
		return NULL;
	*at = behind;
	*out = class == CH_DIGIT ? MARK_INT : MARK_STRING;
	return out + 1;
}

/* One letter that may be the prefix of a string: b'' x'' n'' e'' u&'' u&"". */
static inline bool is_prefix(const uint8_t *word, const uint8_t *behind)
{
	return __builtin_expect(behind - word == 1, 0) && (*behind == '\'' || *behind == '&');
}

static inline uint8_t *shape_word(struct shaper *s, uint8_t *out, const uint8_t **at)
{
	const uint8_t *word = *at;
	uint8_t *behind = copy_word(out, at);

	if (is_prefix(word, *at)) {
		*at = word;
		return NULL;
	}
	if (s->at_start)
		see_first_word(s, out, (size_t)(behind - out));
	*at += **at == ' ';
	return behind;
}

size_t shape_normalize(const char *padded, size_t len, uint8_t *out)
{
	const uint8_t *at = (const uint8_t *)padded, *end = at + len;
	struct shaper s = { .begin = out, .at_start = true };
	uint8_t *next;

	while (at < end) {
		enum char_class class = (enum char_class)lex_class[*at];
		if (class == CH_LETTER) {
			next = shape_word(&s, out, &at);
		} else if (class == CH_BLANK) {
			at++;
			continue;
		} else if (class == CH_PUNCT) {
			next = shape_punct(&s, out, *at++);
		} else {
			next = shape_common(&s, out, &at, end, class);
		}
		out = next ? next : shape_slowly(&s, out, &at, end);
	}
	return (size_t)(out - s.begin);
}

struct span shape_in(struct buf *room, struct span text)
{
	size_t normalized_bytes = SHAPE_ROOM(text.len);
	uint8_t *padded;

	if (room->cap < normalized_bytes + text.len + SHAPE_PAD)
		buf_reserve(room, normalized_bytes + text.len + SHAPE_PAD);
	padded = room->data + normalized_bytes;
	memcpy(padded, text.data, text.len);
	memset(padded + text.len, 0, SHAPE_PAD);
	return (struct span){ (const char *)room->data, shape_normalize((const char *)padded, text.len, room->data) };
}

bool shape_is_readable_oddly(struct span text, struct sql_mode mode)
{
	if (!mode.standard_conforming_strings && memchr(text.data, '\\', text.len))
		return false;
	for (size_t i = 0; !mode.ascii_safe_encoding && i < text.len; i++)
		if ((uint8_t)text.data[i] >= 0x80)
			return false;
	return true;
}

struct hash128 shape_of_whole(struct span text)
{
	struct hash128 hash = hash_bytes(text.data, text.len);

	hash.hi ^= MARK_WHOLE;
	return hash;
}

struct hash128 sql_shape(struct span text, struct sql_mode mode, struct buf *normalized)
{
	struct buf room = { 0 };
	struct span shape = text;
	struct hash128 hash;

	if (shape_is_readable(text, mode)) {
		shape = shape_in(&room, text);
		hash = hash_bytes(shape.data, shape.len);
	} else {
		hash = shape_of_whole(text);
	}
	buf_add(normalized, shape.data, shape.len);
	buf_free(&room);
	return hash;
}
