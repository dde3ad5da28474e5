#include <esclusa/text.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 1024

/* Room for so many bytes more and the terminator. */
static bool reserve(struct text *t, size_t more)
{
    if (t->failed)
        return false;
    size_t need = t->length + more + 1;
    if (need <= t->capacity)
        return true;
    size_t capacity = t->capacity > 0 ? t->capacity : FIRST_CAPACITY;
    while (capacity < need)
        capacity *= 2;
    char *data = realloc(t->data, capacity);
    if (data == NULL) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->capacity = capacity;
    return true;
}

void text_put(struct text *t, const char *bytes, size_t length)
{
    if (!reserve(t, length))
        return;
    memcpy(t->data + t->length, bytes, length);
    t->length += length;
    t->data[t->length] = '\0';
}

void text_add(struct text *t, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length >= 0 && reserve(t, (size_t)length)) {
        (void)vsnprintf(t->data + t->length, (size_t)length + 1, format, again);
        t->length += (size_t)length;
    }
    va_end(again);
}

void text_fini(struct text *t)
{
    free(t->data);
    memset(t, 0, sizeof *t);
}
