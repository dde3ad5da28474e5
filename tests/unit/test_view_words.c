#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "view/words.h"

#include <esclusa/str.h>

#include <string.h>

static void address(const char *text, const char *shown, const char *base, const char *path)
{
    struct view_address a;
    struct error err;
    error_init(&err);
    assert_true(view_address_parse(&a, text, &err));
    assert_string_equal(a.text, shown);
    assert_string_equal(a.base, base);
    assert_string_equal(a.path, path);
}

static void test_addresses(void **state)
{
    (void)state;
    address("9901", "127.0.0.1:9901", "http://127.0.0.1:9901", "");
    address("host.example:1", "host.example:1", "http://host.example:1", "");
    address("tcp://[::1]:80", "[::1]:80", "http://[::1]:80", "");
    address("unix:/run/a.sock", "unix:/run/a.sock", "http://localhost", "/run/a.sock");
    address("unix:@name", "unix:@name", "http://localhost", "name");
}

static void test_wrong_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {"",       "0",           "65536",  "host",     ":80",
                                      "a@b:80", "a/b:80",      "unix:",  "unix:rel", "unix:@",
                                      "::1:80", "file:///etc", "a b:80", "a?b:80",   "h:8x",
                                      "a#b:80", "\x1b[2J:80",  "unix:/", "[:80",     "[]:80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct view_address a;
        struct error err;
        error_init(&err);
        if (view_address_parse(&a, bad[i], &err))
            fail_msg("%s was taken", bad[i]);
        assert_null(strchr(err.text, '\x1b'));
    }
}

static bool parse(struct view_words *w, struct error *err, const char *a, const char *b,
                  const char *c, const char *d)
{
    const char *const words[] = {"esclusa", a, b, c, d};
    char copies[5][64];
    char *argv[6] = {NULL};
    int argc = 0;
    while (argc < 5 && words[argc] != NULL) {
        assert_true(str_copy(copies[argc], sizeof copies[argc], words[argc]));
        argv[argc] = copies[argc];
        argc++;
    }
    error_init(err);
    return view_words_parse(w, argc, argv, err);
}

static void test_words(void **state)
{
    (void)state;
    struct view_words w;
    struct error err;
    assert_true(parse(&w, &err, "why", "--admin", "1", NULL));
    assert_true(w.id == 0 && !w.json);
    assert_true(parse(&w, &err, "why", "12", "--admin=1", "--json"));
    assert_true(w.id == 12 && w.json && w.command == VIEW_WHY);
    assert_true(parse(&w, &err, "top", "--admin", "1", NULL));
    assert_true(w.command == VIEW_TOP && !w.once && w.interval_ms == 1000);
    assert_true(parse(&w, &err, "top", "--once", "--interval=0.25", "--admin=1"));
    assert_true(w.once && w.interval_ms == 250);
    assert_true(parse(&w, &err, "top", "--interval=3600", "--admin=1", NULL));
    assert_true(w.interval_ms == 3600000);
}

static void wrong(const char *a, const char *b, const char *c, const char *said)
{
    struct view_words w;
    struct error err;
    assert_false(parse(&w, &err, a, b, c, NULL));
    if (strstr(err.text, said) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, said);
}

static void test_wrong_words(void **state)
{
    (void)state;
    wrong("why", NULL, NULL, "--admin is missing");
    wrong("why", "--admin", NULL, "--admin: a value must follow");
    wrong("why", "0", "--admin=1", "\"0\" is no ID");
    wrong("why", "x", "--admin=1", "\"x\" is no ID");
    wrong("why", "--once", "--admin=1", "\"--once\" is not known");
    wrong("why", "--interval=1", "--admin=1", "esclusa why [ID]");
    wrong("top", "--json", "--admin=1", "esclusa top --admin");
    wrong("top", "5", "--admin=1", "\"5\" is not known");
    wrong("top", NULL, NULL, "--admin is missing");
    wrong("top", "--interval", NULL, "--interval: a value must follow");
    static const char *const intervals[] = {"0",    "0.05", "",   "x",     ".5",       "1.",
                                            "3601", "-1",   "1s", "0.2.5", "3600.001", "1.0001"};
    for (size_t i = 0; i < sizeof intervals / sizeof intervals[0]; i++)
        wrong("top", "--interval", intervals[i], "--interval: ");
    wrong("other", NULL, NULL, "esclusa why");
    wrong("other", NULL, NULL, "esclusa top");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_wrong_addresses),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_wrong_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
