/* listen.h - private to src/daemon: the listening sockets, opened before any thread starts. */
#ifndef PGSHUNT_DAEMON_LISTEN_H
#define PGSHUNT_DAEMON_LISTEN_H

#include "pgshunt/conf.h"

#define LISTEN_ADDRS_MAX 8

struct listen_set {
	int *tcp;               /* worker-major: tcp[worker * addr_count + addr]; -1 = closed by its worker */
	size_t tcp_count, addr_count;
	int unix_fd;            /* shared by all workers; 0 = none */
	char unix_path[128];
};

bool listen_open(struct listen_set *set, const struct conf *conf, size_t workers, struct err *err);
void listen_close_tcp(struct listen_set *set, size_t worker);  /* this worker's sockets, on its thread */
void listen_close(struct listen_set *set);

#endif
