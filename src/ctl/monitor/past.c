/* Where the primary was when, by our own clock: an idle primary never looks like lag (design.md section 7).
 *
 * Entries rise in position and time. They are spaced, and the older half is thinned out when there is no more room: what is dropped makes
 * a standby look caught up at an earlier moment than it was, never at a later one. */
#include "private.h"

#define SPACING_US (10 * USEC_PER_MS)

static void past_thin(struct past *past)
{
	size_t half = PAST_MAX / 2, to = 0;

	for (size_t from = 0; from < half; from += 2)
		past->entries[to++] = past->entries[from];
	memmove(&past->entries[to], &past->entries[half], (past->count - half) * sizeof(past->entries[0]));
	past->count -= half - to;
}

void past_cut(struct past *past, lsn_t lsn)
{
	while (past->count && past->entries[past->count - 1].lsn > lsn)
		past->count--;
}

void past_add(struct past *past, lsn_t lsn, usec_t begun_us)
{
	struct past_entry *last;

	past_cut(past, lsn);    /* a crash took back what wasn't flushed */
	last = past->count ? &past->entries[past->count - 1] : NULL;
	if (last && last->lsn == lsn) {
		last->last_us = MAX(last->last_us, begun_us);
		return;
	}
	/* The newest is always there; it makes room for the next one until that stands far enough from the one before. */
	if (past->count >= 2 && begun_us - past->entries[past->count - 2].first_us < SPACING_US)
		past->count--;
	if (past->count == PAST_MAX)
		past_thin(past);
	past->entries[past->count++] = (struct past_entry){ lsn, begun_us, begun_us };
}

/* How many entries the position has reached. */
static size_t past_reached(const struct past *past, lsn_t lsn)
{
	size_t low = 0, high = past->count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (past->entries[mid].lsn <= lsn)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

usec_t past_caught_up(const struct past *past, lsn_t replay_lsn)
{
	size_t reached = past_reached(past, replay_lsn);

	return reached ? past->entries[reached - 1].last_us : 0;
}

usec_t past_lag(const struct past *past, lsn_t replay_lsn, usec_t at_us)
{
	size_t reached = past_reached(past, replay_lsn);

	if (reached == 0)
		return -1;              /* it is behind all we remember */
	if (reached == past->count)
		return 0;
	return MAX(0, at_us - past->entries[reached].first_us);
}
