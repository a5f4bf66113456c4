/* A statement cut into words: plain ones, 'quoted' and "quoted" ones, single symbols. */
#include <strings.h>

#include "private.h"

struct scan {
	const char *at;
	struct words *out;
	struct err *err;
	size_t offsets[WORDS_MAX];      /* texts may move while it grows */
};

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-' ||
		(unsigned char)c >= 0x80;
}

/* Block comments nest, as in SQL. */
static bool skip_block(struct scan *s)
{
	unsigned depth = 0;

	do {
		if (s->at[0] == '\0')
			return err_set(s->err, "42601", "a comment isn't closed") || err_hint(s->err, "Close it with */.");
		if (s->at[0] == '/' && s->at[1] == '*') {
			depth++;
			s->at += 2;
		} else if (s->at[0] == '*' && s->at[1] == '/') {
			depth--;
			s->at += 2;
		} else {
			s->at++;
		}
	} while (depth > 0);
	return true;
}

static bool skip_blanks(struct scan *s)
{
	for (;;) {
		if (is_blank(s->at[0]))
			s->at++;
		else if (s->at[0] == '-' && s->at[1] == '-')
			s->at += strcspn(s->at, "\n");
		else if (s->at[0] != '/' || s->at[1] != '*')
			return true;
		else if (!skip_block(s))
			return false;
	}
}

static void begin_word(struct scan *s, enum word_kind kind)
{
	if (s->out->count == WORDS_MAX) {
		s->out->has_more = true;
		return;
	}
	s->offsets[s->out->count] = s->out->texts.len;
	s->out->items[s->out->count++].kind = kind;
}

/* A doubled quote stands for one. */
static bool read_quoted(struct scan *s)
{
	char quote = *s->at++;

	begin_word(s, WORD_QUOTED);
	for (; s->at[0] != quote || s->at[1] == quote; s->at++) {
		if (s->at[0] == '\0')
			return err_set(s->err, "42601", "a quoted text isn't closed") || err_hint(s->err, "Close it with %c.", quote);
		buf_add_u8(&s->out->texts, (uint8_t)s->at[0]);
		s->at += s->at[0] == quote;
	}
	s->at++;
	return true;
}

static void read_plain(struct scan *s)
{
	begin_word(s, WORD_PLAIN);
	/* A comment may follow at once: "SHOW POOLS--all". */
	for (; is_plain(s->at[0]) && !(s->at[0] == '-' && s->at[1] == '-'); s->at++)
		buf_add_u8(&s->out->texts, (uint8_t)s->at[0]);
}

static bool read_word(struct scan *s)
{
	bool ok = true;

	if (s->at[0] == '\'' || s->at[0] == '"') {
		ok = read_quoted(s);
	} else if (is_plain(s->at[0])) {
		read_plain(s);
	} else {
		begin_word(s, WORD_SYMBOL);
		buf_add_u8(&s->out->texts, (uint8_t)*s->at++);
	}
	buf_add_u8(&s->out->texts, '\0');
	return ok;
}

bool words_read(struct words *words, const char *sql, struct err *err)
{
	struct scan s = { .at = sql, .out = words, .err = err };
	bool has_ended = false;

	for (;;) {
		if (!skip_blanks(&s))
			return false;
		if (s.at[0] == '\0')
			break;
		if (s.at[0] == ';') {
			has_ended = words->count > 0;
			s.at++;
			continue;
		}
		if (has_ended) {
			err_set(err, "42601", "the console takes one statement at a time");
			return err_hint(err, "Send what follows the semicolon by itself.");
		}
		if (!read_word(&s))
			return false;
	}
	for (size_t i = 0; i < words->count; i++)
		words->items[i].text = (const char *)words->texts.data + s.offsets[i];
	return true;
}

void words_free(struct words *words)
{
	buf_free(&words->texts);
	words->count = 0;
}

bool word_is(const struct words *words, size_t i, const char *text)
{
	return i < words->count && words->items[i].kind != WORD_QUOTED && strcasecmp(words->items[i].text, text) == 0;
}

void words_join(const struct words *words, size_t from, char *out, size_t len)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = from; i < words->count; i++) {
		size_t more = MIN(strlen(words->items[i].text), len - at - 1);

		if (i > from && at + 2 < len)
			out[at++] = ' ';
		more = MIN(more, len - at - 1);
		memcpy(out + at, words->items[i].text, more);
		at += more;
		out[at] = '\0';
	}
}
