#!/usr/bin/env python3
"""Hostile bytes and hostile SQL against the real program with real nodes. One battery, run ten times: at most the connection that sent
it ends, with a listed code; a neighbour's statements go on; no server stays taken; memory stays where it was after the second run."""
import os
import random
import resource
import socket
import struct
import sys
import threading
import time

import psycopg

import lib

sys.path.insert(0, os.path.join(lib.ROOT, 'tests/wire'))
import pgwire       # noqa: E402  pylint: disable=wrong-import-position
from pgwire import Client, Closed, ServerError, TimedOut, cstr, i32, msg, packet, startup_packet  # noqa: E402  pylint: disable=wrong-import-position

RUNS = 10
APP = {'user': 'app', 'database': 'app'}
# protocol violation, bad login, unknown database, feature, too many, bad value or unknown name in a startup parameter
STARTUP_CODES = {'08P01', '28P01', '28000', '3D000', '0A000', '53300', '22023', '42704', '42601', '22021'}
LENGTHS = (0, 3, 0x7fffffff, 0xffffffff)
LOGIN_TIMEOUT_S = 4


class Neighbour(threading.Thread):
    """A client that goes on with its work; what it waited at most."""

    def __init__(self, bed):
        super().__init__(daemon=True)
        self.client = Client(bed.port, password='app')
        self.times, self.error, self.stopping = [], None, False

    def run(self):
        try:
            while not self.stopping:
                began = time.monotonic()
                self.client.must('SELECT count(*) FROM small')
                self.times.append(time.monotonic() - began)
                time.sleep(0.005)
        except (OSError, AssertionError, Closed, TimedOut, ServerError) as error:
            self.error = error

    def stop(self):
        self.stopping = True
        self.join(30)
        self.client.close()
        return sorted(self.times)


