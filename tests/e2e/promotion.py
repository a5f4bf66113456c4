#!/usr/bin/env python3
"""Promotions under load, on connections that stay: first the primary is killed, then one is deposed while it still takes writes.

Every attempt to write has an id of its own and is made once. With synchronous standbys what was acknowledged must be on the new primary;
nothing may be there twice, and nothing that was reported as lost. The errors a client may see: 40001, 08007, 57P03, and 25P02 inside the
transaction that got a 40001."""
import collections
import datetime
import itertools
import re
import threading
import time

import psycopg

import lib

ALLOWED = {'40001', '08007', '57P03'}
ids = itertools.count(1)


class Client(threading.Thread):
    """One connection for its whole life."""

    def __init__(self, bed, number):
        super().__init__(daemon=True)
        self.number = number
        self.connection = bed.connect()
        self.acked, self.doubtful, self.lost = [], [], []
        self.errors = collections.Counter()
        self.wrong = []         # what must not happen
        self.gap = 0.0          # longest time between two successes
        self.last = time.monotonic()
        self.stopping = False
        self.seen = 0

    def run(self):
        while not self.stopping and not self.wrong:
            try:
                self.step()
            except psycopg.Error as error:
                self.wrong.append(f'{error.sqlstate} {error}')
            except Exception as error:      # pylint: disable=broad-exception-caught
                self.wrong.append(repr(error))
            time.sleep(0.002)

    def succeeded(self):
        now = time.monotonic()
        self.gap = max(self.gap, now - self.last)
        self.last = now
        self.seen += 1

    def failed(self, error):
        self.errors[error.sqlstate] += 1
        if error.sqlstate not in ALLOWED or self.connection.closed:
            self.wrong.append(f'{error.sqlstate} {error}')

    def insert(self, attempt):
        self.connection.execute('INSERT INTO attempts(id, client) VALUES (%s, %s)', (attempt, self.number))


class Writer(Client):
    def step(self):
        attempt = next(ids)
        try:
            self.insert(attempt)
        except psycopg.Error as error:
            (self.doubtful if error.sqlstate == '08007' else self.lost).append(attempt)
            self.failed(error)
            return
        self.acked.append(attempt)
        self.succeeded()


class Transactor(Client):
    pause = 0.005

    def step(self):
        mine = [next(ids), next(ids)]
        committing = False
        try:
            self.connection.execute('BEGIN')
            for attempt in mine:
                self.insert(attempt)
                time.sleep(self.pause)
            committing = True
            self.connection.execute('COMMIT')
        except psycopg.Error as error:
            (self.doubtful if error.sqlstate == '08007' else self.lost).extend(mine)
            self.failed(error)
            if error.sqlstate == '08007' and not committing:
                self.wrong.append('08007 before COMMIT')
            self.roll_back()
            return
        self.acked += mine
        self.succeeded()

    def roll_back(self):
        status = self.connection.info.transaction_status
        if status == psycopg.pq.TransactionStatus.INERROR:
            code = lib.sqlstate_of(self.connection.execute, 'SELECT 1')
            if code != '25P02':
                self.wrong.append(f'{code} instead of 25P02 in a failed transaction')
            self.connection.execute('ROLLBACK')
        elif status != psycopg.pq.TransactionStatus.IDLE:
            self.wrong.append(f'transaction status {status} after an error')


class Reader(Client):
    """Never needs a primary: sees no error at all."""

    def __init__(self, bed, number):
        super().__init__(bed, number)
        self.connection.execute("SET pgshunt.consistency = 'eventual'")
        self.ports = collections.Counter()

    def step(self):
        port, _ = self.connection.execute('SELECT inet_server_port(), count(*) FROM small').fetchone()
        self.ports[port] += 1
        self.succeeded()


