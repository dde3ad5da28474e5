/* The option table: what values it takes, how they are shown, and that the docs say the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config/config_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void init(struct config *c)
{
    struct error err;
    error_init(&err);
    assert_true(config_set_up(c, &err));
}

static const struct option_row *row_of(const char *name)
{
    const struct option_row *row = option_by_name(name);
    if (row == NULL) {
        fail_msg("no option %s", name);
    }
    return row;
}

static void rows_are_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        assert_non_null(row->argument);
        assert_true((row->default_text == NULL) != (row->default_note == NULL));
        assert_true(row->help != NULL && strchr(row->help, '\n') == NULL);
        assert_int_equal(row->type == OPTION_CHOICE, row->choices != NULL);
        if (row->type == OPTION_NUMBER || row->type == OPTION_DURATION) {
            assert_true(row->min < row->max);
        }
        char flag[OPTION_FLAG_MAX];
        option_flag(row, flag, sizeof(flag));
        assert_ptr_equal(option_by_flag(flag), row);
        assert_ptr_equal(option_by_name(row->name), row);
        for (size_t j = 0; j < i; j++) {
            assert_true(row->letter == 0 || row->letter != option_table[j].letter);
            assert_true(row->scope != option_table[j].scope ||
                        row->offset != option_table[j].offset);
        }
    }
}

static void flags(void **state)
{
    (void)state;
    char flag[OPTION_FLAG_MAX];
    option_flag(row_of("half_closed_timeout"), flag, sizeof(flag));
    assert_string_equal(flag, "--half-closed-timeout");
    assert_ptr_equal(option_by_flag("-l"), row_of("listen"));
    assert_ptr_equal(option_by_flag("-c"), row_of("connect"));
    assert_null(option_by_flag("--half_closed_timeout"));
    assert_null(option_by_flag("--list"));
    assert_null(option_by_flag("-x"));
    assert_null(option_by_flag("-"));
    assert_null(option_by_name("half-closed-timeout"));
}

static void defaults(void **state)
{
    (void)state;
    struct config c;
    init(&c);
    assert_int_equal(c.workers, 0);
    assert_int_equal(c.drain_timeout, 5000);
    assert_int_equal(c.log_level, LOG_LEVEL_INFO);
    assert_int_equal(c.log_format, LOG_FORMAT_TEXT);
    assert_int_equal(c.service_count, 1);
    const struct service_config *s = &c.services[0];
    assert_string_equal(s->name, "default");
    assert_int_equal(s->listen.count, 0);
    assert_int_equal(s->connect.count, 0);
    assert_null(s->ca);
    assert_null(s->server_name);
    assert_int_equal(s->tls_min, TLS_1_2);
    assert_int_equal(s->tls_max, TLS_NEWEST);
    assert_int_equal(s->backlog, 4096);
    assert_int_equal(s->connect_timeout, 10000);
    assert_int_equal(s->handshake_timeout, 10000);
    assert_int_equal(s->idle_timeout, 3600000);
    assert_int_equal(s->half_closed_timeout, 300000);
    assert_int_equal(s->half_close, HALF_CLOSE_ON);
    assert_int_equal(s->missing_close_notify, CUT_RESET);
    config_fini(&c);
    assert_null(c.services);
    config_fini(&c); /* harmless */
}

/* ---- values ---- */

static const struct {
    const char *name, *value, *shown;
} good_values[] = {
    {"listen", "127.0.0.1:80", "127.0.0.1:80"},
    {"ca", "/etc/a b.pem", "/etc/a b.pem"},
    {"tls_min", "1.3", "1.3"},
    {"tls_max", "1.2", "1.2"},
    {"backlog", "1", "1"},
    {"backlog", "65535", "65535"},
    {"workers", "256", "256"},
    {"connect_timeout", "1ms", "1ms"},
    {"connect_timeout", "60s", "1m"},
    {"connect_timeout", "365d", "365d"},
    {"idle_timeout", "90s", "90s"},
    {"drain_timeout", "0", "0"},
    {"drain_timeout", "0s", "0"},
    {"half_close", "on", "on"},
    {"half_close", "tls13", "tls13"},
    {"half_close", "off", "off"},
    {"missing_close_notify", "fin", "fin"},
    {"log_level", "error", "error"},
    {"log_level", "debug", "debug"},
    {"log_format", "json", "json"},
};

