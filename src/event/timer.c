#include "event_internal.h"

#include <esclusa/clock.h>

#include <stdlib.h>

#define SLOT_DUE SIZE_MAX

void timer_heap_init(struct timer_heap *heap)
{
    *heap = (struct timer_heap){0};
    heap->due.due_next = &heap->due;
    heap->due.due_previous = &heap->due;
}

void timer_heap_fini(struct timer_heap *heap)
{
    free((void *)heap->timers);
    *heap = (struct timer_heap){0};
}

static void place(struct timer_heap *heap, size_t index, struct timer *t)
{
    heap->timers[index] = t;
    t->slot = index + 1;
}

static void sift_up(struct timer_heap *heap, size_t index, struct timer *t)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (heap->timers[parent]->at_ms <= t->at_ms) {
            break;
        }
        place(heap, index, heap->timers[parent]);
        index = parent;
    }
    place(heap, index, t);
}

static void sift_down(struct timer_heap *heap, size_t index, struct timer *t)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count &&
            heap->timers[child + 1]->at_ms < heap->timers[child]->at_ms) {
            child++;
        }
        if (t->at_ms <= heap->timers[child]->at_ms) {
            break;
        }
        place(heap, index, heap->timers[child]);
        index = child;
    }
    place(heap, index, t);
}

/* Puts t where its at_ms belongs, starting from a free place. */
static void settle(struct timer_heap *heap, size_t index, struct timer *t)
{
    if (index > 0 && t->at_ms < heap->timers[(index - 1) / 2]->at_ms) {
        sift_up(heap, index, t);
    } else {
        sift_down(heap, index, t);
    }
}

static void take_from_heap(struct timer_heap *heap, struct timer *t)
{
    size_t index = t->slot - 1;
    struct timer *last = heap->timers[--heap->count];
    if (last != t) {
        settle(heap, index, last);
    }
    t->slot = 0;
}

static void take_from_due(struct timer_heap *heap, struct timer *t)
{
    t->due_next->due_previous = t->due_previous;
    t->due_previous->due_next = t->due_next;
    heap->due_count--;
    t->slot = 0;
}

static bool grow(struct timer_heap *heap)
{
    if (heap->count + heap->due_count < heap->capacity) {
        return true;
    }
    if (heap->capacity > SIZE_MAX / 2 / sizeof(struct timer *)) {
        return false;
    }
    size_t capacity = heap->capacity == 0 ? 64 : heap->capacity * 2;
    struct timer **timers =
        (struct timer **)realloc((void *)heap->timers, capacity * sizeof(struct timer *));
    if (timers == NULL) {
        return false;
    }
    heap->timers = timers;
    heap->capacity = capacity;
    return true;
}

bool timer_heap_set(struct timer_heap *heap, struct timer *t, int64_t at_ms)
{
    if (t->slot != 0 && t->slot != SLOT_DUE) {
        t->at_ms = at_ms;
        settle(heap, t->slot - 1, t);
        return true;
    }
    if (t->slot == SLOT_DUE) {
        take_from_due(heap, t); /* leaves room for itself */
    } else if (!grow(heap)) {
        return false;
    }
    t->at_ms = at_ms;
    sift_up(heap, heap->count++, t);
    return true;
}

void timer_heap_clear(struct timer_heap *heap, struct timer *t)
{
    if (t->slot == SLOT_DUE) {
        take_from_due(heap, t);
    } else if (t->slot != 0) {
        take_from_heap(heap, t);
    }
}

int64_t timer_heap_next(const struct timer_heap *heap)
{
    return heap->count == 0 ? CLOCK_NEVER : heap->timers[0]->at_ms;
}

void timer_heap_run(struct timer_heap *heap, int64_t now_ms)
{
    while (heap->count > 0 && heap->timers[0]->at_ms <= now_ms) {
        struct timer *t = heap->timers[0];
        take_from_heap(heap, t);
        t->slot = SLOT_DUE;
        t->due_next = &heap->due;
        t->due_previous = heap->due.due_previous;
        t->due_previous->due_next = t;
        heap->due.due_previous = t;
        heap->due_count++;
    }
    while (heap->due.due_next != &heap->due) {
        struct timer *t = heap->due.due_next;
        take_from_due(heap, t);
        t->callback(t->context);
    }
}

void timer_init(struct timer *t, void (*callback)(void *context), void *context)
{
    *t = (struct timer){.callback = callback, .context = context};
}

bool timer_set(struct loop *loop, struct timer *t, int64_t at_ms)
{
    return timer_heap_set(&loop->timers, t, at_ms);
}

void timer_clear(struct loop *loop, struct timer *t)
{
    timer_heap_clear(&loop->timers, t);
}
