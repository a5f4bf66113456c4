/* docgen - prints one of the pages that are written from tables in the sources: `docgen docs/configuration.md`. See `make docs`. */
#include <stdio.h>
#include <string.h>

#include "pgshunt/base.h"
#include "pgshunt/conf.h"
#include "pgshunt/stats.h"

struct state {
	const char *name, *text;
};

struct edge {
	const char *state, *event, *guard, *action, *next;
};

#define STATE(name, text) { #name, text },
static const struct state session_states[] = {
#include "../src/path/session/session_fsm.def"
	{ NULL, NULL }
};

#define ROW(state, event, guard, action, next) { #state, #event, #guard, #action, #next },
#define ROW_ANY(event, guard, action, next) { "(any)", #event, #guard, #action, #next },
static const struct edge session_edges[] = {
#include "../src/path/session/session_fsm.def"
	{ NULL, NULL, NULL, NULL, NULL }
};

static void write_session_states(struct buf *out)
{
	buf_add_str(out, "# The states of a session\n\n"
		"Written by `make docs` from `src/path/session/session_fsm.def`, the specification.\n\n"
		"| state | in SHOW CLIENTS |\n| --- | --- |\n");
	for (const struct state *s = session_states; s->name; s++)
		buf_printf(out, "| %s | %s |\n", s->name, s->text);
	buf_add_str(out, "\nThe first row whose guard holds is taken; a pair of state and event without a row is a protocol violation\n"
		"(events of the client) or a bug (all others). Events: C_ from the client, S_ from a server, P_ from pool and route,\n"
		"L_ log-in, T_ timers, K_ console or another client.\n\n"
		"| state | event | guard | action | next |\n| --- | --- | --- | --- | --- |\n");
	for (const struct edge *e = session_edges; e->state; e++)
		buf_printf(out, "| %s | %s | %s | %s | %s |\n", e->state, e->event, e->guard, e->action, e->next);
	buf_add_str(out, "\n```mermaid\nstateDiagram-v2\n");
	for (const struct edge *e = session_edges; e->state; e++)
		if (strcmp(e->state, e->next) != 0 && e->state[0] != '(')
			buf_printf(out, "    %s --> %s: %s\n", e->state, e->next, e->event);
	buf_add_str(out, "```\n");
}

static void write_counters(struct buf *out, const char *title, const struct stats_row *rows)
{
	buf_printf(out, "## %s\n\n| counter | unit | what it counts |\n| --- | --- | --- |\n", title);
	for (; rows->name; rows++)
		buf_printf(out, "| %s | %s | %s |\n", rows->name, rows->unit, rows->text);
	buf_add_str(out, "\n");
}

static void write_metrics(struct buf *out)
{
	buf_add_str(out, "# Counters\n\nWritten by `make docs` from the tables `include/pgshunt/counters_*.def`.\n\n");
	write_counters(out, "Per database and user", stats_pool_rows);
	write_counters(out, "Per worker", stats_worker_rows);
	write_counters(out, "Per node", stats_node_rows);
	write_counters(out, "Monitor", stats_monitor_rows);
}

static const struct page {
	const char *name;
	void (*write)(struct buf *out);
} pages[] = {
	{ "docs/configuration.md", conf_write_reference },
	{ "conf/pgshunt.full.ini", conf_write_sample },
	{ "docs/session-states.md", write_session_states },
	{ "docs/metrics.md", write_metrics },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < ARRAY_LEN(pages); i++) {
		struct buf out = { NULL, 0, 0 };

		if (strcmp(argv[1], pages[i].name) != 0)
			continue;
		pages[i].write(&out);
		fwrite(out.data, 1, out.len, stdout);
		buf_free(&out);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	fprintf(stderr, "usage: docgen PAGE, one of:\n");
	for (size_t i = 0; i < ARRAY_LEN(pages); i++)
		fprintf(stderr, "  %s\n", pages[i].name);
	return 2;
}
