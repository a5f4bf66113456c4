/* Bodies of the messages the proxy has to understand. */
#include "pgshunt/wire.h"

#include <stdio.h>

static struct cursor body_of(const struct wire_msg *m)
{
	size_t have = MIN(m->have, m->total);

	return cursor_of(m->body, have > WIRE_HEADER_BYTES ? have - WIRE_HEADER_BYTES : 0);
}

static bool malformed(const struct wire_msg *m, struct err *err)
{
	char type = m->type > ' ' && m->type < 0x7f ? m->type : '?';

	return err_set(err, "08P01", "invalid message format: '%c' of %zu bytes", type, m->body_len);
}

/* Everything read, nothing left, nothing outside the window. */
static bool is_whole(const struct cursor *c, const struct wire_msg *m, struct err *err)
{
	if (c->short_read || cursor_left(c) || m->have < m->total)
		return malformed(m, err);
	return true;
}

bool wire_read_query(const struct wire_msg *m, struct span *sql, struct err *err)
{
	struct cursor c = body_of(m);

	sql->len = 0;
	sql->data = cursor_cstr(&c, &sql->len);
	return is_whole(&c, m, err);
}

bool wire_read_parse(const struct wire_msg *m, struct wire_parse *out, struct err *err)
{
	struct cursor c = body_of(m);

	out->sql_len = 0;
	out->name = cursor_cstr(&c, NULL);
	out->sql = cursor_cstr(&c, &out->sql_len);
	out->type_count = cursor_u16(&c);
	out->types = cursor_bytes(&c, (size_t)out->type_count * 4);
	return is_whole(&c, m, err);
}

bool wire_read_bind(const struct wire_msg *m, struct wire_bind *out, struct err *err)
{
	struct cursor c = body_of(m);
	const uint8_t *start = c.at;

	out->portal = cursor_cstr(&c, NULL);
	out->statement = cursor_cstr(&c, NULL);
	out->names_len = (size_t)(c.at - start);
	/* three counts follow at least: formats, values, result formats */
	if (c.short_read || m->body_len - out->names_len < 6)
		return malformed(m, err);
	return true;
}

bool wire_read_execute(const struct wire_msg *m, struct wire_execute *out, struct err *err)
{
	struct cursor c = body_of(m);

	out->portal = cursor_cstr(&c, NULL);
	out->max_rows = cursor_u32(&c);
	return is_whole(&c, m, err);
}

bool wire_read_target(const struct wire_msg *m, struct wire_target *out, struct err *err)
{
	struct cursor c = body_of(m);

	out->kind = (char)cursor_u8(&c);
	out->name = cursor_cstr(&c, NULL);
	if (!is_whole(&c, m, err))
		return false;
	return out->kind == 'S' || out->kind == 'P' ? true : malformed(m, err);
}

static void keep(char *out, size_t size, const char *value)
{
	snprintf(out, size, "%s", value);
}

static void keep_field(struct wire_error *e, char field, const char *value)
{
	struct { char field; char *out; size_t size; } const rows[] = {
		{ 'V', e->severity, sizeof(e->severity) }, { 'C', e->sqlstate, sizeof(e->sqlstate) },
		{ 'M', e->message, sizeof(e->message) }, { 'D', e->detail, sizeof(e->detail) },
		{ 'H', e->hint, sizeof(e->hint) }, { 'R', e->routine, sizeof(e->routine) },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].field == field)
			keep(rows[i].out, rows[i].size, value);
	/* S stands before V, and alone in servers before 9.6 */
	if (field == 'S' && !e->severity[0])
		keep(e->severity, sizeof(e->severity), value);
}

bool wire_read_error(const struct wire_msg *m, struct wire_error *out, struct err *err)
{
	struct cursor c = body_of(m);
	uint8_t field;

	memset(out, 0, sizeof(*out));
	while ((field = cursor_u8(&c)) != 0) {
		const char *value = cursor_cstr(&c, NULL);
		if (!value)
			break;
		keep_field(out, (char)field, value);
	}
	return is_whole(&c, m, err);
}

bool wire_read_parameter_status(const struct wire_msg *m, const char **name, const char **value, struct err *err)
{
	struct cursor c = body_of(m);

	*name = cursor_cstr(&c, NULL);
	*value = cursor_cstr(&c, NULL);
	return is_whole(&c, m, err);
}

bool wire_read_backend_key(const struct wire_msg *m, uint32_t *pid, const uint8_t **key, size_t *key_len, struct err *err)
{
	struct cursor c = body_of(m);

	*pid = cursor_u32(&c);
	*key_len = cursor_left(&c);
	*key = cursor_bytes(&c, *key_len);
	if (!is_whole(&c, m, err))
		return false;
	return *key_len >= WIRE_CANCEL_KEY_MIN && *key_len <= WIRE_CANCEL_KEY_MAX ? true : malformed(m, err);
}

bool wire_read_auth(const struct wire_msg *m, uint32_t *code, const uint8_t **data, size_t *len, struct err *err)
{
	struct cursor c = body_of(m);

	*code = cursor_u32(&c);
	*len = cursor_left(&c);
	*data = cursor_bytes(&c, *len);
	return is_whole(&c, m, err);
}
