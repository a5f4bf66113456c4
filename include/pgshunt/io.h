/* io.h - a byte stream over TCP or a Unix socket (TLS later), with pooled buffers and back-pressure.
 *
 * A stream belongs to one thread, that of its loop. Received bytes stand in a window [data, data + len) until the owner consumes
 * them; an empty window holds no memory. Sending tries the socket at once and keeps what it does not take.
 * Events come from the loop, never from inside a call on the stream; after stream_free() none comes any more. */
#ifndef PGSHUNT_IO_H
#define PGSHUNT_IO_H

#include <sys/socket.h>

#include "pgshunt/base.h"
#include "pgshunt/loop.h"

/* Shared by all streams of one thread: two sizes of pooled blocks. */
struct io;
struct io *io_new(struct loop *loop);
void io_free(struct io **io);
struct loop *io_loop(const struct io *io);

struct io_tcp {                 /* 0 = leave as the system has it */
	bool keepalive;
	int keepidle_s, keepintvl_s, keepcnt, user_timeout_ms;
};

enum stream_event {
	STREAM_CONNECTED,       /* stream_connect() came through */
	STREAM_READABLE,        /* the window has grown */
	STREAM_DRAINED,         /* everything queued has been taken by the socket (only after stream_unsent() was not 0) */
	STREAM_EOF,             /* the peer has ended its side; the window may still hold bytes */
	STREAM_FAILED           /* reset, refused, timed out: stream_error() says it in words */
};

struct stream;
typedef void stream_fn(void *owner, enum stream_event event);

/* Takes the descriptor (non-blocking). Reading begins at once. */
struct stream *stream_of_fd(struct io *io, int fd, const struct io_tcp *tcp, stream_fn *fn, void *owner);
/* Begins to connect; STREAM_CONNECTED or STREAM_FAILED follows. */
struct stream *stream_connect(struct io *io, const struct sockaddr *addr, socklen_t len, usec_t timeout_us, const struct io_tcp *tcp,
                              stream_fn *fn, void *owner);
void stream_free(struct stream **stream);      /* closes; accepts NULL inside; allowed in the stream's own callback */
/* Before the end after an error: no more is sent, and what the peer has sent already is dropped, so that closing doesn't reset the
 * connection under the error message. */
void stream_end(struct stream *stream);
void stream_set_owner(struct stream *stream, stream_fn *fn, void *owner);
/* To another thread's loop: a quiet one (connected, whole, nothing in the window, nothing unsent) is taken off the loop it is on and then,
 * in the other thread, put onto that one's. Not in the stream's own callback. Between the two only stream_free(). */
bool stream_is_quiet(const struct stream *stream);
void stream_detach(struct stream *stream);
void stream_attach(struct stream *stream, struct io *io, stream_fn *fn, void *owner);

/* ---- receiving ---- */

uint8_t *stream_data(const struct stream *stream);
size_t stream_len(const struct stream *stream);
void stream_consume(struct stream *stream, size_t len);
/* How many bytes the window may hold before reading stops (default: one small block for clients, a large one for connect()ed
 * streams). Raised when a message must be gathered whole. */
void stream_set_window(struct stream *stream, size_t max_bytes);
void stream_pause(struct stream *stream);      /* back-pressure: stop reading ... */
void stream_resume(struct stream *stream);     /* ... and go on */
bool stream_at_eof(const struct stream *stream);

/* ---- sending ---- */

void stream_queue(struct stream *stream, const void *data, size_t len);        /* kept for the next send or flush */
struct buf *stream_queued(struct stream *stream);      /* append messages right here instead of stream_queue() */
void stream_send(struct stream *stream, const void *data, size_t len);         /* what is queued, then this: one system call */
void stream_flush(struct stream *stream);
size_t stream_unsent(const struct stream *stream);     /* bytes the socket has not taken yet */
bool stream_is_broken(const struct stream *stream);

/* ---- about the peer ---- */

const char *stream_error(const struct stream *stream);
/* "127.0.0.1" / "unix", port 0 for Unix sockets. */
void stream_peer(const struct stream *stream, char *host, size_t len, int *port);
void stream_local(const struct stream *stream, char *host, size_t len, int *port);
uint64_t stream_bytes_in(const struct stream *stream);
uint64_t stream_bytes_out(const struct stream *stream);

/* ---- listening ---- */

struct listener;
typedef void listener_fn(void *owner, int fd);         /* a new connection; the callee owns fd */
/* A listening socket as a descriptor, to be shared or watched; -1 and err. TCP with SO_REUSEPORT: one a worker. */
int listen_tcp(const char *addr, int port, int backlog, bool reuseport, struct err *err);
int listen_unix(const char *dir, int port, int mode, int backlog, struct err *err);     /* replaces a dead socket file */
/* Watches fd (doesn't own it). When descriptors run out it waits 100 ms instead of spinning. */
struct listener *listener_new(struct loop *loop, int fd, listener_fn *fn, void *owner);
void listener_free(struct listener **listener);

#endif
