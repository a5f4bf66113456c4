/* secret.h - what auth_secret's parts do for the rest of auth (private to auth). */
#ifndef AUTH_SECRET_H
#define AUTH_SECRET_H

#include "crypto.h"

/* Keys once derived for a text, found again by salt and iterations. False: not there (or the secret has no cache). */
struct scram_salt {
	uint32_t iterations;
	size_t len;
	uint8_t bytes[AUTH_SALT_MAX];
};
bool secret_cache_get(const struct auth_secret *secret, struct scram_salt *salt, struct scram_keys *keys);
/* The first one stays. */
void secret_cache_put(const struct auth_secret *secret, const struct scram_salt *salt, const struct scram_keys *keys);

#endif
