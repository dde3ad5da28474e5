/* spin: notices who is woken again and again and gets nowhere, so that a mistake of ours or of a
 * library costs one session and not a CPU. Private to core; one thread. */
#ifndef ESCLUSA_CORE_SPIN_H
#define ESCLUSA_CORE_SPIN_H

#include <stdbool.h>
#include <stdint.h>

/* Some hundredths of a second of a loop that spins. No peer can do it: what it sends is taken when
 * it wakes, byte by byte if it comes so. */
#define SPIN_LIMIT 10000

#define SPIN_REMEDY "please report this, with the versions of esclusa and OpenSSL"

struct spin {
    uint64_t moved; /* when it was last woken */
    uint32_t wakes; /* in a row, without progress */
    bool put_off;
};

/* It is woken. moved: a number that changes with all that it gets done. True: it spins. */
static inline bool spin_woken(struct spin *s, uint64_t moved)
{
    if (moved != s->moved)
        s->wakes = 0;
    else if (!s->put_off)
        s->wakes++;
    s->moved = moved;
    s->put_off = false;
    return s->wakes >= SPIN_LIMIT;
}

/* What woke it is left for another turn, on purpose. */
static inline void spin_put_off(struct spin *s)
{
    s->put_off = true;
}

#endif
