/* The line of timelines we follow, and which of the nodes that take writes stands at its end (design.md section 8). */
#include <stdlib.h>

#include "private.h"

/* ---- a history file: "1<tab>0/3000148<tab>reason" a line, oldest first ---- */

static bool parse_row(const char *row, size_t len, struct topo_switch *out)
{
	char text[64];
	char *tab, *end;
	unsigned long timeline;

	len = MIN(len, sizeof(text) - 1);
	memcpy(text, row, len);
	text[len] = '\0';
	timeline = strtoul(text, &tab, 10);
	if (tab == text || timeline == 0 || timeline > UINT32_MAX || strspn(tab, "\t ") == 0)
		return false;
	tab += strspn(tab, "\t ");
	end = tab + strcspn(tab, "\t \r");
	*end = '\0';
	out->timeline = (uint32_t)timeline;
	out->least_lsn = 0;
	return lsn_parse(tab, &out->lsn);
}

static bool history_add(struct history *history, const struct topo_switch *row)
{
	if (row->timeline >= history->timeline || (history->count && row->timeline <= history->switches[history->count - 1].timeline))
		return false;
	if (history->count == HISTORY_MAX)
		memmove(&history->switches[0], &history->switches[1], --history->count * sizeof(history->switches[0]));
	history->switches[history->count++] = *row;
	return true;
}

bool history_parse(const char *text, size_t len, uint32_t timeline, struct history *out)
{
	out->timeline = timeline;
	out->count = 0;
	for (size_t at = 0; at < len;) {
		const char *newline = memchr(text + at, '\n', len - at);
		size_t row_len = newline ? (size_t)(newline - (text + at)) : len - at;
		size_t blank = 0;
		struct topo_switch row;

		while (blank < row_len && (text[at + blank] == ' ' || text[at + blank] == '\t' || text[at + blank] == '\r'))
			blank++;
		if (blank < row_len && text[at + blank] != '#' &&
			(!parse_row(text + at + blank, row_len - blank, &row) || !history_add(out, &row)))
			return false;
		at += row_len + 1;
	}
	return out->count > 0;
}

static const struct topo_switch *history_find(const struct history *history, uint32_t timeline)
{
	for (size_t i = 0; i < history->count; i++) {
		if (history->switches[i].timeline == timeline)
			return &history->switches[i];
	}
	return NULL;
}

/* ---- who may write ---- */

static bool is_same_switch(const struct topo_switch *ours, const struct topo_switch *theirs)
{
	lsn_t least = ours->least_lsn ? ours->least_lsn : ours->lsn;

	return theirs && theirs->lsn >= least && theirs->lsn <= ours->lsn;
}

/* Their history contains ours, with the same start. What is older than all they remember can't be compared. */
static bool history_contains(const struct history *theirs, const struct history *ours)
{
	if (!history_find(theirs, ours->timeline))
		return false;
	for (size_t i = 0; i < ours->count; i++) {
		const struct topo_switch *mine = &ours->switches[i];

		if (mine->timeline >= theirs->switches[0].timeline && !is_same_switch(mine, history_find(theirs, mine->timeline)))
			return false;
	}
	return true;
}

/* Where nobody may read histories, a node we knew as a standby of our line is believed if it went on from where it was. */
static bool is_believable(const struct writer *writer)
{
	return writer->history_refused && writer->was_ours_before && writer->insert_lsn >= writer->last_replay_lsn;
}

enum standing line_judge(const struct line *line, const struct writer *writer)
{
	if (writer->system_id != line->system_id)
		return FOREIGN;
	if (line->history.timeline == 0)
		return MAY_WRITE;
	if (writer->timeline < line->history.timeline)
		return DEPOSED;
	if (writer->timeline == line->history.timeline)
		return writer->is_known_primary || !writer->has_known_primary ? MAY_WRITE : FOREIGN;
	if (writer->was_ours)
		return MAY_WRITE;
	if (writer->history->timeline == writer->timeline)
		return history_contains(writer->history, &line->history) ? MAY_WRITE : FOREIGN;
	if (is_believable(writer))
		return MAY_WRITE;
	return writer->history_refused ? FOREIGN : ASK_HISTORY;
}

/* ---- the line goes on ---- */

/* Until the history has come: it was left somewhere between what the new primary had replayed as a standby and where it writes now. */
static void add_inexact_switch(struct history *history, uint32_t new_timeline, const struct writer *writer)
{
	struct topo_switch left = { history->timeline, writer->insert_lsn, writer->last_replay_lsn };

	if (left.least_lsn == 0 || left.least_lsn > left.lsn)
		left.least_lsn = 1;
	history->timeline = new_timeline;
	history_add(history, &left);
}

void line_follow(struct line *line, const struct writer *writer)
{
	if (line->history.timeline == writer->timeline)
		return;
	if (writer->history->timeline == writer->timeline) {
		line_learn(line, writer->history);
		return;
	}
	line->history_known = writer->timeline == 1;
	if (line->history.timeline == 0)
		line->history.timeline = writer->timeline;
	else
		add_inexact_switch(&line->history, writer->timeline, writer);
}

void line_learn(struct line *line, const struct history *history)
{
	line->history = *history;
	line->history_known = true;
}
