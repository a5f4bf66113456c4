/* Messages of both sides: the first byte chooses the side, the rest is cut and read as the session would. */
#include "pgshunt/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t total;                    /* what was read, so that the compiler can't leave the reading out */

static void touch(const char *text)
{
	total += text ? strlen(text) : 0;
}

static void read_client(const struct wire_msg *m)
{
	struct wire_execute execute;
	struct wire_target target;
	struct wire_parse parse;
	struct wire_bind bind;
	struct span sql;
	struct err err;

	if (wire_read_query(m, &sql, &err))
		ENSURE(strlen(sql.data) == sql.len);
	if (wire_read_parse(m, &parse, &err)) {
		touch(parse.name);
		ENSURE(strlen(parse.sql) == parse.sql_len);
		for (size_t i = 0; i < (size_t)parse.type_count * 4; i++)
			total += parse.types[i];
	}
	if (wire_read_bind(m, &bind, &err))
		ENSURE(strlen(bind.portal) + strlen(bind.statement) + 2 == bind.names_len);
	if (wire_read_execute(m, &execute, &err))
		touch(execute.portal);
	if (wire_read_target(m, &target, &err))
		touch(target.name);
}

static void read_server(const struct wire_msg *m)
{
	const char *name, *value;
	struct wire_error error;
	const uint8_t *bytes;
	struct err err;
	uint32_t number;
	size_t len;

	if (wire_read_error(m, &error, &err))
		touch(error.message);
	if (wire_read_parameter_status(m, &name, &value, &err)) {
		touch(name);
		touch(value);
	}
	if (wire_read_backend_key(m, &number, &bytes, &len, &err))
		ENSURE(len >= WIRE_CANCEL_KEY_MIN && len <= WIRE_CANCEL_KEY_MAX);
	if (wire_read_auth(m, &number, &bytes, &len, &err))
		for (size_t i = 0; i < len; i++)
			total += bytes[i];
}

static void put_back(const uint8_t *data, size_t size)
{
	char *text = mem_strndup((const char *)data, size);
	struct buf out = { 0 };
	struct wire_error error;
	struct wire_msg m;
	struct err err;

	err_set(&err, "08P01", "%s", text);
	wire_put_error(&out, "FATAL", &err);
	ENSURE(wire_peek(out.data, out.len, WIRE_FROM_SERVER, WIRE_MESSAGE_MAX, &m, NULL) == WIRE_DONE && m.total == out.len);
	ENSURE(wire_read_error(&m, &error, NULL));
	mem_free(text);
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum wire_side side;
	struct wire_msg m;
	struct err err;

	if (size == 0)
		return 0;
	side = data[0] & 1;
	put_back(data + 1, size - 1);
	for (data++, size--; size && wire_peek(data, size, side, 1 << 20, &m, &err) == WIRE_DONE; data += m.have, size -= m.have) {
		ENSURE(m.have >= WIRE_HEADER_BYTES && m.have <= size && m.have <= m.total);
		if (side == WIRE_FROM_CLIENT)
			read_client(&m);
		else
			read_server(&m);
	}
	return 0;
}
