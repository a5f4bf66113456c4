#!/usr/bin/env python3
"""What an application may rely on in a session, whichever servers run it: transactions, prepared statements, settings, state that pins,
cancel, and what pgshunt.* settings and hints do."""
import sys
import os
import threading
import time

import psycopg

import lib

sys.path.insert(0, os.path.join(lib.ROOT, 'tests/wire'))
import pgwire       # noqa: E402  pylint: disable=wrong-import-position

WHERE = 'SELECT inet_server_port() FROM small LIMIT 1'


def value(connection, sql, *args):
    return connection.execute(sql, *args).fetchone()[0]


def node_of(connection):
    return value(connection, 'SHOW pgshunt.last_node')


def reason_of(connection):
    return value(connection, 'SHOW pgshunt.last_reason')


def on_node(node, sql):
    return f'/* pgshunt: route=node:{node} consistency=eventual */ {sql}'


# --- transactions


def several_statements(bed):
    check = bed.check
    with bed.simple() as c:
        cursor = c.execute('SELECT 1; SELECT 2')
        results = [cursor.fetchone()[0]]
        while cursor.nextset():
            results.append(cursor.fetchone()[0])
        check.equal('two statements in a message', results, [1, 2])
        c.execute('BEGIN; INSERT INTO multi VALUES (1)')
        check.equal('BEGIN;INSERT in one message: the next SELECT sees the row', value(c, 'SELECT count(*) FROM multi'), 1)
        check.equal('and runs with it', node_of(c), 'pg1')
        check.equal('others do not see it', value(bed.connect(), 'SELECT count(*) FROM multi'), 0)
        c.execute('ROLLBACK')
        check.equal('after ROLLBACK it is gone', value(c, 'SELECT count(*) FROM multi'), 0)
        check.equal('the reads after the transaction are on standbys again', lib.wait_for(lambda: c.execute(WHERE) and node_of(c) in ('pg2', 'pg3'), 2), True)
        check.equal('an error in the middle undoes the whole message',
                    (lib.sqlstate_of(c.execute, 'INSERT INTO multi VALUES (1); SELECT 1/0; INSERT INTO multi VALUES (2)'),
                     value(c, 'SELECT count(*) FROM multi')), ('22012', 0))
        c.execute('INSERT INTO multi VALUES (3); SELECT count(*) FROM multi')
        check.equal('INSERT;SELECT in one message', value(c, 'SELECT count(*) FROM multi'), 1)
        c.execute('COMMIT; BEGIN; INSERT INTO multi VALUES (4); COMMIT; SELECT 1')
        check.equal('a transaction in one message', value(c, 'SELECT count(*) FROM multi'), 2)
        check.equal('empty statements', (lib.sqlstate_of(c.execute, ''), lib.sqlstate_of(c.execute, ';;'), lib.sqlstate_of(c.execute, '/* x */')), (None,) * 3)


def failed_transactions(bed):
    check = bed.check
    for name, connect in (('simple', bed.simple), ('extended', bed.connect)):
        with connect(autocommit=True) as c:
            c.execute('BEGIN')
            c.execute('CREATE TABLE never(i int)')
            codes = [lib.sqlstate_of(c.execute, sql) for sql in ('SELECT 1/0', 'SELECT 1', 'COMMIT', 'SELECT * FROM never')]
            check.equal(f'{name}: an error, 25P02 until the end, then as before', codes, ['22012', '25P02', None, '42P01'])
            c.execute('BEGIN')
            c.execute('INSERT INTO savepoints VALUES (1)')
            c.execute('SAVEPOINT a')
            c.execute('INSERT INTO savepoints VALUES (2)')
            code = lib.sqlstate_of(c.execute, 'SELECT nonsense')
            c.execute('ROLLBACK TO a')
            c.execute('RELEASE a')
            c.execute('INSERT INTO savepoints VALUES (3)')
            c.execute('COMMIT')
            rows = [i for (i,) in c.execute('SELECT i FROM savepoints ORDER BY 1')]
            check.equal(f'{name}: back to a savepoint', (code, rows), ('42703', [1, 3]))
            c.execute('TRUNCATE savepoints')
    with bed.connect() as c:
        c.execute('BEGIN READ ONLY')
        check.equal('a write in BEGIN READ ONLY', lib.sqlstate_of(c.execute, 'INSERT INTO savepoints VALUES (1)'), '25006')
        c.execute('ROLLBACK')
        c.execute('BEGIN ISOLATION LEVEL SERIALIZABLE')
        check.equal('the isolation level asked for', value(c, 'SHOW transaction_isolation'), 'serializable')
        c.execute('COMMIT')


