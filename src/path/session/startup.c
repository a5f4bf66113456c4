/* From the first packet to the first ReadyForQuery. */
#include <stdio.h>
#include <strings.h>

#include "private.h"

#define SETTINGS_MAX 64
#define SETTING_MAX_BYTES WIRE_STARTUP_MAX_BYTES

/* ---- the first packet ---- */

/* The lexer must know how the client's bytes are meant. */
void startup_watch_parameter(struct session *s, const char *name, const char *value)
{
	static const char *const unsafe[] = { "SJIS", "BIG5", "GBK", "GB18030", "UHC", "JOHAB", "SHIFT_JIS_2004" };

	if (strcasecmp(name, "standard_conforming_strings") == 0)
		s->mode.standard_conforming_strings = strcasecmp(value, "on") == 0;
	if (strcasecmp(name, "client_encoding") == 0) {
		s->mode.ascii_safe_encoding = true;
		for (size_t i = 0; i < ARRAY_LEN(unsafe); i++)
			s->mode.ascii_safe_encoding &= strcasecmp(value, unsafe[i]) != 0;
	}
}

struct startup_list {
	struct session *s;
	struct setting items[SETTINGS_MAX];
	size_t count;
};

static bool put_setting(struct startup_list *list, const char *name, const char *value, struct err *err)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcasecmp(list->items[i].name, name) == 0) {
			list->items[i].value = value;
			return true;
		}
	if (list->count == SETTINGS_MAX || strlen(name) > 63 || strlen(value) > SETTING_MAX_BYTES)
		return err_set(err, "08P01", "too many or too long start-up parameters");
	list->items[list->count++] = (struct setting){ name, value, NULL };
	return true;
}

/* One start-up parameter, from the packet or from options=. */
static bool take_parameter(void *owner, const char *name, const char *value, struct err *err)
{
	struct startup_list *list = owner;
	struct session *s = list->s;

	if (strncasecmp(name, "pgshunt.", 8) == 0)
		return vars_set(s, name + 8, value, err);
	if (conf_name_listed(s->conf->opt.ignore_startup_parameters, name))
		return true;
	if (strcasecmp(name, "application_name") == 0) {
		mem_free(s->application_name);
		s->application_name = mem_strdup(value);
	}
	return put_setting(list, name, value, err);
}

static bool take_parameters(struct session *s, const struct wire_startup *packet)
{
	struct startup_list list = { .s = s };
	struct buf kept = { NULL, 0, 0 };
	bool ok = true;

	for (size_t i = 0; ok && i < packet->param_count; i++) {
		if (strcmp(packet->params[i].name, "options") == 0)
			continue;
		ok = take_parameter(&list, packet->params[i].name, packet->params[i].value, session_err(s));
	}
	for (size_t i = 0; ok && i < packet->param_count; i++)
		if (strcmp(packet->params[i].name, "options") == 0)
			ok = startup_take_options(packet->params[i].value, take_parameter, &list, &kept, session_err(s));
	if (ok) {
		s->startup = settings_intern(s->env->settings, list.items, list.count);
		s->settings = settings_ref(s->startup);
	}
	record_salt(s);
	buf_free(&kept);
	return ok;
}

/* wire_parse_options() hands over strings that live for one call only: kept in one block until they are interned. */
struct options_owner {
	wire_option_fn *fn;
	void *owner;
	struct buf *kept;
};

struct option_at {
	size_t name, value;
};

static bool keep_option(void *owner, const char *name, const char *value, struct err *err)
{
	struct options_owner *o = owner;

	if (o->kept->len + strlen(name) + strlen(value) + 2 > o->kept->cap)
		return err_set(err, "08P01", "options are too long");
	char *at = (char *)o->kept->data + o->kept->len;
	buf_add_cstr(o->kept, name);
	buf_add_cstr(o->kept, value);
	return o->fn(o->owner, at, at + strlen(name) + 1, err);
}

bool startup_take_options(const char *options, wire_option_fn *fn, void *owner, struct buf *kept, struct err *err)
{
	struct options_owner o = { fn, owner, kept };

	buf_reserve(kept, 2 * strlen(options) + 64);   /* never moves: keep_option() refuses to outgrow it */
	return wire_parse_options(options, keep_option, &o, err);
}

