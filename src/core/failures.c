#include "failures.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 4

struct failure_place {
    atomic_flag held;
    struct failure_note note;
};

struct failures {
    atomic_uint_fast64_t next; /* places taken so far */
    atomic_uint_fast64_t total, dropped;
    struct failure_place places[FAILURES_KEPT];
};

struct failures *failures_create(void)
{
    return calloc(1, sizeof(struct failures)); /* a clear flag is all zero with gcc and clang */
}

void failures_destroy(struct failures **f)
{
    free(*f);
    *f = NULL;
}

void failures_add(struct failures *f, void (*fill)(struct failure_note *note, const void *what),
                  const void *what)
{
    if (f == NULL)
        return;
    atomic_fetch_add_explicit(&f->total, 1, memory_order_relaxed);
    for (int i = 0; i < TRIES; i++) {
        uint64_t sequence = atomic_fetch_add_explicit(&f->next, 1, memory_order_relaxed) + 1;
        struct failure_place *p = &f->places[sequence % FAILURES_KEPT];
        if (atomic_flag_test_and_set_explicit(&p->held, memory_order_acquire))
            continue;
        memset(&p->note, 0, sizeof p->note);
        fill(&p->note, what);
        p->note.sequence = sequence;
        atomic_flag_clear_explicit(&p->held, memory_order_release);
        return;
    }
    atomic_fetch_add_explicit(&f->dropped, 1, memory_order_relaxed);
}

static int newest_first(const void *a, const void *b)
{
    uint64_t first = ((const struct failure_note *)a)->sequence;
    uint64_t second = ((const struct failure_note *)b)->sequence;
    return first < second ? 1 : first > second ? -1 : 0;
}

size_t failures_list(struct failures *f, struct failure_note *notes_r)
{
    size_t count = 0;
    for (size_t i = 0; f != NULL && i < FAILURES_KEPT; i++) {
        struct failure_place *p = &f->places[i];
        while (atomic_flag_test_and_set_explicit(&p->held, memory_order_acquire))
            sched_yield();
        if (p->note.sequence != 0)
            notes_r[count++] = p->note;
        atomic_flag_clear_explicit(&p->held, memory_order_release);
    }
    if (count > 1)
        qsort(notes_r, count, sizeof *notes_r, newest_first);
    return count;
}

uint64_t failures_total(const struct failures *f)
{
    return f == NULL ? 0 : atomic_load(&f->total);
}

uint64_t failures_dropped(const struct failures *f)
{
    return f == NULL ? 0 : atomic_load(&f->dropped);
}
