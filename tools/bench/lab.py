"""lab - the cluster all contestants stand before: tests/lab/lab in the run's own directory."""
import os
import subprocess

PASSWORD = 'app'


class Lab:
    def __init__(self, machine, root):
        self.machine = machine
        self.script = f'{root}/tests/lab/lab'
        self.dir = f'{machine.dir}/lab'
        self.env = dict(os.environ, LAB_DIR=self.dir)
        self.ports = {}
        self.bin = ''

    def call(self, *args):
        return subprocess.run([self.script, *args], env=self.env, check=True, stdout=subprocess.PIPE, text=True,
                              start_new_session=True).stdout

    def start(self):
        self.machine.at_end.append(lambda: self.call('destroy'))
        self.call('init', '-n', '2')
        with open(f'{self.dir}/env', encoding='utf-8') as env:
            facts = dict(line.rstrip('\n').split('=', 1) for line in env)
        self.bin = facts['LAB_PGBIN']
        self.ports = {node: int(facts[f'LAB_PORT_{node}']) for node in ('pg1', 'pg2', 'pg3')}

    def fill(self, scale):
        subprocess.run([f'{self.bin}/pgbench', '-i', '-q', '-s', str(scale), '-I', 'dtGvp', self.address(self.ports['pg1'])],
                       env=dict(self.env, PGPASSWORD=PASSWORD), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.call('wait-catchup')

    def sql(self, text):
        """As superuser at the primary."""
        return self.call('psql', 'pg1', '-XAtq', '-d', 'app', '-c', text).strip()

    @staticmethod
    def address(port, dbname='app'):
        return f'host=127.0.0.1 port={port} user=app dbname={dbname}'

    def config(self, *args):
        return self.call('config', *args)
