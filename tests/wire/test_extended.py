#!/usr/bin/python3
"""The extended protocol: pipelines, Flush, row limits, named statements on whichever server comes, errors in the middle."""
from fakeserver import conflict, fail
from harness import Cluster, check, check_eq, check_error, run, test
from pgwire import FLUSH, SYNC, bind_msg, describe_msg, execute_msg, msg, parse_msg, query_msg

STANDBYS = ('standby1', 'standby2')


def close_msg(kind, name):
    return msg('C', kind.encode() + name.encode() + b'\0')


@test
def several_batches_in_one_packet(c):
    client = c.client()
    client.send(*[x for i in range(30) for x in (parse_msg('', f"SELECT 'echo:b{i}' FROM t"), bind_msg(), describe_msg(), execute_msg(), SYNC)])
    for i in range(30):
        result = client.read_until('Z')
        check_eq((result.types, result.value), ('12TDCZ', f'b{i}'))


@test
def reads_and_writes_mixed_in_one_packet(c):
    client = c.client()
    client.send(*[query_msg(f"SELECT 'echo:q{i}' FROM t" if i % 2 else f'INSERT INTO t VALUES ({i})') for i in range(40)])
    for i in range(40):
        result = client.read_until('Z')
        check_eq(result.value if i % 2 else result.tags, f'q{i}' if i % 2 else ['INSERT 0 1'])
    check_eq([sql for sql in c.primary.seen('INSERT')], [f'INSERT INTO t VALUES ({i})' for i in range(0, 40, 2)])


@test
def an_error_skips_its_own_batch_only(c):
    client = c.client()
    client.send(parse_msg('', 'BAD SYNTAX'), bind_msg(), execute_msg(), SYNC, parse_msg('', "SELECT 'echo:ok' FROM t"), bind_msg(), execute_msg(),
                SYNC)
    check_eq(client.read_until('Z').types, 'EZ')
    check_eq(client.read_until('Z').value, 'ok')


@test
def parse_and_describe_flushed_are_answered(c):
    """Drivers ask so (asyncpg) and wait before they bind."""
    client = c.client()
    for _ in range(6):
        client.send(parse_msg('', 'SELECT a FROM t'), describe_msg('S'), FLUSH)
        check_eq(client.read_until('T').types, '1tT')
        client.send(bind_msg(), execute_msg(), SYNC)
        result = client.read_until('Z')
        check(result.types == '2DCZ' and result.value in STANDBYS, result)


@test
def the_rest_is_sent_before_the_flush_was_answered(c):
    client = c.client()
    for _ in range(6):
        client.send(parse_msg('', 'SELECT a FROM t'), describe_msg('S'), FLUSH, bind_msg(), execute_msg(), SYNC)
        check_eq(client.read_until('Z').types, '1tT2DCZ')


@test
def a_standby_is_left_when_the_rest_is_no_read(c):
    client = c.client()
    client.send(parse_msg('r', 'SELECT a FROM t'), describe_msg('S', 'r'), FLUSH)
    check_eq(client.read_until('T').types, '1tT')
    client.send(bind_msg('', 'r'), execute_msg(), parse_msg('', 'INSERT INTO t VALUES (1)'), bind_msg(), execute_msg(), SYNC)
    result = client.read_until('Z')
    check_eq((result.types, result.value, result.tags), ('2DC12CZ', 'primary', ['SELECT 1', 'INSERT 0 1']))
    check_eq(c.count('INSERT'), {'primary': 1})
    client.close()
    c.settles()


@test
def refused_after_a_flush_runs_on_the_primary(c):
    """What was flushed is only Parse and Describe: the refusal of what follows is not the client's business."""
    c.on_any_standby('FROM flushed', fail('25006', 'no', R='PreventCommandIfReadOnly'))
    client = c.client()
    client.send(parse_msg('', 'SELECT a FROM flushed'), describe_msg('S'), FLUSH)
    client.read_until('T')
    client.send(bind_msg(), execute_msg(), SYNC)
    result = client.read_until('Z')
    check_eq((result.types, result.value), ('2DCZ', 'primary'))
    client.close()
    c.settles()


@test
def a_conflict_after_a_flush_runs_elsewhere(c):
    c.on_any_standby('FROM flushed_too', conflict, times=1)
    client = c.client()
    client.send(parse_msg('named', 'SELECT a FROM flushed_too'), describe_msg('S', 'named'), FLUSH)
    client.read_until('T')
    client.send(bind_msg('', 'named'), execute_msg(), SYNC)
    result = client.read_until('Z')
    check(result.types == '2DCZ' and result.value in STANDBYS, result)


@test
def close_or_known_parse_flushed_are_answered(c):
    """The server isn't asked, so it says nothing: the answer must not wait for it."""
    client = c.client()
    client.extended('SELECT a FROM t', name='known')
    other = c.client()
    for _ in range(4):
        other.extended('SELECT a FROM t', name='known')
        other.send(close_msg('S', 'known'), FLUSH)
        check_eq(other.read_until('3').types, '3')
        other.send(parse_msg('known', 'SELECT a FROM t'), FLUSH)
        check_eq(other.read_until('1').types, '1')
        other.send(SYNC)
        check_eq(other.read_until('Z').types, 'Z')
        other.send(close_msg('S', 'known'), SYNC)
        check_eq(other.read_until('Z').types, '3Z')


