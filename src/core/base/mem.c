#include "pgshunt/base.h"

#include <stdio.h>
#include <stdlib.h>

static void *must(void *ptr)
{
	if (!ptr) {
		static const char text[] = "pgshunt: out of memory\n";
		fwrite(text, 1, sizeof(text) - 1, stderr);
		abort();
	}
	return ptr;
}

void *mem_alloc(size_t len)
{
	return must(calloc(1, len ? len : 1));
}

void *mem_realloc(void *ptr, size_t len)
{
	return must(realloc(ptr, len ? len : 1));
}

char *mem_strndup(const char *text, size_t len)
{
	char *copy = must(malloc(len + 1));

	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

char *mem_strdup(const char *text)
{
	return text ? mem_strndup(text, strlen(text)) : NULL;
}

char *mem_printf(const char *fmt, ...)
{
	va_list args;
	char *text = NULL;
	int len;

	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	return must(len < 0 ? NULL : text);
}

void mem_free(void *ptr)
{
	free(ptr);
}

void mem_wipe(void *ptr, size_t len)
{
	if (ptr)
		explicit_bzero(ptr, len);
}

struct mem_pool {
	size_t block_bytes, keep;
	size_t kept, lent;
	void *kept_first;       /* the first bytes of a kept block hold the pointer to the next one */
};

struct mem_pool *mem_pool_new(size_t block_bytes, size_t keep)
{
	struct mem_pool *pool = mem_alloc(sizeof(*pool));

	pool->block_bytes = MAX(block_bytes, sizeof(void *));
	pool->keep = keep;
	return pool;
}

void mem_pool_free(struct mem_pool **pool)
{
	if (!*pool)
		return;
	ENSURE((*pool)->lent == 0);
	while ((*pool)->kept_first) {
		void *block = (*pool)->kept_first;
		(*pool)->kept_first = *(void **)block;
		free(block);
	}
	free(*pool);
	*pool = NULL;
}

void *mem_pool_take(struct mem_pool *pool)
{
	void *block = pool->kept_first;

	pool->lent++;
	if (!block)
		return must(malloc(pool->block_bytes));
	pool->kept_first = *(void **)block;
	pool->kept--;
	return block;
}

void mem_pool_give(struct mem_pool *pool, void *block)
{
	pool->lent--;
	if (pool->kept >= pool->keep) {
		free(block);
		return;
	}
	*(void **)block = pool->kept_first;
	pool->kept_first = block;
	pool->kept++;
}
