/* How many connections the warm pool makes, and when: against a clock that the test moves. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "core/warm_pace.h"

#include <esclusa/clock.h>

#define IDLE_MS  30000
#define START_MS 5000000

static struct warm_pace pace(unsigned min, unsigned max)
{
    struct warm_pace p;
    warm_pace_init(&p, min, max, IDLE_MS, 7);
    return p;
}

static void shares(void **state)
{
    (void)state;
    assert_int_equal(warm_share(0, 4, 0), 0);
    assert_int_equal(warm_share(5, 1, 0), 5);
    for (unsigned workers = 1; workers < 9; workers++) {
        for (unsigned total = 1; total < 40; total++) {
            unsigned sum = 0;
            for (unsigned i = 0; i < workers; i++) {
                assert_true(warm_share(total, workers, i) > 0);
                sum += warm_share(total, workers, i);
            }
            assert_int_equal(sum, total < workers ? workers : total);
        }
    }
}

static void fills_to_min_in_portions(void **state)
{
    (void)state;
    struct warm_pace p = pace(20, 20);
    struct warm_turn t = warm_pace_turn(&p, START_MS, 0, 0);
    assert_int_equal(t.dials, WARM_DIALS_AT_ONCE);
    t = warm_pace_turn(&p, START_MS, 8, 8); /* when one has ended */
    assert_int_equal(t.dials, 0);
    assert_int_equal(t.look_ms, CLOCK_NEVER);
    t = warm_pace_turn(&p, START_MS, 8, 5);
    assert_int_equal(t.dials, 3);
    t = warm_pace_turn(&p, START_MS, 18, 0);
    assert_int_equal(t.dials, 2);
    t = warm_pace_turn(&p, START_MS, 20, 0);
    assert_int_equal(t.dials, 0);
    assert_int_equal(t.look_ms, CLOCK_NEVER);
}

static void demand(void **state)
{
    (void)state;
    struct warm_pace p = pace(2, 10);
    assert_int_equal(warm_pace_target(&p, START_MS), 2);
    for (int i = 0; i < 5; i++)
        warm_pace_asked(&p, START_MS);
    assert_int_equal(warm_pace_target(&p, START_MS), 5);
    assert_int_equal(warm_pace_target(&p, START_MS + 1500), 5); /* the second before */
    assert_int_equal(warm_pace_target(&p, START_MS + 2600), 2);
    for (int i = 0; i < 50; i++)
        warm_pace_asked(&p, START_MS + 3000);
    assert_int_equal(warm_pace_target(&p, START_MS + 3000), 10);
    assert_int_equal(warm_pace_target(&p, START_MS + 60000),
                     2); /* not the second before: long ago */
}

static void the_bucket(void **state)
{
    (void)state;
    struct warm_pace p = pace(1000, 1000);
    unsigned made = 0;
    struct warm_turn t;
    while ((t = warm_pace_turn(&p, START_MS, 0, 0)).dials > 0 && made < 1000) {
        for (unsigned i = 0; i < t.dials; i++)
            warm_pace_began(&p);
        made += t.dials;
    }
    assert_int_equal(made, WARM_BURST);
    assert_int_equal(t.look_ms, START_MS + 1);
    assert_int_equal(warm_pace_turn(&p, START_MS + 3, 0, 0).dials, 3);
    warm_pace_began(&p); /* 2 left */
    assert_int_equal(warm_pace_turn(&p, START_MS + 4, 0, 0).dials, 3);
}

/* When the next dial may be made, and that exactly one may. */
static int64_t next_try(struct warm_pace *p, int64_t now)
{
    struct warm_turn t = warm_pace_turn(p, now, 0, 0);
    assert_int_equal(t.dials, 0);
    assert_true(t.look_ms > now && t.look_ms != CLOCK_NEVER);
    assert_int_equal(warm_pace_turn(p, t.look_ms - 1, 0, 0).dials, 0);
    assert_int_equal(warm_pace_turn(p, t.look_ms, 0, 0).dials, 1);
    assert_int_equal(warm_pace_turn(p, t.look_ms, 1, 1).dials, 0);
    return t.look_ms;
}

static void failures(void **state)
{
    (void)state;
    struct warm_pace p = pace(4, 4);
    int64_t now = START_MS;
    int64_t wait = 1000, total = 0;
    for (int i = 0; i < 12; i++) {
        assert_int_equal(warm_pace_failed(&p, now), i == 0);
        assert_false(warm_pace_failed(&p, now)); /* its siblings' failures do not count */
        int64_t next = next_try(&p, now);
        assert_in_range(next - now, wait * 3 / 4, wait * 5 / 4);
        assert_true(next - now <= 60000);
        total += next - now;
        now = next;
        wait = wait < 32000 ? 2 * wait : 60000;
    }
    assert_true(total > 240000);
    assert_true(warm_pace_connected(&p));
    assert_false(warm_pace_connected(&p));
    assert_int_equal(warm_pace_turn(&p, now, 1, 0).dials, 3);
    assert_true(warm_pace_failed(&p, now)); /* from the beginning */
    assert_in_range(next_try(&p, now) - now, 750, 1250);
}

