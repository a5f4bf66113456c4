#include "scram_server.h"

#define SALT_BYTES 16

/* The salt of a user who has none: always the same for one name, and of a process-wide secret key, so that asking twice tells nobody
 * whether the user exists. Users with a plain password get theirs the same way. */
static void mock_salt(const char *user, struct scram_salt *salt)
{
	struct buf text = { 0 };
	struct hash128 hash;

	buf_add_str(&text, "scram salt of ");
	buf_add_str(&text, user);
	hash = hash_bytes(text.data, text.len);
	buf_free(&text);
	salt->iterations = AUTH_ITERATIONS;
	salt->len = SALT_BYTES;
	memcpy(salt->bytes, &hash, SALT_BYTES);
}

static void use_verifier(struct scram_server *s, const struct auth_secret *secret)
{
	s->has_keys = true;
	s->salt.iterations = secret->iterations;
	s->salt.len = secret->salt_len;
	memcpy(s->salt.bytes, secret->salt, secret->salt_len);
	memcpy(s->keys.stored, secret->stored_key, AUTH_KEY_BYTES);
	memcpy(s->keys.server, secret->server_key, AUTH_KEY_BYTES);
}

void scram_server_init(struct scram_server *s, const char *user, const struct auth_secret *secret)
{
	if (secret->kind == AUTH_SCRAM_VERIFIER) {
		use_verifier(s, secret);
		return;
	}
	mock_salt(user, &s->salt);
	if (secret->kind == AUTH_TEXT) {
		s->has_keys = secret_cache_get(secret, &s->salt, &s->keys);
		return;
	}
	s->is_mock = s->has_keys = true;
}

void scram_server_clear(struct scram_server *s)
{
	buf_free(&s->gs2);
	buf_free(&s->nonce);
	buf_free(&s->message);
	mem_wipe(&s->keys, sizeof(s->keys));
}

/* Fills keys if they are missing. */
static bool derive(struct scram_server *s, const struct auth_secret *secret)
{
	if (s->has_keys)
		return true;
	s->has_keys = crypto_scram_keys(secret->text, s->salt.iterations, s->salt.bytes, s->salt.len, &s->keys);
	if (s->has_keys)
		secret_cache_put(secret, &s->salt, &s->keys);
	return s->has_keys;
}

bool scram_server_choose(struct scram_server *s, struct span mechanism)
{
	s->is_plus = s->binding.len > 0 && span_is(mechanism, SCRAM_PLUS_NAME);
	return s->is_plus || span_is(mechanism, SCRAM_NAME);
}

static bool malformed(struct err *err, const char *what)
{
	return err_set(err, "08P01", "malformed SCRAM message: %s", what);
}

/* Does the flag fit the mechanism? n: client can't bind; y: it can and thinks we can't; p=TYPE: bound. */
static bool check_flag(const struct scram_server *s, struct span flag, struct err *err)
{
	if (s->is_plus)
		return span_is(flag, "p=" SCRAM_BINDING) ? true : malformed(err, "channel binding was chosen, but isn't used");
	if (span_is(flag, "n"))
		return true;
	if (!span_is(flag, "y"))
		return malformed(err, "unexpected channel binding flag");
	if (s->binding.len == 0)
		return true;
	/* Somebody between us took the PLUS mechanism out of our offer. */
	err_set(err, "28000", "SCRAM channel binding negotiation error");
	return err_hint(err, "The client supports channel binding and was told that pgshunt does not, which it does.");
}

/* "n,," "y,," "p=tls-server-end-point,,": flag, no authorization identity. Steps over it and keeps it. */
static bool take_gs2(struct scram_server *s, struct attrs *in, struct err *err)
{
	const char *start = in->at, *comma = memchr(in->at, ',', (size_t)(in->end - in->at));

	if (!comma || comma + 1 == in->end)
		return malformed(err, "no gs2 header");
	if (!check_flag(s, (struct span){ start, (size_t)(comma - start) }, err))
		return false;
	if (comma[1] != ',')
		return err_set(err, "0A000", "SCRAM authorization identities are not supported");
	in->at = comma + 2;
	buf_add(&s->gs2, start, (size_t)(in->at - start));
	return true;
}

