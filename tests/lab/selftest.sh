#!/usr/bin/env bash
# Uses every command of the lab once on a fresh cluster, and checks what it did. Prints `N passed, N failed, N skipped`.
set -uo pipefail
LAB=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lab
work=$(mktemp -d "${TMPDIR:-/tmp}/labtest.XXXXXX")
chmod 711 "$work"
export LAB_DIR=$work/lab
passed=0 failed=0 skipped=0

finish() {
	trap '' INT TERM
	"$LAB" destroy
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); printf 'FAIL line %s: %s\n' "${BASH_LINENO[1]}" "$*"; }
skip() { skipped=$((skipped + 1)); printf 'SKIP %s\n' "$*"; }

# is WHAT GOT WANTED
is() { if [ "$2" = "$3" ]; then pass; else fail "$1: got '$2', wanted '$3'"; fi; }
ok() { local what=$1; shift; if "$@" >"$work/out" 2>&1; then pass; else fail "$what: $(cat "$work/out")"; fi; }
refused() { local what=$1; shift; if "$@" >"$work/out" 2>&1; then fail "$what: was not refused"; else pass; fi; }

on() { local node=$1; shift; "$LAB" psql "$node" -Atq -d app -v ON_ERROR_STOP=1 "$@" 2>&1; }
column() { "$LAB" status -A | awk -F'\t' -v n="$1" -v c="$2" '$1 == n { print $c }'; }       # 3 state, 4 role, 5 timeline
stat() { "$LAB" stats -A | awk -F'\t' -v n="$1" -v c="$2" '$1 == n { print $c }'; }          # 3 reads, 4 writes
login() { PGPASSWORD=$2 PGCONNECT_TIMEOUT=3 psql -XAtq "host=127.0.0.1 port=$("$LAB" port "$3") user=$1 dbname=app" -c 'SELECT current_user' 2>&1; }
leftovers() { grep -lzF -f <(echo "$LAB_DIR/") /proc/[0-9]*/cmdline 2>/dev/null | wc -l; }

test_init() {
	refused 'a command without a cluster' "$LAB" status
	ok 'destroy without a cluster' "$LAB" destroy
	ok init "$LAB" init
	refused 'a second init' "$LAB" init
	is nodes "$(sed -n 's/^LAB_NODES=//p' "$LAB_DIR/env" | tr -d "\\\\'")" 'pg1 pg2 pg3'
	is primary "$("$LAB" primary)" pg1
	is 'names of the receivers' "$(on pg1 -c "SELECT string_agg(application_name, ' ' ORDER BY application_name) FROM pg_stat_replication WHERE state = 'streaming'")" 'walreceiver walreceiver2'
	is slots "$(on pg1 -c "SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM pg_replication_slots WHERE active AND restart_lsn IS NOT NULL")" 'standby2_slot standby_slot'
	is 'standby is read only' "$(on pg2 -c 'CREATE TABLE t()')" 'ERROR:  cannot execute CREATE TABLE in a read-only transaction'
}

test_logins() {
	local user
	for user in app md5app plainapp monitor; do is "login of $user" "$(login "$user" "$user" pg1)" "$user"; done
	refused 'a wrong password' login app wrong pg1
	is 'kind of secret' "$(on pg1 -c "SELECT string_agg(left(rolpassword, 3), ' ' ORDER BY rolname) FROM pg_authid WHERE rolname IN ('app', 'md5app')")" 'SCR md5'
	is 'monitor may promote' "$(on pg1 -c "SELECT has_function_privilege('monitor', 'pg_promote(boolean,integer)', 'EXECUTE') AND pg_has_role('monitor', 'pg_checkpoint', 'MEMBER')")" t
}

