#include "private.h"

#include <errno.h>
#include <sys/uio.h>

/* Copying so much behind what is queued costs less than a call with two parts. */
#define COPIED_MAX_BYTES 2048u
#define SPARE_MAX_BYTES 8192u

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
	buf_free(&(*io)->spare);
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
		bool is_large = s->prefers_large || s->was_full;
		s->block_cap = is_large ? LARGE_BLOCK_BYTES : SMALL_BLOCK_BYTES;
		s->block = mem_pool_take(is_large ? s->io->large : s->io->small);
		s->from = s->to = 0;
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

static inline void stream_update_watch(struct stream *s)
{
	unsigned events = 0;

	if (s->wants_drained || s->stops & STOP_CONNECTING)
		events |= WATCH_WRITE;
	if (!s->stops && s->to - s->from < s->window_max)
		events |= WATCH_READ;
	if (s->stops & STOP_BROKEN)
		events = 0;
	if (events == s->watched)
		return;
	s->watched = (uint8_t)events;
	watch_set(s->watch, events);
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
	s->fn(s->owner, s->stops & STOP_BROKEN ? STREAM_FAILED : STREAM_EOF);
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
	if (s->stops & STOP_BROKEN)
		return;
	s->stops |= STOP_BROKEN;
	s->error = error;
	s->out.len = s->out_from = 0;
	s->wants_drained = false;
	stream_update_watch(s);
	s->end_scheduled = true;
	loop_later(s->io->loop, stream_tell_end_later, s);
}

static void stream_read_failed(struct stream *s, int error)
{
	if (error == EAGAIN || error == EINTR)
		return;
	if (s->from == s->to) {
		block_give(s->io, s->block, s->block_cap);
		s->block = NULL;
	}
	s->stops |= error ? STOP_EOF | STOP_BROKEN : STOP_EOF;
	s->error = error;
	stream_tell_end(s);
}

static void stream_read(struct stream *s)
{
	ssize_t got;

	if (!window_make_room(s))
		return;
	got = socket_recv(s->fd, s->block + s->to, s->block_cap - s->to);
	if (got <= 0) {
		stream_read_failed(s, got == -1 ? errno : 0);
		return;
	}
	s->to += (size_t)got;
	s->was_full = s->to == s->block_cap;
	s->bytes_in += (uint64_t)got;
	s->fn(s->owner, STREAM_READABLE);
}

/* ---- what waits to be sent ---- */

static struct buf *out_of(struct stream *s)
{
	if (!s->out.data) {
		s->out = s->io->spare;
		s->io->spare = (struct buf){ NULL, 0, 0 };
	}
	return &s->out;
}

/* All of it has been taken by the socket. */
static void out_done(struct stream *s)
{
	s->out_from = s->out.len = 0;
	if (!s->out.data)
		return;
	if (s->io->spare.data || s->out.cap > SPARE_MAX_BYTES) {
		buf_free(&s->out);
	} else {
		s->io->spare = s->out;
		s->out = (struct buf){ NULL, 0, 0 };
	}
}

static void stream_write_out(struct stream *s)
{
	ssize_t sent = socket_send(s->fd, s->out.data + s->out_from, s->out.len - s->out_from);

	if (sent == -1) {
		if (errno != EAGAIN && errno != EINTR)
			stream_break_later(s, errno);
		return;
	}
	s->bytes_out += (uint64_t)sent;
	s->out_from += (size_t)sent;
	if (s->out_from == s->out.len)
		out_done(s);
}

/* ---- what the loop says ---- */

static void stream_finish_connect(struct stream *s)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		error = errno;
	timer_free(&s->connect_timer);
	s->stops &= (uint8_t)~STOP_CONNECTING;
	if (error) {
		s->stops |= STOP_BROKEN | STOP_EOF;
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

	s->stops |= STOP_BROKEN | STOP_EOF;
	s->error = ETIMEDOUT;
	stream_tell_end(s);
}

static void stream_writable(struct stream *s)
{
	if (stream_unsent(s) > 0)
		stream_write_out(s);
	if (stream_unsent(s) == 0 && !(s->stops & STOP_BROKEN) && s->wants_drained) {
		s->wants_drained = false;
		stream_update_watch(s);
		s->fn(s->owner, STREAM_DRAINED);
	}
}

/* The stream may be freed by its owner in any of these calls: the struct outlives the callback (see stream_free). */
static void stream_fired(void *owner, unsigned events)
{
	struct stream *s = owner;

	if (s->stops & STOP_CONNECTING) {
		stream_finish_connect(s);
		return;
	}
	if (events & WATCH_WRITE)
		stream_writable(s);
	if ((events & WATCH_READ) && !s->stops && !s->is_freed)
		stream_read(s);
	if (!s->is_freed)
		stream_update_watch(s);
}

