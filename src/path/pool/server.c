/* One server connection: connecting, logging in, being reset, lying idle. While it is lent the borrower reads its stream. */
#include <stdio.h>

#include "private.h"

/* No message of a login, a reset or an idle connection is longer. */
#define OWN_MESSAGE_MAX_BYTES (1u << 20)

static const char *const state_names[] = { "connecting", "login", "idle", "active", "tested", "closed" };

const char *server_state_name(enum server_state state)
{
	return state_names[state];
}

static void server_login_event(void *owner, enum stream_event event);

/* ---- statements prepared on it ---- */

bool server_has_statement(const struct server *server, struct hash128 id)
{
	return map_get(&server->prepared, id) != NULL;
}

void server_add_statement(struct server *server, struct hash128 id)
{
	struct server_statement *statement;

	if (server_has_statement(server, id))
		return;
	statement = mem_alloc(sizeof(*statement));
	statement->id = id;
	list_push(&server->prepared_order, &statement->link);
	map_put(&server->prepared, id, statement);
}

void server_forget_statement(struct server *server, struct hash128 id)
{
	struct server_statement *statement = map_remove(&server->prepared, id);

	if (!statement)
		return;
	list_remove(&statement->link);
	mem_free(statement);
}

void server_forget_statements(struct server *server)
{
	LIST_EACH_SAFE(pos, &server->prepared_order)
		server_forget_statement(server, LIST_ITEM(pos, struct server_statement, link)->id);
	map_free(&server->prepared);
}

/* ---- life ---- */

static struct io_tcp tcp_of(const struct conf *conf)
{
	return (struct io_tcp){ .keepalive = conf->opt.tcp_keepalive, .keepidle_s = (int)(conf->opt.tcp_keepidle / USEC_PER_SEC),
		                .keepintvl_s = (int)(conf->opt.tcp_keepintvl / USEC_PER_SEC), .keepcnt = (int)conf->opt.tcp_keepcnt,
		                .user_timeout_ms = (int)(conf->opt.tcp_user_timeout / USEC_PER_MS) };
}

void server_open(struct pool *pool, struct seats *seats, struct dial *dial)
{
	struct pools *pools = pool->set->pools;
	const struct topo_node *node = &pools->topo->nodes[pool->node];
	struct server *server = mem_alloc(sizeof(*server));
	struct io_tcp tcp = tcp_of(pools->conf);

	server->pool = pool;
	server->node = pool->node;
	server->id = hub_next_id(pools->env.hub);
	server->seats = *seats;
	server->epoch = hub_epoch(pools->env.hub);
	server->conf_version = pool->set->conf->version;
	server->dial = dial;
	server->is_pinned = dial != NULL;
	server->incarnation = node->incarnation;
	server->addr = node->addr;
	server->addr_len = node->addr_len;
	server->state = SERVER_CONNECTING;
	server->opened_us = time_mono_us();
	server->deadline_us = server->opened_us + pools->conf->opt.server_connect_timeout;
	list_init(&server->prepared_order);
	list_init(&server->names_order);
	list_push(&pool->opening, &server->link);
	pool->opening_count++;
	pool->dialing_count += dial != NULL;
	counter_add(&pools->env.stats->server_logins, 1);
	server->stream = stream_connect(pools->env.io, (const struct sockaddr *)&node->addr, node->addr_len,
	                                pools->conf->opt.server_connect_timeout, &tcp, server_login_event, server);
}

void server_free(struct server *server)
{
	stream_free(&server->stream);
	auth_client_free(&server->login);
	server_forget_statements(server);
	server_drop_names(server);
	settings_unref(&server->settings);
	buf_free(&server->params);
	mem_wipe(server->key, sizeof(server->key));
	mem_free(server);
}

static void fail(struct server *server, const char *sqlstate, const char *what)
{
	const struct topo_node *node = &server_pools(server)->topo->nodes[server->node];
	struct err err;

	err_set(&err, sqlstate, "connection to server \"%s\" (%s:%d) failed: %s", node->name, node->host, node->port, what);
	err_hint(&err, "See SHOW NODES on database pgshunt for the state of all nodes.");
	pool_server_failed(server, &err);
}

/* The next whole message of a server nobody has borrowed; AGAIN makes room for the rest of it. */
static enum wire_rc next_message(struct server *server, struct wire_msg *m, struct err *err)
{
	enum wire_rc rc;

	*m = (struct wire_msg){ 0 };
	rc = wire_peek(stream_data(server->stream), stream_len(server->stream), WIRE_FROM_SERVER, OWN_MESSAGE_MAX_BYTES, m, err);
	if (rc == WIRE_DONE && m->have < m->total)
		rc = WIRE_AGAIN;
	if (rc == WIRE_AGAIN)
		stream_set_window(server->stream, OWN_MESSAGE_MAX_BYTES + WIRE_HEADER_BYTES);
	return rc;
}

