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

static void weaker_fits_the_type(const struct option_row *row)
{
    const bool ordered = row->type == OPTION_NUMBER || row->type == OPTION_DURATION ||
                         row->type == OPTION_CHOICE || row->type == OPTION_FLAG;
    switch (row->weaker) {
    case WEAKER_NEVER:
        return;
    case WEAKER_IF_LESS:
    case WEAKER_IF_MORE:
        assert_true(ordered);
        break;
    case WEAKER_IF_GONE:
        assert_false(ordered);
        break;
    }
    assert_int_equal(row->scope, OPTION_SERVICE); /* global ones are not compared */
    /* Weakest first: so a lesser value verifies less. */
    for (size_t i = 1; row->choices != NULL && row->choices[i].word != NULL; i++) {
        assert_true(row->choices[i - 1].value < row->choices[i].value);
    }
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
        assert_true(strlen(flag) < OPTION_FLAG_MAX - 1); /* not cut */
        assert_ptr_equal(option_by_flag(flag), row->file_only ? NULL : row);
        assert_ptr_equal(option_by_name(row->name), row);
        weaker_fits_the_type(row);
        assert_true(!row->path || row->type == OPTION_TEXT || row->type == OPTION_TEXT_LIST);
        assert_true(i > 0 || row->heading != NULL);
        /* What stands for "not given" is none of the words. */
        if (row->type == OPTION_CHOICE && row->default_text == NULL) {
            for (const struct option_choice *c = row->choices; c->word != NULL; c++) {
                assert_true(c->value != 0);
            }
        }
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
    assert_null(option_by_flag("--insecure-skip-verify")); /* in the file only */
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
    /* Safe by default. */
    assert_false(s->insecure_skip_verify);
    assert_int_equal(s->names_policy, TLS_POLICY_ENFORCE);
    assert_int_equal(s->pins_policy, TLS_POLICY_ENFORCE);
    assert_int_equal(s->revocation_policy, TLS_POLICY_ENFORCE);
    assert_int_equal(s->x509_strict, TLS_STRICT_REPORT);
    assert_int_equal(s->ocsp, TLS_OCSP_PREFER);
    assert_int_equal(s->on_revoked, REVOKED_LOG);
    assert_int_equal(s->security_level, 2);
    assert_int_equal(s->listen_security_level, 2);
    assert_int_equal(s->listen_client, TLS_CLIENT_AUTO);
    assert_int_equal(s->listen_tls_min, TLS_NEWEST);
    assert_true(s->resumption && s->listen_tickets);
    assert_false(s->listen_sni_strict);
    assert_int_equal(s->resumption_age, 3600000);
    assert_int_equal(s->listen_ticket_rotation, 12 * 3600000);
    assert_int_equal(s->warm_min, 0);
    assert_int_equal(s->warm_max, 0);
    assert_int_equal(s->warm_max_idle, 30000);
    assert_true(c.watch);
    assert_false(c.allow_weaker);
    assert_int_equal(c.watch_interval, 2000);
    assert_int_equal(c.max_handshakes, 1024);
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
    {"watch", "false", "false"},
    {"allow_weaker", "true", "true"},
    {"insecure_skip_verify", "true", "true"},
    {"x509_strict", "on", "on"},
    {"ocsp", "require", "require"},
    {"listen_client", "optional", "optional"},
    {"listen_tls_min", "1.3", "1.3"},
    {"security_level", "0", "0"},
    {"security_level", "5", "5"},
    {"resumption_age", "1s", "1s"},
    {"watch_interval", "100ms", "100ms"},
    {"pins", "sha256//x", "sha256//x"},
    {"on_revoked", "close", "close"},
    {"warm_min", "0", "0"},
    {"warm_max", "1000", "1000"},
    {"warm_max_idle", "100ms", "100ms"},
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
    {"watch", "yes", "'yes': neither true nor false; give one of these"},
    {"resumption", "TRUE", "'TRUE': neither true nor false; give one of these"},
    {"listen_tickets", "", "'': empty; give true|false"},
    {"security_level", "6", "'6': out of range; give 0 to 5"},
    {"ocsp", "always", "'always': unknown; give off, prefer or require"},
    {"listen_client", "maybe", "'maybe': unknown; give none, optional or required"},
    {"resumption_age", "999ms", "'999ms': out of range; give 1s to 365d"},
    {"watch_interval", "10ms", "'10ms': out of range; give 100ms to 365d"},
    {"warm_min", "1001", "'1001': out of range; give 0 to 1000"},
    {"warm_max", "0", "'0': out of range; give 1 to 1000"},
    {"warm_max_idle", "99ms", "'99ms': out of range; give 100ms to 365d"},
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

#define LINE_OF_KEY "NotAKey0NotAKey1NotAKey2NotAKey3NotAKey4NotAKey5NotAKey6NotAKey7"

/* The text of a key in the place of its file's name: no error repeats it, and nothing later has it
 * to print. */
static void pasted_keys_are_not_kept(void **state)
{
    (void)state;
    static const char *const pasted[] = {"-----BEGIN PRIVATE KEY-----\n" LINE_OF_KEY
                                         "\n-----END PRIVATE KEY-----\n",
                                         "-----BEGIN PRIVATE KEY-----\\n" LINE_OF_KEY,
                                         LINE_OF_KEY "\n" LINE_OF_KEY,
                                         "a\nb",
                                         "a\r",
                                         LINE_OF_KEY};
    static const char *const paths[] = {
        "/secrets/Prod2024/tls/certificatesOfTheGatewayNumber1/key",
        ("./" LINE_OF_KEY),
        "secrets/Prod2024/tls/certificates-of-the-gateway/key",
        "pkcs11:token=esclusa;object=Key1andALongNameOfSixtyLettersOrMore;type=private",
        "secrets/tls/certificatesofthegatewaynumber1andofothers",
        "MIIE"};
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        char shown[256];
        for (size_t n = 0; row->path && n < sizeof(pasted) / sizeof(pasted[0]); n++) {
            struct config c;
            struct error err;
            init(&c);
            error_init(&err);
            assert_false(option_store(row, config_base_of(&c, row), pasted[n], &err));
            assert_string_equal(err.text, "'...': this is not a path but the text of a key or "
                                          "certificate: give the file's name");
            option_format(row, config_base_of(&c, row), shown, sizeof(shown));
            assert_string_equal(shown, "");
            config_fini(&c);
        }
        for (size_t n = 0; row->path && n < sizeof(paths) / sizeof(paths[0]); n++) {
            struct config c;
            struct error err;
            init(&c);
            error_init(&err);
            assert_true(option_store(row, config_base_of(&c, row), paths[n], &err));
            config_fini(&c);
        }
    }
    char quoted[QUOTE_MAX];
    config_quote(quoted, sizeof(quoted), pasted[0]);
    assert_string_equal(quoted, "'...'");
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
    static const char *const names[] = {
        "workers", "ca", "listen", "tls_max", "listen_client", "listen_tls_min", "pins"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct option_row *row = row_of(names[i]);
        option_format(row, config_base_of(&c, row), shown, sizeof(shown));
        assert_string_equal(shown, "");
    }
    config_fini(&c);
}

