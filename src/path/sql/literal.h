/* literal.h - what a string or a quoted name stands for (scan.l and parser.c of PostgreSQL 15). */
#ifndef PGSHUNT_SQL_LITERAL_H
#define PGSHUNT_SQL_LITERAL_H

#include "lexer.h"

struct literal {
	struct buf plain;       /* the value */
	struct buf quoted;      /* E'..': the same value on any server, whatever its standard_conforming_strings */
	bool is_coded;          /* a character beyond ASCII is given by its code (\351, \xe9, \u00e9): which bytes that is depends on the
	                         * server's encoding, so plain is not the value; quoted has the code */
};

/* Reads '..', E'..', $$..$$ with all their continuations, and U&'..'; uescape is its escape character. False where PostgreSQL
 * would say that the string is wrong. The literal was empty ({ 0 }) or freed, and has to be freed in any case. */
bool literal_of_string(const struct token *t, char uescape, struct literal *out);
/* An identifier: folded or unquoted, cut to 63 bytes as PostgreSQL does it. False too for one whose cut isn't known here. */
bool literal_of_name(const struct token *t, char uescape, struct literal *out);
void literal_free(struct literal *literal);

#endif
