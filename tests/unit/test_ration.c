/* ration.h: handshakes take their part of a turn, and no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/core/ration.h"

static void test_a_turn_is_spent(void **state)
{
    (void)state;
    struct ration r = {0};
    assert_true(ration_left(&r, 1));
    ration_take(&r, 1, RATION_US - 1);
    assert_true(ration_left(&r, 1));
    ration_take(&r, 1, 1);
    assert_false(ration_left(&r, 1));
}

static void test_the_next_turn_has_its_own(void **state)
{
    (void)state;
    struct ration r = {0};
    ration_take(&r, 1, INT64_C(50) * RATION_US); /* one that is dearer than all of it */
    assert_false(ration_left(&r, 1));
    assert_true(ration_left(&r, 2));
    ration_take(&r, 2, 1); /* what was spent before counts no more */
    assert_true(ration_left(&r, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_is_spent),
        cmocka_unit_test(test_the_next_turn_has_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
