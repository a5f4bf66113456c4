#!/usr/bin/env python3
"""Standbys are killed (SIGKILL, the whole node) under load. One-row reads: no client sees an error, 20 kills, 16 clients. A result that
is cut after a row reached the client: 08006, and the connection lives on."""
import re
import subprocess
import time

from psycopg import pq

import lib

CLIENTS = 16


def start_load(bed, mode):
    """pgbench itself says whether any client saw an error."""
    return subprocess.Popen(['pgbench', '-h', '127.0.0.1', '-p', str(bed.port), '-U', 'app', '-S', '-c', str(CLIENTS), '-j', '1', '-n',
                             '-M', mode, '-T', '300', 'app'], env=dict(bed.env, PGPASSWORD='app'),
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def reads_of(bed, node):
    return bed.stats('pgbench_accounts').get(node, (-1,))[0]


def kill_in_turn(bed, load, kills):
    """-> kills after which the node was seen to take reads again"""
    back = 0
    for i in range(kills):
        node = ('pg2', 'pg3')[i % 2]
        bed.lab('kill', node)
        time.sleep(0.3)
        bed.lab('start', node)
        back += lib.wait_for(lambda n=node: reads_of(bed, n) > 0, 5)    # its statistics began anew
        if load.poll() is not None:
            break
    return back


def end_load(load):
    load.terminate()
    out, _ = load.communicate(timeout=20)
    return [line for line in out.splitlines() if re.search('error|abort|closed|failed|FATAL', line) and not re.search(r'failed transactions: 0 ', line)]


def one_row_reads(bed, mode, kills):
    load = start_load(bed, mode)
    time.sleep(0.5)
    back = kill_in_turn(bed, load, kills)
    bed.check.ok(f'{mode}: all {CLIENTS} clients still run after {kills} kills', load.poll() is None)
    errors = end_load(load)
    bed.check.equal(f'{mode}: errors that clients saw', errors, [])
    bed.check.equal(f'{mode}: killed standbys that take reads again', back, kills)


class Stream:
    """A result read row by row; fn(connection) sends the query."""

    def __init__(self, bed, send):
        self.connection = bed.connect()
        self.pg = self.connection.pgconn
        send(self.pg)
        self.pg.set_single_row_mode()

    def next(self):
        """A result, or None at the end; blocks as libpq does."""
        return self.pg.get_result()

    def rows(self, count):
        result = None
        for _ in range(count):
            result = self.next()
            if result.status != pq.ExecStatus.SINGLE_TUPLE:
                return result
        return result


LONG = b'SELECT inet_server_port(), i, repeat(\'x\', 100) FROM generate_series(1, 3000000) i, (SELECT count(*) FROM pgbench_branches) b'


def send_simple(pg):
    pg.send_query(LONG)


def send_extended(pg):
    pg.send_query_params(LONG, [])


def send_many(pg):
    """Rows longer than the buffers: the cut is in the middle of one."""
    pg.send_query(b"SELECT inet_server_port(), i, repeat('x', 3000000) FROM generate_series(1, 100) i, (SELECT count(*) FROM pgbench_branches) b")


def read_on(stream, result):
    """-> rows that came whole, and what came behind the last."""
    rows, length = 0, len(result.get_value(0, 2))
    while result.status == pq.ExecStatus.SINGLE_TUPLE:
        assert len(result.get_value(0, 2)) == length
        result, rows = stream.next(), rows + 1
    return rows, result


def cut_stream(bed, name, send):
    stream = Stream(bed, send)
    first = stream.rows(2)
    node = next((n for n in ('pg2', 'pg3') if str(bed.node_port(n)).encode() == first.get_value(0, 0)), None)
    if not bed.check.ok(f'{name}: a standby streams', node is not None, f'{first.status} {first.error_message}'):
        return
    bed.lab('kill', node)
    rows, result = read_on(stream, first)
    lib.note(f'{name}: cut after {rows} rows')
    if name == 'long rows':     # half a long row has gone out: no error can follow it
        bed.check.equal(f'{name}: the connection ends with the row', stream.pg.status, pq.ConnStatus.BAD)
    else:
        code = result.error_field(pq.DiagnosticField.SQLSTATE)
        bed.check.equal(f'{name}: what the client hears', code, b'08006')
        while result is not None:
            result = stream.next()
        bed.check.equal(f'{name}: the connection lives on', lib.sqlstate_of(stream.connection.execute, 'SELECT count(*) FROM pgbench_branches'), None)
        bed.check.equal(f'{name}: and writes', lib.sqlstate_of(stream.connection.execute, 'INSERT INTO after_cut VALUES (1)'), None)
    stream.connection.close()
    bed.lab('start', node)
    bed.check.ok(f'{name}: {node} takes reads again', lib.wait_for(lambda: bed.takes_reads(node), 10))


def transactions_survive(bed):
    """A transaction is on the primary: the death of a standby is nothing to it."""
    with bed.connect(autocommit=False) as connection:
        connection.execute('INSERT INTO after_cut VALUES (2)')
        bed.lab('kill', 'pg2')
        connection.execute('INSERT INTO after_cut VALUES (3)')
        connection.commit()
        bed.check.equal('a transaction on the primary survives', connection.execute('SELECT count(*) FROM after_cut WHERE i > 1').fetchone(), (2,))
    bed.lab('start', 'pg2')


def no_standby_left(bed):
    bed.lab('kill', 'pg2')
    bed.lab('kill', 'pg3')
    with bed.connect() as connection:
        port = connection.execute('SELECT inet_server_port(), count(*) FROM pgbench_branches').fetchone()[0]
        bed.check.equal('with no standby left the primary reads', port, bed.node_port('pg1'))
    bed.lab('start', 'pg2')
    bed.lab('start', 'pg3')
    bed.check.ok('the standbys take reads again', lib.wait_for(bed.all_nodes_answer, 10))


def main(bed):
    bed.cluster_up()
    bed.proxy_start(consistency='eventual', default_pool_size=40)
    subprocess.run(['pgbench', '-h', '127.0.0.1', '-p', str(bed.port), '-U', 'app', '-i', '-q', 'app'],
                   env=dict(bed.env, PGPASSWORD='app'), capture_output=True, check=True)
    with bed.connect() as connection:
        connection.execute('CREATE TABLE after_cut(i int)')
    bed.lab('wait-catchup')
    for mode, kills in (('simple', 6), ('extended', 6), ('prepared', 8)):
        one_row_reads(bed, mode, kills)
    for name, send in (('simple', send_simple), ('extended', send_extended), ('long rows', send_many)):
        cut_stream(bed, name, send)
    transactions_survive(bed)
    no_standby_left(bed)


if __name__ == '__main__':
    lib.run(main)
