/* bench: what the load generator and the upstream agree on.
 *
 * A consumer's first nine bytes say what it wants: a letter, then a size, little-endian.
 *   'E' echo until the end (size unused)
 *   'S' sink: size bytes come, then one byte 'k' goes back
 *   'G' give: size bytes go back */
#ifndef ESCLUSA_BENCH_H
#define ESCLUSA_BENCH_H

#include <stdint.h>

#define BENCH_HEAD 9

static inline void bench_head(uint8_t head[BENCH_HEAD], char what, uint64_t size)
{
    head[0] = (uint8_t)what;
    for (int i = 0; i < 8; i++)
        head[1 + i] = (uint8_t)(size >> (8 * i));
}

static inline uint64_t bench_size(const uint8_t head[BENCH_HEAD])
{
    uint64_t size = 0;
    for (int i = 0; i < 8; i++)
        size |= (uint64_t)head[1 + i] << (8 * i);
    return size;
}

#endif