static void values_are_stored_and_shown(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_values) / sizeof(good_values[0]); i++) {
        struct config c;
        struct error err;
        char shown[256];
        init(&c);
        error_init(&err);
        const struct option_row *row = row_of(good_values[i].name);
        if (!option_store(row, config_base_of(&c, row), good_values[i].value, &err)) {
            fail_msg("%s %s: %s", good_values[i].name, good_values[i].value, err.text);
        }
        option_format(row, config_base_of(&c, row), shown, sizeof(shown));
        assert_string_equal(shown, good_values[i].shown);
        config_fini(&c);
    }
}

#define DURATION_WORDS "give a number with a unit, like 500ms, 5s, 10m or 1h"

static const struct {
    const char *name, *value, *error;
} bad_values[] = {
    {"ca", "", "'': empty; give FILE"},
    {"listen", "", "'': empty; give ADDR"},
    {"backlog", "", "'': empty; give N"},
    {"backlog", "0", "'0': out of range; give 1 to 65535"},
    {"backlog", "65536", "'65536': out of range; give 1 to 65535"},
    {"backlog", "99999999999999999999", "'99999999999999999999': out of range; give 1 to 65535"},
    {"backlog", "-1", "'-1': not a whole number; give 1 to 65535"},
    {"backlog", "1.5", "'1.5': not a whole number; give 1 to 65535"},
    {"backlog", " 1", "' 1': not a whole number; give 1 to 65535"},
    {"workers", "257", "'257': out of range; give 1 to 256"},
    {"workers", "auto", "'auto': not a whole number; give 1 to 256"},
    {"connect_timeout", "abc", "'abc': not a duration; " DURATION_WORDS},
    {"connect_timeout", "5", "'5': not a duration; " DURATION_WORDS},
    {"connect_timeout", "-5s", "'-5s': not a duration; " DURATION_WORDS},
    {"connect_timeout", "0", "'0': out of range; give 1ms to 365d"},
    {"connect_timeout", "366d", "'366d': out of range; give 1ms to 365d"},
    {"drain_timeout", "366d", "'366d': out of range; give 0 to 365d"},
    {"tls_min", "1.1", "'1.1': unknown; give 1.2 or 1.3"},
    {"half_close", "ON", "'ON': unknown; give on, tls13 or off"},
    {"log_level", "loud", "'loud': unknown; give error, warn, info or debug"},
    {"log_level", "a\nb\x1b[1m", "'a\\x0ab\\x1b[1m': unknown; give error, warn, info or debug"},
};

static void bad_values_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_values) / sizeof(bad_values[0]); i++) {
        struct config c;
        struct error err;
        char before[256];
        char after[256];
        init(&c);
        error_init(&err);
        const struct option_row *row = row_of(bad_values[i].name);
        option_format(row, config_base_of(&c, row), before, sizeof(before));
        assert_false(option_store(row, config_base_of(&c, row), bad_values[i].value, &err));
        assert_string_equal(err.text, bad_values[i].error);
        option_format(row, config_base_of(&c, row), after, sizeof(after));
        assert_string_equal(after, before);
        config_fini(&c);
    }
}

static void a_list_grows_and_a_text_is_replaced(void **state)
{
    (void)state;
    struct config c;
    struct error err;
    char shown[64];
    init(&c);
    error_init(&err);
    assert_true(option_store(row_of("connect"), &c.services[0], "a:1", &err));
    assert_true(option_store(row_of("connect"), &c.services[0], "b:2", &err));
    option_format(row_of("connect"), &c.services[0], shown, sizeof(shown));
    assert_string_equal(shown, "a:1, b:2");
    assert_true(option_store(row_of("ca"), &c.services[0], "one", &err));
    assert_true(option_store(row_of("ca"), &c.services[0], "two", &err));
    assert_string_equal(c.services[0].ca, "two");
    option_format(row_of("connect"), &c.services[0], shown, 6);
    assert_string_equal(shown, "a:1, "); /* cut, and terminated */
    config_fini(&c);
}

static void what_is_not_set_shows_as_nothing(void **state)
{
    (void)state;
    struct config c;
    char shown[64] = "x";
    init(&c);
    static const char *const names[] = {"workers", "ca", "listen", "tls_max"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct option_row *row = row_of(names[i]);
        option_format(row, config_base_of(&c, row), shown, sizeof(shown));
        assert_string_equal(shown, "");
    }
    config_fini(&c);
}

