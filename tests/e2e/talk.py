"""talk - a client that notes all it hears, for tests that compare what pgshunt answers with what the primary itself answers."""
import os
import struct
import sys

import lib

sys.path.insert(0, os.path.join(lib.ROOT, 'tests/wire'))
import pgwire       # noqa: E402  pylint: disable=wrong-import-position

TIMEOUT = 5 * lib.SLOW
PROTOCOLS = ('simple', 'unnamed', 'named')


class Broken(Exception):
    """No answer, or none that ends."""


def quoted(value):
    return "'" + value.replace("'", "''") + "'"


class Talk:
    """heard: [(label, [event...])]; what may differ between two servers of one cluster is masked there, and kept in pids and ports."""

    def __init__(self, port, user, database, protocol='simple', **startup):
        self.client = pgwire.Client(port, user, database, password=user, timeout=TIMEOUT, **startup)
        self.protocol, self.names, self.count = protocol, {}, 0
        self.heard, self.pids, self.ports, self.masked = [], [], [], {}
        self.told = dict(self.client.params)
        self.heard.append(('log-in', [f'{k}={v}' for k, v in sorted(self.told.items())]))

    def close(self):
        self.client.close()

    def encode(self, sql, values):
        """-> messages that run a statement, without Sync"""
        if self.protocol == 'simple':
            for number, value in enumerate(values, 1):
                sql = sql.replace(f'${number}', quoted(value))
            return pgwire.query_msg(sql)
        parse, name = b'', ''
        if self.protocol == 'unnamed':
            parse = pgwire.parse_msg('', sql)
        else:
            name = self.names.get(sql)
            if name is None:
                self.count += 1
                name = self.names[sql] = f'n{self.count}'
                parse = pgwire.parse_msg(name, sql)
        return parse + pgwire.bind_msg('', name, values) + pgwire.describe_msg() + pgwire.execute_msg()

    def ask(self, label, *statements, joined=False):
        """Sends all at once and reads the answers: each statement its own (a query, or ended by Sync), or joined: one for all. -> events"""
        before = dict(self.names)
        if not joined:
            sync = b'' if self.protocol == 'simple' else pgwire.SYNC
            data, answers = b''.join(self.encode(*s) + sync for s in statements), len(statements)
        elif self.protocol == 'simple':
            text = '; '.join(self.encode(*s)[5:-1].decode() for s in statements)
            data, answers = pgwire.query_msg(text), 1
        else:
            data, answers = b''.join(self.encode(*s) for s in statements) + pgwire.SYNC, 1
        events = self.say(label, data, answers)
        if any(e.startswith('E ') for e in events):
            self.names = before             # which names exist is not known: new ones next time
            if 'E 26000' in events:
                self.names = {}
        return events

    def say(self, label, data, answers=1):
        """Bytes, which are answered by so many ReadyForQuery -> events"""
        events = []
        self.heard.append((label, events))
        try:
            self.client.send(data)
            for _ in range(answers):
                self.listen(events)
        except (pgwire.Closed, pgwire.TimedOut) as gone:
            events.append(f'{type(gone).__name__}: {gone}')
            raise Broken(f'{label}: {events[-1]}') from gone
        return events

    def hear_all(self, *texts):
        """Each text by itself -> [events...]"""
        return [self.ask(t, (t, ())) for t in texts]

    def listen(self, events):
        kind = None
        while kind != 'Z':
            kind, body = self.client.read()
            if kind == 'S':
                name, value = pgwire.split_cstrs(body)[:2]
                self.client.params[name] = value
            else:
                events.append(getattr(self, f'hear_{kind}', self.hear)(kind, body))

    @staticmethod
    def hear(kind, body):
        return f'{kind} {body.hex()}' if body else kind

    def hear_T(self, _, body):      # pylint: disable=invalid-name
        names = pgwire.read_columns(body)
        self.masked = {at: name for at, name in enumerate(names) if name in ('pid', 'port')}
        return f'T {" ".join(names)}'

    def hear_D(self, _, body):      # pylint: disable=invalid-name
        at, values = 2, []
        for number in range(struct.unpack_from('!H', body)[0]):
            length = struct.unpack_from('!i', body, at)[0]
            value = None if length < 0 else body[at + 4:at + 4 + length].decode('latin1')
            at += 4 + max(length, 0)
            if number in self.masked:
                (self.pids if self.masked[number] == 'pid' else self.ports).append(int(value))
                value = '*'
            values.append(value)
        return f'D {values}'

    @staticmethod
    def hear_C(_, body):            # pylint: disable=invalid-name
        return f'C {body[:-1].decode()}'

    @staticmethod
    def hear_E(_, body):            # pylint: disable=invalid-name
        return f'E {pgwire.read_fields(body).get("C")}'

    @staticmethod
    def hear_N(_, body):            # pylint: disable=invalid-name
        return f'N {pgwire.read_fields(body).get("C")}'

    @staticmethod
    def hear_A(_, body):            # pylint: disable=invalid-name
        return f'A {" ".join(pgwire.split_cstrs(body[4:])[:2])}'

    def hear_Z(self, _, body):      # pylint: disable=invalid-name
        """With what the client has been told since log-in."""
        self.client.status = body.decode()
        changed = [f'{k}={v}' for k, v in sorted(self.client.params.items()) if self.told.get(k) != v]
        return ' '.join(['Z', self.client.status] + changed)

    def settle(self):
        while self.client.status != 'I':
            self.ask('to the end of the transaction', ('ROLLBACK', ()))


class Console:
    def __init__(self, bed):
        self.client = pgwire.Client(bed.port, 'pgadmin', 'pgshunt', password='pgadmin')

    def pinned_by(self, talk):
        """-> the words in SHOW CLIENTS.pinned_by of this client"""
        result = self.client.must('SHOW CLIENTS')
        rows = [dict(zip(result.columns, row)) for row in result.rows]
        found = [r['pinned_by'] for r in rows if r['port'] == str(talk.client.sock.getsockname()[1])]
        assert len(found) == 1, f'{len(found)} clients of one port'
        return set(found[0].replace(',', ' ').split())

    def close(self):
        self.client.close()


def differences(direct, proxied):
    """Of two Talks: the first difference between what they heard -> text or None"""
    for (label, want), (_, got) in zip(direct.heard, proxied.heard):
        if want != got:
            where, a, b = first_difference(want, got)
            return f'{label}{where}: direct {a}, pgshunt {b}'
    if len(direct.heard) != len(proxied.heard):
        longer = max(direct.heard, proxied.heard, key=len)
        return f'{longer[min(len(direct.heard), len(proxied.heard))][0]}: only one of them came this far'
    return None


def first_difference(want, got):
    for number, (a, b) in enumerate(zip(want, got)):
        if a != b:
            return f' (message {number + 1})' if len(want) > 4 else '', a, b
    return ' (at its end)', want[len(got):][:3] or 'nothing more', got[len(want):][:3] or 'nothing more'
