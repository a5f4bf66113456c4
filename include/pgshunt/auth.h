/* auth.h - passwords: trust, plain, md5, SCRAM-SHA-256, as the server of our clients and as the client of our servers.
 *
 * Pure step functions over bytes; the caller moves them. Sources: PostgreSQL manual 55.2.1 and 55.3 (SASL), RFC 5802, RFC 7677,
 * RFC 4013 (SASLprep: ASCII passes as it is; a password that isn't ASCII is used as its raw bytes, as libpq does when it can't be
 * prepared). All secrets compared in constant time. Unknown users and wrong passwords take the same steps and get the same answer. */
#ifndef PGSHUNT_AUTH_H
#define PGSHUNT_AUTH_H

#include "pgshunt/base.h"

enum auth_method { AUTH_TRUST, AUTH_PLAIN, AUTH_MD5, AUTH_SCRAM, AUTH_CERT, AUTH_HBA };

/* ---- what is known of a user: a line of auth_file ---- */

enum auth_secret_kind { AUTH_NONE, AUTH_TEXT, AUTH_MD5_HASH, AUTH_SCRAM_VERIFIER };

#define AUTH_KEY_BYTES 32
#define AUTH_SALT_MAX 64
#define AUTH_ITERATIONS 4096            /* PostgreSQL's default; 4096 rounds block a worker for about half a millisecond */
#define AUTH_ITERATIONS_MAX 1000000     /* more is never computed here: a peer's number must not stall a worker */

/* SCRAM keys known of a secret: derived from a text once for each salt (ours, the servers'), or proved by a client whose verifier we have.
 * Shared by the secret's copies in all threads, so that one login teaches all workers. */
struct auth_cache;

struct auth_secret {
	enum auth_secret_kind kind;
	char *text;                     /* AUTH_TEXT: the password; AUTH_MD5_HASH: "md5" + 32 hex */
	uint32_t iterations;            /* AUTH_SCRAM_VERIFIER; with has_client_key also of the keys below */
	uint8_t salt[AUTH_SALT_MAX]; size_t salt_len;
	uint8_t stored_key[AUTH_KEY_BYTES], server_key[AUTH_KEY_BYTES];
	/* keys that prove the password to a server with the same verifier, learned at one login; more of them are in the cache */
	bool has_client_key;
	uint8_t client_key[AUTH_KEY_BYTES];
	struct auth_cache *cache;       /* made by auth_secret_parse() but for AUTH_NONE; NULL: each login derives anew */
};

/* Reads "plain", "md5<32 hex>" or "SCRAM-SHA-256$it:salt$stored:server". "" is AUTH_NONE: the user exists, no password fits (as in
 * PostgreSQL). What begins like a verifier and is none is an error (22023), never a plain password. */
bool auth_secret_parse(struct auth_secret *out, const char *written, struct err *err);
/* A deep copy: the caller's to clear. */
void auth_secret_copy(struct auth_secret *out, const struct auth_secret *from);
void auth_secret_clear(struct auth_secret *secret);     /* wipes */
bool auth_secret_is_same(const struct auth_secret *a, const struct auth_secret *b);     /* as written, or known to be one password */

/* userlist.txt: `"user" "secret"` a line, what follows is ignored; ; and # comments; "" doubles a quote. Stricter than PgBouncer, which
 * reads on over the mistake: a quote that isn't closed on its line, a field without quotes, a user named twice are errors (F0000).
 * Immutable and reference-counted (atomic); found secrets live as long as the reference. */
struct auth_users;
struct auth_users *auth_users_parse(const char *path, struct err *err);        /* err names file:line */
struct auth_users *auth_users_ref(struct auth_users *users);
void auth_users_unref(struct auth_users **users);
const struct auth_secret *auth_users_find(const struct auth_users *users, const char *name);   /* NULL = unknown */
size_t auth_users_count(const struct auth_users *users);
/* After a reload, before anybody else has users: whose secret is the same as before keeps the keys that were learned meanwhile. */
void auth_users_keep_keys(struct auth_users *users, const struct auth_users *before);

