/* Networks as they are written, and who is in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/net.h>

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void who_is_in(void **state)
{
    (void)state;
    static const struct {
        const char *network, *host;
        bool in;
    } rows[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"192.168.1.128/25", "192.168.1.128", true},
        {"192.168.1.128/25", "192.168.1.127", false},
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"127.0.0.1/32", "127.0.0.1", true},
        {"0.0.0.0/0", "255.255.255.255", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"0.0.0.0/0", "::ffff:1.2.3.4", true}, /* the same host by another name */
        {"::/0", "1.2.3.4", true},
        {"::/0", "2001:db8::1", true},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"::1", "::1", true},
        {"::1", "::2", false},
        {"::ffff:10.0.0.0/104", "10.1.2.3", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct net_cidr c;
        struct net_addr a;
        struct error err;
        error_init(&err);
        assert_true(net_cidr_parse(&c, rows[i].network, &err));
        assert_true(net_addr_from_literal(&a, rows[i].host, 1));
        if (net_cidr_has(&c, &a) != rows[i].in)
            fail_msg("%s in %s", rows[i].host, rows[i].network);
    }
}

static void what_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "10",
                                        "10.0.0.0/",
                                        "10.0.0.0/33",
                                        "10.0.0.0/-1",
                                        "10.0.0.0/8x",
                                        "10.0.0/8",
                                        "host/8",
                                        "::/129",
                                        "1.2.3.4/8",
                                        "2001:db8::1/32",
                                        "/8",
                                        "10.0.0.0/ 8",
                                        "10.0.0.0/8/8",
                                        "[::1]",
                                        "fe80::1%lo",
                                        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb/8"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct net_cidr c;
        struct error err;
        error_init(&err);
        if (net_cidr_parse(&c, texts[i], &err))
            fail_msg("'%s' was taken", texts[i]);
        assert_string_not_equal(err.text, "");
    }
}

static void lists(void **state)
{
    (void)state;
    struct net_cidr list[2];
    struct net_addr in, out, unix_peer;
    struct error err;
    error_init(&err);
    assert_true(net_cidr_parse(&list[0], "10.0.0.0/8", &err));
    assert_true(net_cidr_parse(&list[1], "::1", &err));
    assert_true(net_addr_from_literal(&in, "::1", 1));
    assert_true(net_addr_from_literal(&out, "::2", 1));
    net_addr_from_path(&unix_peer, "/a");
    assert_true(net_cidr_list_has(list, 2, &in));
    assert_false(net_cidr_list_has(list, 2, &out));
    assert_false(net_cidr_list_has(list, 2, &unix_peer));
    assert_false(net_cidr_list_has(list, 0, &in));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_in),
        cmocka_unit_test(what_is_none),
        cmocka_unit_test(lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
