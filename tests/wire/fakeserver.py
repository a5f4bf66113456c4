"""fakeserver - plays a PostgreSQL node: logs anybody in, answers the monitor as its role demands, and does what the test scripts.

    standby = FakeServer('standby1', 'standby')
    standby.on(r'FROM t', fail('25006', 'cannot execute'))          every statement that matches
    standby.on(r'FROM t', cut_after('T'), times=1)                  the first one only; a Rule may be shared by servers
    standby.count(r'FROM t')                                        how often such a statement arrived (the monitor's don't count)

An action is a function of one Query; what no rule wants gets a plausible answer: SELECT one row with the node's name.
"""
import re
import socket
import struct
import threading
import time

from answers import default_answer, monitor_answer, replication_answer, split_top
from pgwire import CANCEL_REQUEST, GSSENC_REQUEST, SSL_REQUEST, cstr, i16, i32, msg, read_row, split_cstrs

MONITOR_USERS = {'monitor'}


class Cut(Exception):
    """Close this connection now."""


class Hang(Exception):
    """Never answer, keep the connection."""


# --- actions: what a rule may do with a statement


def rows(columns, *values):
    return lambda q: q.rows(columns, values)


def fail(sqlstate, text='scripted', severity='ERROR', **fields):
    return lambda q: q.error(sqlstate, text, severity, **fields)


def conflict(q):
    """A standby cancelled the statement because replay needed to go on."""
    q.error('40001', 'canceling statement due to conflict with recovery', R='ProcessInterrupts')


def cut(q):
    q.cut()


def reset(q):
    """The connection ends with a TCP reset."""
    q.conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    q.cut()


def cut_after(kinds, columns=('a',), values=(('1',), ('2',))):
    """Sends this part of an answer and closes: 'T' RowDescription, 'TD' and a row, 'TDDC' all but ReadyForQuery."""
    def act(q):
        left = list(values)
        for kind in kinds:
            if kind == 'T':
                q.row_description(columns)
            elif kind == 'D':
                q.row(left.pop(0))
            else:
                q.complete(f'SELECT {len(values)}')
        q.cut()
    return act


def never(q):
    raise Hang


def copy_in(q, fail_after=None, sqlstate='22P02'):
    """COPY FROM STDIN: takes data until CopyDone; Sync and Flush mean nothing meanwhile. fail_after: bytes of data it stands."""
    q.send(msg('G', b'\0' + i16(0)))
    data = b''
    while True:
        kind = q.conn.take(1).decode('latin1')
        body = q.conn.take(struct.unpack('!I', q.conn.take(4))[0] - 4)
        if kind == 'd':
            data += body
            if fail_after is not None and len(data) > fail_after:
                q.error(sqlstate, 'bad data')
                return
        elif kind == 'c':
            q.server.copied.append(data)
            q.complete(f'COPY {data.count(10)}')
            return
        elif kind == 'f':
            q.error('57014', 'COPY from stdin failed')
            return
        elif kind not in 'SH':
            raise Cut


def copy_out(*pieces):
    def act(q):
        q.send(msg('H', b'\0' + i16(0)) + b''.join(msg('d', x) for x in pieces) + msg('c'))
        q.complete(f'COPY {len(pieces)}')
    return act


def later(seconds, action=None):
    def act(q):
        time.sleep(seconds)
        (action or default_answer)(q)
    return act


def raw(data, then_cut=False):
    """These bytes, whatever they are."""
    def act(q):
        q.send(data)
        if then_cut:
            q.cut()
    return act


def noticed(text, action=None, sqlstate='00000'):
    def act(q):
        q.send(msg('N', fields_body('NOTICE', sqlstate, text, {})))
        (action or default_answer)(q)
    return act


def with_param(name, value, action=None):
    """A ParameterStatus in the middle, as in_hot_standby when a standby is promoted."""
    def act(q):
        q.send(msg('S', cstr(name) + cstr(value)))
        (action or default_answer)(q)
    return act


def fields_body(severity, sqlstate, text, more):
    fields = {'S': severity, 'V': severity, 'C': sqlstate, 'M': text, **more}
    return b''.join(k.encode() + cstr(v) for k, v in fields.items()) + b'\0'


