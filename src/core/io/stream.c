#include "pgshunt/io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

/* A client's usual message fits the small block; a server's results come in 8 kB pieces, several of them at once. */
#define SMALL_BLOCK_BYTES 4096u
#define LARGE_BLOCK_BYTES 32768u
#define KEEP_SMALL_BLOCKS 256
#define KEEP_LARGE_BLOCKS 32

struct io {
	struct loop *loop;
	struct mem_pool *small, *large;
};

struct stream {
	struct io *io;
	int fd;
	struct watch *watch;
	stream_fn *fn;
	void *owner;
	/* window: block[from, to) */
	uint8_t *block;
	size_t block_cap, from, to;
	size_t window_max;
	struct buf out;                 /* not yet taken by the socket: out.data[out_from, out.len) */
	size_t out_from;
	struct timer *connect_timer;
	uint64_t bytes_in, bytes_out;
	int error;                      /* errno of what broke it */
	bool is_connecting, is_paused, at_eof, is_broken, is_freed, wants_drained, end_told, end_scheduled, prefers_large;
};

struct io *io_new(struct loop *loop)
{
	struct io *io = mem_alloc(sizeof(*io));

	io->loop = loop;
	io->small = mem_pool_new(SMALL_BLOCK_BYTES, KEEP_SMALL_BLOCKS);
	io->large = mem_pool_new(LARGE_BLOCK_BYTES, KEEP_LARGE_BLOCKS);
	return io;
}

void io_free(struct io **io)
{
	if (!*io)
		return;
	mem_pool_free(&(*io)->small);
	mem_pool_free(&(*io)->large);
	mem_free(*io);
	*io = NULL;
}

struct loop *io_loop(const struct io *io)
{
	return io->loop;
}

/* ---- the window's memory ---- */

static uint8_t *block_take(struct io *io, size_t cap)
{
	if (cap == SMALL_BLOCK_BYTES)
		return mem_pool_take(io->small);
	if (cap == LARGE_BLOCK_BYTES)
		return mem_pool_take(io->large);
	return mem_realloc(NULL, cap);
}

static void block_give(struct io *io, uint8_t *block, size_t cap)
{
	if (!block)
		return;
	if (cap == SMALL_BLOCK_BYTES)
		mem_pool_give(io->small, block);
	else if (cap == LARGE_BLOCK_BYTES)
		mem_pool_give(io->large, block);
	else
		mem_free(block);
}

static void window_replace(struct stream *s, size_t cap)
{
	uint8_t *block = block_take(s->io, cap);
	size_t len = s->to - s->from;

	if (len)
		memcpy(block, s->block + s->from, len);
	block_give(s->io, s->block, s->block_cap);
	s->block = block;
	s->block_cap = cap;
	s->from = 0;
	s->to = len;
}

/* Makes room for reading; false when the window is as full as it may be. */
static bool window_make_room(struct stream *s)
{
	size_t len = s->to - s->from, cap;

	if (!s->block) {
		window_replace(s, s->prefers_large ? LARGE_BLOCK_BYTES : SMALL_BLOCK_BYTES);
		return true;
	}
	if (s->to < s->block_cap)
		return true;
	if (len >= s->window_max)
		return false;
	if (s->from >= s->block_cap / 2) {
		memmove(s->block, s->block + s->from, len);
		s->from = 0;
		s->to = len;
		return true;
	}
	cap = s->block_cap < LARGE_BLOCK_BYTES ? LARGE_BLOCK_BYTES : s->block_cap * 2;
	window_replace(s, cap);
	return true;
}

/* ---- events ---- */

static void stream_update_watch(struct stream *s)
{
	unsigned events = 0;

	if (s->is_connecting || stream_unsent(s) > 0)
		events |= WATCH_WRITE;
	if (!s->is_connecting && !s->at_eof && !s->is_broken && !s->is_paused && s->to - s->from < s->window_max)
		events |= WATCH_READ;
	watch_set(s->watch, s->is_broken ? 0 : events);
}

static void stream_release(void *object)
{
	mem_free(object);
}

/* Tells the end of the stream, once. */
static void stream_tell_end(struct stream *s)
{
	if (s->end_told || s->is_freed)
		return;
	s->end_told = true;
	stream_update_watch(s);
	s->fn(s->owner, s->is_broken ? STREAM_FAILED : STREAM_EOF);
}

static void stream_tell_end_later(void *object)
{
	struct stream *s = object;

	s->end_scheduled = false;
	if (s->is_freed)
		mem_free(s);            /* freed meanwhile: this call was the one that kept it */
	else
		stream_tell_end(s);
}

