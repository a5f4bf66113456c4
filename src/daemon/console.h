/* console.h - private to src/daemon: see console.c */
#ifndef PGSHUNT_DAEMON_CONSOLE_H
#define PGSHUNT_DAEMON_CONSOLE_H

#include "daemon.h"

struct console_answer *console_answer_new(const struct console_request *request, const struct console_result *result);
void console_answer_deliver(struct console_answer *answer);    /* on the worker's thread; frees it */

#endif
