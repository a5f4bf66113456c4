#!/usr/bin/python3
"""The admin console: reachable under both names and both protocols, to the right people, when nothing else works."""
from harness import Cluster, Skip, check, check_eq, check_error, run, test
from pgwire import ServerError

FIRST_COLUMNS = {
    'SHOW POOLS': 'database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active sv_active_cancel sv_being_canceled '
                  'sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode load_balance_hosts',
    'SHOW CLIENTS': 'type user database replication state addr port local_addr local_port connect_time request_time wait wait_us close_needed '
                    'ptr link remote_pid tls application_name prepared_statements id',
    'SHOW DATABASES': 'name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime pool_mode '
                      'load_balance_hosts max_connections current_connections max_client_connections current_client_connections paused disabled',
    'SHOW LISTS': 'list items',
    'SHOW CONFIG': 'key value default changeable',
    'SHOW VERSION': 'version',
    'SHOW STATS_TOTALS': 'database server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time '
                         'client_parse_count server_parse_count bind_count client_login_count',
    'SHOW NODES': 'name host port role state timeline write_lsn flush_lsn replay_lsn lag_bytes lag_ms weight label zone reads writes errors '
                  'retries latency_us last_sample_ms reason',
    'SHOW ROUTES': 'shape query class route reason calls on_primary on_standby retries time_us quarantined',
    'SHOW FAILOVERS': 'at from_node to_node from_timeline to_timeline switch_lsn read_outage_ms write_outage_ms held retried lost_bytes_min '
                      'lost_commits doubtful_commits',
}


def console(c, user='admin', database='pgshunt', **options):
    return c.client(user=user, database=database, **options)


@test
def both_names(c):
    for name in ('pgshunt', 'pgbouncer'):
        check_eq(len(console(c, database=name).must('SHOW VERSION').columns), 1)


@test
def stats_user_may_look_only(c):
    client = console(c, user='stats')
    check(client.must('SHOW POOLS').columns, 'no columns')
    for command in ('RELOAD', 'PAUSE', 'SHUTDOWN', "SET verbose = '1'", 'KILL_CLIENT 1'):
        check_error(client.query(command), '42501', 'ERROR', hint=False)
    check_eq(client.must('SHOW VERSION').status, 'I')


@test
def others_are_refused(c):
    try:
        console(c, user='app')
    except ServerError as error:
        check_eq(error['S'], 'FATAL')
        return
    raise AssertionError('app got into the console')


def has_columns(command, names):
    def body(c):
        result = console(c).query(command)
        if result.error and result.error.code == '0A000':
            raise Skip(str(result.error))
        check_eq(result.columns[:len(names)], names)
    body.__name__ = 'columns_of_' + command.split()[1].lower()
    return test(body)


for show, text in FIRST_COLUMNS.items():
    has_columns(show, text.split())


@test
def extended_protocol(c):
    check(console(c).extended('SHOW NODES').rows, 'no rows')


@test
def nodes_are_what_they_are(c):
    result = console(c).must('SHOW NODES')
    roles = {row[0]: (row[3], row[4]) for row in result.rows}
    check_eq(roles, {'primary': ('primary', 'up'), 'standby1': ('standby', 'up'), 'standby2': ('standby', 'up')})


@test
def nonsense_is_an_error_and_no_more(c):
    client = console(c)
    for text in ('SHOW NONSENSE', 'GARBAGE', '', ';', "SHOW 'x", 'SHOW ' + 'x' * 5000):
        result = client.query(text)
        check(result.status == 'I', result)
    check_eq(client.must('SHOW VERSION').status, 'I')


@test
def secrets_are_hidden(c):
    for key, value, *_ in console(c).must('SHOW CONFIG').rows:
        check('password' not in key or key == 'http_password' and not value or set(value) <= {'*'}, f'{key} = {value}')


@test
def reload_says_what_changed(c):
    result = console(c).must('RELOAD')
    check_eq(result.tags[-1], 'RELOAD')


@test
def reload_of_a_broken_file_changes_nothing(c):
    client = console(c)
    with open(c.pgshunt.config, encoding='utf-8') as f:
        good = f.read()
    try:
        with open(c.pgshunt.config, 'w', encoding='utf-8') as f:
            f.write(good.replace('pool_mode = transaction', 'pool_mode = transactoin'))
        check(client.query('RELOAD').error, 'RELOAD of a broken file succeeded')
        check(('pool_mode', 'transaction') in [tuple(r[:2]) for r in client.must('SHOW CONFIG').rows], 'pool_mode changed')
    finally:
        with open(c.pgshunt.config, 'w', encoding='utf-8') as f:
            f.write(good)
    check_eq(client.must('RELOAD').tags[-1], 'RELOAD')


@test
def console_without_any_node():
    with Cluster(standbys=1, wait=False) as c:
        for node in c.nodes:
            node.stop()
        check(console(c).must('SHOW NODES').rows, 'no rows')


@test
def console_beyond_max_client_conn():
    with Cluster(standbys=1, max_client_conn=3) as c:
        held = [c.client() for _ in range(3)]
        try:
            c.client()
            raise AssertionError('a fourth client got in')
        except ServerError as error:
            check_error(error, '53300', 'FATAL')
        check(console(c).must('SHOW POOLS').columns, 'no columns')
        check_eq(held[0].must('SELECT 1').status, 'I')


run(cluster={'standbys': 2})
