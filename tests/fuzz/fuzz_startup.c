/* A client's first packets, and the options in them. Every prefix must be AGAIN or FAIL, never DONE and then something else. */
#include "pgshunt/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool note(void *owner, const char *name, const char *value, struct err *err)
{
	(void)err;
	*(size_t *)owner += strlen(name) + strlen(value);
	return true;
}

static void use(const struct wire_startup *s)
{
	size_t total = 0;
	struct err err;

	if (s->kind == WIRE_CANCEL_REQUEST)
		ENSURE(s->cancel_key_len >= WIRE_CANCEL_KEY_MIN && s->cancel_key_len <= WIRE_CANCEL_KEY_MAX && s->cancel_key);
	if (s->kind != WIRE_STARTUP)
		return;
	ENSURE(s->version >> 16 == 3 && *s->user && *s->database && strlen(s->user) <= WIRE_NAME_MAX);
	for (size_t i = 0; i < s->param_count; i++) {
		total += strlen(s->params[i].name) + strlen(s->params[i].value);
		wire_parse_options(s->params[i].value, note, &total, &err);
	}
	for (size_t i = 0; i < s->pq_option_count; i++)
		ENSURE(strncmp(s->pq_options[i], "_pq_.", 5) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_startup s, part;
	struct cursor c = cursor_of(data, size);
	struct err err = { 0 };
	enum wire_rc rc = wire_read_startup(&c, &s, &err);

	ENSURE((rc == WIRE_FAIL) == err_is_set(&err));
	if (rc != WIRE_DONE) {
		ENSURE(c.at == data);
		return 0;
	}
	use(&s);
	for (size_t len = 0; len < (size_t)(c.at - data); len++) {
		struct cursor prefix = cursor_of(data, len);
		ENSURE(wire_read_startup(&prefix, &part, &err) == WIRE_AGAIN);
	}
	return 0;
}
