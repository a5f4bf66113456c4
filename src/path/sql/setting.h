/* setting.h - SET, RESET and set_config() by the tokens of the text. */
#ifndef PGSHUNT_SQL_SETTING_H
#define PGSHUNT_SQL_SETTING_H

#include "effects.h"

/* Whether the text is SET [LOCAL] pgshunt.x = constant, where the constant may be a word PostgreSQL reserves: to the grammar
 * `SET pgshunt.route = primary` is an error, but it is ours to answer. name is the caller's to free. */
bool setting_read_own(struct span text, char **name, enum sql_setting_verb *verb);

/* What ends with the transaction whether LOCAL is written or not. Compared without case. */
bool setting_is_of_transaction(const char *name);

/* Who sets session_authorization leaves his role, who resets it gets his first one back (guc.c: set_config_option). */
bool setting_drops_role(const char *name);
extern const char setting_no_role[];

/* As effects name settings: lower case, and the new name of one that PostgreSQL has renamed. Empties the buffer into a string that is
 * the caller's to free. */
char *setting_name(struct buf *name);

/* The statement, its first word taken. False: not readable. */
bool setting_read_set(struct effects *e);
bool setting_read_reset(struct effects *e);
/* SELECT set_config(...), ...: any other SELECT has no effects, and one that can't be read neither. */
bool setting_read_select(struct effects *e);

#endif
