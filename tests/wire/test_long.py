#!/usr/bin/python3
"""What is long: batches past batch_max_bytes, messages past the window, peers that don't read, COPY in the middle of all that."""
import time

from fakeserver import conflict, copy_in, copy_out, cut, fail, noticed, rows, with_param
from harness import SLOW, Cluster, check, check_eq, check_error, run, test, wait_for
from pgwire import FLUSH, SYNC, bind_msg, describe_msg, execute_msg, msg, parse_msg, query_msg

LONG = 'x' * 300000             # batch_max_bytes is 100 kB here


def memory_kb(c):
    with open(f'/proc/{c.pgshunt.process.pid}/status', encoding='ascii') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('VmRSS'))


@test
def a_long_simple_query_goes_to_the_primary(c):
    client = c.client()
    result = client.must(f"SELECT 'echo:long' FROM t WHERE a = '{LONG}'")
    check_eq(result.value, 'long')
    check_eq(len(c.primary.seen('echo:long')), 1)
    check_eq(client.must('SELECT a FROM t').status, 'I')
    client.close()
    c.settles()


@test
def a_long_bind_is_streamed(c):
    client = c.client()
    for name in ('', 'st'):
        client.send(parse_msg(name, 'SELECT $1 FROM t'), bind_msg('', name, [LONG]), describe_msg(), execute_msg(), SYNC)
        result = client.read_until('Z')
        check_eq((result.types, len(result.value)), ('12TDCZ', len(LONG)))
    client.send(bind_msg('', 'st', [LONG]), execute_msg(), SYNC)
    check_eq(client.read_until('Z').types, '2DCZ')
    client.send(parse_msg('', 'INSERT INTO t VALUES ($1)'), bind_msg('', '', [LONG]), execute_msg(), SYNC)
    check_eq(client.read_until('Z').tags, ['INSERT 0 1'])
    client.close()
    c.settles()


@test
def a_long_parse_replaces_the_unnamed_statement(c):
    """What was parsed before under that name must not be what runs."""
    client = c.client()
    check_eq(client.extended("SELECT 'echo:before' FROM t").value, 'before')
    result = client.extended(f"SELECT 'echo:after' FROM t WHERE a = '{LONG}'")
    check_eq((result.types, result.value), ('12TDCZ', 'after'))
    client.extended("SELECT 'echo:before' FROM t", name='n')
    client.send(msg('C', b'Sn\0'), SYNC)
    client.read_until('Z')
    client.send(parse_msg('n', f"SELECT 'echo:after' FROM t WHERE a = '{LONG}'"), SYNC)
    check_eq(client.read_until('Z').types, '1Z')
    client.send(bind_msg('', 'n'), execute_msg(), SYNC)
    check_eq(client.read_until('Z').value, 'after')
    client.send(parse_msg('', f"SELECT 'echo:last' FROM t WHERE a = '{LONG}'"), SYNC)
    check_eq(client.read_until('Z').types, '1Z')
    client.send(bind_msg(), execute_msg(), SYNC)
    check_eq(client.read_until('Z').value, 'last')
    client.close()
    c.settles()


@test
def a_batch_of_many_small_ones(c):
    client = c.client()
    client.send(parse_msg('', 'INSERT INTO t VALUES ($1)'), *[bind_msg('', '', [str(i)]) + execute_msg() for i in range(5000)], SYNC)
    result = client.read_until('Z', timeout=30)
    check_eq((len(result.tags), result.error, result.status), (5000, None, 'I'))
    client.close()
    c.settles()


@test
def an_error_early_in_a_streamed_batch(c):
    c.primary.on('INTO t', fail('23505', 'duplicate'), times=1)
    client = c.client()
    client.send(parse_msg('', 'INSERT INTO t VALUES ($1)'), *[bind_msg('', '', [str(i)]) + execute_msg() for i in range(5000)], SYNC)
    result = client.read_until('Z', timeout=30)
    check_eq((result.types, result.status), ('12EZ', 'I'))
    check_eq(client.must('SELECT 1').status, 'I')


@test
def a_long_query_whose_server_dies(c):
    """Half of it is with the server; the client still sends: an error, the rest is skipped, ReadyForQuery, and on."""
    client = c.client()
    data = query_msg(f"INSERT INTO t VALUES ('{LONG}')")
    client.send(data[:200000])
    wait_for(lambda: any(len(x.buffer) > 1000 or True for x in c.primary.connections if not x.is_monitor) and c.lent(), 5, 'a server')
    time.sleep(0.2)
    c.primary.cut_all()
    check(client.read_error().code in ('08007', '08006'), 'wrong code')
    client.send(data[200000:])
    check_eq(client.read_until('Z').types, 'Z')
    check_eq(client.must("SELECT 'echo:on' FROM t").value, 'on')
    client.close()
    c.settles()


@test
def a_long_query_in_a_failed_transaction(c):
    client = c.client()
    client.must('BEGIN')
    c.primary.on('INTO lost', cut)
    check_error(client.query('INSERT INTO lost VALUES (1)'), '40001')
    result = client.query(f"INSERT INTO t VALUES ('{LONG}')")
    check_eq((result.error.code, result.status, result.types), ('25P02', 'E', 'EZ'))
    check_eq(client.must('ROLLBACK').status, 'I')


