"""lib - what every tests/e2e/*.py needs: a cluster and a proxy of its own, checks, and an end that leaves nothing running.

    def main(bed): ...
    lib.run(main)

PGSHUNT and LAB come from tests/run; by hand they may be left out. KEEP=1 keeps the working directory.
"""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import traceback

import psycopg

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAB = os.environ.get('LAB', os.path.join(ROOT, 'tests/lab/lab'))
PGSHUNT = os.path.abspath(os.environ.get('PGSHUNT', os.path.join(ROOT, 'build/pgshunt')))
SLOW = 3 if os.environ.get('SANITIZED') else 1
TROUBLE = re.compile(r'ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|FATAL bug: ')


class Checks:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def ok(self, what, condition, seen=''):
        self.passed += bool(condition)
        self.failed += not condition
        print(f'{"ok     " if condition else "FAIL   "} {what}{f": {seen}" if seen != "" and not condition else ""}', flush=True)
        return bool(condition)

    def equal(self, what, got, wanted):
        return self.ok(what, got == wanted, f'got {got!r}, wanted {wanted!r}')

    def skip(self, what):
        self.skipped += 1
        print(f'SKIPPED {what}', flush=True)


def note(text):
    print(f'        {text}', flush=True)


def wait_for(condition, seconds=10.0, step=0.05):
    """-> whether it came true in time; errors of the condition count as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return True
        except (psycopg.Error, OSError, subprocess.SubprocessError):
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(step)


def sqlstate_of(call, *args, **kwargs):
    """The SQLSTATE a call ends with, or None when it succeeds."""
    try:
        call(*args, **kwargs)
    except psycopg.Error as error:
        return error.sqlstate or type(error).__name__
    return None


class Bed:
    def __init__(self):
        base = os.environ.get('TMPDIR') or ('/dev/shm' if os.access('/dev/shm', os.W_OK) else '/tmp')
        self.work = tempfile.mkdtemp(prefix='pgshunt-e2e.', dir=base)
        os.chmod(self.work, 0o711)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith('PG') or k == 'PGSHUNT'}
        self.env.update(LAB_DIR=os.path.join(self.work, 'lab'), LC_ALL='C')
        self.check = Checks()
        self.proxy = None
        self.config = os.path.join(self.work, 'pgshunt.ini')
        self.log_path = os.path.join(self.work, 'pgshunt.log')
        self.port = 0
        self.nodes = []

    # --- cluster

    def lab(self, *args, timeout=120):
        done = subprocess.run([LAB, *map(str, args)], env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, check=False)
        if done.returncode:
            raise RuntimeError(f'lab {" ".join(map(str, args))}: {done.stderr.strip()}')
        return done.stdout.strip()

    def cluster_up(self, *args):
        self.lab('init', *args)
        with open(os.path.join(self.env['LAB_DIR'], 'env'), encoding='utf-8') as f:
            lines = dict(line.rstrip('\n').split('=', 1) for line in f)
        self.nodes = lines['LAB_NODES'].replace('\\', '').replace("'", '').split()
        self.port = int(lines['LAB_PORT_pg1']) + 7      # the lab takes ports in tens

    def node_port(self, node):
        return int(self.lab('port', node))

    def on(self, node, sql, dbname='app', params=None):
        """Rows of a statement run on a node as superuser, past the proxy; [] where there are none."""
        with psycopg.connect(host=self.env['LAB_DIR'], port=self.node_port(node), user='postgres', dbname=dbname, autocommit=True,
                             connect_timeout=5) as connection:
            cursor = connection.execute(sql, params)
            return cursor.fetchall() if cursor.description else []

    def stats(self, regex=''):
        """node -> (reads, writes, other), by the nodes' own statistics."""
        rows = [line.split('\t') for line in self.lab('stats', '-A', regex).splitlines()]
        return {r[0]: tuple(int(x) if x.isdigit() else -1 for x in r[2:5]) for r in rows}

    # --- proxy

    def proxy_config(self, **options):
        text = self.lab('config', f'listen_port={self.port}', f'unix_socket_dir={self.work}', 'workers=2',
                        *[f'{k}={v}' for k, v in options.items()])
        with open(self.config, 'w', encoding='utf-8') as f:
            f.write(text + '\n')

    def proxy_start(self, **options):
        self.proxy_config(**options)
        command = [*os.environ.get('PGSHUNT_WRAPPER', '').split(), PGSHUNT, self.config]
        with open(self.log_path, 'ab') as log:
            self.proxy = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)
        if not wait_for(lambda: self.proxy.poll() is not None or self.all_nodes_answer(), 20) or self.proxy.poll() is not None:
            raise RuntimeError(f'pgshunt does not answer: {self.log()[-2000:]}')

    def takes_reads(self, node):
        hint = f'/* pgshunt: route=node:{node} consistency=eventual */ '
        with self.connect() as connection:
            return connection.execute(hint + 'SELECT inet_server_port()').fetchone() == (self.node_port(node),)

    def all_nodes_answer(self):
        return all(self.takes_reads(n) for n in self.nodes)

    def dsn(self, user='app', dbname='app', **more):
        return psycopg.conninfo.make_conninfo(**{'host': '127.0.0.1', 'port': self.port, 'user': user, 'password': user, 'dbname': dbname,
                                                 'sslmode': 'disable', 'connect_timeout': 10, **more})

    def connect(self, autocommit=True, cursor_factory=None, user='app', dbname='app', **more):
        return psycopg.connect(self.dsn(user, dbname, **more), autocommit=autocommit, prepare_threshold=None,
                               **({'cursor_factory': cursor_factory} if cursor_factory else {}))

    def on_worker(self, worker, connect=None):
        """A connection served by this worker: its number stands in the first byte of the cancel key."""
        spare = []
        while len(spare) < 100:
            connection = (connect or self.connect)()
            if connection.info.backend_pid >> 24 == worker:
                break
            spare.append(connection)
        for other in spare:
            other.close()
        return connection

    def simple(self, **more):
        """A connection that speaks the simple protocol."""
        return self.connect(cursor_factory=psycopg.ClientCursor, **more)

    def console(self, sql):
        """-> list of dicts"""
        with self.simple(user='pgadmin', dbname='pgshunt') as connection:
            cursor = connection.execute(sql)
            if not cursor.description:
                return []
            names = [c.name for c in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    def rss_kb(self):
        with open(f'/proc/{self.proxy.pid}/status', encoding='ascii') as f:
            return int(re.search(r'VmRSS:\s+(\d+)', f.read()).group(1))

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as f:
            return f.read()

    def proxy_is_alive(self):
        return self.proxy is not None and self.proxy.poll() is None

    def proxy_stop(self, quietly=False):
        """Ends it cleanly, so that a sanitizer can report."""
        if self.proxy is None:
            return
        proxy, self.proxy = self.proxy, None
        if proxy.poll() is None:
            proxy.send_signal(signal.SIGINT)
            time.sleep(0.1)
            proxy.send_signal(signal.SIGQUIT)
        try:
            code = proxy.wait(15)
        except subprocess.TimeoutExpired:
            proxy.kill()
            code = f'{proxy.wait()} (killed: did not end)'
        if not quietly:
            self.check.ok('pgshunt ends with 0', code == 0, f'{code}: {self.log()[-3000:] if code else ""}')
        found = TROUBLE.search(self.log())
        if found:
            self.check.ok("pgshunt's log", False, self.log()[found.start():found.start() + 4000])

    def tear_down(self):
        self.proxy_stop()
        subprocess.run([LAB, 'destroy'], env=self.env, check=False)
        if os.environ.get('KEEP'):
            print(f'kept: {self.work}')
        else:
            shutil.rmtree(self.work, ignore_errors=True)


def run_cases(bed, cases):
    """Each by itself: one that raises is one failure, and the next goes on."""
    for case in cases:
        if os.environ.get('CASE', '') not in case.__name__:
            continue
        try:
            case(bed)
        except Exception:       # pylint: disable=broad-exception-caught
            bed.check.ok(f'{case.__name__} ran to its end', False, traceback.format_exc(limit=-6))


def interrupted(signo, _):
    raise KeyboardInterrupt(f'signal {signo}')


def run(main):
    for signo in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, interrupted)
    bed = Bed()
    try:
        main(bed)
    except BaseException:       # pylint: disable=broad-exception-caught
        bed.check.ok('the test ran to its end', False, traceback.format_exc())
    finally:
        for signo in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(signo, signal.SIG_IGN)
        bed.tear_down()
    print(f'{bed.check.passed} passed, {bed.check.failed} failed, {bed.check.skipped} skipped', flush=True)
    os._exit(1 if bed.check.failed else 0)      # threads that still wait are not waited for
