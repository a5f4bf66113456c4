/* The key a client gets for its cancel requests: a process id and a secret.
 *
 *   process id, pool_mode session   that of the server, as PostgreSQL gives it: below 2^30
 *   process id without a peer_id    the worker, then a counter: below 2^30
 *   process id with a peer_id       01 and 14 bits of peer_id and 16 of chance
 *   secret, protocol 3.0            4 bytes of chance
 *   secret, protocol 3.2            2 bytes of peer_id (0 = none), 30 of chance
 *
 * The 4 bytes stay whole: peer_id in them would leave 18 bits, which can be tried out within seconds. So the short key of a session that has
 * its server's process id says nothing of the peer, and all of them have to be asked. */
#include "private.h"

#define PID_HAS_PEER 0x40000000u        /* never the sign: clients print the number, some as a signed one */

struct hash128 session_key_id(uint32_t pid, const uint8_t *key, size_t len)
{
	struct hash128 id = hash_bytes(key, len);

	id.hi += pid;
	return id;
}

static struct hash128 id_of(const struct session *s)
{
	return session_key_id(s->key_pid, s->key, s->key_len);
}

static void draw(struct session *s, unsigned peer_id)
{
	struct session_env *env = s->env;
	uint16_t chance;

	random_bytes(s->key, sizeof(s->key));
	if (peer_id) {
		random_bytes(&chance, sizeof(chance));
		s->key_pid = PID_HAS_PEER | peer_id << 16 | chance;
		return;
	}
	env->last_key = (env->last_key % 0xffffff) + 1;
	s->key_pid = (uint32_t)env->worker << 24 | env->last_key;
}

void session_give_key(struct session *s)
{
	unsigned peer_id = (unsigned)s->conf->opt.peer_id;

	s->key_len = KEY_BYTES_3_0;
	do
		draw(s, peer_id);
	while (map_get(&s->env->by_key, id_of(s)));
	map_put(&s->env->by_key, id_of(s), s);
}

/* Protocol 3.2. */
void session_lengthen_key(struct session *s)
{
	unsigned peer_id = (unsigned)s->conf->opt.peer_id;

	map_remove(&s->env->by_key, id_of(s));
	s->key_len = sizeof(s->key);
	s->key[0] = (uint8_t)(peer_id >> 8);
	s->key[1] = (uint8_t)peer_id;
	map_put(&s->env->by_key, id_of(s), s);
}

/* Clients of session pooling compare it with pg_backend_pid(). */
void session_take_pid(struct session *s, uint32_t pid)
{
	map_remove(&s->env->by_key, id_of(s));
	s->key_pid = pid;
	map_put(&s->env->by_key, id_of(s), s);
}

void session_drop_key(struct session *s)
{
	map_remove(&s->env->by_key, id_of(s));
}

unsigned session_key_peer(uint32_t pid, const uint8_t *key, size_t len)
{
	if (len == KEY_BYTES_3_0)
		return pid & PID_HAS_PEER ? pid >> 16 & CONF_PEER_ID_MAX : 0;
	return ((unsigned)key[0] << 8 | key[1]) & CONF_PEER_ID_MAX;
}
