#!/usr/bin/env python3
"""SCRAM pass-through: auth_file holds nothing but what pg_authid does, clients log in with their passwords, and pgshunt logs in to every
node with the ClientKey it learned by that. The servers' logs say who was authenticated and how; the password is looked for in the process's
memory, in its log, in every SHOW."""
import base64
import hashlib
import os
import re
import secrets
import sys
import time

import lib
import swarm

PASSWORD = f'Kennwort-{secrets.token_hex(12)}'          # found nowhere else in memory
FORGOTTEN = f'Vergessen-{secrets.token_hex(12)}'
KNOWN = f'Bekannt-{secrets.token_hex(12)}'              # stands in auth_file as it is: what is looked for can be found
AUTHENTICATED = re.compile(r'connection authenticated: identity="(\w+)" method=(\S+)')


def users_file(bed):
    return os.path.join(bed.work, 'users.txt')


def write_users(bed, **others):
    """What a node has, but for what is told otherwise."""
    rows = dict(bed.on('pg1', 'SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL'))
    rows.update({'pgadmin': 'pgadmin', 'known': KNOWN, **others})
    with open(users_file(bed), 'w', encoding='utf-8') as f:
        f.writelines(f'"{name}" "{secret}"\n' for name, secret in rows.items())


def start(bed, **options):
    """A pgshunt that nobody but app has logged in to."""
    bed.proxy_stop(quietly=True)
    bed.proxy_start(auth_file=users_file(bed), **options)


def attempt(bed, user, password, dbname='app'):
    """One login -> the fields of its error, or None; a statement on the primary goes with it."""
    client = swarm.Client(bed.port, user, password, dbname)
    swarm.Swarm.wait([client])
    if not client.error:
        client.run('/* pgshunt: route=primary */ SELECT 1')
        swarm.Swarm.wait([client])
    client.leave()
    return client.error


def refused(check, what, error, text, hint=True):
    """By pgshunt, with 28P01, in words that say what is wrong."""
    error = error or {}
    check.ok(what, error.get('C') == '28P01' and error['M'].startswith('pgshunt: ') and text in error['M'] and (not hint or error.get('H')), error)


def everywhere(bed, connection):
    """Where it gets to, asked of each node, and as whom."""
    found = {}
    for node in bed.nodes:
        hint = f'/* pgshunt: route=node:{node} consistency=eventual */ '
        found[node] = connection.execute(hint + 'SELECT inet_server_port(), current_user').fetchone()
    return found


def all_as(bed, user):
    return {node: (bed.node_port(node), user) for node in bed.nodes}


class Logins:
    """Who was authenticated on which node, and how, since this was made."""

    def __init__(self, bed):
        self.bed = bed
        self.began = {node: os.path.getsize(self.path(node)) for node in bed.nodes}

    def path(self, node):
        return os.path.join(self.bed.env['LAB_DIR'], f'{node}.log')

    def of(self, user):
        """node -> the methods of this user's logins"""
        found = {}
        for node in self.bed.nodes:
            with open(self.path(node), encoding='utf-8', errors='replace') as f:
                f.seek(self.began[node])
                found[node] = [method for name, method in AUTHENTICATED.findall(f.read()) if name == user]
        return found


