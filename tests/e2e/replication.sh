#!/usr/bin/env bash
# Replication through pgshunt: a base backup, WAL, a walsender's commands, logical decoding: all of them at the primary, each with a server of
# its own, which counts against the limits, can be cancelled, and ends with the primary's rule.
# shellcheck source-path=SCRIPTDIR disable=SC2119
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export LAB_CONF='wal_level = logical'
SEGMENTS=${SEGMENTS:-2}
BIN=$(pg_config --bindir)
[ -x "$BIN/pg_basebackup" ] || BIN=$(dirname "$(readlink -f "$(command -v pg_basebackup)")")

dsn() { echo "host=127.0.0.1 port=$PROXY_PORT user=${2:-repl} password=${2:-repl} dbname=${1:-app} sslmode=disable"; }
# walsender SQL...: as repl, at a walsender that knows database app
walsender() { psql -XAtq -v VERBOSITY=verbose "$(dsn) replication=database" -c "$1" 2>&1; }
# On the primary: how many walsenders repl has
senders() { on "$("$LAB" primary)" -c "SELECT count(*) FROM pg_stat_activity WHERE usename = 'repl' AND backend_type = 'walsender'"; }
has_senders() { [ "$(senders)" = "$1" ]; }
write_users() {
	printf '"app" "app"\n"pgadmin" "pgadmin"\n"repl" "%s"\n' "${1:-repl}" >"$work/users.txt"
}
restart() {
	if [ -n "$proxy_pid" ]; then proxy_stop >/dev/null; fi
	proxy_start auth_file="$work/users.txt" "$@"
}

# --- what the tools of PostgreSQL do

identify() {
	local wanted
	wanted=$(on pg1 -c 'SELECT system_identifier FROM pg_control_system()')
	is 'IDENTIFY_SYSTEM says who the primary is' "$(walsender IDENTIFY_SYSTEM | cut -d'|' -f1,4)" "$wanted|app"
	is 'SQL at a walsender runs on the primary' "$(walsender 'SELECT inet_server_port(), pg_is_in_recovery()')" "$(node_port pg1)|f"
	is 'physical replication knows no database' "$(psql -XAtq "$(dsn replication) replication=true" -c IDENTIFY_SYSTEM 2>&1 | cut -d'|' -f1,4)" "$wanted|"
	is 'SHOW is the walsender'\''s' "$(walsender 'SHOW data_directory_mode')" 0700
	is 'its application_name is the client'\''s' \
		"$(PGAPPNAME=ours psql -XAtq "$(dsn) replication=database" -c 'SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()' 2>&1)" ours
	until_ok 5 has_senders 0 || fail "walsenders are left: $(senders)"
}

base_backup() {
	ok 'pg_basebackup' "$BIN/pg_basebackup" -d "$(dsn replication)" -D "$work/backup" -X stream -c fast --no-sync
	ok 'what it took is whole' "$BIN/pg_verifybackup" "$work/backup"
	rm -rf "$work/backup"
}

receive_wal() {
	local segment last received=0
	mkdir "$work/wal"
	"$BIN/pg_receivewal" -d "$(dsn replication)" -D "$work/wal" -n --no-sync -s 1 >"$work/receivewal.log" 2>&1 &
	children+=($!)
	until_ok 10 has_senders 1 || fail "pg_receivewal does not stream: $(cat "$work/receivewal.log")"
	for segment in $(seq "$SEGMENTS"); do
		q -c "CREATE TABLE IF NOT EXISTS filler(t text); INSERT INTO filler SELECT repeat('x', 500) FROM generate_series(1, 2000)" >/dev/null
		last=$(on pg1 -c 'SELECT pg_walfile_name(pg_current_wal_lsn())')
		on pg1 -c 'SELECT pg_switch_wal()' >/dev/null
	done
	until_ok 20 test -f "$work/wal/$last" || fail "segment $last did not come: $(cat "$work/receivewal.log")"
	for segment in "$work"/wal/????????????????????????; do
		if cmp -s "$segment" "$LAB_DIR/pg1/pg_wal/${segment##*/}"; then received=$((received + 1)); fi
	done
	holds "segments as the primary has them" "$received >= $SEGMENTS" "$received segments"
	kill "${children[-1]}"
	wait "${children[-1]}" 2>/dev/null
	until_ok 10 has_senders 0 || fail "the walsender outlives pg_receivewal: $(senders)"
}

decode() {
	local out
	ok 'a logical slot' "$BIN/pg_recvlogical" -d "$(dsn)" --slot=ours --create-slot --plugin=test_decoding
	q -c 'CREATE TABLE decoded(i int)' -c 'INSERT INTO decoded SELECT generate_series(1, 1000)' >/dev/null
	until_ok 5 has_senders 0 || fail "walsenders are left: $(senders)"
	timeout 15 "$BIN/pg_recvlogical" -d "$(dsn)" --slot=ours --start -n --no-loop -F 0 -f "$work/decoded" \
		-E "$(on pg1 -c 'SELECT pg_current_wal_lsn()')" 2>"$work/recvlogical.log"
	is 'pg_recvlogical ends at the position it was told' $? 0
	out=$(grep -c 'table public.decoded: INSERT' "$work/decoded")
	is 'and has every row' "$out" 1000
	ok 'the slot goes' "$BIN/pg_recvlogical" -d "$(dsn)" --slot=ours --drop-slot
}

