/* pool_test.h - the pools of several workers on one loop, over a server that logs everybody in. Mail is delivered by the loop. */
#ifndef PGSHUNT_POOL_TEST_H
#define PGSHUNT_POOL_TEST_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include "../../../../src/path/pool/private.h"
#include "test.h"

#define WORKERS 3

/* One connection as the server sees it. */
struct backend {
	struct list link;
	struct stream *stream;
	bool is_ready;
};

struct delivery {
	size_t worker;
	struct pool_mail *mail;
};

static struct {
	struct loop *loop;
	struct io *io;
	struct pool_hub *hub;
	struct conf *conf;
	struct topo *topo;
	struct listener *listener;
	int listen_fd;
	struct settings_table *settings[WORKERS];
	struct stats_worker stats[WORKERS];
	struct stats_node nodes[WORKERS][TOPO_NODES_MAX];
	struct pools *pools[WORKERS];
	struct pool_set *sets[WORKERS];
	struct list backends;
	unsigned open_now, most, dialled, ended, mails;
	unsigned startup_params;        /* bytes of the last start-up packet */
	bool is_slow_to_end, refuses;
} bed;

/* ---- the server ---- */

static inline void backend_end(struct backend *b)
{
	stream_free(&b->stream);
	list_remove(&b->link);
	mem_free(b);
	bed.open_now--;
	bed.ended++;
}

static inline void backend_log_in(struct backend *b)
{
	struct buf *out = stream_queued(b->stream);

	bed.startup_params = (unsigned)stream_len(b->stream);
	b->is_ready = true;
	if (bed.refuses) {
		struct err err = { 0 };
		err_set(&err, "53300", "sorry, too many clients already");
		wire_put_error(out, "FATAL", &err);
		stream_flush(b->stream);
		backend_end(b);
		return;
	}
	wire_put_auth(out, 0, NULL, 0);
	wire_put_backend_key(out, 1, (const uint8_t *)"key!", 4);
	wire_put_ready(out, 'I');
	stream_flush(b->stream);
}

static inline void backend_event(void *owner, enum stream_event event)
{
	struct backend *b = owner;

	if (event == STREAM_EOF && bed.is_slow_to_end)
		return;
	if (event == STREAM_EOF || event == STREAM_FAILED) {
		backend_end(b);
		return;
	}
	if (event != STREAM_READABLE)
		return;
	if (!b->is_ready) {
		backend_log_in(b);
		if (!bed.refuses)
			stream_consume(b->stream, stream_len(b->stream));
		return;
	}
	if (stream_data(b->stream)[0] == 'Q') {
		wire_put_ready(stream_queued(b->stream), 'I');
		stream_flush(b->stream);
	} else if (stream_data(b->stream)[0] == 'X' && !bed.is_slow_to_end) {
		backend_end(b);
		return;
	}
	stream_consume(b->stream, stream_len(b->stream));
}

static inline void backend_new(void *owner, int fd)
{
	struct backend *b = mem_alloc(sizeof(*b));

	(void)owner;
	b->stream = stream_of_fd(bed.io, fd, NULL, backend_event, b);
	list_push(&bed.backends, &b->link);
	bed.open_now++;
	bed.dialled++;
	bed.most = MAX(bed.most, bed.open_now);
}

/* ---- the workers ---- */

static inline void deliver(void *object)
{
	struct delivery *d = object;

	if (bed.pools[d->worker])
		pools_take_mail(bed.pools[d->worker], d->mail);
	else
		pool_mail_free(&d->mail);
	mem_free(d);
}

static inline void send_mail(void *owner, size_t worker, struct pool_mail *mail)
{
	struct delivery *d = mem_alloc(sizeof(*d));

	(void)owner;
	*d = (struct delivery){ worker, mail };
	bed.mails++;
	loop_later(bed.loop, deliver, d);
}

static inline void no_trouble(void *owner, int node)
{
	(void)owner;
	(void)node;
}

