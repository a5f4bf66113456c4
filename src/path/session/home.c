/* The server a session is pinned to, its home: it holds state that can't be set up again elsewhere (temporary tables, LISTEN, locks ...).
 *
 * Between transactions the home is parked: reads that can't depend on that state borrow a standby as any other read does, all else enters
 * the home again. What may have ended a pin (UNLISTEN, DROP, the end of the transaction that took it) makes us ask the server what is left;
 * when nothing is, it goes back to the pool. */
#include <stdio.h>
#include <strings.h>

#include "private.h"

/* What the server can be asked about. */
#define PINS_ASKABLE (SQL_PIN_TEMP | SQL_PIN_LISTEN | SQL_PIN_ADVISORY | SQL_PIN_HOLD)
/* State that any read may depend on. */
#define PINS_EVERYWHERE (SQL_PIN_SETTING | SQL_PIN_FUNCTION | SQL_PIN_UNKNOWN | SQL_PIN_LOAD | SQL_PIN_PREPARE)

#define HOME_MESSAGE_MAX_BYTES (1u << 20)

static void home_event(void *owner, enum stream_event event);

/* ---- temporary names ---- */

static struct hash128 name_id(const char *name)
{
	return hash_bytes(name, strlen(name));
}

static void add_temp_names(struct session *s, const struct sql_name *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mem_free(map_put(&s->temp_names, name_id(names[i].name), mem_strdup(names[i].name)));
}

static void forget_temp_names(struct session *s)
{
	char *name;
	size_t it = 0;

	while ((name = map_next(&s->temp_names, &it)))
		mem_free(name);
	map_free(&s->temp_names);
	s->temp_names_unknown = false;
}

/* t, or t_id_seq and the like, which PostgreSQL makes along with t. */
static bool is_temp_name(const struct session *s, const char *table)
{
	const char *name;
	size_t it = 0;

	while ((name = map_next((struct map *)(uintptr_t)&s->temp_names, &it))) {
		size_t len = strlen(name);
		if (strncmp(table, name, len) == 0 && (table[len] == '\0' || table[len] == '_'))
			return true;
	}
	return false;
}

/* A view over a temporary table is temporary without saying so, a table may be given another name; DROP, which also counts as DDL, makes
 * nothing. */
static void note_temp_ddl(struct session *s, const struct verdict *v)
{
	bool names_temp = false;

	add_temp_names(s, v->temps, v->temp_count);
	if (!(v->flags & SQL_F_DDL) || (v->flags & SQL_F_RELEASES && !(v->flags & SQL_F_MULTI)))
		return;
	for (size_t i = 0; i < v->table_count; i++)
		names_temp |= is_temp_name(s, v->tables[i].name);
	if (!names_temp)
		return;
	s->temp_names_unknown |= v->flags & SQL_F_MULTI ? !v->temp_count : strncasecmp(v->shown, "alter", 5) == 0;
	s->temp_names_unknown |= v->flags & SQL_F_MULTI && strcasestr(v->shown, "alter");
	if (!v->temp_count)
		add_temp_names(s, v->tables, v->table_count);
}

void home_name_temp(struct session *s)
{
	const struct batch *b = &s->batch;

	if (b->verdict)
		note_temp_ddl(s, b->verdict);
	for (size_t i = 0; i < b->item_count; i++)
		if (b->items[i].statement)
			note_temp_ddl(s, b->items[i].statement->verdict);
}

/* Catalogs list temporary tables, and say what is visible. */
static bool is_catalog(const struct sql_name *name)
{
	return strncmp(name->name, "pg_", 3) == 0 || (name->schema && strcmp(name->schema, "information_schema") == 0);
}

static bool may_name_temp(const struct session *s, const struct verdict *v)
{
	for (size_t i = 0; i < v->table_count; i++)
		if (is_catalog(&v->tables[i]) || (!v->tables[i].schema && is_temp_name(s, v->tables[i].name)))
			return true;
	for (size_t i = 0; i < v->type_count; i++)
		if (!v->types[i].schema)
			return true;
	return v->flags & SQL_F_EXECUTES;
}

