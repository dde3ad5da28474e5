/* event, inside: the loop's parts, shared by loop.c and timer.c. */
#ifndef ESCLUSA_SRC_EVENT_INTERNAL_H
#define ESCLUSA_SRC_EVENT_INTERNAL_H

#include <esclusa/event.h>

#include <pthread.h>
#include <sys/epoll.h>

#define LOOP_BATCH 256

/* A binary min-heap on at_ms. Timers found due are taken out of it, into a list, before the first
 * of them is called: one set for the past by a callback then waits in the heap for the next turn,
 * and cannot keep the others from their turn. */
struct timer_heap {
    struct timer **timers;
    size_t count;
    size_t capacity;  /* >= count + due_count: a set timer can always be moved */
    struct timer due; /* only the links: head of a ring */
    size_t due_count;
};

void timer_heap_init(struct timer_heap *heap);
void timer_heap_fini(struct timer_heap *heap);
bool timer_heap_set(struct timer_heap *heap, struct timer *t, int64_t at_ms) WARN_UNUSED;
void timer_heap_clear(struct timer_heap *heap, struct timer *t);
/* When the nearest one is due; CLOCK_NEVER: none is set. */
int64_t timer_heap_next(const struct timer_heap *heap);
/* Calls those due at now_ms, earliest first. */
void timer_heap_run(struct timer_heap *heap, int64_t now_ms);

struct loop {
    int epoll_fd;
    int wake_fd; /* eventfd(2) of the mailbox; data.ptr is NULL for it */
    bool stopping;
    uint64_t turn; /* number of the current turn, or of the last one between turns */
    int64_t now_ms;
    struct timer_heap timers;
    struct loop_io pended; /* only the links: head of a ring, oldest first */
    struct loop_deferred *deferred, *deferred_last;
    struct epoll_event events[LOOP_BATCH];

    pthread_mutex_t mail_mutex; /* guards the two below */
    struct loop_message *mail, *mail_last;
};

#endif
