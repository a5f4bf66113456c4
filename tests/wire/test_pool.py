#!/usr/bin/python3
"""Servers lent and taken back: queues, settings, pins, cancel requests, logins that fail, shutdown in every state."""
import signal
import time

from fakeserver import Cut, Hang, fields_body, later, never
from harness import SLOW, Cluster, check, check_eq, check_error, run, test, wait_for
from pgwire import FLUSH, SYNC, Closed, ServerError, bind_msg, cancel, describe_msg, execute_msg, msg, parse_msg, query_msg, startup_packet

APP = {'user': 'app', 'database': 'app'}


# --- queues


@test
def one_server_for_many_first_come_first_served():
    with Cluster(standbys=0, workers=1, default_pool_size=1, query_wait_timeout='20s') as c:
        c.primary.on('INTO q', later(0.02))
        holder = c.client()
        holder.must('BEGIN')
        clients = [c.client() for _ in range(25)]
        for i, client in enumerate(clients):
            client.send(query_msg(f'INSERT INTO q VALUES ({i})'))
            time.sleep(0.01)
        wait_for(lambda: c.states().count('waiting') == 25, 5, f'all to wait: {c.states()}')
        holder.must('COMMIT')
        for client in clients:
            check_eq(client.read_until('Z', timeout=20).tags, ['INSERT 0 1'])
        check_eq(c.primary.seen('INTO q'), [f'INSERT INTO q VALUES ({i})' for i in range(25)])
        check_eq(max(x.number for x in c.primary.connections if not x.is_monitor), min(x.number for x in c.primary.connections if not x.is_monitor))
        c.settles(26)


@test
def who_leaves_the_queue_is_passed_over():
    with Cluster(standbys=0, workers=1, default_pool_size=1) as c:
        holder = c.client()
        holder.must('BEGIN')
        clients = [c.client() for _ in range(9)]
        for i, client in enumerate(clients):
            client.send(query_msg(f'INSERT INTO q VALUES ({i})'))
        wait_for(lambda: c.states().count('waiting') == 9, 5, 'all to wait')
        for client in clients[::2]:
            client.close(terminate=False)
        wait_for(lambda: c.states().count('waiting') == 4, 5, 'some to be gone')
        holder.must('COMMIT')
        for client in clients[1::2]:
            check_eq(client.read_until('Z').tags, ['INSERT 0 1'])
        check_eq(c.primary.count('INTO q'), 4)


@test
def query_wait_timeout_0_waits():
    with Cluster(standbys=0, workers=1, default_pool_size=1, query_wait_timeout=0) as c:
        holder, waiter = c.client(), c.client()
        holder.must('BEGIN')
        waiter.send(query_msg('INSERT INTO q VALUES (1)'))
        check(not waiter.has_input(0.7), 'it did not wait')
        holder.must('COMMIT')
        check_eq(waiter.read_until('Z').tags, ['INSERT 0 1'])


# --- settings


@test
def startup_settings_are_laid_on():
    with Cluster(standbys=1, workers=1) as c:
        a = c.client(application_name='one', options='-c search_path=x,y')
        b = c.client(application_name="t'w\\o")
        for _ in range(4):
            for client in (a, b):
                check_eq(client.must("SELECT 'echo:s' FROM t FOR UPDATE").value, 's')
        laid = c.primary.seen('set_config')
        check(any("E'one'" in sql for sql in laid) and any("E't''w\\\\o'" in sql for sql in laid), laid)
        check(any('RESET "search_path"' in sql for sql in c.primary.seen('RESET')), c.primary.seen('RESET'))


@test
def a_startup_setting_that_is_refused(c):
    for node in c.nodes:
        node.on('no_such', lambda q: q.error('42704', 'unrecognized configuration parameter "no_such"'))
    try:
        c.client(options='-c no_such=1')
    except ServerError as error:
        check_eq((error.code, error['S']), ('42704', 'FATAL'))
    else:
        raise AssertionError('logged in')
    for node in c.nodes:
        node.rules = []
    c.settles()


