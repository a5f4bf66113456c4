#!/usr/bin/python3
"""pool_mode = session and statement."""
from fakeserver import later
from harness import Cluster, check, check_eq, check_error, run, test, wait_for
from pgwire import bind_msg, cancel, execute_msg, msg, parse_msg, query_msg


def session_mode(**settings):
    return Cluster(standbys=2, pool_mode='session', **settings)


@test
def the_client_is_told_the_process_id_of_its_server():
    with session_mode() as c:
        first, second = c.client(), c.client()
        pids = [client.key[0] for client in (first, second)]
        servers = {conn.number for conn in c.primary.connections if conn.user == 'app'}
        check(set(pids) <= servers and pids[0] != pids[1], f'{pids} are not of {servers}')
        first.close()
        second.close()


@test
def writes_stay_on_one_server_and_reads_leave_it():
    with session_mode() as c:
        with c.client() as client, c.client() as other:
            for number in range(4):
                client.must(f'INSERT INTO mine VALUES ({number})')
                other.must(f'INSERT INTO others VALUES ({number})')
            mine = {number for number, sql in c.primary.log if 'INTO mine' in sql}
            others = {number for number, sql in c.primary.log if 'INTO others' in sql}
            check(len(mine) == len(others) == 1 and mine != others, (mine, others))
            check(client.must('SELECT a FROM t').value.startswith('standby'), 'the read stayed')
            check_eq(len(c.lent()), 2, 'the primary servers are held, the standby is not')


@test
def the_server_comes_back_clean():
    with session_mode(default_pool_size=1) as c:
        with c.client() as client:
            client.must('CREATE TEMP TABLE x (a int)')
        wait_for(lambda: c.primary.count('DISCARD ALL') == 1, 5, 'DISCARD ALL')
        with c.client() as client:
            client.must('INSERT INTO t VALUES (1)')
        wait_for(lambda: not c.lent(), 5, 'the server to be given back')


@test
def a_cancel_reaches_the_server():
    with session_mode() as c:
        client = c.client()
        c.primary.on('INTO slow', later(1))
        client.send(query_msg('INSERT INTO slow VALUES (1)'))
        wait_for(lambda: c.primary.count('INTO slow'), 5, 'the statement to run')
        cancel(c.pgshunt.port, client.key)
        wait_for(lambda: c.primary.cancels == [client.key[0]], 5, 'the cancel request')
        client.close()


@test
def begin_is_an_error_in_statement_mode():
    with Cluster(standbys=1, pool_mode='statement') as c:
        client = c.client()
        check_error(client.query('BEGIN'), '0A000', 'ERROR')
        check_error(client.query('BEGIN; INSERT INTO t VALUES (1); COMMIT'), '0A000', 'ERROR')
        client.send(parse_msg('', 'START TRANSACTION'), bind_msg(), execute_msg(), msg('S'))
        check_eq(client.read_until('Z').error.code, '0A000')
        client.must('INSERT INTO t VALUES (1)')
        check_eq(client.must('SELECT 1').status, 'I')
        check_eq(c.primary.count('BEGIN') + c.primary.count('START'), 0)


run()
