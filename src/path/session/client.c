/* The client's side: bytes in, events out of them; and how a session begins and ends. */
#include <stdio.h>
#include <unistd.h>

#include "private.h"

/* ---- the pump ---- */

/* Whether more of the client's bytes may be looked at. In RELAY, WAIT and WELCOME they wait for the answer. */
static bool is_listening(const struct session *s)
{
	switch (s->state) {
	case ST_START:
	case ST_AUTH:
	case ST_READY:
	case ST_HELD:
	case ST_FAILED:
	case ST_SKIP:
		return true;
	case ST_OPEN:
		/* Whether an open batch must leave its standby can only be decided when what was flushed has been answered. */
		return stream_unsent(s->server->stream) == 0 && (!expects_are_open(s) || s->server->node == s->env->topo->primary);
	case ST_COPY_IN:
	case ST_TUNNEL:
		return stream_unsent(s->server->stream) == 0;
	case ST_CONSOLE:
		return !s->console_busy;
	case ST_WELCOME:
	case ST_DIAL:
	case ST_WAIT:
	case ST_LAY:
	case ST_RELAY:
	case ST_CLOSED:
		return false;
	case ST_COUNT:
		break;
	}
	return false;
}

/* While skipping to Sync. */
static enum session_event skip_scan(struct session *s)
{
	for (;;) {
		struct wire_msg m = { 0 };
		enum wire_rc rc;

		if (s->client_pass_left) {
			size_t now = MIN(s->client_pass_left, stream_len(s->client));
			stream_consume(s->client, now);
			s->client_pass_left -= now;
			if (s->client_pass_left)
				return EV_COUNT;
			if (s->skips_message) {
				s->skips_message = false;
				return EV_C_SYNC;
			}
		}
		rc = wire_peek(stream_data(s->client), stream_len(s->client), WIRE_FROM_CLIENT, (size_t)s->conf->opt.max_packet_size, &m,
		               session_err(s));
		if (rc == WIRE_FAIL)
			return EV_C_VIOLATION;
		if (rc == WIRE_AGAIN)
			return EV_COUNT;
		if (m.type == 'X')
			return EV_C_TERMINATE;
		s->client_pass_left = m.total;
		if (m.type == 'S') {
			stream_consume(s->client, MIN(m.total, stream_len(s->client)));
			s->client_pass_left = 0;
			return EV_C_SYNC;
		}
	}
}

static enum session_event scan(struct session *s)
{
	if (s->state == ST_START)
		return startup_scan(s);
	if (stream_len(s->client) == 0)
		return EV_COUNT;
	switch (s->state) {
	case ST_AUTH:
		return password_scan(s);
	case ST_COPY_IN:
		return EV_C_COPY;
	case ST_SKIP:
		return skip_scan(s);
	case ST_CONSOLE:
		return console_scan(s);
	case ST_TUNNEL:
		tunnel_from_client(s);
		return EV_COUNT;
	default:
		return batch_scan(s);
	}
}

/* The end of the stream counts once everything before it has been dealt with; nobody waits for the answer before a Terminate. */
static bool has_left(const struct session *s)
{
	size_t len = stream_len(s->client), sent = s->batch.sent_len;

	if (is_listening(s) || s->state == ST_WAIT || s->state == ST_LAY || len <= sent)
		return true;
	return (s->state == ST_RELAY || s->state == ST_WELCOME) && !s->client_pass_left && stream_data(s->client)[sent] == 'X';
}

/* One callback handles what one read brought: bounded by the window. */
void client_pump(struct session *s)
{
	if (s->pumping)
		return;
	s->pumping = true;
	while (is_listening(s)) {
		enum session_event event;
		size_t before = stream_len(s->client);

		/* As the answer to its next message, or by the tick: behind an answer libpq would take the error for a notice. */
		if (s->closing_asked && session_at_boundary(s) && stream_len(s->client) > 0) {
			session_shut(s);
			break;
		}
		event = scan(s);
		if (event == EV_COUNT)
			break;
		session_step(s, event);
		if (s->state == ST_COPY_IN && event == EV_C_COPY && stream_len(s->client) == before)
			break;
	}
	if (s->client_at_end && s->state != ST_CLOSED && has_left(s))
		session_step(s, EV_C_TERMINATE);
	s->pumping = false;
}

void client_event(void *owner, enum stream_event event)
{
	struct session *s = owner;

	switch (event) {
	case STREAM_CONNECTED:
		break;
	case STREAM_READABLE:
		client_pump(s);
		break;
	case STREAM_DRAINED:
		if (s->server)
			stream_resume(s->server->stream);
		break;
	case STREAM_EOF:
		s->client_at_end = true;
		client_pump(s);
		break;
	case STREAM_FAILED:
		session_step(s, EV_C_TERMINATE);
		break;
	}
}

/* ---- begin and end ---- */

static struct io_tcp tcp_of(const struct conf *conf)
{
	return (struct io_tcp){ .keepalive = conf->opt.tcp_keepalive, .keepidle_s = (int)(conf->opt.tcp_keepidle / USEC_PER_SEC),
		                .keepintvl_s = (int)(conf->opt.tcp_keepintvl / USEC_PER_SEC), .keepcnt = (int)conf->opt.tcp_keepcnt,
		                .user_timeout_ms = (int)(conf->opt.tcp_user_timeout / USEC_PER_MS) };
}

