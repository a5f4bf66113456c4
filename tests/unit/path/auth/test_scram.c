/* SCRAM against fixed vectors, and against peers that don't keep to it. */
#include "test.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "pgshunt/auth.h"

static struct auth_secret secret_of(const char *written)
{
	struct auth_secret secret;

	CHECK(auth_secret_parse(&secret, written, NULL));
	return secret;
}

/* RFC 7677, section 3: user, pencil. */
#define RFC_VERIFIER_SALT "W22ZaJ0SNY7soEsUEjb6gQ=="
static const char rfc_message[] = "n=user,r=rOprNGfwEbeRWgbNEkqO,"
	"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=" RFC_VERIFIER_SALT ",i=4096,"
	"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
static const char rfc_proof[] = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
static const char rfc_signature[] = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

static void hmac(const uint8_t key[32], const char *text, uint8_t out[32])
{
	CHECK(HMAC(EVP_sha256(), key, 32, (const uint8_t *)text, strlen(text), out, NULL));
}

TEST(scram, keys_are_those_of_rfc_7677)
{
	static const uint8_t salt[16] = { 0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81 };
	struct auth_secret secret;
	uint8_t signature[32], proof[64], stored[32];
	char text[64];

	auth_scram_verifier("pencil", 4096, salt, sizeof(salt), &secret);
	hmac(secret.server_key, rfc_message, signature);
	EVP_EncodeBlock((uint8_t *)text, signature, 32);
	CHECK_STR(text, rfc_signature);
	/* sha256(proof XOR HMAC(stored key, message)) = stored key */
	CHECK_INT(EVP_DecodeBlock(proof, (const uint8_t *)rfc_proof, 44), 33);
	hmac(secret.stored_key, rfc_message, signature);
	for (int i = 0; i < 32; i++)
		proof[i] ^= signature[i];
	CHECK(EVP_Digest(proof, 32, stored, NULL, EVP_sha256(), NULL));
	CHECK(auth_equal(stored, secret.stored_key, 32));
}

/* Passwords shorter and longer than a block of SHA-256, salts and iterations of all sorts: as OpenSSL's PBKDF2. */
TEST(scram, keys_are_those_of_openssl)
{
	static const size_t lengths[] = { 0, 1, 31, 32, 63, 64, 65, 127, 128, 1000 };
	static const uint32_t iterations[] = { 1, 2, 3, 100, 4096 };
	uint8_t salt[AUTH_SALT_MAX], salted[32], want[32];
	char password[1001];

	for (size_t i = 0; i < sizeof(salt); i++)
		salt[i] = (uint8_t)(i * 37);
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
		for (size_t k = 0; k < ARRAY_LEN(iterations); k++) {
			struct auth_secret secret;
			size_t salt_len = 1 + (i * 13 + k * 7) % AUTH_SALT_MAX;

			memset(password, 'x', lengths[i]);
			password[lengths[i]] = '\0';
			auth_scram_verifier(password, iterations[k], salt, salt_len, &secret);
			CHECK(PKCS5_PBKDF2_HMAC(password, (int)lengths[i], salt, (int)salt_len, (int)iterations[k], EVP_sha256(), 32, salted));
			hmac(salted, "Server Key", want);
			CHECK(memcmp(secret.server_key, want, 32) == 0);
			hmac(salted, "Client Key", want);
			CHECK(EVP_Digest(want, 32, salted, NULL, EVP_sha256(), NULL));
			CHECK(memcmp(secret.stored_key, salted, 32) == 0);
		}
}

/* ---- our server against a scripted client ---- */

static struct auth_server *server;
static struct buf out;

static void begin_server(const char *user, const char *written, const uint8_t *hash)
{
	struct auth_secret secret = secret_of(written);
	enum auth_step step;

	auth_server_free(&server);
	out.len = 0;
	server = auth_server_new_bound(AUTH_SCRAM, user, *written ? &secret : NULL, hash, hash ? 32 : 0, &out, &step);
	CHECK_INT(step, AUTH_CONTINUE);
	auth_secret_clear(&secret);
	out.len = 0;
}

static enum auth_step send_initial(const char *mechanism, const char *text, struct err *err)
{
	struct buf body = { 0 };
	enum auth_step step;

	buf_add_cstr(&body, mechanism);
	buf_add_u32(&body, (uint32_t)strlen(text));
	buf_add_str(&body, text);
	out.len = 0;
	step = auth_server_step(server, body.data, body.len, &out, err);
	buf_free(&body);
	return step;
}

static enum auth_step send_text(const char *text, struct err *err)
{
	out.len = 0;
	return auth_server_step(server, (const uint8_t *)text, strlen(text), &out, err);
}

