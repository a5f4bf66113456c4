/* shape.h - a text with what can't change its verdict taken out: blanks, comments, the case of words, literals. */
#ifndef PGSHUNT_SQL_SHAPE_H
#define PGSHUNT_SQL_SHAPE_H

#include "lexer.h"

#include "pgshunt/sql.h"

/* The text is read in blocks: so many zero bytes must stand behind it. */
#define SHAPE_PAD 16
/* The normalized text needs at most this much room. */
#define SHAPE_ROOM(text_len) (2 * (text_len) + 32)

/* Writes the normalized text of the padded text to out (SHAPE_ROOM bytes) and returns its length. Two texts with the same
 * normalized text have the same sequence of grammar tokens but for the values of literals that the verdict doesn't look at. */
size_t shape_normalize(const char *padded, size_t len, uint8_t *out);

/* Any other mode than the plain one. */
bool shape_is_readable_oddly(struct span text, struct sql_mode mode);

/* Whether the lexer's reading of the text is the server's under this mode. */
static inline bool shape_is_readable(struct span text, struct sql_mode mode)
{
	return (mode.standard_conforming_strings && mode.ascii_safe_encoding) || shape_is_readable_oddly(text, mode);
}

/* The same, in room that is kept from call to call: the result lies at the buffer's beginning. */
struct span shape_in(struct buf *room, struct span text);

/* The key of a text that the lexer can't or needn't read: all of it. */
struct hash128 shape_of_whole(struct span text);

/* Overwrites comments with blanks. libpg_query makes tokens of them, and its grammar then misses what takes two words to see
 * (NOT IN, WITH TIME ZONE, UESCAPE with a comment in between): without this one shape could parse, or not. Newlines between tokens go
 * too: in 'a' (newline) slash-star star-slash 'b' the comment keeps two strings apart, which without it would be one. */
void shape_blank_comments(char *text, size_t len);

/* "select $1 from t": blanks and comments squeezed, literals as $n behind the parameters in use, at most len bytes. */
void shape_show(struct span text, size_t max_bytes, struct buf *out);

#endif
