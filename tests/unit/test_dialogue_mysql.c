/* MySQL, where the consumer takes part: greeting, login, sequence numbers. */
#include "dialogue_script.h"

#include <stdlib.h>

/* MariaDB 10.11's greeting: protocol 10, capabilities f7fe (with TLS), and what follows. */
#define VERSION  "5.5.5-10.11.6-MariaDB-0+deb12u1"
#define REST     "\x08\x02\x00\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0qwertyuiopas\0mysql_native_password\0"
#define GREETING "\x0a" VERSION "\0\x2a\0\0\0abcdefgh\0"
#define WITH     GREETING "\xfe\xff" REST
#define WITHOUT  GREETING "\xfe\xf7" REST
#define HEAD     "\x63\0\0\0"

/* Capabilities 41, with a database; 16 MiB; utf8; user root. */
#define FIXED "\0\0\0\1\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define LOGIN "\x8d\xa2\x0b\0" FIXED "root\0\0test\0"
#define TLS_REQUEST                                                                                \
    "\x20\0\0\1"                                                                                   \
    "\x8d\xaa\x0b\0" FIXED

static const struct dialogue_order order = {.protocol = DIALOGUE_MYSQL};

static struct dialogue *greeted(size_t chunk)
{
    struct dialogue *d = dialogue_create(&order);
    assert_int_equal(sizeof WITH - 1, 0x63);
    hear(d, (struct bytes)B(HEAD WITH), chunk);
    assert_int_equal(d->state, DIALOGUE_CONSUMER);
    assert_bytes("greeting", "early", buf_peek(&d->early), buf_length(&d->early),
                 (struct bytes)B(HEAD WITHOUT));
    return d;
}

static void say(struct dialogue *d, struct bytes what, size_t chunk)
{
    for (size_t at = 0, n; at < what.length; at += n) {
        n = what.length - at < chunk ? what.length - at : chunk;
        dialogue_consumer(d, (const uint8_t *)what.at + at, n);
    }
}

static void test_goes(void **state)
{
    (void)state;
    for (size_t chunk = 1; chunk < 200; chunk += 66) {
        struct dialogue *d = greeted(chunk);
        assert_says("before the consumer", d, (struct bytes){NULL, 0});
        say(d, (struct bytes)B("\x2b\0\0\1" LOGIN), chunk);
        assert_int_equal(d->state, DIALOGUE_DONE);
        assert_says("request", d, (struct bytes)B(TLS_REQUEST));
        /* The login goes with the same capabilities; its number is mysql_shift's. */
        assert_bytes("login", "held", buf_peek(&d->held), buf_length(&d->held),
                     (struct bytes)B("\x2b\0\0\1"
                                     "\x8d\xaa\x0b\0" FIXED "root\0\0test\0"));
        hear(d, (struct bytes)B("x"), 1);
        assert_int_equal(d->fault, DIALOGUE_FAULT_INJECTED);
        dialogue_destroy(&d);
    }
}

static void test_pipelined(void **state)
{
    (void)state;
    struct dialogue *d = greeted(SIZE_MAX);
    say(d, (struct bytes)B("\x2b\0\0\1" LOGIN "\1\0\0\0\x0e"), SIZE_MAX);
    assert_int_equal(d->state, DIALOGUE_DONE);
    assert_int_equal(buf_length(&d->held), 4 + 0x2b + 5);
    dialogue_destroy(&d);
}

