/* ryw - reads what it has just written, through the DSN given; built by read_your_writes.sh.
 *
 *   ryw loop DSN simple|extended PRIMARY_PORT CONNECTIONS ROUNDS   INSERT a row, SELECT it, so many times: rounds, stale, on standbys
 *   ryw back DSN simple|extended PRIMARY_PORT TIMES     INSERT a row, then SELECT it in a closed loop until a standby answers: prints
 *                                                       milliseconds from the INSERT's answer to the first read on a standby, each time
 * Every read says by inet_server_port() who answered. Exit 1 on any error. */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct client {
	pthread_t thread;
	PGconn *conn;
	bool is_extended;
	long first_id, rounds, stale, on_standby;
	const char *primary_port;
};

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static PGresult *run(struct client *c, const char *format, long id)
{
	char text[256], value[32];
	const char *values[1] = { value };
	PGresult *result;

	snprintf(value, sizeof(value), "%ld", id);
	snprintf(text, sizeof(text), format, c->is_extended ? "$1" : value);
	result = c->is_extended ? PQexecParams(c->conn, text, 1, NULL, values, NULL, NULL, 0) : PQexec(c->conn, text);
	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
		fprintf(stderr, "%s: %s", text, PQerrorMessage(c->conn));
		exit(1);
	}
	return result;
}

static void write_row(struct client *c, long id)
{
	PQclear(run(c, "INSERT INTO ryw(id) VALUES (%s)", id));
}

/* Who answered, and whether the row was there. */
static bool read_row(struct client *c, long id, bool *on_standby)
{
	PGresult *result = run(c, "SELECT inet_server_port(), count(*) FROM ryw WHERE id = %s", id);
	bool found = strcmp(PQgetvalue(result, 0, 1), "1") == 0;

	*on_standby = strcmp(PQgetvalue(result, 0, 0), c->primary_port) != 0;
	PQclear(result);
	return found;
}

static void *loop(void *arg)
{
	struct client *c = arg;

	for (long i = 0; i < c->rounds; i++) {
		bool on_standby;

		write_row(c, c->first_id + i);
		c->stale += !read_row(c, c->first_id + i, &on_standby);
		c->on_standby += on_standby;
	}
	return NULL;
}

static void connect_client(struct client *c, const char *dsn, const char *mode)
{
	c->conn = PQconnectdb(dsn);
	if (PQstatus(c->conn) != CONNECTION_OK) {
		fprintf(stderr, "%s", PQerrorMessage(c->conn));
		exit(1);
	}
	c->is_extended = strcmp(mode, "extended") == 0;
}

static void run_loop(const char *dsn, const char *mode, const char *primary_port, long connections, long rounds)
{
	struct client *clients = calloc((size_t)connections, sizeof(*clients)), all = { .rounds = 0 };
	long base = (long)getpid() * 1000000;

	for (long i = 0; i < connections; i++) {
		clients[i].first_id = base + i * rounds;
		clients[i].rounds = rounds / connections;
		clients[i].primary_port = primary_port;
		connect_client(&clients[i], dsn, mode);
	}
	for (long i = 0; i < connections; i++)
		pthread_create(&clients[i].thread, NULL, loop, &clients[i]);
	for (long i = 0; i < connections; i++) {
		pthread_join(clients[i].thread, NULL);
		PQfinish(clients[i].conn);
		all.rounds += clients[i].rounds;
		all.stale += clients[i].stale;
		all.on_standby += clients[i].on_standby;
	}
	printf("%ld %ld %ld\n", all.rounds, all.stale, all.on_standby);
	free(clients);
}

static void run_back(const char *dsn, const char *mode, const char *primary_port, long times)
{
	struct client c = { .primary_port = primary_port };
	long base = (long)getpid() * 1000000;

	connect_client(&c, dsn, mode);
	for (long i = 0; i < times; i++) {
		bool on_standby = false;
		double written, stop;

		write_row(&c, base + i);
		written = now_ms();
		stop = written + 10000;
		while (!on_standby && now_ms() < stop) {
			if (!read_row(&c, base + i, &on_standby)) {
				fprintf(stderr, "a stale read\n");
				exit(1);
			}
			usleep(1000);
		}
		printf("%.0f\n", on_standby ? now_ms() - written : -1.0);
		usleep(137000);
	}
	PQfinish(c.conn);
}

int main(int argc, char **argv)
{
	if (argc == 7 && strcmp(argv[1], "loop") == 0) {
		run_loop(argv[2], argv[3], argv[4], atol(argv[5]), atol(argv[6]));
		return 0;
	}
	if (argc == 6 && strcmp(argv[1], "back") == 0) {
		run_back(argv[2], argv[3], argv[4], atol(argv[5]));
		return 0;
	}
	fprintf(stderr, "usage: see the top of ryw.c\n");
	return 2;
}
