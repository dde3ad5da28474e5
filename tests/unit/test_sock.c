#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/net.h>
#include <esclusa/sock_options.h>
#include <esclusa/str.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 10000 /* of a busy machine; reached only when the test fails */

static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
}

/* A TCP socket bound to a free port of 127.0.0.1, not listening. */
static int bound(struct net_addr *at)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_true(net_addr_from_literal(at, "127.0.0.1", 0));
    assert_int_equal(bind(fd, &at->u.sa, at->length), 0);
    assert_true(sock_local(fd, at));
    return fd;
}

struct pair {
    int ours; /* non-blocking, made by sock_connect */
    int theirs;
};

static struct pair tcp_pair(void)
{
    struct net_addr at;
    struct pair p;
    int why = 0;
    int listening = bound(&at);
    assert_int_equal(listen(listening, 8), 0);
    assert_true(sock_connect(&at, &p.ours, &why));
    p.theirs = accept(listening, NULL, NULL);
    assert_true(p.theirs >= 0);
    wait_for(p.ours, POLLOUT);
    assert_int_equal(sock_connect_result(p.ours, &at), 0);
    sock_close(listening);
    return p;
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &length), 0);
    return value;
}

static void test_connect(void **state)
{
    (void)state;
    struct pair p = tcp_pair();
    struct net_addr a;
    struct net_addr b;
    assert_true((fcntl(p.ours, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(p.ours, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true(sock_peer(p.ours, &a));
    assert_true(sock_local(p.theirs, &b));
    assert_int_equal(a.length, sizeof(struct sockaddr_in));
    assert_int_equal(a.length, b.length);
    assert_memory_equal(&a.u, &b.u, a.length);
    assert_true(sock_local(p.ours, &a));
    assert_true(sock_peer(p.theirs, &b));
    assert_memory_equal(&a.u, &b.u, a.length);
    sock_close(p.ours);
    sock_close(p.theirs);
    assert_false(sock_local(p.ours, &a));
    assert_false(sock_peer(p.ours, &a));
}

static void test_connect_refused(void **state)
{
    (void)state;
    struct net_addr at;
    int fd = -1;
    int why = 0;
    int nobody = bound(&at); /* the port is taken, but nobody listens */
    if (sock_connect(&at, &fd, &why)) {
        wait_for(fd, POLLOUT);
        why = sock_connect_result(fd, &at);
        sock_close(fd);
    }
    assert_int_equal(why, ECONNREFUSED);
    sock_close(nobody);
}

static void test_connect_fails_at_once(void **state)
{
    (void)state;
    struct net_addr at;
    int fd = 99;
    int why = 0;
    int before = dup(0);
    sock_close(before);
    net_addr_from_path(&at, "/nonexistent/esclusa.sock");
    assert_false(sock_connect(&at, &fd, &why));
    assert_int_equal(fd, -1);
    assert_int_equal(why, ENOENT);
    memset(&at, 0, sizeof(at));
    at.length = sizeof(at.u.in);
    at.u.sa.sa_family = AF_MAX;
    assert_false(sock_connect(&at, &fd, &why));
    assert_int_equal(why, EAFNOSUPPORT);
    int after = dup(0);
    assert_int_equal(after, before); /* no descriptor was left */
    sock_close(after);
}

static void test_connect_to_itself_is_refused(void **state)
{
    (void)state;
    struct net_addr at;
    int fd = bound(&at);
    assert_int_equal(connect(fd, &at.u.sa, at.length), 0); /* the kernel allows it */
    assert_int_equal(sock_connect_result(fd, &at), ECONNREFUSED);
    sock_close(fd);
}

static void test_connect_result_of_a_bad_descriptor(void **state)
{
    (void)state;
    struct net_addr at;
    sock_close(bound(&at));
    assert_int_equal(sock_connect_result(-1, &at), EBADF);
}

static void test_tune(void **state)
{
    (void)state;
    struct pair p = tcp_pair();
    int unix_pair[2];
    sock_tune(p.ours);
    assert_int_not_equal(option(p.ours, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_equal(option(p.ours, SOL_SOCKET, SO_KEEPALIVE), 0);
    sock_keep_alive(p.ours, NULL);
    assert_int_not_equal(option(p.ours, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_not_equal(option(p.ours, SOL_SOCKET, SO_KEEPALIVE), 0);
    assert_int_equal(option(p.ours, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(option(p.ours, IPPROTO_TCP, TCP_KEEPINTVL), 15);
    assert_int_equal(option(p.ours, IPPROTO_TCP, TCP_KEEPCNT), 4);
    sock_close(p.ours);
    sock_close(p.theirs);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, unix_pair), 0);
    sock_tune(unix_pair[0]);
    sock_keep_alive(unix_pair[0], NULL);
    assert_int_equal(write(unix_pair[0], "x", 1), 1);
    sock_close(unix_pair[0]);
    sock_close(unix_pair[1]);
}

/* Writes until the queue is full; how much that was. */
static size_t fill(int fd)
{
    static const char zeros[65536];
    size_t sum = 0;
    for (int i = 0; i < 10000; i++) {
        ssize_t wrote = send(fd, zeros, sizeof(zeros), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (wrote < 0) {
            assert_int_equal(errno, EAGAIN);
            return sum;
        }
        sum += (size_t)wrote;
    }
    fail_msg("never full");
    return 0;
}

static void read_all(int fd, size_t sum)
{
    static char dropped[65536];
    while (sum > 0) {
        wait_for(fd, POLLIN);
        ssize_t got = recv(fd, dropped, sizeof(dropped), 0);
        assert_true(got > 0);
        sum -= (size_t)got;
    }
}

static void test_unsent(void **state)
{
    (void)state;
    struct pair p = tcp_pair();
    assert_int_equal(sock_unsent(p.ours), 0);
    size_t sum = fill(p.ours);
    assert_in_range(sock_unsent(p.ours), 1, sum);
    read_all(p.theirs, sum);
    /* the last acknowledgement may be on its way yet */
    for (int i = 0; i < PATIENCE_MS && sock_unsent(p.ours) > 0; i++)
        (void)poll(NULL, 0, 1);
    assert_int_equal(sock_unsent(p.ours), 0);
    sock_close(p.ours);
    sock_close(p.theirs);
    assert_int_equal(sock_unsent(-1), 0);
}

static void test_reset_and_close_differ(void **state)
{
    (void)state;
    char c;
    struct pair p = tcp_pair();
    sock_reset(p.ours);
    wait_for(p.theirs, POLLIN);
    assert_int_equal(recv(p.theirs, &c, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    sock_close(p.theirs);

    p = tcp_pair();
    sock_close(p.ours);
    wait_for(p.theirs, POLLIN);
    assert_int_equal(recv(p.theirs, &c, 1, 0), 0);
    sock_close(p.theirs);
}

static void test_reset_of_a_unix_socket(void **state)
{
    (void)state;
    char c;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(write(pair[1], "unread", 6), 6);
    sock_reset(pair[0]);
    assert_int_equal(read(pair[1], &c, 1), -1);
    assert_int_equal(errno, ECONNRESET);
    sock_close(pair[1]);
}

static void test_drain(void **state)
{
    (void)state;
    struct pair p = tcp_pair();
    uint64_t dropped = 0;
    assert_int_equal(sock_drain(p.theirs, &dropped), SOCK_DRAIN_AGAIN); /* a blocking one too */
    size_t sum = fill(p.ours);
    assert_true(sum > 500000); /* loopback buffers are megabytes: more than one call takes */
    assert_int_equal(sock_drain(p.theirs, &dropped), SOCK_DRAIN_MORE);
    assert_int_equal(shutdown(p.ours, SHUT_WR), 0);
    enum sock_drain got = SOCK_DRAIN_MORE;
    for (int i = 0; i < 100000 && (got == SOCK_DRAIN_MORE || got == SOCK_DRAIN_AGAIN); i++) {
        if (got == SOCK_DRAIN_AGAIN)
            wait_for(p.theirs, POLLIN);
        got = sock_drain(p.theirs, &dropped);
    }
    assert_int_equal(got, SOCK_DRAIN_EOF);
    assert_int_equal(dropped, sum);
    sock_reset(p.ours);
    sock_close(p.theirs);

    p = tcp_pair();
    sock_reset(p.ours);
    wait_for(p.theirs, POLLIN);
    assert_int_equal(sock_drain(p.theirs, &dropped), SOCK_DRAIN_ERROR);
    sock_close(p.theirs);
}

static void test_names_of_unix_sockets(void **state)
{
    (void)state;
    struct net_addr at;
    struct net_addr a;
    char text[NET_TEXT_MAX];
    int why = 0;
    int fd = -1;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_true(sock_peer(pair[0], &a));
    net_addr_format(&a, text, sizeof(text));
    assert_string_equal(text, "unix:");
    sock_close(pair[0]);
    sock_close(pair[1]);

    char name[64];
    char expected[80];
    (void)snprintf(name, sizeof(name), "@esclusa-test-sock-%ld", (long)getpid());
    (void)snprintf(expected, sizeof(expected), "unix:%s", name);
    net_addr_from_path(&at, name);
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listening, &at.u.sa, at.length), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_true(sock_connect(&at, &fd, &why));
    assert_int_equal(sock_connect_result(fd, &at), 0);
    assert_true(sock_peer(fd, &a));
    net_addr_format(&a, text, sizeof(text));
    assert_string_equal(text, expected);
    sock_close(fd);
    sock_close(listening);
}

/* Who owns the other end, as long as there is somebody. */
static void test_owner(void **state)
{
    (void)state;
    struct net_addr here, there;
    uid_t uid = 4711;
    struct pair p = tcp_pair();
    assert_true(sock_local(p.theirs, &here));
    assert_true(sock_peer(p.theirs, &there));
    assert_true(sock_owner(&there, &here, &uid));
    assert_int_equal(uid, getuid());
    sock_close(p.ours); /* the kernel knows the socket still, and not whose it was */
    assert_false(sock_owner(&there, &here, &uid));
    sock_close(p.theirs);
}

/* No connection has those ends; whoever listens on the port is not who is asked for. */
static void test_owner_is_not_who_listens(void **state)
{
    (void)state;
    struct net_addr at, elsewhere;
    uid_t uid = 0;
    int listening = bound(&at);
    assert_int_equal(listen(listening, 8), 0);
    assert_true(net_addr_from_literal(&elsewhere, "127.0.0.1", 1));
    assert_false(sock_owner(&at, &elsewhere, &uid));
    sock_close(listening);
}

/* What no peer on loopback can tell apart. */
static void test_source_6_and_fast_open(void **state)
{
    (void)state;
    struct sock_refusal refused;
    struct sock_settings s = {.fast_open = 1};
    struct net_addr at;
    int on = 0;
    socklen_t length = sizeof on;
    assert_true(net_addr_from_literal(&s.source_6, "::1", 0));
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_true(sock_set(fd, AF_INET6, &s, false, &refused));
    assert_true(sock_bind_source(fd, AF_INET6, &s, &refused));
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, &length), 0);
    assert_int_equal(on, 1);
    assert_true(sock_local(fd, &at));
    assert_true(net_addr_is_loopback(&at));
    sock_close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_connect_refused),
        cmocka_unit_test(test_connect_fails_at_once),
        cmocka_unit_test(test_connect_to_itself_is_refused),
        cmocka_unit_test(test_connect_result_of_a_bad_descriptor),
        cmocka_unit_test(test_tune),
        cmocka_unit_test(test_source_6_and_fast_open),
        cmocka_unit_test(test_unsent),
        cmocka_unit_test(test_reset_and_close_differ),
        cmocka_unit_test(test_reset_of_a_unix_socket),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_names_of_unix_sockets),
        cmocka_unit_test(test_owner),
        cmocka_unit_test(test_owner_is_not_who_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
