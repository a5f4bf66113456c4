#include "lexer.h"
#include "fault.h"

/* One row a byte that begins a token; everything from 0x80 is a letter (scan.l: ident_start). */
#define LETTERS(first) [first ... (first) + 25] = CH_LETTER
const uint8_t lex_class[256] = {
	[' '] = CH_BLANK, ['\t'] = CH_BLANK, ['\n'] = CH_BLANK, ['\r'] = CH_BLANK, ['\f'] = CH_BLANK,
	LETTERS('a'), LETTERS('A'), ['_'] = CH_LETTER, [0x80 ... 0xff] = CH_LETTER,
	['0' ... '9'] = CH_DIGIT, ['\''] = CH_QUOTE, ['"'] = CH_DOUBLE_QUOTE, ['$'] = CH_DOLLAR, ['.'] = CH_DOT, [':'] = CH_COLON,
	[','] = CH_PUNCT, ['('] = CH_PUNCT, [')'] = CH_PUNCT, ['['] = CH_PUNCT, [']'] = CH_PUNCT, [';'] = CH_PUNCT,
	['~'] = CH_OPERATOR, ['!'] = CH_OPERATOR, ['@'] = CH_OPERATOR, ['#'] = CH_OPERATOR, ['^'] = CH_OPERATOR, ['&'] = CH_OPERATOR,
	['|'] = CH_OPERATOR, ['`'] = CH_OPERATOR, ['?'] = CH_OPERATOR, ['+'] = CH_OPERATOR, ['-'] = CH_OPERATOR, ['*'] = CH_OPERATOR,
	['/'] = CH_OPERATOR, ['%'] = CH_OPERATOR, ['<'] = CH_OPERATOR, ['>'] = CH_OPERATOR, ['='] = CH_OPERATOR,
};

#define ROW8(c) (c), (c) + 1, (c) + 2, (c) + 3, (c) + 4, (c) + 5, (c) + 6, (c) + 7
#define ROW32(c) ROW8(c), ROW8((c) + 8), ROW8((c) + 16), ROW8((c) + 24)
const uint8_t lex_fold[256] = {
	['$'] = '$', ['0'] = ROW8('0'), '8', '9',
	['A'] = ROW8('a'), ROW8('i'), ROW8('q'), 'y', 'z',
	['_'] = '_',
	['a'] = ROW8('a'), ROW8('i'), ROW8('q'), 'y', 'z',
	[0x80] = ROW32(0x80), ROW32(0xa0), ROW32(0xc0), ROW32(0xe0),
};

static enum char_class class_at(const char *at, const char *end)
{
	return at < end ? (enum char_class)lex_class[(uint8_t)*at] : CH_ERROR;
}

static bool is_digit_at(const char *at, const char *end)
{
	return at < end && *at >= '0' && *at <= '9';
}

static bool is_at(const char *at, const char *end, char c)
{
	return at < end && *at == c;
}

static enum token_kind finish(struct lexer *lx, struct token *t, enum token_kind kind, const char *end)
{
	t->kind = kind;
	t->end = lx->at = end;
	return kind;
}

static enum token_kind fail(struct lexer *lx, struct token *t)
{
	t->kind = LEX_ERROR;
	t->is_dated = t->is_opaque = false;
	t->end = lx->end;
	lx->at = t->at;
	return LEX_ERROR;
}

/* ---- blanks and comments ---- */

static const char *skip_line(const char *at, const char *end)
{
	while (at < end && *at != '\n' && *at != '\r')
		at++;
	return at;
}

/* at is behind the opening slash-star. NULL when it never closes. */
static const char *skip_comment(const char *at, const char *end)
{
	size_t depth = 1;

	while (end - at >= 2) {
		if (at[0] == '*' && at[1] == '/') {
			at += 2;
			if (--depth == 0)
				return at;
		} else if (at[0] == '/' && at[1] == '*' && !FAULT(NESTED_COMMENT)) {
			at += 2;
			depth++;
		} else {
			at++;
		}
	}
	return NULL;
}

static bool is_pair(const char *at, const char *end, char first, char second)
{
	return end - at >= 2 && at[0] == first && at[1] == second;
}

