#!/usr/bin/python3
"""Several processes behind one port: a cancel request reaches the process whose key it names, whichever it comes by."""
import signal
import socket
import threading
import time

from fakeserver import FakeServer, later
from harness import SLOW, Cluster, Pgshunt, check, check_eq, free_port, run, test, wait_for
from pgwire import CANCEL_REQUEST, PROTOCOL_3_0, PROTOCOL_3_2, Client, Closed, ServerError, i32, packet, query_msg, startup_packet

MARK = b'\0pgshunt'
HAS_PEER = 0x40000000


def ask_cancel(address, key, timeout=10):
    """address: (host, port) or a path. -> seconds until the other side closed, as libpq waits for it"""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(timeout * SLOW)
        sock.connect(address)
        began = time.monotonic()
        sock.sendall(packet(i32(CANCEL_REQUEST) + i32(key[0]) + key[1]))
        check_eq(sock.recv(1), b'', 'the answer to a cancel request')
        return time.monotonic() - began


class Group:
    """Processes 1 .. n over the same fake primary. Each has, besides the port they share, an address and a socket directory of its own."""

    def __init__(self, count=2, peers=None, **settings):
        self.primary = FakeServer('primary', 'primary')
        self.port = free_port()
        self.members = {}
        for i in range(1, count + 1):
            p = Pgshunt([self.primary], **{'listen_addr': f'127.0.0.1, 127.0.0.{i + 1}', 'listen_port': self.port, 'so_reuseport': 1,
                                           'peer_id': i, **settings})
            p.port = self.port
            p.settings['unix_socket_dir'] = p.dir
            self.members[i] = p
        for i in self.members:
            self.set_peers(i, peers or {j: self.row(j) for j in self.members})
        self.clients = []

    def row(self, i):
        """By its socket directory, or by its address."""
        host = self.members[i].dir if i % 2 else f'127.0.0.{i + 1}'
        return f'host={host} port={self.port}'

    def set_peers(self, i, rows):
        self.members[i].sections['peers'] = rows
        self.members[i].write()

    def at(self, i):
        return (f'127.0.0.{i + 1}', self.port)

    def __enter__(self):
        for i, p in self.members.items():
            p.start()
            wait_for(lambda: self.answers(i), 10, f'process {i}')
        return self

    def answers(self, i):
        self.members[i].must_live()
        try:
            with self.client(i) as client:
                return client.query('SELECT 1 FOR UPDATE').value
        except (ServerError, Closed, OSError):
            return None

    def __exit__(self, kind, *_):
        for client in self.clients:
            client.close()
        wrong = [p.stop() for p in self.members.values() if p.process]
        self.primary.stop()
        for p in self.members.values():
            p.remove()
        if kind is None and any(wrong):
            raise AssertionError(f'ended badly: {wrong}')

    def client(self, i, protocol=PROTOCOL_3_0, **options):
        """At process i; 0: wherever the shared port leads."""
        host, port = self.at(i)
        client = Client(port, host=host, timeout=10 * SLOW, login=False, **options)
        client.login(protocol)
        self.clients.append(client)
        return client

    def console(self, i, sql):
        with self.client(i, user='admin', database='pgshunt') as console:
            return console.must(sql)

    def slow(self, client, seconds=2):
        """A statement runs. -> the connection that has it"""
        self.primary.on('INTO slow', later(seconds), times=1)
        before = len(self.primary.log)
        client.send(query_msg('INSERT INTO slow VALUES (1)'))

        def running():
            return [n for n, sql in self.primary.log[before:] if 'INTO slow' in sql]
        return wait_for(running, 5, 'the statement')[0]

    def hits(self, client, address, seconds=0.3):
        """A cancel request by this address has reached the server when it is closed, and only the right connection."""
        number = self.slow(client, seconds)
        self.primary.cancels.clear()
        ask_cancel(address, client.key)
        check_eq(self.primary.cancels, [number], 'told when the connection of the request was closed')
        check_eq(client.read_until('Z').status, 'I')

    def logged(self, i, text):
        return self.members[i].log().count(text)


