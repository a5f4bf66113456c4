"""targets - the figures pgshunt is held against, each with what this run says of it.

Ratios are pgshunt / pgbouncer, made round by round; the spread is smallest-largest round.
"""
import statistics

from counts import MODES

INSTRUCTIONS_MAX = 8000
CALLS_MAX = {1: 6.0, 16: 4.5}
CALLS_SLACK = 0.05              # a timer, a sample of the monitor's: not the transactions'
CPU_MAX = {'simple': 1.0, 'extended': 1.0, 'prepared': 0.85}
IDLE_MAX = 2000
FLAT_BYTES = 4 << 20
WORKERS_GROWTH_MAX = 1.10
MODE_WORDS = {'prepared': 'prepared (pgbouncer: session pooling)'}
AT_PRIMARY = 'pgshunt, reads at the primary'


class Row:
    """One target. series: a figure a round, or one of the whole run."""

    def __init__(self, what, wanted, series, most, form='{:.2f}'):
        self.what, self.wanted, self.most, self.form = what, wanted, most, form
        self.series = [value for value in series if value is not None]

    def verdict(self):
        if not self.series:
            return 'not measured'
        return 'kept' if statistics.median(self.series) <= self.most else 'missed'


def cpu_rows(results):
    return [Row(f'CPU a transaction, {MODE_WORDS.get(mode, mode)}{where}, ratio', f'{CPU_MAX[mode]:.2f}',
                results.ratios(mode, who, 'pgbouncer', 'cpu_10k'), CPU_MAX[mode])
            for who, where in (('pgshunt', ''), (AT_PRIMARY, ', both at the primary')) for mode in MODES]


def count_rows(results):
    rows = [Row(f'instructions, {mode}', f'{INSTRUCTIONS_MAX:,}', [results.instructions.get(('pgshunt', mode))], INSTRUCTIONS_MAX, '{:,.0f}')
            for mode in MODES]
    for clients, most in CALLS_MAX.items():
        for mode in MODES:
            calls = results.calls.get(('pgshunt', mode, clients))
            rows.append(Row(f'system calls, {mode}, {clients} client{"s" if clients > 1 else ""}', f'{most:.1f}',
                            [sum(calls.values())] if calls else [], most + CALLS_SLACK))
    return rows


def added_p50_us(results, name):
    pairs = zip(results.series('one', name, 'p50_ms'), results.series('one', 'direct', 'p50_ms'))
    return [(proxied - direct) * 1000 for proxied, direct in pairs if proxied and direct]


def latency_rows(results):
    theirs = added_p50_us(results, 'pgbouncer')
    most = statistics.median(theirs) if theirs else 0
    return [Row(f'p50 added at one client{where}, \u00b5s', f'pgbouncer\'s: {most:.0f}', added_p50_us(results, who) if theirs else [], most, '{:.0f}')
            for who, where in (('pgshunt', ''), (AT_PRIMARY, ', both at the primary'))]


def bulk_rows(results):
    rows = []
    for name, title in results.bulk:
        rows.append(Row(f'CPU a gigabyte, {title}, ratio', '1.00', results.ratios(name, 'pgshunt', 'pgbouncer', 'cpu_gb'), 1.0))
        grown = [None if value is None else value / (1 << 20) for value in results.series(name, 'pgshunt', 'grown')]
        rows.append(Row(f'memory more while it runs, {title}, MB', f'{FLAT_BYTES >> 20}', grown, FLAT_BYTES / (1 << 20), '{:.1f}'))
    return rows


def other_rows(results):
    idle = results.idle.get('pgshunt', {})
    return [
        *(Row(f'CPU of {results.values["LOGINS"]:,} logins, {title}, ratio', '1.00',
              results.ratios(f'logins_{kind}', 'pgshunt', 'pgbouncer', 'cpu_login_us'), 1.0) for kind, title in results.logins),
        Row('bytes an idle client, after a statement', f'{IDLE_MAX:,}', [idle.get('used')], IDLE_MAX, '{:,.0f}'),
        *latency_rows(results),
        *bulk_rows(results),
        Row('CPU a transaction, two workers / one', f'{WORKERS_GROWTH_MAX:.2f}',
            results.ratios('workers', 'pgshunt, 2 workers', 'pgshunt', 'cpu_10k'), WORKERS_GROWTH_MAX),
    ]


def section(results, table, spread):
    rows = [row for row in cpu_rows(results) + count_rows(results) + other_rows(results) if row.series]
    rows = [[row.what, row.wanted, spread(row.series, row.form), row.verdict()] for row in rows]
    mixed = results.ratios('mixed', 'pgshunt', 'pgbouncer', 'cpu_10k')
    if mixed:
        rows.append(['CPU a transaction, 80 % reads and 20 % updates, ratio', '-', spread(mixed, '{:.2f}'), '-'])
    return '## Targets\n\nRatios are pgshunt / pgbouncer, round by round.\n\n' + table(['', 'at most', 'this run', ''], rows)
