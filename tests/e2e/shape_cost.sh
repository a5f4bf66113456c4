#!/usr/bin/env bash
# A shape seen before costs no parse: calls of PostgreSQL's grammar are counted in the running process, from outside. And what a look at
# a known shape costs, in instructions.
# shellcheck source-path=SCRIPTDIR disable=SC2119
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

build_counter() {
	cat >"$work/count.c" <<-'C'
	#define _GNU_SOURCE
	#include <dlfcn.h>
	#include <fcntl.h>
	#include <stdatomic.h>
	#include <stdlib.h>
	#include <sys/mman.h>
	#include <pg_query.h>

	static _Atomic unsigned long *count;

	__attribute__((constructor)) static void begin(void)
	{
		count = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, open(getenv("COUNT_FILE"), O_RDWR), 0);
	}

	PgQueryProtobufParseResult pg_query_parse_protobuf(const char *input)
	{
		PgQueryProtobufParseResult (*real)(const char *) = dlsym(RTLD_NEXT, "pg_query_parse_protobuf");

		atomic_fetch_add(count, 1);
		return real(input);
	}
	C
	gcc -shared -fPIC -O1 -o "$work/count.so" "$work/count.c" -ldl
}

parses() { od -An -t u8 "$work/parses" | tr -d ' '; }

# parsed COMMAND...: sets $parsed to the number of parses during it
parsed() {
	local before
	before=$(parses)
	"$@" >"$work/out" 2>&1 || fail "$*: $(tail -n 3 "$work/out")"
	parsed=$(($(parses) - before))
}

# script NUMBER FORMAT: so many statements, each with its own literal
# shellcheck disable=SC2059
script() { for i in $(seq "$1"); do printf "$2;\n" "$i" "$i"; done >"$work/script.sql"; }
run_script() { q -f "$work/script.sql"; }
bench() { PGPASSWORD=app pgbench -h 127.0.0.1 -p "$PROXY_PORT" -U app -S -c 8 -n -M "$1" -t 2000 app; }

# known WHAT FORMAT: first once, then never again. One worker: each has a cache of its own, and which one a connection meets is chance.
known() {
	script 5 "$2"
	for _ in $(seq 12); do run_script; done >/dev/null          # known from here on
	script 3000 "$2"
	parsed run_script
	is "$1: parses for 3,000 more of the shape" "$parsed" 0
}

test_parses() {
	q -c 'CREATE TABLE items(id int PRIMARY KEY, name text)' >/dev/null
	script 200 'SELECT %d AS a%d'
	parsed run_script
	is 'the counter counts: 200 new shapes' "$parsed" 200
	script 3000 "SELECT name FROM items WHERE id = %d OR name = 'x%d'"
	parsed run_script
	is 'one new shape, 3,000 times' "$parsed" 1
	known SELECT "SELECT name FROM items WHERE id = %d OR name = 'y%d'"
	known INSERT "INSERT INTO items VALUES (%d) ON CONFLICT DO NOTHING"
	known 'white space and comments' "select  id /* %d */ from items"
	known SET "SET app.tenant = '%d'"
	known 'hint' "/* pgshunt: route=primary */ SELECT id FROM items WHERE id = %d"
	known 'a transaction' "BEGIN; UPDATE items SET name = 'n%d' WHERE id = %d; COMMIT"
	PGPASSWORD=app pgbench -h 127.0.0.1 -p "$PROXY_PORT" -U app -i -q app >/dev/null 2>&1
	for mode in simple extended prepared; do
		for _ in 1 2 3; do bench "$mode"; done >/dev/null 2>&1
		parsed bench "$mode"
		holds "pgbench -S $mode: 16,000 queries, parses" "$parsed <= 0" "$parsed"
	done
}

# What a text costs depends on its tokens more than on its bytes: pgbench's is the one to hold against others; one with many short tokens takes more.
instructions() {
	local bound=$1 sql=$2 out count
	if ! out=$(cd "$ROOT" && BUILD=${BUILD:-build} tools/sql-cost "$sql" 2>&1); then fail "tools/sql-cost: $out"; return; fi
	count=$(tail -n 1 <<<"$out" | awk '{ print $1 }')
	holds "lexer and cache, ${#sql} bytes, $count instructions: below $bound: $sql" "$count < $bound" "$count"
}

test_instructions() {
	if ! command -v valgrind >/dev/null; then skip 'instructions: no valgrind here'; return; fi
	instructions 850 'SELECT abalance FROM pgbench_accounts WHERE aid = 123456789;'
	instructions 1100 'SELECT id, owner, balance FROM accounts WHERE id = 12345 LIMIT 1'
}

if [ -n "${SANITIZED:-}" ]; then
	skip 'counting parses and instructions: not in a sanitized build'
	exit
fi
parsed=0
if ! build_counter; then fail 'building the counter'; exit; fi
head -c 8 /dev/zero >"$work/parses"
cluster_up
export COUNT_FILE=$work/parses
PGSHUNT_WRAPPER="env LD_PRELOAD=$work/count.so" proxy_start workers=1
test_parses
test_instructions