class Listener:
    """In a peer's place: takes connections, answers nothing, remembers what came."""

    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.came, self.open = [], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(5 * SLOW)
            try:
                came = sock.recv(1000)
            except OSError:
                came = b''
            self.open.append(sock)
            self.came.append(came)

    def close_all(self):
        while self.open:
            self.open.pop().close()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.close_all()


def key_of(peer, secret=b'abcd'):
    """As a process with this peer_id would give it."""
    return HAS_PEER | peer << 16 | 0x1234, secret


# --- keys


@test
def the_key_says_whose_it_is():
    with Group() as g:
        keys = [(i, g.client(i, protocol).key) for i in (1, 2) for protocol in (PROTOCOL_3_0, PROTOCOL_3_2) for _ in range(10)]
        for i, (pid, secret) in keys:
            check_eq(pid >> 16, HAS_PEER >> 16 | i, 'the upper half of the process id')
            check(len(secret) == 4 or int.from_bytes(secret[:2], 'big') == i, secret)
        check(len({pid for _, (pid, _) in keys}) > len(keys) - 4, 'process ids')        # 16 bits of chance
        check_eq(len({secret[:4] for _, (_, secret) in keys if len(secret) == 4}), 20, 'short secrets')
        check_eq(len({secret[2:] for _, (_, secret) in keys if len(secret) > 4}), 20, 'long secrets')


@test
def without_a_peer_id_the_key_names_nobody():
    with Cluster(standbys=0) as c:
        pid, secret = c.client().key
        check(pid < HAS_PEER, hex(pid))
        client = c.pgshunt.client(login=False)
        client.login(PROTOCOL_3_2)
        check_eq(client.key[1][:2], b'\0\0')
        check_eq(len(client.key[1]), 32)
        client.close()


# --- what is passed on


@test
def a_cancel_reaches_the_statement_from_any_process():
    with Group(count=3) as g:
        for owner in (1, 2, 3):
            for by in (1, 2, 3):
                g.hits(g.client(owner), g.at(by))
            g.hits(g.client(owner, PROTOCOL_3_2), g.at(owner % 3 + 1))
        for i in (1, 2, 3):
            check_eq(g.logged(i, 'is lost') + g.logged(i, 'that nobody has'), 0)


@test
def and_by_the_port_they_share():
    with Group() as g:
        owners = set()
        for _ in range(16):
            client = g.client(0)
            owners.add(client.key[0] >> 16 & 0x3fff)
            g.hits(client, g.at(0), 0.1)
        check_eq(owners, {1, 2})


@test
def under_session_pooling_all_peers_are_asked():
    """The process id is the server's own there, so a short key has no room for the peer."""
    with Group(count=3, pool_mode='session') as g:
        for protocol in (PROTOCOL_3_0, PROTOCOL_3_2):
            for by in (1, 2, 3):
                client = g.client(2, protocol)
                number = g.slow(client, 0.3)
                check_eq(client.key[0], number, 'the process id')
                g.primary.cancels.clear()
                ask_cancel(g.at(by), client.key)
                check_eq(g.primary.cancels, [number])
                check_eq(client.read_until('Z').status, 'I')
                client.close()


@test
def one_that_waits_is_cancelled_by_a_peer():
    with Group(default_pool_size=1, workers=1) as g:
        holder, waiter = g.client(1), g.client(1)
        holder.must('BEGIN')
        waiter.send(query_msg('INSERT INTO q VALUES (1)'))

        def waits():
            shown = g.console(1, 'SHOW CLIENTS')
            return 'waiting' in [row[shown.columns.index('state')] for row in shown.rows]
        wait_for(waits, 5, 'it to wait')
        ask_cancel(g.at(2), waiter.key)
        result = waiter.read_until('Z')
        check_eq((result.error.code, result.status), ('57014', 'I'))
        check_eq(holder.must('COMMIT').status, 'I')