class Load:
    def __init__(self, bed):
        self.bed = bed
        kinds = [Writer] * 4 + [Transactor] * 4 + [Reader] * 3
        self.clients = [kind(bed, number) for number, kind in enumerate(kinds, 1)]
        for c in self.clients:
            c.start()

    def of(self, kind):
        return [c for c in self.clients if isinstance(c, kind)]

    def writers(self):
        return self.of(Writer) + self.of(Transactor)

    def stop(self):
        for c in self.clients:
            c.stopping = True
        for c in self.clients:
            c.join(60)

    def check_clients(self, name):
        check = self.bed.check
        check.equal(f'{name}: errors that may not be', [w for c in self.clients for w in c.wrong][:3], [])
        check.equal(f'{name}: connections that were lost', sum(bool(c.connection.closed) for c in self.clients), 0)
        check.equal(f'{name}: errors of readers', sum((c.errors for c in self.of(Reader)), collections.Counter()), {})
        check.equal(f'{name}: clients that did not end', sum(c.is_alive() for c in self.clients), 0)
        total = sum((c.errors for c in self.clients), collections.Counter())
        lib.note(f'{name}: errors {dict(total)}; longest gap of a writer {max(c.gap for c in self.writers()):.2f} s, of a reader '
                 f'{max(c.gap for c in self.of(Reader)):.2f} s; {sum(c.seen for c in self.clients)} steps')

    def check_writers_reach(self, name, node):
        """On the connections they always had."""
        port = self.bed.node_port(node)
        reached = {c for (c,) in self.bed.on(node, 'SELECT DISTINCT client FROM attempts WHERE port = %s', params=(port,))}
        self.bed.check.equal(f'{name}: writers that reached {node}', reached, {c.number for c in self.writers()})


def check_attempts(bed, load, node, name, acked_must_be_there):
    there = collections.Counter(dict(bed.on(node, 'SELECT id, count(*) FROM attempts GROUP BY id')))
    acked = [a for c in load.writers() for a in c.acked]
    lost = [a for c in load.writers() for a in c.lost]
    doubtful = [a for c in load.writers() for a in c.doubtful]
    bed.check.equal(f'{name}: attempts that were run twice', [a for a, n in there.items() if n > 1], [])
    bed.check.equal(f'{name}: attempts reported as not committed, yet there', [a for a in lost if there[a]], [])
    missing = [a for a in acked if not there[a]]
    if acked_must_be_there:
        bed.check.equal(f'{name}: acknowledged, yet missing', missing[:5], [])
    lib.note(f'{name}: {len(acked)} acknowledged ({len(missing)} missing), {len(lost)} not committed, {len(doubtful)} doubtful '
             f'({sum(there[a] for a in doubtful)} of them there)')


def wait_for_writes(bed, load, node, seconds=15):
    """Every writer has written to the node."""
    port = bed.node_port(node)
    wanted = {c.number for c in load.writers()}
    return lib.wait_for(lambda: {c for (c,) in bed.on(node, 'SELECT DISTINCT client FROM attempts WHERE port = %s', params=(port,))} >= wanted,
                        seconds, 0.1)


def wait_for_reads(load, node_port, seconds=10):
    before = {c: c.ports[node_port] for c in load.of(Reader)}
    return lib.wait_for(lambda: all(c.ports[node_port] > before[c] for c in load.of(Reader)), seconds)


def pinned_session(bed):
    connection = bed.connect()
    connection.execute('CREATE TEMP TABLE mine(i int)')
    connection.execute('INSERT INTO mine VALUES (1)')
    return connection


def check_pinned(bed, connection, name):
    """Told once what was lost, then as new."""
    codes = [lib.sqlstate_of(connection.execute, sql) for sql in ('SELECT count(*) FROM small', 'SELECT count(*) FROM small', 'SELECT * FROM mine')]
    bed.check.equal(f'{name}: a session with a temporary table is told once', codes, ['55000', None, '42P01'])
    connection.close()


def join_new_primary(bed, node, primary, received):
    """A standby that had received more than the one promoted can't follow it: its lines part. It is rewound, as an operator would."""
    is_ahead = bed.lab('psql', primary, '-Atc', f"SELECT '{received[node]}'::pg_lsn > '{received[primary]}'::pg_lsn") == 't'
    lib.note(f'{node} had received {"more than" if is_ahead else "no more than"} {primary}: {"rewound" if is_ahead else "re-pointed"}')
    bed.lab('rewind' if is_ahead else 'follow', node, primary)


