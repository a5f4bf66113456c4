#!/usr/bin/python3
"""The primary's connection breaks under a write, in a transaction, at COMMIT: what the client hears, and what never runs twice."""
from fakeserver import cut, cut_after, fail, reset
from harness import check, check_eq, check_error, run, test

IN_TRANSACTION = 'UPDATE t SET a = 3'


def lost_write(c, action, ask):
    c.primary.on('INSERT INTO t', action)
    client = c.client()
    result = ask(client)
    check_error(result, '08007', 'ERROR')
    check_eq(result.status, 'I')
    check_eq(c.count('INSERT INTO t'), {'primary': 1}, 'it ran once')
    c.reset_rules()
    check_eq(client.must('SELECT 1').status, 'I')
    check_eq(client.must('INSERT INTO u VALUES (1)').tags, ['INSERT 0 1'])


def with_rules_reset(fn):
    def body(c):
        def reset_rules():
            for node in c.nodes:
                node.rules = []
        c.reset_rules = reset_rules
        fn(c)
    body.__name__ = fn.__name__
    return test(body)


@with_rules_reset
def write_lost_simple(c):
    lost_write(c, cut, lambda client: client.query('INSERT INTO t VALUES (1)'))


@with_rules_reset
def write_lost_by_reset(c):
    lost_write(c, reset, lambda client: client.query('INSERT INTO t VALUES (1)'))


@with_rules_reset
def write_lost_extended(c):
    lost_write(c, cut, lambda client: client.extended('INSERT INTO t VALUES ($1)', ['1']))


@with_rules_reset
def write_returning_lost_after_a_row(c):
    """Rows of a write were delivered: its outcome is still unknown, or at least said to be broken off; it never runs twice."""
    c.primary.on('INSERT INTO t', cut_after('TD'))
    client = c.client()
    result = client.query('INSERT INTO t VALUES (1) RETURNING a')
    check(result.error and result.error.code in ('08007', '08006'), result)
    check_eq(c.count('INSERT INTO t'), {'primary': 1}, 'it ran once')
    c.reset_rules()
    check_eq(client.must('SELECT 1').status, 'I')


@with_rules_reset
def commit_lost(c):
    client = c.client()
    check_eq(client.must('BEGIN').status, 'T')
    check_eq(client.must('INSERT INTO t VALUES (1)').status, 'T')
    c.primary.on(r'^\s*COMMIT', cut)
    result = client.query('COMMIT')
    check_error(result, '08007', 'ERROR')
    check_eq(result.status, 'I')
    check_eq(c.primary.count(r'^\s*COMMIT'), 1, 'COMMIT was sent once')
    check_eq(c.primary.count('INSERT INTO t'), 1, 'INSERT ran once')
    c.reset_rules()
    check_eq(client.must('SELECT 1').status, 'I')


@with_rules_reset
def commit_proved_lost_is_40001(c):
    """The node says of the transaction id that it aborted."""
    c.primary.xact_status = 'aborted'
    try:
        client = c.client()
        client.must('BEGIN')
        client.must('INSERT INTO t VALUES (1)')
        c.primary.on(r'^\s*COMMIT', cut)
        result = client.query('COMMIT')
        check(result.error and result.error.code in ('40001', '08007'), result)
        check_eq(result.status, 'I')
    finally:
        c.primary.xact_status = None


@with_rules_reset
def transaction_lost(c):
    client = c.client()
    check_eq(client.must('BEGIN').status, 'T')
    check_eq(client.must('INSERT INTO t VALUES (1)').status, 'T')
    c.primary.on('UPDATE t', cut)
    result = client.query(IN_TRANSACTION)
    check_error(result, '40001', 'ERROR')
    check_eq(result.status, 'E')
    c.reset_rules()
    for _ in range(2):
        again = client.query('SELECT a FROM t')
        check_eq(again.error and again.error.code, '25P02')
        check_eq(again.status, 'E')
    ended = client.must('ROLLBACK')
    check_eq((ended.tags, ended.status), (['ROLLBACK'], 'I'))
    check_eq(client.must('INSERT INTO u VALUES (1)').tags, ['INSERT 0 1'])
    check_eq(c.count('UPDATE t'), {'primary': 1}, 'it ran once')


@with_rules_reset
def commit_of_a_lost_transaction_is_a_rollback(c):
    client = c.client()
    client.must('BEGIN')
    client.must('INSERT INTO t VALUES (1)')
    c.primary.on('UPDATE t', cut)
    check_error(client.query(IN_TRANSACTION), '40001')
    c.reset_rules()
    ended = client.must('COMMIT')
    check_eq((ended.tags, ended.status), (['ROLLBACK'], 'I'))


@with_rules_reset
def idle_transaction_lost(c):
    """The server goes while the client thinks: it is told at its next statement."""
    client = c.client()
    client.must('BEGIN')
    client.must('INSERT INTO t VALUES (1)')
    c.primary.cut_all()
    result = client.query(IN_TRANSACTION)
    check_error(result, '40001')
    check_eq(result.status, 'E')
    check_eq(client.must('ROLLBACK').status, 'I')
    check_eq(c.primary.count('UPDATE t'), 0)


@with_rules_reset
def transaction_lost_extended(c):
    client = c.client()
    client.must('BEGIN')
    client.must('INSERT INTO t VALUES (1)')
    c.primary.on('UPDATE t', cut)
    result = client.extended(IN_TRANSACTION)
    check_error(result, '40001')
    check_eq(result.status, 'E')
    c.reset_rules()
    check_eq(client.extended('SELECT 1').error.code, '25P02')
    check_eq(client.must('ROLLBACK').status, 'I')


@with_rules_reset
def killed_by_an_administrator(c):
    """57P01 from the primary in a transaction: the server is lost, and the client may go on."""
    client = c.client()
    client.must('BEGIN')
    client.must('INSERT INTO t VALUES (1)')
    c.primary.on('UPDATE t', fail('57P01', 'terminating connection due to administrator command', 'FATAL'))
    result = client.query(IN_TRANSACTION)
    check(result.errors and result.status == 'E', result)
    check_eq(client.must('ROLLBACK').status, 'I')


@with_rules_reset
def idle_servers_lost_are_replaced_unseen(c):
    """A connection that broke while it lay in the pool is nobody's error, not even a write's: it was never sent."""
    client = c.client()
    client.must('INSERT INTO t VALUES (1)')
    for node in c.nodes:
        node.cut_all()
    for _ in range(5):
        check_eq(client.must('SELECT 1').status, 'I')
    check_eq(client.must('INSERT INTO t VALUES (2)').tags, ['INSERT 0 1'])


run(cluster={'standbys': 1})
