/* The config file: what is taken and where it lands, and what each mistake is answered with. The
 * wrong files are in tests/config/broken/, each with its line in answers.txt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config/config_internal.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REST "listen = \"8080\"; connect = \"a:1\"; "
#define ONE  "services = ( { name = \"x\"; " REST "} );\n"

static bool parse(struct config *c, const char *text, struct error *err)
{
    error_init(err);
    assert_true(config_set_up(c, err));
    return config_from_text(c, "t.cfg", text, strlen(text), err);
}

static void taken(struct config *c, const char *text)
{
    struct error err;
    if (!parse(c, text, &err)) {
        fail_msg("%s: %s", text, err.text);
    }
    assert_false(err.set);
}

static void refused(const char *text, const char *expected)
{
    struct config c;
    struct error err;
    assert_false(parse(&c, text, &err));
    assert_string_equal(err.text, expected);
    config_fini(&c);
}

/* ---- taken ---- */

static void values_land_where_they_belong(void **state)
{
    (void)state;
    struct config c;
    taken(&c,
          "workers = 3; drain_timeout = \"5ms\"; log_level = \"warn\"; log_format = \"json\";\n"
          "services = ( { name = \"one\"; listen = [\"tls://[::1]:8443\"]; listen_cert = \"lc\";"
          " listen_key = \"lk\"; listen_ca = \"la\"; connect = (\"a:1\", \"b:2\"); ca = \"ca\";"
          " ca_dir = \"cd\"; cert = \"ce\"; key = \"ke\"; server_name = \"sn\";"
          " tls_min = \"1.2\"; tls_max = \"1.3\"; backlog = 7; connect_timeout = \"1s\";"
          " handshake_timeout = \"2s\"; idle_timeout = \"3s\"; half_closed_timeout = \"4s\";"
          " half_close = \"off\"; missing_close_notify = \"fin\"; },\n"
          "{ name = \"two\"; " REST "} );");
    const struct service_config *s = &c.services[0];
    assert_int_equal(c.workers, 3);
    assert_int_equal(c.drain_timeout, 5);
    assert_int_equal(c.log_level, LOG_LEVEL_WARN);
    assert_int_equal(c.log_format, LOG_FORMAT_JSON);
    assert_int_equal(c.service_count, 2);
    assert_string_equal(s->name, "one");
    assert_int_equal(s->listen.count, 1);
    assert_string_equal(s->listen.items[0], "tls://[::1]:8443");
    assert_int_equal(s->connect.count, 2);
    assert_string_equal(s->connect.items[1], "b:2");
    assert_int_equal(s->listen_cert.count, 1);
    assert_string_equal(s->listen_cert.items[0], "lc");
    assert_string_equal(s->listen_key.items[0], "lk");
    assert_string_equal(s->listen_ca, "la");
    assert_string_equal(s->ca, "ca");
    assert_string_equal(s->ca_dir, "cd");
    assert_string_equal(s->cert, "ce");
    assert_string_equal(s->key, "ke");
    assert_string_equal(s->server_name, "sn");
    assert_int_equal(s->tls_min, TLS_1_2);
    assert_int_equal(s->tls_max, TLS_1_3);
    assert_int_equal(s->backlog, 7);
    assert_int_equal(s->connect_timeout, 1000);
    assert_int_equal(s->handshake_timeout, 2000);
    assert_int_equal(s->idle_timeout, 3000);
    assert_int_equal(s->half_closed_timeout, 4000);
    assert_int_equal(s->half_close, HALF_CLOSE_OFF);
    assert_int_equal(s->missing_close_notify, CUT_FIN);
    assert_string_equal(c.services[1].name, "two");
    assert_int_equal(c.services[1].backlog, 4096); /* the table's default */
    assert_int_equal(c.services[1].tls_max, TLS_NEWEST);
    config_fini(&c);
}

