#!/usr/bin/env python3
"""State that stays on a server: temporary tables, LISTEN, locks, cursors, prepared statements ... Each script runs through pgshunt, with other
clients on the same servers between its steps, and on a twin of the database directly; both must hear the same. What the twin's server holds after a
step says what the client may be pinned by.

    SCRIPT=temp PROTOCOL=simple CASE=scripts tests/e2e/pins.py         runs what matches
"""
import os
import sys
import threading
import time

import lib

sys.path.insert(0, os.path.join(lib.ROOT, 'tests/wire'))
import pgwire       # noqa: E402  pylint: disable=wrong-import-position
from talk import Broken, Console, Talk, first_difference       # noqa: E402  pylint: disable=wrong-import-position

ON_PRIMARY = '/* pgshunt: route=primary */ '
PID = (ON_PRIMARY + 'SELECT pg_backend_pid() AS pid', ())
MOVABLE = ('SELECT inet_server_port() AS port, i FROM small WHERE i = 3', ())
TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'pins.tbl')
# What a session holds, asked of its own server. In this order in the answer.
HELD = ('temp', 'listen', 'advisory', 'hold')
HOLDS = '''SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()) + (SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()),
(SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
(SELECT count(*) FROM pg_cursors WHERE is_holdable)'''


class Script:
    def __init__(self, line):
        columns = [c.strip() for c in line.strip().split(' | ')]
        self.name, steps, marks = columns + [''] * (3 - len(columns))
        self.steps = steps.split(' ;; ')
        self.marks = set(marks.split())
        self.words = {m[1:] for m in self.marks if m[0] == '+'}         # pinned by these too, from the first step until DISCARD ALL
        self.user = 'postgres' if 'super' in self.marks else 'app'


def read_scripts():
    with open(TABLE, encoding='utf-8') as f:
        return [s for s in (Script(line) for line in f if line.strip() and line[0] != '#') if os.environ.get('SCRIPT', '') in s.name]


# --- scripts


MESSAGES = {'parse': lambda name, sql='': pgwire.parse_msg(name, sql), 'bind': lambda name: pgwire.bind_msg('', name) + pgwire.describe_msg() + pgwire.execute_msg(),
            'describe': lambda name: pgwire.describe_msg('S', name), 'close': lambda name: pgwire.msg('C', b'S' + pgwire.cstr(name))}


def take(talk, step):
    """A statement, or messages of the extended protocol: \\parse NAME SQL, \\bind NAME, \\describe NAME, \\close NAME; several joined by `then`."""
    if step[0] != '\\':
        return talk.ask(step, (step, ()))
    data = b''
    for part in step.split(' then '):
        verb, _, rest = part[1:].partition(' ')
        name, _, sql = rest.partition(' ')
        data += MESSAGES[verb](name, *([sql] if sql else []))
    return talk.say(step, data + pgwire.SYNC)


HOLD = f'BEGIN; LOCK TABLE small IN ACCESS SHARE MODE; {PID[0]}'


class Others:
    """In a pool of three servers: one holds a server of the primary at every other step, one has statements, tables and locks of the same
    names; they ask for no more than leaves one server."""

    def __init__(self, bed, user):
        self.bed, self.user = bed, user
        self.talks = self.holder, self.rival, self.third = [Talk(bed.port, user, 'trio') for _ in range(3)]
        self.holds = False
        self.rival.hear_all("PREPARE p AS SELECT 'of the rival'", 'PREPARE q AS SELECT 1 AS rival, 2')

    def between(self):
        self.holder.hear_all('COMMIT' if self.holds else HOLD)
        self.holds = not self.holds
        heard = self.rival.hear_all('EXECUTE p', ON_PRIMARY + "SELECT to_regclass('tt'), to_regclass('t1'), current_setting('app.tenant', true)",
                                    'SELECT sum(i) FROM small')
        wanted = ["D ['of the rival']", 'D [None, None, None]', "D ['55']"]
        got = [next((e for e in events if e[0] in 'DE'), None) for events in heard]
        return [f'another client hears {g}, should {w}' for g, w in zip(got, wanted) if g != w]

    def is_bound(self, talk):
        """Leaves it one server of the three, and then another one: a client that is not bound to a server runs on both."""
        self.settle()
        pids = set()
        for held, released in ((self.holder, None), (self.rival, None), (self.third, self.holder)):
            held.hear_all(HOLD)
            if released:
                released.hear_all('COMMIT')
            if held is not self.holder:
                talk.ask('pid', PID)
                pids.add(talk.pids[-1])
        self.settle()
        return len(pids) < 2

    def settle(self):
        for talk in self.talks:
            talk.settle()
            talk.heard.clear()
        self.holds = False

    def close(self):
        for talk in self.talks:
            talk.close()


