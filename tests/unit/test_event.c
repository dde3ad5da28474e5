/* The loop's descriptors and what is pended. See also test_loop.c and test_timer.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "event_probe.h"

#include <esclusa/clock.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- readiness ---- */

static void test_readiness(void **state)
{
    (void)state;
    struct probe p;
    char c;
    probe_open(&p, LOOP_READ);
    loop_turn(loop, 0);
    assert_int_equal(0, p.calls);
    probe_feed(&p);
    loop_turn(loop, -1);
    assert_int_equal(1, p.calls);
    assert_int_equal(LOOP_READ, p.events);
    loop_turn(loop, -1); /* level-triggered: it was not read */
    assert_int_equal(2, p.calls);
    loop_io_set(&p.io, LOOP_READ | LOOP_WRITE);
    loop_turn(loop, -1);
    assert_int_equal(LOOP_READ | LOOP_WRITE, p.events);
    assert_int_equal(1, read(p.fd, &c, 1));
    loop_turn(loop, -1);
    assert_int_equal(LOOP_WRITE, p.events);
    loop_io_set(&p.io, LOOP_READ);
    loop_turn(loop, 0);
    assert_int_equal(4, p.calls);
    assert_int_equal(0, shutdown(p.far, SHUT_WR)); /* the end of the stream is readable */
    loop_turn(loop, -1);
    assert_int_equal(LOOP_READ, p.events);
    probe_close(&p);
    loop_io_remove(&p.io); /* nothing to do */
    loop_io_set(&p.io, LOOP_READ);
    loop_io_pend(&p.io, LOOP_READ);
    loop_turn(loop, 0);
    assert_int_equal(5, p.calls);
}

static void test_add_errors(void **state)
{
    (void)state;
    struct error err = {0};
    struct loop_io io = {0};
    struct probe p;
    assert_false(loop_io_add(loop, &io, -1, LOOP_READ, probe_called, NULL, &err));
    assert_true(err.set);
    assert_null(io.loop);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC); /* epoll_ctl(2): EPERM */
    err = (struct error){0};
    assert_false(loop_io_add(loop, &io, file, LOOP_READ, probe_called, NULL, &err));
    assert_true(err.set);
    close(file);
    err = (struct error){0};
    probe_open(&p, LOOP_READ);
    assert_false(loop_io_add(loop, &p.io, p.far, LOOP_READ, probe_called, NULL, &err));
    assert_non_null(strstr(err.text, "already"));
    probe_close(&p);
}

/* A pipe's end says EPOLLHUP or EPOLLERR with no EPOLLIN beside it (poll(2)). */
static void test_hang_up(void **state)
{
    (void)state;
    static const struct {
        unsigned interest, of_reader, of_writer;
    } rows[] = {
        {LOOP_HUP, LOOP_HUP, LOOP_HUP},
        {LOOP_READ, LOOP_READ | LOOP_HUP, LOOP_READ | LOOP_HUP},
        {LOOP_WRITE, LOOP_WRITE | LOOP_HUP, LOOP_WRITE | LOOP_HUP},
        {LOOP_READ | LOOP_WRITE, LOOP_READ | LOOP_WRITE | LOOP_HUP,
         LOOP_READ | LOOP_WRITE | LOOP_HUP},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int side = 0; side < 2; side++) {
            int ends[2];
            assert_int_equal(0, pipe2(ends, O_CLOEXEC | O_NONBLOCK));
            struct probe p = {.fd = ends[side]};
            probe_add(&p, rows[i].interest);
            loop_io_set(&p.io, LOOP_NONE);
            loop_io_set(&p.io, rows[i].interest);
            close(ends[1 - side]);
            loop_turn(loop, -1);
            assert_int_equal(1, p.calls);
            assert_int_equal(side == 0 ? rows[i].of_reader : rows[i].of_writer, p.events);
            loop_io_remove(&p.io);
            close(p.fd);
        }
    }
}

static void stop_loop(void *context)
{
    loop_stop(context);
}

