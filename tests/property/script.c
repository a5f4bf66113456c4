#include "script.h"
#include "pgshunt/wire.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define VALUES_MAX 16

/* One line being read. */
struct line {
	const char *at, *end;
	const struct names *names;
	const char *why;
};

/* Where a step is being built. */
struct builder {
	struct step *step;
	unsigned ready, answers;
	bool is_open;                   /* extended messages since the last Sync */
};

static unsigned hex_digit(char c)
{
	return isdigit((unsigned char)c) ? (unsigned)(c - '0') : (unsigned)(tolower((unsigned char)c) - 'a' + 10) & 15u;
}

static const char *put_escape(const char *at, const char *end, struct buf *out)
{
	switch (*at) {
	case 'n': buf_add_u8(out, '\n'); break;
	case 't': buf_add_u8(out, '\t'); break;
	case 's': buf_add_u8(out, ' '); break;
	case 'x':
		if (end - at < 3)
			break;
		buf_add_u8(out, (uint8_t)(hex_digit(at[1]) << 4 | hex_digit(at[2])));
		return at + 3;
	default: buf_add_u8(out, (uint8_t)*at);
	}
	return at + 1;
}

/* Escapes, @@ and @K put in. */
static void put_plain(const char *at, const char *end, const struct names *names, struct buf *out)
{
	while (at < end) {
		if (*at == '\\' && at + 1 < end) {
			at = put_escape(at + 1, end, out);
		} else if (at + 1 < end && at[0] == '@' && (at[1] == '@' || at[1] == 'K')) {
			buf_printf(out, "%u", at[1] == '@' ? names->job : names->run);
			at += 2;
		} else {
			buf_add_u8(out, (uint8_t)*at++);
		}
	}
}

/* The next word, raw; empty at the line's end. */
static struct span next_word(struct line *l)
{
	struct span word;

	while (l->at < l->end && *l->at == ' ')
		l->at++;
	word.data = l->at;
	while (l->at < l->end && *l->at != ' ')
		l->at++;
	word.len = (size_t)(l->at - word.data);
	return word;
}

static void put_name(struct line *l, struct buf *out)
{
	struct span word = next_word(l);

	if (word.len == 0)
		l->why = "a name is missing";
	if (!span_is(word, "-"))
		put_plain(word.data, word.data + word.len, l->names, out);
	buf_add_u8(out, 0);
}

static void put_rest(struct line *l, struct buf *out)
{
	put_plain(MIN(l->at + 1, l->end), l->end, l->names, out);
	l->at = l->end;
}

static size_t begin_message(struct buf *out, char type)
{
	buf_add_u8(out, (uint8_t)type);
	buf_add_u32(out, 0);
	return out->len - 4;
}

static void set_u32(struct buf *out, size_t mark, size_t value)
{
	uint32_t bytes = __builtin_bswap32((uint32_t)value);

	memcpy(out->data + mark, &bytes, sizeof(bytes));
}

static void end_message(struct buf *out, size_t mark)
{
	set_u32(out, mark, out->len - mark);
}

static uint32_t next_number(struct line *l)
{
	struct span word = next_word(l);

	if (word.len == 0)
		l->why = "a number is missing";
	return word.len ? (uint32_t)strtoul(word.data, NULL, 10) : 0;
}

static void put_types(struct line *l, struct buf *out)
{
	struct span word = next_word(l);
	size_t count_at = out->len;
	uint16_t count = 0;

	buf_add_u16(out, 0);
	if (span_is(word, "-") || word.len == 0)
		return;
	for (const char *at = word.data; at < word.data + word.len; at += strcspn(at, ", ") + 1, count++)
		buf_add_u32(out, (uint32_t)strtoul(at, NULL, 10));
	count = __builtin_bswap16(count);
	memcpy(out->data + count_at, &count, sizeof(count));
}

static void put_value(const struct line *l, struct span word, bool is_binary, struct buf *out)
{
	size_t mark = out->len;

	buf_add_u32(out, 0);
	if (span_is(word, "\\N")) {
		set_u32(out, mark, UINT32_MAX);
		return;
	}
	if (is_binary)
		for (size_t i = 1; i + 1 < word.len; i += 2)
			buf_add_u8(out, (uint8_t)(hex_digit(word.data[i]) << 4 | hex_digit(word.data[i + 1])));
	else
		put_plain(word.data, word.data + word.len, l->names, out);
	set_u32(out, mark, out->len - mark - 4);
}

/* Formats and values of the parameters, as Bind and FunctionCall have them. */
static void put_values(struct line *l, struct buf *out)
{
	struct span words[VALUES_MAX];
	size_t count = 0;

	for (struct span word = next_word(l); word.len; word = next_word(l)) {
		if (count == VALUES_MAX || word.len > 60) {
			l->why = "too many values, or too long";
			return;
		}
		words[count++] = word;
	}
	buf_add_u16(out, (uint16_t)count);
	for (size_t i = 0; i < count; i++)
		buf_add_u16(out, words[i].data[0] == 'x');
	buf_add_u16(out, (uint16_t)count);
	for (size_t i = 0; i < count; i++)
		put_value(l, words[i], words[i].data[0] == 'x', out);
}

static void put_bind(struct line *l, struct buf *out)
{
	struct span formats;

	put_name(l, out);
	put_name(l, out);
	formats = next_word(l);
	put_values(l, out);
	if (formats.len == 0 || span_is(formats, "-")) {
		buf_add_u16(out, 0);
		return;
	}
	buf_add_u16(out, (uint16_t)formats.len);
	for (size_t i = 0; i < formats.len; i++)
		buf_add_u16(out, formats.data[i] == '1');
}

