#include "scram_client.h"

void scram_client_clear(struct scram_client *s)
{
	buf_free(&s->nonce);
	buf_free(&s->message);
	mem_wipe(&s->keys, sizeof(s->keys));
}

void scram_client_first(struct scram_client *s, bool is_plus, struct buf *out)
{
	s->is_plus = is_plus;
	/* y: we could have bound, and the server did not offer it; it will notice if somebody took the offer away */
	s->gs2 = is_plus ? "p=" SCRAM_BINDING ",," : s->binding.len ? "y,," : "n,,";
	scram_add_nonce(&s->nonce);
	buf_reserve(&s->message, SCRAM_AUTH_MESSAGE_BYTES);
	/* no name, as libpq: the startup packet has it */
	buf_add_str(&s->message, "n=,r=");
	buf_add(&s->message, s->nonce.data, s->nonce.len);
	buf_add_str(out, s->gs2);
	buf_add(out, s->message.data, s->message.len);
}

static bool malformed(struct err *err, const char *what)
{
	return err_set(err, "08P01", "malformed SCRAM message from the server: %s", what);
}

static bool read_iterations(struct span digits, uint32_t *out)
{
	*out = 0;
	for (size_t i = 0; i < digits.len; i++) {
		if (digits.data[i] < '0' || digits.data[i] > '9' || *out > AUTH_ITERATIONS_MAX)
			return false;
		*out = *out * 10 + (uint32_t)(digits.data[i] - '0');
	}
	return *out >= 1 && *out <= AUTH_ITERATIONS_MAX;
}

/* r=ours+theirs,s=salt,i=iterations[,extensions] */
static bool read_first(struct scram_client *s, struct span text, struct span *nonce, struct err *err)
{
	struct attrs in = { text.data, text.data + text.len };
	struct span salt, iterations;

	if (!attr_take(&in, 'r', nonce) || !attr_take(&in, 's', &salt) || !attr_take(&in, 'i', &iterations))
		return malformed(err, "no nonce, salt or iterations");
	if (!scram_is_nonce(*nonce) || nonce->len <= s->nonce.len || !auth_equal(nonce->data, s->nonce.data, s->nonce.len))
		return malformed(err, "its nonce does not begin with ours");
	if (!base64_read(salt.data, salt.len, s->salt.bytes, sizeof(s->salt.bytes), &s->salt.len) || s->salt.len == 0)
		return malformed(err, "bad salt");
	if (!read_iterations(iterations, &s->salt.iterations))
		return err_set(err, "08P01", "the server asks for SCRAM iterations outside 1 to %d", AUTH_ITERATIONS_MAX);
	return true;
}

static bool has_keys_for(const struct auth_secret *secret, const struct scram_salt *salt)
{
	return secret->has_client_key && secret->iterations == salt->iterations && secret->salt_len == salt->len &&
	       memcmp(secret->salt, salt->bytes, salt->len) == 0;
}

static bool find_keys(struct scram_client *s, const char *user, const struct auth_secret *secret, struct err *err)
{
	if (has_keys_for(secret, &s->salt)) {
		memcpy(s->keys.client, secret->client_key, AUTH_KEY_BYTES);
		memcpy(s->keys.server, secret->server_key, AUTH_KEY_BYTES);
		crypto_sha256(s->keys.client, AUTH_KEY_BYTES, s->keys.stored);
		return true;
	}
	if (secret_cache_get(secret, &s->salt, &s->keys))
		return true;
	if (secret->kind == AUTH_TEXT) {
		s->is_derived = crypto_scram_keys(secret->text, s->salt.iterations, s->salt.bytes, s->salt.len, &s->keys);
		return s->is_derived;
	}
	err_set(err, "28P01", "the SCRAM verifier known for user \"%s\" is not the one the server has", user);
	return err_hint(err, "Copy the user's rolpassword from the server's pg_authid into auth_file again, or put the password there.");
}

bool scram_client_continue(struct scram_client *s, const char *user, const struct auth_secret *secret, struct span text,
                           struct buf *out, struct err *err)
{
	uint8_t proof[AUTH_KEY_BYTES];
	struct span nonce;

	if (!read_first(s, text, &nonce, err) || !find_keys(s, user, secret, err))
		return false;
	buf_add_str(out, "c=");
	scram_add_binding(out, span_of(s->gs2), &s->binding, s->is_plus);
	buf_add_str(out, ",r=");
	buf_add(out, nonce.data, nonce.len);
	buf_add_u8(&s->message, ',');
	buf_add(&s->message, text.data, text.len);
	buf_add_u8(&s->message, ',');
	buf_add(&s->message, out->data, out->len);
	scram_xor_proof(s->keys.stored, &s->message, s->keys.client, proof);
	buf_add_str(out, ",p=");
	base64_add(out, proof, sizeof(proof));
	return true;
}

bool scram_client_final(struct scram_client *s, const struct auth_secret *secret, struct span text, struct err *err)
{
	struct attrs in = { text.data, text.data + text.len };
	uint8_t want[AUTH_KEY_BYTES], got[AUTH_KEY_BYTES];
	struct span value;

	if (attr_take(&in, 'e', &value))
		return err_set(err, "28P01", "the server refused the SCRAM exchange: %.*s", (int)MIN(value.len, 64), value.data);
	if (!attr_take(&in, 'v', &value) || !scram_read_key(value, got))
		return malformed(err, "no signature");
	crypto_hmac(s->keys.server, s->message.data, s->message.len, want);
	s->is_proved = auth_equal(want, got, sizeof(want));
	if (!s->is_proved) {
		err_set(err, "28000", "the server does not know the password: its SCRAM signature is wrong");
		return err_hint(err, "Something else may be answering at the server's address.");
	}
	if (s->is_derived)
		secret_cache_put(secret, &s->salt, &s->keys);   /* not before: the salt may be anybody's */
	return true;
}

void scram_client_keep(const struct scram_client *s, struct auth_secret *out)
{
	out->has_client_key = true;
	out->iterations = s->salt.iterations;
	out->salt_len = s->salt.len;
	memcpy(out->salt, s->salt.bytes, s->salt.len);
	memcpy(out->client_key, s->keys.client, AUTH_KEY_BYTES);
	memcpy(out->stored_key, s->keys.stored, AUTH_KEY_BYTES);
	memcpy(out->server_key, s->keys.server, AUTH_KEY_BYTES);
}
