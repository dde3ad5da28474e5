/* Who is first, how often, and who follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/balance.h"

#include <esclusa/random.h>

#include <string.h>

#define MANY 20000

static struct balance_item three[3];

static void reset(void)
{
    for (size_t i = 0; i < 3; i++)
        three[i] =
            (struct balance_item){.weight = 1, .usable = true, .mark = random_mix(UINT64_C(1) + i)};
}

static struct balance_by by_of(enum balance how)
{
    return (struct balance_by){.how = how, .random = 7};
}

/* All are there, once. */
static size_t order(struct balance_by *by, uint8_t *order_r)
{
    unsigned seen = 0;
    const size_t usable = balance_order(by, three, 3, order_r);
    for (size_t i = 0; i < 3; i++)
        seen |= 1U << order_r[i];
    assert_int_equal(seen, 7);
    return usable;
}

static void count_first(struct balance_by *by, unsigned *count, unsigned times)
{
    uint8_t at[UPSTREAMS_MAX];
    memset(count, 0, 3 * sizeof *count);
    for (unsigned i = 0; i < times; i++) {
        order(by, at);
        by->ticket++;
        count[at[0]]++;
    }
}

static void failover_is_the_order_given(void **state)
{
    (void)state;
    uint8_t at[UPSTREAMS_MAX];
    struct balance_by by = by_of(BALANCE_FAILOVER);
    reset();
    assert_int_equal(order(&by, at), 3);
    assert_memory_equal(at, ((uint8_t[]){0, 1, 2}), 3);
    three[0].usable = false;
    assert_int_equal(order(&by, at), 2);
    assert_memory_equal(at, ((uint8_t[]){1, 2, 0}), 3);
}

static void ranks(void **state)
{
    (void)state;
    uint8_t at[UPSTREAMS_MAX];
    for (int how = BALANCE_FAILOVER; how <= BALANCE_SOURCE_HASH; how++) {
        struct balance_by by = by_of((enum balance)how);
        reset();
        three[2].backup = true;
        assert_int_equal(order(&by, at), 3);
        assert_int_equal(at[2], 2); /* a backup is behind */
        three[0].usable = three[1].usable = false;
        assert_int_equal(order(&by, at), 1);
        assert_int_equal(at[0], 2); /* but before those that are down */
        three[2].usable = false;
        assert_int_equal(order(&by, at), 0);
        assert_int_equal(at[2], 2);
    }
}

static void round_robin_is_exact(void **state)
{
    (void)state;
    unsigned count[3];
    struct balance_by by = by_of(BALANCE_ROUND_ROBIN);
    reset();
    count_first(&by, count, 300);
    assert_memory_equal(count, ((unsigned[]){100, 100, 100}), sizeof count);
    three[1].usable = false; /* its part goes to both */
    count_first(&by, count, 300);
    assert_memory_equal(count, ((unsigned[]){150, 0, 150}), sizeof count);
    three[1].usable = true;
    three[0].weight = 5;
    three[1].weight = 2;
    count_first(&by, count, 800);
    assert_memory_equal(count, ((unsigned[]){500, 200, 100}), sizeof count);
}

static void a_heavy_one_does_not_come_in_a_row(void **state)
{
    (void)state;
    uint8_t at[UPSTREAMS_MAX];
    struct balance_by by = by_of(BALANCE_ROUND_ROBIN);
    unsigned row = 0, longest = 0;
    reset();
    three[0].weight = 5;
    for (; by.ticket < 700; by.ticket++) {
        order(&by, at);
        row = at[0] == 0 ? row + 1 : 0;
        longest = row > longest ? row : longest;
    }
    assert_in_range(longest, 1, 4); /* of 7, 5 are its own */
}

static void the_least_loaded_for_its_weight(void **state)
{
    (void)state;
    uint8_t at[UPSTREAMS_MAX];
    unsigned count[3];
    struct balance_by by = by_of(BALANCE_LEAST_CONNECTIONS);
    reset();
    three[0].active = 5;
    three[1].active = 2;
    three[2].active = 9;
    order(&by, at);
    assert_memory_equal(at, ((uint8_t[]){1, 0, 2}), 3);
    three[2].weight = 10;
    order(&by, at);
    assert_memory_equal(at, ((uint8_t[]){2, 1, 0}), 3);
    reset(); /* equals take turns */
    count_first(&by, count, 300);
    assert_memory_equal(count, ((unsigned[]){100, 100, 100}), sizeof count);
}

static void of_two_the_less_loaded(void **state)
{
    (void)state;
    unsigned count[3];
    struct balance_by by = by_of(BALANCE_RANDOM_TWO);
    reset();
    count_first(&by, count, MANY);
    for (int i = 0; i < 3; i++)
        assert_in_range(count[i], MANY / 3 - MANY / 20, MANY / 3 + MANY / 20);
    three[0].active = 10; /* it loses against either */
    count_first(&by, count, MANY);
    assert_int_equal(count[0], 0);
    three[1].active = three[2].active = 10;
    three[0].weight = 2; /* drawn more often, and less loaded for its weight */
    count_first(&by, count, MANY);
    assert_true(count[0] > MANY / 2 && count[0] < MANY);
}

static void a_source_keeps_its_upstream(void **state)
{
    (void)state;
    uint8_t before[UPSTREAMS_MAX], at[UPSTREAMS_MAX];
    unsigned count[3] = {0}, moved = 0;
    reset();
    for (uint64_t source = 0; source < MANY; source++) {
        struct balance_by by = by_of(BALANCE_SOURCE_HASH);
        by.source = source;
        order(&by, before);
        count[before[0]]++;
        by.ticket = 99;
        three[before[0]].active = 100;
        order(&by, at);
        assert_memory_equal(at, before, 3);
        three[before[0]].active = 0;
        three[1].usable = false;
        order(&by, at);
        moved += at[0] != before[0];
        assert_true(before[0] == 1 ? at[0] == before[1] : at[0] == before[0]);
        three[1].usable = true;
    }
    assert_int_equal(moved, count[1]); /* its own, and nobody else */
    for (int i = 0; i < 3; i++)
        assert_in_range(count[i], MANY / 3 - MANY / 20, MANY / 3 + MANY / 20);
    memset(count, 0, sizeof count);
    three[2].weight = 2;
    for (uint64_t source = 0; source < MANY; source++) {
        struct balance_by by = by_of(BALANCE_SOURCE_HASH);
        by.source = source;
        order(&by, at);
        count[at[0]]++;
    }
    assert_in_range(count[2], MANY / 2 - MANY / 20, MANY / 2 + MANY / 20);
}

/* Another place in the list: the mark is what counts. */
static void a_source_does_not_mind_the_place(void **state)
{
    (void)state;
    uint8_t at[UPSTREAMS_MAX];
    reset();
    struct balance_by by = by_of(BALANCE_SOURCE_HASH);
    for (by.source = 0; by.source < 100; by.source++) {
        order(&by, at);
        const uint64_t mark = three[at[0]].mark;
        const struct balance_item turned[3] = {three[1], three[2], three[0]};
        (void)balance_order(&by, turned, 3, at);
        assert_true(turned[at[0]].mark == mark);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failover_is_the_order_given),
        cmocka_unit_test(ranks),
        cmocka_unit_test(round_robin_is_exact),
        cmocka_unit_test(a_heavy_one_does_not_come_in_a_row),
        cmocka_unit_test(the_least_loaded_for_its_weight),
        cmocka_unit_test(of_two_the_less_loaded),
        cmocka_unit_test(a_source_keeps_its_upstream),
        cmocka_unit_test(a_source_does_not_mind_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
