/* record.h - of src/path/session: what record.c (effects that happen) and echo.c (effects that are sent) share. */
#ifndef PGSHUNT_SESSION_RECORD_H
#define PGSHUNT_SESSION_RECORD_H

#include "private.h"

struct change {
	enum sql_effect_kind kind;
	unsigned statement;             /* which of the batch's, counted as the server answers them */
	unsigned column;
	bool is_echo;                   /* no effect: the answer to this statement is ours to swallow */
	char *name, *sql;
	unsigned at, chars;             /* is_echo: which characters of the text sent it is */
	char *value;                    /* SQL_E_SET_CONFIG: as the row says; SQL_E_PREPARE: the query behind AS */
};

struct change_list {
	struct change *items;
	size_t count, cap;
};

struct record {
	struct change_list pending;     /* of the batch under way */
	struct change_list log;         /* of the open transaction: savepoints too */
	bool strings_change;            /* standard_conforming_strings, in the batch under way */
	bool is_discarded;              /* DISCARD ALL: the server has less than the session */
	bool sets_datestyle;
};

struct record *record_of(struct session *s);           /* made when first needed */
struct change *change_add(struct change_list *list);

#endif
