/* Whole logins: auth's server against auth's client, message by message. */
#include "test.h"

#include <openssl/evp.h>

#include "pgshunt/auth.h"
#include "pgshunt/wire.h"

struct login {
	enum auth_step server, client;
	struct err server_err, client_err;
	struct auth_secret server_learned, client_learned;     /* AUTH_NONE: nothing */
	struct buf transcript;                                 /* codes of the server's messages, a letter each */
	const uint8_t *server_hash, *client_hash;              /* channel binding: 32 bytes */
};

/* Cuts one message off the front of buf; the view is valid until the next change. */
static bool login_cut(struct buf *buf, size_t *at, enum wire_side side, struct wire_msg *m)
{
	if (*at == buf->len)
		return false;
	CHECK_INT(wire_peek(buf->data + *at, buf->len - *at, side, 100000, m, NULL), WIRE_DONE);
	CHECK_INT(m->have, m->total);
	*at += m->total;
	return true;
}

static void login_client_reads(struct login *l, struct auth_client *client, struct buf *from_server, struct buf *to_server)
{
	struct wire_msg m;
	size_t at = 0, len;
	const uint8_t *data;
	uint32_t code;

	while (l->client == AUTH_CONTINUE && login_cut(from_server, &at, WIRE_FROM_SERVER, &m)) {
		CHECK(wire_read_auth(&m, &code, &data, &len, NULL));
		buf_add_u8(&l->transcript, (uint8_t)('0' + code));
		l->client = auth_client_step(client, code, data, len, to_server, &l->client_err);
	}
	from_server->len = 0;
}

static void login_run(struct login *l, enum auth_method method, const struct auth_secret *server_secret,
                      const struct auth_secret *client_secret)
{
	struct buf from_server = { 0 }, to_server = { 0 };
	struct auth_server *server;
	struct auth_client *client = auth_client_new("alice", client_secret);

	l->client = AUTH_CONTINUE;
	if (l->client_hash)
		auth_client_bind(client, l->client_hash, 32);
	server = auth_server_new_bound(method, "alice", server_secret, l->server_hash, l->server_hash ? 32 : 0, &from_server, &l->server);
	login_client_reads(l, client, &from_server, &to_server);
	while (l->server == AUTH_CONTINUE && l->client == AUTH_CONTINUE && to_server.len) {
		struct wire_msg m;
		size_t at = 0;
		CHECK(login_cut(&to_server, &at, WIRE_FROM_CLIENT, &m));
		CHECK_INT(at, to_server.len);
		l->server = auth_server_step(server, m.body, m.body_len, &from_server, &l->server_err);
		to_server.len = 0;
		login_client_reads(l, client, &from_server, &to_server);
	}
	if (!auth_server_learned(server, &l->server_learned))
		l->server_learned.kind = AUTH_NONE;
	if (!auth_client_learned(client, &l->client_learned))
		l->client_learned.kind = AUTH_NONE;
	auth_server_free(&server);
	auth_client_free(&client);
	buf_free(&from_server);
	buf_free(&to_server);
}

static void login_clear(struct login *l)
{
	auth_secret_clear(&l->server_learned);
	auth_secret_clear(&l->client_learned);
	buf_free(&l->transcript);
}

static struct auth_secret secret_of(const char *written)
{
	struct auth_secret secret;

	CHECK(auth_secret_parse(&secret, written, NULL));
	return secret;
}

static const uint8_t salt[16] = "0123456789abcde";

/* The same password in each of its forms. */
static struct auth_secret secret_in(enum auth_secret_kind kind, const char *password)
{
	struct auth_secret secret = { 0 };
	char hash[36];

	if (kind == AUTH_TEXT)
		return secret_of(password);
	if (kind == AUTH_MD5_HASH) {
		auth_md5("alice", password, hash);
		return secret_of(hash);
	}
	if (kind == AUTH_SCRAM_VERIFIER)
		auth_scram_verifier(password, 4096, salt, sizeof(salt), &secret);
	return secret;
}

