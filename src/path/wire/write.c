/* Building messages: each function appends one whole message. */
#include "pgshunt/wire.h"

/* The length field stands after the type byte (startup packets have none) and counts itself. */
static size_t begin_packet(struct buf *out)
{
	size_t mark = out->len;

	buf_add_u32(out, 0);
	return mark;
}

static size_t begin(struct buf *out, char type)
{
	buf_add_u8(out, (uint8_t)type);
	return begin_packet(out);
}

static void end(struct buf *out, size_t mark)
{
	size_t len = out->len - mark;
	uint32_t net = __builtin_bswap32((uint32_t)len);

	ENSURE(len <= WIRE_MESSAGE_MAX);
	memcpy(out->data + mark, &net, sizeof(net));
}

void wire_put_startup(struct buf *out, uint32_t version, const struct wire_param *params, size_t count)
{
	size_t mark = begin_packet(out);

	buf_add_u32(out, version);
	for (size_t i = 0; i < count; i++) {
		buf_add_cstr(out, params[i].name);
		buf_add_cstr(out, params[i].value);
	}
	buf_add_u8(out, 0);
	end(out, mark);
}

void wire_put_cancel(struct buf *out, uint32_t pid, const uint8_t *key, size_t key_len)
{
	size_t mark = begin_packet(out);

	buf_add_u32(out, WIRE_CANCEL_CODE);
	buf_add_u32(out, pid);
	buf_add(out, key, key_len);
	end(out, mark);
}

void wire_put_query(struct buf *out, const char *sql)
{
	size_t mark = begin(out, 'Q');

	buf_add_cstr(out, sql);
	end(out, mark);
}

void wire_put_parse(struct buf *out, const char *name, struct span sql, uint16_t type_count, const uint8_t *types)
{
	size_t mark = begin(out, 'P');

	buf_add_cstr(out, name);
	buf_add(out, sql.data, sql.len);
	buf_add_u8(out, 0);
	buf_add_u16(out, type_count);
	buf_add(out, types, (size_t)type_count * 4);
	end(out, mark);
}

void wire_put_target(struct buf *out, char type, char kind, const char *name)
{
	size_t mark = begin(out, type);

	buf_add_u8(out, (uint8_t)kind);
	buf_add_cstr(out, name);
	end(out, mark);
}

void wire_put_empty(struct buf *out, char type)
{
	end(out, begin(out, type));
}

void wire_put_password(struct buf *out, const void *data, size_t len)
{
	size_t mark = begin(out, 'p');

	buf_add(out, data, len);
	end(out, mark);
}

/* ---- errors and notices ---- */

/* Bytes of the UTF-8 character at text, 0 when it is none (Unicode 15, table 3-7). */
static size_t utf8_char(const unsigned char *at)
{
	static const struct { unsigned char lo, hi, second_lo, second_hi, bytes; } rows[] = {
		{ 0x01, 0x7f, 0, 0, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};
	size_t row = 0, i = 2;

	while (row < ARRAY_LEN(rows) && (at[0] < rows[row].lo || at[0] > rows[row].hi))
		row++;
	if (row == ARRAY_LEN(rows))
		return 0;
	if (rows[row].bytes > 1 && (at[1] < rows[row].second_lo || at[1] > rows[row].second_hi))
		return 0;
	while (i < rows[row].bytes && (at[i] & 0xc0) == 0x80)
		i++;
	return i >= rows[row].bytes ? rows[row].bytes : 0;
}

static void add_text(struct buf *out, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at) {
		size_t bytes = utf8_char(at);
		if (bytes)
			buf_add(out, at, bytes);
		else
			buf_add_u8(out, '?');
		at += bytes ? bytes : 1;
	}
}

static void add_field(struct buf *out, char field, const char *prefix, const char *text)
{
	buf_add_u8(out, (uint8_t)field);
	buf_add_str(out, prefix);
	add_text(out, text);
	buf_add_u8(out, 0);
}

static void put_report(struct buf *out, char type, const char *severity, const char *sqlstate, const char *prefix, const char *text,
                       const char *hint)
{
	size_t mark = begin(out, type);

	add_field(out, 'S', "", severity);
	add_field(out, 'V', "", severity);
	add_field(out, 'C', "", sqlstate);
	add_field(out, 'M', prefix, text);
	if (*hint)
		add_field(out, 'H', "", hint);
	buf_add_u8(out, 0);
	end(out, mark);
}