static void jitter(void **state)
{
    (void)state;
    struct warm_pace a, b;
    warm_pace_init(&a, 1, 1, IDLE_MS, 1);
    warm_pace_init(&b, 1, 1, IDLE_MS, 99);
    bool differ = false;
    for (int i = 0; i < 4; i++) {
        warm_pace_failed(&a, START_MS + i * 1000000);
        warm_pace_failed(&b, START_MS + i * 1000000);
        differ = differ || a.not_before_ms != b.not_before_ms;
    }
    assert_true(differ);
}

static void an_upstream_that_closes_after_four_seconds(void **state)
{
    (void)state;
    struct warm_pace p = pace(3, 3);
    int64_t now = START_MS;
    for (int i = 0; i < 2; i++) {
        for (int64_t k = 0; k < 3; k++) /* all that were made together close together: once */
            assert_int_equal(warm_pace_closed(&p, now + k * 50, 4100 - k), WARM_AS_EVER);
        assert_int_equal(p.limit_ms, IDLE_MS);
        now += 4500;
    }
    assert_int_equal(warm_pace_closed(&p, now, 4000), WARM_SHORT);
    assert_int_equal(p.limit_ms, 3000);
    /* Told once, while it lasts. */
    for (int i = 0; i < 3; i++)
        assert_int_equal(warm_pace_closed(&p, now += 1500, 1400), WARM_AS_EVER);
    assert_int_equal(p.limit_ms, 1050);
    /* What is configured is tried again later, and then believed. */
    (void)warm_pace_turn(&p, now + 3600000, 3, 0);
    assert_int_equal(p.limit_ms, IDLE_MS);
    warm_pace_lived(&p, IDLE_MS);
    assert_false(p.told);
    assert_int_equal(p.shortenings, 0);
}

static void an_upstream_that_closes_at_once(void **state)
{
    (void)state;
    struct warm_pace p = pace(3, 3);
    int64_t now = START_MS, waited[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(warm_pace_closed(&p, now, 5), WARM_AS_EVER);
        assert_int_equal(warm_pace_turn(&p, now, 0, 0).dials, 0); /* not in a circle */
        now += 500;
        assert_int_equal(warm_pace_turn(&p, now, 0, 0).dials, 3);
        assert_int_equal(warm_pace_closed(&p, now, 5), WARM_AS_EVER);
        now += 500;
        assert_int_equal(warm_pace_closed(&p, now, 5), i == 0 ? WARM_REST : WARM_AS_EVER);
        waited[i] = p.not_before_ms - now;
        now = p.not_before_ms;
    }
    assert_in_range(waited[0], 45000, 75000);
    assert_in_range(waited[1], 90000, 150000);
    assert_in_range(waited[2], 180000, 300000);
    assert_int_equal(p.limit_ms, IDLE_MS);
}

static void what_is_no_habit(void **state)
{
    (void)state;
    struct warm_pace p = pace(3, 3);
    int64_t now = START_MS;
    for (int i = 0; i < 9; i++) { /* an idle timeout of 20 s is well worth a pool */
        assert_int_equal(warm_pace_closed(&p, now += 20000, 20000), WARM_AS_EVER);
        assert_int_equal(warm_pace_turn(&p, now, 0, 0).dials, 3);
    }
    for (int i = 0; i < 9; i++) { /* restarts, with good times in between */
        assert_int_equal(warm_pace_closed(&p, now += 20000, 1000), WARM_AS_EVER);
        assert_int_equal(warm_pace_closed(&p, now += 1000, 1000), WARM_AS_EVER);
        warm_pace_lived(&p, 100); /* taken young: says nothing */
        assert_int_equal(p.young, 2);
        warm_pace_lived(&p, IDLE_MS);
        assert_int_equal(p.young, 0);
    }
    assert_int_equal(p.limit_ms, IDLE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares),
        cmocka_unit_test(fills_to_min_in_portions),
        cmocka_unit_test(demand),
        cmocka_unit_test(the_bucket),
        cmocka_unit_test(failures),
        cmocka_unit_test(jitter),
        cmocka_unit_test(an_upstream_that_closes_after_four_seconds),
        cmocka_unit_test(an_upstream_that_closes_at_once),
        cmocka_unit_test(what_is_no_habit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
