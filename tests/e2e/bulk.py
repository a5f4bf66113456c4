#!/usr/bin/env python3
"""COPY in both directions and both protocols, errors in the middle of it, and results far larger than the proxy: memory stays bounded,
other clients go on."""
import hashlib
import os
import sys
import threading
import time

import psycopg
from psycopg import pq

import lib

sys.path.insert(0, os.path.join(lib.ROOT, 'tests/wire'))
import pgwire       # noqa: E402  pylint: disable=wrong-import-position

ROWS = 100000
BIG_ROWS, BIG_BYTES = 1000, 100000      # 100 MB


def rows():
    for i in range(ROWS):
        yield b'%d\trow number %d\n' % (i, i)


def copy_in(connection, table, blocks):
    """Through psycopg: the simple protocol for COPY itself."""
    with connection.cursor() as cursor:
        with cursor.copy(f'COPY {table} FROM STDIN') as copy:
            for block in blocks:
                copy.write(block)
        return cursor.statusmessage


def extended_copy_in(bed, table, blocks, sync_behind=True):
    """By hand: Parse, Bind, Execute, Sync as drivers send it (the Sync is ignored while copying), then data, CopyDone, Sync."""
    client = pgwire.Client(bed.port, password='app', timeout=60)
    client.send(pgwire.parse_msg('', f'COPY {table} FROM STDIN'), pgwire.bind_msg(), pgwire.describe_msg(), pgwire.execute_msg(),
                pgwire.SYNC if sync_behind else pgwire.FLUSH)
    client.read_until('G')
    for block in blocks:
        client.send(pgwire.msg('d', block))
    client.send(pgwire.msg('c'), pgwire.SYNC)
    result = client.read_until('Z')
    again = client.must('SELECT 1').value
    client.close()
    return result, again


def in_blocks(size):
    block = bytearray()
    for row in rows():
        block += row
        if len(block) > size:
            yield bytes(block)
            block.clear()
    yield bytes(block)


def digest(connection, table):
    return connection.execute(f"SELECT count(*), sum(i), md5(string_agg(v, ',' ORDER BY i)) FROM {table}").fetchone()


