#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/net.h>
#include <esclusa/str.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define L63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NAME253                                                                                    \
    L63 "." L63 "." L63 "."                                                                        \
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
    enum net_role role;
    const char *text;
    const char *formatted;
} good[] = {
    {NET_LISTEN, "8080", "tcp://127.0.0.1:8080"},
    {NET_LISTEN, "1", "tcp://127.0.0.1:1"},
    {NET_LISTEN, "65535", "tcp://127.0.0.1:65535"},
    {NET_LISTEN, "0.0.0.0:80", "tcp://0.0.0.0:80"},
    {NET_LISTEN, "[::]:80", "tcp://[::]:80"},
    {NET_LISTEN, "[::1]:80", "tcp://[::1]:80"},
    {NET_LISTEN, "tls://0.0.0.0:443", "tls://0.0.0.0:443"},
    {NET_LISTEN, "localhost:080", "tcp://localhost:80"},
    {NET_CONNECT, "example.com:443", "tls://example.com:443"},
    {NET_CONNECT, "example.com.:443", "tls://example.com.:443"},
    {NET_CONNECT, "Ex-a_mple.COM:443", "tls://Ex-a_mple.COM:443"},
    {NET_CONNECT, "tcp://db:5432", "tcp://db:5432"},
    {NET_CONNECT, "TLS://db:5432", "tls://db:5432"},
    {NET_CONNECT, "TcP://db:5432", "tcp://db:5432"},
    {NET_CONNECT, "127.0.0.1:443", "tls://127.0.0.1:443"},
    {NET_CONNECT, "[2001:db8::1]:443", "tls://[2001:db8::1]:443"},
    {NET_CONNECT, "[::ffff:1.2.3.4]:443", "tls://[::ffff:1.2.3.4]:443"},
    {NET_CONNECT, "[fe80::1%eth0]:443", "tls://[fe80::1%eth0]:443"},
    {NET_CONNECT, "[fe80::1%2]:443", "tls://[fe80::1%2]:443"},
    {NET_CONNECT, "srv:_imaps._tcp.example.com", "tls://srv:_imaps._tcp.example.com"},
    {NET_CONNECT, "tcp://SRV:_x._udp.h.", "tcp://srv:_x._udp.h."},
    {NET_CONNECT, "1a.2b:443", "tls://1a.2b:443"},
    {NET_CONNECT, "10.example:443", "tls://10.example:443"},
    {NET_CONNECT, L63 ".x:443", "tls://" L63 ".x:443"},
    {NET_CONNECT, NAME253 ":65535", "tls://" NAME253 ":65535"},
    {NET_CONNECT, NAME253 ".:65535", "tls://" NAME253 ".:65535"},
    {NET_CONNECT, "unix:/run/x.sock", "unix:/run/x.sock"},
    {NET_LISTEN, "UNIX:/run/x.sock", "unix:/run/x.sock"},
    {NET_LISTEN, "unix:///run/x.sock", "unix:/run/x.sock"},
    {NET_LISTEN, "unix://///run/x.sock", "unix:/run/x.sock"},
    {NET_LISTEN, "unix:/run/two words", "unix:/run/two words"},
    {NET_LISTEN, "unix:@name", "unix:@name"},
    {NET_LISTEN, "systemd:web", "systemd:web"},
    {NET_LISTEN, "SystemD:esclusa.socket", "systemd:esclusa.socket"},
    {NET_LISTEN, "TLS+systemd:@8080", "tls+systemd:@8080"},
    {NET_LISTEN, "tcp://systemd:80", "tcp://systemd:80"},
    {NET_CONNECT, "systemd:80", "tls://systemd:80"}, /* a host like any other */
    {NET_LISTEN, "unix:@a/b:80", "unix:@a/b:80"},
};

static void test_good_endpoints(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct net_endpoint e;
        struct net_endpoint again;
        struct error err;
        char text[NET_TEXT_MAX];
        error_init(&err);
        if (!net_endpoint_parse(&e, good[i].text, good[i].role, &err))
            fail_msg("'%s' was refused: %s", good[i].text, err.text);
        assert_false(err.set);
        net_endpoint_format(&e, text, sizeof(text));
        assert_string_equal(text, good[i].formatted);
        /* what is written is read back as the same, whatever the role; systemd: is to listen,
         * SRV to connect */
        const int last = e.fd_name[0] != '\0' ? NET_LISTEN : NET_CONNECT;
        for (int role = e.srv ? NET_CONNECT : NET_LISTEN; role <= last; role++) {
            assert_true(net_endpoint_parse(&again, text, (enum net_role)role, &err));
            assert_memory_equal(&again, &e, sizeof(e));
        }
    }
}

