/* Periods on a descriptor: see loop.h. */
#include <sys/timerfd.h>
#include <unistd.h>

#include "pgshunt/loop.h"

struct ticker {
	struct watch *watch;
	int fd;
	timer_fn *fn;
	void *owner;
};

static void ticker_fired(void *owner, unsigned events)
{
	struct ticker *ticker = owner;
	uint64_t periods;

	(void)events;
	if (read(ticker->fd, &periods, sizeof(periods)) == sizeof(periods))
		ticker->fn(ticker->owner);
}

struct ticker *ticker_new(struct loop *loop, usec_t period_us, timer_fn *fn, void *owner)
{
	struct timespec period = { .tv_sec = (time_t)(period_us / USEC_PER_SEC), .tv_nsec = (long)(period_us % USEC_PER_SEC) * 1000 };
	struct itimerspec when = { .it_interval = period, .it_value = period };
	struct ticker *ticker = mem_alloc(sizeof(*ticker));

	ticker->fn = fn;
	ticker->owner = owner;
	ticker->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	ENSURE(ticker->fd != -1 && timerfd_settime(ticker->fd, 0, &when, NULL) == 0);
	ticker->watch = watch_new(loop, ticker->fd, ticker_fired, ticker);
	watch_set(ticker->watch, WATCH_READ);
	return ticker;
}

void ticker_free(struct ticker **ticker)
{
	if (!*ticker)
		return;
	watch_free(&(*ticker)->watch);
	close((*ticker)->fd);
	mem_free(*ticker);
	*ticker = NULL;
}
