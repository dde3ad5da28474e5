/* When an upstream is passed over, for how long, and who finds out that it is back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/eject.h"

#include <pthread.h>

static const struct eject_rules rules = {.after = 3, .least_ms = 1000, .max_ms = 3000};

static int64_t miss(struct eject *e, int64_t now)
{
    return eject_missed(e, &rules, now, now, false);
}

/* Ejected at `now`; when it is due. */
static int64_t eject(struct eject *e, int64_t now)
{
    assert_int_equal(miss(e, now), 0);
    assert_int_equal(miss(e, now), 0);
    const int64_t ms = miss(e, now);
    assert_in_range(ms, 800, 1200);
    return now + ms;
}

static void after_three_in_a_row(void **state)
{
    (void)state;
    struct eject e = {.missed = 0};
    eject_init(&e, 1);
    assert_int_equal(miss(&e, 100), 0);
    assert_int_equal(miss(&e, 100), 0);
    assert_false(eject_answered(&e, 100, 100, false)); /* not in a row any more */
    const int64_t due = eject(&e, 200);
    assert_int_equal(eject_state(&e, 201), EJECT_OUT);
    assert_int_equal(eject_state(&e, due - 1), EJECT_OUT);
    assert_int_equal(eject_state(&e, due), EJECT_DUE);
    assert_int_equal(atomic_load(&e.times), 1);
    eject_fini(&e);
}

static void never_if_so_ordered(void **state)
{
    (void)state;
    struct eject e = {.missed = 0};
    const struct eject_rules never = {.after = 0, .least_ms = 1000, .max_ms = 3000};
    eject_init(&e, 1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(eject_missed(&e, &never, 100, 100, false), 0);
    assert_int_equal(eject_state(&e, 100), EJECT_IN);
    eject_fini(&e);
}

static void one_tries_when_it_is_due(void **state)
{
    (void)state;
    struct eject e = {.missed = 0};
    bool trying = false;
    eject_init(&e, 1);
    const int64_t due = eject(&e, 100);
    assert_false(eject_may_try(&e, due - 1, &trying));
    assert_false(trying);
    assert_true(eject_may_try(&e, due, &trying));
    assert_true(trying);
    bool second = true;
    assert_false(eject_may_try(&e, due, &second));
    assert_false(second);
    assert_int_equal(eject_state(&e, due), EJECT_OUT);
    eject_undecided(&e, true); /* that dial was given up */
    assert_true(eject_may_try(&e, due, &trying));
    assert_true(eject_answered(&e, due, due + 5, true));
    assert_int_equal(eject_state(&e, due + 5), EJECT_IN);
    assert_true(eject_may_try(&e, due + 5, &trying));
    assert_false(trying);
    eject_fini(&e);
}

static void longer_each_time_in_a_row(void **state)
{
    (void)state;
    struct eject e = {.missed = 0};
    bool trying;
    eject_init(&e, 1);
    int64_t now = eject(&e, 100);
    static const int64_t wanted[] = {2000, 3000, 3000};
    for (int i = 0; i < 3; i++) {
        assert_true(eject_may_try(&e, now, &trying));
        const int64_t ms = eject_missed(&e, &rules, now, now, true);
        assert_in_range(ms, wanted[i] * 8 / 10, wanted[i] * 12 / 10);
        now += ms;
    }
    assert_true(eject_may_try(&e, now, &trying));
    assert_true(eject_answered(&e, now, now, true));
    /* back for a moment: it goes on where it was */
    (void)miss(&e, now + 1);
    (void)miss(&e, now + 1);
    const int64_t again = miss(&e, now + 1);
    assert_in_range(again, 2400, 3600);
    /* back for long: anew */
    now += 1 + again;
    assert_true(eject_may_try(&e, now, &trying));
    assert_true(eject_answered(&e, now, now, true));
    (void)eject(&e, now + 10000);
    eject_fini(&e);
}

/* Gateways that lost it at the same moment do not all come back at the same. */
static void give_or_take_a_fifth(void **state)
{
    (void)state;
    int64_t least = INT64_MAX, most = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct eject e = {.missed = 0};
        eject_init(&e, seed);
        const int64_t ms = eject(&e, 100) - 100; /* which asks for a fifth at most */
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
        eject_fini(&e);
    }
    assert_in_range(least, 800, 850);
    assert_in_range(most, 1150, 1200);
}

