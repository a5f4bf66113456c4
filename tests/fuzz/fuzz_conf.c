/* A configuration file: whatever it holds, it loads or is refused with a reason, and no secret shows. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("conf", MFD_CLOEXEC);
	struct conf_report report;
	struct conf *conf;
	char path[64];

	ENSURE(fd != -1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!reads_devices(data, size) && write(fd, data, size) == (ssize_t)size) {
		conf = conf_load(path, &report);
		ENSURE((conf != NULL) == (report.errors == 0));
		if (conf)
			look_around(conf);
		conf_unref(&conf);
		conf_report_free(&report);
	}
	close(fd);
	return 0;
}
