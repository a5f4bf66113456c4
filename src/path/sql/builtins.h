/* builtins.h - what PostgreSQL's own functions, operators, types, views and settings mean for routing. Constant tables. */
#ifndef PGSHUNT_SQL_BUILTINS_H
#define PGSHUNT_SQL_BUILTINS_H

#include "pgshunt/sql.h"

enum builtin_effect {
	BUILTIN_UNKNOWN,        /* not PostgreSQL's (or newer than our list): a user's function, as far as we know */
	BUILTIN_READ,
	BUILTIN_NODE,           /* tells about the node it runs on */
	BUILTIN_PRIMARY
};

struct builtin {
	const char *name;
	enum builtin_effect effect;
	bool is_planned;        /* PostgreSQL may run it while it plans */
	uint32_t flags, pins, uses;
};

/* name as PostgreSQL folds it. Never NULL. */
const struct builtin *builtin_function(const char *name);
/* A function that gives exactly one value a call; true only of some that stand beside set_config(). */
bool builtin_is_scalar(const char *name);
bool builtin_is_operator(const char *name);
bool builtin_is_type(const char *name);
/* A view or function-like relation of pg_catalog whose rows are the node's own. */
bool builtin_is_node_view(const char *name);
/* A relation of pg_catalog by its name. */
bool builtin_is_catalog(const char *name);
/* SHOW gives the same on every node once the session's settings are laid on: a session's setting, or a custom one (a.b). */
bool builtin_is_session_setting(const char *name);

#endif
