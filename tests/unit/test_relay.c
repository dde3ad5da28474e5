/* Two pumps and the end policy, between two scripted fakes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "fake_transport.h"

#include <esclusa/relay.h>

#define NO_LIMIT SIZE_MAX

struct bench {
    struct fake side[RELAY_SIDES];
    struct fake_log log;
    struct relay relay;
    struct relay_policy policy;
    uint8_t plain[64];
    struct transport_scratch scratch;
};

static const enum relay_side both[] = {RELAY_DOWN, RELAY_UP};

static enum relay_side other(enum relay_side side)
{
    return side == RELAY_DOWN ? RELAY_UP : RELAY_DOWN;
}

static void bench_init(struct bench *b, const struct relay_policy *policy)
{
    b->policy = policy != NULL ? *policy : (struct relay_policy){0};
    fake_pair(&b->side[RELAY_DOWN], &b->side[RELAY_UP], &b->log);
    for (int i = 0; i < RELAY_SIDES; i++)
        b->side[i].cut_is_end = b->policy.truncated_is_end[other(both[i])];
    relay_init(&b->relay, &b->side[RELAY_DOWN].base, &b->side[RELAY_UP].base, &b->policy);
    b->scratch = (struct transport_scratch){.plain = b->plain, .plain_size = sizeof b->plain};
}

static void event(struct bench *b, enum relay_side side, unsigned events)
{
    if (events & (RELAY_READABLE | RELAY_HUNG_UP))
        b->side[side].fresh = true;
    relay_event(&b->relay, side, events);
}

/* Whatever the state: what the relay waits for must be able to wake it. */
static void check_wants(const struct bench *b, bool goes_on)
{
    const struct relay *r = &b->relay;
    unsigned down = relay_want(r, RELAY_DOWN), up = relay_want(r, RELAY_UP);
    bool held =
        r->from[RELAY_DOWN].wait == PUMP_WAIT_HELD || r->from[RELAY_UP].wait == PUMP_WAIT_HELD;
    assert_true(goes_on == !r->ended);
    if (goes_on)
        assert_true(down != 0 || up != 0 || held || relay_wants_turn(r));
}

static bool run(struct bench *b)
{
    bool goes_on = relay_run(&b->relay, &b->scratch, NO_LIMIT);
    assert_string_equal(b->side[RELAY_DOWN].what, "");
    assert_string_equal(b->side[RELAY_UP].what, "");
    check_wants(b, goes_on);
    return goes_on;
}

static bool run_on(struct bench *b, enum relay_side side, unsigned events)
{
    event(b, side, events);
    return run(b);
}

static void assert_cause(const struct bench *b, enum relay_cause cause, enum relay_side side)
{
    assert_int_equal(b->relay.cause, cause);
    if (cause != RELAY_CAUSE_CLEAN)
        assert_int_equal(b->relay.cause_side, side);
}

static void assert_close(const struct bench *b, enum relay_side side, enum relay_close how)
{
    assert_int_equal(relay_how_to_close(&b->relay, side), how);
}

static void data(struct fake *f)
{
    fake_add(f, FAKE_READ, (struct fake_step){.status = TP_OK, .more = true});
}

static void test_no_want_while_ended(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, NULL);
    assert_true(run(&b));
    fake_then(&b.side[RELAY_UP], FAKE_READ, TP_TRUNCATED);
    assert_false(run_on(&b, RELAY_UP, RELAY_READABLE)); /* from[RELAY_DOWN] still ran */
    assert_int_equal(relay_want(&b.relay, RELAY_DOWN), TP_WANT_NONE);
    assert_int_equal(relay_want(&b.relay, RELAY_UP), TP_WANT_NONE);
    assert_false(relay_wants_turn(&b.relay));
    assert_false(relay_half_closed(&b.relay));
    relay_fini(&b.relay);
}

/* ---- clean ends ---- */

