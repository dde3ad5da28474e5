/* The loop's timers. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/clock.h>
#include <esclusa/event.h>

#include "event/event_internal.h"

#include <stdlib.h>
#include <unistd.h>

static struct loop *loop;

static int set_up(void **state)
{
    (void)state;
    loop = loop_create(NULL);
    return loop == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    loop_destroy(&loop);
    return loop != NULL;
}

/* A timer that counts; act, when set, is what its callback does. */
struct watch {
    struct timer timer;
    unsigned fired;
    int64_t fired_at;
    void (*act)(struct watch *w);
    struct watch *other;
};

static void watch_fired(void *context)
{
    struct watch *w = context;
    w->fired++;
    w->fired_at = clock_ms();
    if (w->act != NULL) {
        w->act(w);
    }
}

static void watch_set(struct watch *w, int64_t at_ms)
{
    if (w->timer.callback == NULL) {
        timer_init(&w->timer, watch_fired, w);
    }
    assert_true(timer_set(loop, &w->timer, at_ms));
}

/* Times are written so that they are due, or not, however slow the machine is. */
static int64_t past(int64_t ms)
{
    return loop_now(loop) - ms;
}

static int64_t far_off(void)
{
    return loop_now(loop) + 3600000;
}

static void test_fires_once_and_not_early(void **state)
{
    (void)state;
    struct watch w = {0};
    int64_t due = clock_ms() + 100;
    watch_set(&w, due);
    assert_true(timer_is_set(&w.timer));
    unsigned turns = 0;
    while (w.fired == 0 && turns < 1000) {
        loop_turn(loop, -1);
        turns++;
    }
    assert_int_equal(1, w.fired);
    assert_true(w.fired_at >= due);
    assert_in_range(turns, 1, 3); /* it slept: no turns of 0 ms before the time */
    assert_true(loop_now(loop) >= due);
    assert_false(timer_is_set(&w.timer));
    loop_turn(loop, 0);
    assert_int_equal(1, w.fired);
}

static void test_wait_is_bounded(void **state)
{
    (void)state;
    struct watch hour = {0}, never = {0}, ancient = {0};
    watch_set(&hour, far_off());
    watch_set(&never, CLOCK_NEVER);
    int64_t start = clock_ms();
    loop_turn(loop, 30);
    assert_true(clock_ms() - start >= 30);
    watch_set(&ancient, INT64_MIN);
    loop_turn(loop, -1);
    assert_int_equal(1, ancient.fired);
    assert_int_equal(0, hour.fired + never.fired);
    timer_clear(loop, &hour.timer);
    timer_clear(loop, &never.timer);
}

static void test_set_moves_and_clear_clears(void **state)
{
    (void)state;
    struct watch a = {0}, b = {0}, c = {0};
    watch_set(&a, past(1));
    watch_set(&b, past(2));
    watch_set(&c, far_off());
    watch_set(&a, far_off());
    watch_set(&c, past(1));
    timer_clear(loop, &b.timer);
    timer_clear(loop, &b.timer); /* nothing to do */
    assert_false(timer_is_set(&b.timer));
    loop_turn(loop, 0);
    assert_int_equal(0, a.fired);
    assert_int_equal(0, b.fired);
    assert_int_equal(1, c.fired);
    timer_clear(loop, &a.timer);
}

static void set_itself_past(struct watch *w)
{
    watch_set(w, past(1000));
}

static void test_past_in_callback_is_next_turn(void **state)
{
    (void)state;
    struct watch w = {.act = set_itself_past};
    struct watch other = {0};
    watch_set(&w, past(1));
    watch_set(&other, past(0)); /* later than what w sets: still has its turn */
    for (unsigned turn = 1; turn <= 10; turn++) {
        loop_turn(loop, -1);
        assert_int_equal(turn, w.fired);
        assert_int_equal(1, other.fired);
    }
    timer_clear(loop, &w.timer);
}

static void clear_other(struct watch *w)
{
    timer_clear(loop, &w->other->timer);
}

static void put_other_off(struct watch *w)
{
    watch_set(w->other, far_off());
}

static void put_other_to_past(struct watch *w)
{
    watch_set(w->other, past(1000));
}

static void test_callback_changes_another(void **state)
{
    (void)state;
    static void (*const acts[])(struct watch *) = {clear_other, put_other_off, put_other_to_past};
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        struct watch last = {0}, other = {0};
        struct watch first = {.act = acts[i], .other = &other};
        watch_set(&first, past(3));
        watch_set(&other, past(2)); /* due in the same turn */
        watch_set(&last, past(1));
        loop_turn(loop, 0);
        assert_int_equal(1, first.fired);
        assert_int_equal(0, other.fired);
        assert_int_equal(1, last.fired);
        assert_int_equal(acts[i] != clear_other, timer_is_set(&other.timer));
        loop_turn(loop, 0);
        assert_int_equal(acts[i] == put_other_to_past, other.fired);
        timer_clear(loop, &other.timer);
    }
}

static void set_other_now(struct watch *w)
{
    watch_set(w->other, loop_now(loop));
}