static int64_t thread_cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void test_parked_is_silent(void **state)
{
    (void)state;
    struct probe set, added;
    struct timer timer;
    probe_open(&set, LOOP_READ | LOOP_WRITE);
    probe_pair(&added);
    probe_add(&added, LOOP_NONE);
    close(set.far);
    close(added.far);
    loop_io_set(&set.io, LOOP_NONE);
    timer_init(&timer, stop_loop, loop);
    assert_true(timer_set(loop, &timer, clock_ms() + 300));
    int64_t before = thread_cpu_ms();
    loop_run(loop);
    assert_in_range(thread_cpu_ms() - before, 0, 100);
    assert_int_equal(0, set.calls + added.calls);
    loop_io_set(&set.io, LOOP_READ); /* and it comes back */
    loop_io_set(&added.io, LOOP_HUP);
    loop_turn(loop, -1);
    assert_int_equal(LOOP_READ | LOOP_HUP, set.events);
    assert_int_equal(LOOP_HUP, added.events);
    loop_io_remove(&set.io);
    loop_io_remove(&added.io);
    close(set.fd);
    close(added.fd);
}

/* With the descriptor closed behind the loop's back every epoll_ctl() fails: so it is seen whether
 * there was one. */
static void test_set_costs_nothing_and_failure_is_told(void **state)
{
    (void)state;
    struct probe p;
    probe_open(&p, LOOP_READ);
    close(p.fd);
    loop_io_set(&p.io, LOOP_READ);
    loop_turn(loop, 0);
    assert_int_equal(0, p.calls);
    loop_io_set(&p.io, LOOP_READ | LOOP_WRITE);
    loop_turn(loop, 0);
    assert_int_equal(1, p.calls);
    assert_int_equal(LOOP_HUP, p.events);
    loop_io_remove(&p.io);
    close(p.far);
}

/* ---- changes within a batch ---- */

static void park_other(struct probe *p)
{
    loop_io_set(&p->other->io, LOOP_NONE);
}

static void write_only_other(struct probe *p)
{
    loop_io_set(&p->other->io, LOOP_WRITE);
}

static struct probe *survivor;

static void test_interest_changed_in_batch(void **state)
{
    (void)state;
    struct probe a, b;
    two_ready(&a, &b, LOOP_READ, park_other);
    loop_turn(loop, -1);
    assert_int_equal(1, total_calls);
    loop_io_set(&a.io, LOOP_NONE);
    loop_io_set(&b.io, LOOP_NONE);
    a.act = write_only_other;
    b.act = write_only_other;
    loop_io_set(&a.io, LOOP_READ);
    loop_io_set(&b.io, LOOP_READ);
    loop_turn(loop, -1); /* the other's event was "readable": not wanted any more */
    assert_int_equal(2, total_calls);
    probe_close(&a);
    probe_close(&b);
}

static void free_probe(struct loop_deferred *deferred)
{
    free((char *)deferred - offsetof(struct probe, deferred));
}

static void remove_other(struct probe *p)
{
    struct probe *other = p->other;
    survivor = p;
    p->other = NULL;
    if (other != NULL) {
        probe_close(other);
        loop_defer(loop, &other->deferred);
    }
}

static void test_removed_in_batch(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        struct probe *a = malloc(sizeof *a);
        struct probe *b = malloc(sizeof *b);
        assert_non_null(a);
        assert_non_null(b);
        two_ready(a, b, LOOP_READ, remove_other);
        a->deferred.callback = free_probe;
        b->deferred.callback = free_probe;
        loop_turn(loop, -1);
        assert_int_equal(1, total_calls);
        loop_turn(loop, -1);
        assert_int_equal(2, total_calls);
        probe_close(survivor);
        free(survivor);
        total_calls = 0;
    }
}

static void remove_itself(struct probe *p)
{
    loop_io_remove(&p->io);
}

static void add_fresh(struct probe *p)
{
    loop_io_remove(&p->io);
    probe_add(p->fresh, LOOP_READ);
}

static void test_remove_and_add_from_own_callback(void **state)
{
    (void)state;
    struct probe p, fresh;
    probe_pair(&fresh);
    fresh.act = remove_itself;
    probe_feed(&fresh);
    probe_open(&p, LOOP_READ);
    p.fresh = &fresh;
    p.act = add_fresh;
    probe_feed(&p);
    loop_turn(loop, -1);
    assert_int_equal(1, total_calls);
    loop_turn(loop, -1);
    loop_turn(loop, 0);
    assert_int_equal(1, p.calls);
    assert_int_equal(1, fresh.calls);
    probe_close(&p);
    probe_close(&fresh);
}