static void test_idle_waits_for_both(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, NULL);
    assert_true(run(&b));
    for (int i = 0; i < RELAY_SIDES; i++) {
        assert_int_equal(relay_want(&b.relay, both[i]), TP_WANT_READ);
        assert_true(relay_wants_hang_up(&b.relay, both[i]));
        assert_close(&b, both[i], RELAY_CLOSE_RESET); /* ended early now: no clean end was told */
    }
    assert_false(relay_wants_turn(&b.relay));
    assert_false(relay_half_closed(&b.relay));
    assert_int_equal(relay_bytes(&b.relay), 0);
    relay_fini(&b.relay);
}

/* One side ends its direction; the other goes on, and ends later. */
static void half_close(enum relay_side first)
{
    struct bench b;
    bench_init(&b, NULL);
    struct fake *one = &b.side[first], *two = &b.side[other(first)];
    data(one);
    fake_then(one, FAKE_READ, TP_EOF);
    assert_true(run(&b));
    assert_true(two->shut);
    assert_int_equal(two->taken, FAKE_PIECE);
    assert_true(relay_half_closed(&b.relay));
    assert_int_equal(relay_want(&b.relay, first), TP_WANT_NONE);
    assert_int_equal(relay_want(&b.relay, other(first)), TP_WANT_READ);
    assert_close(&b, other(first), RELAY_CLOSE_CLEAN);
    assert_close(&b, first, RELAY_CLOSE_RESET);

    for (int i = 0; i < 3; i++) {
        fake_then(two, FAKE_READ, TP_OK);
        assert_true(run_on(&b, other(first), RELAY_READABLE));
    }
    assert_int_equal(one->taken, 3 * FAKE_PIECE);
    assert_int_equal(relay_bytes(&b.relay), 4 * FAKE_PIECE);

    fake_then(two, FAKE_READ, TP_EOF);
    assert_false(run_on(&b, other(first), RELAY_READABLE));
    assert_true(one->shut);
    assert_cause(&b, RELAY_CAUSE_CLEAN, first);
    assert_close(&b, RELAY_DOWN, RELAY_CLOSE_CLEAN);
    assert_close(&b, RELAY_UP, RELAY_CLOSE_CLEAN);
    assert_false(relay_half_closed(&b.relay));
    unsigned calls = b.log.calls;
    assert_false(run(&b)); /* an ended relay touches nothing */
    assert_int_equal(b.log.calls, calls);
    relay_fini(&b.relay);
}

static void test_half_close(void **state)
{
    (void)state;
    half_close(RELAY_DOWN);
    half_close(RELAY_UP);
}

static void test_wants_turn_after_the_budget(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, NULL);
    for (int i = 0; i < 6; i++)
        data(&b.side[RELAY_UP]);
    assert_true(relay_run(&b.relay, &b.scratch, 2 * FAKE_PIECE));
    assert_true(relay_wants_turn(&b.relay));
    assert_int_equal(relay_want(&b.relay, RELAY_UP), TP_WANT_NONE);
    assert_int_equal(relay_want(&b.relay, RELAY_DOWN), TP_WANT_READ);
    assert_int_equal(relay_bytes(&b.relay), 2 * FAKE_PIECE);
    assert_true(run(&b));
    assert_false(relay_wants_turn(&b.relay));
    assert_int_equal(relay_bytes(&b.relay), 6 * FAKE_PIECE);
    relay_fini(&b.relay);
}

/* Bytes that came from the upstream before there was a consumer go first, also where the consumer
 * is slow, and however the upstream ends. */