static void test_parts(void **state)
{
    (void)state;
    struct net_endpoint e;
    assert_true(net_endpoint_parse(&e, "tls://[fe80::1%eth0]:8443", NET_LISTEN, NULL));
    assert_int_equal(e.scheme, NET_TLS);
    assert_string_equal(e.host, "fe80::1%eth0");
    assert_int_equal(e.port, 8443);
    assert_string_equal(e.path, "");
    assert_true(net_endpoint_parse(&e, "unix:@x", NET_LISTEN, NULL));
    assert_int_equal(e.scheme, NET_UNIX);
    assert_string_equal(e.host, "");
    assert_int_equal(e.port, 0);
    assert_string_equal(e.path, "@x");
}

#define BOTH 9

static const struct {
    int role;
    const char *text;
    const char *says; /* a part of the error */
} bad[] = {
    {BOTH, "", "empty"},
    {NET_LISTEN, "srv:_x._tcp.h", "not where to listen"},
    {NET_CONNECT, "srv:_x._tcp.h:443", "leave it out"},
    {NET_CONNECT, "srv:_x._tcp", "srv:_SERVICE._tcp.DOMAIN"},
    {NET_CONNECT, "srv:_x._tcp.", "srv:_SERVICE._tcp.DOMAIN"},
    {NET_CONNECT, "srv:x._tcp.h", "srv:_SERVICE._tcp.DOMAIN"},
    {NET_CONNECT, "srv:_x.tcp.h", "srv:_SERVICE._tcp.DOMAIN"},
    {NET_CONNECT, "srv:_._tcp.h", "srv:_SERVICE._tcp.DOMAIN"},
    {NET_CONNECT, "srv:", "empty part"},
    {NET_CONNECT, "srv:_x._tcp.h/x", "letters, digits"},
    {BOTH, "host:0", "out of range: give 1 to 65535"},
    {BOTH, "host:65536", "out of range"},
    {BOTH, "host:99999999999", "out of range"},
    {BOTH, "host:99999999999999999999999999", "out of range"},
    {BOTH, "host:", "no port"},
    {BOTH, "host", "no port"},
    {BOTH, "host:+80", "not a number"},
    {BOTH, "host:-80", "not a number"},
    {BOTH, "host: 80", "space"},
    {BOTH, "host:80 ", "space"},
    {BOTH, " host:80", "space"},
    {BOTH, "ho st:80", "space"},
    {BOTH, "host:80\n", "control"},
    {BOTH, "host\t:80", "control"},
    {BOTH, "host:\177", "control"},
    {BOTH, "host:80x", "behind the port"},
    {BOTH, "host:80/path", "behind the port"},
    {BOTH, "host:0x50", "behind the port"},
    {BOTH, "host:http", "not a number"},
    {BOTH, "0", "out of range"},
    {BOTH, "65536", "out of range"},
    {BOTH, "99999999999", "out of range"},
    {BOTH, "+80", "no port"},
    {BOTH, "80x", "no port"},
    {NET_CONNECT, "443", "give HOST:443"},
    {NET_LISTEN, "tls://8443", "127.0.0.1:8443"},
    {NET_LISTEN, "*:80", "0.0.0.0:80"},
    {NET_LISTEN, "*:80", "[::]:80"},
    {NET_LISTEN, ":80", "0.0.0.0:80"},
    {NET_LISTEN, "tls://:80", "[::]:80"},
    {NET_LISTEN, ":", "no port"},
    {NET_LISTEN, "*:0", "out of range"},
    {NET_CONNECT, ":443", "no host"},
    {NET_CONNECT, "*:443", "no host"},
    {BOTH, "*.example.com:443", "may hold letters"},
    {BOTH, "tls://", "no address behind the scheme"},
    {BOTH, "tcp://", "no address behind the scheme"},
    {BOTH, "://host:80", "unknown scheme"},
    {BOTH, "foo://host:80", "unknown scheme"},
    {BOTH, "https://host:80", "unknown scheme"},
    {BOTH, "tc://host:80", "unknown scheme"},
    {BOTH, "tcpp://host:80", "unknown scheme"},
    {BOTH, "udp://host:80", "udp:// is not supported yet"},
    {BOTH, "DTLS://host:80", "dtls:// is not supported yet"},
    {BOTH, "tls://tls://host:80", "more than one ':'"},
    {BOTH, "tcp:host:80", "more than one ':'"},
    {BOTH, "::1", "brackets"},
    {BOTH, "::1:80", "brackets"},
    {BOTH, "2001:db8::1:443", "brackets"},
    {BOTH, "fe80::1%eth0:80", "brackets"},
    {BOTH, "[::1]", "no port"},
    {BOTH, "[::1]:", "no port"},
    {BOTH, "[::1]80", "behind ']'"},
    {BOTH, "[::1]x:80", "behind ']'"},
    {BOTH, "[::1", "no ']'"},
    {BOTH, "[]:80", "no address between"},
    {BOTH, "[::g]:80", "no IPv6 address"},
    {BOTH, "[127.0.0.1]:80", "no IPv6 address"},
    {BOTH, "[host]:80", "no IPv6 address"},
    {BOTH, "[[::1]]:80", "no IPv6 address"},
    {BOTH, "[::1%]:80", "no IPv6 address"},
    {BOTH, "[::1%a%b]:80", "no IPv6 address"},
    {BOTH, "[::1%1234567890123456]:80", "no IPv6 address"},
    {BOTH, "[::1]:0", "out of range"},
    {BOTH, "::1]:80", "more than one ':'"},
    {BOTH, "256.1.1.1:80", "no IPv4 address"},
    {BOTH, "127.1:80", "no IPv4 address"},
    {BOTH, "127.0.0.1.:80", "no IPv4 address"},
    {BOTH, "1234:80", "no IPv4 address"},
    {BOTH, "0x7f000001:80", "no IPv4 address"},
    {BOTH, "a.0x:80", "no IPv4 address"},
    {BOTH, "010.0.0.1:80", "no IPv4 address"},
    {BOTH, "127.0.0.1%eth0:80", "may hold letters"},
    {BOTH, "user@host:80", "may hold letters"},
    {BOTH, "ho/st:80", "may hold letters"},
    {BOTH, "ho\"st:80", "may hold letters"},
    {BOTH, "h\303\266st:80", "xn--"},
    {BOTH, ".host:80", "empty part"},
    {BOTH, "a..b:80", "empty part"},
    {BOTH, "a..:80", "empty part"},
    {BOTH, ".:80", "empty part"},
    {BOTH, L63 "a:80", "at most 63"},
    {BOTH, "x." L63 "a.y:80", "at most 63"},
    {BOTH, NAME253 "a:80", "at most 253"},
    {BOTH, NAME253 "a.:80", "at most 253"},
    {BOTH, NAME253 NAME253 ":80", "at most 253"},
    {NET_LISTEN, "systemd:", "FileDescriptorName="},
    {NET_LISTEN, "tls+systemd:", "no name"},
    {NET_LISTEN, "systemd:a:80", "without ':'"},
    {NET_LISTEN, "systemd://web", "without ':' and '/'"},
    {NET_LISTEN, "systemd:two words", "space"},
    {NET_LISTEN, "systemd:\xc3\xa4", "printable ASCII"},
    {NET_LISTEN, "systemd:" NAME253 "abc", "too long"},
    {NET_LISTEN, "tls+unix:/x", "host name may hold"},
    {NET_CONNECT, "systemd:web", "not a number"},
    {NET_CONNECT, "tls+systemd:80", "host name may hold"},
    {BOTH, "unix:", "no path"},
    {BOTH, "unix:@", "no name behind '@'"},
    {BOTH, "unix:/", "directory"},
    {BOTH, "unix:/run/", "directory"},
    {BOTH, "unix:////", "directory"},
    {BOTH, "unix:x.sock", "absolute"},
    {BOTH, "unix:./x.sock", "absolute"},
    {BOTH, "unix://x.sock", "without //"},
    {BOTH, "unix://", "without //"},
    {BOTH, "unix://@name", "without //"},
    {BOTH, "unix:/a\nb", "control"},
    {BOTH, " unix:/a", "space"},
};

