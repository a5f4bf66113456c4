/* wire.h - PostgreSQL's frontend/backend protocol 3.x as bytes: cut messages, read them, build them.
 *
 * Pure functions; no state, no I/O. Source: PostgreSQL manual, chapter 55 (sections 55.2 flow, 55.7 formats).
 * Return contract: WIRE_DONE: *out filled, bytes consumed. WIRE_AGAIN: nothing consumed, more bytes needed.
 * WIRE_FAIL: *err says why (08P01); the connection must end. */
#ifndef PGSHUNT_WIRE_H
#define PGSHUNT_WIRE_H

#include "pgshunt/base.h"

enum wire_rc { WIRE_DONE, WIRE_AGAIN, WIRE_FAIL };

#define WIRE_HEADER_BYTES 5
#define WIRE_MESSAGE_MAX 0x40000002u            /* the longest message PostgreSQL can make: its StringInfo ends at 1 GB */
#define WIRE_STARTUP_MAX_BYTES 10000            /* as PostgreSQL: MAX_STARTUP_PACKET_LENGTH */
#define WIRE_STARTUP_PARAMS_MAX 64
#define WIRE_CANCEL_KEY_MIN 4
#define WIRE_CANCEL_KEY_MAX 256                 /* protocol 3.2 */
#define WIRE_NAME_MAX 63                        /* user, database: PostgreSQL cuts longer ones silently, we refuse them */

#define WIRE_PROTOCOL_3_0 0x00030000u
#define WIRE_PROTOCOL_3_2 0x00030002u
#define WIRE_CANCEL_CODE 80877102u
#define WIRE_SSL_CODE 80877103u
#define WIRE_GSSENC_CODE 80877104u

/* ---- the first packet of a client ---- */

enum wire_startup_kind { WIRE_STARTUP, WIRE_SSL_REQUEST, WIRE_GSSENC_REQUEST, WIRE_CANCEL_REQUEST };

struct wire_param {
	const char *name, *value;       /* point into the packet */
};

struct wire_startup {
	enum wire_startup_kind kind;
	uint32_t version;               /* as asked; major 3, any minor (2.0 is WIRE_FAIL with a readable text) */
	const char *user, *database;    /* database defaults to user; never empty */
	struct wire_param params[WIRE_STARTUP_PARAMS_MAX];   /* all but user, database, replication and _pq_.* */
	size_t param_count;
	bool replication;               /* replication= was given and not false */
	bool replication_logical;       /* replication=database */
	const char *pq_options[16];     /* names of _pq_.* parameters: for NegotiateProtocolVersion */
	size_t pq_option_count;
	uint32_t cancel_pid;            /* WIRE_CANCEL_REQUEST */
	const uint8_t *cancel_key;
	size_t cancel_key_len;
};

/* Reads one startup-phase packet. Duplicate names, a missing final NUL, no user, lengths out of range: WIRE_FAIL (08P01; 28000 without
 * a user or for a name longer than WIRE_NAME_MAX, 3D000 for such a database, 22023 for a bad replication=), as soon as the length is here.
 * Strings point into the packet's bytes: valid while the caller keeps them. */
enum wire_rc wire_read_startup(struct cursor *in, struct wire_startup *out, struct err *err);

/* options=-c name=value -cname=value --name=value as PostgreSQL reads it (backslash escapes a blank; dashes in a name become underscores),
 * and the short switches -e -f -O -s -S that stand for a setting. Calls fn for each; false when malformed (42601), another switch (0A000),
 * or when fn said false (its err). Name and value are valid during the call only. */
typedef bool wire_option_fn(void *owner, const char *name, const char *value, struct err *err);
bool wire_parse_options(const char *options, wire_option_fn *fn, void *owner, struct err *err);

/* ---- messages after startup ---- */

struct wire_msg {
	char type;
	const uint8_t *start;           /* the type byte */
	size_t total;                   /* bytes with header, as announced */
	const uint8_t *body;
	size_t body_len;                /* as announced */
	size_t have;                    /* bytes of the message (with header) that are in the window; = total when complete */
};

enum wire_side { WIRE_FROM_CLIENT, WIRE_FROM_SERVER };

/* What a type allows, a row a (side, type byte); from the table in src/path/wire/types.def. least > most: no such type. */
struct wire_type {
	uint32_t least, most;           /* of the length field, which counts itself */
};
extern const struct wire_type wire_types[2][256];
const char *wire_type_name(enum wire_side side, char type);     /* "Query"; NULL = unknown */

/* Says in err what is wrong with a header that wire_peek() refused; returns WIRE_FAIL. */
enum wire_rc wire_peek_failed(char type, uint32_t length, enum wire_side side, struct err *err) __attribute__((cold));

/* Looks at the header in front of the window without consuming. DONE as soon as the 5 header bytes are there (compare have with
 * total for the rest). FAIL: unknown type for that side, length < 4, shorter than the type's least body or > max_bytes or what the type
 * may have. Here because it runs once for every message that passes: a load, a byte swap, three compares. */
static inline enum wire_rc wire_peek(const uint8_t *at, size_t len, enum wire_side side, size_t max_bytes, struct wire_msg *out,
                                     struct err *err)
{
	const struct wire_type *type;
	uint32_t length;

