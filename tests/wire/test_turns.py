#!/usr/bin/python3
"""Limits and turns over several workers: never more connections than there may be, whatever the clients do; who waits longest is next;
servers that move from worker to worker; checks, lifetimes and timeouts of servers."""
import random
import threading
import time

from fakeserver import Cut, later
from harness import SLOW, Cluster, check, check_eq, check_error, run, test, wait_for
from pgwire import SYNC, Closed, ServerError, TimedOut, bind_msg, cancel, execute_msg, parse_msg, query_msg


class Census:
    """Counts a fake server's connections that aren't the monitor's; takes its on_login."""

    def __init__(self, server, delay=0.0):
        self.server, self.delay = server, delay
        self.most = self.logins = self.logging_in = self.most_logging_in = 0
        self.lock = threading.Lock()
        server.on_login = self.logged_in

    def now(self):
        return sum(x.user is not None and not x.is_monitor for x in list(self.server.connections))

    def logged_in(self, conn):
        if conn.is_monitor:
            return
        with self.lock:
            self.logins += 1
            self.most = max(self.most, self.now())
            self.logging_in += 1
            self.most_logging_in = max(self.most_logging_in, self.logging_in)
        time.sleep(self.delay)
        with self.lock:
            self.logging_in -= 1


def worker_of(client):
    return client.key[0] >> 24 & 0x7f


def client_of(c, worker, **options):
    for _ in range(200):
        client = c.client(**options)
        if worker_of(client) == worker:
            return client
        client.close()
    raise AssertionError(f'no client came to worker {worker}')


# --- hammering


def one_thing(c, client, dice, pins):
    what = dice.random()
    if what < 0.4:
        check_eq(client.must("SELECT 'echo:h' FROM t FOR UPDATE").value, 'h')
    elif what < 0.6:
        client.must('BEGIN')
        client.must('INSERT INTO t VALUES (1)')
        client.must('COMMIT')
    elif what < 0.7:
        check_eq(client.extended("SELECT 'echo:x' FROM t FOR UPDATE", name=f's{dice.randrange(1000)}{time.monotonic_ns()}').value, 'x')
    elif what < 0.8:
        client.send(query_msg('INSERT INTO t VALUES (2)'))
        cancel(c.pgshunt.port, client.key)
        client.read_until('Z')
    elif what < 0.9 and pins:
        client.must('CREATE TEMP TABLE mine (a int)')
        client.must('DISCARD ALL')
    else:
        client.must('BEGIN')
        return False                    # and leaves it open
    return True


def hammer(c, stop, seed, failures, pins=False, **options):
    dice = random.Random(seed)
    client = None
    try:
        while not stop.is_set():
            client = client or c.pgshunt.client(**{'password': 'app', **options})
            if not one_thing(c, client, dice, pins) or dice.random() < 0.02:
                client.close(terminate=dice.random() < 0.5)
                client = None
    except (ServerError, Closed, TimedOut, AssertionError, OSError) as error:
        if not stop.is_set():
            failures.append(f'{type(error).__name__}: {error}')
    if client:
        client.close()


def hammering(c, seconds, count=20, meanwhile=None, users=('app',), **options):
    stop, failures = threading.Event(), []
    threads = [threading.Thread(target=hammer, args=(c, stop, i, failures), kwargs={'user': users[i % len(users)], **options}) for i in range(count)]
    for thread in threads:
        thread.start()
    if meanwhile:
        meanwhile()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join(20 * SLOW)
    check(not any(x.is_alive() for x in threads), 'a client hangs')
    return failures


@test
def never_more_than_the_pool_size():
    for size, workers in ((1, 2), (3, 4)):
        with Cluster(standbys=0, workers=workers, default_pool_size=size, query_wait_timeout='20s') as c:
            census = Census(c.primary)
            check_eq(hammering(c, 1.5), [])
            c.settles()
            check(census.most <= size, f'{census.most} connections, pool size {size}')
            check(census.now() <= size, 'connections are left')


@test
def never_more_than_max_db_connections():
    """Several users, clients with temporary tables: pinned servers count too."""
    with Cluster(standbys=0, workers=3, default_pool_size=3, max_db_connections=4, query_wait_timeout='20s') as c:
        census = Census(c.primary)
        check_eq(hammering(c, 2, users=('app', 'other'), pins=True), [])
        c.settles()
        check(census.most <= 4, f'{census.most} connections')


@test
def never_more_than_max_user_connections():
    with Cluster(standbys=0, workers=2, default_pool_size=3, users={'app': 'app', 'admin': 'admin', 'other': 'other'}, query_wait_timeout='20s',
                 sections={'users': {'app': 'max_user_connections=2'}}) as c:
        census = Census(c.primary)
        check_eq(hammering(c, 1.5, pins=True), [])
        c.settles()
        check(census.most <= 2, f'{census.most} connections')