class ScriptRun:
    def __init__(self, bed, console, others, script, protocol):
        self.bed, self.console, self.others, self.script = bed, console, others, script
        self.twin = Talk(bed.node_port('pg1'), script.user, 'twin', protocol)
        self.talk = Talk(bed.port, script.user, 'trio', protocol)
        self.problems, self.words, self.is_broken = [], set(), False

    def twin_holds(self):
        counts = self.twin.client.must(HOLDS).rows[0]
        return {word for word, count in zip(HELD, counts) if count != '0'}

    def step(self, number, step):
        want, got = take(self.twin, step), take(self.talk, step)
        if want != got:
            where, a, b = first_difference(want, got)
            self.problems.append(f'step {number} ({step}){where}: direct {a}, pgshunt {b}')
        if self.twin.client.status != 'I' or self.talk.client.status != 'I':
            return
        self.words |= self.script.words
        if step == 'DISCARD ALL' and 'forever' not in self.script.marks:
            self.words = set()
        wanted = self.twin_holds() | self.words
        if not lib.wait_for(lambda: self.pins_are(wanted), 0 if self.problems else 0.5 * lib.SLOW, 0.02):
            self.problems.append(f'step {number} ({step}): pinned by {sorted(self.console.pinned_by(self.talk))}, should {sorted(wanted)}')
        self.talk.ports.clear()
        want, got = self.read(self.twin), self.read(self.talk)
        if want != got:
            self.problems.append(f'step {number} ({step}): then a read: direct {" ".join(want)}, pgshunt {" ".join(got)}')
        if 'stays' not in self.script.marks and self.talk.ports and self.talk.ports[0] == self.bed.node_port('pg1'):
            self.problems.append(f'step {number} ({step}): a read that can run anywhere ran on the primary')

    @staticmethod
    def read(talk):
        """Any read; again if DISCARD ALL has taken its name."""
        events = talk.ask('read', MOVABLE)
        return events + talk.ask('read', MOVABLE) if 'E 26000' in events else events

    def pins_are(self, wanted):
        got = self.console.pinned_by(self.talk)
        return bool(got) >= bool(wanted) if 'more' in self.script.marks else got == wanted

    def run(self):
        try:
            for number, step in enumerate(self.script.steps, 1):
                self.step(number, step)
                self.problems += [] if 'alone' in self.script.marks else self.others.between()
            if self.talk.client.status == 'I' and 'more' not in self.script.marks and not self.twin_holds() | self.words and self.others.is_bound(self.talk):
                self.problems.append('after its last step it still keeps its server')
        except (Broken, AssertionError) as trouble:
            self.problems.append(f'not run to its end: {trouble!r}')
            self.is_broken = True
        return self.problems

    def close(self):
        for talk in (self.talk, self.twin):
            talk.close()