static void test_callback_sets_another(void **state)
{
    (void)state;
    struct watch other = {0};
    struct watch first = {.act = set_other_now, .other = &other};
    watch_set(&first, past(3));
    loop_turn(loop, 0);
    assert_int_equal(0, other.fired);
    loop_turn(loop, -1);
    assert_int_equal(1, other.fired);
}

/* Every timer that is due moves itself and clears or moves neighbours, for a while: the heap must
 * hold together, and nothing cleared may fire. */
enum { MANY = 10000 };

static struct watch many[MANY];
static unsigned order_broken, fired_in_order;
static int64_t last_at;

static void check_order(struct watch *w)
{
    order_broken += w->timer.at_ms < last_at;
    last_at = w->timer.at_ms;
    fired_in_order++;
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

static void test_many_fire_in_order(void **state)
{
    (void)state;
    uint32_t seed = 42;
    unsigned expected = 0;
    int64_t base = past(1000000);
    order_broken = 0;
    fired_in_order = 0;
    last_at = INT64_MIN;
    for (int i = 0; i < MANY; i++) {
        many[i] = (struct watch){.act = check_order};
        watch_set(&many[i], base + next_random(&seed) % 100000);
    }
    for (int i = 0; i < MANY; i++) { /* move some, clear some */
        if (i % 3 == 1) {
            watch_set(&many[i], base + next_random(&seed) % 100000);
        } else if (i % 3 == 2) {
            timer_clear(loop, &many[i].timer);
        }
        expected += i % 3 != 2;
    }
    loop_turn(loop, 0);
    assert_int_equal(expected, fired_in_order);
    assert_int_equal(0, order_broken);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(i % 3 != 2, many[i].fired);
    }
}

static uint32_t disturb_seed;
static unsigned fired_when_clear;

static void disturb(struct watch *w)
{
    fired_when_clear += w->other == NULL; /* other is used as "set" here */
    w->other = NULL;
    for (int i = 0; i < 3; i++) {
        struct watch *target = &many[next_random(&disturb_seed) % MANY];
        if (next_random(&disturb_seed) % 2 == 0) {
            timer_clear(loop, &target->timer);
            target->other = NULL;
        } else {
            watch_set(target, past((int64_t)(next_random(&disturb_seed) % 100) - 50));
            target->other = target;
        }
    }
}

static void test_disturbed_in_callbacks(void **state)
{
    (void)state;
    disturb_seed = 7;
    fired_when_clear = 0;
    for (int i = 0; i < MANY; i++) {
        many[i] = (struct watch){.act = disturb, .other = &many[i]};
        watch_set(&many[i], past(i % 100));
    }
    for (int i = 0; i < 20; i++) {
        loop_turn(loop, 0);
    }
    assert_int_equal(0, fired_when_clear);
    unsigned wrong = 0;
    for (int i = 0; i < MANY; i++) {
        wrong += timer_is_set(&many[i].timer) != (many[i].other != NULL);
        many[i].act = NULL;
        many[i].fired = 0;
    }
    assert_int_equal(0, wrong);
    for (size_t i = 1; i < loop->timers.count; i++) {
        wrong += loop->timers.timers[i]->at_ms < loop->timers.timers[(i - 1) / 2]->at_ms;
        wrong += loop->timers.timers[i]->slot != i + 1;
    }
    assert_int_equal(0, wrong);
}

enum { FULL = 64 }; /* what the heap first has room for */

/* Takes the room of those that are due, then moves them back. */
static void crowd_heap(struct watch *w)
{
    (void)w;
    for (int i = 0; i < FULL; i++) {
        watch_set(&many[FULL + i], far_off());
    }
    for (int i = 0; i < FULL; i++) {
        watch_set(&many[i], far_off());
    }
}

static void test_room_for_those_due(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * FULL; i++) {
        many[i] = (struct watch){0};
    }
    for (int i = 0; i < FULL; i++) {
        watch_set(&many[i], past(i));
    }
    many[FULL - 1].act = crowd_heap; /* the earliest */
    loop_turn(loop, 0);
    assert_int_equal(2 * FULL, loop->timers.count);
    assert_true(loop->timers.count <= loop->timers.capacity);
    assert_int_equal(1, many[FULL - 1].fired);
    for (int i = 0; i < 2 * FULL; i++) {
        assert_int_equal(i == FULL - 1, many[i].fired);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    /* A heap so large that it cannot be doubled: it is refused before any memory is asked for. */
    struct timer_heap heap;
    struct timer t = {0};
    timer_heap_init(&heap);
    heap.capacity = SIZE_MAX / sizeof(struct timer *);
    heap.count = heap.capacity;
    assert_false(timer_heap_set(&heap, &t, 1));
    assert_false(timer_is_set(&t));
    assert_true(heap.count == heap.capacity);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fires_once_and_not_early),   TEST(test_wait_is_bounded),
        TEST(test_set_moves_and_clear_clears), TEST(test_past_in_callback_is_next_turn),
        TEST(test_callback_changes_another),   TEST(test_callback_sets_another),
        TEST(test_many_fire_in_order),         TEST(test_disturbed_in_callbacks),
        TEST(test_room_for_those_due),         TEST(test_no_memory),
    };
    alarm(100); /* a wait that never ends is a failure, not a hang */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
