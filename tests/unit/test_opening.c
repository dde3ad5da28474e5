#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/dialogue.h>

#include <string.h>

#define SSL "\0\0\0\10\4\322\26\57"
#define GSS "\0\0\0\10\4\322\26\60"
#define STOP                                                                                       \
    "\0\0\0\20\4\322\26\56"                                                                        \
    "12345678" /* CancelRequest */
#define NEW "\0\0\0\11\0\3\0\0\0"

/* What the server hears and how many 'N' the consumer hears, however it comes. */
static void opens(const char *text, size_t length, size_t passed_from, unsigned answers, bool over)
{
    for (size_t chunk = 1; chunk <= length; chunk++) {
        struct opening o = {0};
        uint8_t passed[64];
        size_t count = 0, at = 0, take;
        unsigned answered = 0, now;
        bool done = false;
        while (at < length && !done) {
            size_t n = length - at < chunk ? length - at : chunk;
            done = opening_feed(&o, (const uint8_t *)text + at, n, &take, &now);
            assert_true(take <= n && (done || take == n));
            answered += now;
            at += take;
        }
        assert_int_equal(done, over);
        assert_int_equal(answered, answers);
        memcpy(passed, o.held, o.length);
        count = o.length;
        memcpy(passed + count, text + at, length - at);
        count += length - at;
        assert_int_equal(count, length - passed_from);
        assert_memory_equal(passed, text + passed_from, count);
    }
}

static void test_asks(void **state)
{
    (void)state;
    opens(NEW, 9, 0, 0, true);
    opens(SSL NEW, 17, 8, 1, true);
    opens(GSS NEW, 17, 8, 1, true);
    opens(GSS SSL NEW, 25, 16, 2, true);
    opens(GSS SSL, 16, 16, 2, true);
    opens(SSL STOP, 24, 8, 1, true);
    opens(STOP, 16, 0, 0, true);
    opens(SSL SSL SSL, 24, 16, 2, true); /* a third is the server's to judge */
}

static void test_not_whole(void **state)
{
    (void)state;
    opens("\0\0\0\10", 4, 0, 0, false);
    opens(SSL, 8, 8, 1, false);
    opens(SSL "\0\0\0", 11, 8, 1, false);
}

static void test_something_else(void **state)
{
    (void)state;
    opens("GET / HTTP/1.1\r\n", 16, 0, 0, true);
    opens("\26\3\1\2\0\1\0\1\374\3\3", 11, 0, 0, true); /* TLS at once */
    opens("\0\0\0\10\4\322\26\61", 8, 0, 0, true);
    opens("\0\0\0\10\0\3\0\0", 8, 0, 0, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asks),
        cmocka_unit_test(test_not_whole),
        cmocka_unit_test(test_something_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
