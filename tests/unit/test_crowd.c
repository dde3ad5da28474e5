/* How many are in from each address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/core/crowd.h"

#include <stdio.h>

static struct net_addr at(const char *host)
{
    struct net_addr a;
    assert_true(net_addr_from_literal(&a, host, 4000));
    return a;
}

static void each_address_has_its_own(void **state)
{
    (void)state;
    struct crowd c;
    crowd_init(&c);
    struct net_addr one = at("192.0.2.1"), two = at("192.0.2.2");
    assert_true(crowd_enter(&c, &one, 2));
    assert_true(crowd_enter(&c, &one, 2));
    assert_false(crowd_enter(&c, &one, 2));
    assert_true(crowd_enter(&c, &two, 2));
    assert_int_equal(crowd_count(&c, &one), 2);
    crowd_leave(&c, &one);
    assert_true(crowd_enter(&c, &one, 2));
    crowd_leave(&c, &one);
    crowd_leave(&c, &one);
    crowd_leave(&c, &two);
    assert_int_equal(crowd_count(&c, &one), 0);
    assert_int_equal(crowd_count(&c, &two), 0);
    crowd_fini(&c);
}

static void ipv6_by_its_64(void **state)
{
    (void)state;
    struct crowd c;
    crowd_init(&c);
    struct net_addr one = at("2001:db8:0:1::1"), same = at("2001:db8:0:1:ffff::9"),
                    other = at("2001:db8:0:2::1");
    assert_true(crowd_enter(&c, &one, 1));
    assert_false(crowd_enter(&c, &same, 1));
    assert_true(crowd_enter(&c, &other, 1));
    crowd_fini(&c);
}

/* Through a socket that takes both families: each its own, and the same as the bare address. */
static void mapped_is_ipv4(void **state)
{
    (void)state;
    struct crowd c;
    crowd_init(&c);
    struct net_addr one = at("::ffff:192.0.2.1"), other = at("::ffff:192.0.2.2"),
                    bare = at("192.0.2.1");
    assert_true(crowd_enter(&c, &one, 1));
    assert_true(crowd_enter(&c, &other, 1));
    assert_false(crowd_enter(&c, &bare, 1));
    crowd_leave(&c, &bare);
    assert_int_equal(crowd_count(&c, &one), 0);
    crowd_leave(&c, &other);
    crowd_fini(&c);
}

static void unix_consumers_are_not_counted(void **state)
{
    (void)state;
    struct crowd c;
    struct net_addr a;
    crowd_init(&c);
    net_addr_from_path(&a, "/run/x");
    assert_true(crowd_enter(&c, &a, 1));
    assert_true(crowd_enter(&c, &a, 1));
    crowd_leave(&c, &a);
    crowd_fini(&c);
}

/* Buckets hold several, and lose none. */
static void many_addresses(void **state)
{
    (void)state;
    struct crowd c;
    crowd_init(&c);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 5000; i++) {
            char host[32];
            (void)snprintf(host, sizeof host, "10.0.%u.%u", i / 250, i % 250);
            struct net_addr a = at(host);
            if (round == 0)
                assert_true(crowd_enter(&c, &a, 1));
            else
                crowd_leave(&c, &a);
            assert_int_equal(crowd_count(&c, &a), round == 0);
        }
    }
    for (size_t i = 0; i < CROWD_BUCKETS; i++)
        assert_null(c.buckets[i].first);
    crowd_fini(&c);
}

#define ROUNDS 20000

static void *come_and_go(void *context)
{
    struct crowd *c = context;
    struct net_addr a = at("192.0.2.1");
    for (int i = 0; i < ROUNDS; i++) {
        if (crowd_enter(c, &a, 3))
            crowd_leave(c, &a);
    }
    return NULL;
}

static void from_several_threads(void **state)
{
    (void)state;
    struct crowd c;
    pthread_t threads[4];
    crowd_init(&c);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &c), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    struct net_addr a = at("192.0.2.1");
    assert_int_equal(crowd_count(&c, &a), 0);
    crowd_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_address_has_its_own),       cmocka_unit_test(ipv6_by_its_64),
        cmocka_unit_test(unix_consumers_are_not_counted), cmocka_unit_test(many_addresses),
        cmocka_unit_test(from_several_threads),           cmocka_unit_test(mapped_is_ipv4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
