/* The closed list of reasons: each has a word of its own and says what it means. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/reason.h>

#include <ctype.h>
#include <string.h>

static void each_has_a_word_of_its_own(void **state)
{
    (void)state;
    for (int a = REASON_NONE + 1; a < REASON_COUNT; a++) {
        const char *word = reason_word((enum reason)a);
        assert_true(strlen(word) > 0);
        for (const char *c = word; *c != '\0'; c++)
            assert_true(islower((unsigned char)*c) || *c == '_'); /* a metric's label one day */
        assert_true(strlen(reason_meaning((enum reason)a)) > 10);
        for (int b = a + 1; b < REASON_COUNT; b++)
            assert_string_not_equal(word, reason_word((enum reason)b));
    }
}

static void what_an_operator_must_see_is_not_hidden(void **state)
{
    (void)state;
    assert_int_equal(reason_level(REASON_UPSTREAM_VERIFY_FAILED), LOG_LEVEL_ERROR);
    assert_int_equal(reason_level(REASON_UPSTREAM_TRUNCATED), LOG_LEVEL_WARN);
    assert_int_equal(reason_level(REASON_DONE), LOG_LEVEL_INFO);
    assert_int_equal(reason_level(REASON_PROBE), LOG_LEVEL_DEBUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_a_word_of_its_own),
        cmocka_unit_test(what_an_operator_must_see_is_not_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
