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

/* A login takes three HMACs and a hash. Through EVP each one looks up its algorithm by name, under locks, and allocates: twice what the
 * hashing itself costs. These functions are called deprecated for being just that, functions. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

struct part {
	const void *data;
	size_t len;
};

static void sha256(struct part a, struct part b, uint8_t out[AUTH_KEY_BYTES])
{
	SHA256_CTX ctx;

	ENSURE(SHA256_Init(&ctx) == 1 && SHA256_Update(&ctx, a.data, a.len) == 1 && SHA256_Update(&ctx, b.data, b.len) == 1 &&
	       SHA256_Final(out, &ctx) == 1);
	mem_wipe(&ctx, sizeof(ctx));
}

#pragma GCC diagnostic pop

void crypto_sha256(const void *data, size_t len, uint8_t out[AUTH_KEY_BYTES])
{
	sha256((struct part){ data, len }, (struct part){ "", 0 }, out);
}

/* RFC 2104; a key shorter than a block. */
void crypto_hmac(const uint8_t key[AUTH_KEY_BYTES], const void *data, size_t len, uint8_t out[AUTH_KEY_BYTES])
{
	uint8_t inner[SHA256_CBLOCK], outer[SHA256_CBLOCK], digest[AUTH_KEY_BYTES];

	for (size_t i = 0; i < SHA256_CBLOCK; i++) {
		uint8_t byte = i < AUTH_KEY_BYTES ? key[i] : 0;
		inner[i] = byte ^ 0x36;
		outer[i] = byte ^ 0x5c;
	}
	sha256((struct part){ inner, sizeof(inner) }, (struct part){ data, len }, digest);
	sha256((struct part){ outer, sizeof(outer) }, (struct part){ digest, sizeof(digest) }, out);
	mem_wipe(inner, sizeof(inner));
	mem_wipe(outer, sizeof(outer));
	mem_wipe(digest, sizeof(digest));
}

bool crypto_scram_keys(const char *password, uint32_t iterations, const uint8_t *salt, size_t salt_len, struct scram_keys *out)
{
	uint8_t salted[AUTH_KEY_BYTES];

	if (iterations < 1 || iterations > AUTH_ITERATIONS_MAX)
		return false;
	ENSURE(PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, (int)salt_len, (int)iterations, EVP_sha256(),
	                         sizeof(salted), salted) == 1);
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
