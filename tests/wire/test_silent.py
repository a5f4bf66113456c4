#!/usr/bin/python3
"""Connections that say nothing, or stop in the middle, cost nobody else anything and end after client_login_timeout."""
import socket
import time

from harness import SLOW, check, check_eq, run, test
from pgwire import startup_packet

TIMEOUT = 1


def all_closed(socks, seconds):
    deadline = time.monotonic() + seconds
    for sock in socks:
        sock.settimeout(max(deadline - time.monotonic(), 0.01))
        try:
            while sock.recv(4096):
                pass
        except socket.timeout:
            return False
        except OSError:
            pass
    return True


def silent(c, count, first=b''):
    socks = [socket.create_connection(('127.0.0.1', c.pgshunt.port), timeout=5) for _ in range(count)]
    for sock in socks:
        sock.sendall(first)
    return socks


def others_are_served(c, steady, seconds):
    end = time.monotonic() + seconds
    slowest = 0
    while time.monotonic() < end:
        started = time.monotonic()
        check_eq(steady.must('SELECT 1').status, 'I')
        slowest = max(slowest, time.monotonic() - started)
        time.sleep(0.02)
    check(slowest < 0.5 * SLOW, f'a statement took {slowest:.2f} s')
    c.still_works()


@test
def two_hundred_say_nothing(c):
    steady = c.client()
    socks = silent(c, 200)
    others_are_served(c, steady, 0.5)
    check(all_closed(socks, TIMEOUT + 3 * SLOW), 'some are still open')
    check_eq(steady.must('SELECT 1').status, 'I')


@test
def half_a_startup_packet(c):
    steady = c.client()
    socks = silent(c, 50, startup_packet({'user': 'app', 'database': 'app'})[:-3])
    others_are_served(c, steady, 0.3)
    check(all_closed(socks, TIMEOUT + 3 * SLOW), 'some are still open')


@test
def logged_in_clients_may_be_silent(c):
    client = c.client()
    time.sleep(TIMEOUT + 0.7)
    check_eq(client.must('SELECT 1').status, 'I')


@test
def the_console_answers_meanwhile(c):
    socks = silent(c, 200)
    console = c.client(user='admin', database='pgshunt')
    check(console.must('SHOW VERSION').rows, 'no version')
    check(all_closed(socks, TIMEOUT + 3 * SLOW), 'some are still open')


# max_client_conn counts those that haven't logged in too, as PgBouncer's
run(cluster={'standbys': 1, 'client_login_timeout': f'{TIMEOUT}s', 'max_client_conn': 1000})
