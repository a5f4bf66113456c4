/* sql-cost N TEXT: asks for the verdict of a text N times (the first is a miss). Counted from outside by tools/sql-cost. */
#include "pgshunt/sql.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	static const struct sql_options options = { .cache_max_bytes = 1 << 20, .parse_max_bytes = 65536, .nesting_max = 10000 };
	static const struct sql_mode plain = { true, true };
	struct sql_cache *cache;
	struct span text;
	long times;

	if (argc != 3) {
		fprintf(stderr, "usage: sql-cost N TEXT\n");
		return 2;
	}
	times = strtol(argv[1], NULL, 10);
	text = span_of(argv[2]);
	hash_key_init();
	cache = sql_cache_new(&options);
	for (long i = 0; i < times; i++) {
		struct verdict *v = sql_verdict(cache, text, plain);
		verdict_unref(&v);
	}
	sql_cache_free(&cache);
	return 0;
}
