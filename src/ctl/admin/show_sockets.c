/* SHOW CLIENTS, SERVERS, SOCKETS: one row a connection, written on the worker's thread. KILL_CLIENT's ids are made here too. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "private.h"

#define NAME_BYTES 32

struct socket_row {
	const char *type, *user, *database, *replication, *addr, *local_addr, *tls, *application_name;
	char state[NAME_BYTES];
	int64_t port, local_port, wait_s, wait_us, close_needed, remote_pid, prepared_statements, id;
	usec_t connect_us, request_us;
	const void *ptr, *link;
	int64_t recv_pos, pkt_pos, pkt_remain, send_pos, send_remain, pkt_avail, send_avail;
	const char *node, *pinned_by, *consistency, *need_lsn, *last_reason;
};

#define SOCKET(name, format, field) COLUMN(socket_row, name, format, field)
#define COMMON_COLUMNS \
	SOCKET("type", TEXT, type), SOCKET("user", TEXT, user), SOCKET("database", TEXT, database), \
	SOCKET("replication", TEXT, replication), SOCKET("state", CHARS, state), SOCKET("addr", TEXT, addr), SOCKET("port", INT, port), \
	SOCKET("local_addr", TEXT, local_addr), SOCKET("local_port", INT, local_port), SOCKET("connect_time", TIME, connect_us), \
	SOCKET("request_time", TIME, request_us), SOCKET("wait", INT, wait_s), SOCKET("wait_us", INT, wait_us), \
	SOCKET("close_needed", INT, close_needed), SOCKET("ptr", POINTER, ptr), SOCKET("link", POINTER, link), \
	SOCKET("remote_pid", INT, remote_pid), SOCKET("tls", TEXT, tls), SOCKET("application_name", TEXT, application_name), \
	SOCKET("prepared_statements", INT, prepared_statements), SOCKET("id", INT, id)

static const struct column client_columns[] = {
	COMMON_COLUMNS,
	SOCKET("node", TEXT, node), SOCKET("pinned_by", TEXT, pinned_by), SOCKET("consistency", TEXT, consistency),
	SOCKET("need_lsn", TEXT, need_lsn), SOCKET("last_reason", TEXT, last_reason),
};
static const struct column server_columns[] = {
	COMMON_COLUMNS,
	SOCKET("node", TEXT, node),
};
static const struct column socket_columns[] = {
	COMMON_COLUMNS,
	SOCKET("recv_pos", INT, recv_pos), SOCKET("pkt_pos", INT, pkt_pos), SOCKET("pkt_remain", INT, pkt_remain),
	SOCKET("send_pos", INT, send_pos), SOCKET("send_remain", INT, send_remain), SOCKET("pkt_avail", INT, pkt_avail),
	SOCKET("send_avail", INT, send_avail),
	SOCKET("node", TEXT, node),
};

/* One worker's turn. */
struct turn {
	struct job *job;
	const struct topo *topo;
	size_t worker;
	bool is_sockets;
	struct map borrowers;           /* server -> struct borrower, copies */
	struct pool_set *set;
	usec_t now_mono_us, now_wall_us;
};
struct borrower {
	const void *session;
	char *application_name;
};

/* id is int4 in PgBouncer's view: ours are cut to it. Two clients meet after 16 million on one worker: KILL_CLIENT then refuses. */
int64_t socket_shown_id(uint64_t id)
{
	return (int64_t)(id & INT32_MAX);
}

/* A server's id is its worker's own: ours are the process's, as those of clients. */
static int64_t server_id(const struct turn *turn, const struct server *server)
{
	return socket_shown_id(server->id << 7 | turn->worker);
}

static const char *node_name(const struct turn *turn, int node)
{
	return turn->topo && node >= 0 && (size_t)node < turn->topo->node_count ? turn->topo->nodes[node].name : "";
}

/* ---- clients ---- */

