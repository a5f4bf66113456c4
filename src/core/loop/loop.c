#include "pgshunt/loop.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <unistd.h>

#include "private.h"

struct loop_call {
	later_fn *fn;
	void *object;
};

struct loop *loop_new(void)
{
	struct loop *loop = mem_alloc(sizeof(*loop));
	struct event_config *config = event_config_new();

	/* One thread a loop: libevent needs no locks, and a coarse clock serves (needs are timed by time_mono_us()). */
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	loop->base = event_base_new_with_config(config);
	event_config_free(config);
	ENSURE(loop->base != NULL);
	event_assign(&loop->later_event, loop->base, -1, 0, loop_run_later, loop);
	return loop;
}

void loop_free(struct loop **loop)
{
	if (!*loop)
		return;
	loop_run_later(-1, 0, *loop);
	loop_dns_free(*loop);
	event_base_free((*loop)->base);
	buf_free(&(*loop)->later);
	mem_free(*loop);
	*loop = NULL;
}

void loop_run(struct loop *loop)
{
	loop->now_us = 0;
	event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
	loop->now_us = 0;
}

void loop_stop(struct loop *loop)
{
	event_base_loopbreak(loop->base);
}

void loop_flush(struct loop *loop)
{
	while (loop->later.len)
		loop_run_later(-1, 0, loop);
}

void *loop_event_base(struct loop *loop)
{
	return loop->base;
}

usec_t loop_now_us(struct loop *loop)
{
	if (!loop->now_us)
		loop->now_us = time_mono_us();
	return loop->now_us;
}

/* ---- later ---- */

/* An event made active while callbacks run is handled in the same turn of the loop: no system call in between. */
void loop_later(struct loop *loop, later_fn *fn, void *object)
{
	struct loop_call call = { fn, object };

	if (loop->later.len == 0)
		event_active(&loop->later_event, EV_TIMEOUT, 1);
	buf_add(&loop->later, &call, sizeof(call));
}

void loop_run_later(int fd, short events, void *owner)
{
	struct loop *loop = owner;
	struct buf now = loop->later;

	(void)fd;
	(void)events;
	loop->later = (struct buf){ NULL, 0, 0 };
	loop->now_us = 0;
	for (size_t at = 0; at < now.len; at += sizeof(struct loop_call)) {
		struct loop_call call;
		memcpy(&call, now.data + at, sizeof(call));
		call.fn(call.object);
	}
	if (loop->later.cap == 0 && now.cap <= 4096) {
		now.len = 0;            /* keep the memory for the next turn */
		loop->later = now;
	} else {
		buf_free(&now);
	}
}

/* ---- descriptors ---- */

/* An event for each direction: one of the two can come and go with one system call. Few watches ever want to write. */
struct watch {
	struct loop *loop;
	struct event reading, *writing;
	int fd;
	unsigned events;
	watch_fn *fn;
	void *owner;
};

static void watch_fired(int fd, short what, void *owner)
{
	struct watch *watch = owner;

	(void)fd;
	watch->loop->now_us = 0;
	watch->fn(watch->owner, ((what & EV_READ) ? WATCH_READ : 0u) | ((what & EV_WRITE) ? WATCH_WRITE : 0u));
}

struct watch *watch_new(struct loop *loop, int fd, watch_fn *fn, void *owner)
{
	struct watch *watch = mem_alloc(sizeof(*watch));

	watch->loop = loop;
	watch->fd = fd;
	watch->fn = fn;
	watch->owner = owner;
	return watch;
}

static void watch_begin(struct watch *watch, struct event *event, short what)
{
	event_assign(event, watch->loop->base, watch->fd, (short)(what | EV_PERSIST), watch_fired, watch);
	event_add(event, NULL);
}

/* What is new before what goes: the descriptor stays where it is. */
void watch_set(struct watch *watch, unsigned events)
{
	unsigned added = events & ~watch->events, gone = watch->events & ~events;

	watch->events = events;
	if (added & WATCH_READ)
		watch_begin(watch, &watch->reading, (events & WATCH_EDGE) ? EV_READ | EV_ET : EV_READ);
	if (added & WATCH_WRITE) {
		if (!watch->writing)
			watch->writing = mem_alloc(sizeof(*watch->writing));
		watch_begin(watch, watch->writing, EV_WRITE);
	}
	if (gone & WATCH_READ)
		event_del(&watch->reading);
	if (gone & WATCH_WRITE)
		event_del(watch->writing);
}

void watch_free(struct watch **watch)
{
	if (!*watch)
		return;
	watch_set(*watch, 0);
	mem_free((*watch)->writing);
	mem_free(*watch);
	*watch = NULL;
}

/* ---- timers ---- */

struct timer {
	struct event event;
	struct loop *loop;
	timer_fn *fn;
	void *owner;
};

static void timer_fired(int fd, short what, void *owner)
{
	struct timer *timer = owner;

	(void)fd;
	(void)what;
	timer->loop->now_us = 0;
	timer->fn(timer->owner);
}

struct timer *timer_new(struct loop *loop, timer_fn *fn, void *owner)
{
	struct timer *timer = mem_alloc(sizeof(*timer));

	timer->loop = loop;
	timer->fn = fn;
	timer->owner = owner;
	event_assign(&timer->event, loop->base, -1, 0, timer_fired, timer);
	return timer;
}

void timer_set(struct timer *timer, usec_t in_us)
{
	usec_t wait = MAX(in_us, 0);
	struct timeval tv = { .tv_sec = (time_t)(wait / USEC_PER_SEC), .tv_usec = (suseconds_t)(wait % USEC_PER_SEC) };

	event_add(&timer->event, &tv);
}

void timer_stop(struct timer *timer)
{
	event_del(&timer->event);
}

bool timer_is_set(const struct timer *timer)
{
	return event_pending(&timer->event, EV_TIMEOUT, NULL) != 0;
}

void timer_free(struct timer **timer)
{
	if (!*timer)
		return;
	event_del(&(*timer)->event);
	mem_free(*timer);
	*timer = NULL;
}

/* ---- signals ---- */

struct signal_watch {
	struct event event;
	signal_fn *fn;
	void *owner;
};

static void signal_fired(int signo, short what, void *owner)
{
	struct signal_watch *watch = owner;

	(void)what;
	watch->fn(watch->owner, signo);
}

struct signal_watch *signal_watch_new(struct loop *loop, int signo, signal_fn *fn, void *owner)
{
	struct signal_watch *watch = mem_alloc(sizeof(*watch));

	watch->fn = fn;
	watch->owner = owner;
	event_assign(&watch->event, loop->base, signo, EV_SIGNAL | EV_PERSIST, signal_fired, watch);
	event_add(&watch->event, NULL);
	return watch;
}

void signal_watch_free(struct signal_watch **watch)
{
	if (!*watch)
		return;
	event_del(&(*watch)->event);
	mem_free(*watch);
	*watch = NULL;
}
