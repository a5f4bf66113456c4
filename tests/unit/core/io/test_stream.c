/* Streams over socket pairs: windows, back-pressure, ends, and being freed in one's own call. */
#include "test.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pgshunt/io.h"

#define BIG (4u << 20)

struct side {
	struct loop *loop;
	struct io *io;
	struct stream *stream;
	int peer;               /* the other end, a plain descriptor */
	char events[64];
	size_t at;
	size_t stop_len;        /* stop when the window holds so much */
	bool frees, consumes, stops;
};

static void heard(void *owner, enum stream_event event)
{
	struct side *s = owner;

	if (s->at < sizeof(s->events) - 1 && (s->at == 0 || s->events[s->at - 1] != "CRDEF"[event]))
		s->events[s->at++] = "CRDEF"[event];
	if (s->frees) {
		stream_free(&s->stream);
		loop_stop(s->loop);
		return;
	}
	if (event == STREAM_READABLE && s->consumes)
		stream_consume(s->stream, stream_len(s->stream));
	if (event != STREAM_READABLE || s->stops || (s->stop_len && stream_len(s->stream) >= s->stop_len))
		loop_stop(s->loop);
}

static void give_up(void *owner)
{
	loop_stop(owner);
}

/* Runs until something stops the loop, at most so long. */
static void run(struct side *s, int ms)
{
	struct timer *timer = timer_new(s->loop, give_up, s->loop);

	timer_set(timer, ms * USEC_PER_MS);
	loop_run(s->loop);
	timer_free(&timer);
}

static struct side begin(void)
{
	struct side s = { .loop = loop_new() };
	int fds[2];

	s.io = io_new(s.loop);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == -1)
		abort();
	s.peer = fds[1];
	s.stream = stream_of_fd(s.io, fds[0], NULL, NULL, NULL);
	return s;
}

static void listen_to(struct side *s)
{
	stream_set_owner(s->stream, heard, s);
}

static void end(struct side *s)
{
	stream_free(&s->stream);
	stream_free(&s->stream);
	if (s->peer != -1)
		close(s->peer);
	loop_flush(s->loop);
	io_free(&s->io);
	loop_free(&s->loop);
}

/* Writes as much of len bytes as the socket takes; byte i is i % 251. */
static size_t pour(int fd, size_t from, size_t len)
{
	static uint8_t bytes[65536];
	size_t done = 0;

	while (done < len) {
		size_t now = MIN(len - done, sizeof(bytes));
		ssize_t sent;

		for (size_t i = 0; i < now; i++)
			bytes[i] = (uint8_t)((from + done + i) % 251);
		sent = send(fd, bytes, now, MSG_NOSIGNAL);
		if (sent <= 0)
			break;
		done += (size_t)sent;
	}
	return done;
}

static size_t drain(int fd, size_t from, bool *is_right)
{
	uint8_t bytes[65536];
	size_t done = 0;
	ssize_t got;

	while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
		for (ssize_t i = 0; i < got; i++)
			*is_right &= bytes[i] == (uint8_t)((from + done + (size_t)i) % 251);
		done += (size_t)got;
	}
	return done;
}

TEST(stream, window_holds_what_came_until_it_is_consumed)
{
	struct side s = begin();

	listen_to(&s);
	s.stops = true;
	CHECK_INT(pour(s.peer, 0, 10), 10);
	run(&s, 1000);
	CHECK_STR(s.events, "R");
	CHECK_INT(stream_len(s.stream), 10);
	CHECK_INT(stream_data(s.stream)[3], 3);
	stream_consume(s.stream, 4);
	CHECK_INT(stream_len(s.stream), 6);
	CHECK_INT(stream_data(s.stream)[0], 4);
	CHECK_INT(pour(s.peer, 10, 5), 5);
	run(&s, 1000);
	CHECK_INT(stream_len(s.stream), 11);
	CHECK_INT(stream_data(s.stream)[10], 14);
	stream_consume(s.stream, 11);
	CHECK_INT(stream_len(s.stream), 0);
	CHECK_INT(stream_bytes_in(s.stream), 15);
	end(&s);
}

TEST(stream, window_stops_reading_when_it_is_full_and_grows_when_told)
{
	struct side s = begin();
	size_t poured, first;

	listen_to(&s);
	poured = pour(s.peer, 0, 100000);
	CHECK(poured > 50000);
	run(&s, 50);
	first = stream_len(s.stream);
	CHECK(first >= 4096 && first <= 8192);
	stream_set_window(s.stream, 40000);
	s.stop_len = 40000;
	run(&s, 1000);
	CHECK(stream_len(s.stream) >= 40000 && stream_len(s.stream) <= 80000);
	for (size_t i = 0; i < stream_len(s.stream); i++)
		CHECK_INT(stream_data(s.stream)[i], i % 251);
	/* what is consumed at the front makes room at the back */
	stream_consume(s.stream, 30000);
	s.stop_len = 0;
	run(&s, 50);
	for (size_t i = 0; i < stream_len(s.stream); i++)
		CHECK_INT(stream_data(s.stream)[i], (30000 + i) % 251);
	CHECK(stream_len(s.stream) + 30000 > 40000);
	end(&s);
}

