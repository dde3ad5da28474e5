/* What is kept of a name, against a clock that the test moves. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "policy/cache.h"

#define STALE_MAX 3600000
#define NOW       INT64_C(1000000)

static struct answer *good(int64_t ttl_s)
{
    struct answer *a = answer_create(1);
    assert_non_null(a);
    a->reason = RESOLVE_OK;
    answer_ttl(a, ttl_s);
    return a;
}

static void expect(const struct cached *c, int64_t now, enum cache_do what, bool look_up,
                   bool stale)
{
    struct cache_verdict v = cache_judge(c, now, STALE_MAX);
    assert_int_equal(v.now, what);
    assert_int_equal(v.look_up, look_up);
    if (what != CACHE_FAIL)
        assert_int_equal(v.stale, stale);
}

static void test_nothing_known(void **state)
{
    (void)state;
    struct cached c = {.good = NULL};
    expect(&c, NOW, CACHE_WAIT, true, false);
    assert_false(cache_is_usable(&c, NOW, STALE_MAX));
}

static void test_fresh_then_renewed_then_old(void **state)
{
    (void)state;
    struct cached c = {.good = NULL};
    cache_take(&c, good(30), NOW);
    expect(&c, NOW, CACHE_SERVE, false, false);
    expect(&c, NOW + 23999, CACHE_SERVE, false, false);
    expect(&c, NOW + 24000, CACHE_SERVE, true, false); /* the last fifth */
    expect(&c, NOW + 29999, CACHE_SERVE, true, false);
    expect(&c, NOW + 30000, CACHE_WAIT, true, true);
    expect(&c, NOW + 30000 + STALE_MAX - 1, CACHE_WAIT, true, true);
    expect(&c, NOW + 30000 + STALE_MAX, CACHE_WAIT, true, false); /* too old for any use */
    cache_fini(&c);
}

static void test_ttl_is_clamped(void **state)
{
    (void)state;
    static const int64_t ttls[][2] = {{0, 5},   {1, 5},      {5, 5},  {6, 6},         {60, 60},
                                      {61, 60}, {86400, 60}, {-1, 5}, {INT32_MAX, 60}};
    for (size_t i = 0; i < sizeof ttls / sizeof ttls[0]; i++) {
        struct cached c = {.good = NULL};
        cache_take(&c, good(ttls[i][0]), NOW);
        assert_int_equal(c.fresh_ms - NOW, ttls[i][1] * 1000);
        cache_fini(&c);
    }
    struct cached none = {.good = NULL};
    struct answer *unsaid = answer_create(1);
    cache_take(&none, unsaid, NOW); /* no TTL in it at all */
    assert_int_equal(none.fresh_ms - NOW, 60000);
    cache_fini(&none);
}

static void test_failure_with_nothing_kept(void **state)
{
    (void)state;
    struct cached c = {.good = NULL};
    cache_failed(&c, RESOLVE_NO_NAME, NOW);
    expect(&c, NOW, CACHE_FAIL, false, false);
    expect(&c, NOW + CACHE_FAILED_MS - 1, CACHE_FAIL, false, false);
    expect(&c, NOW + CACHE_FAILED_MS, CACHE_WAIT, true, false);
}

static void test_failure_leaves_what_is_kept(void **state)
{
    (void)state;
    struct cached c = {.good = NULL};
    cache_take(&c, good(10), NOW);
    struct answer *kept = c.good;
    cache_failed(&c, RESOLVE_EMPTY, NOW + 8000); /* a renewal of a fresh one */
    expect(&c, NOW + 8000, CACHE_SERVE, false, false);
    expect(&c, NOW + 9999, CACHE_SERVE, false, false);
    expect(&c, NOW + 10000, CACHE_SERVE, true, true); /* old; believed no more: tried again */
    cache_failed(&c, RESOLVE_TIMEOUT, NOW + 10000);
    expect(&c, NOW + 10001, CACHE_SERVE, false, true);
    expect(&c, NOW + 12000, CACHE_SERVE, true, true); /* nobody waits for it */
    assert_ptr_equal(c.good, kept);
    expect(&c, NOW + 10000 + STALE_MAX, CACHE_WAIT, true, false);
    cache_failed(&c, RESOLVE_TIMEOUT, NOW + 10000 + STALE_MAX);
    expect(&c, NOW + 10000 + STALE_MAX, CACHE_FAIL, false, false);
    cache_take(&c, good(10), NOW + 10000 + STALE_MAX);
    expect(&c, NOW + 10000 + STALE_MAX, CACHE_SERVE, false, false);
    assert_int_equal(c.failed, RESOLVE_OK);
    cache_fini(&c);
}

static void test_no_stale(void **state)
{
    (void)state;
    struct cached c = {.good = NULL};
    cache_take(&c, good(10), NOW);
    assert_true(cache_is_usable(&c, NOW + 9999, 0));
    assert_false(cache_is_usable(&c, NOW + 10000, 0));
    struct cache_verdict v = cache_judge(&c, NOW + 10000, 0);
    assert_int_equal(v.now, CACHE_WAIT);
    assert_false(v.stale);
    cache_fini(&c);
}

static void test_doubt(void **state)
{
    (void)state;
    struct cached c = {.good = NULL};
    cache_failed(&c, RESOLVE_SERVERS, NOW);
    cache_doubt(&c, NOW);
    expect(&c, NOW, CACHE_WAIT, true, false); /* a failure is not held against the new servers */
    cache_take(&c, good(30), NOW);
    cache_doubt(&c, NOW + 1);
    expect(&c, NOW + 1, CACHE_WAIT, true, true);
    cache_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_fresh_then_renewed_then_old),
        cmocka_unit_test(test_ttl_is_clamped),
        cmocka_unit_test(test_failure_with_nothing_kept),
        cmocka_unit_test(test_failure_leaves_what_is_kept),
        cmocka_unit_test(test_no_stale),
        cmocka_unit_test(test_doubt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