class Battery:
    def __init__(self, bed, random_):
        self.bed, self.random = bed, random_
        self.codes = {}         # SQLSTATE of what ended a connection before it was logged in
        self.wrong = []         # what must not be

    def expect(self, what, condition):
        if not condition:
            self.wrong.append(what)

    # --- before the login

    def exchange(self, *parts):
        """Sends bytes, ends our side, returns all that comes back up to the end; a connection that isn't closed is wrong."""
        with socket.create_connection(('127.0.0.1', self.bed.port), timeout=5) as sock:
            came = b''
            try:
                for part in parts:
                    sock.sendall(part)
                sock.shutdown(socket.SHUT_WR)
                while True:
                    got = sock.recv(65536)
                    if not got:
                        return came
                    came += got
            except socket.timeout:
                self.wrong.append(f'not closed after {parts!r}')
            except OSError:
                pass
            return came

    def judge(self, came, parts):
        """The answers to bytes before the login: N, requests for a password, one FATAL error."""
        at = 0
        while at < len(came):
            if came[at:at + 1] == b'N' and at < 2:
                at += 1
                continue
            kind, length = came[at:at + 1], struct.unpack('!I', came[at + 1:at + 5].ljust(4, b'\0'))[0]
            body = came[at + 5:at + 1 + length]
            at += 1 + max(length, 4)
            if kind == b'E':
                fields = pgwire.read_fields(body)
                self.codes[fields['C']] = self.codes.get(fields['C'], 0) + 1
                self.expect(f'{fields} for {parts!r}', fields['C'] in STARTUP_CODES and fields['S'] == 'FATAL' and at == len(came))
            else:
                self.expect(f'unexpected {kind} in {came!r} for {parts!r}', kind in (b'R', b'v', b'S'))

    def send(self, *parts):
        self.judge(self.exchange(*parts), parts)

    def mutate(self, data):
        data = bytearray(data)
        for _ in range(self.random.randint(1, 6)):
            action = self.random.randrange(4)
            at = self.random.randrange(len(data) or 1)
            if action == 0 and data:
                data[at] = self.random.randrange(256)
            elif action == 1:
                data[at:at] = self.random.randbytes(self.random.randint(1, 8))
            elif action == 2:
                del data[at:at + self.random.randint(1, 8)]
            elif data:
                data[at] ^= 1 << self.random.randrange(8)
        return bytes(data)

    def random_startups(self, count):
        valid = startup_packet({**APP, 'application_name': 'x', 'options': '-c search_path=a,b -c pgshunt.route=auto'})
        ssl, gss = packet(i32(pgwire.SSL_REQUEST)), packet(i32(pgwire.GSSENC_REQUEST))
        makers = (
            lambda: (self.random.randbytes(self.random.randint(1, 300)),),
            lambda: (self.mutate(valid),),
            lambda: (packet(self.mutate(valid[4:])),),
            lambda: (ssl, self.random.randbytes(50)),
            lambda: (ssl, self.mutate(valid)),
            lambda: (self.mutate(ssl),),
            lambda: (self.mutate(gss), valid),
            lambda: (packet(i32(pgwire.CANCEL_REQUEST) + self.random.randbytes(self.random.randint(0, 40))),),
            lambda: (packet(i32(self.random.randrange(1 << 32)) + valid[8:]),),
        )
        for i in range(count):
            self.send(*makers[i % len(makers)]())

    def after_startup(self, data):
        """Startup as it should be, then these bytes where a password is due."""
        client = Client(self.bed.port, login=False, timeout=5)
        try:
            client.send(startup_packet(APP))
            client.read_until('R')
            client.send(data)
            client.sock.shutdown(socket.SHUT_WR)
            self.judge(client.expect_closed(), (data,))
        except (Closed, OSError):
            pass
        except TimedOut:
            self.wrong.append(f'not closed after the password {data!r}')
        finally:
            client.close(terminate=False)

    def random_passwords(self, count):
        first = msg('p', pgwire.Scram('app').first())
        for i in range(count):
            self.after_startup((self.mutate(first), msg('p', self.random.randbytes(self.random.randint(0, 200))),
                                msg('p', cstr('SCRAM-SHA-256') + i32(0xffffffff)), msg('p', cstr('SCRAM-SHA-256-PLUS') + first[19:]),
                                self.random.randbytes(40))[i % 5])

    def random_sasl_finals(self, count):
        for i in range(count):
            client = Client(self.bed.port, login=False, timeout=5)
            scram = pgwire.Scram('app')
            try:
                client.send(startup_packet(APP))
                client.read()
                client.send(msg('p', scram.first()))
                _, body = client.read()
                final = scram.final(body[4:])
                client.send(msg('p', (self.mutate(final), final[:-8], final + b',x=1', b'')[i % 4]))
                client.sock.shutdown(socket.SHUT_WR)
                came = client.expect_closed()
                self.judge(came, ('final',))
                self.expect(f'logged in with a wrong proof: {came!r}', b'R\0\0\0\x08\0\0\0\0' not in came)
            except (Closed, OSError):
                pass
            except TimedOut:
                self.wrong.append('not closed after a mutated SASL final')
            finally:
                client.close(terminate=False)

    def odd_startups(self):
        long_name = 'd' * 200
        for data in (
            packet(i32(pgwire.PROTOCOL_3_0) + cstr('user') + b'app'),
            startup_packet([('user', 'app'), ('user', 'postgres'), ('database', 'app')]),
            startup_packet({'user': '', 'database': 'app'}),
            startup_packet({'database': 'app'}),
            startup_packet({'user': 'app', 'database': long_name}),
            startup_packet({'user': long_name * 20, 'database': 'app'}),
            startup_packet({**APP, 'application_name': 'x' * 11000}),
            packet(i32(2 << 16) + b'app'.ljust(64, b'\0') + b'app'.ljust(32, b'\0') + bytes(192)),
            packet(i32(pgwire.SSL_REQUEST)) * 2,
            packet(i32(pgwire.GSSENC_REQUEST)) * 2,
        ):
            self.send(data)
        for length in LENGTHS:
            self.send(i32(length) + i32(pgwire.PROTOCOL_3_0) + b'user\0app\0\0')
            self.after_startup(b'p' + i32(length) + b'xxxx')

    def slow_startups(self):
        client = Client(self.bed.port, login=False)
        client.password = 'app'
        client.send(packet(i32(pgwire.GSSENC_REQUEST)))
        self.expect('N for GSSENCRequest', client.read_bytes(1) == b'N')
        client.send_bytewise(startup_packet({**APP, 'application_name': 'x' * 9000}))
        send = client.send
        client.send = lambda *parts: [send(p[i:i + 1]) for p in parts for i in range(len(p))]
        client.authenticate()
        self.expect('a login byte by byte, of 9 KB', client.must('SELECT 1').value == '1')
        client.close()

    # --- after it

    def lengths_of_messages(self):
        for kind in 'QPBDECSHFXdcfp?':
            for length in LENGTHS:
                client = Client(self.bed.port, password='app')
                client.send(kind.encode() + i32(length) + b'xxxx')
                try:
                    error = client.read_error()
                    self.expect(f'{kind} of length {length}: {error}', error.code == '08P01' and error['S'] == 'FATAL')
                    client.expect_closed()
                except (Closed, TimedOut) as gone:
                    self.wrong.append(f'{kind} of length {length}: {gone!r}')
                client.close()

    def random_messages(self, count):
        """Well framed nonsense, in a session: errors of either kind, never anybody else's answer."""
        for _ in range(count):
            client = Client(self.bed.port, password='app', timeout=5)
            try:
                for _ in range(self.random.randint(1, 8)):
                    client.send(msg(self.random.choice('PBDECSHdcf'), self.random.choice((b'', b'\0', b'S\0', b'P\0', b's1\0SELECT 1\0\0\0',
                                    self.random.randbytes(self.random.randint(0, 60))))))
                client.send(pgwire.SYNC)
                client.sock.shutdown(socket.SHUT_WR)
                client.expect_closed()
            except (Closed, OSError):
                pass
            except TimedOut:
                self.wrong.append('not closed after random messages')
            finally:
                client.close(terminate=False)

    def leave_in_the_middle(self, count):
        """Clients that go away with a statement under way: the server is clean for the next one."""
        for i in range(count):
            client = Client(self.bed.port, password='app')
            client.send((pgwire.query_msg('SELECT count(*) FROM generate_series(1, 200000)'), pgwire.query_msg('BEGIN; INSERT INTO scratch VALUES (1)'),
                         pgwire.query_msg('COPY scratch FROM STDIN') + msg('d', b'1\n'), pgwire.parse_msg('', 'SELECT 1') + pgwire.FLUSH,
                         msg('Q', b'SELECT')[:-3])[i % 5])
            if i % 2:
                time.sleep(0.002)
            client.close(terminate=False)

    def run(self):
        self.random_startups(1080)
        self.random_passwords(300)
        self.random_sasl_finals(60)
        self.odd_startups()
        self.slow_startups()
        self.lengths_of_messages()
        self.random_messages(200)
        self.leave_in_the_middle(40)


