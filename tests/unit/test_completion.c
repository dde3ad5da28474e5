/* The parts of the completion that the table gives. What bash makes of it: tests/dist. */
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

/* Whole words, blanks around them. */
static bool has_word(const char *words, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = strstr(words, word); at != NULL; at = strstr(at + 1, word)) {
        if ((at == words || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

static void lists_are_the_tables(void **state)
{
    (void)state;
    char *all = printed(completion_print_options);
    char *repeatable = printed(completion_print_repeatable);
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        char flag[OPTION_FLAG_MAX];
        option_flag(row, flag, sizeof(flag));
        assert_int_equal(has_word(all, flag), !row->file_only);
        assert_int_equal(has_word(repeatable, flag),
                         !row->file_only && row->type == OPTION_TEXT_LIST);
    }
    free(all);
    free(repeatable);
}

static void cases_say_what_a_value_is(void **state)
{
    (void)state;
    char *text = printed(completion_print_cases);
    static const char *const arms[] = {
        "        -l | --listen) kind=address ;;\n",
        "        --ca) kind=file ;;\n",
        "        --ca-dir) kind=directory ;;\n",
        "        --cert) kind=file ;;\n",
        "        --key-passphrase) kind=source ;;\n",
        "        --watch) kind=words words='true false' ;;\n",
        "        --half-close) kind=words words='on tls13 off' ;;\n",
        "        --backlog) kind=other ;;\n",
    };
    for (size_t i = 0; i < sizeof(arms) / sizeof(arms[0]); i++) {
        assert_non_null(strstr(text, arms[i]));
    }
    assert_null(strstr(text, "insecure"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_the_tables),
        cmocka_unit_test(cases_say_what_a_value_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
