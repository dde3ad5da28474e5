/* A text that grows, and JSON written into it: commas, nesting, and whatever bytes a peer sends. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/json.h>

#include <stdlib.h>
#include <string.h>

static void a_text_grows(void **state)
{
    (void)state;
    struct text t = {.data = NULL};
    for (int i = 0; i < 5000; i++)
        text_add(&t, "%04d,", i);
    assert_int_equal(t.length, 25000);
    assert_int_equal(strlen(t.data), 25000);
    assert_memory_equal(t.data + (size_t)4999 * 5, "4999,", 5);
    text_put(&t, "a\0b", 3);
    assert_int_equal(t.length, 25003);
    text_fini(&t);
    assert_null(t.data);
    text_add(&t, "again");
    assert_string_equal(t.data, "again");
    text_fini(&t);
}

static void what_failed_stays_failed(void **state)
{
    (void)state;
    struct text t = {.failed = true};
    text_add(&t, "x");
    text_put(&t, "x", 1);
    assert_null(t.data);
    assert_int_equal(t.length, 0);
}

static void nesting_and_commas(void **state)
{
    (void)state;
    struct text t = {.data = NULL};
    struct json j = {.out = &t};
    json_open(&j, NULL, '{');
    json_text(&j, "a", "b");
    json_number(&j, "n", INT64_MIN);
    json_open(&j, "empty", '[');
    json_close(&j, ']');
    json_open(&j, "list", '[');
    json_text(&j, NULL, NULL);
    json_open(&j, NULL, '{');
    json_flag(&j, "t", true);
    json_flag(&j, "f", false);
    json_close(&j, '}');
    json_close(&j, ']');
    json_given(&j, "none", "");
    json_null(&j, "null");
    json_seconds(&j, "s", 1234567);
    json_seconds(&j, "past", -500);
    json_seconds(&j, "least", INT64_MIN);
    json_close(&j, '}');
    assert_string_equal(t.data, "{\"a\":\"b\",\"n\":-9223372036854775808,\"empty\":[],"
                                "\"list\":[null,{\"t\":true,\"f\":false}],\"none\":null,"
                                "\"null\":null,\"s\":1.234567,\"past\":-0.000500,"
                                "\"least\":-9223372036854.775808}");
    text_fini(&t);
}

static void any_byte_is_ascii_and_valid(void **state)
{
    (void)state;
    struct text t = {.data = NULL};
    struct json j = {.out = &t};
    json_text(&j, NULL, "q\"b\\n\n\x01\x7f\xc3\xa4</script>");
    assert_string_equal(t.data, "\"q\\\"b\\\\n\\u000a\\u0001\\u007f\\u00c3\\u00a4</script>\"");
    text_fini(&t);
    for (int c = 1; c < 256; c++) {
        char escaped[JSON_ESCAPE_MAX];
        json_escape(escaped, (char)c);
        assert_true(strlen(escaped) >= 1 && strlen(escaped) <= 6);
        for (const char *p = escaped; *p != '\0'; p++)
            assert_true(*p >= 0x20 && *p < 0x7f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_grows),
        cmocka_unit_test(what_failed_stays_failed),
        cmocka_unit_test(nesting_and_commas),
        cmocka_unit_test(any_byte_is_ascii_and_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
