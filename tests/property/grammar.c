#include "grammar.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define ALTERNATIVES_MAX 200
#define RULES_MAX 200
#define VARIABLES_MAX 8
#define DEPTH_MAX 24
#define NAME_MAX_BYTES 32

struct alternative {
	unsigned weight;
	struct buf text;
};

struct rule {
	char name[NAME_MAX_BYTES];
	struct alternative alternatives[ALTERNATIVES_MAX];
	size_t count;
	unsigned weight;
};

struct grammar {
	struct rule *rules[RULES_MAX];
	size_t count;
};

/* What one alternative has bound. */
struct frame {
	char names[VARIABLES_MAX][NAME_MAX_BYTES];
	struct buf values[VARIABLES_MAX];
	size_t count;
};

struct draw {
	const struct grammar *grammar;
	struct rng *rng;
	unsigned depth;
};

static void give_up(const char *what, const char *name) __attribute__((noreturn));
static void give_up(const char *what, const char *name)
{
	fprintf(stderr, "grammar: %s: %s\n", what, name);
	exit(2);
}

/* splitmix64 */
uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

unsigned rng_between(struct rng *rng, unsigned least, unsigned most)
{
	return least + (unsigned)(rng_next(rng) % (most - least + 1));
}

static struct rule *find_rule(const struct grammar *g, const char *name)
{
	for (size_t i = 0; i < g->count; i++)
		if (strcmp(g->rules[i]->name, name) == 0)
			return g->rules[i];
	give_up("no such rule", name);
}

static struct rule *add_rule(struct grammar *g, const char *line)
{
	struct rule *rule = mem_alloc(sizeof(*rule));
	size_t len = strcspn(line, ":");

	if (g->count == RULES_MAX || len >= sizeof(rule->name) || line[len] != ':')
		give_up("not a rule", line);
	memcpy(rule->name, line, len);
	return g->rules[g->count++] = rule;
}

static void add_alternative(struct rule *rule, const char *line)
{
	struct alternative *a;
	char *end;

	if (!rule || rule->count == ALTERNATIVES_MAX)
		give_up("no rule to add to, or too many alternatives", line);
	a = &rule->alternatives[rule->count++];
	a->weight = (unsigned)strtoul(line, &end, 10);
	if (end == line || (*end != ' ' && *end != '\0'))
		give_up("not WEIGHT text", line);
	rule->weight += a->weight;
	buf_add_str(&a->text, *end ? end + 1 : end);
}

static void add_line(struct grammar *g, const char *line)
{
	struct rule *last = g->count ? g->rules[g->count - 1] : NULL;

	if (line[0] == '\0' || line[0] == '#')
		return;
	if (line[0] != '\t') {
		add_rule(g, line);
	} else if (line[1] != '\t') {
		add_alternative(last, line + 1);
	} else {
		if (!last || last->count == 0)
			give_up("a continuation of nothing", line);
		buf_printf(&last->alternatives[last->count - 1].text, "\n%s", line + 2);
	}
}

static bool begins_reference(const char *at)
{
	return at[0] == '<' && (islower((unsigned char)at[1]) || isdigit((unsigned char)at[1]) || at[1] == '$');
}

/* The name in <name>, <v=name> or <$v>; returns what follows. */
static const char *read_reference(const char *at, char variable[NAME_MAX_BYTES], char name[NAME_MAX_BYTES])
{
	const char *end = strchr(at, '>'), *equal;
	char inside[2 * NAME_MAX_BYTES];

	if (!end || (size_t)(end - at) > sizeof(inside))
		give_up("a reference that does not end", at);
	snprintf(inside, sizeof(inside), "%.*s", (int)(end - at - 1), at + 1);
	equal = strchr(inside, '=');
	snprintf(variable, NAME_MAX_BYTES, "%.*s", equal ? (int)(equal - inside) : 0, inside);
	if (snprintf(name, NAME_MAX_BYTES, "%s", equal ? equal + 1 : inside) >= NAME_MAX_BYTES)
		give_up("too long a name", inside);
	return end + 1;
}