def end_servers(bed, user):
    for node in bed.nodes:
        bed.on(node, 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s', params=(user,))
        lib.wait_for(lambda n=node: not bed.on(n, 'SELECT 1 FROM pg_stat_activity WHERE usename = %s', params=(user,)))
    time.sleep(0.2)


# --- cases


def every_node(bed):
    """With nothing but a verifier, the primary and the standbys let us in by SCRAM; a restart is over with the first login."""
    check = bed.check
    for how in ('at first', 'after a restart'):
        start(bed)
        seen = Logins(bed)
        with bed.connect(user='passed', password=PASSWORD) as c:
            check.equal(f'{how}: one login reaches every node', everywhere(bed, c), all_as(bed, 'passed'))
        methods = seen.of('passed')
        check.ok('each let us in by SCRAM', all(m and set(m) == {'scram-sha-256'} for m in methods.values()), methods)
        refused(check, 'a wrong password is refused', attempt(bed, 'passed', FORGOTTEN), 'password authentication failed', hint=False)


def every_worker(bed):
    """Of two workers, each serves its own clients; what one has learned the other knows."""
    check = bed.check
    start(bed)
    for worker in (0, 1):
        with bed.on_worker(worker, lambda: bed.connect(user='passed', password=PASSWORD)) as c:
            check.equal(f'worker {worker} reaches every node', everywhere(bed, c), all_as(bed, 'passed'))


def forced_user(bed):
    """A database's own user has nobody who logs in for it there: one login anywhere is enough, and a reload doesn't forget it."""
    check = bed.check
    start(bed, **{'databases.forced': 'dbname=app user=passed', 'databases.stranger': 'dbname=app user=plainapp'})
    refused(check, 'before it has ever logged in', attempt(bed, 'app', 'app', 'forced'), 'only a SCRAM verifier is known')
    check.equal('it logs in', attempt(bed, 'passed', PASSWORD), None)
    time.sleep(1.2)                 # server_login_retry
    for worker in (0, 1):
        with bed.on_worker(worker, lambda: bed.connect(dbname='forced')) as c:
            check.equal(f'worker {worker} knows its key', everywhere(bed, c), all_as(bed, 'passed'))
    bed.console('RELOAD')
    end_servers(bed, 'passed')
    with bed.connect(dbname='forced') as c:
        check.equal('and after a reload', everywhere(bed, c), all_as(bed, 'passed'))
    refused(check, "the client's secret is not tried for another user", attempt(bed, 'app', 'app', 'stranger'), 'user "plainapp"')


def other_verifier(bed):
    """auth_file and the server don't have the same verifier: the password is right and can't be passed on."""
    check = bed.check
    write_users(bed, passed=swarm.verifier(PASSWORD, b'another salt 123'))
    start(bed)
    error = attempt(bed, 'passed', PASSWORD)
    refused(check, 'another salt', error, 'the SCRAM verifier known for user "passed" is not the one the server has')
    check.ok('the hint says what to do', 'pg_authid' in (error or {}).get('H', ''), error)
    refused(check, 'a wrong password is just wrong', attempt(bed, 'passed', FORGOTTEN), 'password authentication failed', hint=False)
    check.equal("that is no fault of the nodes'", {row['state'] for row in bed.console('SHOW NODES')}, {'up'})
    check.equal('nor of other users', attempt(bed, 'app', 'app'), None)
    write_users(bed)
    bed.console('RELOAD')
    check.equal('put right and reloaded', attempt(bed, 'passed', PASSWORD), None)


def password_changed(bed):
    """ALTER ROLE ... PASSWORD: the old one fails from the reload on; who is in stays in, as on a server."""
    check = bed.check
    start(bed)
    later = PASSWORD + '-2'
    inside = bed.connect(user='passed', password=PASSWORD)
    everywhere(bed, inside)
    bed.on('pg1', f"ALTER ROLE passed PASSWORD '{later}'")
    bed.lab('wait-catchup')
    check.equal('servers that are open stay', everywhere(bed, inside), all_as(bed, 'passed'))
    refused(check, 'auth_file does not know the new one yet', attempt(bed, 'passed', later), 'password authentication failed', hint=False)
    write_users(bed)
    bed.console('RELOAD')
    refused(check, 'the old one fails', attempt(bed, 'passed', PASSWORD), 'password authentication failed', hint=False)
    end_servers(bed, 'passed')
    state = lib.sqlstate_of(everywhere, bed, inside)
    check.ok('who is in needs a login with the new one', state == '28P01', state)
    check.equal('the new one is in force', attempt(bed, 'passed', later), None)
    lib.wait_for(lambda: everywhere(bed, inside), 5)
    check.equal('and serves who was in before', everywhere(bed, inside), all_as(bed, 'passed'))
    inside.close()
    bed.on('pg1', f"ALTER ROLE passed PASSWORD '{PASSWORD}'")
    bed.lab('wait-catchup')
    write_users(bed)


def lifetime(bed):
    """Nobody reloads: the old one fails when the servers that were opened with it have lived their time."""
    check = bed.check
    start(bed, server_lifetime='2s')
    check.equal('it works', attempt(bed, 'passed', PASSWORD), None)
    bed.on('pg1', f"ALTER ROLE passed PASSWORD '{FORGOTTEN}'")
    bed.lab('wait-catchup')
    time.sleep(4)
    refused(check, 'the old password after server_lifetime', attempt(bed, 'passed', PASSWORD), 'is not the one the server has')
    bed.on('pg1', f"ALTER ROLE passed PASSWORD '{PASSWORD}'")
    bed.lab('wait-catchup')
    write_users(bed)


def other_types(bed):
    """md5 asks for SCRAM where a verifier is known; plain sees the password, which any server takes."""
    check = bed.check
    for auth_type, asked in (('md5', {'passed': 10, 'md5app': 5}), ('plain', {'passed': 3, 'md5app': 3, 'plainapp': 3})):
        start(bed, auth_type=auth_type)
        for user, code in asked.items():
            password = PASSWORD if user == 'passed' else user
            with bed.connect(user=user, password=password) as c:
                check.equal(f'{auth_type}: {user} reaches every node', everywhere(bed, c), all_as(bed, user))
            client = swarm.Client(bed.port, user, FORGOTTEN, 'app')
            swarm.Swarm.wait([client])
            client.leave()
            check.equal(f'{auth_type}: {user} is asked for it', client.asked[0], code)
            refused(check, f'{auth_type}: {user} with a wrong one', client.error, 'password authentication failed', hint=False)
    refused(check, 'md5: a verifier can not answer a server that wants the password', login_at(bed, 'md5', 'plainapp'),
            'the server asks for password authentication of user "plainapp", but only a SCRAM verifier is known')


def login_at(bed, auth_type, user):
    start(bed, auth_type=auth_type)
    return attempt(bed, user, user)


# --- what must not be found


def memory_of(pid):
    """All that the process may write to."""
    with open(f'/proc/{pid}/maps', encoding='ascii') as maps, open(f'/proc/{pid}/mem', 'rb', 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if not rights.startswith('rw'):
                continue
            begin, end = (int(x, 16) for x in span.split('-'))
            while begin < end:
                size = min(end - begin, 16 << 20)
                memory.seek(begin)
                try:
                    yield memory.read(size)
                except OSError:
                    break
                begin += max(size - 256, 1) if begin + size < end else size


def found_in_memory(pid, wanted):
    found = set()
    for part in memory_of(pid):
        found |= {name for name, text in wanted.items() if text in part}
    return found


def keys_of(password, verifier):
    iterations, salt = re.match(r'SCRAM-SHA-256\$(\d+):([^$]+)\$', verifier).groups()
    salted = swarm.salted(password, salt.encode(), int(iterations))
    return salted, swarm.digest(salted, b'Client Key')


def memory(bed):
    """Only the ClientKey is there: neither the password nor what it is derived from."""
    check = bed.check
    if lib.SLOW > 1:
        check.skip("memory: a sanitizer's shadow is too large to be searched")
        return
    start(bed)
    for worker in (0, 1):
        with bed.on_worker(worker, lambda: bed.connect(user='passed', password=PASSWORD)) as c:
            everywhere(bed, c)
            bed.console('RELOAD')
            everywhere(bed, c)
    attempt(bed, 'passed', FORGOTTEN)
    verifier = bed.on('pg1', "SELECT rolpassword FROM pg_authid WHERE rolname = 'passed'")[0][0]
    salted, client_key = keys_of(PASSWORD, verifier)
    wanted = {'password': PASSWORD.encode(), 'a wrong password': FORGOTTEN.encode(), 'salted password': salted, 'ClientKey': client_key,
              'the verifier as it is written': verifier.encode(), 'a password of auth_file': KNOWN.encode()}
    try:
        found = found_in_memory(bed.proxy.pid, wanted)
    except PermissionError as error:
        check.skip(f'the memory of another process may not be read here: {error}')
        return
    check.equal('in memory', found, {'ClientKey', 'a password of auth_file'})


def silence(bed):
    """At the highest log level, in every SHOW, in the answers to clients: nothing that would let anybody in."""
    check = bed.check
    start(bed, verbose=2, log_connections=1, log_pooler_errors=1)
    verifier = bed.on('pg1', "SELECT rolpassword FROM pg_authid WHERE rolname = 'passed'")[0][0]
    _, client_key = keys_of(PASSWORD, verifier)
    secret = [PASSWORD, FORGOTTEN, KNOWN, *verifier.rpartition('$')[2].split(':'), base64.b64encode(client_key).decode(), client_key.hex(),
              hashlib.sha256(client_key).hexdigest()]
    with bed.connect(user='passed', password=PASSWORD) as c:
        everywhere(bed, c)
        said = [str(bed.console(f'SHOW {what}')) for what in ('CONFIG', 'USERS', 'CLIENTS', 'SERVERS', 'POOLS', 'DATABASES', 'SOCKETS', 'NODES', 'STATS')]
    said += [str(attempt(bed, 'passed', FORGOTTEN)), str(attempt(bed, 'passed', PASSWORD, 'forced')), str(attempt(bed, 'known', KNOWN))]
    write_users(bed, broken='SCRAM-SHA-256$4096:' + verifier.partition(':')[2][:-3])
    said.append(str(lib.sqlstate_of(bed.console, 'RELOAD')))
    write_users(bed)
    bed.proxy_stop(quietly=True)
    for where, text in (('in the log', bed.log()), ('in what is shown', ' '.join(said))):
        check.equal(where, [x for x in secret if x in text], [])
    check.ok('the log has said where the file is wrong', re.search(r'users.txt:\d+: malformed SCRAM-SHA-256 verifier', bed.log()))


def main(bed):
    bed.env['LAB_CONF'] = 'log_connections = on'
    bed.cluster_up()
    bed.on('pg1', f"CREATE ROLE passed LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE known LOGIN PASSWORD '{KNOWN}'")
    bed.lab('wait-catchup')
    write_users(bed)
    lib.run_cases(bed, (every_node, every_worker, forced_user, other_verifier, password_changed, lifetime, other_types, memory, silence))


if __name__ == '__main__':
    sys.exit(lib.run(main))
