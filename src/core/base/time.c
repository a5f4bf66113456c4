#include "pgshunt/base.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static usec_t now_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (usec_t)now.tv_sec * USEC_PER_SEC + now.tv_nsec / 1000;
}

usec_t time_mono_us(void)
{
	return now_of(CLOCK_MONOTONIC);
}

usec_t time_wall_us(void)
{
	return now_of(CLOCK_REALTIME);
}

void random_bytes(void *out, size_t len)
{
	uint8_t *at = out;

	while (len) {
		ssize_t got = getrandom(at, len, 0);
		ENSURE(got > 0);
		at += got;
		len -= (size_t)got;
	}
}

/* Levenshtein distance, given up (returns limit) for long words: names of options are short. */
static size_t edit_distance(const char *a, const char *b, size_t limit)
{
	size_t row[64], la = strlen(a), lb = strlen(b);

	if (lb >= ARRAY_LEN(row) || la >= ARRAY_LEN(row))
		return limit;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t above = row[j], best = MIN(row[j - 1], above) + 1;
			row[j] = MIN(best, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[lb];
}

const char *nearest_name(const char *written, const char *const *names)
{
	size_t best = MAX(strlen(written) / 3, 2) + 1;
	const char *found = NULL;

	for (; *names; names++) {
		size_t distance = edit_distance(written, *names, best);
		if (distance < best) {
			best = distance;
			found = *names;
		}
	}
	return found;
}
