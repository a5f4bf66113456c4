#include "scram.h"

bool attr_take(struct attrs *attrs, char name, struct span *value)
{
	size_t left = (size_t)(attrs->end - attrs->at);
	const char *comma;

	if (left < 2 || attrs->at[1] != '=' || (name && attrs->at[0] != name))
		return false;
	comma = memchr(attrs->at, ',', left);
	if (!comma)
		comma = attrs->end;
	value->data = attrs->at + (name ? 2 : 0);
	value->len = (size_t)(comma - value->data);
	attrs->at = comma == attrs->end ? comma : comma + 1;
	return true;
}

bool scram_is_text(const uint8_t *data, size_t len)
{
	return len > 0 && len <= SCRAM_MESSAGE_MAX && !memchr(data, 0, len);
}

bool scram_is_nonce(struct span nonce)
{
	for (size_t i = 0; i < nonce.len; i++)
		if (nonce.data[i] < 0x21 || nonce.data[i] > 0x7e)
			return false;
	return nonce.len > 0;
}

void scram_add_nonce(struct buf *out)
{
	uint8_t raw[SCRAM_NONCE_BYTES];

	random_bytes(raw, sizeof(raw));
	base64_add(out, raw, sizeof(raw));
}

void scram_add_binding(struct buf *out, struct span gs2, const struct scram_binding *binding, bool is_plus)
{
	struct buf raw = { 0 };

	buf_add(&raw, gs2.data, gs2.len);
	if (is_plus)
		buf_add(&raw, binding->hash, binding->len);
	base64_add(out, raw.data, raw.len);
	buf_free(&raw);
}

void scram_xor_proof(const uint8_t stored[AUTH_KEY_BYTES], const struct buf *message, const uint8_t in[AUTH_KEY_BYTES],
                     uint8_t out[AUTH_KEY_BYTES])
{
	uint8_t signature[AUTH_KEY_BYTES];

	crypto_hmac(stored, message->data, message->len, signature);
	for (size_t i = 0; i < AUTH_KEY_BYTES; i++)
		out[i] = in[i] ^ signature[i];
}

bool scram_read_key(struct span text, uint8_t key[AUTH_KEY_BYTES])
{
	size_t len;

	return base64_read(text.data, text.len, key, AUTH_KEY_BYTES, &len) && len == AUTH_KEY_BYTES;
}
