/* The time to live of a DNS answer, out of its bytes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "policy/wire.h"

#include <stdlib.h>
#include <string.h>

#define HEADER(questions, answers) "\0\1\x81\x80\0" questions "\0" answers "\0\0\0\0"
#define QUESTION                   "\1a\4test\0\0\x21\0\1"
#define RECORD(ttl, data)          "\xc0\x0c\0\x21\0\1" ttl data
#define BYTES(text)                (text), sizeof(text) - 1

/* In memory of that very size, so that a sanitizer sees a read past its end. */
static int64_t ttl_of(const char *bytes, size_t length)
{
    unsigned char *copy = malloc(length > 0 ? length : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    int64_t ttl = wire_least_ttl(copy, length);
    free(copy);
    return ttl;
}

static void test_least(void **state)
{
    (void)state;
    const char two[] =
        HEADER("\1", "\2") QUESTION RECORD("\0\0\1\x2c", "\0\2xy") RECORD("\0\0\0\x1e", "\0\1z");
    assert_int_equal(ttl_of(BYTES(two)), 30);
    const char one[] = HEADER("\1", "\1") QUESTION RECORD("\x7f\xff\xff\xff", "\0\0");
    assert_int_equal(ttl_of(BYTES(one)), INT32_MAX);
    const char named[] = HEADER("\0", "\1") "\1b\0"
                                            "\0\x21\0\1"
                                            "\0\1\0\0"
                                            "\0\0";
    assert_int_equal(ttl_of(BYTES(named)), 65536);
    const char huge[] = HEADER("\0", "\1") "\0"
                                           "\0\x21\0\1"
                                           "\xff\xff\xff\xff"
                                           "\0\0";
    assert_int_equal(ttl_of(BYTES(huge)), INT32_MAX); /* RFC 2181 8: not a time; none is less */
    const char none[] = HEADER("\1", "\0") QUESTION;
    assert_int_equal(ttl_of(BYTES(none)), INT32_MAX);
}

/* Every cut of a good message but the whole is refused, and nothing past it is read. */
static void test_cuts(void **state)
{
    (void)state;
    const char whole[] =
        HEADER("\1", "\2") QUESTION RECORD("\0\0\1\x2c", "\0\2xy") RECORD("\0\0\0\x1e", "\0\1z");
    for (size_t length = 0; length < sizeof whole - 1; length++)
        assert_int_equal(ttl_of(whole, length), -1);
}

static void test_nonsense(void **state)
{
    (void)state;
    const char reserved[] = HEADER("\0", "\1") "\x80"
                                               "\0\x21\0\1"
                                               "\0\0\0\1"
                                               "\0\0";
    assert_int_equal(ttl_of(BYTES(reserved)), -1);
    const char too_long[] = HEADER("\0", "\1") "\0"
                                               "\0\x21\0\1"
                                               "\0\0\0\1"
                                               "\xff\xff";
    assert_int_equal(ttl_of(BYTES(too_long)), -1);
    const char label[] = HEADER("\0", "\1") "\x3f"
                                            "abc";
    assert_int_equal(ttl_of(BYTES(label)), -1);
    char many[12 + 1024] = "\0\1\x81\x80\xff\xff\xff\xff"; /* 65535 of each, all empty names */
    assert_int_equal(ttl_of(many, sizeof many), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