static void values_are_compared_whole(void **state)
{
    (void)state;
    struct config a, b;
    struct error err;
    char word[300];
    char shown[64];
    init(&a);
    init(&b);
    error_init(&err);
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        assert_true(option_equal(row, config_base_of(&a, row), config_base_of(&b, row)));
    }
    /* Alike for longer than is ever shown. */
    memset(word, 'x', sizeof(word));
    word[sizeof(word) - 1] = '\0';
    const struct option_row *pins = row_of("pins");
    assert_true(option_store(pins, &a.services[0], word, &err));
    assert_true(option_store(pins, &b.services[0], word, &err));
    assert_true(option_equal(pins, &a.services[0], &b.services[0]));
    assert_true(option_store(pins, &b.services[0], "y", &err));
    assert_false(option_equal(pins, &a.services[0], &b.services[0]));
    assert_true(option_store(pins, &a.services[0], "z", &err));
    assert_false(option_equal(pins, &a.services[0], &b.services[0]));
    assert_true(option_store(row_of("ca"), &a.services[0], "z", &err));
    assert_false(option_equal(row_of("ca"), &a.services[0], &b.services[0]));
    assert_true(option_store(row_of("watch"), &a, "false", &err));
    assert_false(option_equal(row_of("watch"), &a, &b));

    option_show(row_of("crl"), &a.services[0], shown, sizeof(shown));
    assert_string_equal(shown, "none");
    option_show(row_of("ca"), &a.services[0], shown, sizeof(shown));
    assert_string_equal(shown, "z");
    option_show(pins, &a.services[0], shown, sizeof(shown));
    assert_int_equal(strlen(shown), sizeof(shown) - 1);
    assert_string_equal(shown + sizeof(shown) - 5, "x...");
    config_fini(&a);
    config_fini(&b);
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
        if ((strstr(text, wanted) == NULL) != option_table[i].file_only) {
            fail_msg("in --help, or not in it: %s", wanted);
        }
        if (option_table[i].heading != NULL) {
            length = 0;
            assert_true(
                str_append(wanted, sizeof(wanted), &length, "\n\n%s\n", option_table[i].heading));
            assert_non_null(strstr(text, wanted));
        }
    }
    assert_null(strstr(text, "insecure"));
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
    if (row->file_only) {
        assert_true(str_append(dst, size, &length, "| (file only)"));
    } else {
        assert_true(str_append(dst, size, &length, "| `"));
        if (row->letter != '\0') {
            assert_true(str_append(dst, size, &length, "-%c, ", row->letter));
        }
        assert_true(str_append(dst, size, &length, "%s ", flag));
        append_cell(dst, size, &length, row->argument);
        assert_true(str_append(dst, size, &length, "`"));
    }
    assert_true(str_append(dst, size, &length, " | `%s` | ", row->name));
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