@test
def flush_alone_asks_for_nothing(c):
    client = c.client()
    client.send(FLUSH, FLUSH)
    check_eq(client.must('SELECT 1').status, 'I')
    client.send(FLUSH)
    check(not c.lent(), 'a server was lent for a Flush')


@test
def execute_with_a_row_limit(c):
    client = c.client()
    for node in c.nodes:
        node.on('FROM many', lambda q: q.rows(['a'], [[str(i)] for i in range(7)]))
    client.must('BEGIN')
    client.send(parse_msg('', 'SELECT a FROM many'), bind_msg('p'), execute_msg('p', 3), SYNC)
    result = client.read_until('Z')
    check_eq((result.types, result.status), ('12DDDsZ', 'T'))
    client.send(execute_msg('p', 3), FLUSH)
    check_eq(client.read_until('s').types, 'DDDs')
    client.send(execute_msg('p', 3), SYNC)
    check_eq(client.read_until('Z').types, 'DCZ')
    check_eq(client.must('COMMIT').status, 'I')


@test
def row_limits_outside_of_a_transaction(c):
    """Both executions in one batch, on one server."""
    for node in c.nodes:
        node.on('FROM many', lambda q: q.rows(['a'], [[str(i)] for i in range(5)]))
    client = c.client()
    client.send(parse_msg('', 'SELECT a FROM many'), bind_msg(), execute_msg('', 2), execute_msg('', 2), execute_msg('', 2), SYNC)
    check_eq(client.read_until('Z').types, '12DDsDDsDCZ')


@test
def named_statements_follow_the_client(c):
    clients = [c.client() for _ in range(6)]
    for i, client in enumerate(clients):
        check_eq(client.extended(f"SELECT 'echo:n{i}' FROM t", name='mine').value, f'n{i}')
    for _ in range(5):
        for i, client in enumerate(clients):
            client.send(bind_msg('', 'mine'), describe_msg(), execute_msg(), SYNC)
            result = client.read_until('Z')
            check_eq((result.types, result.value), ('2TDCZ', f'n{i}'))
            check_eq(client.query("SELECT 'echo:s' FROM t").value, 's')


@test
def the_same_name_again_after_close(c):
    client = c.client()
    client.extended("SELECT 'echo:old' FROM t", name='n')
    client.send(close_msg('S', 'n'), parse_msg('n', "SELECT 'echo:new' FROM t"), bind_msg('', 'n'), execute_msg(), SYNC)
    result = client.read_until('Z')
    check_eq((result.types, result.value), ('312DCZ', 'new'))


@test
def unknown_names(c):
    client = c.client()
    for data in ((bind_msg('', 'nobody'), execute_msg()), (describe_msg('S', 'nobody'),), (describe_msg('P', 'nobody'),)):
        client.send(*data, SYNC)
        result = client.read_until('Z')
        check(result.types == 'EZ' and result.error.code in ('26000', '34000'), result)
    client.send(close_msg('S', 'nobody'), SYNC)
    check_eq(client.read_until('Z').types, '3Z', 'closing what does not exist is no error')


@test
def a_name_is_taken_back_when_its_parse_fails(c):
    client = c.client()
    client.send(parse_msg('', 'BAD SYNTAX'), parse_msg('late', 'SELECT 1'), SYNC)
    check_eq(client.read_until('Z').types, 'EZ')
    client.send(bind_msg('', 'late'), execute_msg(), SYNC)
    check_eq(client.read_until('Z').error.code, '26000')
    client.send(parse_msg('bad', 'BAD SYNTAX'), SYNC)
    check_eq(client.read_until('Z').types, 'EZ')
    client.send(bind_msg('', 'bad'), execute_msg(), SYNC)
    check_eq(client.read_until('Z').error.code, '26000')


@test
def no_answers_of_our_own_after_an_error(c):
    """A Parse the server already knows is answered by the proxy: not when the batch has failed before it."""
    client = c.client()
    for _ in range(4):
        client.extended('SELECT a FROM t', name='known')
        client.send(close_msg('S', 'known'), SYNC)
        client.read_until('Z')
        client.send(parse_msg('', 'BAD SYNTAX'), FLUSH)
        check_eq(client.read_until('E').error.code, '42601')
        client.send(parse_msg('known', 'SELECT a FROM t'), close_msg('S', 'known'), FLUSH, SYNC)
        check_eq(client.read_until('Z').types, 'Z')


