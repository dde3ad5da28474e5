/* Private to base: what the parts of the log share. log.c makes lines, log_queue.c takes them to a
 * thread of their own, log_sink.c writes them. */
#ifndef ESCLUSA_BASE_LOG_INTERNAL_H
#define ESCLUSA_BASE_LOG_INTERNAL_H

#include <esclusa/log.h>

/* ---- log.c ---- */

/* A line about lines: how many were dropped. */
void log_dropped_line(struct log_line *line, uint64_t lines);

/* ---- log_queue.c ---- */

/* A whole line, newline included. It is queued, or written at once while there is no writer. */
void log_queue_put(const struct log_line *line, enum log_level level);
/* Before threads start: what was dropped until now is told to nobody. */
void log_queue_begin(void);

/* ---- log_sink.c: one caller at a time ---- */

/* What the caller has is for a syslog server, that stamps the time itself. */
bool log_sink_is_syslog(void);
void log_sink_set(int fd);
/* Writes one line. wait: for as long as it takes; else what cannot be taken at once is not written.
 * False: it was not. */
bool log_sink_write(const char *text, size_t length, enum log_level level, bool wait);
/* Lines may be written many at a time, for nobody else writes between them. */
bool log_sink_is_file(void);

#endif
