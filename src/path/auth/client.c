/* The proxy as client: one login at one server. */
#include "pgshunt/auth.h"
#include "pgshunt/wire.h"
#include "scram_client.h"

enum client_state { FRESH, PASSWORD_SENT, SASL_FIRST_SENT, SASL_FINAL_SENT, SERVER_PROVED, CLOSED };

struct auth_client {
	enum client_state state;
	char *user;
	struct auth_secret secret;
	struct scram_client scram;
};

struct auth_client *auth_client_new(const char *user, const struct auth_secret *secret)
{
	struct auth_client *auth = mem_alloc(sizeof(*auth));

	auth->user = mem_strdup(user);
	if (secret)
		auth_secret_copy(&auth->secret, secret);
	return auth;
}

void auth_client_free(struct auth_client **auth)
{
	struct auth_client *a = *auth;

	*auth = NULL;
	if (!a)
		return;
	scram_client_clear(&a->scram);
	auth_secret_clear(&a->secret);
	mem_free(a->user);
	mem_free(a);
}

void auth_client_bind(struct auth_client *auth, const uint8_t *endpoint_hash, size_t len)
{
	ENSURE(auth->state == FRESH && len <= AUTH_BINDING_MAX);
	auth->scram.binding.len = len;
	if (len)
		memcpy(auth->scram.binding.hash, endpoint_hash, len);
}

/* Why the secret at hand can't answer what the server asks for. */
static enum auth_step no_answer(const struct auth_client *auth, const char *method, struct err *err)
{
	static const struct { const char *text, *hint; } reasons[] = {
		[AUTH_NONE] = { "no password is known for it",
			"Put the user into auth_file, or let it in without a password in pg_hba.conf." },
		[AUTH_TEXT] = { "", "" },
		[AUTH_MD5_HASH] = { "only an md5 hash is known for it", "Put the password or the server's SCRAM verifier into auth_file." },
		[AUTH_SCRAM_VERIFIER] = { "only a SCRAM verifier is known for it",
			"The first login of a client with scram-sha-256 yields the keys; or put the password into auth_file." },
	};

	err_set(err, "28P01", "the server asks for %s authentication of user \"%s\", but %s", method, auth->user,
	        reasons[auth->secret.kind].text);
	err_hint(err, "%s", reasons[auth->secret.kind].hint);
	return AUTH_FAILED;
}

static enum auth_step out_of_order(struct err *err, const char *what)
{
	err_set(err, "08P01", "server sent %s", what);
	return AUTH_FAILED;
}

typedef enum auth_step step_fn(struct auth_client *auth, const uint8_t *data, size_t len, struct buf *out, struct err *err);

static enum auth_step step_ok(struct auth_client *auth, const uint8_t *data, size_t len, struct buf *out, struct err *err)
{
	(void)data, (void)out;
	if (len)
		return out_of_order(err, "a malformed AuthenticationOk");
	auth->state = CLOSED;
	return AUTH_OK;
}

static enum auth_step step_plain(struct auth_client *auth, const uint8_t *data, size_t len, struct buf *out, struct err *err)
{
	(void)data, (void)len;
	if (auth->secret.kind != AUTH_TEXT)
		return no_answer(auth, "password", err);
	wire_put_password(out, auth->secret.text, strlen(auth->secret.text) + 1);
	auth->state = PASSWORD_SENT;
	return AUTH_CONTINUE;
}

static enum auth_step step_md5(struct auth_client *auth, const uint8_t *salt, size_t len, struct buf *out, struct err *err)
{
	char stored[36], answer[36] = "md5";

	if (len != 4)
		return out_of_order(err, "an md5 request without a salt");
	if (auth->secret.kind == AUTH_TEXT)
		auth_md5(auth->user, auth->secret.text, stored);
	else if (auth->secret.kind == AUTH_MD5_HASH)
		memcpy(stored, auth->secret.text, sizeof(stored));
	else
		return no_answer(auth, "md5", err);
	if (!crypto_md5_hex(stored + 3, 32, salt, len, answer + 3)) {
		err_set(err, "28000", "the server asks for md5 authentication, which the crypto library refuses");
		return AUTH_FAILED;
	}
	wire_put_password(out, answer, sizeof(answer));
	mem_wipe(stored, sizeof(stored));
	auth->state = PASSWORD_SENT;
	return AUTH_CONTINUE;
}

/* A list of names that an empty one ends. */
static bool read_offer(const uint8_t *data, size_t len, bool *has_scram, bool *has_plus)
{
	struct cursor c = cursor_of(data, len);

	*has_scram = *has_plus = false;
	for (;;) {
		const char *name = cursor_cstr(&c, NULL);
		if (!name)
			return false;
		if (!*name)
			return cursor_left(&c) == 0;
		*has_scram |= strcmp(name, SCRAM_NAME) == 0;
		*has_plus |= strcmp(name, SCRAM_PLUS_NAME) == 0;
	}
}

