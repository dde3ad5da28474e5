#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "view/model.h"
#include "view/why.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_clean(void **state)
{
    (void)state;
    char dst[16];
    view_clean(dst, sizeof dst, "a\\b\"c", 5);
    assert_string_equal(dst, "a\\b\"c");
    view_clean(dst, sizeof dst, "\x1b[2J\n\x7f", 6);
    assert_string_equal(dst, "\\x1b[2J\\x0a\\x7f");
    view_clean(dst, sizeof dst, "\xc2\x9b", 2); /* C1: one character that starts a sequence */
    assert_string_equal(dst, "\\xc2\\x9b");
    view_clean(dst, 6, "abc\n", 4);
    assert_string_equal(dst, "abc");
    view_clean(dst, 3, "abc", 3);
    assert_string_equal(dst, "ab");
}

static void test_failures(void **state)
{
    (void)state;
    struct error err;
    struct failures f;
    error_init(&err);
    assert_true(model_failures(
        &f,
        "{\"total\":300,\"dropped\":2,\"failures\":[{\"id\":7,\"alert\":48,\"depth\":null,"
        "\"reason\":\"upstream_untrusted\",\"service\":5,\"error\":\"a\\u001b[31mb\","
        "\"duration_seconds\":1.5,\"chain\":[\"CN=leaf\",3,\"CN=ca\"],\"new\":{}},5,{}]}",
        &err));
    assert_int_equal(f.total, 300);
    assert_int_equal(f.dropped, 2);
    assert_int_equal(f.count, 3);
    assert_int_equal(f.items[0].id, 7);
    assert_int_equal(f.items[0].alert, 48);
    assert_true(f.items[0].depth == NUMBER_NONE);
    assert_string_equal(f.items[0].reason, "upstream_untrusted");
    assert_string_equal(f.items[0].service, "");
    assert_string_equal(f.items[0].error, "a\\x1b[31mb");
    assert_true(f.items[0].duration_seconds > 1.49 && f.items[0].duration_seconds < 1.51);
    assert_int_equal(f.items[0].chain_count, 2);
    assert_string_equal(f.items[0].chain[1], "CN=ca");
    assert_true(f.items[2].id == NUMBER_NONE);
    assert_true(f.items[2].duration_seconds < 0);
    model_failures_free(&f);
}

static void test_not_ours(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "<html>", "[]", "7", "{}", "{\"failures\":{}}", "{\"failures\":[]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error err;
        struct failures f;
        error_init(&err);
        assert_false(model_failures(&f, bad[i], &err));
        assert_non_null(strstr(err.text, "is it esclusa's admin endpoint?"));
        model_failures_free(&f);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct error err;
    struct failures f;
    char *json = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&json, &size);
    assert_non_null(out);
    fputs("{\"failures\":[1", out);
    for (size_t i = 0; i < FAILURES_MAX + 4; i++)
        fputs(",1", out);
    fputs("]}", out);
    (void)fclose(out);
    error_init(&err);
    assert_true(model_failures(&f, json, &err));
    assert_int_equal(f.count, FAILURES_MAX);
    model_failures_free(&f);
    free(json);
}

static void test_pretty(void **state)
{
    (void)state;
    struct error err;
    error_init(&err);
    char *text = model_pretty("{\"a\":\"\\u001b\\u009b\\u007f\",\"n\":1}", &err);
    assert_non_null(text);
    for (const char *p = text; *p != '\0'; p++)
        assert_true(*p == '\n' || (*p >= 0x20 && *p < 0x7f));
    assert_non_null(strstr(text, "\\u001B\\u009B?"));
    free(text);
    assert_null(model_pretty("nothing", &err));
    assert_true(err.set);
}

static char *printed(const struct failure *f)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    why_print_one(out, f);
    (void)fclose(out);
    return text;
}

static void test_print_one(void **state)
{
    (void)state;
    struct failure f = {.id = 9,
                        .alert = 48,
                        .depth = 1,
                        .attempts = NUMBER_NONE,
                        .bytes_up = NUMBER_NONE,
                        .bytes_down = 3,
                        .duration_seconds = -1,
                        .phase = "upstream_handshake",
                        .reason = "bad",
                        .remedy = "do this",
                        .chain = {"CN=a", "CN=b"},
                        .chain_count = 2};
    char *text = printed(&f);
    assert_string_equal(text, "session      9\n"
                              "phase        upstream_handshake\n"
                              "reason       bad\n"
                              "alert        48 (unknown_ca), sent by the peer\n"
                              "depth        1\n"
                              "chain sent   0: CN=a\n"
                              "             1: CN=b\n"
                              "remedy       do this\n");
    free(text);
    assert_null(why_alert_word(3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),  cmocka_unit_test(test_failures),
        cmocka_unit_test(test_bounds), cmocka_unit_test(test_not_ours),
        cmocka_unit_test(test_pretty), cmocka_unit_test(test_print_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
