#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pgshunt/io.h"

/* How many connections one wake-up takes before other work has its turn. */
#define ACCEPTS_A_TURN 16
#define NO_DESCRIPTORS_PAUSE_US (100 * USEC_PER_MS)

struct listener {
	struct watch *watch;
	struct timer *pause;
	int fd;
	listener_fn *fn;
	void *owner;
};

static int listen_fail(int fd, struct err *err, const char *what, const char *where)
{
	err_set(err, "08001", "cannot %s %s: %s", what, where, strerror(errno));
	if (fd != -1)
		close(fd);
	return -1;
}

int listen_tcp(const char *addr, int port, int backlog, bool reuseport, struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *found = NULL, *chosen;
	bool any = strcmp(addr, "*") == 0;
	char service[16], where[300];
	int fd, on = 1, off = 0, rc, family;

	snprintf(service, sizeof(service), "%d", port);
	snprintf(where, sizeof(where), "%.250s:%d", addr, port);
	rc = getaddrinfo(any ? NULL : addr, service, &hints, &found);
	if (rc != 0) {
		err_set(err, "08001", "listen_addr \"%s\": %s", addr, gai_strerror(rc));
		return -1;
	}
	chosen = found;
	for (struct addrinfo *ai = found; any && ai; ai = ai->ai_next)
		if (ai->ai_family == AF_INET6)
			chosen = ai;    /* "*": one IPv6 socket serves both */
	family = chosen->ai_family;
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1) {
		freeaddrinfo(found);
		return listen_fail(fd, err, "open a socket for", where);
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (reuseport)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, any ? &off : &on, sizeof(on));
	rc = bind(fd, chosen->ai_addr, chosen->ai_addrlen);
	freeaddrinfo(found);
	if (rc == -1)
		return listen_fail(fd, err, "listen on", where);
	if (listen(fd, backlog) == -1)
		return listen_fail(fd, err, "listen on", where);
	return fd;
}

/* A socket file nobody answers on is left over from a crash. */
static bool unix_socket_is_dead(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool is_dead = fd != -1 && connect(fd, (const struct sockaddr *)un, sizeof(*un)) == -1 && errno == ECONNREFUSED;

	if (fd != -1)
		close(fd);
	return is_dead;
}

int listen_unix(const char *dir, int port, int mode, int backlog, struct err *err)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int len = snprintf(un.sun_path, sizeof(un.sun_path), "%s/.s.PGSQL.%d", dir, port), fd;

	if (len < 0 || (size_t)len >= sizeof(un.sun_path)) {
		err_set(err, "08001", "unix_socket_dir \"%s\" is too long", dir);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return listen_fail(fd, err, "open a socket for", un.sun_path);
	if (unix_socket_is_dead(&un))
		unlink(un.sun_path);
	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) == -1 || chmod(un.sun_path, (mode_t)mode) == -1 || listen(fd, backlog) == -1)
		return listen_fail(fd, err, "listen on", un.sun_path);
	return fd;
}

static void listener_readable(void *owner, unsigned events)
{
	struct listener *l = owner;

	(void)events;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd != -1) {
			l->fn(l->owner, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_warning("cannot accept a connection: %s; trying again in 100 ms", strerror(errno));
			watch_set(l->watch, 0);
			timer_set(l->pause, NO_DESCRIPTORS_PAUSE_US);
		}
		return;
	}
}

static void listener_go_on(void *owner)
{
	struct listener *l = owner;

	watch_set(l->watch, WATCH_READ);
}

struct listener *listener_new(struct loop *loop, int fd, listener_fn *fn, void *owner)
{
	struct listener *l = mem_alloc(sizeof(*l));

	l->fd = fd;
	l->fn = fn;
	l->owner = owner;
	l->watch = watch_new(loop, fd, listener_readable, l);
	l->pause = timer_new(loop, listener_go_on, l);
	watch_set(l->watch, WATCH_READ);
	return l;
}

void listener_free(struct listener **listener)
{
	if (!*listener)
		return;
	watch_free(&(*listener)->watch);
	timer_free(&(*listener)->pause);
	mem_free(*listener);
	*listener = NULL;
}
