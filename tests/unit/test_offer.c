#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/dialogue.h>

#include <string.h>

#define SASL(length, names) "R\0\0\0" length "\0\0\0\12" names
#define BOTH                SASL("\52", "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
#define ONE                 SASL("\27", "SCRAM-SHA-256\0\0")
#define OK                  "R\0\0\0\10\0\0\0\0"

/* However it comes, the consumer hears the other. */
static void hears(const char *from, size_t from_length, const char *to, size_t to_length, bool over)
{
    for (size_t chunk = 1; chunk <= from_length; chunk++) {
        struct offer o = {.length = 0};
        uint8_t heard[2048];
        size_t at = 0, take;
        bool done = false;
        while (at < from_length && !done) {
            size_t n = from_length - at < chunk ? from_length - at : chunk;
            done = offer_feed(&o, (const uint8_t *)from + at, n, &take);
            assert_true(take <= n && (done || take == n));
            at += take;
        }
        assert_int_equal(done, over);
        memcpy(heard, o.held, o.length);
        memcpy(heard + o.length, from + at, from_length - at);
        assert_int_equal(o.length + from_length - at, to_length);
        assert_memory_equal(heard, to, to_length);
    }
}

#define HEARS(from, to, over) hears(from, sizeof(from) - 1, to, sizeof(to) - 1, over)

static void test_offers(void **state)
{
    (void)state;
    HEARS(BOTH, ONE, true);
    HEARS(BOTH "more", ONE "more", true);
    HEARS(ONE, ONE, true);
    HEARS(OK "S\0", OK "S\0", true);
    HEARS("R\0\0\0\14\0\0\0\5salt", "R\0\0\0\14\0\0\0\5salt", true);
    HEARS("E\0\0\0\6x\0", "E\0\0\0\6x\0", true);
    HEARS("v\0\0\0\14\0\3\0\0\0\0\0\0N\0\0\0\5\0" BOTH, "v\0\0\0\14\0\3\0\0\0\0\0\0N\0\0\0\5\0" ONE,
          true);
}

static void test_left_alone(void **state)
{
    static const char alone[] = SASL("\34", "SCRAM-SHA-256-PLUS\0\0");
    static const char open[] = SASL("\20", "SCRAM-SH");
    char large[1000] = "N\0\0\3\77";
    (void)state;
    HEARS(alone, alone, true);
    HEARS(open, open, true);
    HEARS("R\0\0\0\4xxxx", "R\0\0\0\4xxxx", true);
    HEARS("R\0\0\0\0xxxx", "R\0\0\0\0xxxx", true);
    HEARS("R\377\377\377\377xxxx", "R\377\377\377\377xxxx", true);
    HEARS("R\0\0", "R\0\0", false);
    hears(large, sizeof large, large, sizeof large, true);
    /* At the very bound of what is held. */
    memset(large, 0, sizeof large);
    memcpy(large, "N\0\0\1\324", 5);
    memcpy(large + 469, BOTH, sizeof BOTH);
    char struck[1000] = {0};
    memcpy(struck, large, 469);
    memcpy(struck + 469, ONE, sizeof ONE);
    hears(large, 469 + sizeof BOTH - 1, struck, 469 + sizeof ONE - 1, true);
    large[4]++; /* one more is too many */
    memmove(large + 470, large + 469, sizeof BOTH);
    large[469] = 0;
    hears(large, 470 + sizeof BOTH - 1, large, 470 + sizeof BOTH - 1, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offers),
        cmocka_unit_test(test_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
