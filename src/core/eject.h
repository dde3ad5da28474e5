/* eject: an upstream that failed so many times in a row is passed over for a while, longer each
 * time; then one dial tries it, and the others wait for what comes of that. Private to core.
 *
 * Owner: stats_upstream. Any thread; what changes is behind a mutex, what is asked for each dial
 * is not. Times are of the loop_now() scale, milliseconds. */
#ifndef ESCLUSA_CORE_EJECT_H
#define ESCLUSA_CORE_EJECT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum eject_state {
    EJECT_IN,
    EJECT_OUT,
    EJECT_DUE /* its time is over: to be tried by one */
};

struct eject_rules {
    int64_t after;            /* failures in a row; 0: never */
    int64_t least_ms, max_ms; /* the first time, and whatever comes; give or take a fifth */
};

struct eject {
    pthread_mutex_t mutex;
    atomic_uint missed;                   /* in a row */
    atomic_int_fast64_t since_ms, due_ms; /* due_ms 0: it is in */
    atomic_bool trying;
    atomic_uint_fast64_t times; /* ejected since the start */
    unsigned round;             /* times in a row: the exponent */
    int64_t back_ms, last_ms;   /* when it came back, and how long it had been out */
    uint64_t random;
};

void eject_init(struct eject *e, uint64_t seed);
void eject_fini(struct eject *e);

enum eject_state eject_state(const struct eject *e, int64_t now_ms);
/* Whether a dial may go there now. If it is due the caller is the one who tries, *trying_r, and
 * must end that by one of the three below. */
bool eject_may_try(struct eject *e, int64_t now_ms, bool *trying_r);

/* It answered, whatever it said / it failed / nothing was learnt. began_ms: when the dial turned to
 * it; what began before it was ejected or came back tells nothing new. trying: as told above. */
/* True: it is back in. */
bool eject_answered(struct eject *e, int64_t began_ms, int64_t now_ms, bool trying);
/* > 0: it is ejected by this, for so long. */
int64_t eject_missed(struct eject *e, const struct eject_rules *rules, int64_t began_ms,
                     int64_t now_ms, bool trying);
void eject_undecided(struct eject *e, bool trying);

#endif
