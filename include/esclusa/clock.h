/* clock: monotonic time for deadlines, wall time for log lines. Any thread; nothing blocks. */
#ifndef ESCLUSA_CLOCK_H
#define ESCLUSA_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define CLOCK_NEVER INT64_MAX

int64_t clock_ms(void); /* CLOCK_MONOTONIC, milliseconds */
int64_t clock_us(void); /* CLOCK_MONOTONIC, microseconds */

int64_t clock_wall_us(void); /* CLOCK_REALTIME, microseconds since the epoch */

/* "2026-11-23T03:37:27.123Z" (RFC 3339, UTC); size >= CLOCK_WALL_MAX. */
#define CLOCK_WALL_MAX 32
void clock_wall(char *dst, size_t size);

#endif
