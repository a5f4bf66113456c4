/* Totals of every database at the ends of the last two periods: what averages are taken from. */
#include "private.h"

void history_init(struct history *history)
{
	list_init(&history->databases);
	history->older_us = history->newer_us = time_mono_us();
}

void history_free(struct history *history)
{
	LIST_EACH_SAFE(pos, &history->databases) {
		struct history_row *row = LIST_ITEM(pos, struct history_row, link);

		list_remove(&row->link);
		mem_free(row->database);
		mem_free(row);
	}
}

static struct history_row *row_of(struct history *history, const char *database)
{
	struct history_row *row;

	LIST_EACH(pos, &history->databases) {
		row = LIST_ITEM(pos, struct history_row, link);
		if (strcmp(row->database, database) == 0)
			return row;
	}
	row = mem_alloc(sizeof(*row));
	row->database = mem_strdup(database);
	list_push(&history->databases, &row->link);
	return row;
}

static void copy_stats(struct stats_pool *to, const struct stats_pool *from)
{
	*to = (struct stats_pool){ 0 };
	stats_sum(to, from, stats_pool_rows);
}

static void roll(struct history *history, usec_t now_us)
{
	LIST_EACH(pos, &history->databases) {
		struct history_row *row = LIST_ITEM(pos, struct history_row, link);

		copy_stats(&row->older, &row->newer);
		copy_stats(&row->newer, &row->now);
	}
	history->older_us = history->newer_us;
	history->newer_us = now_us;
}

/* A name that nobody uses any more must not stay for ever: any client may invent some where * is configured. */
static void forget_gone(struct history *history)
{
	LIST_EACH_SAFE(pos, &history->databases) {
		struct history_row *row = LIST_ITEM(pos, struct history_row, link);

		if (row->is_seen)
			continue;
		list_remove(&row->link);
		mem_free(row->database);
		mem_free(row);
	}
}

void history_take(struct history *history, const struct gather *gather, usec_t period_us)
{
	usec_t now_us = time_mono_us();

	LIST_EACH(pos, &history->databases) {
		struct history_row *row = LIST_ITEM(pos, struct history_row, link);
		row->now = (struct stats_pool){ 0 };
		row->is_seen = false;
	}
	/* Sorted by database: the rows of one stand together. */
	for (size_t i = 0, same; i < gather->pool_count; i = same) {
		struct history_row *row = row_of(history, gather->pools[i]->database);

		for (same = i; same < gather->pool_count && strcmp(gather->pools[same]->database, row->database) == 0; same++)
			stats_sum(&row->now, &gather->pools[same]->stats, stats_pool_rows);
		row->is_seen = true;
	}
	forget_gone(history);
	/* The rounds that bring the totals take their time: a period counts as passed a little early. */
	if (now_us - history->newer_us >= period_us - period_us / 10)
		roll(history, now_us);
	history->taken_us = now_us;
}
