/* grammar.h - a weighted grammar read from a file, and texts drawn from it by a seeded generator.
 *
 *   # comment
 *   name:                      a rule; its alternatives follow
 *   <TAB>WEIGHT text           one alternative; drawn as often as its weight says
 *   <TAB><TAB>text             one more line of the alternative above
 *
 * In a text <rule> is replaced by a draw of that rule, <v=rule> also keeps it under the name v for the rest of this alternative, where <$v>
 * repeats it; <3..9> is a number. Everything else, a < before anything but a small letter, a digit or $ too, stands for itself. */
#ifndef PROPERTY_GRAMMAR_H
#define PROPERTY_GRAMMAR_H

#include "pgshunt/base.h"

struct rng {
	uint64_t state;
};
uint64_t rng_next(struct rng *rng);
/* least to most, both included */
unsigned rng_between(struct rng *rng, unsigned least, unsigned most);

struct grammar;
/* Exits with a message when the file can't be read or names a rule that isn't there. */
struct grammar *grammar_load(const char *path);
void grammar_free(struct grammar **grammar);
void grammar_draw(const struct grammar *grammar, const char *rule, struct rng *rng, struct buf *out);

#endif
