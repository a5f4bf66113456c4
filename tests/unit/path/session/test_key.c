/* Cancel keys: what is in them, and that a session is found by its own alone. */
#include "../../../../src/path/session/private.h"
#include "test.h"

static struct conf conf;
static struct session_env env;

static struct session *give(unsigned peer_id)
{
	static struct session s;

	s = (struct session){ .env = &env, .conf = &conf };
	conf.opt.peer_id = peer_id;
	session_give_key(&s);
	return &s;
}

static bool is_found(const struct session *s)
{
	return map_get(&env.by_key, session_key_id(s->key_pid, s->key, s->key_len)) == s;
}

static unsigned peer_of(const struct session *s)
{
	return session_key_peer(s->key_pid, s->key, s->key_len);
}

TEST(key, says_its_peer)
{
	static const unsigned ids[] = { 1, 2, 255, 256, 8192, CONF_PEER_ID_MAX };

	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		struct session *s = give(ids[i]);
		CHECK_INT(s->key_len, 4);
		CHECK(s->key_pid < 0x80000000u);
		CHECK_INT(peer_of(s), ids[i]);
		CHECK(is_found(s));
		session_lengthen_key(s);
		CHECK_INT(s->key_len, 32);
		CHECK_INT(peer_of(s), ids[i]);
		CHECK(is_found(s));
		session_take_pid(s, 4711);
		CHECK_INT(peer_of(s), ids[i]);
		CHECK(is_found(s));
		session_drop_key(s);
		CHECK(!is_found(s));
	}
	map_free(&env.by_key);
}

TEST(key, without_a_peer)
{
	for (size_t worker = 0; worker < 64; worker++) {
		struct session *s;
		env.worker = worker;
		env.last_key = 0xffffff - (unsigned)worker % 2;
		s = give(0);
		CHECK_INT(s->key_pid >> 24, worker);
		CHECK_INT(peer_of(s), 0);
		session_lengthen_key(s);
		CHECK_INT(peer_of(s), 0);
		session_drop_key(s);
	}
	env.worker = 0;
	map_free(&env.by_key);
}

TEST(key, of_a_servers_process_says_nothing_when_short)
{
	struct session *s = give(CONF_PEER_ID_MAX);

	session_take_pid(s, 4194303);
	CHECK_INT(peer_of(s), 0);
	CHECK(is_found(s));
	session_drop_key(s);
	map_free(&env.by_key);
}

TEST(key, is_chance)
{
	uint32_t pid = give(5)->key_pid, same_pids = 0, same_secrets = 0;
	uint8_t secret[4];

	memcpy(secret, give(5)->key, sizeof(secret));
	for (int i = 0; i < 1000; i++) {
		struct session *s = give(5);
		same_pids += s->key_pid == pid;
		same_secrets += memcmp(s->key, secret, sizeof(secret)) == 0;
		session_drop_key(s);
	}
	CHECK(same_pids < 5);
	CHECK_INT(same_secrets, 0);
	map_free(&env.by_key);
}
