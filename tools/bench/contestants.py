"""contestants - direct, pgshunt, pgbouncer, pgpool: how each is configured, started, reached; all before the same three nodes.

Alike for all: SCRAM on both sides, no TLS, one pool of 20 connections a node, no log line a connection. pgshunt and pgbouncer are
given the verifier that the servers have: with the password in clear text pgbouncer would derive the keys anew at each login, 2 ms
that would count as the transactions'. pgpool needs the password.
"""
import hashlib
import os
import signal
import subprocess
import time

from lab import PASSWORD
from procs import children_of, find_program, free_port

POOL_SIZE = 20


def answers(port, env, program, dbname='app'):
    return subprocess.run([program, '-XAtq', '-c', 'SELECT 1', f'host=127.0.0.1 port={port} user=app dbname={dbname} connect_timeout=5'],
                          env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


class Contestant:
    name = ''
    note = ''
    is_proxy = True
    can_hold = None              # clients at most, where each needs a process that is started before

    def __init__(self, machine, lab, program):
        self.machine, self.lab, self.program = machine, lab, program
        self.port = free_port()
        self.process = None
        self.env = dict(os.environ, PGPASSWORD=PASSWORD)

    def version(self):
        said = subprocess.run([self.program, '--version'], capture_output=True, text=True, check=False)
        return (said.stdout + said.stderr).strip().split('\n')[0]

    def dbname(self, mode):
        """The database to name for a protocol mode."""
        return 'app'

    def command(self):
        raise NotImplementedError

    def start(self, prefix=(), patience=20):
        log = f'{self.name}.log'
        self.process = self.machine.start([*prefix, *self.command()], log)
        until = time.monotonic() + patience
        while not answers(self.port, self.env, f'{self.lab.bin}/psql'):
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f'bench: {self.name} does not answer:\n{self.machine.log_end(log)}')
            time.sleep(0.1)

    def stop(self):
        if self.process:
            self.machine.end(self.process, signal.SIGTERM)
        self.process = None

    def pids(self):
        return children_of(self.process.pid) if self.process else []


class Direct(Contestant):
    name = 'direct'
    note = 'pgbench at the primary, no proxy'
    is_proxy = False

    def __init__(self, machine, lab):
        super().__init__(machine, lab, f'{lab.bin}/postgres')
        self.port = lab.ports['pg1']

    def start(self, prefix=(), patience=20):
        pass


class Pgshunt(Contestant):
    name = 'pgshunt'
    note = 'workers=1, transaction pooling, consistency=read_your_writes, three nodes: reads over the two standbys'

    def __init__(self, machine, lab, program, workers=1, secret=None, more=()):
        super().__init__(machine, lab, program)
        self.workers, self.secret, self.more = workers, secret, more
        if workers > 1:
            self.name = f'pgshunt, {workers} workers'

    def command(self):
        text = self.lab.config(f'listen_port={self.port}', f'workers={self.workers}', f'default_pool_size={POOL_SIZE}', 'max_client_conn=20000',
                               'unix_socket_dir=', 'log_connections=0', 'log_disconnections=0', *self.more)
        # The lab's list of users belongs to whoever runs this; the proxies run as somebody else if that is root.
        users = f'{self.lab.dir}/userlist.txt'
        with open(users, encoding='utf-8') as listed:
            passwords = listed.read() if not self.secret else f'"app" "{self.secret}"\n'
        text = text.replace(users, self.machine.write(f'pgshunt.users.{self.port}', passwords))
        return [self.program, self.machine.write(f'pgshunt.{self.port}.ini', text)]


class AtPrimary(Pgshunt):
    """What the proxy itself costs: two standbys on this machine have colder caches than one primary, which counts against splitting."""
    name = 'pgshunt, reads at the primary'
    note = 'the same with read_from=primary: as many nodes as pgbouncer has, so that what differs is the proxy'

    def __init__(self, machine, lab, program, secret=None):
        super().__init__(machine, lab, program, secret=secret, more=('read_from=primary',))


class Pgbouncer(Contestant):
    name = 'pgbouncer'
    note = 'before the primary; transaction pooling, but session pooling for the prepared mode (1.18 has no prepared statements else)'

    def __init__(self, machine, lab, program, secret=None):
        super().__init__(machine, lab, program)
        self.secret = secret

    def dbname(self, mode):
        return 'app_session' if mode == 'prepared' else 'app'

    def command(self):
        node = f'host=127.0.0.1 port={self.lab.ports["pg1"]} dbname=app'
        users = self.machine.write(f'pgbouncer.users.{self.port}', f'"app" "{self.secret or PASSWORD}"\n')
        return [self.program, self.machine.write(f'pgbouncer.{self.port}.ini', f'''[databases]
app = {node} pool_mode=transaction
app_session = {node} pool_mode=session
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
default_pool_size = {POOL_SIZE}
max_client_conn = 20000
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
''')]


class Pgpool(Contestant):
    name = 'pgpool'
    note = 'load balancing over the three nodes, a node a session (its default), a process a client'
    can_hold = 32

    def command(self):
        write, ports = self.machine.write, self.lab.ports
        nodes = ''.join(f"backend_hostname{i} = '127.0.0.1'\nbackend_port{i} = {ports[f'pg{i + 1}']}\nbackend_weight{i} = 1\n"
                        f"backend_flag{i} = 'DISALLOW_TO_FAILOVER'\n" for i in range(3))
        write('pool_passwd', f'app:TEXT{PASSWORD}\nmonitor:TEXTmonitor\n')
        hba = write('pool_hba.conf', 'host all all 127.0.0.1/32 scram-sha-256\n')
        pcp = write('pcp.conf', f'nobody:{hashlib.md5(b"nobody").hexdigest()}\n')
        return [self.program, '-n', '-D', '-a', hba, '-F', pcp, '-f', write('pgpool.conf', f'''
backend_clustering_mode = 'streaming_replication'
listen_addresses = '127.0.0.1'
port = {self.port}
pcp_port = {free_port()}
socket_dir = '{self.machine.dir}'
pcp_socket_dir = '{self.machine.dir}'
wd_ipc_socket_dir = '{self.machine.dir}'
pid_file_name = '{self.machine.dir}/pgpool.pid'
logdir = '{self.machine.dir}'
{nodes}
num_init_children = {self.can_hold}
max_pool = 1
child_life_time = 0
reserved_connections = 0
load_balance_mode = on
enable_pool_hba = on
pool_passwd = '{self.machine.dir}/pool_passwd'
sr_check_user = 'monitor'
sr_check_password = 'monitor'
sr_check_period = 10
''')]


def two_of_them(machine, lab, program, secret, results):
    """pgshunt, and pgbouncer where there is one."""
    path = find_program('pgbouncer')
    if not path:
        results.skipped.append('pgbouncer: not installed (tools/deps bench installs it)')
    return [Pgshunt(machine, lab, program, secret=secret), *([Pgbouncer(machine, lab, path, secret=secret)] if path else [])]


def build(machine, lab, program, secret, results):
    field = [Direct(machine, lab), *two_of_them(machine, lab, program, secret, results), AtPrimary(machine, lab, program, secret)]
    path = find_program('pgpool')
    if path:
        field.append(Pgpool(machine, lab, path))
    else:
        results.skipped.append('pgpool: not installed (tools/deps bench installs pgpool2)')
    return field
