#include "test.h"

#include "pgshunt/wire.h"

static struct buf bytes;

static struct wire_msg peek(enum wire_side side)
{
	struct wire_msg m;
	struct err err = { 0 };

	if (wire_peek(bytes.data, bytes.len, side, WIRE_MESSAGE_MAX, &m, &err) != WIRE_DONE)
		CHECK_STR(err.text, "DONE");
	CHECK_INT(m.total, bytes.len);
	CHECK_INT(m.have, m.total);
	return m;
}

static struct wire_msg message(enum wire_side side, char type, const char *body, size_t len)
{
	bytes.len = 0;
	buf_add_u8(&bytes, (uint8_t)type);
	buf_add_u32(&bytes, (uint32_t)(4 + len));
	buf_add(&bytes, body, len);
	return peek(side);
}
#define CLIENT(type, text) message(WIRE_FROM_CLIENT, type, text, sizeof(text) - 1)
#define SERVER(type, text) message(WIRE_FROM_SERVER, type, text, sizeof(text) - 1)

/* ---- headers ---- */

static enum wire_rc peek_header(enum wire_side side, char type, uint32_t length, struct wire_msg *m, struct err *err)
{
	bytes.len = 0;
	buf_add_u8(&bytes, (uint8_t)type);
	buf_add_u32(&bytes, length);
	return wire_peek(bytes.data, bytes.len, side, WIRE_MESSAGE_MAX, m, err);
}

TEST(peek, needs_five_bytes_and_no_more)
{
	struct wire_msg m;

	message(WIRE_FROM_CLIENT, 'Q', "select 1", 9);
	for (size_t len = 0; len < bytes.len; len++) {
		enum wire_rc rc = wire_peek(bytes.data, len, WIRE_FROM_CLIENT, 100, &m, NULL);
		CHECK_INT(rc, len < WIRE_HEADER_BYTES ? WIRE_AGAIN : WIRE_DONE);
		if (rc != WIRE_DONE)
			continue;
		CHECK_INT(m.type, 'Q');
		CHECK_INT(m.total, 14);
		CHECK_INT(m.body_len, 9);
		CHECK_INT(m.have, len);
	}
}

TEST(peek, bad_lengths_fail_for_every_type)
{
	static const uint32_t lengths[] = { 0, 3, 0x7fffffff, 0xffffffff };
	struct wire_msg m;
	int known = 0;

	for (int side = 0; side < 2; side++)
		for (int type = 0; type < 256; type++)
			for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
				struct err err = { 0 };
				CHECK_INT(peek_header(side, (char)type, lengths[i], &m, &err), WIRE_FAIL);
				CHECK_STR(err.sqlstate, "08P01");
				CHECK(strstr(err.text, side ? "server" : "client"));
				known += wire_type_name(side, (char)type) != NULL;
			}
	CHECK_INT(known, (14 + 24) * 4);
}

TEST(peek, types_of_one_side_are_unknown_on_the_other)
{
	struct wire_msg m;

	for (const char *type = "BPQXFfp"; *type; type++) {
		CHECK_INT(peek_header(WIRE_FROM_CLIENT, *type, 100, &m, NULL), WIRE_DONE);
		CHECK_INT(peek_header(WIRE_FROM_SERVER, *type, 100, &m, NULL), WIRE_FAIL);
	}
	for (const char *type = "ATWvtK"; *type; type++) {
		CHECK_INT(peek_header(WIRE_FROM_CLIENT, *type, 100, &m, NULL), WIRE_FAIL);
		CHECK_INT(peek_header(WIRE_FROM_SERVER, *type, 100, &m, NULL), WIRE_DONE);
	}
	CHECK_STR(wire_type_name(WIRE_FROM_CLIENT, 'D'), "Describe");
	CHECK_STR(wire_type_name(WIRE_FROM_SERVER, 'D'), "DataRow");
}