@test
def the_canceler_waits_until_the_server_was_told():
    """libpq sends its next statement when the connection is closed: the request must not hit that one."""
    with Group() as g:
        note = g.primary.note_cancel
        g.primary.note_cancel = lambda number: (time.sleep(0.5), note(number))
        for by in (1, 2):
            client = g.client(1)
            g.slow(client, 1.5)
            check(ask_cancel(g.at(by), client.key) > 0.4, f'closed at once by {by}')
            client.read_until('Z')
        check(ask_cancel(g.at(1), client.key) < 0.4, 'an idle client: nobody to wait for')


@test
def a_canceler_that_does_not_wait():
    with Group() as g:
        client = g.client(1)
        number = g.slow(client)
        g.primary.cancels.clear()
        for by in (1, 2):
            with socket.create_connection(g.at(by)) as sock:
                sock.sendall(packet(i32(CANCEL_REQUEST) + i32(client.key[0]) + client.key[1]))
        wait_for(lambda: len(g.primary.cancels) == 2, 5, 'both requests')
        check_eq(set(g.primary.cancels), {number})


# --- what is not


@test
def a_wrong_secret_cancels_nothing():
    with Group() as g:
        client = g.client(2)
        g.slow(client, 1)
        for by in (1, 2):
            ask_cancel(g.at(by), (client.key[0], bytes(4)))
            ask_cancel(g.at(by), (client.key[0] ^ 1, client.key[1]))
            ask_cancel(g.at(by), (client.key[0], client.key[1] + bytes(28)))
        check_eq(client.read_until('Z').error, None)
        check_eq(g.primary.cancels, [])
        check(g.logged(2, 'that nobody has, passed on by a peer') >= 2, 'not logged')


@test
def a_peer_nobody_knows():
    with Group() as g:
        check(ask_cancel(g.at(1), key_of(9)) < 1 * SLOW)
        check(ask_cancel(g.at(1), (1, bytes([0, 9]) + bytes(30))) < 1 * SLOW)
        wait_for(lambda: g.logged(1, 'with a key that nobody has') == 2, 2, 'the log')
        check_eq(g.logged(2, 'with a key that nobody has'), 0)


@test
def a_request_is_passed_on_once():
    """What the peer gets: the key, and behind it the mark. One that comes with the mark goes no further."""
    peer = Listener()
    try:
        with Group(count=1, peers={9: f'host=127.0.0.1 port={peer.port}'}) as g:
            asker = threading.Thread(target=ask_cancel, args=(g.at(1), key_of(9)))
            asker.start()
            wait_for(lambda: peer.came, 5, 'the request')
            pid, secret = key_of(9)
            check_eq(peer.came, [packet(i32(CANCEL_REQUEST) + i32(pid) + secret + MARK)])
            check(asker.is_alive(), 'closed before the peer was')
            peer.close_all()
            asker.join(5 * SLOW)
            check(not asker.is_alive(), 'still open')
            ask_cancel(g.at(1), (pid, secret + MARK))
            ask_cancel(g.at(1), (17, secret + MARK))
            ask_cancel(g.at(1), (17, MARK))
            check_eq(len(peer.came), 1)
    finally:
        peer.stop()


@test
def a_ring_of_wrong_rows_ends_at_once():
    """Each says that the other is peer 3, and 1 that it is 2 itself."""
    with Group() as g:
        for i, rows in ((1, {3: f'host=127.0.0.3 port={g.port}', 2: f'host={g.members[1].dir} port={g.port}'}),
                        (2, {3: f'host=127.0.0.2 port={g.port}'})):
            g.set_peers(i, rows)
            g.console(i, 'RELOAD')
        check(ask_cancel(g.at(1), key_of(3)) < 1 * SLOW)
        check_eq((g.logged(1, 'that nobody has'), g.logged(2, 'that nobody has, passed on')), (0, 1))
        check(ask_cancel(g.at(2), key_of(3)) < 1 * SLOW)
        check_eq((g.logged(1, 'that nobody has, passed on'), g.logged(2, 'that nobody has')), (1, 1))
        check(ask_cancel(g.at(1), g.client(2).key) < 1 * SLOW)
        check_eq(g.logged(1, 'that nobody has, passed on'), 2)


