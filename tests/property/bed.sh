# shellcheck shell=bash
# bed.sh - sourced: a cluster with the databases p (through pgshunt) and d (direct), and how to run sessions in them.
# shellcheck source-path=SCRIPTDIR disable=SC2034
export LAB_CONF='autovacuum_naptime = 20s'
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
BUILD_DIR=$(cd "$here" && realpath -m "${BUILD:-build}")
PGSHUNT=${PGSHUNT:-$BUILD_DIR/pgshunt}
. "$here/tests/e2e/lib.sh"
PROPERTY=${PROPERTY:-$BUILD_DIR/tests/property/property}
JOBS=${JOBS:-4}

# The sessions log in by name alone: passwords are another test's subject.
let_everybody_in() {
	local node
	for node in $LAB_NODES; do
		sed -i -E 's/(scram-sha-256|md5|password)$/trust/' "$LAB_DIR/$node/pg_hba.conf"
		"$LAB" psql "$node" -qAtc 'SELECT pg_reload_conf()' >/dev/null
	done
}

bed_up() {
	local name
	cluster_up
	let_everybody_in
	"$LAB" psql pg1 -qc 'CREATE DATABASE p OWNER app'
	"$LAB" psql pg1 -q -d p -v jobs=$((JOBS > 4 ? JOBS : 4)) -f "$ROOT/tests/property/lab.sql" >/dev/null || exit 1
	"$LAB" psql pg1 -qc 'CREATE DATABASE d OWNER app TEMPLATE p'
	for name in p d; do
		"$LAB" psql pg1 -qc "ALTER DATABASE $name SET my.b = 'of the database'" -c "ALTER DATABASE $name SET lock_timeout = '7min'"
	done
	printf '"%s" ""\n' app boss tuned postgres pgadmin >"$work/users"
	chmod 644 "$work/users"
	"$LAB" wait-catchup
}

bed_proxy() { proxy_start auth_type=trust auth_file="$work/users" default_pool_size=2 "$@"; }

# sessions PORT-OF-THE-PROXY OPTIONS...
sessions() {
	local port=$1 node standbys=()
	shift
	for node in $LAB_NODES; do
		if [ "$node" != pg1 ]; then standbys+=(--standby-port "$(node_port "$node")"); fi
	done
	"$PROPERTY" --grammar "$ROOT/tests/property/session.grammar" --direct-port "$(node_port pg1)" --proxy-port "$port" "${standbys[@]}" \
		--jobs "$JOBS" "$@"
}
