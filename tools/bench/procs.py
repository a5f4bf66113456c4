"""procs - what this run started and must end: a directory, processes; and what /proc knows of them."""
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TICKS = os.sysconf('SC_CLK_TCK')
PAGE_BYTES = os.sysconf('SC_PAGE_SIZE')
BEGAN = time.monotonic()


def say(text):
    print(f'bench {time.monotonic() - BEGAN:6.1f} s  {text}', file=sys.stderr, flush=True)


def find_program(name, *more):
    for directory in os.environ.get('PATH', '').split(':') + ['/usr/sbin', '/sbin', *more]:
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def free_port():
    """Below the ports that the kernel gives to outgoing connections."""
    for port in range(16500 + os.getpid() % 400, 17900):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                continue
            if port not in free_port.given:
                free_port.given.add(port)
                return port
    raise SystemExit('bench: no free port')


free_port.given = set()


def children_of(pid):
    """All descendants, the process itself first."""
    family = [pid]
    for member in family:
        try:
            for task in os.listdir(f'/proc/{member}/task'):
                with open(f'/proc/{member}/task/{task}/children', encoding='ascii') as children:
                    family += [int(child) for child in children.read().split()]
        except OSError:
            pass
    return family


def cpu_of_threads(pid):
    """To the nanosecond, of the threads that live."""
    total = 0
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/schedstat', encoding='ascii') as stat:
            total += int(stat.read().split()[0])
    return total / 1e9


def cpu_seconds(pids):
    """A process alone: of its threads. Several: utime + stime, and those of children that were waited for."""
    if len(pids) == 1:
        try:
            return cpu_of_threads(pids[0])
        except OSError:
            pass
    ticks = 0
    for pid in pids:
        try:
            with open(f'/proc/{pid}/stat', encoding='ascii') as stat:
                fields = stat.read().rpartition(')')[2].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS


def busiest_thread(pid):
    def ticks(task):
        with open(f'/proc/{pid}/task/{task}/stat', encoding='ascii') as stat:
            fields = stat.read().rpartition(')')[2].split()
        return int(fields[11]) + int(fields[12])
    return max((int(task) for task in os.listdir(f'/proc/{pid}/task')), key=ticks)


def memory_bytes(pids):
    """Proportional set size: shared pages are counted once, whatever the number of processes."""
    total = 0
    for pid in pids:
        try:
            with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as rollup:
                total += sum(int(line.split()[1]) for line in rollup if line.startswith('Pss:')) * 1024
        except OSError:
            pass
    return total


def resident_bytes(pids):
    """Cheaper to ask for than memory_bytes(), and right enough for a process alone."""
    total = 0
    for pid in pids:
        try:
            with open(f'/proc/{pid}/statm', encoding='ascii') as statm:
                total += int(statm.read().split()[1]) * PAGE_BYTES
        except OSError:
            pass
    return total


class Machine:
    """Everything started here ends here, by its process id, however the run ends."""

    def __init__(self):
        self.processes = []
        self.at_end = []
        self.dir = None
        self.user = None

    def __enter__(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.interrupt)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.files = hard
        base = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
        self.dir = tempfile.mkdtemp(prefix='pgshunt-bench.', dir=base)
        os.chmod(self.dir, 0o755)
        # pgbouncer and PostgreSQL refuse to run as root.
        if os.getuid() == 0:
            self.user = 'postgres'
            shutil.chown(self.dir, self.user)
        return self

    @staticmethod
    def interrupt(*_):
        raise KeyboardInterrupt

    def __exit__(self, *_):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for process in reversed(self.processes):
            self.end(process, signal.SIGTERM, 2)
        for clean_up in reversed(self.at_end):
            clean_up()
        shutil.rmtree(self.dir, ignore_errors=True)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, 'w', encoding='utf-8') as out:
            out.write(text)
        if self.user:
            shutil.chown(path, self.user)
        os.chmod(path, 0o600)
        return path

    def start(self, command, log, plain_user=True):
        """In a session of its own: Ctrl-C in a terminal is for this program, which then ends the others in order."""
        with open(os.path.join(self.dir, log), 'ab') as out:
            user = {'user': self.user, 'group': self.user, 'extra_groups': []} if plain_user and self.user else {}
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.dir,
                                       start_new_session=True, **user)
        self.processes.append(process)
        return process

    def run(self, command, env=None, timeout=120):
        """Runs a program of ours to its end: (exit code, what it said)."""
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, errors='replace', start_new_session=True)
        self.processes.append(process)
        try:
            said, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.end(process, signal.SIGKILL)
            return -1, f'did not end within {timeout} s'
        self.processes.remove(process)
        return process.returncode, said

    def end(self, process, how=signal.SIGTERM, patience=5):
        family = children_of(process.pid) if process.poll() is None else []
        for number, seconds in ((how, patience), (signal.SIGQUIT, 1), (signal.SIGKILL, 5)):
            if process.poll() is not None:
                break
            process.send_signal(number)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
        for pid in family[1:]:
            if self.is_ours(pid, process.pid):
                os.kill(pid, signal.SIGKILL)
        if process in self.processes:
            self.processes.remove(process)

    @staticmethod
    def is_ours(pid, session):
        """Still the child we saw? It has kept the session that was made for its parent."""
        try:
            with open(f'/proc/{pid}/stat', encoding='ascii') as stat:
                return int(stat.read().rpartition(')')[2].split()[3]) == session
        except OSError:
            return False

    def log_end(self, log, lines=6):
        try:
            with open(os.path.join(self.dir, log), encoding='utf-8', errors='replace') as text:
                return ''.join(text.readlines()[-lines:]).strip()
        except OSError:
            return ''