/* False: a comment that never ends; lx stands at its start. */
static bool skip_blanks(struct lexer *lx)
{
	while (lx->at < lx->end) {
		if (class_at(lx->at, lx->end) == CH_BLANK) {
			lx->at++;
		} else if (is_pair(lx->at, lx->end, '-', '-')) {
			lx->at = skip_line(lx->at, lx->end);
		} else if (is_pair(lx->at, lx->end, '/', '*')) {
			const char *behind = skip_comment(lx->at + 2, lx->end);
			if (!behind)
				return false;
			lx->at = behind;
		} else {
			break;
		}
	}
	return true;
}

/* ---- strings ---- */

/* Finds the words now, today, tomorrow, yesterday in a stream of characters. */
struct date_words {
	char word[10];
	uint8_t len;
	bool found;
};

static void date_words_end(struct date_words *d)
{
	static const char *const words[] = { "now", "today", "tomorrow", "yesterday" };

	for (size_t i = 0; d->len >= 3 && i < ARRAY_LEN(words); i++)
		d->found |= strlen(words[i]) == d->len && memcmp(words[i], d->word, d->len) == 0;
	d->len = 0;
}

static void date_words_add(struct date_words *d, char c)
{
	uint8_t folded = (uint8_t)c | (FAULT(DATED_CASE) ? 0 : 0x20);

	if (folded < 'a' || folded > 'z')
		date_words_end(d);
	else if (d->len < sizeof(d->word))
		d->word[d->len++] = (char)folded;
}

static bool has_date_words(const char *at, const char *end)
{
	struct date_words d = { .len = 0 };

	for (; at < end; at++)
		date_words_add(&d, *at);
	date_words_end(&d);
	return d.found;
}

/* at is behind a closing quote. Behind the opening quote of the continuation ('a' newline 'b'), or NULL when there is none. */
static const char *find_continuation(const char *at, const char *end)
{
	bool saw_newline = false;

	for (; at < end; at++) {
		if (*at == '\n' || *at == '\r')
			saw_newline = true;
		else if (is_pair(at, end, '-', '-') && !FAULT(CONTINUATION))
			at = skip_line(at, end) - 1;
		else if (class_at(at, end) != CH_BLANK)
			break;
	}
	return saw_newline && is_at(at, end, '\'') ? at + 1 : NULL;
}

/* One quoted piece; at is behind its opening quote. Behind its closing quote, or NULL. */
static const char *skip_quoted(const char *at, const char *end, char quote, bool is_doubled)
{
	for (;;) {
		at = memchr(at, quote, (size_t)(end - at));
		if (!at)
			return NULL;
		at++;
		if (!is_doubled || !is_at(at, end, quote))
			return at;
		at++;
	}
}

/* The simple escapes of E'': what stands behind the backslash is control character, quote, or itself. A letter that stands
 * for itself, octal, hex and Unicode escapes could spell anything: the string is then opaque. */
static void read_escape(struct token *t, char c, struct date_words *words)
{
	bool is_alnum = lex_class[(uint8_t)c] == CH_LETTER || lex_class[(uint8_t)c] == CH_DIGIT;

	if (is_alnum && !strchr("bfnrt", c) && !FAULT(ESCAPE_SPELLS))
		t->is_opaque = t->is_dated = true;
	date_words_end(words);
}

static const char *skip_escaped(struct token *t, const char *at, const char *end, struct date_words *words)
{
	while (at < end) {
		if (*at == '\\') {
			if (end - at < 2)
				return NULL;
			read_escape(t, at[1], words);
			at += 2;
		} else if (*at != '\'') {
			date_words_add(words, *at++);
		} else if (is_at(at + 1, end, '\'')) {
			date_words_end(words);
			at += 2;
		} else {
			return at + 1;
		}
	}
	return NULL;
}

/* at is behind the opening quote. The words of one string may run across its pieces ('no' newline 'w'), so a string of
 * several is opaque and counted as dated. */
static enum token_kind lex_string(struct lexer *lx, struct token *t, enum token_kind kind, const char *at, bool has_escapes)
{
	bool is_doubled = kind != LEX_BITS && kind != LEX_HEX;
	struct date_words words = { .len = 0 };