void session_new(struct session_env *env, int fd)
{
	struct session *s = mem_alloc(sizeof(*s));
	struct io_tcp tcp = tcp_of(env->conf);

	s->env = env;
	s->id = (++env->last_id << 7) | env->worker;
	s->tx = 'I';
	s->last_node = -1;
	s->mode = (struct sql_mode){ true, true };
	s->conf = conf_ref(env->conf);
	s->connected_us = s->idle_since_us = time_wall_us();
	s->idle_since_us = time_mono_us();
	s->batch.items = s->batch.inline_items;
	s->batch.item_cap = BATCH_INLINE_ITEMS;
	s->batch.is_movable = s->batch.only_begins = s->batch.only_ours = s->batch.only_ends = true;
	list_init(&s->waiting);
	list_push(&env->sessions, &s->link);
	session_give_key(s);
	counter_add(&env->stats->clients_accepted, 1);
	atomic_fetch_add(env->client_count, 1);
	s->client = stream_of_fd(env->io, fd, &tcp, client_event, s);
}

static void session_free(void *object)
{
	struct session *s = object;

	buf_free(&s->held);
	buf_free(&s->lay_error);
	buf_free(&s->console_text);
	mem_free(s->expects);
	mem_free(s->err);
	mem_free(s->user);
	mem_free(s->database);
	mem_free(s->application_name);
	mem_free(s->tx_err);
	record_free(s);
	tunnel_free(s);
	mem_free(s->policy_copy);
	mem_free(s->hint_policy);
	mem_free(s->hint_route_name);
	vars_free(&s->vars);
	vars_free(&s->vars_outer);
	vars_free(&s->vars_begin);
	vars_free(&s->vars_startup);
	conf_unref(&s->conf);
	mem_wipe(s->key, sizeof(s->key));
	mem_free(s);
}

/* State that DISCARD ALL does not end, or of which nobody knows. */
#define PINS_FOREVER (SQL_PIN_SETTING | SQL_PIN_FUNCTION | SQL_PIN_UNKNOWN | SQL_PIN_LOAD)

/* What a departing client leaves to its server. An open transaction is rolled back by closing: as if the client had been direct. */
static enum pool_release leaving(const struct session *s)
{
	uint32_t pins = s->pins & ~PIN_POOL_MODE;

	if (s->server && !s->server->is_pinned && s->home)
		pins = 0;               /* a standby, borrowed for a read */
	if (s->batch.is_sent || s->tx != 'I' || !s->is_greeted || s->is_tunnel)         /* not greeted: it was asked for its parameters */
		return RELEASE_CLOSE;
	/* A custom setting stays '' whatever one does, and nobody knows what else a function or an unread text has set. */
	if (pins & PINS_FOREVER)
		return RELEASE_CLOSE;
	return pins ? RELEASE_RESET : RELEASE_CLEAN;
}

/* The same for the server it is pinned to, parked between transactions. */
static enum pool_release leaving_home(const struct session *s)
{
	if (s->home_checking || s->pins & PINS_FOREVER)
		return RELEASE_CLOSE;
	return s->pins & ~PIN_POOL_MODE ? RELEASE_RESET : RELEASE_CLEAN;
}

void session_bury(struct session *s)
{
	ENSURE(s->state == ST_CLOSED);
	find_stop_waiting(s);
	timer_free(&s->timer);
	if (s->server)
		pool_release(&s->server, leaving(s));
	home_drop(s, s->home ? leaving_home(s) : RELEASE_CLEAN);
	listen_free(s);
	portals_clear(s);
	batch_clear(s);
	expects_clear(s);
	named_drop_all(s);
	statement_unref(&s->unnamed);
	map_free(&s->named);
	settings_unref(&s->settings);
	settings_unref(&s->startup);
	pool_set_release(&s->set);
	auth_server_free(&s->login);
	stream_free(&s->client);
	session_drop_key(s);
	list_remove(&s->link);
	list_remove(&s->waiting);
	atomic_fetch_sub(s->env->client_count, 1);
	if (!s->console_busy)           /* else the console's answer frees it */
		loop_bury(s->env->loop, session_free, s);
}

void session_bury_late(struct session *s)
{
	loop_bury(s->env->loop, session_free, s);
}

/* The line PgBouncer's users look for. */
static void log_closing(const struct session *s, const char *why)
{
	char host[64];
	int port;

	stream_peer(s->client, host, sizeof(host), &port);
	log_info("C-%llu: %s/%s@%s:%d closing because: %s (age=%llds)", (unsigned long long)s->id, s->database ? s->database : "(nodb)",
	         s->user ? s->user : "(nouser)", host, port, why, (long long)((time_wall_us() - s->connected_us) / USEC_PER_SEC));
}

void act_close_quietly(struct session *s)
{
	if (s->is_greeted && s->conf->opt.log_disconnections)
		log_closing(s, s->client_at_end || stream_is_broken(s->client) ? "client unexpected eof" : "client close request");
	session_bury(s);
}

void act_close_with_error(struct session *s)
{
	if (s->conf->opt.log_pooler_errors)
		log_closing(s, session_err(s)->text);
	if (strcmp(session_err(s)->sqlstate, "08P01") == 0)
		counter_add(&s->env->stats->protocol_errors, 1);
	client_flush_error(s, "FATAL");
	stream_end(s->client);
	session_bury(s);
}

void client_flush_error(struct session *s, const char *severity)
{
	wire_put_error(stream_queued(s->client), severity, session_err(s));
	stream_flush(s->client);
}

void act_no_action(struct session *s)
{
	(void)s;
}
