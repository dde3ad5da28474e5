/* event: one epoll loop (epoll(7)), its timers, its mailbox. Level-triggered.
 *
 * Owner: everything but loop_post() is called by the thread that runs the loop (or before it
 * starts). Callbacks run on that thread, never inside loop_io_*(), timer_*() or loop_post().
 * Nothing blocks but loop_run() itself.
 *
 * What holds, and is tested in tests/unit/test_{event,loop,timer}.c:
 * - After loop_io_remove(io) or timer_clear(t) its callback is not called again, even if its event
 *   was already in the current batch, and a descriptor number opened again in the same batch gets
 *   no stale event. The memory of a removed io must live to the end of the batch: free it with
 *   loop_defer().
 * - A callback may add, change or remove any io or timer, its own included.
 * - EINTR is not an event. EPOLLERR and EPOLLHUP are always reported, as LOOP_HUP, to an io that is
 *   registered; LOOP_READ and LOOP_WRITE come with it when they are in the interest, so that a
 *   reader finds the error. One that must stay silent is parked with interest LOOP_NONE.
 * - A timer set in a timer callback for now or the past fires in the next turn, not the same one.
 * - Callbacks of one batch run once each; a busy descriptor waits for the next batch.
 * - A turn: wait, then descriptors and messages as the kernel lists them, then what was pended
 *   before the turn, then the timers that are due, then what is deferred. */
#ifndef ESCLUSA_EVENT_H
#define ESCLUSA_EVENT_H

#include <esclusa/error.h>

#include <stddef.h>
#include <stdint.h>

struct loop;

enum {
    LOOP_NONE = 0,  /* not registered with the kernel: no event at all */
    LOOP_READ = 1,  /* readable, or the peer has shut its writing side */
    LOOP_WRITE = 2, /* writable */
    LOOP_HUP = 4,   /* error or both sides shut; as interest: registered, these alone */
};

struct loop_io {
    /* All private to the loop; zero before the first loop_io_add(). */
    struct loop *loop; /* NULL: not added */
    int fd;
    unsigned interest;
    bool exclusive;
    bool pended; /* in the list of loop_io_pend() */
    unsigned pend_events;
    uint64_t pended_in_turn;
    uint64_t added_in_turn; /* events of that turn are stale: they are an older fd's */
    struct loop_io *pend_next, *pend_previous;
    void (*callback)(void *context, unsigned events);
    void *context;
};

struct timer {
    /* Private to the loop; zero before the first timer_set(). */
    int64_t at_ms;
    size_t slot; /* index in the heap plus one; SIZE_MAX: due in this turn; 0: not set */
    struct timer *due_next, *due_previous;
    void (*callback)(void *context);
    void *context;
};

/* Work handed to the loop's thread. The memory is the sender's until the callback runs. */
struct loop_message {
    struct loop_message *next;
    void (*callback)(struct loop_message *message);
};

/* Work put off to the end of the batch, on the same thread: where objects are freed. */
struct loop_deferred {
    struct loop_deferred *next;
    void (*callback)(struct loop_deferred *deferred);
};

/* The struct of which *pointer, a message or a deferral, is that member. */
#define LOOP_OWNER(pointer, type, member)                                                          \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct loop *loop_create(struct error *err) WARN_UNUSED;
/* Runs what is deferred, drops messages undelivered. All ios must have been removed. NULLs *loop.
 */
void loop_destroy(struct loop **loop);

/* Runs until loop_stop(). */
void loop_run(struct loop *loop);
/* One turn: waits at most max_wait_ms (-1: until something happens), runs what is due. */
void loop_turn(struct loop *loop, int max_wait_ms);
/* From a callback of this loop: loop_run() returns after this turn, which is finished first. */
void loop_stop(struct loop *loop);

/* Monotonic milliseconds as of the current batch: cheap. */
int64_t loop_now(const struct loop *loop);
/* How many turns have begun: the same all through one. */
uint64_t loop_turns(const struct loop *loop);

/* Registers fd. interest is an OR of LOOP_*. The fd stays the caller's and is not closed. An io
 * that is added already is an error. */
bool loop_io_add(struct loop *loop, struct loop_io *io, int fd, unsigned interest,
                 void (*callback)(void *context, unsigned events), void *context,
                 struct error *err) WARN_UNUSED;
/* The same for a listening descriptor that several loops wait on: EPOLLEXCLUSIVE. */
bool loop_io_add_exclusive(struct loop *loop, struct loop_io *io, int fd,
                           void (*callback)(void *context, unsigned events), void *context,
                           struct error *err) WARN_UNUSED;
/* Changes the interest; no system call when it is the same; nothing when the io is not added. For
 * an exclusive io: LOOP_READ or LOOP_NONE. Should the kernel refuse, LOOP_HUP is pended. */
void loop_io_set(struct loop_io *io, unsigned interest);
/* Before the fd is closed. Nothing when it is not added. */
void loop_io_remove(struct loop_io *io);
/* Calls the callback with these events in the next turn, whatever the kernel says and the interest
 * is: for bytes that wait in user space. One call, with what the kernel has for it as well. The
 * next wait does not sleep. Removing the io drops it. */
void loop_io_pend(struct loop_io *io, unsigned events);

/* at_ms: absolute, loop_now() scale. Setting a set timer moves it. callback and context must have
 * been filled with timer_init(). */
void timer_init(struct timer *t, void (*callback)(void *context), void *context);
/* False: no memory, and the timer is not set; moving one that is set never fails. */
bool timer_set(struct loop *loop, struct timer *t, int64_t at_ms) WARN_UNUSED;
void timer_clear(struct loop *loop, struct timer *t);
static inline bool timer_is_set(const struct timer *t)
{
    return t->slot != 0;
}

/* Any thread. Wakes the loop. Messages of one thread arrive in order. The loop may be destroyed as
 * soon as the callback ran. */
void loop_post(struct loop *loop, struct loop_message *message);
/* What a deferred callback defers runs at the end of the next turn, which does not sleep. */
void loop_defer(struct loop *loop, struct loop_deferred *deferred);

#endif