/* Called from within an owner's call: the news must wait until the owner has returned. */
static void stream_break_later(struct stream *s, int error)
{
	if (s->is_broken)
		return;
	s->is_broken = true;
	s->error = error;
	s->out.len = s->out_from = 0;
	s->wants_drained = false;
	watch_set(s->watch, 0);
	s->end_scheduled = true;
	loop_later(s->io->loop, stream_tell_end_later, s);
}

static void stream_read(struct stream *s)
{
	ssize_t got;

	if (!window_make_room(s)) {
		stream_update_watch(s);
		return;
	}
	got = recv(s->fd, s->block + s->to, s->block_cap - s->to, 0);
	if (got > 0) {
		s->to += (size_t)got;
		s->bytes_in += (uint64_t)got;
		s->fn(s->owner, STREAM_READABLE);
		return;
	}
	if (got == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (s->from == s->to) {
		block_give(s->io, s->block, s->block_cap);
		s->block = NULL;
	}
	s->at_eof = true;
	if (got == -1) {
		s->is_broken = true;
		s->error = errno;
	}
	stream_tell_end(s);
}

static void stream_write_out(struct stream *s)
{
	ssize_t sent = send(s->fd, s->out.data + s->out_from, s->out.len - s->out_from, MSG_NOSIGNAL);

	if (sent == -1) {
		if (errno != EAGAIN && errno != EINTR)
			stream_break_later(s, errno);
		return;
	}
	s->bytes_out += (uint64_t)sent;
	s->out_from += (size_t)sent;
	if (s->out_from == s->out.len)
		buf_free(&s->out), s->out_from = 0;
}

static void stream_finish_connect(struct stream *s)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		error = errno;
	timer_free(&s->connect_timer);
	s->is_connecting = false;
	if (error) {
		s->is_broken = s->at_eof = true;
		s->error = error;
		stream_tell_end(s);
		return;
	}
	stream_update_watch(s);
	s->fn(s->owner, STREAM_CONNECTED);
}

static void stream_connect_timed_out(void *owner)
{
	struct stream *s = owner;

	s->is_broken = s->at_eof = true;
	s->error = ETIMEDOUT;
	stream_tell_end(s);
}

/* The stream may be freed by its owner in any of these calls: the struct outlives the callback (see stream_free). */
static void stream_fired(void *owner, unsigned events)
{
	struct stream *s = owner;

	if (s->is_connecting) {
		stream_finish_connect(s);
		return;
	}
	if ((events & WATCH_WRITE) && stream_unsent(s) > 0) {
		stream_write_out(s);
		if (stream_unsent(s) == 0 && !s->is_broken && s->wants_drained) {
			s->wants_drained = false;
			stream_update_watch(s);
			s->fn(s->owner, STREAM_DRAINED);
		}
	}
	if (!s->is_freed && !s->is_broken && (events & WATCH_READ) && !s->is_paused && !s->at_eof)
		stream_read(s);
	if (!s->is_freed)
		stream_update_watch(s);
}

/* ---- life ---- */

static void set_tcp_options(int fd, const struct io_tcp *tcp)
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

static struct stream *stream_make(struct io *io, int fd, stream_fn *fn, void *owner, bool prefers_large)
{
	struct stream *s = mem_alloc(sizeof(*s));

	s->io = io;
	s->fd = fd;
	s->fn = fn;
	s->owner = owner;
	s->prefers_large = prefers_large;
	s->window_max = prefers_large ? LARGE_BLOCK_BYTES : SMALL_BLOCK_BYTES;
	s->watch = watch_new(io->loop, fd, stream_fired, s);
	return s;
}

struct stream *stream_of_fd(struct io *io, int fd, const struct io_tcp *tcp, stream_fn *fn, void *owner)
{
	struct stream *s = stream_make(io, fd, fn, owner, false);

	set_tcp_options(fd, tcp);
	stream_update_watch(s);
	return s;
}

struct stream *stream_connect(struct io *io, const struct sockaddr *addr, socklen_t len, usec_t timeout_us, const struct io_tcp *tcp,
                              stream_fn *fn, void *owner)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct stream *s = stream_make(io, fd, fn, owner, true);

	if (fd == -1) {
		stream_break_later(s, errno);
		return s;
	}
	if (addr->sa_family != AF_UNIX)
		set_tcp_options(fd, tcp);
	s->is_connecting = true;
	if (connect(fd, addr, len) == -1 && errno != EINPROGRESS) {
		s->is_connecting = false;
		stream_break_later(s, errno);
		return s;
	}
	s->connect_timer = timer_new(io->loop, stream_connect_timed_out, s);
	timer_set(s->connect_timer, timeout_us);
	stream_update_watch(s);
	return s;
}