BOMBS = {
    '1 MB of 1+1+': 'SELECT ' + '1+' * 500000 + '1',
    '60 kB of 1+1+': 'SELECT ' + '1+' * 30000 + '1',
    '1 MB of (': 'SELECT ' + '(' * 1000000,
    '30 kB of (': 'SELECT ' + '(' * 30000 + '1' + ')' * 30000,
    '60 kB of NOT': 'SELECT ' + 'NOT ' * 15000 + 'true',
    '20,000 UNION ALL': 'SELECT 1' + ' UNION ALL SELECT 1' * 20000,
    '500 UNION ALL': 'SELECT 1' + ' UNION ALL SELECT 1' * 500,
    '20,000 statements': 'SELECT 1;' * 20000,
    'nested comments': 'SELECT 1 ' + '/*' * 2000 + '*/' * 2000,
    'an open quote': "SELECT '" + 'x' * 100000,
    'an open dollar quote': 'SELECT $a$' + 'x' * 100000,
    'sub-selects': 'SELECT ' + '(SELECT ' * 300 + '1' + ')' * 300,
    'case': 'SELECT ' + 'CASE WHEN true THEN ' * 3000 + '1' + ' END' * 3000,
    'array': 'SELECT ' + 'ARRAY[' * 5000 + '1' + ']' * 5000,
    'bytes above 127': 'SELECT ' + '\u00e4' * 20000,
    '65,535 parameters': 'SELECT ' + ','.join(f'${i}' for i in range(1, 65536)),
}


def outcome(connection, sql, simple):
    """What PostgreSQL says: SQLSTATE or the number of results."""
    try:
        cursor = connection.execute(sql.encode()) if simple else connection.execute(sql.encode(), (), prepare=False, binary=True)
        return f'{cursor.statusmessage}'
    except psycopg.Error as error:
        return error.sqlstate or f'{type(error).__name__}: {error}'


def one_per_worker(connect):
    """Which thread serves a connection stands in the first byte of its cancel key."""
    found = {}
    for _ in range(60):
        connection = connect()
        if found.setdefault(connection.info.backend_pid >> 24, connection) is not connection:
            connection.close()
        if len(found) == 2:
            break
    return list(found.values())


def bomb(bed, answers, simple):
    """The answer is the one of a node asked directly; the connection lives."""
    wrong = []
    for connection in one_per_worker(bed.simple if simple else bed.connect):
        for name, sql in BOMBS.items():
            got = outcome(connection, sql, simple)
            if got != answers[name]:
                wrong.append(f'{name}: {got}, directly {answers[name]}')
            if connection.execute('SELECT 1').fetchone() != (1,):
                wrong.append(f'{name}: the connection is out of step')
        connection.close()
    return wrong