static void tls_values_land_where_they_belong(void **state)
{
    (void)state;
    struct config c;
    taken(&c, "watch = true; watch_interval = \"500ms\"; allow_weaker = true; max_handshakes = 9;\n"
              "services = ( { name = \"one\"; listen = \"tls://[::1]:8443\"; connect = \"a:1\";"
              " listen_cert = [\"c1\", \"c2\"]; listen_key = (\"k1\", \"k2\");"
              " listen_key_passphrase = \"env:L\"; listen_sni_strict = true;"
              " listen_ocsp = \"o\"; listen_ca_dir = \"lad\"; listen_client = \"optional\";"
              " listen_allow_cn = \"cn*\"; listen_allow_pin = [\"p1\", \"p2\"];"
              " listen_crl = \"lcrl\"; listen_tickets = true; listen_ticket_rotation = \"1h\";"
              " listen_alpn = [\"h2\", \"http/1.1\"]; listen_security_level = 3;"
              " listen_tls_min = \"1.3\"; cert = \"c\"; key_passphrase = \"file:/p\";"
              " verify_names = [\"a\", \"spiffe://b/c\"]; names_policy = \"report\";"
              " x509_strict = \"on\"; pins = [\"p\"]; pins_policy = \"report\"; crl_dir = \"cd\";"
              " ocsp = \"require\"; revocation_policy = \"report\"; tlsa = \"3 1 1 00\";"
              " on_revoked = \"close\"; resumption = true; resumption_age = \"1m\";"
              " alpn = \"h2\"; groups = \"g\"; ciphers = \"x\"; ciphersuites = \"y\";"
              " sigalgs = \"z\"; security_level = 0; warm_min = 2; warm_max = 3;"
              " warm_max_idle = \"5s\"; } );");
    const struct service_config *s = &c.services[0];
    assert_true(c.watch && c.allow_weaker);
    assert_int_equal(c.watch_interval, 500);
    assert_int_equal(c.max_handshakes, 9);
    assert_int_equal(s->listen_cert.count, 2);
    assert_string_equal(s->listen_key.items[1], "k2");
    assert_string_equal(s->listen_key_passphrase, "env:L");
    assert_int_equal(s->listen_sni_strict, 1);
    assert_string_equal(s->listen_ocsp.items[0], "o");
    assert_string_equal(s->listen_ca_dir, "lad");
    assert_int_equal(s->listen_client, TLS_CLIENT_OPTIONAL);
    assert_string_equal(s->listen_allow_cn.items[0], "cn*");
    assert_int_equal(s->listen_allow_pin.count, 2);
    assert_string_equal(s->listen_crl, "lcrl");
    assert_int_equal(s->listen_ticket_rotation, 3600000);
    assert_string_equal(s->listen_alpn.items[1], "http/1.1");
    assert_int_equal(s->listen_security_level, 3);
    assert_int_equal(s->listen_tls_min, TLS_1_3);
    assert_string_equal(s->key_passphrase, "file:/p");
    assert_string_equal(s->verify_names.items[1], "spiffe://b/c");
    assert_int_equal(s->names_policy, TLS_POLICY_REPORT);
    assert_int_equal(s->x509_strict, TLS_STRICT_ON);
    assert_string_equal(s->pins.items[0], "p");
    assert_int_equal(s->pins_policy, TLS_POLICY_REPORT);
    assert_string_equal(s->crl_dir, "cd");
    assert_int_equal(s->ocsp, TLS_OCSP_REQUIRE);
    assert_int_equal(s->revocation_policy, TLS_POLICY_REPORT);
    assert_string_equal(s->tlsa.items[0], "3 1 1 00");
    assert_int_equal(s->on_revoked, REVOKED_CLOSE);
    assert_int_equal(s->resumption_age, 60000);
    assert_string_equal(s->alpn.items[0], "h2");
    assert_string_equal(s->sigalgs, "z");
    assert_int_equal(s->security_level, 0);
    assert_int_equal(s->warm_min, 2);
    assert_int_equal(s->warm_max, 3);
    assert_int_equal(s->warm_max_idle, 5000);
    config_fini(&c);
    taken(&c, "services = ( { name = \"x\"; " REST "insecure_skip_verify = true; ca = \"a\";"
              " server_name = \"b\"; } );");
    assert_true(c.services[0].insecure_skip_verify);
    config_fini(&c);
}

/* A value that the row takes, as a file has it. */
static void write_example(const struct option_row *row, char *dst, size_t size)
{
    switch (row->type) {
    case OPTION_TEXT:
    case OPTION_TEXT_LIST:
        snprintf(dst, size, "\"a:1\"");
        return;
    case OPTION_NUMBER:
        snprintf(dst, size, "%lld", (long long)row->max);
        return;
    case OPTION_DURATION:
        snprintf(dst, size, "\"%lldms\"", (long long)row->max);
        return;
    case OPTION_CHOICE:
        snprintf(dst, size, "\"%s\"", row->choices[0].word);
        return;
    case OPTION_FLAG:
        snprintf(dst, size, "true");
        return;
    }
}

