#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "core/notify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];
static int manager = -1;

static void listen_there(void)
{
    struct net_addr at;
    net_addr_from_path(&at, path);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_true(manager >= 0);
    assert_int_equal(bind(manager, &at.u.sa, at.length), 0);
}

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "@esclusa-notify-%d", (int)getpid());
    setenv("NOTIFY_SOCKET", path, 1);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    listen_there();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close(manager);
    return 0;
}

static void assert_heard(const char *expected)
{
    char text[NOTIFY_TEXT_MAX + 1];
    ssize_t got = recv(manager, text, sizeof text - 1, 0);
    assert_true(got >= 0);
    text[got] = '\0';
    assert_string_equal(text, expected);
}

static struct notify opened(bool took_over)
{
    struct notify n;
    struct error err;
    error_init(&err);
    if (!notify_open(&n, took_over, &err))
        fail_msg("%s", err.text);
    return n;
}

static void what_is_said_is_heard(void **state)
{
    (void)state;
    struct notify n = opened(false);
    notify_say(&n, "READY=%d\nSTATUS=%s", 1, "fine");
    assert_heard("READY=1\nSTATUS=fine");
    notify_remark(&n, "WATCHDOG=1");
    assert_heard("WATCHDOG=1");
    notify_close(&n);
    notify_say(&n, "READY=1"); /* nobody listens: nothing happens */
    assert_int_equal(recv(manager, path, 1, MSG_PEEK), -1);
}

static void nobody_listens(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    struct notify n = opened(false);
    assert_int_equal(n.fd, -1);
    notify_say(&n, "READY=1");
    setenv("NOTIFY_SOCKET", "", 1);
    n = opened(false);
    assert_int_equal(n.fd, -1);
}

static void what_is_no_address(void **state)
{
    (void)state;
    static const char *const bad[] = {"relative", "vsock:2:1234", "@nobody-is-there",
                                      "/nowhere/at/all", NULL};
    char longest[300];
    memset(longest, 'x', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    for (size_t i = 0; i <= sizeof bad / sizeof bad[0] - 1; i++) {
        struct notify n;
        struct error err;
        error_init(&err);
        setenv("NOTIFY_SOCKET", bad[i] != NULL ? bad[i] : longest, 1);
        assert_false(notify_open(&n, false, &err));
        assert_non_null(strstr(err.text, "NOTIFY_SOCKET"));
        assert_int_equal(n.fd, -1);
    }
}

static void the_watchdog_s_time(void **state)
{
    (void)state;
    char own[32];
    snprintf(own, sizeof own, "%d", (int)getpid());
    static const struct {
        const char *usec, *pid;
        bool took_over;
        int64_t ms;
    } cases[] = {{"30000000", NULL, false, 30000},
                 {"30000000", "own", false, 30000},
                 {"30000000", "1", false, 0},
                 {"30000000", "1", true, 30000},
                 {"x", NULL, false, 0},
                 {"0", NULL, false, 0},
                 {"1500", "x", false, 0},
                 {"1500", "own", false, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *pid = cases[i].pid;
        setenv("WATCHDOG_USEC", cases[i].usec, 1);
        if (pid == NULL)
            unsetenv("WATCHDOG_PID");
        else
            setenv("WATCHDOG_PID", strcmp(pid, "own") == 0 ? own : pid, 1);
        struct notify n = opened(cases[i].took_over);
        assert_int_equal(n.watchdog_ms, cases[i].ms);
        notify_close(&n);
    }
}

static void a_manager_that_came_back(void **state)
{
    (void)state;
    struct notify n = opened(false);
    close(manager);
    notify_say(&n, "LOST=1");
    assert_int_equal(n.fd, -1);
    listen_there();
    n = opened(false);
    close(manager);
    listen_there();
    notify_say(&n, "READY=1");
    assert_heard("READY=1");
    notify_close(&n);
}

/* A remark is dropped at once; what must be said waits a second at most. */
static void a_manager_that_does_not_read(void **state)
{
    (void)state;
    struct notify n = opened(false);
    while (send(n.fd, "X", 1, MSG_DONTWAIT) == 1)
        continue;
    assert_int_equal(errno, EAGAIN);
    notify_remark(&n, "WATCHDOG=1");
    notify_say(&n, "READY=1");
    assert_true(n.fd >= 0); /* it goes on */
    while (recv(manager, path + 40, 1, 0) >= 0)
        continue;
    notify_say(&n, "READY=1");
    assert_heard("READY=1");
    notify_close(&n);
}

static void a_text_that_is_too_long_is_cut(void **state)
{
    (void)state;
    char text[2 * NOTIFY_TEXT_MAX], expected[NOTIFY_TEXT_MAX];
    struct notify n = opened(false);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    memset(expected, 'x', sizeof expected - 1);
    expected[sizeof expected - 1] = '\0';
    notify_say(&n, "%s", text);
    assert_heard(expected);
    notify_close(&n);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_said_is_heard),
        TEST(nobody_listens),
        TEST(what_is_no_address),
        TEST(the_watchdog_s_time),
        TEST(a_manager_that_came_back),
        TEST(a_manager_that_does_not_read),
        TEST(a_text_that_is_too_long_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
