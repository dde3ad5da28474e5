/* Which addresses are public, and what the others are. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/net.h>

#include <string.h>

struct row {
    const char *address, *what; /* NULL: public */
};

static void assert_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct net_addr a;
        assert_true(net_addr_from_literal(&a, rows[i].address, 443));
        const char *got = net_addr_not_public(&a);
        if (rows[i].what == NULL ? got != NULL : got == NULL || strcmp(got, rows[i].what) != 0)
            fail_msg("%s: %s instead of %s", rows[i].address, got != NULL ? got : "public",
                     rows[i].what != NULL ? rows[i].what : "public");
    }
}

#define ROWS(rows) assert_rows(rows, sizeof(rows) / sizeof((rows)[0]))

/* Each block's first and last address, and its neighbours. */
static void v4(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"0.0.0.0", "unspecified"},
        {"0.255.255.255", "unspecified"},
        {"1.0.0.0", NULL},
        {"9.255.255.255", NULL},
        {"10.0.0.0", "private"},
        {"10.255.255.255", "private"},
        {"11.0.0.0", NULL},
        {"100.63.255.255", NULL},
        {"100.64.0.0", "shared (CGNAT)"},
        {"100.127.255.255", "shared (CGNAT)"},
        {"100.128.0.0", NULL},
        {"126.255.255.255", NULL},
        {"127.0.0.1", "loopback"},
        {"127.255.255.255", "loopback"},
        {"128.0.0.0", NULL},
        {"168.63.129.16", "metadata"},
        {"168.63.129.17", NULL},
        {"169.253.255.255", NULL},
        {"169.254.0.0", "link-local"},
        {"169.254.169.253", "link-local"},
        {"169.254.169.254", "metadata"},
        {"169.254.255.255", "link-local"},
        {"169.255.0.0", NULL},
        {"172.15.255.255", NULL},
        {"172.16.0.0", "private"},
        {"172.31.255.255", "private"},
        {"172.32.0.0", NULL},
        {"192.0.0.0", "reserved"},
        {"192.0.1.0", NULL},
        {"192.0.2.1", "documentation"},
        {"192.0.3.0", NULL},
        {"192.88.99.1", "reserved"},
        {"192.88.100.0", NULL},
        {"192.168.0.0", "private"},
        {"192.168.255.255", "private"},
        {"192.169.0.0", NULL},
        {"198.17.255.255", NULL},
        {"198.18.0.0", "benchmark"},
        {"198.19.255.255", "benchmark"},
        {"198.20.0.0", NULL},
        {"198.51.100.9", "documentation"},
        {"198.51.101.0", NULL},
        {"203.0.113.255", "documentation"},
        {"203.0.114.0", NULL},
        {"223.255.255.255", NULL},
        {"224.0.0.1", "multicast"},
        {"239.255.255.255", "multicast"},
        {"240.0.0.0", "reserved"},
        {"255.255.255.255", "reserved"},
        {"8.8.8.8", NULL},
    };
    ROWS(rows);
}

static void v6(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"::", "unspecified"},
        {"::1", "loopback"},
        {"::2", "IPv4-compatible"},
        {"::8.8.8.8", "IPv4-compatible"},
        {"100::1", "reserved"},
        {"1fff:ffff::", "reserved"},
        {"2000::", NULL},
        {"2001:2::1", "benchmark"},
        {"2001:2:1::1", NULL},
        {"2001:10::1", "reserved"},
        {"2001:2f:ffff::", "reserved"},
        {"2001:30::1", NULL},
        {"2001:db8::1", "documentation"},
        {"2001:db7::1", NULL},
        {"2001:4860:4860::8888", NULL},
        {"3ffe:ffff::", NULL},
        {"3fff::1", "documentation"},
        {"3fff:fff:ffff::", "documentation"},
        {"3fff:1000::", NULL},
        {"4000::", "reserved"},
        {"5f00::1", "reserved"},
        {"fbff::", "reserved"},
        {"fc00::1", "private"},
        {"fd00:ec2::254", "metadata"},
        {"fd00:ec2::253", "private"},
        {"fdff:ffff::1", "private"},
        {"fe00::1", "reserved"},
        {"fe80::1", "link-local"},
        {"febf::1", "link-local"},
        {"fec0::1", "private"},
        {"ff02::1", "multicast"},
    };
    ROWS(rows);
}

/* Traffic to these goes to the IPv4 address within. */
static void v4_within_v6(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"::ffff:127.0.0.1", "loopback"},
        {"::ffff:169.254.169.254", "metadata"},
        {"::ffff:8.8.8.8", NULL},
        {"::ffff:0:127.0.0.1", "reserved"},
        {"64:ff9b::10.0.0.1", "private"},
        {"64:ff9b::169.254.169.254", "metadata"},
        {"64:ff9b::8.8.8.8", NULL},
        {"64:ff9b::1:8.8.8.8", "reserved"},
        {"64:ff9b:1::8.8.8.8", "local-use NAT64"},
        {"64:ff9b:1:a00:0:100::", "local-use NAT64"},
        {"64:ff9b:2::8.8.8.8", "reserved"},
        {"2002:7f00:1::1", "loopback"},
        {"2002:a00:1::1", "private"},
        {"2002:808:808::1", NULL},
        {"2001:0:808:808::80ff:fffe", "loopback"}, /* its client, inverted, is 127.0.0.1 */
        {"2001:0:a00:1::f7f7:f7f7", "private"},    /* its server is 10.0.0.1 */
        {"2001:0:808:808::f7f7:f7f7", NULL},
    };
    ROWS(rows);
}

static void unix_sockets(void **state)
{
    (void)state;
    struct net_addr a;
    net_addr_from_path(&a, "/run/x");
    assert_string_equal(net_addr_not_public(&a), "of this machine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v4),
        cmocka_unit_test(v6),
        cmocka_unit_test(v4_within_v6),
        cmocka_unit_test(unix_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