static void test_bad_endpoints(void **state)
{
    (void)state;
    static const struct net_endpoint zero;
    for (size_t i = 0; i < COUNT(bad); i++) {
        for (int role = NET_LISTEN; role <= NET_CONNECT; role++) {
            struct net_endpoint e;
            struct error err;
            if (bad[i].role != BOTH && bad[i].role != role)
                continue;
            error_init(&err);
            memset(&e, 0xa5, sizeof(e));
            if (net_endpoint_parse(&e, bad[i].text, (enum net_role)role, &err))
                fail_msg("'%s' was taken", bad[i].text);
            if (!err.set || strstr(err.text, bad[i].says) == NULL)
                fail_msg("'%s' (role %d): error '%s' lacks '%s'", bad[i].text, role, err.text,
                         bad[i].says);
            assert_memory_equal(&e, &zero, sizeof(e));
        }
    }
}

static void test_error_names_what_was_given(void **state)
{
    (void)state;
    struct net_endpoint e;
    struct error err;
    char text[1000];
    error_init(&err);
    assert_false(net_endpoint_parse(&e, "foo://a:1\033[2J", NET_LISTEN, &err));
    assert_non_null(strstr(err.text, "'foo://a:1\\x1b[2J'"));
    error_clear(&err);
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_false(net_endpoint_parse(&e, text, NET_LISTEN, &err));
    assert_non_null(strstr(err.text, "xxx...': no port"));
}