test_stats() {
	ok 'table' on pg1 -c 'CREATE TABLE t(i int); GRANT ALL ON t TO app'
	ok catch-up "$LAB" wait-catchup
	ok stats-reset "$LAB" stats-reset
	PGPASSWORD=app psql -Xq "host=127.0.0.1 port=$("$LAB" port pg1) user=app dbname=app" >/dev/null <<-'SQL'
	/* hint */ INSERT INTO t SELECT generate_series(1, 100);
	WITH x AS (DELETE FROM t WHERE i = 100 RETURNING i) SELECT * FROM x;
	SELECT count(*) FROM t;
	BEGIN;
	(SELECT 1);
	COMMIT;
	SQL
	is 'writes of pg1' "$(stat pg1 4)" 2
	is 'reads of pg1' "$(stat pg1 3)" 2
	is 'writes that match' "$("$LAB" stats -A 'delete from' | awk -F'\t' '$1 == "pg1" { print $4 }')" 1
	is 'reads of pg2' "$(stat pg2 3)" 0
	PGPASSWORD=app psql -XAtq "host=127.0.0.1 port=$("$LAB" port pg2) user=app dbname=app" -c 'SELECT 1' >/dev/null
	is 'reads of pg2 after one' "$(stat pg2 3)" 1
	is 'the lab counts nothing' "$(on pg2 -c 'SELECT 1')$(stat pg2 3)" 11
	ok stats-reset "$LAB" stats-reset
	is 'reads of pg2 forgotten' "$(stat pg2 3)" 0
}

test_faults() {
	local pid
	ok pause "$LAB" pause pg2
	is 'state of a paused node' "$(column pg2 3)" paused
	refused 'start of a paused node' "$LAB" start pg2
	refused 'a paused node answers' timeout 2 env PGPASSWORD=app psql -X "host=127.0.0.1 port=$("$LAB" port pg2) user=app dbname=app" -c 'SELECT 1'
	on pg1 -c 'INSERT INTO t SELECT generate_series(1, 1000)'
	ok resume "$LAB" resume pg2
	ok 'catch-up after the pause' "$LAB" wait-catchup pg2
	is 'rows on pg2' "$(on pg2 -c 'SELECT count(*) FROM t')" 1099

	pid=$("$LAB" pid pg3)
	ok kill "$LAB" kill pg3
	is 'state of a killed node' "$(column pg3 3)" down
	refused 'the killed process runs' test -d "/proc/$pid/fd/0"
	ok 'kill again' "$LAB" kill pg3
	ok 'start after kill' "$LAB" start pg3
	ok 'start again' "$LAB" start pg3
	ok 'catch-up after the kill' "$LAB" wait-catchup
	ok stop "$LAB" stop pg2 immediate
	is 'state of a stopped node' "$(column pg2 3)" down
	ok 'catch-up leaves out what is down' "$LAB" wait-catchup
	refused 'catch-up of a node that is down' "$LAB" wait-catchup pg2
	ok restart "$LAB" restart pg2
	is 'state of a restarted node' "$(column pg2 3)" up
	refused 'an unknown node' "$LAB" stop pg9
	refused 'an unknown command' "$LAB" frobnicate
}

test_replay() {
	ok replay-pause "$LAB" replay-pause pg2
	on pg1 -c 'INSERT INTO t VALUES (1)'
	ok 'catch-up of the other' "$LAB" wait-catchup pg3
	is 'paused pg2 is behind' "$(on pg2 -c 'SELECT count(*) FROM t')" 1099
	refused 'catch-up of a paused replay' env LAB_CATCHUP_TIMEOUT=1 "$LAB" wait-catchup pg2
	ok replay-resume "$LAB" replay-resume pg2
	ok 'catch-up after resume' "$LAB" wait-catchup
	is 'rows after resume' "$(on pg2 -c 'SELECT count(*) FROM t')" 1100

	ok delay "$LAB" delay pg2 60000
	on pg1 -c 'INSERT INTO t VALUES (1)'
	ok 'catch-up of the other' "$LAB" wait-catchup pg3
	is 'delayed pg2 is behind' "$(on pg2 -c 'SELECT count(*) FROM t')" 1100
	ok 'no delay' "$LAB" delay pg2 0
	ok 'catch-up after the delay' "$LAB" wait-catchup
	is 'rows after the delay' "$(on pg2 -c 'SELECT count(*) FROM t')" 1101
}

