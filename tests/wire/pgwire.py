"""pgwire - PostgreSQL's protocol by hand, for a client that may also be rude. Standard library only.

Messages are (type, body): type is one character, body what follows the length. Client reads them one by one or whole answers.
"""
import base64
import hashlib
import hmac
import os
import socket
import struct
import time

PROTOCOL_3_0 = 3 << 16
PROTOCOL_3_2 = 3 << 16 | 2
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
CANCEL_REQUEST = 80877102


class Closed(Exception):
    """The other side closed the connection (or reset it)."""


class TimedOut(Exception):
    """Nothing came in time."""


class ServerError(Exception):
    """An ErrorResponse; fields by letter: e['C'] is the SQLSTATE."""

    def __init__(self, fields):
        super().__init__(f"{fields.get('S')} {fields.get('C')}: {fields.get('M')} HINT: {fields.get('H')}")
        self.fields = fields

    def __getitem__(self, letter):
        return self.fields.get(letter)

    @property
    def code(self):
        return self.fields.get('C')


# --- building


def i16(value):
    return struct.pack('!H', value & 0xffff)


def i32(value):
    return struct.pack('!I', value & 0xffffffff)


def cstr(text):
    return (text if isinstance(text, bytes) else text.encode()) + b'\0'


def msg(kind, body=b''):
    return kind.encode() + i32(len(body) + 4) + body


def packet(body):
    """A message without a type: startup and its kin."""
    return i32(len(body) + 4) + body


def startup_packet(params, protocol=PROTOCOL_3_0):
    pairs = params.items() if isinstance(params, dict) else params
    return packet(i32(protocol) + b''.join(cstr(k) + cstr(v) for k, v in pairs) + b'\0')


def query_msg(sql):
    return msg('Q', cstr(sql))


def parse_msg(name, sql, oids=()):
    return msg('P', cstr(name) + cstr(sql) + i16(len(oids)) + b''.join(map(i32, oids)))


def bind_msg(portal='', name='', values=()):
    body = cstr(portal) + cstr(name) + i16(0) + i16(len(values))
    for value in values:
        body += i32(-1) if value is None else i32(len(value.encode())) + value.encode()
    return msg('B', body + i16(0))


def describe_msg(kind='P', name=''):
    return msg('D', kind.encode() + cstr(name))


def execute_msg(portal='', limit=0):
    return msg('E', cstr(portal) + i32(limit))


SYNC, FLUSH, TERMINATE = msg('S'), msg('H'), msg('X')


# --- taking apart


def split_cstrs(body):
    return [x.decode(errors='replace') for x in body.split(b'\0')]


def read_fields(body):
    """Of an ErrorResponse or NoticeResponse."""
    return {x[:1].decode(): x[1:].decode(errors='replace') for x in body.split(b'\0') if x}


def read_columns(body):
    names, at = [], 2
    for _ in range(struct.unpack_from('!H', body)[0]):
        end = body.index(b'\0', at)
        names.append(body[at:end].decode())
        at = end + 1 + 18
    return names


def read_row(body):
    values, at = [], 2
    for _ in range(struct.unpack_from('!H', body)[0]):
        length = struct.unpack_from('!i', body, at)[0]
        at += 4
        values.append(None if length < 0 else body[at:at + length].decode(errors='replace'))
        at += max(length, 0)
    return values


class Result:
    """All that came up to ReadyForQuery."""

    def __init__(self):
        self.types = ''         # message types in order
        self.columns, self.rows, self.tags = [], [], []
        self.errors, self.notices, self.params = [], [], []
        self.status = None

    def add(self, kind, body):
        self.types += kind
        if kind == 'T':
            self.columns = read_columns(body)
        elif kind == 'D':
            self.rows.append(read_row(body))
        elif kind == 'C':
            self.tags.append(body[:-1].decode())
        elif kind == 'E':
            self.errors.append(ServerError(read_fields(body)))
        elif kind == 'N':
            self.notices.append(read_fields(body))
        elif kind == 'S':
            self.params.append(tuple(split_cstrs(body)[:2]))
        elif kind == 'Z':
            self.status = body.decode()

    @property
    def error(self):
        return self.errors[0] if self.errors else None

    @property
    def value(self):
        return self.rows[0][0] if self.rows else None

    def __repr__(self):
        return f'Result({self.types} rows={self.rows[:3]} tags={self.tags} errors={[str(e) for e in self.errors]} status={self.status})'


# --- SCRAM-SHA-256 as client (RFC 5802, 7677; no channel binding)


class Scram:
    def __init__(self, password):
        self.password = password.encode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = f'n=,r={self.nonce}'

    def first(self):
        data = ('n,,' + self.bare).encode()
        return cstr('SCRAM-SHA-256') + i32(len(data)) + data

    def final(self, challenge):
        parts = dict(x.split('=', 1) for x in challenge.decode().split(','))
        assert parts['r'].startswith(self.nonce), 'the server changed our nonce'
        salted = hashlib.pbkdf2_hmac('sha256', self.password, base64.b64decode(parts['s']), int(parts['i']))
        client_key = hmac.digest(salted, b'Client Key', 'sha256')
        without_proof = f"c=biws,r={parts['r']}"
        signed = f'{self.bare},{challenge.decode()},{without_proof}'.encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, 'sha256')
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.server_signature = hmac.digest(hmac.digest(salted, b'Server Key', 'sha256'), signed, 'sha256')
        return f'{without_proof},p={base64.b64encode(proof).decode()}'.encode()

    def verify(self, last):
        assert last == b'v=' + base64.b64encode(self.server_signature), 'the server does not know the password'


def md5_answer(user, password, salt):
    inner = hashlib.md5(password.encode() + user.encode()).hexdigest()
    return 'md5' + hashlib.md5(inner.encode() + salt).hexdigest()