TEST(peek, bounds_of_a_type_and_of_the_caller)
{
	struct wire_msg m;
	struct err err = { 0 };

	CHECK_INT(peek_header(WIRE_FROM_SERVER, 'Z', 5, &m, NULL), WIRE_DONE);
	CHECK_INT(peek_header(WIRE_FROM_SERVER, 'Z', 4, &m, NULL), WIRE_FAIL);
	CHECK_INT(peek_header(WIRE_FROM_SERVER, 'Z', 6, &m, &err), WIRE_FAIL);
	CHECK(strstr(err.text, "ReadyForQuery"));
	CHECK_INT(peek_header(WIRE_FROM_CLIENT, 'S', 10000, &m, NULL), WIRE_DONE);
	CHECK_INT(peek_header(WIRE_FROM_CLIENT, 'S', 10001, &m, NULL), WIRE_FAIL);
	CHECK_INT(peek_header(WIRE_FROM_CLIENT, 'p', 60 * 1024, &m, NULL), WIRE_DONE);
	CHECK_INT(peek_header(WIRE_FROM_SERVER, 'D', WIRE_MESSAGE_MAX, &m, NULL), WIRE_DONE);
	CHECK_INT(peek_header(WIRE_FROM_CLIENT, 'Q', 101, &m, NULL), WIRE_DONE);
	CHECK_INT(wire_peek(bytes.data, bytes.len, WIRE_FROM_CLIENT, 100, &m, NULL), WIRE_FAIL);
}

/* ---- reading ---- */

TEST(read, query)
{
	struct wire_msg m = CLIENT('Q', "select 1\0");
	struct span sql;

	CHECK(wire_read_query(&m, &sql, NULL));
	CHECK(span_is(sql, "select 1"));
	m = CLIENT('Q', "select 1");
	CHECK(!wire_read_query(&m, &sql, NULL));
	m = CLIENT('Q', "select 1\0; drop\0");
	CHECK(!wire_read_query(&m, &sql, NULL));
}

TEST(read, parse)
{
	struct wire_msg m = CLIENT('P', "s1\0select $1\0\0\2\0\0\0\x17\0\0\0\x19");
	struct wire_parse p;
	struct err err = { 0 };

	CHECK(wire_read_parse(&m, &p, NULL));
	CHECK_STR(p.name, "s1");
	CHECK_STR(p.sql, "select $1");
	CHECK_INT(p.sql_len, 9);
	CHECK_INT(p.type_count, 2);
	CHECK_INT(p.types[7], 0x19);
	m = CLIENT('P', "s1\0select $1\0\0\3\0\0\0\x17\0\0\0\x19");
	CHECK(!wire_read_parse(&m, &p, &err));
	CHECK_STR(err.sqlstate, "08P01");
	m = CLIENT('P', "s1\0select $1\0\0\1\0\0\0\x17\0\0\0\x19");
	CHECK(!wire_read_parse(&m, &p, NULL));
	m = CLIENT('P', "s1\0select $1");
	CHECK(!wire_read_parse(&m, &p, NULL));
}

TEST(read, bind_needs_only_its_names)
{
	struct wire_msg m = CLIENT('B', "p\0stmt\0\0\0\0\1\0\0\0\1x\0\0");
	struct wire_bind b;

	CHECK(wire_read_bind(&m, &b, NULL));
	CHECK_STR(b.portal, "p");
	CHECK_STR(b.statement, "stmt");
	CHECK_INT(b.names_len, 7);
	m.have = WIRE_HEADER_BYTES + 7;
	CHECK(wire_read_bind(&m, &b, NULL));
	m.have--;
	CHECK(!wire_read_bind(&m, &b, NULL));
	m = CLIENT('B', "p\0stmt\0\0\0\0\0\0");
	CHECK(!wire_read_bind(&m, &b, NULL));
	m = CLIENT('B', "pppppppp");
	CHECK(!wire_read_bind(&m, &b, NULL));
}

TEST(read, execute_and_targets)
{
	struct wire_msg m = CLIENT('E', "p\0\0\0\0\7");
	struct wire_execute e;
	struct wire_target t;

	CHECK(wire_read_execute(&m, &e, NULL));
	CHECK_STR(e.portal, "p");
	CHECK_INT(e.max_rows, 7);
	m = CLIENT('E', "p\0\0\0\0\7\0");
	CHECK(!wire_read_execute(&m, &e, NULL));
	m = CLIENT('D', "Sname\0");
	CHECK(wire_read_target(&m, &t, NULL));
	CHECK_INT(t.kind, 'S');
	CHECK_STR(t.name, "name");
	m = CLIENT('C', "P\0");
	CHECK(wire_read_target(&m, &t, NULL));
	m = CLIENT('C', "X\0");
	CHECK(!wire_read_target(&m, &t, NULL));
}

