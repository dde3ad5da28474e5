/* What may not be combined in a file: what `defaults` says, and what broken glass does not go with.
 * The rules themselves, one by one: test_command_line.c and tests/config/broken/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/config.h>

#include "config/config_internal.h"

#include <esclusa/str.h>

#include <stdio.h>
#include <string.h>

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

#define TLS_IN "connect = \"tcp://a:1\"; listen_cert = \"c\"; "

/* What `defaults` says is for those that have a use for it, unless that opened one of them. */
static void defaults_of_tls(void **state)
{
    (void)state;
    struct config c;
    taken(&c,
          "defaults = { listen_ca = \"la\"; listen_allow_cn = \"x\"; pins = \"p\"; };\n"
          "services = ( { name = \"a\"; listen = \"tls://1.1.1.1:1\"; " TLS_IN "},\n"
          "{ name = \"b\"; listen = \"tls://1.1.1.1:2\"; listen_client = \"none\"; " TLS_IN "},"
          "{ name = \"c\"; listen = \"3\"; connect = \"a:1\"; },\n"
          "{ name = \"d\"; listen = \"4\"; connect = \"a:1\"; insecure_skip_verify = true; } );");
    config_fini(&c);
    refused("defaults = { listen_allow_cn = \"x\"; };\n"
            "services = ( { name = \"a\"; listen = \"tls://1.1.1.1:1\"; listen_ca = \"c\"; " TLS_IN
            "},\n{ name = \"b\"; listen = \"tls://1.1.1.1:2\"; " TLS_IN "} );",
            "t.cfg:3: listen_allow_cn: stands in defaults and would check nobody here, as "
            "consumers are asked for no certificate; give listen_ca = \"FILE\", or listen_client = "
            "\"none\" where everybody may connect");
    refused("defaults = { listen_client = \"required\"; };\n"
            "services = ( { name = \"a\"; listen = \"tls://1.1.1.1:1\"; " TLS_IN "} );",
            "t.cfg:2: listen_client 'required': given without listen_ca; give the CA of consumers' "
            "certificates: listen_ca = \"FILE\"");
    refused("defaults = {\nlisten_tls_min = \"1.3\"; };\n"
            "services = ( { name = \"a\"; listen = \"tls://1.1.1.1:1\";\ntls_max = \"1.2\"; " TLS_IN
            "} );",
            "t.cfg:4: tls_max '1.2': below listen_tls_min '1.3'; give a tls_max of 1.3 or leave "
            "one of them out");
    refused("defaults = {\npins_policy = \"report\"; };\n" ONE,
            "t.cfg:2: pins_policy: would not be used without pins; give pins = \"sha256//BASE64\" "
            "or leave it out");
}

/* Beside broken glass nothing may pretend to verify. */
static void what_an_unverified_service_may_not_say(void **state)
{
    (void)state;
    static const char *const settings[] = {"verify_names = \"a\"", "names_policy = \"report\"",
                                           "x509_strict = \"on\"", "pins = \"p\"",
                                           "crl = \"c\"",          "crl_dir = \"c\"",
                                           "ocsp = \"require\"",   "revocation_policy = \"report\"",
                                           "tlsa = \"3 1 1 00\"",  "on_revoked = \"close\""};
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        char text[256];
        char expected[256];
        snprintf(text, sizeof(text), "services = ( { name = \"x\"; " REST "%s;\n%s } );",
                 settings[i], "insecure_skip_verify = true;");
        snprintf(expected, sizeof(expected),
                 "t.cfg:1: %.*s: would not be used, as insecure_skip_verify is true; leave one of "
                 "them out",
                 (int)strcspn(settings[i], " "), settings[i]);
        refused(text, expected);
    }
}