def cursors(bed):
    check = bed.check
    with bed.connect() as c:
        with c.transaction():
            c.execute('DECLARE mine CURSOR FOR SELECT i FROM generate_series(1, 100) i')
            check.equal('a cursor in a transaction', [len(c.execute('FETCH 30 FROM mine').fetchall()) for _ in range(4)], [30, 30, 30, 10])
            c.execute('CLOSE mine')
        with c.transaction(), c.cursor(name='named') as cursor:
            cursor.itersize = 7
            cursor.execute('SELECT i FROM generate_series(1, 50) i')
            check.equal('a server-side cursor of the driver', sum(i for (i,) in cursor), 1275)
        with c.transaction():
            c.execute('DECLARE held CURSOR WITH HOLD FOR SELECT i FROM generate_series(1, 10) i')
        check.equal('WITH HOLD outlives its transaction', len(c.execute('FETCH ALL FROM held').fetchall()), 10)
        c.execute('CLOSE held')
    client = pgwire.Client(bed.port, password='app')
    client.send(pgwire.query_msg('BEGIN'))
    client.read_until('Z')
    client.send(pgwire.parse_msg('', 'SELECT * FROM generate_series(1, 10)'), pgwire.bind_msg(), pgwire.execute_msg('', 4), pgwire.SYNC)
    first = client.read_until('Z')
    client.send(pgwire.execute_msg('', 0), pgwire.SYNC)
    rest = client.read_until('Z')
    check.equal('Execute with a row limit', (len(first.rows), 's' in first.types, len(rest.rows)), (4, True, 6))
    client.send(pgwire.query_msg('COMMIT'))
    client.read_until('Z')
    client.close()


# --- prepared statements


def prepared(bed):
    check = bed.check
    with bed.connect() as c:
        ports = set()
        for i in range(1, 31):
            row = c.execute('SELECT inet_server_port(), %s + i FROM small WHERE i = 1', (i,), prepare=True).fetchone()
            ports.add(row[0])
            if row[1] != i + 1:
                check.equal('a prepared statement on many servers', row[1], i + 1)
        check.equal('one prepared statement ran on both standbys', ports, {bed.node_port('pg2'), bed.node_port('pg3')})
    with bed.simple() as c:
        c.execute('PREPARE p(int) AS SELECT $1 * 2')
        check.equal('PREPARE and EXECUTE', [value(c, f'EXECUTE p({i})') for i in range(5)], [0, 2, 4, 6, 8])
        with bed.simple() as other:
            check.equal('a name is its session\'s own', lib.sqlstate_of(other.execute, 'EXECUTE p(1)'), '26000')
        c.execute('DEALLOCATE p')
        check.equal('after DEALLOCATE', lib.sqlstate_of(c.execute, 'EXECUTE p(1)'), '26000')
        c.execute('PREPARE p AS SELECT 1')
        c.execute('DISCARD ALL')
        check.equal('after DISCARD ALL', lib.sqlstate_of(c.execute, 'EXECUTE p'), '26000')
        c.execute('PREPARE w AS INSERT INTO multi VALUES (9)')
        c.execute('EXECUTE w')
        check.equal('a prepared write', value(c, 'SELECT count(*) FROM multi WHERE i = 9'), 1)


