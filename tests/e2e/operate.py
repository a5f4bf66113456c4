#!/usr/bin/env python3
"""Running the process: sockets, reload, drain, what a second one on the same port hears."""
import os
import signal
import subprocess
import sys
import threading
import time

import psycopg

import lib

sys.path.insert(0, os.path.join(lib.ROOT, 'tests/wire'))
import pgwire       # noqa: E402  pylint: disable=wrong-import-position


def unix_socket(bed):
    check = bed.check
    with bed.connect(host=bed.work) as c:
        check.equal('login over the Unix socket', c.execute('SELECT current_user, count(*) FROM small').fetchone(), ('app', 1))
    check.equal('a wrong password over it', lib.sqlstate_of(bed.connect, host=bed.work, password='wrong') is not None, True)


def second_instance(bed):
    done = subprocess.run([lib.PGSHUNT, bed.config], env=bed.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    bed.check.ok('a second instance on the same port is refused', done.returncode == 1 and str(bed.port) in done.stderr, f'{done.returncode}: {done.stderr}')
    with bed.connect() as c:
        bed.check.equal('and the first serves on', c.execute('SELECT 1').fetchone(), (1,))


# --- reload


def edit_config(bed, change):
    with open(bed.config, encoding='utf-8') as f:
        text = f.read()
    with open(bed.config, 'w', encoding='utf-8') as f:
        f.write(change(text))
    return text


def reload(bed, wanted):
    """Sends SIGHUP; -> whether the log says what is wanted afterwards."""
    at = len(bed.log())
    bed.proxy.send_signal(signal.SIGHUP)
    return lib.wait_for(lambda: wanted in bed.log()[at:], 5)


def reload_bad(bed):
    check = bed.check
    with bed.connect() as c:
        for name, change in (('an unknown key', lambda t: t.replace('[nodes]', 'consistensy = eventual\n[nodes]')),
                             ('a bad value', lambda t: t.replace('consistency = read_your_writes', 'consistency = sometimes')),
                             ('a missing auth_file', lambda t: t.replace('userlist.txt', 'nolist.txt'))):
            before = edit_config(bed, change)
            check.ok(f'reload with {name} is refused', reload(bed, 'reload refused'), bed.log()[-500:])
            check.equal('the old configuration serves on', c.execute('SHOW pgshunt.consistency').fetchone(), ('read_your_writes',))
            check.equal('for new clients, too', bed.connect().execute('SHOW pgshunt.consistency').fetchone(), ('read_your_writes',))
            edit_config(bed, lambda _, before=before: before)
        check.ok('the log says where', f'{bed.config}:' in bed.log() and 'consistensy' in bed.log())


def reload_good(bed):
    check = bed.check
    before = edit_config(bed, lambda t: t.replace('consistency = read_your_writes', 'consistency = eventual'))
    check.ok('a good one is taken', reload(bed, 'configuration reloaded'))
    check.ok('and in force for new clients', lib.wait_for(lambda: bed.connect().execute('SHOW pgshunt.consistency').fetchone() == ('eventual',), 3))
    edit_config(bed, lambda t: t.replace(f'listen_port = {bed.port}', f'listen_port = {bed.port + 1}'))
    check.ok('listen_port needs a restart, and the log says so', reload(bed, 'listen_port'), bed.log()[-300:])
    check.ok('it listens where it did', lib.sqlstate_of(lambda: bed.connect().close()) is None)
    edit_config(bed, lambda _: before)
    reload(bed, 'configuration reloaded')


def reload_under_load(bed):
    """A standby goes and comes, with clients at work: none of them notices."""
    check = bed.check
    env = dict(bed.env, PGPASSWORD='app')
    subprocess.run(['pgbench', '-h', '127.0.0.1', '-p', str(bed.port), '-U', 'app', '-i', '-q', 'app'], env=env, capture_output=True, check=True)
    bed.lab('wait-catchup')
    load = subprocess.Popen(['pgbench', '-h', '127.0.0.1', '-p', str(bed.port), '-U', 'app', '-S', '-c', '8', '-n', '-M', 'prepared', '-T', '60', 'app'],
                            env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(0.7)
    before = edit_config(bed, lambda t: '\n'.join(line for line in t.splitlines() if not line.startswith('pg3')) + '\n')
    check.ok('a standby is taken out', reload(bed, 'configuration reloaded'))
    time.sleep(1.2)
    bed.lab('stats-reset')
    time.sleep(0.7)
    stats = bed.stats('pgbench_accounts')
    check.equal('it gets no reads any more', (stats['pg3'][0], stats['pg2'][0] > 0), (0, True))
    gone = lib.wait_for(lambda: bed.on('pg3', "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('app', 'monitor')") == [(0,)], 5)
    check.ok('nor holds it any connection', gone, bed.on('pg3', "SELECT usename, state, query FROM pg_stat_activity WHERE usename IN ('app', 'monitor')"))
    edit_config(bed, lambda _: before)
    check.ok('it is put back', reload(bed, 'configuration reloaded'))
    check.ok('and takes reads again', lib.wait_for(lambda: bed.stats('pgbench_accounts')['pg3'][0] > 0, 5))
    check.ok('no client noticed', load.poll() is None)
    load.terminate()
    out, _ = load.communicate(timeout=10)
    check.equal('errors', [x for x in out.splitlines() if 'rror' in x or 'abort' in x], [])


# --- passwords


def long_password(bed):
    """60 kB, asked for in clear text."""
    check = bed.check
    secret = 'p' * 60000
    bed.on('pg1', f"CREATE ROLE longpw LOGIN PASSWORD '{secret}'")
    bed.lab('wait-catchup')
    bed.proxy_stop()
    bed.proxy_start(auth_type='plain')
    with open(os.path.join(bed.env['LAB_DIR'], 'userlist.txt'), 'a', encoding='utf-8') as f:
        f.write(f'"longpw" "{secret}"\n')
    reload(bed, 'configuration reloaded')
    try:
        client = pgwire.Client(bed.port, user='longpw', password=secret)
        check.equal('a password of 60 kB', client.must('SELECT current_user').value, 'longpw')
        client.close()
    except (pgwire.ServerError, pgwire.Closed) as error:
        check.ok('a password of 60 kB', False, error)
    try:
        pgwire.Client(bed.port, user='longpw', password=secret[:-1] + 'q')
        code = None
    except pgwire.ServerError as error:
        code = error.code
    check.equal('wrong at its end', code, '28P01')
    bed.proxy_stop()
    bed.proxy_start()


# --- drain


class Worker(threading.Thread):
    """Transactions until the proxy says goodbye; counts what was acknowledged."""

    def __init__(self, bed, number):
        super().__init__(daemon=True)
        self.connection, self.number = bed.connect(), number
        self.committed, self.end = 0, None

    def run(self):
        where = 'between'
        try:
            while True:
                where = 'between'
                self.connection.execute('BEGIN')
                where = 'inside'
                self.connection.execute('INSERT INTO drained VALUES (%s)', (self.number,))
                time.sleep(0.005)
                self.connection.execute('INSERT INTO drained VALUES (%s)', (self.number,))
                self.connection.execute('COMMIT')
                self.committed += 1
        except psycopg.Error as error:
            self.end = (where, error.sqlstate)


def drain(bed):
    check = bed.check
    workers = [Worker(bed, i) for i in range(6)]
    idle = bed.connect()
    idle.execute('SELECT 1')
    held = bed.connect()
    held.execute('BEGIN')
    held.execute('INSERT INTO drained VALUES (99)')
    for w in workers:
        w.start()
    time.sleep(0.7)
    proxy = bed.proxy
    proxy.send_signal(signal.SIGTERM)
    for w in workers:
        w.join(10)
    check.equal('drain: every client ends between two transactions, with 57P01', {w.end for w in workers}, {('between', '57P01')})
    check.equal('an idle client is told', lib.sqlstate_of(idle.execute, 'SELECT 1'), '57P01')
    check.ok('new clients are refused', lib.sqlstate_of(bed.connect) is not None)
    check.ok('an open transaction keeps the process', proxy.poll() is None)
    held.execute('INSERT INTO drained VALUES (99)')
    check.equal('and can be committed', lib.sqlstate_of(held.execute, 'COMMIT'), None)
    check.equal('then it too is told', lib.sqlstate_of(held.execute, 'SELECT 1'), '57P01')
    check.equal('and the process ends by itself, with 0', (lib.wait_for(lambda: proxy.poll() is not None, 5), proxy.poll()), (True, 0))
    rows = dict(bed.on('pg1', 'SELECT i, count(*) FROM drained GROUP BY i'))
    check.equal('what was acknowledged is there, and nothing else', rows, {**{w.number: 2 * w.committed for w in workers}, 99: 2})
    bed.proxy_stop(quietly=True)


def end_at_once(bed):
    check = bed.check
    for name, signals in (('a second SIGTERM', (signal.SIGTERM, signal.SIGTERM)), ('SIGQUIT', (signal.SIGQUIT,)), ('SIGINT twice', (signal.SIGINT, signal.SIGINT))):
        bed.proxy_start()
        held = bed.connect()
        held.execute('BEGIN')
        held.execute('INSERT INTO drained VALUES (100)')
        for signo in signals:
            bed.proxy.send_signal(signo)
            time.sleep(0.2)
        check.equal(f'{name} ends it at once', (lib.wait_for(lambda: bed.proxy.poll() is not None, 3), bed.proxy.poll()), (True, 0))
        check.equal('the transaction is rolled back', bed.on('pg1', 'SELECT count(*) FROM drained WHERE i = 100'), [(0,)])
        held.close()
        bed.proxy_stop(quietly=True)


def main(bed):
    bed.cluster_up()
    bed.proxy_start()
    with bed.simple() as c:
        c.execute('CREATE TABLE small AS SELECT 1 AS i; CREATE TABLE drained(i int)')
    bed.lab('wait-catchup')
    lib.run_cases(bed, (unix_socket, second_instance, reload_bad, reload_good, reload_under_load, long_password, drain, end_at_once))


if __name__ == '__main__':
    lib.run(main)