static void check_refused(const char *mechanism, const char *text, const char *sqlstate)
{
	struct err err = { 0 };

	if (send_initial(mechanism, text, &err) != AUTH_FAILED || strcmp(err.sqlstate, sqlstate) != 0) {
		printf("  client-first \"%s\": %s %s\n", text, err.sqlstate, err.text);
		CHECK(!"refused with the right code");
	}
	CHECK_INT(out.len, 0);
	CHECK_INT(send_text("n,,n=,r=abc", &err), AUTH_FAILED);         /* and it stays so */
}

TEST(scram_server, malformed_client_first)
{
	static const struct { const char *text, *sqlstate; } rows[] = {
		{ "", "08P01" }, { "n", "08P01" }, { "n,", "08P01" }, { "n,,", "08P01" }, { ",,n=,r=abc", "08P01" },
		{ "x,,n=,r=abc", "08P01" },
		{ "n,,r=abc", "08P01" }, { "n,,n=", "08P01" }, { "n,,n=,", "08P01" }, { "n,,n=,r=", "08P01" }, { "n,,n=,r", "08P01" },
		{ "n,,n=,x=abc", "08P01" }, { "n,,n=,r=a\x7f" "b", "08P01" }, { "n,,n=,r=a b", "08P01" }, { "n,,n=,r=\xc3\xa9", "08P01" },
		{ "n,a=bob,n=,r=abc", "0A000" }, { "n,,m=x,n=,r=abc", "0A000" }, { "p=tls-unique,,n=,r=abc", "08P01" },
		{ "p=tls-server-end-point,,n=,r=abc", "08P01" }, { "nn,,n=,r=abc", "08P01" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin_server("alice", "secret", NULL);
		check_refused("SCRAM-SHA-256", rows[i].text, rows[i].sqlstate);
	}
	begin_server("alice", "secret", NULL);
	check_refused("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abc", "08P01");
	begin_server("alice", "secret", NULL);
	check_refused("SCRAM-SHA-1", "n,,n=,r=abc", "08P01");
	auth_server_free(&server);
}

TEST(scram_server, downgrade_is_noticed)
{
	static const uint8_t hash[32] = "certificate";

	begin_server("alice", "secret", hash);
	check_refused("SCRAM-SHA-256", "y,,n=,r=abc", "28000");
	begin_server("alice", "secret", hash);
	check_refused("SCRAM-SHA-256-PLUS", "n,,n=,r=abc", "08P01");
	begin_server("alice", "secret", hash);
	CHECK_INT(send_initial("SCRAM-SHA-256", "n,,n=,r=abc", NULL), AUTH_CONTINUE);
	auth_server_free(&server);
}

TEST(scram_server, malformed_bodies)
{
	static const struct { const char *body; size_t len; } rows[] = {
		{ "", 0 }, { "SCRAM-SHA-256", 13 }, { "SCRAM-SHA-256\0", 14 }, { "SCRAM-SHA-256\0\0\0\0", 17 },
		{ "SCRAM-SHA-256\0\0\0\0\5abc", 21 }, { "SCRAM-SHA-256\0\0\0\0\2abc", 21 }, { "SCRAM-SHA-256\0\x7f\xff\xff\xff" "abc", 21 },
		{ "SCRAM-SHA-256\0\xff\xff\xff\xff" "abc", 21 }, { "SCRAM-SHA-256\0\0\0\0\x0cn,,n=,r=ab\0c", 30 },
	};
	char *text;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = { 0 };
		begin_server("alice", "secret", NULL);
		CHECK_INT(auth_server_step(server, (const uint8_t *)rows[i].body, rows[i].len, &out, &err), AUTH_FAILED);
		CHECK_STR(err.sqlstate, "08P01");
	}
	text = mem_alloc(1100);
	memset(text, 'a', 1099);
	memcpy(text, "n,,n=,r=", 8);
	begin_server("alice", "secret", NULL);
	check_refused("SCRAM-SHA-256", text, "08P01");
	mem_free(text);
	auth_server_free(&server);
}

TEST(scram_server, initial_response_may_come_later)
{
	static const char body[] = "SCRAM-SHA-256\0\xff\xff\xff\xff";

	begin_server("alice", "secret", NULL);
	CHECK_INT(auth_server_step(server, (const uint8_t *)body, sizeof(body) - 1, &out, NULL), AUTH_CONTINUE);
	CHECK_INT(out.len, 9);
	CHECK_INT(send_text("n,,n=,r=abc", NULL), AUTH_CONTINUE);
	auth_server_free(&server);
}

/* The salt and the rest of server-first, without the nonce. */
static char *salt_part(const char *user, const char *written)
{
	char *text;

	begin_server(user, written, NULL);
	CHECK_INT(send_initial("SCRAM-SHA-256", "n,,n=,r=abc", NULL), AUTH_CONTINUE);
	text = strstr((char *)memmem(buf_cstr(&out) + 9, out.len - 9, "r=abc", 5), ",s=");
	CHECK(text);
	return mem_strdup(text);
}

