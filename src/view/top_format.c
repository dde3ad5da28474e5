#include "top_format.h"

#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DAY_S  INT64_C(86400)
#define SOON_S (14 * DAY_S)
#define NOW_S  (3 * DAY_S)

void format_number(char dst[FORMAT_MAX], double value)
{
    static const char units[] = " kMGTPE";
    size_t unit = 0;
    if (!(value >= 0)) {
        (void)snprintf(dst, FORMAT_MAX, "-");
        return;
    }
    const double whole = value;
    while (value >= 999.5 && unit < sizeof units - 2) {
        value /= 1000;
        unit++;
    }
    if (whole <= 0)
        (void)snprintf(dst, FORMAT_MAX, "0");
    else if (unit == 0 && value < 0.995)
        (void)snprintf(dst, FORMAT_MAX, "%.2f", value);
    else if (value < 9.95)
        (void)snprintf(dst, FORMAT_MAX, "%.1f", value);
    else
        (void)snprintf(dst, FORMAT_MAX, "%.0f", value);
    const size_t length = strlen(dst);
    if (unit > 0)
        (void)snprintf(dst + length, FORMAT_MAX - length, "%c", units[unit]);
}

void format_count(char dst[FORMAT_MAX], double value)
{
    if (value >= 0 && value < 999.5)
        (void)snprintf(dst, FORMAT_MAX, "%.0f", value);
    else
        format_number(dst, value);
}

void format_ms(char dst[FORMAT_MAX], struct quantile q)
{
    const double ms = q.value * 1000;
    const int digits = ms < 9.95 ? 2 : ms < 99.5 ? 1 : 0;
    if (!(q.value >= 0))
        (void)snprintf(dst, FORMAT_MAX, "-");
    else
        (void)snprintf(dst, FORMAT_MAX, "%s%.*f", q.beyond ? ">" : "", q.beyond ? 0 : digits, ms);
}

void format_span(char dst[FORMAT_MAX], double seconds)
{
    const int64_t s =
        seconds > 0 ? (seconds < 1e15 ? (int64_t)seconds : INT64_C(1000000000000000)) : 0;
    if (s < 60)
        (void)snprintf(dst, FORMAT_MAX, "%" PRId64 "s", s);
    else if (s < 3600)
        (void)snprintf(dst, FORMAT_MAX, "%" PRId64 "m %02" PRId64 "s", s / 60, s % 60);
    else if (s < DAY_S)
        (void)snprintf(dst, FORMAT_MAX, "%" PRId64 "h %02" PRId64 "m", s / 3600, s % 3600 / 60);
    else
        (void)snprintf(dst, FORMAT_MAX, "%" PRId64 "d %" PRId64 "h", s / DAY_S, s % DAY_S / 3600);
}

enum tone format_left(char dst[FORMAT_MAX], int64_t end_s, double now_s)
{
    char span[FORMAT_MAX];
    if (end_s == NUMBER_NONE) {
        (void)snprintf(dst, FORMAT_MAX, "-");
        return TONE_PLAIN;
    }
    const double left = (double)end_s - now_s;
    format_span(span, left > 0 ? left : -left);
    if (left <= 0) {
        (void)snprintf(dst, FORMAT_MAX, "EXPIRED %.20s", span);
        return TONE_BAD;
    }
    const bool now = left < (double)NOW_S, soon = left < (double)SOON_S;
    (void)snprintf(dst, FORMAT_MAX, "%.20s%s", span, now ? " !!" : soon ? " !" : "");
    return now ? TONE_BAD : soon ? TONE_WARN : TONE_PLAIN;
}
