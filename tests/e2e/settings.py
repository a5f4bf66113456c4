#!/usr/bin/env python3
"""Whatever a session sets it finds again, on any server and in any protocol, and nobody else finds it: each form of settings.tbl, run
directly on the primary and through pgshunt, must give the same messages, tags, SQLSTATEs, rows, transaction states and ParameterStatus.

    FORM=savepoint PROTOCOL=named SITUATION=failed tests/e2e/settings.py        runs what matches
"""
import os
import re
import sys
import threading
import time

import lib

sys.path.insert(0, os.path.join(lib.ROOT, 'tests/wire'))
import pgwire       # noqa: E402  pylint: disable=wrong-import-position
from talk import PROTOCOLS, Broken, Console, Talk, differences       # noqa: E402  pylint: disable=wrong-import-position

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'settings.tbl')
ON_PRIMARY = '/* pgshunt: route=primary */ '
WORDS = ('current_user', 'session_user', 'current_role')
LANES = 3
LOCK = threading.Lock()
MAX_BROKEN = 10         # sessions that got no answer: then the rest is not run


# --- the table


def split_outside(text, separator=','):
    """Splits at commas that stand neither in parentheses nor in quotes."""
    parts, depth, quote, start = [], 0, None, 0
    for at, char in enumerate(text):
        if quote:
            quote = None if char == quote else quote
        elif char in '\'"':
            quote = char
        elif char in '([':
            depth += 1
        elif char in ')]':
            depth -= 1
        elif char == separator and not depth:
            parts.append(text[start:at].strip())
            start = at + 1
    return [p for p in parts + [text[start:].strip()] if p]


class Form:
    def __init__(self, line):
        columns = [c.strip() for c in re.split(r'\s\|(?=\s|$)', line.strip())]
        self.name, statements, reads, startup, marks = columns + [''] * (5 - len(columns))
        self.statements = [self.statement(s) for s in statements.replace('⏎', '\n').split(' ;; ')]
        self.reads = [r if '(' in r or r in WORDS else f"current_setting('{r}', true)" for r in split_outside(reads)]
        self.marks = set(marks.split())
        assert self.marks <= {'super', 'pins', 'primary', '2pc'}, line
        self.startup = dict(pair.split('=', 1) for pair in startup.split(' ;; ') if pair)
        self.user = self.startup.pop('user', 'postgres' if 'super' in self.marks else 'app')
        self.database = self.startup.pop('database', 'app')
        self.is_custom = 'app.' in statements + reads + startup
        columns = ', '.join(self.reads)
        self.on_primary = (f'{ON_PRIMARY}SELECT pg_backend_pid() AS pid, {columns}', ())
        self.on_standby = (f'SELECT inet_server_port() AS port, pg_backend_pid() AS pid, {columns} FROM public.ones', ())
        self.plain = (f'SELECT {columns}', ())

    @staticmethod
    def statement(text):
        sql, _, values = text.partition(' <- ')
        return sql.strip(), tuple(v.strip() for v in values.split(',')) if values else ()


def read_table():
    with open(TABLE, encoding='utf-8') as f:
        forms = [Form(line) for line in f if line.strip() and not line.startswith('#')]
    assert len({f.name for f in forms}) == len(forms), 'two forms of one name'
    return forms


# --- the others: clients that use the same servers meanwhile


DIRTY = '''SET application_name = 'dirty'; SET search_path = dirty, public; SET work_mem = '9MB'; SET TimeZone = 'America/Bogota';
SET DateStyle = 'Postgres, DMY'; SET client_encoding = LATIN2; SET statement_timeout = '77s'; SET extra_float_digits = -3;
SET transform_null_equals = on; SET IntervalStyle = 'sql_standard'; SET array_nulls = off; SET ROLE helper'''
DIRTY_CUSTOM = "SET app.who = 'dirty'; SET app.two = 'dirty'; SET app.tenant = 'dirty'; SET app.area = 'dirty'"
HOLD = 'BEGIN; LOCK TABLE public.ones IN ACCESS SHARE MODE; '


