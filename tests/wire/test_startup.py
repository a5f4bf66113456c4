#!/usr/bin/python3
"""The first packets of a connection: what is a valid start, what ends it, and that nobody else notices."""
import os
import struct

from harness import check, check_eq, check_error, run, test, Cluster, SLOW
from pgwire import (GSSENC_REQUEST, PROTOCOL_3_0, PROTOCOL_3_2, SSL_REQUEST, ServerError, cstr, i32, msg, packet, startup_packet)

APP = {'user': 'app', 'database': 'app'}


def refused(c, data, code):
    """These bytes get a FATAL with this code and the end of the connection; others live on."""
    with c.pgshunt.client(login=False) as client:
        client.send(data)
        check_error(client.read_error(), code, 'FATAL', hint=False)
        client.expect_closed()
    c.still_works()


def answered_n_then_login(c, request):
    client = c.client(login=False)
    client.send(packet(i32(request)))
    check_eq(client.read_bytes(1), b'N')
    client.login()
    check_eq(client.must('SELECT 1').status, 'I')


@test
def plain_login_reports_a_primary(c):
    client = c.client()
    check_eq(client.params.get('in_hot_standby'), 'off')
    check(client.params.get('server_version', '').startswith('15'), client.params)
    check(client.key is not None, 'no BackendKeyData')
    check_eq(client.status, 'I')


@test
def ssl_request_is_answered_n(c):
    answered_n_then_login(c, SSL_REQUEST)


@test
def gssenc_request_is_answered_n(c):
    answered_n_then_login(c, GSSENC_REQUEST)


@test
def gssenc_then_ssl_then_login(c):
    client = c.client(login=False)
    for request in (GSSENC_REQUEST, SSL_REQUEST):
        client.send(packet(i32(request)))
        check_eq(client.read_bytes(1), b'N')
    client.login()
    check_eq(client.must('SELECT 1').status, 'I')


@test
def ssl_request_twice_is_closed(c):
    client = c.client(login=False)
    client.send(packet(i32(SSL_REQUEST)))
    check_eq(client.read_bytes(1), b'N')
    client.send(packet(i32(SSL_REQUEST)))
    came = client.expect_closed()
    check(came == b'' or came[:1] == b'E', f'came {came[:40]!r}')
    c.still_works()


@test
def ssl_request_and_startup_in_one_write(c):
    """Without TLS nothing is hidden behind the answer: either order of reading is safe, but it must not hang or crash."""
    client = c.client(login=False)
    client.send(packet(i32(SSL_REQUEST)), startup_packet(APP))
    check_eq(client.read_bytes(1), b'N')
    try:
        client.authenticate()
    except ServerError as error:
        check_eq(error['S'], 'FATAL')
    c.still_works()


@test
def protocol_2_is_refused(c):
    refused(c, packet(i32(2 << 16) + b'\0' * 288), '08P01')


@test
def protocol_4_is_refused(c):
    refused(c, startup_packet(APP, 4 << 16), '08P01')


@test
def protocol_3_2_is_spoken_or_negotiated(c):
    client = c.client(login=False)
    client.login(PROTOCOL_3_2)
    if client.negotiated:
        check(client.negotiated[0] in (0, PROTOCOL_3_0), client.negotiated)
        check_eq(len(client.key[1]), 4, 'a key of protocol 3.0')
    else:
        check(len(client.key[1]) >= 4, client.key)
    check_eq(client.must('SELECT 1').status, 'I')


@test
def grease_is_negotiated(c):
    """libpq 19 asks for 3.9999 and an option nobody knows."""
    client = c.client(login=False)
    client.login(3 << 16 | 9999, **{'_pq_.test_protocol_negotiation': ''})
    check(client.negotiated, 'no NegotiateProtocolVersion')
    check(client.negotiated[0] in (0, 2, PROTOCOL_3_0, PROTOCOL_3_2), client.negotiated)
    check_eq(client.negotiated[1], ['_pq_.test_protocol_negotiation'])
    check_eq(client.must('SELECT 1').status, 'I')


@test
def unknown_protocol_option_alone_is_negotiated(c):
    client = c.client(login=False)
    client.login(**{'_pq_.command_tag_format': '1'})
    check(client.negotiated and '_pq_.command_tag_format' in client.negotiated[1], client.negotiated)


@test
def no_final_nul(c):
    refused(c, packet(i32(PROTOCOL_3_0) + cstr('user') + cstr('app')), '08P01')
    refused(c, packet(i32(PROTOCOL_3_0) + cstr('user') + b'app'), '08P01')


@test
def bytes_after_the_final_nul(c):
    refused(c, packet(startup_packet(APP)[4:] + b'x'), '08P01')


@test
def name_given_twice(c):
    refused(c, startup_packet([('user', 'app'), ('user', 'admin'), ('database', 'app')]), '08P01')


@test
def empty_user(c):
    refused(c, startup_packet({'user': '', 'database': 'app'}), '28000')
    refused(c, startup_packet({'database': 'app'}), '28000')


@test
def lengths_of_the_first_packet(c):
    for length in (0, 3, 4, 7, 100000, 0x7fffffff, 0xffffffff):
        refused(c, struct.pack('!I', length) + struct.pack('!I', PROTOCOL_3_0) + b'user\0app\0\0', '08P01')


@test
def database_name_of_200_bytes(c):
    refused(c, startup_packet({'user': 'app', 'database': 'd' * 200}), '3D000')


@test
def byte_by_byte(c):
    client = c.client(login=False)
    client.send_bytewise(startup_packet(APP), 0.001)
    client.authenticate()
    client.send_bytewise(msg('Q', cstr('SELECT 1')), 0.001)
    check_eq(client.read_until('Z').status, 'I')


@test
def startup_of_9_kb(c):
    client = c.client(application_name='n' * 9000)
    check_eq(client.must('SELECT 1').status, 'I')


@test
def startup_and_query_in_one_write(c):
    client = c.client(login=False)
    client.send(startup_packet(APP), msg('Q', cstr('SELECT 1')))
    client.authenticate()
    check_eq(client.read_until('Z').status, 'I')


@test
def settings_of_drivers_are_taken(c):
    client = c.client(extra_float_digits='2', client_encoding='UTF8', DateStyle='ISO', TimeZone='UTC', options='-c pgshunt.route=primary')
    check_eq(client.must('SELECT 1').value, 'primary')


@test
def http_is_refused(c):
    with c.pgshunt.client(login=False) as client:
        client.send(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        client.expect_closed()
    c.still_works()


@test
def random_first_packets():
    """Nonsense by the thousand: everybody else is served, nothing leaks, nothing crashes."""
    with Cluster(standbys=1) as c:
        with c.pgshunt.client() as steady:
            for round_ in range(1000 // SLOW):
                with c.pgshunt.client(login=False) as client:
                    data = os.urandom(1 + round_ % 300)
                    client.send(data if round_ % 2 else struct.pack('!II', len(data) + 8, PROTOCOL_3_0) + data)
                if round_ % 100 == 0:
                    check_eq(steady.must('SELECT 1').status, 'I')


@test
def random_messages_after_login():
    with Cluster(standbys=1) as c:
        with c.pgshunt.client() as steady:
            for round_ in range(300 // SLOW):
                with c.pgshunt.client() as client:
                    kind = 'PBDECSHQXpfdcF'[round_ % 14]
                    client.send(msg(kind, os.urandom(round_ % 100)), os.urandom(round_ % 40))
                if round_ % 50 == 0:
                    check_eq(steady.must('SELECT 1').status, 'I')


run(cluster={'standbys': 1})
