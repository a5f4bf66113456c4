/* A server that is given up is asked to end and listened to until it has: PostgreSQL closes its side when the backend has left the
 * server's tables, and only then its seats are free. One that is not heard of any more is cut off after a while. */
#include "private.h"

#define CLOSING_MAX_US (2 * USEC_PER_SEC)
#define CLOSING_MAX_BYTES (1u << 20)            /* of what it still had to say */

struct closing {
	struct list link;
	struct pools *pools;
	struct stream *stream;
	struct seats seats;
	usec_t since_us;
	uint64_t bytes_max;             /* stream_bytes_in() up to here */
};

static void closing_finish(struct closing *closing)
{
	list_remove(&closing->link);
	stream_free(&closing->stream);
	seats_give(&closing->seats);
	mem_free(closing);
}

static void closing_event(void *owner, enum stream_event event)
{
	struct closing *closing = owner;

	switch (event) {
	case STREAM_READABLE:
		stream_consume(closing->stream, stream_len(closing->stream));
		if (stream_bytes_in(closing->stream) > closing->bytes_max)
			closing_finish(closing);
		break;
	case STREAM_CONNECTED:
	case STREAM_DRAINED:
		break;
	case STREAM_EOF:
	case STREAM_FAILED:
		closing_finish(closing);
		break;
	}
}

void closing_new(struct pools *pools, struct stream **stream, struct seats *seats, bool may_be_in_a_message)
{
	struct closing *closing = mem_alloc(sizeof(*closing));

	closing->pools = pools;
	closing->stream = *stream;
	closing->seats = *seats;
	closing->since_us = time_mono_us();
	closing->bytes_max = stream_bytes_in(*stream) + CLOSING_MAX_BYTES;
	*stream = NULL;
	*seats = (struct seats){ .desk = { NULL } };
	list_push(&pools->closings, &closing->link);
	stream_set_owner(closing->stream, closing_event, closing);
	stream_consume(closing->stream, stream_len(closing->stream));
	stream_resume(closing->stream);
	if (may_be_in_a_message) {
		stream_end(closing->stream);
		return;
	}
	wire_put_empty(stream_queued(closing->stream), 'X');
	stream_flush(closing->stream);
}

void closings_tick(struct pools *pools, usec_t now)
{
	LIST_EACH_SAFE(pos, &pools->closings) {
		struct closing *closing = LIST_ITEM(pos, struct closing, link);
		if (now - closing->since_us > CLOSING_MAX_US)
			closing_finish(closing);
	}
}

void closings_free(struct pools *pools)
{
	while (!list_is_empty(&pools->closings))
		closing_finish(LIST_ITEM(pools->closings.next, struct closing, link));
}