void wire_put_error(struct buf *out, const char *severity, const struct err *err)
{
	put_report(out, 'E', severity, err->sqlstate, "pgshunt: ", err->text, err->hint);
}

void wire_put_notice(struct buf *out, const char *severity, const struct err *err)
{
	put_report(out, 'N', severity, err->sqlstate, "pgshunt: ", err->text, err->hint);
}

void wire_put_error_plain(struct buf *out, const char *severity, const char *sqlstate, const char *text)
{
	put_report(out, 'E', severity, sqlstate, "", text, "");
}

void wire_put_notice_plain(struct buf *out, const char *severity, const char *sqlstate, const char *text)
{
	put_report(out, 'N', severity, sqlstate, "", text, "");
}

/* ---- answers at login ---- */

void wire_put_auth(struct buf *out, uint32_t code, const void *data, size_t len)
{
	size_t mark = begin(out, 'R');

	buf_add_u32(out, code);
	buf_add(out, data, len);
	end(out, mark);
}

void wire_put_auth_sasl(struct buf *out, const char *const *mechanisms)
{
	size_t mark = begin(out, 'R');

	buf_add_u32(out, 10);
	for (; *mechanisms; mechanisms++)
		buf_add_cstr(out, *mechanisms);
	buf_add_u8(out, 0);
	end(out, mark);
}

void wire_put_parameter_status(struct buf *out, const char *name, const char *value)
{
	size_t mark = begin(out, 'S');

	buf_add_cstr(out, name);
	buf_add_cstr(out, value);
	end(out, mark);
}

void wire_put_backend_key(struct buf *out, uint32_t pid, const uint8_t *key, size_t key_len)
{
	size_t mark = begin(out, 'K');

	buf_add_u32(out, pid);
	buf_add(out, key, key_len);
	end(out, mark);
}

void wire_put_negotiate(struct buf *out, uint32_t newest_minor, const char *const *unknown, size_t count)
{
	size_t mark = begin(out, 'v');

	buf_add_u32(out, WIRE_PROTOCOL_3_0 | newest_minor);
	buf_add_u32(out, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		buf_add_cstr(out, unknown[i]);
	end(out, mark);
}

/* ---- answers to statements ---- */

void wire_put_ready(struct buf *out, char status)
{
	size_t mark = begin(out, 'Z');

	buf_add_u8(out, (uint8_t)status);
	end(out, mark);
}

void wire_put_command_complete(struct buf *out, const char *tag)
{
	size_t mark = begin(out, 'C');

	buf_add_cstr(out, tag);
	end(out, mark);
}

/* Bytes of a type for RowDescription: what pg_type.typlen says of those the proxy uses; -1 = varlena. */
static uint16_t type_bytes(uint32_t oid)
{
	static const struct { uint32_t oid; uint16_t bytes; } rows[] = {
		{ 16, 1 }, { 20, 8 }, { 21, 2 }, { 23, 4 }, { 26, 4 }, { 701, 8 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].oid == oid)
			return rows[i].bytes;
	return 0xffff;
}

void wire_put_row_description(struct buf *out, const struct wire_column *columns, size_t count)
{
	size_t mark = begin(out, 'T');

	buf_add_u16(out, (uint16_t)count);
	for (size_t i = 0; i < count; i++) {
		buf_add_cstr(out, columns[i].name);
		buf_add_u32(out, 0);                    /* no table */
		buf_add_u16(out, 0);                    /* no column of it */
		buf_add_u32(out, columns[i].type_oid);
		buf_add_u16(out, type_bytes(columns[i].type_oid));
		buf_add_u32(out, UINT32_MAX);           /* typmod -1 */
		buf_add_u16(out, 0);                    /* text format */
	}
	end(out, mark);
}

void wire_put_row_begin(struct buf *out, uint16_t columns, size_t *mark)
{
	*mark = begin(out, 'D');
	buf_add_u16(out, columns);
}

void wire_put_row_value(struct buf *out, const char *text)
{
	if (!text) {
		buf_add_u32(out, UINT32_MAX);
		return;
	}
	buf_add_u32(out, (uint32_t)strlen(text));
	buf_add_str(out, text);
}

void wire_put_row_end(struct buf *out, size_t mark)
{
	end(out, mark);
}
