/* The parts of the man pages that the table gives: every option, in text that groff takes as it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/config.h>
#include <esclusa/manual.h>

#include "config/config_internal.h"

#include <stdlib.h>
#include <string.h>

static char *printed(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    print(out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static char *text_printed(const char *text)
{
    char *got = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&got, &size);
    assert_non_null(out);
    manual_print_text(out, text);
    assert_int_equal(fclose(out), 0);
    return got;
}

static void check_text(const char *text, const char *expected)
{
    char *got = text_printed(text);
    assert_string_equal(got, expected);
    free(got);
}

static void text_is_escaped(void **state)
{
    (void)state;
    check_text("plain words", "plain words\n");
    check_text("the --tls-min", "the \\-\\-tls\\-min\n");
    check_text("a\\b \"c\"", "a\\eb \\(dqc\\(dq\n");
    check_text(".so /etc/passwd", "\\&.so /etc/passwd\n");
    check_text("'br", "\\&'br\n");
    check_text("", "\n");
    check_text("  two  blanks ", "two blanks\n");
}

static void a_wrapped_line_is_no_request(void **state)
{
    (void)state;
    char words[256];
    memset(words, 'x', sizeof(words));
    memcpy(words + 74, " .so y 'z", sizeof(" .so y 'z"));
    char *got = text_printed(words);
    assert_non_null(strstr(got, "x\n\\&.so y 'z\n"));
    free(got);
}

/* No line is longer than mandoc -Tlint takes, nor begins with a request that is not of the list. */
static void check_lines(const char *text)
{
    static const char *const macros[] = {".Ss ", ".Bl ", ".It ", ".El\n"};
    for (const char *line = text; *line != '\0';) {
        const size_t length = strcspn(line, "\n");
        assert_true(line[length] == '\n');
        assert_in_range(length, 1, 80);
        bool known = line[0] != '.' && line[0] != '\'';
        for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++) {
            known = known || strncmp(line, macros[i], strlen(macros[i])) == 0;
        }
        assert_true(known);
        line += length + 1;
    }
}

/* Times that word stands in text. */
static size_t count(const char *text, const char *word)
{
    size_t times = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        times++;
    }
    return times;
}

static void every_setting_is_there(void **state)
{
    (void)state;
    char *text = printed(manual_print_settings);
    check_lines(text);
    for (size_t i = 0; i < option_count; i++) {
        char item[128];
        snprintf(item, sizeof(item), ".It Ic %s\n", option_table[i].name);
        assert_int_equal(count(text, item), 1);
    }
    assert_int_equal(count(text, ".It "), option_count);
    assert_int_equal(count(text, ".Bl "), count(text, ".El\n"));
    /* What the command line calls --tls-min is tls_min here. */
    assert_null(strstr(text, "\\-\\-tls"));
    assert_non_null(strstr(text, "Default: the tls_min.\n"));
    free(text);
}

static void every_option_is_there(void **state)
{
    (void)state;
    char *text = printed(manual_print_options);
    check_lines(text);
    size_t options = 0;
    for (size_t i = 0; i < option_count; i++) {
        options += option_table[i].file_only ? 0 : 1;
    }
    assert_int_equal(count(text, ".It "), options);
    assert_non_null(strstr(text, ".It Fl l , Fl \\-listen Ar ADDR\n"));
    assert_non_null(strstr(text, ".It Fl \\-tls\\-min Cm 1.2 | 1.3\n"));
    assert_non_null(strstr(text, "Default: the \\-\\-tls\\-min.\n"));
    assert_null(strstr(text, "insecure"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_escaped),
        cmocka_unit_test(a_wrapped_line_is_no_request),
        cmocka_unit_test(every_setting_is_there),
        cmocka_unit_test(every_option_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
