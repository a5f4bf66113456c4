/* Logins against a hostile peer. First byte: side, method and secret; then messages, each a length byte and its body; in a body '@' stands
 * for the nonce that our side has sent, so that the fuzzer gets past the first check. */
#include "pgshunt/auth.h"
#include "pgshunt/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The value behind r= in what we sent last. */
static void find_nonce(const struct buf *sent, struct buf *nonce)
{
	const char *end = (const char *)sent->data + sent->len, *at = sent->len ? memmem(sent->data, sent->len, "r=", 2) : NULL;
	const char *comma;

	nonce->len = 0;
	if (!at)
		return;
	comma = memchr(at, ',', (size_t)(end - at));
	buf_add(nonce, at + 2, (size_t)((comma ? comma : end) - at) - 2);
}

static bool next_body(struct cursor *in, const struct buf *nonce, struct buf *body)
{
	size_t len = cursor_u8(in);
	const uint8_t *bytes = cursor_bytes(in, MIN(len, cursor_left(in)));

	body->len = 0;
	if (!bytes)
		return false;
	for (size_t i = 0; i < MIN(len, (size_t)(in->at - bytes)); i++)
		if (bytes[i] == '@')
			buf_add(body, nonce->data, nonce->len);
		else
			buf_add_u8(body, bytes[i]);
	return true;
}

/* Many iterations cost time and show nothing. */
static bool is_slow(const struct buf *body)
{
	const char *at = body->len > 8 ? memmem(body->data, body->len, ",i=", 3) : NULL;
	size_t digits = 0;

	while (at && at + 3 + digits < (const char *)body->data + body->len && at[3 + digits] >= '0' && at[3 + digits] <= '9')
		digits++;
	return digits > 3 && digits < 8;
}

static void play_server(struct cursor *in, enum auth_method method, const struct auth_secret *secret, bool is_bound)
{
	struct buf out = { 0 }, body = { 0 }, nonce = { 0 };
	enum auth_step step;
	struct auth_server *auth = auth_server_new_bound(method, "alice", secret, (const uint8_t *)"hash of certificate", is_bound ? 19 : 0,
	                                                 &out, &step);
	struct auth_secret learned;

	while (step == AUTH_CONTINUE && next_body(in, &nonce, &body)) {
		struct err err = { 0 };
		out.len = 0;
		step = auth_server_step(auth, body.data, body.len, &out, &err);
		ENSURE((step == AUTH_FAILED) == err_is_set(&err));
		ENSURE(step != AUTH_FAILED || out.len == 0);
		if (out.len)
			find_nonce(&out, &nonce);
	}
	ENSURE(step != AUTH_OK || secret);
	if (auth_server_learned(auth, &learned))
		auth_secret_clear(&learned);
	auth_server_free(&auth);
	buf_free(&out);
	buf_free(&body);
	buf_free(&nonce);
}

static void play_client(struct cursor *in, const struct auth_secret *secret, bool is_bound)
{
	struct buf out = { 0 }, body = { 0 }, nonce = { 0 };
	struct auth_client *auth = auth_client_new("alice", secret);
	enum auth_step step = AUTH_CONTINUE;
	bool is_scram = false;

	if (is_bound)
		auth_client_bind(auth, (const uint8_t *)"hash of certificate", 19);
	while (step == AUTH_CONTINUE && next_body(in, &nonce, &body) && body.len && !is_slow(&body)) {
		struct err err = { 0 };
		uint32_t code = body.data[0];
		out.len = 0;
		step = auth_client_step(auth, code, body.data + 1, body.len - 1, &out, &err);
		ENSURE((step == AUTH_FAILED) == err_is_set(&err));
		ENSURE(step == AUTH_CONTINUE || out.len == 0);
		if (out.len)
			find_nonce(&out, &nonce);
		is_scram |= code == 10;
	}
	/* nobody can make the server's signature without the password */
	ENSURE(step != AUTH_OK || !is_scram);
	auth_client_free(&auth);
	buf_free(&out);
	buf_free(&body);
	buf_free(&nonce);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum auth_method methods[] = { AUTH_PLAIN, AUTH_MD5, AUTH_SCRAM, AUTH_SCRAM };
	struct cursor in = cursor_of(data, size);
	struct auth_secret secret = { 0 };
	uint8_t choice = cursor_u8(&in);
	char *text;

	switch (choice >> 3 & 3) {
	case 0:
		auth_scram_verifier("secret", 1, (const uint8_t *)"salt", 4, &secret);
		secret.has_client_key = choice & 0x80;
		break;
	case 1:
		auth_secret_parse(&secret, "md50123456789abcdef0123456789abcdef", NULL);
		break;
	case 2:
		auth_secret_parse(&secret, choice & 1 ? "secret" : "", NULL);
		break;
	case 3:         /* the rest is a line of auth_file */
		text = mem_strndup((const char *)in.at, cursor_left(&in));
		auth_secret_parse(&secret, text, NULL);
		mem_free(text);
		auth_secret_clear(&secret);
		return 0;
	}
	if (choice & 1)
		play_client(&in, &secret, choice & 0x20);
	else
		play_server(&in, methods[choice >> 1 & 3], choice & 0x40 ? NULL : &secret, choice & 0x20);
	auth_secret_clear(&secret);
	return 0;
}
