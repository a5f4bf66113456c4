"""report - the samples of a run, and the Markdown made of them."""
import os
import platform
import statistics

import targets
from counts import MODES, STRACED_CLIENTS


class Results:
    def __init__(self, values):
        self.values = values
        self.contestants, self.cases, self.skipped = [], [], []
        self.samples = {}            # (case, contestant) -> samples, one a round
        self.bulk, self.logins, self.workers = [], [], []
        self.calls, self.instructions, self.idle = {}, {}, {}
        self.seconds = 0

    def add(self, case, contestant, sample):
        self.samples.setdefault((case, contestant), []).append(sample)

    def series(self, case, contestant, metric):
        return [sample.get(metric) for sample in self.samples.get((case, contestant), [])]

    def ratios(self, case, one, other, metric='tps'):
        pairs = zip(self.series(case, one, metric), self.series(case, other, metric))
        return [a / b for a, b in pairs if a and b]

    def broken(self, contestant):
        return [sample['error'] for (_, name), samples in self.samples.items() if name == contestant
                for sample in samples if 'error' in sample]


def spread(numbers, form='{:,.0f}'):
    known = [number for number in numbers if number is not None]
    if not known:
        return '-'
    middle, low, high = (form.format(number) for number in (statistics.median(known), min(known), max(known)))
    return middle if low == high else f'{middle} ({low}-{high})'


def table(heading, rows):
    lines = [heading, ['---'] + ['---:'] * (len(heading) - 1), *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines) + '\n'


def machine_line():
    with open('/proc/cpuinfo', encoding='utf-8') as info:
        model = next((line.split(':')[1].strip() for line in info if line.startswith('model name')), platform.machine())
    return f'{os.cpu_count()} x {model}, Linux {platform.release()}'


def head(results):
    values = results.values
    lines = ['# Benchmark', '', f'{machine_line()}. {values["ROUNDS"]} interleaved rounds of {values["SECONDS"]} s, {results.seconds:.0f} s in all.',
             'Clients, proxy and nodes share the machine. Figures are medians (smallest-largest round).', '']
    lines += [f'- {name}: {version}; {note}' for name, version, note in results.contestants]
    lines += ['', 'The same for all: SCRAM on both sides (pgshunt and pgbouncer have the servers\' verifier, pgpool the password), no TLS, pools of',
              '20 servers, one cluster of a primary and two standbys. pgshunt promises that a session reads its own writes; pgpool, as configured',
              'here, does so inside a transaction; pgbouncer and direct never leave the primary.', '']
    return '\n'.join(lines)


def case_section(results, name, title, clients):
    rows = []
    for contestant in [one for one, _, _ in results.contestants if (name, one) in results.samples]:
        series = lambda metric, form='{:,.0f}': spread(results.series(name, contestant, metric), form)
        row = [contestant, series('tps'), series('p50_ms', '{:.3f}'), series('p99_ms', '{:.2f}'), series('cpu_10k', '{:.4f}')]
        if name == 'connect':
            row[2:4] = [series('connect_ms', '{:.2f}')]
        rows.append(row)
    waits = ['connecting ms'] if name == 'connect' else ['p50 ms', 'p99 ms']
    heading = ['', 'transactions/s', *waits, 'CPU s of the proxy per 10,000 transactions']
    return f'## {title[0].upper()}{title[1:]}\n\n{clients} client{"s" if clients > 1 else ""}.\n\n{table(heading, rows)}'


def ratio_section(results):
    rows = [[title, spread(results.ratios(name, 'pgshunt', 'pgbouncer'), '{:.2f}'), spread(results.ratios(name, 'pgshunt', 'pgpool'), '{:.2f}'),
             spread(results.ratios(name, 'pgshunt', 'direct'), '{:.2f}'),
             spread(results.ratios(name, 'pgshunt', 'pgbouncer', 'cpu_10k'), '{:.2f}')] for name, title, _ in results.cases]
    heading = ['', 'throughput: pgshunt / pgbouncer', 'pgshunt / pgpool', 'pgshunt / direct', 'CPU a transaction: pgshunt / pgbouncer']
    return f'## Ratios\n\nRound by round; above 1 is more.\n\n{table(heading, rows)}'


def counted(results):
    names = [name for name, _ in results.instructions] + [name for name, _, _ in results.calls]
    return [name for name, _, _ in results.contestants if name in names]


