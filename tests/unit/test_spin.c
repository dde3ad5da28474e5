/* When a session that is woken in vain is taken for one that spins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/core/spin.h"

static void in_vain(void **state)
{
    (void)state;
    struct spin s = {0};
    assert_false(spin_woken(&s, 5)); /* the first time it has come here */
    for (unsigned i = 1; i < SPIN_LIMIT; i++)
        assert_false(spin_woken(&s, 5));
    assert_true(spin_woken(&s, 5));
}

static void progress_begins_anew(void **state)
{
    (void)state;
    struct spin s = {0};
    for (unsigned i = 1; i < SPIN_LIMIT; i++)
        assert_false(spin_woken(&s, 0));
    assert_false(spin_woken(&s, 1));
    for (unsigned i = 1; i < SPIN_LIMIT; i++)
        assert_false(spin_woken(&s, 1));
    assert_true(spin_woken(&s, 1));
}

/* One record of TLS that comes a byte at a time is no spin. */
static void a_record_in_bytes(void **state)
{
    (void)state;
    struct spin s = {0};
    for (unsigned i = 0; i < 5 + 16384 + 256; i++)
        assert_false(spin_woken(&s, i));
}

/* A handshake that waits for its turn is not to blame. */
static void put_off(void **state)
{
    (void)state;
    struct spin s = {0};
    for (unsigned i = 0; i < 3 * SPIN_LIMIT; i++) {
        assert_false(spin_woken(&s, 7));
        spin_put_off(&s);
    }
    for (unsigned i = 0; i < SPIN_LIMIT; i++)
        assert_false(spin_woken(&s, 7));
    assert_true(spin_woken(&s, 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_vain),
        cmocka_unit_test(progress_begins_anew),
        cmocka_unit_test(a_record_in_bytes),
        cmocka_unit_test(put_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