void stream_free(struct stream **stream)
{
	struct stream *s = *stream;

	if (!s)
		return;
	*stream = NULL;
	s->is_freed = true;
	timer_free(&s->connect_timer);
	watch_free(&s->watch);
	if (s->fd != -1)
		close(s->fd);
	s->fd = -1;
	block_give(s->io, s->block, s->block_cap);
	s->block = NULL;
	s->from = s->to = 0;
	buf_free(&s->out);
	if (!s->end_scheduled)          /* else stream_tell_end_later() frees the struct */
		loop_bury(s->io->loop, stream_release, s);
}

void stream_end(struct stream *stream)
{
	uint8_t dropped[4096];
	int rounds = 16;

	if (stream->is_broken || stream->is_connecting)
		return;
	shutdown(stream->fd, SHUT_WR);
	while (rounds-- > 0 && recv(stream->fd, dropped, sizeof(dropped), 0) > 0)
		;
}

void stream_set_owner(struct stream *stream, stream_fn *fn, void *owner)
{
	stream->fn = fn;
	stream->owner = owner;
}

/* ---- receiving ---- */

uint8_t *stream_data(const struct stream *stream)
{
	return stream->block + stream->from;
}

size_t stream_len(const struct stream *stream)
{
	return stream->to - stream->from;
}

void stream_consume(struct stream *s, size_t len)
{
	ENSURE(len <= s->to - s->from);
	s->from += len;
	if (s->from == s->to && s->block) {
		block_give(s->io, s->block, s->block_cap);
		s->block = NULL;
		s->from = s->to = 0;
	}
	if (len && !s->is_broken)
		stream_update_watch(s);
}

void stream_set_window(struct stream *stream, size_t max_bytes)
{
	stream->window_max = MAX(max_bytes, stream->prefers_large ? LARGE_BLOCK_BYTES : SMALL_BLOCK_BYTES);
	if (!stream->is_broken)
		stream_update_watch(stream);
}

void stream_pause(struct stream *stream)
{
	stream->is_paused = true;
	if (!stream->is_broken)
		stream_update_watch(stream);
}

void stream_resume(struct stream *stream)
{
	stream->is_paused = false;
	if (!stream->is_broken)
		stream_update_watch(stream);
}

bool stream_at_eof(const struct stream *stream)
{
	return stream->at_eof || stream->is_broken;
}

/* ---- sending ---- */

struct buf *stream_queued(struct stream *stream)
{
	return &stream->out;
}

void stream_queue(struct stream *stream, const void *data, size_t len)
{
	buf_add(&stream->out, data, len);
}

/* Keeps what the socket did not take: sent bytes of [queued, data] are gone, the rest becomes the queue. */
static void stream_keep_rest(struct stream *s, size_t sent, const uint8_t *data, size_t len)
{
	size_t queued = s->out.len - s->out_from;

	s->bytes_out += sent;
	if (sent >= queued) {
		size_t of_data = sent - queued;
		s->out.len = s->out_from = 0;
		buf_add(&s->out, data + of_data, len - of_data);
		if (s->out.len == 0)
			buf_free(&s->out);
	} else {
		s->out_from += sent;
		buf_add(&s->out, data, len);
	}
	if (stream_unsent(s) > 0)
		s->wants_drained = true;
}

void stream_send(struct stream *s, const void *data, size_t len)
{
	size_t queued = s->out.len - s->out_from;
	struct iovec parts[2] = { { s->out.data ? s->out.data + s->out_from : NULL, queued }, { (void *)(uintptr_t)data, len } };
	struct msghdr msg = { .msg_iov = queued ? parts : parts + 1, .msg_iovlen = queued && len ? 2 : 1 };
	ssize_t sent;

	if (s->is_broken || queued + len == 0) {
		s->out.len = s->out_from = 0;
		return;
	}
	if (s->is_connecting || s->wants_drained) {     /* the socket was full a moment ago: wait for the loop's word */
		buf_add(&s->out, data, len);
		s->wants_drained = true;
		stream_update_watch(s);
		return;
	}
	if (!queued)
		sent = send(s->fd, data, len, MSG_NOSIGNAL);
	else
		sent = sendmsg(s->fd, &msg, MSG_NOSIGNAL);
	if (sent == -1 && errno != EAGAIN && errno != EINTR) {
		stream_break_later(s, errno);
		return;
	}
	stream_keep_rest(s, sent == -1 ? 0 : (size_t)sent, data, len);
	if (s->wants_drained)
		stream_update_watch(s);
}

void stream_flush(struct stream *stream)
{
	if (stream_unsent(stream) > 0)
		stream_send(stream, NULL, 0);
}

size_t stream_unsent(const struct stream *stream)
{
	return stream->out.len - stream->out_from;
}

bool stream_is_broken(const struct stream *stream)
{
	return stream->is_broken;
}

/* ---- about the peer ---- */

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