@test
def keys_that_are_no_keys():
    with Group() as g:
        for key in ((0, b''), (0, b'abc'), (0, MARK), (HAS_PEER, b'abcd'), (0x7fffffff, bytes(32)), (0, bytes(256)), (0, bytes(257)),
                    (0xffffffff, b'abcd' + MARK + MARK), (key_of(2)[0], bytes(248) + MARK)):
            with socket.create_connection(g.at(1), timeout=5 * SLOW) as sock:
                sock.sendall(packet(i32(CANCEL_REQUEST) + i32(key[0]) + key[1]))
                while sock.recv(1000):
                    pass
        check_eq(g.client(1).must('SELECT 1').status, 'I')
        check_eq(g.client(2).must('SELECT 1').status, 'I')


# --- peers that are away


@test
def a_dead_peer():
    with Group(count=1, peers={2: f'host=127.0.0.1 port={free_port()}', 3: 'host=/no/such/dir', 4: 'host=no.such.host.invalid'},
               server_connect_timeout='1s') as g:
        for peer in (2, 3):
            check(ask_cancel(g.at(1), key_of(peer)) < 1 * SLOW)
        check_eq(g.client(1).must('SELECT 1').status, 'I')
        wait_for(lambda: g.logged(1, 'cancel request for peer 2 is lost') == 1, 2, 'the log')
        time.sleep(1.1)
        check(ask_cancel(g.at(1), key_of(4), 30) < 15)
        wait_for(lambda: g.logged(1, 'cancel request for peer 4 is lost') == 1, 2, 'the log')


@test
def a_peer_that_hangs():
    """Bounded in time, and pool_size in number: the others wait their turn, and cancel_wait_timeout at most."""
    peer = Listener()
    try:
        with Group(count=1, peers={2: f'host=127.0.0.1 port={peer.port} pool_size=2'}, cancel_wait_timeout='1s', workers=2) as g:
            took = []
            askers = [threading.Thread(target=lambda: took.append(ask_cancel(g.at(1), key_of(2), 20))) for _ in range(7)]
            for asker in askers:
                asker.start()
            wait_for(lambda: len(peer.came) == 2, 5, 'two requests')
            time.sleep(0.3)
            check_eq(len(peer.came), 2, 'at a time')
            check_eq(g.client(1).must('SELECT 1').status, 'I')
            for asker in askers:
                asker.join(15 * SLOW)
            check(max(took) < 5 * SLOW, took)
            check(0.9 < min(took), took)
            check(g.logged(1, 'cancel request for peer 2 is lost') > 0, 'not logged')
            peer.close_all()
            asker = threading.Thread(target=ask_cancel, args=(g.at(1), key_of(2)))
            before = len(peer.came)
            asker.start()
            wait_for(lambda: len(peer.came) > before, 5, 'a place to be free again')
            peer.close_all()
            asker.join(5 * SLOW)
    finally:
        peer.stop()


@test
def a_burst_waits_for_its_turn():
    peer = Listener()
    try:
        with Group(count=1, peers={2: f'host=127.0.0.1 port={peer.port} pool_size=1'}) as g:
            askers = [threading.Thread(target=ask_cancel, args=(g.at(1), key_of(2))) for _ in range(20)]
            for asker in askers:
                asker.start()
            for i in range(20):
                wait_for(lambda: len(peer.came) == i + 1, 5, f'request {i + 1}: {len(peer.came)}')
                peer.close_all()
            for asker in askers:
                asker.join(5 * SLOW)
            check_eq(g.logged(1, 'is lost'), 0)
    finally:
        peer.stop()


