"""libfuzzer.py - how the fuzz targets are built, called and understood."""
import functools
import os
import re
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECKED = os.environ.get('FUZZ_BUILD', 'build/fuzz')      # with the sanitizers
FAST = f'{CHECKED}/fast'
SANITIZER_ENV = {'ASAN_OPTIONS': 'detect_leaks=1:exitcode=99', 'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1:exitcode=99'}
# The longest input worth a try; what the targets themselves refuse is longer.
MAX_LEN = {'sql': 600, 'conf': 1000}


def make(*args):
    """With jobs of its own: whoever calls isn't a make to it."""
    env = {k: v for k, v in os.environ.items() if k not in ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'MAKEOVERRIDES', 'BUILD')}
    return subprocess.run(['make', *args], env=env, stdin=subprocess.DEVNULL, check=False).returncode == 0


def corpus(target):
    return f'tests/fuzz/corpus/{target}'


@functools.cache
def fixed_addresses():
    """Some of what libFuzzer takes for a new path depends on addresses: without randomisation the same seed takes the same way."""
    works = subprocess.run(['setarch', '-R', 'true'], capture_output=True, check=False).returncode == 0
    return ('setarch', '-R') if works else ()


def command(binary, target, runs, seed, directories, finds):
    """What it finds interesting goes into the first of the directories. finds: prefix of the files with inputs that failed."""
    words = f'tests/fuzz/{target}.dict'
    return [*fixed_addresses(), binary, f'-runs={runs}', f'-seed={seed}', '-reload=0', '-len_control=0', '-timeout=10',
            f'-max_len={MAX_LEN.get(target, 4096)}', '-print_final_stats=1', f'-artifact_prefix={finds}',
            *([f'-dict={words}'] if os.path.exists(words) else []), *directories]


def run(args):
    """-> exit code, output"""
    done = subprocess.run(args, env=dict(os.environ, **SANITIZER_ENV), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode(errors='replace')


def executions(out):
    found = re.search(r'stat::number_of_executed_units: (\d+)', out)
    return int(found[1]) if found else 0


def seconds_since(started):
    return max(time.monotonic() - started, 0.001)