def prepared_by_protocol(bed):
    check = bed.check
    client = pgwire.Client(bed.port, password='app')

    def ask(*parts):
        client.send(*parts, pgwire.SYNC)
        return client.read_until('Z')

    def run(name='s', *values):
        return ask(pgwire.bind_msg('', name, values), pgwire.describe_msg(), pgwire.execute_msg())
    check.equal('Parse', ask(pgwire.parse_msg('s', 'SELECT i + 1 FROM small WHERE i = $1', (23,))).types, '1Z')
    check.equal('Bind of it on any server', [run('s', str(i)).value for i in range(1, 9)], [str(i + 1) for i in range(1, 9)])
    again = ask(pgwire.parse_msg('s', 'SELECT 2'))
    check.equal('the same name twice', again.error and again.error.code, '42P05')
    check.equal('the old statement stays', run('s', '3').value, '4')
    described = ask(pgwire.describe_msg('S', 's'))
    check.equal('Describe of a statement', described.types, 'tTZ')
    check.equal('Close', ask(pgwire.msg('C', b'Ss\0')).types, '3Z')
    gone = run('s', '3')
    check.equal('after Close it is unknown', gone.error and gone.error.code, '26000')
    check.equal('Close of an unknown name is no error', ask(pgwire.msg('C', b'Snone\0')).types, '3Z')
    ask(pgwire.parse_msg('d', 'SELECT 7'))
    client.must('DEALLOCATE d')
    check.equal('DEALLOCATE of a statement of the protocol', run('d').error and run('d').error.code, '26000')
    ask(pgwire.parse_msg('d', 'SELECT 7'))
    client.must('DISCARD ALL')
    check.equal('DISCARD ALL', run('d').error and run('d').error.code, '26000')
    check.equal('the unnamed statement', ask(pgwire.parse_msg('', 'SELECT $1::text')).types, '1Z')
    check.equal('outlives its batch', [ask(pgwire.bind_msg('', '', ('a',)), pgwire.execute_msg()).value for _ in range(4)], ['a'] * 4)
    wrong = ask(pgwire.parse_msg('bad', 'SELEC 1'), pgwire.bind_msg('', 'bad'), pgwire.execute_msg())
    check.equal('a Parse that fails leaves no name', (wrong.types, wrong.error.code, run('bad').error.code), ('EZ', '42601', '26000'))
    client.close()


def ddl_under_prepared(bed):
    """SELECT * of a table that grows a column: right rows, or the error PostgreSQL itself gives, never a wrong shape."""
    check = bed.check
    with bed.connect() as c, bed.connect() as other:
        other.execute('CREATE TABLE growing AS SELECT 1 AS a')
        bed.lab('wait-catchup')
        other.execute("SET pgshunt.consistency = 'read_your_writes'")
        for _ in range(6):
            c.execute('SELECT * FROM growing', prepare=True)
        other.execute('ALTER TABLE growing ADD COLUMN b int DEFAULT 2')
        bed.lab('wait-catchup')
        rows = set()
        for _ in range(6):
            try:
                rows.add(tuple(c.execute('SELECT * FROM growing', prepare=True).fetchone()))
            except psycopg.Error as error:
                rows.add(error.sqlstate)
        check.ok('DDL under a prepared statement', rows <= {(1, 2), '0A000'}, rows)
        other.execute('DROP TABLE growing')


# --- settings


def settings(bed):
    check = bed.check
    with bed.simple() as a, bed.simple() as b:
        a.execute("SET app.tenant = 'alice'")
        a.execute("SET search_path = 'elsewhere', public")
        a.execute('SET statement_timeout = 12345')
        read = "SELECT current_setting('app.tenant', true), current_setting('search_path'), current_setting('statement_timeout') FROM small LIMIT 1"
        mine, its = set(), set()
        for _ in range(12):
            mine.add(a.execute(read).fetchone())
            its.add(b.execute(read).fetchone())
        check.equal('settings are read back', mine, {('alice', 'elsewhere, public', '12345ms')})
        check.ok('and are nobody else\'s', all(row[0] in (None, '') and row[1:] == ('"$user", public', '0') for row in its), its)
        check.equal('SHOW', value(a, 'SHOW statement_timeout'), '12345ms')
        a.execute('RESET statement_timeout')
        check.equal('RESET', value(a, 'SHOW statement_timeout'), '0')
        a.execute('BEGIN')
        a.execute("SET app.tenant = 'bob'")
        a.execute('SET LOCAL statement_timeout = 77')
        inside = value(a, "SELECT current_setting('app.tenant') || current_setting('statement_timeout')")
        a.execute('ROLLBACK')
        check.equal('SET in a transaction that is rolled back', (inside, value(a, 'SHOW app.tenant'), value(a, 'SHOW statement_timeout')), ('bob77ms', 'alice', '0'))
        a.execute("SELECT set_config('app.tenant', 'carol', false)")
        check.equal('set_config', value(a, 'SHOW app.tenant'), 'carol')
        check.equal('the time zone', (a.execute("SET TimeZone = 'Asia/Tokyo'"), value(a, 'SHOW TimeZone'), value(b, 'SHOW TimeZone'))[1:], ('Asia/Tokyo', 'UTC'))
        a.execute('DISCARD ALL')
        check.equal('DISCARD ALL', (value(a, 'SHOW search_path'), value(a, 'SHOW TimeZone')), ('"$user", public', 'UTC'))
    seen = set()
    for _ in range(20):
        with bed.simple() as c:
            seen.add(value(c, "SELECT current_setting('app.tenant', true) FROM small LIMIT 1") or '')
            seen.add(value(c, "SELECT current_setting('app.tenant', true), nextval('numbers')") or '')
    check.equal('nothing is left on servers for those who come later', seen, {''})


