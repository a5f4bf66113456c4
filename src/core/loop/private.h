/* private.h - of src/core/loop */
#ifndef PGSHUNT_LOOP_PRIVATE_H
#define PGSHUNT_LOOP_PRIVATE_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "pgshunt/loop.h"

struct evdns_base;

struct loop {
	struct event_base *base;
	struct event later_event;
	struct buf later;               /* struct loop_call after struct loop_call */
	struct evdns_base *dns;         /* made by the first look-up of a name */
	usec_t now_us;                  /* see loop_now_us(); 0 = not asked for in this callback */
};

void loop_run_later(int fd, short events, void *owner);
void loop_dns_free(struct loop *loop);

#endif