TEST(read, incomplete_messages_are_refused)
{
	struct wire_msg m = CLIENT('Q', "select 1\0\0\0\0");
	struct span sql;

	m.have -= 3;            /* up to a NUL that looks like the end */
	CHECK(!wire_read_query(&m, &sql, NULL));
}

TEST(read, errors)
{
	struct wire_msg m = SERVER('E', "SFEHLER\0VERROR\0C40001\0Mbad\0Dwhy\0Rf\0Xunknown\0\0");
	struct wire_error e;

	CHECK(wire_read_error(&m, &e, NULL));
	CHECK_STR(e.severity, "ERROR");
	CHECK_STR(e.sqlstate, "40001");
	CHECK_STR(e.message, "bad");
	CHECK_STR(e.detail, "why");
	CHECK_STR(e.hint, "");
	CHECK_STR(e.routine, "f");
	m = SERVER('E', "SFATAL\0C57P01\0\0");
	CHECK(wire_read_error(&m, &e, NULL));
	CHECK_STR(e.severity, "FATAL");
	m = SERVER('E', "SFATAL\0C57P01\0");
	CHECK(!wire_read_error(&m, &e, NULL));
	m = SERVER('E', "SFATAL");
	CHECK(!wire_read_error(&m, &e, NULL));
	m = SERVER('E', "SFATAL\0\0C57P01\0\0");
	CHECK(!wire_read_error(&m, &e, NULL));
}

TEST(read, long_error_fields_are_cut)
{
	struct buf body = { 0 };
	struct wire_error e;
	struct wire_msg m;

	for (const char *field = "SVCMDHR"; *field; field++) {
		buf_add_u8(&body, (uint8_t)*field);
		for (int i = 0; i < 1000; i++)
			buf_add_u8(&body, 'x');
		buf_add_u8(&body, 0);
	}
	buf_add_u8(&body, 0);
	m = message(WIRE_FROM_SERVER, 'E', (char *)body.data, body.len);
	buf_free(&body);
	CHECK(wire_read_error(&m, &e, NULL));
	CHECK_INT(strlen(e.severity), 15);
	CHECK_INT(strlen(e.sqlstate), 5);
	CHECK_INT(strlen(e.message), 511);
	CHECK_INT(strlen(e.routine), 63);
}

TEST(read, status_key_auth)
{
	const char *name, *value;
	const uint8_t *data;
	uint32_t number;
	size_t len;
	struct wire_msg m = SERVER('S', "TimeZone\0UTC\0");

	CHECK(wire_read_parameter_status(&m, &name, &value, NULL));
	CHECK_STR(name, "TimeZone");
	CHECK_STR(value, "UTC");
	m = SERVER('S', "TimeZone\0UTC");
	CHECK(!wire_read_parameter_status(&m, &name, &value, NULL));
	m = SERVER('K', "\0\0\0\x2a" "0123456789abcdef");
	CHECK(wire_read_backend_key(&m, &number, &data, &len, NULL));
	CHECK_INT(number, 42);
	CHECK_INT(len, 16);
	CHECK_INT(data[15], 'f');
	m = message(WIRE_FROM_SERVER, 'K', (char[300]){ 0 }, 4 + 257);
	CHECK(!wire_read_backend_key(&m, &number, &data, &len, NULL));
	m = SERVER('R', "\0\0\0\5salt");
	CHECK(wire_read_auth(&m, &number, &data, &len, NULL));
	CHECK_INT(number, 5);
	CHECK_INT(len, 4);
}

/* ---- building ---- */