	for (;;) {
		const char *from = at, *next;
		at = has_escapes ? skip_escaped(t, at, lx->end, &words) : skip_quoted(at, lx->end, '\'', is_doubled);
		if (!at)
			return fail(lx, t);
		if (is_doubled && !has_escapes)
			t->is_dated |= has_date_words(from, at);
		next = find_continuation(at, lx->end);
		if (!next)
			break;
		t->is_opaque = true;
		t->is_dated |= is_doubled;
		at = next;
	}
	date_words_end(&words);
	t->is_dated |= words.found;
	if (kind == LEX_STRING_UNICODE)
		t->is_dated = t->is_opaque = true;
	return finish(lx, t, kind, at);
}

static const char *skip_tag(const char *at, const char *end)
{
	if (class_at(at, end) != CH_LETTER)
		return at;
	while (at < end && *at != '$' && lex_fold[(uint8_t)*at])
		at++;
	return at;
}

static enum token_kind lex_param(struct lexer *lx, struct token *t)
{
	const char *at = t->at + 1;

	while (is_digit_at(at, lx->end))
		at++;
	if (class_at(at, lx->end) == CH_LETTER)
		return fail(lx, t);
	return finish(lx, t, LEX_PARAM, at);
}

static enum token_kind lex_dollar(struct lexer *lx, struct token *t)
{
	const char *at, *close;
	size_t tag_len;

	if (is_digit_at(t->at + 1, lx->end))
		return lex_param(lx, t);
	at = skip_tag(t->at + 1, lx->end);
	if (!is_at(at, lx->end, '$'))
		return fail(lx, t);
	at++;
	tag_len = (size_t)(at - t->at);
	at -= FAULT(DOLLAR_TAG);
	close = memmem(at, (size_t)(lx->end - at), t->at, tag_len);
	if (!close)
		return fail(lx, t);
	t->is_dated = has_date_words(at, close);
	return finish(lx, t, LEX_STRING, close + tag_len);
}

/* ---- numbers ---- */

static bool fits_int4(const char *at, const char *end)
{
	uint64_t value = 0;

	if (end - at < 10)              /* 999,999,999 does */
		return true;
	for (; at < end && value <= INT32_MAX; at++)
		value = value * 10 + (uint64_t)(*at - '0');
	return value <= INT32_MAX;
}

static const char *skip_digits(const char *at, const char *end)
{
	while (at < end && (unsigned char)(*at - '0') < 10)
		at++;
	return at;
}

static enum token_kind lex_number(struct lexer *lx, struct token *t)
{
	const char *at = t->at, *end = lx->end;
	bool is_float = false;

	at = skip_digits(at, end);
	if (is_at(at, end, '.') && !(at > t->at && is_at(at + 1, end, '.'))) {
		is_float = true;
		for (at++; is_digit_at(at, end);)
			at++;
	}
	if (is_at(at, end, 'e') || is_at(at, end, 'E')) {
		const char *digits = at + 1 + (is_at(at + 1, end, '+') || is_at(at + 1, end, '-'));
		if (!is_digit_at(digits, end))
			return fail(lx, t);
		is_float = true;
		for (at = digits; is_digit_at(at, end);)
			at++;
	}
	if (class_at(at, end) == CH_LETTER && !FAULT(NUMBER_JUNK))
		return fail(lx, t);
	return finish(lx, t, is_float || !fits_int4(t->at, at) ? LEX_FLOAT : LEX_INT, at);
}

/* ---- words, quoted identifiers, operators ---- */

static enum token_kind lex_quoted(struct lexer *lx, struct token *t, enum token_kind kind, const char *at)
{
	at = skip_quoted(at, lx->end, '"', true);
	return at ? finish(lx, t, kind, at) : fail(lx, t);
}

