/* monitor-watch - runs the monitor against a live cluster and prints every snapshot that differs from the one before.
 *
 * usage: monitor-watch CONFIG [SECONDS] [all|want]
 *   all    every snapshot, not only those whose roles, states or timelines differ
 *   want   as sessions that wait would: asks for samples all the time
 * SIGHUP reads CONFIG again. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pgshunt/monitor.h"

struct watcher {
	struct loop *loop;
	struct monitor *monitor;
	const char *path;
	struct timer *end;
	struct signal_watch *reload;
	bool all, want;
	const struct topo *before;
	uint64_t snapshots;
};

static bool is_same(const struct topo *a, const struct topo *b)
{
	if (!a || a->node_count != b->node_count || a->primary != b->primary || a->timeline != b->timeline ||
		a->switch_count != b->switch_count)
		return false;
	for (size_t i = 0; i < a->switch_count; i++) {
		if (memcmp(&a->switches[i], &b->switches[i], sizeof(a->switches[i])) != 0)
			return false;
	}
	for (size_t i = 0; i < a->node_count; i++) {
		const struct topo_node *x = &a->nodes[i], *y = &b->nodes[i];
		if (x->role != y->role || x->state != y->state || x->timeline != y->timeline || x->incarnation != y->incarnation ||
			x->receiver_streaming != y->receiver_streaming)
			return false;
	}
	return true;
}

static void print_node(const struct topo *topo, const struct topo_node *n)
{
	char replay[32];

	lsn_print(n->replay_lsn, replay, sizeof(replay));
	printf("  %c %-6s %-8s %-8s tl=%u replay=%s lag=%lldB/%lldms behind<=%lldms age=%lldms %s%s\n",
		topo->primary == n - topo->nodes ? '*' : ' ', n->name, topo_role_name(n->role), topo_state_name(n->state), n->timeline, replay,
		(long long)n->lag_bytes, (long long)(n->lag_us < 0 ? -1 : n->lag_us / 1000),
		(long long)(n->caught_up_us ? (topo->published_us - n->caught_up_us) / 1000 : -1),
		(long long)(n->sample_begun_us ? (topo->published_us - n->sample_begun_us) / 1000 : -1),
		n->receiver_streaming ? "streaming " : "", n->reason);
}

static void print_topo(const struct topo *topo)
{
	time_t now = (time_t)(time_wall_us() / USEC_PER_SEC);
	char clock[32], lsn[32];
	struct tm tm;

	strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&now, &tm));
	wal_pos_print(topo->primary_sample, lsn, sizeof(lsn));
	printf("%s.%03d v%llu timeline=%u primary_sample=%s", clock, (int)(time_wall_us() / 1000 % 1000),
		(unsigned long long)topo->version, topo->timeline, lsn);
	for (size_t i = 0; i < topo->switch_count; i++) {
		lsn_print(topo->switches[i].lsn, lsn, sizeof(lsn));
		printf(" %u->%s%s", topo->switches[i].timeline, lsn, topo->switches[i].least_lsn ? "?" : "");
	}
	printf("\n");
	for (size_t i = 0; i < topo->node_count; i++)
		print_node(topo, &topo->nodes[i]);
	fflush(stdout);
}

static void on_topo(void *owner, const struct topo *topo)
{
	struct watcher *w = owner;

	w->snapshots++;
	if (w->all || !is_same(w->before, topo))
		print_topo(topo);
	topo_unref(&w->before);
	w->before = topo_ref(topo);
	if (w->want && w->monitor)
		monitor_want(w->monitor);
}

static void on_end(void *owner)
{
	struct watcher *w = owner;

	loop_stop(w->loop);
}

static struct conf *load(const char *path)
{
	struct conf_report report = { 0 };
	struct conf *conf = conf_load(path, &report);

	for (size_t i = 0; i < report.count; i++) {
		if (report.findings[i].severity == CONF_ERROR)
			fprintf(stderr, "%s:%u: %s\n", report.findings[i].file, report.findings[i].line, report.findings[i].text);
	}
	conf_report_free(&report);
	return conf;
}

static void on_reload(void *owner, int signo)
{
	struct watcher *w = owner;
	struct conf *conf = load(w->path);

	(void)signo;
	if (conf)
		monitor_reconfigure(w->monitor, conf);
	conf_unref(&conf);
}

int main(int argc, char **argv)
{
	struct watcher w = { .all = argc > 3 && strcmp(argv[3], "all") == 0, .want = argc > 3 && strcmp(argv[3], "want") == 0 };
	struct stats_monitor stats = { 0 };
	struct conf *conf = argc > 1 ? load(argv[1]) : NULL;
	double seconds = argc > 2 ? atof(argv[2]) : 10;

	if (!conf) {
		fprintf(stderr, "usage: monitor-watch CONFIG [SECONDS] [all|want]\n");
		return 1;
	}
	hash_key_init();
	w.loop = loop_new();
	w.path = argv[1];
	w.reload = signal_watch_new(w.loop, SIGHUP, on_reload, &w);
	w.end = timer_new(w.loop, on_end, &w);
	timer_set(w.end, (usec_t)(seconds * (double)USEC_PER_SEC));
	w.monitor = monitor_new(w.loop, conf, &stats, on_topo, &w);
	loop_run(w.loop);
	printf("%llu samples (%llu asked for), %llu failed, %llu snapshots, %llu promotions\n", (unsigned long long)counter_read(&stats.samples),
		(unsigned long long)counter_read(&stats.samples_asked), (unsigned long long)counter_read(&stats.sample_failures),
		(unsigned long long)counter_read(&stats.snapshots), (unsigned long long)counter_read(&stats.promotions));
	monitor_free(&w.monitor);
	timer_free(&w.end);
	signal_watch_free(&w.reload);
	topo_unref(&w.before);
	conf_unref(&conf);
	loop_free(&w.loop);
	return 0;
}