static inline struct conf *bed_conf(const char *lines)
{
	char path[] = "/tmp/pool_test.XXXXXX", text[1024];
	int fd = mkstemp(path);
	struct conf_report report = { 0 };
	struct conf *conf;

	snprintf(text, sizeof(text), "[pgshunt]\nlisten_port = 6432\nauth_type = trust\nserver_login_retry = 50ms\n%s[nodes]\np = host=127.0.0.1\n",
	         lines);
	ENSURE(fd != -1 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	conf = conf_load(path, &report);
	conf_report_free(&report);
	unlink(path);
	ENSURE(conf);
	return conf;
}

static inline void bed_topo(void)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	getsockname(bed.listen_fd, (struct sockaddr *)&addr, &len);
	bed.topo = topo_fixture("p:primary");
	memcpy(&bed.topo->nodes[0].addr, &addr, len);
	bed.topo->nodes[0].addr_len = len;
	bed.topo->nodes[0].state = TOPO_UP;
}

static inline struct pool_set *bed_set(size_t worker, const char *database, const char *user)
{
	return pool_set_get(bed.pools[worker], database, conf_database_find(bed.conf, database), user, NULL);
}

static inline void bed_begin(const char *lines)
{
	struct err err;

	memset(&bed, 0, sizeof(bed));
	bed.loop = loop_new();
	bed.io = io_new(bed.loop);
	bed.hub = pool_hub_new(WORKERS);
	bed.conf = bed_conf(lines);
	list_init(&bed.backends);
	bed.listen_fd = listen_tcp("127.0.0.1", 0, 128, false, &err);
	ENSURE(bed.listen_fd != -1);
	bed.listener = listener_new(bed.loop, bed.listen_fd, backend_new, NULL);
	bed_topo();
	for (size_t i = 0; i < WORKERS; i++) {
		struct pool_env env = { .loop = bed.loop, .io = bed.io, .stats = &bed.stats[i], .node_stats = bed.nodes[i],
			                .worker = i, .hub = bed.hub, .node_trouble = no_trouble, .send = send_mail };
		env.settings = bed.settings[i] = settings_table_new();
		bed.pools[i] = pools_new(&env, bed.conf, bed.topo);
		bed.sets[i] = bed_set(i, "d", "u");
	}
}

static inline void bed_end(void)
{
	const struct topo *topo = bed.topo;

	for (size_t i = 0; i < WORKERS; i++) {
		pool_set_release(&bed.sets[i]);
		pools_free(&bed.pools[i]);
		settings_table_free(&bed.settings[i]);
	}
	while (!list_is_empty(&bed.backends))
		backend_end(LIST_ITEM(bed.backends.next, struct backend, link));
	listener_free(&bed.listener);
	close(bed.listen_fd);
	loop_flush(bed.loop);
	pool_hub_free(&bed.hub);
	topo_unref(&topo);
	conf_unref(&bed.conf);
	io_free(&bed.io);
	loop_free(&bed.loop);
}

static inline void stop_loop(void *owner)
{
	loop_stop(owner);
}

/* Lets everything happen that can happen within so many milliseconds. */
static inline void settle(int ms)
{
	struct timer *timer = timer_new(bed.loop, stop_loop, bed.loop);

	timer_set(timer, ms * USEC_PER_MS);
	loop_run(bed.loop);
	timer_free(&timer);
}

/* ---- clients ---- */

struct client {
	struct pool_waiter waiter;
	struct server *server;
	struct err err;
	size_t worker;
	unsigned turn;                  /* the how many-eth to get one */
};
static unsigned turns;

static inline void got_server(void *owner, struct server *server, const struct err *err)
{
	struct client *client = owner;

	client->server = server;
	client->turn = ++turns;
	if (err)
		client->err = *err;
}


static inline void client_ask_of(struct client *client, size_t worker, struct pool_set *set, const struct pool_wish *wish)
{
	*client = (struct client){ .worker = worker };
	list_init(&client->waiter.link);
	client->server = pool_take(set, 0, wish);
	if (!client->server)
		pool_wait(set, 0, wish, &client->waiter, got_server, client);
}

static inline void client_ask(struct client *client, size_t worker)
{
	client_ask_of(client, worker, bed.sets[worker], &(struct pool_wish){ NULL, pools_epoch(bed.pools[worker]) });
}

static inline void client_done(struct client *client)
{
	pool_release(&client->server, RELEASE_CLEAN);
}

#endif
