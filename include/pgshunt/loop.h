/* loop.h - one event loop a thread: descriptors, timers, mailboxes, deferred calls, threads, name look-ups.
 *
 * The only user of libevent's event API and of pthread. A loop and everything on it belong to one thread (that of loop_run), except
 * mailbox_send(), which any thread may call. */
#ifndef PGSHUNT_LOOP_H
#define PGSHUNT_LOOP_H

#include <sys/socket.h>

#include "pgshunt/base.h"

struct loop;

struct loop *loop_new(void);
void loop_free(struct loop **loop);
void loop_run(struct loop *loop);              /* until loop_stop() */
void loop_stop(struct loop *loop);
void loop_flush(struct loop *loop);            /* runs what was put off by loop_later(), for tidying up after loop_run() */

/* time_mono_us(), read once in each callback of the loop: for statistics and timeouts, as often as one likes. Not for needs: what was
 * read from a socket may be younger than this. */
usec_t loop_now_us(struct loop *loop);

/* For libraries with an event interface of their own (evhttp): the struct event_base behind the loop. */
void *loop_event_base(struct loop *loop);

/* ---- descriptors: level-triggered; the callback may close and free the watch ---- */

enum watch_events {
	WATCH_READ = 1,
	WATCH_WRITE = 2,
	WATCH_EDGE = 4          /* with WATCH_READ, from the beginning: told once for each piece of news, whatever was done about it */
};
struct watch;
typedef void watch_fn(void *owner, unsigned events);
struct watch *watch_new(struct loop *loop, int fd, watch_fn *fn, void *owner); /* watches nothing yet */
void watch_set(struct watch *watch, unsigned events);  /* no system call when nothing changes */
void watch_free(struct watch **watch);                  /* doesn't close the descriptor; accepts NULL inside */

/* ---- timers: one shot ---- */

struct timer;
typedef void timer_fn(void *owner);
struct timer *timer_new(struct loop *loop, timer_fn *fn, void *owner);
void timer_set(struct timer *timer, usec_t in_us);     /* replaces an earlier setting */
void timer_stop(struct timer *timer);
bool timer_is_set(const struct timer *timer);
void timer_free(struct timer **timer);

/* ---- tickers: once a period, for as long as it lives. A loop with a timer set sleeps with a deadline, which the kernel and libevent
 * count each time it sleeps; a ticker is a descriptor like any other. Not to be freed in its own call. ---- */

struct ticker;
struct ticker *ticker_new(struct loop *loop, usec_t period_us, timer_fn *fn, void *owner);
void ticker_free(struct ticker **ticker);

/* ---- later: runs once, after the current callback has returned, before the loop sleeps again ---- */

typedef void later_fn(void *object);
void loop_later(struct loop *loop, later_fn *fn, void *object);
/* The graveyard: an object that must not be freed inside its own callback. */
static inline void loop_bury(struct loop *loop, later_fn *free_it, void *object)
{
	loop_later(loop, free_it, object);
}

/* ---- mailbox: messages between threads; what is sent is moved ---- */

struct mailbox;
typedef void mail_fn(void *owner, int kind, void *content);    /* on the receiving loop's thread; owns content from now on */
struct mailbox *mailbox_new(struct loop *loop, mail_fn *fn, void *owner);
void mailbox_free(struct mailbox **mailbox);           /* undelivered contents go to fn first */
void mailbox_send(struct mailbox *mailbox, int kind, void *content);

/* ---- threads ---- */

struct thread;
typedef void thread_fn(void *owner);
struct thread *thread_start(const char *name, size_t stack_bytes, thread_fn *fn, void *owner);  /* signals blocked */
void thread_join(struct thread **thread);

/* ---- names: never blocks; the callback runs exactly once, never before loop_resolve() returns ---- */

typedef void resolve_fn(void *owner, const struct sockaddr_storage *addr, socklen_t len, const struct err *err);
void loop_resolve(struct loop *loop, const char *host, int port, resolve_fn *fn, void *owner);

/* ---- signals (main thread's loop only) ---- */

struct signal_watch;
typedef void signal_fn(void *owner, int signo);
struct signal_watch *signal_watch_new(struct loop *loop, int signo, signal_fn *fn, void *owner);
void signal_watch_free(struct signal_watch **watch);

#endif
