#include "peer.h"
#include "pgshunt/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_USER_OID 16384u
#define READ_BYTES 65536

bool peer_open(struct peer *peer, const char *host, unsigned port, const struct buf *startup)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int one = 1;

	*peer = (struct peer){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	inet_pton(AF_INET, host, &address.sin_addr);
	if (peer->fd == -1 || connect(peer->fd, (struct sockaddr *)&address, sizeof(address)) == -1)
		return false;
	setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	peer_send(peer, startup->data, startup->len);
	return true;
}

static void close_socket(struct peer *peer)
{
	if (peer->fd != -1)
		close(peer->fd);
	peer->fd = -1;
}

/* What the other side does not take any more is seen when it is read. */
void peer_send(struct peer *peer, const void *data, size_t len)
{
	const char *at = data;

	while (len && peer->fd != -1) {
		ssize_t sent = send(peer->fd, at, len, MSG_NOSIGNAL);

		if (sent == -1 && errno == EINTR)
			continue;
		if (sent == -1)
			return;
		at += sent;
		len -= (size_t)sent;
	}
}

/* --- masks */

static uint32_t load_u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return __builtin_bswap32(value);
}

static void mask_oid(uint8_t *at)
{
	uint32_t masked = __builtin_bswap32(FIRST_USER_OID);

	if (load_u32(at) >= FIRST_USER_OID)
		memcpy(at, &masked, sizeof(masked));
}

/* RowDescription: a column is name, table oid, column number, type oid, size, modifier, format. */
static void mask_columns(uint8_t *body, size_t len)
{
	struct cursor c = cursor_of(body, len);

	for (unsigned left = cursor_u16(&c); left && !c.short_read; left--) {
		size_t at;

		cursor_cstr(&c, NULL);
		at = (size_t)(c.at - body);
		if (!cursor_bytes(&c, 18))
			return;
		mask_oid(body + at);
		mask_oid(body + at + 6);
	}
}

/* Which line of PostgreSQL's source raised it is no business of a client's. A PL/pgSQL function is named in a context as it had to be named,
 * with its schema or without, when this server process compiled it first. */
static void say_fields(struct peer *peer, const struct wire_msg *m)
{
	struct cursor c = cursor_of(m->body, m->body_len);
	size_t mark = peer->said.len + 1;
	uint32_t bytes;
	uint8_t field;

	buf_add_u8(&peer->said, (uint8_t)m->type);
	buf_add_u32(&peer->said, 0);
	while ((field = cursor_u8(&c))) {
		const char *value = cursor_cstr(&c, NULL), *schema;

		if (!value || strchr("FLR", field))
			continue;
		buf_add_u8(&peer->said, field);
		while (field == 'W' && (schema = strstr(value, "function w")) && strspn(schema + 10, "0123456789xy.") > 1) {
			buf_add(&peer->said, value, (size_t)(schema - value) + 9);
			value = schema + 10 + strspn(schema + 10, "0123456789xy.");
		}
		buf_add_cstr(&peer->said, value);
	}
	buf_add_u8(&peer->said, 0);
	bytes = __builtin_bswap32((uint32_t)(peer->said.len - mark));
	memcpy(peer->said.data + mark, &bytes, sizeof(bytes));
}

static void mask(char type, uint8_t *body, size_t len)
{
	switch (type) {
	case 'T': mask_columns(body, len); break;
	case 't':
		for (size_t at = 2; at + 4 <= len; at += 4)
			mask_oid(body + at);
		break;
	case 'A': memset(body, 0, MIN(len, (size_t)4)); break;
	}
}

/* --- ParameterStatus */

static int compare_settings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void note_setting(struct peer *peer, const struct wire_msg *m)
{
	const char *name, *value;
	struct err err;
	size_t i = 0, len;

	if (!wire_read_parameter_status(m, &name, &value, &err) || peer->setting_count == PEER_SETTINGS_MAX)
		return;
	len = strlen(name);
	while (i < peer->setting_count && (strncmp(peer->settings[i], name, len) != 0 || peer->settings[i][len] != '='))
		i++;
	if (i < peer->setting_count)
		mem_free(peer->settings[i]);
	else
		peer->setting_count++;
	peer->settings[i] = mem_printf("%s=%s", name, value);
	qsort(peer->settings, peer->setting_count, sizeof(peer->settings[0]), compare_settings);
}

/* As a message of its own behind ReadyForQuery, when they are not what they were behind the last one. */
static void say_settings(struct peer *peer)
{
	struct buf now = { .len = 0 };

	for (size_t i = 0; i < peer->setting_count; i++)
		buf_add_cstr(&now, peer->settings[i]);
	if (now.len != peer->last.len || (now.len && memcmp(now.data, peer->last.data, now.len) != 0)) {
		buf_add_u8(&peer->said, 'S');
		buf_add_u32(&peer->said, (uint32_t)now.len + 4);
		buf_add(&peer->said, now.data, now.len);
	}
	buf_free(&peer->last);
	peer->last = now;
}

