/* scan.h - reading a statement by its tokens, with the next one in sight. A take function takes what it finds, or nothing. */
#ifndef PGSHUNT_SQL_SCAN_H
#define PGSHUNT_SQL_SCAN_H

#include "literal.h"

/* Copied, it is a place to come back to. */
struct scan {
	struct lexer lx;
	struct token t;         /* the next one */
};

struct scan scan_of(struct span text);
void scan_skip(struct scan *s);

static inline bool scan_at_char(const struct scan *s, char c)
{
	return token_is_char(&s->t, c);
}
static inline bool scan_at_word(const struct scan *s, const char *want)
{
	return token_is_word(&s->t, want);
}
bool scan_take_char(struct scan *s, char c);
bool scan_take_word(struct scan *s, const char *want);
/* Nothing left but semicolons, which it takes. */
bool scan_at_end(struct scan *s);
/* Up to the end of the statement, or to what can't be read. */
void scan_skip_rest(struct scan *s);
/* Up to and including what closes the parenthesis or bracket that stands here; anything else is one token. */
void scan_skip_group(struct scan *s);

/* The literal has to be freed in any case; what it was before is lost. */
bool scan_take_string(struct scan *s, struct literal *out);
/* Any word, reserved or not, or a quoted name. */
bool scan_take_name(struct scan *s, struct literal *out);

#endif
