/* Files -> (section, key, value), read exactly as PgBouncer's parser reads them (libusual's cfparser; config.md, "File format").
 *
 * inih drives: it pulls lines through ini_parse_stream, keeps the section and calls the handler for each key. But as Debian builds
 * it, inih cuts lines at 200 bytes, joins indented ones, ends values at " ;", takes ':' for '=' and cuts sections at 50 bytes. So
 * it never sees a line as it was written: our line reader cuts the file by PgBouncer's rules, gives inih a line that nothing can
 * be wrong with ("[section]" or "key=value", these very words), and keeps the true key and value aside for the handler. */
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>

#include "conf_private.h"

#define INCLUDE_DEPTH_MAX 10                    /* as PgBouncer */
#define READ_TOTAL_MAX ((size_t)16 << 20)       /* bytes, all files together: includes can multiply */
#define FILES_MAX 1000

struct source {
	char *name, *text, *at;
	size_t len;
	unsigned line;          /* of at */
};

struct reader {
	struct conf_report *report;
	conf_item_fn *fn;
	void *owner;
	struct source stack[INCLUDE_DEPTH_MAX + 1];
	int depth;              /* sources open; 0 = done */
	size_t bytes, files;
	bool gave_up;
	struct conf_item item;  /* the pair inih is about to hand back */
};

static const char *const sections[] = { "pgshunt", "nodes", "databases", "users", "rules", "peers", NULL };

/* ---- files ---- */

/* Twice the room; what was there may be a secret, so realloc() won't do. */
static char *grow(char *text, size_t len, size_t *cap)
{
	char *bigger = mem_alloc(2 * *cap + 1);

	memcpy(bigger, text, len);
	mem_wipe(text, len);
	mem_free(text);
	*cap *= 2;
	return bigger;
}

char *reader_slurp(const char *path, size_t most, size_t *len)
{
	FILE *file = fopen(path, "re");
	size_t cap = 16384;
	char *text;
	int saved;

	if (!file)
		return NULL;
	setvbuf(file, NULL, _IONBF, 0);
	text = mem_alloc(cap + 1);
	*len = 0;
	while (!feof(file) && !ferror(file) && *len <= most) {
		if (*len == cap)
			text = grow(text, *len, &cap);
		*len += fread(text + *len, 1, cap - *len, file);
	}
	saved = ferror(file) ? errno : *len > most ? EFBIG : 0;
	fclose(file);
	if (!saved)
		return text;
	mem_wipe(text, *len);
	mem_free(text);
	errno = saved;
	return NULL;
}

static void give_up(struct reader *r, struct place place, const char *why)
{
	report_add(r->report, CONF_ERROR, place, "%s", why);
	r->gave_up = true;
}

static void skip_bom(struct source *src)
{
	if (strncmp(src->at, "\xef\xbb\xbf", 3) == 0)
		src->at += 3;
}

/* from: where the %include stands, or the file itself. */
static void source_open(struct reader *r, const char *path, struct place from)
{
	struct source *src = &r->stack[r->depth];
	size_t len;
	char *text;

	if (r->depth > INCLUDE_DEPTH_MAX || ++r->files > FILES_MAX) {
		give_up(r, from, "%include nested too deeply");
		return;
	}
	text = reader_slurp(path, READ_TOTAL_MAX - r->bytes, &len);
	if (!text) {
		report_add(r->report, CONF_ERROR, from, "cannot read \"%s\": %s", path, strerror(errno));
		return;
	}
	r->bytes += len;
	*src = (struct source){ mem_strdup(path), text, text, len, 1 };
	r->depth++;
	if (strlen(text) != len)
		give_up(r, (struct place){ src->name, 0 }, "the file has a NUL byte in it");
	skip_bom(src);
}

static void source_close(struct reader *r)
{
	struct source *src = &r->stack[--r->depth];

	mem_wipe(src->text, src->len);
	mem_free(src->text);
	mem_free(src->name);
}

/* ---- lexical rules ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static void skip_blanks(struct source *src)
{
	while (is_blank(*src->at))
		src->at++;
}

static void skip_space(struct source *src)
{
	for (; isspace((unsigned char)*src->at); src->at++)
		src->line += *src->at == '\n';
}

static struct place place_of(const struct source *src)
{
	return (struct place){ src->name, src->line };
}

/* The rest of the line without blanks around it; src stands behind the line then. */
static char *take_rest(struct source *src)
{
	char *start, *end, *stop;

	skip_blanks(src);
	start = src->at;
	stop = start + strcspn(start, "\n");
	for (end = stop; end > start && isspace((unsigned char)end[-1]); end--)
		;
	src->line += *stop == '\n';
	src->at = *stop ? stop + 1 : stop;
	*end = '\0';
	return start;
}

/* "name" as an SQL identifier, "" for a quote in it; unquoted in place. NULL: the quote isn't closed on this line. */
static char *take_quoted(struct source *src, char **end)
{
	char *start = src->at + 1, *from = start, *to = start;

	for (; *from && *from != '\n'; from++) {
		if (*from == '"' && *++from != '"') {
			src->at = from;
			*end = to;
			return start;
		}
		*to++ = *from;
	}
	src->at = from;
	return NULL;
}

