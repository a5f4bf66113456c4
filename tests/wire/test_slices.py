#!/usr/bin/python3
"""Whole sessions cut at every byte: messages arrive in pieces of 1, 3, 7 bytes from the client, from the servers, from both."""
import time

from fakeserver import copy_out
from harness import check_eq, run, test
from pgwire import FLUSH, SYNC, bind_msg, describe_msg, execute_msg, msg, parse_msg, query_msg, startup_packet, cstr

APP = {'user': 'app', 'database': 'app', 'application_name': 'slices', 'options': '-c search_path=a,b -c work_mem=1MB'}


class Sliced:
    """Sends in pieces of so many bytes."""

    def __init__(self, client, size):
        self.client, self.size = client, size

    def send(self, *parts):
        data = b''.join(parts)
        for i in range(0, len(data), self.size or len(data)):
            self.client.send(data[i:i + (self.size or len(data))])
            if self.size:
                time.sleep(0.0002)      # so that the pieces are read one by one

    def ask(self, *parts):
        self.send(*parts)
        return self.client.read_until('Z')


def whole_session(c, s):
    client = s.client
    client.timeout = 30
    s.send(startup_packet(APP))
    client.authenticate()
    check_eq(s.ask(query_msg("SELECT 'echo:a' FROM t")).rows, [['a']])
    check_eq(s.ask(query_msg('INSERT INTO t VALUES (1)')).tags, ['INSERT 0 1'])
    result = s.ask(query_msg("SELECT 'echo:b' FROM t; SELECT 'echo:c' FROM t"))
    check_eq((result.rows, result.types), ([['b'], ['c']], 'TDCTDCZ'))
    # extended: unnamed, then named and used again from another batch
    result = s.ask(parse_msg('', 'SELECT $1 FROM t'), bind_msg('', '', ['v']), describe_msg(), execute_msg(), SYNC)
    check_eq((result.types, result.rows), ('12TDCZ', [['v']]))
    check_eq(s.ask(parse_msg('st', 'SELECT $1 FROM named'), describe_msg('S', 'st'), SYNC).types, '1tTZ')
    for value in ('one', 'two'):
        result = s.ask(bind_msg('', 'st', [value]), execute_msg(), SYNC)
        check_eq((result.types, result.rows), ('2DCZ', [[value]]))
    # flushed
    s.send(parse_msg('', 'SELECT $1 FROM flushed'), describe_msg('S'), FLUSH)
    check_eq(client.read_until('T').types, '1tT')
    check_eq(s.ask(bind_msg('', '', ['f']), execute_msg(), SYNC).rows, [['f']])
    # three batches in one
    s.send(*[x for i in range(3) for x in (parse_msg('', f"SELECT 'echo:p{i}' FROM t"), bind_msg(), execute_msg(), SYNC)])
    for i in range(3):
        check_eq(client.read_until('Z').rows, [[f'p{i}']])
    # an error, and the session is in step
    result = s.ask(parse_msg('bad', 'SELECT BAD SYNTAX'), bind_msg('', 'bad'), execute_msg(), SYNC)
    check_eq((result.types, result.error.code), ('EZ', '42601'))
    # a transaction
    check_eq(s.ask(query_msg('BEGIN')).status, 'T')
    check_eq(s.ask(bind_msg('', 'st', ['tx']), execute_msg(), SYNC).rows, [['tx']])
    check_eq(s.ask(query_msg('COMMIT')).status, 'I')
    # COPY both ways
    c.primary.on('COPY t TO', copy_out(b'1\n' * 50, b'2\n'))
    s.send(query_msg('COPY t FROM STDIN'))
    client.read_until('G')
    check_eq(s.ask(msg('d', b'1\n2\n'), msg('d', b''), msg('d', b'3\n'), msg('c')).tags, ['COPY 3'])
    check_eq(c.primary.copied[-1], b'1\n2\n3\n')
    s.send(parse_msg('', 'COPY t FROM STDIN'), bind_msg(), execute_msg(), SYNC)
    client.read_until('G')
    check_eq(s.ask(msg('d', b'5\n'), msg('c'), SYNC).tags, ['COPY 1'])
    s.send(query_msg('COPY t FROM STDIN'))
    client.read_until('G')
    check_eq(s.ask(msg('f', cstr('no'))).error.code, '57014')
    check_eq(s.ask(msg('C', b'Sst\0'), SYNC).types, '3Z')
    check_eq(s.ask(bind_msg('', 'st', ['x']), execute_msg(), SYNC).error.code, '26000')
    s.send(msg('X'))
    client.expect_closed()


def sliced(client_size, server_size):
    def body(c):
        for node in c.nodes:
            node.slice = server_size
        whole_session(c, Sliced(c.client(login=False), client_size))
        for node in c.nodes:
            node.slice = 0
        c.settles()
    body.__name__ = f'client_{client_size or "whole"}_server_{server_size or "whole"}'
    return test(body)


for sizes in ((0, 0), (1, 0), (3, 0), (7, 0), (0, 1), (0, 3), (0, 7), (1, 1), (3, 7)):
    sliced(*sizes)


run(cluster={'standbys': 2})
