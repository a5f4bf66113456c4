#include "pgshunt/base.h"

#include <stdio.h>
#include <stdlib.h>

void buf_grow(struct buf *buf, size_t more)
{
	size_t want = buf->len + more, cap = buf->cap ? buf->cap : 64;

	ENSURE(want >= buf->len);       /* no wrap-around */
	while (cap < want)
		cap *= 2;
	buf->data = mem_realloc(buf->data, cap);
	buf->cap = cap;
}

void buf_add_u64(struct buf *buf, uint64_t value)
{
	uint64_t net = __builtin_bswap64(value);

	buf_add(buf, &net, sizeof(net));
}

void buf_add_str(struct buf *buf, const char *text)
{
	buf_add(buf, text, strlen(text));
}

void buf_add_cstr(struct buf *buf, const char *text)
{
	buf_add(buf, text, strlen(text) + 1);
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list args, again;
	int len;

	va_start(args, fmt);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	ENSURE(len >= 0);
	buf_reserve(buf, (size_t)len + 1);
	vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, fmt, again);
	va_end(again);
	buf->len += (size_t)len;
}

void buf_consume(struct buf *buf, size_t len)
{
	ENSURE(len <= buf->len);
	buf->len -= len;
	if (buf->len && len)
		memmove(buf->data, buf->data + len, buf->len);
}

const char *buf_cstr(struct buf *buf)
{
	buf_reserve(buf, 1);
	buf->data[buf->len] = '\0';
	return (const char *)buf->data;
}

void buf_free(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){ NULL, 0, 0 };
}

/* ---- cursor ---- */

uint64_t cursor_u64(struct cursor *c)
{
	uint64_t high = cursor_u32(c);

	return high << 32 | cursor_u32(c);
}

const char *cursor_cstr(struct cursor *c, size_t *len)
{
	const uint8_t *nul = c->short_read ? NULL : memchr(c->at, 0, cursor_left(c));
	const char *text = (const char *)c->at;

	if (!nul) {
		c->short_read = true;
		return NULL;
	}
	if (len)
		*len = (size_t)(nul - c->at);
	c->at = nul + 1;
	return text;
}
