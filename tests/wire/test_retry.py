#!/usr/bin/python3
"""Reads that fail on a standby in a way the primary's wouldn't: run again elsewhere, unseen, if nothing was delivered."""
import time

from fakeserver import conflict, cut, cut_after, fail, later, never, reset, rows, with_param
from harness import SLOW, check, check_eq, check_error, run, test, wait_for

STANDBYS = ('standby1', 'standby2')


def both_ways(name):
    """A test for simple and extended protocol: body(c, ask) with ask(client, sql) -> Result."""
    def wrap(body):
        for kind, ask in (('simple', lambda client, sql: client.query(sql)), ('extended', lambda client, sql: client.extended(sql))):
            def one(c, ask=ask):
                body(c, ask)
            one.__name__ = f'{name}_{kind}'
            # run() counts the parameters: c alone
            one.__signature__ = __import__('inspect').signature(lambda c: None)
            test(one)
        return body
    return wrap


@test
def reads_go_to_standbys_and_writes_to_the_primary(c):
    client = c.client()
    seen = {client.must('SELECT a FROM t').value for _ in range(10)}
    check_eq(seen, set(STANDBYS))
    check_eq(client.must('INSERT INTO t VALUES (1)').tags, ['INSERT 0 1'])
    check_eq(c.count('INSERT'), {'primary': 1})


@both_ways('refused_by_standbys_answered_by_the_primary')
def refused(c, ask):
    c.on_any_standby('FROM (refused|again)', fail('25006', 'cannot execute in a read-only transaction', R='PreventCommandIfReadOnly'))
    # a shape once refused is learned for the life of the process: its own table for each protocol
    table = 'refused' if ask.__code__.co_names[-1] == 'query' else 'again'
    result = ask(c.client(), f'SELECT a FROM {table}')
    check_eq((result.value, result.error, result.notices, result.status), ('primary', None, [], 'I'))
    check_eq(c.primary.count(f'FROM {table}'), 1)
    check_eq(sum(s.count(f'FROM {table}') for s in c.standbys), 1, 'a standby was asked first')


@both_ways('cut_before_rows_is_run_on_the_other_standby')
def cut_before(c, ask):
    c.on_any_standby('FROM t', cut, times=1)
    result = ask(c.client(), 'SELECT a FROM t')
    check(result.value in STANDBYS and not result.error, result)
    check_eq(c.count('FROM t'), {'standby1': 1, 'standby2': 1})


@test
def reset_before_rows_is_run_on_the_other_standby(c):
    c.on_any_standby('FROM t', reset, times=1)
    result = c.client().query('SELECT a FROM t')
    check(result.value in STANDBYS and not result.error, result)


@test
def both_standbys_cut_then_the_primary_answers(c):
    c.on_any_standby('FROM t', cut)
    result = c.client().query('SELECT a FROM t')
    check(result.value == 'primary' or (result.error and result.error.code == '08006'), result)
    c.still_works()


@test
def cut_after_row_description_is_no_delivery_of_rows(c):
    """The client may have seen RowDescription already, or not: never two of them, and one right answer or 08006."""
    c.on_any_standby('FROM t', cut_after('T'), times=1)
    client = c.client()
    result = client.query('SELECT a FROM t')
    check(result.types.count('T') <= 1, result)
    check(result.error is None and result.value in (*STANDBYS, 'primary') or result.error.code == '08006', result)
    check_eq(client.must('SELECT 1').status, 'I')


@both_ways('cut_after_a_row_is_08006_and_the_connection_lives')
def after_a_row(c, ask):
    c.on_any_standby('FROM t', cut_after('TD'), times=1)
    client = c.client()
    result = ask(client, 'SELECT a FROM t')
    check_error(result, '08006', 'ERROR')
    check_eq(len(result.errors), 1)
    check_eq(result.status, 'I')
    check_eq(sum(c.count('FROM t').values()), 1, 'it ran once')
    check_eq(client.must('SELECT 1').status, 'I')


@test
def cut_after_command_complete(c):
    """All was delivered but ReadyForQuery: never run again, rows not doubled."""
    c.on_any_standby('FROM t', cut_after('TDDC'), times=1)
    client = c.client()
    result = client.query('SELECT a FROM t')
    check_eq(len(result.rows), 2)
    check_eq(result.status, 'I')
    check_eq(sum(c.count('FROM t').values()), 1, 'it ran once')


@both_ways('recovery_conflict_is_run_elsewhere')
def recovery_conflict(c, ask):
    c.on_any_standby('FROM t', conflict, times=1)
    result = ask(c.client(), 'SELECT a FROM t')
    check(result.error is None and result.value in STANDBYS, result)


@test
def recovery_conflict_on_both_goes_to_the_primary(c):
    c.on_any_standby('FROM t', conflict)
    result = c.client().query('SELECT a FROM t')
    check_eq((result.value, result.error), ('primary', None))
    check(sum(c.count('FROM t').values()) <= 3, c.count('FROM t'))


