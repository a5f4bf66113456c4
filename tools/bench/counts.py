"""counts - what doesn't depend on how busy the machine is: system calls (strace) and instructions (callgrind) a transaction.

A count is the difference of two runs of different length, so that login and the first transactions drop out. For pgshunt it is that
of the worker thread: the monitor's work is a matter of seconds, not of transactions.
"""
import glob
import os
import re
import signal
import subprocess
import time

from cases import run_pgbench
from procs import busiest_thread, children_of, find_program, say

MODES = ('simple', 'extended', 'prepared')
STRACED = (300, 1300)          # transactions of the short and the long run
STRACED_CLIENTS = (1, 16)
CALLGRIND = (500, 3500)


def transactions(machine, contestant, mode, count, clients=1):
    """Each client runs count of them."""
    return run_pgbench(machine, contestant, mode, clients, ['-t', str(count)], ['-S'])


# --- system calls

def threads_to_trace(contestant):
    pids = children_of(contestant.process.pid)
    return [busiest_thread(pids[0])] if len(pids) == 1 else pids


def attached(status_of):
    for task in status_of:
        try:
            with open(f'/proc/{task}/status', encoding='ascii') as status:
                if re.search(r'^TracerPid:\s+0$', status.read(), re.M):
                    return False
        except OSError:
            pass
    return True


def strace_run(machine, strace, contestant, mode, count, clients):
    """The number of system calls during a run of so many transactions a client; {name: calls}."""
    tasks = threads_to_trace(contestant)
    output = f'{machine.dir}/strace.out'
    tracer = machine.start([strace, '-qq', '-c', '-o', output, *(f'-p{task}' for task in tasks)], 'strace.log', plain_user=False)
    until = time.monotonic() + 10
    while not attached(tasks):
        if tracer.poll() is not None or time.monotonic() > until:
            machine.end(tracer)
            raise OSError(f'strace can\'t attach: {machine.log_end("strace.log", 1)}')
        time.sleep(0.02)
    sample = transactions(machine, contestant, mode, count, clients)
    machine.end(tracer, signal.SIGINT)
    if 'error' in sample:
        raise OSError(sample['error'])
    with open(output, encoding='ascii') as table:
        lines = [line.split() for line in table]
    # % time, seconds, usecs/call, calls, [errors], syscall
    return {fields[-1]: int(fields[3]) for fields in lines if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != 'total'}


def count_calls(machine, strace, contestant, mode, clients, results):
    lengths = [count // min(clients, 4) for count in STRACED]       # of few transactions each, logins would be most
    try:
        short, long = (strace_run(machine, strace, contestant, mode, length, clients) for length in lengths)
    except OSError as error:
        results.skipped.append(f'system calls of {contestant.name}, {mode}, {clients} clients: {error}')
        return
    span = (lengths[1] - lengths[0]) * clients
    calls = {name: (long[name] - short.get(name, 0)) / span for name in long}
    results.calls[contestant.name, mode, clients] = calls
    told = ', '.join(f'{name} {number:.2f}' for name, number in sorted(calls.items(), key=lambda one: -one[1]) if number >= 0.01)
    say(f'system calls: {contestant.name} {mode}, {clients} clients: {sum(calls.values()):.2f} a transaction ({told})')


def system_calls(machine, field, results):
    strace = find_program('strace')
    if not strace:
        results.skipped.append('system calls: no strace (tools/deps bench installs it)')
        return
    for contestant in field:
        for clients in STRACED_CLIENTS if contestant.is_proxy else ():
            for mode in MODES:
                count_calls(machine, strace, contestant, mode, clients, results)


# --- instructions

class Counter:
    """callgrind around a contestant; dumps are numbered, each counts from the dump before it."""

    def __init__(self, machine, contestant):
        self.machine, self.contestant = machine, contestant
        self.prefix = f'{machine.dir}/callgrind.{contestant.name}'
        self.dumps = 0

    def start(self):
        valgrind = find_program('valgrind')
        self.contestant.start([valgrind, '-q', '--tool=callgrind', '--separate-threads=yes', f'--callgrind-out-file={self.prefix}'], 60)

    def dump(self):
        """Instructions since the last dump, by thread."""
        self.dumps += 1
        # valgrind's pipes are named after its user.
        control = self.machine.start([find_program('callgrind_control'), '-d', str(self.contestant.process.pid)], 'control.log')
        try:
            control.wait(20)
        finally:
            self.machine.end(control)
        counts = {self.numbers_of(path)[1]: self.total(path) for path in glob.glob(f'{self.prefix}.{self.dumps}*')
                  if self.numbers_of(path)[0] == self.dumps}
        if not counts:
            raise OSError('callgrind wrote no counts')
        return counts

    def numbers_of(self, path):
        """Of the dump, and of the thread: PREFIX.3-02."""
        dump, _, thread = path[len(self.prefix) + 1:].partition('-')
        return int(dump), thread

    @staticmethod
    def total(path):
        with open(path, 'rb') as dump:
            dump.seek(max(0, os.path.getsize(path) - 200))
            found = re.search(rb'totals: (\d+)', dump.read())
        return int(found.group(1)) if found else 0

    def per_transaction(self, mode):
        """Of the thread that ran most in the long run. The first run opens servers, and isn't counted."""
        counted = []
        for count in (200, *CALLGRIND):
            sample = transactions(self.machine, self.contestant, mode, count)
            if 'error' in sample:
                raise OSError(sample['error'])
            counted.append(self.dump())
        thread = max(counted[2], key=counted[2].get)
        return (counted[2][thread] - counted[1].get(thread, 0)) / (CALLGRIND[1] - CALLGRIND[0])


def instructions(machine, field, results):
    if not find_program('valgrind'):
        results.skipped.append('instructions: no valgrind (apt-get install valgrind)')
        return
    for contestant in field:
        if not contestant.is_proxy:
            continue
        if contestant.can_hold:
            results.skipped.append(f'instructions of {contestant.name}: its processes come and go, callgrind can\'t follow one')
            continue
        say(f'instructions: {contestant.name} starts under callgrind')
        counter = Counter(machine, contestant)
        try:
            counter.start()
            for mode in MODES:
                number = results.instructions[contestant.name, mode] = counter.per_transaction(mode)
                say(f'instructions: {contestant.name} {mode}: {number:.0f} a transaction')
        except (OSError, subprocess.SubprocessError) as error:
            results.skipped.append(f'instructions of {contestant.name}: {error}')
        contestant.stop()