class Rule:
    def __init__(self, pattern, action, times=None):
        self.pattern, self.action, self.left = re.compile(pattern, re.I | re.S), action, times
        self.lock = threading.Lock()

    def take(self, sql):
        if not self.pattern.search(sql):
            return None
        with self.lock:
            if self.left == 0:
                return None
            if self.left is not None:
                self.left -= 1
        return self.action


class Query:
    """One statement that arrived, and the means to answer it."""

    def __init__(self, conn, sql, extended=False, values=(), limited=None):
        self.conn, self.server, self.sql, self.extended, self.values = conn, conn.server, sql, extended, values
        self.limited, self.failed = limited, False      # limited: (portal, how many rows)

    def send(self, data):
        self.conn.send(data)

    def row_description(self, columns):
        if not self.extended:
            self.send(description(columns))

    def row(self, values):
        self.send(data_row(values))

    def complete(self, tag):
        self.send(msg('C', cstr(tag)))

    def rows(self, columns, values):
        if self.limited:
            self.conn.suspended[self.limited[0]] = (list(values), f'SELECT {len(values)}')
            self.conn.go_on(*self.limited)
            return
        self.row_description(columns)
        for one in values:
            self.row(one)
        self.complete(f'SELECT {len(values)}')

    def error(self, sqlstate, text, severity='ERROR', **fields):
        self.send(msg('E', fields_body(severity, sqlstate, text, fields)))
        self.failed = True
        if self.conn.status == 'T':
            self.conn.status = 'E'
        if severity == 'FATAL':
            raise Cut

    def cut(self):
        raise Cut


def description(columns):
    body = i16(len(columns))
    for name in columns:
        body += cstr(name) + i32(0) + i16(0) + i32(25) + i16(-1) + i32(-1) + i16(0)
    return msg('T', body)


def data_row(values):
    body = i16(len(values))
    for value in values:
        data = None if value is None else value.encode() if isinstance(value, str) else value
        body += i32(-1) if data is None else i32(len(data)) + data
    return msg('D', body)


class Described(Query):
    """Asks an action only for its columns: for Describe in the extended protocol."""

    def __init__(self, conn, sql):
        super().__init__(conn, sql, True)
        self.columns = None

    def send(self, data):
        pass

    def row_description(self, columns):
        self.columns = self.columns or list(columns)

    def error(self, sqlstate, text, severity='ERROR', **fields):
        self.failed = True