/* ---- login ---- */

static void send_startup(struct server *server)
{
	const struct pool_set *set = server->pool->set;
	const struct wire_param params[] = { { "user", set->user }, { "database", set->dbname } };

	server->login = auth_client_new(set->user, &set->secret);
	server->state = SERVER_LOGIN;
	pools_watch_deadline(set->pools, server->deadline_us - time_mono_us());
	if (server->dial)
		dial_put_startup(server, stream_queued(server->stream));
	else
		wire_put_startup(stream_queued(server->stream), WIRE_PROTOCOL_3_0, params, ARRAY_LEN(params));
	stream_flush(server->stream);
}

/* false: the login has failed and the server is gone. */
static bool login_auth(struct server *server, const struct wire_msg *m)
{
	const uint8_t *data;
	uint32_t code;
	size_t len;
	struct err err = { 0 };
	struct auth_secret learned = { .kind = AUTH_NONE };

	if (!wire_read_auth(m, &code, &data, &len, &err) ||
	    auth_client_step(server->login, code, data, len, stream_queued(server->stream), &err) == AUTH_FAILED) {
		pool_server_failed(server, &err);
		return false;
	}
	if (code == 0 && auth_client_learned(server->login, &learned)) {
		pool_set_learn(server->pool->set, &learned);    /* the derived key: the next login needs no 4096 rounds */
		auth_secret_clear(&learned);
	}
	stream_flush(server->stream);
	return true;
}

static bool login_error(struct server *server, const struct wire_msg *m)
{
	struct wire_error error;
	struct err err = { 0 };

	if (wire_read_error(m, &error, &err)) {
		err_set(&err, error.sqlstate, "server \"%s\" refused the login: %s",
		        server_pools(server)->topo->nodes[server->node].name, error.message);
		err_hint(&err, "%s", error.hint[0] ? error.hint : "The server decides by its pg_hba.conf, roles and databases; see its log.");
	}
	pool_server_failed(server, &err);
	return false;
}

void server_set_parameter(struct server *server, const char *name, const char *value)
{
	struct cursor c = cursor_of(server->params.data, server->params.len);
	struct buf params = { NULL, 0, 0 };

	while (cursor_left(&c)) {
		const char *n = cursor_cstr(&c, NULL), *v = cursor_cstr(&c, NULL);

		if (!v || strcmp(n, name) == 0)
			continue;
		buf_add_cstr(&params, n);
		buf_add_cstr(&params, v);
	}
	buf_add_cstr(&params, name);
	buf_add_cstr(&params, value);
	if (params.len > 16384) {
		buf_free(&params);
		return;
	}
	buf_free(&server->params);
	server->params = params;
}

const char *server_parameter(const struct server *server, const char *name)
{
	struct cursor c = cursor_of(server->params.data, server->params.len);

	while (cursor_left(&c)) {
		const char *n = cursor_cstr(&c, NULL), *v = cursor_cstr(&c, NULL);

		if (v && strcmp(n, name) == 0)
			return v;
	}
	return NULL;
}

static void keep_parameter(struct server *server, const struct wire_msg *m)
{
	const char *name, *value;
	struct err err;

	if (wire_read_parameter_status(m, &name, &value, &err))
		server_set_parameter(server, name, value);
}

static bool login_key(struct server *server, const struct wire_msg *m)
{
	const uint8_t *key;
	struct err err;

	if (!wire_read_backend_key(m, &server->backend_pid, &key, &server->key_len, &err) || server->key_len > sizeof(server->key)) {
		fail(server, "08P01", "malformed BackendKeyData");
		return false;
	}
	memcpy(server->key, key, server->key_len);
	return true;
}

/* One message of the login, complete. false: the server has become ready or has failed; either way it isn't ours any more. */
static bool login_message(struct server *server, const struct wire_msg *m)
{
	switch (m->type) {
	case 'R':
		return login_auth(server, m);
	case 'E':
		return login_error(server, m);
	case 'S':
		keep_parameter(server, m);
		return true;
	case 'K':
		return login_key(server, m);
	case 'N':
		return true;
	case 'Z':
		auth_client_free(&server->login);
		return false;
	default:
		fail(server, "08P01", "unexpected message during the login");
		return false;
	}
}

