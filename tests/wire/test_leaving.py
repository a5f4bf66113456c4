#!/usr/bin/python3
"""A client that goes away, in every state a session has: nothing leaks, and no server is lent on with what it has left behind."""
import socket
import struct

from fakeserver import later, never
from harness import check, check_eq, run, test, wait_for
from pgwire import FLUSH, SYNC, bind_msg, cstr, describe_msg, execute_msg, msg, parse_msg, query_msg, startup_packet

APP = {'user': 'app', 'database': 'app'}


def by_terminate(client):
    client.close()


def by_end(client):
    client.close(terminate=False)


def by_reset(client):
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    client.sock.close()


def every_way(prepare):
    """prepare(c) -> a client in the state of the test's name; then it leaves, in three ways."""
    for how in (by_terminate, by_end, by_reset):
        def body(c, how=how):
            client = prepare(c)
            how(client)
            c.settles()
        body.__name__ = f'{prepare.__name__}_{how.__name__}'
        body.__signature__ = __import__('inspect').signature(lambda c: None)
        test(body)


@every_way
def in_start(c):
    client = c.client(login=False)
    client.send(startup_packet(APP)[:9])
    return client


@every_way
def in_welcome(c):
    """Its parameters have been asked for, the answer is on its way: it must not reach the next borrower."""
    for node in c.nodes:
        node.on('set_config', later(0.3))
    client = c.client(login=False)
    # nobody has asked for this combination before: a server must be asked
    client.send(startup_packet({**APP, 'application_name': f'w{id(client)}'}))
    wait_for(lambda: sum(c.count('set_config').values()), 5, 'the question')
    return client


@every_way
def in_ready(c):
    client = c.client()
    client.must('SELECT 1')
    return client


@every_way
def in_ready_with_half_a_message(c):
    client = c.client()
    client.send(query_msg('SELECT 1')[:-4])
    return client


@every_way
def in_ready_with_half_a_batch(c):
    client = c.client()
    client.send(parse_msg('', 'INSERT INTO t VALUES (1)'), bind_msg())
    return client


@every_way
def in_relay_of_a_read(c):
    c.on_any_standby('FROM hung', later(1))
    client = c.client()
    client.send(query_msg('SELECT a FROM hung'))
    wait_for(lambda: sum(c.count('FROM hung').values()), 5, 'the statement to arrive')
    return client


@every_way
def in_relay_of_a_write(c):
    c.primary.on('INTO hung', later(1))
    client = c.client()
    client.send(query_msg('INSERT INTO hung VALUES (1)'))
    wait_for(lambda: c.primary.count('INTO hung'), 5, 'the statement to arrive')
    return client


@every_way
def in_relay_in_a_transaction(c):
    c.primary.on('INTO hung', later(0.5))
    client = c.client()
    client.must('BEGIN')
    client.send(query_msg('INSERT INTO hung VALUES (1)'))
    wait_for(lambda: c.primary.count('INTO hung'), 5, 'the statement to arrive')
    return client


@every_way
def in_the_middle_of_a_result(c):
    def act(q):
        q.row_description(['a'])
        for _ in range(3000):
            q.row(['x' * 5000])
        q.complete('SELECT 3000')
    c.on_any_standby('FROM big', act)
    client = c.client()
    client.send(query_msg('SELECT a FROM big'))
    client.read_until('D')
    return client


@every_way
def in_open(c):
    client = c.client()
    client.send(parse_msg('', 'SELECT a FROM t'), describe_msg('S'), FLUSH)
    client.read_until('T')
    return client


@every_way
def in_open_with_a_write(c):
    client = c.client()
    client.send(parse_msg('', 'INSERT INTO t VALUES (1)'), bind_msg(), execute_msg(), FLUSH)
    client.read_until('C')
    return client


@every_way
def in_copy_in(c):
    client = c.client()
    client.send(query_msg('COPY t FROM STDIN'))
    client.read_until('G')
    client.send(msg('d', b'1\n' * 1000), msg('d', b'2\n' * 100)[:50])
    return client


@every_way
def in_held_by_a_transaction(c):
    client = c.client()
    client.must('BEGIN')
    client.must('INSERT INTO t VALUES (1)')
    return client


@every_way
def in_held_by_a_pin(c):
    client = c.client()
    client.must('CREATE TEMP TABLE mine (a int)')
    client.must('LISTEN ch')
    return client


@every_way
def in_held_after_an_error(c):
    client = c.client()
    client.must('BEGIN')
    client.extended('BAD SYNTAX')
    return client


@every_way
def in_failed(c):
    client = c.client()
    client.must('BEGIN')
    client.must('INSERT INTO t VALUES (1)')
    number = c.primary.log[-1][0]
    next(x for x in c.primary.connections if x.number == number).sock.shutdown(socket.SHUT_RDWR)
    check_eq(client.query('UPDATE t SET a = 1').error.code, '40001')
    return client


@every_way
def in_skip(c):
    c.primary.on('INTO lost', lambda q: q.cut(), times=1)
    client = c.client()
    client.send(parse_msg('', 'INSERT INTO lost VALUES (1)'), bind_msg(), execute_msg(), FLUSH)
    check_eq(client.read_until('E').error.code, '08007')
    return client


@every_way
def in_console(c):
    client = c.client(user='admin', database='pgshunt')
    client.must('SHOW VERSION')
    client.send(msg('Q', cstr('SHOW POOLS'))[:-2])
    return client


@test
def in_wait_for_a_server(c):
    """It stands in the queue; who comes behind it moves up."""
    holders = [c.client() for _ in range(20)]
    for holder in holders:
        holder.send(query_msg('BEGIN'))
    wait_for(lambda: 'waiting' in c.states(), 5, 'somebody to wait')
    for holder in holders:
        holder.close()
    c.settles()


@test
def what_it_sent_before_terminate_is_done(c):
    """Statement and Terminate in one packet, and away: PostgreSQL runs it."""
    client = c.client()
    client.must('INSERT INTO t VALUES (1)')         # its worker has a server at hand: who leaves while it waits for one runs nothing
    client.sock.sendall(query_msg('INSERT INTO t VALUES (4711)') + msg('X'))
    client.sock.close()
    wait_for(lambda: c.primary.count('4711'), 5, 'the statement to arrive')
    c.settles()


@test
def a_pinned_server_is_reset_before_it_is_lent(c):
    client = c.client()
    client.must('CREATE TEMP TABLE mine (a int)')
    client.close()
    c.settles()
    check(c.primary.count('DISCARD ALL') + (not any(x.state for x in c.primary.connections)), 'neither reset nor closed')
    check_eq(c.primary.count('DISCARD ALL'), 1)


@test
def a_statement_in_flight_does_not_hold_up_others(c):
    c.on_any_standby('FROM hung', never)
    clients = [c.client() for _ in range(3)]
    for client in clients:
        client.send(query_msg('SELECT a FROM hung'))
    wait_for(lambda: sum(c.count('FROM hung').values()) == 3, 5, 'the statements to arrive')
    for client in clients:
        client.close()
    c.settles()


@test
def sync_only_and_away(c):
    client = c.client()
    client.send(SYNC, SYNC)
    check_eq(client.read_until('Z').status, 'I')
    check_eq(client.read_until('Z').status, 'I')
    client.close()
    c.settles()


run(cluster={'standbys': 2, 'default_pool_size': 8})
