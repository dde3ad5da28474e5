#include <esclusa/clock.h>
#include <esclusa/str.h>

#include <time.h>

/* clock_gettime(2) cannot fail for these two clocks with a good pointer. */
static struct timespec now(clockid_t which)
{
    struct timespec t = {0, 0};
    clock_gettime(which, &t);
    return t;
}

int64_t clock_ms(void)
{
    struct timespec t = now(CLOCK_MONOTONIC);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_us(void)
{
    struct timespec t = now(CLOCK_MONOTONIC);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
    struct timespec t = now(CLOCK_REALTIME);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void clock_wall(char *dst, size_t size)
{
    struct timespec t = now(CLOCK_REALTIME);
    struct tm utc = {0};
    size_t length = 0;

    gmtime_r(&t.tv_sec, &utc);
    if (size == 0)
        return;
    dst[0] = '\0';
    str_append(dst, size, &length, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", utc.tm_year + 1900,
               utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
               t.tv_nsec / 1000000);
}