static void put_client(void *owner, const struct session_view *view)
{
	struct turn *turn = owner;
	bool is_login = strcmp(view->state, "login") == 0;
	struct socket_row row = {
		.type = "C", .user = *view->user ? view->user : "(nouser)", .database = *view->database ? view->database : "(nodb)",
		.replication = "none", .addr = view->addr, .port = view->port, .local_addr = view->local_addr, .local_port = view->local_port,
		.connect_us = view->connected_us, .request_us = view->request_us ? view->request_us : view->connected_us,
		.wait_s = view->wait_us / USEC_PER_SEC, .wait_us = view->wait_us % USEC_PER_SEC, .ptr = view->ptr, .link = view->link,
		.remote_pid = (int32_t)view->remote_pid, .tls = "", .application_name = view->application_name,
		.prepared_statements = (int64_t)view->prepared_statements, .id = socket_shown_id(view->id),
		.node = node_name(turn, view->node), .pinned_by = view->pinned_by, .consistency = view->consistency,
		.need_lsn = view->need_lsn, .last_reason = view->last_reason,
	};

	if (strcmp(view->state, "closed") == 0 || (is_login && !turn->is_sockets))      /* PgBouncer lists no logins */
		return;
	if (view->is_console)
		row.database = CONSOLE_NAME;
	snprintf(row.state, sizeof(row.state), "%s%s", turn->is_sockets ? "cl_" : "", view->state);
	job_put(turn->job, &row);
}

static void visit_clients(void *letter, struct admin_worker *worker)
{
	struct turn turn = { .job = letter, .topo = worker->sessions->topo, .worker = worker->number };

	sessions_each(worker->sessions, put_client, &turn);
}

/* ---- servers ---- */

static struct hash128 key_of(const void *server)
{
	return (struct hash128){ (uintptr_t)server, 0 };
}

static void note_borrower(void *owner, const struct session_view *view)
{
	struct turn *turn = owner;
	struct borrower *borrower;

	if (!view->link || map_get(&turn->borrowers, key_of(view->link)))
		return;
	borrower = mem_alloc(sizeof(*borrower));
	*borrower = (struct borrower){ view->ptr, mem_strdup(view->application_name) };
	map_put(&turn->borrowers, key_of(view->link), borrower);
}

static void forget_borrowers(struct turn *turn)
{
	struct borrower *borrower;

	for (size_t it = 0; (borrower = map_next(&turn->borrowers, &it));) {
		mem_free(borrower->application_name);
		mem_free(borrower);
	}
	map_free(&turn->borrowers);
}

/* In PgBouncer's words, plain and as in SHOW SOCKETS. */
static const char *state_of(const struct server *server, bool is_sockets)
{
	static const struct { const char *plain, *of_sockets; } names[] = {
		[SERVER_CONNECTING] = { "new", "sv_login" }, [SERVER_LOGIN] = { "new", "sv_login" }, [SERVER_IDLE] = { "idle", "sv_idle" },
		[SERVER_LENT] = { "active", "sv_active" }, [SERVER_RESETTING] = { "tested", "sv_tested" },
		[SERVER_CLOSED] = { "closed", "sv_closed" },
	};

	if (server->state == SERVER_LENT && server->cancels)
		return is_sockets ? "sv_being_canceled" : "being_canceled";
	return is_sockets ? names[server->state].of_sockets : names[server->state].plain;
}

