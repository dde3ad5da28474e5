#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/error.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void test_first_reason_wins(void **state)
{
    (void)state;
    struct error err;
    error_init(&err);
    assert_false(err.set);
    assert_string_equal(err.text, "");
    assert_false(error_set(&err, "port %d", 80));
    assert_true(err.set);
    assert_string_equal(err.text, "port 80");
    assert_false(error_set(&err, "later"));
    assert_false(error_set_errno(&err, EPERM, "later"));
    assert_string_equal(err.text, "port 80");
    error_clear(&err);
    assert_false(err.set);
    assert_string_equal(err.text, "");
    (void)error_set(&err, "again");
    assert_string_equal(err.text, "again");
}

static void test_null_is_taken(void **state)
{
    (void)state;
    assert_false(error_set(NULL, "x"));
    assert_false(error_set_errno(NULL, EPERM, "x"));
    error_prefix(NULL, "x");
}

static void test_errno_text(void **state)
{
    (void)state;
    struct error err;
    char expected[128];
    error_init(&err);
    assert_false(error_set_errno(&err, ENOENT, "open %s", "a.pem"));
    (void)snprintf(expected, sizeof(expected), "open a.pem: %s", strerror(ENOENT));
    assert_string_equal(err.text, expected);
}

static void test_prefix(void **state)
{
    (void)state;
    struct error err;
    error_init(&err);
    error_prefix(&err, "nothing");
    assert_false(err.set);
    assert_string_equal(err.text, "");
    (void)error_set(&err, "bad value");
    error_prefix(&err, "%s:%d", "a.conf", 7);
    error_prefix(&err, "config");
    assert_string_equal(err.text, "config: a.conf:7: bad value");
    /* an error's own text may be an argument of its prefix */
    error_prefix(&err, "%s", err.text);
    assert_string_equal(err.text, "config: a.conf:7: bad value: config: a.conf:7: bad value");
    assert_true(err.set);
}

static void test_one_line(void **state)
{
    (void)state;
    struct error err;
    error_init(&err);
    (void)error_set(&err, "%s", "a\nb\tc\033[2J\177d\r\n");
    assert_string_equal(err.text, "a b c [2J d");
    error_prefix(&err, "x\ny");
    assert_string_equal(err.text, "x y: a b c [2J d");
    error_clear(&err);
    (void)error_set_errno(&err, EPERM, "a\nb");
    assert_null(strchr(err.text, '\n'));
}

static void test_long_text_is_cut(void **state)
{
    (void)state;
    struct error err;
    char text[ERROR_TEXT_MAX + 100];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    error_init(&err);
    (void)error_set(&err, "%s", text);
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
    error_prefix(&err, "%s", "front");
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
    assert_memory_equal(err.text, "front: xxx", 10);
    error_clear(&err);
    (void)error_set_errno(&err, EPERM, "%s", text);
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_reason_wins), cmocka_unit_test(test_null_is_taken),
        cmocka_unit_test(test_errno_text),        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_one_line),          cmocka_unit_test(test_long_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
