/* Cancel requests: found by the key in one of the workers, or passed on to the peer whose key it is. The connection a request came by is
 * closed when the server has been told, as in PostgreSQL: libpq waits for that, and a statement sent after it must not be hit.
 *
 * A request is a letter. It walks from its own worker to the next until one has the session. If none has, it becomes one letter for each
 * peer that may have it; and it goes home. A request that a peer passed on ends in "\0pgshunt" behind its key: it is not passed on again. */
#include "private.h"

static const uint8_t passed_on_mark[] = { 0, 'p', 'g', 's', 'h', 'u', 'n', 't' };

/* A connection that brought a request, until that has been dealt with. */
struct canceler {
	struct list link;               /* env->cancelers */
	struct session_env *env;
	struct stream *stream;          /* NULL: has left; the request goes on */
	unsigned under_way;             /* letters */
};

/* ---- letters ---- */

static struct cancel_letter *letter_new(struct canceler *c, uint32_t pid, const uint8_t *key, size_t key_len)
{
	struct cancel_letter *letter = mem_alloc(sizeof(*letter) + key_len);

	letter->home = c->env->worker;
	letter->canceler = c;
	letter->pid = pid;
	letter->key_len = key_len;
	memcpy(letter->key, key, key_len);
	c->under_way++;
	return letter;
}

void cancel_letter_free(struct cancel_letter **letter)
{
	mem_wipe((*letter)->key, (*letter)->key_len);
	mem_free(*letter);
	*letter = NULL;
}

static void letter_send(struct session_env *env, struct cancel_letter *letter)
{
	env->send_cancel(env->owner, letter);
}

static void letter_is_done(void *owner)
{
	struct cancel_letter *letter = owner;

	letter->stage = CANCEL_DONE;
	letter_send(letter->holder, letter);
}

/* ---- the key's owner ---- */

static struct session *find_session(struct session_env *env, const struct cancel_letter *letter)
{
	struct session *s = map_get(&env->by_key, session_key_id(letter->pid, letter->key, letter->key_len));

	if (!s || letter->pid != s->key_pid || letter->key_len != s->key_len || !auth_equal(letter->key, s->key, s->key_len))
		return NULL;
	return s;
}

static void ask_here(struct session_env *env, struct cancel_letter *letter)
{
	struct session *s = find_session(env, letter);

	letter->asked++;
	letter->holder = env;
	if (!s) {
		letter_send(env, letter);
		return;
	}
	session_step(s, EV_K_CANCEL);
	if (!s->server || !pool_cancel_watch(s->server, letter_is_done, letter))
		letter_is_done(letter);
}

/* ---- at home ---- */

static void canceler_free(struct canceler *c)
{
	list_remove(&c->link);
	stream_free(&c->stream);
	c->env->canceler_count--;
	mem_free(c);
}

static void canceler_event(void *owner, enum stream_event event)
{
	struct canceler *c = owner;

	switch (event) {
	case STREAM_CONNECTED:
	case STREAM_DRAINED:
		break;
	case STREAM_READABLE:
		stream_consume(c->stream, stream_len(c->stream));
		break;
	case STREAM_EOF:                /* PostgreSQL doesn't notice either */
		break;
	case STREAM_FAILED:
		stream_free(&c->stream);
		break;
	}
}

static void ask_peer(struct canceler *c, const struct cancel_letter *letter, unsigned peer)
{
	uint8_t key[KEY_BYTES_MAX + sizeof(passed_on_mark)];
	struct cancel_letter *copy;

	memcpy(key, letter->key, letter->key_len);
	memcpy(key + letter->key_len, passed_on_mark, sizeof(passed_on_mark));
	copy = letter_new(c, letter->pid, key, letter->key_len + sizeof(passed_on_mark));
	mem_wipe(key, sizeof(key));
	copy->stage = CANCEL_PASS_ON;
	copy->is_passed_on = true;
	copy->peer = peer;
	letter_send(c->env, copy);
}

/* Nobody here has the key: whoever else may. Returns how many are asked. */
static unsigned ask_peers(struct canceler *c, const struct cancel_letter *letter)
{
	const struct conf *conf = c->env->conf;
	unsigned peer = session_key_peer(letter->pid, letter->key, letter->key_len), asked = 0;

	if (letter->is_passed_on || conf->opt.peer_id == 0 || peer == conf->opt.peer_id)
		return 0;
	for (size_t i = 0; i < conf->peer_count; i++) {
		unsigned id = conf->peers[i].id;
		if (id == conf->opt.peer_id || (peer && id != peer))
			continue;
		ask_peer(c, letter, id);
		asked++;
	}
	return asked;
}

static void take_home(struct cancel_letter *letter)
{
	struct canceler *c = letter->canceler;

	c->under_way--;
	if (letter->stage == CANCEL_NOT_FOUND && !ask_peers(c, letter) && c->env->conf->opt.log_pooler_errors)
		log_info("cancel request with a key that nobody has%s (process id %u)", letter->is_passed_on ? ", passed on by a peer" : "",
		         letter->pid);
	cancel_letter_free(&letter);
	if (c->under_way == 0)
		canceler_free(c);
}

void session_take_cancel(struct session_env *env, struct cancel_letter *letter)
{
	switch (letter->stage) {
	case CANCEL_ASK:
		ask_here(env, letter);
		break;
	case CANCEL_PASS_ON:
		letter->holder = env;
		pools_pass_cancel(env->pools, letter->peer, letter->pid, letter->key, letter->key_len, letter_is_done, letter);
		break;
	case CANCEL_NOT_FOUND:
	case CANCEL_DONE:
		take_home(letter);
		break;
	}
}

/* ---- from the wire ---- */

static bool take_mark(const uint8_t *key, size_t *key_len)
{
	size_t len = sizeof(passed_on_mark);

	if (*key_len < len || memcmp(key + *key_len - len, passed_on_mark, len) != 0)
		return false;
	*key_len -= len;
	return true;
}

void cancel_begin(struct session *s, uint32_t pid, const uint8_t *key, size_t key_len)
{
	struct session_env *env = s->env;
	bool is_passed_on = take_mark(key, &key_len);
	struct cancel_letter *letter;
	struct canceler *c;

	if (key_len != KEY_BYTES_3_0 && key_len != KEY_BYTES_MAX) {
		log_debug("cancel request with a key of %zu bytes: none of ours", key_len);
		return;
	}
	if (env->canceler_count >= env->conf->opt.max_client_conn) {
		log_debug("cancel request dropped: there are %zu under way", env->canceler_count);
		return;
	}
	c = mem_alloc(sizeof(*c));
	c->env = env;
	c->stream = s->client;
	s->client = NULL;
	stream_set_owner(c->stream, canceler_event, c);
	list_push(&env->cancelers, &c->link);
	env->canceler_count++;
	letter = letter_new(c, pid, key, key_len);
	letter->is_passed_on = is_passed_on;
	stream_consume(c->stream, stream_len(c->stream));
	letter_send(env, letter);
}

void cancelers_free(struct session_env *env)
{
	LIST_EACH_SAFE(pos, &env->cancelers)
		canceler_free(LIST_ITEM(pos, struct canceler, link));
}
