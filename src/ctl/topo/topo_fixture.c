/* A topology from a line of text, for tests.
 *
 *   p:primary a:900ms b:950ms@0/5000000 c:down d:label=x,weight=2      nodes: NAME:ATTRIBUTE,ATTRIBUTE...
 *   line=2 switch=1/0/4000000 switch=1/0/4000000..0/4000100            words without a colon: the cluster
 *
 * Node: primary; a state (down, starting, stale, lagging, drained, diverged, deposed, foreign); 900ms (lag in time) or 900B (lag in
 * bytes), either with @POSITION; @POSITION alone (0/5000000 or 1/0/5000000); label= zone= weight= tl= age=30ms (of the sample)
 * incarnation= no-receiver no-lag (unknown) unsampled. A standby is else caught up, streaming and 1 ms old; 1 ms of lag is 1000 bytes.
 * Cluster: line= (timeline, 1), switch=, lsn= (the primary's, 0/5000000), sampled=2ms (age of the primary's sample), interval=500ms,
 * no-sample (of the primary). Anything else stops the test. */
#include "pgshunt/topo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#define WORDS_MAX 128
#define SWITCHES_MAX 16
#define BYTES_PER_US 1          /* of lag */

/* "12ms" with unit "ms" -> 12; false when the text is something else. */
static bool number_with(const char *text, const char *unit, int64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 10);
	return end != text && errno == 0 && strcmp(end, unit) == 0;
}

static int64_t number(const char *text, const char *unit)
{
	int64_t value;

	ENSURE(number_with(text, unit, &value));
	return value;
}

/* "key=value" -> value, else NULL. */
static const char *value_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	return strncmp(text, key, len) == 0 && text[len] == '=' ? text + len + 1 : NULL;
}

static size_t split(char *text, const char *at, char **words)
{
	size_t count = 0;
	char *save = NULL;

	for (char *word = strtok_r(text, at, &save); word; word = strtok_r(NULL, at, &save)) {
		ENSURE(count < WORDS_MAX);
		words[count++] = word;
	}
	return count;
}

/* ---- the cluster ---- */

static void add_switch(struct topo *topo, const char *text)
{
	struct topo_switch all[SWITCHES_MAX];
	struct wal_pos pos;
	char first[64];
	const char *upper = strstr(text, "..");

	ENSURE(topo->switch_count < SWITCHES_MAX);
	if (topo->switch_count)
		memcpy(all, topo->switches, topo->switch_count * sizeof(all[0]));
	snprintf(first, sizeof(first), "%.*s", upper ? (int)(upper - text) : (int)strlen(text), text);
	ENSURE(wal_pos_parse(first, &pos));
	all[topo->switch_count] = (struct topo_switch){ pos.timeline, pos.lsn, 0 };
	if (upper) {
		all[topo->switch_count].least_lsn = pos.lsn;
		ENSURE(lsn_parse(upper + 2, &all[topo->switch_count].lsn));
	}
	topo_set_switches(topo, all, topo->switch_count + 1);
}

static void cluster_word(struct topo *topo, const char *word)
{
	const char *value;

	if ((value = value_of(word, "line")))
		topo->timeline = (uint32_t)number(value, "");
	else if ((value = value_of(word, "switch")))
		add_switch(topo, value);
	else if ((value = value_of(word, "lsn")))
		ENSURE(lsn_parse(value, &topo->primary_sample.lsn));
	else if ((value = value_of(word, "sampled")))
		topo->primary_sample_begun_us = TOPO_FIXTURE_NOW_US - number(value, "ms") * USEC_PER_MS;
	else if ((value = value_of(word, "interval")))
		topo->fresh_within_us = 3 * number(value, "ms") * USEC_PER_MS;
	else if (strcmp(word, "no-sample") == 0)
		topo->primary_sample.lsn = 0;
	else
		ENSURE(!"known word of a topology");
}

/* ---- a node ---- */

static bool state_word(struct topo_node *node, const char *word)
{
	for (int state = TOPO_DOWN; state <= TOPO_FOREIGN; state++) {
		if (strcmp(word, topo_state_name((enum topo_state)state)) == 0) {
			node->state = (enum topo_state)state;
			return true;
		}
	}
	return false;
}

static void set_lag(const struct topo *topo, struct topo_node *node, usec_t lag_us, int64_t lag_bytes)
{
	node->lag_us = lag_us;
	node->lag_bytes = lag_bytes;
	node->caught_up_us = TOPO_FIXTURE_NOW_US - lag_us;
	node->replay_lsn = topo->primary_sample.lsn > (lsn_t)lag_bytes ? topo->primary_sample.lsn - (lsn_t)lag_bytes : 1;
}

static void set_position(const struct topo *topo, struct topo_node *node, const char *text)
{
	struct wal_pos pos;

	if (wal_pos_parse(text, &pos))
		node->timeline = pos.timeline;
	else
		ENSURE(lsn_parse(text, &pos.lsn));
	node->replay_lsn = pos.lsn;
	node->lag_bytes = topo->primary_sample.lsn > pos.lsn ? (int64_t)(topo->primary_sample.lsn - pos.lsn) : 0;
}