def copies_in(bed):
    check = bed.check
    wanted = (ROWS, ROWS * (ROWS - 1) // 2, hashlib.md5(','.join(f'row number {i}' for i in range(ROWS)).encode()).hexdigest())
    with bed.connect() as c:
        began = time.monotonic()
        check.equal('COPY FROM STDIN, simple', copy_in(c, 'a', rows()), f'COPY {ROWS}')
        lib.note(f'{ROWS} rows in {time.monotonic() - began:.2f} s')
        check.equal('its rows', digest(c, 'a'), wanted)
        check.equal('in large blocks', (c.execute('TRUNCATE a') and copy_in(c, 'a', in_blocks(300000)), digest(c, 'a')), (f'COPY {ROWS}', wanted))
        result, again = extended_copy_in(bed, 'b', in_blocks(8000))
        check.equal('COPY FROM STDIN, extended', (result.tags, [str(e) for e in result.errors], again), ([f'COPY {ROWS}'], [], '1'))
        check.equal('its rows', bed.on('pg1', "SELECT count(*), sum(i), md5(string_agg(v, ',' ORDER BY i)) FROM b")[0], wanted)
        result, again = extended_copy_in(bed, 'b', [b'1\tx\n'], sync_behind=False)
        check.equal('COPY FROM STDIN behind a Flush', (result.tags, [str(e) for e in result.errors], again), (['COPY 1'], [], '1'))
        with c.transaction():
            copy_in(c, 'b', [b'2\ty\n'])
            check.equal('COPY in a transaction, then a read of it', c.execute("SELECT count(*) FROM b WHERE v = 'y'").fetchone(), (1,))


def copies_out(bed):
    check = bed.check
    bed.lab('wait-catchup')
    with bed.connect() as c, c.cursor() as cursor:
        for name, sql, node in (('of a table', 'COPY a TO STDOUT', None), ('of a query', 'COPY (SELECT * FROM a ORDER BY i) TO STDOUT', None),
                                ('on the primary', '/* pgshunt: route=primary */ COPY (SELECT * FROM a ORDER BY i) TO STDOUT', 'pg1')):
            with cursor.copy(sql) as copy:
                got = b''.join(copy)
            check.equal(f'COPY TO STDOUT {name}', (got.count(b'\n'), hashlib.md5(got).hexdigest() if 'ORDER' in sql else ''),
                        (ROWS, hashlib.md5(b''.join(rows())).hexdigest() if 'ORDER' in sql else ''))
            ran = c.execute('SHOW pgshunt.last_node').fetchone()[0]
            check.ok(f'{name}: where it ran', ran == node if node else ran in ('pg2', 'pg3'), ran)
    client = pgwire.Client(bed.port, password='app', timeout=30)
    result = client.extended('COPY (SELECT * FROM a) TO STDOUT')
    check.equal('COPY TO STDOUT, extended', (result.types.count('d'), result.tags, result.status), (ROWS, [f'COPY {ROWS}'], 'I'))
    check.equal('the connection goes on', client.must('SELECT 1').value, '1')
    client.close()


def broken_copies(bed):
    check = bed.check
    with bed.connect() as c:
        before = digest(c, 'a')
        code = lib.sqlstate_of(copy_in, c, 'a', (b'%d\tx\n' % i if i != 50000 else b'garbage\n' for i in range(ROWS)))
        check.equal('a bad row in the middle', (code, digest(c, 'a') == before), ('22P02', True))
        code = lib.sqlstate_of(copy_in, c, 'a', [os.urandom(100000) for _ in range(20)])
        check.ok('random bytes as rows', code in ('22P02', '22021', '22P04') and digest(c, 'a') == before, code)
        with c.transaction(force_rollback=True):
            copy_in(c, 'a', [b'1\tx\n'])
        check.equal('a COPY that is rolled back', digest(c, 'a'), before)

        def gives_up():
            with c.cursor() as cursor, cursor.copy('COPY a FROM STDIN') as copy:
                copy.write(b'1\tx\n')
                raise ValueError('enough')
        try:
            gives_up()
            code = None
        except ValueError:
            code = 'given up'
        check.equal('a client that gives up (CopyFail)', (code, digest(c, 'a') == before), ('given up', True))
        check.equal('COPY of a missing table', lib.sqlstate_of(copy_in, c, 'missing', [b'1\n']), '42P01')
        check.equal('COPY in a failed transaction', (c.execute('BEGIN'), lib.sqlstate_of(c.execute, 'SELECT 1/0'), lib.sqlstate_of(copy_in, c, 'a', [b'1\tx\n']),
                                                     c.execute('ROLLBACK'))[1:3], ('22012', '25P02'))
    result, again = extended_copy_in(bed, 'a', [b'garbage\n'] * 1000)
    check.equal('a bad row, extended', ([e.code for e in result.errors], result.status, again), (['22P02'], 'I', '1'))
    client = pgwire.Client(bed.port, password='app')
    client.send(pgwire.query_msg('COPY a FROM STDIN'))
    client.read_until('G')
    client.send(pgwire.query_msg('SELECT 1'))
    check.equal('a query in the middle of COPY ends the connection', client.read_error().code, '08P01')
    client.close()
    check.equal('and changes nothing', bed.on('pg1', 'SELECT count(*) FROM a'), [(ROWS,)])


class Neighbours:
    """Clients that go on with small reads and writes meanwhile."""

    def __init__(self, bed, count=4):
        self.bed, self.times, self.errors, self.stopping = bed, [], [], False
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(count)]
        for t in self.threads:
            t.start()

    def work(self):
        try:
            with self.bed.connect() as c:
                while not self.stopping:
                    began = time.monotonic()
                    c.execute('SELECT count(*) FROM small')
                    c.execute('INSERT INTO log VALUES (1)')
                    self.times.append(time.monotonic() - began)
                    time.sleep(0.01)
        except psycopg.Error as error:
            self.errors.append(str(error))

    def stop(self):
        self.stopping = True
        for t in self.threads:
            t.join(20)
        self.times.sort()
        return self.times


def watch_memory(bed, work):
    """-> most that the process took more than before while work() ran, kB"""
    before, most, done = bed.rss_kb(), [0], threading.Event()

    def watch():
        while not done.is_set():
            most[0] = max(most[0], bed.rss_kb() - before)
            time.sleep(0.01)
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        work()
    finally:
        done.set()
        thread.join()
    return most[0]


