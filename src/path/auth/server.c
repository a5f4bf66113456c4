/* The proxy as server: one login of one client. */
#include "pgshunt/auth.h"
#include "pgshunt/wire.h"
#include "scram_server.h"

#define PASSWORD_MAX_BYTES 65535        /* as PostgreSQL: PG_MAX_AUTH_TOKEN_LENGTH */

enum server_state { WANT_PLAIN, WANT_MD5, WANT_SASL, WANT_SASL_FIRST, WANT_SASL_FINAL, CLOSED };

struct auth_server {
	enum server_state state;
	char *user;
	struct auth_secret secret;
	uint8_t md5_salt[4];
	struct scram_server scram;
	struct auth_secret learned;     /* AUTH_NONE: nothing */
};

/* ---- the first message ---- */

static void ask_plain(struct auth_server *auth, struct buf *out)
{
	auth->state = WANT_PLAIN;
	wire_put_auth(out, AUTH_CODE_PLAIN, NULL, 0);
}

static void ask_md5(struct auth_server *auth, struct buf *out)
{
	auth->state = WANT_MD5;
	random_bytes(auth->md5_salt, sizeof(auth->md5_salt));
	wire_put_auth(out, AUTH_CODE_MD5, auth->md5_salt, sizeof(auth->md5_salt));
}

static void ask_scram(struct auth_server *auth, struct buf *out)
{
	static const char *const names[] = { SCRAM_PLUS_NAME, SCRAM_NAME, NULL };

	auth->state = WANT_SASL;
	wire_put_auth_sasl(out, auth->scram.binding.len ? names : names + 1);
}

static enum auth_step let_in(struct auth_server *auth, struct buf *out)
{
	auth->state = CLOSED;
	wire_put_auth(out, AUTH_CODE_OK, NULL, 0);
	return AUTH_OK;
}

static enum auth_step begin(struct auth_server *auth, enum auth_method method, bool is_known, struct buf *out)
{
	switch (method) {
	case AUTH_TRUST:
	case AUTH_CERT:
		auth->state = CLOSED;
		return is_known ? let_in(auth, out) : AUTH_FAILED;
	case AUTH_PLAIN:
		ask_plain(auth, out);
		return AUTH_CONTINUE;
	case AUTH_MD5:
		if (auth->secret.kind == AUTH_SCRAM_VERIFIER)
			ask_scram(auth, out);
		else
			ask_md5(auth, out);
		return AUTH_CONTINUE;
	case AUTH_SCRAM:
		ask_scram(auth, out);
		return AUTH_CONTINUE;
	case AUTH_HBA:
		break;
	}
	ENSURE(method != AUTH_HBA);     /* the caller's to resolve */
	return AUTH_FAILED;
}

struct auth_server *auth_server_new_bound(enum auth_method method, const char *user, const struct auth_secret *secret,
                                          const uint8_t *endpoint_hash, size_t len, struct buf *out, enum auth_step *step)
{
	struct auth_server *auth = mem_alloc(sizeof(*auth));

	ENSURE(len <= AUTH_BINDING_MAX);
	auth->user = mem_strdup(user);
	if (secret)
		auth_secret_copy(&auth->secret, secret);
	if (auth->secret.text && !*auth->secret.text)
		auth_secret_clear(&auth->secret);       /* an empty password is none, as in PostgreSQL */
	auth->scram.binding.len = len;
	if (len)
		memcpy(auth->scram.binding.hash, endpoint_hash, len);
	scram_server_init(&auth->scram, user, &auth->secret);
	*step = begin(auth, method, secret != NULL, out);
	return auth;
}

struct auth_server *auth_server_new(enum auth_method method, const char *user, const struct auth_secret *secret,
                                    struct buf *out, enum auth_step *step)
{
	return auth_server_new_bound(method, user, secret, NULL, 0, out, step);
}

void auth_server_free(struct auth_server **auth)
{
	struct auth_server *a = *auth;

	*auth = NULL;
	if (!a)
		return;
	scram_server_clear(&a->scram);
	auth_secret_clear(&a->secret);
	auth_secret_clear(&a->learned);
	mem_free(a->user);
	mem_free(a);
}