static enum session_event refuse(struct session *s, const char *sqlstate, const char *text, const char *hint)
{
	err_set(session_err(s), sqlstate, "%s", text);
	err_hint(session_err(s), "%s", hint);
	return EV_C_VIOLATION;
}

/* 3.0 is what we speak, 3.2 too; newer minors and unknown _pq_ options are negotiated down (manual 55.2.1). */
static void negotiate(struct session *s, const struct wire_startup *packet)
{
	s->protocol = MIN(packet->version, WIRE_PROTOCOL_3_2);
	if (packet->version == 0x00030001u)
		s->protocol = WIRE_PROTOCOL_3_0;        /* 3.1 was never used */
	if (s->protocol == WIRE_PROTOCOL_3_2)
		session_lengthen_key(s);
	if (s->protocol != packet->version || packet->pq_option_count)
		wire_put_negotiate(stream_queued(s->client), s->protocol & 0xffff, packet->pq_options, packet->pq_option_count);
}

static enum session_event take_startup(struct session *s, const struct wire_startup *packet)
{
	s->user = mem_strdup(packet->user);
	s->database = mem_strdup(packet->database);
	s->is_console = strcmp(s->database, "pgshunt") == 0 || strcmp(s->database, "pgbouncer") == 0;
	if (s->env->is_shutting_down)
		return refuse(s, "57P01", "the proxy is shutting down", "Connect again.");
	if (!s->is_console && atomic_load(s->env->client_count) > s->conf->opt.max_client_conn)
		return refuse(s, "53300", "no more connections allowed (max_client_conn)", "Raise max_client_conn or close idle clients.");
	negotiate(s, packet);
	if (packet->replication && !s->is_console) {
		tunnel_keep_parameters(s, packet);
		return EV_C_STARTUP;
	}
	return take_parameters(s, packet) ? EV_C_STARTUP : EV_C_VIOLATION;
}

enum session_event startup_scan(struct session *s)
{
	struct wire_startup packet;
	struct cursor in = cursor_of(stream_data(s->client), stream_len(s->client));
	enum session_event event;
	size_t used;

	if (stream_len(s->client) == 0)
		return EV_COUNT;
	stream_set_window(s->client, WIRE_STARTUP_MAX_BYTES + 4096);
	switch (wire_read_startup(&in, &packet, session_err(s))) {
	case WIRE_AGAIN:
		return EV_COUNT;
	case WIRE_FAIL:
		return EV_C_VIOLATION;
	case WIRE_DONE:
		break;
	}
	used = (size_t)(in.at - stream_data(s->client));
	switch (packet.kind) {
	case WIRE_SSL_REQUEST:
	case WIRE_GSSENC_REQUEST:
		/* Bytes sent along with the request would be read as if they had come encrypted (CVE-2021-3935). */
		if (stream_len(s->client) > used) {
			stream_queue(s->client, "N", 1);        /* the answer that is read first, as PostgreSQL's */
			return refuse(s, "08P01", "received data after an encryption request", "");
		}
		if (packet.kind == WIRE_SSL_REQUEST ? s->asked_ssl : s->asked_gssenc)
			return EV_C_TERMINATE;          /* asked twice */
		s->asked_ssl |= packet.kind == WIRE_SSL_REQUEST;
		s->asked_gssenc |= packet.kind == WIRE_GSSENC_REQUEST;
		stream_consume(s->client, used);
		stream_send(s->client, "N", 1);
		return EV_COUNT;
	case WIRE_CANCEL_REQUEST:
		cancel_begin(s, packet.cancel_pid, packet.cancel_key, packet.cancel_key_len);
		return EV_C_CANCEL;
	case WIRE_STARTUP:
		break;
	}
	event = take_startup(s, &packet);
	stream_consume(s->client, used);
	stream_set_window(s->client, 0);
	return event;
}

void act_forward_cancel(struct session *s)
{
	session_bury(s);
}

/* ---- login ---- */

static enum auth_method method_of(const struct conf *conf)
{
	switch ((enum conf_auth_type)conf->opt.auth_type) {
	case CONF_AUTH_TRUST:
		return AUTH_TRUST;
	case CONF_AUTH_PLAIN:
		return AUTH_PLAIN;
	case CONF_AUTH_MD5:
		return AUTH_MD5;
	default:
		return AUTH_SCRAM;
	}
}

