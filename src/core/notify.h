/* notify: a word to the service manager, as sd_notify(3) has it: a datagram of NAME=VALUE lines to
 * the socket that the variable NOTIFY_SOCKET names. Private to core; main thread.
 *
 * By hand: libsystemd would be a library for one sendmsg(2), and would not be there on most
 * machines without systemd. Other managers than systemd speak this, too. */
#ifndef ESCLUSA_CORE_NOTIFY_H
#define ESCLUSA_CORE_NOTIFY_H

#include <esclusa/error.h>
#include <esclusa/net.h>

#include <stdint.h>

#define NOTIFY_TEXT_MAX 1024

struct notify {
    int fd; /* -1: nobody listens */
    struct net_addr to;
    int64_t watchdog_ms; /* WATCHDOG=1 is wanted as often; 0: it is not */
};

/* From the variables NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; took_over: the last one names a
 * process before us. False: the first is given, and err says why it is of no use. */
bool notify_open(struct notify *n, bool took_over, struct error *err) WARN_UNUSED;
void notify_close(struct notify *n);
/* May wait for a second where the manager's queue is full: for what it must not miss. */
void notify_say(struct notify *n, const char *format, ...) PRINTF_LIKE(2, 3);
/* Does not wait: what is said again soon. */
void notify_remark(struct notify *n, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
