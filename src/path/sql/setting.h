/* setting.h - reading SET by the lexer alone. */
#ifndef PGSHUNT_SQL_SETTING_H
#define PGSHUNT_SQL_SETTING_H

#include "pgshunt/sql.h"

/* Whether the text is SET [LOCAL] pgshunt.x = constant, where the constant may be a word PostgreSQL reserves: to the grammar
 * `SET pgshunt.route = primary` is an error, but it is ours to answer. name is the caller's to free. */
bool setting_read_own(struct span text, char **name, enum sql_setting_verb *verb);

#endif
