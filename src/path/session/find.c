/* From a batch to a server: policy, route, waiting. */
#include <stdio.h>

#include "private.h"

#define BEHIND_SAMPLE_INTERVAL_US (20 * USEC_PER_MS)

#define FOREVER_US (1000 * 86400 * USEC_PER_SEC)

/* ---- waiting ---- */

static void wait_timer_fired(void *owner);

void wait_set_timer(struct session *s, usec_t in_us)
{
	if (!s->timer)
		s->timer = timer_new(s->env->loop, wait_timer_fired, s);
	timer_set(s->timer, in_us);
}

void find_stop_waiting(struct session *s)
{
	if (s->waits_for == WAIT_NOTHING)
		return;
	s->waits_for = WAIT_NOTHING;
	if (s->timer)
		timer_stop(s->timer);
	list_remove(&s->waiting);
	pool_wait_cancel(&s->waiter);
}

static void give_up_waiting(struct session *s)
{
	if (s->waits_for == WAIT_SERVER) {
		err_set(session_err(s), "53300", "no server connection became free within query_wait_timeout");
		err_hint(session_err(s), "Raise default_pool_size or query_wait_timeout, or look for long transactions in SHOW SERVERS.");
	} else if (s->waits_for == WAIT_NODE) {
		err_set(session_err(s), "57P03", "no standby may run this read");
		err_hint(session_err(s), "primary_fallback is off; see SHOW NODES on database pgshunt for lag and state of the standbys.");
	} else if (strcmp(session_err(s)->sqlstate, "53300") != 0) {     /* a primary that is full says so itself */
		err_set(session_err(s), "57P03", "no primary within primary_wait");
		err_hint(session_err(s), "See SHOW NODES on database pgshunt; promote a standby or bring the primary back.");
	}
	find_stop_waiting(s);
	session_step(s, EV_P_REFUSED);
}

/* The precise timer of a session: what it waits for has not come in time. */
static void wait_timer_fired(void *owner)
{
	struct session *s = owner;

	if (s->state == ST_WELCOME || (s->state == ST_DIAL && s->waits_for != WAIT_SERVER) || s->waits_for == WAIT_SAMPLE) {
		find_stop_waiting(s);
		session_step(s, EV_P_AGAIN);
	} else if (s->waits_for != WAIT_NOTHING) {
		give_up_waiting(s);
	}
}

/* Waits for the topology to change; the deadline counts from the beginning of the wait, whatever it is for. */
static void wait_for_topo(struct session *s, enum pending_wait what, usec_t most)
{
	usec_t waited = time_mono_us() - s->wait_began_us;

	s->waits_for = what;
	list_remove(&s->waiting);
	list_push(&s->env->topo_waiters, &s->waiting);
	wait_set_timer(s, MAX(most - waited, 0));
}

void find_topo_changed(struct session *s)
{
	if (s->waits_for == WAIT_SERVER || s->waits_for == WAIT_NOTHING)
		return;
	find_stop_waiting(s);
	session_step(s, EV_P_AGAIN);
}

/* ---- policy ---- */

const struct conf_policy *session_policy(const struct session *s)
{
	if (s->vars)
		return &s->vars->policy;
	return s->policy ? s->policy : &s->conf->policy;
}

/* Hint over session over user and database over [pgshunt]. */
void find_policy(struct session *s, struct route_policy *out)
{
	const char *name = NULL;
	struct err err;

	*out = (struct route_policy){ .conf = s->hint_policy ? s->hint_policy : session_policy(s) };
	if (s->has_hint_route) {
		out->target = s->hint_route.target;
		out->target_name = s->hint_route_name;
		out->target_is_hint = true;
	} else if (s->vars && s->vars->has_route) {
		out->target = s->vars->route;
		out->target_name = s->vars->route_name;
	} else if (strcmp(out->conf->route, "auto") == 0) {
		out->target = ROUTE_AUTO;
	} else if (conf_parse_route(out->conf->route, &out->target, &name, &err)) {
		out->target_name = name;
	}
}

/* ---- servers ---- */

bool find_is_final(const struct err *err)
{
	return strncmp(err->sqlstate, "28", 2) == 0 || strncmp(err->sqlstate, "3D", 2) == 0 || strncmp(err->sqlstate, "42", 2) == 0;
}

