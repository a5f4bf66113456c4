/* What a stream knows of its socket: options, addresses, how much has passed. */
#include "private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

void socket_set_tcp(int fd, const struct io_tcp *tcp)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!tcp)
		return;
	if (tcp->keepalive)
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (tcp->keepidle_s)
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &tcp->keepidle_s, sizeof(int));
	if (tcp->keepintvl_s)
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &tcp->keepintvl_s, sizeof(int));
	if (tcp->keepcnt)
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &tcp->keepcnt, sizeof(int));
	if (tcp->user_timeout_ms)
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &tcp->user_timeout_ms, sizeof(int));
}

const char *stream_error(const struct stream *stream)
{
	return stream->error ? strerror(stream->error) : "connection closed by the other side";
}

static void address_text(const struct sockaddr_storage *addr, char *host, size_t len, int *port)
{
	*port = 0;
	if (addr->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)addr;
		inet_ntop(AF_INET, &in->sin_addr, host, (socklen_t)len);
		*port = ntohs(in->sin_port);
	} else if (addr->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
		inet_ntop(AF_INET6, &in6->sin6_addr, host, (socklen_t)len);
		*port = ntohs(in6->sin6_port);
	} else {
		snprintf(host, len, "unix");
	}
}

void stream_peer(const struct stream *stream, char *host, size_t len, int *port)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t addr_len = sizeof(addr);

	getpeername(stream->fd, (struct sockaddr *)&addr, &addr_len);
	address_text(&addr, host, len, port);
}

void stream_local(const struct stream *stream, char *host, size_t len, int *port)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t addr_len = sizeof(addr);

	getsockname(stream->fd, (struct sockaddr *)&addr, &addr_len);
	address_text(&addr, host, len, port);
}

uint64_t stream_bytes_in(const struct stream *stream)
{
	return stream->bytes_in;
}

uint64_t stream_bytes_out(const struct stream *stream)
{
	return stream->bytes_out;
}