class Crowd:
    """Of one pool: two clients that never set anything, two that set much. Each has a twin that talks to the primary directly."""
    kinds = ('virgin', 'virgin2', 'dirty', 'custom')

    def __init__(self, bed, user, database, lane):
        self.bed, self.user, self.database = bed, user, database
        self.alias = f'{database}{lane}'
        self.talks, self.twins, self.wanted, self.problems = {}, {}, {}, []
        self.form, self.meddler = None, 'dirty'

    def talk(self, kind, twin=False):
        held = self.twins if twin else self.talks
        if kind == 'virgin2' and twin:
            kind = 'virgin'
        if kind not in held:
            where = (self.bed.node_port('pg1'), self.user, self.database) if twin else (self.bed.port, self.user, self.alias)
            talk = held[kind] = Talk(*where)
            for sql in {'dirty': (DIRTY,), 'custom': (DIRTY, DIRTY_CUSTOM)}.get(kind, ()):
                talk.ask('set', (sql, ()))
        return held[kind]

    def begin(self, form):
        """What the twins hear is what the others must hear."""
        self.form, self.wanted, self.meddler = form, {}, 'custom' if form.is_custom else 'dirty'
        for kind in ('virgin', self.meddler):
            twin = self.talk(kind, twin=True)
            self.wanted[kind] = [twin.ask('', s)[1:] for s in (form.on_primary, form.on_standby)]
            self.talk(kind)

    def compare(self, kind, where, events):
        wanted = self.wanted['virgin' if kind == 'virgin2' else kind][where == 'standby']
        got = [e for e in events if e[0] in 'DE'] or events
        wanted = [e for e in wanted if e[0] in 'DE'] or wanted
        if got != wanted:
            self.problems.append(f"another client ({kind}) on a {where} reads {' '.join(got)}, should {' '.join(wanted)}")

    def act(self, kind, *statements):
        try:
            return self.talk(kind).ask(kind, *statements)
        except Broken as broken:
            self.problems.append(f'another client ({kind}): {broken}')
            self.talks.pop(kind).close()
            raise

    def hold(self, number):
        """Takes a server of the primary and keeps it."""
        kind = self.kinds[number]
        self.compare(kind, 'primary', self.act(kind, (HOLD + self.form.on_primary[0], ())))

    def release(self, number):
        self.act(self.kinds[number], ('COMMIT', ()))

    def meddle(self):
        self.compare(self.meddler, 'primary', self.act(self.meddler, self.form.on_primary))

    def on_standbys(self, kind):
        events = self.act(kind, self.form.on_standby, self.form.on_standby)
        ends = [at for at, e in enumerate(events) if e[0] == 'Z']
        self.compare(kind, 'standby', events[:ends[0]])
        self.compare(kind, 'standby', events[ends[0] + 1:])

    def settle(self):
        for kind, talk in list(self.talks.items()):
            try:
                talk.settle()
                talk.heard.clear()
                del talk.pids[:-9], talk.ports[:]
            except Broken:
                self.talks.pop(kind).close()

    def close(self):
        for talk in [*self.talks.values(), *self.twins.values()]:
            talk.close()


class Nobody:
    """Beside a direct connection."""

    def hold(self, _):
        pass

    def release(self, _):
        pass

    def meddle(self):
        pass

    def on_standbys(self, _):
        pass


# --- situations: what is done with a form; in each, talk and others take turns


EVERYTHING = (ON_PRIMARY + 'SELECT name, setting FROM pg_settings ORDER BY name', ())


def look(talk, form, others, thorough=False):
    """Reads the settings back on every server there is: two of the primary (whichever the first of the others takes), one of each standby."""
    talk.settle()
    talk.ask('read', form.on_primary)
    others.hold(0)
    talk.ask('read on one server', form.on_primary)
    if thorough:
        others.meddle()
        talk.ask('read behind a client with other settings', form.on_primary, *[EVERYTHING] * (talk.protocol == 'simple'))
    others.hold(1)
    others.release(0)
    talk.ask('read on the other server', form.on_primary)
    others.release(1)
    if thorough:
        others.on_standbys('virgin')
    talk.ask('read on standbys', form.on_standby, form.on_standby)
    if thorough:
        others.on_standbys('virgin')


