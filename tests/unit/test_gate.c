/* The limits of a service. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/core/gate.h"

#define SECOND INT64_C(1000000)

static void no_limits(void **state)
{
    (void)state;
    struct gate g;
    struct service_config c = {.backlog = 1};
    int64_t wait = 0;
    gate_init(&g);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(gate_enter(&g, &c, 0, &wait), GATE_NONE);
    assert_int_equal(atomic_load(&g.inside), 1000);
    gate_fini(&g);
}

static void so_many(void **state)
{
    (void)state;
    struct gate g;
    struct service_config c = {.max_service_connections = 2};
    int64_t wait = 0;
    gate_init(&g);
    assert_int_equal(gate_enter(&g, &c, 0, &wait), GATE_NONE);
    gate_push(&g); /* counted, whatever the limit */
    gate_push(&g);
    assert_int_equal(gate_enter(&g, &c, 0, &wait), GATE_SERVICE);
    gate_leave(&g);
    assert_int_equal(gate_enter(&g, &c, 0, &wait), GATE_SERVICE);
    gate_leave(&g);
    assert_int_equal(gate_enter(&g, &c, 0, &wait), GATE_NONE);
    assert_int_equal(atomic_load(&g.inside), 2);
    gate_fini(&g);
}

/* A second's worth at once, then evenly; a pause gives back no more than a second's worth. */
static void so_fast(void **state)
{
    (void)state;
    struct gate g;
    struct service_config c = {.accept_rate = 10};
    int64_t wait = 0, now = 100 * SECOND;
    gate_init(&g);
    for (int i = 0; i < 10; i++)
        assert_int_equal(gate_enter(&g, &c, now, &wait), GATE_NONE);
    assert_int_equal(gate_enter(&g, &c, now, &wait), GATE_RATE);
    assert_int_equal(wait, SECOND / 10);
    assert_int_equal(atomic_load(&g.inside), 10); /* what was refused is not counted */
    now += wait;
    assert_int_equal(gate_enter(&g, &c, now, &wait), GATE_NONE);
    assert_int_equal(gate_enter(&g, &c, now, &wait), GATE_RATE);
    now += 60 * SECOND;
    for (int i = 0; i < 10; i++)
        assert_int_equal(gate_enter(&g, &c, now, &wait), GATE_NONE);
    assert_int_equal(gate_enter(&g, &c, now, &wait), GATE_RATE);
    gate_fini(&g);
}

static void what_nobody_used_is_given_back(void **state)
{
    (void)state;
    struct gate g;
    struct service_config c = {.accept_rate = 2};
    int64_t wait = 0;
    gate_init(&g);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(gate_enter(&g, &c, SECOND, &wait), GATE_NONE);
        gate_refund(&g, &c);
        gate_leave(&g);
    }
    assert_int_equal(gate_enter(&g, &c, SECOND, &wait), GATE_NONE);
    assert_int_equal(gate_enter(&g, &c, SECOND, &wait), GATE_NONE);
    assert_int_equal(gate_enter(&g, &c, SECOND, &wait), GATE_RATE);
    gate_fini(&g);
}

static void one_a_second(void **state)
{
    (void)state;
    struct gate g;
    struct service_config c = {.accept_rate = 1};
    int64_t wait = 0;
    gate_init(&g);
    assert_int_equal(gate_enter(&g, &c, SECOND, &wait), GATE_NONE);
    assert_int_equal(gate_enter(&g, &c, SECOND, &wait), GATE_RATE);
    assert_int_equal(gate_enter(&g, &c, SECOND + wait, &wait), GATE_NONE);
    gate_fini(&g);
}

static void handshakes(void **state)
{
    (void)state;
    struct gate g;
    struct service_config c = {.max_service_handshakes = 1};
    gate_init(&g);
    assert_true(gate_handshake(&g, &c));
    assert_false(gate_handshake(&g, &c));
    assert_true(gate_handshake(&g, NULL));
    gate_handshake_over(&g);
    gate_handshake_over(&g);
    assert_true(gate_handshake(&g, &c));
    gate_fini(&g);
}

static void told_once_in_ten_seconds(void **state)
{
    (void)state;
    struct gate g;
    uint64_t since = 0;
    gate_init(&g);
    assert_true(gate_over(&g, GATE_SERVICE, 50000, &since));
    assert_int_equal(since, 1);
    for (int i = 0; i < 5; i++)
        assert_false(gate_over(&g, GATE_RATE, 59999, &since));
    assert_true(gate_over(&g, GATE_RATE, 60000, &since));
    assert_int_equal(since, 6);
    assert_int_equal(atomic_load(&g.over[GATE_RATE]), 6);
    gate_fini(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_limits),
        cmocka_unit_test(so_many),
        cmocka_unit_test(so_fast),
        cmocka_unit_test(one_a_second),
        cmocka_unit_test(what_nobody_used_is_given_back),
        cmocka_unit_test(handshakes),
        cmocka_unit_test(told_once_in_ten_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
