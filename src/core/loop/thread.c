/* Threads and what passes between them. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pgshunt/loop.h"

struct mail {
	int kind;
	void *content;
};

struct mailbox {
	pthread_mutex_t lock;           /* guards waiting */
	struct buf waiting;             /* struct mail after struct mail */
	int fd;                         /* eventfd, written when waiting goes from empty to not empty; never read: each write is an edge */
	struct watch *watch;
	mail_fn *fn;
	void *owner;
};

static void mailbox_deliver(struct mailbox *mailbox)
{
	struct buf now;

	pthread_mutex_lock(&mailbox->lock);
	now = mailbox->waiting;
	mailbox->waiting = (struct buf){ NULL, 0, 0 };
	pthread_mutex_unlock(&mailbox->lock);
	for (size_t at = 0; at < now.len; at += sizeof(struct mail)) {
		struct mail mail;
		memcpy(&mail, now.data + at, sizeof(mail));
		mailbox->fn(mailbox->owner, mail.kind, mail.content);
	}
	buf_free(&now);
}

static void mailbox_readable(void *owner, unsigned events)
{
	(void)events;
	mailbox_deliver(owner);
}

struct mailbox *mailbox_new(struct loop *loop, mail_fn *fn, void *owner)
{
	struct mailbox *mailbox = mem_alloc(sizeof(*mailbox));

	pthread_mutex_init(&mailbox->lock, NULL);
	mailbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ENSURE(mailbox->fd != -1);
	mailbox->fn = fn;
	mailbox->owner = owner;
	mailbox->watch = watch_new(loop, mailbox->fd, mailbox_readable, mailbox);
	watch_set(mailbox->watch, WATCH_READ | WATCH_EDGE);
	return mailbox;
}

void mailbox_free(struct mailbox **mailbox)
{
	if (!*mailbox)
		return;
	mailbox_deliver(*mailbox);
	watch_free(&(*mailbox)->watch);
	close((*mailbox)->fd);
	pthread_mutex_destroy(&(*mailbox)->lock);
	buf_free(&(*mailbox)->waiting);
	mem_free(*mailbox);
	*mailbox = NULL;
}

void mailbox_send(struct mailbox *mailbox, int kind, void *content)
{
	struct mail mail = { kind, content };
	uint64_t one = 1;
	bool was_empty;

	pthread_mutex_lock(&mailbox->lock);
	was_empty = mailbox->waiting.len == 0;
	buf_add(&mailbox->waiting, &mail, sizeof(mail));
	pthread_mutex_unlock(&mailbox->lock);
	if (was_empty && write(mailbox->fd, &one, sizeof(one)) == -1)
		log_error("waking a mailbox failed: errno %d", errno);
}

/* ---- threads ---- */

struct thread {
	pthread_t id;
	thread_fn *fn;
	void *owner;
};

static void *thread_main(void *arg)
{
	struct thread *thread = arg;

	thread->fn(thread->owner);
	return NULL;
}

struct thread *thread_start(const char *name, size_t stack_bytes, thread_fn *fn, void *owner)
{
	struct thread *thread = mem_alloc(sizeof(*thread));
	pthread_attr_t attr;
	sigset_t all, before;

	thread->fn = fn;
	thread->owner = owner;
	pthread_attr_init(&attr);
	if (stack_bytes)
		pthread_attr_setstacksize(&attr, stack_bytes);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);            /* signals are the main thread's */
	ENSURE(pthread_create(&thread->id, &attr, thread_main, thread) == 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	pthread_setname_np(thread->id, name);
	return thread;
}

void thread_join(struct thread **thread)
{
	if (!*thread)
		return;
	pthread_join((*thread)->id, NULL);
	mem_free(*thread);
	*thread = NULL;
}
