/* One asynchronous libpq connection (PostgreSQL manual 34.1 PQconnectPoll, 34.4). */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "private.h"

enum conn_step { STEP_CLOSED, STEP_FAILING, STEP_CONNECTING, STEP_READY, STEP_ASKING };

struct conn {
	struct loop *loop;
	const struct conn_handler *handler;
	void *owner;
	PGconn *pg;
	struct watch *watch;
	struct timer *failing;          /* a failure inside conn_open() or conn_send() is told from here */
	struct conn_failure failure;
	enum conn_step step;
	PGresult *result;               /* the last one of what was sent */
};

/* ---- failures ---- */

void conn_text_sqlstate(const char *text, char sqlstate[6])
{
	sqlstate[0] = '\0';
	for (const char *at = strstr(text, ":  "); at; at = strstr(at + 1, ":  ")) {
		if (strspn(at + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && at[8] == ':') {
			memcpy(sqlstate, at + 3, 5);
			sqlstate[5] = '\0';
			return;
		}
	}
}

/* One line of libpq's text, without what every line says: where it connected to, and the severity. */
static void set_text(struct conn_failure *failure, const char *text)
{
	const char *from = strstr(text, " failed: "), *code;
	int len;

	from = from ? from + strlen(" failed: ") : text;
	code = failure->sqlstate[0] ? strstr(from, failure->sqlstate) : NULL;
	if (code && code[5] == ':' && code[6] == ' ')
		from = code + 7;
	len = (int)strcspn(from, "\n");
	snprintf(failure->text, sizeof(failure->text), "%.*s", len, from);
}

static void failure_of(struct conn *conn, enum conn_loss loss, struct conn_failure *out)
{
	const char *text = conn->pg ? PQerrorMessage(conn->pg) : "out of memory";

	*out = (struct conn_failure){ .loss = loss };
	conn_text_sqlstate(text, out->sqlstate);
	if (out->sqlstate[0])
		out->loss = CONN_REJECTED;
	set_text(out, *text ? text : "connection lost");
}

void conn_result_failure(const PGresult *result, struct conn_failure *out)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE), *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	*out = (struct conn_failure){ .loss = sqlstate ? CONN_REJECTED : CONN_BROKEN };
	snprintf(out->sqlstate, sizeof(out->sqlstate), "%s", sqlstate ? sqlstate : "");
	snprintf(out->text, sizeof(out->text), "%s", text ? text : "unexpected answer");
}

static void conn_lost(struct conn *conn, enum conn_loss loss)
{
	struct conn_failure failure;

	failure_of(conn, loss, &failure);
	conn_close(conn);
	conn->handler->lost(conn->owner, &failure);
}

/* The caller of conn_open() or conn_send() isn't called back before it has returned. */
static void conn_lost_later(struct conn *conn, enum conn_loss loss)
{
	failure_of(conn, loss, &conn->failure);
	watch_free(&conn->watch);
	conn->step = STEP_FAILING;
	timer_set(conn->failing, 0);
}

static void conn_failing(void *owner)
{
	struct conn *conn = owner;
	struct conn_failure failure = conn->failure;

	conn_close(conn);
	conn->handler->lost(conn->owner, &failure);
}

/* ---- connecting ---- */

static void conn_event(void *owner, unsigned events);

static void conn_watch(struct conn *conn, unsigned events)
{
	conn->watch = watch_new(conn->loop, PQsocket(conn->pg), conn_event, conn);
	watch_set(conn->watch, events);
}

static void conn_connect(struct conn *conn)
{
	bool reached = PQstatus(conn->pg) != CONNECTION_STARTED;

	/* libpq may close this socket and open another, even one of the same number. */
	watch_free(&conn->watch);
	switch (PQconnectPoll(conn->pg)) {
	case PGRES_POLLING_READING:
		conn_watch(conn, WATCH_READ);
		return;
	case PGRES_POLLING_WRITING:
		conn_watch(conn, WATCH_WRITE);
		return;
	case PGRES_POLLING_OK:
		conn->step = STEP_READY;
		conn_watch(conn, WATCH_READ);
		conn->handler->ready(conn->owner);
		return;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:
		break;
	}
	conn_lost(conn, reached ? CONN_BROKEN : CONN_REFUSED);
}

static void ignore_notice(void *owner, const PGresult *result)
{
	(void)owner;
	(void)result;
}

static const char *address_text(const struct sockaddr_storage *addr, char *out, socklen_t len)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)addr;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;

	if (addr->ss_family == AF_INET)
		return inet_ntop(AF_INET, &in4->sin_addr, out, len);
	if (addr->ss_family == AF_INET6)
		return inet_ntop(AF_INET6, &in6->sin6_addr, out, len);
	return NULL;            /* a Unix socket: host is its directory */
}