test_sync() {
	ok sync "$LAB" sync 'ANY 1 (walreceiver, walreceiver2)'
	is 'synchronous standbys' "$(on pg1 -c "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'")" 2
	ok 'sync off' "$LAB" sync off
	is 'no synchronous standbys' "$(on pg1 -c "SELECT count(*) FROM pg_stat_replication WHERE sync_state <> 'async'")" 0
}

test_drop() {
	local rc=0 before
	before=$(iptables -S INPUT 2>/dev/null | wc -l)
	"$LAB" drop pg2 2>/dev/null || rc=$?
	if [ "$rc" = 77 ]; then skip 'drop: no firewall here'; return; fi
	is drop "$rc" 0
	refused 'login at a dropped node' login app app pg2
	ok undrop "$LAB" undrop pg2
	is 'login after undrop' "$(login app app pg2)" app
	is 'rules left' "$(iptables -S INPUT | wc -l)" "$before"
}

test_failover() {
	ok 'catch-up before the crash' "$LAB" wait-catchup
	ok 'kill the primary' "$LAB" kill pg1
	refused 'a primary without one' "$LAB" primary
	ok promote "$LAB" promote pg2
	is 'new primary' "$("$LAB" primary)" pg2
	ok follow "$LAB" follow pg3 pg2
	on pg2 -c 'INSERT INTO t VALUES (2)'
	ok 'catch-up on the new timeline' "$LAB" wait-catchup
	is 'timeline of pg3' "$(column pg3 5)" 2

	ok 'the old primary comes back' "$LAB" start pg1
	is 'split brain: the old one takes writes' "$(on pg1 -c 'INSERT INTO t VALUES (-1) RETURNING i')" -1
	is 'split brain: the higher timeline' "$("$LAB" primary)" pg2
	refused 'follow by an old primary' "$LAB" follow pg1 pg2
	ok 'kill it again' "$LAB" kill pg1
	ok 'rewind after a crash' "$LAB" rewind pg1 from pg2
	ok 'catch-up of the rewound' "$LAB" wait-catchup pg1
	is 'the lost row is gone' "$(on pg1 -c 'SELECT count(*) FROM t WHERE i = -1')" 0
	is 'names after the rewind' "$(on pg2 -c "SELECT string_agg(application_name, ' ' ORDER BY application_name) FROM pg_stat_replication")" 'walreceiver walreceiver2'
	is 'slots of the rewound' "$(on pg1 -c 'SELECT count(*) FROM pg_replication_slots')" 0
	is 'ports stay' "$(on pg1 -c 'SHOW port')" "$("$LAB" port pg1)"
}

# A standby that replayed what the new primary never had, and crashed.
test_diverged_standby() {
	ok 'pg1 falls behind' "$LAB" stop pg1
	on pg2 -c 'INSERT INTO t VALUES (-3)'
	ok 'pg3 goes ahead' "$LAB" wait-catchup pg3
	ok 'both crash' "$LAB" kill pg2
	ok 'pg3 too' "$LAB" kill pg3
	ok 'pg1 starts without a primary' "$LAB" start pg1
	ok 'promote the one behind' "$LAB" promote pg1
	refused 'catch-up without running standbys named' "$LAB" wait-catchup pg3
	ok 'rewind a crashed standby' "$LAB" rewind pg3 pg1
	ok 'rewind the crashed primary' "$LAB" rewind pg2 pg1
	ok 'catch-up of both' "$LAB" wait-catchup
	is 'the row is lost everywhere' "$(on pg3 -c 'SELECT count(*) FROM t WHERE i = -3')$(on pg2 -c 'SELECT count(*) FROM t WHERE i = -3')" 00
	is 'back at pg1' "$("$LAB" primary)" pg1
}

