#include <stdio.h>

#include "conf_private.h"

#define FINDINGS_MAX 1000       /* a file that isn't a configuration has a finding a line */

bool report_is_full(const struct conf_report *report)
{
	return report->count >= FINDINGS_MAX;
}

const char *report_hint(struct hint *out, const char *written, const char *const *names)
{
	const char *near = nearest_name(written, names);

	out->text[0] = '\0';
	if (near)
		snprintf(out->text, sizeof(out->text), ", did you mean %.100s?", near);
	return out->text;
}

/* A warning is given once, however many rows of [databases] would repeat it. */
static bool is_known_warning(const struct conf_report *report, const char *text)
{
	for (size_t i = 0; i < report->count; i++) {
		if (report->findings[i].severity != CONF_ERROR && strcmp(report->findings[i].text, text) == 0)
			return true;
	}
	return false;
}

void report_add(struct conf_report *report, enum conf_severity severity, struct place place, const char *fmt, ...)
{
	struct conf_finding *finding;
	char text[1024];
	va_list args;

	if (severity == CONF_ERROR)
		report->errors++;
	if (report_is_full(report))
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (severity != CONF_ERROR && is_known_warning(report, text))
		return;
	report->findings = mem_realloc(report->findings, (report->count + 1) * sizeof(*report->findings));
	finding = &report->findings[report->count++];
	*finding = (struct conf_finding){ severity, mem_strdup(place.file), place.line, mem_strdup(text) };
}

void conf_report_free(struct conf_report *report)
{
	for (size_t i = 0; i < report->count; i++) {
		mem_free((char *)report->findings[i].file);
		mem_free((char *)report->findings[i].text);
	}
	mem_free(report->findings);
	*report = (struct conf_report){ NULL, 0, 0 };
}