@test
def a_long_query_without_a_primary():
    with Cluster(standbys=1, primary_wait='300ms', batch_max_bytes='100kB') as c:
        client = c.client()
        c.primary.stop()
        for _ in range(2):
            result = client.query(f"INSERT INTO t VALUES ('{LONG}')")
        check_error(result, '57P03')
        check_eq(result.types, 'EZ')
        check_eq(client.must("SELECT 'echo:on' FROM t").value, 'on')


@test
def a_message_longer_than_the_window_is_still_retried(c):
    """Under batch_max_bytes it is held whole: a conflict is unseen."""
    c.on_any_standby('FROM windowed', conflict, times=1)
    client = c.client()
    result = client.must(f"SELECT 'echo:w' FROM windowed WHERE a = '{'y' * 60000}'")
    check_eq(result.value, 'w')
    check_eq(c.primary.count('windowed'), 0)


@test
def an_error_of_two_megabytes(c):
    for node in c.nodes:
        node.on('FROM verbose', fail('22P02', 'invalid input syntax: ' + 'z' * 2_000_000))
    client = c.client()
    for ask in (client.query, client.extended):
        result = ask('SELECT a FROM verbose')
        check_eq((result.error.code, len(result.error['M']) > 2_000_000, result.status), ('22P02', True, 'I'))
    check_eq(client.must("SELECT 'echo:on' FROM t").value, 'on')


@test
def a_client_that_does_not_read(c):
    """200 MB for somebody who sleeps: they wait at the server, not in our memory; others are served."""
    def act(q):
        q.row_description(['a'])
        for _ in range(2000):
            q.row(['x' * 100000])
        q.complete('SELECT 2000')
    c.on_any_standby('FROM big', act)
    before = memory_kb(c)
    lazy, other = c.client(), c.client()
    lazy.send(query_msg('SELECT a FROM big'))
    for _ in range(20):
        check_eq(other.must("SELECT 'echo:o' FROM t").value, 'o')
        time.sleep(0.02)
    check(memory_kb(c) - before < 20000 * SLOW, f'{memory_kb(c) - before} kB more')
    result = lazy.read_until('Z', timeout=60)
    check_eq((len(result.rows), result.status), (2000, 'I'))


@test
def a_server_that_does_not_read(c):
    """COPY into somebody who sleeps: the client waits, not our memory."""
    def act(q):
        q.send(msg('G', b'\0\0\0'))
        time.sleep(0.7)
        copy_in_rest(q)

    def copy_in_rest(q):
        q.server.copied.append(0)
        while True:
            kind = q.conn.take(1)
            length = int.from_bytes(q.conn.take(4), 'big') - 4
            q.conn.take(length)
            q.server.copied[-1] += length
            if kind == b'c':
                q.complete('COPY 1')
                return
    c.primary.on('COPY t', act)
    before = memory_kb(c)
    client = c.client(timeout=60)
    client.send(query_msg('COPY t FROM STDIN'))
    client.read_until('G')
    import threading
    sender = threading.Thread(target=lambda: client.send(*[msg('d', b'y' * 50000) for _ in range(1000)], msg('c')))
    sender.start()
    time.sleep(0.4)
    check(memory_kb(c) - before < 20000 * SLOW, f'{memory_kb(c) - before} kB more')
    check_eq(client.read_until('Z', timeout=60).tags, ['COPY 1'])
    sender.join()
    check_eq(c.primary.copied, [50000 * 1000])
    client.close()
    c.settles()


@test
def copy_in_one_packet(c):
    """The data behind the statement, before the server has asked for it."""
    client = c.client()
    client.send(query_msg('COPY t FROM STDIN'), msg('d', b'1\n'), msg('d', b'2\n'), msg('c'), query_msg("SELECT 'echo:next' FROM t"))
    check_eq(client.read_until('Z').tags, ['COPY 2'])
    check_eq(client.read_until('Z').value, 'next')


@test
def copy_in_one_packet_extended(c):
    client = c.client()
    client.send(parse_msg('', 'COPY t FROM STDIN'), bind_msg(), execute_msg(), SYNC, msg('d', b'1\n'), FLUSH, msg('c'), SYNC,
                query_msg("SELECT 'echo:next' FROM t"))
    check_eq(client.read_until('Z').tags, ['COPY 1'])
    check_eq(client.read_until('Z').value, 'next')


def failing_copy(c, ask, transaction):
    """The server stops while half of a long CopyData is on its way: the rest of it goes nowhere else, and no other message into it."""
    first = msg('d', b'bad\n')
    c.primary.on('COPY t', lambda q: (q.send(msg('G', b'\0\0\0')), q.conn.take(len(first)), time.sleep(0.3), q.error('22P02', 'bad data')))
    client = c.client()
    if transaction:
        client.must('BEGIN')
    data = msg('d', b'1\n' * 60000)
    client.send(ask)
    client.read_until('G')
    client.send(first, data[:50000])
    result = client.read_until('Z')
    check_eq((result.error.code, result.status), ('22P02', 'E' if transaction else 'I'))
    client.send(data[50000:], msg('d', b'2\n'), msg('c'))
    if transaction:
        check_eq(client.must('ROLLBACK').status, 'I')
    check_eq(client.must("SELECT 'echo:on' FROM t FOR UPDATE").value, 'on')
    check_eq(client.must("SELECT 'echo:on' FROM t").value, 'on')
    client.close()
    c.settles()


