/* One pump between two scripted fakes: every order of statuses up to some length, and the single
 * rules by name. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "fake_transport.h"

#include <esclusa/relay.h>

#define SCRATCH_SIZE 64
#define NO_LIMIT     SIZE_MAX

struct bench {
    struct fake source, destination;
    struct fake_log log;
    struct pump pump;
    uint8_t plain[SCRATCH_SIZE];
    struct transport_scratch scratch;
};

static void bench_init(struct bench *b)
{
    fake_pair(&b->source, &b->destination, &b->log);
    pump_init(&b->pump, &b->source.base, &b->destination.base);
    b->scratch = (struct transport_scratch){.plain = b->plain, .plain_size = sizeof b->plain};
}

static void bench_readable(struct bench *b)
{
    b->source.fresh = true;
    b->pump.readable = true;
}

static enum pump_state run(struct bench *b, size_t budget)
{
    return pump_run(&b->pump, &b->scratch, budget);
}

static void assert_clean(const struct bench *b)
{
    assert_string_equal(b->source.what, "");
    assert_string_equal(b->destination.what, "");
}

/* ---- every order ---- */

struct variant {
    size_t budget;
    bool truncated_is_end, hold_end;
};

/* The state that the end of the source and of the destination call for. */
static enum pump_state expected_end(const struct bench *b)
{
    if (b->destination.failed)
        return PUMP_DESTINATION_ERROR;
    switch (b->source.end) {
    case TP_OK:
    case TP_AGAIN:
        return PUMP_RUNNING;
    case TP_EOF:
        return PUMP_DONE;
    case TP_TRUNCATED:
        return b->pump.truncated_is_end ? PUMP_DONE : PUMP_TRUNCATED;
    case TP_ERROR:
        break;
    }
    return PUMP_SOURCE_ERROR;
}

static void check_wait(const struct bench *b, uint64_t moved, const struct variant *v)
{
    const struct fake_log *l = &b->log;
    bool flushed = l->op == FAKE_FLUSH && l->status == TP_OK;
    switch (b->pump.wait) {
    case PUMP_WAIT_READ:
        assert_int_equal(b->source.end, TP_OK);
        assert_true((l->op == FAKE_READ && l->status == TP_AGAIN) ||
                    (flushed && !b->source.fresh && !b->source.buffered));
        break;
    case PUMP_WAIT_WRITE:
        assert_true(l->op != FAKE_READ && l->status == TP_AGAIN);
        break;
    case PUMP_WAIT_TURN:
        assert_true(flushed && moved >= v->budget);
        assert_int_equal(b->source.end, TP_OK);
        break;
    case PUMP_WAIT_HELD:
        assert_true(flushed && b->pump.hold_end);
        assert_true(b->source.end == TP_EOF ||
                    (b->source.end == TP_TRUNCATED && b->pump.truncated_is_end));
        assert_int_equal(b->destination.calls[FAKE_SHUT], 0);
        break;
    case PUMP_WAIT_NOTHING:
        fail_msg("running and waits for nothing");
    }
}

static void check(const struct bench *b, enum pump_state state, uint64_t moved,
                  const struct variant *v)
{
    assert_clean(b);
    assert_int_equal(state, b->pump.state);
    assert_true(b->pump.bytes == b->source.given);
    assert_true(moved < v->budget || moved - v->budget < FAKE_PIECE);
    if (buf_empty(&b->pump.held))
        assert_null(b->pump.held.data);
    else
        assert_true(buf_length(&b->pump.held) == b->source.given - b->destination.taken);
    assert_true(b->pump.was_truncated == (b->source.end == TP_TRUNCATED));

    if (state == PUMP_RUNNING) {
        assert_false(b->destination.failed);
        check_wait(b, moved, v);
        return;
    }
    assert_int_equal(state, expected_end(b));
    assert_int_equal(b->pump.wait, PUMP_WAIT_NOTHING);
    assert_null(b->pump.held.data);
    assert_true(b->destination.shut == (state == PUMP_DONE));
    if (state != PUMP_DESTINATION_ERROR) {
        assert_true(b->destination.taken == b->source.given);
        assert_false(b->destination.unflushed);
    }
}