TEST(stream, pause_and_resume)
{
	struct side s = begin();

	listen_to(&s);
	stream_pause(s.stream);
	CHECK_INT(pour(s.peer, 0, 10), 10);
	run(&s, 30);
	CHECK_STR(s.events, "");
	s.stops = true;
	stream_resume(s.stream);
	run(&s, 1000);
	CHECK_STR(s.events, "R");
	CHECK_INT(stream_len(s.stream), 10);
	end(&s);
}

TEST(stream, what_the_socket_does_not_take_is_kept_and_told_when_gone)
{
	struct side s = begin();
	uint8_t *data = mem_alloc(BIG);
	bool is_right = true;
	size_t got = 0;

	for (size_t i = 0; i < BIG; i++)
		data[i] = (uint8_t)(i % 251);
	listen_to(&s);
	stream_queue(s.stream, data, 100);
	CHECK_INT(stream_unsent(s.stream), 100);
	stream_send(s.stream, data + 100, BIG / 2 - 100);
	CHECK(stream_unsent(s.stream) > 0);
	stream_send(s.stream, data + BIG / 2, BIG / 2);
	for (int i = 0; i < 10000 && got < BIG; i++) {
		got += drain(s.peer, got, &is_right);
		run(&s, 1);
	}
	CHECK_INT(got, BIG);
	CHECK(is_right);
	CHECK_INT(stream_unsent(s.stream), 0);
	CHECK_STR(s.events, "D");
	CHECK_INT(stream_bytes_out(s.stream), BIG);
	mem_free(data);
	end(&s);
}

TEST(stream, flush_sends_what_was_queued)
{
	struct side s = begin();
	bool is_right = true;

	listen_to(&s);
	buf_add_u8(stream_queued(s.stream), 0);
	buf_add_u8(stream_queued(s.stream), 1);
	stream_flush(s.stream);
	CHECK_INT(stream_unsent(s.stream), 0);
	CHECK_INT(drain(s.peer, 0, &is_right), 2);
	CHECK(is_right);
	stream_flush(s.stream);
	stream_send(s.stream, NULL, 0);
	run(&s, 10);
	CHECK_STR(s.events, "");
	end(&s);
}

/* In one call or two parts, short tails and long ones: the order is that of the calls. */
TEST(stream, what_is_sent_goes_behind_what_was_queued)
{
	static const size_t sizes[][2] = { { 10, 0 }, { 10, 20 }, { 3000, 2048 }, { 5, 2049 }, { 9000, 10000 }, { 0, 30000 } };
	struct side s = begin();
	uint8_t *data = mem_alloc(65536);
	bool is_right = true;
	size_t got = 0;

	for (size_t i = 0; i < 65536; i++)
		data[i] = (uint8_t)(i % 251);
	listen_to(&s);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		size_t at = got % 251;
		stream_queue(s.stream, data + at, sizes[i][0]);
		stream_send(s.stream, data + (got + sizes[i][0]) % 251, sizes[i][1]);
		CHECK_INT(stream_unsent(s.stream), 0);
		got += drain(s.peer, got, &is_right);
	}
	CHECK_INT(got, 10 + 30 + 5048 + 2054 + 19000 + 30000);
	CHECK_INT(stream_bytes_out(s.stream), got);
	CHECK(is_right);
	mem_free(data);
	end(&s);
}

/* What one stream has queued and sent leaves its memory to the next: never its bytes. */
TEST(stream, two_streams_that_queue_do_not_mix)
{
	struct side a = begin();
	struct side b = { .loop = a.loop, .io = a.io };
	uint8_t got[8];
	int fds[2];

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	b.stream = stream_of_fd(a.io, fds[0], NULL, heard, &b);
	for (int i = 0; i < 3; i++) {
		stream_queue(a.stream, "aaa", 3);
		stream_queue(b.stream, "bb", 2);
		stream_flush(a.stream);
		stream_queue(a.stream, "A", 1);
		stream_flush(b.stream);
		stream_flush(a.stream);
		CHECK_INT(recv(a.peer, got, sizeof(got), 0), 4);
		CHECK(memcmp(got, "aaaA", 4) == 0);
		CHECK_INT(recv(fds[1], got, sizeof(got), 0), 2);
		CHECK(memcmp(got, "bb", 2) == 0);
	}
	stream_free(&b.stream);
	close(fds[1]);
	end(&a);
}

