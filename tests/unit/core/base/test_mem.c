#include "test.h"

/* ---- list ---- */

struct item {
	int number;
	struct list link;
};

static void check_list(struct list *head, const char *want)
{
	char got[32] = "", back[32] = "";
	size_t n = 0;

	LIST_EACH(pos, head)
		got[n++] = (char)('0' + LIST_ITEM(pos, struct item, link)->number);
	for (struct list *pos = head->prev; pos != head; pos = pos->prev)
		back[--n] = (char)('0' + LIST_ITEM(pos, struct item, link)->number);
	CHECK_INT(n, 0);
	CHECK_STR(got, want);
	CHECK_STR(back, want);
}

TEST(list, push_insert_remove)
{
	struct item items[5];
	struct list head;

	list_init(&head);
	CHECK(list_is_empty(&head));
	for (int i = 0; i < 5; i++) {
		items[i].number = i;
		list_init(&items[i].link);
	}
	list_remove(&items[0].link);            /* never linked */
	list_push(&head, &items[1].link);
	list_push(&head, &items[2].link);
	list_push_front(&head, &items[0].link);
	check_list(&head, "012");
	list_insert(&items[2].link, &items[3].link);
	check_list(&head, "0132");
	list_remove(&items[3].link);
	list_remove(&items[3].link);            /* twice */
	check_list(&head, "012");
	list_push(&head, &items[3].link);
	check_list(&head, "0123");
	list_remove(&items[0].link);
	list_remove(&items[3].link);
	check_list(&head, "12");
	LIST_EACH_SAFE(pos, &head)
		list_remove(pos);
	CHECK(list_is_empty(&head));
}

/* ---- memory ---- */

TEST(mem, pool_hands_out_again_what_came_back)
{
	struct mem_pool *pool = mem_pool_new(100, 2);
	void *a = mem_pool_take(pool), *b = mem_pool_take(pool), *c = mem_pool_take(pool), *again[3];

	CHECK(a != b && b != c && a != c);
	memset(a, 1, 100);
	memset(b, 2, 100);
	memset(c, 3, 100);
	mem_pool_give(pool, a);
	mem_pool_give(pool, b);
	mem_pool_give(pool, c);                 /* one more than is kept */
	again[0] = mem_pool_take(pool);
	again[1] = mem_pool_take(pool);
	CHECK(again[0] == b && again[1] == a);
	again[2] = mem_pool_take(pool);
	memset(again[2], 4, 100);
	for (int i = 0; i < 3; i++)
		mem_pool_give(pool, again[i]);
	mem_pool_free(&pool);
	CHECK(!pool);
	mem_pool_free(&pool);
}

TEST(mem, pool_of_tiny_blocks_and_none_kept)
{
	struct mem_pool *pool = mem_pool_new(1, 0);
	void *blocks[100];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 100; i++)
			*(char *)(blocks[i] = mem_pool_take(pool)) = (char)i;
		for (int i = 0; i < 100; i++) {
			CHECK_INT(*(char *)blocks[i], i);
			mem_pool_give(pool, blocks[i]);
		}
	}
	mem_pool_free(&pool);
}

TEST(mem, strings)
{
	char *text = mem_printf("%s-%d", "a", 7), *copy = mem_strdup(text), *part = mem_strndup("abcdef", 3);

	CHECK_STR(text, "a-7");
	CHECK_STR(copy, "a-7");
	CHECK(copy != text);
	CHECK_STR(part, "abc");
	CHECK(!mem_strdup(NULL));
	mem_wipe(part, 3);
	CHECK_INT(part[0] | part[1] | part[2], 0);
	mem_wipe(NULL, 3);
	mem_free(NULL);
	mem_free(text);
	mem_free(copy);
	mem_free(part);
}

TEST(mem, allocated_is_zeroed)
{
	uint8_t *bytes = mem_alloc(1000), sum = 0;

	for (int i = 0; i < 1000; i++)
		sum |= bytes[i];
	CHECK_INT(sum, 0);
	bytes = mem_realloc(bytes, 2000);
	CHECK_INT(bytes[999], 0);
	mem_free(bytes);
}
