/* row.h - reading "name = key=value key=value ...", for the files of the sections that are made of such rows. */
#ifndef PGSHUNT_CONF_ROW_H
#define PGSHUNT_CONF_ROW_H

#include "conf_private.h"

#define ROW_KEY(struct_, field_, type_, name_, min_, max_, flags_, text_) \
	{ .name = name_, .min = min_, .max = max_, .text = text_, .offset = offsetof(struct struct_, field_), .flags = (flags_), \
	  .type = OPTION_##type_, .scope = OPTION_ROW, .session_index = -1 },
#define ROW_KEYS_END { .name = NULL }

struct row {
	struct load *load;
	const struct conf_item *item;
	char where[128];                /* "[databases] app: " */
	const struct option *keys;      /* ends with a row without a name */
	void *base;
	struct conf_policy *policy;     /* NULL: the row takes no per-session options */
	uint64_t *policy_set;
	uint64_t keys_set;
};

void row_init(struct row *row, struct load *load, const struct conf_item *item, const struct option *keys, void *base);
/* Fills base and policy; false when there was an error in the row. */
bool row_read(struct row *row);
/* Another row has this name (reported). The first member of the rows' struct is their name. */
bool row_is_taken(const struct row *row, const void *rows, size_t count, size_t bytes, const struct place *places);
/* A place that lives as long as the snapshot. */
struct place row_place(struct load *load, struct place place);

#endif
