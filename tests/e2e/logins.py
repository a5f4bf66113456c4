#!/usr/bin/env python3
"""Logins: every auth_type against every form of a secret in auth_file against every method of a server, right and wrong; that nobody learns by
words or by time which users and databases exist; and what a login costs: keys are derived once a user, not at each login of a client or of a
server. LOGINS=10000 for the long comparison with pgbouncer."""
import hashlib
import os
import statistics
import subprocess
import time

import lib
import swarm

SERVER_METHODS = {'scram': 'scram-sha-256', 'md5': 'md5', 'plain': 'password'}
FORMS = ('text', 'hash', 'verifier')
AUTH_TYPES = ('trust', 'plain', 'md5', 'scram-sha-256')
LOGINS = int(os.environ.get('LOGINS', '1000'))
SLOW_ITERATIONS = 400000        # a derivation that can't be overlooked


def roles():
    """One role for each method of a server and form of its secret; its password is its name."""
    return [(f'{method}_{form}', method, form) for method in SERVER_METHODS for form in FORMS]


def make_roles(bed):
    for role, method, _ in roles():
        bed.on('pg1', f"SET password_encryption = '{'md5' if method == 'md5' else 'scram-sha-256'}'; CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    bed.on('pg1', f"CREATE ROLE slow LOGIN PASSWORD '{swarm.verifier('slow', b'0123456789abcdef', SLOW_ITERATIONS)}'")
    for node in bed.nodes:
        path = os.path.join(bed.env['LAB_DIR'], node, 'pg_hba.conf')
        with open(path, encoding='utf-8') as f:
            lines = f.read()
        with open(path, 'w', encoding='utf-8') as f:
            f.writelines(f'host all {role} 127.0.0.1/32 {SERVER_METHODS[method]}\n' for role, method, _ in roles())
            f.write(lines)
        bed.on(node, 'SELECT pg_reload_conf()')
    bed.lab('wait-catchup')


def write_users(bed):
    """Each secret in its form; a verifier is the server's own where the server has one."""
    stored = dict(bed.on('pg1', 'SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL'))
    rows = {'app': 'app', 'pgadmin': 'pgadmin', 'slow': 'slow'}
    for role, method, form in roles():
        if form == 'text':
            rows[role] = role
        elif form == 'hash':
            rows[role] = 'md5' + hashlib.md5((role + role).encode()).hexdigest()
        else:
            rows[role] = swarm.verifier(role, b'fedcba9876543210') if method == 'md5' else stored[role]
    path = os.path.join(bed.work, 'users.txt')
    with open(path, 'w', encoding='utf-8') as f:
        f.writelines(f'"{name}" "{secret}"\n' for name, secret in rows.items())
    os.chmod(path, 0o644)
    return path


def start(bed, auth_type, **options):
    bed.proxy_stop(quietly=True)
    bed.proxy_start(auth_file=write_users(bed), auth_type=auth_type, **options)


def log_in(port, user, password, dbname='app'):
    client = swarm.Client(port, user, password, dbname)
    swarm.Swarm.wait([client])
    return client


# --- who gets in


def client_gets_in(auth_type, form, is_right):
    if auth_type == 'trust':
        return True
    return is_right and not (auth_type == 'scram-sha-256' and form == 'hash')


def server_lets_in(auth_type, method, form):
    """With what is known after the client's login: plain has seen the password, SCRAM has learned the ClientKey."""
    if auth_type == 'plain' or form == 'text':
        return True
    if form == 'hash':
        return method == 'md5'
    return method == 'scram' and auth_type != 'trust'


def try_role(bed, auth_type, role, method, form):
    check = bed.check
    for is_right in (False, True):
        what = f'{auth_type}, a {form} in auth_file, {method} at the server, {"right" if is_right else "wrong"}'
        client = log_in(bed.port, role, role if is_right else 'wrong')
        if not client_gets_in(auth_type, form, is_right):
            check.ok(what, client.error and client.error['M'] == f'pgshunt: password authentication failed for user "{role}"', client.error)
        elif server_lets_in(auth_type, method, form):
            client.run('/* pgshunt: route=primary */ SELECT 1')
            swarm.Swarm.wait([client])
            check.ok(what, not client.error and client.rows, client.error)
        else:
            text = f'authentication of user "{role}", but only a'
            check.ok(what, client.error and client.error['C'] == '28P01' and text in client.error['M'] and client.error.get('H'), client.error)
        client.leave()


def table(bed):
    for auth_type in AUTH_TYPES:
        start(bed, auth_type)
        for role in roles():
            try_role(bed, auth_type, *role)


# --- nobody learns who exists

STRANGERS = {
    'wrong password, text': ('scram_text', 'app'),
    'wrong password, verifier': ('scram_verifier', 'app'),
    'unknown user': ('unknown', 'app'),
    'unknown database': ('scram_verifier', 'nowhere'),
    'nothing known': ('unknown', 'nowhere'),
}


def only_database_app(bed):
    with open(bed.config, encoding='utf-8') as f:
        text = f.read()
    with open(bed.config, 'w', encoding='utf-8') as f:
        f.write(text.replace('\n* =', '\napp = dbname=app'))
    bed.console('RELOAD')


def same_answers(bed):
    """Word for word, in the same number of steps, in the same time."""
    check = bed.check
    for auth_type in AUTH_TYPES[1:]:
        start(bed, auth_type)
        only_database_app(bed)
        heard, took = {}, {name: [] for name in STRANGERS}
        for turn in range(60 // lib.SLOW):
            for name, (user, dbname) in STRANGERS.items():
                began = time.perf_counter()
                client = log_in(bed.port, user, 'wrong', dbname)
                if turn:                # a text's key is derived when it is first needed
                    took[name].append((time.perf_counter() - began) * 1000)
                client.leave()
                lengths = [len(x) for x in client.challenges]
                heard.setdefault(name, set()).add(str((client.asked, lengths, sorted(client.error.items()))).replace(user, 'USER'))
        if auth_type == 'md5':          # a verifier is asked for by SCRAM: compare the others
            heard = {k: v for k, v in heard.items() if STRANGERS[k][0] != 'scram_verifier'}
            took = {k: v for k, v in took.items() if k in heard}
        check.equal(f'{auth_type}: one answer for all', len(set.union(*heard.values())), 1)
        medians = {name: statistics.median(times) for name, times in took.items()}
        lib.note(f'{auth_type}: ' + ', '.join(f'{name} {ms:.2f} ms' for name, ms in medians.items()))
        check.ok(f'{auth_type}: in the same time', max(medians.values()) - min(medians.values()) < 0.6 * lib.SLOW, medians)
        check.equal(f'{auth_type}: with the right password the database is unknown',
                    (log_in(bed.port, 'scram_text', 'scram_text', 'nowhere').error or {}).get('C'), '3D000')


# --- what it costs


def cpu_seconds(pid):
    """Of all threads, in the scheduler's nanoseconds."""
    total = 0
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/schedstat', encoding='ascii') as f:
            total += int(f.read().split()[0])
    return total / 1e9


def derivation(iterations=4096):
    """Seconds of CPU, the best of some."""
    best = float('inf')
    for _ in range(5):
        began = time.process_time()
        hashlib.pbkdf2_hmac('sha256', b'x', b'0123456789abcdef', iterations)
        best = min(best, time.process_time() - began)
    return best


def per_login(pid, port, count, user):
    began = cpu_seconds(pid)
    swarm.logins(port, count, user=user, password=user)
    return (cpu_seconds(pid) - began) / count


def clients_cost(bed):
    """The key of a text, the password of a plain login: no derivation a login."""
    check, one = bed.check, derivation()
    for auth_type, user in (('scram-sha-256', 'scram_text'), ('scram-sha-256', 'scram_verifier'), ('plain', 'plain_text'), ('plain', 'md5_hash')):
        start(bed, auth_type)
        per_login(bed.proxy.pid, bed.port, 5, user)
        cost = per_login(bed.proxy.pid, bed.port, 200, user)
        lib.note(f'{auth_type}, {user}: {cost * 1e6:.0f} us a login, a derivation is {one * 1e6:.0f} us')
        check.ok(f'{auth_type}, {user}: nothing is derived at a login', cost < one / 2 * lib.SLOW, f'{cost} s')


class SlowLogins:
    """CPU of pgshunt between visits of all nodes, and how many servers it has opened for them."""

    def __init__(self, bed):
        self.bed, self.one = bed, derivation(SLOW_ITERATIONS)
        self.began, self.opened = cpu_seconds(bed.proxy.pid), self.count()

    def count(self):
        found = 0
        for node in self.bed.nodes:
            with open(os.path.join(self.bed.env['LAB_DIR'], f'{node}.log'), encoding='utf-8', errors='replace') as f:
                found += f.read().count('connection authorized: user=slow')
        return found

    def visit(self, *connections):
        for connection in connections:
            for node in self.bed.nodes:
                connection.execute(f'/* pgshunt: route=node:{node} consistency=eventual */ SELECT 1')

    def end_servers(self):
        for node in self.bed.nodes:
            self.bed.on(node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'slow'")
        time.sleep(0.3)
        self.began, self.opened = cpu_seconds(self.bed.proxy.pid), self.count()

    def check(self, what, least, most):
        cost, logins = cpu_seconds(self.bed.proxy.pid) - self.began, self.count() - self.opened
        lib.note(f'{what}: {logins} logins at servers, {cost * 1000:.0f} ms; a derivation is {self.one * 1000:.0f} ms')
        self.bed.check.ok(f'{what}: enough logins at servers, {most} derivations at most',
                          logins >= least and cost < (most + 0.7) * self.one * lib.SLOW, f'{logins} logins, {cost:.3f} s')


def servers_cost(bed):
    """Servers are logged in to with a key that is derived once, by whichever worker comes first."""
    start(bed, 'scram-sha-256', **{'databases.second': 'dbname=app', 'databases.forced': 'dbname=app user=slow password=slow'})
    slow = SlowLogins(bed)
    clients = [bed.on_worker(worker, lambda d=dbname: bed.connect(user='slow', dbname=d)) for dbname in ('app', 'second') for worker in (0, 1)]
    slow.visit(*clients)
    slow.check('two workers and two databases', 8, 2)       # both workers may be the first
    slow.end_servers()
    slow.visit(*clients)
    slow.check('later', 8, 0)
    slow.end_servers()
    bed.console('RELOAD')
    slow.visit(*clients)
    slow.check('after a reload', 8, 0)
    for client in clients:
        client.close()
    slow.end_servers()
    forced = [bed.on_worker(worker, lambda: bed.connect(dbname='forced')) for worker in (0, 1)]
    slow.visit(*forced)
    slow.check("a database's own password", 4, 2)           # each worker by itself
    slow.end_servers()
    forced += [bed.on_worker(worker, lambda: bed.connect(dbname='forced')) for worker in (0, 1)]
    slow.visit(*forced)
    slow.check("a database's own password, later", 4, 0)
    for client in forced:
        client.close()


def against_pgbouncer(bed):
    """Verifiers in auth_file, so that pgbouncer needn't derive either."""
    program = next((p for p in ('/usr/sbin/pgbouncer', '/usr/bin/pgbouncer') if os.access(p, os.X_OK)), None)
    if not program or lib.SLOW > 1:
        bed.check.skip('the comparison with pgbouncer: it is not installed, or this is a slow build')
        return
    start(bed, 'scram-sha-256', workers=1, max_client_conn=2000, log_connections=0, log_disconnections=0)
    config = os.path.join(bed.work, 'pgbouncer.ini')
    with open(config, 'w', encoding='utf-8') as f:
        f.write(f'''[databases]
app = host=127.0.0.1 port={bed.node_port("pg1")}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {bed.port + 1}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {bed.work}/users.txt
pool_mode = transaction
max_client_conn = 2000
log_connections = 0
log_disconnections = 0
''')
    os.chmod(config, 0o644)
    theirs = subprocess.Popen([program, '-q', config], user='postgres' if os.getuid() == 0 else None, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        lib.wait_for(lambda: swarm.logins(bed.port + 1, 1, user='scram_verifier', password='scram_verifier') is None, 10)
        ratios = []
        for _ in range(5):
            costs = [per_login(pid, port, LOGINS // 5, 'scram_verifier') for pid, port in ((bed.proxy.pid, bed.port), (theirs.pid, bed.port + 1))]
            ratios.append(costs[0] / costs[1])
        ratio = statistics.median(ratios)
        lib.note(f'{LOGINS} logins: {costs[0] * 1e6:.0f} us each, pgbouncer {costs[1] * 1e6:.0f} us: {ratio:.2f} x '
                 f'({min(ratios):.2f} to {max(ratios):.2f})')
        bed.check.ok('a login costs no more than at pgbouncer', ratio <= 1.1, f'{ratio:.2f} x')
    finally:
        theirs.terminate()
        theirs.wait()


def main(bed):
    bed.env['LAB_CONF'] = 'log_connections = on'
    bed.cluster_up('-n', '1')
    make_roles(bed)
    lib.run_cases(bed, (table, same_answers, clients_cost, servers_cost, against_pgbouncer))


if __name__ == '__main__':
    lib.run(main)