bool find_node_fits(const struct session *s, int node)
{
	const struct topo *topo = s->env->topo;

	if ((size_t)node >= topo->node_count || topo->nodes[node].state == TOPO_DOWN)
		return false;
	if (s->state == ST_WELCOME || node == topo->primary || s->has_hint_route || (s->vars && s->vars->has_route))
		return true;
	return s->batch.is_movable && s->state != ST_DIAL;
}

static void took_server(struct session *s, struct server *server)
{
	err_clear(session_err(s));
	s->server = server;
	session_step(s, EV_P_SERVER);
}

static void server_came(void *owner, struct server *server, const struct err *err)
{
	struct session *s = owner;

	find_stop_waiting(s);
	if (server && find_node_fits(s, server->node)) {
		took_server(s, server);
		return;
	}
	if (server) {                   /* it came when its node had changed already */
		pool_release(&server, RELEASE_CLEAN);
		session_step(s, EV_P_AGAIN);
		return;
	}
	*session_err(s) = *err;
	/* What every node would say (password, database, rights) is the answer; else another node may do. */
	if (find_is_final(err)) {
		session_step(s, EV_P_REFUSED);
		return;
	}
	s->exclude |= 1u << s->waiter_node;
	session_step(s, EV_P_AGAIN);
}

/* 0: as long as it takes. */
static usec_t query_wait(const struct conf_policy *conf)
{
	return conf->query_wait_timeout ? conf->query_wait_timeout : FOREVER_US;
}

/* One statement: what it asks about can't have happened in the same batch. */
static bool asks_alone(const struct batch *b)
{
	size_t executes = 0;

	for (size_t i = 0; i < b->item_count; i++)
		executes += b->items[i].type == 'E';
	return b->kind == BATCH_SIMPLE ? !(b->flags & SQL_F_MULTI) : executes == 1;
}

static void borrow(struct session *s, int node)
{
	const struct pool_wish wish = { s->settings, s->epoch };
	struct server *server = NULL;

	/* currval and lastval belong to the server of the session's last write, as long as nobody else has had it (design 6). */
	if (s->batch.uses & SQL_PIN_SEQUENCE && s->write_server) {
		server = pool_take_same(s->set, s->write_node, s->write_server, s->write_seq);
		if (!server && asks_alone(&s->batch)) {
			err_set(session_err(s), "55000", "the server of this session's last write has been lent to others since");
			err_hint(session_err(s), "Use INSERT ... RETURNING, or call currval() and lastval() in the transaction of the write.");
			session_step(s, EV_P_REFUSED);
			return;
		}
	}
	if (!server)
		server = pool_take(s->set, node, &wish);
	if (server) {
		took_server(s, server);
		return;
	}
	s->waits_for = WAIT_SERVER;
	s->waiter_node = node;
	wait_set_timer(s, MAX(query_wait(session_policy(s)) - (time_mono_us() - s->wait_began_us), 0));
	pool_wait(s->set, node, &wish, &s->waiter, server_came, s);
}

static void keep_reason(struct session *s, const struct route_choice *choice)
{
	s->last_reason = choice->reason;
	s->last_node = choice->node;
	if (choice->reason_name)
		snprintf(s->last_reason_name, sizeof(s->last_reason_name), "%s", choice->reason_name);
	else
		s->last_reason_name[0] = '\0';
}

static void count_choice(struct session *s, const struct route_choice *choice)
{
	struct stats_worker *stats = s->env->stats;

	if (!s->batch.is_movable)
		return;
	if (choice->node != s->env->topo->primary)
		counter_add(&stats->reads_on_standby, 1);
	else
		counter_add(&stats->reads_on_primary, 1);
	if (choice->reason == ROUTE_R_CONSISTENCY)
		counter_add(&stats->reads_by_consistency, 1);
}

/* All standbys are behind this session: they are looked at more often than every monitor_interval, so that its reads leave the primary
 * as soon as one has caught up. */
static void watch_standbys(struct session *s, const struct route_choice *choice, usec_t now)
{
	if (choice->reason == ROUTE_R_CONSISTENCY && now - s->env->topo->primary_sample_begun_us > BEHIND_SAMPLE_INTERVAL_US)
		s->env->want_sample(s->env->owner);
}