	if (len < WIRE_HEADER_BYTES)
		return WIRE_AGAIN;
	type = &wire_types[side][at[0]];
	memcpy(&length, at + 1, sizeof(length));
	length = __builtin_bswap32(length);
	if (__builtin_expect(length < type->least || length > type->most || length > max_bytes, 0))
		return wire_peek_failed((char)at[0], length, side, err);
	out->type = (char)at[0];
	out->start = at;
	out->total = (size_t)length + 1;
	out->body = at + WIRE_HEADER_BYTES;
	out->body_len = length - 4;
	out->have = MIN(len, out->total);
	return WIRE_DONE;
}

/* Bodies that must be understood. Each checks every length; false: malformed (08P01 in err). Strings point into the message. The whole
 * message must be in the window, but for wire_read_bind: its names are enough, the values are the server's to check. */
struct wire_parse { const char *name, *sql; size_t sql_len; uint16_t type_count; const uint8_t *types; };
struct wire_bind { const char *portal, *statement; size_t names_len; /* bytes of both names with NULs */ };
struct wire_execute { const char *portal; uint32_t max_rows; };
struct wire_target { char kind; const char *name; };   /* Describe, Close: 'S' or 'P' */

bool wire_read_query(const struct wire_msg *m, struct span *sql, struct err *err);
bool wire_read_parse(const struct wire_msg *m, struct wire_parse *out, struct err *err);
bool wire_read_bind(const struct wire_msg *m, struct wire_bind *out, struct err *err);
bool wire_read_execute(const struct wire_msg *m, struct wire_execute *out, struct err *err);
bool wire_read_target(const struct wire_msg *m, struct wire_target *out, struct err *err);

/* ErrorResponse / NoticeResponse fields. Absent ones are "". Values longer than the arrays are cut, never overrun. */
struct wire_error {
	char severity[16];              /* field V where there is one, else S (which may be translated) */
	char sqlstate[6];
	char message[512];
	char detail[256], hint[256];
	char routine[64];               /* field R: "ProcessInterrupts" tells a recovery conflict */
};
bool wire_read_error(const struct wire_msg *m, struct wire_error *out, struct err *err);
bool wire_read_parameter_status(const struct wire_msg *m, const char **name, const char **value, struct err *err);
bool wire_read_backend_key(const struct wire_msg *m, uint32_t *pid, const uint8_t **key, size_t *key_len, struct err *err);
/* AuthenticationXXX: code as in the manual; data/len: the rest (salt, SASL mechanisms, SASL data). */
bool wire_read_auth(const struct wire_msg *m, uint32_t *code, const uint8_t **data, size_t *len, struct err *err);

/* ---- building: each appends one whole message ---- */

void wire_put_startup(struct buf *out, uint32_t version, const struct wire_param *params, size_t count);
void wire_put_cancel(struct buf *out, uint32_t pid, const uint8_t *key, size_t key_len);
void wire_put_query(struct buf *out, const char *sql);
void wire_put_parse(struct buf *out, const char *name, struct span sql, uint16_t type_count, const uint8_t *types);
void wire_put_target(struct buf *out, char type, char kind, const char *name);  /* Describe 'D', Close 'C' */
void wire_put_empty(struct buf *out, char type);        /* Sync 'S', Flush 'H', Terminate 'X', and the empty server replies */
void wire_put_password(struct buf *out, const void *data, size_t len);  /* 'p' */

/* Texts that could hold a peer's bytes are made valid UTF-8 ('?' for what isn't): drivers drop the connection over one they can't decode.
 * severity "ERROR" or "FATAL"; the text gets the prefix "pgshunt: ". Also sends field V, and H when there is a hint. */
void wire_put_error(struct buf *out, const char *severity, const struct err *err);
void wire_put_notice(struct buf *out, const char *severity, const struct err *err);
/* The same without the prefix: for answers that must look exactly like PostgreSQL's own (25P02, COMMIT's WARNINGs). */
void wire_put_error_plain(struct buf *out, const char *severity, const char *sqlstate, const char *text);
void wire_put_notice_plain(struct buf *out, const char *severity, const char *sqlstate, const char *text);
void wire_put_auth(struct buf *out, uint32_t code, const void *data, size_t len);
void wire_put_auth_sasl(struct buf *out, const char *const *mechanisms);        /* NULL-terminated list */
void wire_put_parameter_status(struct buf *out, const char *name, const char *value);
void wire_put_backend_key(struct buf *out, uint32_t pid, const uint8_t *key, size_t key_len);
void wire_put_ready(struct buf *out, char status);      /* 'I', 'T', 'E' */
void wire_put_command_complete(struct buf *out, const char *tag);
/* newest_minor: 0, 2 ...; goes out as libpq reads it, the whole version number (major 3). */
void wire_put_negotiate(struct buf *out, uint32_t newest_minor, const char *const *unknown, size_t count);

/* A result set made by the proxy: RowDescription (text format), then rows, then CommandComplete by the caller. */
struct wire_column { const char *name; uint32_t type_oid; };
void wire_put_row_description(struct buf *out, const struct wire_column *columns, size_t count);
void wire_put_row_begin(struct buf *out, uint16_t columns, size_t *mark);
void wire_put_row_value(struct buf *out, const char *text);     /* NULL = SQL NULL */
void wire_put_row_end(struct buf *out, size_t mark);

#endif
