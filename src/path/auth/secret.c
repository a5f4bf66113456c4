#include "scram.h"

#include <stdatomic.h>
#include <stdlib.h>

#define VERIFIER_PREFIX "SCRAM-SHA-256$"

#define CACHED_MAX 8                    /* a server chooses the salt: what it makes us keep is bounded */

struct cached {
	struct cached *next;
	unsigned position;              /* the last one's is 0 */
	struct scram_salt salt;
	struct scram_keys keys;
};

/* Secrets are read by all workers: the list grows at its head by compare-and-swap; what stands in it stays, and never changes. */
struct auth_cache {
	atomic_uint refs;
	_Atomic(struct cached *) first;
};

static struct auth_cache *cache_new(void)
{
	struct auth_cache *cache = mem_alloc(sizeof(*cache));

	atomic_init(&cache->refs, 1);
	return cache;
}

static void cached_free(struct cached *cached)
{
	mem_wipe(cached, sizeof(*cached));
	mem_free(cached);
}

static void cache_unref(struct auth_cache *cache)
{
	struct cached *cached, *next;

	if (!cache || atomic_fetch_sub(&cache->refs, 1) != 1)
		return;
	for (cached = atomic_load(&cache->first); cached; cached = next) {
		next = cached->next;
		cached_free(cached);
	}
	mem_free(cache);
}

static struct cached *cache_first(const struct auth_secret *secret)
{
	return secret->cache ? atomic_load_explicit(&secret->cache->first, memory_order_acquire) : NULL;
}

static const struct cached *cache_find(const struct cached *from, const struct scram_salt *salt)
{
	for (; from; from = from->next)
		if (from->salt.iterations == salt->iterations && from->salt.len == salt->len &&
		    memcmp(from->salt.bytes, salt->bytes, salt->len) == 0)
			return from;
	return NULL;
}

bool secret_cache_get(const struct auth_secret *secret, const struct scram_salt *salt, struct scram_keys *keys)
{
	const struct cached *cached = cache_find(cache_first(secret), salt);

	if (cached)
		*keys = cached->keys;
	return cached != NULL;
}

void secret_cache_put(const struct auth_secret *secret, const struct scram_salt *salt, const struct scram_keys *keys)
{
	struct cached *first = cache_first(secret), *mine;

	if (!secret->cache || cache_find(first, salt))
		return;
	mine = mem_alloc(sizeof(*mine));
	mine->salt = *salt;
	mine->keys = *keys;
	do {
		mine->next = first;
		mine->position = first ? first->position + 1 : 0;
		if (mine->position >= CACHED_MAX || cache_find(first, salt)) {
			cached_free(mine);
			return;
		}
	} while (!atomic_compare_exchange_weak(&secret->cache->first, &first, mine));
}

bool secret_can_prove(const struct auth_secret *secret)
{
	return secret->kind == AUTH_TEXT || secret->has_client_key || cache_first(secret);
}

void secret_share_cache(struct auth_secret *secret, const struct auth_secret *from)
{
	struct auth_cache *before = secret->cache;

	secret->cache = from->cache;
	if (secret->cache)
		atomic_fetch_add(&secret->cache->refs, 1);
	cache_unref(before);
}

bool auth_secret_is_same(const struct auth_secret *a, const struct auth_secret *b)
{
	if (a->cache && a->cache == b->cache)
		return true;
	if (a->kind != b->kind)
		return false;
	if (a->kind != AUTH_SCRAM_VERIFIER)
		return a->kind == AUTH_NONE || strcmp(a->text, b->text) == 0;
	return a->iterations == b->iterations && a->salt_len == b->salt_len && memcmp(a->salt, b->salt, a->salt_len) == 0 &&
	       auth_equal(a->stored_key, b->stored_key, AUTH_KEY_BYTES) && auth_equal(a->server_key, b->server_key, AUTH_KEY_BYTES);
}

/* ---- parsing ---- */

static bool is_md5_hash(const char *written)
{
	return strncmp(written, "md5", 3) == 0 && strlen(written) == 35 && strspn(written + 3, "0123456789abcdef") == 32;
}

/* Up to the separator, which is stepped over; NULL separator: the rest. */
static bool take_until(const char **at, char separator, struct span *out)
{
	const char *end = separator ? strchr(*at, separator) : *at + strlen(*at);

	if (!end)
		return false;
	*out = (struct span){ *at, (size_t)(end - *at) };
	*at = separator ? end + 1 : end;
	return true;
}

static bool read_number(struct span digits, uint32_t *out)
{
	*out = 0;
	if (digits.len < 1 || digits.len > 9)
		return false;
	for (size_t i = 0; i < digits.len; i++) {
		if (digits.data[i] < '0' || digits.data[i] > '9')
			return false;
		*out = *out * 10 + (uint32_t)(digits.data[i] - '0');
	}
	return *out > 0;
}

static bool read_verifier(struct auth_secret *out, const char *at)
{
	struct span iterations, salt, stored, server;

	if (!take_until(&at, ':', &iterations) || !take_until(&at, '$', &salt) || !take_until(&at, ':', &stored) ||
	    !take_until(&at, '\0', &server))
		return false;
	return read_number(iterations, &out->iterations) &&
	       base64_read(salt.data, salt.len, out->salt, sizeof(out->salt), &out->salt_len) && out->salt_len > 0 &&
	       scram_read_key(stored, out->stored_key) && scram_read_key(server, out->server_key);
}

bool auth_secret_parse(struct auth_secret *out, const char *written, struct err *err)
{
	memset(out, 0, sizeof(*out));
	if (!*written)
		return true;
	if (strncmp(written, VERIFIER_PREFIX, strlen(VERIFIER_PREFIX)) == 0) {
		out->kind = AUTH_SCRAM_VERIFIER;
		if (read_verifier(out, written + strlen(VERIFIER_PREFIX))) {
			out->cache = cache_new();
			return true;
		}
		memset(out, 0, sizeof(*out));
		return err_set(err, "22023", "malformed SCRAM-SHA-256 verifier");
	}
	out->text = mem_strdup(written);
	out->kind = is_md5_hash(written) ? AUTH_MD5_HASH : AUTH_TEXT;
	out->cache = cache_new();
	return true;
}

void auth_secret_copy(struct auth_secret *out, const struct auth_secret *from)
{
	*out = *from;
	out->text = mem_strdup(from->text);
	if (out->cache)
		atomic_fetch_add(&out->cache->refs, 1);
}

void auth_secret_clear(struct auth_secret *secret)
{
	if (secret->text)
		mem_wipe(secret->text, strlen(secret->text));
	mem_free(secret->text);
	cache_unref(secret->cache);
	mem_wipe(secret, sizeof(*secret));
}

void auth_scram_verifier(const char *password, uint32_t iterations, const uint8_t *salt, size_t salt_len, struct auth_secret *out)
{
	struct scram_keys keys;

	ENSURE(salt_len <= AUTH_SALT_MAX);
	ENSURE(crypto_scram_keys(password, iterations, salt, salt_len, &keys));
	memset(out, 0, sizeof(*out));
	out->kind = AUTH_SCRAM_VERIFIER;
	out->iterations = iterations;
	out->salt_len = salt_len;
	memcpy(out->salt, salt, salt_len);
	memcpy(out->stored_key, keys.stored, AUTH_KEY_BYTES);
	memcpy(out->server_key, keys.server, AUTH_KEY_BYTES);
	mem_wipe(&keys, sizeof(keys));
}