static void preloaded(enum tp_status end)
{
    struct bench b;
    bench_init(&b, NULL);
    struct fake *up = &b.side[RELAY_UP], *down = &b.side[RELAY_DOWN];
    struct buf early;
    buf_init(&early);
    for (; up->given < 25; up->given++) {
        uint8_t byte = fake_byte(up->given);
        assert_true(buf_append(&early, &byte, 1));
    }
    relay_preload(&b.relay, RELAY_UP, &early);
    assert_true(buf_empty(&early) && early.data == NULL);
    assert_int_equal(relay_bytes(&b.relay), 25);
    fake_add(down, FAKE_WRITE, (struct fake_step){.status = TP_OK, .length = 7});
    fake_then(down, FAKE_WRITE, TP_AGAIN);
    assert_true(run(&b));
    assert_int_equal(down->taken, 7);
    assert_int_equal(up->calls[FAKE_READ], 0); /* nothing more before it is taken */
    assert_int_equal(relay_want(&b.relay, RELAY_DOWN), TP_WANT_READ | TP_WANT_WRITE);
    data(up);
    fake_then(up, FAKE_READ, end);
    (void)run_on(&b, RELAY_DOWN, RELAY_WRITABLE);
    assert_int_equal(down->taken, 25 + FAKE_PIECE);
    assert_int_equal(b.relay.from[RELAY_UP].bytes, 25 + FAKE_PIECE);
    assert_int_equal(down->shut, end == TP_EOF);
    relay_fini(&b.relay);
}

static void test_preloaded(void **state)
{
    (void)state;
    preloaded(TP_EOF);
    preloaded(TP_TRUNCATED);
    preloaded(TP_ERROR);
}

static void test_slow_side_stops_only_its_direction(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, NULL);
    data(&b.side[RELAY_UP]);
    data(&b.side[RELAY_DOWN]);
    fake_then(&b.side[RELAY_DOWN], FAKE_WRITE, TP_AGAIN, TP_AGAIN, TP_AGAIN);
    assert_true(run(&b));
    assert_int_equal(relay_want(&b.relay, RELAY_DOWN), TP_WANT_READ | TP_WANT_WRITE);
    assert_int_equal(relay_want(&b.relay, RELAY_UP), TP_WANT_NONE); /* not read: back-pressure */
    assert_int_equal(b.side[RELAY_UP].taken, FAKE_PIECE);
    assert_true(run(&b));
    assert_true(run_on(&b, RELAY_DOWN, RELAY_WRITABLE));
    assert_int_equal(b.side[RELAY_DOWN].taken, FAKE_PIECE);
    assert_int_equal(relay_want(&b.relay, RELAY_DOWN), TP_WANT_READ);
    assert_int_equal(relay_want(&b.relay, RELAY_UP), TP_WANT_READ);
    relay_fini(&b.relay);
}

/* ---- cut and failed sources ---- */

/* A source that was cut or failed: what came is delivered first, then the other side is reset. */
static void source_ends(enum relay_side side, enum tp_status how, enum relay_cause cause)
{
    struct bench b;
    bench_init(&b, NULL);
    struct fake *bad = &b.side[side], *good = &b.side[other(side)];
    data(bad);
    fake_then(bad, FAKE_READ, how);
    fake_then(good, FAKE_WRITE, TP_AGAIN, TP_AGAIN);
    assert_true(run(&b));
    assert_int_equal(good->taken, 0);
    assert_true(relay_want(&b.relay, other(side)) & TP_WANT_WRITE);
    assert_false(run_on(&b, other(side), RELAY_WRITABLE));
    assert_int_equal(good->taken, FAKE_PIECE);
    assert_int_equal(good->calls[FAKE_SHUT], 0);
    assert_cause(&b, cause, side);
    assert_close(&b, side, RELAY_CLOSE_RESET);
    assert_close(&b, other(side), RELAY_CLOSE_RESET);
    relay_fini(&b.relay);
}

static void test_source_cut_or_failed(void **state)
{
    (void)state;
    for (int i = 0; i < RELAY_SIDES; i++) {
        source_ends(both[i], TP_TRUNCATED, RELAY_CAUSE_TRUNCATED);
        source_ends(both[i], TP_ERROR, RELAY_CAUSE_RESET);
    }
}

/* The other side had been told a clean end before: nothing can unsay that, but the side that was
 * cut is still reset, and the cause is kept. */