/* --- reading */

static void say_text(struct peer *peer, const char *text)
{
	buf_add_u8(&peer->said, '!');
	buf_add_u32(&peer->said, (uint32_t)strlen(text) + 5);
	buf_add_cstr(&peer->said, text);
}

static void take_message(struct peer *peer, const struct wire_msg *m)
{
	size_t start = peer->said.len;

	if (m->type == 'S')
		note_setting(peer, m);
	if (strchr("SKR", m->type))
		return;
	if (m->type == 'E' || m->type == 'N') {
		say_fields(peer, m);
	} else {
		buf_add(&peer->said, m->start, m->total);
		mask(m->type, peer->said.data + start + WIRE_HEADER_BYTES, m->body_len);
	}
	if (strchr("123TnCIs", m->type))
		peer->answers++;
	if (m->type == 'E')
		peer->has_failed = peer->is_told_why = true;
	if (m->type != 'Z')
		return;
	peer->ready++;
	peer->answers = 0;
	peer->has_failed = false;
	peer->status = m->body_len ? (char)m->body[0] : '?';
	say_settings(peer);
}

/* False when it isn't the protocol. */
static bool take_messages(struct peer *peer)
{
	size_t taken = 0;
	struct wire_msg m;
	struct err err;
	enum wire_rc rc;

	for (;;) {
		rc = wire_peek(peer->in.data + taken, peer->in.len - taken, WIRE_FROM_SERVER, WIRE_MESSAGE_MAX, &m, &err);
		if (rc != WIRE_DONE || m.have < m.total)
			break;
		take_message(peer, &m);
		taken += m.total;
	}
	buf_consume(&peer->in, taken);
	return rc != WIRE_FAIL;
}

static void end_with(struct peer *peer, const char *word)
{
	say_text(peer, word);
	close_socket(peer);
}

static void read_some(struct peer *peer)
{
	ssize_t len;

	buf_reserve(&peer->in, READ_BYTES);
	len = recv(peer->fd, peer->in.data + peer->in.len, READ_BYTES, MSG_DONTWAIT);
	if (len == -1 && (errno == EINTR || errno == EAGAIN))
		return;
	if (len <= 0) {
		end_with(peer, "CLOSED");
		return;
	}
	peer->in.len += (size_t)len;
	if (!take_messages(peer))
		end_with(peer, "NOT THE PROTOCOL");
}

static bool has_answered(const struct peer *peer, const struct part *part)
{
	if (!peer || peer->fd == -1)
		return true;
	return peer->ready >= part->ready && (part->answers == 0 || peer->has_failed || peer->answers >= part->answers);
}

void peer_await(struct peer *a, struct peer *b, const struct part *part, int timeout_ms)
{
	usec_t deadline = time_mono_us() + timeout_ms * USEC_PER_MS;

	while (!has_answered(a, part) || !has_answered(b, part)) {
		struct peer *both[2] = { a, b };
		struct pollfd fds[2];
		bool is_late = time_mono_us() > deadline;

		for (int i = 0; i < 2; i++)
			fds[i] = (struct pollfd){ has_answered(both[i], part) ? -1 : both[i]->fd, POLLIN, 0 };
		if (poll(fds, 2, 200) == -1)
			continue;
		for (int i = 0; i < 2; i++) {
			if (fds[i].fd == -1)
				continue;
			if (fds[i].revents)
				read_some(both[i]);
			else if (is_late)
				end_with(both[i], "TIMEOUT");
		}
	}
}

void peer_forget(struct peer *peer)
{
	peer->said.len = 0;
	peer->ready = 0;
	peer->is_told_why = false;
}

void peer_close(struct peer *peer, int timeout_ms)
{
	static const uint8_t terminate[] = { 'X', 0, 0, 0, 4 };
	usec_t deadline = time_mono_us() + timeout_ms * USEC_PER_MS;

	peer_send(peer, terminate, sizeof(terminate));
	while (peer->fd != -1 && time_mono_us() < deadline) {
		struct pollfd fd = { peer->fd, POLLIN, 0 };

		if (poll(&fd, 1, 100) > 0)
			read_some(peer);
	}
	close_socket(peer);
	buf_free(&peer->in);
	buf_free(&peer->said);
	buf_free(&peer->last);
	for (size_t i = 0; i < peer->setting_count; i++)
		mem_free(peer->settings[i]);
	peer->setting_count = 0;
}

/* --- for people */

static void print_text(const uint8_t *at, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len; i++) {
		if (at[i] >= 0x20 && at[i] < 0x7f)
			buf_add_u8(out, at[i]);
		else
			buf_printf(out, at[i] == '\n' ? "\\n" : "\\x%02x", at[i]);
	}
}

