#!/usr/bin/python3
"""What pgshunt itself has to refuse: SQLSTATE, "pgshunt: ", HINT; and the session goes on."""
from harness import Cluster, Skip, check, check_eq, check_error, run, test

REFUSED = [
    ("SET pgshunt.consistency = 'nonsense'", '22023'),
    ("SET pgshunt.route = 'node:nowhere'", '22023'),
    ("SET pgshunt.max_lag_time = 'soon'", '22023'),
]


@test
def bad_settings(c):
    client = c.client()
    for sql, code in REFUSED:
        result = client.query(sql)
        check_error(result, code, 'ERROR')
        check_eq(result.status, 'I')
    check_eq(client.must('SELECT 1').status, 'I')


@test
def bad_token(c):
    result = c.client().query("SET pgshunt.wait_for_lsn = 'not a token'")
    if result.error.code == '0A000':
        raise Skip(str(result.error))
    check_error(result, '22023', 'ERROR')


@test
def bad_setting_ends_a_transaction(c):
    client = c.client()
    client.must('BEGIN')
    check_eq(client.query(REFUSED[0][0]).status, 'E')
    check_eq(client.query('SELECT 1').error.code, '25P02')
    check_eq(client.must('ROLLBACK').status, 'I')


@test
def write_on_a_standby(c):
    client = c.client()
    client.must('SET pgshunt.route = standby')
    check_error(client.query('INSERT INTO t VALUES (1)'), '25006', 'ERROR')
    check_eq(c.count('INSERT'), {})
    client.must('RESET pgshunt.route')
    client.must('INSERT INTO t VALUES (1)')


@test
def no_primary():
    with Cluster(standbys=1, primary_wait='500ms') as c:
        client = c.client()
        c.primary.stop()
        result = client.query('INSERT INTO t VALUES (1)')
        check(result.error.code in ('57P03', '08007'), result)
        check_error(client.query('INSERT INTO t VALUES (1)'), '57P03', 'ERROR')
        check_eq(client.must('SELECT 1').value, 'standby1')


@test
def no_standby_without_fallback():
    with Cluster(standbys=1, primary_fallback='off', query_wait_timeout='500ms') as c:
        client = c.client()
        c.standbys[0].stop()
        codes = [client.query('SELECT a FROM t').error for _ in range(3)]
        check_error(codes[-1], '57P03', 'ERROR')
        client.must('INSERT INTO t VALUES (1)')


@test
def no_standby_with_fallback():
    with Cluster(standbys=1) as c:
        client = c.client()
        c.standbys[0].stop()
        for _ in range(5):
            check_eq(client.must('SELECT a FROM t').value, 'primary')


@test
def pool_wait_timed_out():
    with Cluster(standbys=0, default_pool_size=1, query_wait_timeout='500ms', workers=1) as c:
        holder, waiter = c.client(), c.client()
        holder.must('BEGIN')
        holder.must('INSERT INTO t VALUES (1)')
        check_error(waiter.query('INSERT INTO t VALUES (2)'), '53300', 'ERROR')
        holder.must('COMMIT')
        waiter.must('INSERT INTO t VALUES (2)')


@test
def shutdown_tells_clients():
    with Cluster(standbys=1) as c:
        client = c.client()
        client.must('SELECT 1')
        c.pgshunt.process.terminate()
        check_error(client.read_error(10), '57P01', 'FATAL', hint=False)
        client.expect_closed()
        check_eq(c.pgshunt.process.wait(20), 0)


run(cluster={'standbys': 2})
