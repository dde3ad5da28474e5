/* What the tests of the event loop share: one loop a test, and descriptors that count. */
#ifndef ESCLUSA_TEST_EVENT_PROBE_H
#define ESCLUSA_TEST_EVENT_PROBE_H

#include <esclusa/event.h>

#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static unsigned total_calls; /* of all probes since set_up() */

static inline int set_up(void **state)
{
    (void)state;
    total_calls = 0;
    loop = loop_create(NULL);
    return loop == NULL;
}

static inline int tear_down(void **state)
{
    (void)state;
    loop_destroy(&loop);
    return loop != NULL;
}

/* A watched descriptor that counts; act, when set, is what its callback does. */
struct probe {
    struct loop_io io;
    struct loop_deferred deferred;
    int fd;
    int far; /* the other end */
    unsigned calls;
    unsigned events; /* of the last call */
    void (*act)(struct probe *p);
    struct probe *other;
    struct probe *fresh;
};

static inline void probe_called(void *context, unsigned events)
{
    struct probe *p = context;
    total_calls++;
    p->calls++;
    p->events = events;
    if (p->act != NULL) {
        p->act(p);
    }
}

static inline void probe_add(struct probe *p, unsigned interest)
{
    assert_true(loop_io_add(loop, &p->io, p->fd, interest, probe_called, p, NULL));
}

static inline void probe_pair(struct probe *p)
{
    int ends[2];
    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends));
    *p = (struct probe){.fd = ends[0], .far = ends[1]};
}

static inline void probe_open(struct probe *p, unsigned interest)
{
    probe_pair(p);
    probe_add(p, interest);
}

static inline void probe_feed(const struct probe *p)
{
    assert_int_equal(1, write(p->far, "x", 1));
}

static inline void probe_close(struct probe *p)
{
    loop_io_remove(&p->io);
    close(p->fd);
    close(p->far);
}

/* Two are ready; whichever the kernel lists first acts on the other. */
static inline void two_ready(struct probe *a, struct probe *b, unsigned interest,
                             void (*act)(struct probe *p))
{
    probe_open(a, interest);
    probe_open(b, interest);
    a->act = act;
    b->act = act;
    a->other = b;
    b->other = a;
    probe_feed(a);
    probe_feed(b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
