/* What a lookup brought: families, half answers, order, an asker's share. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "policy/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(struct answer *a, size_t target, const char *ip, bool taken)
{
    struct net_addr addr;
    assert_true(net_addr_from_literal(&addr, ip, 0));
    assert_int_equal(answer_add(&a->targets[target], &addr.u.sa, addr.length), taken);
}

static void say(struct answer *a, enum resolve_reason six, enum resolve_reason four)
{
    a->targets[0].parts[ANSWER_V6].reason = six;
    a->targets[0].parts[ANSWER_V4].reason = four;
    answer_conclude(a);
}

static void shown(const struct net_addr *addr, const char *text)
{
    char got[NET_TEXT_MAX];
    net_addr_format(addr, got, sizeof got);
    assert_string_equal(got, text);
}

static void test_conclusions(void **state)
{
    (void)state;
    static const struct {
        enum resolve_reason six, four, both;
    } cases[] = {
        {RESOLVE_EMPTY, RESOLVE_EMPTY, RESOLVE_EMPTY},
        {RESOLVE_EMPTY, RESOLVE_NO_NAME, RESOLVE_NO_NAME},
        {RESOLVE_NO_NAME, RESOLVE_NO_NAME, RESOLVE_NO_NAME},
        {RESOLVE_TIMEOUT, RESOLVE_EMPTY, RESOLVE_TIMEOUT},
        {RESOLVE_EMPTY, RESOLVE_SERVERS, RESOLVE_SERVERS},
        {RESOLVE_MALFORMED, RESOLVE_TIMEOUT, RESOLVE_TIMEOUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct answer *a = answer_create(1);
        say(a, cases[i].six, cases[i].four);
        assert_int_equal(a->reason, cases[i].both);
        add(a, 0, "127.0.0.1", true);
        answer_conclude(a);
        assert_int_equal(a->reason, RESOLVE_OK);
        free(a);
    }
}

static void test_bounds_and_doubles(void **state)
{
    (void)state;
    struct answer *a = answer_create(1);
    struct sockaddr_un other = {.sun_family = AF_UNIX};
    assert_false(answer_add(&a->targets[0], (struct sockaddr *)&other, sizeof other));
    for (int i = 0; i < ANSWER_FAMILY_MAX; i++) {
        char ip[24];
        (void)snprintf(ip, sizeof ip, "127.0.0.%d", i + 1);
        add(a, 0, ip, true);
        add(a, 0, ip, false);
    }
    add(a, 0, "127.0.0.99", false);
    add(a, 0, "::1", true);
    assert_int_equal(a->targets[0].parts[ANSWER_V4].count, ANSWER_FAMILY_MAX);
    free(a);
}

/* connect(2) to the broadcast address fails without SO_BROADCAST: no way to it, for us. */
static void test_order(void **state)
{
    (void)state;
    struct net_addr list[RESOLVE_MAX];
    uint8_t targets[RESOLVE_MAX], order[] = {0};
    struct answer *a = answer_create(1);
    add(a, 0, "255.255.255.255", true);
    add(a, 0, "127.0.0.2", true);
    add(a, 0, "127.0.0.1", true);
    add(a, 0, "::1", true);
    answer_arrange(a);
    assert_int_equal(answer_fill(a, order, 1, 443, list, targets, RESOLVE_MAX), 4);
    shown(&list[0], "[::1]:443");
    shown(&list[1], "127.0.0.2:443"); /* within a family as the server said */
    shown(&list[2], "127.0.0.1:443");
    shown(&list[3], "255.255.255.255:443");
    free(a);
}

static void test_a_part_that_failed_keeps_what_there_was(void **state)
{
    (void)state;
    struct answer *before = answer_create(1), *now = answer_create(1);
    add(before, 0, "::1", true);
    add(before, 0, "127.0.0.1", true);
    before->targets[0].parts[ANSWER_V6].at_ms = 1000;
    add(now, 0, "127.0.0.2", true);
    now->targets[0].parts[ANSWER_V6].reason = RESOLVE_EMPTY; /* there is none any more */
    answer_keep(now, before, 2000, 5000);
    assert_int_equal(now->targets[0].parts[ANSWER_V6].count, 0);
    now->targets[0].parts[ANSWER_V6].reason = RESOLVE_TIMEOUT;
    answer_keep(now, before, 6001, 5000); /* too old */
    assert_int_equal(now->targets[0].parts[ANSWER_V6].count, 0);
    answer_keep(now, before, 6000, 5000);
    assert_int_equal(now->targets[0].parts[ANSWER_V6].count, 1);
    assert_int_equal(now->targets[0].parts[ANSWER_V6].at_ms, 1000); /* and gets no younger */
    assert_int_equal(now->targets[0].parts[ANSWER_V4].count, 1);
    shown(&now->targets[0].parts[ANSWER_V4].list[0], "127.0.0.2:0");
    free(before);
    free(now);
}

static void test_targets_keep_theirs_by_name_and_port(void **state)
{
    (void)state;
    struct answer *before = answer_create(2), *now = answer_create(2);
    memcpy(before->targets[0].host, "a", 2);
    memcpy(before->targets[1].host, "b", 2);
    before->targets[0].port = before->targets[1].port = 1;
    add(before, 0, "127.0.0.1", true);
    add(before, 1, "127.0.0.2", true);
    memcpy(now->targets[0].host, "b", 2);
    memcpy(now->targets[1].host, "a", 2);
    now->targets[0].port = 1;
    now->targets[1].port = 2;
    answer_keep(now, before, 0, 1000);
    assert_int_equal(now->targets[0].parts[ANSWER_V4].count, 1);
    shown(&now->targets[0].parts[ANSWER_V4].list[0], "127.0.0.2:0");
    assert_int_equal(now->targets[1].parts[ANSWER_V4].count, 0);
    free(before);
    free(now);
}

/* Each target gets its share, so that the first one's many addresses do not push the next out. */
static void test_shares_of_targets(void **state)
{
    (void)state;
    struct net_addr list[RESOLVE_MAX];
    uint8_t targets[RESOLVE_MAX];
    const uint8_t order[] = {1, 0, 2};
    struct answer *a = answer_create(3);
    for (int i = 0; i < 8; i++) {
        char ip[24];
        (void)snprintf(ip, sizeof ip, "127.0.1.%d", i + 1);
        add(a, 1, ip, true);
    }
    add(a, 0, "127.0.0.1", true);
    add(a, 2, "127.0.2.1", true);
    a->targets[0].port = 10;
    a->targets[1].port = 11;
    a->targets[2].port = 12;
    answer_arrange(a);
    assert_int_equal(answer_fill(a, order, 3, 0, list, targets, 6), 4);
    shown(&list[0], "127.0.1.1:11");
    shown(&list[1], "127.0.1.2:11");
    shown(&list[2], "127.0.0.1:10");
    shown(&list[3], "127.0.2.1:12");
    assert_memory_equal(targets, ((uint8_t[]){0, 0, 1, 2}), 4);
    free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conclusions),
        cmocka_unit_test(test_bounds_and_doubles),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_a_part_that_failed_keeps_what_there_was),
        cmocka_unit_test(test_targets_keep_theirs_by_name_and_port),
        cmocka_unit_test(test_shares_of_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
