#include "crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

bool auth_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

static bool md5(const void *data, size_t len, const void *salt, size_t salt_len, uint8_t out[16])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool is_done;

	ENSURE(ctx != NULL);
	is_done = EVP_DigestInit_ex(ctx, EVP_md5(), NULL) == 1 && EVP_DigestUpdate(ctx, data, len) == 1 &&
	          EVP_DigestUpdate(ctx, salt, salt_len) == 1 && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	return is_done;
}

bool crypto_md5_hex(const void *data, size_t len, const void *salt, size_t salt_len, char out[33])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t digest[16];

	out[0] = '\0';
	if (!md5(data, len, salt, salt_len, digest))
		return false;
	for (size_t i = 0; i < sizeof(digest); i++) {
		out[2 * i] = digits[digest[i] >> 4];
		out[2 * i + 1] = digits[digest[i] & 15];
	}
	out[32] = '\0';
	return true;
}

void auth_md5(const char *user, const char *password, char out[36])
{
	memcpy(out, "md5", 3);
	crypto_md5_hex(password, strlen(password), user, strlen(user), out + 3);
}

/* A login takes two HMACs and a hash. Through EVP each one looks up its algorithm by name, under locks, and allocates, PBKDF2 at every round:
 * twice what the hashing itself costs. These functions are called deprecated for being just that, functions. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

void crypto_sha256(const void *data, size_t len, uint8_t out[AUTH_KEY_BYTES])
{
	SHA256_CTX ctx;

	SHA256_Init(&ctx);
	SHA256_Update(&ctx, data, len);
	SHA256_Final(out, &ctx);
	mem_wipe(&ctx, sizeof(ctx));
}

/* RFC 2104: both hashes behind their padded key. */
struct hmac_key {
	SHA256_CTX inner, outer;
};

static void hmac_begin(struct hmac_key *key, const void *secret, size_t len)
{
	uint8_t inner[SHA256_CBLOCK] = { 0 }, outer[SHA256_CBLOCK];

	if (len > sizeof(inner))
		crypto_sha256(secret, len, inner);
	else if (len)
		memcpy(inner, secret, len);
	for (size_t i = 0; i < sizeof(inner); i++) {
		outer[i] = inner[i] ^ 0x5c;
		inner[i] ^= 0x36;
	}
	SHA256_Init(&key->inner);
	SHA256_Update(&key->inner, inner, sizeof(inner));
	SHA256_Init(&key->outer);
	SHA256_Update(&key->outer, outer, sizeof(outer));
	mem_wipe(inner, sizeof(inner));
	mem_wipe(outer, sizeof(outer));
}

/* ctx: key->inner behind the message */
static void hmac_end(const struct hmac_key *key, SHA256_CTX *ctx, uint8_t out[AUTH_KEY_BYTES])
{
	SHA256_Final(out, ctx);
	*ctx = key->outer;
	SHA256_Update(ctx, out, AUTH_KEY_BYTES);
	SHA256_Final(out, ctx);
}

void crypto_hmac(const uint8_t key[AUTH_KEY_BYTES], const void *data, size_t len, uint8_t out[AUTH_KEY_BYTES])
{
	struct hmac_key both;
	SHA256_CTX ctx;

	hmac_begin(&both, key, AUTH_KEY_BYTES);
	ctx = both.inner;
	SHA256_Update(&ctx, data, len);
	hmac_end(&both, &ctx, out);
	mem_wipe(&both, sizeof(both));
	mem_wipe(&ctx, sizeof(ctx));
}

