#include "test.h"

#include "pgshunt/topo.h"

static const char *printed(struct wal_pos pos)
{
	static char text[64];

	wal_pos_print(pos, text, sizeof(text));
	return text;
}

TEST(lsn, parses_and_prints)
{
	static const struct { const char *text; lsn_t lsn; } good[] = {
		{ "0/0", 0 }, { "0/3000148", 0x3000148 }, { "16/B374D848", 0x16B374D848ULL }, { "FFFFFFFF/FFFFFFFF", UINT64_MAX },
		{ "a/b", 0xA0000000BULL }, { "00000001/00000000", 0x100000000ULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		lsn_t lsn = 1;
		CHECK(lsn_parse(good[i].text, &lsn));
		CHECK(lsn == good[i].lsn);
	}
}

TEST(lsn, refuses_what_is_no_position)
{
	static const char *const bad[] = {
		"", "/", "0", "0/", "/0", "0/0/0", "0/123456789", "123456789/0", " 0/1", "0/1 ", "0/-1", "+0/1", "0x0/1", "0/g", "0//1", "\xff/1",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		lsn_t lsn = 77;
		CHECK(!lsn_parse(bad[i], &lsn));
		CHECK_INT(lsn, 77);
	}
}

TEST(lsn, token_round_trip)
{
	struct wal_pos pos;

	CHECK(wal_pos_parse("1/0/3000148", &pos));
	CHECK_INT(pos.timeline, 1);
	CHECK_INT(pos.lsn, 0x3000148);
	CHECK_STR(printed(pos), "1/0/3000148");
	CHECK(wal_pos_parse("4294967295/16/B374D848", &pos));
	CHECK_STR(printed(pos), "4294967295/16/B374D848");
}

TEST(lsn, refuses_what_is_no_token)
{
	static const char *const bad[] = {
		"", "1", "1/", "1/0", "1/0/", "0/0/1", "1/0/0", "-1/0/1", " 1/0/1", "4294967296/0/1", "99999999999999999999999/0/1", "1/0/1/1",
		"a/0/1", "1/0/1\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct wal_pos pos = { 9, 9 };
		CHECK(!wal_pos_parse(bad[i], &pos));
		CHECK(pos.timeline == 9 && pos.lsn == 9);
	}
}

TEST(lsn, just_behind_a_header_is_the_boundary)
{
	static const struct { lsn_t lsn, rounded; } rows[] = {
		{ 0x3000000, 0x3000000 },               /* a boundary */
		{ 0x3000000 + 40, 0x3000000 },          /* behind the long header of a segment */
		{ 0x3000000 + 24, 0x3000000 },          /* inside it: nobody is there */
		{ 0x3000000 + 48, 0x3000000 + 48 },     /* a record stands there */
		{ 0x3002000 + 24, 0x3002000 },          /* behind the short header of a page */
		{ 0x3002000 + 40, 0x3002000 + 40 },     /* 16 bytes of a record that goes on here */
		{ 0x3002000 + 32, 0x3002000 + 32 }, { 0x3001FF8, 0x3001FF8 }, { 0x3000148, 0x3000148 }, { 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_INT(lsn_round_to_page(rows[i].lsn), rows[i].rounded);
}

TEST(lsn, other_segment_sizes)
{
	CHECK_INT(lsn_round_to_page_of(0x3100000 + 40, 8192, 1 << 20), 0x3100000);
	CHECK_INT(lsn_round_to_page_of(0x3000000 + 40, 8192, 64 << 20), 0x3000000 + 40);
	CHECK_INT(lsn_round_to_page_of(0x4000000 + 40, 8192, 64 << 20), 0x4000000);
	CHECK_INT(lsn_round_to_page_of(0x3002000 + 24, 16384, 16 << 20), 0x3002000 + 24);
	CHECK_INT(lsn_round_to_page_of(0x3002000 + 24, 0, 16 << 20), 0x3002000 + 24);
	CHECK_INT(lsn_round_to_page_of(0x3002000 + 24, 8192, 3), 0x3002000 + 24);
}
