/* scram.h - what both sides of SCRAM-SHA-256 share (private to auth). Sources: RFC 5802, RFC 7677, PostgreSQL manual 55.3. */
#ifndef AUTH_SCRAM_H
#define AUTH_SCRAM_H

#include "secret.h"

#define SCRAM_NAME "SCRAM-SHA-256"
#define SCRAM_PLUS_NAME "SCRAM-SHA-256-PLUS"
#define SCRAM_BINDING "tls-server-end-point"
#define SCRAM_MESSAGE_MAX 1024          /* as PostgreSQL: PG_MAX_SASL_MESSAGE_LENGTH */
#define SCRAM_NONCE_BYTES 18
#define SCRAM_AUTH_MESSAGE_BYTES 256    /* what AuthMessage comes to with libpq and PostgreSQL */

/* Codes of AuthenticationXXX. */
enum {
	AUTH_CODE_OK = 0,
	AUTH_CODE_PLAIN = 3,
	AUTH_CODE_MD5 = 5,
	AUTH_CODE_SASL = 10,
	AUTH_CODE_SASL_CONTINUE = 11,
	AUTH_CODE_SASL_FINAL = 12,
};

/* The hash of a TLS certificate, for channel binding; len 0: none. */
struct scram_binding {
	uint8_t hash[AUTH_BINDING_MAX];
	size_t len;
};

/* A SCRAM message is name=value pairs between commas. */
struct attrs {
	const char *at, *end;
};
/* Takes the next pair if it is this one (name 0: whatever it is; *value then begins with the name and '='). False: it isn't, and
 * nothing is taken. */
bool attr_take(struct attrs *attrs, char name, struct span *value);

bool scram_is_text(const uint8_t *data, size_t len);    /* not too long, no NUL */
bool scram_is_nonce(struct span nonce);                 /* printable ASCII, not empty */
void scram_add_nonce(struct buf *out);                  /* a fresh one */
/* The value of c=: the gs2 header, and behind it the certificate's hash where it is PLUS. */
void scram_add_binding(struct buf *out, struct span gs2, const struct scram_binding *binding, bool is_plus);
/* proof = client key XOR HMAC(stored key, message); the same again takes the client key out of a proof */
void scram_xor_proof(const uint8_t stored[AUTH_KEY_BYTES], const struct buf *message, const uint8_t in[AUTH_KEY_BYTES],
                     uint8_t out[AUTH_KEY_BYTES]);
bool scram_read_key(struct span text, uint8_t key[AUTH_KEY_BYTES]);

#endif