TEST(scram_server, unknown_users_have_a_salt_that_stays)
{
	char *a = salt_part("nobody", ""), *b = salt_part("nobody", ""), *c = salt_part("somebody", ""), *d = salt_part("nobody", "text");

	CHECK_STR(a, b);
	CHECK(strcmp(a, c) != 0);
	CHECK_STR(a, d);
	CHECK_INT(strlen(a), strlen(",s=" RFC_VERIFIER_SALT ",i=4096"));
	mem_free(a);
	mem_free(b);
	mem_free(c);
	mem_free(d);
	auth_server_free(&server);
}

#define PROOF "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

TEST(scram_server, malformed_client_final)
{
	static const struct { const char *format, *sqlstate; } rows[] = {
		{ "c=biws,r=%s,p=" PROOF, "28P01" }, { "c=biws,r=%s,x=y,p=" PROOF, "28P01" },
		{ "", "08P01" }, { "c=biws", "08P01" }, { "c=biws,r=%s", "08P01" }, { "c=biws,r=%s,", "08P01" },
		{ "c=biws,r=%s,p=", "08P01" },
		{ "c=eSws,r=%s,p=" PROOF, "08P01" }, { "c=,r=%s,p=" PROOF, "08P01" }, { "r=%s,c=biws,p=" PROOF, "08P01" },
		{ "c=biws,r=x%s,p=" PROOF, "08P01" }, { "c=biws,r=%sx,p=" PROOF, "08P01" }, { "c=biws,r=abc,p=" PROOF, "08P01" },
		{ "c=biws,r=%s,p=" PROOF ",x=y", "08P01" }, { "c=biws,r=%s,p=AAAA", "08P01" }, { "c=biws,r=%s,p=A" PROOF, "08P01" },
		{ "c=biws,r=%s,p=AAAA" PROOF, "08P01" }, { "c=biws,r=%s,p=!!!!", "08P01" }, { "c=biws,r=%s,,p=" PROOF, "08P01" },
		{ "c=biws,r=%s,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", "08P01" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[400], nonce[100];
		const char *at;
		struct err err = { 0 };

		begin_server("alice", "secret", NULL);
		CHECK_INT(send_initial("SCRAM-SHA-256", "n,,n=,r=abc", NULL), AUTH_CONTINUE);
		at = memmem(buf_cstr(&out) + 9, out.len - 9, "r=abc", 5);
		CHECK(sscanf(at, "r=%99[^,]", nonce) == 1);
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), rows[i].format, nonce);
		if (send_text(text, &err) != AUTH_FAILED || strcmp(err.sqlstate, rows[i].sqlstate) != 0) {
			printf("  client-final \"%s\": %s %s\n", text, err.sqlstate, err.text);
			CHECK(!"refused with the right code");
		}
		CHECK_INT(out.len, 0);
	}
	auth_server_free(&server);
}

/* ---- our client against a scripted server ---- */

static struct auth_client *client;
static char client_nonce[100];

static void begin_client(void)
{
	struct auth_secret secret = secret_of("secret");
	const char *at;

	auth_client_free(&client);
	client = auth_client_new("alice", &secret);
	auth_secret_clear(&secret);
	out.len = 0;
	CHECK_INT(auth_client_step(client, 10, (const uint8_t *)"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0", 34, &out, NULL), AUTH_CONTINUE);
	at = memmem(out.data, out.len, "n,,n=,r=", 8);
	CHECK(at);
	snprintf(client_nonce, sizeof(client_nonce), "%.*s", (int)(out.len - (size_t)(at + 8 - (char *)out.data)), at + 8);
	out.len = 0;
}

static enum auth_step client_gets(uint32_t code, const char *text, struct err *err)
{
	return auth_client_step(client, code, (const uint8_t *)text, strlen(text), &out, err);
}

TEST(scram_client, malformed_server_first)
{
	static const char *const rows[] = {
		"", "r=%s", "r=%sx", "r=%sx,s=QUJD", "r=%sx,s=QUJD,i=", "r=%sx,s=QUJD,i=x", "r=%sx,s=QUJD,i=0",
		"r=%sx,s=QUJD,i=-1", "r=%sx,s=QUJD,i=1000001",
		"r=%sx,s=QUJD,i=99999999999999999999", "r=%sx,s=QUJD,i=4096x", "r=%sx,s=,i=4096", "r=%sx,s=QUJ,i=4096",
		"r=%sx,s=Q=JD,i=4096",
		"r=%s,s=QUJD,i=4096", "r=x%s,s=QUJD,i=4096", "r=x,s=QUJD,i=4096", "r=%s x,s=QUJD,i=4096", "s=QUJD,i=4096",
		"m=a,r=%sx,s=QUJD,i=4096", "e=other-error",
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[300];
		struct err err = { 0 };
		begin_client();
		snprintf(text, sizeof(text), rows[i], client_nonce);
		CHECK_INT(client_gets(11, text, &err), AUTH_FAILED);
		CHECK_STR(err.sqlstate, "08P01");
		CHECK_INT(out.len, 0);
		CHECK_INT(client_gets(0, "", &err), AUTH_FAILED);
	}
	auth_client_free(&client);
}