@test
def recovery_conflict_as_fatal(c):
    c.on_any_standby('FROM t', fail('40001', 'terminating connection due to conflict with recovery', 'FATAL', R='ProcessInterrupts'), times=1)
    result = c.client().query('SELECT a FROM t')
    check(result.error is None and result.value is not None, result)


@test
def deadlock_with_recovery_is_run_elsewhere(c):
    c.on_any_standby('FROM t', fail('40P01', 'conflict with recovery', R='ProcessInterrupts'), times=1)
    result = c.client().query('SELECT a FROM t')
    check(result.error is None and result.value is not None, result)


@test
def a_serialization_failure_of_its_own_is_the_clients(c):
    """40001 without field R = ProcessInterrupts is an answer, not a conflict with replay."""
    c.on_any_standby('FROM t', fail('40001', 'could not serialize access', R='heap_update'), times=1)
    result = c.client().query('SELECT a FROM t')
    check_eq(result.error.code, '40001')
    check_eq(sum(c.count('FROM t').values()), 1, 'it ran once')


@test
def a_timeout_is_never_run_again(c):
    c.on_any_standby('FROM t', fail('57014', 'canceling statement due to statement timeout', R='ProcessInterrupts'), times=1)
    result = c.client().query('SELECT a FROM t')
    check_eq(result.error.code, '57014')
    check_eq(sum(c.count('FROM t').values()), 1, 'it ran once')


@test
def ordinary_errors_pass_through_unchanged(c):
    c.on_any_standby('FROM t', fail('22012', 'division by zero', R='int4div', D='detail', H='hint', P='8'), times=1)
    error = c.client().query('SELECT a FROM t').error
    check_eq({k: error[k] for k in 'SVCMDHPR'}, dict(S='ERROR', V='ERROR', C='22012', M='division by zero', D='detail', H='hint', P='8',
                                                     R='int4div'))


@test
def an_error_after_rows_is_the_clients(c):
    def act(q):
        q.row_description(['a'])
        q.row(['1'])
        q.error('40001', 'canceling statement due to conflict with recovery', R='ProcessInterrupts')
    c.on_any_standby('FROM t', act, times=1)
    client = c.client()
    result = client.query('SELECT a FROM t')
    check(result.error and result.error.code in ('40001', '08006'), result)
    check_eq(sum(c.count('FROM t').values()), 1, 'it ran once')
    check_eq(client.must('SELECT 1').status, 'I')


@test
def what_was_refused_is_learned(c):
    c.on_any_standby('learned', fail('25006', 'no', R='PreventCommandIfReadOnly'))
    client = c.client()
    for i in range(10):
        check_eq(client.must(f'SELECT a FROM t AS learned WHERE a = {i}').value, 'primary')
    check(sum(s.count('learned') for s in c.standbys) <= 4, c.count('learned'))


@test
def in_hot_standby_flips_are_not_forwarded(c):
    c.on_any_standby('FROM t', with_param('in_hot_standby', 'off'))
    result = c.client().must('SELECT a FROM t')
    check(all(name != 'in_hot_standby' for name, _ in result.params), result.params)
    c.on_any_standby('FROM u', with_param('in_hot_standby', 'on'))
    result = c.client().must('SELECT a FROM u')
    check(('in_hot_standby', 'on') not in result.params, result.params)


@test
def a_standby_that_never_answers_holds_up_only_its_reader(c):
    c.on_any_standby('FROM hung', never, times=1)
    waiting, other = c.client(), c.client()
    waiting.send(b'Q' + (4 + 22).to_bytes(4, 'big') + b'SELECT a FROM hung   ' + b'\0')
    wait_for(lambda: sum(c.count('FROM hung').values()), 5, 'the statement to arrive')
    for _ in range(20):
        started = time.monotonic()
        check_eq(other.must('SELECT 1').status, 'I')
        check(time.monotonic() - started < 1 * SLOW, 'somebody else had to wait')


@test
def slow_answers_come_through(c):
    c.on_any_standby('FROM slow', later(0.5))
    check(c.client().must('SELECT a FROM slow').value in STANDBYS, 'not from a standby')


@test
def huge_rows_come_through(c):
    size = 3_000_000
    c.on_any_standby('FROM huge', rows(['a'], ['x' * size], ['y' * size], ['z']))
    result = c.client().must('SELECT a FROM huge', timeout=30)
    check_eq([len(r[0]) for r in result.rows], [size, size, 1])


@test
def inside_a_read_transaction_a_cut_is_unseen(c):
    """READ COMMITTED that has only read holds no server: its reads are retried as outside."""
    client = c.client()
    check_eq(client.must('BEGIN').status, 'T')
    c.on_any_standby('FROM t', cut, times=1)
    result = client.query('SELECT a FROM t')
    check(result.error is None and result.status == 'T', result)
    check_eq(client.must('COMMIT').status, 'I')


run(cluster={'standbys': 2})