TEST(write, errors_have_prefix_hint_and_valid_text)
{
	struct err err;
	struct wire_error e;
	struct wire_msg m;

	bytes.len = 0;
	err_set(&err, "57P03", "no \xc3\xa9 \xff\xc3< \xed\xa0\x80 \xf0\x9f\x98\x80 \xe2\x82");
	err_hint(&err, "wait");
	wire_put_error(&bytes, "ERROR", &err);
	m = peek(WIRE_FROM_SERVER);
	CHECK_INT(m.type, 'E');
	CHECK(wire_read_error(&m, &e, NULL));
	CHECK_STR(e.severity, "ERROR");
	CHECK_STR(e.sqlstate, "57P03");
	CHECK_STR(e.message, "pgshunt: no \xc3\xa9 ?\?< ??? \xf0\x9f\x98\x80 ??");
	CHECK_STR(e.hint, "wait");
	bytes.len = 0;
	wire_put_notice_plain(&bytes, "WARNING", "25P01", "there is no transaction in progress");
	m = peek(WIRE_FROM_SERVER);
	CHECK_INT(m.type, 'N');
	CHECK(wire_read_error(&m, &e, NULL));
	CHECK_STR(e.message, "there is no transaction in progress");
}

TEST(write, what_is_put_is_read)
{
	struct wire_parse p;
	struct wire_target t;
	struct wire_msg m;
	struct span sql;

	bytes.len = 0;
	wire_put_query(&bytes, "select 1");
	m = peek(WIRE_FROM_CLIENT);
	CHECK(wire_read_query(&m, &sql, NULL) && span_is(sql, "select 1"));
	bytes.len = 0;
	wire_put_parse(&bytes, "s", (struct span){ "select $1xyz", 9 }, 1, (const uint8_t *)"\0\0\0\x17");
	m = peek(WIRE_FROM_CLIENT);
	CHECK(wire_read_parse(&m, &p, NULL));
	CHECK_STR(p.sql, "select $1");
	bytes.len = 0;
	wire_put_target(&bytes, 'C', 'S', "s");
	m = peek(WIRE_FROM_CLIENT);
	CHECK(wire_read_target(&m, &t, NULL));
	CHECK_STR(t.name, "s");
}

static void check_bytes(const char *want, size_t len)
{
	CHECK_INT(bytes.len, len);
	CHECK(memcmp(bytes.data, want, len) == 0);
	bytes.len = 0;
}
#define BYTES(text) check_bytes(text, sizeof(text) - 1)

TEST(write, bytes_as_the_manual_has_them)
{
	static const char *const options[] = { "_pq_.x" };
	static const char *const mechanisms[] = { "SCRAM-SHA-256", NULL };
	static const struct wire_column columns[] = { { "n", 23 }, { "t", 25 } };
	size_t mark;

	bytes.len = 0;
	wire_put_empty(&bytes, 'S');
	BYTES("S\0\0\0\4");
	wire_put_ready(&bytes, 'T');
	BYTES("Z\0\0\0\5T");
	wire_put_command_complete(&bytes, "SELECT 1");
	BYTES("C\0\0\0\15SELECT 1\0");
	wire_put_negotiate(&bytes, 2, options, 1);
	BYTES("v\0\0\0\x13\0\3\0\2\0\0\0\1_pq_.x\0");
	wire_put_negotiate(&bytes, WIRE_PROTOCOL_3_0, NULL, 0);
	BYTES("v\0\0\0\x0c\0\3\0\0\0\0\0\0");
	wire_put_auth(&bytes, 0, NULL, 0);
	BYTES("R\0\0\0\10\0\0\0\0");
	wire_put_auth_sasl(&bytes, mechanisms);
	BYTES("R\0\0\0\x17\0\0\0\nSCRAM-SHA-256\0\0");
	wire_put_parameter_status(&bytes, "a", "b");
	BYTES("S\0\0\0\10a\0b\0");
	wire_put_backend_key(&bytes, 1, (const uint8_t *)"keyk", 4);
	BYTES("K\0\0\0\x0c\0\0\0\1keyk");
	wire_put_password(&bytes, "pw", 3);
	BYTES("p\0\0\0\7pw\0");
	wire_put_row_description(&bytes, columns, 2);
	BYTES("T\0\0\0\x2e\0\2n\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0t\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
	wire_put_row_begin(&bytes, 2, &mark);
	wire_put_row_value(&bytes, "7");
	wire_put_row_value(&bytes, NULL);
	wire_put_row_end(&bytes, mark);
	BYTES("D\0\0\0\x0f\0\2\0\0\0\1" "7\xff\xff\xff\xff");
	buf_free(&bytes);
}