static bool lag_word(const struct topo *topo, struct topo_node *node, const char *word)
{
	char lag[64];
	const char *at = strchr(word, '@');
	int64_t value;

	snprintf(lag, sizeof(lag), "%.*s", at ? (int)(at - word) : (int)strlen(word), word);
	if (number_with(lag, "ms", &value))
		set_lag(topo, node, value * USEC_PER_MS, value * USEC_PER_MS * BYTES_PER_US);
	else if (number_with(lag, "B", &value))
		set_lag(topo, node, value / BYTES_PER_US, value);
	else if (*lag || !at)
		return false;
	if (at)
		set_position(topo, node, at + 1);
	return true;
}

static bool value_word(struct topo_node *node, const char *word)
{
	const char *value;

	if ((value = value_of(word, "label")))
		topo_node_set_text(node, NULL, NULL, value, NULL, NULL);
	else if ((value = value_of(word, "zone")))
		topo_node_set_text(node, NULL, NULL, NULL, value, NULL);
	else if ((value = value_of(word, "weight")))
		node->weight = (int)number(value, "");
	else if ((value = value_of(word, "tl")))
		node->timeline = (uint32_t)number(value, "");
	else if ((value = value_of(word, "incarnation")))
		node->incarnation = (uint64_t)number(value, "");
	else if ((value = value_of(word, "age")))
		node->sample_begun_us = node->sample_done_us = TOPO_FIXTURE_NOW_US - number(value, "ms") * USEC_PER_MS;
	else
		return false;
	return true;
}

static bool flag_word(struct topo *topo, int index, const char *word)
{
	struct topo_node *node = &topo->nodes[index];

	if (strcmp(word, "primary") == 0) {
		node->role = TOPO_PRIMARY;
		topo->primary = index;
	} else if (strcmp(word, "no-receiver") == 0) {
		node->receiver_streaming = false;
	} else if (strcmp(word, "no-lag") == 0) {
		node->lag_bytes = node->lag_us = -1;
		node->caught_up_us = 0;
	} else if (strcmp(word, "unsampled") == 0) {
		node->sample_begun_us = node->sample_done_us = 0;
	} else {
		return false;
	}
	return true;
}

static void node_words(struct topo *topo, int index, char *text)
{
	struct topo_node *node = &topo->nodes[index];
	char *words[WORDS_MAX], *attributes = strchr(text, ':');
	size_t count;

	*attributes++ = '\0';
	topo_node_set_text(node, text, "127.0.0.1", NULL, NULL, NULL);
	count = split(attributes, ",", words);
	for (size_t i = 0; i < count; i++)
		ENSURE(flag_word(topo, index, words[i]) || state_word(node, words[i]) || value_word(node, words[i]) ||
			lag_word(topo, node, words[i]));
}

static void node_defaults(const struct topo *topo, struct topo_node *node, int index)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&node->addr;

	node->port = 5432 + index;
	in->sin_family = AF_INET;
	in->sin_port = htons((uint16_t)node->port);
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	node->addr_len = sizeof(*in);
	node->weight = 1;
	node->role = TOPO_STANDBY;
	node->state = TOPO_UP;
	node->timeline = topo->timeline;
	node->receiver_streaming = true;
	node->incarnation = 1;
	node->sample_begun_us = node->sample_done_us = TOPO_FIXTURE_NOW_US - USEC_PER_MS;
	set_lag(topo, node, 0, 0);
	node->write_lsn = node->flush_lsn = topo->primary_sample.lsn;
}

static struct topo *fixture_begin(char **words, size_t count)
{
	size_t nodes = 0;
	struct topo *topo;

	for (size_t i = 0; i < count; i++)
		nodes += strchr(words[i], ':') != NULL;
	topo = topo_new(nodes);
	topo->version = 1;
	topo->timeline = 1;
	topo->primary_sample.lsn = 0x5000000;
	topo->primary_sample_begun_us = TOPO_FIXTURE_NOW_US - 2 * USEC_PER_MS;
	topo->published_us = TOPO_FIXTURE_NOW_US;
	topo->fresh_within_us = 3 * 500 * USEC_PER_MS;
	for (size_t i = 0; i < count; i++) {
		if (!strchr(words[i], ':'))
			cluster_word(topo, words[i]);
	}
	topo->primary_sample.timeline = topo->timeline;
	return topo;
}

struct topo *topo_fixture(const char *text)
{
	char *copy = mem_strdup(text), *words[WORDS_MAX];
	size_t count = split(copy, " ", words);
	struct topo *topo = fixture_begin(words, count);
	int index = 0;

	for (size_t i = 0; i < count; i++) {
		if (!strchr(words[i], ':'))
			continue;
		node_defaults(topo, &topo->nodes[index], index);
		node_words(topo, index++, words[i]);
	}
	mem_free(copy);
	return topo;
}
