#include "sql_literals.h"

static const char *const ints[] = {
	"0", "1", "2", "3", "7", "42", "54", "25", "100", "99999999", "123456789", "999999999", "2147483647", "1000000000",
	"0000000000000000000007", "00"
};
static const char *const floats[] = {
	"1.5", ".5", "1.", "1e10", "2147483648", "9999999999", "1.e-3", "99999999999999999999", "1E+5", ".5e0", "4294967297"
};
static const char *const odd_strings[] = {
	"''", "'it''s'", "$q$ ' $q$", "E'\\\\'", "e'\\''", "E'\\\\\\''", "'\\'", "'; drop'", "'--'", "'/*'", "'*/'", "$$$a$$", "$a$$b$$a$",
	"$a$a$a$", "$$ /* $$", "'$1'", "'\"'", "E'a\\nb'", "'%'", "e''''", "''''", "$_$x$_$", "$A$ $a$ $A$", "'\x80'", "E'\\'--'"
};
static const char *const contents[] = {
	"now", "today", "tomorrow", "yesterday", "now", "today", "pg_temp", "pg_temp.x", "in_hot_standby", "work_mem", "on", "off", "true",
	"false", "t", "1", "0", "a", "", "nowhere", "today1", "infinity", "epoch", "x y", "role", "none", "default", "pgshunt.route", "!", "+"
};
static const char *const before[] = { "", "", "", "", " ", "[", "x ", "(", "a,", "1" };
static const char *const behind[] = { "", "", "", "", " 10:00", ",)", "]", " x", "\t", "()" };
static const char *const bits[] = { "B'01'", "b''", "B'2'", "b'1'\n'0'" };
static const char *const hexes[] = { "X'1F'", "x''", "x'zz'", "X'a' \n 'b'" };
static const char *const blanks[] = {
	" ", " ", "  ", "\n", "\t", " \r\n", "/* x */", "/**/", " /* ' /* */ \" */", "/*/**/*/", " -- it's\n", " --\r", "\f", " --/*\n", "\n/*--*/"
};

/* ---- strings ---- */

static void write_any_case(struct buf *out, const char *text, struct dice *dice)
{
	bool is_upper = dice_once_in(dice, 2);

	for (; *text; text++)
		buf_add_u8(out, *text >= 'a' && *text <= 'z' && (is_upper || dice_once_in(dice, 4)) ? (uint8_t)(*text - 32) : (uint8_t)*text);
}

static void write_escaped_char(struct buf *out, uint8_t c, struct dice *dice)
{
	switch (dice_roll(dice, 12)) {
	case 0: buf_printf(out, "\\%o", c); break;
	case 1: buf_printf(out, "\\x%02x", c); break;
	case 2: buf_printf(out, "\\u%04X", c); break;
	case 3: buf_printf(out, "\\U%08x", c); break;
	case 4: buf_printf(out, strchr("bfnrtuUx01234567", c) ? "%c" : "\\%c", c); break;
	default: buf_add_u8(out, c); break;
	}
}

/* Quotes aren't among the contents. */
static void write_quoted(struct buf *out, const char *text, bool is_escaped, bool is_continued, struct dice *dice)
{
	buf_add_str(out, is_escaped ? (dice_once_in(dice, 2) ? "E'" : "e'") : "'");
	for (; *text; text++) {
		if (is_escaped)
			write_escaped_char(out, (uint8_t)*text, dice);
		else
			buf_add_u8(out, (uint8_t)*text);
		if (is_continued && dice_once_in(dice, 3))
			buf_add_str(out, dice_once_in(dice, 3) ? "' -- '\n  '" : "'\n'");
	}
	buf_add_u8(out, '\'');
}

static void write_content(struct buf *out, struct dice *dice)
{
	buf_add_str(out, DICE_PICK(dice, before));
	write_any_case(out, DICE_PICK(dice, contents), dice);
	buf_add_str(out, DICE_PICK(dice, behind));
}

static void write_string(struct buf *out, struct dice *dice)
{
	struct buf content = { 0 };
	const char *text;

	if (dice_once_in(dice, 4)) {
		buf_add_str(out, DICE_PICK(dice, odd_strings));
		return;
	}
	write_content(&content, dice);
	text = buf_cstr(&content);
	switch (dice_roll(dice, 8)) {
	case 0: buf_printf(out, "$$%s$$", text); break;
	case 1: buf_printf(out, "$ab$%s$ab$", text); break;
	case 2: case 3: write_quoted(out, text, true, dice_once_in(dice, 4), dice); break;
	case 4: write_quoted(out, text, false, true, dice); break;
	default: write_quoted(out, text, false, false, dice); break;
	}
	buf_free(&content);
}

void literal_write_quoted(struct buf *out, struct dice *dice)
{
	struct buf content = { 0 };

	write_content(&content, dice);
	write_quoted(out, buf_cstr(&content), false, dice_once_in(dice, 8), dice);
	buf_free(&content);
}

void literal_write(struct buf *out, enum pg_kind kind, struct dice *dice)
{
	switch ((int)kind) {
	case PG_INT: buf_add_str(out, DICE_PICK(dice, ints)); break;
	case PG_FLOAT: buf_add_str(out, DICE_PICK(dice, floats)); break;
	case PG_STRING: write_string(out, dice); break;
	case PG_BITS: buf_add_str(out, DICE_PICK(dice, bits)); break;
	case PG_HEX: buf_add_str(out, DICE_PICK(dice, hexes)); break;
	}
}

void blank_write(struct buf *out, struct dice *dice)
{
	const char *blank = DICE_PICK(dice, blanks);

	if (out->len && out->data[out->len - 1] == '-' && *blank == '-')
		buf_add_u8(out, ' ');
	buf_add_str(out, blank);
}
