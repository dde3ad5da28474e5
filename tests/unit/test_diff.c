/* What a reload says it changed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/config.h>
#include <esclusa/str.h>

#include "tls_fixture.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct snapshot *snapshot_of(const char *connect, const char *idle, const char *drain)
{
    char to[64], for_idle[32], for_drain[32];
    snprintf(to, sizeof to, "%s", connect);
    snprintf(for_idle, sizeof for_idle, "%s", idle);
    snprintf(for_drain, sizeof for_drain, "%s", drain);
    char *argv[] = {(char[]){"esclusa"},
                    (char[]){"--listen"},
                    (char[]){"127.0.0.1:18080"},
                    (char[]){"--connect"},
                    to,
                    (char[]){"--idle-timeout"},
                    for_idle,
                    (char[]){"--drain-timeout"},
                    for_drain,
                    NULL};
    struct config config;
    struct error err;
    enum command command;
    error_init(&err);
    assert_true(config_set_up(&config, &err));
    assert_true(config_from_command_line(&config, 9, argv, &command, &err));
    struct snapshot *s = snapshot_create(&config, 3, &err);
    assert_non_null(s);
    assert_int_equal(s->workers, 3);
    config_fini(&config);
    return s;
}

static char told[4096];

static void tell(void *context, const char *service, const char *change)
{
    (void)context;
    size_t length = strlen(told);
    snprintf(told + length, sizeof told - length, "[%s] %s\n", service != NULL ? service : "-",
             change);
}

static const char *diff(struct snapshot *before, struct snapshot *after)
{
    told[0] = '\0';
    snapshot_diff(before, after, tell, NULL);
    snapshot_unref(&before);
    snapshot_unref(&after);
    return told;
}

static void the_same_is_no_change(void **state)
{
    (void)state;
    assert_string_equal(diff(snapshot_of("tcp://127.0.0.1:1", "1h", "5s"),
                             snapshot_of("tcp://127.0.0.1:1", "60m", "5s")),
                        "");
}

static void each_setting_is_told_with_both_values(void **state)
{
    (void)state;
    assert_string_equal(diff(snapshot_of("tcp://127.0.0.1:1", "1h", "5s"),
                             snapshot_of("tcp://127.0.0.1:2", "2h", "5s")),
                        "[default] connect: tcp://127.0.0.1:1 -> tcp://127.0.0.1:2\n"
                        "[default] idle_timeout: 1h -> 2h\n");
}

static void a_global_setting_has_no_service(void **state)
{
    (void)state;
    assert_string_equal(diff(snapshot_of("tcp://127.0.0.1:1", "1h", "5s"),
                             snapshot_of("tcp://127.0.0.1:1", "1h", "9s")),
                        "[-] drain_timeout: 5s -> 9s\n");
}

static void services_come_and_go(void **state)
{
    (void)state;
    struct snapshot *before = snapshot_of("tcp://127.0.0.1:1", "1h", "5s");
    struct snapshot *after = snapshot_of("tcp://127.0.0.1:1", "1h", "5s");
    memcpy(after->config.services[0].name, "other", sizeof "other"); /* shorter than "default" */
    assert_string_equal(diff(before, after), "[default] removed\n[other] added\n");
}

