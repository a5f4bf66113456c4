/* lexer.h - PostgreSQL's lexical rules (manual, section 4.1; scan.l of PostgreSQL 15), one token at a time, without copying.
 *
 * Differences are on the safe side only: what a later PostgreSQL reads and 15 does not (0x10, 1_000, \v) is LEX_ERROR. */
#ifndef PGSHUNT_SQL_LEXER_H
#define PGSHUNT_SQL_LEXER_H

#include "pgshunt/base.h"

enum token_kind {
	LEX_END,
	LEX_WORD,               /* keyword or unquoted identifier */
	LEX_QUOTED,             /* "identifier" */
	LEX_QUOTED_UNICODE,     /* U&"identifier" */
	LEX_INT,                /* fits an int4: the grammar's ICONST */
	LEX_FLOAT,              /* the grammar's FCONST, integers past int4 too */
	LEX_STRING,             /* '..', E'..', $$..$$ with all their continuations */
	LEX_STRING_UNICODE,     /* U&'..' */
	LEX_NATIONAL,           /* N'..' */
	LEX_BITS,               /* B'..' */
	LEX_HEX,                /* X'..' */
	LEX_PARAM,              /* $1 */
	LEX_OPERATOR,           /* operators, and :: := .. => */
	LEX_SELF,               /* one of , ( ) [ ] ; . : and operators of one character that the grammar names */
	LEX_ERROR               /* from here on the text is not PostgreSQL's */
};

struct token {
	enum token_kind kind;
	const char *at, *end;
	bool is_dated;          /* a string that holds the word now, today, tomorrow or yesterday: its meaning changes with time */
	bool is_opaque;         /* a string whose escapes the lexer doesn't read: only the whole text identifies it */
};

struct lexer {
	const char *at, *end;
};

/* The class of a byte that begins a token. */
enum char_class {
	CH_ERROR, CH_BLANK, CH_LETTER, CH_DIGIT, CH_QUOTE, CH_DOUBLE_QUOTE, CH_DOLLAR, CH_DOT, CH_COLON, CH_PUNCT, CH_OPERATOR
};
extern const uint8_t lex_class[256];
/* ASCII upper case to lower; 0 for a byte that can't continue a word. */
extern const uint8_t lex_fold[256];

static inline struct lexer lexer_of(struct span text)
{
	return (struct lexer){ text.data, text.data + text.len };
}

/* Skips blanks and comments, then reads one token. Past the end, and after LEX_ERROR, it stays where it is. */
enum token_kind lex_next(struct lexer *lx, struct token *token);

static inline bool token_is_literal(const struct token *t)
{
	return t->kind >= LEX_INT && t->kind <= LEX_HEX;
}
/* A word, compared without case; want is lower case. */
bool token_is_word(const struct token *t, const char *want);
static inline bool token_is_char(const struct token *t, char c)
{
	return t->kind == LEX_SELF && *t->at == c;
}
static inline struct span token_span(const struct token *t)
{
	return (struct span){ t->at, (size_t)(t->end - t->at) };
}

#endif
