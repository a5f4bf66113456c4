/* The console's way between threads: a request goes from a worker to the main thread, a copy of the answer comes back. */
#include "console.h"

struct console_answer {
	console_done_fn *done;
	void *ticket;
	struct err err;
	bool is_error;
	struct wire_column *columns;
	size_t column_count;
	struct buf rows;
	char *tag, *notice;
};

struct console_answer *console_answer_new(const struct console_request *request, const struct console_result *result)
{
	struct console_answer *a = mem_alloc(sizeof(*a));

	a->done = request->done;
	a->ticket = request->ticket;
	a->is_error = result->err != NULL;
	if (result->err)
		a->err = *result->err;
	a->column_count = result->column_count;
	a->columns = mem_alloc(result->column_count * sizeof(*a->columns));
	for (size_t i = 0; i < result->column_count; i++)
		a->columns[i] = (struct wire_column){ mem_strdup(result->columns[i].name), result->columns[i].type_oid };
	if (result->rows)
		buf_add(&a->rows, result->rows->data, result->rows->len);
	a->tag = mem_strdup(result->tag ? result->tag : "");
	a->notice = mem_strdup(result->notice);
	return a;
}

void console_answer_deliver(struct console_answer *a)
{
	struct console_result result = { .err = a->is_error ? &a->err : NULL, .columns = a->columns, .column_count = a->column_count,
		                         .rows = &a->rows, .tag = a->tag, .notice = a->notice };

	a->done(a->ticket, &result);
	for (size_t i = 0; i < a->column_count; i++)
		mem_free((char *)(uintptr_t)a->columns[i].name);
	mem_free(a->columns);
	buf_free(&a->rows);
	mem_free(a->tag);
	mem_free(a->notice);
	mem_free(a);
}
