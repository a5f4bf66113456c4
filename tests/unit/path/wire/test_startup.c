#include "test.h"

#include "pgshunt/wire.h"

static struct buf packet;

static enum wire_rc read_packet(struct wire_startup *out, struct err *err)
{
	struct cursor c = cursor_of(packet.data, packet.len);
	enum wire_rc rc = wire_read_startup(&c, out, err);

	CHECK((rc == WIRE_DONE) == (cursor_left(&c) == 0));
	return rc;
}

/* A packet of version and the given bytes, with its length in front. */
static void make_packet(uint32_t code, const char *body, size_t len)
{
	packet.len = 0;
	buf_add_u32(&packet, (uint32_t)(8 + len));
	buf_add_u32(&packet, code);
	buf_add(&packet, body, len);
}
#define PACKET(code, text) make_packet(code, text, sizeof(text) - 1)

static void check_fails(const char *sqlstate, const char *text)
{
	struct wire_startup s;
	struct err err = { 0 };

	CHECK_INT(read_packet(&s, &err), WIRE_FAIL);
	CHECK_STR(err.sqlstate, sqlstate);
	if (!strstr(err.text, text))
		CHECK_STR(err.text, text);
}

TEST(startup, reads_user_database_and_parameters)
{
	struct wire_startup s;

	PACKET(WIRE_PROTOCOL_3_0, "user\0alice\0database\0shop\0options\0-c a=b\0application_name\0psql\0\0");
	CHECK_INT(read_packet(&s, NULL), WIRE_DONE);
	CHECK_INT(s.kind, WIRE_STARTUP);
	CHECK_STR(s.user, "alice");
	CHECK_STR(s.database, "shop");
	CHECK_INT(s.param_count, 2);
	CHECK_STR(s.params[0].name, "options");
	CHECK_STR(s.params[1].value, "psql");
	CHECK(!s.replication);
}

TEST(startup, database_defaults_to_user)
{
	struct wire_startup s;

	PACKET(WIRE_PROTOCOL_3_0, "user\0alice\0\0");
	CHECK_INT(read_packet(&s, NULL), WIRE_DONE);
	CHECK_STR(s.database, "alice");
	PACKET(WIRE_PROTOCOL_3_0, "database\0\0user\0alice\0\0");
	CHECK_INT(read_packet(&s, NULL), WIRE_DONE);
	CHECK_STR(s.database, "alice");
}

TEST(startup, waits_for_every_byte)
{
	struct wire_startup s;

	PACKET(WIRE_PROTOCOL_3_0, "user\0alice\0\0");
	for (size_t len = 0; len < packet.len; len++) {
		struct cursor c = cursor_of(packet.data, len);
		CHECK_INT(wire_read_startup(&c, &s, NULL), WIRE_AGAIN);
		CHECK_INT(cursor_left(&c), len);
	}
}

TEST(startup, takes_one_packet_and_leaves_the_rest)
{
	struct wire_startup s;
	struct cursor c;

	PACKET(WIRE_PROTOCOL_3_0, "user\0alice\0\0");
	buf_add_str(&packet, "more");
	c = cursor_of(packet.data, packet.len);
	CHECK_INT(wire_read_startup(&c, &s, NULL), WIRE_DONE);
	CHECK_INT(cursor_left(&c), 4);
}

TEST(startup, lengths_out_of_range_fail_at_once)
{
	static const uint32_t lengths[] = { 0, 3, 4, 7, 10001, 0x7fffffff, 0xffffffff };
	struct wire_startup s;

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		struct err err = { 0 };
		struct cursor c;
		packet.len = 0;
		buf_add_u32(&packet, lengths[i]);
		c = cursor_of(packet.data, packet.len);
		CHECK_INT(wire_read_startup(&c, &s, &err), WIRE_FAIL);
		CHECK_STR(err.sqlstate, "08P01");
	}
}

TEST(startup, nine_kilobytes_are_fine_and_10000_bytes_the_end)
{
	struct wire_startup s;
	char body[10000] = "user\0alice\0options";
	size_t fill = 18;

	memset(body + fill + 1, 'x', 9000);
	make_packet(WIRE_PROTOCOL_3_0, body, fill + 1 + 9000 + 2);
	CHECK_INT(read_packet(&s, NULL), WIRE_DONE);
	CHECK_INT(strlen(s.params[0].value), 9000);
	memset(body + fill + 1, 'x', sizeof(body) - fill - 1);
	memset(body + 9990, 0, 2);
	make_packet(WIRE_PROTOCOL_3_0, body, 9992);
	CHECK_INT(read_packet(&s, NULL), WIRE_DONE);
	make_packet(WIRE_PROTOCOL_3_0, body, 9993);
	check_fails("08P01", "length");
}

TEST(startup, malformed_layouts_fail)
{
	PACKET(WIRE_PROTOCOL_3_0, "user\0alice\0");
	check_fails("08P01", "terminator");
	PACKET(WIRE_PROTOCOL_3_0, "user\0alice");
	check_fails("08P01", "terminator");
	PACKET(WIRE_PROTOCOL_3_0, "user\0");
	check_fails("08P01", "terminator");
	PACKET(WIRE_PROTOCOL_3_0, "");
	check_fails("08P01", "terminator");
	PACKET(WIRE_PROTOCOL_3_0, "user\0alice\0\0x");
	check_fails("08P01", "after the terminator");
	PACKET(WIRE_PROTOCOL_3_0, "user\0alice\0user\0mallory\0\0");
	check_fails("08P01", "\"user\" twice");
	PACKET(WIRE_PROTOCOL_3_0, "user\0alice\0_pq_.a\0" "1\0_pq_.a\0" "2\0\0");
	check_fails("08P01", "twice");
}