static void cut_after_half_close(enum relay_side side)
{
    struct bench b;
    bench_init(&b, NULL);
    fake_then(&b.side[other(side)], FAKE_READ, TP_EOF);
    assert_true(run(&b));
    assert_true(b.side[side].shut);
    fake_then(&b.side[side], FAKE_READ, TP_TRUNCATED);
    assert_false(run_on(&b, side, RELAY_READABLE));
    assert_cause(&b, RELAY_CAUSE_TRUNCATED, side);
    assert_close(&b, side, RELAY_CLOSE_RESET);
    assert_close(&b, other(side), RELAY_CLOSE_RESET); /* half an answer must not look whole */
    relay_fini(&b.relay);
}

static void test_cut_after_half_close(void **state)
{
    (void)state;
    cut_after_half_close(RELAY_DOWN);
    cut_after_half_close(RELAY_UP);
}

/* Policy: a cut counts as the end of the stream; the log still calls it a cut. */
static void cut_is_end(enum relay_side side)
{
    struct bench b;
    bench_init(&b,
               &(struct relay_policy){.truncated_is_end = {side == RELAY_DOWN, side == RELAY_UP}});
    struct fake *bad = &b.side[side], *good = &b.side[other(side)];
    data(bad);
    fake_then(bad, FAKE_READ, TP_TRUNCATED);
    assert_true(run(&b));
    assert_true(good->shut);
    assert_true(relay_half_closed(&b.relay));
    assert_close(&b, other(side), RELAY_CLOSE_CLEAN);
    fake_then(good, FAKE_READ, TP_OK);
    assert_true(run_on(&b, other(side), RELAY_READABLE));
    assert_int_equal(bad->taken, FAKE_PIECE);
    fake_then(good, FAKE_READ, TP_EOF);
    assert_false(run_on(&b, other(side), RELAY_READABLE));
    assert_cause(&b, RELAY_CAUSE_TRUNCATED, side);
    assert_close(&b, side, RELAY_CLOSE_CLEAN);
    assert_close(&b, other(side), RELAY_CLOSE_CLEAN);
    relay_fini(&b.relay);

    /* of that side alone */
    bench_init(&b,
               &(struct relay_policy){.truncated_is_end = {side == RELAY_DOWN, side == RELAY_UP}});
    fake_then(&b.side[other(side)], FAKE_READ, TP_TRUNCATED);
    assert_false(run(&b));
    assert_cause(&b, RELAY_CAUSE_TRUNCATED, other(side));
    assert_close(&b, side, RELAY_CLOSE_RESET);
    relay_fini(&b.relay);
}

static void test_cut_is_end(void **state)
{
    (void)state;
    cut_is_end(RELAY_DOWN);
    cut_is_end(RELAY_UP);
}

/* ---- destinations that fail ---- */

/* A side that takes no more may have sent something before: that is still read to its end. */
static void destination_fails(enum relay_side side, enum fake_op op, enum tp_status then)
{
    struct bench b;
    bench_init(&b, NULL);
    struct fake *bad = &b.side[side], *good = &b.side[other(side)];
    assert_true(run(&b)); /* both have been read: the bad one must be read again unasked */
    data(good);
    if (op == FAKE_SHUT)
        fake_then(good, FAKE_READ, TP_EOF);
    fake_then(bad, op, TP_ERROR);
    data(bad);
    fake_then(bad, FAKE_READ, TP_AGAIN);
    assert_true(run_on(&b, other(side), RELAY_READABLE));
    assert_int_equal(good->taken, FAKE_PIECE);
    assert_int_equal(relay_want(&b.relay, side), TP_WANT_READ);
    assert_int_equal(relay_want(&b.relay, other(side)), TP_WANT_NONE);
    assert_true(relay_half_closed(&b.relay));
    assert_null(b.relay.from[other(side)].held.data);

    fake_then(bad, FAKE_READ, then);
    assert_false(run_on(&b, side, RELAY_READABLE));
    assert_cause(&b, RELAY_CAUSE_RESET, side);
    assert_close(&b, side, RELAY_CLOSE_RESET);
    assert_close(&b, other(side), then == TP_EOF ? RELAY_CLOSE_CLEAN : RELAY_CLOSE_RESET);
    assert_int_equal(good->shut, then == TP_EOF);
    relay_fini(&b.relay);
}

