/* The line of timelines we follow, and what on it a position or a node stands for (design.md section 7).
 *
 * The line is 1 up to its switch point, then the next one of the primary's history up to its own, and so on to the current timeline.
 * Positions of the line rise over the switches, so that a place on it is one number. */
#include "pgshunt/topo.h"

/* The last timeline of our line, left behind, that isn't newer than this one. */
static const struct topo_switch *switch_up_to(const struct topo *topo, uint32_t timeline)
{
	const struct topo_switch *found = NULL;

	for (size_t i = 0; i < topo->switch_count && topo->switches[i].timeline <= timeline; i++)
		found = &topo->switches[i];
	return found;
}

bool topo_line_lsn(const struct topo *topo, struct wal_pos pos, lsn_t *out)
{
	const struct topo_switch *left;

	if (topo->timeline == 0 || pos.timeline == 0 || pos.timeline > topo->timeline)
		return false;
	if (pos.timeline == topo->timeline) {
		*out = pos.lsn;
		return true;
	}
	/* A timeline that isn't of our line has in common with it at most what stood before the last switch older than itself:
	 * timelines are numbered upwards from their ancestors. */
	left = switch_up_to(topo, pos.timeline);
	if (!left)
		return false;
	*out = MIN(pos.lsn, left->lsn);
	return true;
}

bool topo_is_on_line(const struct topo *topo, const struct topo_node *node)
{
	const struct topo_switch *left;

	if (topo->timeline == 0 || node->timeline == 0 || node->timeline > topo->timeline)
		return false;
	if (node->timeline == topo->timeline)
		return true;
	left = switch_up_to(topo, node->timeline);
	if (!left || left->timeline != node->timeline)
		return false;
	return node->replay_lsn <= (left->least_lsn ? left->least_lsn : left->lsn);
}

bool topo_covers(const struct topo *topo, const struct topo_node *node, struct wal_pos pos)
{
	lsn_t lsn;

	if (!topo_is_on_line(topo, node) || node->replay_lsn == 0)
		return false;
	return pos.lsn == 0 || (topo_line_lsn(topo, pos, &lsn) && node->replay_lsn >= lsn);
}

bool topo_is_fresh(const struct topo *topo, const struct topo_node *node, usec_t now_us)
{
	return node->sample_begun_us != 0 && now_us - node->sample_begun_us <= topo->fresh_within_us;
}