/* A letter that is really the prefix of a string: b'' x'' n'' e'' u&'' u&"". */
static bool lex_prefixed(struct lexer *lx, struct token *t)
{
	static const struct {
		char letter;
		enum token_kind kind;
	} rows[] = { { 'e', LEX_STRING }, { 'b', LEX_BITS }, { 'x', LEX_HEX }, { 'n', LEX_NATIONAL } };
	char letter = (char)(*t->at | 0x20);

	if (letter == 'u' && is_pair(t->at + 1, lx->end, '&', '\'')) {
		lex_string(lx, t, LEX_STRING_UNICODE, t->at + 3, false);
		return true;
	}
	if (letter == 'u' && is_pair(t->at + 1, lx->end, '&', '"')) {
		lex_quoted(lx, t, LEX_QUOTED_UNICODE, t->at + 3);
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(rows) && is_at(t->at + 1, lx->end, '\''); i++)
		if (letter == rows[i].letter) {
			lex_string(lx, t, rows[i].kind, t->at + 2, letter == 'e');
			return true;
		}
	return false;
}

static enum token_kind lex_word(struct lexer *lx, struct token *t)
{
	const char *at = t->at + 1;

	if (at < lx->end && (*at == '\'' || *at == '&') && lex_prefixed(lx, t))
		return t->kind;
	while (at < lx->end && lex_fold[(uint8_t)*at])
		at++;
	return finish(lx, t, LEX_WORD, at);
}

/* An operator of several characters ends in + or - only if one of these is in it (manual, 4.1.3). */
static bool may_end_in_sign(const char *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (memchr("~!@#^&|`?%", at[i], 10 - FAULT(OPERATOR_SIGN)))
			return true;
	return false;
}

static enum token_kind lex_operator(struct lexer *lx, struct token *t)
{
	const char *at = t->at;
	size_t len;

	while (class_at(at, lx->end) == CH_OPERATOR && (at == t->at || !(is_pair(at, lx->end, '-', '-') || is_pair(at, lx->end, '/', '*'))))
		at++;
	len = (size_t)(at - t->at);
	while (len > 1 && (t->at[len - 1] == '+' || t->at[len - 1] == '-') && !may_end_in_sign(t->at, len - 1))
		len--;
	if (len >= 64)
		return fail(lx, t);
	return finish(lx, t, len == 1 && memchr("+-*/%^<>=", *t->at, 9) ? LEX_SELF : LEX_OPERATOR, t->at + len);
}

static enum token_kind lex_dot(struct lexer *lx, struct token *t)
{
	if (is_digit_at(t->at + 1, lx->end))
		return lex_number(lx, t);
	if (is_at(t->at + 1, lx->end, '.'))
		return finish(lx, t, LEX_OPERATOR, t->at + 2);
	return finish(lx, t, LEX_SELF, t->at + 1);
}

static enum token_kind lex_colon(struct lexer *lx, struct token *t)
{
	if (is_at(t->at + 1, lx->end, ':') || is_at(t->at + 1, lx->end, '='))
		return finish(lx, t, LEX_OPERATOR, t->at + 2);
	return finish(lx, t, LEX_SELF, t->at + 1);
}

enum token_kind lex_next(struct lexer *lx, struct token *t)
{
	bool is_closed = skip_blanks(lx);

	*t = (struct token){ .kind = LEX_END, .at = lx->at, .end = lx->at };
	if (!is_closed)
		return fail(lx, t);
	if (lx->at == lx->end)
		return LEX_END;
	switch ((enum char_class)lex_class[(uint8_t)*lx->at]) {
	case CH_LETTER:
		return lex_word(lx, t);
	case CH_DIGIT:
		return lex_number(lx, t);
	case CH_QUOTE:
		return lex_string(lx, t, LEX_STRING, t->at + 1, false);
	case CH_DOUBLE_QUOTE:
		return lex_quoted(lx, t, LEX_QUOTED, t->at + 1);
	case CH_DOLLAR:
		return lex_dollar(lx, t);
	case CH_DOT:
		return lex_dot(lx, t);
	case CH_COLON:
		return lex_colon(lx, t);
	case CH_PUNCT:
		return finish(lx, t, LEX_SELF, t->at + 1);
	case CH_OPERATOR:
		return lex_operator(lx, t);
	case CH_BLANK:
	case CH_ERROR:
		break;
	}
	return fail(lx, t);
}

bool token_is_word(const struct token *t, const char *want)
{
	size_t len = (size_t)(t->end - t->at);

	if (t->kind != LEX_WORD || strlen(want) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (lex_fold[(uint8_t)t->at[i]] != (uint8_t)want[i])
			return false;
	return true;
}
