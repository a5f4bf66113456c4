/* The startup parameter "options": a command line for the server process. Source: PostgreSQL's pg_split_opts() and
 * process_postgres_switches(), as far as a client may use them. */
#include "pgshunt/wire.h"

#include <ctype.h>

struct options {
	const char *at;                 /* what is left of the text */
	struct buf word, value;
	wire_option_fn *fn;
	void *owner;
};

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The next word, backslashes taken off; false at the end. */
static bool next_word(struct options *o, struct buf *word)
{
	word->len = 0;
	while (is_blank(*o->at))
		o->at++;
	if (!*o->at)
		return false;
	for (; *o->at && !is_blank(*o->at); o->at++) {
		if (*o->at == '\\' && !*++o->at)
			break;
		buf_add_u8(word, (uint8_t)*o->at);
	}
	buf_cstr(word);
	return true;
}

static bool give_assignment(struct options *o, char *text, const char *dash, struct err *err)
{
	char *equals = strchr(text, '=');

	if (!equals || equals == text)
		return err_set(err, "42601", "options: %s%.100s requires a %s", dash, text, equals ? "name" : "value");
	*equals = '\0';
	for (char *c = text; *c; c++)
		if (*c == '-')
			*c = '_';
	return o->fn(o->owner, text, equals + 1, err);
}

/* Short switches that stand for a setting any session may change. value NULL: takes an argument. */
static const struct short_switch {
	char letter;
	const char *name, *value;
} short_switches[] = {
	{ 'e', "datestyle", "euro" },
	{ 'O', "allow_system_table_mods", "true" },
	{ 's', "log_statement_stats", "true" },
	{ 'S', "work_mem", NULL },
};

static const struct { char letter; const char *name; } plan_switches[] = {
	{ 's', "enable_seqscan" }, { 'i', "enable_indexscan" }, { 'o', "enable_indexonlyscan" }, { 'b', "enable_bitmapscan" },
	{ 't', "enable_tidscan" }, { 'n', "enable_nestloop" }, { 'm', "enable_mergejoin" }, { 'h', "enable_hashjoin" },
};

static bool refuse(char letter, struct err *err)
{
	err_set(err, "0A000", "options: switch -%c is not supported", isprint((unsigned char)letter) ? letter : '?');
	return err_hint(err, "Use -c name=value.");
}

/* The argument of a switch: the rest of its word, or the next one. */
static char *argument(struct options *o, char *rest)
{
	if (*rest)
		return rest;
	return next_word(o, &o->value) ? (char *)o->value.data : NULL;
}

static bool give_plan_switch(struct options *o, const char *letter, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(plan_switches); i++)
		if (letter[0] == plan_switches[i].letter && !letter[1])
			return o->fn(o->owner, plan_switches[i].name, "false", err);
	return err_set(err, "42601", "options: invalid argument of -f: \"%.100s\"", letter);
}

static bool give_argument(struct options *o, const struct short_switch *s, char letter, char *rest, struct err *err)
{
	char *value = argument(o, rest);

	if (!value)
		return err_set(err, "42601", "options: -%c requires an argument", letter);
	if (letter == 'c')
		return give_assignment(o, value, "-c ", err);
	if (letter == 'f')
		return give_plan_switch(o, value, err);
	return o->fn(o->owner, s->name, value, err);
}

static const struct short_switch *find_switch(char letter)
{
	for (size_t i = 0; i < ARRAY_LEN(short_switches); i++)
		if (short_switches[i].letter == letter)
			return &short_switches[i];
	return NULL;
}

/* "-es" is -e and -s; a switch with an argument ends its word. */
static bool give_short(struct options *o, char *letters, struct err *err)
{
	for (char *at = letters; *at; at++) {
		const struct short_switch *s = find_switch(*at);
		if (*at == 'c' || *at == 'f' || (s && !s->value))
			return give_argument(o, s, *at, at + 1, err);
		if (!s)
			return refuse(*at, err);
		if (!o->fn(o->owner, s->name, s->value, err))
			return false;
	}
	return true;
}

static bool give_word(struct options *o, char *word, struct err *err)
{
	if (word[0] != '-' || !word[1])
		return err_set(err, "42601", "options: invalid command-line argument for server process: \"%.100s\"", word);
	if (word[1] == '-')
		return give_assignment(o, word + 2, "--", err);
	return give_short(o, word + 1, err);
}

bool wire_parse_options(const char *options, wire_option_fn *fn, void *owner, struct err *err)
{
	struct options o = { .at = options, .fn = fn, .owner = owner };
	bool is_good = true;

	while (is_good && next_word(&o, &o.word))
		is_good = give_word(&o, (char *)o.word.data, err);
	buf_free(&o.word);
	buf_free(&o.value);
	return is_good;
}
