/* fault.h - the bugs that tests/fuzz/planted shows the fuzzer to find. Each is 0, unless one file is compiled with -DFAULT_LEX_<NAME>;
 * the lexer and the shape ask FAULT(NAME) where somebody could really have made that mistake. */
#ifndef PGSHUNT_SQL_FAULT_H
#define PGSHUNT_SQL_FAULT_H

#define FAULT(name) FAULT_LEX_##name

#ifndef FAULT_LEX_NESTED_COMMENT
#define FAULT_LEX_NESTED_COMMENT 0      /* a comment inside a comment isn't counted */
#endif
#ifndef FAULT_LEX_CONTINUATION
#define FAULT_LEX_CONTINUATION 0        /* 'a' -- comment (newline) 'b' isn't one string */
#endif
#ifndef FAULT_LEX_ESCAPE_SPELLS
#define FAULT_LEX_ESCAPE_SPELLS 0       /* E'\156ow' isn't seen to spell now */
#endif
#ifndef FAULT_LEX_DATED_CASE
#define FAULT_LEX_DATED_CASE 0          /* 'NOW' isn't now */
#endif
#ifndef FAULT_LEX_DOLLAR_TAG
#define FAULT_LEX_DOLLAR_TAG 0          /* the last dollar of the opening tag may begin the closing one */
#endif
#ifndef FAULT_LEX_NUMBER_JUNK
#define FAULT_LEX_NUMBER_JUNK 0         /* 1a is a number and a word */
#endif
#ifndef FAULT_LEX_OPERATOR_SIGN
#define FAULT_LEX_OPERATOR_SIGN 0       /* % in an operator doesn't let it end in a sign */
#endif
#ifndef FAULT_LEX_DATED_FAST
#define FAULT_LEX_DATED_FAST 0          /* the quick look at a string doesn't know today */
#endif
#ifndef FAULT_LEX_LONG_INT
#define FAULT_LEX_LONG_INT 0            /* the quick look at a number takes ten digits for an int4 */
#endif
#ifndef FAULT_LEX_UESCAPE
#define FAULT_LEX_UESCAPE 0             /* the character behind UESCAPE is dropped */
#endif
#ifndef FAULT_LEX_ARRAY_BOUND
#define FAULT_LEX_ARRAY_BOUND 0         /* the bound of a second dimension, int[][3], is dropped */
#endif
#ifndef FAULT_LEX_SECOND_STATEMENT
#define FAULT_LEX_SECOND_STATEMENT 0    /* only the first statement of a text can keep its literals */
#endif

#endif
