/* Time, random, names, log. */
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

TEST(time, mono_does_not_go_back_and_wall_is_now)
{
	usec_t before = time_mono_us(), wall = time_wall_us();

	for (int i = 0; i < 1000; i++) {
		usec_t now = time_mono_us();
		CHECK(now >= before);
		before = now;
	}
	CHECK(wall > 1700000000 * USEC_PER_SEC);
}

TEST(random, fills_all_of_it)
{
	uint8_t bytes[600] = { 0 }, used[256] = { 0 };
	int kinds = 0;

	random_bytes(bytes, sizeof(bytes));
	random_bytes(bytes, 0);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		kinds += !used[bytes[i]];
		used[bytes[i]] = 1;
	}
	CHECK(kinds > 180);
}

static const char *const names[] = { "listen_addr", "listen_port", "pool_mode", "auth_type", "zone", NULL };

TEST(names, nearest)
{
	char long_name[200];

	CHECK_STR(nearest_name("listen_prot", names), "listen_port");
	CHECK_STR(nearest_name("pool_mod", names), "pool_mode");
	CHECK_STR(nearest_name("Zone", names), "zone");
	CHECK_STR(nearest_name("auth_type", names), "auth_type");
	CHECK_STR(nearest_name("poolmode", names), "pool_mode");
	CHECK(!nearest_name("something_else", names));
	CHECK(!nearest_name("", names));
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	CHECK(!nearest_name(long_name, names));
}

/* ---- log ---- */

struct log_file {
	char path[64];
	char text[8192];
	size_t len;
};

static void log_begin(struct log_file *f)
{
	struct err err = { 0 };

	snprintf(f->path, sizeof(f->path), "/tmp/test_log.%d", (int)getpid());
	unlink(f->path);
	CHECK(log_set_file(f->path, &err));
}

static void log_read(struct log_file *f)
{
	FILE *file = fopen(f->path, "r");

	CHECK(file);
	f->len = fread(f->text, 1, sizeof(f->text) - 1, file);
	f->text[f->len] = '\0';
	fclose(file);
}

static void log_end(struct log_file *f)
{
	CHECK(log_set_file(NULL, NULL));
	unlink(f->path);
}

TEST(log, a_line_is_time_pid_level_text)
{
	struct log_file f;
	int year, month, day, hour, minute, second, ms, pid, at = 0;

	log_begin(&f);
	log_info("hello %d", 7);
	log_debug("not shown");
	log_read(&f);
	log_end(&f);
	sscanf(f.text, "%4d-%2d-%2d %2d:%2d:%2d.%3d UTC [%d] INFO %n", &year, &month, &day, &hour, &minute, &second, &ms, &pid, &at);
	CHECK(at > 0);
	CHECK_INT(pid, getpid());
	CHECK_STR(f.text + at, "hello 7\n");
}

TEST(log, one_event_is_one_line_of_bounded_length)
{
	struct log_file f;
	char text[5000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_begin(&f);
	log_warning("a\nb\r\x1b[31m%s", "c\nFATAL forged");
	log_error("%s", text);
	log_read(&f);
	log_end(&f);
	CHECK(strstr(f.text, " WARNING a b  [31mc FATAL forged\n"));
	CHECK_INT(strchr(f.text, '\n') - f.text + 1 + 2047, f.len);
	CHECK_INT(f.text[f.len - 1], '\n');
}

TEST(log, level_and_reopening)
{
	struct log_file f;
	struct err err = { 0 };
	struct stat st;

	log_begin(&f);
	log_set_level(LOG_ERROR);
	CHECK(!log_is_on(LOG_WARNING));
	log_warning("no");
	log_set_level(LOG_DEBUG);
	CHECK(log_is_on(LOG_DEBUG));
	log_debug("yes");
	log_set_level(LOG_INFO);
	unlink(f.path);
	CHECK(log_set_file(f.path, &err));      /* as after logrotate */
	log_info("anew");
	log_read(&f);
	CHECK(strstr(f.text, "anew") && !strstr(f.text, "yes"));
	CHECK(!log_set_file("/nonexistent/log", &err));
	CHECK(strstr(err.text, "/nonexistent/log"));
	log_info("still here");
	CHECK(stat(f.path, &st) == 0);
	log_read(&f);
	CHECK(strstr(f.text, "still here"));
	log_end(&f);
}
