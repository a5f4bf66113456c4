#!/usr/bin/env python3
"""Many of everything: ten thousand clients that do nothing, and that all want something at once from twenty servers a node; ten thousand users;
ten thousand prepared statements of one client. Memory is what /proc says, connections what the servers say. CLIENTS, USERS, STATEMENTS: other
numbers."""
import os
import random
import resource
import sys
import threading
import time

import lib
import swarm

sys.path.insert(0, os.path.join(lib.ROOT, 'tests/wire'))
import pgwire       # noqa: E402  pylint: disable=wrong-import-position


def bounded(name, full):
    return int(os.environ.get(name, full if lib.SLOW == 1 else full // 5))


CLIENTS, USERS, STATEMENTS = bounded('CLIENTS', 10000), bounded('USERS', 10000), bounded('STATEMENTS', 10000)
SERVERS = 20            # a node
HELD = 100              # max_prepared_statements
IDLE_TARGET, IDLE_MOST = 2048, 3072     # bytes a client
USER_MOST = 1024
WORK = ('BEGIN', 'INSERT INTO crowd VALUES (1)', 'SELECT count(*) FROM pg_class', 'COMMIT')


def rss(bed):
    return bed.rss_kb() * 1024


def measured(check, what, condition, seen):
    """Memory says nothing where a sanitizer keeps what is freed."""
    if lib.SLOW == 1:
        check.ok(what, condition, seen)


def open_files(wanted):
    """As many descriptors as that for this process and, inherited, for pgshunt; -> how many there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, PermissionError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            return hard
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return wanted


class Watcher(threading.Thread):
    """The most connections of app's that each node had, looked at all the time."""

    def __init__(self, bed):
        super().__init__(daemon=True)
        self.bed, self.most, self.looks, self.is_over = bed, dict.fromkeys(bed.nodes, 0), 0, False
        self.start()

    def run(self):
        conninfo = {node: {'host': self.bed.env['LAB_DIR'], 'port': self.bed.node_port(node)} for node in self.bed.nodes}
        connections = {node: lib.psycopg.connect(**where, user='postgres', dbname='app', autocommit=True) for node, where in conninfo.items()}
        while not self.is_over:
            for node, connection in connections.items():
                count = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'").fetchone()[0]
                self.most[node] = max(self.most[node], count)
            self.looks += 1
            time.sleep(0.02)

    def end(self):
        self.is_over = True
        self.join(10)
        return self.most


def clients(bed):
    check, count = bed.check, CLIENTS
    files = open_files(count + 500)
    if files < count + 500:
        check.skip(f'{count} clients: only {files} open files are allowed, and the limit can not be raised; {files - 500} clients instead')
        count = files - 500
    bed.proxy_start(default_pool_size=SERVERS, max_client_conn=count + 100, log_connections=0, log_disconnections=0, query_wait_timeout='120s')
    crowd, one = swarm.Swarm(bed.port), swarm.Swarm(bed.port)
    one.log_in(20)                  # what is made once is made now
    one.run('SELECT 1')
    before, began = rss(bed), time.monotonic()
    crowd.log_in(count)
    idle = (rss(bed) - before) / count
    lib.note(f'{count} clients logged in within {time.monotonic() - began:.1f} s: {idle:.0f} bytes each '
             f'({"within" if idle <= IDLE_TARGET else "over"} the target of {IDLE_TARGET})')
    measured(check, f'an idle client takes at most {IDLE_MOST} bytes', idle <= IDLE_MOST, f'{idle:.0f} bytes')
    watcher, began = Watcher(bed), time.monotonic()
    errors = crowd.run(*WORK, seconds=120)
    check.equal(f'{count} transactions, no error', errors[:3], [])
    errors = crowd.run('SELECT count(*) FROM pg_class', seconds=120)
    check.equal(f'{count} reads, no error', errors[:3], [])
    most, used = watcher.end(), rss(bed) - before
    lib.note(f'a transaction and a read of each took {time.monotonic() - began:.1f} s; {used / count:.0f} bytes a client then; servers at most: {most}')
    check.equal('every transaction is there', bed.on('pg1', 'SELECT count(*) FROM crowd')[0][0], count)
    check.ok(f'never more than {SERVERS} servers a node', max(most.values()) <= SERVERS and watcher.looks > 10, f'{most} in {watcher.looks} looks')
    check.ok('all nodes took part', min(most.values()) > 0, most)
    crowd.leave()
    check.ok('all are gone', lib.wait_for(lambda: len(bed.console('SHOW CLIENTS')) < 25, 20))
    crowd.log_in(count // 2)
    check.equal('others may come', crowd.run(*WORK, seconds=120)[:3], [])
    measured(check, 'who find the memory of those', rss(bed) - before <= 1.1 * used, f'{used} and then {rss(bed) - before} bytes')
    crowd.leave()
    one.leave()
    bed.proxy_stop(quietly=True)


def users(bed):
    """auth_file with as many lines, of passwords and of verifiers."""
    check = bed.check
    verifier = swarm.verifier('a password', b'0123456789abcdef')
    path = os.path.join(bed.work, 'users.txt')
    took = {}
    for kind, secret in (('few', None), ('passwords', 'a password'), ('verifiers', verifier)):
        with open(path, 'w', encoding='utf-8') as f:
            f.write('"app" "app"\n"pgadmin" "pgadmin"\n')
            f.writelines(f'"user_{number:05d}" "{secret}"\n' for number in range(USERS if secret else 0))
        bed.proxy_start(auth_file=path)
        took[kind] = rss(bed)
        if secret:
            each = (took[kind] - took['few']) / USERS
            lib.note(f'{USERS} {kind}: {each:.0f} bytes each')
            measured(check, f'{kind}: at most {USER_MOST} bytes each', each <= USER_MOST, f'{each:.0f} bytes')
            client = swarm.Client(bed.port, f'user_{USERS - 1:05d}', 'a wrong password', 'app')
            swarm.Swarm.wait([client])
            check.equal(f'{kind}: the last one is known, and the wrong password is wrong', (client.error or {}).get('C'), '28P01')
            for _ in range(10):
                bed.console('RELOAD')
            each = (rss(bed) - took['few']) / USERS
            measured(check, f'{kind}: ten reloads leave it at that', each <= 2 * USER_MOST, f'{each:.0f} bytes')
        bed.proxy_stop(quietly=True)


# --- prepared statements


def prepare_all(client):
    for first in range(0, STATEMENTS, 500):
        batch = range(first, min(first + 500, STATEMENTS))
        client.send(*[pgwire.parse_msg(f's{i}', f'SELECT {i} + $1::int') for i in batch], pgwire.SYNC)
        result = client.read_until('Z')
        if result.error:
            raise result.error


def execute(client, numbers):
    """Each by itself -> how many gave the wrong answer"""
    wrong = 0
    for number in numbers:
        client.send(pgwire.bind_msg('', f's{number}', ['7']), pgwire.execute_msg(), pgwire.SYNC)
        wrong += client.read_until('Z').value != str(number + 7)
    return wrong


def held(bed, client):
    """node -> how many statements its one server holds"""
    return {node: int(client.must(f'/* pgshunt: route=node:{node} consistency=eventual */ SELECT n FROM prepared_now').value) for node in bed.nodes}


def statements(bed):
    check = bed.check
    bed.proxy_start(default_pool_size=1, max_prepared_statements=HELD, workers=1)
    with pgwire.Client(bed.port, password='app', timeout=30) as client:
        before = rss(bed)
        began = time.monotonic()
        prepare_all(client)
        prepared = rss(bed)
        lib.note(f'{STATEMENTS} statements prepared in {time.monotonic() - began:.1f} s: {(prepared - before) / STATEMENTS:.0f} bytes each')
        measured(check, 'a statement takes at most 1 kB', (prepared - before) / STATEMENTS <= 1024, prepared - before)
        # in a pipeline of Parse messages the statements under way don't count yet: the next one puts that right
        execute(client, range(0, STATEMENTS, STATEMENTS // 20))
        most = held(bed, client)
        numbers = list(range(STATEMENTS))
        random.Random(4).shuffle(numbers)
        began, wrong = time.monotonic(), 0
        for at in range(0, STATEMENTS, 250):
            wrong += execute(client, numbers[at:at + 250])
            most = {node: max(most[node], now) for node, now in held(bed, client).items()}
        lib.note(f'all of them executed in {time.monotonic() - began:.1f} s')
        check.equal('each gives its own answer', wrong, 0)
        check.ok(f'a server never holds more than {HELD}', max(most.values()) <= HELD, most)
        check.ok('but it does hold some', sum(now > HELD / 2 for now in most.values()) >= 2, most)
        after = rss(bed)
        for _ in range(3):
            random.Random(5).shuffle(numbers)
            wrong += execute(client, numbers[:STATEMENTS // 4])
        check.equal('again and again', wrong, 0)
        lib.note(f'memory: {before >> 10} kB before, {prepared >> 10} when prepared, {after >> 10} when executed, {rss(bed) >> 10} at the end')
        measured(check, 'memory stays flat', rss(bed) - after <= 1 << 20 and after - prepared <= 2 << 20, f'{prepared}, {after}, {rss(bed)}')
    bed.proxy_stop(quietly=True)


def main(bed):
    bed.cluster_up()
    with lib.psycopg.connect(host=bed.env['LAB_DIR'], port=bed.node_port('pg1'), user='postgres', dbname='app', autocommit=True) as c:
        c.execute('CREATE TABLE crowd(i int); GRANT ALL ON crowd TO app')
        c.execute('CREATE VIEW prepared_now AS SELECT count(*) n FROM pg_prepared_statements; GRANT SELECT ON prepared_now TO app')
    bed.lab('wait-catchup')
    lib.run_cases(bed, (clients, users, statements))


if __name__ == '__main__':
    lib.run(main)
