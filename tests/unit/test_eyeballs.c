/* The order of addresses and the delay between them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/eyeballs.h"

#include <stdio.h>
#include <string.h>

/* "4a 4b 6a": family and last byte; a target is one word longer: "4a/1". */
static size_t read_list(const char *text, struct net_addr *list, uint8_t *targets)
{
    size_t count = 0;
    for (const char *at = text; *at != '\0'; count++) {
        char host[16];
        snprintf(host, sizeof host, at[0] == '4' ? "192.0.2.%d" : "2001:db8::%d", at[1]);
        assert_true(net_addr_from_literal(&list[count], host, 443));
        targets[count] = at[2] == '/' ? (uint8_t)(at[3] - '0') : 0;
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    return count;
}

static void assert_order(const char *before, const char *last, const char *after)
{
    struct net_addr list[16], wanted[16], good;
    uint8_t targets[16], unused[16];
    const size_t count = read_list(before, list, targets);
    assert_int_equal(read_list(after, wanted, unused), count);
    uint64_t mark = 0;
    if (last != NULL) {
        (void)read_list(last, &good, unused);
        mark = eyeballs_mark(&good);
    }
    eyeballs_order(list, targets, count, mark);
    for (size_t i = 0; i < count; i++) {
        if (!net_addr_equal(&list[i], &wanted[i]))
            fail_msg("%s became another order than %s, at %zu", before, after, i);
    }
}

static void families_take_turns(void **state)
{
    (void)state;
    assert_order("6a 6b 6c 4a 4b", NULL, "6a 4a 6b 4b 6c");
    assert_order("4a 4b 6a", NULL, "4a 6a 4b");
    assert_order("4a 4b 4c", NULL, "4a 4b 4c");
    assert_order("6a", NULL, "6a");
    assert_order("", NULL, "");
}

static void the_last_good_one_is_first(void **state)
{
    (void)state;
    assert_order("6a 6b 4a 4b", "4b", "4b 6a 4a 6b");
    assert_order("6a 6b 4a 4b", "6a", "6a 4a 6b 4b");
    assert_order("6a 4a", "4z", "6a 4a"); /* it is gone */
}

static void targets_keep_their_places(void **state)
{
    (void)state;
    assert_order("6a/0 6b/0 4a/0 6c/1 6d/1 4b/1", "4b", "6a/0 4a/0 6b/0 4b/1 6c/1 6d/1");
    assert_order("4a/0 6a/1", "6a", "4a/0 6a/1");
}

static void marks_are_of_the_address_alone(void **state)
{
    (void)state;
    struct net_addr a, b;
    assert_true(net_addr_from_literal(&a, "192.0.2.1", 443));
    assert_true(net_addr_from_literal(&b, "192.0.2.1", 8443));
    assert_true(eyeballs_mark(&a) == eyeballs_mark(&b));
    assert_true(net_addr_from_literal(&b, "192.0.2.2", 443));
    assert_true(eyeballs_mark(&a) != eyeballs_mark(&b));
    assert_true(eyeballs_mark(&a) != 0);
}

static void all_have_a_turn(void **state)
{
    (void)state;
    assert_int_equal(eyeballs_delay(250, 10000, 2), 250);
    assert_int_equal(eyeballs_delay(250, 1000, 10), 50); /* all have begun at half of the time */
    assert_int_equal(eyeballs_delay(250, 10, 16), 10);
    assert_int_equal(eyeballs_delay(250, -5, 16), 10);
    assert_int_equal(eyeballs_delay(250, 1000, 0), 250);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_take_turns),
        cmocka_unit_test(the_last_good_one_is_first),
        cmocka_unit_test(targets_keep_their_places),
        cmocka_unit_test(marks_are_of_the_address_alone),
        cmocka_unit_test(all_have_a_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
