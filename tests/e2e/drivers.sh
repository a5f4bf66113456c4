#!/usr/bin/env bash
# Real drivers through the port; what ran where is read from the nodes' own statistics: no write on a standby, no plain autocommit read
# on the primary (consistency=eventual), standbys balanced within 2 %.
# shellcheck source-path=SCRIPTDIR disable=SC2119
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
here=$ROOT/tests/e2e

# nodes_say WHAT REGEX READS WRITES: exactly so many statements that match, each where it belongs
nodes_say() {
	local what=$1 regex=$2 reads=$3 writes=$4 on2 on3
	on2=$(stat pg2 reads "$regex") on3=$(stat pg3 reads "$regex")
	is "$what: writes on standbys" "$(stat pg2 writes),$(stat pg3 writes)" 0,0
	is "$what: plain reads on the primary" "$(stat pg1 reads "$regex")" 0
	if [ -n "$writes" ]; then is "$what: writes on the primary" "$(stat pg1 writes "$regex")" "$writes"; fi
	is "$what: reads on the standbys" "$((on2 + on3))" "$reads"
	balanced "$what: standbys share the reads" "$on2" "$on3"
}

# Nothing but reads and settings may have reached a standby, whatever the driver.
standbys_are_clean() {
	local node other
	for node in pg2 pg3; do
		other=$(on "$node" -d postgres -c "SELECT string_agg(DISTINCT upper(left(query, 60)), '; ') FROM pg_stat_statements
			WHERE toplevel AND userid <> 'postgres'::regrole AND userid <> 'monitor'::regrole
			AND query !~* '^\s*(select\M|with\M|values\M|table\M|show\M|explain\M|copy\s*\(|reset\M)' AND query !~ '^\s*(/\*.*\*/)?\s*;?\s*\$'")
		is "$1: $node ran nothing but reads" "$other" ''
	done
}

forget() { "$LAB" wait-catchup && "$LAB" stats-reset; }

# --- psql

test_psql() {
	local out
	ok 'psql: schema' q -c 'CREATE TABLE psql_t(id int PRIMARY KEY, v text)' -c "INSERT INTO psql_t SELECT i, 'v' || i FROM generate_series(1, 100) i"
	forget
	out=$(for i in $(seq 50); do echo "SELECT v FROM psql_t WHERE id = $i;"; done | q -f -)
	is 'psql: answers' "$(wc -l <<<"$out"),$(tail -n 1 <<<"$out")" 50,v50
	nodes_say 'psql: script' psql_t 50 0
	forget
	out=$(q -c 'BEGIN' -c "UPDATE psql_t SET v = 'x' WHERE id = 1" -c 'SELECT v FROM psql_t WHERE id = 1' -c 'ROLLBACK' -c 'SELECT v FROM psql_t WHERE id = 1')
	is 'psql: a transaction' "$out" $'x\nv1'
	is 'psql: its read ran with the write' "$(stat pg1 reads psql_t)" 1
	is 'psql: the read after it did not' "$(($(stat pg2 reads psql_t) + $(stat pg3 reads psql_t)))" 1
	forget
	out=$(psql -Xq "$(proxy_dsn)" -c '\d+ psql_t' -c '\dt' -c '\l' 2>&1)
	has 'psql: \d, \dt, \l' "$out" psql_t_pkey
	is 'psql: catalog reads are reads, too' "$(stat pg1 reads pg_catalog)" 0
	standbys_are_clean psql
}

# --- pgbench

# bench SECONDS ARGUMENTS...: sets $ran to the number of transactions; 1 = some failed
bench() {
	local seconds=$1
	shift
	PGPASSWORD=app pgbench -h 127.0.0.1 -p "$PROXY_PORT" -U app -c 16 -j 2 -T "$seconds" -n "$@" app >"$work/bench.out" 2>&1 || { cat "$work/bench.out"; return 1; }
	ran=$(sed -n 's/^number of transactions actually processed: //p' "$work/bench.out")
	tps=$(sed -n 's/^tps = \([0-9]*\).*/\1/p' "$work/bench.out")
	if grep -qiE 'error|aborted|failed transactions: [1-9]' "$work/bench.out"; then
		cat "$work/bench.out"
		return 1
	fi
}

test_pgbench() {
	local mode
	ok 'pgbench: -i' env PGPASSWORD=app pgbench -h 127.0.0.1 -p "$PROXY_PORT" -U app -i -s 2 app
	for mode in simple extended prepared; do
		forget
		ok "pgbench -S $mode: no error" bench "$(secs 3)" -S -M "$mode"
		note "$tps tps"
		nodes_say "pgbench -S $mode" 'FROM pgbench_accounts' "$ran" 0
	done
	standbys_are_clean 'pgbench -S'
	for mode in simple extended prepared; do
		forget
		ok "pgbench TPC-B $mode: no error" bench "$(secs 3)" -M "$mode"
		note "$tps tps"
		is "pgbench TPC-B $mode: writes on the primary" "$(stat pg1 writes '(UPDATE|INSERT INTO) pgbench')" "$((4 * ran))"
		is "pgbench TPC-B $mode: writes on standbys" "$(stat pg2 writes),$(stat pg3 writes)" 0,0
		is "pgbench TPC-B $mode: reads in the transactions" "$(stat pg1 reads 'SELECT abalance')" "$ran"
	done
	standbys_are_clean 'pgbench TPC-B'
	is 'pgbench: the books balance' "$(on pg1 -c 'SELECT (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)')" t
}

# --- drivers with a program: it prints "reads N writes N", of statements that name accounts

run_program() {
	local what=$1 reads writes
	shift
	forget
	if ! "$@" >"$work/program.out" 2>&1; then
		fail "$what: $(tail -n 12 "$work/program.out")"
		return
	fi
	pass "$what: all answers right"
	read -r _ reads _ writes <<<"$(tail -n 1 "$work/program.out")"
	nodes_say "$what" '\maccounts\M' "$reads" "$writes"
	is "$what: reads in transactions" "$(stat pg1 reads '\mledger\M')" "$(stat pg1 writes '\mledger\M')"
	standbys_are_clean "$what"
}

program_tables() {
	q -c 'DROP TABLE IF EXISTS accounts, ledger' -c 'CREATE TABLE accounts(id int PRIMARY KEY, balance bigint NOT NULL)' \
		-c 'CREATE TABLE ledger(id int, delta bigint)' -c 'INSERT INTO accounts SELECT i, i * 10 FROM generate_series(1, 1000) i'
}

test_psycopg() {
	program_tables >/dev/null
	run_program psycopg "$PYTHON" "$here/driver_psycopg.py" "$(proxy_dsn)"
}

test_pgx() {
	local go minor mod=go.mod
	go=$(command -v go || echo /usr/local/go/bin/go)
	if [ ! -x "$go" ]; then skip 'pgx: no Go here'; return; fi
	minor=$("$go" env GOVERSION | sed 's/^go1\.\([0-9]*\).*/\1/')
	if [ "$minor" -ge 25 ]; then mod=newer.mod; fi
	if ! (cd "$here/pgx" && GOFLAGS=-mod=readonly GOTOOLCHAIN=local timeout 240 "$go" build -modfile="$mod" -o "$work/pgx" .) >"$work/go.out" 2>&1; then
		if grep -qE 'dial tcp|lookup|timeout|proxyconnect|connection refused|i/o' "$work/go.out"; then skip "pgx: no module proxy: $(tail -n 1 "$work/go.out")"; else fail "pgx: build: $(tail -n 5 "$work/go.out")"; fi
		return
	fi
	note "pgx $(sed -n 's/.*pgx\/v5 \(v[0-9.]*\).*/\1/p' "$here/pgx/$mod")"
	program_tables >/dev/null
	run_program pgx "$work/pgx" "$(proxy_dsn)"
}

ran=0 tps=0
cluster_up
proxy_start consistency=eventual default_pool_size=60
test_psql
test_psycopg
test_pgx
test_pgbench