static const struct {
	enum auth_method method;
	enum auth_secret_kind kind;
	bool can_login;
	const char *transcript;
} matrix[] = {
	{ AUTH_PLAIN, AUTH_TEXT, true, "30" },
	{ AUTH_PLAIN, AUTH_MD5_HASH, true, "30" },
	{ AUTH_PLAIN, AUTH_SCRAM_VERIFIER, true, "30" },
	{ AUTH_PLAIN, AUTH_NONE, false, "3" },
	{ AUTH_MD5, AUTH_TEXT, true, "50" },
	{ AUTH_MD5, AUTH_MD5_HASH, true, "50" },
	{ AUTH_MD5, AUTH_SCRAM_VERIFIER, true, ":;<0" },
	{ AUTH_MD5, AUTH_NONE, false, "5" },
	{ AUTH_SCRAM, AUTH_TEXT, true, ":;<0" },
	{ AUTH_SCRAM, AUTH_MD5_HASH, false, ":;" },
	{ AUTH_SCRAM, AUTH_SCRAM_VERIFIER, true, ":;<0" },
	{ AUTH_SCRAM, AUTH_NONE, false, ":;" },
};

TEST(login, right_password_of_every_kind)
{
	struct auth_secret mine = secret_of("secret");

	for (size_t i = 0; i < ARRAY_LEN(matrix); i++) {
		struct auth_secret theirs = secret_in(matrix[i].kind, "secret");
		struct login l = { 0 };
		login_run(&l, matrix[i].method, &theirs, &mine);
		CHECK_INT(l.server, matrix[i].can_login ? AUTH_OK : AUTH_FAILED);
		CHECK_INT(l.client, matrix[i].can_login ? AUTH_OK : AUTH_CONTINUE);
		CHECK_STR(buf_cstr(&l.transcript), matrix[i].transcript);
		login_clear(&l);
		auth_secret_clear(&theirs);
	}
	auth_secret_clear(&mine);
}

TEST(login, wrong_password_and_unknown_user_look_alike)
{
	struct auth_secret mine = secret_of("wrong");

	for (size_t i = 0; i < ARRAY_LEN(matrix); i++) {
		struct auth_secret theirs = secret_in(matrix[i].kind, "secret");
		for (int is_known = 0; is_known < 2; is_known++) {
			struct login l = { 0 };
			login_run(&l, matrix[i].method, is_known ? &theirs : NULL, &mine);
			CHECK_INT(l.server, AUTH_FAILED);
			CHECK_INT(l.client, AUTH_CONTINUE);
			CHECK_STR(l.server_err.sqlstate, "28P01");
			CHECK_STR(l.server_err.text, "password authentication failed for user \"alice\"");
			CHECK_INT(l.server_learned.kind, AUTH_NONE);
			login_clear(&l);
		}
		auth_secret_clear(&theirs);
	}
	auth_secret_clear(&mine);
}

TEST(login, trust_and_cert_let_known_users_in)
{
	struct auth_secret none = { 0 };
	struct login l = { 0 };

	login_run(&l, AUTH_TRUST, &none, NULL);
	CHECK(l.server == AUTH_OK && l.client == AUTH_OK);
	login_run(&l, AUTH_CERT, &none, NULL);
	CHECK(l.server == AUTH_OK && l.client == AUTH_OK);
	login_run(&l, AUTH_TRUST, NULL, NULL);
	CHECK_INT(l.server, AUTH_FAILED);
	login_clear(&l);
}

TEST(login, empty_password_is_none)
{
	static const enum auth_method methods[] = { AUTH_PLAIN, AUTH_MD5, AUTH_SCRAM };
	char empty[] = "";
	struct auth_secret mine = { .kind = AUTH_TEXT, .text = empty };

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct auth_secret theirs = { .kind = AUTH_TEXT, .text = mem_strdup("") };
		struct login l = { 0 };
		login_run(&l, methods[i], &theirs, &mine);
		CHECK_INT(l.server, AUTH_FAILED);
		login_clear(&l);
		auth_secret_clear(&theirs);
	}
}

TEST(login, long_and_utf8_passwords)
{
	char *text = mem_alloc(60001);
	struct auth_secret secret, verifier;

	memset(text, 'p', 60000);
	secret = secret_of(text);
	auth_scram_verifier(text, 10, salt, sizeof(salt), &verifier);
	for (int i = 0; i < 2; i++) {
		struct login l = { 0 };
		login_run(&l, i ? AUTH_PLAIN : AUTH_SCRAM, &verifier, &secret);
		CHECK_INT(l.client, AUTH_OK);
		login_clear(&l);
		auth_secret_clear(&secret);
		secret = secret_of("p\xc3\xa4ss\xff");
		auth_secret_clear(&verifier);
		auth_scram_verifier("p\xc3\xa4ss\xff", 10, salt, sizeof(salt), &verifier);
	}
	auth_secret_clear(&secret);
	auth_secret_clear(&verifier);
	mem_free(text);
}