/* ---- the answers ---- */

static enum auth_step refuse(const struct auth_server *auth, struct err *err)
{
	err_set(err, "28P01", "password authentication failed for user \"%s\"", auth->user);
	return AUTH_FAILED;
}

static enum auth_step malformed(struct err *err, const char *what)
{
	err_set(err, "08P01", "%s", what);
	return AUTH_FAILED;
}

/* PasswordMessage: one string. NULL with err: it isn't. */
static const char *read_password(const uint8_t *body, size_t len, struct err *err)
{
	struct cursor c = cursor_of(body, len);
	const char *password = cursor_cstr(&c, NULL);

	if (!password || cursor_left(&c) || len > PASSWORD_MAX_BYTES) {
		malformed(err, "invalid password packet size");
		return NULL;
	}
	return password;
}

static bool is_text(const struct auth_server *auth, const char *password)
{
	uint8_t want[AUTH_KEY_BYTES], got[AUTH_KEY_BYTES];      /* lengths alike, whatever the passwords' */

	crypto_sha256(auth->secret.text, strlen(auth->secret.text), want);
	crypto_sha256(password, strlen(password), got);
	return auth_equal(want, got, sizeof(want));
}

static bool is_hash(const struct auth_server *auth, const char *password)
{
	char hash[36] = "";

	auth_md5(auth->user, password, hash);
	return auth_equal(hash, auth->secret.text, sizeof(hash));
}

/* Whoever fails has paid for one derivation, so that the time it takes does not tell whether the user exists. */
static bool is_password(struct auth_server *auth, const char *password)
{
	struct scram_server *s = &auth->scram;
	struct scram_keys given;
	bool is_same;

	if ((auth->secret.kind == AUTH_TEXT && is_text(auth, password)) || (auth->secret.kind == AUTH_MD5_HASH && is_hash(auth, password)))
		return true;
	if (!crypto_scram_keys(password, s->salt.iterations, s->salt.bytes, s->salt.len, &given))
		return false;
	is_same = auth->secret.kind == AUTH_SCRAM_VERIFIER && auth_equal(given.stored, s->keys.stored, AUTH_KEY_BYTES);
	if (is_same)
		secret_cache_put(&auth->secret, &s->salt, &given);
	mem_wipe(&given, sizeof(given));
	return is_same;
}

static enum auth_step step_plain(struct auth_server *auth, const uint8_t *body, size_t len, struct buf *out, struct err *err)
{
	const char *password = read_password(body, len, err);

	if (!password)
		return AUTH_FAILED;
	if (!is_password(auth, password))
		return refuse(auth, err);
	auth->learned.kind = AUTH_TEXT;
	auth->learned.text = mem_strdup(password);
	secret_share_cache(&auth->learned, &auth->secret);
	return let_in(auth, out);
}

/* md5(md5(password + user) + salt); an unknown user's answer is compared too, with one that can't be made. */
static enum auth_step step_md5(struct auth_server *auth, const uint8_t *body, size_t len, struct buf *out, struct err *err)
{
	const char *answer = read_password(body, len, err);
	bool can_be = auth->secret.kind == AUTH_TEXT || auth->secret.kind == AUTH_MD5_HASH;
	char stored[36], want[36] = "md5";
	bool is_same;

	if (!answer)
		return AUTH_FAILED;
	if (auth->secret.kind == AUTH_MD5_HASH)
		memcpy(stored, auth->secret.text, sizeof(stored));
	else
		auth_md5(auth->user, can_be ? auth->secret.text : "", stored);
	can_be &= crypto_md5_hex(stored + 3, 32, auth->md5_salt, sizeof(auth->md5_salt), want + 3);
	is_same = len == sizeof(want) && auth_equal(answer, want, sizeof(want));
	mem_wipe(stored, sizeof(stored));
	return is_same && can_be ? let_in(auth, out) : refuse(auth, err);
}

