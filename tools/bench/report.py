"""report - the samples of a run, and the Markdown made of them."""
import os
import platform
import statistics

from counts import MODES


class Results:
    def __init__(self, values):
        self.values = values
        self.contestants, self.cases, self.skipped = [], [], []
        self.samples = {}            # (case, contestant) -> samples, one a round
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
    lines = ['# Benchmark', '', f'{machine_line()}. {values["ROUNDS"]} interleaved rounds of {values["SECONDS"]} s, '
             f'{results.seconds:.0f} s in all. Clients, proxy and nodes share the machine. Figures are medians (smallest-largest round).', '']
    lines += [f'- {name}: {version}; {note}' for name, version, note in results.contestants]
    lines += ['', 'The same for all: SCRAM on both sides, no TLS, pools of 20 servers, one cluster of a primary and two standbys. pgshunt promises',
              'that a session reads its own writes; pgpool, as configured here, does so inside a transaction; pgbouncer and direct never leave the primary.', '']
    return '\n'.join(lines)


def case_section(results, name, title, clients):
    rows = []
    for contestant, _, _ in results.contestants:
        series = lambda metric, form='{:,.0f}': spread(results.series(name, contestant, metric), form)
        row = [contestant, series('tps'), series('p50_ms', '{:.2f}'), series('p99_ms', '{:.2f}'), series('cpu_10k', '{:.3f}')]
        if name == 'connect':
            row[2:4] = [series('connect_ms', '{:.2f}')]
        if name == 'rows':
            del row[3]
        rows.append(row)
    unit = '1,000,000 rows' if name == 'rows' else '10,000 transactions'
    waits = {'connect': ['connecting ms'], 'rows': ['p50 ms']}.get(name, ['p50 ms', 'p99 ms'])
    heading = ['', 'rows/s' if name == 'rows' else 'transactions/s', *waits, f'CPU s of the proxy per {unit}']
    return f'## {title[0].upper()}{title[1:]}\n\n{clients} client{"s" if clients > 1 else ""}.\n\n{table(heading, rows)}'


def ratio_section(results):
    rows = [[title, spread(results.ratios(name, 'pgshunt', 'pgbouncer'), '{:.2f}'), spread(results.ratios(name, 'pgshunt', 'pgpool'), '{:.2f}'),
             spread(results.ratios(name, 'pgshunt', 'direct'), '{:.2f}'),
             spread(results.ratios(name, 'pgshunt', 'pgbouncer', 'cpu_10k'), '{:.2f}')] for name, title, _ in results.cases]
    heading = ['', 'throughput: pgshunt / pgbouncer', 'pgshunt / pgpool', 'pgshunt / direct', 'CPU a transaction: pgshunt / pgbouncer']
    return f'## Ratios\n\nRound by round; above 1 is more.\n\n{table(heading, rows)}'


def proxies(results):
    return [name for name, _, _ in results.contestants if name != 'direct']


def counts_section(results):
    def told(name, mode):
        calls = results.calls.get((name, mode))
        return '-' if calls is None else f'{sum(calls.values()):.2f}'

    def instructions(name, mode):
        number = results.instructions.get((name, mode))
        return '-' if number is None else f'{number:,.0f}'
    rows = [[name, *(told(name, mode) for mode in MODES), *(instructions(name, mode) for mode in MODES)] for name in proxies(results)]
    heading = ['', *(f'system calls, {mode}' for mode in MODES), *(f'instructions, {mode}' for mode in MODES)]
    text = '## System calls and instructions a transaction\n\n' \
        'One client, SELECT by key; differences of two run lengths; pgshunt: its worker thread.\n\n' + table(heading, rows)
    kinds = [f'- {name}, {mode}: ' + ', '.join(f'{call} {number:.2f}' for call, number in sorted(calls.items(), key=lambda one: -one[1])
                                              if number >= 0.01) for (name, mode), calls in results.calls.items()]
    return text + '\n' + '\n'.join(kinds) + '\n'


def idle_section(results):
    def size(found, what):
        return f'{found[what]:,.0f}' if what in found else found.get('error', '-')
    rows = [[name, f'{found["clients"]:,}', size(found, 'idle'), size(found, 'used'), f'{found["tps"]:,.0f}' if found.get('tps') else '-']
            for name, found in results.idle.items()]
    heading = ['', 'idle clients', 'bytes a client, logged in', 'after a statement each', 'transactions/s beside them']
    return '## Idle clients\n\nGrowth of the proxy\'s memory (Pss) a client; of pgpool, with a process a client, all its memory divided by them.\n\n' \
        + table(heading, rows)


def write(results):
    parts = [head(results)]
    if results.cases:
        parts.append(ratio_section(results))
    parts += [case_section(results, *case) for case in results.cases]
    if results.calls or results.instructions:
        parts.append(counts_section(results))
    if results.idle:
        parts.append(idle_section(results))
    failures = [f'{name}: {errors[0]}' for name, _, _ in results.contestants if (errors := results.broken(name))]
    if results.skipped or failures:
        parts.append('## Not measured\n\n' + '\n'.join(f'- {" ".join(line.split())}' for line in results.skipped + failures) + '\n')
    return '\n'.join(parts)
