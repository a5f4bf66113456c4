/* conf_test.h - a configuration from a text. What the previous call gave is freed by the next one. */
#ifndef PGSHUNT_CONF_TEST_H
#define PGSHUNT_CONF_TEST_H

#include <fcntl.h>
#include <unistd.h>

#include "pgshunt/conf.h"
#include "test.h"

#define A_NODE "[nodes]\npg1 = host=127.0.0.1\n"

static struct conf *conf;
static struct conf_report report;
static char conf_path[64];

__attribute__((destructor)) static void conf_test_forget(void)
{
	conf_unref(&conf);
	conf_report_free(&report);
}

static inline void write_file(char *path, const char *text, size_t len)
{
	int fd = mkstemp(path);

	if (fd == -1 || write(fd, text, len) != (ssize_t)len)
		abort();
	close(fd);
}

static inline void load_bytes(const char *text, size_t len)
{
	conf_test_forget();
	strcpy(conf_path, "/tmp/conf_test.XXXXXX");
	write_file(conf_path, text, len);
	conf = conf_load(conf_path, &report);
	unlink(conf_path);
}

static inline void load(const char *text)
{
	load_bytes(text, strlen(text));
}

/* [pgshunt] with these lines, and a node. */
static inline void load_main(const char *lines)
{
	char *text = mem_printf("[pgshunt]\nauth_file = u\nconsistency = eventual\n%s\n" A_NODE, lines);

	load(text);
	mem_free(text);
}

/* How many findings of the severity have part in their text. */
static inline int findings(enum conf_severity severity, const char *part)
{
	int n = 0;

	for (size_t i = 0; i < report.count; i++)
		n += report.findings[i].severity == severity && strstr(report.findings[i].text, part);
	return n;
}

/* Line of the first finding that has part in it; -1 = none. */
static inline int line_of(const char *part)
{
	for (size_t i = 0; i < report.count; i++) {
		if (strstr(report.findings[i].text, part))
			return (int)report.findings[i].line;
	}
	return -1;
}

static inline void print_findings(void)
{
	for (size_t i = 0; i < report.count; i++)
		printf("  %s:%u: %s\n", report.findings[i].file, report.findings[i].line, report.findings[i].text);
}

#define CHECK_LOADED() do { if (!conf) print_findings(); CHECK(conf != NULL); } while (0)
#define CHECK_QUIET() do { CHECK_LOADED(); if (report.count) print_findings(); CHECK_INT(report.count, 0); } while (0)
#define CHECK_ONE_ERROR(part) \
	do { CHECK(conf == NULL); if (!findings(CONF_ERROR, part)) print_findings(); \
	     CHECK_INT(findings(CONF_ERROR, part), 1); CHECK_INT(report.errors, 1); } while (0)
#define CHECK_ONE_WARNING(part) do { CHECK_LOADED(); if (report.count != 1) print_findings(); \
	CHECK_INT(findings(CONF_WARNING, part), 1); CHECK_INT(report.count, 1); } while (0)

#endif
