/* private.h - of src/core/io */
#ifndef PGSHUNT_IO_PRIVATE_H
#define PGSHUNT_IO_PRIVATE_H

#include <sys/syscall.h>
#include <unistd.h>

#include "pgshunt/io.h"

/* A client's usual message fits the small block; a server's results come in 8 kB pieces, several of them at once. */
#define SMALL_BLOCK_BYTES 4096u
#define LARGE_BLOCK_BYTES 32768u
#define KEEP_SMALL_BLOCKS 256
#define KEEP_LARGE_BLOCKS 32

struct io {
	struct loop *loop;
	struct mem_pool *small, *large;
	struct buf spare;               /* memory for the next stream that queues something */
};

/* Why a stream isn't read from. */
enum stream_stop { STOP_CONNECTING = 1, STOP_PAUSED = 2, STOP_EOF = 4, STOP_BROKEN = 8 };

struct stream {
	struct io *io;
	struct watch *watch;
	stream_fn *fn;
	void *owner;
	int fd;
	uint8_t stops;                  /* enum stream_stop */
	uint8_t watched;                /* enum watch_events, as told to the watch */
	bool is_freed, wants_drained, end_told, end_scheduled, prefers_large;
	bool was_full;                  /* the last read has filled the block: the next one will be large */
	int error;                      /* errno of what broke it */
	/* window: block[from, to) */
	uint8_t *block;
	size_t block_cap, from, to;
	size_t window_max;
	struct buf out;                 /* not yet taken by the socket: out.data[out_from, out.len) */
	size_t out_from;
	struct timer *connect_timer;
	uint64_t bytes_in, bytes_out;
};

/* glibc's recv() and send() are cancellation points: in a process with threads they switch asynchronous cancellation on and off, four
 * locked instructions a call. Nobody cancels a thread here. The sanitizers want to see the calls they know. */
#ifdef __has_feature
#define IS_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif
#if IS_SANITIZED || !defined(SYS_recvfrom) || !defined(SYS_sendto)
#define socket_recv(fd, data, len) recv(fd, data, len, 0)
#define socket_send(fd, data, len) send(fd, data, len, MSG_NOSIGNAL)
#else
#define socket_recv(fd, data, len) (ssize_t)syscall(SYS_recvfrom, fd, data, len, 0, NULL, NULL)
#define socket_send(fd, data, len) (ssize_t)syscall(SYS_sendto, fd, data, len, MSG_NOSIGNAL, NULL, 0)
#endif

/* peer.c */
void socket_set_tcp(int fd, const struct io_tcp *tcp);

#endif
