#include "pgshunt/wire.h"

enum { EMPTY = 0, ONE = 1, SMALL = 10000 - 4, SHORT = 30000 - 4, TOKEN = 65535, LONG = WIRE_MESSAGE_MAX - 4 };

#define NONE { UINT32_MAX, 0 }

/* Rows of the table overwrite the rule for all other bytes. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
#ifdef __clang__
#pragma clang diagnostic ignored "-Winitializer-overrides"
#endif
const struct wire_type wire_types[2][256] = {
	[0] = { [0 ... 255] = NONE },
	[1] = { [0 ... 255] = NONE },
#define TYPE(side, byte, least, most, name) [side][byte] = { 4 + (least), 4 + (most) },
#include "types.def"
#undef TYPE
};
#pragma GCC diagnostic pop

static const char *const names[2][128] = {
#define TYPE(side, byte, least, most, name) [side][byte] = name,
#include "types.def"
#undef TYPE
};

const char *wire_type_name(enum wire_side side, char type)
{
	return (unsigned char)type < ARRAY_LEN(names[0]) ? names[side][(unsigned char)type] : NULL;
}

enum wire_rc wire_peek_failed(char type, uint32_t length, enum wire_side side, struct err *err)
{
	const char *name = wire_type_name(side, type), *from = side == WIRE_FROM_CLIENT ? "client" : "server";

	if (!name)
		err_set(err, "08P01", "unknown message type 0x%02X from the %s", (unsigned char)type, from);
	else
		err_set(err, "08P01", "%s message with length field %u from the %s", name, length, from);
	return WIRE_FAIL;
}
