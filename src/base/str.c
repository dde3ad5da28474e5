#include <esclusa/str.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool str_copy(char *dst, size_t size, const char *src)
{
    size_t length = strnlen(src, size);
    bool whole = length < size;
    if (!whole)
        length = size - 1;
    memcpy(dst, src, length);
    dst[length] = '\0';
    return whole;
}

bool str_append(char *dst, size_t size, size_t *len, const char *format, ...)
{
    if (*len >= size)
        return false;
    size_t room = size - *len;
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(dst + *len, room, format, args);
    va_end(args);
    if (wrote < 0) {
        dst[*len] = '\0';
        return false;
    }
    if ((size_t)wrote >= room) {
        *len = size - 1;
        return false;
    }
    *len += (size_t)wrote;
    return true;
}

void str_escape(char *dst, size_t size, const void *src, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *bytes = src;
    size_t at = 0;

    if (size == 0)
        return;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = bytes[i];
        bool plain = c >= 0x20 && c < 0x7f && c != '\\' && c != '"';
        if (size - at <= (plain ? 1U : 4U))
            break;
        if (plain) {
            dst[at++] = (char)c;
        } else {
            dst[at++] = '\\';
            dst[at++] = 'x';
            dst[at++] = hex[c >> 4];
            dst[at++] = hex[c & 0x0f];
        }
    }
    dst[at] = '\0';
}

bool str_equal(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return strcmp(a, b) == 0;
}

char *str_dup(const char *src)
{
    return src == NULL ? NULL : strdup(src);
}

/* Reads digits, at least one. strtoull(3) is not used: it takes white space and signs. */
static bool read_digits(const char **cursor, uint64_t *value_r)
{
    const char *p = *cursor;
    uint64_t value = 0;

    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *cursor = p;
    *value_r = value;
    return true;
}

bool str_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value_r)
{
    uint64_t value;
    if (text == NULL || !read_digits(&text, &value) || *text != '\0')
        return false;
    if (value < min || value > max)
        return false;
    *value_r = value;
    return true;
}

/* Largest first: str_format_duration takes the first that divides. */
static const struct unit {
    const char *name;
    int64_t ms;
} units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
#define UNITS (sizeof(units) / sizeof(units[0]))

bool str_parse_duration(const char *text, int64_t *ms_r)
{
    uint64_t value;
    if (text == NULL || !read_digits(&text, &value))
        return false;
    if (*text == '\0' && value == 0) {
        *ms_r = 0;
        return true;
    }
    for (size_t i = 0; i < UNITS; i++) {
        if (strcmp(text, units[i].name) != 0)
            continue;
        if (value > (uint64_t)(INT64_MAX / units[i].ms))
            return false;
        *ms_r = (int64_t)value * units[i].ms;
        return true;
    }
    return false;
}

void str_format_duration(char *dst, size_t size, int64_t ms)
{
    size_t length = 0;
    if (size == 0)
        return;
    dst[0] = '\0';
    if (ms == 0) {
        str_append(dst, size, &length, "0");
        return;
    }
    for (size_t i = 0; i < UNITS; i++) {
        if (ms % units[i].ms == 0) {
            str_append(dst, size, &length, "%" PRId64 "%s", ms / units[i].ms, units[i].name);
            return;
        }
    }
}

#define DISTANCE_WORD_MAX 64

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

size_t str_distance(const char *a, const char *b)
{
    size_t a_length = strlen(a);
    size_t b_length = strlen(b);
    /* No option is that long: far from everything, and the work stays bounded. */
    if (a_length > DISTANCE_WORD_MAX || b_length > DISTANCE_WORD_MAX)
        return a_length > b_length ? a_length : b_length;

    size_t row[DISTANCE_WORD_MAX + 1]; /* distances of a[0..i] to each b[0..j] */
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t above = row[j];
            size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + change);
            diagonal = above;
        }
    }
    return row[b_length];
}