void conn_open(struct conn *conn, const struct conn_target *target)
{
	char hostaddr[INET6_ADDRSTRLEN], port[16];
	const char *user = *target->opt->monitor_user ? target->opt->monitor_user : NULL;
	const char *password = *target->opt->monitor_password ? target->opt->monitor_password : NULL;
	const char *keys[] = { "host", "hostaddr", "port", "user", "password", "dbname", "application_name", "gssencmode", "sslmode",
		"options", "replication", NULL };
	const char *values[] = { target->host, address_text(target->addr, hostaddr, sizeof(hostaddr)), port, user, password,
		target->opt->monitor_dbname, "pgshunt_monitor", "disable", "prefer", "-c search_path=pg_catalog",
		target->replication ? "true" : NULL, NULL };

	ENSURE(conn->step == STEP_CLOSED);
	snprintf(port, sizeof(port), "%d", target->port);
	conn->pg = PQconnectStartParams(keys, values, 0);
	conn->step = STEP_CONNECTING;
	if (!conn->pg || PQstatus(conn->pg) == CONNECTION_BAD) {
		conn_lost_later(conn, CONN_REFUSED);
		return;
	}
	PQsetErrorVerbosity(conn->pg, PQERRORS_VERBOSE);        /* the only way to the SQLSTATE of a refused login */
	PQsetNoticeReceiver(conn->pg, ignore_notice, NULL);
	conn_watch(conn, WATCH_WRITE);
}

/* ---- asking ---- */

static void conn_flush(struct conn *conn)
{
	switch (PQflush(conn->pg)) {
	case 0:
		watch_set(conn->watch, WATCH_READ);
		break;
	case 1:
		watch_set(conn->watch, WATCH_READ | WATCH_WRITE);
		break;
	default:
		break;          /* reading will say why */
	}
}

void conn_send(struct conn *conn, const char *sql)
{
	ENSURE(conn_is_ready(conn));
	conn->step = STEP_ASKING;
	if (PQsetnonblocking(conn->pg, 1) == -1 || !PQsendQuery(conn->pg, sql)) {
		conn_lost_later(conn, CONN_BROKEN);
		return;
	}
	conn_flush(conn);
}

static bool is_error(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK;
}

static void conn_take(struct conn *conn, PGresult *result)
{
	if (conn->result && is_error(conn->result)) {
		PQclear(result);
		return;
	}
	PQclear(conn->result);
	conn->result = result;
}

static void conn_answered(struct conn *conn)
{
	PGresult *result = conn->result;

	conn->result = NULL;
	conn->step = STEP_READY;
	conn->handler->result(conn->owner, result);
	PQclear(result);
}

static void conn_read(struct conn *conn)
{
	if (!PQconsumeInput(conn->pg) || PQstatus(conn->pg) == CONNECTION_BAD) {
		conn_lost(conn, CONN_BROKEN);
		return;
	}
	if (conn->step == STEP_READY) {         /* nothing was asked: a parameter, a notice, or a farewell */
		(void)PQisBusy(conn->pg);
		return;
	}
	while (!PQisBusy(conn->pg)) {
		PGresult *result = PQgetResult(conn->pg);

		if (!result) {
			if (PQstatus(conn->pg) == CONNECTION_BAD)
				conn_lost(conn, CONN_BROKEN);
			else
				conn_answered(conn);
			return;
		}
		conn_take(conn, result);
	}
}

static void conn_event(void *owner, unsigned events)
{
	struct conn *conn = owner;

	if (conn->step == STEP_CONNECTING) {
		conn_connect(conn);
		return;
	}
	if (events & WATCH_WRITE)
		conn_flush(conn);
	if (events & WATCH_READ)
		conn_read(conn);
}

/* ---- the object ---- */

struct conn *conn_new(struct loop *loop, const struct conn_handler *handler, void *owner)
{
	struct conn *conn = mem_alloc(sizeof(*conn));

	conn->loop = loop;
	conn->handler = handler;
	conn->owner = owner;
	conn->failing = timer_new(loop, conn_failing, conn);
	return conn;
}

void conn_close(struct conn *conn)
{
	timer_stop(conn->failing);
	watch_free(&conn->watch);
	PQclear(conn->result);
	conn->result = NULL;
	PQfinish(conn->pg);
	conn->pg = NULL;
	conn->step = STEP_CLOSED;
}

void conn_free(struct conn **conn)
{
	if (!*conn)
		return;
	conn_close(*conn);
	timer_free(&(*conn)->failing);
	mem_free(*conn);
	*conn = NULL;
}

bool conn_is_open(const struct conn *conn)
{
	return conn->step != STEP_CLOSED;
}

bool conn_is_ready(const struct conn *conn)
{
	return conn->step == STEP_READY;
}