/* Whoever adds a row has it in the file too. */
static void every_row_may_stand_in_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        char text[512];
        char value[64];
        size_t length = 0;
        write_example(row, value, sizeof(value));
        const bool global = row->scope == OPTION_GLOBAL;
        assert_true(
            str_append(text, sizeof(text), &length,
                       global ? "%s = %s; " ONE : "services = ( { name = \"x\"; %s = %s; } );",
                       row->name, value));
        struct config c;
        struct error err;
        (void)parse(&c, text, &err); /* a check may well refuse it for what is missing */
        if (err.set && (strstr(err.text, "unknown") != NULL || strstr(err.text, "found") != NULL)) {
            fail_msg("%s: %s", text, err.text);
        }
        const struct origin *at = global ? &c.origins[i] : &c.services[0].origins[i];
        assert_int_equal(at->kind, ORIGIN_FILE);
        config_fini(&c);
    }
}

static void defaults_come_first(void **state)
{
    (void)state;
    struct config c;
    taken(&c, "defaults = { ca = \"all\"; idle_timeout = \"7s\"; };\n"
              "services = ( { name = \"a\"; listen = \"1\"; connect = \"a:1\"; },\n"
              "{ name = \"b\"; listen = \"2\"; connect = \"a:1\"; ca = \"own\"; },\n"
              "{ name = \"c\"; listen = \"3\"; connect = \"tcp://a:1\"; } );\n");
    const size_t ca = (size_t)(option_by_name("ca") - option_table);
    assert_string_equal(c.services[0].ca, "all");
    assert_int_equal(c.services[0].idle_timeout, 7000);
    assert_true(c.services[0].origins[ca].shared);
    assert_int_equal(c.services[0].origins[ca].line, 1);
    assert_string_equal(c.services[1].ca, "own");
    assert_false(c.services[1].origins[ca].shared);
    assert_int_equal(c.services[1].origins[ca].line, 3);
    assert_string_equal(c.services[1].origins[ca].file, "t.cfg");
    assert_int_equal(c.services[2].at.line, 4);
    config_fini(&c);
}

static void odd_but_right(void **state)
{
    (void)state;
    static const char *const texts[] = {
        ONE "/* end */",
        "# c\r\n// c\r\n" ONE "\r\n",
        "/* @include \"gone\" */ " ONE,
        "/*\n@include \"gone\"\n*/" ONE,
        "log_level : \"in\" \"fo\"; " ONE,
        "workers = 0x10; " ONE,
        "workers = 2L; " ONE,
        "services = ( { name = \"x\"; listen = \"unix:/a#b//c/*d\"; connect = \"a:1\"; } );",
        "services = ( { name = \"x\", listen = \"1\", connect = (\"a:1\"), } )",
        "defaults = { }; " ONE,
        "services = ( { connect = \"a:1\" listen = \"unix:/\\\"a\" name = \"x\" } )",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct config c;
        struct error err;
        if (!parse(&c, texts[i], &err) && strstr(err.text, "syntax") == NULL) {
            fail_msg("%s: %s", texts[i], err.text);
        }
        config_fini(&c);
    }
    struct config c;
    taken(&c, texts[0]);
    config_fini(&c);
    taken(&c, texts[7]);
    assert_string_equal(c.services[0].listen.items[0], "unix:/a#b//c/*d");
    config_fini(&c);
}

static void the_command_line_goes_first(void **state)
{
    (void)state;
    char path[] = "/tmp/esclusa-parse-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    static const char text[] = "log_level = \"debug\"; workers = 2; drain_timeout = \"9s\"; " ONE;
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    char name[] = "esclusa";
    char check[] = "check";
    char config[] = "--config";
    char level[] = "--log-level=error";
    char workers[] = "--workers";
    char five[] = "5";
    char *argv[] = {name, check, workers, five, config, path, level, NULL};
    struct config c;
    struct error err;
    enum command command = COMMAND_RUN;
    error_init(&err);
    assert_true(config_set_up(&c, &err));
    const bool done = config_from_command_line(&c, 7, argv, &command, &err);
    unlink(path);
    if (!done) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(command, COMMAND_CHECK);
    assert_int_equal(c.log_level, LOG_LEVEL_ERROR);
    assert_int_equal(c.workers, 5);
    assert_int_equal(c.drain_timeout, 9000);
    assert_string_equal(c.file, path);
    assert_int_equal(c.files.count, 1);
    assert_string_equal(c.files.items[0], path);
    config_fini(&c);
}