static void add_server_first(struct scram_server *s, struct buf *reply)
{
	size_t start = reply->len;

	scram_add_nonce(&s->nonce);
	buf_add_str(reply, "r=");
	buf_add(reply, s->nonce.data, s->nonce.len);
	buf_add_str(reply, ",s=");
	base64_add(reply, s->salt.bytes, s->salt.len);
	buf_printf(reply, ",i=%u", s->salt.iterations);
	buf_add_u8(&s->message, ',');
	buf_add(&s->message, reply->data + start, reply->len - start);
	buf_add_u8(&s->message, ',');
}

bool scram_server_first(struct scram_server *s, struct span text, struct buf *reply, struct err *err)
{
	struct attrs in = { text.data, text.data + text.len };
	struct span name, nonce;

	if (!take_gs2(s, &in, err))
		return false;
	buf_reserve(&s->message, SCRAM_AUTH_MESSAGE_BYTES);
	buf_add(&s->message, in.at, (size_t)(in.end - in.at));
	if (attr_take(&in, 'm', &name))
		return err_set(err, "0A000", "client requires an unsupported SCRAM extension");
	/* the name is the startup packet's: PostgreSQL ignores this one too */
	if (!attr_take(&in, 'n', &name) || !attr_take(&in, 'r', &nonce))
		return malformed(err, "no user name or nonce");
	if (!scram_is_nonce(nonce))
		return malformed(err, "non-printable characters in the nonce");
	buf_add(&s->nonce, nonce.data, nonce.len);
	add_server_first(s, reply);
	return true;
}

static bool is_bound_right(const struct scram_server *s, struct span written)
{
	struct buf want = { 0 };
	bool is_same;

	scram_add_binding(&want, (struct span){ (const char *)s->gs2.data, s->gs2.len }, &s->binding, s->is_plus);
	is_same = want.len == written.len && auth_equal(want.data, written.data, want.len);
	buf_free(&want);
	return is_same;
}

/* c=..., r=..., extensions, p=... at the end. Adds what stands before the proof to the AuthMessage. */
static bool read_final(struct scram_server *s, struct span text, uint8_t proof[AUTH_KEY_BYTES], struct err *err)
{
	struct attrs in = { text.data, text.data + text.len };
	struct span binding, nonce, written, extension;

	if (!attr_take(&in, 'c', &binding) || !attr_take(&in, 'r', &nonce))
		return malformed(err, "no channel binding or nonce");
	if (!is_bound_right(s, binding))
		return err_set(err, s->is_plus ? "28000" : "08P01", "SCRAM channel binding check failed");
	if (nonce.len != s->nonce.len || !auth_equal(nonce.data, s->nonce.data, nonce.len))
		return malformed(err, "nonce does not match");
	while (!attr_take(&in, 'p', &written))
		if (!attr_take(&in, 0, &extension))
			return malformed(err, "no proof");
	if (in.at != in.end || !scram_read_key(written, proof))
		return malformed(err, "malformed proof");
	buf_add(&s->message, text.data, (size_t)(written.data - text.data) - 3);        /* without ",p=" */
	return true;
}

static bool is_proved(struct scram_server *s, const uint8_t proof[AUTH_KEY_BYTES])
{
	uint8_t stored[AUTH_KEY_BYTES];
	bool is_same;

	scram_xor_proof(s->keys.stored, &s->message, proof, s->keys.client);
	crypto_sha256(s->keys.client, AUTH_KEY_BYTES, stored);
	is_same = auth_equal(stored, s->keys.stored, AUTH_KEY_BYTES);
	return is_same && !s->is_mock;
}

bool scram_server_final(struct scram_server *s, const struct auth_secret *secret, struct span text, struct buf *reply, struct err *err)
{
	uint8_t proof[AUTH_KEY_BYTES], signature[AUTH_KEY_BYTES];

	if (!read_final(s, text, proof, err))
		return false;
	if (!derive(s, secret) || !is_proved(s, proof))
		return false;
	secret_cache_put(secret, &s->salt, &s->keys);
	crypto_hmac(s->keys.server, s->message.data, s->message.len, signature);
	buf_add_str(reply, "v=");
	base64_add(reply, signature, sizeof(signature));
	return true;
}
