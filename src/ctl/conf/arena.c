#include "conf_private.h"

#define CHUNK_BYTES ((size_t)16384)

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, cap;
	_Alignas(16) char bytes[];
};

void *arena_alloc(struct arena *arena, size_t len)
{
	struct arena_chunk *chunk = arena->chunks;
	void *at;

	len = (len + 15) & ~(size_t)15;
	if (!chunk || chunk->cap - chunk->used < len) {
		size_t cap = MAX(len, CHUNK_BYTES);
		chunk = mem_alloc(sizeof(*chunk) + cap);
		chunk->cap = cap;
		chunk->next = arena->chunks;
		arena->chunks = chunk;
	}
	at = chunk->bytes + chunk->used;
	chunk->used += len;
	return at;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	size_t len = strlen(text) + 1;

	return memcpy(arena_alloc(arena, len), text, len);
}

void arena_free(struct arena *arena)
{
	while (arena->chunks) {
		struct arena_chunk *chunk = arena->chunks;
		arena->chunks = chunk->next;
		mem_wipe(chunk->bytes, chunk->cap);
		mem_free(chunk);
	}
}