def scripts(bed):
    console, others = Console(bed), {user: Others(bed, user) for user in ('app', 'postgres')}
    for script in read_scripts():
        for protocol in ('simple', 'unnamed', 'named'):
            if os.environ.get('PROTOCOL', '') not in protocol:
                continue
            run = ScriptRun(bed, console, others[script.user], script, protocol)
            problems = run.run()
            bed.check.ok(f'{script.name} {protocol}', not problems, f'{problems[0]}{f" (and {len(problems) - 1} more)" if problems[1:] else ""}' if problems else '')
            run.close()
            if run.is_broken:
                others[script.user].close()
                others[script.user] = Others(bed, script.user)
            others[script.user].settle()
    is_clean(bed, 'after all scripts')


def is_clean(bed, when):
    """The servers' own word: nothing is left on the servers of the pool."""
    def left():
        return bed.on('pg1', '''SELECT (SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory' AND datname = 'app'),
            (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname ~ '^pg_temp'),
            (SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND state LIKE 'idle in%')''')[0]
    lib.wait_for(lambda: left() == (0, 0, 0), 2)
    bed.check.equal(f'{when} no lock, temporary table or transaction is left', left(), (0, 0, 0))


# --- many pinned clients


def starvation(bed):
    """20 clients that keep their server, in a pool of one: others work on."""
    check = bed.check
    pinned = [Talk(bed.port, 'app', 'tiny') for _ in range(20)]
    for number, talk in enumerate(pinned):
        talk.hear_all(('LISTEN news', 'CREATE TEMP TABLE tt AS SELECT 1 AS i', f'SELECT pg_advisory_lock({number})')[number % 3], PID[0])
    check.equal('20 pinned clients have 20 servers', len({t.pids[-1] for t in pinned}), 20)
    others, began = [Talk(bed.port, 'app', 'tiny') for _ in range(5)], time.monotonic()
    for _ in range(4):
        for talk in others:
            talk.hear_all('INSERT INTO sink VALUES (1)', PID[0])
    check.ok('five others work meanwhile', time.monotonic() - began < 2 * lib.SLOW, time.monotonic() - began)
    check.equal('with one server', len({t.pids[-1] for t in others}), 1)
    check.equal('which is none of the pinned', {t.pids[-1] for t in others} & {t.pids[-1] for t in pinned}, set())
    check.equal('the pinned keep theirs', [t.hear_all(PID[0]) and t.pids[-1] == t.pids[0] for t in pinned], [True] * 20)
    for talk in pinned[10:]:
        talk.hear_all('DISCARD ALL')
    for talk in pinned[:10]:
        talk.close()
    pids = [p for t in pinned + others for p in t.pids]
    count = 'SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)'
    lib.wait_for(lambda: bed.on('pg1', count, params=(pids,)) == [(1,)], 3)
    check.equal('when all is given back one server is left', bed.on('pg1', count, params=(pids,)), [(1,)])
    for talk in pinned[10:] + others:
        talk.close()
    is_clean(bed, 'after 20 pinned clients')


def left_behind(bed):
    """Clients that go with all kinds of state; who comes next on the server finds nothing."""
    found, wanted = set(), Talk(bed.node_port('pg1'), 'app', 'twin').hear_all(HOLDS)[0]
    for abrupt in (False, True):
        for state in ('CREATE TEMP TABLE tt(i int)', 'LISTEN news', 'SELECT pg_advisory_lock(7)', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1',
                      "SELECT sets_tenant('ghost')", 'PREPARE p AS SELECT 1', "DO $$BEGIN PERFORM set_config('app.tenant', 'ghost', false); END$$"):
            ghost = Talk(bed.port, 'app', 'tiny')
            ghost.hear_all(state, PID[0])
            ghost.client.close(terminate=not abrupt)
            for _ in range(2):
                talk = Talk(bed.port, 'app', 'tiny')
                heard = talk.hear_all(HOLDS, 'EXECUTE p', "SELECT current_setting('app.tenant', true)", 'DEALLOCATE p')
                talk.close()
                if heard[0] != wanted or [e[0] for e in heard[1:]] != ['E 26000', 'T current_setting', 'E 26000'] or heard[2][1] != 'D [None]':
                    found.add((state, str(heard)))
    bed.check.equal('nothing is left behind', found, set())