static enum auth_step send_first(struct auth_server *auth, const uint8_t *data, size_t len, struct buf *out, struct err *err)
{
	struct buf reply = { 0 };
	bool is_good;

	if (!scram_is_text(data, len))
		return malformed(err, "malformed SCRAM message: wrong length");
	is_good = scram_server_first(&auth->scram, (struct span){ (const char *)data, len }, &reply, err);
	if (is_good) {
		auth->state = WANT_SASL_FINAL;
		wire_put_auth(out, AUTH_CODE_SASL_CONTINUE, reply.data, reply.len);
	}
	buf_free(&reply);
	return is_good ? AUTH_CONTINUE : AUTH_FAILED;
}

/* SASLInitialResponse: the mechanism, a length, client-first; length -1: it will come when asked for. */
static enum auth_step step_sasl(struct auth_server *auth, const uint8_t *body, size_t len, struct buf *out, struct err *err)
{
	struct cursor c = cursor_of(body, len);
	size_t name_len = 0;
	const char *name = cursor_cstr(&c, &name_len);
	uint32_t bytes = cursor_u32(&c);

	if (c.short_read || (bytes == UINT32_MAX ? 0 : bytes) != cursor_left(&c))
		return malformed(err, "invalid SASLInitialResponse message");
	if (!scram_server_choose(&auth->scram, (struct span){ name, name_len }))
		return malformed(err, "client selected an invalid SASL authentication mechanism");
	if (bytes != UINT32_MAX)
		return send_first(auth, c.at, bytes, out, err);
	auth->state = WANT_SASL_FIRST;
	wire_put_auth(out, AUTH_CODE_SASL_CONTINUE, NULL, 0);
	return AUTH_CONTINUE;
}

static void learn_keys(struct auth_server *auth)
{
	if (auth->secret.kind != AUTH_SCRAM_VERIFIER)
		return;                 /* the salt is our own: no server knows it */
	auth_secret_copy(&auth->learned, &auth->secret);
	auth->learned.has_client_key = true;
	memcpy(auth->learned.client_key, auth->scram.keys.client, AUTH_KEY_BYTES);
}

static enum auth_step step_final(struct auth_server *auth, const uint8_t *body, size_t len, struct buf *out, struct err *err)
{
	struct buf reply = { 0 };
	struct err why = { 0 };
	bool is_good;

	if (!scram_is_text(body, len))
		return malformed(err, "malformed SCRAM message: wrong length");
	is_good = scram_server_final(&auth->scram, &auth->secret, (struct span){ (const char *)body, len }, &reply, &why);
	if (is_good)
		wire_put_auth(out, AUTH_CODE_SASL_FINAL, reply.data, reply.len);
	buf_free(&reply);
	if (is_good) {
		learn_keys(auth);
		return let_in(auth, out);
	}
	if (!err_is_set(&why))
		return refuse(auth, err);
	if (err)
		*err = why;
	return AUTH_FAILED;
}

static enum auth_step step_closed(struct auth_server *auth, const uint8_t *body, size_t len, struct buf *out, struct err *err)
{
	(void)auth, (void)body, (void)len, (void)out;
	return malformed(err, "unexpected password message");
}

typedef enum auth_step step_fn(struct auth_server *auth, const uint8_t *body, size_t len, struct buf *out, struct err *err);

static step_fn *const steps[] = {
	[WANT_PLAIN] = step_plain,
	[WANT_MD5] = step_md5,
	[WANT_SASL] = step_sasl,
	[WANT_SASL_FIRST] = send_first,
	[WANT_SASL_FINAL] = step_final,
	[CLOSED] = step_closed,
};

enum auth_step auth_server_step(struct auth_server *auth, const uint8_t *body, size_t len, struct buf *out, struct err *err)
{
	enum auth_step step = steps[auth->state](auth, body, len, out, err);

	if (step == AUTH_FAILED)
		auth->state = CLOSED;
	return step;
}

bool auth_server_learned(const struct auth_server *auth, struct auth_secret *out)
{
	if (auth->learned.kind == AUTH_NONE)
		return false;
	auth_secret_copy(out, &auth->learned);
	return true;
}