# --- cancel


@test
def cancel_of_a_running_statement(c):
    c.primary.on('INTO slow', later(1))
    client = c.client()
    client.send(query_msg('INSERT INTO slow VALUES (1)'))
    wait_for(lambda: c.primary.count('INTO slow'), 5, 'the statement')
    cancel(c.pgshunt.port, client.key)
    wait_for(lambda: c.primary.cancels, 5, 'the cancel request')
    number = next(n for n, sql in c.primary.log if 'INTO slow' in sql)
    check_eq(c.primary.cancels, [number])
    check_eq(client.read_until('Z').status, 'I')
    client.close()
    c.settles()


@test
def cancel_of_one_that_waits():
    with Cluster(standbys=0, workers=1, default_pool_size=1) as c:
        holder, waiter = c.client(), c.client()
        holder.must('BEGIN')
        waiter.send(query_msg('INSERT INTO q VALUES (1)'))
        wait_for(lambda: 'waiting' in c.states(), 5, 'it to wait')
        cancel(c.pgshunt.port, waiter.key)
        result = waiter.read_until('Z')
        check_eq((result.error.code, result.status), ('57014', 'I'))
        check_eq(holder.must('COMMIT').status, 'I')
        check_eq(waiter.must('SELECT 1').status, 'I')
        check_eq(c.primary.count('INTO q'), 0)
        check_eq(c.primary.cancels, [])


@test
def cancel_of_an_idle_client_or_with_a_wrong_key(c):
    client = c.client()
    cancel(c.pgshunt.port, client.key)
    cancel(c.pgshunt.port, (client.key[0], b'xxxx'))
    cancel(c.pgshunt.port, (client.key[0] ^ 0x7fffffff, client.key[1]))
    cancel(c.pgshunt.port, (client.key[0], client.key[1] + b'x'))
    check_eq(client.must('SELECT 1').status, 'I')
    check_eq([node.cancels for node in c.nodes], [[], [], []])


@test
def a_server_is_not_lent_while_a_cancel_is_on_its_way():
    """It could hit somebody else's statement. The fake server keeps the cancel connection open for a while."""
    with Cluster(standbys=0, workers=1, default_pool_size=1) as c:
        note = c.primary.note_cancel
        c.primary.note_cancel = lambda number: (note(number), time.sleep(1))
        for leave in (False, True):
            client = c.client()
            if leave:
                client.must('CREATE TEMP TABLE mine (a int)')
            c.primary.on('INTO slow', later(0.3), times=1)
            client.send(query_msg('INSERT INTO slow VALUES (1)'))
            wait_for(lambda: c.primary.count('INTO slow'), 5, 'the statement')
            c.primary.cancels.clear()
            cancel(c.pgshunt.port, client.key, wait=False)
            wait_for(lambda: c.primary.cancels, 5, 'the cancel request')
            began = time.monotonic()
            check_eq(client.read_until('Z').status, 'I')
            if leave:
                client.close()          # the reset ends before the cancel does
            other = c.client()
            check_eq(other.must("SELECT 'echo:later' FROM t").value, 'later')
            check(time.monotonic() - began > 0.5, 'lent while the cancel was under way')
            other.close()
            client.close()
            c.primary.reset()


