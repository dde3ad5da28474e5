/* What is kept of upstreams, and what follows for those that ask. The orders themselves:
 * test_balance.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "core/candidates.h"
#include "core/stats.h"

#include <stdio.h>
#include <string.h>

#define COUNT 4
#define NOW   1000

static char service_name[] = "x";

struct bench {
    struct worker worker;
    struct service_config config;
    struct upstream upstreams[COUNT];
    struct service service;
    struct snapshot snapshot;
    struct stats *stats;
};

/* The last one is a backup. */
static void bench_init(struct bench *b, enum balance balance)
{
    struct error err;
    error_init(&err);
    *b = (struct bench){.config = {.name = service_name, .balance = balance}};
    b->worker.loop = loop_create(&err);
    assert_non_null(b->worker.loop);
    for (size_t i = 0; i < COUNT; i++) {
        struct upstream *up = &b->upstreams[i];
        snprintf(up->text, sizeof up->text, "tcp://127.0.0.1:%zu", i + 1);
        up->weight = 1;
        up->mark = i + 1;
        up->backup = i == COUNT - 1;
    }
    b->service =
        (struct service){.config = &b->config, .upstreams = b->upstreams, .upstream_count = COUNT};
    b->snapshot = (struct snapshot){.workers = 1, .services = &b->service, .service_count = 1};
    b->stats = stats_create(1);
    assert_non_null(b->stats);
    assert_true(stats_attach(b->stats, &b->snapshot, &err));
}

static void bench_fini(struct bench *b)
{
    loop_destroy(&b->worker.loop);
    stats_destroy(&b->stats);
}

static bool outranked(const struct bench *b, size_t i)
{
    return candidate_outranked(&b->service, &b->upstreams[i], NOW);
}

static void eject(struct bench *b, size_t i, int64_t due_ms)
{
    atomic_store(&b->upstreams[i].stats->eject.due_ms, due_ms);
}

static void by_those_before_it(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, BALANCE_FAILOVER);
    assert_false(outranked(&b, 0));
    assert_true(outranked(&b, 1));
    eject(&b, 0, NOW + 1);
    assert_true(outranked(&b, 0));
    assert_false(outranked(&b, 1));
    /* It is to be tried again, but has yet to show that it answers. */
    stats_upstream_tried(b.upstreams[0].stats, REASON_CONNECT_FAILED);
    eject(&b, 0, NOW);
    assert_false(outranked(&b, 0));
    assert_false(outranked(&b, 1));
    eject(&b, 0, 0);
    stats_upstream_tried(b.upstreams[0].stats, REASON_NONE);
    assert_true(outranked(&b, 1));
    bench_fini(&b);
}

static void a_backup_by_all_others(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, BALANCE_ROUND_ROBIN);
    for (size_t i = 0; i < COUNT - 1; i++)
        assert_false(outranked(&b, i)); /* they are peers */
    assert_true(outranked(&b, COUNT - 1));
    eject(&b, 0, NOW + 1);
    eject(&b, 1, NOW + 1);
    assert_true(outranked(&b, COUNT - 1));
    assert_true(outranked(&b, 0));
    assert_false(outranked(&b, 2));
    atomic_store(&b.upstreams[2].stats->check.state, CHECK_DOWN);
    assert_true(outranked(&b, 2));
    assert_false(outranked(&b, COUNT - 1));
    bench_fini(&b);
}

static void the_one_there_is_is_never(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, BALANCE_FAILOVER);
    b.service.upstream_count = 1;
    eject(&b, 0, NOW + 1);
    assert_false(outranked(&b, 0));
    bench_fini(&b);
}

static size_t first_for(struct bench *b, const char *source)
{
    struct candidates c;
    struct net_addr a;
    assert_true(net_addr_from_literal(&a, source, 5));
    candidates_order(&c, &b->worker, &b->service, &a);
    assert_int_equal(c.count, COUNT);
    return c.order[0];
}

/* The same consumer, whichever socket it came through, whatever its port. */
static void a_source_is_an_address(void **state)
{
    (void)state;
    struct bench b;
    unsigned seen[COUNT] = {0};
    bench_init(&b, BALANCE_SOURCE_HASH);
    for (unsigned i = 0; i < 60; i++) {
        char plain[32], mapped[48];
        snprintf(plain, sizeof plain, "10.1.2.%u", i);
        snprintf(mapped, sizeof mapped, "::ffff:10.1.2.%u", i);
        seen[first_for(&b, plain)]++;
        assert_int_equal(first_for(&b, mapped), first_for(&b, plain));
    }
    for (size_t i = 0; i < COUNT - 1; i++)
        assert_in_range(seen[i], 5, 40);
    assert_int_equal(seen[COUNT - 1], 0);
    /* Both halves of one of IPv6 count. */
    unsigned high = 0, low = 0;
    for (unsigned i = 1; i < 40; i++) {
        char one[48], two[48];
        snprintf(one, sizeof one, "2001:db8:0:%x::1", i);
        snprintf(two, sizeof two, "2001:db8::%x", i + 1);
        high += first_for(&b, one) != first_for(&b, "2001:db8::1");
        low += first_for(&b, two) != first_for(&b, "2001:db8::1");
    }
    assert_in_range(high, 10, 38);
    assert_in_range(low, 10, 38);
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_those_before_it),
        cmocka_unit_test(a_backup_by_all_others),
        cmocka_unit_test(the_one_there_is_is_never),
        cmocka_unit_test(a_source_is_an_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
