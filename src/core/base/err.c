#include "pgshunt/base.h"

#include <stdio.h>

bool err_set(struct err *err, const char *sqlstate, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return false;
	snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", sqlstate);
	err->hint[0] = '\0';
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return false;
}

bool err_hint(struct err *err, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return false;
	va_start(args, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, args);
	va_end(args);
	return false;
}