static enum auth_step step_sasl(struct auth_client *auth, const uint8_t *data, size_t len, struct buf *out, struct err *err)
{
	bool has_scram, has_plus;
	struct buf first = { 0 }, body = { 0 };

	if (!read_offer(data, len, &has_scram, &has_plus))
		return out_of_order(err, "a malformed list of SASL mechanisms");
	has_plus &= auth->scram.binding.len > 0;
	if (!has_scram && !has_plus) {
		err_set(err, "28000", "the server offers no SASL mechanism that pgshunt knows (SCRAM-SHA-256)");
		return AUTH_FAILED;
	}
	if (!secret_can_prove(&auth->secret))
		return no_answer(auth, "scram-sha-256", err);
	scram_client_first(&auth->scram, has_plus, &first);
	buf_add_cstr(&body, has_plus ? SCRAM_PLUS_NAME : SCRAM_NAME);
	buf_add_u32(&body, (uint32_t)first.len);
	buf_add(&body, first.data, first.len);
	wire_put_password(out, body.data, body.len);
	buf_free(&first);
	buf_free(&body);
	auth->state = SASL_FIRST_SENT;
	return AUTH_CONTINUE;
}

static enum auth_step step_continue(struct auth_client *auth, const uint8_t *data, size_t len, struct buf *out, struct err *err)
{
	struct buf reply = { 0 };
	bool is_good;

	if (!scram_is_text(data, len))
		return out_of_order(err, "a SCRAM message of wrong length");
	is_good = scram_client_continue(&auth->scram, auth->user, &auth->secret, (struct span){ (const char *)data, len }, &reply, err);
	if (is_good) {
		wire_put_password(out, reply.data, reply.len);
		auth->state = SASL_FINAL_SENT;
	}
	buf_free(&reply);
	return is_good ? AUTH_CONTINUE : AUTH_FAILED;
}

static enum auth_step step_final(struct auth_client *auth, const uint8_t *data, size_t len, struct buf *out, struct err *err)
{
	(void)out;
	if (!scram_is_text(data, len))
		return out_of_order(err, "a SCRAM message of wrong length");
	if (!scram_client_final(&auth->scram, &auth->secret, (struct span){ (const char *)data, len }, err))
		return AUTH_FAILED;
	auth->state = SERVER_PROVED;
	return AUTH_CONTINUE;
}

/* What may come when. AuthenticationOk has no row between SASL and SERVER_PROVED: a server that can't prove that it knows the
 * password gets no session. */
static const struct {
	enum client_state state;
	uint32_t code;
	step_fn *step;
} rows[] = {
	{ FRESH, AUTH_CODE_OK, step_ok },
	{ FRESH, AUTH_CODE_PLAIN, step_plain },
	{ FRESH, AUTH_CODE_MD5, step_md5 },
	{ FRESH, AUTH_CODE_SASL, step_sasl },
	{ PASSWORD_SENT, AUTH_CODE_OK, step_ok },
	{ SASL_FIRST_SENT, AUTH_CODE_SASL_CONTINUE, step_continue },
	{ SASL_FINAL_SENT, AUTH_CODE_SASL_FINAL, step_final },
	{ SERVER_PROVED, AUTH_CODE_OK, step_ok },
};

static enum auth_step step_unexpected(const struct auth_client *auth, uint32_t code, struct err *err)
{
	static const char *const unknown[] = { [2] = "Kerberos V5", [6] = "SCM", [7] = "GSSAPI", [9] = "SSPI" };

	if (code < ARRAY_LEN(unknown) && unknown[code])
		err_set(err, "28000", "the server asks for %s authentication of user \"%s\", which pgshunt does not have",
		        unknown[code], auth->user);
	else if (code == AUTH_CODE_OK)
		err_set(err, "28000", "the server let user \"%s\" in without proving that it knows the password", auth->user);
	else
		err_set(err, "08P01", "unexpected authentication message %u from the server", code);
	return AUTH_FAILED;
}

enum auth_step auth_client_step(struct auth_client *auth, uint32_t code, const uint8_t *data, size_t len, struct buf *out, struct err *err)
{
	enum auth_step step;
	size_t i = 0;

	while (i < ARRAY_LEN(rows) && (rows[i].state != auth->state || rows[i].code != code))
		i++;
	step = i < ARRAY_LEN(rows) ? rows[i].step(auth, data, len, out, err) : step_unexpected(auth, code, err);
	if (step == AUTH_FAILED)
		auth->state = CLOSED;
	return step;
}

bool auth_client_learned(const struct auth_client *auth, struct auth_secret *out)
{
	if (!auth->scram.is_derived || !auth->scram.is_proved)
		return false;
	auth_secret_copy(out, &auth->secret);
	scram_client_keep(&auth->scram, out);
	return true;
}
