/* Cancel requests: a connection of their own to the very server, which sends 16 bytes and waits for the end. */
#include "private.h"

#define UNLIMITED_US (60 * USEC_PER_SEC)        /* cancel_wait_timeout = 0: a connection that hangs must end all the same */

/* Who wants to know when it has ended. */
struct cancel_watch {
	struct list link;
	pool_passed_fn *fn;
	void *owner;
};

struct cancel {
	struct list link;
	struct list watches;
	struct pools *pools;
	struct stream *stream;
	struct server *server;          /* not lent again while this lives; the pool keeps it (see pool_server_close) */
	struct buf packet;
	usec_t since_us;
};

usec_t cancel_time_limit(const struct pools *pools)
{
	return pools->conf->opt.cancel_wait_timeout ? pools->conf->opt.cancel_wait_timeout : UNLIMITED_US;
}

static void cancel_finish(struct cancel *cancel)
{
	struct server *server = cancel->server;

	LIST_EACH_SAFE(pos, &cancel->watches) {
		struct cancel_watch *watch = LIST_ITEM(pos, struct cancel_watch, link);
		list_remove(pos);
		watch->fn(watch->owner);
		mem_free(watch);
	}
	list_remove(&cancel->link);
	stream_free(&cancel->stream);
	buf_free(&cancel->packet);
	mem_free(cancel);
	if (--server->cancels == 0)
		pool_retire(server);
}

static void cancel_event(void *owner, enum stream_event event)
{
	struct cancel *cancel = owner;

	switch (event) {
	case STREAM_CONNECTED:
		stream_send(cancel->stream, cancel->packet.data, cancel->packet.len);
		break;
	case STREAM_READABLE:
		stream_consume(cancel->stream, stream_len(cancel->stream));
		break;
	case STREAM_DRAINED:
		break;
	case STREAM_EOF:
	case STREAM_FAILED:
		cancel_finish(cancel);
		break;
	}
}

void pool_cancel(struct server *server)
{
	struct pools *pools = server_pools(server);
	struct cancel *cancel;

	if (server->state != SERVER_LENT || server->cancels >= 2)
		return;         /* two under way are as good as ten */
	cancel = mem_alloc(sizeof(*cancel));
	cancel->pools = pools;
	cancel->server = server;
	cancel->since_us = time_mono_us();
	list_init(&cancel->watches);
	server->cancels++;
	list_push(&pools->cancels, &cancel->link);
	wire_put_cancel(&cancel->packet, server->backend_pid, server->key, server->key_len);
	counter_add(&pools->env.stats->cancels, 1);
	cancel->stream = stream_connect(pools->env.io, (const struct sockaddr *)&server->addr, server->addr_len,
	                                pools->conf->opt.server_connect_timeout, NULL, cancel_event, cancel);
}

bool pool_cancel_watch(struct server *server, pool_passed_fn *fn, void *owner)
{
	struct cancel *newest = NULL;
	struct cancel_watch *watch;

	LIST_EACH(pos, &server_pools(server)->cancels)
		if (LIST_ITEM(pos, struct cancel, link)->server == server)
			newest = LIST_ITEM(pos, struct cancel, link);
	if (!newest)
		return false;
	watch = mem_alloc(sizeof(*watch));
	watch->fn = fn;
	watch->owner = owner;
	list_push(&newest->watches, &watch->link);
	return true;
}

/* One that never ends would keep its descriptor, and its server from being lent. */
void cancels_tick(struct pools *pools, usec_t now)
{
	LIST_EACH_SAFE(pos, &pools->cancels) {
		struct cancel *cancel = LIST_ITEM(pos, struct cancel, link);
		if (now - cancel->since_us > cancel_time_limit(pools))
			cancel_finish(cancel);
	}
}

void cancels_free(struct pools *pools)
{
	LIST_EACH_SAFE(pos, &pools->cancels) {
		struct cancel *cancel = LIST_ITEM(pos, struct cancel, link);
		cancel_finish(cancel);
	}
}
