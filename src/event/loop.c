#include "event_internal.h"

#include <esclusa/clock.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static bool open_descriptors(struct loop *loop, struct error *err)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        return error_set_errno(err, errno, "epoll_create1");
    }
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0) {
        return error_set_errno(err, errno, "eventfd");
    }
    struct epoll_event wake = {.events = EPOLLIN};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &wake) != 0) {
        return error_set_errno(err, errno, "epoll_ctl");
    }
    return true;
}

static void free_loop(struct loop *loop)
{
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
    }
    if (loop->epoll_fd >= 0) {
        close(loop->epoll_fd);
    }
    pthread_mutex_destroy(&loop->mail_mutex);
    timer_heap_fini(&loop->timers);
    free(loop);
}

struct loop *loop_create(struct error *err)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        error_set(err, "no memory for an event loop");
        return NULL;
    }
    loop->epoll_fd = -1;
    loop->wake_fd = -1;
    pthread_mutex_init(&loop->mail_mutex, NULL); /* with no attributes it cannot fail (glibc) */
    timer_heap_init(&loop->timers);
    loop->pended.pend_next = &loop->pended;
    loop->pended.pend_previous = &loop->pended;
    loop->now_ms = clock_ms();
    if (!open_descriptors(loop, err)) {
        free_loop(loop);
        return NULL;
    }
    return loop;
}

/* ---- descriptors ---- */

static bool control(struct loop_io *io, int operation)
{
    struct epoll_event event = {.data.ptr = io};
    if ((io->interest & LOOP_READ) != 0) {
        event.events |= EPOLLIN;
    }
    if ((io->interest & LOOP_WRITE) != 0) {
        event.events |= EPOLLOUT;
    }
    if (io->exclusive) {
        event.events |= EPOLLEXCLUSIVE;
    }
    return epoll_ctl(io->loop->epoll_fd, operation, io->fd, &event) == 0;
}

static bool add(struct loop *loop, struct loop_io *io, const struct loop_io *as, struct error *err)
{
    if (io->loop != NULL) {
        return error_set(err, "descriptor %d is in an event loop already", io->fd);
    }
    *io = *as;
    io->loop = loop;
    io->added_in_turn = loop->turn;
    if (io->interest != LOOP_NONE && !control(io, EPOLL_CTL_ADD)) {
        int reason = errno;
        io->loop = NULL;
        return error_set_errno(err, reason, "epoll_ctl: cannot wait for descriptor %d", io->fd);
    }
    return true;
}

bool loop_io_add(struct loop *loop, struct loop_io *io, int fd, unsigned interest,
                 void (*callback)(void *context, unsigned events), void *context, struct error *err)
{
    struct loop_io as = {.fd = fd, .interest = interest, .callback = callback, .context = context};
    return add(loop, io, &as, err);
}

bool loop_io_add_exclusive(struct loop *loop, struct loop_io *io, int fd,
                           void (*callback)(void *context, unsigned events), void *context,
                           struct error *err)
{
    struct loop_io as = {.fd = fd,
                         .interest = LOOP_READ,
                         .exclusive = true,
                         .callback = callback,
                         .context = context};
    return add(loop, io, &as, err);
}

void loop_io_set(struct loop_io *io, unsigned interest)
{
    if (io->loop == NULL) {
        return;
    }
    if (io->exclusive) {
        /* epoll_ctl(2): EPOLLEXCLUSIVE cannot be modified, only added and deleted. */
        interest &= LOOP_READ;
    }
    if (interest == io->interest) {
        return;
    }
    int operation = EPOLL_CTL_MOD;
    if (io->interest == LOOP_NONE) {
        operation = EPOLL_CTL_ADD;
    } else if (interest == LOOP_NONE) {
        /* Left in with no events, a hung-up descriptor would wake every wait. */
        operation = EPOLL_CTL_DEL;
    }
    io->interest = interest;
    if (!control(io, operation)) {
        loop_io_pend(io, LOOP_HUP);
    }
}

static void unpend(struct loop_io *io)
{
    io->pend_next->pend_previous = io->pend_previous;
    io->pend_previous->pend_next = io->pend_next;
    io->pended = false;
    io->pend_events = 0;
}

void loop_io_remove(struct loop_io *io)
{
    if (io->loop == NULL) {
        return;
    }
    if (io->pended) {
        unpend(io);
    }
    if (io->interest != LOOP_NONE) {
        (void)control(io, EPOLL_CTL_DEL);
    }
    io->loop = NULL;
}

void loop_io_pend(struct loop_io *io, unsigned events)
{
    if (io->loop == NULL) {
        return;
    }
    io->pend_events |= events;
    if (io->pended) {
        return;
    }
    struct loop_io *head = &io->loop->pended;
    io->pended = true;
    io->pended_in_turn = io->loop->turn;
    io->pend_next = head;
    io->pend_previous = head->pend_previous;
    io->pend_previous->pend_next = io;
    head->pend_previous = io;
}

/* ---- messages and deferred work ---- */

void loop_post(struct loop *loop, struct loop_message *message)
{
    message->next = NULL;
    pthread_mutex_lock(&loop->mail_mutex);
    if (loop->mail == NULL) {
        loop->mail = message;
        /* Inside the lock: once the message is taken, nobody is still about to use the loop. The
         * counter cannot be full (eventfd(2)), so the write cannot fail. */
        uint64_t one = 1;
        ssize_t written = write(loop->wake_fd, &one, sizeof one);
        (void)written;
    } else {
        loop->mail_last->next = message;
    }
    loop->mail_last = message;
    pthread_mutex_unlock(&loop->mail_mutex);
}