static void what_the_command_line_overrides_must_be_right_too(void **state)
{
    (void)state;
    struct config c;
    struct error err;
    static const char text[] = "workers = 1000; " ONE;
    error_init(&err);
    assert_true(config_set_up(&c, &err));
    c.origins[option_by_name("workers") - option_table].kind = ORIGIN_COMMAND_LINE;
    c.workers = 5;
    assert_false(config_from_text(&c, "t.cfg", text, strlen(text), &err));
    assert_string_equal(err.text, "t.cfg:1: workers '1000': out of range; give 1 to 256");
    assert_int_equal(c.workers, 5);
    config_fini(&c);
}

/* ---- @include ---- */

static void put(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void includes_are_looked_up_beside_the_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/esclusa-parse-XXXXXX";
    char path[256];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/sub", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    put(folder, "main.cfg",
        "log_level = \"warn\";\n@include \"sub/services.inc\" # here\n"
        "drain_timeout = \"1s\";\n");
    snprintf(path, sizeof(path),
             "services = (\n{ name = \"x\";\n\t@include \"up.inc\"\nlisten = \"1\"; } );\n"
             "@include \"%s/abs.inc\"",
             folder);
    put(folder, "sub/services.inc", path);
    put(folder, "sub/up.inc", "\n\nconnect = \"a:1\";");
    put(folder, "abs.inc", "workers = 2;\nlog_format = \"json\";");
    snprintf(path, sizeof(path), "%s/main.cfg", folder);
    struct config c;
    struct error err;
    error_init(&err);
    assert_true(config_set_up(&c, &err));
    if (!config_from_file(&c, path, &err)) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(c.workers, 2);
    assert_int_equal(c.log_format, LOG_FORMAT_JSON);
    assert_int_equal(c.drain_timeout, 1000);
    const struct origin *up = service_origin(&c.services[0], "connect");
    assert_int_equal(up->line, 3);
    assert_non_null(strstr(up->file, "/sub/up.inc"));
    assert_int_equal(service_origin(&c.services[0], "listen")->line, 4);
    assert_non_null(strstr(service_origin(&c.services[0], "listen")->file, "/sub/services.inc"));
    assert_int_equal(c.origins[option_by_name("drain_timeout") - option_table].line, 3);
    assert_int_equal(c.files.count, 4);
    config_fini(&c);

    put(folder, "sub/up.inc", "\n\n\nconnect = 7;");
    error_init(&err);
    assert_true(config_set_up(&c, &err));
    assert_false(config_from_file(&c, path, &err));
    assert_non_null(strstr(err.text, "/sub/up.inc:4: connect: found a number;"));
    config_fini(&c);
    static const char *const names[] = {"sub/up.inc", "sub/services.inc", "abs.inc", "main.cfg"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    snprintf(path, sizeof(path), "%s/sub", folder);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void what_cannot_be_included(void **state)
{
    (void)state;
    refused("@include \"/\"\n", "t.cfg:1: @include '/': this is a directory, a file is needed");
    refused("\n@include \"/dev/zero\"\n",
            "t.cfg:2: @include '/dev/zero': this is a device, a regular file is needed");
    refused("@include \"/dev/stdin/x\"\n", "t.cfg:1: @include '/dev/stdin/x': Not a directory");
    char path[] = "/tmp/esclusa-large-XXXXXX";
    char line[64];
    char error[128];
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)5 * 1024 * 1024), 0);
    assert_int_equal(close(fd), 0);
    snprintf(line, sizeof(line), "@include \"%s\"\n", path);
    snprintf(error, sizeof(error),
             "t.cfg:1: @include '%s': larger than 4 MiB: this is no config file", path);
    refused(line, error);
    assert_int_equal(unlink(path), 0);
    static const char *const wrong[] = {"@include\n",       "@include \"\"\n", "@include \"a\n",
                                        "@include \"a\" b", "@includes x",     "  @include a"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        refused(wrong[i], "t.cfg:1: @include: not understood; write @include \"FILE\" alone");
    }
}

/* ---- what libconfig would get wrong ---- */

static void traps(void **state)
{
    (void)state;
    struct config c;
    struct error err;
    error_init(&err);
    assert_true(config_set_up(&c, &err));
    assert_false(config_from_text(&c, "t.cfg", "a\0b", 3, &err));
    assert_string_equal(err.text, "t.cfg:1: a NUL byte; give plain text");
    config_fini(&c);
    refused("workers = 4294967298; " ONE,
            "t.cfg:1: 4294967298: a number above 2147483647; no setting takes that");
    refused("workers = 0x100000001; " ONE,
            "t.cfg:1: 0x100000001: a number above 2147483647; no setting takes that");
    refused("\nmax_handshakes = 7; " ONE,
            "t.cfg:2: max_handshakes: would not be used, as no listen is tls://; write listen = "
            "\"tls://HOST:PORT\" or leave it out");
    refused("watch = \"true\"; " ONE,
            "t.cfg:1: watch: found a string; give true or false without quotes");
    refused("workers = -3; " ONE, "t.cfg:1: workers '-3': not a whole number; give 1 to 256");
    refused("\nlog_level = \"a\\x00b\"; " ONE, "t.cfg:2: a NUL (\\x00) in a string; leave it out");
    refused("", "t.cfg:1: services: missing; give services = ( { name = \"...\"; listen = \"...\"; "
                "connect = \"...\"; } )");
    refused("workers = 2;\nlog_level = \"\x1b[31m\"; " ONE,
            "t.cfg:2: log_level '\\x1b[31m': unknown; give error, warn, info or debug");
}

