"""harness - starts pgshunt over fake servers, runs a file's tests, sums up as "N passed, N failed, N skipped".

    @test
    def a_read_goes_to_a_standby(c):            # c: a Cluster, made by run(cluster=...), its servers reset before each test
        check(c.client().query('SELECT 1').value in ('standby1', 'standby2'))

    run(cluster=dict(standbys=2, pool_mode='transaction'))

A test that takes no argument makes what it needs by `with Cluster(...) as c`. Environment: PGSHUNT, PGSHUNT_WRAPPER, SANITIZED.
"""
import inspect
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

from fakeserver import FakeServer, Rule
from pgwire import Client, Closed, ServerError, TimedOut

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get('PGSHUNT') or os.path.join(ROOT, 'build', 'pgshunt')
SLOW = 4 if os.environ.get('SANITIZED') else 1          # how much more time to allow
REPORTS = re.compile(r'(Address|Thread|Leak|Memory)Sanitizer|runtime error:|FATAL bug:')
SETTINGS = {
    'listen_addr': '127.0.0.1', 'unix_socket_dir': '', 'auth_type': 'trust', 'workers': 2, 'pool_mode': 'transaction', 'http_listen': '',
    'monitor_user': 'monitor', 'monitor_dbname': 'postgres', 'monitor_interval': '100ms', 'monitor_timeout': '500ms',
    'admin_users': 'admin', 'stats_users': 'stats', 'server_login_retry': '200ms', 'server_connect_timeout': '2s',
    'consistency': 'eventual', 'primary_wait': '3s', 'query_wait_timeout': '5s', 'consistency_wait': '200ms', 'log_connections': 0, 'log_disconnections': 0,
}
USERS = {'app': 'app', 'admin': 'admin', 'stats': 'stats', 'other': 'other'}


class Skip(Exception):
    pass


def check(condition, what='does not hold'):
    if not condition:
        raise AssertionError(what)


def check_eq(got, want, what=''):
    if got != want:
        raise AssertionError(f'{what}: got {got!r}, want {want!r}' if what else f'got {got!r}, want {want!r}')


def check_error(result, code, severity=None, hint=True):
    """result: a Result or a ServerError of pgshunt itself -> the error"""
    error = result if isinstance(result, ServerError) else result.error
    check(error is not None, f'no error, wanted {code}: {result!r}')
    check_eq(error.code, code, str(error))
    check((error['M'] or '').startswith('pgshunt: '), f'message does not begin with "pgshunt: ": {error}')
    check(not hint or error['H'], f'no HINT: {error}')
    check(severity is None or error['S'] == severity, f'severity is not {severity}: {error}')
    check(error['S'] == error['V'], f'fields S and V differ: {error.fields}')
    return error


def wait_for(condition, seconds=10, what='it to happen'):
    deadline = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f'waited {seconds * SLOW} s for {what}')
        time.sleep(0.02)


def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