static void what_began_before_tells_nothing(void **state)
{
    (void)state;
    struct eject e = {.missed = 0};
    bool trying;
    eject_init(&e, 1);
    const int64_t due = eject(&e, 1000);
    for (int i = 0; i < 10; i++) /* of the crowd that dialed meanwhile */
        assert_int_equal(eject_missed(&e, &rules, 900, 1500, false), 0);
    assert_int_equal(eject_state(&e, due - 1), EJECT_OUT);
    assert_int_equal(eject_state(&e, due), EJECT_DUE);
    assert_false(eject_answered(&e, 900, 1500, false));
    assert_int_equal(eject_state(&e, 1501), EJECT_OUT);
    assert_true(eject_may_try(&e, due, &trying));
    assert_true(eject_answered(&e, due, due, true));
    for (int i = 0; i < 10; i++) /* they come even later */
        assert_int_equal(eject_missed(&e, &rules, 900, due + 1, false), 0);
    assert_int_equal(eject_state(&e, due + 1), EJECT_IN);
    eject_fini(&e);
}

/* Where nobody else was left it was asked all the same, and answered. */
static void who_asks_although_it_is_out(void **state)
{
    (void)state;
    struct eject e = {.missed = 0};
    eject_init(&e, 1);
    const int64_t due = eject(&e, 1000);
    assert_int_equal(eject_missed(&e, &rules, 1100, 1200, false), 0); /* no longer for that */
    assert_int_equal(eject_state(&e, due), EJECT_DUE);
    assert_true(eject_answered(&e, 1300, 1400, false));
    assert_int_equal(eject_state(&e, 1400), EJECT_IN);
    eject_fini(&e);
}

/* Meanwhile another is told that it answers: the one who tries must still give its turn back. */
static void back_while_one_tries(void **state)
{
    (void)state;
    struct eject e = {.missed = 0};
    bool trying;
    eject_init(&e, 1);
    const int64_t due = eject(&e, 1000);
    assert_true(eject_may_try(&e, due, &trying));
    assert_true(eject_answered(&e, due, due, false));
    assert_false(eject_answered(&e, due, due + 1, true));
    assert_false(atomic_load(&e.trying));
    eject_fini(&e);
}

static struct eject shared;
static atomic_int tried;

static void *contend(void *unused)
{
    for (int i = 0; i < 20000; i++) {
        bool trying;
        (void)eject_missed(&shared, &rules, i, i, false);
        if (eject_may_try(&shared, i + 100000, &trying) && trying) {
            assert_int_equal(atomic_fetch_add(&tried, 1), 0); /* alone */
            atomic_fetch_sub(&tried, 1);
            if (i % 3 == 0)
                eject_undecided(&shared, true);
            else
                (void)eject_answered(&shared, i + 100000, i + 100000, true);
        }
    }
    return unused;
}

static void from_many_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    eject_init(&shared, 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, contend, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_false(atomic_load(&shared.trying));
    eject_fini(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_three_in_a_row),
        cmocka_unit_test(never_if_so_ordered),
        cmocka_unit_test(one_tries_when_it_is_due),
        cmocka_unit_test(longer_each_time_in_a_row),
        cmocka_unit_test(give_or_take_a_fifth),
        cmocka_unit_test(what_began_before_tells_nothing),
        cmocka_unit_test(who_asks_although_it_is_out),
        cmocka_unit_test(back_while_one_tries),
        cmocka_unit_test(from_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
