#include <esclusa/error.h>
#include <esclusa/str.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void error_init(struct error *err)
{
    error_clear(err);
}

void error_clear(struct error *err)
{
    err->set = false;
    err->text[0] = '\0';
}

/* The text is promised to be one line. It may quote a file or a command line, so a control
 * character in it becomes a space; those at the end are dropped. */
static void make_one_line(char *text)
{
    size_t last = 0;
    for (size_t i = 0; text[i] != '\0'; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f)
            text[i] = ' ';
        if (text[i] != ' ')
            last = i + 1;
    }
    text[last] = '\0';
}

static size_t print(char *dst, size_t size, const char *format, va_list args) PRINTF_LIKE(3, 0);
static size_t print(char *dst, size_t size, const char *format, va_list args)
{
    if (vsnprintf(dst, size, format, args) < 0)
        str_copy(dst, size, format);
    return strlen(dst);
}

bool error_set(struct error *err, const char *format, ...)
{
    if (err == NULL || err->set)
        return false;
    va_list args;
    va_start(args, format);
    print(err->text, sizeof(err->text), format, args);
    va_end(args);
    err->set = true;
    make_one_line(err->text);
    return false;
}

bool error_set_errno(struct error *err, int sys_errno, const char *format, ...)
{
    if (err == NULL || err->set)
        return false;
    va_list args;
    va_start(args, format);
    size_t length = print(err->text, sizeof(err->text), format, args);
    va_end(args);
    char storage[128];
    str_append(err->text, sizeof(err->text), &length, ": %s",
               strerror_r(sys_errno, storage, sizeof(storage)));
    err->set = true;
    make_one_line(err->text);
    return false;
}

void error_prefix(struct error *err, const char *format, ...)
{
    if (err == NULL || !err->set)
        return;
    char whole[ERROR_TEXT_MAX]; /* apart from err->text, which may be one of the arguments */
    va_list args;
    va_start(args, format);
    size_t length = print(whole, sizeof(whole), format, args);
    va_end(args);
    str_append(whole, sizeof(whole), &length, ": %s", err->text);
    str_copy(err->text, sizeof(err->text), whole);
    make_one_line(err->text);
}
