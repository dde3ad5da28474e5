/* Another program, started by the process that was forked before the sandbox. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/launcher.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct launcher l;

static void start(const char *path, const char *script)
{
    static const char *const variables[] = {"LISTEN_FDS", "WORD", "EMPTY", NULL};
    static char words[3][256];
    char *argv[] = {words[0], words[1], words[2], NULL};
    struct error err;
    error_init(&err);
    snprintf(words[0], sizeof words[0], "sh");
    snprintf(words[1], sizeof words[1], "-c");
    snprintf(words[2], sizeof words[2], "%s", script);
    assert_true(launcher_start(&l, path, argv, variables, &err));
}

/* What the program writes to descriptor 3. */
static const char *said(const char *const environment[], pid_t *pid)
{
    static char text[256];
    size_t length = 0;
    ssize_t got;
    int out[2];
    struct error err;
    error_init(&err);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    if (!launcher_run(&l, &out[1], 1, environment, pid, &err))
        fail_msg("%s", err.text);
    close(out[1]);
    while ((got = read(out[0], text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    close(out[0]);
    return text;
}

static void descriptors_and_environment(void **state)
{
    (void)state;
    static const char *const environment[] = {"LISTEN_FDS=1", "WORD=two words", "EMPTY=", NULL};
    char expected[256];
    pid_t pid = -1;
    setenv("BEFORE", "start", 1);
    setenv("WORD", "start", 1);
    start("/bin/sh", "echo \"$$ $LISTEN_PID $LISTEN_FDS $WORD $BEFORE [$EMPTY]\" >&3");
    for (int i = 0; i < 3; i++) { /* as often as it is asked */
        const char *text = said(environment, &pid);
        snprintf(expected, sizeof expected, "%d %d 1 two words start []\n", (int)pid, (int)pid);
        assert_string_equal(text, expected);
    }
    assert_string_equal(getenv("WORD"), "start");
    launcher_stop(&l);
}

static void nothing_else_is_open(void **state)
{
    (void)state;
    pid_t pid = -1;
    int stray = dup(2); /* not close-on-exec, like what a service manager passes */
    assert_true(stray >= 0);
    /* The shell looks by itself: with a pipe it would have that open, too. */
    start("/bin/sh", "s=; i=0; while [ $i -lt 64 ]; do [ -e /proc/$$/fd/$i ] && s=\"$s$i \"; "
                     "i=$((i+1)); done; echo \"$s\" >&3");
    assert_string_equal(said(NULL, &pid), "0 1 2 3 \n");
    close(stray);
    launcher_stop(&l);
}

static void many_in_their_order(void **state)
{
    (void)state;
    int pipes[LAUNCHER_DESCRIPTORS_MAX][2];
    int ends[LAUNCHER_DESCRIPTORS_MAX + 1];
    struct error err;
    pid_t pid = -1;
    char byte[8] = "";
    error_init(&err);
    for (size_t i = 0; i < LAUNCHER_DESCRIPTORS_MAX; i++) {
        assert_int_equal(pipe2(pipes[i], O_CLOEXEC), 0);
        ends[LAUNCHER_DESCRIPTORS_MAX - 1 - i] = pipes[i][1];
    }
    start("/bin/sh", "i=3; while [ $i -lt 253 ]; do echo $i >/proc/$$/fd/$i; i=$((i+1)); done");
    assert_true(launcher_run(&l, ends, LAUNCHER_DESCRIPTORS_MAX, NULL, &pid, &err));
    for (size_t i = 0; i < LAUNCHER_DESCRIPTORS_MAX; i++) {
        assert_true(read(pipes[i][0], byte, sizeof byte - 1) > 0);
        assert_int_equal(atoi(byte), 3 + LAUNCHER_DESCRIPTORS_MAX - 1 - (int)i);
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    assert_false(launcher_run(&l, ends, LAUNCHER_DESCRIPTORS_MAX + 1, NULL, &pid, &err));
    launcher_stop(&l);
}

static void signals_are_as_at_a_start(void **state)
{
    (void)state;
    pid_t pid = -1;
    sigset_t term;
    sigset_t before;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &term, &before);
    start("/bin/sh", "grep -E 'SigBlk|SigIgn' /proc/$$/status | tr -d '\\n\\t' >&3");
    assert_string_equal(said(NULL, &pid), "SigBlk:0000000000000000SigIgn:0000000000000000");
    sigprocmask(SIG_SETMASK, &before, NULL);
    signal(SIGPIPE, SIG_DFL);
    launcher_stop(&l);
}

/* Its parent is init or the like from the start, not the launcher. */
static void it_is_nobody_s_child(void **state)
{
    (void)state;
    char launcher[32];
    pid_t pid = -1;
    start("/bin/sh", "sleep 0.2; grep PPid: /proc/$$/status >&3");
    snprintf(launcher, sizeof launcher, "PPid:\t%d\n", (int)l.pid);
    const char *text = said(NULL, &pid);
    assert_memory_equal(text, "PPid:", 5);
    assert_string_not_equal(text, launcher);
    launcher_stop(&l);
}

static void what_cannot_be_run(void **state)
{
    (void)state;
    struct error err;
    pid_t pid = -1;
    error_init(&err);
    start("/nowhere/at/all", "");
    assert_false(launcher_run(&l, NULL, 0, NULL, &pid, &err));
    assert_non_null(strstr(err.text, strerror(ENOENT)));
    error_clear(&err);
    const char *const wrong[] = {"no equals sign", NULL};
    launcher_stop(&l);
    start("/bin/sh", "exit 0");
    assert_false(launcher_run(&l, NULL, 0, wrong, &pid, &err));
    error_clear(&err);
    const char *const forbidden[] = {"WORD=x", "LD_PRELOAD=/tmp/x.so", NULL};
    assert_false(launcher_run(&l, NULL, 0, forbidden, &pid, &err));
    assert_non_null(strstr(err.text, strerror(EPERM)));
    error_clear(&err);
    assert_true(launcher_run(&l, NULL, 0, NULL, &pid, &err)); /* it goes on */
    launcher_stop(&l);
    assert_false(launcher_run(&l, NULL, 0, NULL, &pid, &err));
}

/* Signals to the process group are the gateway's; its end is the launcher's. */
static void ends_with_the_gateway(void **state)
{
    (void)state;
    int status = 0;
    start("/bin/sh", "exit 0");
    assert_int_equal(kill(l.pid, SIGTERM), 0);
    assert_int_equal(kill(l.pid, SIGINT), 0);
    usleep(50000);
    assert_int_equal(waitpid(l.pid, &status, WNOHANG), 0);
    close(l.fd);
    assert_int_equal(waitpid(l.pid, &status, 0), l.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    l.fd = -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_and_environment), cmocka_unit_test(nothing_else_is_open),
        cmocka_unit_test(many_in_their_order),         cmocka_unit_test(signals_are_as_at_a_start),
        cmocka_unit_test(it_is_nobody_s_child),        cmocka_unit_test(what_cannot_be_run),
        cmocka_unit_test(ends_with_the_gateway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