static void login_readable(struct server *server)
{
	for (;;) {
		struct wire_msg m;
		struct err err;
		enum wire_rc rc = next_message(server, &m, &err);
		char type;

		if (rc == WIRE_FAIL)
			fail(server, "08P01", err.text);
		if (rc != WIRE_DONE)
			return;
		type = m.type;
		if (!login_message(server, &m)) {
			if (type != 'Z')
				return;
			stream_consume(server->stream, m.total);
			stream_set_window(server->stream, 0);
			pool_server_ready(server);
			return;
		}
		stream_consume(server->stream, m.total);
	}
}

static void server_login_event(void *owner, enum stream_event event)
{
	struct server *server = owner;

	switch (event) {
	case STREAM_CONNECTED:
		send_startup(server);
		break;
	case STREAM_READABLE:
		login_readable(server);
		break;
	case STREAM_DRAINED:
		break;
	case STREAM_EOF:
	case STREAM_FAILED:
		fail(server, "08001", stream_error(server->stream));
		break;
	}
}

/* ---- reset and drain: what the borrower has left behind ---- */

/* Both end with ReadyForQuery; an error on the way is the server's verdict on a batch nobody waits for (drain) or a failed reset. */
static void ending_readable(struct server *server, bool errors_are_fatal)
{
	for (;;) {
		struct wire_msg m;
		struct err err;
		enum wire_rc rc = next_message(server, &m, &err);

		if (rc == WIRE_AGAIN && server->stream && stream_len(server->stream) >= OWN_MESSAGE_MAX_BYTES)
			rc = WIRE_FAIL;
		if (rc == WIRE_AGAIN)
			return;
		if (rc == WIRE_FAIL || (errors_are_fatal && m.type == 'E')) {
			pool_server_close(server, "could not be brought back to a clean state");
			return;
		}
		if (m.type == 'S')
			keep_parameter(server, &m);
		if (m.type == 'Z') {
			bool is_idle = m.body_len == 1 && m.body[0] == 'I';
			server->is_ending = false;
			stream_consume(server->stream, m.total);
			stream_set_window(server->stream, 0);
			if (is_idle && stream_len(server->stream) == 0)
				pool_server_ready(server);
			else
				pool_server_close(server, "a transaction was left open");
			return;
		}
		stream_consume(server->stream, m.total);
	}
}

static void server_reset_event(void *owner, enum stream_event event)
{
	if (event == STREAM_READABLE)
		ending_readable(owner, true);
	else if (event == STREAM_EOF || event == STREAM_FAILED)
		pool_server_close(owner, "lost while being reset");
}

static void server_drain_event(void *owner, enum stream_event event)
{
	if (event == STREAM_READABLE)
		ending_readable(owner, false);
	else if (event == STREAM_EOF || event == STREAM_FAILED)
		pool_server_close(owner, "lost");
}

void server_reset(struct server *server)
{
	server->is_ending = true;
	stream_set_owner(server->stream, server_reset_event, server);
	wire_put_query(stream_queued(server->stream), server_pools(server)->conf->opt.server_reset_query);
	stream_flush(server->stream);
	server_forget_statements(server);
	server_drop_names(server);
	settings_discard(&server->settings);
}

/* "<empty>" is PgBouncer's word for the empty query. */
void server_check(struct server *server)
{
	const struct conf_options *opt = &server_pools(server)->conf->opt;
	const char *query = strcmp(opt->server_check_query, "<empty>") == 0 ? "" : opt->server_check_query;

	pool_park(server, opt->server_connect_timeout);
	pools_watch_deadline(server_pools(server), opt->server_connect_timeout);
	server->is_ending = true;
	stream_set_owner(server->stream, server_reset_event, server);
	wire_put_query(stream_queued(server->stream), query);
	stream_flush(server->stream);
}

void server_drain(struct server *server)
{
	server->is_ending = true;
	stream_set_owner(server->stream, server_drain_event, server);
	ending_readable(server, false);
}

/* ---- idle: only notices, parameter changes, and the end ---- */

static void idle_readable(struct server *server)
{
	for (;;) {
		struct wire_msg m;
		struct err err;
		enum wire_rc rc = next_message(server, &m, &err);

		if (rc == WIRE_AGAIN)
			return;
		/* A FATAL error announces the end (restart, pg_terminate_backend); anything else is out of place here. */
		if (rc == WIRE_FAIL || (m.type != 'N' && m.type != 'S' && m.type != 'A')) {
			pool_server_close(server, m.type == 'E' ? "ended by the server" : "unexpected message while idle");
			return;
		}
		if (m.type == 'S')
			keep_parameter(server, &m);
		stream_consume(server->stream, m.total);
	}
}

void server_idle_event(void *owner, enum stream_event event)
{
	struct server *server = owner;

	if (event == STREAM_READABLE)
		idle_readable(server);
	else if (event == STREAM_EOF || event == STREAM_FAILED)
		pool_server_close(server, "closed by the server");
}