/* ---- what is learned ---- */

TEST(login, scram_pass_through)
{
	struct auth_secret text = secret_of("secret"), verifier = secret_in(AUTH_SCRAM_VERIFIER, "secret"), other;
	struct login client = { 0 }, server = { 0 }, stale = { 0 };

	login_run(&client, AUTH_SCRAM, &verifier, &text);
	CHECK_INT(client.server_learned.kind, AUTH_SCRAM_VERIFIER);
	CHECK(client.server_learned.has_client_key);
	login_run(&server, AUTH_SCRAM, &verifier, &client.server_learned);
	CHECK(server.server == AUTH_OK && server.client == AUTH_OK);
	CHECK_INT(server.client_learned.kind, AUTH_NONE);

	auth_scram_verifier("secret", 4096, (const uint8_t *)"another salt", 12, &other);
	login_run(&stale, AUTH_SCRAM, &other, &client.server_learned);
	CHECK_INT(stale.client, AUTH_FAILED);
	CHECK_STR(stale.client_err.sqlstate, "28P01");
	CHECK(stale.client_err.hint[0]);
	login_clear(&client);
	login_clear(&server);
	login_clear(&stale);
	auth_secret_clear(&text);
	auth_secret_clear(&verifier);
	auth_secret_clear(&other);
}

TEST(login, plain_password_is_learned)
{
	struct auth_secret text = secret_of("secret"), verifier = secret_in(AUTH_SCRAM_VERIFIER, "secret");
	struct login l = { 0 };

	login_run(&l, AUTH_PLAIN, &verifier, &text);
	CHECK_INT(l.server_learned.kind, AUTH_TEXT);
	CHECK_STR(l.server_learned.text, "secret");
	login_clear(&l);
	auth_secret_clear(&text);
	auth_secret_clear(&verifier);
}

TEST(login, client_keys_are_derived_once)
{
	struct auth_secret text = secret_of("secret"), verifier = secret_in(AUTH_SCRAM_VERIFIER, "secret"), other;
	struct login first = { 0 }, second = { 0 }, third = { 0 };

	login_run(&first, AUTH_SCRAM, &verifier, &text);
	CHECK_INT(first.client_learned.kind, AUTH_TEXT);
	CHECK_INT(first.client_learned.iterations, 4096);
	login_run(&second, AUTH_SCRAM, &verifier, &first.client_learned);
	CHECK_INT(second.client, AUTH_OK);
	CHECK_INT(second.client_learned.kind, AUTH_NONE);
	/* the password was set anew: another salt, and the text is still there */
	auth_scram_verifier("secret", 5000, (const uint8_t *)"another salt", 12, &other);
	login_run(&third, AUTH_SCRAM, &other, &first.client_learned);
	CHECK_INT(third.client, AUTH_OK);
	CHECK_INT(third.client_learned.iterations, 5000);
	login_clear(&first);
	login_clear(&second);
	login_clear(&third);
	auth_secret_clear(&text);
	auth_secret_clear(&verifier);
	auth_secret_clear(&other);
}

TEST(login, keys_of_a_text_are_kept_for_the_next_client)
{
	struct auth_secret text = secret_of("secret"), copy, verifier = secret_in(AUTH_SCRAM_VERIFIER, "secret");
	struct login l = { 0 };
	usec_t first, rest = 0;

	auth_secret_copy(&copy, &text);
	first = time_mono_us();
	login_run(&l, AUTH_SCRAM, &text, &text);
	first = time_mono_us() - first;
	CHECK_INT(l.client, AUTH_OK);
	/* the learned keys of the client are for the proxy's own salt: with them neither side derives */
	for (int i = 0; i < 20; i++) {
		struct login next = { 0 };
		usec_t start = time_mono_us();
		login_run(&next, AUTH_SCRAM, &copy, &l.client_learned);
		rest += time_mono_us() - start;
		CHECK_INT(next.client, AUTH_OK);
		login_clear(&next);
	}
	CHECK(rest < first * 10);
	login_clear(&l);
	auth_secret_clear(&text);
	auth_secret_clear(&copy);
	auth_secret_clear(&verifier);
}

