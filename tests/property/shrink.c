#include "shrink.h"

#include <stdio.h>
#include <stdlib.h>

struct shrinker {
	struct bed *bed;
	const char *what;
	unsigned tries, runs_left;
};

void difference_note(struct difference *out, const struct bed *bed, enum bed_rc rc, const char *why, size_t step)
{
	out->step = step;
	out->replies.len = 0;
	if (rc == BED_BROKEN) {
		snprintf(out->what, sizeof(out->what), "broken: %s", why);
		return;
	}
	said_difference(&bed->direct.said, &bed->proxied.said, out->what, sizeof(out->what));
	buf_add_str(&out->replies, "  PostgreSQL says\n");
	said_print(&bed->direct.said, &out->replies);
	buf_add_str(&out->replies, "  pgshunt says\n");
	said_print(&bed->proxied.said, &out->replies);
}

bool script_differs(struct bed *bed, const struct script *script, struct difference *out)
{
	const char *why = "";
	enum bed_rc rc = bed_begin(bed, script->startup, &why);
	size_t i = 0;

	while (rc == BED_SAME && i < script->count)
		rc = bed_step(bed, script->steps[i++], &why);
	if (rc == BED_SAME || rc == BED_ENDED)
		return false;
	difference_note(out, bed, rc, why, i);
	return true;
}

/* A candidate that is no valid script is no good either. */
static bool still_differs(struct shrinker *s, struct script *candidate)
{
	struct difference found = { .step = 0 };
	bool is_same = false;

	for (unsigned i = 0; i < s->tries && !is_same && s->runs_left; i++, s->runs_left--) {
		is_same = script_differs(s->bed, candidate, &found) && strcmp(found.what, s->what) == 0;
		if (is_same)
			while (candidate->count > found.step)
				mem_free(candidate->steps[--candidate->count]);
	}
	buf_free(&found.replies);
	return is_same;
}

static void take_over(struct script *script, struct script *candidate)
{
	script_free(script);
	*script = *candidate;
}

static bool try_without_steps(struct shrinker *s, struct script *script, size_t first, size_t count)
{
	struct script candidate = { .startup = mem_strdup(script->startup) };

	for (size_t i = 0; i < script->count; i++)
		if (i < first || i >= first + count)
			script_add(&candidate, script->steps[i]);
	if (still_differs(s, &candidate)) {
		take_over(script, &candidate);
		return true;
	}
	script_free(&candidate);
	return false;
}

/* Halves, quarters ... single steps, from the end. */
static void drop_steps(struct shrinker *s, struct script *script)
{
	for (size_t size = MAX(script->count / 2, (size_t)1); size > 0; size /= 2)
		for (size_t first = script->count; first > 0 && s->runs_left;) {
			first = first > size ? first - size : 0;
			if (try_without_steps(s, script, first, size))
				first = MIN(first, script->count);
		}
}

/* The text without the n-th of what `separator` parts; NULL when there is no n-th. */
static char *without_part(const char *text, char separator, size_t n)
{
	const char *at = text, *end;

	while (n-- > 0) {
		at = strchr(at, separator);
		if (!at)
			return NULL;
		at++;
	}
	end = strchr(at, separator);
	if (end)
		return mem_printf("%.*s%s", (int)(at - text), text, end + 1);
	return at == text ? NULL : mem_printf("%.*s", (int)(at - text - 1), text);
}

/* Bind of the unnamed portal before each Execute of it. */
static bool binds_first(const char *text)
{
	const char *bind = strncmp(text, "B - ", 4) == 0 ? text : strstr(text, "\nB - ");
	const char *execute = strncmp(text, "E - ", 4) == 0 ? text : strstr(text, "\nE - ");

	return !execute || (bind && bind < execute);
}

/* What differs by itself is of no use: random() needs the setseed() of its step; nor is what PostgreSQL crashes at, see bed_step(). */
static bool is_step(const struct bed *bed, const char *text)
{
	struct step step;
	const char *why;
	bool is_valid;

	if (strncmp(text, "X ", 2) == 0)
		return !strchr(text, '\n');
	is_valid = step_encode(&step, text, &bed->names, &why);
	step_free(&step);
	return is_valid && binds_first(text) && (!strstr(text, "random()") || strstr(text, "seed"));
}

/* Tries to put another text in the place of a step (or of the start-up line). */
static bool try_text(struct shrinker *s, struct script *script, size_t step, char *text)
{
	struct script candidate;
	char **place;

	script_copy(&candidate, script);
	place = step == SIZE_MAX ? &candidate.startup : &candidate.steps[step];
	mem_free(*place);
	*place = text;
	if ((step == SIZE_MAX || is_step(s->bed, text)) && still_differs(s, &candidate)) {
		take_over(script, &candidate);
		return true;
	}
	script_free(&candidate);
	return false;
}

static void drop_messages(struct shrinker *s, struct script *script)
{
	for (size_t i = script->count; i-- > 0 && s->runs_left;) {
		char *text;
		size_t n = 0;

		while (i < script->count && (text = without_part(script->steps[i], '\n', n)))
			if (!try_text(s, script, i, text))
				n++;
	}
}

static void drop_parameters(struct shrinker *s, struct script *script)
{
	char *text;
	size_t n = 1;           /* user= stays */

	while ((text = without_part(script->startup, ' ', n)))
		if (!try_text(s, script, SIZE_MAX, text))
			n++;
}

void shrink(struct bed *bed, struct script *script, const char *what, unsigned tries, unsigned max_runs)
{
	struct shrinker s = { bed, what, tries, max_runs };

	drop_steps(&s, script);
	drop_messages(&s, script);
	drop_steps(&s, script);
	drop_parameters(&s, script);
}
