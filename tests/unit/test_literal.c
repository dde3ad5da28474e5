/* An IP address with or without a port, as it is written. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/net.h>

#include <string.h>

static void test_good(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"10.0.0.1", "10.0.0.1:53"},
        {"10.0.0.1:5353", "10.0.0.1:5353"},
        {"10.0.0.1:65535", "10.0.0.1:65535"},
        {"2001:db8::1", "[2001:db8::1]:53"},
        {"::1", "[::1]:53"},
        {"[::1]", "[::1]:53"},
        {"[::1]:1", "[::1]:1"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct net_addr a;
        struct error err;
        char text[NET_TEXT_MAX];
        error_init(&err);
        if (!net_addr_parse(&a, good[i][0], 53, &err))
            fail_msg("%s", err.text);
        net_addr_format(&a, text, sizeof text);
        assert_string_equal(text, good[i][1]);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {"",          "host",           "host:53",   "10.0.0",
                                      "10.0.0.1:", "10.0.0.1:0",     "1.2.3.4:x", "[::1",
                                      "[::1]x",    "[10.0.0.1]:53",  "[]",        "::1]:53",
                                      "[::1]:",    "[::1]:0",        "1.2.3.4 ",  "1.2.3.4:53:53",
                                      ":53",       "10.0.0.1:65536", "[::1]53",   "10.0.0.256"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct net_addr a;
        struct error err;
        error_init(&err);
        if (net_addr_parse(&a, bad[i], 53, &err))
            fail_msg("'%s' was taken", bad[i]);
        assert_non_null(strstr(err.text, "no IP address"));
        assert_non_null(strstr(err.text, bad[i]));
    }
    char very_long[NET_HOST_MAX + 10];
    memset(very_long, '1', sizeof very_long - 1);
    very_long[sizeof very_long - 1] = '\0';
    struct net_addr a;
    assert_false(net_addr_parse(&a, very_long, 53, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
