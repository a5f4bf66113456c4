/* nesting.h - how deep the tree of a text may get, from its tokens alone. */
#ifndef PGSHUNT_SQL_NESTING_H
#define PGSHUNT_SQL_NESTING_H

#include "pgshunt/base.h"

/* libpg_query turns the tree into messages and protobuf-c back into a tree, both by recursion; the dearest step is
 * protobuf_c_message_unpack(): 962 bytes of stack a message (libprotobuf-c 1.4.1, amd64; a Node and what it wraps are two).
 * Measured with tests/unit/path/sql/test_nesting.c: 12,000 messages are 11.3 MB of the 16 MB a parsing thread has. The
 * libraries aren't instrumented in a sanitizer build, so it holds there too. */
#define NESTING_HARD_MAX 12000

/* False when the tree of this text might be deeper than max messages. An upper bound: never lower than the truth. */
bool nesting_is_within(struct span text, uint32_t max);

#endif
