/* error: the one cold-path error object. The caller owns the storage; a function that can fail
 * takes it last and returns false. The first, most specific reason wins: setting an error that
 * is already set keeps the first text. Hot paths use a closed enum instead (see transport.h).
 * Threads: an object belongs to one thread at a time. Nothing here blocks or allocates. */
#ifndef ESCLUSA_ERROR_H
#define ESCLUSA_ERROR_H

#include <stdbool.h>

#define ERROR_TEXT_MAX 1024

struct error {
    bool set;
    char text[ERROR_TEXT_MAX]; /* one line, no newline, always terminated */
};

#define WARN_UNUSED            __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

void error_init(struct error *err);

/* Sets the text unless one is set already. Always returns false: `return error_set(err, ...)`.
 * err may be NULL: the reason is then dropped. */
bool error_set(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* The same, with ": " and the text of sys_errno behind it. */
bool error_set_errno(struct error *err, int sys_errno, const char *format, ...) PRINTF_LIKE(3, 4);

/* Puts "prefix: " before the text that is set; nothing when none is. */
void error_prefix(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Forgets the reason. */
void error_clear(struct error *err);

#endif