def counts_section(results):
    def told(name, mode, clients):
        calls = results.calls.get((name, mode, clients))
        return '-' if calls is None else f'{sum(calls.values()):.2f}'

    def instructions(name, mode):
        number = results.instructions.get((name, mode))
        return '-' if number is None else f'{number:,.0f}'
    columns = [(mode, clients) for clients in STRACED_CLIENTS for mode in MODES]
    rows = [[name, *(told(name, *column) for column in columns), *(instructions(name, mode) for mode in MODES)] for name in counted(results)]
    heading = ['', *(f'system calls, {mode}, {clients} client{"s" if clients > 1 else ""}' for mode, clients in columns),
               *(f'instructions, {mode}' for mode in MODES)]
    text = '## System calls and instructions a transaction\n\n' \
        'SELECT by key; differences of two run lengths; pgshunt: its worker thread; instructions (user space) with one client.\n\n' \
        + table(heading, rows)
    most_first = lambda calls: sorted(calls.items(), key=lambda one: -one[1])
    kinds = [f'- {name}, {mode}, {clients}: ' + ', '.join(f'{call} {number:.2f}' for call, number in most_first(calls) if number >= 0.01)
             for (name, mode, clients), calls in results.calls.items()]
    return text + '\n' + '\n'.join(kinds) + '\n'


def megabytes(series):
    return [None if value is None else value / (1 << 20) for value in series]


def bulk_section(results):
    text = '## By the gigabyte\n\nOne client; bytes of both directions as they are on the wire; memory is resident memory.\n'
    for name, title in results.bulk:
        rows = [[one, *(spread(results.series(name, one, metric), form) for metric, form in (('mb_s', '{:,.0f}'), ('cpu_gb', '{:.3f}'))),
                 *(spread(megabytes(results.series(name, one, metric)), '{:.1f}') for metric in ('before', 'most', 'after'))]
                for one, _, _ in results.contestants if (name, one) in results.samples]
        text += f'\n{title[0].upper()}{title[1:]}:\n\n' + table(['', 'MB/s', 'CPU s of the proxy per GB', 'MB before', 'most', 'after'], rows)
    return text


def login_section(results):
    rows = [[f'{one}, {title}', *(spread(results.series(f'logins_{kind}', one, metric)) for metric in ('cpu_login_us', 'logins_s'))]
            for kind, title in results.logins for one in ('pgshunt', 'pgbouncer')]
    return f'## Logins\n\n{results.values["LOGINS"]:,} of each kind: connect, SCRAM-SHA-256, leave.\n\n' \
        + table(['', 'CPU \u00b5s of the proxy a login', 'logins/s'], rows)


def workers_section(results):
    rows = [[name, spread(results.series('workers', name, 'tps')), spread(results.series('workers', name, 'cpu_10k'), '{:.4f}')]
            for name in results.workers]
    return '## One worker and two\n\nSELECT by key, simple protocol, 16 clients.\n\n' \
        + table(['', 'transactions/s', 'CPU s per 10,000 transactions'], rows)


def idle_section(results):
    def size(found, what):
        return f'{found[what]:,.0f}' if what in found else found.get('error', '-')
    rows = [[name, f'{found["clients"]:,}', size(found, 'idle'), size(found, 'used'), f'{found["tps"]:,.0f}' if found.get('tps') else '-']
            for name, found in results.idle.items()]
    heading = ['', 'idle clients', 'bytes a client, logged in', 'after a statement each', 'transactions/s beside them']
    return '## Idle clients\n\n' \
        'Growth of the proxy\'s memory (Pss) a client; of pgpool, with a process a client, all its memory divided by them.\n\n' + table(heading, rows)


def write(results):
    parts = [head(results), targets.section(results, table, spread)]
    if results.cases:
        parts.append(ratio_section(results))
    parts += [case_section(results, *case) for case in results.cases]
    if results.calls or results.instructions:
        parts.append(counts_section(results))
    for wanted, section in ((results.bulk, bulk_section), (results.logins, login_section), (results.workers, workers_section),
                            (results.idle, idle_section)):
        if wanted:
            parts.append(section(results))
    failures = [f'{name}: {errors[0]}' for name, _, _ in results.contestants if (errors := results.broken(name))]
    if results.skipped or failures:
        parts.append('## Not measured\n\n' + '\n'.join(f'- {" ".join(line.split())}' for line in results.skipped + failures) + '\n')
    return '\n'.join(parts)
