"""idle - what an idle client costs: memory after many have logged in, after each ran a statement, and throughput beside them.

The clients are one Python process with plain sockets.
"""
import selectors

from cases import run_pgbench
from client import Client
from procs import memory_bytes, say

AT_A_TIME = 50               # logins under way at once


class Crowd:
    def __init__(self):
        self.clients = []
        self.selector = selectors.DefaultSelector()

    def wait_ready(self, some):
        """Until each of these has had its ReadyForQuery."""
        waiting = {client for client in some if not client.ready}
        for client in waiting:
            self.selector.register(client.socket, selectors.EVENT_READ, client)
        try:
            while waiting:
                events = self.selector.select(30)
                if not events:
                    raise ConnectionError('no answer within 30 s')
                for key, _ in events:
                    key.data.receive()
                    if key.data.ready:
                        self.selector.unregister(key.fileobj)
                        waiting.discard(key.data)
        finally:
            for client in waiting:
                self.selector.unregister(client.socket)

    def in_turn(self, count, name, make):
        for at in range(0, count, AT_A_TIME):
            self.wait_ready([make(number) for number in range(at, min(count, at + AT_A_TIME))])
            if at and at % 1000 == 0:
                say(f'  {name}: {at} of {count}')

    def log_in(self, port, count):
        def make(_):
            self.clients.append(Client(port))
            return self.clients[-1]
        self.in_turn(count, 'logged in', make)

    def run(self, sql):
        def make(number):
            self.clients[number].run(sql)
            return self.clients[number]
        self.in_turn(len(self.clients), 'ran a statement', make)

    def leave(self):
        for client in self.clients:
            client.socket.close()
        self.clients.clear()
        self.selector.close()


def measure(machine, contestant, count, values):
    crowd = Crowd()
    # A process a client exists before its client comes: then all of the memory is divided by the clients.
    before = 0 if contestant.can_hold else memory_bytes(contestant.pids())
    found = {'clients': count}
    try:
        crowd.log_in(contestant.port, count)
        found['idle'] = (memory_bytes(contestant.pids()) - before) / count
        crowd.run('SELECT abalance FROM pgbench_accounts WHERE aid = 1')
        found['used'] = (memory_bytes(contestant.pids()) - before) / count
        if not contestant.can_hold:
            found['tps'] = run_pgbench(machine, contestant, 'simple', values['CLIENTS'], ['-T', '2'], ['-S']).get('tps')
    except OSError as error:
        found['error'] = f'after {len(crowd.clients)} clients: {error}'
    finally:
        crowd.leave()
    return found


def run(machine, field, values, results):
    wish = min(values['IDLE_CLIENTS'], machine.files - 200)
    if wish < values['IDLE_CLIENTS']:
        results.skipped.append(f'only {wish} idle clients: the limit of open files is {machine.files}')
    for contestant in field:
        if not contestant.is_proxy:
            continue
        count = wish
        if contestant.can_hold:
            contestant.stop()
            contestant.can_hold = 100
            contestant.start()
            count = contestant.can_hold - 2
        say(f'idle: {count} clients at {contestant.name}')
        found = results.idle[contestant.name] = measure(machine, contestant, count, values)
        say('  ' + (found.get('error') or f'{found["idle"]:.0f} bytes a client, {found["used"]:.0f} after a statement'))