@test
def a_server_is_not_lent_while_it_is_reset(c):
    """The cancel ends before the reset does."""
    c.primary.on('DISCARD ALL', later(0.6))
    client = c.client()
    client.must('CREATE TEMP TABLE mine (a int)')
    c.primary.on('INTO slow', later(0.3), times=1)
    note = c.primary.note_cancel
    c.primary.note_cancel = lambda number: (note(number), time.sleep(0.5))
    client.send(query_msg('INSERT INTO slow VALUES (1)'))
    wait_for(lambda: c.primary.count('INTO slow'), 5, 'the statement')
    cancel(c.pgshunt.port, client.key, wait=False)
    check_eq(client.read_until('Z').status, 'I')
    client.close()
    others = [c.client() for _ in range(8)]
    for _ in range(12):
        for i, other in enumerate(others):
            check_eq(other.must(f"SELECT 'echo:r{i}' FROM t FOR UPDATE").value, f'r{i}')
        time.sleep(0.05)
    c.primary.note_cancel = note
    for other in others:
        other.close()
    c.settles()


# --- logins that fail


def refuse_with(code, text='no'):
    def act(conn):
        if not conn.is_monitor:
            conn.send(msg('E', fields_body('FATAL', code, text, {})))
            raise Cut
    return act


def login_error(c):
    try:
        c.client()
    except ServerError as error:
        return error
    raise AssertionError('logged in')


def failing_login(code, want, name):
    def body():
        with Cluster(standbys=1, wait=False, primary_wait='1s', server_connect_timeout='500ms') as c:
            for node in c.nodes:
                node.on_login = refuse_with(code)
            check_error(login_error(c), want, 'FATAL')
            for node in c.nodes:
                node.on_login = None
            wait_for(lambda: logs_in(c), 5, 'logins to work again')
    body.__name__ = f'server_login_{name}'
    return test(body)


def logs_in(c):
    try:
        return c.client().must('SELECT 1').status == 'I'
    except (ServerError, Closed):
        return False


for row in (('28P01', '28P01', 'password'), ('28000', '28000', 'authorization'), ('3D000', '3D000', 'database'), ('53300', '53300', 'too_many'),
            ('57P03', '57P03', 'starting_up')):
    failing_login(*row)


@test
def server_login_that_hangs():
    with Cluster(standbys=1, wait=False, primary_wait='1s', server_connect_timeout='300ms') as c:
        def hang(conn):
            if not conn.is_monitor:
                raise Hang
        for node in c.nodes:
            node.on_login = hang
        started = time.monotonic()
        check(login_error(c).code in ('57P03', '08001'), 'wrong code')
        check(time.monotonic() - started < 5 * SLOW, 'it took too long')
        for node in c.nodes:
            node.on_login = None
        wait_for(lambda: logs_in(c), 5, 'logins to work again')


@test
def server_refuses_a_logged_in_client():
    """The pool can't open what a batch needs: the batch gets the error, the session lives."""
    with Cluster(standbys=0, workers=1, primary_wait='1s') as c:
        client = c.client()
        for code in ('28P01', '3D000'):
            c.primary.on_login = refuse_with(code)
            c.primary.cut_all()
            time.sleep(0.3)
            check_error(client.query('INSERT INTO t VALUES (1)'), code, 'ERROR')
        c.primary.on_login = refuse_with('53300', 'too many clients')
        time.sleep(0.4)                 # within server_login_retry the last error is the answer
        result = client.query('INSERT INTO t VALUES (1)', timeout=20)
        check(result.error.code == '53300' and result.status == 'I', result)
        c.primary.on_login = None
        wait_for(lambda: not client.query('INSERT INTO t VALUES (1)').error, 5, 'it to work again')


# --- pins


@test
def pins_hold_the_server_until_discard_all(c):
    client = c.client()
    for sql in ('LISTEN ch', 'CREATE TEMP TABLE x (a int)', 'SELECT pg_advisory_lock(1)', 'DO $$begin end$$'):
        client.must(sql)
        check_eq(len(c.lent()), 1, sql)
        number = c.primary.log[-1][0]
        client.must('INSERT INTO x VALUES (1)')
        check_eq(c.primary.log[-1][0], number, sql)
        client.must('DISCARD ALL')
        check_eq(c.lent(), [], sql)
    client.close()
    c.settles()


# --- shutdown


