#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/clock.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

static void test_monotonic(void **state)
{
    (void)state;
    int64_t ms = clock_ms();
    int64_t us = clock_us();
    int64_t ms_after = clock_ms();
    /* the same clock in two units: the one between lies between */
    assert_true(us / 1000 >= ms);
    assert_true(us / 1000 <= ms_after);

    const struct timespec pause = {0, 20000000};
    nanosleep(&pause, NULL);
    assert_true(clock_us() - us >= 20000);
    assert_true(clock_ms() - ms >= 19);
    for (int i = 0; i < 1000; i++) {
        int64_t next = clock_us();
        assert_true(next >= us);
        us = next;
    }
}

static void test_wall_form(void **state)
{
    (void)state;
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    char text[CLOCK_WALL_MAX];
    clock_wall(text, sizeof(text));
    assert_int_equal(strlen(text), strlen(form));
    for (size_t i = 0; form[i] != '\0'; i++) {
        if (form[i] == 'd')
            assert_in_range(text[i], '0', '9');
        else
            assert_int_equal(text[i], form[i]);
    }
}

static void test_wall_is_now_in_utc(void **state)
{
    (void)state;
    char text[CLOCK_WALL_MAX];
    struct tm tm;
    memset(&tm, 0, sizeof(tm));
    time_t before = time(NULL);
    clock_wall(text, sizeof(text));
    time_t after = time(NULL);
    assert_non_null(strptime(text, "%Y-%m-%dT%H:%M:%S", &tm));
    time_t read = timegm(&tm);
    /* time(2) reads a coarser clock: it may be one tick behind */
    assert_true(read >= before && read <= after + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monotonic),
        cmocka_unit_test(test_wall_form),
        cmocka_unit_test(test_wall_is_now_in_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