/* ---- life ---- */

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

	socket_set_tcp(fd, tcp);
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
		socket_set_tcp(fd, tcp);
	s->stops = STOP_CONNECTING;
	if (connect(fd, addr, len) == -1 && errno != EINPROGRESS) {
		s->stops = 0;
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
	if (!s->io)                     /* detached: nobody is inside one of its callbacks */
		mem_free(s);
	else if (!s->end_scheduled)     /* else stream_tell_end_later() frees the struct */
		loop_bury(s->io->loop, stream_release, s);
}

bool stream_is_quiet(const struct stream *s)
{
	return (s->stops & ~STOP_PAUSED) == 0 && !s->end_scheduled && !s->block && stream_unsent(s) == 0;
}

void stream_detach(struct stream *s)
{
	ENSURE(stream_is_quiet(s));
	watch_free(&s->watch);
	s->watched = 0;
	buf_free(&s->out);
	s->io = NULL;
}

void stream_attach(struct stream *s, struct io *io, stream_fn *fn, void *owner)
{
	s->io = io;
	s->fn = fn;
	s->owner = owner;
	s->watch = watch_new(io->loop, s->fd, stream_fired, s);
	stream_update_watch(s);
}

void stream_end(struct stream *stream)
{
	uint8_t dropped[4096];
	int rounds = 16;

	if (stream->stops & (STOP_BROKEN | STOP_CONNECTING))
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
	stream_update_watch(s);
}

void stream_set_window(struct stream *stream, size_t max_bytes)
{
	stream->window_max = MAX(max_bytes, stream->prefers_large ? LARGE_BLOCK_BYTES : SMALL_BLOCK_BYTES);
	stream_update_watch(stream);
}

void stream_pause(struct stream *stream)
{
	stream->stops |= STOP_PAUSED;
	stream_update_watch(stream);
}

void stream_resume(struct stream *stream)
{
	if (!(stream->stops & STOP_PAUSED))
		return;
	stream->stops &= (uint8_t)~STOP_PAUSED;
	stream_update_watch(stream);
}

bool stream_at_eof(const struct stream *stream)
{
	return (stream->stops & (STOP_EOF | STOP_BROKEN)) != 0;
}

/* ---- sending ---- */

struct buf *stream_queued(struct stream *stream)
{
	return out_of(stream);
}

void stream_queue(struct stream *stream, const void *data, size_t len)
{
	buf_add(out_of(stream), data, len);
}

/* What the socket did not take becomes the queue: of [queued, data] the first sent bytes are gone. */
static void stream_keep_rest(struct stream *s, size_t sent, const uint8_t *data, size_t len)
{
	size_t queued = s->out.len - s->out_from;

	if (sent >= queued) {
		size_t of_data = sent - queued;
		out_done(s);
		stream_queue(s, data + of_data, len - of_data);
	} else {
		s->out_from += sent;
		buf_add(&s->out, data, len);
	}
	s->wants_drained = true;
	stream_update_watch(s);
}

static ssize_t send_both(struct stream *s, size_t queued, const void *data, size_t len)
{
	struct iovec parts[2] = { { s->out.data + s->out_from, queued }, { (void *)(uintptr_t)data, len } };
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 2 };

	return sendmsg(s->fd, &msg, MSG_NOSIGNAL);
}

void stream_send(struct stream *s, const void *data, size_t len)
{
	size_t queued = s->out.len - s->out_from;
	ssize_t sent;

	if (s->stops & STOP_BROKEN || queued + len == 0) {
		s->out.len = s->out_from = 0;
		return;
	}
	if (s->stops & STOP_CONNECTING || s->wants_drained) {   /* the socket was full a moment ago: wait for the loop's word */
		stream_queue(s, data, len);
		s->wants_drained = true;
		stream_update_watch(s);
		return;
	}
	if (queued && len && len <= COPIED_MAX_BYTES) {
		buf_add(&s->out, data, len);
		queued += len;
		len = 0;
	}
	if (!queued)
		sent = socket_send(s->fd, data, len);
	else if (!len)
		sent = socket_send(s->fd, s->out.data + s->out_from, queued);
	else
		sent = send_both(s, queued, data, len);
	if (sent == -1 && errno != EAGAIN && errno != EINTR) {
		stream_break_later(s, errno);
		return;
	}
	sent = MAX(sent, 0);
	s->bytes_out += (uint64_t)sent;
	if ((size_t)sent == queued + len)
		out_done(s);
	else
		stream_keep_rest(s, (size_t)sent, data, len);
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
	return (stream->stops & STOP_BROKEN) != 0;
}