static void warm_connections(void **state)
{
    (void)state;
    refused("services = ( { name = \"x\"; " REST "warm_max = 3; } );",
            "t.cfg:1: warm_max: would not be used, as warm_min is 0; raise that or leave it out");
    refused(
        "services = ( { name = \"x\"; " REST "warm_max_idle = \"3s\"; } );",
        "t.cfg:1: warm_max_idle: would not be used, as warm_min is 0; raise that or leave it out");
    refused("services = ( { name = \"x\"; " REST "warm_min = 4;\nwarm_max = 3; } );",
            "t.cfg:2: warm_max '3': less than warm_min, which is 4; give as many at least");
}

/* Of one whose addresses are a and b, but for `settings`. */
static void several(const char *settings, const char *expected)
{
    char text[4096];
    snprintf(
        text, sizeof text,
        "services = ( { name = \"x\"; listen = \"8080\"; connect = [\"a:1\", \"b:1\"];\n%s } );",
        settings);
    refused(text, expected);
}

static void upstreams_and_their_shares(void **state)
{
    (void)state;
    several("balance = \"random_two\"; weights = [\"1\"];",
            "t.cfg:2: weights: not one for each connect, of which there are 2; give as many, in "
            "their order");
    several("balance = \"random_two\"; weights = [\"1\", \"101\"];",
            "t.cfg:2: weights '101': not a weight; give a number from 1 to 100");
    several("balance = \"random_two\"; weights = [\"0\", \"1\"];",
            "t.cfg:2: weights '0': not a weight; give a number from 1 to 100");
    several("weights = [\"2\", \"1\"];",
            "t.cfg:2: weights: would not be used, as balance is 'failover'; give balance = "
            "\"round_robin\" or leave it out");
    several("backups = 2;", "t.cfg:2: backups '2': as many as there are upstreams; one at least "
                            "must be no backup");
    several("eject_max = \"1s\";",
            "t.cfg:2: eject_max '1s': less than eject_time, the first time; give as much at least");
    several("eject_after = 0; eject_time = \"1s\";",
            "t.cfg:2: eject_time: would not be used, as eject_after is 0; raise that or leave it "
            "out");
    several("balance = \"source_hash\"; warm_min = 1;",
            "t.cfg:2: warm_min: balance = \"source_hash\" goes by the consumer, so no connection "
            "can be made ready before; leave one of them out");
    several("starttls = \"mysql\"; check = \"tls\";",
            "t.cfg:2: check 'tls': MySQL's TLS begins with the consumer's login, and a check has "
            "none; give check = \"tcp\"");
}

static void no_more_upstreams_than_there_is_room_for(void **state)
{
    (void)state;
    char text[4096];
    size_t length = 0;
    str_append(text, sizeof text, &length,
               "services = ( { name = \"x\"; listen = \"8080\"; connect = [\"a:1\"");
    for (int port = 2; port <= UPSTREAMS_MAX + 1; port++)
        str_append(text, sizeof text, &length, ", \"a:%d\"", port);
    str_append(text, sizeof text, &length, "]; } );");
    refused(text, "t.cfg:1: connect: more upstreams than a service may have; give 64 at most, or a "
                  "name with several addresses");
}

/* --watch false for once does not make the interval of the file wrong. */
static void the_command_line_turns_the_watch_off(void **state)
{
    (void)state;
    struct config c;
    struct error err;
    static const char text[] = "watch_interval = \"5s\"; " ONE;
    error_init(&err);
    assert_true(config_set_up(&c, &err));
    c.origins[option_by_name("watch") - option_table].kind = ORIGIN_COMMAND_LINE;
    c.watch = 0;
    assert_true(config_from_text(&c, "t.cfg", text, strlen(text), &err));
    config_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_of_tls),
        cmocka_unit_test(what_an_unverified_service_may_not_say),
        cmocka_unit_test(warm_connections),
        cmocka_unit_test(upstreams_and_their_shares),
        cmocka_unit_test(no_more_upstreams_than_there_is_room_for),
        cmocka_unit_test(the_command_line_turns_the_watch_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