/* One way through the tree, to its end: beyond the chosen statuses all goes well. */
static void one_way(struct choices *choices, const struct variant *v)
{
    struct bench b;
    bench_init(&b);
    b.source.choices = b.destination.choices = choices;
    b.destination.cut_is_end = b.pump.truncated_is_end = v->truncated_is_end;
    b.destination.free_flush = true;
    b.pump.hold_end = v->hold_end;

    int runs = 0;
    enum pump_state state;
    do {
        uint64_t before = b.source.given;
        state = run(&b, v->budget);
        check(&b, state, b.source.given - before, v);
        if (b.pump.wait == PUMP_WAIT_READ)
            bench_readable(&b);
        if (b.pump.wait == PUMP_WAIT_HELD)
            b.pump.hold_end = false;
        assert_true(++runs < 100);
    } while (state == PUMP_RUNNING);
    assert_true(b.log.calls < 200);

    unsigned calls = b.log.calls;
    assert_int_equal(run(&b, v->budget), state); /* an ended pump touches nothing any more */
    assert_int_equal(b.log.calls, calls);
    pump_fini(&b.pump);
}

static void every_order(const struct variant *v, unsigned depth)
{
    struct choices choices = {.depth = depth};
    unsigned long ways = 0;
    do {
        choices.used = 0;
        one_way(&choices, v);
        ways++;
    } while (choices_next(&choices));
    print_message("%lu ways\n", ways);
    assert_true(ways > 1000);
}

static void test_every_order(void **state)
{
    (void)state;
    every_order(&(struct variant){.budget = NO_LIMIT}, 12);
}

static void test_every_order_in_small_turns(void **state)
{
    (void)state;
    every_order(&(struct variant){.budget = 1}, 11);
    every_order(&(struct variant){.budget = 2 * FAKE_PIECE}, 11);
}

static void test_every_order_cut_is_end(void **state)
{
    (void)state;
    every_order(&(struct variant){.budget = NO_LIMIT, .truncated_is_end = true}, 11);
}

static void test_every_order_end_held(void **state)
{
    (void)state;
    every_order(&(struct variant){.budget = NO_LIMIT, .hold_end = true}, 11);
    every_order(&(struct variant){.budget = NO_LIMIT, .hold_end = true, .truncated_is_end = true},
                10);
}

/* ---- single rules ---- */

static void test_starts_with_a_read(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    assert_true(b.pump.readable); /* something may have come with the handshake */
    assert_int_equal(run(&b, NO_LIMIT), PUMP_RUNNING);
    assert_int_equal(b.source.calls[FAKE_READ], 1);
    assert_int_equal(b.pump.wait, PUMP_WAIT_READ);
    pump_fini(&b.pump);
}

static void test_no_read_without_readiness(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    run(&b, NO_LIMIT);
    for (int i = 0; i < 3; i++)
        assert_int_equal(run(&b, NO_LIMIT), PUMP_RUNNING);
    assert_int_equal(b.source.calls[FAKE_READ], 1);
    bench_readable(&b);
    run(&b, NO_LIMIT);
    assert_int_equal(b.source.calls[FAKE_READ], 2);
    assert_clean(&b);
    pump_fini(&b.pump);
}

/* More at a time from a source that has more, little again for a reader that does not keep up. */
static void test_reads_grow_and_shrink(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    assert_int_equal(b.pump.chunk, TP_READ_FIRST);
    for (int i = 0; i < 3; i++)
        fake_add(&b.source, FAKE_READ, (struct fake_step){.status = TP_OK, .more = true});
    fake_add(&b.source, FAKE_READ, (struct fake_step){.status = TP_OK});
    run(&b, NO_LIMIT);
    assert_true(b.pump.chunk >= TP_PLAIN_SIZE);
    bench_readable(&b);
    fake_add(&b.source, FAKE_READ, (struct fake_step){.status = TP_OK, .more = true});
    fake_then(&b.destination, FAKE_WRITE, TP_AGAIN, TP_AGAIN);
    run(&b, NO_LIMIT);
    assert_int_equal(b.pump.wait, PUMP_WAIT_WRITE);
    assert_int_equal(b.pump.chunk, TP_READ_FIRST);
    pump_fini(&b.pump);
}