@test
def copy_that_fails_in_a_long_piece(c):
    failing_copy(c, query_msg('COPY t FROM STDIN'), False)


@test
def copy_that_fails_in_a_long_piece_in_a_transaction(c):
    failing_copy(c, query_msg('COPY t FROM STDIN'), True)


@test
def copy_that_fails_extended(c):
    c.primary.on('COPY t', lambda q: copy_in(q, fail_after=10))
    client = c.client()
    client.send(parse_msg('', 'COPY t FROM STDIN'), bind_msg(), execute_msg(), SYNC)
    client.read_until('G')
    client.send(msg('d', b'1\n' * 100))
    check_eq(client.read_until('E').error.code, '22P02')
    client.send(msg('d', b'1\n' * 100), msg('c'), SYNC)
    check_eq(client.read_until('Z').types, 'Z')
    check_eq(client.must("SELECT 'echo:on' FROM t").value, 'on')
    client.close()
    c.settles()


def held_up(c, then):
    def act(q):
        q.send(msg('G', b'\0\0\0'))
        time.sleep(0.3)
        q.error('22P02', 'bad data')
        then(q)
    c.primary.on('COPY t', act)
    client = c.client(timeout=20)
    client.send(query_msg('COPY t FROM STDIN'))
    client.read_until('G')
    import threading
    sender = threading.Thread(target=lambda: client.send(*[msg('d', b'y' * 50000) for _ in range(400)], msg('c')))
    sender.start()
    result = client.read_until('Z', timeout=20)
    check(result.error, result)
    sender.join(20)
    check(not sender.is_alive(), 'nobody reads the client any more')
    client.must('SELECT 1')
    client.close()
    c.settles()


@test
def copy_that_fails_while_the_client_is_held_up(c):
    """It had to wait for the server; then the server has had enough: it must be heard again."""
    held_up(c, lambda q: (q.send(q.conn.ready()), time.sleep(1), q.cut()))


@test
def copy_that_breaks_while_the_client_is_held_up(c):
    held_up(c, lambda q: q.cut())


@test
def copy_out_of_many(c):
    for node in c.nodes:
        node.on('COPY t TO', copy_out(*[b'z' * 70000 for _ in range(100)]))
    client = c.client()
    result = client.query('COPY t TO STDOUT', timeout=30)
    check_eq((result.types.count('d'), result.tags), (100, ['COPY 100']))


@test
def notices_of_a_write_come_at_once(c):
    """Not with the end of the statement: people watch them."""
    def act(q):
        noticed('half', lambda q: None)(q)
        time.sleep(1)
        q.complete('DO')
    c.primary.on('^DO', act)
    client = c.client()
    client.send(query_msg('DO $$ BEGIN END $$'))
    check_eq(client.read(timeout=0.8)[0], 'N')
    check_eq(client.read_until('Z').tags, ['DO'])


@test
def what_comes_in_odd_places(c):
    """Notices, parameters, notifications: between row and row, behind the end, to an idle client that listens."""
    def act(q):
        q.row_description(['a'])
        q.row(['1'])
        noticed('between', lambda q: None)(q)
        with_param('TimeZone', 'Mars', lambda q: None)(q)
        q.row(['2'])
        q.complete('SELECT 2')
        noticed('behind', lambda q: None)(q)
        with_param('in_hot_standby', 'off', lambda q: None)(q)
    for node in c.nodes:
        node.on('FROM odd', act)
    client = c.client()
    for ask in (client.query, client.extended):
        result = ask('SELECT a FROM odd')
        check_eq((result.rows, len(result.notices), result.params), ([['1'], ['2']], 2, [('TimeZone', 'Mars')]))
    client.must('LISTEN ch')
    number = next(n for n, sql in c.primary.log if sql.startswith('LISTEN'))
    conn = next(x for x in c.primary.connections if x.number == number)
    conn.send(msg('A', b'\0\0\0\1ch\0payload\0'))
    check_eq(client.read(timeout=3), ('A', b'\0\0\0\1ch\0payload\0'))
    conn.send(msg('S', b'in_hot_standby\0on\0'))
    check(not client.has_input(0.2), 'in_hot_standby was told')
    check_eq(client.must('SELECT 1').status, 'I')
    client.close()
    c.settles()


@test
def long_rows_from_a_standby(c):
    c.on_any_standby('FROM wide', rows(['a'], ['w' * 5_000_000], ['v']))
    client = c.client()
    for ask in (client.query, client.extended):
        check_eq([len(r[0]) for r in ask('SELECT a FROM wide', timeout=30).rows], [5_000_000, 1])


run(cluster={'standbys': 2, 'batch_max_bytes': '100kB'})
