#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/buf.h>

#include <stdlib.h>
#include <string.h>

static void test_empty_owns_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_true(buf_empty(&b));
    assert_int_equal(buf_length(&b), 0);
    assert_null(b.data);
    assert_null(buf_peek(&b));
    assert_true(buf_append(&b, "", 0));
    assert_null(b.data);
    buf_consume(&b, 0);
    buf_consume(&b, 10);
    buf_fini(&b);
    assert_null(b.data);
}

static void test_first_in_first_out(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_true(buf_append(&b, "hello ", 6));
    assert_true(buf_append(&b, "world", 5));
    assert_int_equal(buf_length(&b), 11);
    assert_memory_equal(buf_peek(&b), "hello world", 11);
    buf_consume(&b, 6);
    assert_int_equal(buf_length(&b), 5);
    assert_memory_equal(buf_peek(&b), "world", 5);
    buf_consume(&b, 5);
    assert_true(buf_empty(&b));
    assert_null(b.data); /* emptied: no heap */
    assert_int_equal(b.capacity, 0);
    assert_true(buf_append(&b, "x", 1));
    assert_memory_equal(buf_peek(&b), "x", 1);
    buf_fini(&b);
    assert_true(buf_empty(&b));
    assert_true(buf_append(&b, "usable", 6));
    assert_memory_equal(buf_peek(&b), "usable", 6);
    buf_consume(&b, 100);
    assert_true(buf_empty(&b));
    assert_null(b.data);
}

static void test_too_much_is_refused_whole(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_true(buf_append(&b, "abc", 3));
    assert_false(buf_append(&b, "x", SIZE_MAX));
    assert_int_equal(buf_length(&b), 3);
    assert_memory_equal(buf_peek(&b), "abc", 3);
    buf_fini(&b);
}

/* A queue that is never empty must not grow with what passes through it. */
static void test_memory_is_bounded_by_what_waits(void **state)
{
    (void)state;
    struct buf b;
    char chunk[1000];
    memset(chunk, 'x', sizeof(chunk));
    buf_init(&b);
    for (int i = 0; i < 10000; i++) {
        assert_true(buf_append(&b, chunk, sizeof(chunk)));
        if (i >= 3)
            buf_consume(&b, sizeof(chunk));
    }
    assert_int_equal(buf_length(&b), 3000);
    assert_true(b.capacity <= 16384);
    buf_fini(&b);
}

/* Random pieces in and out, against a counter of bytes. */
static void test_stream_keeps_its_bytes(void **state)
{
    (void)state;
    struct buf b;
    uint8_t piece[5000];
    uint32_t in = 0;
    uint32_t out = 0;
    unsigned int seed = 7;
    buf_init(&b);
    for (int round = 0; round < 2000; round++) {
        size_t n = (size_t)rand_r(&seed) % sizeof(piece);
        for (size_t i = 0; i < n; i++)
            piece[i] = (uint8_t)(in++ * 2654435761U >> 24);
        assert_true(buf_append(&b, piece, n));
        size_t take = (size_t)rand_r(&seed) % (buf_length(&b) + 1);
        const uint8_t *bytes = buf_peek(&b);
        for (size_t i = 0; i < take; i++) {
            if (bytes[i] != (uint8_t)(out++ * 2654435761U >> 24))
                fail_msg("byte %u differs", out - 1);
        }
        buf_consume(&b, take);
        assert_int_equal(buf_length(&b), in - out);
    }
    assert_true(out > 1000000);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_owns_nothing),
        cmocka_unit_test(test_first_in_first_out),
        cmocka_unit_test(test_too_much_is_refused_whole),
        cmocka_unit_test(test_memory_is_bounded_by_what_waits),
        cmocka_unit_test(test_stream_keeps_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