static void check_references(const struct grammar *g)
{
	char variable[NAME_MAX_BYTES], name[NAME_MAX_BYTES];

	for (size_t i = 0; i < g->count; i++) {
		for (size_t k = 0; k < g->rules[i]->count; k++) {
			for (const char *at = buf_cstr(&g->rules[i]->alternatives[k].text); *at; at++) {
				if (!begins_reference(at))
					continue;
				read_reference(at, variable, name);
				if (name[0] != '$' && !isdigit((unsigned char)name[0]))
					find_rule(g, name);
			}
		}
		if (g->rules[i]->weight == 0)
			give_up("a rule without alternatives", g->rules[i]->name);
	}
}

struct grammar *grammar_load(const char *path)
{
	struct grammar *g = mem_alloc(sizeof(*g));
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;

	if (!file)
		give_up("cannot be read", path);
	while ((len = getline(&line, &cap, file)) > 0) {
		if (line[len - 1] == '\n')
			line[len - 1] = '\0';
		add_line(g, line);
	}
	free(line);
	fclose(file);
	check_references(g);
	return g;
}

void grammar_free(struct grammar **grammar)
{
	struct grammar *g = *grammar;

	*grammar = NULL;
	if (!g)
		return;
	for (size_t i = 0; i < g->count; i++) {
		for (size_t k = 0; k < g->rules[i]->count; k++)
			buf_free(&g->rules[i]->alternatives[k].text);
		mem_free(g->rules[i]);
	}
	mem_free(g);
}

static const struct alternative *choose(const struct rule *rule, struct rng *rng)
{
	unsigned at = rng_between(rng, 0, rule->weight - 1);
	const struct alternative *a = rule->alternatives;

	while (at >= a->weight)
		at -= (a++)->weight;
	return a;
}

static const struct buf *recall(const struct frame *frame, const char *variable)
{
	for (size_t i = 0; i < frame->count; i++)
		if (strcmp(frame->names[i], variable) == 0)
			return &frame->values[i];
	give_up("not bound before", variable);
}

static void draw_rule(struct draw *d, const char *name, struct buf *out);

static void draw_reference(struct draw *d, struct frame *frame, const char *variable, const char *name, struct buf *out)
{
	size_t start = out->len;
	unsigned least, most;

	if (name[0] == '$') {
		const struct buf *value = recall(frame, name + 1);

		buf_add(out, value->data, value->len);
	} else if (sscanf(name, "%u..%u", &least, &most) == 2) {
		buf_printf(out, "%u", rng_between(d->rng, least, most));
	} else {
		draw_rule(d, name, out);
	}
	if (!variable[0])
		return;
	if (frame->count == VARIABLES_MAX)
		give_up("too many variables", variable);
	snprintf(frame->names[frame->count], NAME_MAX_BYTES, "%s", variable);
	buf_add(&frame->values[frame->count++], out->data + start, out->len - start);
}

static void draw_rule(struct draw *d, const char *name, struct buf *out)
{
	const struct alternative *a = choose(find_rule(d->grammar, name), d->rng);
	char variable[NAME_MAX_BYTES], inner[NAME_MAX_BYTES];
	struct frame frame = { .count = 0 };
	const char *at = (const char *)a->text.data;

	if (d->depth++ > DEPTH_MAX)
		give_up("nests too deeply", name);
	while (at && *at) {
		if (begins_reference(at)) {
			at = read_reference(at, variable, inner);
			draw_reference(d, &frame, variable, inner, out);
		} else {
			buf_add_u8(out, (uint8_t)*at++);
		}
	}
	for (size_t i = 0; i < frame.count; i++)
		buf_free(&frame.values[i]);
	d->depth--;
}

void grammar_draw(const struct grammar *grammar, const char *rule, struct rng *rng, struct buf *out)
{
	struct draw d = { grammar, rng, 0 };

	draw_rule(&d, rule, out);
}
