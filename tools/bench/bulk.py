"""bulk - what passes by the hundred megabytes: CPU a gigabyte, and whether the memory stays flat.

One client, a Python process with a plain socket, which counts the bytes of both directions as they are on the wire.
"""
import threading
import time

from client import Bulk
from procs import cpu_seconds, resident_bytes, say

TABLE = 'bench_copy'
LINE = b'%d\tsome text of a length that one finds in tables, to be copied\n'
VALUE_BYTES = 4 << 20


class Watcher(threading.Thread):
    """The most memory the processes have had while it ran."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.most, self.is_over = pids, 0, threading.Event()
        self.start()

    def run(self):
        while not self.is_over.wait(0.01):
            self.most = max(self.most, resident_bytes(self.pids))

    def end(self):
        self.is_over.set()
        self.join()
        return self.most


def read_rows(client, _):
    client.read('SELECT aid, bid, abalance, filler FROM pgbench_accounts')


def copy_in(client, megabytes):
    piece = b''.join(LINE % number for number in range(900))
    client.copy_in(TABLE, piece, max(1, megabytes * (1 << 20) // len(piece)))


def bind_large(client, megabytes):
    client.bind(bytes(range(256)) * (VALUE_BYTES // 256), max(1, megabytes * (1 << 20) // VALUE_BYTES))


CASES = (
    ('rows', 'one result of {rows} rows', read_rows),
    ('copy', 'COPY FROM STDIN', copy_in),
    ('binds', 'parameters of 4 MB each', bind_large),
)


def run_one(contestant, work, megabytes):
    pids = contestant.pids() if contestant.is_proxy else []
    sample = {}
    try:
        client = Bulk(contestant.port)
        sample['before'] = resident_bytes(pids)
        watcher = Watcher(pids)
        cpu, began, moved = cpu_seconds(pids), time.monotonic(), client.moved
        work(client, megabytes)
        seconds, gigabytes = time.monotonic() - began, (client.moved - moved) / 1e9
        cpu = cpu_seconds(pids) - cpu
        sample['most'] = watcher.end()
        client.leave()
    except OSError as error:
        return {'error': str(error)}
    sample.update(mb_s=gigabytes * 1000 / seconds, gigabytes=gigabytes, after=resident_bytes(pids))
    if contestant.is_proxy:
        sample['cpu_gb'] = cpu / gigabytes
        sample['grown'] = sample['most'] - sample['before']
    return sample


def run(lab, field, values, results):
    for name, title, work in CASES:
        title = title.format(rows=f'{100000 * values["SCALE"]:,}')
        results.bulk.append((name, title))
        say(f'{name}: {values["ROUNDS"]} rounds')
        for turn in range(values['ROUNDS'] + 1):
            said = []
            for contestant in field:
                if name == 'copy':
                    lab.sql(f'DROP TABLE IF EXISTS {TABLE}; CREATE UNLOGGED TABLE {TABLE}(id int, words text); GRANT ALL ON {TABLE} TO app')
                sample = run_one(contestant, work, values['MEGABYTES'] if turn else 1)
                if turn:            # the first warms servers and caches up
                    results.add(name, contestant.name, sample)
                    said.append(f'{contestant.name} {sample["mb_s"]:.0f} MB/s' if 'mb_s' in sample else f'{contestant.name} FAILED')
            if turn:
                say(f'  round {turn}: {"  ".join(said)}')
    lab.sql(f'DROP TABLE IF EXISTS {TABLE}')