def startup_parameters(bed):
    check = bed.check
    options = "-c search_path=elsewhere,public -c statement_timeout=54321 -c app.tenant=dora -c TimeZone=Asia/Tokyo"
    read = ("SELECT current_setting('application_name'), current_setting('search_path'), current_setting('statement_timeout'), "
            "current_setting('app.tenant', true), current_setting('TimeZone') FROM small LIMIT 1")
    wanted = ('the app', 'elsewhere,public', '54321ms', 'dora', 'Asia/Tokyo')
    with bed.simple(application_name='the app', options=options) as c, bed.simple(application_name='other') as other:
        for node in ('pg1', 'pg2', 'pg3'):
            check.equal(f'startup parameters on {node}', c.execute(on_node(node, read)).fetchone(), wanted)
            row = other.execute(on_node(node, read)).fetchone()
            check.equal(f'and not another client\'s on {node}', (row[0], row[1], row[2], row[3] or ''), ('other', '"$user", public', '0', ''))
        check.equal('SHOW', (value(c, 'SHOW application_name'), value(c, 'SHOW search_path')), ('the app', 'elsewhere,public'))
        for reset in ('RESET statement_timeout', 'RESET ALL', 'SET statement_timeout TO DEFAULT', 'DISCARD ALL'):
            c.execute('SET statement_timeout = 1000')
            c.execute("SET app.tenant = 'other'")
            c.execute(reset)
            c.execute('RESET app.tenant')
            check.equal(f'{reset} leads back to the start-up parameters', c.execute(read).fetchone(), wanted)
        c.execute('BEGIN')
        check.equal('in a transaction', c.execute(read).fetchone(), wanted)
        c.execute('COMMIT')
        nodes = {bed.on(n, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'the app'")[0][0] > 0 for n in ('pg1',)}
        check.equal('pg_stat_activity of the primary names the application', nodes, {True})
        check.equal('parameters the client is told', (c.info.parameter_status('TimeZone'), c.info.parameter_status('application_name'),
                                                     c.info.parameter_status('in_hot_standby')), ('Asia/Tokyo', 'the app', 'off'))
    check.equal('a bad startup parameter is refused', 'server_encoding_x' in str(failure(bed, options='-c server_encoding_x=1')), True)
    check.equal('and so is a bad value', lib.sqlstate_of(bed.connect, options='-c pgshunt.route=nowhere') is not None, True)
    with bed.connect(options='-c pgshunt.route=primary') as c:
        check.equal('options=-c pgshunt.route', value(c, WHERE), bed.node_port('pg1'))


def failure(bed, **how):
    try:
        bed.connect(**how).close()
    except psycopg.Error as error:
        return error
    return None


# --- state that pins


def listen(bed):
    check = bed.check
    with bed.connect() as c, bed.connect() as sender:
        c.execute('LISTEN news')
        sender.execute("NOTIFY news, 'one'")
        check.equal('NOTIFY reaches who listens', [(n.channel, n.payload) for n in c.notifies(timeout=5, stop_after=1)], [('news', 'one')])
        c.execute(WHERE)
        sender.execute("SELECT pg_notify('news', 'two')")
        check.equal('after other statements, too', [n.payload for n in c.notifies(timeout=5, stop_after=1)], ['two'])
        c.execute('UNLISTEN news')
        sender.execute("NOTIFY news, 'three'")
        check.equal('not after UNLISTEN', [n.payload for n in c.notifies(timeout=0.3)], [])
    with bed.connect() as c:
        check.equal('nobody inherits it', [n.payload for n in c.notifies(timeout=0.1)], [])


def temporary_tables(bed):
    check = bed.check
    with bed.connect() as c, bed.connect() as other:
        c.execute('CREATE TEMP TABLE mine(i int)')
        c.execute('INSERT INTO mine SELECT generate_series(1, 5)')
        check.equal('a temporary table stays with its session', [value(c, 'SELECT count(*) FROM mine') for _ in range(10)], [5] * 10)
        check.equal('others do not see it', {lib.sqlstate_of(other.execute, 'SELECT count(*) FROM mine') for _ in range(6)}, {'42P01'})
        c.execute('SELECT 1 AS i INTO TEMP another')
        check.equal('SELECT INTO TEMP', value(c, 'SELECT count(*) FROM another'), 1)
    with bed.connect() as c:
        check.equal('it ends with its session', {lib.sqlstate_of(c.execute, 'SELECT count(*) FROM mine') for _ in range(6)}, {'42P01'})


def advisory_locks(bed):
    check = bed.check
    a, b = bed.connect(), bed.connect()
    a.execute('SELECT pg_advisory_lock(42)')
    check.equal('a second session does not get an advisory lock', value(b, 'SELECT pg_try_advisory_lock(42)'), False)
    done = []
    waiter = threading.Thread(target=lambda: done.append(b.execute('SELECT pg_advisory_lock(42)')), daemon=True)
    waiter.start()
    time.sleep(0.3)
    check.equal('it waits for it', (done, [r[0] for r in bed.on('pg1', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")]), ([], [1]))
    check.equal('the holder works on meanwhile', [value(a, 'SELECT 1') for _ in range(3)], [1] * 3)
    check.equal('and unlocks what it has locked', value(a, 'SELECT pg_advisory_unlock(42)'), True)
    waiter.join(5)
    check.equal('then the other has it', len(done), 1)
    b.close()
    check.equal('a lock ends with its session', lib.wait_for(lambda: value(a, 'SELECT pg_try_advisory_lock(42)'), 5), True)
    a.close()
    with bed.connect() as c, c.transaction():
        check.equal('a transaction\'s own lock', value(c, 'SELECT pg_try_advisory_xact_lock(43)'), True)


def sequences(bed):
    check = bed.check
    for name, connect in (('simple', bed.simple), ('extended', bed.connect)):
        with connect() as c:
            pairs = []
            for _ in range(10):
                inserted = value(c, 'INSERT INTO serial(v) VALUES (1) RETURNING id')
                pairs.append(value(c, "SELECT currval('serial_id_seq')") - inserted)
                pairs.append(value(c, 'SELECT lastval()') - inserted)
            check.equal(f'{name}: currval and lastval after an INSERT', set(pairs), {0})
            with c.transaction():
                inserted = value(c, 'INSERT INTO serial(v) VALUES (1) RETURNING id')
                check.equal(f'{name}: in a transaction', value(c, "SELECT currval('serial_id_seq')"), inserted)
    with bed.connect() as c:
        check.equal('before any: the error of PostgreSQL', lib.sqlstate_of(c.execute, "SELECT currval('serial_id_seq')"), '55000')


# --- where statements go


def writes_in_disguise(bed):
    """Each must run on the primary, and succeed."""
    statements = (
        "SELECT nextval('numbers')", 'SELECT * FROM small FOR UPDATE', 'WITH x AS (INSERT INTO multi VALUES (100) RETURNING i) SELECT * FROM x',
        "COPY (SELECT nextval('numbers')) TO STDOUT", 'EXPLAIN ANALYZE INSERT INTO multi VALUES (101)', 'DO $$ BEGIN PERFORM 1; END $$',
        'SELECT writes()', 'SELECT * FROM writes() AS w', 'SELECT 1 WHERE writes() > 0', 'CREATE TABLE made AS SELECT 1', 'DROP TABLE made',
        'SELECT txid_current()', 'SELECT count(*) FROM seq_view', 'LOCK TABLE small IN ACCESS SHARE MODE', 'SELECT i INTO made2 FROM small', 'DROP TABLE made2',
        "SELECT pg_notify('x', '')", "SELECT set_config('app.tenant', 'x', false)", 'VACUUM small', 'CALL proc_writes()', 'MERGE INTO multi USING small ON false '
        'WHEN NOT MATCHED THEN INSERT VALUES (102)', 'TABLE small FOR SHARE', "SELECT pg_advisory_unlock(1)")
    with bed.simple() as c:
        wrong = []
        for sql in statements:
            if sql.startswith('LOCK'):
                c.execute('BEGIN')
            code = lib.sqlstate_of(lambda s=sql: list(c.cursor().copy(s).__enter__()) if s.startswith('COPY') else c.execute(s))
            node = node_of(c) if not sql.startswith('LOCK') else 'pg1'
            if sql.startswith('LOCK'):
                c.execute('COMMIT')
            if code is not None or node != 'pg1':
                wrong.append((sql, code, node))
        bed.check.equal('writes in disguise run on the primary', wrong, [])


def reads_stay_reads(bed):
    statements = ('SELECT count(*) FROM small', 'TABLE small', 'VALUES (1)', 'WITH x AS (SELECT 1) SELECT * FROM x', 'SELECT now(), i FROM small',
                  "SELECT 'INSERT INTO t', i FROM small", '(SELECT 1) UNION (SELECT 2)', 'EXPLAIN SELECT * FROM small', 'SELECT "i" FROM public.small -- FOR UPDATE',
                  'SELECT random(), i FROM small', "SELECT relname FROM pg_class WHERE relname = 'small'", 'SELECT sum(i) OVER (ORDER BY i) FROM small',
                  'EXPLAIN ANALYZE SELECT * FROM small', 'SELECT gen_random_uuid(), i FROM small', 'SELECT pg_sleep(0), i FROM small LIMIT 1')
    with bed.simple() as c:
        wrong = [(sql, node_of(c), reason_of(c)) for sql in statements if c.execute(sql) and node_of(c) not in ('pg2', 'pg3')]
        bed.check.equal('reads run on standbys', wrong, [])


def looks_like_a_primary(bed):
    check = bed.check
    with bed.simple() as c:
        check.equal('pg_is_in_recovery()', {value(c, 'SELECT pg_is_in_recovery()') for _ in range(4)}, {False})
        check.equal('SHOW transaction_read_only', {value(c, 'SHOW transaction_read_only') for _ in range(4)}, {'off'})
        check.equal('SHOW default_transaction_read_only', value(c, 'SHOW default_transaction_read_only'), 'off')
        check.equal('in_hot_standby', c.info.parameter_status('in_hot_standby'), 'off')
        check.equal('pg_stat_replication is the primary\'s', value(c, 'SELECT count(*) FROM pg_stat_replication'), 2)
    with bed.connect(target_session_attrs='read-write') as c:
        check.equal('target_session_attrs=read-write', value(c, 'SELECT 1'), 1)


def routes(bed):
    check = bed.check
    port = {n: bed.node_port(n) for n in ('pg1', 'pg2', 'pg3')}
    for name, connect in (('simple', bed.simple), ('extended', bed.connect)):
        with connect() as c:
            check.equal(f'{name}: a hint route=primary', (value(c, '/* pgshunt: route=primary */ ' + WHERE), reason_of(c)), (port['pg1'], 'hint'))
            for node in ('pg2', 'pg3'):
                check.equal(f'{name}: a hint route=node:{node}', {value(c, f'/* pgshunt: route=node:{node} */ ' + WHERE) for _ in range(4)}, {port[node]})
            check.equal(f'{name}: it holds for its statement only', value(c, WHERE) != port['pg1'], True)
            c.execute("SET pgshunt.route = 'primary'")
            check.equal(f'{name}: SET pgshunt.route = primary', ({value(c, WHERE) for _ in range(4)}, value(c, 'SHOW pgshunt.route')), ({port['pg1']}, 'primary'))
            c.execute("SET pgshunt.route TO 'node:pg2'")
            check.equal(f'{name}: node:pg2', ({value(c, WHERE) for _ in range(4)}, node_of(c), reason_of(c)), ({port['pg2']}, 'pg2', 'setting'))
            check.equal(f'{name}: a write on another node than the primary', lib.sqlstate_of(c.execute, 'INSERT INTO multi VALUES (200)'), '25006')
            c.execute("SET pgshunt.route = 'label:reports'")
            check.equal(f'{name}: label:reports', {value(c, WHERE) for _ in range(4)}, {port['pg3']})
            c.execute("SET pgshunt.route = 'standby'")
            check.equal(f'{name}: a write while route=standby', lib.sqlstate_of(c.execute, 'INSERT INTO multi VALUES (200)'), '25006')
            check.equal(f'{name}: pg_is_in_recovery() with route=standby', value(c, 'SELECT pg_is_in_recovery()'), True)
            c.execute('RESET pgshunt.route')
            check.equal(f'{name}: RESET', (value(c, 'SHOW pgshunt.route'), lib.sqlstate_of(c.execute, 'INSERT INTO multi VALUES (200)')), ('auto', None))
            check.equal(f'{name}: a bad value', lib.sqlstate_of(c.execute, "SET pgshunt.route = 'nowhere'"), '22023')
            check.equal(f'{name}: an unknown name', lib.sqlstate_of(c.execute, "SET pgshunt.nonsense = 'x'"), '42704')
            check.equal(f'{name}: an unknown node', lib.sqlstate_of(c.execute, '/* pgshunt: route=node:pg9 */ ' + WHERE), '22023')
            c.execute('BEGIN')
            c.execute("SET LOCAL pgshunt.route = 'primary'")
            c.execute('COMMIT')
            check.equal(f'{name}: SET LOCAL ends with its transaction', value(c, 'SHOW pgshunt.route'), 'auto')


def trace(bed):
    check = bed.check
    with bed.connect() as c:
        notices = []
        c.add_notice_handler(lambda n: notices.append(n.message_primary))
        c.execute('SET pgshunt.trace = on')
        notices.clear()
        c.execute(WHERE)
        c.execute('INSERT INTO multi VALUES (300)')
        c.execute("SELECT nextval('numbers')")
        check.ok('pgshunt.trace: a NOTICE a statement', len(notices) == 3 and all(n.startswith('pgshunt: node=') for n in notices), notices)
        check.equal('with the reason', [n.rpartition('reason=')[2] for n in notices], ['read', 'write', 'function:nextval'])
        c.execute('SET pgshunt.trace = off')
        notices.clear()
        c.execute(WHERE)
        check.equal('off', notices, [])
        check.equal('last_node and last_reason', (node_of(c) in ('pg2', 'pg3'), reason_of(c)), (True, 'read'))


# --- cancel


def cancel_long_query(bed):
    check = bed.check
    for name, sql in (('on the primary', '/* pgshunt: route=primary */ SELECT pg_sleep(20)'), ('on a standby', 'SELECT pg_sleep(20) FROM small LIMIT 1'),
                      ('in a transaction', None)):
        with bed.connect() as c:
            if sql is None:
                c.execute('BEGIN')
                c.execute('INSERT INTO multi VALUES (400)')
                sql = 'SELECT pg_sleep(20)'
            began = time.monotonic()
            timer = threading.Timer(0.3, c.cancel)
            timer.start()
            code = lib.sqlstate_of(c.execute, sql)
            took = time.monotonic() - began
            check.equal(f'{name}: a long query is canceled', (code, took < 2 * lib.SLOW), ('57014', True))
            timer.join()
            if c.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                c.execute('ROLLBACK')
            check.equal(f'{name}: the connection goes on', value(c, 'SELECT 1'), 1)


def cancel_hits_nobody_else(bed):
    """Cancels that come late, on servers that many share: the query of another client is never hit."""
    victims_hit, stop = [], threading.Event()

    def victim():
        with bed.connect() as c:
            while not stop.is_set():
                code = lib.sqlstate_of(c.execute, '/* pgshunt: route=primary */ SELECT count(*) FROM generate_series(1, 2000)')
                if code is not None:
                    victims_hit.append(code)

    def canceler(own):
        with bed.connect() as c:
            for i in range(60):
                # some come in time, some when the query has ended already
                timer = threading.Timer(i % 12 / 1000, c.pgconn.get_cancel().cancel)
                timer.start()
                own.append(lib.sqlstate_of(c.execute, '/* pgshunt: route=primary */ SELECT count(*) FROM generate_series(1, 60000)'))
                timer.join()
    own = []
    threads = [threading.Thread(target=victim) for _ in range(6)] + [threading.Thread(target=canceler, args=(own,)) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads[6:]:
        t.join()
    stop.set()
    for t in threads:
        t.join()
    bed.check.equal('late cancels hit no other client', victims_hit, [])
    bed.check.ok('cancelers saw nothing but their own 57014', set(own) <= {None, '57014'}, set(own))
    lib.note(f'{own.count("57014")} of {len(own)} cancels came in time')


def cancel_while_waiting(bed):
    """The servers of a worker are all taken: who waits for one can be canceled."""
    holders = []
    for _ in range(4):          # default_pool_size=4
        holder = bed.on_worker(0)
        holder.execute('BEGIN')
        holder.execute('INSERT INTO multi VALUES (500)')
        holders.append(holder)
    c = bed.on_worker(0)
    began = time.monotonic()
    timer = threading.Timer(0.3, c.cancel)
    timer.start()
    code = lib.sqlstate_of(c.execute, "SELECT nextval('numbers')")
    bed.check.equal('canceled while waiting for a server', (code, 0.2 < time.monotonic() - began < 3 * lib.SLOW), ('57014', True))
    timer.join()
    for holder in holders:
        holder.execute('ROLLBACK')
    bed.check.equal('and goes on when one is free', lib.sqlstate_of(c.execute, "SELECT nextval('numbers')"), None)
    for connection in holders + [c]:
        connection.close()


# --- leaving


def leave_dirty(bed):
    """Clients that vanish in the middle of a transaction, a COPY, with state: the next ones find clean servers."""
    for i in range(30):
        client = pgwire.Client(bed.port, password='app')
        if i % 3 == 0:
            client.query('BEGIN')
            client.query('INSERT INTO left_behind VALUES (1)')
        elif i % 3 == 1:
            client.send(pgwire.query_msg('COPY left_behind FROM STDIN'), pgwire.msg('d', b'1\n'))
            client.read_until('G')
        else:
            client.query("SET app.tenant = 'ghost'")
            client.query('CREATE TEMP TABLE ghost(i int)')
            client.query('SELECT pg_advisory_lock(77)') if i == 2 else None
        client.sock.close()
    time.sleep(0.3)
    seen = set()
    for _ in range(20):
        with bed.connect() as c:
            seen.add((value(c, '/* pgshunt: route=primary */ SELECT count(*) FROM left_behind'),
                      value(c, "/* pgshunt: route=primary */ SELECT coalesce(current_setting('app.tenant', true), '')"),
                      lib.sqlstate_of(c.execute, 'SELECT * FROM ghost')))
    bed.check.equal('those who come after clients that vanished', seen, {(0, '', '42P01')})
    rows = bed.on('pg1', "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state LIKE 'idle in%'")
    bed.check.equal('no transaction is left open', rows, [(0,)])
    bed.check.equal('no lock is left', bed.on('pg1', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), [(0,)])


SCHEMA = '''
CREATE TABLE small AS SELECT generate_series(1, 10) AS i;
CREATE TABLE multi(i int);
CREATE TABLE savepoints(i int);
CREATE TABLE left_behind(i int);
CREATE TABLE serial(id serial, v int);
CREATE SEQUENCE numbers;
CREATE VIEW seq_view AS SELECT nextval('numbers') AS n;
CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'INSERT INTO multi VALUES (1000) RETURNING i';
CREATE PROCEDURE proc_writes() LANGUAGE sql AS 'INSERT INTO multi VALUES (1001)';
'''


def main(bed):
    bed.cluster_up()
    bed.proxy_start(default_pool_size=4, **{'nodes.pg3': 'label=reports'})
    with bed.simple() as c:
        c.execute(SCHEMA)
    bed.lab('wait-catchup')
    lib.run_cases(bed, (several_statements, failed_transactions, cursors, prepared, prepared_by_protocol, ddl_under_prepared, settings,
                        startup_parameters, listen, temporary_tables, advisory_locks, sequences, writes_in_disguise, reads_stay_reads,
                        looks_like_a_primary, routes, trace, cancel_long_query, cancel_hits_nobody_else, cancel_while_waiting, leave_dirty))


if __name__ == '__main__':
    lib.run(main)
