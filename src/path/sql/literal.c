#include "literal.h"

/* ---- the value, written twice ---- */

static void open_literal(struct literal *out)
{
	*out = (struct literal){ .is_coded = false };
	buf_add_str(&out->quoted, "E'");
}

static bool close_literal(struct literal *out)
{
	buf_add_u8(&out->quoted, '\'');
	return true;
}

static void add_byte(struct literal *out, char c)
{
	buf_add_u8(&out->plain, (uint8_t)c);
	if (c == '\'' || c == '\\')
		buf_add_u8(&out->quoted, (uint8_t)c);
	buf_add_u8(&out->quoted, (uint8_t)c);
}

/* A byte in the server's encoding. */
static bool add_server_byte(struct literal *out, uint32_t byte)
{
	if (byte >= 0x80) {
		out->is_coded = true;
		buf_printf(&out->quoted, "\\x%02x", byte);
	} else if (byte > 0) {
		add_byte(out, (char)byte);
	}
	return byte > 0;
}

static bool add_code(struct literal *out, uint32_t code)
{
	bool is_valid = code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);

	if (is_valid && code >= 0x80) {
		out->is_coded = true;
		buf_printf(&out->quoted, code > 0xffff ? "\\U%08x" : "\\u%04x", code);
	} else if (is_valid) {
		add_byte(out, (char)code);
	}
	return is_valid;
}

/* ---- codes ---- */

static int digit_of(char c)
{
	char folded = (char)lex_fold[(uint8_t)c];

	if (c >= '0' && c <= '9')
		return c - '0';
	return folded >= 'a' && folded <= 'f' ? folded - 'a' + 10 : 16;
}

/* At most so many digits; *at comes to stand behind them. */
static size_t read_digits(const char **at, const char *end, int base, size_t max, uint32_t *value)
{
	size_t digits = 0;

	*value = 0;
	for (; digits < max && *at < end && digit_of(**at) < base; digits++)
		*value = *value * (uint32_t)base + (uint32_t)digit_of(*(*at)++);
	return digits;
}

static bool read_code(const char **at, const char *end, size_t digits, uint32_t *code)
{
	return read_digits(at, end, 16, digits, code) == digits;
}

static bool is_high_surrogate(uint32_t code)
{
	return code >= 0xd800 && code <= 0xdbff;
}

/* Whether low is the second half; joins it to the first. */
static bool join_surrogates(uint32_t *high, uint32_t low)
{
	*high = ((*high & 0x3ff) << 10) + 0x10000 + (low & 0x3ff);
	return low >= 0xdc00 && low <= 0xdfff;
}

/* ---- E'..' ---- */

/* *at is behind \u or \U. */
static bool read_escaped_code(const char **at, const char *end, char letter, uint32_t *code)
{
	return read_code(at, end, letter == 'u' ? 4 : 8, code);
}

static bool add_escaped_code(struct literal *out, const char **at, const char *end, char letter)
{
	uint32_t code, low;

	if (!read_escaped_code(at, end, letter, &code))
		return false;
	if (is_high_surrogate(code)) {
		if (end - *at < 2 || (*at)[0] != '\\' || ((*at)[1] != 'u' && (*at)[1] != 'U'))
			return false;
		letter = (*at)[1];
		*at += 2;
		if (!read_escaped_code(at, end, letter, &low) || !join_surrogates(&code, low))
			return false;
	}
	return add_code(out, code);
}

/* *at is behind the backslash; something follows. */
static bool add_escape(struct literal *out, const char **at, const char *end)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	char c = **at;
	const char *found = strchr(from, c);
	uint32_t byte;

	if (c >= '0' && c <= '7') {
		read_digits(at, end, 8, 3, &byte);
		return add_server_byte(out, byte & 0xff);
	}
	(*at)++;
	if (c == 'u' || c == 'U')
		return add_escaped_code(out, at, end, c);
	if (c == 'x' && read_digits(at, end, 16, 2, &byte) > 0)
		return add_server_byte(out, byte);
	add_byte(out, c && found ? to[found - from] : c);
	return true;
}

/* ---- one string after the other ---- */

/* at is behind a closing quote, and not at the end: behind the next opening one. */
static const char *next_piece(const char *at, const char *end)
{
	while (at < end && *at != '\'') {
		if (end - at >= 2 && at[0] == '-' && at[1] == '-')
			while (at < end && *at != '\n' && *at != '\r')
				at++;
		else
			at++;
	}
	return at < end ? at + 1 : end;
}

