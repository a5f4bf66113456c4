"""driver_psycopg - what applications do with psycopg 3, through the DSN given. Autocommit statements name the table accounts, those in
transactions the table ledger (one read a write). Prints "reads N writes N" of accounts at the end; any wrong answer ends it."""
import sys
import threading

import psycopg

ROUNDS = 150
counts = {'reads': 0, 'writes': 0}
lock = threading.Lock()
broken = []


def count(kind, number=1):
    with lock:
        counts[kind] += number


def autocommit_reads(connection, **how):
    for i in range(1, ROUNDS + 1):
        row = connection.execute('SELECT balance FROM accounts WHERE id = %s', (i,), **how).fetchone()
        assert row == (i * 10,), (i, row)
    count('reads', ROUNDS)


def simple_reads(dsn):
    with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        for i in range(1, ROUNDS + 1):
            assert connection.execute('SELECT balance FROM accounts WHERE id = %s', (i,)).fetchone() == (i * 10,)
        count('reads', ROUNDS)


def pipelined_reads(dsn):
    """A pipeline of reads with one Sync is one batch; every statement of it is counted by the node that ran the batch."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for base in range(1, ROUNDS, 10):
            with connection.pipeline():
                cursors = [connection.execute('SELECT balance FROM accounts WHERE id = %s', (i,)) for i in range(base, base + 10)]
                assert [c.fetchone()[0] for c in cursors] == [i * 10 for i in range(base, base + 10)]
            count('reads', 10)


def binary_reads(dsn):
    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.cursor(binary=True) as cursor:
            for i in range(1, ROUNDS + 1):
                assert cursor.execute('SELECT balance FROM accounts WHERE id = %s', (i,)).fetchone() == (i * 10,)
        count('reads', ROUNDS)


def copied_out(dsn):
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(10):
            with connection.cursor().copy('COPY (SELECT id, balance FROM accounts WHERE id <= 500) TO STDOUT') as copy:
                assert len(list(copy.rows())) == 500
            count('reads')


def transactions(dsn):
    """psycopg's default: a transaction begins by itself."""
    with psycopg.connect(dsn) as connection:
        for i in range(20):
            connection.execute('INSERT INTO ledger VALUES (%s, %s)', (i, i))
            assert connection.execute('SELECT sum(delta) FROM ledger WHERE id = %s', (i,)).fetchone() == (i,)
            connection.commit()
        for i in range(20):
            with connection.transaction():
                connection.execute('UPDATE ledger SET delta = delta + 1 WHERE id = %s', (i,))
                with connection.transaction():
                    assert connection.execute('SELECT delta FROM ledger WHERE id = %s', (i,)).fetchone() == (i + 1,)
                raise psycopg.Rollback()


def writes(dsn):
    with psycopg.connect(dsn, autocommit=True) as connection:
        for i in range(10):
            connection.execute('UPDATE accounts SET balance = balance WHERE id = %s', (900 + i,))
        with connection.cursor() as cursor:
            cursor.executemany('UPDATE accounts SET balance = balance WHERE id = %s', [(900 + i,) for i in range(10)])
            cursor.execute('INSERT INTO accounts VALUES (%s, 0) RETURNING id', (5000,))
            assert cursor.fetchone() == (5000,)
        count('writes', 21)


def parallel(dsn):
    def work():
        try:
            with psycopg.connect(dsn, autocommit=True) as connection:
                autocommit_reads(connection, prepare=True)
        except BaseException as error:
            broken.append(error)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def main(dsn):
    with psycopg.connect(dsn, autocommit=True) as connection:
        autocommit_reads(connection)
        autocommit_reads(connection, prepare=True)
        autocommit_reads(connection, prepare=False)
    for step in (simple_reads, pipelined_reads, binary_reads, copied_out, parallel, transactions, writes):
        print(step.__name__, flush=True)
        step(dsn)
    if broken:
        raise broken[0]
    print(f'reads {counts["reads"]} writes {counts["writes"]}')


if __name__ == '__main__':
    main(sys.argv[1])