/* As it stands in auth_file: unlike one of auth_scram_verifier(), it has a cache. */
static struct auth_secret verifier_from_file(const char *password, uint32_t iterations)
{
	struct auth_secret made, parsed;
	char text[3][128], written[512];

	auth_scram_verifier(password, iterations, salt, sizeof(salt), &made);
	EVP_EncodeBlock((uint8_t *)text[0], made.salt, (int)made.salt_len);
	EVP_EncodeBlock((uint8_t *)text[1], made.stored_key, AUTH_KEY_BYTES);
	EVP_EncodeBlock((uint8_t *)text[2], made.server_key, AUTH_KEY_BYTES);
	snprintf(written, sizeof(written), "SCRAM-SHA-256$%u:%s$%s:%s", iterations, text[0], text[1], text[2]);
	auth_secret_clear(&made);
	parsed = secret_of(written);
	return parsed;
}

/* A client's login proves the password to one worker; all of them, and other databases' pools, have copies of the secret. */
TEST(login, one_proof_teaches_every_copy)
{
	static const enum auth_method methods[] = { AUTH_SCRAM, AUTH_MD5, AUTH_PLAIN };
	struct auth_secret right = secret_of("secret"), wrong = secret_of("wrong");

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct auth_secret file = verifier_from_file("secret", 4096), pool, server = verifier_from_file("secret", 4096);
		struct login before = { 0 }, failed = { 0 }, still = { 0 }, proved = { 0 }, after = { 0 };

		auth_secret_copy(&pool, &file);
		login_run(&before, AUTH_SCRAM, &server, &pool);
		CHECK(strstr(before.client_err.text, "only a SCRAM verifier"));
		login_run(&failed, methods[i], &file, &wrong);
		CHECK_INT(failed.server, AUTH_FAILED);
		login_run(&still, AUTH_SCRAM, &server, &pool);
		CHECK_INT(still.client, AUTH_FAILED);
		login_run(&proved, methods[i], &file, &right);
		CHECK_INT(proved.server, AUTH_OK);
		login_run(&after, AUTH_SCRAM, &server, &pool);
		CHECK(after.server == AUTH_OK && after.client == AUTH_OK);
		CHECK(auth_secret_is_same(&file, &proved.server_learned));
		login_clear(&before);
		login_clear(&failed);
		login_clear(&still);
		login_clear(&proved);
		login_clear(&after);
		auth_secret_clear(&file);
		auth_secret_clear(&pool);
		auth_secret_clear(&server);
	}
	auth_secret_clear(&right);
	auth_secret_clear(&wrong);
}

TEST(login, keys_of_a_text_are_kept_for_every_server)
{
	struct auth_secret file = secret_of("secret"), wrong = secret_of("wrong");

	/* each server has its own salt: of iterations 1 to 12 the first 8 are kept */
	for (uint32_t i = 1; i <= 12; i++) {
		struct auth_secret server = verifier_from_file("secret", i), copy;
		struct login first = { 0 }, second = { 0 };

		auth_secret_copy(&copy, &file);
		login_run(&first, AUTH_SCRAM, &server, &file);
		CHECK_INT(first.client_learned.kind, AUTH_TEXT);
		login_run(&second, AUTH_SCRAM, &server, &copy);
		CHECK_INT(second.client, AUTH_OK);
		CHECK_INT(second.client_learned.kind, i <= 8 ? AUTH_NONE : AUTH_TEXT);
		login_clear(&first);
		login_clear(&second);
		auth_secret_clear(&server);
		auth_secret_clear(&copy);
	}
	/* what a server that can't prove itself has asked for is not kept */
	for (int i = 0; i < 2; i++) {
		struct auth_secret server = verifier_from_file("secret", 77);
		struct login l = { 0 };
		login_run(&l, AUTH_SCRAM, &server, &wrong);
		CHECK_INT(l.server, AUTH_FAILED);
		CHECK_INT(l.client_learned.kind, AUTH_NONE);
		login_clear(&l);
		auth_secret_clear(&server);
	}
	auth_secret_clear(&file);
	auth_secret_clear(&wrong);
}