@test
def one_name_for_two_texts_in_a_batch(c):
    client = c.client()
    client.send(parse_msg('', "SELECT 'echo:one' FROM t"), bind_msg(), execute_msg(), parse_msg('', "SELECT 'echo:two' FROM t"), bind_msg(),
                execute_msg(), SYNC)
    result = client.read_until('Z')
    check_eq((result.types, result.rows), ('12DC12DCZ', [['one'], ['two']]))


@test
def an_unnamed_statement_over_batches(c):
    """Parse in one batch, Bind in the next, on whichever server that runs."""
    client = c.client()
    client.send(parse_msg('', "SELECT 'echo:u' FROM t"), SYNC)
    check_eq(client.read_until('Z').types, '1Z')
    for _ in range(6):
        client.send(bind_msg(), execute_msg(), SYNC)
        result = client.read_until('Z')
        check_eq((result.types, result.value), ('2DCZ', 'u'))
    client.query('SELECT 1')
    client.send(bind_msg(), execute_msg(), SYNC)
    check_eq(client.read_until('Z').error.code, '26000', 'a simple query drops it')


@test
def deallocate(c):
    client = c.client()
    for sql in ('DEALLOCATE mine', 'DEALLOCATE ALL', 'DISCARD ALL'):
        check_eq(client.extended("SELECT 'echo:d' FROM t", name='mine').value, 'd')
        check_eq(client.must(sql).status, 'I')
        client.send(bind_msg('', 'mine'), execute_msg(), SYNC)
        check_eq(client.read_until('Z').error.code, '26000', sql)
        check_eq(client.extended("SELECT 'echo:d' FROM t FOR UPDATE", name='write').value, 'd')
        client.send(close_msg('S', 'write'), SYNC)
        client.read_until('Z')
    check(client.query('DEALLOCATE nobody').error, 'no error')
    for i in range(4):
        check_eq(c.client().extended("SELECT 'echo:d' FROM t", name='mine').value, 'd')


@test
def discard_all_gives_the_server_back(c):
    client = c.client()
    client.must('CREATE TEMP TABLE mine (a int)')
    check_eq(len(c.lent()), 1)
    client.must('DISCARD ALL')
    check_eq(c.lent(), [])
    check(client.must('SELECT a FROM t').value in STANDBYS, 'still at the primary')
    client.close()
    c.settles()


@test
def a_discard_all_that_failed_frees_nothing(c):
    client = c.client()
    client.must('CREATE TEMP TABLE mine (a int)')
    client.must('BEGIN')
    check_eq(client.query('DISCARD ALL').error.code, '25001')
    check_eq(client.must('ROLLBACK').status, 'I')
    check_eq(len(c.lent()), 1, 'the temporary table is still there')
    client.close()
    c.settles()


@test
def function_call(c):
    client = c.client()
    client.send(msg('F', b'\0\0\0\1\0\0\0\0\0\0'))
    check_eq(client.read_until('Z').types, 'VZ')
    check_eq(c.count('FUNCTION CALL'), {'primary': 1})


@test
def batches_without_a_text(c):
    """Nothing to judge by: the primary answers, nothing crashes."""
    client = c.client()
    for data in ((execute_msg(),), (execute_msg('nobody'),), (close_msg('P', 'nobody'),), (describe_msg('P'),), (FLUSH, FLUSH)):
        client.send(*data, SYNC)
        check_eq(client.read_until('Z').status, 'I')
    check_eq(client.must('SELECT 1').status, 'I')


@test
def an_error_of_ours_in_a_batch(c):
    client = c.client()
    result = client.extended('SET pgshunt.consistency = nonsense')
    check_error(result, '22023')
    check_eq(result.types[-2:], 'EZ')
    client.must('BEGIN')
    check_eq(client.extended('SET pgshunt.consistency = nonsense').status, 'E')
    check_eq(client.extended('SELECT 1').error.code, '25P02')
    check_eq(client.must('COMMIT').tags, ['ROLLBACK'])
    check_eq(client.must('SELECT 1').status, 'I')


@test
def more_statements_than_a_server_may_keep():
    """The oldest is closed for the newest, also when an error kept the server from closing it."""
    with Cluster(standbys=1, workers=1, max_prepared_statements=5) as c:
        client = c.client()
        for round_ in range(3):
            for i in range(12):
                check_eq(client.extended(f"SELECT 'echo:m{i}' FROM t", name=f'm{round_}_{i}').value, f'm{i}')
        most = max(len(conn.statements) for conn in c.standbys[0].connections if not conn.is_monitor)
        check(most <= 6, f'{most} statements on one server')
        # the sixth of them evicts; the error before it makes the server ignore that
        client.send(parse_msg('', "SELECT 'BAD SYNTAX' FROM t"), parse_msg('x1', 'SELECT a FROM x1'), parse_msg('x2', 'SELECT a FROM x2'), SYNC)
        check_eq(client.read_until('Z').types, 'EZ')
        for i in range(12):
            client.send(bind_msg('', f'm0_{i}'), execute_msg(), SYNC)
            result = client.read_until('Z')
            check_eq((result.types, result.value), ('2DCZ', f'm{i}'))


run(cluster={'standbys': 2})