static const struct script refusals[] = {
    {"no TLS",
     {.protocol = DIALOGUE_MYSQL},
     {{B(""), B(HEAD WITHOUT)}},
     DIALOGUE_FAULT_NO_TLS,
     "does not offer TLS",
     "ssl_cert",
     B(""),
     B(""),
     false},
    {"too many",
     {.protocol = DIALOGUE_MYSQL},
     {{B(""), B("\x17\0\0\0\xff\x10\x04Too many connections")}},
     DIALOGUE_FAULT_UNREACHABLE,
     "error 1040, Too many connections",
     "log",
     B(""),
     B(""),
     false},
    {"with a state",
     {.protocol = DIALOGUE_MYSQL},
     {{B(""), B("\x0d\0\0\0\xff\x6a\x04#HY000no \n!")}},
     DIALOGUE_FAULT_UNREACHABLE,
     "error 1130, no \\x0a",
     "log",
     B(""),
     B(""),
     false},
    {"an error without a text",
     {.protocol = DIALOGUE_MYSQL},
     {{B(""), B("\1\0\0\0\xff")}},
     DIALOGUE_FAULT_UNREACHABLE,
     "error 0",
     "log",
     B(""),
     B(""),
     false},
    {"protocol 9",
     {.protocol = DIALOGUE_MYSQL},
     {{B(""), B("\4\0\0\0\x09"
                "3.2")}},
     DIALOGUE_FAULT_GARBAGE,
     "not MySQL's",
     "port",
     B(""),
     B(""),
     false},
    {"short",
     {.protocol = DIALOGUE_MYSQL},
     {{B(""), B("\x10\0\0\0\x0a"
                "5\0"
                "1234abcdefgh\0")}},
     DIALOGUE_FAULT_GARBAGE,
     "not MySQL's",
     "port",
     B(""),
     B(""),
     false},
    {"no end of the version",
     {.protocol = DIALOGUE_MYSQL},
     {{B(""), B("\4\0\0\0\x0a"
                "555")}},
     DIALOGUE_FAULT_GARBAGE,
     "not MySQL's",
     "port",
     B(""),
     B(""),
     false},
    {"empty",
     {.protocol = DIALOGUE_MYSQL},
     {{B(""), B("\0\0\0\0")}},
     DIALOGUE_FAULT_GARBAGE,
     "not MySQL's",
     "port",
     B(""),
     B(""),
     false},
    {"large",
     {.protocol = DIALOGUE_MYSQL},
     {{B(""), B("\1\x10\0\0")}},
     DIALOGUE_FAULT_GARBAGE,
     "not MySQL's",
     "port",
     B(""),
     B(""),
     false},
    {"SMTP",
     {.protocol = DIALOGUE_MYSQL},
     {{B(""), B("220 hello\r\n")}},
     DIALOGUE_FAULT_GARBAGE,
     "an SMTP or FTP",
     "port",
     B(""),
     B(""),
     false},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        play(&refusals[i], SIZE_MAX);
        play(&refusals[i], 1);
    }
    struct dialogue *d = dialogue_create(&order);
    hear(d, (struct bytes)B("\x63\0\0\1" WITH), SIZE_MAX);
    assert_int_equal(d->fault, DIALOGUE_FAULT_GARBAGE);
    dialogue_destroy(&d);

    d = dialogue_create(&order); /* more than the greeting */
    hear(d, (struct bytes)B(HEAD WITH "\1"), SIZE_MAX);
    assert_int_equal(d->fault, DIALOGUE_FAULT_INJECTED);
    assert_true(buf_empty(&d->early));
    dialogue_destroy(&d);

    d = greeted(SIZE_MAX); /* and later, while the consumer has the word */
    hear(d, (struct bytes)B("\1"), 1);
    assert_int_equal(d->fault, DIALOGUE_FAULT_INJECTED);
    dialogue_destroy(&d);

    d = greeted(SIZE_MAX);
    dialogue_ended(d);
    assert_int_equal(d->fault, DIALOGUE_FAULT_CUT);
    dialogue_destroy(&d);
}

static void consumer_fails(struct bytes what, const char *error, const char *remedy)
{
    for (size_t chunk = 1; chunk < 300; chunk += 299) {
        const uint8_t *bytes;
        struct dialogue *d = greeted(SIZE_MAX);
        say(d, what, chunk == 1 ? 1 : SIZE_MAX);
        assert_int_equal(d->fault, DIALOGUE_FAULT_BY_CONSUMER);
        assert_part("consumer", d->error, error);
        assert_part("consumer", d->remedy, remedy);
        assert_int_equal(dialogue_pending(d, &bytes), 0);
        assert_true(buf_empty(&d->held));
        dialogue_destroy(&d);
    }
}