static void print_row(const struct wire_msg *m, struct buf *out)
{
	struct cursor c = cursor_of(m->body, m->body_len);

	for (unsigned i = 0, count = cursor_u16(&c); i < count && !c.short_read; i++) {
		uint32_t len = cursor_u32(&c);
		const uint8_t *value = len == UINT32_MAX ? NULL : cursor_bytes(&c, len);

		buf_add_str(out, i ? " | " : " ");
		if (value)
			print_text(value, len, out);
		else
			buf_add_str(out, "NULL");
	}
}

static void print_columns(const struct wire_msg *m, struct buf *out)
{
	struct cursor c = cursor_of(m->body, m->body_len);

	for (unsigned i = 0, count = cursor_u16(&c); i < count && !c.short_read; i++) {
		const char *name = cursor_cstr(&c, NULL);
		uint32_t table = cursor_u32(&c), number = cursor_u16(&c), type = cursor_u32(&c), size = cursor_u16(&c), modifier = cursor_u32(&c);
		uint32_t format = cursor_u16(&c);

		if (!c.short_read)
			buf_printf(out, "%s%s(%u.%u %u %u %u %u)", i ? ", " : " ", name, table, number, type, size, modifier, format);
	}
}

/* Strings end with a NUL: each becomes a word. */
static void print_strings(const struct wire_msg *m, struct buf *out)
{
	buf_add_u8(out, ' ');
	for (size_t i = 0; i < m->body_len; i++) {
		if (m->body[i])
			print_text(m->body + i, 1, out);
		else if (i + 2 < m->body_len)
			buf_add_str(out, " / ");
	}
}

static void print_message(const struct wire_msg *m, struct buf *out)
{
	const char *name = m->type == '!' ? "" : wire_type_name(WIRE_FROM_SERVER, m->type);

	buf_printf(out, "    %s", name ? name : "?");
	if (m->type == 'D')
		print_row(m, out);
	else if (m->type == 'T')
		print_columns(m, out);
	else
		print_strings(m, out);
	buf_add_u8(out, '\n');
}

/* The next message of what was said, which is whole by construction. */
static bool next_said(const struct buf *said, size_t *at, struct wire_msg *m)
{
	const uint8_t *start = said->data + *at;

	if (*at + WIRE_HEADER_BYTES > said->len)
		return false;
	*m = (struct wire_msg){ .type = (char)start[0], .start = start, .total = load_u32(start + 1) + 1 };
	m->body = start + WIRE_HEADER_BYTES;
	m->body_len = m->total - WIRE_HEADER_BYTES;
	m->have = m->total;
	*at += m->total;
	return true;
}

void said_print(const struct buf *said, struct buf *out)
{
	struct wire_msg m;
	size_t at = 0;

	while (next_said(said, &at, &m))
		print_message(&m, out);
}

static void print_kind(const struct wire_msg *m, bool is_there, struct buf *out)
{
	struct wire_error error;
	struct err err;

	if (!is_there) {
		buf_add_str(out, "nothing");
		return;
	}
	buf_printf(out, "%c", m->type);
	if (m->type == '!')
		print_strings(m, out);
	else if (strchr("EN", m->type) && wire_read_error(m, &error, &err))
		buf_printf(out, " %s", error.sqlstate);
}

void said_difference(const struct buf *a, const struct buf *b, char *out, size_t len)
{
	size_t at_a = 0, at_b = 0;
	struct wire_msg ma, mb;
	struct buf text = { .len = 0 };
	bool has_a, has_b;

	out[0] = '\0';
	do {
		has_a = next_said(a, &at_a, &ma);
		has_b = next_said(b, &at_b, &mb);
		if (!has_a && !has_b)
			return;
	} while (has_a && has_b && ma.total == mb.total && memcmp(ma.start, mb.start, ma.total) == 0);
	print_kind(&ma, has_a, &text);
	buf_add_str(&text, " / ");
	print_kind(&mb, has_b, &text);
	snprintf(out, len, "%s", buf_cstr(&text));
	buf_free(&text);
}

const char *peer_ask(struct peer *peer, const char *sql, int timeout_ms)
{
	static char answer[128];
	struct buf query = { .len = 0 };
	struct wire_msg m;
	size_t at = 0;

	peer_forget(peer);
	wire_put_query(&query, sql);
	peer_send(peer, query.data, query.len);
	buf_free(&query);
	peer_await(peer, NULL, &(struct part){ .ready = 1 }, timeout_ms);
	answer[0] = '\0';
	while (next_said(&peer->said, &at, &m)) {
		if (m.type == 'E' || m.type == '!')
			return NULL;
		if (m.type == 'D' && m.body_len > 6 && !answer[0])
			snprintf(answer, sizeof(answer), "%.*s", (int)(m.body_len - 6), (const char *)m.body + 6);
	}
	return answer;
}