def stream_rows(connection, pause_s):
    """Row by row, with pauses: the server must wait for us."""
    pg = connection.pgconn
    pg.send_query(f"SELECT repeat('x', {BIG_BYTES}), i FROM generate_series(1, {BIG_ROWS}) i, (SELECT count(*) FROM small) s".encode())
    pg.set_single_row_mode()
    count = 0
    while True:
        result = pg.get_result()
        if result is None:
            return count
        if result.status == pq.ExecStatus.SINGLE_TUPLE:
            count += 1
            assert len(result.get_value(0, 0)) == BIG_BYTES
            if count % 100 == 0:
                time.sleep(pause_s)
        else:
            assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message


def slow_reader(bed):
    check = bed.check
    neighbours, counts = Neighbours(bed), []

    def work():
        with bed.connect() as c:
            counts.append(stream_rows(c, 0.2))
    grown = watch_memory(bed, work)
    times = neighbours.stop()
    check.equal('100 MB to a slow reader: all rows', counts, [BIG_ROWS])
    check.ok('memory of pgshunt stays bounded (4 MB)', grown < 4096 or lib.SLOW > 1, f'{grown} kB more')
    check.equal('the other clients saw no error', neighbours.errors, [])
    check.ok('and were not held up (p99 below 0.2 s)', times[len(times) * 99 // 100] < 0.2 * lib.SLOW, f'{times[len(times) * 99 // 100]:.3f} s')
    lib.note(f'{grown} kB more; neighbours p99 {times[len(times) * 99 // 100] * 1000:.1f} ms, worst {times[-1] * 1000:.1f} ms')


def reader_that_stops(bed):
    """Never reads its result: only its own server is held."""
    check = bed.check
    client = pgwire.Client(bed.port, password='app')

    def work():
        client.send(pgwire.query_msg(f"SELECT repeat('x', {BIG_BYTES}), i FROM generate_series(1, 100000) i, (SELECT count(*) FROM small) s"))
        neighbours = Neighbours(bed)
        time.sleep(2)
        times = neighbours.stop()
        check.equal('a client that never reads: others see no error', neighbours.errors, [])
        check.ok('nor are they held up', times[len(times) * 99 // 100] < 0.2 * lib.SLOW, f'{times[len(times) * 99 // 100]:.3f} s')
    grown = watch_memory(bed, work)
    check.ok('memory of pgshunt stays bounded (4 MB)', grown < 4096 or lib.SLOW > 1, f'{grown} kB more')
    client.sock.close()
    running = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state = 'active' AND query LIKE '%repeat%' AND pid <> pg_backend_pid()"
    check.ok('when it leaves its query ends', lib.wait_for(lambda: all(bed.on(n, running) == [(0,)] for n in bed.nodes), 10), '')


def large_statements(bed):
    """Longer than any buffer: an INSERT of 20 MB by text and by parameter, while others go on."""
    check = bed.check
    text = 'y' * (20 << 20)
    with bed.connect() as c, bed.simple() as simple:
        c.execute('CREATE TABLE large(v text)')
        for name, connection in (('simple', simple), ('extended', c)):
            def work(connection=connection):
                connection.execute('INSERT INTO large VALUES (%s)', (text,))
            grown = watch_memory(bed, work)
            check.equal(f'{name}: an INSERT of 20 MB', c.execute('SELECT length(v) FROM large').fetchall(), [(len(text),)])
            check.ok(f'{name}: memory of pgshunt stays bounded (6 MB)', grown < 6144 or lib.SLOW > 1, f'{grown} kB more')
            check.equal(f'{name}: and back', len(c.execute('SELECT v FROM large').fetchone()[0]), len(text))
            check.equal(f'{name}: the connection goes on', connection.execute('SELECT 1').fetchone(), (1,))
            c.execute('TRUNCATE large')


def main(bed):
    bed.cluster_up()
    bed.proxy_start(default_pool_size=20)
    with bed.simple() as c:
        c.execute('CREATE TABLE a(i int, v text); CREATE TABLE b(i int, v text); CREATE TABLE log(i int); CREATE TABLE small AS SELECT 1 AS i')
    bed.lab('wait-catchup')
    lib.run_cases(bed, (copies_in, copies_out, broken_copies, slow_reader, reader_that_stops, large_statements))


if __name__ == '__main__':
    lib.run(main)
