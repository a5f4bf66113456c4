/* What a session's next read must see: a moment until a sample of the primary begun after it tells the position. */
#include "pgshunt/topo.h"

void need_add_time(struct need *need, usec_t now_us)
{
	need->after_us = MAX(need->after_us, now_us);
}

/* Where one of the two has no place on our line, its timeline is either newer than ours, or so old that anything on ours is later:
 * timelines are numbered upwards. */
static bool is_later(struct wal_pos a, struct wal_pos b, const struct topo *topo)
{
	lsn_t a_lsn, b_lsn;

	if (topo && topo_line_lsn(topo, a, &a_lsn) && topo_line_lsn(topo, b, &b_lsn))
		return a_lsn > b_lsn;
	return a.timeline != b.timeline ? a.timeline > b.timeline : a.lsn > b.lsn;
}

void need_add_pos(struct need *need, struct wal_pos pos, const struct topo *topo)
{
	if (pos.lsn != 0 && (need->pos.lsn == 0 || is_later(pos, need->pos, topo)))
		need->pos = pos;
}

/* A lost commit can't be waited for: what remains of it is the point where its timeline was left. */
static void need_clamp(struct need *need, const struct topo *topo)
{
	lsn_t lsn;

	if (need->pos.lsn != 0 && topo_line_lsn(topo, need->pos, &lsn))
		need->pos.lsn = lsn;
}

bool need_resolve(struct need *need, const struct topo *topo)
{
	/* Strictly later: a sample begun in the same microsecond may have read the position before the commit. */
	if (need->after_us != 0 && topo->primary_sample.lsn != 0 && topo->primary_sample_begun_us > need->after_us) {
		need_add_pos(need, topo->primary_sample, topo);
		need->after_us = 0;
	}
	need_clamp(need, topo);
	return need->after_us == 0;
}
