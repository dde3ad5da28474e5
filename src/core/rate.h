/* rate: so many a second, of which a second's worth may come at once; or once an interval. Private
 * to core; any thread, without a lock.
 *
 * The first is the leaky bucket as a meter (ITU-T I.371, the generic cell rate algorithm): one word
 * that says when the next is due were they evenly spaced. */
#ifndef ESCLUSA_CORE_RATE_H
#define ESCLUSA_CORE_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RATE_SECOND_US INT64_C(1000000)

/* One more, at `rate` > 0 a second. False: too soon by *wait_us_r. */
static inline bool rate_take(atomic_int_fast64_t *due_us, int64_t rate, int64_t now_us,
                             int64_t *wait_us_r)
{
    const int64_t each_us = RATE_SECOND_US / rate;
    int_fast64_t due = atomic_load(due_us);
    int64_t next;
    do {
        const int64_t from = due > now_us ? due : now_us;
        next = from + each_us;
        if (next - now_us > RATE_SECOND_US) {
            *wait_us_r = next - now_us - RATE_SECOND_US;
            return false;
        }
    } while (!atomic_compare_exchange_weak(due_us, &due, next));
    return true;
}

/* What was taken last has not been used. */
static inline void rate_refund(atomic_int_fast64_t *due_us, int64_t rate)
{
    atomic_fetch_sub(due_us, RATE_SECOND_US / rate);
}

/* At most one caller an interval is told true; *last_ms: when it last was, 0: never. */
static inline bool rate_once(atomic_int_fast64_t *last_ms, int64_t every_ms, int64_t now_ms)
{
    int_fast64_t last = atomic_load(last_ms);
    return (last == 0 || now_ms - last >= every_ms) &&
           atomic_compare_exchange_strong(last_ms, &last, now_ms);
}

#endif