static bool batch_may_name_temp(const struct session *s)
{
	const struct batch *b = &s->batch;

	if (s->temp_names_unknown || !b->verdict || may_name_temp(s, b->verdict))
		return true;
	for (size_t i = 0; i < b->item_count; i++)
		if (b->items[i].statement && may_name_temp(s, b->items[i].statement->verdict))
			return true;
	return false;
}

/* ---- leaving and entering ---- */

static bool may_leave(const struct session *s)
{
	const struct batch *b = &s->batch;

	if (!b->is_movable || s->must_primary || s->pins & PINS_EVERYWHERE || b->uses & (s->pins | SQL_PIN_SEQUENCE))
		return false;
	return !(s->pins & SQL_PIN_TEMP) || !batch_may_name_temp(s);
}

bool home_is_wanted(struct session *s)
{
	return s->home && !may_leave(s);
}

void home_enter(struct session *s)
{
	if (s->home_checking) {
		s->waits_for = WAIT_HOME;
		return;
	}
	find_stop_waiting(s);
	err_clear(session_err(s));
	s->server = s->home;
	s->home = NULL;
	session_step(s, EV_P_SERVER);
}

void home_begin(struct session *s)
{
	session_take_pid(s, s->server->backend_pid);
	s->pins |= PIN_POOL_MODE;
	pool_pin(s->server);
	home_keep(s);
}

/* ---- asking what is left ---- */

static const struct {
	enum sql_pin pin;
	const char *expression;
} questions[] = {
	{ SQL_PIN_TEMP, "EXISTS (SELECT FROM pg_catalog.pg_depend WHERE refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass"
	  " AND refobjid = pg_catalog.pg_my_temp_schema())" },
	{ SQL_PIN_LISTEN, "EXISTS (SELECT FROM pg_catalog.pg_listening_channels())" },
	{ SQL_PIN_ADVISORY, "EXISTS (SELECT FROM pg_catalog.pg_locks WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'advisory')" },
	{ SQL_PIN_HOLD, "EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)" },
};

static void ask(struct session *s)
{
	struct buf sql = { NULL, 0, 0 };

	for (size_t i = 0; i < ARRAY_LEN(questions); i++) {
		buf_add_str(&sql, i ? "," : "SELECT ");
		buf_add_str(&sql, s->pins & (uint32_t)questions[i].pin ? questions[i].expression : "false");
	}
	s->home_checking = true;
	wire_put_query(stream_queued(s->home->stream), buf_cstr(&sql));
	stream_flush(s->home->stream);
	buf_free(&sql);
}

/* A row of 't' and 'f'. */
static void take_answer(struct session *s, const struct wire_msg *m)
{
	struct cursor c = cursor_of(m->body, m->body_len);

	if (cursor_u16(&c) != ARRAY_LEN(questions))
		return;
	for (size_t i = 0; i < ARRAY_LEN(questions); i++) {
		const uint8_t *value = cursor_u32(&c) == 1 ? cursor_bytes(&c, 1) : NULL;

		if (!value)
			return;
		if (*value == 'f')
			s->pins &= ~(uint32_t)questions[i].pin;
	}
	if (!(s->pins & SQL_PIN_TEMP))
		forget_temp_names(s);
}

void home_adopt(struct session *s, struct server *server, const char *sql)
{
	pool_pin(server);
	s->home = server;
	s->home_checking = true;
	stream_set_owner(server->stream, home_event, s);
	wire_put_query(stream_queued(server->stream), sql);
	stream_flush(server->stream);
}

static void end_asking(struct session *s)
{
	bool is_awaited = s->waits_for == WAIT_HOME;

	s->home_checking = false;
	if (s->pins == 0)
		home_drop(s, RELEASE_CLEAN);
	if (!is_awaited)
		return;
	find_stop_waiting(s);
	session_step(s, EV_P_AGAIN);
}

/* Whether the batch just answered may have ended a pin: by what it says, or as the end of a transaction that took one. */
static bool may_have_released(const struct session *s)
{
	uint32_t pins = s->pins & ~PIN_POOL_MODE;

	if (!pins || pins & ~(uint32_t)PINS_ASKABLE)
		return false;
	if (s->batch.flags & SQL_F_RELEASES || s->tx_releases)
		return true;
	return s->pins != s->pins_at_begin && (s->batch.flags & SQL_F_ENDS || s->answer_failed);
}

