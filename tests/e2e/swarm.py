"""swarm - many clients in one process: they log in (SCRAM, md5, plain, trust), run simple queries, wait; all driven by what arrives.

    swarm = Swarm(port, user='app', password='app')
    swarm.log_in(1000)              # so many more, some at a time
    swarm.run('BEGIN', 'COMMIT')    # everybody at once, one statement after the other; -> the errors
    swarm.leave()

The password is hashed once a salt: what a login costs here is little beside what it costs the proxy.
"""
import base64
import functools
import hashlib
import hmac
import os
import selectors
import socket
import struct

TERMINATE = b'X\0\0\0\4'


def message(kind, body):
    return kind + struct.pack('!I', len(body) + 4) + body


def digest(key, text):
    return hmac.digest(key, text, 'sha256')


@functools.lru_cache(maxsize=None)
def salted(password, salt, iterations):
    return hashlib.pbkdf2_hmac('sha256', password.encode(), base64.b64decode(salt), iterations)


def verifier(password, salt, iterations=4096):
    """As PostgreSQL keeps it in pg_authid."""
    encoded = base64.b64encode(salt)
    key = salted(password, encoded, iterations)
    stored, server = hashlib.sha256(digest(key, b'Client Key')).digest(), digest(key, b'Server Key')
    return f'SCRAM-SHA-256${iterations}:{encoded.decode()}${base64.b64encode(stored).decode()}:{base64.b64encode(server).decode()}'


def fields_of(body):
    return {part[:1].decode(): part[1:].decode(errors='replace') for part in body.split(b'\0') if part}


class Client:
    def __init__(self, port, user, password, dbname):
        self.user, self.password, self.dbname = user, password, dbname
        self.socket = socket.create_connection(('127.0.0.1', port), 30)
        self.socket.setblocking(False)
        self.input, self.first = b'', b''
        self.busy = True
        self.error = None               # the last ErrorResponse, as a dict of its fields
        self.asked, self.challenges = [], []    # codes and bodies of the server's Authentication messages
        self.rows = []                  # bodies of DataRow messages of the query under way
        self.script = []                # what is still to be run
        body = struct.pack('!I', 196608) + b''.join(x.encode() + b'\0' for x in ('user', user, 'database', dbname)) + b'\0'
        self.socket.sendall(struct.pack('!I', len(body) + 4) + body)

    def run(self, *script):
        self.script = list(script)
        self.error = None
        self.next()

    def next(self):
        self.busy, self.rows = True, []
        self.socket.sendall(message(b'Q', self.script.pop(0).encode() + b'\0'))

    def receive(self):
        try:
            more = self.socket.recv(65536)
        except ConnectionError:
            more = b''
        if not more:
            self.error = self.error or {'C': 'closed', 'M': 'the proxy closed the connection'}
            self.busy = False
            return
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
            self.busy = False
            if self.script:
                self.next()
        elif kind == b'D':
            self.rows.append(body)
        elif kind == b'E':
            self.error = fields_of(body)

    def authenticate(self, step, body):
        self.asked.append(step)
        self.challenges.append(body)
        if step == 3:
            self.socket.sendall(message(b'p', self.password.encode() + b'\0'))
        elif step == 5:
            inner = hashlib.md5((self.password + self.user).encode()).hexdigest()
            self.socket.sendall(message(b'p', b'md5' + hashlib.md5(inner.encode() + body).hexdigest().encode() + b'\0'))
        elif step == 10:
            self.first = b'n=,r=' + base64.b64encode(os.urandom(18))
            first = b'n,,' + self.first
            self.socket.sendall(message(b'p', b'SCRAM-SHA-256\0' + struct.pack('!I', len(first)) + first))
        elif step == 11:
            self.socket.sendall(message(b'p', self.prove(body)))

    def prove(self, server_first):
        said = dict(part.split(b'=', 1) for part in server_first.split(b','))
        client_key = digest(salted(self.password, said[b's'], int(said[b'i'])), b'Client Key')
        final = b'c=biws,r=' + said[b'r']
        signature = digest(hashlib.sha256(client_key).digest(), b','.join((self.first, server_first, final)))
        return final + b',p=' + base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature)))

    def leave(self):
        try:
            self.socket.sendall(TERMINATE)
        except OSError:
            pass
        self.socket.close()


class Swarm:
    def __init__(self, port, user='app', password='app', dbname='app'):
        self.port, self.user, self.password, self.dbname = port, user, password, dbname
        self.clients = []

    @staticmethod
    def wait(clients, seconds=60):
        """Until each of these has been answered."""
        waiting = {client for client in clients if client.busy}
        with selectors.DefaultSelector() as selector:
            for client in waiting:
                selector.register(client.socket, selectors.EVENT_READ, client)
            while waiting:
                events = selector.select(seconds)
                if not events:
                    raise TimeoutError(f'{len(waiting)} clients wait for an answer for {seconds} s')
                for key, _ in events:
                    key.data.receive()
                    if not key.data.busy:
                        selector.unregister(key.fileobj)
                        waiting.discard(key.data)

    def log_in(self, count, at_once=50):
        for at in range(0, count, at_once):
            new = [Client(self.port, self.user, self.password, self.dbname) for _ in range(min(at_once, count - at))]
            self.clients += new
            self.wait(new)
            for client in new:
                if client.error:
                    raise ConnectionError(f'{client.error}')

    def run(self, *script, seconds=60):
        for client in self.clients:
            client.run(*script)
        self.wait(self.clients, seconds)
        return [client.error for client in self.clients if client.error]

    def leave(self):
        for client in self.clients:
            client.leave()
        self.clients = []


def logins(port, count, at_once=50, **who):
    """So many logins, each of which ends at once."""
    for at in range(0, count, at_once):
        swarm = Swarm(port, **who)
        swarm.log_in(min(at_once, count - at), at_once)
        swarm.leave()
