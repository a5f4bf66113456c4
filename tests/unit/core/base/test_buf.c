#include "test.h"

TEST(buf, grows_and_keeps_what_is_in_it)
{
	struct buf buf = { 0 };

	for (unsigned i = 0; i < 100000; i++)
		buf_add_u32(&buf, i);
	CHECK_INT(buf.len, 400000);
	CHECK(buf.cap >= buf.len);
	for (unsigned i = 0; i < 100000; i += 997) {
		struct cursor c = cursor_of(buf.data + 4 * i, 4);
		CHECK_INT(cursor_u32(&c), i);
	}
	buf_free(&buf);
	CHECK(!buf.data && !buf.len && !buf.cap);
}

TEST(buf, numbers_are_in_network_order)
{
	static const uint8_t want[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	struct buf buf = { 0 };

	buf_add_u8(&buf, 1);
	buf_add_u16(&buf, 0x0203);
	buf_add_u32(&buf, 0x04050607);
	buf_add_u64(&buf, 0x08090a0b0c0d0e0full);
	CHECK_INT(buf.len, sizeof(want));
	CHECK(memcmp(buf.data, want, sizeof(want)) == 0);
	buf_free(&buf);
}

TEST(buf, strings_and_formats)
{
	struct buf buf = { 0 };
	char long_text[500];

	CHECK_STR(buf_cstr(&buf), "");
	CHECK_INT(buf.len, 0);
	buf_add_str(&buf, "ab");
	buf_printf(&buf, "%d-%s", 42, "x");
	CHECK_STR(buf_cstr(&buf), "ab42-x");
	buf_add_cstr(&buf, "end");
	CHECK_INT(buf.len, 10);
	memset(long_text, 'y', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	buf.len = 0;
	buf_printf(&buf, "%s", long_text);
	CHECK_STR(buf_cstr(&buf), long_text);
	buf_add(&buf, NULL, 0);
	CHECK_INT(buf.len, 499);
	buf_free(&buf);
}

TEST(buf, consume_moves_the_rest_to_the_front)
{
	struct buf buf = { 0 };

	buf_consume(&buf, 0);
	buf_add_str(&buf, "abcdef");
	buf_consume(&buf, 0);
	CHECK_STR(buf_cstr(&buf), "abcdef");
	buf_consume(&buf, 2);
	CHECK_STR(buf_cstr(&buf), "cdef");
	buf_consume(&buf, 4);
	CHECK_INT(buf.len, 0);
	buf_free(&buf);
}

/* ---- cursor ---- */

TEST(cursor, reads_in_order)
{
	static const char bytes[] = "\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f" "name\0xy";
	struct cursor c = cursor_of(bytes, sizeof(bytes) - 1);
	size_t len = 0;

	CHECK_INT(cursor_u8(&c), 1);
	CHECK_INT(cursor_u16(&c), 0x0203);
	CHECK_INT(cursor_u32(&c), 0x04050607);
	CHECK(cursor_u64(&c) == 0x08090a0b0c0d0e0full);
	CHECK_STR(cursor_cstr(&c, &len), "name");
	CHECK_INT(len, 4);
	CHECK_INT(cursor_left(&c), 2);
	CHECK(memcmp(cursor_bytes(&c, 2), "xy", 2) == 0);
	CHECK(!c.short_read);
}

TEST(cursor, high_bytes_are_not_negative)
{
	struct cursor c = cursor_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 14);

	CHECK_INT(cursor_u16(&c), 0xffff);
	CHECK_INT(cursor_u32(&c), 0xffffffffu);
	CHECK(cursor_u64(&c) == UINT64_MAX);
}

TEST(cursor, remembers_a_short_read)
{
	struct cursor c = cursor_of("\1\2\3", 3);

	CHECK_INT(cursor_u32(&c), 0);
	CHECK(c.short_read);
	CHECK_INT(cursor_u8(&c), 0);            /* although a byte is there */
	CHECK(!cursor_bytes(&c, 0));
	CHECK(!cursor_cstr(&c, NULL));
	c = cursor_of("abc", 3);
	CHECK(!cursor_cstr(&c, NULL));
	CHECK(c.short_read);
	c = cursor_of("abc", 3);
	CHECK(!cursor_bytes(&c, SIZE_MAX));
	c = cursor_of("", 0);
	CHECK(cursor_bytes(&c, 0));
	CHECK(!c.short_read);
	c = cursor_of(NULL, 0);
	CHECK(cursor_bytes(&c, 0));
	CHECK(!cursor_cstr(&c, NULL));
	c = cursor_of("\0\0\0\1\0\0", 6);
	CHECK_INT(cursor_u64(&c), 1ull << 32);  /* the caller looks at short_read, not at the number */
	CHECK(c.short_read);
}

/* ---- errors ---- */

TEST(err, set_returns_false_and_cuts)
{
	struct err err = { 0 };
	char text[1000];

	CHECK(!err_is_set(&err));
	CHECK(!err_set(&err, "08P01", "n %d", 1));
	CHECK(!err_hint(&err, "do %s", "it"));
	CHECK(err_is_set(&err));
	CHECK_STR(err.sqlstate, "08P01");
	CHECK_STR(err.text, "n 1");
	CHECK_STR(err.hint, "do it");
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	err_set(&err, "57P03", "%s", text);
	CHECK_INT(strlen(err.text), sizeof(err.text) - 1);
	CHECK_STR(err.hint, "");
	err_clear(&err);
	CHECK(!err_is_set(&err));
	CHECK(!err_set(NULL, "08P01", "x"));
	CHECK(!err_hint(NULL, "x"));
}
