/* random: numbers for spreading load and times. Not for secrets: OpenSSL's are.
 *
 * SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): any
 * state will do, 0 included. The state is the caller's, on one thread. */
#ifndef ESCLUSA_RANDOM_H
#define ESCLUSA_RANDOM_H

#include <stdint.h>

/* One to one, and every bit of the result depends on every bit of x. */
static inline uint64_t random_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t random_next(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return random_mix(*state);
}

#endif