/* Alike for longer than a line of the log shows. */
static void a_long_list_that_changes_at_its_end(void **state)
{
    (void)state;
    struct snapshot *before = snapshot_of("tcp://127.0.0.1:1", "1h", "5s");
    struct snapshot *after = snapshot_of("tcp://127.0.0.1:1", "1h", "5s");
    char word[1001];
    memset(word, 'x', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    free(before->config.services[0].ca);
    free(after->config.services[0].ca);
    before->config.services[0].ca = str_dup(word);
    word[sizeof word - 2] = 'y';
    after->config.services[0].ca = str_dup(word);
    const char *said = diff(before, after);
    assert_non_null(strstr(said, "[default] ca: xxxx"));
    assert_non_null(strstr(said, "xxx... -> xxx"));
}

/* ---- certificates ---- */

static char folder[] = "/tmp/esclusa-diff-XXXXXX";

static void path_in_folder(char *dst, size_t size, const char *name)
{
    snprintf(dst, size, "%s/%s.pem", folder, name);
}

/* A certificate with its key in NAME.pem; its serial number is one more than that of the last. */
static void put_certificate(const char *name, const char *cn)
{
    char path[64];
    path_in_folder(path, sizeof path, name);
    struct fx_cert made = fx_make(&(struct fx_spec){.cn = cn});
    fx_write(path, "we", made.cert, made.key);
    fx_free(&made);
}

static struct snapshot *snapshot_with(const char *const names[])
{
    char text[1024];
    size_t length = 0;
    struct config config;
    struct error err;
    (void)str_append(text, sizeof text, &length,
                     "services = ( { name = \"s\"; listen = \"tls://127.0.0.1:1\"; connect = "
                     "\"tcp://h:1\"; listen_cert = [");
    for (size_t i = 0; names[i] != NULL; i++)
        (void)str_append(text, sizeof text, &length, "%s\"%s/%s.pem\"", i > 0 ? ", " : "", folder,
                         names[i]);
    assert_true(str_append(text, sizeof text, &length, "]; } );"));
    error_init(&err);
    assert_true(config_set_up(&config, &err));
    assert_true(config_from_text(&config, "t.cfg", text, length, &err));
    struct snapshot *s = snapshot_create(&config, 1, &err);
    if (s == NULL)
        fail_msg("%s", err.text);
    return s;
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* What is told of certificates, without dates and serial numbers: "a -> a, + b, - c". */
static const char *certificate_changes(struct snapshot *before, struct snapshot *after)
{
    static char changes[512];
    char *rest = NULL;
    size_t length = 0;
    changes[0] = '\0';
    (void)diff(before, after);
    for (char *line = strtok_r(told, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char first[32] = "", second[32] = "";
        const char *told_of = strstr(line, "] certificate");
        if (told_of == NULL)
            continue;
        const char *arrow = strstr(told_of, " -> ");
        assert_int_equal(sscanf(strchr(told_of, ':'), ": CN=%31s serial", first), 1);
        assert_non_null(strstr(told_of, " UTC"));
        if (arrow != NULL)
            assert_int_equal(sscanf(arrow, " -> CN=%31s serial", second), 1);
        (void)str_append(changes, sizeof changes, &length, "%s%s%s%s%s", length > 0 ? ", " : "",
                         strncmp(told_of + 13, " added", 6) == 0     ? "+ "
                         : strncmp(told_of + 13, " removed", 8) == 0 ? "- "
                                                                     : "",
                         first, arrow != NULL ? " -> " : "", second);
    }
    return changes;
}

static void certificates_of_lists(void **state)
{
    (void)state;
    put_certificate("a", "a");
    put_certificate("b", "b");
    put_certificate("c", "c");
    const char *const none = "";
    assert_string_equal(
        certificate_changes(snapshot_with(NAMES("a", "b")), snapshot_with(NAMES("a", "b"))), none);
    assert_string_equal(
        certificate_changes(snapshot_with(NAMES("a", "b")), snapshot_with(NAMES("b", "a"))), none);
    assert_string_equal(
        certificate_changes(snapshot_with(NAMES("a")), snapshot_with(NAMES("b", "a"))), "+ b");
    assert_string_equal(
        certificate_changes(snapshot_with(NAMES("a", "b", "c")), snapshot_with(NAMES("c"))),
        "- a, - b");
    assert_string_equal(
        certificate_changes(snapshot_with(NAMES("a", "b")), snapshot_with(NAMES("a", "c"))),
        "b -> c");
    /* Renewed: the one of the same name, wherever it stands. */
    struct snapshot *before = snapshot_with(NAMES("a", "b"));
    put_certificate("b", "b");
    assert_string_equal(certificate_changes(before, snapshot_with(NAMES("c", "b", "a"))),
                        "b -> b, + c");
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        path_in_folder(path, sizeof path, names[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_is_no_change),
        cmocka_unit_test(each_setting_is_told_with_both_values),
        cmocka_unit_test(a_global_setting_has_no_service),
        cmocka_unit_test(services_come_and_go),
        cmocka_unit_test(a_long_list_that_changes_at_its_end),
        cmocka_unit_test(certificates_of_lists),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
