"""answers - what a PostgreSQL node would plausibly say to the monitor, to a pool looking at a new connection, and to anybody.

value_of() finds values by what stands in the select list: a query need not be known word by word. FACTS is the place for more.
"""
import re

from pgwire import msg


def split_top(text, separator):
    """Splits outside of quotes and brackets; separator is a character or, as ' FROM ', a word."""
    parts, depth, quote, start, i = [], 0, None, 0, 0
    folded = text.upper()
    while i < len(text):
        c = text[i]
        if quote:
            quote = None if c == quote else quote
        elif c in '\'"':
            quote = c
        elif c in '([':
            depth += 1
        elif c in ')]':
            depth -= 1
        elif depth == 0 and folded.startswith(separator, i):
            parts.append(text[start:i])
            i += len(separator)
            start = i
            continue
        i += 1
    return parts + [text[start:]]


def value_of(server, expr):
    """The value of an expression as this node would answer, as far as a monitor or a pool could ask."""
    case = re.match(r'\s*case\s+when\s+(not\s+)?pg_is_in_recovery\(\)\s+then\s+(.*?)\s+else\s+(.*?)\s+end', expr, re.I | re.S)
    if case:
        taken = server.is_standby != bool(case[1])
        return value_of(server, case[2] if taken else case[3])
    coalesced = re.match(r'\s*coalesce\s*\((.*)\)', expr, re.I | re.S)
    if coalesced:
        values = (value_of(server, x) for x in split_top(coalesced[1], ','))
        return next((v for v in values if v is not None), None)
    for pattern, value in FACTS:
        if re.search(pattern, expr, re.I):
            return value(server)
    literal = re.match(r"\s*'([^']*)'", expr) or re.match(r'\s*(-?\d+)\b', expr)
    if literal:
        return literal[1]
    setting = re.search(r"current_setting\s*\(\s*'([^']+)'", expr, re.I)
    return server.settings.get(setting[1].lower(), '') if setting else None


def lsn(position):
    return f'{position >> 32:X}/{position & 0xffffffff:X}'


def on_primary(value):
    return lambda s: None if s.is_standby else value(s)


def on_standby(value):
    return lambda s: value(s) if s.is_standby else None


FACTS = [
    (r'transaction_read_only', lambda s: 'on' if s.is_standby else 'off'),
    (r'pg_walfile_name', on_primary(lambda s: f'{s.timeline:08X}0000000000000001')),
    (r'system_identifier|pg_control_system', lambda s: s.system_id),
    (r'pg_control_checkpoint|timeline_id|received_tli', lambda s: str(s.timeline)),
    (r'pg_current_wal_flush_lsn', on_primary(lambda s: lsn(s.flush_lsn))),
    (r'pg_current_wal_(insert_)?lsn', on_primary(lambda s: lsn(s.lsn))),
    (r'pg_last_wal_replay_lsn', on_standby(lambda s: lsn(s.lsn))),
    (r'pg_last_wal_receive_lsn|flushed_lsn|written_lsn|latest_end_lsn', on_standby(lambda s: lsn(s.lsn))),
    (r'pg_last_xact_replay_timestamp', on_standby(lambda s: '2026-01-01 00:00:00+00')),
    (r'pg_is_wal_replay_paused|replay_pause', lambda s: 'f'),
    (r'pg_is_in_recovery', lambda s: 't' if s.is_standby else 'f'),
    (r'pg_xact_status|pg_visible_in_snapshot', lambda s: s.xact_status),
    (r'pg_snapshot_xmax', lambda s: '1000'),
    (r'pg_current_snapshot|txid_current_snapshot', lambda s: '1000:1000:'),
    (r'pg_current_xact_id|txid_current', lambda s: '999'),
    (r'pg_stat_wal_receiver\b.*status|\bstatus\b', on_standby(lambda s: 'streaming')),
    (r'\bversion\(\)', lambda s: 'PostgreSQL 15.8 (fake)'),
    (r'server_version_num', lambda s: '150008'),
    (r'server_version', lambda s: '15.8'),
    (r'pg_backend_pid', lambda s: '4711'),
    (r'inet_server_port', lambda s: str(s.port)),
    (r'pg_postmaster_start_time|clock_timestamp|now\(\)', lambda s: '2026-01-01 00:00:00+00'),
    (r'has_function_privilege|pg_has_role', lambda s: 't'),
    (r'\bcount\(', lambda s: '0'),
]
# Columns of the monitor's poll, by name (src/ctl/monitor/sample.c reads them so).
NAMED = {
    'rec': lambda s: 't' if s.is_standby else 'f',
    'write_lsn': lambda s: lsn(s.lsn),
    'flush_lsn': lambda s: lsn(s.flush_lsn),
    'replay_lsn': on_standby(lambda s: lsn(s.lsn)),
    'writes_timeline': on_primary(lambda s: f'{s.timeline:08X}'),
    'received_timeline': on_standby(lambda s: str(s.timeline)),
    'has_receiver': lambda s: 't' if s.is_standby else 'f',
    'receiver_status': on_standby(lambda s: 'streaming'),
    'system_id': lambda s: s.system_id,
    'started_us': lambda s: str(1700000000000000 + s.port),
    'page_bytes': lambda s: '8192',
    'segment_bytes': lambda s: '16777216',
}
CATALOGS = r'pg_(proc|class|aggregate|operator|cast|type|policy|rewrite|depend|constraint|namespace|attribute|stat_sys_tables|db_role_setting|' \
           r'views|language|inherits|partitioned_table|extension|event_trigger|description|roles|authid|stat_replication|replication_slots)'