TEST(scram_client, salt_too_long)
{
	char text[1024];
	struct err err = { 0 };

	begin_client();
	snprintf(text, sizeof(text), "r=%sx,s=%0600d,i=1", client_nonce, 0);
	CHECK_INT(client_gets(11, text, &err), AUTH_FAILED);
	CHECK_STR(err.sqlstate, "08P01");
	auth_client_free(&client);
}

TEST(scram_client, server_that_does_not_prove_itself)
{
	static const struct { uint32_t code; const char *text, *sqlstate; } rows[] = {
		{ 0, "", "28000" }, { 3, "", "08P01" }, { 5, "salt", "08P01" }, { 10, "", "08P01" }, { 11, "r=x", "08P01" },
		{ 12, "v=" PROOF, "28000" }, { 12, "v=AAAA", "08P01" }, { 12, "", "08P01" }, { 12, "v=", "08P01" },
		{ 12, "e=other-error", "28P01" },
		{ 7, "", "28000" }, { 4711, "", "08P01" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[300];
		struct err err = { 0 };
		begin_client();
		snprintf(text, sizeof(text), "r=%sx,s=QUJD,i=1", client_nonce);
		CHECK_INT(client_gets(11, text, &err), AUTH_CONTINUE);
		CHECK_INT(client_gets(rows[i].code, rows[i].text, &err), AUTH_FAILED);
		CHECK_STR(err.sqlstate, rows[i].sqlstate);
	}
	auth_client_free(&client);
}

TEST(scram_client, ok_between_the_steps_is_refused)
{
	struct err err = { 0 };

	begin_client();
	CHECK_INT(client_gets(0, "", &err), AUTH_FAILED);
	CHECK_STR(err.sqlstate, "28000");
	begin_client();
	CHECK_INT(client_gets(3, "", &err), AUTH_FAILED);
	CHECK_INT(out.len, 0);
	auth_client_free(&client);
}

TEST(scram_client, first_requests)
{
	static const struct { uint32_t code; const char *data; size_t len; const char *sqlstate; } rows[] = {
		{ 10, "", 0, "08P01" }, { 10, "SCRAM-SHA-256", 13, "08P01" }, { 10, "SCRAM-SHA-256\0", 14, "08P01" },
		{ 10, "SCRAM-SHA-1\0\0", 13, "28000" },
		{ 10, "SCRAM-SHA-256-PLUS\0\0", 20, "28000" }, { 10, "\0", 1, "28000" }, { 10, "SCRAM-SHA-256\0\0x", 16, "08P01" },
		{ 5, "sal", 3, "08P01" }, { 5, "salty", 5, "08P01" }, { 0, "x", 1, "08P01" }, { 2, "", 0, "28000" }, { 7, "", 0, "28000" },
		{ 9, "", 0, "28000" }, { 11, "r=abc", 5, "08P01" }, { 12, "v=abc", 5, "08P01" }, { 1, "", 0, "08P01" },
		{ 0xffffffff, "", 0, "08P01" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct auth_secret secret = secret_of("secret");
		struct err err = { 0 };
		client = auth_client_new("alice", &secret);
		CHECK_INT(auth_client_step(client, rows[i].code, (const uint8_t *)rows[i].data, rows[i].len, &out, &err), AUTH_FAILED);
		CHECK_STR(err.sqlstate, rows[i].sqlstate);
		auth_client_free(&client);
		auth_secret_clear(&secret);
	}
	buf_free(&out);
}

/* ---- password messages ---- */

TEST(password, malformed_messages)
{
	static const struct { const char *body; size_t len; const char *sqlstate; } rows[] = {
		{ "", 0, "08P01" }, { "secret", 6, "08P01" }, { "secret\0x", 8, "08P01" }, { "\0", 1, "28P01" }, { "secre\0", 6, "28P01" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows) * 2; i++) {
		struct auth_secret secret = secret_of("secret");
		struct err err = { 0 };
		enum auth_step step;
		server = auth_server_new(i % 2 ? AUTH_PLAIN : AUTH_MD5, "alice", &secret, &out, &step);
		CHECK_INT(auth_server_step(server, (const uint8_t *)rows[i / 2].body, rows[i / 2].len, &out, &err), AUTH_FAILED);
		CHECK_STR(err.sqlstate, rows[i / 2].sqlstate);
		auth_server_free(&server);
		auth_secret_clear(&secret);
	}
	buf_free(&out);
}
