/* dice.h - chance that the input decides: the same input always gives the same throws. */
#ifndef PGSHUNT_FUZZ_DICE_H
#define PGSHUNT_FUZZ_DICE_H

#include "pgshunt/base.h"

struct dice {
	uint64_t state;
};

static inline struct dice dice_of(const void *data, size_t len)
{
	uint64_t state = 14695981039346656037ull;       /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		state = (state ^ ((const uint8_t *)data)[i]) * 1099511628211ull;
	return (struct dice){ state };
}

/* 0 .. sides - 1. SplitMix64. */
static inline uint32_t dice_roll(struct dice *dice, size_t sides)
{
	uint64_t x = dice->state += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)((x >> 32) * (uint64_t)sides >> 32);
}

/* True once in so many throws. */
static inline bool dice_once_in(struct dice *dice, size_t throws)
{
	return dice_roll(dice, throws) == 0;
}

#define DICE_PICK(dice, items) ((items)[dice_roll((dice), ARRAY_LEN(items))])

#endif
