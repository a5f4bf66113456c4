"""logins - CPU of a login with SCRAM, and of the leaving: connect, log in, go.

Twice: with the password in clear text in the proxy's file, and with the verifier that the servers have (what auth_query gives).
"""
import time

import contestants
from idle import Crowd
from procs import cpu_seconds, say

KINDS = (('clear', 'the password in auth_file'), ('verifier', 'the SCRAM verifier in auth_file'))


def measure(contestant, count):
    pids = contestant.pids()
    crowd = Crowd()
    cpu, began = cpu_seconds(pids), time.monotonic()
    try:
        for at in range(0, count, 1000):        # no more descriptors at once than anyone has
            crowd.log_in(contestant.port, min(1000, count - at))
            crowd.leave()
            crowd = Crowd()
        time.sleep(0.1)
        return {'cpu_login_us': (cpu_seconds(pids) - cpu) / count * 1e6, 'logins_s': count / (time.monotonic() - began)}
    except OSError as error:
        return {'error': str(error)}
    finally:
        crowd.leave()


def run(machine, lab, program, verifier, values, results):
    for kind, title in KINDS:
        field = contestants.two_of_them(machine, lab, program, verifier if kind == 'verifier' else None, results)
        results.logins.append((kind, title))
        count = max(values['LOGINS'] // values['ROUNDS'], 1)
        say(f'logins, {title}: {values["ROUNDS"]} rounds of {count}')
        for one in field:
            one.start()
            measure(one, 100)
        for turn in range(values['ROUNDS']):
            said = []
            for one in field:
                sample = measure(one, count)
                results.add(f'logins_{kind}', one.name, sample)
                said.append(f'{one.name} {sample["cpu_login_us"]:.0f} us' if 'error' not in sample else f'{one.name} FAILED')
            say(f'  round {turn + 1}: {"  ".join(said)}')
        for one in field:
            one.stop()