/* PBKDF2 of one block (RFC 8018, section 5.2). */
static void salt_password(const char *password, uint32_t iterations, const uint8_t *salt, size_t salt_len, uint8_t out[AUTH_KEY_BYTES])
{
	static const uint8_t block[4] = { 0, 0, 0, 1 };
	uint8_t round[AUTH_KEY_BYTES];
	struct hmac_key key;
	SHA256_CTX ctx;

	hmac_begin(&key, password, strlen(password));
	ctx = key.inner;
	SHA256_Update(&ctx, salt, salt_len);
	SHA256_Update(&ctx, block, sizeof(block));
	hmac_end(&key, &ctx, round);
	memcpy(out, round, sizeof(round));
	for (uint32_t i = 1; i < iterations; i++) {
		ctx = key.inner;
		SHA256_Update(&ctx, round, sizeof(round));
		hmac_end(&key, &ctx, round);
		for (size_t k = 0; k < sizeof(round); k++)
			out[k] ^= round[k];
	}
	mem_wipe(round, sizeof(round));
	mem_wipe(&key, sizeof(key));
	mem_wipe(&ctx, sizeof(ctx));
}

#pragma GCC diagnostic pop

bool crypto_scram_keys(const char *password, uint32_t iterations, const uint8_t *salt, size_t salt_len, struct scram_keys *out)
{
	uint8_t salted[AUTH_KEY_BYTES];

	if (iterations < 1 || iterations > AUTH_ITERATIONS_MAX)
		return false;
	salt_password(password, iterations, salt, salt_len, salted);
	crypto_hmac(salted, "Client Key", 10, out->client);
	crypto_hmac(salted, "Server Key", 10, out->server);
	crypto_sha256(out->client, AUTH_KEY_BYTES, out->stored);
	mem_wipe(salted, sizeof(salted));
	return true;
}

/* ---- base64 (RFC 4648, section 4) ---- */

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_add(struct buf *out, const void *data, size_t len)
{
	const uint8_t *at = data;

	buf_reserve(out, (len + 2) / 3 * 4);
	for (size_t i = 0; i < len; i += 3) {
		size_t have = MIN(len - i, 3);
		uint32_t group = (uint32_t)at[i] << 16;
		char digits[4];

		group |= have > 1 ? (uint32_t)at[i + 1] << 8 : 0;
		group |= have > 2 ? at[i + 2] : 0;
		for (size_t k = 0; k < 4; k++)
			digits[k] = k <= have ? base64_digits[group >> (18 - 6 * k) & 63] : '=';
		buf_add(out, digits, sizeof(digits));
	}
}

static int base64_value(char digit)
{
	if (digit >= 'A' && digit <= 'Z')
		return digit - 'A';
	if (digit >= 'a' && digit <= 'z')
		return digit - 'a' + 26;
	if (digit >= '0' && digit <= '9')
		return digit - '0' + 52;
	return digit == '+' ? 62 : digit == '/' ? 63 : -1;
}

/* One group of four digits, the last of which may be padding; the bytes it makes, 0 when it is malformed. */
static size_t base64_group(const char *text, bool is_last, uint8_t out[3])
{
	size_t bytes = !is_last || text[3] != '=' ? 3 : text[2] != '=' ? 2 : 1;
	uint32_t group = 0;

	for (size_t k = 0; k < 4; k++) {
		int value = k <= bytes ? base64_value(text[k]) : 0;
		if (value < 0)
			return 0;
		group = group << 6 | (uint32_t)value;
	}
	if (group & ((1u << 8 * (3 - bytes)) - 1))
		return 0;               /* bits that stand for no byte: two texts would mean the same */
	out[0] = (uint8_t)(group >> 16);
	out[1] = (uint8_t)(group >> 8);
	out[2] = (uint8_t)group;
	return bytes;
}

bool base64_read(const char *text, size_t text_len, uint8_t *out, size_t max, size_t *len)
{
	*len = 0;
	if (text_len % 4)
		return false;
	for (size_t i = 0; i < text_len; i += 4) {
		uint8_t group[3];
		size_t bytes = base64_group(text + i, i + 4 == text_len, group);

		if (bytes == 0 || *len + bytes > max)
			return false;
		memcpy(out + *len, group, bytes);
		*len += bytes;
	}
	return true;
}
