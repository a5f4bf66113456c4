/* crypto.h - the primitives of auth on OpenSSL's libcrypto, and base64 (private to auth). */
#ifndef AUTH_CRYPTO_H
#define AUTH_CRYPTO_H

#include "pgshunt/auth.h"

/* hex(md5(data || salt)) and a NUL; false: the library has no MD5 (FIPS mode), out is "" */
bool crypto_md5_hex(const void *data, size_t len, const void *salt, size_t salt_len, char out[33]);
void crypto_sha256(const void *data, size_t len, uint8_t out[AUTH_KEY_BYTES]);
void crypto_hmac(const uint8_t key[AUTH_KEY_BYTES], const void *data, size_t len, uint8_t out[AUTH_KEY_BYTES]);

/* The three keys of a password (RFC 5802, section 3). */
struct scram_keys {
	uint8_t client[AUTH_KEY_BYTES], stored[AUTH_KEY_BYTES], server[AUTH_KEY_BYTES];
};
/* False when the iterations are outside 1 to AUTH_ITERATIONS_MAX: nothing is computed. */
bool crypto_scram_keys(const char *password, uint32_t iterations, const uint8_t *salt, size_t salt_len, struct scram_keys *out);

void base64_add(struct buf *out, const void *data, size_t len);
/* Strict: whole groups, padding only at the end, no blanks, no stray bits. False also when it needs more than max bytes. */
bool base64_read(const char *text, size_t text_len, uint8_t *out, size_t max, size_t *len);

#endif
