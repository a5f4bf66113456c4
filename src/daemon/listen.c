#include "listen.h"

#include <stdio.h>
#include <unistd.h>

#include "pgshunt/io.h"

/* The next name of a comma list; false at its end. */
static bool next_addr(const char **list, char *out, size_t len)
{
	size_t n;

	*list += strspn(*list, ", \t");
	n = strcspn(*list, ", \t");
	if (n == 0)
		return false;
	snprintf(out, len, "%.*s", (int)n, *list);
	*list += n;
	return true;
}

/* Without so_reuseport a second process on the port must be told: SO_REUSEPORT between our own workers would hide it. */
static bool port_is_free(const struct conf *conf, const char *addr, struct err *err)
{
	int fd;

	if (conf->opt.so_reuseport)
		return true;
	fd = listen_tcp(addr, (int)conf->opt.listen_port, 1, false, err);
	if (fd == -1)
		return false;
	close(fd);
	return true;
}

static bool open_tcp(struct listen_set *set, const struct conf *conf, size_t workers, struct err *err)
{
	char addrs[LISTEN_ADDRS_MAX][256];
	const char *list = conf->opt.listen_addr;

	while (set->addr_count < LISTEN_ADDRS_MAX && next_addr(&list, addrs[set->addr_count], sizeof(addrs[0]))) {
		if (!port_is_free(conf, addrs[set->addr_count], err))
			return false;
		set->addr_count++;
	}
	set->tcp = mem_alloc(MAX(workers * set->addr_count, 1) * sizeof(int));
	for (size_t w = 0; w < workers; w++)
		for (size_t a = 0; a < set->addr_count; a++) {
			int fd = listen_tcp(addrs[a], (int)conf->opt.listen_port, (int)conf->opt.listen_backlog, true, err);
			if (fd == -1)
				return false;
			set->tcp[set->tcp_count++] = fd;
		}
	return true;
}

static bool open_unix(struct listen_set *set, const struct conf *conf, struct err *err)
{
	const char *dir = conf->opt.unix_socket_dir;

	if (!dir[0])
		return true;
	set->unix_fd = listen_unix(dir, (int)conf->opt.listen_port, (int)conf->opt.unix_socket_mode, (int)conf->opt.listen_backlog, err);
	if (set->unix_fd == -1) {
		set->unix_fd = 0;
		return false;
	}
	snprintf(set->unix_path, sizeof(set->unix_path), "%s/.s.PGSQL.%d", dir, (int)conf->opt.listen_port);
	return true;
}

bool listen_open(struct listen_set *set, const struct conf *conf, size_t workers, struct err *err)
{
	if (!open_tcp(set, conf, workers, err) || !open_unix(set, conf, err))
		return false;
	if (set->addr_count == 0 && !set->unix_fd)
		return err_set(err, "F0000", "nothing to listen on: listen_addr and unix_socket_dir are both empty");
	return true;
}

/* An open socket that nobody accepts from would go on getting its share of the clients, who would hang. */
void listen_close_tcp(struct listen_set *set, size_t worker)
{
	for (size_t i = worker * set->addr_count; i < (worker + 1) * set->addr_count; i++) {
		if (set->tcp[i] != -1)
			close(set->tcp[i]);
		set->tcp[i] = -1;
	}
}

void listen_close(struct listen_set *set)
{
	for (size_t i = 0; i < set->tcp_count; i++)
		if (set->tcp[i] != -1)
			close(set->tcp[i]);
	mem_free(set->tcp);
	if (set->unix_fd) {
		close(set->unix_fd);
		unlink(set->unix_path);
	}
	*set = (struct listen_set){ 0 };
}