/* One table a heading. */
static void docs_head(const struct option_row *row, char *dst, size_t size)
{
    size_t length = 0;
    assert_true(str_append(dst, size, &length,
                           "%s### %s\n\n| option | config name | default | meaning |\n"
                           "|---|---|---|---|\n",
                           row == option_table ? "" : "\n", row->heading));
}

static const char *docs_expect(const char *at, const char *wanted)
{
    if (strncmp(at, wanted, strlen(wanted)) != 0) {
        fail_msg("docs/configuration.md must have:\n%sand has:\n%.*s", wanted,
                 (int)strcspn(at, "\n"), at);
    }
    return at + strlen(wanted);
}

static void docs_table_is_the_option_table(void **state)
{
    (void)state;
    char wanted[1024];
    char *docs = read_docs();
    docs_head(option_table, wanted, sizeof(wanted));
    const char *at = docs == NULL ? NULL : strstr(docs, wanted);
    if (at == NULL) {
        fail_msg("no option table in docs/configuration.md");
        return;
    }
    for (size_t i = 0; i < option_count; i++) {
        if (option_table[i].heading != NULL) {
            docs_head(&option_table[i], wanted, sizeof(wanted));
            at = docs_expect(at, wanted);
        }
        docs_row(&option_table[i], wanted, sizeof(wanted));
        at = docs_expect(at, wanted);
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
        cmocka_unit_test(values_are_compared_whole),
        cmocka_unit_test(quotes),
        cmocka_unit_test(pasted_keys_are_not_kept),
        cmocka_unit_test(help_has_every_option_and_short_lines),
        cmocka_unit_test(docs_table_is_the_option_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
