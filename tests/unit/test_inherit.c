/* Each case runs in a child of its own, whose descriptors from 3 on are the test's. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/inherit.h>
#include <esclusa/str.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child: the line that is not so is its exit status. */
static void require(bool holds, int line)
{
    if (!holds)
        _exit(line % 250 + 1);
}
#define REQUIRE(what) require(what, __LINE__)

static uint16_t listen_at(int fd, bool listening)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int made = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(made >= 0 && bind(made, (struct sockaddr *)&at, sizeof at) == 0);
    REQUIRE(!listening || listen(made, 4) == 0);
    REQUIRE(getsockname(made, (struct sockaddr *)&at, &length) == 0);
    REQUIRE(made == fd || (dup2(made, fd) == fd && close(made) == 0));
    return ntohs(at.sin_port);
}

static void set_number(const char *variable, long number)
{
    char text[32];
    snprintf(text, sizeof text, "%ld", number);
    REQUIRE(setenv(variable, text, 1) == 0);
}

static void hand_over(const char *count, const char *names)
{
    set_number("LISTEN_PID", getpid());
    REQUIRE(setenv("LISTEN_FDS", count, 1) == 0);
    REQUIRE(names == NULL || setenv("LISTEN_FDNAMES", names, 1) == 0);
}

static struct net_endpoint endpoint(const char *host, uint16_t port)
{
    struct net_endpoint e;
    memset(&e, 0, sizeof e);
    str_copy(e.host, sizeof e.host, host);
    e.port = port;
    return e;
}

static void nothing_is_handed_over(void)
{
    struct inherit in;
    struct error err;
    error_init(&err);
    REQUIRE(inherit_take(&in, &err));
    REQUIRE(in.count == 0 && in.ready_fd == -1 && inherit_count(&in, "a") == 0);
    inherit_fini(&in);
}

static void what_is_another_process_s_is_left_alone(void)
{
    struct inherit in;
    (void)listen_at(3, true);
    hand_over("1", "a");
    set_number("LISTEN_PID", getppid());
    REQUIRE(setenv(INHERIT_READY_FD, "3", 1) == 0);
    REQUIRE(inherit_take(&in, NULL));
    REQUIRE(in.count == 0 && in.ready_fd == -1 && (fcntl(3, F_GETFD) & FD_CLOEXEC) == 0);
    REQUIRE(getenv("LISTEN_PID") == NULL && getenv("LISTEN_FDS") == NULL);
    inherit_fini(&in);
    REQUIRE(fcntl(3, F_GETFD) != -1);
}

static void by_name_and_in_order(void)
{
    struct inherit in;
    struct error err;
    char names[64];
    error_init(&err);
    for (int fd = 3; fd < 7; fd++)
        (void)listen_at(fd, fd != 6);
    hand_over("4", "web:local:web:slow");
    REQUIRE(inherit_take(&in, &err) && in.count == 4);
    REQUIRE(getenv("LISTEN_FDNAMES") == NULL);
    REQUIRE((fcntl(3, F_GETFD) & FD_CLOEXEC) != 0 && (fcntl(3, F_GETFL) & O_NONBLOCK) != 0);
    REQUIRE(inherit_count(&in, "web") == 2 && inherit_count(&in, "we") == 0);
    REQUIRE(inherit_named(&in, "web", 0, &err) == 3 && inherit_named(&in, "web", 1, &err) == 5);
    REQUIRE(inherit_named(&in, "web", 0, &err) == 3); /* again, after a reload */
    REQUIRE(in.items[0].claimed && !in.items[1].claimed);
    REQUIRE(inherit_named(&in, "slow", 0, &err) == -1 &&
            strstr(err.text, "does not listen") != NULL);
    REQUIRE(strcmp(inherit_name(&in, 4), "local") == 0 && inherit_name(&in, 99)[0] == '\0');
    inherit_names(&in, names, sizeof names);
    REQUIRE(strcmp(names, "'web', 'local', 'web', 'slow'") == 0);
    inherit_fini(&in);
    REQUIRE(fcntl(3, F_GETFD) == -1);
}

