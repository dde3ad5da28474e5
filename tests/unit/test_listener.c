#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/net.h>
#include <esclusa/str.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 10000
#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))

/* Stands before libc's: the errors of accept(2) that no peer can cause on purpose. */
static int forced_errno;

int accept4(int fd, __SOCKADDR_ARG addr, socklen_t *restrict addr_len, int flags)
{
    if (forced_errno != 0) {
        errno = forced_errno;
        return -1;
    }
    return (int)syscall(SYS_accept4, fd, addr.__sockaddr__, addr_len, flags);
}

static char directory[32];
static char path[64];

static int setup(void **state)
{
    (void)state;
    forced_errno = 0;
    (void)strcpy(directory, "/tmp/esclusa-test-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    (void)snprintf(path, sizeof(path), "%s/s", directory);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(directory);
}

static struct net_endpoint endpoint(enum net_scheme scheme, const char *host_or_path, uint16_t port)
{
    struct net_endpoint e;
    memset(&e, 0, sizeof(e));
    e.scheme = scheme;
    e.port = port;
    if (scheme == NET_UNIX)
        assert_true(str_copy(e.path, sizeof(e.path), host_or_path));
    else
        assert_true(str_copy(e.host, sizeof(e.host), host_or_path));
    return e;
}

static int open_good(const struct net_endpoint *at)
{
    struct error err;
    int fd = -1;
    error_init(&err);
    if (!listener_open(at, 16, &fd, &err))
        fail_msg("not opened: %s", err.text);
    assert_true(fd >= 0);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    return fd;
}

/* The listener must be refused, with these two texts in the reason, and no descriptor left. */
static void open_bad(const struct net_endpoint *at, const char *says, const char *says_too)
{
    struct error err;
    int fd = 99;
    int before = dup(0);
    sock_close(before);
    error_init(&err);
    assert_false(listener_open(at, 16, &fd, &err));
    assert_int_equal(fd, -1);
    if (!err.set || strstr(err.text, says) == NULL || strstr(err.text, says_too) == NULL)
        fail_msg("'%s' lacks '%s' or '%s'", err.text, says, says_too);
    int after = dup(0);
    assert_int_equal(after, before);
    sock_close(after);
}

static uint16_t port_of(int fd)
{
    struct net_addr a;
    assert_true(sock_local(fd, &a));
    return ntohs(a.u.sa.sa_family == AF_INET ? a.u.in.sin_port : a.u.in6.sin6_port);
}

/* One consumer through the listener. */
static void check_serves(int fd)
{
    struct net_addr at;
    struct net_addr peer;
    struct net_addr seen;
    int consumer = -1;
    int accepted = -1;
    int why = 0;
    assert_int_equal(listener_accept(fd, &accepted, &peer, &why), ACCEPT_AGAIN);
    assert_int_equal(accepted, -1);
    assert_int_equal(why, EAGAIN);

    assert_true(sock_local(fd, &at));
    assert_true(sock_connect(&at, &consumer, &why));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    assert_int_equal(listener_accept(fd, &accepted, &peer, &why), ACCEPT_OK);
    assert_true((fcntl(accepted, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(accepted, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true(sock_local(consumer, &seen));
    assert_int_equal(peer.length, seen.length);
    assert_memory_equal(&peer.u, &seen.u, peer.length);
    sock_close(accepted);
    sock_close(consumer);
}

static void test_tcp(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_TCP, "127.0.0.1", 0);
    int fd = open_good(&at);
    check_serves(fd);
    listener_close(&at, fd);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &length), 0);
    return value;
}

/* By nothing but the listener: the acceptor makes no call for it. */
static void test_accepted_is_tuned(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_TCP, "127.0.0.1", 0);
    struct net_addr to, peer;
    int fd = open_good(&at), ours = -1, theirs = -1, why = 0;
    assert_true(sock_local(fd, &to));
    assert_true(sock_connect(&to, &theirs, &why));
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&waiting, 1, PATIENCE_MS), 1);
    assert_int_equal(listener_accept(fd, &ours, &peer, &why), ACCEPT_OK);
    assert_int_not_equal(option(ours, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_not_equal(option(ours, SOL_SOCKET, SO_KEEPALIVE), 0);
    assert_int_equal(option(ours, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(option(ours, IPPROTO_TCP, TCP_KEEPINTVL), 15);
    assert_int_equal(option(ours, IPPROTO_TCP, TCP_KEEPCNT), 4);
    sock_close(theirs);
    sock_close(ours);
    listener_close(&at, fd);
}

static bool has_ipv6(void)
{
    struct net_addr a;
    assert_true(net_addr_from_literal(&a, "::1", 0));
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool usable = probe >= 0 && bind(probe, &a.u.sa, a.length) == 0;
    if (probe >= 0)
        sock_close(probe);
    return usable;
}

static void test_ipv6_only(void **state)
{
    (void)state;
    if (!has_ipv6())
        skip();
    struct net_endpoint at = endpoint(NET_TLS, "::1", 0);
    int only = 0;
    socklen_t length = sizeof(only);
    int fd = open_good(&at);
    assert_int_equal(getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &length), 0);
    assert_int_equal(only, 1);
    check_serves(fd);
    listener_close(&at, fd);
}

/* Another program may take the very port between two steps: a few tries, each with a new port. */
#define TRIES 10

static bool both_families_on_one_port(void)
{
    struct net_endpoint all6 = endpoint(NET_TCP, "::", 0);
    int fd6 = open_good(&all6);
    struct net_endpoint all4 = endpoint(NET_TCP, "0.0.0.0", port_of(fd6));
    int fd4 = -1;
    bool good = listener_open(&all4, 1, &fd4, NULL);
    if (good)
        listener_close(&all4, fd4);
    listener_close(&all6, fd6);
    return good;
}

static void test_every_address_of_both_families(void **state)
{
    (void)state;
    if (!has_ipv6())
        skip();
    bool good = false;
    for (int i = 0; i < TRIES && !good; i++)
        good = both_families_on_one_port();
    assert_true(good);
}

static void test_name(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_TCP, "localhost", 0);
    int fd = open_good(&at);
    check_serves(fd);
    listener_close(&at, fd);
    at = endpoint(NET_TCP, "a..b", 80);
    open_bad(&at, "cannot resolve", "a..b");
}

static void test_port_in_use(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_TCP, "127.0.0.1", 0);
    char text[64];
    int fd = open_good(&at);
    at.port = port_of(fd);
    (void)snprintf(text, sizeof(text), "cannot listen on 127.0.0.1:%u: another process listens",
                   (unsigned int)at.port);
    open_bad(&at, text, "give another port or stop that process (ss -tnlp");
    listener_close(&at, fd);
}