bool home_keep(struct session *s)
{
	bool asks = may_have_released(s);

	s->tx_releases = false;
	if (s->pins == 0)
		forget_temp_names(s);
	if (!s->server->is_pinned || s->pins == 0)
		return false;
	s->home = s->server;
	s->server = NULL;
	stream_set_owner(s->home->stream, home_event, s);
	stream_set_window(s->home->stream, 0);
	if (asks)
		ask(s);
	return true;
}

/* ---- what it says while it is parked ---- */

/* Notifications, notices and parameters may stand between any two messages to the client. */
static bool forward(struct session *s, const struct wire_msg *m)
{
	const char *name, *value;
	struct err err;

	if (s->pass_left || s->server)
		return false;           /* another server is talking: it waits until that has finished */
	if (m->type == 'S' && wire_read_parameter_status(m, &name, &value, &err)) {
		server_set_parameter(s->home, name, value);
		if (strcmp(name, "in_hot_standby") == 0)
			return true;    /* the proxy always looks like the primary */
	}
	if (m->type == 'A')
		need_add_time(&s->need, time_mono_us());        /* what it tells of was committed before */
	stream_send(s->client, stream_data(s->home->stream), m->total);
	return true;
}

/* false: the rest has to wait, or there is no home any more. */
static bool home_message(struct session *s, const struct wire_msg *m)
{
	char type = m->type;

	if (type == 'A' || type == 'N' || type == 'S') {
		if (!forward(s, m))
			return false;
	} else if (!s->home_checking) {
		home_lose(s);           /* a FATAL error announces the end; anything else is out of place */
		return false;
	} else if (type == 'D') {
		take_answer(s, m);
	}
	stream_consume(s->home->stream, m->total);
	if (type == 'Z' && s->home_checking) {
		end_asking(s);
		return s->home != NULL;
	}
	return true;
}

static void home_readable(struct session *s)
{
	while (s->home) {
		struct stream *stream = s->home->stream;
		struct wire_msg m = { 0 };
		struct err err;
		enum wire_rc rc = wire_peek(stream_data(stream), stream_len(stream), WIRE_FROM_SERVER, HOME_MESSAGE_MAX_BYTES, &m, &err);

		if (rc == WIRE_AGAIN || (rc == WIRE_DONE && m.have < m.total)) {
			stream_set_window(stream, HOME_MESSAGE_MAX_BYTES + WIRE_HEADER_BYTES);
			return;
		}
		if (rc == WIRE_FAIL) {
			home_lose(s);
			return;
		}
		if (!home_message(s, &m))
			return;
	}
}

static void home_event(void *owner, enum stream_event event)
{
	struct session *s = owner;

	if (event == STREAM_READABLE)
		home_readable(s);
	else if (event == STREAM_EOF || event == STREAM_FAILED)
		home_lose(s);
}

void home_wake(struct session *s)
{
	if (s->home && stream_len(s->home->stream) > 0)
		home_readable(s);
}

/* ---- the end ---- */

void home_drop(struct session *s, enum pool_release how)
{
	forget_temp_names(s);
	s->home_checking = false;
	if (s->home)
		pool_release(&s->home, how);
}

/* The next statement is told what is lost, unless that was nothing but the habit of coming back, or LISTEN, which we can say again. */
void forget_pins(struct session *s, uint32_t lost)
{
	uint32_t tacit = PIN_POOL_MODE;

	if (lost & SQL_PIN_LISTEN && s->listening) {
		tacit |= SQL_PIN_LISTEN;
		listen_again(s);
	}
	s->lost_pins = lost & ~tacit;
	s->pins = 0;
}

void home_lose(struct session *s)
{
	bool is_awaited = s->waits_for == WAIT_HOME;

	s->env->node_trouble(s->env->owner, s->home->node);
	home_drop(s, RELEASE_CLOSE);
	forget_pins(s, s->pins);
	if (is_awaited) {
		find_stop_waiting(s);
		session_step(s, EV_P_AGAIN);
	}
}