def direct_answers(bed, simple):
    factory = {'cursor_factory': psycopg.ClientCursor} if simple else {}
    with psycopg.connect(host='127.0.0.1', port=bed.node_port('pg1'), user='app', password='app', dbname='app', autocommit=True,
                         prepare_threshold=None, **factory) as connection:
        return {name: outcome(connection, sql, simple) for name, sql in BOMBS.items()}


def check_pools(bed, when):
    """All servers given back: asked for until it is so, since the last clients have just left."""
    def busy():
        return [{k: row[k] for k in ('database', 'user', 'cl_active', 'cl_waiting', 'sv_active')} for row in bed.console('SHOW POOLS')
                if row['database'] not in ('pgshunt', 'pgbouncer') and (row['cl_active'] or row['cl_waiting'] or row['sv_active'])]
    lib.wait_for(lambda: not busy(), 5)
    bed.check.equal(f'{when}: SHOW POOLS has nobody active or waiting', busy(), [])


def batteries(bed):
    check = bed.check
    answers = {simple: direct_answers(bed, simple) for simple in (True, False)}
    lib.note(f'bombs, asked directly: { {k: v for k, v in answers[True].items()} }')
    neighbour = Neighbour(bed)
    neighbour.start()
    rss, codes, began = [], {}, time.monotonic()
    for number in range(1, RUNS + 1):
        battery = Battery(bed, random.Random(number))
        battery.run()
        check.equal(f'run {number}: answers to hostile bytes', battery.wrong[:3], [])
        check.equal(f'run {number}: answers to hostile SQL', [w for simple in (True, False) for w in bomb(bed, answers[simple], simple)], [])
        for code, count in battery.codes.items():
            codes[code] = codes.get(code, 0) + count
        if not check.ok(f'run {number}: the process lives', bed.proxy_is_alive()):
            return
        time.sleep(0.3)
        rss.append(bed.rss_kb())
    times = neighbour.stop()
    check.equal('the neighbour saw no error', neighbour.error, None)
    lib.note(f'neighbour: {len(times)} statements, median {times[len(times) // 2] * 1000:.1f} ms, p99 {times[len(times) * 99 // 100] * 1000:.1f} ms, '
             f'worst {times[-1] * 1000:.0f} ms; {RUNS} runs in {time.monotonic() - began:.0f} s')
    check.ok('the neighbour was not held up (p99 below 100 ms)', times[len(times) * 99 // 100] < 0.1 * lib.SLOW, f'{times[len(times) * 99 // 100]:.3f} s')
    lib.note(f'errors before the login: {codes}; RSS after each run, kB: {rss}')
    if lib.SLOW == 1:
        check.ok('RSS after run 10 is at most 1 MB above that after run 2', rss[-1] <= rss[1] + 1024, f'{rss[1]} -> {rss[-1]} kB')
    check_pools(bed, 'after all runs')


def silent_connections(bed):
    """More than are allowed in, none of which says a word."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    count = min(10000, limit // 2 - 100)
    known = Client(bed.port, password='app')
    silent = []
    try:
        for _ in range(count):
            silent.append(socket.create_connection(('127.0.0.1', bed.port), timeout=5))
        began = time.monotonic()
        bed.check.equal(f'{count} silent connections: a client goes on', known.must('SELECT 1').value, '1')
        bed.check.equal('the console answers', len(bed.console('SHOW VERSION')), 1)
        lib.note(f'both took {time.monotonic() - began:.3f} s with {count} silent connections')
        time.sleep(LOGIN_TIMEOUT_S * 1.3 + 2)
        left = 0
        for sock in silent:
            sock.settimeout(0.5 if not left else 0.001)
            try:
                while sock.recv(4096):
                    pass
            except socket.timeout:
                left += 1
            except OSError:
                pass
        bed.check.equal('silent connections still open after client_login_timeout', left, 0)
    finally:
        for sock in silent:
            sock.close()
    bed.check.equal('and the client still goes on', known.must('SELECT 1').value, '1')
    known.close()
    bed.check.equal('a new client gets in', lib.wait_for(lambda: bed.connect().execute('SELECT 1').fetchone() == (1,), 5), True)
    check_pools(bed, 'after the silent ones')


def main(bed):
    bed.cluster_up()
    bed.proxy_start(client_login_timeout=LOGIN_TIMEOUT_S, max_client_conn=200, log_connections=0, log_disconnections=0, log_pooler_errors=0)
    with bed.connect() as connection:
        connection.execute('CREATE TABLE small AS SELECT generate_series(1, 10) AS i')
        connection.execute('CREATE TABLE scratch(i int)')
    bed.lab('wait-catchup')
    batteries(bed)
    silent_connections(bed)


if __name__ == '__main__':
    lib.run(main)