# --- notifications


def notes(talk, seconds):
    """The notifications that come in this time -> [payload]"""
    got, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline and talk.client.has_input(max(deadline - time.monotonic(), 0.001)):
        kind, body = talk.client.read()
        got += [pgwire.split_cstrs(body[4:])[1]] if kind == 'A' else []
    return got


def notifications(bed):
    check = bed.check
    sender = Talk(bed.node_port('pg1'), 'app', 'app')
    talk = Talk(bed.port, 'app', 'trio')
    talk.hear_all('LISTEN news')
    began = time.monotonic()
    sender.hear_all("NOTIFY news, 'idle'")
    got = notes(talk, 0.05) or notes(talk, 1)
    check.equal('a notification while idle', got, ['idle'])
    check.ok('at once', time.monotonic() - began < 0.3 * lib.SLOW, time.monotonic() - began)
    talk.heard.clear()
    got = []
    for number in range(10):
        sender.hear_all(f"NOTIFY news, '{number}'")
        for _ in range(3):
            talk.ask('read', MOVABLE)
    got = [e.split()[2] for _, events in talk.heard for e in events if e[0] == 'A'] + notes(talk, 0.3)
    check.equal('notifications between reads come in order, once', got, [str(n) for n in range(10)])
    check.equal('those reads run on standbys', bed.node_port('pg1') in talk.ports, False)
    talk.hear_all('BEGIN', 'SELECT 1', 'SAVEPOINT a')
    sender.hear_all("NOTIFY news, 'later'")
    check.equal('none in a transaction', notes(talk, 0.3), [])
    heard = talk.hear_all('COMMIT')
    check.equal('but after it', [e.split()[2] for e in heard[0] if e[0] == 'A'] or notes(talk, 0.5), ['later'])
    many = [Talk(bed.port, 'app', 'tiny') for _ in range(10)]
    for t in many:
        t.hear_all('LISTEN news')
    sender.hear_all("NOTIFY news, 'all'")
    check.equal('ten listeners get it once each', [notes(t, 0.2) for t in many], [['all']] * 10)
    for t in many[:5]:
        t.hear_all('UNLISTEN *')
    sender.hear_all("NOTIFY news, 'half'")
    check.equal('after UNLISTEN * none', [notes(t, 0.1) for t in many], [[]] * 5 + [['half']] * 5)
    own = ('UNLISTEN *', 'LISTEN own', "NOTIFY own, 'x'")
    check.equal('a listener notifies itself', talk.hear_all(*own)[-1], twin_hears(bed, *own))
    for t in many + [talk, sender]:
        t.close()


def twin_hears(bed, *steps):
    twin = Talk(bed.node_port('pg1'), 'app', 'twin')
    try:
        return twin.hear_all(*steps)[-1]
    finally:
        twin.close()


