/* The snapshot as an object: made, copied, counted, freed, searched. */
#include "pgshunt/topo.h"

#include <stdatomic.h>

/* What is handed out is the part behind the count. */
struct topo_box {
	_Atomic uint32_t refs;
	struct topo topo;
};

static struct topo_box *box_of(const struct topo *topo)
{
	return (struct topo_box *)((char *)(uintptr_t)topo - offsetof(struct topo_box, topo));
}

/* The texts of a node, in one place for copying and freeing. */
static const size_t node_texts[] = {
	offsetof(struct topo_node, name), offsetof(struct topo_node, host), offsetof(struct topo_node, label),
	offsetof(struct topo_node, zone), offsetof(struct topo_node, reason),
};

static const char **node_text(struct topo_node *node, size_t which)
{
	return (const char **)((char *)node + node_texts[which]);
}

static void text_set(const char **field, const char *text)
{
	char *copy = mem_strdup(text);

	mem_free((void *)(uintptr_t)*field);
	*field = copy;
}

static struct topo *topo_alloc(size_t node_count)
{
	struct topo_box *box;

	ENSURE(node_count <= TOPO_NODES_MAX);
	box = mem_alloc(sizeof(*box) + node_count * sizeof(struct topo_node));
	atomic_init(&box->refs, 1);
	box->topo.node_count = node_count;
	return &box->topo;
}

struct topo *topo_new(size_t node_count)
{
	struct topo *topo = topo_alloc(node_count);

	topo->primary = -1;
	for (size_t i = 0; i < node_count; i++) {
		topo_node_set_text(&topo->nodes[i], "", "", "", "", "");
		topo->nodes[i].lag_bytes = topo->nodes[i].lag_us = -1;
	}
	return topo;
}

struct topo *topo_copy(const struct topo *from)
{
	struct topo *topo = topo_alloc(from->node_count);

	memcpy(topo, from, sizeof(*from) + from->node_count * sizeof(struct topo_node));
	topo->switches = NULL;
	topo->switch_count = 0;
	topo_set_switches(topo, from->switches, from->switch_count);
	for (size_t i = 0; i < topo->node_count; i++) {
		for (size_t t = 0; t < ARRAY_LEN(node_texts); t++) {
			const char **text = node_text(&topo->nodes[i], t);
			*text = mem_strdup(*text);
		}
	}
	return topo;
}

struct topo *topo_ref(const struct topo *topo)
{
	struct topo_box *box = box_of(topo);

	atomic_fetch_add_explicit(&box->refs, 1, memory_order_relaxed);
	return &box->topo;
}

static void topo_free(struct topo_box *box)
{
	for (size_t i = 0; i < box->topo.node_count; i++) {
		for (size_t t = 0; t < ARRAY_LEN(node_texts); t++)
			mem_free((void *)(uintptr_t)*node_text(&box->topo.nodes[i], t));
	}
	mem_free((void *)(uintptr_t)box->topo.switches);
	mem_free(box);
}

void topo_unref(const struct topo **topo)
{
	struct topo_box *box;

	if (!*topo)
		return;
	box = box_of(*topo);
	*topo = NULL;
	if (atomic_fetch_sub_explicit(&box->refs, 1, memory_order_acq_rel) == 1)
		topo_free(box);
}

void topo_node_set_text(struct topo_node *node, const char *name, const char *host, const char *label, const char *zone, const char *reason)
{
	const char *texts[] = { name, host, label, zone, reason };

	for (size_t t = 0; t < ARRAY_LEN(texts); t++) {
		if (texts[t])
			text_set(node_text(node, t), texts[t]);
	}
}

void topo_set_switches(struct topo *topo, const struct topo_switch *switches, size_t count)
{
	struct topo_switch *copy = count ? mem_alloc(count * sizeof(*copy)) : NULL;

	if (count)
		memcpy(copy, switches, count * sizeof(*copy));
	mem_free((void *)(uintptr_t)topo->switches);
	topo->switches = copy;
	topo->switch_count = count;
}

bool topo_nodes_differ(const struct topo *a, const struct topo *b)
{
	if (a->node_count != b->node_count || a->primary != b->primary || a->timeline != b->timeline)
		return true;
	for (size_t i = 0; i < a->node_count; i++)
		if (a->nodes[i].state != b->nodes[i].state || a->nodes[i].role != b->nodes[i].role ||
			a->nodes[i].incarnation != b->nodes[i].incarnation || a->nodes[i].addr_len != b->nodes[i].addr_len ||
			strcmp(a->nodes[i].name, b->nodes[i].name) != 0)
			return true;
	return false;
}

int topo_find(const struct topo *topo, const char *name)
{
	for (size_t i = 0; i < topo->node_count; i++) {
		if (strcmp(topo->nodes[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}

const char *topo_role_name(enum topo_role role)
{
	static const char *const names[] = {
		[TOPO_ROLE_UNKNOWN] = "unknown", [TOPO_PRIMARY] = "primary", [TOPO_STANDBY] = "standby",
	};
	return names[role];
}

const char *topo_state_name(enum topo_state state)
{
	static const char *const names[] = {
		[TOPO_DOWN] = "down", [TOPO_UP] = "up", [TOPO_STARTING] = "starting", [TOPO_STALE] = "stale", [TOPO_LAGGING] = "lagging",
		[TOPO_DRAINED] = "drained", [TOPO_DIVERGED] = "diverged", [TOPO_DEPOSED] = "deposed", [TOPO_FOREIGN] = "foreign",
	};
	return names[state];
}
