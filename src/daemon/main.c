#include <stdio.h>
#include <string.h>

#include "daemon.h"

static const char usage[] =
	"pgshunt - one port for a PostgreSQL primary and its standbys\n"
	"\n"
	"usage:\n"
	"  pgshunt [-v] CONFIG               run in the foreground; the log goes to stderr\n"
	"  pgshunt --check CONFIG            check the configuration; exit 1 if there is an error\n"
	"  pgshunt route [-c CONFIG] [--json] [SQL]\n"
	"                                    say how statements would be routed, and why (stdin: many, ;-separated)\n"
	"  pgshunt --version, --help\n"
	"\n"
	"signals: SIGHUP reloads, SIGTERM and SIGINT drain (twice: at once), SIGQUIT ends at once\n";

int command_check(const char *conf_path)
{
	struct conf_report report = { NULL, 0, 0 };
	struct conf *conf = conf_load(conf_path, &report);
	struct auth_users *users = NULL;
	struct err err = { 0 };
	bool ok = conf != NULL;

	for (size_t i = 0; i < report.count; i++) {
		const struct conf_finding *f = &report.findings[i];
		fprintf(stderr, "%s:%u: %s: %s\n", f->file, f->line, f->severity == CONF_ERROR ? "error" : "warning", f->text);
	}
	conf_report_free(&report);
	hash_key_init();
	if (conf && conf->opt.auth_file[0]) {
		users = auth_users_parse(conf->opt.auth_file, &err);
		ok = users != NULL;
		if (!ok)
			fprintf(stderr, "%s: error: %s\n", conf_path, err.text);
	}
	if (ok)
		printf("%s: OK\n", conf_path);
	auth_users_unref(&users);
	conf_unref(&conf);
	return ok ? 0 : 1;
}

static int wrong_usage(const char *what, const char *word)
{
	fprintf(stderr, "pgshunt: %s%s\n%s", what, word, usage);
	return 2;
}

int main(int argc, char **argv)
{
	bool verbose = false;
	int i = 1;

	if (argc > 1 && strcmp(argv[1], "route") == 0)
		return command_route(argc - 2, argv + 2);
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "-v") == 0 || strcmp(argv[i], "--verbose") == 0) {
			verbose = true;
		} else if (strcmp(argv[i], "--version") == 0 || strcmp(argv[i], "-V") == 0) {
			printf("pgshunt " PGSHUNT_VERSION "\n");
			return 0;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(usage, stdout);
			return 0;
		} else if (strcmp(argv[i], "--check") == 0) {
			return i + 2 == argc ? command_check(argv[i + 1]) : wrong_usage("--check takes one CONFIG", "");
		} else {
			return wrong_usage("unknown option ", argv[i]);
		}
	}
	if (i + 1 != argc)
		return wrong_usage(i == argc ? "CONFIG is missing" : "one CONFIG only", "");
	return daemon_run(argv[i], verbose);
}