def terminated(client):
    error = client.read_error(10)
    check_error(error, '57P01', 'FATAL')
    client.expect_closed()


def shutdown_in(prepare, after=None):
    """prepare(c, client); SIGTERM; after(c, client) ends what was under way; then 57P01, and the process ends by itself."""
    def body():
        with Cluster(standbys=1) as c:
            client = c.client()
            prepare(c, client)
            c.pgshunt.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            if after:
                after(c, client)
            terminated(client)
            check_eq(c.pgshunt.process.wait(10 * SLOW), 0)
    body.__name__ = 'shutdown_' + prepare.__name__
    test(body)


def in_ready(c, client):
    client.must('SELECT 1')


def in_ready_with_half_a_message(c, client):
    client.send(query_msg('SELECT 1')[:-3])


def in_held(c, client):
    client.must('BEGIN')


def commits(c, client):
    check_eq(client.must('INSERT INTO t VALUES (1)').status, 'T')
    check_eq(client.must('COMMIT').status, 'I')


def in_pinned(c, client):
    client.must('LISTEN ch')


def in_relay(c, client):
    c.primary.on('INTO slow', later(0.6))
    client.send(query_msg('INSERT INTO slow VALUES (1)'))


def in_relay_pinned(c, client):
    client.must('LISTEN ch')
    in_relay(c, client)


def gets_its_answer(c, client):
    check_eq(client.read_until('Z').tags, ['INSERT 0 1'])


def in_open(c, client):
    client.send(parse_msg('', 'SELECT a FROM t'), describe_msg('S'), FLUSH)
    client.read_until('T')


def binds(c, client):
    client.send(bind_msg(), execute_msg(), SYNC)
    check_eq(client.read_until('Z').types, '2DCZ')


def in_copy(c, client):
    client.send(query_msg('COPY t FROM STDIN'))
    client.read_until('G')


def copies(c, client):
    client.send(msg('d', b'1\n'), msg('c'))
    check_eq(client.read_until('Z').tags, ['COPY 1'])


def in_failed(c, client):
    client.must('BEGIN')
    c.primary.on('INTO lost', lambda q: q.cut())
    check_eq(client.query('INSERT INTO lost VALUES (1)').error.code, '40001')


def rolls_back(c, client):
    check_eq(client.must('ROLLBACK').status, 'I')


for states in ((in_ready,), (in_ready_with_half_a_message,), (in_held, commits), (in_pinned,), (in_relay, gets_its_answer), (in_relay_pinned, gets_its_answer),
               (in_open, binds), (in_copy, copies), (in_failed, rolls_back)):
    shutdown_in(*states)


@test
def shutdown_in_login():
    with Cluster(standbys=1) as c:
        client = c.client(login=False)
        client.send(startup_packet(APP)[:10])
        time.sleep(0.1)
        c.pgshunt.process.send_signal(signal.SIGTERM)
        check(client.expect_closed() is not None, 'still open')
        check_eq(c.pgshunt.process.wait(10 * SLOW), 0)


@test
def a_second_sigterm_ends_at_once():
    with Cluster(standbys=1) as c:
        c.on_any_standby('FROM hung', never)
        clients = [c.client() for _ in range(3)]
        clients[0].must('BEGIN')
        clients[1].send(query_msg('SELECT a FROM hung'))
        clients[2].send(query_msg('COPY t FROM STDIN'))
        time.sleep(0.2)
        for _ in range(2):
            c.pgshunt.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        check_eq(c.pgshunt.process.wait(10 * SLOW), 0)


@test
def kill_client(c):
    client = c.client()
    client.must('BEGIN')
    ids = [r['id'] for r in c.show('CLIENTS') if r['database'] == 'app']
    with c.client(user='admin', database='pgshunt') as console:
        console.must(f'KILL_CLIENT {ids[0]}')
    terminated(client)
    c.settles()


run(cluster={'standbys': 2, 'default_pool_size': 8})