static void run_mail(struct loop *loop)
{
    /* The counter first: a message that comes after it was read either finds the list not empty
     * and is taken below, or sets the counter again. */
    uint64_t wakes;
    ssize_t got = read(loop->wake_fd, &wakes, sizeof wakes);
    (void)got;
    pthread_mutex_lock(&loop->mail_mutex);
    struct loop_message *message = loop->mail;
    loop->mail = NULL;
    loop->mail_last = NULL;
    pthread_mutex_unlock(&loop->mail_mutex);
    while (message != NULL) {
        struct loop_message *next = message->next; /* the callback may free it */
        message->callback(message);
        message = next;
    }
}

void loop_defer(struct loop *loop, struct loop_deferred *deferred)
{
    deferred->next = NULL;
    if (loop->deferred == NULL) {
        loop->deferred = deferred;
    } else {
        loop->deferred_last->next = deferred;
    }
    loop->deferred_last = deferred;
}

static void run_deferred(struct loop *loop)
{
    struct loop_deferred *deferred = loop->deferred;
    loop->deferred = NULL;
    loop->deferred_last = NULL;
    while (deferred != NULL) {
        struct loop_deferred *next = deferred->next; /* the callback may free it */
        deferred->callback(deferred);
        deferred = next;
    }
}

/* ---- turns ---- */

static int wait_length(const struct loop *loop, int64_t give_up_ms)
{
    if (loop->pended.pend_next != &loop->pended || loop->deferred != NULL) {
        return 0;
    }
    int64_t until = timer_heap_next(&loop->timers);
    if (give_up_ms < until) {
        until = give_up_ms;
    }
    if (until == CLOCK_NEVER) {
        return -1;
    }
    /* Both clocks are whole milliseconds rounded down, and epoll_wait(2) never returns early: so
     * the difference is long enough, and it is at least 1 as long as the timer is not due. */
    int64_t now = clock_ms();
    if (until <= now) {
        return 0;
    }
    return until - now > INT_MAX ? INT_MAX : (int)(until - now);
}

static int wait_events(struct loop *loop, int max_wait_ms)
{
    int64_t give_up_ms = max_wait_ms < 0 ? CLOCK_NEVER : clock_ms() + max_wait_ms;
    for (;;) {
        int count =
            epoll_wait(loop->epoll_fd, loop->events, LOOP_BATCH, wait_length(loop, give_up_ms));
        if (count >= 0) {
            return count;
        }
        if (errno != EINTR) {
            return 0; /* EBADF, EFAULT, EINVAL: none can be, all three arguments are our own */
        }
    }
}

static void dispatch(struct loop *loop, const struct epoll_event *event)
{
    struct loop_io *io = event->data.ptr;
    if (io == NULL) {
        run_mail(loop);
        return;
    }
    /* Removed earlier in this batch, or removed and added again: the event is of the old one. */
    if (io->loop != loop || io->added_in_turn == loop->turn) {
        return;
    }
    unsigned events = 0;
    if ((event->events & EPOLLIN) != 0) {
        events |= LOOP_READ;
    }
    if ((event->events & EPOLLOUT) != 0) {
        events |= LOOP_WRITE;
    }
    if ((event->events & (EPOLLERR | EPOLLHUP)) != 0) {
        events |= LOOP_READ | LOOP_WRITE | LOOP_HUP;
    }
    /* The interest may have changed earlier in this batch. */
    events &= io->interest == LOOP_NONE ? LOOP_NONE : io->interest | LOOP_HUP;
    /* What is pended is called, whatever is left of the kernel's events. */
    bool pended = io->pended && io->pended_in_turn != loop->turn;
    if (pended) {
        events |= io->pend_events;
        unpend(io);
    }
    if (events != 0 || pended) {
        io->callback(io->context, events);
    }
}

static void run_pended(struct loop *loop)
{
    for (;;) {
        struct loop_io *io = loop->pended.pend_next;
        if (io == &loop->pended || io->pended_in_turn == loop->turn) {
            return;
        }
        unsigned events = io->pend_events;
        unpend(io);
        io->callback(io->context, events);
    }
}

void loop_turn(struct loop *loop, int max_wait_ms)
{
    loop->turn++;
    int count = wait_events(loop, max_wait_ms);
    loop->now_ms = clock_ms();
    for (int i = 0; i < count; i++) {
        dispatch(loop, &loop->events[i]);
    }
    run_pended(loop);
    timer_heap_run(&loop->timers, loop->now_ms);
    run_deferred(loop);
}

void loop_run(struct loop *loop)
{
    while (!loop->stopping) {
        loop_turn(loop, -1);
    }
    loop->stopping = false; /* may run again */
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

int64_t loop_now(const struct loop *loop)
{
    return loop->now_ms;
}

uint64_t loop_turns(const struct loop *loop)
{
    return loop->turn;
}

void loop_destroy(struct loop **loop)
{
    if (*loop == NULL) {
        return;
    }
    while ((*loop)->deferred != NULL) {
        run_deferred(*loop);
    }
    /* A sender may still be on its way out of loop_post(). */
    pthread_mutex_lock(&(*loop)->mail_mutex);
    pthread_mutex_unlock(&(*loop)->mail_mutex);
    free_loop(*loop);
    *loop = NULL;
}