static void test_destination_fails(void **state)
{
    (void)state;
    static const enum tp_status ends[] = {TP_EOF, TP_TRUNCATED, TP_ERROR};
    for (int i = 0; i < RELAY_SIDES; i++) {
        for (int e = 0; e < 3; e++) {
            destination_fails(both[i], FAKE_WRITE, ends[e]);
            destination_fails(both[i], FAKE_FLUSH, ends[e]);
            destination_fails(both[i], FAKE_SHUT, ends[e]);
        }
    }
}

static void test_both_destinations_fail(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, NULL);
    data(&b.side[RELAY_DOWN]);
    data(&b.side[RELAY_UP]);
    fake_then(&b.side[RELAY_DOWN], FAKE_WRITE, TP_ERROR);
    fake_then(&b.side[RELAY_UP], FAKE_WRITE, TP_ERROR);
    assert_false(run(&b));
    assert_cause(&b, RELAY_CAUSE_RESET, RELAY_UP); /* consumer to cloud runs first */
    assert_close(&b, RELAY_DOWN, RELAY_CLOSE_RESET);
    assert_close(&b, RELAY_UP, RELAY_CLOSE_RESET);
    relay_fini(&b.relay);
}

/* ---- held-back ends ---- */

static void hold_end(enum relay_side side, enum tp_status then)
{
    struct bench b;
    bench_init(&b, &(struct relay_policy){.hold_end = {side == RELAY_DOWN, side == RELAY_UP}});
    struct fake *one = &b.side[side], *two = &b.side[other(side)];
    data(one);
    fake_then(one, FAKE_READ, TP_EOF);
    assert_true(run(&b));
    assert_int_equal(two->taken, FAKE_PIECE);
    assert_int_equal(two->calls[FAKE_SHUT], 0);
    assert_true(relay_half_closed(&b.relay));
    assert_int_equal(relay_want(&b.relay, side), TP_WANT_NONE);
    assert_int_equal(relay_want(&b.relay, other(side)), TP_WANT_READ);
    assert_close(&b, other(side), RELAY_CLOSE_RESET);

    fake_then(two, FAKE_READ, TP_OK);
    assert_true(run_on(&b, other(side), RELAY_READABLE));
    assert_int_equal(two->calls[FAKE_SHUT], 0);

    fake_then(two, FAKE_READ, then);
    assert_false(run_on(&b, other(side), RELAY_READABLE));
    assert_int_equal(two->shut, then == TP_EOF); /* in the same run: no event would follow */
    assert_close(&b, other(side), then == TP_EOF ? RELAY_CLOSE_CLEAN : RELAY_CLOSE_RESET);
    assert_close(&b, side, then == TP_EOF ? RELAY_CLOSE_CLEAN : RELAY_CLOSE_RESET);
    relay_fini(&b.relay);
}

static void test_hold_end(void **state)
{
    (void)state;
    for (int i = 0; i < RELAY_SIDES; i++) {
        hold_end(both[i], TP_EOF);
        hold_end(both[i], TP_TRUNCATED);
        hold_end(both[i], TP_ERROR);
    }
}

static void test_hold_end_is_for_one_side(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, &(struct relay_policy){.hold_end = {[RELAY_DOWN] = true}});
    fake_then(&b.side[RELAY_UP], FAKE_READ, TP_EOF);
    assert_true(run(&b));
    assert_true(b.side[RELAY_DOWN].shut);
    fake_then(&b.side[RELAY_DOWN], FAKE_READ, TP_EOF);
    assert_false(run_on(&b, RELAY_DOWN, RELAY_READABLE));
    assert_true(b.side[RELAY_UP].shut);
    relay_fini(&b.relay);
}

/* "until the other direction has ended": two held ends must not wait for each other. */
static void test_both_ends_held(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, &(struct relay_policy){.hold_end = {true, true}});
    fake_then(&b.side[RELAY_DOWN], FAKE_READ, TP_EOF);
    assert_true(run(&b));
    fake_then(&b.side[RELAY_UP], FAKE_READ, TP_EOF);
    bool goes_on = run_on(&b, RELAY_UP, RELAY_READABLE);
    relay_fini(&b.relay);
    assert_false(goes_on);
    assert_true(b.side[RELAY_DOWN].shut && b.side[RELAY_UP].shut);
}

