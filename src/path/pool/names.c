/* Statements that clients have prepared by SQL on a server: under the clients' own names, so that EXECUTE needs no rewriting. Whose
 * statement a name stands for at the moment, its id says. */
#include "private.h"

static struct hash128 name_key(const char *name)
{
	return hash_bytes(name, strlen(name));
}

const struct server_name *server_find_name(const struct server *server, const char *name)
{
	return map_get(&server->names, name_key(name));
}

void server_drop_name(struct server *server, const char *name)
{
	struct server_name *known = map_remove(&server->names, name_key(name));

	if (!known)
		return;
	list_remove(&known->link);
	mem_free(known);
}

void server_put_name(struct server *server, const char *name, struct hash128 id)
{
	struct server_name *known = mem_alloc(sizeof(*known) + strlen(name) + 1);

	server_drop_name(server, name);
	known->id = id;
	strcpy(known->name, name);
	list_push(&server->names_order, &known->link);
	map_put(&server->names, name_key(name), known);
}

void server_drop_names(struct server *server)
{
	LIST_EACH_SAFE(pos, &server->names_order)
		mem_free(LIST_ITEM(pos, struct server_name, link));
	list_init(&server->names_order);
	map_free(&server->names);
}