class Connection:
    """A client of a fake server; a thread of its own."""

    def __init__(self, server, sock, number):
        self.server, self.sock, self.number = server, sock, number
        self.status, self.is_monitor, self.is_replication, self.user = 'I', False, False, None
        self.statements, self.portals, self.prepared, self.skipping, self.suspended = {}, {}, {}, False, {}
        self.state = set()              # temporary tables and the like: what the next borrower must not find
        self.buffer = b''

    def send(self, data):
        size = self.server.slice or len(data) or 1
        try:
            for i in range(0, len(data), size):
                self.sock.sendall(data[i:i + size])
                if self.server.slice:
                    time.sleep(0.0002)
        except OSError as gone:
            raise Cut from gone

    def take(self, count):
        while len(self.buffer) < count:
            try:
                got = self.sock.recv(65536)
            except OSError as gone:
                raise Cut from gone
            if not got:
                raise Cut
            self.buffer += got
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def run(self):
        try:
            if self.log_in():
                while True:
                    kind = self.take(1).decode('latin1')
                    body = self.take(struct.unpack('!I', self.take(4))[0] - 4)
                    if kind == 'X':
                        break
                    self.handle(kind, body)
        except Cut:
            pass
        except (ValueError, IndexError, struct.error):
            self.refuse_garbage()
        except Hang:
            self.server.stopping.wait()
        finally:
            self.server.forget(self)
            self.sock.close()

    def refuse_garbage(self):
        try:
            self.send(msg('E', fields_body('FATAL', '08P01', 'invalid message format', {})))
        except Cut:
            pass

    def log_in(self):
        while True:
            body = self.take(struct.unpack('!I', self.take(4))[0] - 4)
            code = struct.unpack_from('!I', body)[0]
            if code in (SSL_REQUEST, GSSENC_REQUEST):
                self.send(b'N')
            elif code == CANCEL_REQUEST:
                self.server.note_cancel(struct.unpack_from('!I', body, 4)[0])
                return False
            else:
                break
        words = split_cstrs(body[4:])
        self.params = dict(zip(words[0::2], words[1::2]))
        self.user = self.params.get('user')
        self.is_monitor = self.user in MONITOR_USERS
        self.is_replication = 'replication' in self.params
        if self.server.on_login:
            self.server.on_login(self)
        reported = {**self.server.reported, **{k: v for k, v in self.params.items() if k in ('application_name', 'client_encoding')}}
        self.send(msg('R', i32(0)) + b''.join(msg('S', cstr(k) + cstr(v)) for k, v in reported.items())
                  + msg('K', i32(self.number) + i32(self.number ^ 0x5a5a5a5a)) + self.ready())
        return True

    def ready(self):
        return msg('Z', self.status.encode())

    def perform(self, query):
        self.server.note(self, query.sql)
        if self.status == 'E' and not re.match(r'\s*(rollback|commit|end|abort)', query.sql, re.I):
            query.error('25P02', 'current transaction is aborted, commands ignored until end of transaction block')
            return
        self.server.action_for(self, query.sql)(query)

    def handle(self, kind, body):
        if kind == 'Q' and self.skipping:
            return                      # as PostgreSQL after an error in the extended protocol
        if kind == 'Q':
            for sql in self.split(body[:-1].decode(errors='replace')):
                query = Query(self, sql)
                self.perform(query)
                if query.failed:
                    break
            self.send(self.ready())
        elif kind == 'S':
            self.skipping = False
            self.send(self.ready())
        elif kind == 'F':
            self.server.note(self, 'FUNCTION CALL')
            self.send(msg('V', i32(-1)) + self.ready())
        elif kind in EXTENDED and not self.skipping:
            EXTENDED[kind](self, body)

    @staticmethod
    def split(text):
        return [x for x in split_top(text, ';') if x.strip()] or ['']

    def on_parse(self, body):
        name, sql = split_cstrs(body)[:2]
        self.server.note_message(self, 'P', sql)
        if name and name in self.statements:
            self.extended_error('42P05', f'prepared statement "{name}" already exists')
            return
        if 'BAD SYNTAX' in sql:
            self.extended_error('42601', 'syntax error')
            return
        self.statements[name] = sql
        self.send(msg('1'))

    def on_bind(self, body):
        portal, name = split_cstrs(body)[:2]
        at = len(cstr(portal)) + len(cstr(name))
        formats = struct.unpack_from('!H', body, at)[0]
        if name not in self.statements:
            self.extended_error('26000', f'prepared statement "{name}" does not exist')
            return
        self.portals[portal] = (self.statements[name], read_row(body[at + 2 + 2 * formats:]))
        self.suspended.pop(portal, None)
        self.send(msg('2'))

    def on_describe(self, body):
        name = split_cstrs(body[1:])[0]
        sql = self.statements.get(name) if body[:1] == b'S' else self.portals.get(name, (None,))[0]
        if sql is None:
            self.extended_error('26000' if body[:1] == b'S' else '34000', f'"{name}" does not exist')
            return
        if body[:1] == b'S':
            self.send(msg('t', i16(len(set(re.findall(r'\$\d+', sql)))) + i32(25) * len(set(re.findall(r'\$\d+', sql)))))
        asked = Described(self, sql)
        if re.match(r'\s*(/\*.*?\*/\s*)?(select|with|show|values|table)\b', sql, re.I | re.S):
            default_answer(asked)
        self.send(description(asked.columns) if asked.columns else msg('n'))

    def on_execute(self, body):
        portal = split_cstrs(body)[0]
        limit = struct.unpack('!I', body[-4:])[0]
        sql, values = self.portals.get(portal, ('', ()))
        if portal in self.suspended:
            self.go_on(portal, limit)
            return
        query = Query(self, sql, True, values, (portal, limit) if limit else None)
        self.perform(query)
        self.skipping = query.failed

    def go_on(self, portal, limit):
        """The next rows of a portal that was executed with a limit."""
        left, tag = self.suspended.pop(portal)
        for one in left[:limit or None]:
            self.send(data_row(one))
        if limit and len(left) > limit:
            self.suspended[portal] = (left[limit:], tag)
            self.send(msg('s'))
        else:
            self.send(msg('C', cstr(tag)))

    def on_close(self, body):
        (self.statements if body[:1] == b'S' else self.portals).pop(split_cstrs(body[1:])[0], None)
        self.send(msg('3'))

    def extended_error(self, sqlstate, text):
        Query(self, '').error(sqlstate, text)
        self.skipping = True