static char *take_word(struct source *src, char **end)
{
	char *start = src->at;

	while (isalnum((unsigned char)*src->at) || (*src->at && strchr("_.-*", *src->at)))
		src->at++;
	*end = src->at;
	return src->at > start ? start : NULL;
}

/* ---- items ---- */

enum took { TOOK_NOTHING, TOOK_SECTION, TOOK_PAIR };

static const char *section_known(const char *name)
{
	if (strcmp(name, "pgbouncer") == 0)
		return "pgshunt";
	for (size_t i = 0; sections[i]; i++) {
		if (strcmp(sections[i], name) == 0)
			return sections[i];
	}
	return NULL;
}

static void report_section(struct reader *r, struct place place, const char *name)
{
	struct hint hint;

	report_add(r->report, CONF_ERROR, place, "unknown section \"%.64s\"%s", name, report_hint(&hint, name, sections));
}

/* "[name]"; what follows on the line is read on, as PgBouncer does. Keys of an unknown section are passed over: one error is enough. */
static enum took take_section(struct reader *r, struct source *src)
{
	struct place place = place_of(src);
	char *name = src->at + 1;
	size_t len = strcspn(name, "]\n");

	if (name[len] != ']') {
		report_add(r->report, CONF_ERROR, place, "syntax error: section without ]");
		src->at = name + len;
		return TOOK_NOTHING;
	}
	name[len] = '\0';
	src->at = name + len + 1;
	r->item.section = section_known(name);
	if (!r->item.section) {
		report_section(r, place, name);
		r->item.section = "?";
	}
	return TOOK_SECTION;
}

/* The line isn't shown: it may hold a password. */
static enum took bad_line(struct reader *r, struct place place)
{
	report_add(r->report, CONF_ERROR, place, "syntax error: expected key = value");
	take_rest(&r->stack[r->depth - 1]);
	return TOOK_NOTHING;
}

static enum took take_pair(struct reader *r, struct source *src)
{
	struct place place = place_of(src);
	char *end = NULL;
	char *key = *src->at == '"' ? take_quoted(src, &end) : take_word(src, &end);

	if (!key)
		return bad_line(r, place);
	skip_blanks(src);
	if (*src->at != '=')
		return bad_line(r, place);
	*end = '\0';
	src->at++;
	r->item.place = place;
	r->item.key = key;
	r->item.value = take_rest(src);
	if (r->item.section)
		return TOOK_PAIR;
	report_add(r->report, CONF_ERROR, place, "%.64s stands before any [section]", key);
	return TOOK_NOTHING;
}

/* PgBouncer looks names up from the working directory. */
static enum took take_include(struct reader *r, struct source *src)
{
	struct place place = place_of(src);

	src->at += strlen("%include");
	source_open(r, take_rest(src), place);
	return TOOK_NOTHING;
}

static enum took take_item(struct reader *r)
{
	struct source *src = &r->stack[r->depth - 1];

	skip_space(src);
	if (*src->at == '\0') {
		source_close(r);
		return TOOK_NOTHING;
	}
	if (strncmp(src->at, "%include", 8) == 0 && is_blank(src->at[8]))
		return take_include(r, src);
	if (*src->at == ';' || *src->at == '#') {
		src->at += strcspn(src->at, "\n");
		return TOOK_NOTHING;
	}
	return *src->at == '[' ? take_section(r, src) : take_pair(r, src);
}

/* ---- inih ---- */

/* ini_reader: the next line for inih. */
static char *next_line(char *line, int size, void *stream)
{
	struct reader *r = stream;
	enum took took = TOOK_NOTHING;

	while (took == TOOK_NOTHING) {
		if (r->depth == 0 || r->gave_up || report_is_full(r->report))
			return NULL;
		took = take_item(r);
	}
	if (took == TOOK_SECTION)
		snprintf(line, (size_t)size, "[%s]\n", r->item.section);
	else
		snprintf(line, (size_t)size, "key=value\n");
	return line;
}

static int on_pair(void *owner, const char *section, const char *name, const char *value)
{
	struct reader *r = owner;

	(void)name;
	(void)value;
	if (strcmp(section, "?") != 0)
		r->fn(r->owner, &r->item);
	return 1;
}

bool reader_run(const char *path, struct conf_report *report, conf_item_fn *fn, void *owner)
{
	struct reader r = { .report = report, .fn = fn, .owner = owner };
	bool is_read;

	source_open(&r, path, (struct place){ path, 0 });
	is_read = r.depth > 0;
	if (ini_parse_stream(next_line, &r, on_pair, &r) != 0)
		give_up(&r, (struct place){ path, 0 }, "cannot be parsed");
	while (r.depth > 0)
		source_close(&r);
	return is_read && !r.gave_up && !report_is_full(report);
}
