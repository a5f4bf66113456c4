# shellcheck shell=bash disable=SC2119,SC2120
# lib.sh - what every tests/e2e/*.sh needs: a cluster and a proxy of its own, checks, and an end that leaves nothing running.
# Sourced. PGSHUNT, LAB, PYTHON come from tests/run; by hand they may be left out. KEEP=1 keeps the working directory.
set -uo pipefail
unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGSERVICE PGSERVICEFILE PGOPTIONS PGDATA PGAPPNAME PGSSLMODE
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
PGSHUNT=$(readlink -f "${PGSHUNT:-$ROOT/build/pgshunt}")
LAB=${LAB:-$ROOT/tests/lab/lab}
PYTHON=${PYTHON:-$ROOT/build/venv/bin/python}
: "$PYTHON"
base_dir=${TMPDIR:-/dev/shm}
if [ ! -w "$base_dir" ]; then base_dir=/tmp; fi
work=$(mktemp -d "$base_dir/pgshunt-e2e.XXXXXX")
chmod 711 "$work"
export LAB_DIR=$work/lab PGCONNECT_TIMEOUT=5 LC_ALL=C
TROUBLE='ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|FATAL bug: '
passed=0 failed=0 skipped=0 proxy_pid='' children=()

finish() {
	local code=$?
	trap '' EXIT INT TERM HUP
	for pid in "${children[@]}"; do kill -9 "$pid" 2>/dev/null; done
	if [ -n "$proxy_pid" ]; then proxy_stop; fi
	"$LAB" destroy
	if [ -z "${KEEP:-}" ]; then rm -rf "$work"; else echo "kept: $work"; fi
	if [ "$code" != 0 ]; then fail "the test ended before its end, exit code $code"; fi
	printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
	[ "$failed" = 0 ]
	exit
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

pass() { passed=$((passed + 1)); echo "ok      $*"; }
fail() { failed=$((failed + 1)); echo "FAIL    $*"; }
skip() { skipped=$((skipped + 1)); echo "SKIPPED $*"; }
note() { echo "        $*"; }

# is WHAT GOT WANTED
is() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1: got '$2', wanted '$3'"; fi; }
# holds WHAT ARITHMETIC SEEN: an awk condition, which may have fractions
holds() { if awk "BEGIN { exit !($2) }"; then pass "$1 (${3:-$2})"; else fail "$1: ${3:-$2}: not $2"; fi; }
# ok WHAT COMMAND...
ok() {
	local what=$1
	shift
	if "$@" >"$work/out" 2>&1; then pass "$what"; else fail "$what: exit code $?: $(tail -n 8 "$work/out")"; fi
}
has() { if [[ $2 == *"$3"* ]]; then pass "$1"; else fail "$1: no '$3' in '$2'"; fi; }

# until_ok SECONDS COMMAND...: polls
until_ok() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		if [ "$SECONDS" -gt "$deadline" ]; then return 1; fi
		sleep 0.05
	done
}

now_ms() { date +%s%3N; }

# --- cluster and proxy

cluster_up() {
	"$LAB" init "$@" || exit 1
	# shellcheck disable=SC1091
	. "$LAB_DIR/env"
	PROXY_PORT=$((${LAB_PORT_pg1:?} + 7))   # the lab takes ports in tens
}

node_port() { "$LAB" port "$1"; }
# on NODE PSQL-ARGUMENTS...: as superuser, past the proxy
on() { local node=$1; shift; "$LAB" psql "$node" -Atq -d app -v ON_ERROR_STOP=1 "$@" 2>&1; }

proxy_config() {
	"$LAB" config listen_port="$PROXY_PORT" unix_socket_dir="$work" workers=2 "$@" >"$work/pgshunt.ini"
	chmod 644 "$work/pgshunt.ini"
}

# proxy_start [KEY=VALUE...]
proxy_start() {
	proxy_config "$@"
	# shellcheck disable=SC2086
	${PGSHUNT_WRAPPER:-} "$PGSHUNT" "$work/pgshunt.ini" >>"$work/pgshunt.log" 2>&1 &
	proxy_pid=$!
	until_ok 15 proxy_is_up
	if ! proxy_is_alive || ! knows_all_nodes; then
		fail "pgshunt does not answer: $(tail -n 5 "$work/pgshunt.log")"
		exit 1
	fi
}

proxy_is_up() { ! proxy_is_alive || knows_all_nodes; }

# Both standbys take reads.
knows_all_nodes() {
	local node
	proxy_is_alive || return 0
	for node in $LAB_NODES; do takes_reads "$node" || return 1; done
}

takes_reads() {
	if [ "$1" = "$("$LAB" primary)" ]; then
		[ "$(q -c '/* pgshunt: route=primary */ SELECT 1')" = 1 ]
	else
		[ "$(q -c "/* pgshunt: route=node:$1 consistency=eventual */ SELECT inet_server_port()")" = "$(node_port "$1")" ]
	fi
}

proxy_is_alive() { kill -0 "$proxy_pid" 2>/dev/null; }

# Ends it cleanly, so that a sanitizer can report; kills it when that takes too long.
proxy_stop() {
	local code=0 pid=$proxy_pid
	proxy_pid=''
	kill -INT "$pid" 2>/dev/null && sleep 0.1
	kill -QUIT "$pid" 2>/dev/null
	until_ok 15 ended "$pid" || kill -9 "$pid"
	wait "$pid" 2>/dev/null || code=$?
	if [ "$code" != 0 ]; then fail "pgshunt ended with $code: $(tail -n 40 "$work/pgshunt.log")"; else pass "pgshunt ends with 0"; fi
	if grep -qE "$TROUBLE" "$work/pgshunt.log"; then fail "pgshunt's log: $(grep -nE -A 20 "$TROUBLE" "$work/pgshunt.log" | head -n 60)"; fi
}

ended() { ! kill -0 "$1" 2>/dev/null || [[ $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) == Z* ]]; }

proxy_rss_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$proxy_pid/status"; }

proxy_dsn() { echo "host=127.0.0.1 port=$PROXY_PORT user=app password=app dbname=app"; }
# q PSQL-ARGUMENTS...: through the proxy
q() { psql -XAtq -v ON_ERROR_STOP=1 "$(proxy_dsn)" "$@" 2>&1; }
console() { psql -XAt "host=127.0.0.1 port=$PROXY_PORT user=pgadmin password=pgadmin dbname=pgshunt" -c "$1" 2>&1; }

# --- what the nodes say they ran: stat NODE reads|writes|other [REGEX]

stat() {
	local column
	case $2 in reads) column=3 ;; writes) column=4 ;; *) column=5 ;; esac
	"$LAB" stats -A "${3:-}" | awk -F'\t' -v n="$1" -v c="$column" '$1 == n { print $c }'
}

# balanced WHAT A B: the two differ by at most 2 % of their sum
balanced() { holds "$1" "($2 - $3) * ($2 - $3) <= 0.0004 * ($2 + $3) * ($2 + $3) && $2 + $3 > 0" "$2 : $3"; }

# How long a part of a test runs: longer where everything is slower.
secs() { if [ -n "${SANITIZED:-}" ]; then echo $(($1 * 2)); else echo "$1"; fi; }
