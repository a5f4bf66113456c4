/* Positions in the write-ahead log as text and numbers. Source: PostgreSQL manual 8.20 (pg_lsn), xlog_internal.h (page headers). */
#include "pgshunt/topo.h"

#include <stdio.h>

#define PAGE_BYTES 8192
#define SEGMENT_BYTES (16ULL * 1024 * 1024)
#define SHORT_HEADER_BYTES 24   /* of every page ... */
#define LONG_HEADER_BYTES 40    /* ... but the first of a segment */

/* At most eight hexadecimal digits, at least one; advances *text behind them. */
static bool parse_hex(const char **text, uint32_t *out)
{
	static const char digits[] = "0123456789abcdef";
	uint32_t value = 0;
	int count = 0;

	for (; **text && count <= 8; (*text)++, count++) {
		char c = (**text >= 'A' && **text <= 'F') ? (char)(**text + ('a' - 'A')) : **text;
		const char *digit = strchr(digits, c);

		if (!digit)
			break;
		value = value << 4 | (uint32_t)(digit - digits);
	}
	*out = value;
	return count >= 1 && count <= 8;
}

bool lsn_parse(const char *text, lsn_t *out)
{
	uint32_t high, low;

	if (!parse_hex(&text, &high) || *text++ != '/' || !parse_hex(&text, &low) || *text)
		return false;
	*out = (lsn_t)high << 32 | low;
	return true;
}

void lsn_print(lsn_t lsn, char *out, size_t len)
{
	snprintf(out, len, "%X/%X", (unsigned)(lsn >> 32), (unsigned)(uint32_t)lsn);
}

bool wal_pos_parse(const char *text, struct wal_pos *out)
{
	uint64_t timeline = 0;
	struct wal_pos pos;

	for (; *text >= '0' && *text <= '9' && timeline <= UINT32_MAX; text++)
		timeline = timeline * 10 + (uint64_t)(*text - '0');
	if (timeline == 0 || timeline > UINT32_MAX || *text != '/' || !lsn_parse(text + 1, &pos.lsn) || pos.lsn == 0)
		return false;
	pos.timeline = (uint32_t)timeline;
	*out = pos;
	return true;
}

void wal_pos_print(struct wal_pos pos, char *out, size_t len)
{
	snprintf(out, len, "%u/%X/%X", pos.timeline, (unsigned)(pos.lsn >> 32), (unsigned)(uint32_t)pos.lsn);
}

static bool is_power_of_two(uint64_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

lsn_t lsn_round_to_page_of(lsn_t lsn, uint32_t page_bytes, uint64_t segment_bytes)
{
	if (!is_power_of_two(page_bytes) || !is_power_of_two(segment_bytes))
		return lsn;
	if ((lsn & (segment_bytes - 1)) == LONG_HEADER_BYTES)
		return lsn - LONG_HEADER_BYTES;
	/* On the first page of a segment 24 bytes are inside the header: nobody's position. */
	if ((lsn & (page_bytes - 1)) == SHORT_HEADER_BYTES)
		return lsn - SHORT_HEADER_BYTES;
	return lsn;
}

lsn_t lsn_round_to_page(lsn_t lsn)
{
	return lsn_round_to_page_of(lsn, PAGE_BYTES, SEGMENT_BYTES);
}