TEST(startup, nobody_and_too_long_names_fail)
{
	char body[400] = "user\0bob\0database";

	PACKET(WIRE_PROTOCOL_3_0, "\0");
	check_fails("28000", "no PostgreSQL user name");
	PACKET(WIRE_PROTOCOL_3_0, "user\0\0database\0x\0\0");
	check_fails("28000", "no PostgreSQL user name");
	memset(body + 18, 'd', 200);
	make_packet(WIRE_PROTOCOL_3_0, body, 18 + 200 + 2);
	check_fails("3D000", "200 bytes");
}

TEST(startup, protocol_versions)
{
	struct wire_startup s;

	PACKET(0x00020000, "user\0alice\0\0");
	check_fails("08P01", "unsupported frontend protocol 2.0");
	PACKET(0x00040000, "user\0alice\0\0");
	check_fails("08P01", "protocol 4.0");
	PACKET(0x0003270f, "user\0alice\0_pq_.test_protocol_negotiation\0\0\0");
	CHECK_INT(read_packet(&s, NULL), WIRE_DONE);
	CHECK_INT(s.version, 0x0003270f);
	CHECK_INT(s.pq_option_count, 1);
	CHECK_STR(s.pq_options[0], "_pq_.test_protocol_negotiation");
	CHECK_INT(s.param_count, 0);
}

TEST(startup, too_many_parameters_fail)
{
	struct buf body = { 0 };

	buf_add(&body, "user\0alice", 11);
	for (int i = 0; i <= WIRE_STARTUP_PARAMS_MAX; i++) {
		buf_printf(&body, "p%d", i);
		buf_add(&body, "\0v", 3);
	}
	buf_add_u8(&body, 0);
	make_packet(WIRE_PROTOCOL_3_0, (char *)body.data, body.len);
	buf_free(&body);
	check_fails("08P01", "more than 64 parameters");
}

TEST(startup, encryption_requests)
{
	struct wire_startup s;

	PACKET(WIRE_SSL_CODE, "");
	CHECK_INT(read_packet(&s, NULL), WIRE_DONE);
	CHECK_INT(s.kind, WIRE_SSL_REQUEST);
	PACKET(WIRE_GSSENC_CODE, "");
	CHECK_INT(read_packet(&s, NULL), WIRE_DONE);
	CHECK_INT(s.kind, WIRE_GSSENC_REQUEST);
	PACKET(WIRE_SSL_CODE, "x");
	check_fails("08P01", "encryption request");
}

TEST(startup, cancel_keys_of_4_to_256_bytes)
{
	struct wire_startup s;
	char body[4 + 300] = { 0, 0, 1, 2 };

	memset(body + 4, 'k', 300);
	for (size_t len = 0; len <= 300; len++) {
		struct err err = { 0 };
		make_packet(WIRE_CANCEL_CODE, body, 4 + len);
		CHECK_INT(read_packet(&s, &err), len >= 4 && len <= 256 ? WIRE_DONE : WIRE_FAIL);
		if (len < 4 || len > 256)
			continue;
		CHECK_INT(s.kind, WIRE_CANCEL_REQUEST);
		CHECK_INT(s.cancel_pid, 0x0102);
		CHECK_INT(s.cancel_key_len, len);
		CHECK(memcmp(s.cancel_key, body + 4, len) == 0);
	}
	make_packet(WIRE_CANCEL_CODE, body, 2);
	check_fails("08P01", "cancel");
}

TEST(startup, replication)
{
	static const struct { const char *value; enum wire_rc rc; bool is, is_logical; } rows[] = {
		{ "true", WIRE_DONE, true, false }, { "database", WIRE_DONE, true, true }, { "ON", WIRE_DONE, true, false },
		{ "0", WIRE_DONE, false, false }, { "of", WIRE_DONE, false, false },
		{ "maybe", WIRE_FAIL, false, false }, { "o", WIRE_FAIL, false, false }, { "", WIRE_FAIL, false, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct wire_param params[] = { { "user", "alice" }, { "replication", rows[i].value } };
		struct wire_startup s;
		struct err err = { 0 };

		packet.len = 0;
		wire_put_startup(&packet, WIRE_PROTOCOL_3_0, params, 2);
		CHECK_INT(read_packet(&s, &err), rows[i].rc);
		if (rows[i].rc == WIRE_FAIL)
			CHECK_STR(err.sqlstate, "22023");
		else
			CHECK(s.replication == rows[i].is && s.replication_logical == rows[i].is_logical);
	}
}

TEST(startup, what_is_put_is_read)
{
	static const struct wire_param params[] = { { "user", "alice" }, { "DateStyle", "ISO" } };
	static const uint8_t key[32] = "0123456789";
	struct wire_startup s;

	packet.len = 0;
	wire_put_startup(&packet, WIRE_PROTOCOL_3_2, params, 2);
	CHECK_INT(read_packet(&s, NULL), WIRE_DONE);
	CHECK_INT(s.version, WIRE_PROTOCOL_3_2);
	CHECK_STR(s.params[0].name, "DateStyle");
	packet.len = 0;
	wire_put_cancel(&packet, 77, key, sizeof(key));
	CHECK_INT(read_packet(&s, NULL), WIRE_DONE);
	CHECK_INT(s.cancel_pid, 77);
	CHECK_INT(s.cancel_key_len, 32);
	buf_free(&packet);
}