@test
def stopped_while_requests_are_under_way():
    # libevent's evdns never tells of look-ups that are pending at the end: a leak to the sanitizer
    away = '127.0.0.1 port=1' if SLOW > 1 else 'no.such.host.invalid'
    peer = Listener()
    try:
        for signo in (signal.SIGTERM, signal.SIGQUIT):
            with Group(count=1, peers={2: f'host=127.0.0.1 port={peer.port} pool_size=1', 3: f'host={away}'},
                       cancel_wait_timeout='1s') as g:
                socks = [socket.create_connection(g.at(1)) for _ in range(9)]
                for i, sock in enumerate(socks):
                    pid, secret = key_of(2 + i % 3)
                    sock.sendall(packet(i32(CANCEL_REQUEST) + i32(pid) + secret))
                wait_for(lambda: peer.open, 5, 'the request')
                check_eq(g.members[1].stop(signo), '')
                for sock in socks:
                    sock.close()
                peer.close_all()
    finally:
        peer.stop()


# --- configuration and console


@test
def reload_changes_peers():
    with Group(peers={7: 'host=/nowhere'}) as g:
        client = g.client(2)
        number = g.slow(client)
        g.primary.cancels.clear()
        ask_cancel(g.at(1), client.key)
        check_eq(g.primary.cancels, [])
        check_eq(g.console(1, 'SHOW PEERS').rows, [['7', '/nowhere', '6432', '20']])
        g.set_peers(1, {2: g.row(2) + ' pool_size=3', 1: 'host=localhost'})
        g.console(1, 'RELOAD')
        shown = g.console(1, 'SHOW PEERS')
        check_eq(shown.columns, ['peer_id', 'host', 'port', 'pool_size'])
        check_eq(shown.rows, [['2', '127.0.0.3', str(g.port), '3'], ['1', 'localhost', '6432', '20']])
        ask_cancel(g.at(1), client.key)
        check_eq(g.primary.cancels, [number])
        check_eq(dict(g.console(1, 'SHOW LISTS').rows)['peers'], '2')


@test
def a_peer_id_that_comes_by_a_reload():
    """Keys given before it name nobody: the process itself knows them, and its peers ask."""
    with Group(count=1, peer_id=0) as one:
        old = one.client(1)
        check(old.key[0] < HAS_PEER)
        one.members[1].settings['peer_id'] = 5
        one.members[1].write()
        one.console(1, 'RELOAD')
        check_eq(one.client(1).key[0] >> 16 & 0x3fff, 5)
        one.hits(old, one.at(1))


@test
def peers_by_name_at_ports_of_their_own():
    """As behind a load balancer."""
    with Group(count=1, peers={1: 'host=localhost port=1'}) as a, Group(count=1, peer_id=2, peers={1: f'host=localhost port={a.port}'}) as b:
        a.hits(a.client(1), b.at(1))


@test
def the_statements_of_a_process_that_is_shutting_down():
    """Its port is the others' at once; by its socket directory it can still be reached."""
    with Group() as g:
        client = g.client(1)
        client.must('BEGIN')
        number = g.slow(client)
        g.members[1].process.send_signal(signal.SIGTERM)
        wait_for(lambda: g.logged(1, 'shutting down'), 5, 'the shutdown')
        time.sleep(0.2)
        for _ in range(8):
            with g.client(0) as other:
                check_eq(other.key[0] >> 16 & 0x3fff, 2)
        g.primary.cancels.clear()
        ask_cancel(g.at(0), client.key)
        check_eq(g.primary.cancels, [number])
        late = Client(g.port, login=False, host='127.0.0.3')
        late.sock.close()
        late.sock = socket.socket(socket.AF_UNIX)
        late.sock.connect(f'{g.members[1].dir}/.s.PGSQL.{g.port}')
        late.send(startup_packet({'user': 'app', 'database': 'app'}))
        check_eq(late.read_error().code, '57P01')
        late.close()
        client.read_until('Z')
        client.must('COMMIT')
        wait_for(lambda: not g.members[1].is_alive(), 5, 'the end')


run()