static void login_stepped(struct session *s, enum auth_step step)
{
	if (step == AUTH_OK) {
		/* The names are looked at only now: before, nobody learns which exist. */
		session_step(s, login_admit(s) ? EV_L_OK : EV_L_FAILED);
	} else if (step == AUTH_FAILED) {
		counter_add(&s->env->stats->clients_refused, 1);
		session_step(s, EV_L_FAILED);
	} else {
		stream_flush(s->client);
	}
}

void act_begin_login(struct session *s)
{
	const struct auth_secret *secret = s->env->users ? auth_users_find(s->env->users, s->user) : NULL;
	enum auth_step step = AUTH_CONTINUE;

	s->login = auth_server_new(method_of(s->conf), s->user, secret, stream_queued(s->client), &step);
	if (step == AUTH_FAILED)
		err_set(session_err(s), "28P01", "password authentication failed for user \"%s\"", s->user);
	login_stepped(s, step);
}

enum session_event password_scan(struct session *s)
{
	struct wire_msg m = { 0 };
	enum wire_rc rc;

	stream_set_window(s->client, 128 * 1024);
	rc = wire_peek(stream_data(s->client), stream_len(s->client), WIRE_FROM_CLIENT, 65536, &m, session_err(s));
	if (rc == WIRE_FAIL)
		return EV_C_VIOLATION;
	if (rc == WIRE_AGAIN || m.have < m.total)
		return EV_COUNT;
	if (m.type == 'X')
		return EV_C_TERMINATE;
	if (m.type != 'p') {
		err_set(session_err(s), "08P01", "expected a password, got message '%c'", m.type);
		return EV_C_VIOLATION;
	}
	return EV_C_PASSWORD;
}

void act_step_login(struct session *s)
{
	struct wire_msg m = { 0 };
	enum auth_step step;

	wire_peek(stream_data(s->client), stream_len(s->client), WIRE_FROM_CLIENT, 65536, &m, session_err(s));
	step = auth_server_step(s->login, m.body, m.body_len, stream_queued(s->client), session_err(s));
	mem_wipe(stream_data(s->client), m.total);
	stream_consume(s->client, m.total);
	if (step == AUTH_OK)
		stream_set_window(s->client, 0);
	login_stepped(s, step);
}

static bool refuse_login(struct session *s, const char *sqlstate, const char *text, const char *hint)
{
	counter_add(&s->env->stats->clients_refused, 1);
	err_set(session_err(s), sqlstate, "%s", text);
	return err_hint(session_err(s), "%s", hint), false;
}

/* The password is right: may this user have this database? Fills in what the session needs from now on. */
bool login_admit(struct session *s)
{
	const struct conf_database *db;
	struct auth_secret learned = { .kind = AUTH_NONE };
	char host[64];
	int port;

	if (s->is_console) {
		bool is_admin = conf_name_listed(s->conf->opt.admin_users, s->user);
		s->role = is_admin ? CONSOLE_ADMIN : CONSOLE_STATS;
		if (is_admin || conf_name_listed(s->conf->opt.stats_users, s->user))
			return true;
		return refuse_login(s, "42501", "not allowed on the console", "List the user in admin_users or stats_users.");
	}
	db = conf_database_find(s->conf, s->database);
	if (!db) {
		err_set(session_err(s), "3D000", "no such database: %s", s->database);
		err_hint(session_err(s), "Name it in [databases], or add an entry * for all others.");
		counter_add(&s->env->stats->clients_refused, 1);
		return false;
	}
	s->set = pool_set_get(s->env->pools, s->database, db, s->user,
	                      s->env->users ? auth_users_find(s->env->users, db->user ? db->user : s->user) : NULL);
	s->epoch = pools_epoch(s->env->pools);
	if (auth_server_learned(s->login, &learned)) {
		if (!db->user)
			pool_set_learn(s->set, &learned);
		auth_secret_clear(&learned);
	}
	session_refresh_conf(s);
	counter_add(&pool_set_stats(s->set)->client_login_count, 1);
	if (s->conf->opt.log_connections) {
		stream_peer(s->client, host, sizeof(host), &port);
		log_info("C-%llu: %s/%s@%s:%d login attempt: db=%s user=%s tls=no", (unsigned long long)s->id, s->database, s->user, host,
		         port, s->database, s->user);
	}
	return true;
}
