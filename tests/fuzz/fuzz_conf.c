/* A configuration file: whatever it holds, it loads or is refused with a reason, and no secret shows. Its lines are also what a client
 * SETs: what was taken is shown so that it can be set again. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pgshunt/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_change(void *owner, enum conf_change_kind kind, const char *what)
{
	(void)owner;
	(void)kind;
	(void)what;
	ENSURE(!"a configuration differs from itself");
}

static void on_option(void *owner, const char *key, const char *value, const char *default_value, bool changeable)
{
	const struct conf *conf = owner;

	(void)key;
	(void)changeable;
	ENSURE(value && default_value);
	if (strlen(conf->opt.monitor_password) > 12)
		ENSURE(strcmp(value, conf->opt.monitor_password) != 0 || strspn(value, "*") == 8);
}

/* name = value, as a client would say it. The policy points at the value. */
static void set_as_client(struct conf_policy *policy, const char *name, const char *value)
{
	char shown[300], again[300];
	struct err err = { 0 };

	if (!conf_policy_set(policy, name, value, &err)) {
		ENSURE(err_is_set(&err));
		return;
	}
	ENSURE(!err_is_set(&err) && conf_policy_show(policy, name, shown, sizeof(shown)));
	if (strlen(shown) + 1 == sizeof(shown))
		return;
	ENSURE(conf_policy_set(policy, name, shown, &err) && conf_policy_show(policy, name, again, sizeof(again)));
	ENSURE(strcmp(shown, again) == 0);
}

static void set_line(const struct conf *conf, char *line)
{
	char *value = strchr(line, '=');
	struct conf_policy policy = conf->policy;

	if (!value)
		return;
	*value++ = '\0';
	line += strspn(line, " ");
	line[strcspn(line, " ")] = '\0';
	value += strspn(value, " ");
	set_as_client(&policy, strncmp(line, "pgshunt.", 8) == 0 ? line + 8 : line, value);
	conf_policy_reset(&policy, &conf->policy, line);
}

static void set_all_lines(const struct conf *conf, const uint8_t *data, size_t size)
{
	char *text = mem_strndup((const char *)data, size), *rest = text;

	for (char *line; (line = strsep(&rest, "\n"));)
		set_line(conf, line);
	mem_free(text);
}

static void look_around(struct conf *conf)
{
	struct conf_policy policy;
	enum conf_route route;
	const char *name;

	ENSURE(conf->node_count >= 1 && conf->node_count <= 32);
	for (size_t i = 0; i < conf->database_count; i++) {
		const struct conf_database *db = conf_database_find(conf, conf->databases[i].name);
		ENSURE(db == &conf->databases[i]);
		conf_policy_of(conf, db, conf->user_count ? &conf->users[0] : NULL, &policy);
		ENSURE(conf_parse_route(policy.route, &route, &name, NULL));
		ENSURE(conf_pool_size(conf, db, NULL) >= 1);
	}
	conf_show(conf, on_option, conf);
	conf_diff(conf, conf, on_change, NULL);
}

/* Files that block or never end aren't what is tried here. */
static bool reads_devices(const uint8_t *data, size_t size)
{
	static const char *const dirs[] = { "/dev", "/proc", "/sys" };

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		if (memmem(data, size, dirs[i], strlen(dirs[i])))
			return true;
	}
	return false;
}

static struct conf *load(const uint8_t *data, size_t size)
{
	int fd = memfd_create("conf", MFD_CLOEXEC);
	struct conf_report report;
	struct conf *conf = NULL;
	char path[64];

	ENSURE(fd != -1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (write(fd, data, size) == (ssize_t)size) {
		conf = conf_load(path, &report);
		ENSURE((conf != NULL) == (report.errors == 0));
		conf_report_free(&report);
	}
	close(fd);
	return conf;
}

static void count_change(void *owner, enum conf_change_kind kind, const char *what)
{
	ENSURE(what && *what && (kind == CONF_APPLIED || kind == CONF_NEEDS_RESTART));
	++*(size_t *)owner;
}

/* What a reload would make of it, there and back. */
static void check_reload(const struct conf *conf)
{
	static const char other[] = "[pgshunt]\nauth_type = trust\n[nodes]\npg1 = host=h1\n[databases]\na = pool_size=3\n"
				    "[users]\nu = consistency=strong\n";
	struct conf *base = load((const uint8_t *)other, sizeof(other) - 1);
	size_t there = 0, back = 0;

	ENSURE(base);
	conf_diff(base, conf, count_change, &there);
	conf_diff(conf, base, count_change, &back);
	ENSURE(!there == !back);
	conf_unref(&base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *conf = size && !reads_devices(data, size) ? load(data, size) : NULL;

	if (conf) {
		look_around(conf);
		set_all_lines(conf, data, size);
		check_reload(conf);
	}
	conf_unref(&conf);
	return 0;
}