static void put_parse(struct line *l, struct buf *out)
{
	struct line types;

	put_name(l, out);
	types = *l;
	next_word(l);
	put_rest(l, out);
	buf_add_u8(out, 0);
	put_types(&types, out);
}

static void put_target(struct line *l, struct buf *out)
{
	struct span kind = next_word(l);

	if (kind.len != 1)
		l->why = "S or P is missing";
	buf_add_u8(out, kind.len ? (uint8_t)kind.data[0] : 'S');
	put_name(l, out);
}

static void put_body(char type, struct line *l, struct buf *out)
{
	switch (type) {
	case 'Q':
	case 'f':
		put_rest(l, out);
		buf_add_u8(out, 0);
		break;
	case 'd': put_rest(l, out); break;
	case 'P': put_parse(l, out); break;
	case 'B': put_bind(l, out); break;
	case 'D':
	case 'C': put_target(l, out); break;
	case 'E':
		put_name(l, out);
		buf_add_u32(out, next_number(l));
		break;
	case 'F':
		buf_add_u32(out, next_number(l));
		put_values(l, out);
		buf_add_u16(out, 0);
		break;
	case 'c':
	case 'S':
	case 'H': break;
	default: l->why = "no such message";
	}
}

static bool end_part(struct builder *b)
{
	struct step *step = b->step;

	if (step->part_count == STEP_PARTS_MAX)
		return false;
	step->parts[step->part_count++] = (struct part){ step->bytes.len, b->ready, b->is_open ? b->answers : 0 };
	return true;
}

/* What the message asks of the server. */
static void count_answers(struct builder *b, char type)
{
	if (type == 'Q' || type == 'F' || type == 'S') {
		b->ready++;
		b->answers = 0;
		b->is_open = false;
	} else if (strchr("PBDEC", type)) {
		b->answers++;
		b->is_open = true;
	}
}

static bool put_line(struct builder *b, struct line *l)
{
	struct span word = next_word(l);
	size_t mark;

	if (word.len != 1)
		l->why = "a message's letter is missing";
	else if (word.data[0] == 'W')
		return end_part(b);
	if (l->why)
		return false;
	if (b->is_open && strchr("QF", word.data[0]))
		l->why = "Sync is missing before it";
	mark = begin_message(&b->step->bytes, word.data[0]);
	put_body(word.data[0], l, &b->step->bytes);
	end_message(&b->step->bytes, mark);
	count_answers(b, word.data[0]);
	return !l->why;
}

bool step_encode(struct step *step, const char *text, const struct names *names, const char **why)
{
	struct builder b = { .step = step };

	*step = (struct step){ .part_count = 0 };
	while (*text) {
		struct line l = { text, text + strcspn(text, "\n"), names, NULL };

		if (!put_line(&b, &l)) {
			*why = l.why ? l.why : "too many waits";
			return false;
		}
		text = *l.end ? l.end + 1 : l.end;
	}
	*why = b.is_open ? "Sync is missing at its end" : b.ready == 0 ? "nothing in it is answered" : NULL;
	return !*why && end_part(&b);
}

void step_free(struct step *step)
{
	buf_free(&step->bytes);
}

bool startup_encode(struct buf *out, const char *line, const char *database, const struct names *names)
{
	struct line l = { line, line + strlen(line), names, NULL };
	size_t start = out->len;

	buf_add_u32(out, 0);
	buf_add_u32(out, WIRE_PROTOCOL_3_0);
	buf_add_cstr(out, "database");
	buf_add_cstr(out, database);
	for (struct span word = next_word(&l); word.len; word = next_word(&l)) {
		const char *equal = memchr(word.data, '=', word.len);

		if (!equal)
			return false;
		buf_add(out, word.data, (size_t)(equal - word.data));
		buf_add_u8(out, 0);
		put_plain(equal + 1, word.data + word.len, names, out);
		buf_add_u8(out, 0);
	}
	buf_add_u8(out, 0);
	end_message(out, start);
	return true;
}

/* --- whole scripts */

void script_add(struct script *script, const char *step)
{
	script->steps = mem_realloc(script->steps, (script->count + 1) * sizeof(*script->steps));
	script->steps[script->count++] = mem_strdup(step);
}

void script_copy(struct script *to, const struct script *from)
{
	*to = (struct script){ .startup = mem_strdup(from->startup) };
	for (size_t i = 0; i < from->count; i++)
		script_add(to, from->steps[i]);
}

void script_free(struct script *script)
{
	for (size_t i = 0; i < script->count; i++)
		mem_free(script->steps[i]);
	mem_free(script->steps);
	mem_free(script->startup);
	*script = (struct script){ .count = 0 };
}

void script_print(const struct script *script, struct buf *out)
{
	buf_printf(out, "%s\n", script->startup);
	for (size_t i = 0; i < script->count; i++)
		buf_printf(out, "--\n%s\n", script->steps[i]);
}

static void add_text(struct script *script, struct buf *text)
{
	while (text->len && text->data[text->len - 1] == '\n')
		text->len--;
	if (!script->startup)
		script->startup = mem_strdup(buf_cstr(text));
	else if (text->len)
		script_add(script, buf_cstr(text));
	text->len = 0;
}

bool script_read(struct script *script, const char *path)
{
	FILE *file = fopen(path, "re");
	struct buf text = { .len = 0 };
	char *line = NULL;
	size_t cap = 0;

	*script = (struct script){ .count = 0 };
	if (!file)
		return false;
	while (getline(&line, &cap, file) > 0) {
		if (strcmp(line, "--\n") == 0)
			add_text(script, &text);
		else if (line[0] != '#')
			buf_add_str(&text, line);
	}
	add_text(script, &text);
	free(line);
	fclose(file);
	buf_free(&text);
	return script->count > 0;
}
