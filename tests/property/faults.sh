#!/usr/bin/env bash
# faults.sh - the property test must fail for a pgshunt that lays no settings, keeps no pins, or prepares nothing: each is built with its
# FAULT_NO_... and must be found within so many sessions.
#
#   FAULT_SESSIONS=500 SEED=1 tests/property/faults.sh
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/bed.sh"
SESSIONS=${FAULT_SESSIONS:-500}
SEED=${SEED:-1}

# build_with FAULT: prints the program's path
build_with() {
	local dir=$BUILD_DIR/fault/$1
	env -u BUILD -u MAKEFLAGS -u MAKELEVEL make -C "$ROOT" BUILD="$dir" EXTRA_CFLAGS="-D$1" "$dir/pgshunt" >"$work/make" 2>&1 ||
		{ fail "building with -D$1: $(tail -n 5 "$work/make")"; return 1; }
}

# Every session runs as it is: how many of them show the fault is worth knowing.
find_fault() {
	build_with "$1" || return 0
	PGSHUNT=$BUILD_DIR/fault/$1/pgshunt
	bed_proxy
	if sessions "$PROXY_PORT" --sessions "$SESSIONS" --seed "$SEED" --brief --findings 1 --give-up-after 5 >"$work/sessions"; then
		fail "$1: not found in $SESSIONS sessions"
	else
		pass "$1 is found: $(grep -m 1 'differs in step' "$work/sessions" | tr -d =); $(grep -m 1 '^seed' "$work/sessions" | cut -d, -f1)"
	fi
	proxy_stop
}

bed_up
for fault in FAULT_NO_REPLAY FAULT_NO_PIN FAULT_NO_PREPARE; do find_fault "$fault"; done