def select_parts(sql):
    """'SELECT a AS x, f(b) FROM t' -> (['x', 'f'], ['a', 'f(b)'], 't')"""
    text = re.sub(r'\s+', ' ', re.sub(r'--[^\n]*|/\*.*?\*/', ' ', sql, flags=re.S)).strip().rstrip(';')
    text = re.sub(r'^select (distinct |all )?', '', text, flags=re.I)
    pieces = split_top(text, ' FROM ')
    names, exprs = [], []
    for item in split_top(pieces[0], ','):
        named = re.match(r'(.*) as "?(\w+)"?$', item.strip(), re.I)
        exprs.append(named[1] if named else item.strip())
        names.append(named[2] if named else (re.findall(r'\w+', item) or ['?column?'])[-1])
    return names, exprs, pieces[1] if len(pieces) > 1 else ''


def poll_answer(q):
    """WITH, s.* and joins are beyond select_parts(): every name given by AS becomes a column."""
    names = [n for n in dict.fromkeys(re.findall(r'\bAS (\w+)\b(?! *\()', q.sql, re.I)) if n in NAMED]
    q.rows(names, [[NAMED[n](q.server) for n in names]])


def monitor_answer(q):
    """PREPARE and EXECUTE as the monitor uses them, its poll, and whatever else it asks."""
    prepared = re.match(r'\s*PREPARE (\w+) AS (.*)', q.sql, re.I | re.S)
    executed = re.match(r'\s*EXECUTE (\w+)', q.sql, re.I)
    if prepared:
        q.conn.prepared[prepared[1]] = prepared[2]
        q.complete('PREPARE')
        return
    if executed:
        if executed[1] not in q.conn.prepared:
            q.error('26000', f'prepared statement "{executed[1]}" does not exist')
            return
        q.sql = q.conn.prepared[executed[1]]
    (poll_answer if 'receiver_status' in q.sql else default_answer)(q)


def internal_answer(q):
    """To the monitor, or a pool looking at a new connection: by what stands in the select list."""
    names, exprs, source = select_parts(q.sql)
    if re.search(CATALOGS, source, re.I) and not all(re.search(r'\b(count|max|min|sum|bool_or)\(', x, re.I) for x in exprs):
        q.rows(names, [])
    elif 'pg_stat_wal_receiver' in source and not q.server.is_standby and 'join' not in source.lower():
        q.rows(names, [])
    else:
        q.rows(names, [[value_of(q.server, x) for x in exprs]])