def lost_server(bed):
    """The server of a pinned session goes: it is told once what it lost; LISTEN is taken up again by itself."""
    check = bed.check
    for state, word in (('CREATE TEMP TABLE tt(i int)', 'temp'), ('SELECT pg_advisory_lock(7)', 'advisory'), ('DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'hold')):
        talk = Talk(bed.port, 'app', 'trio')
        talk.hear_all(state, PID[0])
        bed.on('pg1', 'SELECT pg_terminate_backend(%s)', params=(talk.pids[-1],))
        time.sleep(0.1)
        result = talk.client.query('SELECT 1')
        check.ok(f'{state}: its loss is told', result.error and result.error.code == '55000' and word in result.error['M'] + (result.error['H'] or ''), result)
        check.equal('once', talk.hear_all('SELECT 1')[0][1:], ["D ['1']", 'C SELECT 1', 'Z I'])
        talk.close()
    talk, sender = Talk(bed.port, 'app', 'trio'), Talk(bed.node_port('pg1'), 'app', 'app')
    talk.hear_all('LISTEN news', PID[0])
    bed.on('pg1', 'SELECT pg_terminate_backend(%s)', params=(talk.pids[-1],))
    listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND query ILIKE '%%LISTEN%%news%%'"
    lib.wait_for(lambda: bed.on('pg1', listening) != [(0,)], 2)
    time.sleep(0.3)
    sender.hear_all("NOTIFY news, 'again'")
    check.equal('LISTEN is taken up again', notes(talk, 1.5), ['again'])
    check.equal('and nothing else is told', talk.hear_all('SELECT 1')[0][1:], ["D ['1']", 'C SELECT 1', 'Z I'])
    talk.close()
    sender.close()


# --- currval and lastval


def sequences(bed):
    """Its own value or 55000, never another session's."""
    check = bed.check
    mine, other = Talk(bed.port, 'app', 'tiny'), Talk(bed.port, 'app', 'tiny')
    wrong = []
    for turn in range(12):
        own = value(mine.hear_all('INSERT INTO serial(v) VALUES (1) RETURNING id')[0])
        if turn % 3 == 1:
            other.hear_all("SELECT nextval('numbers')")
        if turn % 3 == 2:
            other.hear_all('INSERT INTO serial(v) VALUES (2)')
        for sql in ("SELECT currval('serial_id_seq')", 'SELECT lastval()', "SELECT currval('serial_id_seq') FROM small WHERE i = 1"):
            got = value(mine.hear_all(sql)[0])
            if got != own and not (turn % 3 and got == 'E 55000'):
                wrong.append((turn, sql, own, got))
    check.equal('currval and lastval', wrong, [])
    fresh = Talk(bed.port, 'app', 'tiny')
    check.equal('a new session has none', [value(h) for h in fresh.hear_all("SELECT currval('serial_id_seq')", 'SELECT lastval()')], ['E 55000'] * 2)
    for talk in (mine, other, fresh):
        talk.close()


def value(events):
    row = next(e for e in events if e[0] in 'DE')
    return row if row[0] == 'E' else row[4:-2] if row[3] == "'" else row[3:-1]


# --- causality, with standbys that are late


def late_standbys(bed):
    bed.proxy_stop()
    bed.proxy_start(**POOLS, consistency='read_your_writes')
    for node in ('pg2', 'pg3'):
        bed.lab('delay', node, 1200)


def is_late(bed, number):
    return bed.on('pg2', 'SELECT count(*) FROM told WHERE i = %s', params=(number,)) == [(0,)]


def causality(bed):
    """Who is told something, or gets a lock, then reads what was committed before."""
    check = bed.check
    late_standbys(bed)
    writer, number, late, seen = Talk(bed.node_port('pg1'), 'app', 'app'), 0, [], {}

    def reads(talk, what):
        late.append(is_late(bed, number))
        got = [value(talk.ask('', (f'SELECT count(*) FROM told WHERE i = {number}', ()))) for _ in range(2)]
        seen.setdefault(what, []).append(got)
    for protocol in ('simple', 'unnamed', 'named'):
        listener, locker = Talk(bed.port, 'app', 'trio', protocol), Talk(bed.port, 'app', 'trio', protocol)
        time.sleep(1.3)             # what came before is there: nothing but the notification can make it ask for more
        listener.hear_all('LISTEN news')
        time.sleep(1.3)
        listener.hear_all(MOVABLE[0])
        number += 1
        writer.hear_all(f"BEGIN; INSERT INTO told VALUES ({number}); NOTIFY news, 'x'; COMMIT")
        check.equal(f'{protocol}: the notification comes', notes(listener, 0.1), ['x'])
        reads(listener, 'a notification while idle')
        for what, lock, unlock in (('pg_advisory_lock', 'SELECT pg_advisory_lock(9)', 'SELECT pg_advisory_unlock(9)'),
                                   ('pg_try_advisory_lock', 'SELECT pg_try_advisory_lock(9)', 'SELECT pg_advisory_unlock_all()'),
                                   ('a lock in a table\'s rows', 'SELECT pg_advisory_lock_shared(i) FROM small WHERE i = 9', 'SELECT pg_advisory_unlock_all()'),
                                   ('LOCK TABLE', 'BEGIN; LOCK TABLE told2; COMMIT', 'SELECT 1')):
            number += 1
            held = what == 'LOCK TABLE' and protocol != 'simple'
            writer.hear_all('BEGIN; LOCK TABLE told2' if 'TABLE' in what else 'SELECT pg_advisory_lock(9)')
            waiter = threading.Thread(target=locker.hear_all, args=(lock,)) if 'try' not in what and not held else None
            if waiter:
                waiter.start()
                time.sleep(0.1)
            writer.hear_all(f'INSERT INTO told VALUES ({number})', 'COMMIT' if 'TABLE' in what else 'SELECT pg_advisory_unlock(9)')
            if waiter:
                waiter.join(5)
            elif not held:
                locker.hear_all(lock)
            else:
                locker.hear_all('BEGIN', 'LOCK TABLE told2', 'COMMIT')
            reads(locker, what)
            locker.hear_all(unlock)
        for talk in (listener, locker):
            talk.close()
    for what, got in seen.items():
        check.equal(f'after {what} what was committed before it is seen', got, [['1', '1']] * len(got))
    check.ok('the standbys were late', sum(late) > len(late) / 2, late)
    writer.close()
    for node in ('pg2', 'pg3'):
        bed.lab('delay', node, 0)


SCHEMA = '''
CREATE TABLE small AS SELECT generate_series(1, 10) AS i; CREATE TABLE sink(i int); CREATE TABLE serial(id serial, v int); CREATE SEQUENCE numbers;
CREATE TABLE told(i int); CREATE TABLE told2(i int); CREATE TABLE place AS SELECT 'public' AS v; CREATE SCHEMA one; CREATE TABLE one.place AS SELECT 'one' AS v;
CREATE FUNCTION sets_tenant(v text) RETURNS text LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('app.tenant', v, false); RETURN v; END$$;
CREATE FUNCTION makes_temp() RETURNS int LANGUAGE plpgsql AS $$BEGIN CREATE TEMP TABLE tt AS SELECT 1 AS i; RETURN 1; END$$;
CREATE FUNCTION locks(n int) RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM pg_advisory_lock(n); RETURN n; END$$;
CREATE FUNCTION reads_tt() RETURNS bigint LANGUAGE plpgsql STABLE AS $$BEGIN RETURN (SELECT sum(i) FROM tt); END$$;
CREATE PROCEDURE proc_temp() LANGUAGE plpgsql AS $$BEGIN CREATE TEMP TABLE tt AS SELECT 1 AS i; END$$;
'''
POOLS = {'default_pool_size': 2, 'workers': 1, 'databases.tiny': 'dbname=app pool_size=1', 'databases.trio': 'dbname=app pool_size=3'}


def main(bed):
    bed.cluster_up()
    bed.on('pg1', 'CREATE DATABASE twin OWNER app')
    for database in ('app', 'twin'):
        bed.on('pg1', 'GRANT CREATE ON SCHEMA public TO app', dbname=database)
        with pgwire.Client(bed.node_port('pg1'), database=database, password='app') as client:
            client.must(SCHEMA)
    bed.lab('wait-catchup')
    bed.proxy_start(**POOLS, consistency='eventual')
    lib.run_cases(bed, (scripts, starvation, left_behind, notifications, sequences, lost_server, causality))


if __name__ == '__main__':
    lib.run(main)