class Pgshunt:
    """The program with a configuration of its own in a directory of its own."""

    def __init__(self, nodes, users=None, sections=None, **settings):
        self.dir = tempfile.mkdtemp(prefix='pgshunt-wire-')
        self.port = free_port()
        self.nodes, self.users, self.sections = nodes, users or USERS, sections or {}
        self.settings = {**SETTINGS, 'listen_port': self.port, 'auth_file': os.path.join(self.dir, 'users.txt'), **settings}
        self.config = os.path.join(self.dir, 'pgshunt.ini')
        self.log_path = os.path.join(self.dir, 'log')
        self.process = None
        self.write()

    def write(self):
        lines = ['[pgshunt]'] + [f'{k} = {v}' for k, v in self.settings.items() if v is not None]
        lines += ['[nodes]'] + [f'{n.name} = host=127.0.0.1 port={n.port}' for n in self.nodes]
        for section, entries in self.sections.items():
            lines += [f'[{section}]'] + [f'{k} = {v}' for k, v in entries.items()]
        with open(self.config, 'w', encoding='utf-8') as f:
            f.write('\n'.join(lines) + '\n')
        with open(self.settings['auth_file'], 'w', encoding='utf-8') as f:
            f.writelines('"{}" "{}"\n'.format(u.replace('"', '""'), p.replace('"', '""')) for u, p in self.users.items())

    def start(self):
        wrapper = shlex.split(os.environ.get('PGSHUNT_WRAPPER', ''))
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen([*wrapper, PROGRAM, self.config], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as f:
            return f.read()

    def is_alive(self):
        return self.process.poll() is None

    def must_live(self):
        check(self.is_alive(), f'pgshunt ended with {self.process.returncode}:\n{self.log()[-4000:]}')

    def listens(self):
        self.must_live()
        try:
            socket.create_connection(('127.0.0.1', self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def client(self, **options):
        return Client(self.port, **{'timeout': 10 * SLOW, **options})

    def stop(self, signo=signal.SIGTERM, seconds=10):
        """-> what is wrong: an exit code, a report of a sanitizer, or nothing"""
        wrong = []
        if self.is_alive():
            self.process.send_signal(signo)
            try:
                self.process.wait(seconds * SLOW)
            except subprocess.TimeoutExpired:
                wrong.append(f'still there {seconds * SLOW} s after signal {signo}')
                self.process.kill()
                self.process.wait()
        if not wrong and self.process.returncode != 0:
            wrong.append(f'exit code {self.process.returncode}')
        if REPORTS.search(self.log()):
            wrong.append('its log has a report')
        if wrong:
            wrong.append(self.log()[-8000:])
        return '\n'.join(wrong)

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Cluster:
    """A fake primary, fake standbys, and pgshunt in front of them; ready when every node has answered through it."""

    def __init__(self, standbys=2, wait=True, users=None, sections=None, **settings):
        self.primary = FakeServer('primary', 'primary')
        self.standbys = [FakeServer(f'standby{i + 1}', 'standby') for i in range(standbys)]
        self.nodes = [self.primary, *self.standbys]
        self.pgshunt = Pgshunt(self.nodes, users, sections, **settings)
        self.clients, self.wait = [], wait

    def __enter__(self):
        self.pgshunt.start()
        try:
            wait_for(self.pgshunt.listens, 10, 'pgshunt to listen')
            if self.wait:
                self.wait_ready()
        except BaseException:
            print(self.pgshunt.log()[-4000:])
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, *_):
        self.reset()
        wrong = self.pgshunt.stop()
        for node in self.nodes:
            node.stop()
        self.pgshunt.remove()
        if kind is None and wrong:
            raise AssertionError(f'pgshunt ended badly: {wrong}')

    def wait_ready(self):
        readers = {s.name for s in self.standbys} or {'primary'}
        seen = set()

        def everybody_answers():
            self.pgshunt.must_live()
            try:
                with self.client() as client:
                    seen.update(client.query('SELECT 1').value for _ in range(2 * len(readers)))
                    seen.update([client.query('SELECT 1 FOR UPDATE').value])
            except (ServerError, Closed, TimedOut, OSError):
                return False
            return readers | {'primary'} <= seen
        wait_for(everybody_answers, 10, f'all of {sorted(readers)} and primary to answer; seen: {seen}')

    def reset(self):
        """Back to what it was, between two tests."""
        for client in self.clients:
            client.close()
        self.clients = []
        for node in self.nodes:
            node.reset()
            node.on_login = node.monitor_hook = None

    def client(self, **options):
        defaults = {'password': self.pgshunt.users.get(options.get('user', 'app'))}
        client = self.pgshunt.client(**{**defaults, **options})
        self.clients.append(client)
        return client

    def on_any_standby(self, pattern, action, times=None):
        """One rule for all standbys: times counts over all of them."""
        rule = Rule(pattern, action, times)
        for node in self.standbys:
            node.add(rule)
        return rule

    def count(self, pattern):
        return {node.name: node.count(pattern) for node in self.nodes if node.count(pattern)}

    def show(self, what):
        """A view of the console as dictionaries."""
        with self.client(user='admin', database='pgshunt') as console:
            result = console.must(f'SHOW {what}')
        return [dict(zip(result.columns, row)) for row in result.rows]

    def states(self):
        """States of the clients, without the console's own."""
        return sorted(r['state'] for r in self.show('CLIENTS') if r['database'] != 'pgshunt')

    def lent(self):
        return [r for r in self.show('SERVERS') if r['state'] == 'active']

    def settles(self, clients=0):
        """Whoever has left is gone, no server is lent (but to those who stay), none lies in the pool with state or another's answer."""
        wait_for(lambda: len(self.states()) <= clients, 5, f'the clients to be gone: {self.states()}')
        wait_for(lambda: len(self.lent()) <= clients, 5, f'the servers to come back: {self.lent()}')
        for i in range(4):
            with self.client() as client:
                check_eq(client.must(f"SELECT 'echo:e{i}' FROM t").value, f'e{i}')
                check_eq(client.must(f"SELECT 'echo:w{i}' FROM t FOR UPDATE").value, f'w{i}')
                check_eq(client.extended(f"SELECT 'echo:x{i}' FROM t").value, f'x{i}')
        if not clients:
            wait_for(lambda: not self.left_behind(), 3, f'transactions and state to be gone: {self.left_behind()}')

    def left_behind(self):
        return [(node.name, conn.number, conn.status, sorted(conn.state)) for node in self.nodes for conn in list(node.connections)
                if conn.status != 'I' or conn.state]

    def still_works(self):
        """The process lives and serves somebody else."""
        self.pgshunt.must_live()
        with self.client() as client:
            check_eq(client.must('SELECT 1').status, 'I')


TESTS = []


def test(fn):
    TESTS.append(fn)
    return fn


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def one(self, name, fn, *args):
        try:
            fn(*args)
            self.passed += 1
        except Skip as why:
            print(f'skipped {name}: {why}')
            self.skipped += 1
        except Exception as error:      # noqa: a test may fail in any way
            frame = traceback.extract_tb(error.__traceback__)
            where = next((f for f in reversed(frame) if f.filename == sys.argv[0] or f.filename.endswith(sys.argv[0])), frame[-1])
            print(f'FAIL {name} ({os.path.basename(where.filename)}:{where.lineno}): {type(error).__name__}: {error}')
            if os.environ.get('TRACE'):
                traceback.print_exc()
            self.failed += 1
        sys.stdout.flush()


def run_shared(tally, tests, options):
    """All tests that take a cluster share one; a new one is made when a test has killed it."""
    cluster = None
    for name, fn in tests:
        if cluster is None:
            cluster = Cluster(**options)
            cluster.__enter__()
        tally.one(name, fn, cluster)
        cluster.reset()
        if not cluster.pgshunt.is_alive():
            tally.one(f'{name}: pgshunt lives', cluster.pgshunt.must_live)
            tally.one(f'{name}: pgshunt ended', cluster.__exit__, None)
            cluster = None
    if cluster:
        tally.one('pgshunt ends well', cluster.__exit__, None)


def run(cluster=None):
    """Runs the file's tests, or those named as arguments."""
    if not os.access(PROGRAM, os.X_OK):
        print(f'FAIL {PROGRAM} is not there\n0 passed, 1 failed')
        sys.exit(1)
    tally = Tally()
    wanted = [(fn.__name__, fn) for fn in TESTS if not sys.argv[1:] or fn.__name__ in sys.argv[1:]]
    shared = [(n, fn) for n, fn in wanted if inspect.signature(fn).parameters]
    if shared:
        try:
            run_shared(tally, shared, cluster or {})
        except Exception as error:      # noqa: no cluster, no tests
            print(f'FAIL no cluster: {type(error).__name__}: {error}')
            tally.failed += 1
    for name, fn in wanted:
        if not inspect.signature(fn).parameters:
            tally.one(name, fn)
    print(f'{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped')
    sys.exit(1 if tally.failed else 0)