static void by_address_once(void)
{
    struct inherit in;
    bool own = false;
    uint16_t port = listen_at(3, true), other = listen_at(4, true);
    hand_over("2", ":kept");
    REQUIRE(inherit_take(&in, NULL) && in.count == 2);
    struct net_endpoint at = endpoint("127.0.0.1", port), named = endpoint("localhost", other);
    struct net_endpoint elsewhere = endpoint("127.0.0.2", port);
    REQUIRE(inherit_count(&in, "") == 0);
    REQUIRE(inherit_at(&in, &elsewhere, &own) == -1);
    REQUIRE(inherit_at(&in, &at, &own) == 3 && own);
    REQUIRE(inherit_at(&in, &at, &own) == -1);
    REQUIRE(inherit_at(&in, &named, &own) == 4 && !own);
    REQUIRE(inherit_at(&in, &named, &own) == 4 && !own);
    inherit_fini(&in);
    REQUIRE(fcntl(3, F_GETFD) != -1 && fcntl(4, F_GETFD) == -1);
}

static void by_path(void)
{
    struct inherit in;
    bool own = false;
    struct net_addr a;
    struct net_endpoint e;
    memset(&e, 0, sizeof e);
    e.scheme = NET_UNIX;
    snprintf(e.path, sizeof e.path, "@esclusa-test-%d", (int)getpid());
    size_t length = strlen(e.path);
    net_addr_from_path(&a, e.path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(bind(fd, &a.u.sa, a.length) == 0 && listen(fd, 1) == 0 && dup2(fd, 3) == 3);
    hand_over("1", "");
    REQUIRE(inherit_take(&in, NULL));
    e.path[length] = 'x'; /* a longer name is another */
    REQUIRE(inherit_at(&in, &e, &own) == -1);
    e.path[length] = '\0';
    REQUIRE(inherit_at(&in, &e, &own) == 3 && own);
    inherit_fini(&in);
}

static void fewer_names_and_none(void)
{
    struct inherit in;
    (void)listen_at(3, true);
    (void)listen_at(4, true);
    hand_over("2", "a");
    REQUIRE(inherit_take(&in, NULL) && in.items[1].name[0] == '\0');
    free(in.items);
    REQUIRE(unsetenv("LISTEN_FDNAMES") == 0);
    hand_over("2", NULL);
    REQUIRE(inherit_take(&in, NULL) && inherit_count(&in, "unknown") == 2);
    inherit_fini(&in);
}

static void the_pipe(void)
{
    struct inherit in;
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    set_number(INHERIT_READY_FD, ends[1]);
    hand_over("0", NULL);
    REQUIRE(inherit_take(&in, NULL) && in.ready_fd == ends[1] && in.count == 0);
    REQUIRE((fcntl(ends[1], F_GETFD) & FD_CLOEXEC) != 0 && getenv(INHERIT_READY_FD) == NULL);
    inherit_fini(&in);
}

static void what_is_wrong_is_told(void)
{
    static const struct {
        const char *pid, *count, *ready, *word;
    } cases[] = {{"x", "1", "", "LISTEN_PID"},     {"", "x", "", "LISTEN_FDS"},
                 {"", "-1", "", "LISTEN_FDS"},     {"", "99999999999", "", "LISTEN_FDS"},
                 {"", "0", "y", INHERIT_READY_FD}, {"", "2", "", "descriptor 4 is not open"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct inherit in;
        struct error err;
        error_init(&err);
        (void)close(4);
        (void)listen_at(3, true);
        hand_over(cases[i].count, NULL);
        if (cases[i].pid[0] != '\0')
            REQUIRE(setenv("LISTEN_PID", cases[i].pid, 1) == 0);
        if (cases[i].ready[0] != '\0')
            REQUIRE(setenv(INHERIT_READY_FD, cases[i].ready, 1) == 0);
        REQUIRE(!inherit_take(&in, &err) && strstr(err.text, cases[i].word) != NULL);
        inherit_fini(&in);
    }
}

static void in_a_child(void (*what)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (int fd = 3; fd < 64; fd++)
            (void)close(fd);
        what();
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0); /* the line modulo 250, plus one */
}

#define CASE(name)                                                                                 \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        in_a_child(name);                                                                          \
    }
CASE(nothing_is_handed_over)
CASE(what_is_another_process_s_is_left_alone)
CASE(by_name_and_in_order)
CASE(by_address_once)
CASE(by_path)
CASE(fewer_names_and_none)
CASE(the_pipe)
CASE(what_is_wrong_is_told)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_handed_over),
        cmocka_unit_test(test_what_is_another_process_s_is_left_alone),
        cmocka_unit_test(test_by_name_and_in_order),
        cmocka_unit_test(test_by_address_once),
        cmocka_unit_test(test_by_path),
        cmocka_unit_test(test_fewer_names_and_none),
        cmocka_unit_test(test_the_pipe),
        cmocka_unit_test(test_what_is_wrong_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