/* The held end is let go when the other direction ended for want of a destination. */
static void test_hold_end_and_destination_fails(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, &(struct relay_policy){.hold_end = {[RELAY_DOWN] = true}});
    fake_then(&b.side[RELAY_DOWN], FAKE_READ, TP_EOF);
    assert_true(run(&b));
    data(&b.side[RELAY_UP]);
    fake_then(&b.side[RELAY_DOWN], FAKE_WRITE, TP_ERROR);
    assert_false(run_on(&b, RELAY_UP, RELAY_READABLE));
    assert_true(b.side[RELAY_UP].shut);
    assert_cause(&b, RELAY_CAUSE_RESET, RELAY_DOWN);
    assert_close(&b, RELAY_UP, RELAY_CLOSE_CLEAN);
    assert_close(&b, RELAY_DOWN, RELAY_CLOSE_RESET);
    relay_fini(&b.relay);
}

/* ---- hang-ups ---- */

/* The end of the stream and the hang-up are seen together (a unix peer that closed). */
static void hang_up_with_end(enum relay_side side)
{
    struct bench b;
    bench_init(&b, NULL);
    assert_true(run(&b));
    data(&b.side[side]);
    fake_then(&b.side[side], FAKE_READ, TP_EOF);
    assert_false(run_on(&b, side, RELAY_HUNG_UP | RELAY_READABLE));
    assert_int_equal(b.side[other(side)].taken, FAKE_PIECE);
    assert_true(b.side[other(side)].shut);
    assert_false(relay_wants_hang_up(&b.relay, side));
    assert_true(relay_wants_hang_up(&b.relay, other(side)));
    assert_cause(&b, RELAY_CAUSE_RESET, side);
    assert_close(&b, other(side), RELAY_CLOSE_CLEAN);
    assert_close(&b, side, RELAY_CLOSE_RESET);
    relay_fini(&b.relay);
}

/* The hang-up comes long after the end of the stream: the side is parked from then on, so nothing
 * else would ever tell that its peer is gone. */
static void hang_up_after_end(enum relay_side side)
{
    struct bench b;
    bench_init(&b, NULL);
    fake_then(&b.side[side], FAKE_READ, TP_EOF);
    assert_true(run(&b));
    bool goes_on = run_on(&b, side, RELAY_HUNG_UP);
    enum relay_cause cause = b.relay.cause;
    relay_fini(&b.relay);
    assert_false(goes_on);
    assert_int_equal(cause, RELAY_CAUSE_RESET);
    assert_int_equal(b.relay.cause_side, side);
}

/* ... and while its end is held back. */
static void hang_up_of_held_end(enum relay_side side, bool at_once)
{
    struct bench b;
    bench_init(&b, &(struct relay_policy){.hold_end = {side == RELAY_DOWN, side == RELAY_UP}});
    fake_then(&b.side[side], FAKE_READ, TP_EOF);
    if (!at_once)
        assert_true(run(&b));
    bool goes_on = run_on(&b, side, RELAY_HUNG_UP);
    relay_fini(&b.relay);
    assert_false(goes_on);
    assert_true(b.side[other(side)].shut);
    assert_int_equal(b.relay.cause, RELAY_CAUSE_RESET);
    assert_int_equal(b.relay.cause_side, side);
}

static void test_hang_up_with_end(void **state)
{
    (void)state;
    hang_up_with_end(RELAY_DOWN);
    hang_up_with_end(RELAY_UP);
}

static void test_hang_up_after_end_down(void **state)
{
    (void)state;
    hang_up_after_end(RELAY_DOWN);
}

static void test_hang_up_after_end_up(void **state)
{
    (void)state;
    hang_up_after_end(RELAY_UP);
}

static void test_hang_up_of_held_end(void **state)
{
    (void)state;
    hang_up_of_held_end(RELAY_DOWN, true);
    hang_up_of_held_end(RELAY_DOWN, false);
}

