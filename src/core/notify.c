#include "notify.h"

#include <esclusa/str.h>

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define PATIENCE_S 1

static bool reach(struct notify *n)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (n->fd < 0)
        return false;
    (void)setsockopt(n->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(n->fd, &n->to.u.sa, n->to.length) == 0)
        return true;
    int why = errno;
    close(n->fd);
    n->fd = -1;
    errno = why;
    return false;
}

static int64_t watchdog_ms(bool took_over)
{
    const char *pid = getenv("WATCHDOG_PID");
    const char *usec = getenv("WATCHDOG_USEC");
    uint64_t value = 0;
    if (usec == NULL || !str_parse_u64(usec, 1, INT64_MAX, &value))
        return 0;
    int64_t ms = (int64_t)(value / 1000);
    if (pid == NULL || took_over)
        return ms;
    return str_parse_u64(pid, 1, INT_MAX, &value) && (pid_t)value == getpid() ? ms : 0;
}

bool notify_open(struct notify *n, bool took_over, struct error *err)
{
    const char *path = getenv("NOTIFY_SOCKET");
    *n = (struct notify){.fd = -1};
    if (path == NULL || path[0] == '\0')
        return true;
    if ((path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof n->to.u.un.sun_path)
        return error_set(err, "NOTIFY_SOCKET is no path of a unix socket");
    net_addr_from_path(&n->to, path);
    /* Connected now: a sandbox may take the path away. */
    if (!reach(n))
        return error_set_errno(err, errno, "NOTIFY_SOCKET");
    n->watchdog_ms = watchdog_ms(took_over);
    return true;
}

void notify_close(struct notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
    n->watchdog_ms = 0;
}

static void PRINTF_LIKE(3, 0) say(struct notify *n, int flags, const char *format, va_list args)
{
    char text[NOTIFY_TEXT_MAX];
    int length = vsnprintf(text, sizeof text, format, args);
    if (n->fd < 0 || length < 0)
        return;
    size_t size = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    ssize_t sent = send(n->fd, text, size, MSG_NOSIGNAL | flags);
    if (sent >= 0 || (errno != ECONNREFUSED && errno != ENOTCONN && errno != ECONNRESET))
        return;
    close(n->fd); /* the manager was started anew, with another socket of that name */
    if (reach(n))
        sent = send(n->fd, text, size, MSG_NOSIGNAL | flags);
    (void)sent;
}

void notify_say(struct notify *n, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(n, 0, format, args);
    va_end(args);
}

void notify_remark(struct notify *n, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(n, MSG_DONTWAIT, format, args);
    va_end(args);
}