EXTENDED = {'P': Connection.on_parse, 'B': Connection.on_bind, 'D': Connection.on_describe, 'E': Connection.on_execute,
            'C': Connection.on_close, 'H': lambda conn, body: None}


class FakeServer:
    """role: 'primary' or 'standby'. Positions, timeline, system_id, settings may be changed while it runs."""

    def __init__(self, name, role, position=0x3000148):
        self.name, self.is_standby = name, role == 'standby'
        self.lsn = self.flush_lsn = position
        self.timeline, self.system_id, self.xact_status, self.history = 1, '7000000000000000001', None, ''
        self.settings = {'default_transaction_isolation': 'read committed', 'default_transaction_read_only': 'off',
                         'default_transaction_deferrable': 'off', 'transaction_isolation': 'read committed', 'search_path': '"$user", public',
                         'server_version': '15.8', 'server_version_num': '150008', 'synchronous_standby_names': '', 'timezone': 'UTC',
                         'standard_conforming_strings': 'on', 'client_encoding': 'UTF8', 'wal_segment_size': '16MB', 'block_size': '8192',
                         'wal_block_size': '8192'}
        self.reported = {'server_version': '15.8', 'server_encoding': 'UTF8', 'client_encoding': 'UTF8', 'application_name': '',
                         'is_superuser': 'off', 'session_authorization': 'app', 'DateStyle': 'ISO, MDY', 'IntervalStyle': 'postgres',
                         'TimeZone': 'UTC', 'integer_datetimes': 'on', 'standard_conforming_strings': 'on',
                         'default_transaction_read_only': 'off', 'in_hot_standby': 'on' if self.is_standby else 'off'}
        self.on_login = None            # called with the Connection before it is let in; may raise Cut or Hang
        self.monitor_hook = None        # called with the monitor's Query; True = answered
        self.slice = 0                  # bytes a write, to cut messages anywhere; 0: as they are
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.reset()
        self.monitor_log, self.connections, self.numbers = [], set(), 0
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.numbers += 1
                conn = Connection(self, sock, self.numbers)
                self.connections.add(conn)
            threading.Thread(target=conn.run, daemon=True).start()

    def forget(self, conn):
        with self.lock:
            self.connections.discard(conn)

    def cut_all(self):
        """Every connection ends, as when the machine dies; new ones are still taken."""
        with self.lock:
            for conn in list(self.connections):
                try:
                    conn.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def stop(self):
        self.stopping.set()
        # close() alone doesn't wake a thread that sits in accept()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.cut_all()

    # what the test scripts and sees

    def on(self, pattern, action, times=None):
        return self.add(Rule(pattern, action, times))

    def add(self, rule):
        self.rules.append(rule)
        return rule

    def reset(self):
        """Forgets rules and what was seen."""
        with self.lock:
            self.rules, self.log, self.messages, self.cancels, self.copied, self.slice = [], [], [], [], [], 0

    def action_for(self, conn, sql):
        if conn.is_replication:
            return replication_answer
        if conn.is_monitor:
            return lambda q: (self.monitor_hook and self.monitor_hook(q)) or monitor_answer(q)
        for rule in list(self.rules):
            action = rule.take(sql)
            if action:
                return action
        return default_answer

    def note(self, conn, sql):
        with self.lock:
            (self.monitor_log if conn.is_monitor else self.log).append((conn.number, sql))

    def note_message(self, conn, kind, text):
        with self.lock:
            self.messages.append((conn.number, kind, text))

    def note_cancel(self, number):
        with self.lock:
            self.cancels.append(number)

    def seen(self, pattern):
        with self.lock:
            return [sql for _, sql in self.log if re.search(pattern, sql, re.I | re.S)]

    def count(self, pattern):
        return len(self.seen(pattern))
