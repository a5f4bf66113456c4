#include <stdlib.h>

#include "row.h"

/* ---- [peers]: processes of the same group, to which cancel requests are passed on ---- */

struct peer_draft {
	const char *host;
	int64_t port, pool_size;
};

const struct option conf_peer_keys[] = {
	ROW_KEY(peer_draft, host, STR, "host", 0, 0, 0, "One name, address, or directory of a Unix socket: of this process alone.")
	ROW_KEY(peer_draft, port, INT, "port", 1, 65535, 0, "Port; 6432 unless given.")
	ROW_KEY(peer_draft, pool_size, INT, "pool_size", 1, 100000, 0,
		"Cancel requests under way to it at a time, the others wait; default_pool_size unless given.")
	ROW_KEYS_END
};

/* The peer_id a row's name says; 0 = it says none. */
static unsigned peer_id_of(const char *name)
{
	size_t len = strlen(name);
	unsigned id = 0;

	if (len == 0 || len > 5 || *name == '0' || name[strspn(name, "0123456789")] != '\0')
		return 0;
	id = (unsigned)strtoul(name, NULL, 10);
	return id <= CONF_PEER_ID_MAX ? id : 0;
}

static const char *peer_fault(unsigned id, const struct peer_draft *draft)
{
	if (id == 0)
		return "a peer's name is its peer_id, a number from 1 to 16383";
	if (!draft->host)
		return "host is missing";
	if (*draft->host == '\0' || strchr(draft->host, ','))
		return "host must name one host";
	return NULL;
}

void peers_row(struct load *load, const struct conf_item *item)
{
	struct peer_draft draft = { .port = 6432, .pool_size = -1 };
	unsigned id = peer_id_of(item->key);
	size_t n = load->peer_count;
	const char *fault;
	struct row row;

	row_init(&row, load, item, conf_peer_keys, &draft);
	if (!row_read(&row) || row_is_taken(&row, load->peers, n, sizeof(*load->peers), load->peer_places))
		return;
	fault = peer_fault(id, &draft);
	if (fault) {
		LOAD_ERROR(load, item->place, "%s%s", row.where, fault);
		return;
	}
	load->peers = mem_realloc(load->peers, (n + 1) * sizeof(*load->peers));
	load->peer_places = mem_realloc(load->peer_places, (n + 1) * sizeof(*load->peer_places));
	load->peer_places[n] = row_place(load, item->place);
	load->peers[n] = (struct conf_peer){ .name = arena_strdup(&load->box->arena, item->key), .id = id, .host = draft.host,
		                             .port = (int)draft.port, .pool_size = draft.pool_size };
	load->peer_count++;
}

/* ---- what only the whole can tell ---- */

static bool is_own_address(const struct conf *conf, const struct conf_peer *peer)
{
	if (peer->port != conf->opt.listen_port)
		return false;
	return conf_name_listed(conf->opt.listen_addr, peer->host) || strcmp(conf->opt.unix_socket_dir, peer->host) == 0;
}

static bool is_wide(const struct conf_policy *policy)
{
	return policy->consistency_scope != SCOPE_CONNECTION;
}

static bool has_wide_scope(const struct load *load)
{
	bool is = is_wide(&load->conf->policy);
	struct conf_policy policy;

	for (size_t i = 0; i < load->database_count; i++) {
		conf_policy_of(load->conf, &load->databases[i], NULL, &policy);
		is |= is_wide(&policy);
	}
	for (size_t i = 0; i < load->user_count; i++) {
		conf_policy_of(load->conf, NULL, &load->users[i], &policy);
		is |= is_wide(&policy);
	}
	return is;
}

void peers_check(struct load *load)
{
	const struct conf *conf = load->conf;

	if (load->peer_count == 0)
		return;
	if (conf->opt.peer_id == 0) {
		LOAD_WARNING(load, load->peer_places[0], "[peers] has no effect: peer_id is not set");
		return;
	}
	for (size_t i = 0; i < load->peer_count; i++) {
		const struct conf_peer *peer = &load->peers[i];
		if (peer->id != conf->opt.peer_id && is_own_address(conf, peer))
			LOAD_WARNING(load, load->peer_places[i], "[peers] %s: host and port are this process's own too: a cancel request "
				"may come back instead of reaching the peer, and is not passed on twice (give each process an address or a "
				"unix_socket_dir of its own)", peer->name);
	}
	if (has_wide_scope(load))
		LOAD_WARNING(load, load->peer_places[0], "consistency_scope ends at this process: over several peers use tokens "
			"(pgshunt.wait_for_lsn) or consistency = strong");
}

/* ---- look-ups ---- */

const struct conf_peer *conf_peer_find(const struct conf *conf, unsigned id)
{
	for (size_t i = 0; i < conf->peer_count; i++) {
		if (conf->peers[i].id == id)
			return &conf->peers[i];
	}
	return NULL;
}

int64_t conf_peer_pool_size(const struct conf *conf, const struct conf_peer *peer)
{
	return peer->pool_size > 0 ? peer->pool_size : MAX(conf->opt.default_pool_size, 1);
}