def replication_answer(q):
    if q.sql.upper().startswith('IDENTIFY_SYSTEM'):
        q.rows(['systemid', 'timeline', 'xlogpos', 'dbname'], [[q.server.system_id, str(q.server.timeline), lsn(q.server.lsn), None]])
    else:
        timeline = int((re.findall(r'\d+', q.sql) or ['1'])[0])
        q.rows(['filename', 'content'], [[f'{timeline:08X}.history', q.server.history]])


TAGS = {'INSERT': 'INSERT 0 1', 'UPDATE': 'UPDATE 1', 'DELETE': 'DELETE 1', 'START': 'BEGIN', 'END': 'COMMIT', 'ABORT': 'ROLLBACK'}
ASKED_BY_POOLS = r'current_setting|pg_is_in_recovery|pg_current_xact_id|pg_backend_pid|pg_xact_status'


def forget_and_keep(q, word):
    """The state of the session as far as tests look at it. -> False: an error has been answered"""
    text = re.sub(r'\s+', ' ', q.sql.strip().rstrip(';')).upper()
    conn = q.conn
    if text == 'DISCARD ALL' and conn.status != 'I':
        q.error('25001', 'DISCARD ALL cannot run inside a transaction block')
        return False
    if text in ('DISCARD ALL', 'DEALLOCATE ALL'):
        conn.statements.clear()
    if text == 'DISCARD ALL':
        conn.state.clear()
    if word == 'DEALLOCATE' and text != 'DEALLOCATE ALL' and not conn.statements.pop(q.sql.split()[1].strip('";'), None):
        q.error('26000', f'prepared statement "{q.sql.split()[1]}" does not exist')
        return False
    if word in ('LISTEN', 'SET', 'PREPARE') or ' TEMP ' in text:
        conn.state.add(text)
    if text in ('DISCARD ALL', 'DEALLOCATE ALL'):
        q.complete(text)
        return False
    return True


def default_answer(q):
    word = (re.findall(r'[A-Za-z_]+', re.sub(r'/\*.*?\*/|--[^\n]*', ' ', q.sql, flags=re.S)) or [''])[0].upper()
    if not word:
        q.send(msg('I'))
    elif word == 'SHOW':
        name = q.sql.split()[1].strip(';').lower()
        q.rows([name], [[q.server.settings.get(name, '')]])
    elif re.match(r'\s*\w+:', q.sql):
        q.error('42601', f'syntax error at or near "{word}"')
    elif word == 'COPY' and re.search(r'from stdin', q.sql, re.I):
        from fakeserver import copy_in
        copy_in(q)
    elif word in ('SELECT', 'WITH', 'TABLE', 'VALUES', 'FETCH') and "'echo:" in q.sql:
        q.rows(['echo'], [[x] for x in re.findall(r"'echo:(\w+)'", q.sql)])
    elif word in ('SELECT', 'WITH', 'TABLE', 'VALUES', 'FETCH') and '$1' in q.sql and getattr(q, 'values', None):
        q.rows(['value'], [[q.values[0]]])
    elif word in ('SELECT', 'WITH', 'TABLE', 'VALUES', 'FETCH'):
        if q.conn.is_monitor or re.search(ASKED_BY_POOLS, q.sql, re.I):
            internal_answer(q)
        else:
            q.rows(['node'], [[q.server.name]])
    elif q.server.is_standby and word in ('INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER', 'TRUNCATE'):
        q.error('25006', f'cannot execute {word} in a read-only transaction', R='PreventCommandIfReadOnly')
    else:
        if word in ('BEGIN', 'START'):
            q.conn.status = 'T'
        elif word in ('COMMIT', 'ROLLBACK', 'END', 'ABORT') and ' TO ' not in q.sql.upper():
            word = 'ROLLBACK' if q.conn.status == 'E' else word
            q.conn.status = 'I'
        if not forget_and_keep(q, word):
            return
        q.complete(TAGS.get(word, word if word != 'CREATE' else 'CREATE TABLE'))