static void print_address(const struct server *server, char *host, size_t len, int64_t *port)
{
	char service[NI_MAXSERV];

	*port = 0;
	if (server->addr_len == 0 || server->addr.ss_family == AF_UNIX) {
		snprintf(host, len, "%s", server->addr_len ? "unix" : "");
		return;
	}
	if (getnameinfo((const struct sockaddr *)&server->addr, server->addr_len, host, (socklen_t)len, service, sizeof(service),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		snprintf(host, len, "?");
		return;
	}
	*port = (int64_t)strtoul(service, NULL, 10);
}

/* The wall clock's time of a moment of the monotonic one; 0 stays 0. */
static usec_t wall_of(const struct turn *turn, usec_t mono_us)
{
	return mono_us ? turn->now_wall_us - (turn->now_mono_us - mono_us) : 0;
}

static void put_server(void *owner, const struct server *server)
{
	struct turn *turn = owner;
	const struct borrower *borrower = map_get(&turn->borrowers, key_of(server));
	usec_t request_us = MAX(server->lent_us, server->request_us);
	char addr[NI_MAXHOST], local[64] = "";
	int local_port = 0;
	struct socket_row row = {
		.type = "S", .user = pool_set_user(turn->set), .database = pool_set_database(turn->set), .replication = "none", .addr = addr,
		.local_addr = local, .connect_us = wall_of(turn, server->opened_us),
		.request_us = wall_of(turn, request_us ? request_us : server->opened_us), .close_needed = server->must_close, .ptr = server,
		.link = borrower ? borrower->session : NULL, .remote_pid = (int32_t)server->backend_pid, .tls = "",
		.application_name = borrower ? borrower->application_name : "", .prepared_statements = (int64_t)server->prepared.used,
		.id = server_id(turn, server), .node = node_name(turn, server->node),
	};

	if (server->state == SERVER_CLOSED)
		return;
	print_address(server, addr, sizeof(addr), &row.port);
	if (server->stream) {
		stream_local(server->stream, local, sizeof(local), &local_port);
		row.pkt_avail = (int64_t)stream_len(server->stream);
		row.send_avail = (int64_t)stream_unsent(server->stream);
	}
	row.local_port = local_port;
	snprintf(row.state, sizeof(row.state), "%s", state_of(server, turn->is_sockets));
	job_put(turn->job, &row);
}

static void put_servers_of(void *owner, struct pool_set *set)
{
	struct turn *turn = owner;

	turn->set = set;
	pool_set_each_server(set, put_server, turn);
}

static void put_servers(struct turn *turn, struct admin_worker *worker)
{
	if (!worker->pools)
		return;
	turn->now_mono_us = time_mono_us();
	turn->now_wall_us = time_wall_us();
	sessions_each(worker->sessions, note_borrower, turn);
	pools_each(worker->pools, put_servers_of, turn);
	forget_borrowers(turn);
}

static void visit_servers(void *letter, struct admin_worker *worker)
{
	struct turn turn = { .job = letter, .topo = worker->sessions->topo, .worker = worker->number };

	put_servers(&turn, worker);
}

static void visit_sockets(void *letter, struct admin_worker *worker)
{
	struct turn turn = { .job = letter, .topo = worker->sessions->topo, .worker = worker->number, .is_sockets = true };

	sessions_each(worker->sessions, put_client, &turn);
	put_servers(&turn, worker);
}

/* ---- prepared statements on servers ---- */

struct statement_row {
	char statement[33];
	const char *database, *user, *node;
	int64_t server_id;
};
static const struct column statement_columns[] = {
	COLUMN(statement_row, "statement", CHARS, statement), COLUMN(statement_row, "database", TEXT, database),
	COLUMN(statement_row, "user", TEXT, user), COLUMN(statement_row, "node", TEXT, node),
	COLUMN(statement_row, "server_id", INT, server_id),
};

static void put_statements(void *owner, const struct server *server)
{
	struct turn *turn = owner;
	struct statement_row row = { .database = pool_set_database(turn->set), .user = pool_set_user(turn->set),
		                     .node = node_name(turn, server->node), .server_id = server_id(turn, server) };

	if (server->prepared.used == 0)
		return;
	LIST_EACH(pos, &server->prepared_order) {
		const struct server_statement *statement = LIST_ITEM(pos, struct server_statement, link);

		snprintf(row.statement, sizeof(row.statement), "%016llx%016llx", (unsigned long long)statement->id.hi,
			(unsigned long long)statement->id.lo);
		job_put(turn->job, &row);
	}
}

static void put_statements_of(void *owner, struct pool_set *set)
{
	struct turn *turn = owner;

	turn->set = set;
	pool_set_each_server(set, put_statements, turn);
}

static void visit_statements(void *letter, struct admin_worker *worker)
{
	struct turn turn = { .job = letter, .topo = worker->sessions->topo, .worker = worker->number };

	if (worker->pools)
		pools_each(worker->pools, put_statements_of, &turn);
}

const struct view views_sockets[] = {
	{ "CLIENTS", client_columns, ARRAY_LEN(client_columns), visit_clients, NULL, NULL },
	{ "SERVERS", server_columns, ARRAY_LEN(server_columns), visit_servers, NULL, NULL },
	{ "SOCKETS", socket_columns, ARRAY_LEN(socket_columns), visit_sockets, NULL, NULL },
	{ "PREPARED_STATEMENTS", statement_columns, ARRAY_LEN(statement_columns), visit_statements, NULL, NULL },
	{ NULL, NULL, 0, NULL, NULL, NULL },
};