def killed(bed):
    name = 'killed'
    bed.lab('sync', 'ANY 2 (walreceiver, walreceiver2)')
    load = Load(bed)
    pinned = pinned_session(bed)
    time.sleep(2)
    bed.lab('kill', 'pg1')
    time.sleep(0.3)
    received = {node: bed.lab('psql', node, '-Atc', 'SELECT pg_last_wal_receive_lsn()') for node in ('pg2', 'pg3')}
    bed.lab('promote', 'pg2')
    promoted = time.monotonic()
    bed.check.ok(f'{name}: every writer goes on, on the new primary', wait_for_writes(bed, load, 'pg2'))
    lib.note(f'{name}: all writers on pg2 {time.monotonic() - promoted:.2f} s after it was promoted')
    join_new_primary(bed, 'pg3', 'pg2', received)
    bed.check.ok(f'{name}: the other standby takes reads again', wait_for_reads(load, bed.node_port('pg3')))
    check_pinned(bed, pinned, name)
    time.sleep(1)
    load.stop()
    load.check_clients(name)
    load.check_writers_reach(name, 'pg2')
    check_attempts(bed, load, 'pg2', name, True)
    bed.lab('rewind', 'pg1', 'pg2')
    bed.check.ok(f'{name}: the old primary is back as a standby', lib.wait_for(lambda: bed.takes_reads('pg1'), 15))


def seen_at(bed, node):
    """When the proxy learned of the promotion, by its log."""
    found = re.findall(rf'^(\S+ \S+) UTC .*node {node} is the primary now', bed.log(), re.M)
    return datetime.datetime.fromisoformat(found[-1]).replace(tzinfo=datetime.timezone.utc) if found else None


def long_transaction(bed):
    connection = bed.connect()
    connection.execute('BEGIN')
    connection.execute('INSERT INTO attempts(id, client) VALUES (%s, 99)', (next(ids),))
    return connection


def deposed(bed):
    """pg2 is the primary, and goes on as if nothing had happened when pg3 is promoted."""
    name = 'deposed'
    load = Load(bed)
    pinned, held = pinned_session(bed), long_transaction(bed)
    time.sleep(1.5)
    bed.lab('promote', 'pg3')
    bed.check.ok(f'{name}: every writer goes on, on the new primary', wait_for_writes(bed, load, 'pg3'))
    code = lib.sqlstate_of(held.execute, 'INSERT INTO attempts(id, client) VALUES (0, 99)')
    bed.check.equal(f'{name}: a transaction left open on the old primary is lost', code, '40001')
    held.close()
    check_pinned(bed, pinned, name)
    time.sleep(1.5)
    load.stop()
    load.check_clients(name)
    load.check_writers_reach(name, 'pg3')
    seen = seen_at(bed, 'pg3')
    if bed.check.ok(f'{name}: the log tells of the promotion', seen is not None):
        check_old_primary(bed, name, seen)
    check_attempts(bed, load, 'pg3', name, False)
    for node in ('pg1', 'pg2'):         # pg1 has followed the old primary past the point where the lines part
        bed.lab('rewind', node, 'pg3')
    for node in ('pg1', 'pg2'):
        bed.check.ok(f'{name}: {node} takes reads again', lib.wait_for(lambda n=node: bed.takes_reads(n), 15))


def check_old_primary(bed, name, seen):
    """The clocks are those of one machine. A statement that was under way when the promotion was seen may end: hence the 50 ms."""
    port = bed.node_port('pg2')
    bed.check.ok(f'{name}: the old primary takes writes still', bed.on('pg2', 'SELECT pg_is_in_recovery()') == [(False,)])
    late = bed.on('pg2', 'SELECT count(*), max(at) FROM attempts WHERE port = %s AND at > %s', params=(port, seen + datetime.timedelta(milliseconds=50)))
    bed.check.equal(f'{name}: written to the old primary after the promotion was seen', late[0][0], 0)
    last = bed.on('pg2', 'SELECT max(at) FROM attempts WHERE port = %s', params=(port,))[0][0]
    if last:
        lib.note(f'{name}: last write on the old primary {(seen - last).total_seconds() * 1000:.0f} ms before the promotion was seen')


def main(bed):
    bed.cluster_up()
    bed.proxy_start(default_pool_size=40)
    with bed.connect() as connection:
        connection.execute('CREATE TABLE attempts(id bigint, client int, port int DEFAULT inet_server_port(), at timestamptz DEFAULT clock_timestamp())')
        connection.execute('CREATE TABLE small AS SELECT generate_series(1, 10) AS i')
    bed.lab('wait-catchup')
    killed(bed)
    deposed(bed)


if __name__ == '__main__':
    lib.run(main)
