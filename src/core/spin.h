/* spin: notices a session that is woken again and again and gets nowhere, so that a mistake of ours
 * or of a library costs one session and not a CPU. Private to core; one thread. */
#ifndef ESCLUSA_CORE_SPIN_H
#define ESCLUSA_CORE_SPIN_H

#include <stdbool.h>
#include <stdint.h>

/* A peer may send a record of 16 KiB and its envelope (RFC 8446 5.2) a byte at a time, and each
 * wakes without a byte to relay: four times that is no peer's doing any more, and some tenths of a
 * second of a loop that spins. */
#define SPIN_LIMIT 65536

struct spin {
    uint32_t wakes; /* in a row, without progress */
};

/* A session was woken, and made progress or not. True: it spins. */
static inline bool spin_woken(struct spin *s, bool progress)
{
    s->wakes = progress ? 0 : s->wakes + 1;
    return s->wakes >= SPIN_LIMIT;
}

#endif