static void test_drained_read_is_the_last(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    fake_add(&b.source, FAKE_READ, (struct fake_step){.status = TP_OK, .more = true});
    fake_add(&b.source, FAKE_READ, (struct fake_step){.status = TP_OK});
    run(&b, NO_LIMIT);
    assert_int_equal(b.source.calls[FAKE_READ], 2); /* no third one just to hear EAGAIN */
    assert_int_equal(b.pump.wait, PUMP_WAIT_READ);
    assert_int_equal(b.destination.taken, 2 * FAKE_PIECE);
    pump_fini(&b.pump);
}

static void test_buffered_bytes_force_a_read(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    run(&b, NO_LIMIT);
    assert_false(b.pump.readable);
    b.source.buffered = true; /* the socket will never be readable again */
    fake_then(&b.source, FAKE_READ, TP_OK);
    run(&b, NO_LIMIT);
    assert_int_equal(b.destination.taken, FAKE_PIECE);
    assert_clean(&b);
    pump_fini(&b.pump);
}

static void test_blocked_destination_stops_reading(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    fake_add(&b.source, FAKE_READ, (struct fake_step){.status = TP_OK, .more = true});
    fake_add(&b.destination, FAKE_WRITE, (struct fake_step){.status = TP_OK, .length = 4});
    fake_then(&b.destination, FAKE_WRITE, TP_AGAIN, TP_AGAIN);
    assert_int_equal(run(&b, NO_LIMIT), PUMP_RUNNING);
    assert_int_equal(b.pump.wait, PUMP_WAIT_WRITE);
    assert_int_equal(buf_length(&b.pump.held), FAKE_PIECE - 4);
    run(&b, NO_LIMIT);
    assert_int_equal(b.pump.wait, PUMP_WAIT_WRITE);
    assert_int_equal(b.source.calls[FAKE_READ], 1);
    run(&b, NO_LIMIT); /* it takes the rest */
    assert_int_equal(b.pump.wait, PUMP_WAIT_READ);
    assert_int_equal(b.destination.taken, FAKE_PIECE);
    assert_null(b.pump.held.data);
    assert_clean(&b);
    pump_fini(&b.pump);
}

static void test_bytes_wait_in_the_destination(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    fake_then(&b.source, FAKE_READ, TP_OK, TP_EOF);
    fake_then(&b.destination, FAKE_FLUSH, TP_AGAIN, TP_AGAIN, TP_OK);
    run(&b, NO_LIMIT);
    bench_readable(&b);
    run(&b, NO_LIMIT);
    assert_int_equal(b.pump.wait, PUMP_WAIT_WRITE);
    assert_int_equal(b.source.calls[FAKE_READ], 1); /* bounded: not one more into the transport */
    assert_int_equal(run(&b, NO_LIMIT), PUMP_DONE);
    assert_clean(&b);
    pump_fini(&b.pump);
}

/* What came before the source was cut or failed is delivered first, however slow that is. */
static void delivered_before(enum tp_status end, enum pump_state expected)
{
    struct bench b;
    bench_init(&b);
    fake_add(&b.source, FAKE_READ, (struct fake_step){.status = TP_OK, .more = true});
    fake_then(&b.source, FAKE_READ, end);
    for (int i = 0; i < 5; i++) {
        fake_add(&b.destination, FAKE_WRITE, (struct fake_step){.status = TP_OK, .length = 2});
        fake_then(&b.destination, FAKE_WRITE, TP_AGAIN);
    }
    int runs = 0;
    while (run(&b, NO_LIMIT) == PUMP_RUNNING)
        assert_true(++runs < 20);
    assert_int_equal(b.pump.state, expected);
    assert_int_equal(b.destination.taken, FAKE_PIECE);
    assert_int_equal(b.destination.calls[FAKE_SHUT], expected == PUMP_DONE);
    assert_true(runs >= 4);
    assert_clean(&b);
    pump_fini(&b.pump);
}

