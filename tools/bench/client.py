"""client - PostgreSQL's protocol over a plain socket, as little of it as the measurements need; SCRAM is done by hand, so that
thousands log in within seconds.
"""
import base64
import hashlib
import hmac
import os
import socket
import struct

from lab import PASSWORD

READY = b'Z\0\0\0\5I'      # what an answer outside a transaction ends with


def message(kind, body):
    return kind + struct.pack('!I', len(body) + 4) + body


def startup(dbname):
    body = struct.pack('!I', 196608) + b'user\0app\0database\0' + dbname.encode() + b'\0application_name\0bench\0\0'
    return struct.pack('!I', len(body) + 4) + body


def digest(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


class Client:
    """One connection, driven by what arrives: startup, SCRAM, then ready; after that it may be asked to run a statement."""

    def __init__(self, port, dbname='app'):
        self.socket = socket.create_connection(('127.0.0.1', port), 10)
        self.input = b''
        self.first = b''
        self.ready = False
        self.socket.sendall(startup(dbname))

    def run(self, sql):
        self.ready = False
        self.socket.sendall(message(b'Q', sql.encode() + b'\0'))

    def receive(self):
        more = self.socket.recv(65536)
        if not more:
            raise ConnectionError('the proxy closed the connection')
        self.input += more
        while len(self.input) >= 5:
            size = 1 + struct.unpack_from('!I', self.input, 1)[0]
            if len(self.input) < size:
                return
            kind, body, self.input = self.input[:1], self.input[5:size], self.input[size:]
            self.take(kind, body)

    def take(self, kind, body):
        if kind == b'R':
            self.authenticate(struct.unpack_from('!I', body)[0], body[4:])
        elif kind == b'Z':
            self.ready = True
        elif kind == b'E':
            raise ConnectionError(body.replace(b'\0', b' ').decode(errors='replace'))

    def authenticate(self, step, body):
        if step == 10:
            self.first = b'n=,r=' + base64.b64encode(os.urandom(18))
            first = b'n,,' + self.first
            self.socket.sendall(message(b'p', b'SCRAM-SHA-256\0' + struct.pack('!I', len(first)) + first))
        elif step == 11:
            self.socket.sendall(message(b'p', self.prove(body)))

    def prove(self, server_first):
        said = dict(part.split(b'=', 1) for part in server_first.split(b','))
        salted = hashlib.pbkdf2_hmac('sha256', PASSWORD.encode(), base64.b64decode(said[b's']), int(said[b'i']))
        client_key = digest(salted, b'Client Key')
        final = b'c=biws,r=' + said[b'r']
        signature = digest(hashlib.sha256(client_key).digest(), b','.join((self.first, server_first, final)))
        return final + b',p=' + base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature)))


class Bulk(Client):
    """A connection that waits for its answers, and counts bytes instead of keeping them."""

    def __init__(self, port, dbname='app'):
        super().__init__(port, dbname)
        self.buffer = bytearray(1 << 18)
        self.moved = 0
        while not self.ready:
            self.receive()

    def swallow(self, end=READY):
        """Everything up to the message that ends it."""
        tail = b''
        while not tail.endswith(end):
            got = self.socket.recv_into(self.buffer)
            if not got:
                raise ConnectionError('the proxy closed the connection')
            self.moved += got
            tail = (tail + bytes(self.buffer[max(0, got - len(end)):got]))[-len(end):]
            if got < 4096 and self.buffer[0:1] == b'E':
                raise ConnectionError(bytes(self.buffer[5:got]).replace(b'\0', b' ').decode(errors='replace'))

    def send(self, data):
        self.socket.sendall(data)
        self.moved += len(data)

    def read(self, sql):
        self.send(message(b'Q', sql.encode() + b'\0'))
        self.swallow()

    def copy_in(self, table, piece, times):
        self.send(message(b'Q', f'COPY {table} FROM STDIN'.encode() + b'\0'))
        while self.socket.recv(1, socket.MSG_PEEK) != b'G':
            self.swallow()
        self.socket.recv(65536)
        data = message(b'd', piece)
        for _ in range(times):
            self.send(data)
        self.send(message(b'c', b''))
        self.swallow()

    def bind(self, value, times):
        """One statement with one large binary parameter, again and again."""
        head = message(b'P', b'\0SELECT octet_length($1::bytea)\0' + struct.pack('!HI', 1, 17))
        parameter = struct.pack('!HHHI', 1, 1, 1, len(value)) + value + struct.pack('!H', 0)
        tail = message(b'B', b'\0\0' + parameter) + message(b'E', b'\0\0\0\0\0') + message(b'S', b'')
        for _ in range(times):
            self.send(head + tail)
            self.swallow()

    def leave(self):
        self.socket.sendall(message(b'X', b''))
        self.socket.close()
