/* The heartbeat: a loop that turns is young, one that does not grows old and shows its lag, one
 * that has ended is not waited for. Loops are turned by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "core/heartbeat.h"

#include <esclusa/clock.h>

#include <stdlib.h>
#include <time.h>

struct world {
    struct loop *main, *worker[2];
    struct heartbeat heartbeat;
};

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct error err;
    error_init(&err);
    assert_non_null(w);
    w->main = loop_create(&err);
    assert_non_null(w->main);
    assert_true(heartbeat_init(&w->heartbeat, w->main, 2));
    for (unsigned i = 0; i < 2; i++) {
        w->worker[i] = loop_create(&err);
        assert_non_null(w->worker[i]);
        heartbeat_watch(&w->heartbeat, i, w->worker[i]);
    }
    assert_true(heartbeat_start(&w->heartbeat));
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    heartbeat_fini(&w->heartbeat);
    loop_destroy(&w->worker[0]);
    loop_destroy(&w->worker[1]);
    loop_destroy(&w->main);
    free(w);
    return 0;
}

/* Until the main loop has beaten once more: at most about two seconds. */
static void beat(struct world *w)
{
    int_fast64_t before = atomic_load(&w->heartbeat.main_ticked_ms);
    for (int i = 0; i < 2000 && atomic_load(&w->heartbeat.main_ticked_ms) == before; i++)
        loop_turn(w->main, 1);
    assert_int_not_equal(atomic_load(&w->heartbeat.main_ticked_ms), before);
}

static void a_loop_that_hangs_grows_old(void **state)
{
    struct world *w = *state;
    sleep_ms(300);
    assert_true(heartbeat_age_ms(&w->heartbeat) >= 300);
    beat(w);
    loop_turn(w->worker[0], 0);
    assert_true(heartbeat_age_ms(&w->heartbeat) >= 300); /* the other one */
    sleep_ms(50);
    assert_true(heartbeat_lag_us(&w->heartbeat, 1) >= 50000); /* still on its way */
    loop_turn(w->worker[1], 0);
    assert_true(heartbeat_age_ms(&w->heartbeat) < 300);
    assert_true(heartbeat_lag_us(&w->heartbeat, 1) >= 50000); /* it was that late */
    assert_true(heartbeat_lag_us(&w->heartbeat, 0) < heartbeat_lag_us(&w->heartbeat, 1));
}

static void one_message_at_a_time(void **state)
{
    struct world *w = *state;
    beat(w);
    beat(w); /* the first was not taken: a message that is posted twice would be lost or loop */
    loop_turn(w->worker[0], 0);
    loop_turn(w->worker[1], 0);
    assert_false(atomic_load(&w->heartbeat.loops[0].on_its_way));
    beat(w);
    assert_true(atomic_load(&w->heartbeat.loops[0].on_its_way));
}

static void the_main_loop_counts(void **state)
{
    struct world *w = *state;
    beat(w);
    loop_turn(w->worker[0], 0);
    loop_turn(w->worker[1], 0);
    sleep_ms(100);
    atomic_store(&w->heartbeat.loops[0].ticked_ms, clock_ms());
    atomic_store(&w->heartbeat.loops[1].ticked_ms, clock_ms());
    assert_true(heartbeat_age_ms(&w->heartbeat) >= 100);
}

static void one_that_has_ended_is_not_waited_for(void **state)
{
    struct world *w = *state;
    beat(w);
    heartbeat_left(&w->heartbeat, 0);
    loop_turn(w->worker[0], 0); /* a message that was on its way does not revive it */
    loop_turn(w->worker[1], 0);
    sleep_ms(100);
    beat(w);
    loop_turn(w->worker[1], 0);
    assert_true(heartbeat_age_ms(&w->heartbeat) < 100);
    assert_int_equal(heartbeat_lag_us(&w->heartbeat, 0), 0);
}

static struct loop *late;

static struct loop *find(void *context)
{
    (void)context;
    return late;
}

/* As the resolver's, which begins with the first name. */
static void one_that_begins_later(void **state)
{
    struct world *w = *state;
    struct error err;
    error_init(&err);
    struct loop *fourth = loop_create(&err);
    assert_non_null(fourth);
    late = NULL;
    heartbeat_find(&w->heartbeat, find, NULL);
    beat(w);
    loop_turn(w->worker[0], 0);
    loop_turn(w->worker[1], 0);
    assert_true(heartbeat_age_ms(&w->heartbeat) < 1000);
    late = fourth;
    beat(w); /* it is found */
    sleep_ms(200);
    beat(w);
    loop_turn(w->worker[0], 0);
    loop_turn(w->worker[1], 0);
    assert_true(heartbeat_age_ms(&w->heartbeat) >= 200); /* it does not turn */
    loop_turn(fourth, 0);
    assert_true(heartbeat_age_ms(&w->heartbeat) < 200);
    loop_destroy(&fourth);
    late = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_loop_that_hangs_grows_old, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_message_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_main_loop_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_has_ended_is_not_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_begins_later, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