TEST(stream, the_end_comes_once_behind_the_last_bytes)
{
	struct side s = begin();

	listen_to(&s);
	CHECK_INT(pour(s.peer, 0, 20), 20);
	close(s.peer);
	s.peer = -1;
	run(&s, 1000);
	CHECK_STR(s.events, "RE");
	CHECK_INT(stream_len(s.stream), 20);
	CHECK(stream_at_eof(s.stream));
	run(&s, 20);
	CHECK_STR(s.events, "RE");
	end(&s);
}

TEST(stream, a_half_closed_peer_can_still_be_answered)
{
	struct side s = begin();
	bool is_right = true;
	uint8_t bytes[] = { 0, 1, 2 };

	listen_to(&s);
	shutdown(s.peer, SHUT_WR);
	run(&s, 1000);
	CHECK_STR(s.events, "E");
	stream_send(s.stream, bytes, sizeof(bytes));
	CHECK_INT(drain(s.peer, 0, &is_right), 3);
	end(&s);
}

/* A write that breaks it is told from the loop, never from within the call. */
TEST(stream, a_broken_pipe_is_told_later_and_once)
{
	struct side s = begin();

	listen_to(&s);
	stream_pause(s.stream);         /* so that the end is not read first */
	close(s.peer);
	s.peer = -1;
	for (int i = 0; i < 3; i++)
		stream_send(s.stream, "xyz", 3);
	CHECK_STR(s.events, "");
	CHECK(stream_is_broken(s.stream));
	CHECK_INT(stream_unsent(s.stream), 0);
	run(&s, 1000);
	CHECK_STR(s.events, "F");
	CHECK(strlen(stream_error(s.stream)) > 0);
	stream_send(s.stream, "more", 4);
	stream_queue(s.stream, "more", 4);
	stream_flush(s.stream);
	run(&s, 20);
	CHECK_STR(s.events, "F");
	end(&s);
}

TEST(stream, freed_while_its_end_is_on_the_way)
{
	struct side s = begin();

	listen_to(&s);
	stream_pause(s.stream);
	close(s.peer);
	s.peer = -1;
	stream_send(s.stream, "xyz", 3);
	stream_free(&s.stream);
	CHECK(s.stream == NULL);
	run(&s, 20);
	CHECK_STR(s.events, "");
	end(&s);
}

TEST(stream, freed_in_its_own_call)
{
	for (int how = 0; how < 3; how++) {
		struct side s = begin();

		listen_to(&s);
		s.frees = true;
		if (how == 0) {
			CHECK_INT(pour(s.peer, 0, 10), 10);
		} else if (how == 1) {
			close(s.peer);
			s.peer = -1;
		} else {
			stream_pause(s.stream);
			close(s.peer);
			s.peer = -1;
			stream_send(s.stream, "x", 1);
		}
		run(&s, 1000);
		CHECK(s.stream == NULL);
		CHECK_INT(s.at, 1);
		run(&s, 10);
		CHECK_INT(s.at, 1);
		end(&s);
	}
}

TEST(stream, many_bytes_both_ways)
{
	struct side s = begin();
	bool is_right = true;
	size_t poured = 0;

	listen_to(&s);
	s.consumes = true;
	for (int i = 0; i < 10000 && poured < BIG; i++) {
		poured += pour(s.peer, poured, BIG - poured);
		run(&s, 1);
		stream_send(s.stream, "\0", 1);
		drain(s.peer, 0, &is_right);
	}
	run(&s, 20);
	CHECK_INT(poured, BIG);
	CHECK_INT(stream_bytes_in(s.stream), BIG);
	end(&s);
}

/* ---- connecting and listening ---- */

static int listening_port(int fd)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	return getsockname(fd, (struct sockaddr *)&addr, &len) == 0 ? ntohs(addr.sin_port) : -1;
}

static struct sockaddr_in local(int port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return addr;
}

static void accepted(void *owner, int fd)
{
	struct side *s = owner;

	s->peer = fd;
}