static void test_unix_path_length(void **state)
{
    (void)state;
    struct net_endpoint e;
    struct error err;
    char text[200] = "unix:";
    size_t most = sizeof(e.path) - 1;
    for (int at = 0; at < 2; at++) {
        memset(text + 5, 'p', 150);
        text[5] = at == 1 ? '@' : '/';
        text[5 + most] = '\0';
        error_init(&err);
        assert_true(net_endpoint_parse(&e, text, NET_LISTEN, &err));
        assert_int_equal(strlen(e.path), most);
        text[5 + most] = 'p';
        text[5 + most + 1] = '\0';
        assert_false(net_endpoint_parse(&e, text, NET_LISTEN, &err));
        assert_non_null(strstr(err.text, "too long"));
    }
}

static void test_format_is_bounded(void **state)
{
    (void)state;
    struct net_endpoint e;
    char text[16] = "################";
    assert_true(net_endpoint_parse(&e, "tls://host:443", NET_CONNECT, NULL));
    net_endpoint_format(&e, text, 8);
    assert_string_equal(text, "tls://h");
    assert_int_equal(text[8], '#');
    net_endpoint_format(&e, text, 0);
}

static void test_literals(void **state)
{
    (void)state;
    static const char *const yes[] = {
        "127.0.0.1",   "0.0.0.0",        "255.255.255.255", "::",       "::1",
        "2001:db8::1", "::ffff:1.2.3.4", "fe80::1%x",       "fe80::1%1"};
    static const char *const no[] = {
        "",           "localhost",
        "127.1",      "1",
        "256.0.0.1",  "01.2.3.4",
        "1.2.3.4 ",   "[::1]",
        ":::",        "fe80::1%",
        "1.2.3.4%lo", "::1%a b",
        "%lo",        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"};
    for (size_t i = 0; i < COUNT(yes); i++)
        assert_true(net_addr_from_literal(NULL, yes[i], 1));
    for (size_t i = 0; i < COUNT(no); i++) {
        struct net_addr a;
        assert_false(net_addr_from_literal(NULL, no[i], 1));
        assert_false(net_addr_from_literal(&a, no[i], 1));
    }
}

static void check_address(const char *host, uint16_t port, const char *formatted)
{
    struct net_addr a;
    char text[NET_TEXT_MAX];
    memset(&a, 0xa5, sizeof(a));
    assert_true(net_addr_from_literal(&a, host, port));
    net_addr_format(&a, text, sizeof(text));
    assert_string_equal(text, formatted);
}

static void test_addresses(void **state)
{
    (void)state;
    struct net_addr a;
    char expected[64];
    char name[IF_NAMESIZE] = "";
    check_address("127.0.0.1", 80, "127.0.0.1:80");
    check_address("::1", 65535, "[::1]:65535");
    check_address("2001:DB8:0::1", 1, "[2001:db8::1]:1");
    assert_true(net_addr_from_literal(&a, "127.0.0.1", 80));
    assert_int_equal(a.length, sizeof(struct sockaddr_in));
    assert_int_equal(a.u.in.sin_port, htons(80));
    assert_int_equal(a.u.in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    assert_true(net_addr_from_literal(&a, "::1", 80));
    assert_int_equal(a.length, sizeof(struct sockaddr_in6));
    assert_int_equal(a.u.in6.sin6_scope_id, 0);
    /* a zone by number; the loopback interface is number 1 on every Linux */
    assert_true(net_addr_from_literal(&a, "fe80::1%1", 80));
    assert_int_equal(a.u.in6.sin6_scope_id, 1);
    if (if_indextoname(1, name) != NULL) {
        (void)snprintf(expected, sizeof(expected), "[fe80::1%%%s]:80", name);
        check_address("fe80::1%1", 80, expected);
        (void)snprintf(expected, sizeof(expected), "fe80::1%%%s", name);
        assert_true(net_addr_from_literal(&a, expected, 80));
        assert_int_equal(a.u.in6.sin6_scope_id, 1);
    }
    check_address("fe80::1%4000000000", 80, "[fe80::1%4000000000]:80");
    /* no such interface: true as a text, false as an address */
    assert_true(net_addr_from_literal(NULL, "fe80::1%nosuchif", 80));
    assert_false(net_addr_from_literal(&a, "fe80::1%nosuchif", 80));
    assert_false(net_addr_from_literal(&a, "fe80::1%0", 80));
    assert_false(net_addr_from_literal(&a, "fe80::1%4294967296", 80));
}

static void test_unix_addresses(void **state)
{
    (void)state;
    struct net_addr a;
    char text[NET_TEXT_MAX];
    char path[sizeof(a.u.un.sun_path)];
    size_t offset = offsetof(struct sockaddr_un, sun_path);

    net_addr_from_path(&a, "/run/x");
    assert_int_equal(a.length, offset + 7);
    net_addr_format(&a, text, sizeof(text));
    assert_string_equal(text, "unix:/run/x");
    net_addr_from_path(&a, "@name");
    assert_int_equal(a.length, offset + 5);
    assert_int_equal(a.u.un.sun_path[0], '\0');
    net_addr_format(&a, text, sizeof(text));
    assert_string_equal(text, "unix:@name");
    a.u.un.sun_path[2] = '\0'; /* a zero byte is a byte like another in an abstract name */
    net_addr_format(&a, text, sizeof(text));
    assert_string_equal(text, "unix:@n@me");
    a.length = (socklen_t)offset;
    net_addr_format(&a, text, sizeof(text));
    assert_string_equal(text, "unix:");

    memset(path, 'p', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    net_addr_from_path(&a, path);
    assert_int_equal(a.length, sizeof(struct sockaddr_un));
    net_addr_format(&a, text, sizeof(text));
    assert_string_equal(text + 5, path);
    /* a name without a terminator, as the kernel may give it */
    memset(a.u.un.sun_path, 'q', sizeof(a.u.un.sun_path));
    a.length = sizeof(struct sockaddr_un) + 1;
    net_addr_format(&a, text, sizeof(text));
    assert_int_equal(strlen(text), 5 + sizeof(a.u.un.sun_path));

    memset(&a, 0, sizeof(a));
    net_addr_format(&a, text, sizeof(text));
    assert_string_equal(text, "unknown");
    net_addr_format(&a, text, 4);
    assert_string_equal(text, "unk");
}

static void test_resolve(void **state)
{
    (void)state;
    struct net_addr list[8];
    struct error err;
    char text[NET_TEXT_MAX];
    size_t count = 99;
    error_init(&err);
    assert_true(net_resolve_blocking("::1", 80, list, 1, &count, &err));
    assert_int_equal(count, 1);
    net_addr_format(&list[0], text, sizeof(text));
    assert_string_equal(text, "[::1]:80");

    /* /etc/hosts: needs no name server */
    assert_true(net_resolve_blocking("localhost", 8080, list, 8, &count, &err));
    assert_in_range(count, 1, 8);
    for (size_t i = 0; i < count; i++) {
        net_addr_format(&list[i], text, sizeof(text));
        assert_true(str_equal(text, "127.0.0.1:8080") || str_equal(text, "[::1]:8080"));
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(&list[i].u, &list[j].u, sizeof(struct sockaddr_in));
    }
    assert_true(net_resolve_blocking("localhost", 8080, list, 1, &count, &err));
    assert_int_equal(count, 1);
    assert_false(err.set);

    /* a name with an empty part is refused before any server is asked */
    assert_false(net_resolve_blocking("a..b", 80, list, 8, &count, &err));
    assert_int_equal(count, 0);
    assert_non_null(strstr(err.text, "cannot resolve 'a..b'"));
    error_clear(&err);
    assert_false(net_resolve_blocking("fe80::1%nosuchif", 80, list, 8, &count, &err));
    assert_non_null(strstr(err.text, "interface"));
}

/* Stands before libc's: what a resolver may answer. Names that begin with "fake-" are ours. */
static struct addrinfo fake[4];
static struct net_addr fake_addresses[4];
static int fake_status;
static int fake_errno;

int getaddrinfo(const char *restrict name, const char *restrict service,
                const struct addrinfo *restrict req, struct addrinfo **restrict pai)
{
    if (strncmp(name, "fake-", 5) == 0) {
        *pai = fake;
        errno = fake_errno;
        return fake_status;
    }
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &symbol, sizeof(real)); /* ISO C has no cast from an object's address */
    return real(name, service, req, pai);
}

void freeaddrinfo(struct addrinfo *ai)
{
    if (ai == fake)
        return;
    void (*real)(struct addrinfo *);
    void *symbol = dlsym(RTLD_NEXT, "freeaddrinfo");
    memcpy(&real, &symbol, sizeof(real));
    real(ai);
}

static void fake_answer(size_t i, const char *literal)
{
    struct net_addr *a = &fake_addresses[i];
    if (literal == NULL)
        net_addr_from_path(a, "/neither/of/them");
    else
        assert_true(net_addr_from_literal(a, literal, 0));
    memset(&fake[i], 0, sizeof(fake[i]));
    fake[i].ai_family = a->u.sa.sa_family;
    fake[i].ai_addrlen = a->length;
    fake[i].ai_addr = &a->u.sa;
    if (i > 0)
        fake[i - 1].ai_next = &fake[i];
}

static void test_resolved_list(void **state)
{
    (void)state;
    static const char *const expected[] = {"192.0.2.7:443", "[2001:db8::7]:443"};
    struct net_addr list[8];
    struct error err;
    char text[NET_TEXT_MAX];
    size_t count = 0;
    error_init(&err);
    fake_status = 0;
    fake_answer(0, "192.0.2.7");
    fake_answer(1, NULL);
    fake_answer(2, "192.0.2.7");
    fake_answer(3, "2001:db8::7");
    assert_true(net_resolve_blocking("fake-list", 443, list, 8, &count, &err));
    assert_int_equal(count, 2); /* a duplicate and another family are dropped, the order is kept */
    for (size_t i = 0; i < COUNT(expected); i++) {
        net_addr_format(&list[i], text, sizeof(text));
        assert_string_equal(text, expected[i]);
    }
    assert_true(net_resolve_blocking("fake-list", 443, list, 1, &count, &err));
    assert_int_equal(count, 1);
    fake_answer(0, NULL);
    fake[0].ai_next = NULL;
    assert_false(net_resolve_blocking("fake-none", 443, list, 8, &count, &err));
    assert_int_equal(count, 0);
    assert_non_null(strstr(err.text, "cannot resolve 'fake-none'"));
}

static void test_resolve_errors(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *says;
    } cases[] = {{EAI_NONAME, "written right"},
                 {EAI_AGAIN, "no name server answered"},
                 {EAI_SYSTEM, "No buffer space"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct net_addr list[2] = {0};
        struct error err;
        size_t count = 9;
        error_init(&err);
        fake_status = cases[i].status;
        fake_errno = ENOBUFS;
        assert_false(net_resolve_blocking("fake-x", 443, list, 2, &count, &err));
        assert_int_equal(count, 0);
        assert_non_null(strstr(err.text, "cannot resolve 'fake-x'"));
        assert_non_null(strstr(err.text, cases[i].says));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_endpoints),   cmocka_unit_test(test_parts),
        cmocka_unit_test(test_bad_endpoints),    cmocka_unit_test(test_error_names_what_was_given),
        cmocka_unit_test(test_unix_path_length), cmocka_unit_test(test_format_is_bounded),
        cmocka_unit_test(test_literals),         cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_unix_addresses),   cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_resolved_list),    cmocka_unit_test(test_resolve_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
