#!/usr/bin/python3
"""A length that can't be, on every message: FATAL 08P01 for that client; another one's statements go on."""
import struct

from harness import check, check_eq, check_error, run, test
from pgwire import PROTOCOL_3_0, Closed, SYNC, bind_msg, execute_msg, msg, parse_msg, query_msg, startup_packet

LENGTHS = [0, 3, 0x7fffffff, 0xffffffff]


def header(kind, length):
    return kind.encode() + struct.pack('!I', length)


def refused_after_login(c, data):
    with c.pgshunt.client() as client:
        client.send(data)
        error = client.read_error()
        check_error(error, '08P01', 'FATAL', hint=False)
        client.expect_closed()


def every_length(kind):
    def body(c):
        neighbour = c.client()
        for length in LENGTHS:
            refused_after_login(c, header(kind, length) + b'xxxx')
            check_eq(neighbour.must('SELECT 1').status, 'I')
    body.__name__ = f'length_of_{kind}'
    return test(body)


for letter in 'QPBDECSHFXdcf':
    every_length(letter)


@test
def length_of_a_password(c):
    for length in LENGTHS:
        with c.pgshunt.client(login=False, user='app') as client:
            client.send(startup_packet({'user': 'app', 'database': 'app'}, PROTOCOL_3_0))
            kind, _ = client.read()
            check_eq(kind, 'R')
            client.send(header('p', length))
            try:
                client.read_until('E')
            except Closed:
                pass
    c.still_works()


@test
def unknown_types(c):
    for kind in ('?', '\0', '\xff', '1', 'Z'):
        with c.pgshunt.client() as client:
            client.send(kind.encode('latin1') + struct.pack('!I', 4))
            check_error(client.read_error(), '08P01', 'FATAL', hint=False)
            client.expect_closed()
    c.still_works()


@test
def bodies_that_are_cut_short(c):
    """The length is right, what should stand in the message isn't there: an error, and the stream stays in step or ends."""
    for data in (msg('P', b'name'), msg('B', b'\0'), msg('B', b'\0\0\xff\xff'), msg('D', b''), msg('D', b'X\0'), msg('E', b'\0'),
                 msg('C', b''), msg('Q', b'SELECT 1'), msg('Q', b''), msg('F', b'')):
        with c.pgshunt.client() as client:
            client.send(data, SYNC)
            error = client.read_error()
            check(error.code in ('08P01', '22P02', '26000', '34000', '42601'), f'{data!r}: {error}')
    c.still_works()


@test
def copy_messages_outside_of_copy_are_ignored(c):
    """As PostgreSQL does: a client may have sent them before it heard of the error that ended COPY."""
    client = c.client()
    client.send(msg('d', b'1\n'), msg('c'), msg('f', b'no\0'), query_msg('SELECT 1'))
    check_eq(client.read_until('Z').status, 'I')


@test
def error_then_skip_until_sync(c):
    client = c.client()
    client.send(bind_msg('', 'no_such_statement'), execute_msg(), parse_msg('', 'SELECT 1'), SYNC)
    result = client.read_until('Z')
    check_eq(result.types, 'EZ')
    check_eq(result.error.code, '26000')
    check_eq(client.extended('SELECT 1').status, 'I')


run(cluster={'standbys': 1})
