/* notify.h - private to src/daemon: systemd's readiness protocol, sd_notify(3), without its library. */
#ifndef PGSHUNT_DAEMON_NOTIFY_H
#define PGSHUNT_DAEMON_NOTIFY_H

void notify_systemd(const char *message);      /* does nothing where NOTIFY_SOCKET isn't set */

#endif
