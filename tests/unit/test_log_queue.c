/* Lines on their way to a file, a pipe or a syslog server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/clock.h>
#include <esclusa/log.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char directory[] = "/tmp/esclusa-log-XXXXXX";
static char path[128], moved[128];

static int make_directory(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof directory, "/tmp/esclusa-log-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/log", directory);
    (void)snprintf(moved, sizeof moved, "%s/log.1", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(moved);
    return rmdir(directory);
}

static void open_log(const char *scheme)
{
    char to[160];
    struct error err;
    error_init(&err);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, STDERR_FILENO);
    (void)snprintf(to, sizeof to, "%s:%s", scheme, path);
    if (!log_open(to, &err))
        fail_msg("%s", err.text);
}

static void start(void)
{
    struct error err;
    error_init(&err);
    assert_true(log_start(&err));
}

static char *text_of(const char *name)
{
    static char text[4 * 1024 * 1024];
    FILE *in = fopen(name, "r");
    assert_non_null(in);
    size_t length = fread(text, 1, sizeof text - 1, in);
    (void)fclose(in);
    text[length] = '\0';
    return text;
}

static unsigned count_of(const char *text, const char *word)
{
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        count++;
    return count;
}

static void what_is_a_place(void **state)
{
    (void)state;
    static const char *const good[] = {"stderr", "syslog", "file:/var/log/x", "syslog:/run/log"};
    static const char *const bad[] = {"", "stdout", "file:", "file:x", "/var/log/x", "syslog:log"};
    struct error err;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        error_init(&err);
        assert_true(log_is_place(good[i], &err));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        error_init(&err);
        assert_false(log_is_place(bad[i], &err));
    }
}

static void a_file_is_rotated(void **state)
{
    (void)state;
    struct error err;
    struct stat status;
    error_init(&err);
    open_log("file");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    start();
    log_message(LOG_LEVEL_INFO, "first", "x");
    for (int i = 0; i < 100 && strstr(text_of(path), "first") == NULL; i++)
        usleep(10000);
    assert_int_equal(rename(path, moved), 0);
    log_message(LOG_LEVEL_INFO, "second", "x");
    for (int i = 0; i < 100 && strstr(text_of(moved), "second") == NULL; i++)
        usleep(10000);
    assert_true(log_reopen(&err));
    log_message(LOG_LEVEL_INFO, "third", "x");
    log_stop(5000);
    assert_int_equal(count_of(text_of(moved), "message=x"), 2);
    assert_int_equal(count_of(text_of(path), "third message=x"), 1);
}

static void one_that_cannot_be_opened_again_goes_on(void **state)
{
    (void)state;
    struct error err;
    error_init(&err);
    open_log("file");
    start();
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(log_reopen(&err));
    assert_non_null(strstr(err.text, path));
    log_message(LOG_LEVEL_INFO, "still", "x");
    log_stop(5000);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(count_of(text_of(moved), "still"), 1);
}

#define THREADS 4
#define LINES   2000

static void *write_lines(void *context)
{
    for (int i = 0; i < LINES; i++)
        log_message(LOG_LEVEL_INFO, "line", "%c%d", *(const char *)context, i);
    return NULL;
}

/* Whole, and each thread's in its order. */
static void lines_of_several_threads(void **state)
{
    (void)state;
    static char names[THREADS + 1] = "abcd";
    pthread_t threads[THREADS];
    int next[THREADS] = {0};
    open_log("file");
    start();
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &names[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    log_stop(20000);
    char *rest = NULL;
    for (char *line = strtok_r(text_of(path), "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        const char *message = strstr(line, "line message=");
        assert_non_null(message);
        message += strlen("line message=");
        int *expected = &next[message[0] - 'a'];
        assert_int_equal(atoi(message + 1), *expected);
        ++*expected;
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(next[i], LINES);
}

/* Nobody reads: whoever logs goes on, what is lost is counted, and the end does not wait for ever.
 */
static void a_pipe_that_nobody_reads(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, ends[1]);
    const uint64_t before = log_lines_dropped();
    start();
    for (int i = 0; i < 20000; i++)
        log_message(LOG_LEVEL_INFO, "flood", "%0100d", i);
    assert_true(log_lines_dropped() > before);
    /* It is read again: what was queued comes, and how many were lost. */
    static char text[8 * 1024 * 1024];
    size_t length = 0;
    for (int i = 0; i < 1000 && strstr(text, "log_dropped lines=") == NULL; i++) {
        ssize_t got = read(ends[0], text + length, sizeof text - 1 - length);
        assert_true(got > 0);
        length += (size_t)got;
    }
    assert_non_null(strstr(text, "log_dropped lines="));
    close(ends[0]); /* EPIPE: what is left goes nowhere */
    log_stop(5000);
    close(ends[1]);
}

static void a_syslog_server(void **state)
{
    (void)state;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char packet[8192];
    memcpy(at.sun_path, path, strlen(path) + 1);
    for (int round = 0; round < 2; round++) { /* it is started anew */
        int server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        const struct timeval patience = {.tv_sec = 10};
        (void)unlink(path);
        assert_int_equal(bind(server, (const struct sockaddr *)&at, sizeof at), 0);
        setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (round == 0) {
            open_log("syslog");
            start();
        }
        log_message(LOG_LEVEL_WARN, "told", "two words");
        ssize_t got = recv(server, packet, sizeof packet - 1, 0);
        assert_true(got > 0);
        packet[got] = '\0';
        assert_memory_equal(packet, "<28>", 4); /* daemon, warning */
        char tail[64];
        (void)snprintf(tail, sizeof tail, " esclusa[%d]: told message=\"two words\"",
                       (int)getpid());
        assert_string_equal(packet + strlen(packet) - strlen(tail), tail);
        close(server);
    }
    log_stop(5000);
}

/* Last, for its thread never ends. */
static void the_end_with_a_reader_that_has_stopped(void **state)
{
    (void)state;
    static int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, ends[1]);
    start();
    for (int i = 0; i < 2000; i++)
        log_message(LOG_LEVEL_INFO, "flood", "%0100d", i);
    const int64_t began = clock_ms();
    log_stop(200);
    assert_in_range(clock_ms() - began, 190, 10000);
    close(ends[0]); /* EPIPE: it ends after all */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_a_place),
        cmocka_unit_test_setup_teardown(a_file_is_rotated, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(one_that_cannot_be_opened_again_goes_on, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(lines_of_several_threads, make_directory, remove_directory),
        cmocka_unit_test(a_pipe_that_nobody_reads),
        cmocka_unit_test_setup_teardown(a_syslog_server, make_directory, remove_directory),
        cmocka_unit_test(the_end_with_a_reader_that_has_stopped),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
