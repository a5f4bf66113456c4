#!/usr/bin/python3
"""A server that dies, in every state a session has: the right words, the right transaction status, and the session goes on."""
import socket

from fakeserver import copy_in, cut, cut_after, fail, noticed, raw
from harness import check, check_eq, check_error, run, test, wait_for
from pgwire import FLUSH, SYNC, bind_msg, describe_msg, execute_msg, i32, msg, parse_msg, query_msg


def kill_server_of(c, pattern):
    """The connection over which that statement came ends."""
    for node in c.nodes:
        for number, sql in node.log:
            if pattern in sql:
                for conn in list(node.connections):
                    if conn.number == number:
                        conn.sock.shutdown(socket.SHUT_RDWR)
                        return
    raise AssertionError(f'nobody has seen {pattern}')


def goes_on(c, client):
    for node in c.nodes:
        node.rules = []
    check_eq(client.must("SELECT 'echo:on' FROM t").value, 'on')
    check_eq(client.must('INSERT INTO t VALUES (1)').status, 'I')
    check_eq(client.extended("SELECT 'echo:ext' FROM t").value, 'ext')
    client.close()
    c.settles()


@test
def while_flushed_parse_and_describe_wait(c):
    """Nothing was run: no doubt about a write."""
    client = c.client()
    client.send(parse_msg('', 'INSERT INTO dying VALUES (1)'), describe_msg('S'), FLUSH)
    client.read_until('n')
    for conn in list(c.primary.connections):
        if '' in conn.statements and not conn.is_monitor:
            conn.sock.shutdown(socket.SHUT_RDWR)
    result = client.read_until('E')
    check_error(result, '08006')
    client.send(bind_msg(), execute_msg(), SYNC)
    check_eq(client.read_until('Z').types, 'Z')
    goes_on(c, client)


@test
def while_an_execute_was_flushed(c):
    client = c.client()
    client.send(parse_msg('', 'INSERT INTO dying VALUES (1)'), bind_msg(), execute_msg(), FLUSH)
    client.read_until('C')
    kill_server_of(c, 'INTO dying')
    check_error(client.read_until('E'), '08007')
    client.send(parse_msg('', 'SELECT 1'), bind_msg(), execute_msg(), SYNC)
    check_eq(client.read_until('Z').types, 'Z')
    goes_on(c, client)


@test
def in_a_transaction_while_flushed(c):
    """Status E until ROLLBACK, in the extended protocol too."""
    client = c.client()
    client.must('BEGIN')
    client.send(parse_msg('', 'INSERT INTO dying VALUES (1)'), bind_msg(), execute_msg(), FLUSH)
    client.read_until('C')
    kill_server_of(c, 'INTO dying')
    check_error(client.read_until('E'), '40001')
    client.send(SYNC)
    check_eq(client.read_until('Z').status, 'E')
    client.send(SYNC)
    result = client.read_until('Z')
    check_eq((result.types, result.status), ('Z', 'E'), 'a Sync alone is no statement')
    check_eq(client.query('SELECT 1').error.code, '25P02')
    check_eq(client.must('ROLLBACK').status, 'I')
    goes_on(c, client)


@test
def in_copy_in_simple(c):
    c.primary.on('COPY dying', lambda q: copy_in(q) if False else (q.send(msg('G', b'\0\0\0')), q.conn.take(30), q.cut()))
    client = c.client()
    client.send(query_msg('COPY dying FROM STDIN'))
    client.read_until('G')
    client.send(msg('d', b'x' * 100))
    result = client.read_until('Z')
    check(result.error and result.error.code in ('08007', '08006'), result)
    client.send(msg('d', b'more'), msg('c'))        # it had not heard of it yet
    goes_on(c, client)


@test
def in_copy_in_extended(c):
    """The error, then nothing before the Sync that stands behind the data."""
    c.primary.on('COPY dying', lambda q: (q.send(msg('G', b'\0\0\0')), q.conn.take(30), q.cut()))
    client = c.client()
    client.send(parse_msg('', 'COPY dying FROM STDIN'), bind_msg(), execute_msg(), SYNC)
    client.read_until('G')
    client.send(msg('d', b'x' * 100))
    check(client.read_until('E').error.code in ('08007', '08006'), 'wrong code')
    check(not client.has_input(0.2), 'ReadyForQuery before Sync')
    client.send(msg('d', b'more'), msg('c'), SYNC)
    check_eq(client.read_until('Z').types, 'Z')
    goes_on(c, client)


@test
def in_copy_in_with_half_a_message_under_way(c):
    c.primary.on('COPY dying', lambda q: (q.send(msg('G', b'\0\0\0')), q.conn.take(100000), q.cut()))
    client = c.client()
    client.send(query_msg('COPY dying FROM STDIN'))
    client.read_until('G')
    data = msg('d', b'x' * 400000)
    client.send(data[:200000])
    check(client.read_until('Z').error.code in ('08007', '08006'), 'wrong code')
    client.send(data[200000:], msg('c'))
    goes_on(c, client)