/* A node tried in vain is tried again after a while, when nothing else is left. */
static void wait_for_any_node(struct session *s, enum pending_wait what, usec_t most)
{
	if (s->exclude)
		s->env->node_trouble(s->env->owner, -1);
	s->exclude = 0;
	wait_for_topo(s, what, most);
}

/* What has no text that was read: a function call, a Bind of a statement we don't know, a message too long to be held. */
static const struct verdict a_call = { .class = SQL_WRITE, .reason = SQL_R_WRITE }, no_text = { .class = SQL_UNKNOWN, .reason = SQL_R_UNPARSED };

static const struct verdict *deciding_verdict(const struct batch *b)
{
	if (b->verdict)
		return b->verdict;
	return b->kind == BATCH_FUNCTION ? &a_call : &no_text;
}

static enum route_reason primary_reason(const struct session *s)
{
	if (s->must_primary)
		return s->primary_reason;
	if (s->batch.is_streamed)
		return ROUTE_R_TOO_LONG;
	return s->batch.kind == BATCH_FUNCTION ? ROUTE_R_WRITE : ROUTE_R_UNPARSED;
}

/* Parse and Describe alone take no turn: a driver that sends them ahead of every Execute would load every second node only. */
static struct route_choice pick_node(struct session *s, const struct route_request *request)
{
	struct route_state unused;

	if (s->batch.kind != BATCH_EXTENDED || !s->batch.is_whole || s->batch.has_execute)
		return route_pick(request, &s->env->route);
	unused = s->env->route;
	return route_pick(request, &unused);
}

void act_find_server(struct session *s)
{
	struct session_env *env = s->env;
	const struct conf_policy *conf = s->hint_policy ? s->hint_policy : session_policy(s);
	struct route_policy policy;
	struct route_request request;
	struct route_choice choice;
	usec_t now = loop_now_us(env->loop);

	if (session_policy(s)->pool_mode == POOL_STATEMENT && s->batch.flags & SQL_F_BEGINS) {
		err_set(session_err(s), "0A000", "transaction blocks are not allowed in statement pooling mode");
		err_hint(session_err(s), "Set pool_mode = transaction for this database or user.");
		session_step(s, EV_P_REFUSED);
		return;
	}
	if (home_is_wanted(s)) {
		home_enter(s);
		return;
	}
	if (!s->wait_began_us) {
		s->wait_began_us = s->batch_began_us = now;
		if (conf->consistency == CONS_STRONG)
			need_add_time(&s->need, time_mono_us());
	}
	need_resolve(&s->need, env->topo);
	find_policy(s, &policy);
	request = (struct route_request){ .topo = env->topo, .policy = &policy, .verdict = deciding_verdict(&s->batch),
		                          .need = s->need, .now_us = now, .err = session_err(s),
		                          .may_wait = now - s->wait_began_us < conf->consistency_wait, .exclude = s->exclude,
		                          .must_primary = s->must_primary || s->batch.has_unknown || !s->batch.verdict,
		                          .primary_reason = primary_reason(s),
		                          .primary_reason_name = s->reason_name[0] ? s->reason_name : NULL };
	if (s->is_serializable && s->batch.is_movable) {        /* serializable in any form: primary */
		request.must_primary = true;
		request.primary_reason = ROUTE_R_TRANSACTION;
	}
	if (!s->batch.is_movable && s->batch.verdict && route_is_movable(s->batch.verdict))
		request.must_primary = true;    /* streamed: too long to be held */
	choice = pick_node(s, &request);
	switch (choice.outcome) {
	case ROUTE_TO_NODE:
		keep_reason(s, &choice);
		count_choice(s, &choice);
		watch_standbys(s, &choice, now);
		if (s->home && s->home->node == choice.node)
			home_enter(s);
		else
			borrow(s, choice.node);
		break;
	case ROUTE_WAIT_SAMPLE:
		if (s->waits_for == WAIT_NOTHING)
			counter_add(&env->stats->sample_waits, 1);
		wait_for_topo(s, WAIT_SAMPLE, conf->consistency_wait);
		env->want_sample(env->owner);
		break;
	case ROUTE_WAIT_PRIMARY:
		wait_for_any_node(s, WAIT_PRIMARY, conf->primary_wait);
		break;
	case ROUTE_WAIT_NODE:
		wait_for_any_node(s, WAIT_NODE, query_wait(conf));
		break;
	case ROUTE_REFUSE:
		session_step(s, EV_P_REFUSED);
		break;
	}
}