static bool add_pieces(struct literal *out, const char *at, const char *end, bool has_escapes)
{
	while (at < end) {
		char c = *at++;
		if (has_escapes && c == '\\' && at < end) {
			if (!add_escape(out, &at, end))
				return false;
		} else if (c != '\'') {
			add_byte(out, c);
		} else if (at < end && *at == '\'') {
			add_byte(out, c);
			at++;
		} else {
			at = next_piece(at, end);
		}
	}
	return true;
}

static void add_bytes(struct literal *out, const char *at, const char *end)
{
	while (at < end)
		add_byte(out, *at++);
}

/* $tag$ ... $tag$ */
static void add_dollars(struct literal *out, const struct token *t)
{
	const char *tag_end = memchr(t->at + 1, '$', (size_t)(t->end - t->at) - 1);
	ptrdiff_t tag_len = tag_end + 1 - t->at;

	add_bytes(out, t->at + tag_len, t->end - tag_len);
}

/* The inside of "..". */
static void add_unquoted(struct literal *out, const char *at, const char *end)
{
	for (; at < end; at++) {
		add_byte(out, *at);
		if (*at == '"' && at + 1 < end && at[1] == '"')
			at++;
	}
}

/* ---- U&'..' and U&".." ---- */

/* *at is behind the escape character: XXXX or +XXXXXX. */
static bool read_unicode(const char **at, const char *end, uint32_t *code)
{
	if (*at < end && **at == '+') {
		(*at)++;
		return read_code(at, end, 6, code);
	}
	return read_code(at, end, 4, code);
}

static bool add_unicode(struct literal *out, const char **at, const char *end, char escape)
{
	uint32_t code, low;

	if (*at < end && **at == escape) {
		add_byte(out, *(*at)++);
		return true;
	}
	if (!read_unicode(at, end, &code))
		return false;
	if (is_high_surrogate(code)) {
		if (*at == end || *(*at)++ != escape || !read_unicode(at, end, &low) || !join_surrogates(&code, low))
			return false;
	}
	return add_code(out, code);
}

/* The escapes are read once the pieces are one and the quotes single. */
static bool decode_unicode(struct literal *out, char escape)
{
	struct literal raw = *out;
	const char *at = buf_cstr(&raw.plain), *end = at + raw.plain.len;
	bool is_valid = digit_of(escape) == 16 && lex_class[(uint8_t)escape] != CH_BLANK && !strchr("+'\"", escape);

	open_literal(out);
	while (is_valid && at < end)
		if (*at == escape && ++at)
			is_valid = add_unicode(out, &at, end, escape);
		else
			add_byte(out, *at++);
	literal_free(&raw);
	return is_valid;
}

/* ---- tokens ---- */

bool literal_of_string(const struct token *t, char uescape, struct literal *out)
{
	bool is_valid = true;

	open_literal(out);
	if (t->kind == LEX_STRING_UNICODE)
		is_valid = add_pieces(out, t->at + 3, t->end, false) && decode_unicode(out, uescape);
	else if (t->kind != LEX_STRING)
		is_valid = false;
	else if (*t->at == '$')
		add_dollars(out, t);
	else if (*t->at == '\'')
		is_valid = add_pieces(out, t->at + 1, t->end, false);
	else
		is_valid = add_pieces(out, t->at + 2, t->end, true);
	return close_literal(out) && is_valid;
}

/* PostgreSQL's names have at most 63 bytes. A character of several bytes isn't cut in two, which needs the server's encoding. */
static bool cut_name(struct literal *out)
{
	struct buf whole = out->plain;

	if (whole.len <= 63)
		return true;
	for (size_t i = 0; i < whole.len; i++)
		if (whole.data[i] >= 0x80 || out->is_coded)
			return false;
	buf_free(&out->quoted);
	open_literal(out);
	add_bytes(out, (const char *)whole.data, (const char *)whole.data + 63);
	buf_free(&whole);
	return true;
}

bool literal_of_name(const struct token *t, char uescape, struct literal *out)
{
	bool is_valid = true;

	open_literal(out);
	if (t->kind == LEX_QUOTED_UNICODE) {
		add_unquoted(out, t->at + 3, t->end - 1);
		is_valid = decode_unicode(out, uescape);
	} else if (t->kind == LEX_QUOTED) {
		add_unquoted(out, t->at + 1, t->end - 1);
	} else {
		is_valid = t->kind == LEX_WORD;
		for (const char *c = t->at; is_valid && c < t->end; c++)
			add_byte(out, (char)lex_fold[(uint8_t)*c]);
	}
	return is_valid && cut_name(out) && close_literal(out);
}

void literal_free(struct literal *literal)
{
	buf_free(&literal->plain);
	buf_free(&literal->quoted);
}
