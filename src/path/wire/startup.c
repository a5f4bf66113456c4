/* The first packet of a connection: startup, TLS and GSS requests, cancel. Source: PostgreSQL manual 55.2.1, 55.2.8, 55.7. */
#include "pgshunt/wire.h"

#include <strings.h>

static enum wire_rc fail(struct err *err, const char *text)
{
	err_set(err, "08P01", "%s", text);
	return WIRE_FAIL;
}

static enum wire_rc read_cancel(struct cursor *c, struct wire_startup *out, struct err *err)
{
	out->kind = WIRE_CANCEL_REQUEST;
	out->cancel_pid = cursor_u32(c);
	out->cancel_key_len = cursor_left(c);
	if (c->short_read || out->cancel_key_len < WIRE_CANCEL_KEY_MIN || out->cancel_key_len > WIRE_CANCEL_KEY_MAX)
		return fail(err, "invalid length of a cancel request");
	out->cancel_key = cursor_bytes(c, out->cancel_key_len);
	return WIRE_DONE;
}

/* As PostgreSQL's parse_bool: any unique prefix, any case. */
static bool read_bool(const char *value, bool *out)
{
	static const struct { const char *word; size_t least; bool value; } words[] = {
		{ "true", 1, true }, { "yes", 1, true }, { "on", 2, true }, { "1", 1, true },
		{ "false", 1, false }, { "no", 1, false }, { "off", 2, false }, { "0", 1, false },
	};
	size_t len = strlen(value);

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (len >= words[i].least && len <= strlen(words[i].word) && strncasecmp(value, words[i].word, len) == 0) {
			*out = words[i].value;
			return true;
		}
	return false;
}

static bool set_replication(struct wire_startup *out, const char *value, struct err *err)
{
	out->replication_logical = strcmp(value, "database") == 0;
	if (out->replication_logical) {
		out->replication = true;
		return true;
	}
	if (!read_bool(value, &out->replication))
		return err_set(err, "22023", "invalid value for parameter \"replication\": \"%.64s\"", value);
	return true;
}

static bool add_pq_option(struct wire_startup *out, const char *name, struct err *err)
{
	if (out->pq_option_count == ARRAY_LEN(out->pq_options))
		return err_set(err, "08P01", "startup packet with more than %zu protocol options", ARRAY_LEN(out->pq_options));
	out->pq_options[out->pq_option_count++] = name;
	return true;
}

static bool add_param(struct wire_startup *out, const char *name, const char *value, struct err *err)
{
	if (strcmp(name, "user") == 0)
		out->user = value;
	else if (strcmp(name, "database") == 0)
		out->database = value;
	else if (strcmp(name, "replication") == 0)
		return set_replication(out, value, err);
	else if (strncmp(name, "_pq_.", 5) == 0)
		return add_pq_option(out, name, err);
	else if (out->param_count == ARRAY_LEN(out->params))
		return err_set(err, "08P01", "startup packet with more than %zu parameters", ARRAY_LEN(out->params));
	else
		out->params[out->param_count++] = (struct wire_param){ name, value };
	return true;
}

struct seen {
	const char *names[WIRE_STARTUP_PARAMS_MAX + 24];
	size_t count;
};

/* Two values for one name: whoever looks at one and whoever looks at the other would disagree about who logs in. */
static bool is_new_name(struct seen *seen, const char *name, struct err *err)
{
	for (size_t i = 0; i < seen->count; i++)
		if (strcmp(seen->names[i], name) == 0)
			return err_set(err, "08P01", "startup packet names \"%.64s\" twice", name);
	if (seen->count == ARRAY_LEN(seen->names))
		return err_set(err, "08P01", "startup packet with more than %zu names", seen->count);
	seen->names[seen->count++] = name;
	return true;
}

static bool check_names(struct wire_startup *out, struct err *err)
{
	if (!out->user || !*out->user)
		return err_set(err, "28000", "no PostgreSQL user name specified in startup packet");
	if (!out->database || !*out->database)
		out->database = out->user;
	if (strlen(out->user) > WIRE_NAME_MAX)
		return err_set(err, "28000", "user name of %zu bytes, at most %d are possible", strlen(out->user), WIRE_NAME_MAX);
	if (strlen(out->database) > WIRE_NAME_MAX)
		return err_set(err, "3D000", "database name of %zu bytes, at most %d are possible", strlen(out->database), WIRE_NAME_MAX);
	return true;
}

static enum wire_rc read_params(struct cursor *c, struct wire_startup *out, struct err *err)
{
	struct seen seen;

	seen.count = 0;
	for (;;) {
		const char *value, *name = cursor_cstr(c, NULL);
		if (name && !*name)
			break;
		value = cursor_cstr(c, NULL);
		if (c->short_read)
			return fail(err, "invalid startup packet layout: expected terminator as last byte");
		if (!is_new_name(&seen, name, err) || !add_param(out, name, value, err))
			return WIRE_FAIL;
	}
	if (cursor_left(c))
		return fail(err, "invalid startup packet layout: bytes after the terminator");
	return check_names(out, err) ? WIRE_DONE : WIRE_FAIL;
}

static enum wire_rc read_body(struct cursor *c, struct wire_startup *out, struct err *err)
{
	uint32_t code = cursor_u32(c);

	if (code == WIRE_CANCEL_CODE)
		return read_cancel(c, out, err);
	if (code == WIRE_SSL_CODE || code == WIRE_GSSENC_CODE) {
		out->kind = code == WIRE_SSL_CODE ? WIRE_SSL_REQUEST : WIRE_GSSENC_REQUEST;
		return cursor_left(c) ? fail(err, "invalid length of an encryption request") : WIRE_DONE;
	}
	if (code >> 16 != 3) {
		err_set(err, "08P01", "unsupported frontend protocol %u.%u: pgshunt supports 3.0 to 3.2", code >> 16, code & 0xffff);
		return WIRE_FAIL;
	}
	out->kind = WIRE_STARTUP;
	out->version = code;
	return read_params(c, out, err);
}

enum wire_rc wire_read_startup(struct cursor *in, struct wire_startup *out, struct err *err)
{
	struct cursor c = *in, body;            /* commit only on success */
	uint32_t bytes = cursor_u32(&c);
	const uint8_t *rest;
	enum wire_rc rc;

	if (c.short_read)
		return WIRE_AGAIN;
	if (bytes < 8 || bytes > WIRE_STARTUP_MAX_BYTES) {
		err_set(err, "08P01", "invalid length of startup packet: %u", bytes);
		return WIRE_FAIL;
	}
	rest = cursor_bytes(&c, bytes - 4);
	if (!rest)
		return WIRE_AGAIN;
	memset(out, 0, sizeof(*out));
	body = cursor_of(rest, bytes - 4);
	rc = read_body(&body, out, err);
	if (rc == WIRE_DONE)
		*in = c;
	return rc;
}