/* Closes the other's descriptor and opens a new one under the same number. */
static void reopen_other(struct probe *p)
{
    struct probe *other = p->other;
    struct probe *fresh = other->fresh != NULL ? other->fresh : other;
    struct probe pair;
    int number = other->fd;
    survivor = p;
    p->act = NULL;
    p->other = NULL;
    loop_io_remove(&other->io);
    close(other->far);
    probe_pair(&pair);
    assert_int_equal(number, dup3(pair.fd, number, O_CLOEXEC)); /* closes the old one */
    close(pair.fd);
    fresh->fd = number;
    fresh->far = pair.far;
    fresh->act = NULL;
    survivor->fresh = fresh; /* for the test to find */
    probe_add(fresh, LOOP_READ);
}

static void descriptor_number_again(bool same_struct)
{
    for (unsigned i = 0; i < 20; i++) {
        struct probe a, b, fresh = {0};
        two_ready(&a, &b, LOOP_READ, reopen_other);
        if (!same_struct) {
            a.fresh = &fresh;
            b.fresh = &fresh;
        }
        total_calls = 0;
        loop_turn(loop, -1);
        assert_int_equal(1, total_calls);
        assert_int_equal(1, survivor->calls);
        struct probe *reopened = survivor->fresh;
        loop_turn(loop, 0);
        assert_int_equal(0, reopened->calls);
        probe_feed(reopened);
        loop_turn(loop, -1);
        assert_int_equal(1, reopened->calls);
        probe_close(survivor);
        probe_close(reopened);
    }
}

static void test_descriptor_number_again(void **state)
{
    (void)state;
    descriptor_number_again(false);
}

static void test_same_io_with_new_descriptor(void **state)
{
    (void)state;
    descriptor_number_again(true);
}

static void test_more_than_a_batch(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static struct probe many[MANY];
    unsigned silent = 0;
    for (int i = 0; i < MANY; i++) {
        int ends[2];
        assert_int_equal(0, pipe2(ends, O_CLOEXEC | O_NONBLOCK));
        many[i] = (struct probe){.fd = ends[0]};
        close(ends[1]); /* ready: hung up */
        probe_add(&many[i], LOOP_READ);
    }
    loop_turn(loop, -1);
    for (int i = 0; i < MANY; i++) {
        assert_in_range(many[i].calls, 0, 1);
    }
    loop_turn(loop, -1); /* those left out come first: nobody starves */
    for (int i = 0; i < MANY; i++) {
        silent += many[i].calls == 0;
        loop_io_remove(&many[i].io);
        close(many[i].fd);
    }
    assert_int_equal(0, silent);
}

/* ---- pended ---- */

static void pend_itself(struct probe *p)
{
    loop_io_pend(&p->io, LOOP_READ);
}

static void pend_other(struct probe *p)
{
    p->act = NULL;
    loop_io_pend(&p->other->io, LOOP_WRITE);
}

static void test_pend(void **state)
{
    (void)state;
    struct probe p;
    probe_open(&p, LOOP_NONE); /* the interest is the kernel's affair */
    loop_io_pend(&p.io, LOOP_READ);
    loop_io_pend(&p.io, LOOP_WRITE);
    loop_turn(loop, -1); /* does not sleep */
    assert_int_equal(1, p.calls);
    assert_int_equal(LOOP_READ | LOOP_WRITE, p.events);
    loop_turn(loop, 0);
    assert_int_equal(1, p.calls);

    p.act = pend_itself; /* from its own callback: once in the next turn */
    loop_io_pend(&p.io, LOOP_WRITE);
    loop_turn(loop, -1);
    assert_int_equal(2, p.calls);
    p.act = NULL;
    loop_turn(loop, -1);
    assert_int_equal(3, p.calls);
    assert_int_equal(LOOP_READ, p.events);
    loop_turn(loop, 0);
    assert_int_equal(3, p.calls);

    loop_io_set(&p.io, LOOP_READ); /* with an event of the kernel's: one call for both */
    probe_feed(&p);
    loop_io_pend(&p.io, LOOP_WRITE);
    loop_turn(loop, -1);
    assert_int_equal(4, p.calls);
    assert_int_equal(LOOP_READ | LOOP_WRITE, p.events);
    loop_turn(loop, -1);
    assert_int_equal(LOOP_READ, p.events);
    probe_close(&p);
}

