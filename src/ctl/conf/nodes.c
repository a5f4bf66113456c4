#include <arpa/inet.h>
#include <stdio.h>

#include "row.h"

/* ---- [nodes] ---- */

struct node_draft {
	const char *host, *hostaddr, *label, *zone;
	int64_t port, weight;
};

const struct option conf_node_keys[] = {
	ROW_KEY(node_draft, host, STR, "host", 0, 0, 0, "One name, address, or directory of a Unix socket.")
	ROW_KEY(node_draft, hostaddr, STR, "hostaddr", 0, 0, 0, "Its address, as in libpq: saves the look-up of host.")
	ROW_KEY(node_draft, port, INT, "port", 1, 65535, 0, "Port; 5432 unless given.")
	ROW_KEY(node_draft, weight, INT, "weight", 0, 1000, 0, "Share of the reads; 1 unless given, 0 = no reads.")
	ROW_KEY(node_draft, label, STR, "label", 0, 63, 0, "Name for route=label:NAME; several nodes may share it.")
	ROW_KEY(node_draft, zone, STR, "zone", 0, 63, 0, "Zone of the node.")
	ROW_KEYS_END
};

static bool is_name(const char *text)
{
	return *text && text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")] == '\0';
}

static bool is_address(const char *text)
{
	struct in6_addr any;

	return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

/* What is wrong with the node; NULL = nothing. */
static const char *node_fault(const char *name, const struct node_draft *draft)
{
	if (!is_name(name) || strlen(name) > 63)
		return "a node's name is made of letters, digits, _ . and -, at most 63";
	if (!draft->host && !draft->hostaddr)
		return "host is missing";
	if (draft->host && (*draft->host == '\0' || strchr(draft->host, ',')))
		return "host must name one host";
	if (draft->hostaddr && !is_address(draft->hostaddr))
		return "hostaddr must be one address";
	if ((*draft->label && !is_name(draft->label)) || (*draft->zone && !is_name(draft->zone)))
		return "label and zone are made of letters, digits, _ . and -";
	return NULL;
}

static void node_add(struct load *load, struct place place, const char *name, const struct node_draft *draft)
{
	size_t n = load->node_count++;

	load->nodes = mem_realloc(load->nodes, (n + 1) * sizeof(*load->nodes));
	load->node_places = mem_realloc(load->node_places, (n + 1) * sizeof(*load->node_places));
	load->node_places[n] = row_place(load, place);
	load->nodes[n] = (struct conf_node){
		.name = arena_strdup(&load->box->arena, name), .host = draft->host ? draft->host : draft->hostaddr,
		.hostaddr = draft->hostaddr, .port = (int)draft->port, .weight = (int)draft->weight, .label = draft->label,
		.zone = draft->zone
	};
}

/* user=, password= and the like would be the natural mistake: say where they belong. */
static bool names_a_login(const struct row *row)
{
	static const char *const logins[] = { "user=", "password=", "passfile=", "dbname=", NULL };

	for (size_t i = 0; logins[i]; i++) {
		const char *at = strstr(row->item->value, logins[i]);
		if (!at || (at != row->item->value && !strchr(" \t", at[-1])))
			continue;
		LOAD_ERROR(row->load, row->item->place, "%s%.*s doesn't belong to a node (logins are the clients' own; monitor_user polls)",
			row->where, (int)strlen(logins[i]) - 1, logins[i]);
		return true;
	}
	return false;
}

void nodes_row(struct load *load, const struct conf_item *item)
{
	struct node_draft draft = { .port = 5432, .weight = 1, .label = "", .zone = "" };
	struct row row;
	const char *fault;

	row_init(&row, load, item, conf_node_keys, &draft);
	if (names_a_login(&row) || !row_read(&row))
		return;
	if (row_is_taken(&row, load->nodes, load->node_count, sizeof(*load->nodes), load->node_places))
		return;
	fault = node_fault(item->key, &draft);
	if (fault)
		LOAD_ERROR(load, item->place, "%s%s", row.where, fault);
	else
		node_add(load, item->place, item->key, &draft);
}

/* ---- host= of [databases]: nodes ---- */

static bool has_address(const struct load *load, const char *host, int64_t port)
{
	for (size_t i = 0; i < load->node_count; i++) {
		const struct conf_node *node = &load->nodes[i];
		bool same = strcmp(node->host, host) == 0 || (node->hostaddr && strcmp(node->hostaddr, host) == 0);
		if (same && node->port == port)
			return true;
	}
	return false;
}

static void host_to_node(struct load *load, const struct host_use *use, const char *host)
{
	struct node_draft draft = { .port = use->port, .weight = 1, .label = "", .zone = "" };
	bool brackets = strchr(host, ':') != NULL;
	char *name;

	if (has_address(load, host, use->port))
		return;
	draft.host = arena_strdup(&load->box->arena, host);
	name = mem_printf("%s%s%s:%lld", brackets ? "[" : "", host, brackets ? "]" : "", (long long)use->port);
	node_add(load, use->place, name, &draft);
	report_add(load->report, CONF_NOTE, use->place, "[databases] %.64s: host=%s becomes node %s", use->database, host, name);
	mem_free(name);
}

void nodes_from_hosts(struct load *load)
{
	for (size_t i = 0; i < load->host_count; i++) {
		char *hosts = mem_strdup(load->hosts[i].hosts), *rest = hosts, *host;
		while ((host = strsep(&rest, ","))) {
			host += strspn(host, " ");
			host[strcspn(host, " ")] = '\0';
			if (*host)
				host_to_node(load, &load->hosts[i], host);
			else
				LOAD_ERROR(load, load->hosts[i].place, "[databases] %.64s: host has an empty name in it",
					load->hosts[i].database);
		}
		mem_free(hosts);
	}
}