static void deep_nesting(void **state)
{
    (void)state;
    const size_t depth = 100000;
    char *text = malloc(2 * depth + 1);
    assert_non_null(text);
    memset(text, '(', depth);
    memset(text + depth, ')', depth);
    memcpy(text, "a =", 3);
    text[2 * depth] = '\0';
    struct config c;
    struct error err;
    assert_false(parse(&c, text, &err));
    assert_int_equal(strncmp(err.text, "t.cfg:1: ", 9), 0);
    config_fini(&c);
    free(text);
}

static void many_services(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    fputs("services = (\n", out);
    for (int i = 0; i < COUNT; i++) {
        fprintf(out, "%s{ name = \"s%d\"; listen = \"%d\"; connect = \"h:1\"; }\n",
                i == 0 ? "" : ",", i, 1000 + i);
    }
    fputs(");\n", out);
    assert_int_equal(fclose(out), 0);
    struct config c;
    taken(&c, text);
    assert_int_equal(c.service_count, COUNT);
    assert_int_equal(c.services[COUNT - 1].at.line, COUNT + 1);
    config_fini(&c);
    free(text);
}

/* ---- the wrong files ---- */

static void go_to_broken(void)
{
    char path[4096];
    const char *slash = strrchr(__FILE__, '/');
    snprintf(path, sizeof(path), "%.*s../config/broken", (int)(slash - __FILE__ + 1), __FILE__);
    if (chdir(path) != 0) {
        fail_msg("no folder %s", path);
    }
}

static void answer(const char *file, char *dst, size_t size)
{
    struct config c;
    struct error err;
    error_init(&err);
    assert_true(config_set_up(&c, &err));
    if (config_from_file(&c, file, &err)) {
        struct snapshot *s = snapshot_create(&c, 0, &err);
        snapshot_unref(&s);
    }
    (void)str_copy(dst, size, err.set ? err.text : "(nothing)");
    config_fini(&c);
}

static void each_broken_file_has_its_answer(void **state)
{
    (void)state;
    char line[2048];
    size_t answers = 0;
    size_t wrong = 0;
    go_to_broken();
    FILE *file = fopen("answers.txt", "re");
    assert_non_null(file);
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        char *bar = strstr(line, " | ");
        assert_non_null(bar);
        *bar = '\0';
        const char *expected = bar + 3;
        line[strcspn(line, "\n")] = '\0';
        bar[3 + strcspn(expected, "\n")] = '\0';
        char got[ERROR_TEXT_MAX];
        answer(line, got, sizeof(got));
        if (strcmp(got, expected) != 0) {
            print_error("%s\n  is answered: %s\n  instead of:  %s\n", line, got, expected);
            wrong++;
        }
        answers++;
    }
    fclose(file);
    assert_int_equal(wrong, 0);

    size_t files = 0;
    DIR *dir = opendir(".");
    assert_non_null(dir);
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        const char *dot = strrchr(e->d_name, '.');
        files += dot != NULL && strcmp(dot, ".cfg") == 0 ? 1 : 0;
    }
    closedir(dir);
    assert_int_equal(files, answers);
    assert_true(answers >= 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_land_where_they_belong),
        cmocka_unit_test(tls_values_land_where_they_belong),
        cmocka_unit_test(every_row_may_stand_in_its_place),
        cmocka_unit_test(defaults_come_first),
        cmocka_unit_test(odd_but_right),
        cmocka_unit_test(the_command_line_goes_first),
        cmocka_unit_test(what_the_command_line_overrides_must_be_right_too),
        cmocka_unit_test(includes_are_looked_up_beside_the_file),
        cmocka_unit_test(what_cannot_be_included),
        cmocka_unit_test(traps),
        cmocka_unit_test(deep_nesting),
        cmocka_unit_test(many_services),
        cmocka_unit_test(each_broken_file_has_its_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