@test
def a_node_that_restarts_under_load():
    with Cluster(standbys=0, workers=2, default_pool_size=2, query_wait_timeout='20s', server_login_retry='100ms') as c:
        census = Census(c.primary)

        def restarts():
            for _ in range(4):
                time.sleep(0.3)
                c.primary.cut_all()
        hammering(c, 0.5, meanwhile=restarts)           # some are in the middle of a transaction: they hear of it
        wait_for(lambda: c.client().must('SELECT 1').status == 'I', 5)
        census.most = 0                 # before: the fake server cuts first and forgets then
        check_eq(hammering(c, 0.5), [])
        check(census.most <= 2, f'{census.most} connections')


@test
def a_pool_size_that_is_lowered_under_load():
    with Cluster(standbys=0, workers=2, default_pool_size=6, query_wait_timeout='20s') as c:
        census = Census(c.primary)

        def lower():
            time.sleep(0.5)
            c.pgshunt.settings['default_pool_size'] = 1
            c.pgshunt.write()
            with c.client(user='admin', database='pgshunt') as console:
                console.must('RELOAD')
            time.sleep(0.5)
            census.most = 0
            wait_for(lambda: census.now() <= 1, 5, f'the others to be closed: {census.now()}')
        check_eq(hammering(c, 0.7, meanwhile=lower), [])
        check(census.most <= 1, f'{census.most} connections')


@test
def a_shutdown_under_load():
    with Cluster(standbys=0, workers=3, default_pool_size=1, query_wait_timeout='20s') as c:
        stop, failures = threading.Event(), []
        threads = [threading.Thread(target=hammer, args=(c, stop, i, failures)) for i in range(12)]
        for thread in threads:
            thread.start()
        time.sleep(0.7)
        stop.set()                      # what they hear from now on is right
        check_eq(c.pgshunt.stop(), '')
        for thread in threads:
            thread.join(20 * SLOW)
        check_eq(failures, [])


# --- turns


@test
def first_come_first_served_over_the_workers():
    with Cluster(standbys=0, workers=2, default_pool_size=1, query_wait_timeout='20s') as c:
        c.primary.on('INTO q', later(0.01))
        holder = client_of(c, 0)
        clients = [client_of(c, i % 2) for i in range(12)]
        holder.must('BEGIN')
        for i, client in enumerate(clients):
            client.send(query_msg(f'INSERT INTO q VALUES ({i})'))
            time.sleep(0.02)
        wait_for(lambda: c.states().count('waiting') == 12, 5, f'all to wait: {c.states()}')
        holder.must('COMMIT')
        for client in clients:
            check_eq(client.read_until('Z', timeout=20).tags, ['INSERT 0 1'])
        check_eq(c.primary.seen('INTO q'), [f'INSERT INTO q VALUES ({i})' for i in range(12)])
        check_eq(len({n for n, sql in c.primary.log if 'INTO q' in sql}), 1)


@test
def what_is_prepared_moves_along():
    with Cluster(standbys=0, workers=2, default_pool_size=1) as c:
        text = 'SELECT a FROM t WHERE a = $1 FOR UPDATE'
        clients = [client_of(c, 0), client_of(c, 1)]
        for client in clients:
            client.send(parse_msg('mine', text), SYNC)
            check_eq(client.read_until('Z').types, '1Z')
        for _ in range(10):
            for client in clients:
                client.send(bind_msg('', 'mine', ['1']), execute_msg(), SYNC)
                check_eq(client.read_until('Z').types, '2DCZ')
        check_eq([sql for _, kind, sql in c.primary.messages if kind == 'P' and sql == text], [text])
        check_eq(len(c.show('SERVERS')), 1)


@test
def settings_move_along():
    with Cluster(standbys=0, workers=2, default_pool_size=1) as c:
        clients = [client_of(c, i, application_name='same', options='-c search_path=x') for i in (0, 1)]
        c.primary.reset()
        for _ in range(5):
            for client in clients:
                check_eq(client.must("SELECT 'echo:m' FROM t FOR UPDATE").value, 'm')
        check_eq(c.primary.seen('set_config|RESET|DISCARD'), [])


@test
def another_users_idle_servers_make_room():
    with Cluster(standbys=0, workers=2, default_pool_size=5, max_db_connections=2) as c:
        holders = [client_of(c, i) for i in (0, 1)]
        for client in holders:
            client.must('BEGIN')
        for client in holders:
            client.must('COMMIT')
        wait_for(lambda: len(c.show('SERVERS')) == 2, 5)
        others = [client_of(c, i, user='other') for i in (0, 1)]
        for client in others:
            client.must('BEGIN')
            check_eq(client.must("SELECT 'echo:o' FROM t FOR UPDATE").value, 'o')
        check_eq({r['user'] for r in c.show('SERVERS')}, {'other'})


@test
def nobody_is_starved_by_another_users_load():
    with Cluster(standbys=0, workers=2, default_pool_size=2, max_db_connections=2, query_wait_timeout='20s') as c:
        waits = []

        def other():
            for worker in (0, 1):
                client = client_of(c, worker, user='other')
                for _ in range(3):
                    began = time.monotonic()
                    check_eq(client.must("SELECT 'echo:o' FROM t FOR UPDATE").value, 'o')
                    waits.append(time.monotonic() - began)
                    time.sleep(0.1)
        check_eq(hammering(c, 0, meanwhile=other), [])
        check(max(waits) < 2 * SLOW, waits)


