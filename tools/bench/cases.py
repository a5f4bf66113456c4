"""cases - the timed runs: pgbench against each contestant in turn, round after round."""
import glob
import os
import re
import time

from contestants import AtPrimary
from lab import Lab
from procs import cpu_seconds, say

READ = '''\\set aid random(1, 100000 * :scale)
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
'''
UPDATE = '''\\set aid random(1, 100000 * :scale)
\\set delta random(-5000, 5000)
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
'''


class Case:
    def __init__(self, name, title, mode, what, clients=None):
        self.name, self.title, self.mode, self.what, self.clients = name, title, mode, what, clients


CASES = [
    Case('simple', 'SELECT by key, simple protocol', 'simple', ['-S']),
    Case('extended', 'SELECT by key, extended protocol', 'extended', ['-S']),
    Case('prepared', 'SELECT by key, prepared statements', 'prepared', ['-S']),
    Case('one', 'SELECT by key, simple protocol, one client', 'simple', ['-S'], clients=1),
    Case('mixed', '80 % reads, 20 % updates, simple protocol', 'simple', ['-f', '{read}@4', '-f', '{update}@1']),
    Case('connect', 'a new connection for each SELECT', 'simple', ['-S', '-C']),
]


AT_PRIMARY = ('simple', 'extended', 'prepared', 'one')         # where it is asked what the proxy alone costs


class Sample(dict):
    """One run of pgbench: tps, p50_ms, p99_ms, connect_ms, cpu_10k; or error."""


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def read_latencies_us(prefix):
    """pgbench -l: client, transaction, microseconds, ..."""
    micros = []
    for path in glob.glob(f'{prefix}.*'):
        with open(path, 'rb') as log:
            for line in log:
                fields = line.split(b' ', 3)
                if fields[2].isdigit():
                    micros.append(int(fields[2]))
        os.unlink(path)
    return sorted(micros)


def said_number(text, pattern):
    found = re.search(pattern, text)
    return float(found.group(1)) if found else None


def pgbench_command(contestant, mode, clients, how_long, what):
    return [f'{contestant.lab.bin}/pgbench', '-n', '-M', mode, '-c', str(clients), '-j', '1', *how_long, *what,
            Lab.address(contestant.port, contestant.dbname(mode))]


def run_pgbench(machine, contestant, mode, clients, how_long, what, log=False, timeout=120):
    prefix = f'{machine.dir}/latency'
    more = ['-l', f'--log-prefix={prefix}'] if log else []
    pids = contestant.pids()
    cpu_before, began = cpu_seconds(pids), time.monotonic()
    code, said = machine.run(pgbench_command(contestant, mode, clients, how_long, [*more, *what]), contestant.env, timeout)
    seconds, cpu = time.monotonic() - began, cpu_seconds(pids) - cpu_before
    micros = read_latencies_us(prefix) if log else []
    done = said_number(said, r'transactions actually processed: (\d+)')
    failed = said_number(said, r'number of failed transactions: (\d+)')
    if code != 0 or not done or failed:
        return Sample(error=said.strip()[-300:] or f'exit code {code}')
    sample = Sample(tps=said_number(said, r'tps = ([\d.]+)'), connect_ms=said_number(said, r'average connection time = ([\d.]+)'),
                    done=done, seconds=seconds)
    if contestant.is_proxy:
        sample['cpu_10k'] = cpu / done * 10000
    if micros:
        sample['p50_ms'], sample['p99_ms'] = percentile(micros, 0.5) / 1000, percentile(micros, 0.99) / 1000
    return sample


def run_case(machine, field, case, values, results, scripts):
    what = [part.format(**scripts) for part in case.what]
    clients = case.clients or values['CLIENTS']
    how_long = ['-T', str(values['SECONDS'])]
    say(f'{case.name}: {values["ROUNDS"]} rounds of {" ".join(how_long)}, {clients} clients')
    for contestant in field:
        run_pgbench(machine, contestant, case.mode, clients, ['-t', '50'], what)
    for turn in range(values['ROUNDS']):
        said = []
        for contestant in field:
            sample = run_pgbench(machine, contestant, case.mode, clients, how_long, what, log='-C' not in what)
            results.add(case.name, contestant.name, sample)
            said.append(f'{contestant.name} {sample["tps"]:.0f}' if 'tps' in sample else f'{contestant.name} FAILED')
        say(f'  round {turn + 1}: {"  ".join(said)}')


def run_all(machine, field, values, results, wanted):
    scripts = {name: machine.write(f'{name}.sql', text) for name, text in (('read', READ), ('update', UPDATE))}
    for case in CASES:
        if wanted(case.name):
            results.cases.append((case.name, case.title, case.clients or values['CLIENTS']))
            run_case(machine, [one for one in field if one.name != AtPrimary.name or case.name in AT_PRIMARY], case, values, results, scripts)


def run_workers(machine, field, values, results):
    """The same load on one worker and on two."""
    case = Case('workers', 'SELECT by key, simple protocol, one worker and two', 'simple', ['-S'], clients=16)
    results.workers = [one.name for one in field]
    run_case(machine, field, case, values, results, {})
