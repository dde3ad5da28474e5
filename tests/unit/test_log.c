#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/log.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STAMP 24 /* characters of the time */

static int out_fd = -1;
static char out[8 * LOG_LINE_MAX];

static int setup(void **state)
{
    (void)state;
    char name[] = "/tmp/esclusa-test-log-XXXXXX";
    out_fd = mkostemp(name, O_CLOEXEC);
    return out_fd >= 0 && unlink(name) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, STDERR_FILENO);
    return close(out_fd);
}

/* All that was logged so far. */
static const char *logged(void)
{
    ssize_t got = pread(out_fd, out, sizeof(out) - 1, 0);
    assert_true(got >= 0);
    out[got] = '\0';
    return out;
}

static void test_text_line(void **state)
{
    (void)state;
    struct log_line line;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, out_fd);
    log_begin(&line, LOG_LEVEL_INFO, "session");
    log_number(&line, "id", 1);
    log_text(&line, "reason", "done");
    log_text(&line, "left_out", NULL);
    log_text(&line, "empty", "");
    log_text(&line, "upstream", "tls://a-b_c.example:443/@,+");
    log_text(&line, "peer", "two words");
    log_text(&line, "odd", "a=\"b\"\\\n\033\303\251");
    log_number(&line, "least", INT64_MIN);
    log_ms(&line, "ms", 1234);
    log_ms(&line, "short_ms", 7);
    log_ms(&line, "neg_ms", -1500);
    log_ms(&line, "least_ms", INT64_MIN);
    log_flag(&line, "yes", true);
    log_flag(&line, "no", false);
    assert_string_equal(logged(), ""); /* nothing before log_end */
    log_end(&line);
    assert_int_equal(logged()[STAMP - 1], 'Z');
    assert_string_equal(logged() + STAMP,
                        " info session id=1 reason=done empty=\"\" "
                        "upstream=tls://a-b_c.example:443/@,+ peer=\"two words\" "
                        "odd=\"a=\\x22b\\x22\\x5c\\x0a\\x1b\\xc3\\xa9\" "
                        "least=-9223372036854775808 ms=1.234 short_ms=0.007 neg_ms=-1.500 "
                        "least_ms=-9223372036854775.808 yes=true no=false\n");
}

static void test_json_line(void **state)
{
    (void)state;
    struct log_line line;
    log_setup(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON, out_fd);
    log_begin(&line, LOG_LEVEL_WARN, "session");
    log_number(&line, "id", -1);
    log_text(&line, "reason", "done");
    log_text(&line, "left_out", NULL);
    log_text(&line, "empty", "");
    log_text(&line, "odd", "a\"b\\c\n\001\177\303\251/");
    log_ms(&line, "ms", 1234);
    log_flag(&line, "yes", true);
    log_end(&line);
    assert_memory_equal(logged(), "{\"time\":\"2", 10);
    assert_string_equal(
        logged() + strlen("{\"time\":\"") + STAMP,
        "\",\"level\":\"warn\",\"event\":\"session\",\"id\":-1,\"reason\":\"done\","
        "\"empty\":\"\",\"odd\":\"a\\\"b\\\\c\\u000a\\u0001\\u007f\\u00c3\\u00a9/\","
        "\"ms\":1.234,\"yes\":true}\n");
}

static void test_levels(void **state)
{
    (void)state;
    static const char *const words[] = {" error e", " warn e", " info e", " debug e"};
    struct log_line line;
    for (int limit = LOG_LEVEL_ERROR; limit <= LOG_LEVEL_DEBUG; limit++) {
        assert_int_equal(ftruncate(out_fd, 0), 0);
        assert_int_equal(lseek(out_fd, 0, SEEK_SET), 0);
        log_setup((enum log_level)limit, LOG_FORMAT_TEXT, out_fd);
        for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
            assert_int_equal(log_wants((enum log_level)level), level <= limit);
            log_begin(&line, (enum log_level)level, "e");
            assert_int_equal(line.wanted, level <= limit);
            log_text(&line, "a", "b");
            log_number(&line, "n", 1);
            log_end(&line);
            log_message((enum log_level)level, "e", "m");
            assert_int_equal(strstr(logged(), words[level]) != NULL, level <= limit);
        }
    }
}

/* Fields that fit stay whole, the rest goes, and the line says so. */
static void check_cut(enum log_format format, const char *tail)
{
    struct log_line line;
    char key[16];
    assert_int_equal(ftruncate(out_fd, 0), 0);
    assert_int_equal(lseek(out_fd, 0, SEEK_SET), 0);
    log_setup(LOG_LEVEL_INFO, format, out_fd);
    log_begin(&line, LOG_LEVEL_INFO, "long");
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof(key), "k%03d", i);
        log_text(&line, key, "0123456789 0123456789");
    }
    log_text(&line, "small", "x");
    log_end(&line);
    const char *text = logged();
    size_t length = strlen(text);
    assert_true(length <= LOG_LINE_MAX);
    assert_true(length > LOG_LINE_MAX - 80);
    assert_string_equal(text + length - strlen(tail), tail);
    assert_null(strstr(text, "small"));
    assert_int_equal(strchr(text, '\n') - text, (ptrdiff_t)length - 1);
}