/* Bytes held for a side that hung up are let go with it. */
static void test_hang_up_frees_what_is_held(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, NULL);
    data(&b.side[RELAY_UP]);
    fake_then(&b.side[RELAY_DOWN], FAKE_WRITE, TP_AGAIN, TP_AGAIN, TP_AGAIN, TP_AGAIN);
    assert_true(run(&b));
    fake_then(&b.side[RELAY_DOWN], FAKE_READ, TP_EOF);
    assert_false(run_on(&b, RELAY_DOWN, RELAY_HUNG_UP | RELAY_READABLE));
    bool freed = b.relay.from[RELAY_UP].held.data == NULL;
    bool waits = b.relay.from[RELAY_UP].wait != PUMP_WAIT_NOTHING;
    relay_fini(&b.relay);
    assert_true(freed);
    assert_false(waits);
}

/* A hung-up side that has not been read to its end yet: all it sent is delivered first. */
static void test_hang_up_before_all_is_read(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, NULL);
    for (int i = 0; i < 4; i++)
        data(&b.side[RELAY_DOWN]);
    fake_then(&b.side[RELAY_DOWN], FAKE_READ, TP_ERROR);
    fake_then(&b.side[RELAY_UP], FAKE_WRITE, TP_OK, TP_AGAIN, TP_AGAIN);
    assert_true(run_on(&b, RELAY_DOWN, RELAY_HUNG_UP));
    assert_int_equal(relay_want(&b.relay, RELAY_DOWN), TP_WANT_NONE);
    assert_false(relay_wants_hang_up(&b.relay, RELAY_DOWN)); /* parked: no spin */
    assert_int_equal(relay_want(&b.relay, RELAY_UP), TP_WANT_READ | TP_WANT_WRITE);
    assert_false(run_on(&b, RELAY_UP, RELAY_WRITABLE));
    assert_int_equal(b.side[RELAY_UP].taken, 4 * FAKE_PIECE);
    assert_cause(&b, RELAY_CAUSE_RESET, RELAY_DOWN);
    relay_fini(&b.relay);
}

/* A hang-up of a side whose stream still runs ends nothing by itself. */
static void test_hang_up_alone_ends_nothing(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, NULL);
    assert_true(run(&b));
    assert_true(run_on(&b, RELAY_UP, RELAY_HUNG_UP));
    assert_false(relay_wants_hang_up(&b.relay, RELAY_UP));
    assert_int_equal(b.side[RELAY_UP].calls[FAKE_READ], 2); /* it was looked at */
    fake_then(&b.side[RELAY_UP], FAKE_READ, TP_OK);
    assert_true(run_on(&b, RELAY_UP, RELAY_READABLE));
    assert_int_equal(b.side[RELAY_DOWN].taken, FAKE_PIECE);
    relay_fini(&b.relay);
}

/* ---- every order ---- */

static void check_end(const struct bench *b)
{
    const struct relay *r = &b->relay;
    const struct fake *bad = b->log.bad;
    if (bad == NULL) {
        assert_cause(b, RELAY_CAUSE_CLEAN, RELAY_DOWN);
        assert_true(b->side[RELAY_DOWN].shut && b->side[RELAY_UP].shut);
    } else {
        assert_cause(b,
                     b->log.bad_status == TP_TRUNCATED ? RELAY_CAUSE_TRUNCATED : RELAY_CAUSE_RESET,
                     bad == &b->side[RELAY_UP] ? RELAY_UP : RELAY_DOWN);
    }
    for (int i = 0; i < RELAY_SIDES; i++) {
        const struct fake *f = &b->side[i];
        enum tp_status end = f->end;
        bool dead = end == TP_ERROR || (end == TP_TRUNCATED && !b->policy.truncated_is_end[i]);
        if (relay_how_to_close(r, both[i]) == RELAY_CLOSE_CLEAN)
            assert_true(f->shut && !dead);
        if (f->shut && !dead)
            assert_close(b, both[i], RELAY_CLOSE_CLEAN);
        /* all that a side sent has arrived, unless the other failed */
        if (end != TP_OK && !f->other->failed && bad == NULL)
            assert_true(f->other->taken == f->given);
        if (dead && !f->other->failed && r->cause_side == both[i])
            assert_true(f->other->taken == f->given && !f->other->shut);
    }
}