class Client:
    """A connection. Client(port) logs in at once; Client(port, login=False) leaves all to the test."""

    def __init__(self, port, user='app', database='app', password=None, login=True, timeout=10, host='127.0.0.1', **params):
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = b''
        self.params, self.key, self.negotiated, self.status, self.auth_asked = {}, None, None, None, []
        self.user, self.database, self.password = user, database, password
        if login:
            self.login(**params)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self, terminate=True):
        try:
            if terminate:
                self.sock.sendall(TERMINATE)
        except OSError:
            pass
        self.sock.close()

    # bytes

    def send(self, *parts):
        try:
            self.sock.sendall(b''.join(parts))
        except OSError as gone:
            raise Closed(str(gone)) from gone

    def send_bytewise(self, data, pause=0):
        for i in range(len(data)):
            self.send(data[i:i + 1])
            if pause:
                time.sleep(pause)

    def _fill(self, wanted, deadline):
        while len(self.buffer) < wanted:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut(f'only {len(self.buffer)} of {wanted} bytes: {self.buffer[:60]!r}')
            self.sock.settimeout(left)
            try:
                got = self.sock.recv(262144)
            except socket.timeout:
                continue
            except OSError as gone:
                raise Closed(str(gone)) from gone
            if not got:
                raise Closed(f'end of stream with {len(self.buffer)} bytes left over')
            self.buffer += got

    def read_bytes(self, count, timeout=None):
        self._fill(count, time.monotonic() + (timeout or self.timeout))
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read(self, timeout=None):
        """-> (type, body)"""
        deadline = time.monotonic() + (timeout or self.timeout)
        self._fill(5, deadline)
        length = struct.unpack_from('!I', self.buffer, 1)[0]
        self._fill(1 + length, deadline)
        kind, body = self.buffer[:1].decode('latin1'), self.buffer[5:1 + length]
        self.buffer = self.buffer[1 + length:]
        return kind, body

    def read_until(self, kinds, timeout=None):
        """Everything up to the first message of one of these types -> Result"""
        result = Result()
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            kind, body = self.read(max(deadline - time.monotonic(), 0.001))
            result.add(kind, body)
            if kind in kinds:
                self.status = result.status or self.status
                return result

    def has_input(self, seconds):
        try:
            self._fill(1, time.monotonic() + seconds)
            return True
        except TimedOut:
            return False

    def read_error(self, timeout=None):
        """The next message, which must be an ErrorResponse (notices before it are passed over)."""
        while True:
            kind, body = self.read(timeout)
            if kind == 'E':
                return ServerError(read_fields(body))
            assert kind in 'NS', f'wanted an ErrorResponse, got {kind} {body[:80]!r}'

    def expect_closed(self, timeout=None):
        """Nothing more comes but the end of the stream. -> bytes that came before it"""
        came = self.buffer
        self.buffer = b''
        try:
            while True:
                self._fill(1, time.monotonic() + (timeout or self.timeout))
                came, self.buffer = came + self.buffer, b''
        except Closed:
            return came

    # log-in

    def login(self, protocol=PROTOCOL_3_0, **params):
        self.send(startup_packet({'user': self.user, 'database': self.database, **params}, protocol))
        self.authenticate()

    def authenticate(self):
        """Answers what is asked, up to ReadyForQuery; raises ServerError."""
        scram = None
        while True:
            kind, body = self.read()
            if kind == 'R':
                scram = self._answer_auth(struct.unpack_from('!I', body)[0], body[4:], scram)
            elif kind == 'E':
                raise ServerError(read_fields(body))
            elif kind == 'S':
                name, value = split_cstrs(body)[:2]
                self.params[name] = value
            elif kind == 'K':
                self.key = (struct.unpack_from('!I', body)[0], body[4:])
            elif kind == 'v':
                count = struct.unpack_from('!I', body, 4)[0]
                self.negotiated = (struct.unpack_from('!I', body)[0], split_cstrs(body[8:])[:count])
            elif kind == 'Z':
                self.status = body.decode()
                return
            else:
                assert kind == 'N', f'unexpected {kind} while logging in'

    def _answer_auth(self, kind, rest, scram):
        self.auth_asked.append(kind)
        if kind == 3:
            self.send(msg('p', cstr(self.password or '')))
        elif kind == 5:
            self.send(msg('p', cstr(md5_answer(self.user, self.password or '', rest[:4]))))
        elif kind == 10:
            scram = Scram(self.password or '')
            self.send(msg('p', scram.first()))
        elif kind == 11:
            self.send(msg('p', scram.final(rest)))
        elif kind == 12:
            scram.verify(rest)
        else:
            assert kind == 0, f'unknown authentication request {kind}'
        return scram

    # statements

    def query(self, sql, timeout=None):
        """Simple query -> Result; errors are in it."""
        self.send(query_msg(sql))
        return self.read_until('Z', timeout)

    def must(self, sql, timeout=None):
        """Like query, but an error is raised."""
        result = self.query(sql, timeout)
        if result.error:
            raise result.error
        return result

    def extended(self, sql, values=(), name='', timeout=None):
        """Parse, Bind, Describe, Execute, Sync in one write -> Result"""
        self.send(parse_msg(name, sql), bind_msg('', name, values), describe_msg(), execute_msg(), SYNC)
        return self.read_until('Z', timeout)


def cancel(port, key, host='127.0.0.1', wait=True):
    """wait: as libpq, until the other side closes, which it does when the request has been passed on."""
    with socket.create_connection((host, port), timeout=5) as sock:
        sock.sendall(packet(i32(CANCEL_REQUEST) + i32(key[0]) + key[1]))
        try:
            if wait:
                sock.recv(1)
        except OSError:
            pass
