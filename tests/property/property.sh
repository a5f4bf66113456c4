#!/usr/bin/env bash
# property.sh - random sessions directly and through pgshunt: every reply the same. README.md says what is compared and how to replay one.
#
#   SESSIONS=500 SEED=1 tests/property/property.sh [OPTIONS OF property...]
#   PROXY_OPTIONS='workers=1 default_pool_size=1' for pgshunt; JOBS=4; KEEP=1 keeps the logs
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/bed.sh"
SESSIONS=${SESSIONS:-500}
SEED=${SEED:-1}

# report WHAT OPTIONS...: runs sessions; their own figures are printed, what they add up to is one check
report() {
	local what=$1
	shift
	if sessions "$@" >"$work/sessions"; then
		pass "$what: $(grep -m 1 '^seed' "$work/sessions")"
	else
		cat "$work/sessions"
		fail "$what: $(tail -n 1 "$work/sessions")"
	fi
}

reads_on_standbys() { echo $(($(stat pg2 reads) + $(stat pg3 reads))); }

bed_up
report 'direct against direct: the comparison itself' "$(node_port pg1)" --sessions $((SESSIONS / 10)) --seed "$SEED"
# shellcheck disable=SC2086
bed_proxy ${PROXY_OPTIONS:-}
"$LAB" stats-reset
report "$SESSIONS sessions through pgshunt" "$PROXY_PORT" --sessions "$SESSIONS" --seed "$SEED" "$@"
holds 'standbys took part in it' "$(reads_on_standbys) >= $SESSIONS / 2" "$(reads_on_standbys) reads"

# What was found once is looked for each time, while other jobs make servers change hands.
for file in "$ROOT"/tests/property/found/*.session; do
	if [ $# -gt 0 ]; then break; fi
	report "$(basename "$file" .session)" "$PROXY_PORT" --replay "$file" --sessions "${REPLAYS:-10}"
done