static void one_way(struct choices *choices, const struct relay_policy *policy, size_t budget)
{
    struct bench b;
    bench_init(&b, policy);
    b.side[RELAY_DOWN].choices = b.side[RELAY_UP].choices = choices;
    int runs = 0;
    for (;;) {
        bool goes_on = relay_run(&b.relay, &b.scratch, budget);
        assert_string_equal(b.side[RELAY_DOWN].what, "");
        assert_string_equal(b.side[RELAY_UP].what, "");
        check_wants(&b, goes_on);
        if (!goes_on)
            break;
        assert_true(++runs < 60);
        for (int i = 0; i < RELAY_SIDES; i++) {
            unsigned want = relay_want(&b.relay, both[i]);
            if (want != 0)
                event(&b, both[i],
                      (want & TP_WANT_READ ? RELAY_READABLE : 0u) |
                          (want & TP_WANT_WRITE ? RELAY_WRITABLE : 0u));
        }
        if (relay_half_closed(&b.relay)) /* what a half-closed relay still needs is in its wants */
            assert_true((b.side[RELAY_DOWN].end != TP_OK) || (b.side[RELAY_UP].end != TP_OK) ||
                        b.side[RELAY_DOWN].failed || b.side[RELAY_UP].failed);
    }
    check_end(&b);
    relay_fini(&b.relay);
}

static void every_order(const struct relay_policy *policy, size_t budget, unsigned depth)
{
    struct choices choices = {.depth = depth};
    unsigned long ways = 0;
    do {
        choices.used = 0;
        one_way(&choices, policy, budget);
        ways++;
    } while (choices_next(&choices));
    print_message("%lu ways\n", ways);
    assert_true(ways > 1000);
}

static void test_every_order(void **state)
{
    (void)state;
    every_order(&(struct relay_policy){0}, NO_LIMIT, 9);
    every_order(&(struct relay_policy){0}, 1, 8);
}

static void test_every_order_with_policies(void **state)
{
    (void)state;
    every_order(&(struct relay_policy){.truncated_is_end = {true, true}}, NO_LIMIT, 8);
    every_order(&(struct relay_policy){.hold_end = {[RELAY_DOWN] = true}}, NO_LIMIT, 8);
    every_order(
        &(struct relay_policy){.truncated_is_end = {true, true}, .hold_end = {[RELAY_DOWN] = true}},
        2 * FAKE_PIECE, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_want_while_ended),
        cmocka_unit_test(test_idle_waits_for_both),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_wants_turn_after_the_budget),
        cmocka_unit_test(test_slow_side_stops_only_its_direction),
        cmocka_unit_test(test_source_cut_or_failed),
        cmocka_unit_test(test_cut_after_half_close),
        cmocka_unit_test(test_cut_is_end),
        cmocka_unit_test(test_destination_fails),
        cmocka_unit_test(test_both_destinations_fail),
        cmocka_unit_test(test_hold_end),
        cmocka_unit_test(test_hold_end_is_for_one_side),
        cmocka_unit_test(test_both_ends_held),
        cmocka_unit_test(test_hold_end_and_destination_fails),
        cmocka_unit_test(test_hang_up_with_end),
        cmocka_unit_test(test_hang_up_after_end_down),
        cmocka_unit_test(test_hang_up_after_end_up),
        cmocka_unit_test(test_hang_up_of_held_end),
        cmocka_unit_test(test_hang_up_frees_what_is_held),
        cmocka_unit_test(test_hang_up_before_all_is_read),
        cmocka_unit_test(test_hang_up_alone_ends_nothing),
        cmocka_unit_test(test_preloaded),
        cmocka_unit_test(test_every_order),
        cmocka_unit_test(test_every_order_with_policies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
