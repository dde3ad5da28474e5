/* log: one event, one line, to stderr, a file or syslog; text (key=value) or JSON. A line is built
 * on the caller's stack and handed over whole, so lines of several threads never mix. Values are
 * escaped here: callers pass peer-controlled text as it is. Only src/core and src/main.c log;
 * layers below return errors. Keys, passphrases and payload are never passed to this module. */
#ifndef ESCLUSA_LOG_H
#define ESCLUSA_LOG_H

#include <esclusa/error.h>

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

#define LOG_LINE_MAX 4096 /* PIPE_BUF: lines of several writers to a pipe never mix, pipe(7) */

struct log_line {
    bool wanted; /* false: the level is off and every call below is a no-op */
    enum log_level level;
    bool truncated; /* a field did not fit: it and all after it are left out */
    enum log_format format;
    size_t length;
    char text[LOG_LINE_MAX];
};

/* Set once before threads start. fd is where lines go (2 by default) unless log_open() says more.
 */
void log_setup(enum log_level level, enum log_format format, int fd);
bool log_wants(enum log_level level);

/* Text:  2026-11-23T03:37:27.123Z info session id=1 reason=done text="two words"
 *        A value is quoted when it is empty or holds anything but [A-Za-z0-9_.:/@,+-], and is
 *        escaped as by str_escape().
 * JSON:  {"time":"...","level":"info","event":"session","id":1,"reason":"done"}
 *        Pure ASCII: any other byte is \u00XX, so a line is valid whatever the peer sent.
 * Keys and events are words of the program's own and are not escaped. errno is kept. */

/* Begins a line: time, level, event ("session", "listening", ...). */
void log_begin(struct log_line *line, enum log_level level, const char *event);
/* A NULL text leaves the key out. */
void log_text(struct log_line *line, const char *key, const char *value);
void log_number(struct log_line *line, const char *key, int64_t value);
/* Microseconds shown as milliseconds with three decimals: 1234 -> 1.234. */
void log_ms(struct log_line *line, const char *key, int64_t microseconds);
void log_flag(struct log_line *line, const char *key, bool value);
/* Hands it over. A line that did not fit is cut at a whole field and says truncated=true. Does not
 * block: with a writer (log_start()) it is queued, 1 MiB of lines at most, without one it is
 * written if the descriptor takes it at once. Else it is dropped, and when lines get through again
 * one says how many were ("log_dropped"). */
void log_end(struct log_line *line);

/* ---- where to ---- */

/* "stderr", "file:/PATH", "syslog" (/dev/log), "syslog:/PATH". False: none of these, and why. */
bool log_is_place(const char *to, struct error *err) WARN_UNUSED;
/* Before threads start, after log_setup(). A file is made with mode 0640 and appended to. */
bool log_open(const char *to, struct error *err) WARN_UNUSED;
/* Main thread: a file is opened anew by its path, for it may have been rotated; nothing for others.
 * False: it could not be, and the old one goes on. */
bool log_reopen(struct error *err) WARN_UNUSED;
/* Main thread, before threads start: the file becomes that user's and group's, who will rotate. */
void log_give(unsigned uid, unsigned gid);
/* Main thread: from here on lines are written by a thread of their own. */
bool log_start(struct error *err) WARN_UNUSED;
/* Main thread, when nobody else logs any more: waits so long at most until all is written. */
void log_stop(int64_t wait_ms);

/* Lines that were dropped since the start. Any thread. */
uint64_t log_lines_dropped(void);

/* begin, text "message", end. */
void log_message(enum log_level level, const char *event, const char *format, ...)
    PRINTF_LIKE(3, 4);

#endif