static void test_all_is_delivered_before_the_end(void **state)
{
    (void)state;
    delivered_before(TP_EOF, PUMP_DONE);
    delivered_before(TP_TRUNCATED, PUMP_TRUNCATED);
    delivered_before(TP_ERROR, PUMP_SOURCE_ERROR);
}

static void test_end_of_stream_waits_for_room(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    fake_then(&b.source, FAKE_READ, TP_EOF);
    fake_then(&b.destination, FAKE_SHUT, TP_AGAIN, TP_AGAIN, TP_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(&b, NO_LIMIT), PUMP_RUNNING);
        assert_int_equal(b.pump.wait, PUMP_WAIT_WRITE);
    }
    assert_int_equal(run(&b, NO_LIMIT), PUMP_DONE);
    assert_int_equal(b.source.calls[FAKE_READ], 1);
    assert_clean(&b);
    pump_fini(&b.pump);
}

static void test_held_end_is_passed_when_let_go(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    b.pump.hold_end = true;
    fake_add(&b.source, FAKE_READ, (struct fake_step){.status = TP_OK, .more = true});
    fake_then(&b.source, FAKE_READ, TP_EOF);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run(&b, NO_LIMIT), PUMP_RUNNING);
        assert_int_equal(b.pump.wait, PUMP_WAIT_HELD);
    }
    assert_int_equal(b.destination.taken, FAKE_PIECE);
    assert_int_equal(b.destination.calls[FAKE_SHUT], 0);
    b.pump.hold_end = false;
    assert_int_equal(run(&b, NO_LIMIT), PUMP_DONE);
    assert_int_equal(b.source.calls[FAKE_READ], 2);
    assert_clean(&b);
    pump_fini(&b.pump);
}

static void test_budget_gives_others_their_turn(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    for (int i = 0; i < 20; i++)
        fake_add(&b.source, FAKE_READ, (struct fake_step){.status = TP_OK, .more = true});
    run(&b, 5 * FAKE_PIECE);
    assert_int_equal(b.pump.wait, PUMP_WAIT_TURN);
    assert_int_equal(b.destination.taken, 5 * FAKE_PIECE);
    run(&b, 5 * FAKE_PIECE + 1);
    assert_int_equal(b.pump.wait, PUMP_WAIT_TURN);
    assert_int_equal(b.destination.taken, 11 * FAKE_PIECE);
    pump_fini(&b.pump);
}

static void test_read_is_no_larger_than_the_scratch(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    fake_add(&b.source, FAKE_READ, (struct fake_step){.status = TP_OK, .length = 1000});
    fake_then(&b.destination, FAKE_WRITE, TP_AGAIN, TP_AGAIN);
    run(&b, NO_LIMIT);
    assert_int_equal(buf_length(&b.pump.held), SCRATCH_SIZE);
    pump_fini(&b.pump); /* ended early: the held bytes are freed (LeakSanitizer) */
    assert_null(b.pump.held.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_order),
        cmocka_unit_test(test_every_order_in_small_turns),
        cmocka_unit_test(test_every_order_cut_is_end),
        cmocka_unit_test(test_every_order_end_held),
        cmocka_unit_test(test_starts_with_a_read),
        cmocka_unit_test(test_no_read_without_readiness),
        cmocka_unit_test(test_reads_grow_and_shrink),
        cmocka_unit_test(test_drained_read_is_the_last),
        cmocka_unit_test(test_buffered_bytes_force_a_read),
        cmocka_unit_test(test_blocked_destination_stops_reading),
        cmocka_unit_test(test_bytes_wait_in_the_destination),
        cmocka_unit_test(test_all_is_delivered_before_the_end),
        cmocka_unit_test(test_end_of_stream_waits_for_room),
        cmocka_unit_test(test_held_end_is_passed_when_let_go),
        cmocka_unit_test(test_budget_gives_others_their_turn),
        cmocka_unit_test(test_read_is_no_larger_than_the_scratch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
