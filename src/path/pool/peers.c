/* Cancel requests for other processes (peers): a connection each, at most pool_size of them to one peer, the others wait in line. */
#include "private.h"

#define LOG_EVERY_US USEC_PER_SEC       /* who may send cancel requests hasn't logged in: they must not fill the log */

struct peer_line {
	struct list link;
	unsigned id;
	unsigned under_way;
	struct list waiting, going;     /* struct pass */
};

struct pass {
	struct list link;
	struct pools *pools;            /* NULL: it is over, only the look-up of the host is still to come back */
	struct peer_line *line;
	struct stream *stream;
	struct buf packet;
	usec_t since_us;
	bool is_looking_up, is_sent;
	pool_passed_fn *fn;
	void *owner;
};

static void pass_free(struct pass *pass)
{
	stream_free(&pass->stream);
	buf_free(&pass->packet);
	mem_free(pass);
}

static void log_failure(struct pools *pools, unsigned id, const char *why)
{
	usec_t now = time_mono_us();
	bool is_new = now - pools->peer_logged_us >= LOG_EVERY_US;

	log_msg(is_new ? LOG_WARNING : LOG_DEBUG, "cancel request for peer %u is lost: %s", id, why);
	if (is_new)
		pools->peer_logged_us = now;
}

/* ---- lines ---- */

static struct peer_line *line_of(struct pools *pools, unsigned id)
{
	struct peer_line *line;

	LIST_EACH(pos, &pools->peer_lines) {
		line = LIST_ITEM(pos, struct peer_line, link);
		if (line->id == id)
			return line;
	}
	line = mem_alloc(sizeof(*line));
	line->id = id;
	list_init(&line->waiting);
	list_init(&line->going);
	list_push(&pools->peer_lines, &line->link);
	return line;
}

static void line_serve(struct pools *pools, struct peer_line *line);

/* Tells whoever waits for it; the next one's turn has come. */
static void pass_finish(struct pass *pass)
{
	list_remove(&pass->link);
	pass->fn(pass->owner);
	if (!pass->is_looking_up) {
		pass_free(pass);
		return;
	}
	pass->pools = NULL;
	list_init(&pass->link);
}

static void pass_end(struct pass *pass)
{
	struct pools *pools = pass->pools;
	struct peer_line *line = pass->line;

	line->under_way--;
	pass_finish(pass);
	line_serve(pools, line);
}

static void pass_fail(struct pass *pass, const char *why)
{
	log_failure(pass->pools, pass->line->id, why);
	pass_end(pass);
}

static void pass_event(void *owner, enum stream_event event)
{
	struct pass *pass = owner;

	switch (event) {
	case STREAM_CONNECTED:
		pass->is_sent = true;
		stream_send(pass->stream, pass->packet.data, pass->packet.len);
		break;
	case STREAM_READABLE:
		stream_consume(pass->stream, stream_len(pass->stream));
		break;
	case STREAM_DRAINED:
		break;
	case STREAM_EOF:
		pass_end(pass);         /* the peer closes when it has passed it on */
		break;
	case STREAM_FAILED:
		if (pass->is_sent)
			pass_end(pass);
		else
			pass_fail(pass, stream_error(pass->stream));
		break;
	}
}

static void pass_resolved(void *owner, const struct sockaddr_storage *addr, socklen_t len, const struct err *err)
{
	struct pass *pass = owner;

	pass->is_looking_up = false;
	if (!pass->pools)
		pass_free(pass);
	else if (err)
		pass_fail(pass, err->text);
	else
		pass->stream = stream_connect(pass->pools->env.io, (const struct sockaddr *)addr, len,
		                              pass->pools->conf->opt.server_connect_timeout, NULL, pass_event, pass);
}

static void pass_start(struct pass *pass, const struct conf_peer *peer)
{
	list_remove(&pass->link);
	list_push(&pass->line->going, &pass->link);
	pass->line->under_way++;
	pass->since_us = time_mono_us();
	pass->is_looking_up = true;
	counter_add(&pass->pools->env.stats->peer_cancels, 1);
	loop_resolve(pass->pools->env.loop, peer->host, peer->port, pass_resolved, pass);
}

/* Those whose turn it is; a peer that the configuration has no more gets nothing. */
static void line_serve(struct pools *pools, struct peer_line *line)
{
	const struct conf_peer *peer = conf_peer_find(pools->conf, line->id);

	while (!list_is_empty(&line->waiting)) {
		struct pass *pass = LIST_ITEM(line->waiting.next, struct pass, link);

		if (peer && line->under_way >= conf_peer_pool_size(pools->conf, peer))
			return;
		if (peer) {
			pass_start(pass, peer);
			continue;
		}
		log_failure(pools, line->id, "[peers] doesn't name it");
		pass_finish(pass);
	}
	if (line->under_way == 0) {
		list_remove(&line->link);
		mem_free(line);
	}
}

void pools_pass_cancel(struct pools *pools, unsigned peer, uint32_t pid, const uint8_t *key, size_t key_len, pool_passed_fn *fn, void *owner)
{
	struct pass *pass = mem_alloc(sizeof(*pass));

	pass->pools = pools;
	pass->line = line_of(pools, peer);
	pass->fn = fn;
	pass->owner = owner;
	pass->since_us = time_mono_us();
	wire_put_cancel(&pass->packet, pid, key, key_len);
	list_push(&pass->line->waiting, &pass->link);
	line_serve(pools, pass->line);
}

/* ---- time ---- */

static bool waits_too_long(const struct pools *pools, const struct pass *pass, usec_t now)
{
	return pools->conf->opt.cancel_wait_timeout && now - pass->since_us > pools->conf->opt.cancel_wait_timeout;
}

static void line_tick(struct pools *pools, struct peer_line *line, usec_t now)
{
	struct list late;

	list_init(&late);       /* aside first: the end of one lets another go */
	LIST_EACH_SAFE(pos, &line->going)
		if (now - LIST_ITEM(pos, struct pass, link)->since_us > cancel_time_limit(pools)) {
			list_remove(pos);
			list_push(&late, pos);
		}
	LIST_EACH_SAFE(pos, &line->waiting) {
		struct pass *pass = LIST_ITEM(pos, struct pass, link);
		if (!waits_too_long(pools, pass, now))
			continue;
		log_failure(pools, line->id, "cancel_wait_timeout, all its connections are taken");
		pass_finish(pass);
	}
	while (!list_is_empty(&late)) {
		struct pass *pass = LIST_ITEM(late.next, struct pass, link);
		log_failure(pools, line->id, pass->is_sent ? "it was sent, but the peer doesn't say that it is done" : "cannot connect in time");
		line->under_way--;
		pass_finish(pass);
	}
	line_serve(pools, line);
}

void peers_tick(struct pools *pools, usec_t now)
{
	LIST_EACH_SAFE(pos, &pools->peer_lines)
		line_tick(pools, LIST_ITEM(pos, struct peer_line, link), now);
}

void peers_free(struct pools *pools)
{
	LIST_EACH_SAFE(pos, &pools->peer_lines) {
		struct peer_line *line = LIST_ITEM(pos, struct peer_line, link);

		LIST_EACH_SAFE(pass, &line->going)
			pass_finish(LIST_ITEM(pass, struct pass, link));
		LIST_EACH_SAFE(pass, &line->waiting)
			pass_finish(LIST_ITEM(pass, struct pass, link));
		list_remove(&line->link);
		mem_free(line);
	}
}