# --- who may, how many

refusals() {
	local said
	said=$(psql -XAtq "$(dsn app app) replication=database" -c IDENTIFY_SYSTEM 2>&1)
	has 'a role without REPLICATION gets the server'\''s error' "$said" 'must be superuser or replication role to start walsender'
	said=$(psql -XAtq "$(dsn nowhere) replication=database" -c IDENTIFY_SYSTEM 2>&1)
	has 'so does who names a database that is not there' "$said" 'database "nowhere" does not exist'
	said=$(psql -XAtq "$(dsn) password=wrong replication=database" -c IDENTIFY_SYSTEM 2>&1)
	has 'a wrong password does not come that far' "$said" 'pgshunt: password authentication failed for user "repl"'
	write_users "$(on pg1 -c "SELECT rolpassword FROM pg_authid WHERE rolname = 'repl'")"
	console RELOAD >/dev/null
	is 'a SCRAM verifier is passed through' "$(walsender 'SELECT 1')" 1
	write_users
	console RELOAD >/dev/null
}

# sleepers COUNT: so many walsenders that are busy for a while
sleepers() {
	local i
	for i in $(seq "$1"); do
		walsender 'SELECT pg_sleep(60)' >"$work/sleeper$i" 2>&1 &
		children+=($!)
	done
	until_ok 10 has_senders "$1" || fail "walsenders: $(senders), wanted $1: $(cat "$work"/sleeper*)"
}

wake() {
	on pg1 -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'repl'" >/dev/null
	until_ok 5 has_senders 0 || fail "walsenders are left: $(senders)"
}

limits() {
	local said
	restart default_pool_size=1 query_wait_timeout=1s databases.app='max_db_connections=3'
	sleepers 2
	is 'an ordinary server finds room' "$(q -c '/* pgshunt: route=primary */ SELECT 1')" 1
	said=$(walsender 'SELECT 1')
	is 'an idle server makes room for a walsender' "$said" 1
	q -c 'BEGIN' -c 'CREATE TEMP TABLE mine (i int)' -c 'SELECT pg_sleep(4)' >/dev/null &
	children+=($!)
	sleep 1
	said=$(walsender 'SELECT 1')
	has 'max_db_connections counts walsenders' "$said" 'pgshunt: no server connection became free'
	wake
	is 'and does not count those that have ended' "$(walsender 'SELECT 1')" 1
	wait "${children[-1]}"
	restart default_pool_size=1 query_wait_timeout=1s users.repl='max_user_connections=2'
	sleepers 2
	has 'max_user_connections counts them' "$(walsender 'SELECT 1')" 'pgshunt: no server connection became free'
	is 'others are not concerned' "$(q -c '/* pgshunt: route=primary */ SELECT 1')" 1
	wake
	is 'then there is room again' "$(walsender 'SELECT 1')" 1
}

cancel() {
	local said
	walsender 'SELECT pg_sleep(60)' >"$work/cancelled" &
	children+=($!)
	until_ok 10 has_senders 1 || fail "no walsender: $(cat "$work/cancelled")"
	sleep 0.2
	pkill_child INT
	wait "${children[-1]}"
	said=$(cat "$work/cancelled")
	has 'a cancel reaches a walsender' "$said" '57014'
}

# psql runs in a subshell of ours
pkill_child() { kill -"$1" "$(cat "/proc/${children[-1]}/task/${children[-1]}/children")" 2>/dev/null || kill -"$1" "${children[-1]}"; }

promotion() {
	local code started
	restart
	mkdir -p "$work/wal2"
	"$BIN/pg_receivewal" -d "$(dsn replication)" -D "$work/wal2" -n --no-sync -s 1 >"$work/receivewal.log" 2>&1 &
	children+=($!)
	walsender 'SELECT pg_sleep(60)' >"$work/sleeper" 2>&1 &
	children+=($!)
	until_ok 10 has_senders 2 || fail "walsenders: $(senders): $(cat "$work/receivewal.log" "$work/sleeper")"
	started=$SECONDS
	"$LAB" promote pg2
	until_ok 15 ended "${children[-2]}" || fail "pg_receivewal streams on from a deposed primary"
	until_ok 15 ended "${children[-1]}" || fail "a walsender of a deposed primary goes on"
	wait "${children[-2]}"
	code=$?
	holds 'a promotion ends pg_receivewal' "$code != 0 && $SECONDS - $started < 10" "exit code $code after $((SECONDS - started)) s"
	wait "${children[-1]}" 2>/dev/null
	holds 'and what else runs at a walsender' "$? != 0" "$(tail -n 1 "$work/sleeper")"
	is 'the next one is at the new primary' "$(until_ok 15 at_new_primary; walsender 'SELECT inet_server_port()')" "$(node_port pg2)"
}

at_new_primary() { [ "$(walsender 'SELECT inet_server_port()')" = "$(node_port pg2)" ]; }

cluster_up -n 1
on pg1 -c "CREATE ROLE repl LOGIN REPLICATION PASSWORD 'repl'" >/dev/null
"$LAB" wait-catchup
write_users
restart
for part in identify base_backup receive_wal decode refusals cancel limits promotion; do
	if [[ $part == *${CASE:-}* ]]; then "$part"; fi
done