static void test_pend_of_another_waits_a_turn(void **state)
{
    (void)state;
    struct probe a, b;
    two_ready(&a, &b, LOOP_READ, NULL);
    a.act = pend_other;
    b.act = pend_other;
    loop_turn(loop, -1);
    assert_int_equal(2, total_calls);
    assert_int_equal(LOOP_READ, a.events);
    assert_int_equal(LOOP_READ, b.events);
    loop_turn(loop, -1);
    assert_int_equal(4, total_calls);
    assert_int_equal(LOOP_READ | LOOP_WRITE, a.events);
    assert_int_equal(LOOP_READ | LOOP_WRITE, b.events);
    probe_close(&a);
    probe_close(&b);
}

static void hush_other(struct probe *p)
{
    p->other->act = NULL;
    loop_io_set(&p->other->io, LOOP_HUP);
}

/* Its event of the kernel's is not wanted any more when its turn comes, the call still is. */
static void test_pended_and_masked_in_the_same_batch(void **state)
{
    (void)state;
    struct probe a, b;
    two_ready(&a, &b, LOOP_READ, hush_other);
    loop_io_pend(&a.io, LOOP_NONE);
    loop_io_pend(&b.io, LOOP_NONE);
    loop_turn(loop, -1);
    assert_int_equal(1, a.calls);
    assert_int_equal(1, b.calls);
    assert_int_equal(LOOP_READ, a.events + b.events); /* of the first one alone */
    loop_io_set(&a.io, LOOP_HUP);
    loop_io_set(&b.io, LOOP_HUP);
    loop_turn(loop, 0);
    assert_int_equal(2, total_calls);
    probe_close(&a);
    probe_close(&b);
}

static void unregister_other(struct probe *p)
{
    loop_io_remove(&p->other->io);
}

static void test_remove_drops_pend(void **state)
{
    (void)state;
    struct probe a, b, c;
    probe_open(&a, LOOP_NONE);
    probe_open(&b, LOOP_NONE);
    probe_open(&c, LOOP_NONE);
    loop_io_pend(&a.io, LOOP_READ);
    loop_io_pend(&b.io, LOOP_READ);
    loop_io_pend(&c.io, LOOP_READ);
    loop_io_remove(&b.io);
    probe_add(&b, LOOP_NONE); /* and it does not come back with the struct */
    loop_turn(loop, 0);
    assert_int_equal(1, a.calls);
    assert_int_equal(0, b.calls);
    assert_int_equal(1, c.calls);

    a.act = unregister_other; /* removed by one pended before it, in the turn itself */
    a.other = &b;
    loop_io_pend(&a.io, LOOP_READ);
    loop_io_pend(&b.io, LOOP_READ);
    loop_turn(loop, 0);
    assert_int_equal(2, a.calls);
    assert_int_equal(0, b.calls);
    probe_close(&a);
    probe_close(&b);
    probe_close(&c);
}

static void test_pended_does_not_starve(void **state)
{
    (void)state;
    struct probe busy, other;
    probe_open(&busy, LOOP_READ);
    probe_open(&other, LOOP_READ);
    busy.act = pend_itself;
    probe_feed(&busy);
    loop_turn(loop, -1);
    probe_feed(&other);
    for (int i = 0; i < 100; i++) {
        loop_turn(loop, -1);
    }
    assert_int_equal(101, busy.calls);
    assert_int_equal(100, other.calls);
    probe_close(&busy);
    probe_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_readiness),
        TEST(test_add_errors),
        TEST(test_hang_up),
        TEST(test_parked_is_silent),
        TEST(test_set_costs_nothing_and_failure_is_told),
        TEST(test_interest_changed_in_batch),
        TEST(test_removed_in_batch),
        TEST(test_remove_and_add_from_own_callback),
        TEST(test_descriptor_number_again),
        TEST(test_same_io_with_new_descriptor),
        TEST(test_more_than_a_batch),
        TEST(test_pend),
        TEST(test_pend_of_another_waits_a_turn),
        TEST(test_pended_and_masked_in_the_same_batch),
        TEST(test_remove_drops_pend),
        TEST(test_pended_does_not_starve),
    };
    alarm(100); /* a wait that never ends is a failure, not a hang */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
