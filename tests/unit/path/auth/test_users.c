#include "test.h"

#include <unistd.h>

#include "pgshunt/auth.h"

static char path[] = "/tmp/test_users.XXXXXX";

static struct auth_users *parse_bytes(const void *text, size_t len, struct err *err)
{
	struct auth_users *users;
	int fd;

	snprintf(path, sizeof(path), "/tmp/test_users.XXXXXX");
	fd = mkstemp(path);
	CHECK(fd != -1);
	CHECK(write(fd, text, len) == (ssize_t)len);
	close(fd);
	users = auth_users_parse(path, err);
	unlink(path);
	return users;
}

static struct auth_users *parse(const char *text, struct err *err)
{
	return parse_bytes(text, strlen(text), err);
}

#define KEY "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define VERIFIER "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" KEY ":" KEY

TEST(users, every_kind_of_line)
{
	struct err err = { 0 };
	struct auth_users *users = parse("\xef\xbb\xbf; comment\n# comment\n\n  \t\r\n\"bob\" \"secret\"\r\n"
	                                 " \"we\"\"ird\"\t\"a\"\"b;#\" \"third\" x\n"
	                                 "\"md\" \"md50123456789abcdef0123456789abcdef\"\n"
	                                 "\"sc\" \"" VERIFIER "\"\n\"none\" \"\"\n\"last\"\"\" \"x\"", &err);
	struct auth_users *second;

	CHECK_STR(err.text, "");
	CHECK_INT(auth_users_count(users), 6);
	CHECK_STR(auth_users_find(users, "bob")->text, "secret");
	CHECK_STR(auth_users_find(users, "we\"ird")->text, "a\"b;#");
	CHECK_INT(auth_users_find(users, "md")->kind, AUTH_MD5_HASH);
	CHECK_INT(auth_users_find(users, "sc")->kind, AUTH_SCRAM_VERIFIER);
	CHECK_INT(auth_users_find(users, "sc")->salt_len, 16);
	CHECK_INT(auth_users_find(users, "none")->kind, AUTH_NONE);
	CHECK_STR(auth_users_find(users, "last\"")->text, "x");
	CHECK(!auth_users_find(users, "alice"));
	CHECK(!auth_users_find(users, ""));
	second = auth_users_ref(users);
	auth_users_unref(&users);
	CHECK(!users);
	CHECK_STR(auth_users_find(second, "bob")->text, "secret");
	auth_users_unref(&second);
	auth_users_unref(&second);
}

TEST(users, empty_file)
{
	struct err err = { 0 };
	struct auth_users *users = parse("", &err);

	CHECK(users);
	CHECK_INT(auth_users_count(users), 0);
	CHECK(!auth_users_find(users, "bob"));
	auth_users_unref(&users);
}

TEST(users, mistakes_name_their_line)
{
	static const struct { const char *text; int line; const char *what; } rows[] = {
		{ "bob secret", 1, "double quotes" }, { "\n\"bob\"", 2, "double quotes" }, { "\"bob\" secret", 1, "double quotes" },
		{ "\"bob\" \"secret", 1, "not closed" }, { "\"bob\n\" \"secret\"", 1, "not closed" }, { "\"bob", 1, "not closed" },
		{ "\"bob\"\"", 1, "not closed" }, { "\"bob\", \"x\"", 1, "double quotes" }, { "\"\" \"x\"", 1, "empty user" },
		{ "\"a\" \"x\"\n\"b\" \"x\"\n\"a\" \"y\"", 3, "also on line 1" }, { "\"a\" \"SCRAM-SHA-256$x\"", 1, "verifier" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = { 0 };
		char want[64];
		CHECK(!parse(rows[i].text, &err));
		CHECK_STR(err.sqlstate, "F0000");
		snprintf(want, sizeof(want), "%s:%d: ", path, rows[i].line);
		CHECK(strncmp(err.text, want, strlen(want)) == 0);
		if (!strstr(err.text, rows[i].what))
			CHECK_STR(err.text, rows[i].what);
		CHECK(!parse(rows[i].text, NULL));
	}
	CHECK(!parse_bytes("\"a\" \"x\0y\"", 9, NULL));
}

TEST(users, unreadable_files)
{
	struct err err = { 0 };

	CHECK(!auth_users_parse("/nonexistent/users", &err));
	CHECK(strstr(err.text, "/nonexistent/users"));
	CHECK(!auth_users_parse("/tmp", &err));
	CHECK(strstr(err.text, "/tmp"));
}

TEST(users, ten_thousand_are_found)
{
	struct buf text = { 0 };
	struct auth_users *users;
	char name[32], secret[32];

	for (int i = 0; i < 10000; i++)
		buf_printf(&text, "\"user%d\" \"secret%d\"\n", i * 7919 % 10000, i * 7919 % 10000);
	users = parse(buf_cstr(&text), NULL);
	buf_free(&text);
	CHECK_INT(auth_users_count(users), 10000);
	for (int i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "user%d", i);
		snprintf(secret, sizeof(secret), "secret%d", i);
		CHECK_STR(auth_users_find(users, name)->text, secret);
	}
	CHECK(!auth_users_find(users, "user10000"));
	auth_users_unref(&users);
}