/* A restart: the old listener's connection is in TIME_WAIT on the same port. */
static bool reopen_after_a_connection(void)
{
    struct net_endpoint at = endpoint(NET_TCP, "127.0.0.1", 0);
    struct net_addr address;
    struct net_addr peer;
    int fd = open_good(&at);
    int consumer = -1;
    int accepted = -1;
    int why = 0;
    char c;
    at.port = port_of(fd);
    assert_true(sock_local(fd, &address));
    assert_true(sock_connect(&address, &consumer, &why));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    assert_int_equal(listener_accept(fd, &accepted, &peer, &why), ACCEPT_OK);
    sock_close(accepted); /* closes first: that side gets TIME_WAIT */
    p = (struct pollfd){.fd = consumer, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    assert_int_equal(recv(consumer, &c, 1, 0), 0);
    sock_close(consumer);
    listener_close(&at, fd);
    if (!listener_open(&at, 1, &fd, NULL))
        return false;
    listener_close(&at, fd);
    return true;
}

static void test_port_of_old_connections_is_taken(void **state)
{
    (void)state;
    bool good = false;
    for (int i = 0; i < TRIES && !good; i++)
        good = reopen_after_a_connection();
    assert_true(good);
}

static void test_address_of_another_machine(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_TCP, "192.0.2.1", 4433); /* RFC 5737: nobody's */
    open_bad(&at, "192.0.2.1:4433", "not an address of this machine");
}

