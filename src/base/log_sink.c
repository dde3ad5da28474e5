/* Where log lines go: stderr, a file that is opened anew when it is rotated, or a syslog server. */
#include "log_internal.h"

#include <esclusa/clock.h>
#include <esclusa/str.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FILE_MODE     0640
#define SYSLOG_PATH   "/dev/log"
#define SYSLOG_MAX    (LOG_LINE_MAX + 128)
#define FACILITY      (3 << 3) /* daemon, RFC 5424 6.2.1 */
#define PATH_BYTES    sizeof(((struct sockaddr_un *)NULL)->sun_path)
#define FILE_PATH_MAX 4096

enum kind { TO_STREAM, TO_FILE, TO_SYSLOG };

/* kind and path are set before threads start. The descriptor is the writer's, but at a reopen. */
static struct {
    enum kind kind;
    char path[FILE_PATH_MAX];
    int fd;
} sink = {TO_STREAM, "", STDERR_FILENO};

static pthread_mutex_t fd_mutex = PTHREAD_MUTEX_INITIALIZER; /* held while it is changed or used */

bool log_sink_is_syslog(void)
{
    return sink.kind == TO_SYSLOG;
}

bool log_sink_is_file(void)
{
    return sink.kind == TO_FILE;
}

void log_sink_set(int fd)
{
    sink.kind = TO_STREAM;
    sink.fd = fd;
}

/* ---- opening ---- */

static int open_file(void)
{
    return open(sink.path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, FILE_MODE);
}

static int open_syslog(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)str_copy(to.sun_path, sizeof(to.sun_path), sink.path);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static bool starts_with(const char *text, const char *start, const char **rest_r)
{
    size_t length = strlen(start);
    *rest_r = text + length;
    return strncmp(text, start, length) == 0;
}

bool log_is_place(const char *to, struct error *err)
{
    const char *path = NULL;
    if (strcmp(to, "stderr") == 0 || strcmp(to, "syslog") == 0)
        return true;
    if (starts_with(to, "file:", &path)) {
        if (path[0] == '/' && strlen(path) < FILE_PATH_MAX)
            return true;
        return error_set(err, "a file is given by its whole path, like file:/var/log/esclusa.log");
    }
    if (starts_with(to, "syslog:", &path)) {
        if (path[0] == '/' && strlen(path) < PATH_BYTES)
            return true;
        return error_set(err, "a syslog server is given by the path of its socket, like "
                              "syslog:/dev/log");
    }
    return error_set(err, "none of stderr, file:PATH, syslog and syslog:PATH");
}

bool log_open(const char *to, struct error *err)
{
    const char *path = NULL;
    int fd = -1;
    if (!log_is_place(to, err))
        return false;
    if (strcmp(to, "stderr") == 0)
        return true;
    if (starts_with(to, "file:", &path)) {
        (void)str_copy(sink.path, sizeof(sink.path), path);
        fd = open_file();
    } else {
        (void)str_copy(sink.path, sizeof(sink.path),
                       starts_with(to, "syslog:", &path) ? path : SYSLOG_PATH);
        fd = open_syslog();
    }
    if (fd < 0)
        return error_set_errno(err, errno, "cannot log to '%s'", to);
    sink.kind = strncmp(to, "file:", strlen("file:")) == 0 ? TO_FILE : TO_SYSLOG;
    sink.fd = fd;
    return true;
}

bool log_reopen(struct error *err)
{
    if (sink.kind != TO_FILE)
        return true;
    int fd = open_file();
    if (fd < 0)
        return error_set_errno(err, errno, "cannot open '%s' again", sink.path);
    pthread_mutex_lock(&fd_mutex);
    int old = sink.fd;
    sink.fd = fd;
    pthread_mutex_unlock(&fd_mutex);
    close(old);
    return true;
}

void log_give(unsigned uid, unsigned gid)
{
    if (sink.kind == TO_FILE)
        (void)!fchown(sink.fd, uid, gid); /* else the one at a rotation says what is wrong */
}

/* ---- writing ---- */

static bool ready(bool wait)
{
    struct pollfd p = {.fd = sink.fd, .events = POLLOUT};
    return poll(&p, 1, wait ? -1 : 0) == 1 && (p.revents & POLLOUT) != 0;
}

/* A line is at most PIPE_BUF: a pipe that is writable takes it whole. O_NONBLOCK would be simpler,
 * but it belongs to the open file, which others share with us. */
static bool write_stream(const char *text, size_t length, bool wait)
{
    if (!wait && !ready(false))
        return false;
    while (length > 0) {
        ssize_t wrote = write(sink.fd, text, length);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && errno == EAGAIN && wait && ready(true))
            continue; /* somebody else has set O_NONBLOCK */
        if (wrote <= 0)
            return false; /* there is nobody to tell */
        text += wrote;
        length -= (size_t)wrote;
    }
    return true;
}

/* "<PRI>Mmm dd hh:mm:ss esclusa[pid]: text", as syslog(3) of the C library sends it (RFC 3164 4.1,
 * without the host). */
static size_t frame(char *out, const char *text, size_t length, enum log_level level)
{
    static const int severities[] = {
        [LOG_LEVEL_ERROR] = 3, [LOG_LEVEL_WARN] = 4, [LOG_LEVEL_INFO] = 6, [LOG_LEVEL_DEBUG] = 7};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm t = {.tm_mday = 1};
    time_t now = time(NULL);
    (void)localtime_r(&now, &t);
    int head = snprintf(out, SYSLOG_MAX - LOG_LINE_MAX,
                        "<%d>%s %2d %02d:%02d:%02d esclusa[%d]: ", FACILITY | severities[level],
                        months[t.tm_mon], t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, (int)getpid());
    if (length > 0 && text[length - 1] == '\n')
        length--;
    memcpy(out + head, text, length);
    return (size_t)head + length;
}

static bool is_gone(int why)
{
    return why == ECONNREFUSED || why == ENOTCONN || why == ECONNRESET || why == EDESTADDRREQ;
}

static bool write_syslog(const char *text, size_t length, enum log_level level, bool wait)
{
    char packet[SYSLOG_MAX];
    size_t size = frame(packet, text, length, level);
    const int flags = MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT);
    if (send(sink.fd, packet, size, flags) == (ssize_t)size)
        return true;
    if (!is_gone(errno))
        return false;
    int fd = open_syslog(); /* it has been started anew */
    if (fd < 0)
        return false;
    close(sink.fd);
    sink.fd = fd;
    return send(sink.fd, packet, size, flags) == (ssize_t)size;
}

bool log_sink_write(const char *text, size_t length, enum log_level level, bool wait)
{
    pthread_mutex_lock(&fd_mutex);
    bool done = sink.kind == TO_SYSLOG ? write_syslog(text, length, level, wait)
                                       : write_stream(text, length, wait);
    pthread_mutex_unlock(&fd_mutex);
    return done;
}
