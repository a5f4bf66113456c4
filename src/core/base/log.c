#include "pgshunt/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct {
	atomic_int least;
	atomic_int fd;
} log_root = { LOG_INFO, STDERR_FILENO };

static const char *const level_names[] = { "DEBUG", "INFO", "WARNING", "ERROR", "FATAL" };

void log_set_level(enum log_level least)
{
	atomic_store_explicit(&log_root.least, (int)least, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&log_root.least, memory_order_relaxed);
}

bool log_set_file(const char *path, struct err *err)
{
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640) : STDERR_FILENO;
	int before;

	if (fd == -1)
		return err_set(err, "58030", "cannot open log file \"%s\": %s", path, strerror(errno));
	before = atomic_exchange(&log_root.fd, fd);
	/* Another thread may be about to write to the old one: put the new file in its place instead of closing it. */
	if (before != STDERR_FILENO && fd != STDERR_FILENO) {
		dup3(fd, before, O_CLOEXEC);
		atomic_store(&log_root.fd, before);
		close(fd);
	}
	return true;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	char line[2048];
	struct timespec now;
	struct tm tm;
	va_list args;
	size_t len;
	int text;

	if (!log_is_on(level))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = strftime(line, sizeof(line), "%Y-%m-%d %H:%M:%S", &tm);
	len += (size_t)snprintf(line + len, sizeof(line) - len, ".%03ld UTC [%d] %s ", now.tv_nsec / 1000000, (int)getpid(),
	                        level_names[level]);
	va_start(args, fmt);
	text = vsnprintf(line + len, sizeof(line) - len - 1, fmt, args);
	va_end(args);
	if (text < 0)
		return;
	len = MIN(len + (size_t)text, sizeof(line) - 2);
	/* A peer's text may hold line ends: one event stays one line. */
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' && line[i] != '\t')
			line[i] = ' ';
	line[len++] = '\n';
	if (write(atomic_load(&log_root.fd), line, len) == -1)
		return;         /* a full disk must not end the proxy, and there is nowhere left to say so */
}

void ensure_failed(const char *cond, const char *file, int line)
{
	log_msg(LOG_FATAL, "bug: %s:%d: %s does not hold", file, line, cond);
	abort();
}
