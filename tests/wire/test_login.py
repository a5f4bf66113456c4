#!/usr/bin/python3
"""Who gets in: trust, plain, md5, SCRAM; a wrong password and an unknown user can't be told apart."""
import struct

from harness import Cluster, check, check_eq, check_error, run, test
from pgwire import Scram, ServerError, cstr, md5_answer, msg, startup_packet

LONG = 'p' * 60000
ASKED = {'plain': 3, 'md5': 5, 'scram-sha-256': 10}


def gets_in(c, **options):
    client = c.client(**options)
    check_eq(client.must('SELECT 1').status, 'I')
    return client


def refusal(c, **options):
    try:
        c.client(**options)
    except ServerError as error:
        return error
    raise AssertionError(f'logged in with {options}')


def same_refusals(c):
    wrong = refusal(c, user='app', password='wrong')
    unknown = refusal(c, user='nobody', password='wrong')
    empty = refusal(c, user='app', password='')
    for error in (wrong, unknown, empty):
        check_error(error, '28P01', 'FATAL', hint=False)
    text = {k: v.replace('nobody', 'app') for k, v in unknown.fields.items()}
    check_eq(text, wrong.fields, 'unknown user against wrong password')
    c.still_works_as('app')


class LoginCluster(Cluster):
    def wait_ready(self):
        """Clients of this cluster need a password."""
        password = self.pgshunt.users['app']
        plain = self.pgshunt.client
        self.pgshunt.client = lambda **options: plain(**{'password': password, **options})
        super().wait_ready()
        self.pgshunt.client = plain

    def still_works_as(self, user):
        with self.pgshunt.client(user=user, password=self.pgshunt.users[user]) as client:
            check_eq(client.must('SELECT 1').status, 'I')


def by_method(method):
    def right_and_wrong():
        with LoginCluster(standbys=1, auth_type=method) as c:
            client = gets_in(c)
            check_eq(client.auth_asked[0], ASKED[method])
            same_refusals(c)
    right_and_wrong.__name__ = 'login_' + method.replace('-', '_')
    return test(right_and_wrong)


for name in ASKED:
    by_method(name)


@test
def trust_asks_nothing():
    with LoginCluster(standbys=1) as c:
        client = gets_in(c)
        check_eq(client.auth_asked, [0])


@test
def password_of_60_kb_plain():
    with LoginCluster(standbys=1, auth_type='plain', users={'app': LONG, 'other': 'other'}) as c:
        gets_in(c)
        check_error(refusal(c, user='app', password=LONG[:-1] + 'x'), '28P01', 'FATAL', hint=False)


@test
def password_of_60_kb_scram():
    with LoginCluster(standbys=1, auth_type='scram-sha-256', users={'app': LONG}) as c:
        gets_in(c)


@test
def md5_secret_in_the_file():
    import hashlib
    secret = 'md5' + hashlib.md5(b'appapp').hexdigest()
    with Cluster(standbys=1, wait=False, auth_type='md5', users={'app': secret}) as c:
        client = c.pgshunt.client(password='app')
        check_eq(client.auth_asked[0], ASKED['md5'])
        client.close()


@test
def scram_answers_out_of_order():
    """Wrong messages while SCRAM runs end that connection only."""
    with LoginCluster(standbys=1, auth_type='scram-sha-256') as c:
        for data in (msg('p', b''), msg('p', b'SCRAM-SHA-256\0\xff\xff\xff\xff') + msg('p', b'nonsense'), msg('p', cstr('NO-SUCH') + struct.pack('!I', 3) + b'n,,'),
                     msg('p', cstr('SCRAM-SHA-256') + struct.pack('!I', 0x7fffffff) + b'n,,'), msg('Q', cstr('SELECT 1')),
                     msg('p', cstr(md5_answer('app', 'app', b'salt'))), msg('p', b'\0' * 70000)):
            with c.pgshunt.client(login=False) as client:
                client.send(startup_packet({'user': 'app', 'database': 'app'}))
                check_eq(client.read()[0], 'R')
                client.send(data)
                if b'\xff\xff\xff\xff' in data:        # no initial response: PostgreSQL asks for it with an empty challenge
                    check_eq(client.read(), ('R', struct.pack('!I', 11)))
                error = client.read_error()
                check(error['S'] == 'FATAL' and error.code in ('08P01', '28P01'), f'{data[:40]!r}: {error}')
                client.expect_closed()
        c.still_works_as('app')


@test
def scram_with_a_replayed_nonce_is_refused():
    with LoginCluster(standbys=1, auth_type='scram-sha-256') as c:
        with c.pgshunt.client(login=False) as client:
            client.send(startup_packet({'user': 'app', 'database': 'app'}))
            check_eq(client.read()[0], 'R')
            scram = Scram('app')
            client.send(msg('p', scram.first()))
            kind, body = client.read()
            check_eq(kind, 'R')
            final = scram.final(body[4:]).replace(b'r=', b'r=A', 1)
            client.send(msg('p', final))
            check(client.read_error().code in ('28P01', '08P01'), 'wrong code')
            client.expect_closed()


@test
def secrets_stay_out_of_the_log():
    with LoginCluster(standbys=1, auth_type='scram-sha-256', users={'app': 'TopSecret1', 'other': 'TopSecret2'}, verbose=2) as c:
        gets_in(c)
        refusal(c, user='app', password='TopSecret3')
        check('TopSecret' not in c.pgshunt.log(), 'a password is in the log')


@test
def unknown_database():
    with LoginCluster(standbys=1, sections={'databases': {'app': 'dbname=app'}}) as c:
        check_error(refusal(c, database='nowhere'), '3D000', 'FATAL', hint=False)


@test
def unknown_database_is_told_after_the_password_only():
    with LoginCluster(standbys=1, auth_type='scram-sha-256', sections={'databases': {'app': 'dbname=app'}}) as c:
        check_error(refusal(c, database='nowhere', password='wrong'), '28P01', 'FATAL', hint=False)
        check_error(refusal(c, database='nowhere'), '3D000', 'FATAL', hint=False)


run()
