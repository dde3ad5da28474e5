/* What a reload says it changed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/config.h>

#include <stdio.h>
#include <string.h>

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

static char told[1024];

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_is_no_change),
        cmocka_unit_test(each_setting_is_told_with_both_values),
        cmocka_unit_test(a_global_setting_has_no_service),
        cmocka_unit_test(services_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