@test
def held_for_its_state(c):
    client = c.client()
    client.must('CREATE TEMP TABLE dying (a int)')
    kill_server_of(c, 'dying')
    wait_for(lambda: not c.lent(), 5, 'the loss to be noticed')
    error = check_error(client.query('SELECT 1'), '55000')
    check('temp' in error['M'], error)
    goes_on(c, client)


@test
def held_by_a_transaction_then_commit(c):
    """COMMIT of what is lost must be an error the first time."""
    client = c.client()
    client.must('BEGIN')
    client.must('INSERT INTO dying VALUES (1)')
    kill_server_of(c, 'INTO dying')
    result = client.query('COMMIT')
    check_error(result, '40001')
    check_eq(result.status, 'E')
    check_eq(client.must('ROLLBACK').status, 'I')
    goes_on(c, client)


@test
def held_by_a_transaction_then_rollback(c):
    """What ROLLBACK asks for has happened."""
    client = c.client()
    client.must('BEGIN')
    client.must('INSERT INTO dying VALUES (1)')
    kill_server_of(c, 'INTO dying')
    wait_for(lambda: not c.lent(), 5, 'the loss to be noticed')
    result = client.must('ROLLBACK')
    check_eq((result.tags, result.status), (['ROLLBACK'], 'I'))
    goes_on(c, client)


@test
def begin_lost(c):
    """Nothing has happened yet: it begins elsewhere."""
    c.primary.on('^BEGIN', cut, times=1)
    client = c.client()
    check_eq(client.must('BEGIN').status, 'T')
    client.must('ROLLBACK')
    goes_on(c, client)


@test
def in_welcome(c):
    """The server asked for its parameters dies: another is asked."""
    for node in c.nodes:
        node.on('set_config', cut, times=1)
    client = c.client(application_name='welcome')
    goes_on(c, client)


@test
def a_prelude_that_breaks(c):
    """Settings laid on before the batch are refused by the server: an error, not silence, not the batch under wrong settings."""
    first = c.client(application_name='prelude1')
    other = c.client(application_name='prelude2')
    other.must('SELECT a FROM t FOR UPDATE')
    c.primary.on('set_config', fail('22023', 'no'))
    first.send(query_msg('INSERT INTO prelude VALUES (1)'))
    error = first.read_error()
    check_error(error, '08006', 'ERROR')
    check(c.primary.count('INSERT INTO prelude') == 0, 'the INSERT ran without its settings')
    c.primary.rules = []
    first.must('INSERT INTO prelude VALUES (2)')        # and the connection lives
    first.close()
    goes_on(c, other)


@test
def half_a_row(c):
    """A row cut in the middle can't be mended: the connection ends."""
    row = msg('D', b'\0\1' + i32(100000) + b'x' * 100000)
    c.on_any_standby('FROM dying', raw(msg('T', b'\0\0') + row[:50000], then_cut=True), times=1)
    client = c.client()
    client.send(query_msg('SELECT a FROM dying'))
    client.expect_closed()
    goes_on(c, c.client())


@test
def nonsense_from_a_server(c):
    """Bytes that are no protocol: as if it had died."""
    for data in (b'?\0\0\0\4', msg('D', b'')[:1] + i32(3), b'Z' + i32(0x7fffffff), b'HTTP/1.1 400 Bad Request\r\n\r\n', b'\0' * 64):
        for node in c.standbys:
            node.rules = []
        c.on_any_standby('FROM dying', raw(data), times=1)
        client = c.client()
        result = client.query('SELECT a FROM dying')
        check(result.error is None or result.error.code == '08006', f'{data}: {result}')
        check_eq(client.must('SELECT 1').status, 'I')
        client.close()
    goes_on(c, c.client())


@test
def ready_out_of_turn(c):
    """A ReadyForQuery too many, or a row nobody asked for, while it lies in the pool: it isn't lent again."""
    for extra in (msg('Z', b'I'), msg('D', b'\0\0'), msg('C', b'SELECT 0\0')):
        def act(q, extra=extra):
            q.rows(['a'], [['1']])
            q.send(msg('Z', b'I') + extra)
        c.on_any_standby('FROM odd', act, times=1)
        client = c.client()
        check_eq(client.query('SELECT a FROM odd').value, '1')
        for i in range(6):
            check_eq(client.must(f"SELECT 'echo:o{i}' FROM t").value, f'o{i}')
        client.close()
        for node in c.standbys:
            node.rules = []
    c.settles()


@test
def notice_before_it_dies(c):
    c.on_any_standby('FROM dying', noticed('soon', cut_after('')), times=1)
    client = c.client()
    result = client.query('SELECT a FROM dying')
    check(result.error is None and result.value, result)
    check_eq(len(result.notices), 0, 'the first answer was not delivered')
    goes_on(c, client)


@test
def fatal_in_a_transaction(c):
    client = c.client()
    client.must('BEGIN')
    c.primary.on('INTO dying', fail('57P01', 'terminating connection', 'FATAL'))
    result = client.query('INSERT INTO dying VALUES (1)')
    check_error(result, '40001')
    check_eq(len(result.errors), 1)
    check_eq(client.must('ROLLBACK').status, 'I')
    goes_on(c, client)


run(cluster={'standbys': 2, 'workers': 1})