static void test_low_port_is_explained(void **state)
{
    (void)state;
    int first_free = 0;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
    if (f != NULL) {
        char text[16] = "";
        if (fgets(text, sizeof(text), f) != NULL)
            first_free = (int)strtol(text, NULL, 10);
        (void)fclose(f);
    }
    if (first_free <= 81)
        skip(); /* low ports are free to all here */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct net_endpoint at = endpoint(NET_TCP, "127.0.0.1", 81);
        struct error err;
        int fd = -1;
        error_init(&err);
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
            _exit(2);
        bool opened = listener_open(&at, 1, &fd, &err);
        _exit(!opened && strstr(err.text, "CAP_NET_BIND_SERVICE") != NULL ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_unix(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_UNIX, path, 0);
    struct stat status;
    mode_t old = umask(0027);
    int fd = open_good(&at);
    (void)umask(old);
    assert_int_equal(lstat(path, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 0777, 0750); /* the umask decides */
    check_serves(fd);
    listener_close(&at, fd);
    assert_int_equal(lstat(path, &status), -1);
    assert_int_equal(errno, ENOENT);
}

static void test_unix_left_by_a_dead_process(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_UNIX, path, 0);
    struct stat status;
    int dead = open_good(&at);
    sock_close(dead); /* as a kill does: the path stays */
    assert_int_equal(lstat(path, &status), 0);
    int fd = open_good(&at);
    check_serves(fd);
    listener_close(&at, fd);
}

static void test_unix_in_use(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_UNIX, path, 0);
    struct net_addr peer;
    int why = 0;
    int accepted = -1;
    int fd = open_good(&at);
    open_bad(&at, path, "in use");
    /* the living one serves on; the probe was a consumer that left */
    assert_int_equal(listener_accept(fd, &accepted, &peer, &why), ACCEPT_OK);
    sock_close(accepted);
    check_serves(fd);
    listener_close(&at, fd);
}

/* Its queue is full: connect says EAGAIN, and it lives all the same. */
static void test_unix_in_use_and_busy(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_UNIX, path, 0);
    struct net_addr address;
    struct error err;
    int fd = -1;
    int waiting[8];
    size_t count = 0;
    int why = 0;
    error_init(&err);
    assert_true(listener_open(&at, 0, &fd, &err));
    net_addr_from_path(&address, path);
    while (count < COUNT(waiting) && sock_connect(&address, &waiting[count], &why))
        count++;
    assert_int_equal(why, EAGAIN);
    open_bad(&at, path, "in use");
    while (count > 0)
        sock_close(waiting[--count]);
    listener_close(&at, fd);
}

static void test_unix_datagram_socket_in_use(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_UNIX, path, 0);
    struct net_addr address;
    struct stat status;
    net_addr_from_path(&address, path);
    int other = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(other, &address.u.sa, address.length), 0);
    open_bad(&at, path, "in use");
    assert_int_equal(lstat(path, &status), 0);
    sock_close(other);
}

static void make_file(const char *name)
{
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "precious", 8), 8);
    sock_close(fd);
}

static void test_unix_never_removes_what_is_no_socket(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_UNIX, path, 0);
    struct stat status;
    make_file(path);
    open_bad(&at, path, "not a socket");
    assert_int_equal(lstat(path, &status), 0);
    assert_int_equal(status.st_size, 8);
    assert_int_equal(unlink(path), 0);

    assert_int_equal(symlink("/nonexistent/target", path), 0);
    open_bad(&at, path, "not a socket");
    assert_int_equal(lstat(path, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_int_equal(unlink(path), 0);

    assert_int_equal(mkdir(path, 0700), 0);
    open_bad(&at, path, "not a socket");
    assert_int_equal(rmdir(path), 0);
}

static void test_unix_close_leaves_what_is_not_ours(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_UNIX, path, 0);
    struct stat status;
    int old = open_good(&at);
    assert_int_equal(unlink(path), 0);
    int successor = open_good(&at);
    listener_close(&at, old);
    assert_int_equal(lstat(path, &status), 0); /* the successor's */
    assert_int_equal(unlink(path), 0);
    make_file(path);
    listener_close(&at, successor);
    assert_int_equal(lstat(path, &status), 0);
    assert_true(S_ISREG(status.st_mode));
}

static void test_unix_directory_is_missing(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_UNIX, "/nonexistent/esclusa/s", 0);
    open_bad(&at, "unix:/nonexistent/esclusa/s", "directory does not exist");
}

static void test_unix_path_through_a_file(void **state)
{
    (void)state;
    char inside[80];
    make_file(path);
    (void)snprintf(inside, sizeof(inside), "%s/s", path);
    struct net_endpoint at = endpoint(NET_UNIX, inside, 0);
    open_bad(&at, inside, "Not a directory");
}