TEST(login, same_secrets)
{
	struct auth_secret some[] = { secret_of("a"), secret_of("b"), secret_in(AUTH_MD5_HASH, "a"), verifier_from_file("a", 4096),
		                      verifier_from_file("a", 4095), verifier_from_file("b", 4096), secret_of("") };
	struct auth_secret again[] = { secret_of("a"), secret_of("b"), secret_in(AUTH_MD5_HASH, "a"), verifier_from_file("a", 4096),
		                       verifier_from_file("a", 4095), verifier_from_file("b", 4096), secret_of("") };

	for (size_t i = 0; i < ARRAY_LEN(some); i++)
		for (size_t k = 0; k < ARRAY_LEN(some); k++)
			CHECK_INT(auth_secret_is_same(&some[i], &again[k]), i == k);
	for (size_t i = 0; i < ARRAY_LEN(some); i++) {
		auth_secret_clear(&some[i]);
		auth_secret_clear(&again[i]);
	}
}

/* ---- what the secret at hand can't do ---- */

TEST(login, client_says_why_it_cannot_answer)
{
	static const struct { enum auth_method method; enum auth_secret_kind mine; const char *text; } rows[] = {
		{ AUTH_SCRAM, AUTH_MD5_HASH, "only an md5 hash" },
		{ AUTH_SCRAM, AUTH_SCRAM_VERIFIER, "only a SCRAM verifier" },
		{ AUTH_SCRAM, AUTH_NONE, "no password is known" },
		{ AUTH_MD5, AUTH_SCRAM_VERIFIER, "only a SCRAM verifier" },
		{ AUTH_PLAIN, AUTH_MD5_HASH, "only an md5 hash" },
		{ AUTH_PLAIN, AUTH_NONE, "no password is known" },
	};
	struct auth_secret theirs = secret_of("secret");

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct auth_secret mine = secret_in(rows[i].mine, "secret");
		struct login l = { 0 };
		login_run(&l, rows[i].method, &theirs, rows[i].mine ? &mine : NULL);
		CHECK_INT(l.client, AUTH_FAILED);
		CHECK_STR(l.client_err.sqlstate, "28P01");
		CHECK(strstr(l.client_err.text, rows[i].text));
		CHECK(strstr(l.client_err.text, "alice"));
		CHECK(l.client_err.hint[0]);
		login_clear(&l);
		auth_secret_clear(&mine);
	}
	auth_secret_clear(&theirs);
}

TEST(login, md5_hash_answers_an_md5_request)
{
	struct auth_secret theirs = secret_of("secret"), mine = secret_in(AUTH_MD5_HASH, "secret");
	struct login l = { 0 };

	login_run(&l, AUTH_MD5, &theirs, &mine);
	CHECK_INT(l.client, AUTH_OK);
	login_clear(&l);
	auth_secret_clear(&theirs);
	auth_secret_clear(&mine);
}

/* ---- channel binding ---- */

TEST(login, channel_binding)
{
	static const uint8_t one[32] = "certificate one", two[32] = "certificate two";
	struct auth_secret text = secret_of("secret"), verifier = secret_in(AUTH_SCRAM_VERIFIER, "secret");
	struct login both = { .server_hash = one, .client_hash = one }, middle = { .server_hash = one, .client_hash = two };
	struct login only_server = { .server_hash = one }, only_client = { .client_hash = one };

	login_run(&both, AUTH_SCRAM, &verifier, &text);
	CHECK_INT(both.client, AUTH_OK);
	login_run(&only_server, AUTH_SCRAM, &verifier, &text);
	CHECK_INT(only_server.client, AUTH_OK);
	login_run(&only_client, AUTH_SCRAM, &verifier, &text);
	CHECK_INT(only_client.client, AUTH_OK);
	login_run(&middle, AUTH_SCRAM, &verifier, &text);
	CHECK_INT(middle.server, AUTH_FAILED);
	CHECK_STR(middle.server_err.sqlstate, "28000");
	login_clear(&both);
	login_clear(&middle);
	login_clear(&only_server);
	login_clear(&only_client);
	auth_secret_clear(&text);
	auth_secret_clear(&verifier);
}
