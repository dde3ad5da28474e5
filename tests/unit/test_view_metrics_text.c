#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "view/metrics_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_samples(void **state)
{
    (void)state;
    const char *at = "# HELP a b\n"
                     "# TYPE a counter\n"
                     "a 1\n"
                     "\n"
                     "b_total{service=\"web\",le=\"0.5\"} 12.25\r\n"
                     "c{} -3e2 1700000000000\n"
                     "d{x=\"}\\\"{,\",y=\"\"} +Inf\n"
                     "e NaN";
    struct metric_sample s;
    char text[32];
    assert_true(metrics_next(&at, &s));
    assert_true(metrics_is(&s, "a"));
    assert_false(metrics_is(&s, "ab"));
    assert_false(metrics_is(&s, ""));
    assert_float_equal(s.value, 1, 0);
    assert_false(metrics_label(&s, "service", text, sizeof text));
    assert_true(metrics_next(&at, &s));
    assert_true(metrics_is(&s, "b_total"));
    assert_true(metrics_label(&s, "service", text, sizeof text));
    assert_string_equal(text, "web");
    assert_true(metrics_label(&s, "le", text, sizeof text));
    assert_string_equal(text, "0.5");
    assert_false(metrics_label(&s, "l", text, sizeof text));
    assert_string_equal(text, "");
    assert_float_equal(s.value, 12.25, 0);
    assert_true(metrics_next(&at, &s));
    assert_float_equal(s.value, -300, 0);
    assert_true(metrics_next(&at, &s));
    assert_true(metrics_label(&s, "x", text, sizeof text));
    assert_string_equal(text, "}\"{,");
    assert_true(metrics_label(&s, "y", text, sizeof text));
    assert_string_equal(text, "");
    assert_true(isinf(s.value));
    assert_true(metrics_next(&at, &s));
    assert_true(isnan(s.value));
    assert_false(metrics_next(&at, &s));
}

/* None of these lines is a sample; the one behind it is. */
static void test_garbage(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "a",
        "a ",
        "a{",
        "a{b",
        "a{b=",
        "a{b=\"",
        "a{b=\"c",
        "a{b=\"c\"",
        "a{b=\"c\"}",
        "a{b=\"c\"}1",
        "a{b=c} 1",
        "a{=} 1",
        "{b=\"c\"} 1x",
        "1a 1",
        "a x",
        "a 1x",
        "a 0x10",
        "a nan(1)",
        "a infinity",
        "a 1 1{",
        " a 1",
        "a{b=\"c\";d=\"e\"} 1",
        "a{b=\"c\\\"} 1",
        "a\t1",
        "<html>",
        "a{b=\"c\"d=\"e\"} 1",
        "a 11111111111111111111111111111111111111111111111111111111111111111111111111111111111111"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[256];
        struct metric_sample s;
        const char *at = text;
        (void)snprintf(text, sizeof text, "%s\nlast 7\n", lines[i]);
        assert_true(metrics_next(&at, &s));
        if (strcmp(lines[i], "a 1 1{") == 0) { /* a time, which is not looked at */
            assert_true(metrics_is(&s, "a"));
            continue;
        }
        if (!metrics_is(&s, "last") || s.value < 7)
            fail_msg("%s was taken", lines[i]);
        assert_false(metrics_next(&at, &s));
    }
}

static void test_labels_are_clean_and_cut(void **state)
{
    (void)state;
    const char *at = "a{x=\"\x1b[2J\\n\\\\n\xc3\",y=\"12345678\"} 1\n";
    struct metric_sample s;
    char text[40];
    assert_true(metrics_next(&at, &s));
    assert_true(metrics_label(&s, "x", text, sizeof text));
    assert_string_equal(text, "\\x1b[2J\\x0a\\n\\xc3");
    assert_true(metrics_label(&s, "y", text, 5));
    assert_string_equal(text, "1234");
}

/* Whatever it is: it ends, and reads nothing but the text (the sanitizers look). */
static void test_any_bytes(void **state)
{
    (void)state;
    static const char bytes[] = "a1{}=\",\\ \n#+.e\x01\xff";
    uint32_t seed = 1;
    for (unsigned round = 0; round < 20000; round++) {
        char *text = malloc(41), label[8];
        assert_non_null(text);
        const size_t length = round % 41;
        for (size_t i = 0; i < length; i++) {
            seed = seed * 1664525 + 1013904223;
            text[i] = bytes[(seed >> 16) % (sizeof bytes - 1)];
        }
        text[length] = '\0';
        char *exact = strdup(text);
        free(text);
        const char *at = exact;
        struct metric_sample s;
        while (metrics_next(&at, &s)) {
            (void)metrics_label(&s, "a", label, sizeof label);
            (void)metrics_label(&s, "", label, sizeof label);
        }
        assert_int_equal(*at, '\0');
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_labels_are_clean_and_cut),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