/* ---- secrets by themselves ---- */

TEST(users, who_is_the_same_keeps_his_keys)
{
	struct auth_users *before = parse("\"a\" \"x\"\n\"b\" \"x\"\n\"c\" \"" VERIFIER "\"\n\"gone\" \"x\"\n\"none\" \"\"\n", NULL);
	struct auth_users *after = parse("\"new\" \"x\"\n\"a\" \"x\"\n\"b\" \"y\"\n\"c\" \"" VERIFIER "\"\n\"none\" \"\"\n", NULL);
	const struct auth_cache *changed = auth_users_find(after, "b")->cache;

	auth_users_keep_keys(after, before);
	CHECK(auth_users_find(after, "a")->cache == auth_users_find(before, "a")->cache);
	CHECK(auth_users_find(after, "c")->cache == auth_users_find(before, "c")->cache);
	CHECK(auth_users_find(after, "b")->cache == changed);
	CHECK(!auth_users_find(after, "none")->cache);
	auth_users_unref(&before);
	CHECK(auth_users_find(after, "a")->cache);
	auth_users_unref(&after);
}

TEST(secret, malformed_verifiers_are_never_passwords)
{
	static const char key[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	static const char *const heads[] = {
		"", "4096", "4096:", "4096:QUJD", "x:QUJD", "0:QUJD", "-1:QUJD", "99999999999:QUJD", ":QUJD", "4096:!", "4096:QUJDQ",
	};
	struct auth_secret secret;
	struct err err = { 0 };
	char text[256];

	CHECK(auth_secret_parse(&secret, VERIFIER, &err));
	auth_secret_clear(&secret);
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		snprintf(text, sizeof(text), "SCRAM-SHA-256$%s%s%s:%s", heads[i], strcmp(heads[i], "4096:QUJD") ? "$" : "", key, key);
		CHECK(!auth_secret_parse(&secret, text, &err));
		CHECK_STR(err.sqlstate, "22023");
		CHECK_INT(secret.kind, AUTH_NONE);
	}
	snprintf(text, sizeof(text), "SCRAM-SHA-256$4096:QUJD$%s", key);
	CHECK(!auth_secret_parse(&secret, text, &err));
	snprintf(text, sizeof(text), "SCRAM-SHA-256$4096:QUJD$%s:%.40s", key, key);
	CHECK(!auth_secret_parse(&secret, text, &err));
	snprintf(text, sizeof(text), "SCRAM-SHA-256$4096:%088d$%s:%s", 0, key, key);
	CHECK(!auth_secret_parse(&secret, text, &err));
}

TEST(secret, what_looks_like_md5_and_is_not)
{
	static const struct { const char *written; enum auth_secret_kind kind; } rows[] = {
		{ "md50123456789abcdef0123456789abcdef", AUTH_MD5_HASH }, { "md50123456789ABCDEF0123456789abcdef", AUTH_TEXT },
		{ "md50123456789abcdef0123456789abcde", AUTH_TEXT }, { "md5", AUTH_TEXT }, { "SCRAM-SHA-256", AUTH_TEXT },
		{ "", AUTH_NONE },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct auth_secret secret;
		CHECK(auth_secret_parse(&secret, rows[i].written, NULL));
		CHECK_INT(secret.kind, rows[i].kind);
		auth_secret_clear(&secret);
		CHECK(!secret.text && !secret.cache);
	}
}

TEST(secret, md5_as_postgresql_stores_it)
{
	char out[36];

	/* SELECT 'md5' || md5('secret' || 'alice') */
	auth_md5("alice", "secret", out);
	CHECK_STR(out, "md54a0a68b43b6cd5cf266fa02f196e2371");
}
