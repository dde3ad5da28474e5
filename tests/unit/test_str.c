#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/str.h>

#include <stdlib.h>
#include <string.h>

static void test_copy(void **state)
{
    (void)state;
    char dst[5];
    assert_true(str_copy(dst, sizeof(dst), ""));
    assert_string_equal(dst, "");
    assert_true(str_copy(dst, sizeof(dst), "abcd"));
    assert_string_equal(dst, "abcd");
    assert_false(str_copy(dst, sizeof(dst), "abcde"));
    assert_string_equal(dst, "abcd");
    assert_false(str_copy(dst, 1, "a"));
    assert_string_equal(dst, "");
}

static void test_append(void **state)
{
    (void)state;
    char dst[8] = "";
    size_t len = 0;
    assert_true(str_append(dst, sizeof(dst), &len, "%d", 12));
    assert_true(str_append(dst, sizeof(dst), &len, "-%s", "ab"));
    assert_int_equal(len, 5);
    assert_string_equal(dst, "12-ab");
    assert_true(str_append(dst, sizeof(dst), &len, "%s", "cd"));
    assert_int_equal(len, 7);
    assert_false(str_append(dst, sizeof(dst), &len, "e"));
    assert_int_equal(len, 7);
    assert_string_equal(dst, "12-abcd");
    len = 5;
    dst[5] = '\0';
    assert_false(str_append(dst, sizeof(dst), &len, "xyz"));
    assert_int_equal(len, 7);
    assert_string_equal(dst, "12-abxy");
    len = sizeof(dst);
    assert_false(str_append(dst, sizeof(dst), &len, "x"));
}

static void test_escape(void **state)
{
    (void)state;
    char dst[64];
    str_escape(dst, sizeof(dst), "plain ~!", 8);
    assert_string_equal(dst, "plain ~!");
    str_escape(dst, sizeof(dst), "a\"b\\c", 5);
    assert_string_equal(dst, "a\\x22b\\x5cc");
    str_escape(dst, sizeof(dst), "\0\n\033\177\200\377", 6);
    assert_string_equal(dst, "\\x00\\x0a\\x1b\\x7f\\x80\\xff");
    str_escape(dst, sizeof(dst), "", 0);
    assert_string_equal(dst, "");
}

static void test_escape_cuts_at_a_whole_escape(void **state)
{
    (void)state;
    char dst[16];
    for (size_t size = 1; size <= 10; size++) {
        memset(dst, '#', sizeof(dst));
        str_escape(dst, size, "a\nb\nc", 5);
        size_t length = strlen(dst);
        assert_true(length < size);
        /* "a", "a\x0a", "a\x0ab", "a\x0ab\x0a": nothing between */
        size_t expected = size <= 1 ? 0 : size <= 5 ? 1 : size <= 6 ? 5 : 6;
        assert_int_equal(length, expected);
        assert_memory_equal(dst, "a\\x0ab\\x0ac", length);
        assert_int_equal(dst[size], '#');
    }
    dst[0] = '#';
    str_escape(dst, 0, "a", 1);
    assert_int_equal(dst[0], '#');
}

static void test_equal_and_dup(void **state)
{
    (void)state;
    assert_true(str_equal(NULL, NULL));
    assert_false(str_equal(NULL, ""));
    assert_false(str_equal("", NULL));
    assert_true(str_equal("a", "a"));
    assert_false(str_equal("a", "A"));
    assert_null(str_dup(NULL));
    char *copy = str_dup("abc");
    assert_string_equal(copy, "abc");
    free(copy);
}

static void test_parse_u64(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "+1",
                                      "-1",
                                      " 1",
                                      "1 ",
                                      "1x",
                                      "0x1",
                                      "1.0",
                                      "18446744073709551616",
                                      "99999999999999999999999"};
    uint64_t value = 77;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(str_parse_u64(bad[i], 0, UINT64_MAX, &value));
    assert_false(str_parse_u64(NULL, 0, UINT64_MAX, &value));
    assert_false(str_parse_u64("4", 5, 7, &value));
    assert_false(str_parse_u64("8", 5, 7, &value));
    assert_int_equal(value, 77);
    assert_true(str_parse_u64("5", 5, 7, &value));
    assert_int_equal(value, 5);
    assert_true(str_parse_u64("007", 5, 7, &value));
    assert_int_equal(value, 7);
    assert_true(str_parse_u64("18446744073709551615", 0, UINT64_MAX, &value));
    assert_true(value == UINT64_MAX);
}

static void test_parse_duration(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0", 0},
                {"0s", 0},
                {"500ms", 500},
                {"5s", 5000},
                {"10m", 600000},
                {"1h", 3600000},
                {"2d", 172800000},
                {"9223372036854775807ms", INT64_MAX},
                {"9223372036854775s", 9223372036854775000}};
    static const char *const bad[] = {"",
                                      "5",
                                      "s",
                                      "-5s",
                                      "+5s",
                                      "1.5s",
                                      " 5s",
                                      "5 s",
                                      "5s ",
                                      "5S",
                                      "5sec",
                                      "5s5",
                                      "1h30m",
                                      "9223372036854775808ms",
                                      "9223372036854776s",
                                      "106751991168d",
                                      "99999999999999999999s"};
    int64_t ms = 77;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (str_parse_duration(bad[i], &ms))
            fail_msg("'%s' was taken", bad[i]);
    }
    assert_false(str_parse_duration(NULL, &ms));
    assert_int_equal(ms, 77);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(str_parse_duration(good[i].text, &ms));
        assert_true(ms == good[i].ms);
    }
}

static void test_format_duration(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{0, "0"},
                 {1, "1ms"},
                 {1500, "1500ms"},
                 {1000, "1s"},
                 {90000, "90s"},
                 {60000, "1m"},
                 {3600000, "1h"},
                 {5400000, "90m"},
                 {86400000, "1d"},
                 {90000000, "25h"},
                 {INT64_MAX, "9223372036854775807ms"},
                 {-1000, "-1s"}};
    char dst[32];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t back = -1;
        str_format_duration(dst, sizeof(dst), cases[i].ms);
        assert_string_equal(dst, cases[i].text);
        if (cases[i].ms >= 0) {
            assert_true(str_parse_duration(dst, &back));
            assert_true(back == cases[i].ms);
        }
    }
    str_format_duration(dst, 3, 90000);
    assert_string_equal(dst, "90");
}

static void test_distance(void **state)
{
    (void)state;
    char word[200];
    memset(word, 'a', sizeof(word));
    word[sizeof(word) - 1] = '\0';
    assert_int_equal(str_distance("", ""), 0);
    assert_int_equal(str_distance("", "abc"), 3);
    assert_int_equal(str_distance("abc", ""), 3);
    assert_int_equal(str_distance("kitten", "sitting"), 3);
    assert_int_equal(str_distance("sitting", "kitten"), 3);
    assert_int_equal(str_distance("worker", "workers"), 1);
    assert_int_equal(str_distance("lisetn", "listen"), 2);
    assert_int_equal(str_distance("same", "same"), 0);
    assert_int_equal(str_distance(word, "a"), 199);
    word[64] = '\0';
    assert_int_equal(str_distance(word, word), 0);
    assert_int_equal(str_distance(word, "b"), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy),           cmocka_unit_test(test_append),
        cmocka_unit_test(test_escape),         cmocka_unit_test(test_escape_cuts_at_a_whole_escape),
        cmocka_unit_test(test_equal_and_dup),  cmocka_unit_test(test_parse_u64),
        cmocka_unit_test(test_parse_duration), cmocka_unit_test(test_format_duration),
        cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