/* ---- the proxy as server: one login of one client ---- */

enum auth_step { AUTH_CONTINUE, AUTH_OK, AUTH_FAILED };

struct auth_server;             /* opaque */

/* method must suit the secret: md5 with a SCRAM verifier is upgraded to SCRAM (as PgBouncer), plain works with all kinds; AUTH_HBA is
 * resolved by the caller. secret NULL: unknown user, goes through the same motions and fails. So does a secret that can't prove what the
 * method asks for (SCRAM with an md5 hash, AUTH_NONE). Appends the first Authentication message to out (for trust, and for cert, whose
 * certificate the caller has checked: AuthenticationOk and *step = AUTH_OK; but AUTH_FAILED for an unknown user: pass an AUTH_NONE
 * secret where anybody may come in). The secret is copied. */
struct auth_server *auth_server_new(enum auth_method method, const char *user, const struct auth_secret *secret,
                                    struct buf *out, enum auth_step *step);
/* The same over TLS: also offers SCRAM-SHA-256-PLUS bound to tls-server-end-point (RFC 5929): the hash of our certificate. len 0: not. */
struct auth_server *auth_server_new_bound(enum auth_method method, const char *user, const struct auth_secret *secret,
                                          const uint8_t *endpoint_hash, size_t len, struct buf *out, enum auth_step *step);
void auth_server_free(struct auth_server **auth);
/* A PasswordMessage/SASL body from the client ('p'). Appends what must be sent. AUTH_FAILED: err is 28P01 "password authentication failed
 * for user ..." or 08P01. */
enum auth_step auth_server_step(struct auth_server *auth, const uint8_t *body, size_t len, struct buf *out, struct err *err);
/* After AUTH_OK: what the proxy can log in to servers with on this client's behalf: a plain password seen, or the SCRAM ClientKey.
 * Returns false when nothing was learned. out is the caller's to clear. */
bool auth_server_learned(const struct auth_server *auth, struct auth_secret *out);

/* ---- the proxy as client: one login at one server ---- */

struct auth_client;
/* secret may be NULL or AUTH_NONE (then only trust works: 28P01 with a HINT naming the user otherwise). */
struct auth_client *auth_client_new(const char *user, const struct auth_secret *secret);
/* Over TLS: use SCRAM-SHA-256-PLUS if the server offers it; endpoint_hash is the hash of the server's certificate (RFC 5929). Before the
 * first step; at most AUTH_BINDING_MAX bytes. */
#define AUTH_BINDING_MAX 64
void auth_client_bind(struct auth_client *auth, const uint8_t *endpoint_hash, size_t len);
void auth_client_free(struct auth_client **auth);
/* An AuthenticationXXX message (code and rest, see wire_read_auth). Appends the answer ('p' message) if one is due. AUTH_OK at
 * AuthenticationOk - refused when SCRAM was begun and the server has not proved itself. */
enum auth_step auth_client_step(struct auth_client *auth, uint32_t code, const uint8_t *data, size_t len, struct buf *out, struct err *err);
/* After AUTH_OK: the secret with the keys that were derived for this server (has_client_key, its salt and iterations), to be given to
 * auth_client_new() next time in place of the old one: it skips the derivation while the server's salt stays, and still has the text for
 * when it doesn't. False when there is nothing new. out is the caller's to clear. */
bool auth_client_learned(const struct auth_client *auth, struct auth_secret *out);

/* ---- pieces, for tests and tools ---- */
void auth_md5(const char *user, const char *password, char out[36]);            /* "md5" + hex + NUL */
/* iterations 1 to AUTH_ITERATIONS_MAX, salt_len up to AUTH_SALT_MAX */
void auth_scram_verifier(const char *password, uint32_t iterations, const uint8_t *salt, size_t salt_len, struct auth_secret *out);
bool auth_equal(const void *a, const void *b, size_t len);                      /* constant time */

#endif
