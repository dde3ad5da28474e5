/* The order of SRV targets: RFC 2782, against chance that the test throws. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "policy/srv.h"

#include <stdlib.h>

static struct answer *answer_of(const uint16_t (*records)[2], size_t count)
{
    struct answer *a = answer_create(count);
    assert_non_null(a);
    for (size_t i = 0; i < count; i++) {
        a->targets[i].priority = records[i][0];
        a->targets[i].weight = records[i][1];
        a->targets[i].count = 1;
    }
    return a;
}

/* Throws what the test says, and notes what was asked for. */
struct dice {
    const uint32_t *throws;
    size_t at;
    uint32_t asked[ANSWER_TARGETS_MAX];
};

static uint32_t thrown(void *context, uint32_t n)
{
    struct dice *d = context;
    d->asked[d->at] = n;
    assert_in_range(d->throws[d->at], 0, n);
    return d->throws[d->at++];
}

static void expect(const struct answer *a, const uint32_t *throws, size_t thrown_count,
                   const uint8_t *order, size_t count)
{
    uint8_t got[ANSWER_TARGETS_MAX] = {0};
    struct dice d = {.throws = throws};
    assert_int_equal(srv_order(a, thrown, &d, got), count);
    assert_int_equal(d.at, thrown_count);
    assert_memory_equal(got, order, count);
}

static void test_priorities(void **state)
{
    (void)state;
    const uint16_t records[][2] = {{30, 5}, {10, 1}, {20, 9}};
    struct answer *a = answer_of(records, 3);
    expect(a, NULL, 0, (const uint8_t[]){1, 2, 0}, 3);
    free(a);
}

static void test_weights(void **state)
{
    (void)state;
    const uint16_t records[][2] = {{1, 10}, {1, 30}, {1, 60}};
    struct answer *a = answer_of(records, 3);
    /* Running sums 10, 40, 100; then of what is left. */
    expect(a, (const uint32_t[]){10, 0}, 2, (const uint8_t[]){0, 1, 2}, 3);
    expect(a, (const uint32_t[]){11, 11}, 2, (const uint8_t[]){1, 2, 0}, 3);
    expect(a, (const uint32_t[]){41, 40}, 2, (const uint8_t[]){2, 1, 0}, 3);
    expect(a, (const uint32_t[]){100, 10}, 2, (const uint8_t[]){2, 0, 1}, 3);
    free(a);
}

static void test_weight_of_nothing_has_a_small_chance(void **state)
{
    (void)state;
    const uint16_t records[][2] = {{1, 50}, {1, 0}, {1, 50}};
    struct answer *a = answer_of(records, 3);
    expect(a, (const uint32_t[]){0, 1}, 2, (const uint8_t[]){1, 0, 2}, 3);
    expect(a, (const uint32_t[]){1, 1}, 2, (const uint8_t[]){0, 2, 1}, 3);
    free(a);
}

static void test_those_without_an_address_are_left_out(void **state)
{
    (void)state;
    const uint16_t records[][2] = {{1, 0}, {2, 0}, {3, 0}};
    struct answer *a = answer_of(records, 3);
    a->targets[0].count = 0;
    expect(a, NULL, 0, (const uint8_t[]){1, 2}, 2);
    a->targets[1].count = a->targets[2].count = 0;
    expect(a, NULL, 0, NULL, 0);
    free(a);
}

static uint32_t any(void *context, uint32_t n)
{
    (void)context;
    return (uint32_t)random() % (n + 1);
}

/* Of 1:3 the second is first three times in four. */
static void test_shares(void **state)
{
    (void)state;
    const uint16_t records[][2] = {{1, 1000}, {1, 3000}, {0, 1}};
    struct answer *a = answer_of(records, 3);
    unsigned first[3] = {0};
    srandom(7);
    for (int i = 0; i < 10000; i++) {
        uint8_t order[ANSWER_TARGETS_MAX];
        assert_int_equal(srv_order(a, any, NULL, order), 3);
        assert_int_equal(order[0], 2);
        first[order[1]]++;
    }
    assert_in_range(first[0], 2200, 2800);
    assert_int_equal(first[0] + first[1], 10000);
    free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_weight_of_nothing_has_a_small_chance),
        cmocka_unit_test(test_those_without_an_address_are_left_out),
        cmocka_unit_test(test_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
