/* Names to addresses without blocking: numbers and socket directories at once, names by libevent's resolver. */
#include <event2/dns.h>
#include <event2/util.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/un.h>

#include "private.h"

struct resolve {
	struct loop *loop;
	resolve_fn *fn;
	void *owner;
	struct sockaddr_storage addr;
	socklen_t len;
	struct err err;
	char host[256];
};

static void resolve_finish(void *object)
{
	struct resolve *r = object;

	r->fn(r->owner, &r->addr, r->len, err_is_set(&r->err) ? &r->err : NULL);
	mem_free(r);
}

static void resolve_done(int rc, struct evutil_addrinfo *found, void *owner)
{
	struct resolve *r = owner;

	if (rc != 0) {
		err_set(&r->err, "08001", "could not translate host name \"%s\" to address: %s", r->host, evutil_gai_strerror(rc));
	} else {
		r->len = (socklen_t)found->ai_addrlen;
		memcpy(&r->addr, found->ai_addr, r->len);
		evutil_freeaddrinfo(found);
	}
	loop_later(r->loop, resolve_finish, r);
}

static bool resolve_unix(struct resolve *r, const char *dir, int port)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&r->addr;
	int len = snprintf(un->sun_path, sizeof(un->sun_path), "%s/.s.PGSQL.%d", dir, port);

	un->sun_family = AF_UNIX;
	r->len = sizeof(*un);
	if (len < 0 || (size_t)len >= sizeof(un->sun_path))
		return err_set(&r->err, "08001", "Unix socket directory \"%s\" is too long", dir);
	return true;
}

void loop_resolve(struct loop *loop, const char *host, int port, resolve_fn *fn, void *owner)
{
	struct resolve *r = mem_alloc(sizeof(*r));
	struct evutil_addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = EVUTIL_AI_NUMERICHOST };
	struct evutil_addrinfo *found = NULL;
	char service[16];

	r->loop = loop;
	r->fn = fn;
	r->owner = owner;
	snprintf(r->host, sizeof(r->host), "%s", host);
	snprintf(service, sizeof(service), "%d", port);
	if (host[0] == '/') {
		resolve_unix(r, host, port);
		loop_later(loop, resolve_finish, r);
		return;
	}
	if (evutil_getaddrinfo(host, service, &hints, &found) == 0) {
		resolve_done(0, found, r);
		return;
	}
	if (!loop->dns)
		loop->dns = evdns_base_new(loop->base, EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (!loop->dns) {
		err_set(&r->err, "08001", "cannot look up \"%s\": no name server configured", host);
		loop_later(loop, resolve_finish, r);
		return;
	}
	hints.ai_flags = EVUTIL_AI_ADDRCONFIG;
	evdns_getaddrinfo(loop->dns, host, service, &hints, resolve_done, r);
}

void loop_dns_free(struct loop *loop)
{
	if (loop->dns)
		evdns_base_free(loop->dns, 1);
	loop->dns = NULL;
	loop_run_later(-1, 0, loop);
}