static void test_abstract(void **state)
{
    (void)state;
    char name[64];
    (void)snprintf(name, sizeof(name), "@esclusa-test-%ld", (long)getpid());
    struct net_endpoint at = endpoint(NET_UNIX, name, 0);
    int fd = open_good(&at);
    check_serves(fd);
    open_bad(&at, name, "give another name or stop that process (ss -xlp");
    listener_close(&at, fd);
    fd = open_good(&at); /* gone with its socket */
    listener_close(&at, fd);
}

static void test_accept_statuses(void **state)
{
    (void)state;
    static const struct {
        int why;
        enum accept_status status;
    } cases[] = {
        {EAGAIN, ACCEPT_AGAIN},     {ECONNABORTED, ACCEPT_RETRY}, {EINTR, ACCEPT_RETRY},
        {ENETDOWN, ACCEPT_RETRY},   {EPROTO, ACCEPT_RETRY},       {ENOPROTOOPT, ACCEPT_RETRY},
        {EHOSTDOWN, ACCEPT_RETRY},  {ENONET, ACCEPT_RETRY},       {EHOSTUNREACH, ACCEPT_RETRY},
        {EOPNOTSUPP, ACCEPT_RETRY}, {ENETUNREACH, ACCEPT_RETRY},  {ETIMEDOUT, ACCEPT_RETRY},
        {EPERM, ACCEPT_RETRY},      {EMFILE, ACCEPT_LIMIT},       {ENFILE, ACCEPT_LIMIT},
        {ENOBUFS, ACCEPT_LIMIT},    {ENOMEM, ACCEPT_LIMIT},       {EBADF, ACCEPT_BROKEN},
        {EINVAL, ACCEPT_BROKEN},    {ENOTSOCK, ACCEPT_BROKEN},    {EFAULT, ACCEPT_BROKEN},
    };
    struct net_endpoint at = endpoint(NET_TCP, "127.0.0.1", 0);
    int fd = open_good(&at);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct net_addr peer;
        int accepted = 99;
        int why = 0;
        forced_errno = cases[i].why;
        enum accept_status status = listener_accept(fd, &accepted, &peer, &why);
        forced_errno = 0;
        if (status != cases[i].status)
            fail_msg("errno %d: status %d", cases[i].why, (int)status);
        assert_int_equal(accepted, -1);
        assert_int_equal(why, cases[i].why);
    }
    listener_close(&at, fd);
}

/* The same from the kernel, where it can be had. */
static void test_accept_errors_of_the_kernel(void **state)
{
    (void)state;
    struct net_endpoint at = endpoint(NET_TCP, "127.0.0.1", 0);
    struct net_addr address;
    struct net_addr peer;
    struct rlimit old;
    int accepted = -1;
    int consumer = -1;
    int why = 0;
    assert_int_equal(listener_accept(-1, &accepted, &peer, &why), ACCEPT_BROKEN);
    assert_int_equal(why, EBADF);

    int fd = open_good(&at);
    assert_true(sock_local(fd, &address));
    assert_true(sock_connect(&address, &consumer, &why));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    int lowest = dup(0);
    sock_close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    const struct rlimit none = {.rlim_cur = (rlim_t)lowest, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum accept_status status = listener_accept(fd, &accepted, &peer, &why);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(status, ACCEPT_LIMIT);
    assert_int_equal(why, EMFILE);
    /* it still waits: nothing was lost */
    assert_int_equal(listener_accept(fd, &accepted, &peer, &why), ACCEPT_OK);
    assert_int_equal(listener_accept(accepted, &lowest, &peer, &why), ACCEPT_BROKEN);
    assert_int_equal(why, EINVAL);
    sock_close(accepted);
    sock_close(consumer);
    listener_close(&at, fd);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_tcp),
        CASE(test_accepted_is_tuned),
        CASE(test_ipv6_only),
        CASE(test_every_address_of_both_families),
        CASE(test_name),
        CASE(test_port_in_use),
        CASE(test_port_of_old_connections_is_taken),
        CASE(test_address_of_another_machine),
        CASE(test_low_port_is_explained),
        CASE(test_unix),
        CASE(test_unix_left_by_a_dead_process),
        CASE(test_unix_in_use),
        CASE(test_unix_in_use_and_busy),
        CASE(test_unix_datagram_socket_in_use),
        CASE(test_unix_never_removes_what_is_no_socket),
        CASE(test_unix_close_leaves_what_is_not_ours),
        CASE(test_unix_directory_is_missing),
        CASE(test_unix_path_through_a_file),
        CASE(test_abstract),
        CASE(test_accept_statuses),
        CASE(test_accept_errors_of_the_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
