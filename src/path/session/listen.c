/* Channels a session listens on. When the server is lost on which it does, another one is found and told, without the client doing
 * anything; what was notified meanwhile has been missed, so what it reads from then on is as new as that moment. */
#include <stdio.h>

#include "private.h"

struct listening {
	struct buf channels;            /* name NUL name NUL ... */
	struct pool_waiter waiter;      /* while a server is being looked for */
	bool is_lost;
};

static void drop_channel(struct buf *channels, const char *name)
{
	struct cursor c = cursor_of(channels->data, channels->len);
	struct buf rest = { NULL, 0, 0 };

	while (name[0] && cursor_left(&c)) {
		const char *channel = cursor_cstr(&c, NULL);
		if (strcmp(channel, name) != 0)
			buf_add_cstr(&rest, channel);
	}
	buf_free(channels);
	*channels = rest;
}

void listen_note(struct session *s, const struct sql_effect *effect)
{
	if (!s->listening)
		s->listening = mem_alloc(sizeof(*s->listening));
	drop_channel(&s->listening->channels, effect->name);
	if (effect->kind == SQL_E_LISTEN)
		buf_add_cstr(&s->listening->channels, effect->name);
	s->listening->is_lost = false;
	if (s->listening->channels.len == 0)
		listen_free(s);
}

void listen_free(struct session *s)
{
	if (!s->listening)
		return;
	pool_wait_cancel(&s->listening->waiter);
	buf_free(&s->listening->channels);
	mem_free(s->listening);
	s->listening = NULL;
}

bool listen_is_lost(const struct session *s)
{
	return s->listening && s->listening->is_lost;
}

static void put_listen(const struct listening *listening, struct buf *sql)
{
	struct cursor c = cursor_of(listening->channels.data, listening->channels.len);

	while (cursor_left(&c)) {
		buf_add_str(sql, "LISTEN \"");
		for (const char *channel = cursor_cstr(&c, NULL); *channel; channel++) {
			if (*channel == '"')
				buf_add_u8(sql, '"');
			buf_add_u8(sql, (uint8_t)*channel);
		}
		buf_add_str(sql, "\";");
	}
}

static void server_came(void *owner, struct server *server, const struct err *err)
{
	struct session *s = owner;
	struct buf sql = { NULL, 0, 0 };

	(void)err;
	if (!server)
		return;                 /* the next tick tries again */
	if (s->server || s->home || server->node != s->env->topo->primary) {
		pool_release(&server, RELEASE_CLEAN);
		return;
	}
	s->listening->is_lost = false;
	need_add_time(&s->need, time_mono_us());
	put_listen(s->listening, &sql);
	s->pins |= SQL_PIN_LISTEN;
	home_adopt(s, server, buf_cstr(&sql));
	buf_free(&sql);
}

void listen_again(struct session *s)
{
	struct listening *listening = s->listening;

	listening->is_lost = true;
	if (s->state != ST_READY || s->home || s->env->topo->primary < 0 || pool_is_waiting(&listening->waiter))
		return;
	pool_wait(s->set, s->env->topo->primary, &(struct pool_wish){ s->settings, s->epoch }, &listening->waiter, server_came, s);
}