def swap(talk, form, others):
    """Each statement by itself; then on other servers."""
    for number, statement in enumerate(form.statements):
        talk.ask(f'{statement[0]}', statement)
        if number == 0 and talk.client.status == 'I':
            others.hold(1)
            others.release(1)
    look(talk, form, others, thorough=True)


def failed(talk, form, others):
    """In a transaction that fails."""
    talk.ask('BEGIN', ('BEGIN', ()))
    for statement in form.statements:
        talk.ask(statement[0], statement)
    talk.ask('error', ('SELECT 1/0', ()))
    talk.ask('read after the error', form.on_primary)
    talk.ask('ROLLBACK', ('ROLLBACK', ()))
    look(talk, form, others)


def string(talk, form, others):
    """All in one message, with a read at its end: of the simple protocol, or before one Sync."""
    talk.ask('all in one', *form.statements, form.plain, joined=True)
    look(talk, form, others)


def string_failed(talk, form, others):
    talk.ask('all in one, with an error', *form.statements, form.plain, ('SELECT 1/0', ()), form.plain, joined=True)
    look(talk, form, others)


def pipeline(talk, form, others):
    """All sent before the first answer, each a query or a Sync of its own."""
    talk.ask('without waiting', form.plain, *form.statements, form.plain, form.on_standby, form.on_primary)
    look(talk, form, others)


SITUATIONS = (swap, failed, string, string_failed, pipeline)


# --- running and comparing