TEST(stream, connects_and_is_accepted)
{
	struct side s = { .loop = loop_new(), .peer = -1 };
	struct err err = { 0 };
	struct io_tcp tcp = { true, 60, 10, 3, 5000 };
	int fd = listen_tcp("127.0.0.1", 0, 10, true, &err), port;
	struct sockaddr_in addr = local(listening_port(fd));
	struct listener *listener = listener_new(s.loop, fd, accepted, &s);
	char host[64];

	CHECK(fd != -1);
	s.io = io_new(s.loop);
	s.stream = stream_connect(s.io, (struct sockaddr *)&addr, sizeof(addr), USEC_PER_SEC, &tcp, heard, &s);
	stream_send(s.stream, "abc", 3);        /* kept until the connection stands */
	CHECK_STR(s.events, "");
	run(&s, 1000);
	for (int i = 0; i < 100 && s.peer == -1; i++)
		run(&s, 5);
	CHECK(s.peer != -1);
	CHECK_INT(s.events[0], 'C');
	for (int i = 0; i < 100 && stream_unsent(s.stream) > 0; i++)
		run(&s, 5);
	CHECK_INT(recv(s.peer, host, sizeof(host), 0), 3);
	stream_peer(s.stream, host, sizeof(host), &port);
	CHECK_STR(host, "127.0.0.1");
	CHECK_INT(port, ntohs(addr.sin_port));
	listener_free(&listener);
	close(fd);
	end(&s);
}

TEST(stream, refused_is_told_from_the_loop)
{
	struct side s = { .loop = loop_new(), .peer = -1 };
	struct err err = { 0 };
	int fd = listen_tcp("127.0.0.1", 0, 1, false, &err);
	struct sockaddr_in addr = local(listening_port(fd));

	close(fd);
	s.io = io_new(s.loop);
	s.stream = stream_connect(s.io, (struct sockaddr *)&addr, sizeof(addr), USEC_PER_SEC, NULL, heard, &s);
	CHECK_STR(s.events, "");
	run(&s, 2000);
	CHECK_STR(s.events, "F");
	CHECK_STR(stream_error(s.stream), strerror(ECONNREFUSED));
	end(&s);
}

TEST(stream, freed_while_connecting)
{
	struct side s = { .loop = loop_new(), .peer = -1 };
	struct sockaddr_in addr = local(9);

	addr.sin_addr.s_addr = htonl(0xc6336401);       /* 198.51.100.1, of the documentation: nobody answers there */
	s.io = io_new(s.loop);
	s.stream = stream_connect(s.io, (struct sockaddr *)&addr, sizeof(addr), USEC_PER_SEC, NULL, heard, &s);
	stream_free(&s.stream);
	run(&s, 10);
	CHECK_STR(s.events, "");
	end(&s);
}

/* To another loop and back: what it was sent meanwhile is there. */
TEST(stream, moves_to_another_loop)
{
	struct side a = begin(), b = { .loop = loop_new(), .peer = -1 };

	b.io = io_new(b.loop);
	CHECK(stream_is_quiet(a.stream));
	stream_queue(a.stream, "x", 1);
	CHECK(!stream_is_quiet(a.stream));
	stream_flush(a.stream);
	stream_detach(a.stream);
	b.stream = a.stream;
	a.stream = NULL;
	CHECK_INT(pour(a.peer, 0, 7), 7);
	stream_attach(b.stream, b.io, heard, &b);
	b.stop_len = 7;
	run(&b, 1000);
	CHECK_STR(b.events, "R");
	CHECK_INT(stream_len(b.stream), 7);
	CHECK(!stream_is_quiet(b.stream));
	stream_consume(b.stream, 7);
	stream_detach(b.stream);
	stream_free(&b.stream);         /* on no loop: closed at once */
	CHECK_INT(recv(a.peer, b.events, sizeof(b.events), 0), 1);
	CHECK_INT(recv(a.peer, b.events, sizeof(b.events), 0), 0);
	end(&a);
	end(&b);
}

TEST(listen, a_port_in_use_is_an_error_with_words)
{
	struct err err = { 0 };
	int fd = listen_tcp("127.0.0.1", 0, 1, false, &err);

	CHECK_INT(listen_tcp("127.0.0.1", listening_port(fd), 1, false, &err), -1);
	CHECK(strstr(err.text, "127.0.0.1") != NULL);
	CHECK_INT(listen_tcp("no such host", 1, 1, false, &err), -1);
	close(fd);
}

TEST(listen, a_dead_socket_file_is_replaced_a_living_one_is_not)
{
	char dir[] = "/tmp/pgshunt-unit-XXXXXX", path[64];
	struct err err = { 0 };
	int fd;

	CHECK(mkdtemp(dir) != NULL);
	fd = listen_unix(dir, 6432, 0700, 5, &err);
	CHECK(fd != -1);
	CHECK_INT(listen_unix(dir, 6432, 0700, 5, &err), -1);
	close(fd);
	fd = listen_unix(dir, 6432, 0700, 5, &err);
	CHECK(fd != -1);
	close(fd);
	snprintf(path, sizeof(path), "%s/.s.PGSQL.6432", dir);
	unlink(path);
	rmdir(dir);
}