static void quotes(void **state)
{
    (void)state;
    char quoted[QUOTE_MAX];
    config_quote(quoted, sizeof(quoted), "a\tb");
    assert_string_equal(quoted, "'a\\x09b'");

    char longest[QUOTE_SHOWN + 2];
    memset(longest, '\x01', sizeof(longest));
    longest[QUOTE_SHOWN + 1] = '\0';
    config_quote(quoted, sizeof(quoted), longest);
    assert_int_equal(strlen(quoted), 4 * QUOTE_SHOWN + 5);
    assert_string_equal(quoted + strlen(quoted) - 8, "\\x01...'");
    longest[QUOTE_SHOWN] = '\0';
    config_quote(quoted, sizeof(quoted), longest);
    assert_string_equal(quoted + strlen(quoted) - 5, "\\x01'");
}

/* ---- help and docs ---- */

static char *help_text(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    config_print_help(out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void help_has_every_option_and_short_lines(void **state)
{
    (void)state;
    char *text = help_text();
    for (size_t i = 0; i < option_count; i++) {
        char flag[OPTION_FLAG_MAX];
        char wanted[96];
        size_t length = 0;
        option_flag(&option_table[i], flag, sizeof(flag));
        assert_true(
            str_append(wanted, sizeof(wanted), &length, "%s %s", flag, option_table[i].argument));
        if (strstr(text, wanted) == NULL) {
            fail_msg("not in --help: %s", wanted);
        }
    }
    assert_non_null(strstr(text, "-V, --version"));
    assert_non_null(strstr(text, "-h, --help"));
    for (const char *line = text; *line != '\0';) {
        const size_t length = strcspn(line, "\n");
        assert_true(length <= 100);
        assert_true(length == 0 || line[length - 1] != ' ');
        line += length + 1;
    }
    free(text);
}

/* In a table cell of Markdown a bar must be escaped. */
static void append_cell(char *dst, size_t size, size_t *length, const char *text)
{
    for (; *text != '\0'; text++) {
        assert_true(str_append(dst, size, length, "%s%c", *text == '|' ? "\\" : "", *text));
    }
}

static void docs_row(const struct option_row *row, char *dst, size_t size)
{
    char flag[OPTION_FLAG_MAX];
    size_t length = 0;
    option_flag(row, flag, sizeof(flag));
    assert_true(str_append(dst, size, &length, "| `"));
    if (row->letter != '\0') {
        assert_true(str_append(dst, size, &length, "-%c, ", row->letter));
    }
    assert_true(str_append(dst, size, &length, "%s ", flag));
    append_cell(dst, size, &length, row->argument);
    assert_true(str_append(dst, size, &length, "` | `%s` | ", row->name));
    append_cell(dst, size, &length,
                row->default_text != NULL ? row->default_text : row->default_note);
    assert_true(str_append(dst, size, &length, " | "));
    append_cell(dst, size, &length, row->help);
    assert_true(str_append(dst, size, &length, " |\n"));
}

/* docs/configuration.md, found from where this file is. */
static char *read_docs(void)
{
    char path[4096];
    size_t length = 0;
    const char *slash = strrchr(__FILE__, '/');
    const int folder = slash == NULL ? 0 : (int)(slash - __FILE__ + 1);
    assert_true(str_append(path, sizeof(path), &length, "%.*s../../docs/configuration.md", folder,
                           __FILE__));
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        fail_msg("cannot open %s", path);
        return NULL;
    }
    static char text[65536];
    const size_t got = fread(text, 1, sizeof(text) - 1, file);
    text[got] = '\0';
    fclose(file);
    return text;
}

static void docs_table_is_the_option_table(void **state)
{
    (void)state;
    static const char head[] = "| option | config name | default | meaning |\n|---|---|---|---|\n";
    char *docs = read_docs();
    const char *at = docs == NULL ? NULL : strstr(docs, head);
    if (at == NULL) {
        fail_msg("no option table in docs/configuration.md");
        return;
    }
    at += strlen(head);
    for (size_t i = 0; i < option_count; i++) {
        char wanted[1024];
        docs_row(&option_table[i], wanted, sizeof(wanted));
        if (strncmp(at, wanted, strlen(wanted)) != 0) {
            fail_msg("row %zu of docs/configuration.md must be:\n%sand is:\n%.*s", i + 1, wanted,
                     (int)strcspn(at, "\n"), at);
        }
        at += strlen(wanted);
    }
    assert_true(*at != '|'); /* no row more */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sound),
        cmocka_unit_test(flags),
        cmocka_unit_test(defaults),
        cmocka_unit_test(values_are_stored_and_shown),
        cmocka_unit_test(bad_values_are_named),
        cmocka_unit_test(a_list_grows_and_a_text_is_replaced),
        cmocka_unit_test(what_is_not_set_shows_as_nothing),
        cmocka_unit_test(quotes),
        cmocka_unit_test(help_has_every_option_and_short_lines),
        cmocka_unit_test(docs_table_is_the_option_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