static void test_consumer_fails(void **state)
{
    (void)state;
    consumer_fails((struct bytes)B("\x20\0\0\1\x8d\xaa\x0b\0" FIXED), "asks for TLS itself",
                   "ssl-mode=DISABLED");
    consumer_fails((struct bytes)B("\x0b\0\0\1\x0d\xa0\0\0\0root\0\0"), "before MySQL 4.1", "4.1");
    consumer_fails((struct bytes)B("\x10\0\0\1\x8d\xa2\x0b\0"), "before MySQL 4.1", "4.1");
    consumer_fails((struct bytes)B("\x2b\0\0\2" LOGIN), "no MySQL login", "MySQL client");
    consumer_fails((struct bytes)B("\1\0\0\1x"), "no MySQL login", "MySQL client");
    consumer_fails((struct bytes)B("GET / HTTP/1.1\r\n\r\n"), "no MySQL login", "MySQL client");

    struct dialogue *d = greeted(SIZE_MAX); /* a login may be 64 KiB, and not endless */
    char *much = calloc(1, 200000);
    memcpy(much, (const uint8_t[]){0xff, 0xff, 0, 1, 0x8d, 0xa2}, 6);
    dialogue_consumer(d, much, 65535);
    assert_int_equal(d->state, DIALOGUE_CONSUMER);
    dialogue_consumer(d, much, 4);
    assert_int_equal(d->state, DIALOGUE_DONE);
    dialogue_destroy(&d);
    d = greeted(SIZE_MAX);
    dialogue_consumer(d, much, 200000);
    assert_int_equal(d->fault, DIALOGUE_FAULT_BY_CONSUMER);
    dialogue_destroy(&d);
    free(much);
}

/* ---- sequence numbers ---- */

typedef void (*shift)(struct mysql_shift *, uint8_t *, size_t);

static void shifts(shift by, struct bytes from, struct bytes to, bool over)
{
    for (size_t chunk = 1; chunk <= from.length; chunk++) {
        struct mysql_shift s = {0};
        uint8_t *copy = malloc(from.length);
        memcpy(copy, from.at, from.length);
        for (size_t at = 0, n; at < from.length; at += n) {
            n = from.length - at < chunk ? from.length - at : chunk;
            by(&s, copy + at, n);
        }
        assert_bytes("shift", "bytes", copy, from.length, to);
        assert_int_equal(s.over, over);
        free(copy);
    }
}

static void test_shift(void **state)
{
    (void)state;
    /* A login, the answer to a switch, an empty one; then a command, and what looks like more. */
    shifts(mysql_shift_consumer, (struct bytes)B("\2\0\0\1ab\3\0\0\3abc\0\0\0\5"),
           (struct bytes)B("\2\0\0\2ab\3\0\0\4abc\0\0\0\6"), false);
    shifts(mysql_shift_consumer, (struct bytes)B("\2\0\0\1ab\1\0\0\0\3\1\0\0\1x"),
           (struct bytes)B("\2\0\0\2ab\1\0\0\0\3\1\0\0\1x"), true);
    /* A switch, more data, an empty one, OK; then rows. */
    shifts(mysql_shift_server,
           (struct bytes)B("\2\0\0\3\xfe\0\2\0\0\5\1\0\0\0\0\7\3\0\0\x09\0\0\0\1\0\0\1x"),
           (struct bytes)B("\2\0\0\2\xfe\0\2\0\0\4\1\0\0\0\0\6\3\0\0\x08\0\0\0\1\0\0\1x"), true);
    shifts(mysql_shift_server, (struct bytes)B("\3\0\0\3\xff\1\2\1\0\0\1x"),
           (struct bytes)B("\3\0\0\2\xff\1\2\1\0\0\1x"), true);
    shifts(mysql_shift_server, (struct bytes)B("\4\0\0\3\1\0\xff\0\1\0\0\4\2"),
           (struct bytes)B("\4\0\0\2\1\0\xff\0\1\0\0\3\2"), false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes),     cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_consumer_fails),
        cmocka_unit_test(test_shift),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