class Lane:
    """Runs forms one after the other, in pools of its own: some lanes side by side make the most of the time servers take to log in."""

    def __init__(self, bed, number):
        self.bed, self.number, self.crowds, self.broken = bed, number, {}, 0
        self.primary = bed.node_port('pg1')
        self.tally, self.console, self.pinned_by = {}, Console(bed), set()

    def crowd(self, form):
        key = form.user, form.database
        if key not in self.crowds:
            self.crowds[key] = Crowd(self.bed, *key, self.number)
        return self.crowds[key]

    def side(self, port, database, form, protocol, situation, others):
        """-> Talk, or the error at log-in"""
        talk = None
        try:
            talk = Talk(port, form.user, database, protocol, **form.startup)
            situation(talk, form, others)
            if port == self.bed.port:
                self.look_at_pins(talk)
        except Broken:
            pass
        except pgwire.ServerError as error:
            return f'log-in: {error.code}'
        except (pgwire.Closed, pgwire.TimedOut) as gone:
            return f'log-in: {type(gone).__name__}'
        finally:
            if talk:
                talk.close()
        return talk

    def problems(self, form, protocol, situation, crowd):
        """-> [(kind, text)]"""
        crowd.problems.clear()
        direct = self.side(self.primary, form.database, form, protocol, situation, Nobody())
        self.tidy(form)
        proxied = self.side(self.bed.port, crowd.alias, form, protocol, situation, crowd)
        self.tidy(form)
        crowd.settle()
        if crowd.problems:
            self.flush(crowd, proxied)
        found = [('leak', text) for text in crowd.problems[:1]]
        if isinstance(direct, str) or isinstance(proxied, str):
            direct, proxied = (x if isinstance(x, str) else 'logged in' for x in (direct, proxied))
            return found + ([('differs', f'direct {direct}, pgshunt {proxied}')] if direct != proxied else [])
        difference = differences(direct, proxied)
        found += [('differs', difference)] if difference else []
        self.broken += any(e.startswith(('Closed', 'TimedOut')) for _, events in proxied.heard[-1:] for e in events)
        if not found and 'pins' not in form.marks:
            if self.stays(proxied):
                found.append(('pinned', f'it has kept one server of the primary, pinned by: {" ".join(sorted(self.pinned_by)) or "nothing"}'))
            if 'primary' not in form.marks and self.primary in proxied.ports[-2:]:
                found.append(('unmoved', 'its reads ran on the primary'))
        return found

    @staticmethod
    def stays(talk):
        return len(set(talk.pids[:-2] if talk.ports else talk.pids)) < 2

    def look_at_pins(self, talk):
        if self.stays(talk):
            self.pinned_by = self.console.pinned_by(talk)

    def flush(self, crowd, talk):
        """What has leaked must not meet the next form: the servers go."""
        pids = {pid for t in [*crowd.talks.values(), *([talk] if isinstance(talk, Talk) else [])] for pid in t.pids}
        for node in self.bed.nodes:
            self.bed.on(node, 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY(%s) AND usename = %s', params=(list(pids), crowd.user))

    def tidy(self, form):
        if '2pc' in form.marks:
            for (gid,) in self.bed.on('pg1', 'SELECT gid FROM pg_prepared_xacts'):
                if f"'{gid}'" in str(form.statements):
                    self.bed.on('pg1', f"ROLLBACK PREPARED '{gid}'")

    def form(self, form):
        crowd = self.crowd(form)
        crowd.begin(form)
        ran = failures = 0
        for protocol in PROTOCOLS:
            for situation in SITUATIONS:
                if not (os.environ.get('PROTOCOL', '') in protocol and os.environ.get('SITUATION', '') in situation.__name__):
                    continue
                ran += 1
                found = self.problems(form, protocol, situation, crowd)
                for kind, text in found[:1]:
                    print(f'FAIL    {form.name} {protocol} {situation.__name__}: {kind}: {text}', flush=True)
                    self.tally[kind] = self.tally.get(kind, 0) + 1
                failures += bool(found)
        with LOCK:
            self.bed.check.passed += ran - failures
            self.bed.check.failed += failures
            if not failures:
                print(f'ok      {form.name}: {ran} combinations', flush=True)

    def run(self, table):
        for number, form in enumerate(table):
            if self.broken > MAX_BROKEN:
                for rest in table[number:]:
                    self.bed.check.skip(f'{rest.name}: too many sessions without an answer before it')
                break
            try:
                self.form(form)
            except Exception as error:       # pylint: disable=broad-exception-caught
                self.bed.check.ok(f'{form.name} ran to its end', False, repr(error))
        for held in [*self.crowds.values(), self.console]:
            held.close()


def forms(bed):
    began = time.monotonic()
    table = [f for f in read_table() if os.environ.get('FORM', '') in f.name]
    lanes = [Lane(bed, number) for number in range(LANES)]
    threads = [threading.Thread(target=lane.run, args=(table[lane.number::LANES],), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kinds = {kind: sum(lane.tally.get(kind, 0) for lane in lanes) for lane in lanes for kind in lane.tally}
    lib.note(f'{len(table)} forms in {time.monotonic() - began:.1f} s; failures: {kinds or "none"}')


# --- beyond the table


def rows_of(port, user, database, *statements, **startup):
    """What a new client hears on each statement."""
    talk = Talk(port, user, database, **startup)
    try:
        return talk.hear_all(*statements)
    finally:
        talk.close()


def same(check, what, got, wanted):
    """Of lists of events: prints the first that differs."""
    wrong = next(((a, b) for a, b in zip(got, wanted) if a != b), None)
    return check.ok(what, got == wanted, wrong and f'direct {" ".join(wrong[1])}, pgshunt {" ".join(wrong[0])}')


def altered_defaults(bed):
    """ALTER ROLE and ALTER DATABASE through pgshunt: whoever logs in later has the new defaults. (Who was there gets them when its servers are
    replaced; what is altered past pgshunt comes with server_lifetime: docs/ARCHITECTURE.md.)"""
    check, primary = bed.check, bed.node_port('pg1')
    reads = "current_setting('work_mem'), current_setting('app.tenant', true), current_setting('app.area', true), current_setting('TimeZone')"
    looks = (f'{ON_PRIMARY}SELECT {reads}', *[f'SELECT inet_server_port() AS port, {reads} FROM public.ones'] * 2, 'RESET ALL',
             *[f'SELECT inet_server_port() AS port, {reads} FROM public.ones'] * 2, f'{ON_PRIMARY}SELECT {reads}')
    admin = Talk(bed.port, 'postgres', 'app')
    steps = (('by ALTER ROLE', "ALTER ROLE plainapp SET work_mem = '11MB'"),
             ('by ALTER ROLE ... RESET', 'ALTER ROLE plainapp RESET app.tenant'),
             ('by ALTER DATABASE', "ALTER DATABASE defaults SET app.area = 'another'"),
             ('by ALTER ROLE IN DATABASE in a transaction', "BEGIN; ALTER ROLE plainapp IN DATABASE defaults SET TimeZone = 'Europe/Rome'; COMMIT"),
             ('by ALTER USER in DO', "DO $$BEGIN EXECUTE 'ALTER USER plainapp SET app.tenant = ''by DO'''; END$$"))
    for name, sql in steps:
        old = Talk(bed.port, 'plainapp', 'defaults')
        old.hear_all(*looks)
        admin.ask(sql, (sql, ()))
        bed.lab('wait-catchup')
        same(check, f'defaults changed {name}: new clients have them', rows_of(bed.port, 'plainapp', 'defaults', *looks),
             rows_of(primary, 'plainapp', 'defaults', *looks))
        old.close()
    admin.close()


def one_server(bed):
    """Four sessions that set much take turns on one server of each node, and find their own at each turn."""
    reads = ("current_setting('app.who', true), current_setting('app.n', true), current_setting('TimeZone'), current_setting('work_mem'), current_user, "
             "current_schemas(false), '2024-06-01'::date")
    looks = (f'{ON_PRIMARY}SELECT pg_backend_pid() AS pid, {reads}', f'SELECT inet_server_port() AS port, {reads} FROM public.ones')
    scripts = (("SET app.who = 'alice'", "SET TimeZone = 'Asia/Tokyo'", 'SET ROLE helper'),
               ("SELECT set_config('app.who', 'bob', false), set_config('app.n', '7', false)",),
               ("SET work_mem = '9MB'", 'SET search_path = one, public', 'SET DateStyle = German'),
               ())
    pairs = [(Talk(bed.port, 'app', 'tiny', protocol), Talk(bed.node_port('pg1'), 'app', 'app', protocol)) for protocol in PROTOCOLS + ('simple',)]
    for pair, script in zip(pairs, scripts):
        for talk in pair:
            talk.hear_all(*script)
    wrong = []
    for turn in range(24):
        for number, pair in enumerate(pairs):
            change = [f"SET app.n = '{turn}'"] if number < 2 and turn % 6 == number else []
            got, wanted = (t.hear_all(*change, *looks) for t in pair)
            if got != wanted:
                wrong.append((turn, number, got, wanted))
    bed.check.equal('four sessions with settings on one server', wrong[:1], [])
    bed.check.ok('those without custom settings share it', set(pairs[2][0].pids) & set(pairs[3][0].pids), [set(t.pids) for t, _ in pairs])
    busy = bed.on('pg1', "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND pid = ANY(%s)", params=([p for t, _ in pairs for p in t.pids],))
    bed.check.equal('one server serves them all', busy, [(1,)])
    for pair in pairs:
        for talk in pair:
            talk.close()


def limits_hold(bed):
    """statement_timeout and lock_timeout work wherever the statement runs, and for nobody else."""
    check = bed.check
    talk, other, third = (Talk(bed.port, 'app', 'app', 'unnamed') for _ in range(3))
    talk.hear_all("SET statement_timeout = '150ms'")
    for turn in range(2):
        check.equal(f'statement_timeout on a standby ({turn})', talk.hear_all('SELECT pg_sleep(3) FROM ones')[0][-2:], ['E 57014', 'Z I'])
        other.hear_all('BEGIN', 'LOCK TABLE sink')
        check.equal(f'on the other server ({turn})', talk.hear_all(ON_PRIMARY + 'SELECT pg_sleep(3)')[0][-2:], ['E 57014', 'Z I'])
        check.equal(f'not for another client ({turn})', third.hear_all(ON_PRIMARY + 'SELECT pg_sleep(0.3)')[0][-2:], ['C SELECT 1', 'Z I'])
        other.hear_all('COMMIT')
    talk.hear_all('SET statement_timeout = 0', "SET lock_timeout = '50ms'")
    other.hear_all('BEGIN', 'LOCK TABLE sink')
    check.equal('lock_timeout', talk.hear_all("INSERT INTO sink VALUES ('x')")[0][-2:], ['E 55P03', 'Z I'])
    for t in (talk, other, third):
        t.close()


SUPERUSER = '''
CREATE ROLE helper; GRANT helper TO app, plainapp; GRANT CREATE ON DATABASE {0} TO app;
ALTER ROLE plainapp SET work_mem = '7MB'; ALTER ROLE plainapp SET app.tenant = 'of the role'; ALTER ROLE plainapp SET search_path = one, public;
ALTER ROLE plainapp SET DateStyle = 'SQL, DMY';
'''
SUPERUSER_ANY = '''
GRANT CREATE ON SCHEMA public TO app;
'''
SCHEMA = '''
CREATE TABLE ones AS SELECT 1 AS i; CREATE TABLE sink(v text); CREATE TABLE place AS SELECT 'public' AS v;
CREATE SCHEMA one; CREATE SCHEMA "Two words"; CREATE SCHEMA helper;
CREATE TABLE one.place AS SELECT 'one' AS v; CREATE TABLE "Two words".place AS SELECT 'two words' AS v; CREATE TABLE helper.place AS SELECT 'helper' AS v;
GRANT USAGE ON SCHEMA one, "Two words", helper TO PUBLIC;
GRANT SELECT ON ones, place, one.place, "Two words".place, helper.place TO PUBLIC; GRANT ALL ON sink TO PUBLIC;
CREATE FUNCTION sets_tenant(v text) RETURNS text LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('app.tenant', v, false); RETURN v; END$$;
CREATE FUNCTION sets_tenant_locally(v text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN set_config('app.tenant', v, true); END$$;
CREATE FUNCTION has_clause() RETURNS text LANGUAGE sql SET work_mem = '3MB' AS $$SELECT current_setting('work_mem')$$;
CREATE PROCEDURE sets_work_mem() LANGUAGE plpgsql AS $$BEGIN SET work_mem = '5MB'; END$$;
'''


def make_schema(bed):
    bed.on('pg1', 'CREATE DATABASE defaults OWNER app')
    bed.on('pg1', SUPERUSER.format('app'))
    bed.on('pg1', "ALTER DATABASE defaults SET work_mem = '8MB'; ALTER DATABASE defaults SET app.area = 'of the database'; "
                  "ALTER DATABASE defaults SET TimeZone = 'Asia/Tokyo'; ALTER ROLE plainapp IN DATABASE defaults SET work_mem = '6500kB'")
    for database in ('app', 'defaults'):
        bed.on('pg1', SUPERUSER_ANY, dbname=database)
        with pgwire.Client(bed.node_port('pg1'), database=database, password='app') as client:
            client.must(SCHEMA)
    bed.lab('wait-catchup')


def main(bed):
    bed.env['LAB_CONF'] = 'max_prepared_transactions = 20'
    bed.cluster_up()
    make_schema(bed)
    pools = {f'databases.{name}{lane}': f'dbname={name} pool_size=2' for name in ('app', 'defaults') for lane in range(LANES)}
    bed.proxy_start(default_pool_size=2, workers=1, consistency='eventual', **pools, **{'databases.tiny': 'dbname=app pool_size=1'})
    lib.run_cases(bed, (forms, one_server, limits_hold, altered_defaults))


if __name__ == '__main__':
    lib.run(main)
