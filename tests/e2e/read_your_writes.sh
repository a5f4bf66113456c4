#!/usr/bin/env bash
# consistency=read_your_writes with standbys that replay 300 ms late: what a session wrote it reads, always; once nothing is written its
# reads are back on the standbys. The same at eventual is stale: so the test can fail.
# shellcheck source-path=SCRIPTDIR disable=SC2119
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
ROUNDS=${ROUNDS:-10000}
DELAY_MS=300

set_delay() {
	local node
	for node in pg2 pg3; do "$LAB" delay "$node" "$1" || fail "delay of $node"; done
}

# loop LEVEL MODE: sets $rounds $stale $on_standby
loop() {
	local out began
	began=$(now_ms)
	if ! out=$("$work/ryw" loop "$(proxy_dsn) options='-c pgshunt.consistency=$1'" "$2" "$(node_port pg1)" 8 "$ROUNDS" 2>&1); then
		fail "$1, $2: $out"
		rounds=0 stale=-1 on_standby=-1
		return
	fi
	read -r rounds stale on_standby <<<"$out"
	note "$1, $2: $rounds rounds, $stale stale, $on_standby read on a standby, $(($(now_ms) - began)) ms"
}

test_delayed() {
	local mode
	for mode in simple extended; do
		loop read_your_writes "$mode"
		is "read_your_writes, $mode: rounds" "$rounds" "$ROUNDS"
		is "read_your_writes, $mode: stale reads" "$stale" 0
		loop eventual "$mode"
		holds "eventual, $mode: stale, as it must be" "$stale > 0.5 * $ROUNDS" "$stale of $rounds"
	done
}

# With nothing written meanwhile: a read is on a standby again as soon as that has what it needs.
test_back() {
	local mode out worst median
	for mode in simple extended; do
		if ! out=$("$work/ryw" back "$(proxy_dsn)" "$mode" "$(node_port pg1)" 12 2>&1); then
			fail "back on the standbys, $mode: $out"
			continue
		fi
		worst=$(sort -n <<<"$out" | tail -n 1) median=$(sort -n <<<"$out" | sed -n 6p)
		note "back on a standby, $mode, after ms: $(tr '\n' ' ' <<<"$out")"
		holds "$mode: reads are back on the standbys within lag + 50 ms" "$worst <= $DELAY_MS + 50 && $worst > 0" "median $median ms, worst $worst ms"
		holds "$mode: not before the standby had it" "$(sort -n <<<"$out" | head -n 1) >= $DELAY_MS - 20" "first after $(sort -n <<<"$out" | head -n 1) ms"
	done
}

# The steady state of a lag-free cluster: reads after writes do go to standbys.
test_no_delay() {
	set_delay 0
	"$LAB" wait-catchup
	loop read_your_writes extended
	is 'without a delay: stale reads' "$stale" 0
	note "without a delay $((100 * on_standby / ROUNDS)) % of the reads right behind a write ran on standbys"
}

cluster_up
if ! gcc -O2 -Wall -I"$(pg_config --includedir)" -o "$work/ryw" "$ROOT/tests/e2e/ryw.c" -lpq -lpthread; then fail 'building ryw.c'; exit; fi
rounds=0 stale=0 on_standby=0
proxy_start default_pool_size=40
q -c 'CREATE TABLE ryw(id bigint PRIMARY KEY)' >/dev/null
"$LAB" wait-catchup
set_delay "$DELAY_MS"
test_delayed
test_back
test_no_delay