static void test_cut_at_a_whole_field(void **state)
{
    (void)state;
    check_cut(LOG_FORMAT_TEXT, "=\"0123456789 0123456789\" truncated=true\n");
    check_cut(LOG_FORMAT_JSON, ":\"0123456789 0123456789\",\"truncated\":true}\n");
}

/* Every length around the limit: never past the array, never a half field. */
static void test_every_length_near_the_limit(void **state)
{
    (void)state;
    static char value[LOG_LINE_MAX + 2];
    struct {
        struct log_line line;
        char guard[8];
    } g;
    for (size_t n = LOG_LINE_MAX - 120; n <= LOG_LINE_MAX; n++) {
        assert_int_equal(ftruncate(out_fd, 0), 0);
        assert_int_equal(lseek(out_fd, 0, SEEK_SET), 0);
        memset(value, 'v', n);
        value[n] = '\0';
        memset(g.guard, '#', sizeof(g.guard));
        log_setup(LOG_LEVEL_INFO, n % 2 == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT, out_fd);
        log_begin(&g.line, LOG_LEVEL_INFO, "e");
        log_text(&g.line, "key", value);
        log_end(&g.line);
        assert_memory_equal(g.guard, "########", 8);
        const char *text = logged();
        assert_int_equal(text[strlen(text) - 1], '\n');
        bool whole = strstr(text, value) != NULL;
        bool cut = strstr(text, "truncated") != NULL;
        assert_true(whole != cut);
        assert_int_equal(whole, strstr(text, "key") != NULL);
    }
}

static void test_message(void **state)
{
    (void)state;
    char text[LOG_LINE_MAX];
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, out_fd);
    log_message(LOG_LEVEL_ERROR, "start", "port %d is taken", 80);
    assert_string_equal(logged() + STAMP, " error start message=\"port 80 is taken\"\n");
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    log_message(LOG_LEVEL_ERROR, "start", "%s", text);
    assert_non_null(strstr(logged(), "xxx truncated=true\n"));
}

static void test_errno_is_kept_and_a_bad_descriptor_is_survived(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, -1);
    errno = EXDEV;
    log_message(LOG_LEVEL_ERROR, "e", "nobody reads this");
    assert_int_equal(errno, EXDEV);
}

#define THREADS 4
#define LINES   200

static void *write_lines(void *arg)
{
    const char *word = arg;
    for (int i = 0; i < LINES; i++) {
        struct log_line line;
        log_begin(&line, LOG_LEVEL_INFO, "thread");
        log_text(&line, "a", word);
        log_text(&line, "b", word);
        log_end(&line);
    }
    return NULL;
}

static void test_lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    static char *words[THREADS];
    pthread_t threads[THREADS];
    static char letters[THREADS][41];
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, out_fd);
    for (int i = 0; i < THREADS; i++) {
        memset(letters[i], 'a' + i, 40);
        words[i] = letters[i];
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, words[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    int good = 0;
    assert_int_equal(lseek(out_fd, 0, SEEK_SET), 0);
    FILE *in = fdopen(dup(out_fd), "r");
    assert_non_null(in);
    char text[256];
    while (fgets(text, sizeof(text), in) != NULL) {
        bool known = false;
        for (int i = 0; i < THREADS; i++) {
            char expected[128];
            (void)snprintf(expected, sizeof(expected), " info thread a=%s b=%s\n", words[i],
                           words[i]);
            known = known || strcmp(text + STAMP, expected) == 0;
        }
        if (!known)
            fail_msg("mixed: %s", text);
        good++;
    }
    assert_int_equal(good, THREADS * LINES);
    (void)fclose(in);
}

/* A pipe that nobody reads: nothing blocks (ctest's time would run out), and when it is read again
 * the log says how much is missing. */
static void test_a_full_pipe_drops_and_counts(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 16384) >= 16384);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, ends[1]);
    for (int i = 0; i < 1000; i++)
        log_message(LOG_LEVEL_INFO, "filler", "%0100d", i);
    size_t lines = 0;
    ssize_t got = read(ends[0], out, sizeof(out) - 1);
    assert_true(got > 0 && got <= 16384);
    for (ssize_t i = 0; i < got; i++)
        lines += out[i] == '\n';
    assert_int_equal(out[got - 1], '\n'); /* whole lines only */

    log_message(LOG_LEVEL_INFO, "after", "again");
    got = read(ends[0], out, sizeof(out) - 1);
    assert_true(got > 0);
    out[got] = '\0';
    char expected[64];
    (void)snprintf(expected, sizeof(expected), " error log_dropped lines=%zu\n", 1000 - lines);
    assert_non_null(strstr(out, expected));
    assert_non_null(strstr(out, " info after message=again\n"));
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, STDERR_FILENO);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_text_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_at_a_whole_field, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_length_near_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errno_is_kept_and_a_bad_descriptor_is_survived, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_lines_of_threads_do_not_mix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_pipe_drops_and_counts, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