test_add_standby() {
	is add-standby "$("$LAB" add-standby)" pg4
	ok 'catch-up of four' "$LAB" wait-catchup
	is 'four rows of status' "$("$LAB" status -A | wc -l)" 4
	is 'heading of status' "$("$LAB" status | head -n 1 | cut -c 1-10)" 'node   por'
	is 'lag of pg4' "$("$LAB" status -A | awk -F'\t' '$1 == "pg4" { print $9 }')" 0
}

test_config() {
	"$LAB" config listen_port=7777 http_listen=127.0.0.1:1 workers=2 nodes.pg2='label=x weight=2' users.app='route=primary' >"$work/ini"
	is 'port in the file' "$(grep -c '^listen_port = 7777$' "$work/ini")" 1
	is 'http_listen is replaced' "$(grep '^http_listen' "$work/ini")" 'http_listen = 127.0.0.1:1'
	is 'a new key' "$(grep -c '^workers = 2$' "$work/ini")" 1
	is 'a node' "$(grep '^pg2' "$work/ini")" "pg2 = host=127.0.0.1 port=$("$LAB" port pg2) label=x weight=2"
	is sections "$(grep -o '^\[.*\]' "$work/ini" | tr '\n' ' ')" '[pgshunt] [nodes] [databases] [users] '
	is userlist "$(grep -c '^"app" "app"$' "$LAB_DIR/userlist.txt")" 1
	is 'md5 secret' "$(sed -n 's/^"md5app" "\(.*\)"$/\1/p' "$LAB_DIR/userlist.txt")" "$(on pg1 -c "SELECT rolpassword FROM pg_authid WHERE rolname = 'md5app'")"
}

test_whole_cluster() {
	ok 'stop all' "$LAB" stop
	is 'all down' "$("$LAB" status -A | cut -f 3 | sort -u)" down
	ok 'start all' "$LAB" start
	ok 'catch-up after a restart of all' "$LAB" wait-catchup
	"$LAB" pause pg2
	ok destroy "$LAB" destroy
	is 'processes left' "$(leftovers)" 0
	refused 'files left' test -e "$LAB_DIR"
	ok 'destroy again' "$LAB" destroy
}

test_init_variants() {
	local cache=$work/cache
	mkdir "$LAB_DIR"
	echo mine >"$LAB_DIR/mine"
	ok 'init without standbys, with a cache' env LAB_CACHE="$cache" LAB_CONF='max_connections = 100' LAB_LOG_STATEMENT=all "$LAB" init -n 0
	is 'settings' "$(on pg1 -c 'SHOW max_connections')$(on pg1 -c 'SHOW log_statement')" 100all
	is 'log of statements' "$(grep -c 'SHOW log_statement' "$LAB_DIR/pg1.log")" 1
	ok destroy "$LAB" destroy
	is 'a foreign file stays' "$(ls -A "$LAB_DIR")" mine
	rm -r "$LAB_DIR"
	ok 'init from the cache' env LAB_CACHE="$cache" "$LAB" init -n 1
	is 'login after the cache' "$(login app app pg2)" app
	refused 'a port that is taken' env LAB_DIR="$work/other" "$LAB" init -n 0 -p "$("$LAB" port pg1)"
	ok 'destroy of a failed init' env LAB_DIR="$work/other" "$LAB" destroy
	ok destroy "$LAB" destroy
	is 'processes left' "$(leftovers)" 0
}

for test in test_init test_logins test_stats test_faults test_replay test_sync test_drop test_failover test_diverged_standby \
	test_add_standby test_config test_whole_cluster test_init_variants; do
	started=$SECONDS
	"$test"
	printf '%-22s %2d s\n' "$test" $((SECONDS - started))
done
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
