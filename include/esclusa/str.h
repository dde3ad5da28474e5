/* str: bounded strings, escaping of text that a peer controls, numbers and durations with units.
 * Pure functions; any thread; nothing blocks. Sizes are bytes and include the terminator. */
#ifndef ESCLUSA_STR_H
#define ESCLUSA_STR_H

#include <esclusa/error.h>

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* Copies with truncation; dst is always terminated (size > 0). False when it was cut. */
bool str_copy(char *dst, size_t size, const char *src);

/* Appends formatted text at *len (dst[*len] is the terminator); stops at size-1. False when cut. */
bool str_append(char *dst, size_t size, size_t *len, const char *format, ...) PRINTF_LIKE(4, 5);

/* Writes src so that a log line stays one line and no terminal is driven by it: printable ASCII
 * but backslash and double quote as it is, all else as \xNN. Terminated; cut at a whole escape. */
void str_escape(char *dst, size_t size, const void *src, size_t len);

bool str_equal(const char *a, const char *b); /* NULL equals only NULL */
char *str_dup(const char *src);               /* NULL for NULL or no memory; caller frees */

/* Whole text must be a decimal number in [min, max]. */
bool str_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value_r) WARN_UNUSED;

/* "500ms", "5s", "10m", "1h", "2d": to milliseconds. The unit must be given ("0" may stand alone);
 * no sign, no fraction, no overflow. */
bool str_parse_duration(const char *text, int64_t *ms_r) WARN_UNUSED;

/* The shortest exact form of the same: 90000 -> "90s", 3600000 -> "1h". */
void str_format_duration(char *dst, size_t size, int64_t ms);

/* Edit distance (Levenshtein) of two short words, for "did you mean". */
size_t str_distance(const char *a, const char *b);

#endif