# --- a cold pool


@test
def a_thousand_clients_and_a_cold_pool():
    with Cluster(standbys=0, workers=2, default_pool_size=50, max_client_conn=1200, query_wait_timeout='30s', server_connect_timeout='20s') as c:
        clients = [c.client() for _ in range(1000 // SLOW)]
        c.primary.cut_all()
        wait_for(lambda: not c.show('SERVERS'), 5, 'all servers to be gone')
        wait_for(lambda: c.primary.monitor_log, 5)
        time.sleep(SLOW)          # the monitor lost its connection too: whatever was dialled before it has told of that is dialled again
        census = Census(c.primary, delay=1.0 * SLOW)
        c.primary.on('INTO cold', later(0.02))
        for client in clients:
            client.send(query_msg('INSERT INTO cold VALUES (1)'))
        wait_for(lambda: census.logins == 50, 10, f'50 logins: {census.logins}')
        check_eq(census.most_logging_in, 50, 'logins in flight at once')
        for client in clients:
            check_eq(client.read_until('Z', timeout=30 * SLOW).tags, ['INSERT 0 1'])
        check_eq((census.most, census.logins), (50, 50))


# --- time


@test
def server_check_query():
    with Cluster(standbys=0, workers=1, server_check_query='SELECT are_you_there', server_check_delay='300ms') as c:
        client = c.client()
        for _ in range(3):
            client.must('INSERT INTO t VALUES (1)')
        check_eq(c.primary.count('are_you_there'), 0, 'checks of a busy server')
        time.sleep(0.5)
        check_eq(c.show('POOLS')[0]['sv_used'], '1')
        client.must('INSERT INTO t VALUES (1)')
        check_eq(c.primary.count('are_you_there'), 1)
        time.sleep(0.5)
        c.primary.on('are_you_there', lambda q: q.cut(), times=1)
        client.must('INSERT INTO t VALUES (1)')
        check_eq(c.primary.count('are_you_there'), 2)
        check_eq(c.primary.count('INSERT INTO t'), 5)


@test
def server_lifetime_0_is_one_use():
    with Cluster(standbys=0, workers=2, default_pool_size=1, sections={'databases': {'*': '', 'app': 'server_lifetime=0'}}) as c:
        client, other = c.client(), c.client(database='elsewhere')
        census = Census(c.primary)
        numbers = []
        for _ in range(4):
            client.must('INSERT INTO t VALUES (1)')
            numbers.append(c.primary.log[-1][0])
        check_eq(len(set(numbers)), 4, 'servers')
        numbers = []
        for _ in range(4):
            other.must('INSERT INTO t VALUES (1)')
            numbers.append(c.primary.log[-1][0])
        check_eq(len(set(numbers)), 1, 'servers of the other database')
        check(census.most <= 2, census.most)


@test
def server_lifetime_and_server_idle_timeout():
    for option in ('server_lifetime', 'server_idle_timeout'):
        with Cluster(standbys=0, workers=1, **{option: '1s'}) as c:
            client = c.client()
            client.must('INSERT INTO t VALUES (1)')
            number = c.primary.log[-1][0]
            wait_for(lambda: not c.show('SERVERS'), 5, f'{option} to end it')  # pylint: disable=cell-var-from-loop
            client.must('INSERT INTO t VALUES (1)')
            check(c.primary.log[-1][0] != number, 'the same server')


@test
def server_login_retry():
    with Cluster(standbys=0, workers=1, server_login_retry='700ms', primary_wait='100ms') as c:
        client = c.client()
        tries = []

        def refuse(conn):
            if not conn.is_monitor:
                tries.append(time.monotonic())
                raise Cut
        c.primary.cut_all()
        time.sleep(0.3)
        c.primary.on_login = refuse
        for _ in range(20):
            check(client.query('INSERT INTO t VALUES (1)').error, 'no error')
            time.sleep(0.1)
        gaps = [b - a for a, b in zip(tries, tries[1:])]
        check(tries and all(x > 0.6 for x in gaps), gaps)


@test
def query_wait_timeout_over_the_workers():
    with Cluster(standbys=0, workers=2, default_pool_size=1, query_wait_timeout='500ms') as c:
        holder, waiters = client_of(c, 0), [client_of(c, 0), client_of(c, 1)]
        holder.must('BEGIN')
        for waiter in waiters:
            waiter.send(query_msg('INSERT INTO t VALUES (1)'))
        for waiter in waiters:
            check_error(waiter.read_until('Z'), '53300', 'ERROR')
        holder.must('COMMIT')
        for waiter in waiters:
            check_eq(waiter.must('INSERT INTO t VALUES (2)').status, 'I')
        check_eq(c.primary.count(r'INTO t VALUES \(1\)'), 0)


run()
