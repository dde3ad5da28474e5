#include "metrics_text.h"

#include "model.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_MAX 512 /* of a value; longer ones are cut */

static size_t name_length(const char *p, const char *end)
{
    const char *from = p;
    while (p < end && (isalpha((unsigned char)*p) || *p == '_' || *p == ':' ||
                       (p > from && isdigit((unsigned char)*p))))
        p++;
    return (size_t)(p - from);
}

/* Behind the closing quote; p is behind the opening one. NULL: it is not closed. */
static const char *skip_quoted(const char *p, const char *end)
{
    while (p < end && *p != '"')
        p += *p == '\\' && end - p > 1 ? 2 : 1;
    return p < end ? p + 1 : NULL;
}

/* One name="value"; behind it. NULL: it is none. */
static const char *skip_label(const char *p, const char *end)
{
    p += name_length(p, end);
    if (end - p < 2 || p[0] != '=' || p[1] != '"')
        return NULL;
    return skip_quoted(p + 2, end);
}

/* The closing brace; NULL: they are no labels. */
static const char *skip_labels(const char *p, const char *end)
{
    while (p != NULL && p < end && *p != '}') {
        p = skip_label(p, end);
        if (p != NULL && p < end && *p == ',')
            p++;
        else if (p != NULL && (p == end || *p != '}'))
            return NULL;
    }
    return p != NULL && p < end ? p : NULL;
}

/* A number to the end of the line. A time behind it, which the format permits, is not looked at. */
static bool read_value(const char *p, const char *end, double *value_r)
{
    char copy[64];
    size_t length = 0;
    while (p < end && *p == ' ')
        p++;
    while (p < end && *p != ' ' && *p != '\r' && length < sizeof copy - 1)
        copy[length++] = *p++;
    copy[length] = '\0';
    /* strtod(3) takes more than the format has: hexadecimal, "nan(...)". */
    if (length == 0 || copy[strspn(copy, "0123456789+-.eEInfNa")] != '\0')
        return false;
    char *behind = NULL;
    *value_r = strtod(copy, &behind);
    return *behind == '\0' && (p == end || *p == ' ' || *p == '\r');
}

static bool read_sample(const char *p, const char *end, struct metric_sample *s)
{
    memset(s, 0, sizeof *s);
    s->name = p;
    s->name_length = name_length(p, end);
    p += s->name_length;
    s->labels = p;
    if (s->name_length == 0)
        return false;
    if (p < end && *p == '{') {
        s->labels = p + 1;
        p = skip_labels(p + 1, end);
        if (p == NULL)
            return false;
        s->labels_length = (size_t)(p - s->labels);
        p++;
    }
    return p < end && *p == ' ' && read_value(p, end, &s->value);
}

bool metrics_next(const char **at, struct metric_sample *sample)
{
    while (**at != '\0') {
        const char *line = *at;
        const char *end = line + strcspn(line, "\n");
        *at = *end == '\n' ? end + 1 : end;
        if (read_sample(line, end, sample))
            return true;
    }
    return false;
}

bool metrics_is(const struct metric_sample *sample, const char *name)
{
    return strlen(name) == sample->name_length &&
           memcmp(name, sample->name, sample->name_length) == 0;
}

/* The format's escapes: a backslash before a backslash, a quote, or n. */
static void take_value(const char *p, const char *end, char *dst, size_t size)
{
    char raw[LABEL_MAX];
    size_t length = 0;
    for (; p < end && length < sizeof raw; p++) {
        const bool escaped = *p == '\\' && end - p > 1;
        if (escaped)
            p++;
        raw[length++] = *p;
        if (escaped && *p == 'n')
            raw[length - 1] = '\n';
    }
    view_clean(dst, size, raw, length);
}

bool metrics_label(const struct metric_sample *sample, const char *name, char *dst, size_t size)
{
    const char *p = sample->labels, *end = p + sample->labels_length;
    dst[0] = '\0';
    while (p != NULL && p < end) {
        const size_t length = name_length(p, end);
        const char *value = p + length + 2; /* it was looked at: skip_labels */
        const bool wanted = length == strlen(name) && memcmp(p, name, length) == 0;
        p = skip_label(p, end);
        if (p != NULL && wanted) {
            take_value(value, p - 1, dst, size);
            return true;
        }
        if (p != NULL && p < end)
            p++; /* the comma */
    }
    return false;
}
