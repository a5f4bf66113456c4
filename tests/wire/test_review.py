#!/usr/bin/python3
"""Faults that a review of the first landing found by experiment; each test fails without its mend."""
from fakeserver import cut, fail
from harness import check, check_eq, check_error, run, test
from pgwire import bind_msg, describe_msg, execute_msg, msg, parse_msg, query_msg


def extended(*messages):
    return b''.join(messages)


@test
def nothing_runs_after_an_error_of_the_same_batch(c):
    """What was flushed has failed: PostgreSQL ignores the rest up to Sync, wherever the rest would have to run."""
    client = c.client()
    for node in c.nodes[1:]:
        node.on('SELECT bad', fail('22012', 'division by zero'))
    client.send(extended(parse_msg('', 'SELECT bad FROM t'), bind_msg(), describe_msg(), execute_msg(), msg('H')))
    check_eq(client.read_until('E').error.code, '22012')
    client.send(extended(parse_msg('', 'INSERT INTO after_error VALUES (1)'), bind_msg(), execute_msg(), msg('S')))
    client.read_until('Z')
    check_eq(c.count('INSERT INTO after_error'), {}, 'it ran')
    client.close()


@test
def a_portal_executed_later_may_have_set_something(c):
    """Bound in one batch of a transaction, executed in the next, which names no statement: every other server gets it all the same."""
    client = c.client()
    client.must('BEGIN')
    client.send(extended(parse_msg('', "SET search_path = 'mine'"), bind_msg('p', ''), msg('S')))
    client.read_until('Z')
    client.send(extended(execute_msg('p'), msg('S')))
    client.read_until('Z')
    client.must('COMMIT')
    with c.client() as other:
        other.must('BEGIN')             # has the server that knows
        client.must('INSERT INTO t VALUES (1)')
    before = [sql for _, sql in c.primary.log if 'INSERT' in sql or 'search_path' in sql]
    check('SET' in before[-2] and 'mine' in before[-2] and 'INSERT' in before[-1], before)
    client.close()


@test
def state_that_a_lost_batch_did_not_bring_is_told(c):
    """A pinned server dies under a statement that sets something else: what was there before is lost, and said so."""
    client = c.client()
    client.must('CREATE TEMP TABLE mine (a int)')
    c.primary.on('SET statement_timeout', cut)
    check_error(client.query('SET statement_timeout = 5'), '08007', 'ERROR')
    c.primary.rules = []
    check_error(client.query('SELECT 1'), '55000', 'ERROR')
    client.must('SELECT 1')
    client.close()


@test
def rollback_and_more_in_a_lost_transaction(c):
    """ROLLBACK AND CHAIN begins a transaction that has no server; "ROLLBACK; BEGIN" goes on at one."""
    client = c.client()
    client.must('BEGIN')
    c.primary.on('UPDATE lost', cut)
    check_error(client.query('UPDATE lost SET a = 1'), '40001', 'ERROR')
    c.primary.rules = []
    check_eq(client.query('ROLLBACK AND CHAIN').status, 'E')
    client.send(query_msg('ROLLBACK; BEGIN'))
    client.read_until('Z')
    check_eq(c.primary.count('BEGIN'), 2, 'it went on to the primary')
    client.close()


@test
def a_plan_that_is_out_of_date_is_not_the_client_s_business(c):
    """"cached plan must not change result type" is about a statement of the pool's: the read runs again on a server without it."""
    for node in c.nodes[1:]:
        node.on('SELECT plan', fail('0A000', 'cached plan must not change result type', R='RevalidateCachedQuery'), times=1)
    client = c.client()
    check(client.query('SELECT plan FROM t').error is None, 'the client heard of it')
    check_eq(c.primary.count('SELECT plan'), 0, 'and it is still a read')
    client.close()


if __name__ == '__main__':
    run(cluster={'standbys': 2})
