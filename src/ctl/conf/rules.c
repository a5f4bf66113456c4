#include "row.h"

/* ---- [rules]: read and checked, not in force yet ---- */

struct rule_draft {
	const char *name;
	const char *user, *database, *application_name, *table, *function, *shape, *route;
};

const struct option conf_rule_keys[] = {
	ROW_KEY(rule_draft, user, STR, "user", 0, 0, 0, "Comma list of users.")
	ROW_KEY(rule_draft, database, STR, "database", 0, 0, 0, "Comma list of databases.")
	ROW_KEY(rule_draft, application_name, STR, "application_name", 0, 0, 0, "Comma list of application names.")
	ROW_KEY(rule_draft, table, STR, "table", 0, 0, 0, "Comma list of tables, schema.name.")
	ROW_KEY(rule_draft, function, STR, "function", 0, 0, 0, "Comma list of functions, schema.name.")
	ROW_KEY(rule_draft, shape, STR, "shape", 0, 0, 0, "Comma list of shapes, as SHOW ROUTES prints them.")
	ROW_KEY(rule_draft, route, STR, "route", 0, 0, 0, "Where the statement goes.")
	ROW_KEYS_END
};

void rules_row(struct load *load, const struct conf_item *item)
{
	struct rule_draft draft = { .route = NULL };
	size_t n = load->rule_count;
	struct row row;

	row_init(&row, load, item, conf_rule_keys, &draft);
	if (!row_read(&row) || row_is_taken(&row, load->rules, n, sizeof(*load->rules), load->rule_places))
		return;
	if (!draft.route) {
		LOAD_ERROR(load, item->place, "%sroute is missing", row.where);
		return;
	}
	load->rules = mem_realloc(load->rules, (n + 1) * sizeof(*load->rules));
	load->rule_places = mem_realloc(load->rule_places, (n + 1) * sizeof(*load->rule_places));
	load->rules[n] = arena_strdup(&load->box->arena, item->key);
	load->rule_places[n] = row_place(load, item->place);
	load->rule_count++;
	LOAD_WARNING(load, item->place, "[rules] is accepted but not in force yet");
}
