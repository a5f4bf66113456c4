/* auth_file: PgBouncer's userlist.txt. */
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((size_t)64 << 20)

struct user {
	char *name;
	int line;
	struct auth_secret secret;
};

struct auth_users {
	atomic_uint refs;
	size_t count, cap;
	struct user *users;             /* sorted by name once it is whole */
};

/* ---- the file ---- */

static void wipe_buf(struct buf *buf)
{
	mem_wipe(buf->data, buf->cap);
	buf_free(buf);
}

/* What was there may be secret, so realloc() won't do; nor stdio, which has a buffer of its own. */
static void reserve(struct buf *buf, size_t more)
{
	struct buf bigger = { 0 };

	if (buf->cap - buf->len >= more)
		return;
	buf_reserve(&bigger, MAX(buf->len + more, buf->cap * 2));
	buf_add(&bigger, buf->data, buf->len);
	wipe_buf(buf);
	*buf = bigger;
}

/* NULL when all is read, else what went wrong. */
static const char *read_all(int fd, struct buf *text)
{
	ssize_t got;

	do {
		reserve(text, 65536);
		got = read(fd, text->data + text->len, 65536);
		text->len += got > 0 ? (size_t)got : 0;
	} while ((got > 0 && text->len <= FILE_MAX_BYTES) || (got == -1 && errno == EINTR));
	if (got == -1)
		return strerror(errno);
	return text->len > FILE_MAX_BYTES ? "more than 64 MB" : NULL;
}

static bool read_file(const char *path, struct buf *text, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const char *wrong;

	if (fd == -1)
		return err_set(err, "F0000", "cannot open \"%s\": %s", path, strerror(errno));
	wrong = read_all(fd, text);
	close(fd);
	return wrong ? err_set(err, "F0000", "cannot read \"%s\": %s", path, wrong) : true;
}

/* ---- one line ---- */

struct line {
	const char *at, *end;           /* what is left of it */
};

static void skip_blanks(struct line *line)
{
	while (line->at < line->end && (*line->at == ' ' || (*line->at >= '\t' && *line->at <= '\r')))
		line->at++;
}

/* A field in double quotes, doubled ones undone, into the caller's empty buffer. NULL, or what is wrong. */
static const char *take_quoted(struct line *line, struct buf *out)
{
	out->len = 0;
	reserve(out, (size_t)(line->end - line->at) + 1);
	skip_blanks(line);
	if (line->at == line->end || *line->at != '"')
		return "expected a name and a secret in double quotes";
	for (line->at++; line->at < line->end; line->at++) {
		if (*line->at == '\0')
			return "NUL byte";
		if (*line->at == '"' && (line->at + 1 == line->end || line->at[1] != '"')) {
			line->at++;
			buf_cstr(out);
			return NULL;
		}
		line->at += *line->at == '"';
		buf_add_u8(out, (uint8_t)*line->at);
	}
	return "a quote is not closed";
}

static void add_user(struct auth_users *users, const char *name, int line, const struct auth_secret *secret)
{
	if (users->count == users->cap) {
		users->cap = users->cap ? users->cap * 2 : 64;
		users->users = mem_realloc(users->users, users->cap * sizeof(*users->users));
	}
	users->users[users->count++] = (struct user){ mem_strdup(name), line, *secret };
}

struct fields {
	struct buf name, secret;
};

static const char *read_line(struct auth_users *users, struct line line, int number, struct fields *fields)
{
	struct auth_secret secret;
	const char *wrong;

	skip_blanks(&line);
	if (line.at == line.end || *line.at == ';' || *line.at == '#')
		return NULL;
	wrong = take_quoted(&line, &fields->name);
	if (!wrong)
		wrong = take_quoted(&line, &fields->secret);
	if (wrong)
		return wrong;
	if (fields->name.len == 0)
		return "empty user name";
	if (!auth_secret_parse(&secret, (const char *)fields->secret.data, NULL))
		return "malformed SCRAM-SHA-256 verifier";
	add_user(users, (const char *)fields->name.data, number, &secret);
	return NULL;
}

/* ---- all of it ---- */

static int compare_users(const void *a, const void *b)
{
	return strcmp(((const struct user *)a)->name, ((const struct user *)b)->name);
}

static bool is_each_once(const struct auth_users *users, const char *path, struct err *err)
{
	for (size_t i = 1; i < users->count; i++) {
		const struct user *a = &users->users[i - 1], *b = &users->users[i];
		if (strcmp(a->name, b->name) == 0)
			return err_set(err, "F0000", "%s:%d: user \"%s\" is also on line %d", path, MAX(a->line, b->line), a->name,
			               MIN(a->line, b->line));
	}
	return true;
}

static bool read_lines(struct auth_users *users, const struct buf *text, const char *path, struct err *err)
{
	const char *at = (const char *)text->data, *end = at + text->len, *wrong = NULL;
	struct fields fields = { { 0 }, { 0 } };
	int number = 0;

	if (text->len >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0)
		at += 3;
	while (at < end && !wrong) {
		const char *eol = memchr(at, '\n', (size_t)(end - at));
		wrong = read_line(users, (struct line){ at, eol ? eol : end }, ++number, &fields);
		at = eol ? eol + 1 : end;
	}
	wipe_buf(&fields.secret);
	buf_free(&fields.name);
	return wrong ? err_set(err, "F0000", "%s:%d: %s", path, number, wrong) : true;
}

struct auth_users *auth_users_parse(const char *path, struct err *err)
{
	struct auth_users *users;
	struct buf text = { 0 };
	bool is_good;

	if (!read_file(path, &text, err)) {
		wipe_buf(&text);
		return NULL;
	}
	users = mem_alloc(sizeof(*users));
	atomic_init(&users->refs, 1);
	is_good = read_lines(users, &text, path, err);
	wipe_buf(&text);
	if (users->count)
		qsort(users->users, users->count, sizeof(*users->users), compare_users);
	if (!is_good || !is_each_once(users, path, err))
		auth_users_unref(&users);
	return users;
}

struct auth_users *auth_users_ref(struct auth_users *users)
{
	atomic_fetch_add(&users->refs, 1);
	return users;
}

void auth_users_unref(struct auth_users **users)
{
	struct auth_users *u = *users;

	*users = NULL;
	if (!u || atomic_fetch_sub(&u->refs, 1) != 1)
		return;
	for (size_t i = 0; i < u->count; i++) {
		auth_secret_clear(&u->users[i].secret);
		mem_free(u->users[i].name);
	}
	mem_free(u->users);
	mem_free(u);
}

const struct auth_secret *auth_users_find(const struct auth_users *users, const char *name)
{
	size_t low = 0, high = users->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(name, users->users[mid].name);
		if (order == 0)
			return &users->users[mid].secret;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

void auth_users_keep_keys(struct auth_users *users, const struct auth_users *before)
{
	for (size_t i = 0; i < users->count; i++) {
		const struct auth_secret *known = auth_users_find(before, users->users[i].name);
		if (known && auth_secret_is_same(known, &users->users[i].secret))
			secret_share_cache(&users->users[i].secret, known);
	}
}

size_t auth_users_count(const struct auth_users *users)
{
	return users->count;
}
