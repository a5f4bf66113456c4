/* secret.h - what auth_secret's parts do for the rest of auth (private to auth). */
#ifndef AUTH_SECRET_H
#define AUTH_SECRET_H

#include "crypto.h"

struct scram_salt {
	uint32_t iterations;
	size_t len;
	uint8_t bytes[AUTH_SALT_MAX];
};
/* Keys once derived, or proved by a client, found again by salt and iterations. False: not there (or the secret has no cache). */
bool secret_cache_get(const struct auth_secret *secret, const struct scram_salt *salt, struct scram_keys *keys);
/* All three of them; those that are there stay. */
void secret_cache_put(const struct auth_secret *secret, const struct scram_salt *salt, const struct scram_keys *keys);
/* Whether there is anything to answer a server's SCRAM with: the text, or keys. */
bool secret_can_prove(const struct auth_secret *secret);
/* For one that stands for the same password. */
void secret_share_cache(struct auth_secret *secret, const struct auth_secret *from);

#endif
