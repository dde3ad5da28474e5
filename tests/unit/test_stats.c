/* Statistics: kept by name across snapshots, added up over workers, buckets and sums of histograms,
 * and when an upstream counts as unusable. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "core/stats.h"

#include <esclusa/str.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* As much of a snapshot as is looked at: one service with two upstreams. */
struct world {
    struct snapshot snapshot;
    struct service service;
    struct service_config config;
    struct upstream upstreams[2];
};

static void make(struct world *w, char *name, const char *first, const char *second)
{
    memset(w, 0, sizeof *w);
    w->config.name = name;
    w->service.config = &w->config;
    w->service.upstreams = w->upstreams;
    w->service.upstream_count = 2;
    (void)str_copy(w->upstreams[0].text, sizeof w->upstreams[0].text, first);
    (void)str_copy(w->upstreams[1].text, sizeof w->upstreams[1].text, second);
    w->snapshot.services = &w->service;
    w->snapshot.service_count = 1;
}

static struct stats *stats_of(unsigned workers)
{
    struct stats *stats = stats_create(workers);
    assert_non_null(stats);
    return stats;
}

static void kept_by_name(void **state)
{
    (void)state;
    struct world a, b, c;
    struct stats *stats = stats_of(2);
    make(&a, (char[]){"x"}, "tls://a:1", "tls://b:1");
    make(&b, (char[]){"x"}, "tls://b:1", "tls://c:1");
    make(&c, (char[]){"y"}, "tls://a:1", "tls://b:1");
    assert_true(stats_attach(stats, &a.snapshot, NULL));
    stats_add(stats_slot(&a.service, 1), STATS_BYTES_UP, 5);
    assert_true(stats_attach(stats, &b.snapshot, NULL));
    assert_true(stats_attach(stats, &c.snapshot, NULL));
    assert_ptr_equal(a.service.stats, b.service.stats);
    assert_ptr_equal(a.upstreams[1].stats, b.upstreams[0].stats); /* by address, not by place */
    assert_ptr_equal(a.upstreams[1].peer.seen, &a.upstreams[1].stats->seen);
    assert_ptr_not_equal(a.service.stats, c.service.stats);
    assert_ptr_not_equal(a.upstreams[0].stats, c.upstreams[0].stats);
    assert_ptr_equal(stats_find(stats, "x"), a.service.stats);
    assert_null(stats_find(stats, "z"));
    stats_add(stats_slot(&b.service, 1), STATS_BYTES_UP, 7);
    assert_int_equal(stats_counter(stats, a.service.stats, STATS_BYTES_UP), 12);
    assert_int_equal(stats_counter(stats, c.service.stats, STATS_BYTES_UP), 0);
    stats_destroy(&stats);
    assert_null(stats);
}

static void slots_share_no_cache_line(void **state)
{
    (void)state;
    struct world a;
    struct stats *stats = stats_of(3);
    make(&a, (char[]){"x"}, "1", "2");
    assert_true(stats_attach(stats, &a.snapshot, NULL));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal((uintptr_t)stats_slot(&a.service, i) % 64, 0);
    assert_int_equal(sizeof(struct stats_slot) % 64, 0);
    stats_destroy(&stats);
}

static void added_up_over_workers(void **state)
{
    (void)state;
    struct world a;
    struct stats *stats = stats_of(3);
    make(&a, (char[]){"x"}, "1", "2");
    assert_true(stats_attach(stats, &a.snapshot, NULL));
    const struct stats_service *s = a.service.stats;
    for (unsigned i = 0; i < 3; i++) {
        struct stats_slot *slot = stats_slot(&a.service, i);
        stats_add(slot, STATS_ACCEPTED, 2 + i);
        stats_ended(slot, PHASE_RELAY, REASON_DONE, 1000);
        stats_ended(slot, PHASE_CONNECT, REASON_CONNECT_FAILED, 1000);
    }
    assert_int_equal(stats_counter(stats, s, STATS_ACCEPTED), 9);
    assert_int_equal(stats_ended_by(stats, s, REASON_DONE), 3);
    assert_int_equal(stats_ended_all(stats, s), 6);
    assert_int_equal(stats_active(stats, s), 3);
    /* Not what is logged as all in order. */
    assert_int_equal(stats_failed_by(stats, s, PHASE_RELAY, REASON_DONE), 0);
    assert_int_equal(stats_failed_by(stats, s, PHASE_CONNECT, REASON_CONNECT_FAILED), 3);
    assert_int_equal(stats_failed_by(stats, s, PHASE_RELAY, REASON_CONNECT_FAILED), 0);
    /* A gauge goes down again. */
    stats_add(stats_slot(&a.service, 0), STATS_WARM_READY, 1);
    stats_add(stats_slot(&a.service, 1), STATS_WARM_READY, 2);
    stats_subtract(stats_slot(&a.service, 1), STATS_WARM_READY);
    assert_int_equal(stats_counter(stats, s, STATS_WARM_READY), 2);
    stats_destroy(&stats);
}

static void buckets_hold_their_upper_bound(void **state)
{
    (void)state;
    struct world a;
    struct stats *stats = stats_of(2);
    uint64_t buckets[STATS_BUCKETS + 1], sum;
    make(&a, (char[]){"x"}, "1", "2");
    assert_true(stats_attach(stats, &a.snapshot, NULL));
    for (int which = 0; which < STATS_HISTOGRAM_COUNT; which++) {
        const int64_t *bounds = stats_bounds((enum stats_histogram)which);
        for (size_t i = 1; i < STATS_BUCKETS; i++)
            assert_true(bounds[i] > bounds[i - 1]);
        int64_t last = bounds[STATS_BUCKETS - 1];
        stats_observe(stats_slot(&a.service, 0), (enum stats_histogram)which, bounds[0]);
        stats_observe(stats_slot(&a.service, 1), (enum stats_histogram)which, bounds[0] + 1);
        stats_observe(stats_slot(&a.service, 1), (enum stats_histogram)which, last);
        stats_observe(stats_slot(&a.service, 1), (enum stats_histogram)which, last + 1);
        stats_observe(stats_slot(&a.service, 0), (enum stats_histogram)which, -1); /* a clock */
        stats_histogram(stats, a.service.stats, (enum stats_histogram)which, buckets, &sum);
        assert_int_equal(buckets[0], 2);
        assert_int_equal(buckets[1], 1);
        assert_int_equal(buckets[STATS_BUCKETS - 1], 1);
        assert_int_equal(buckets[STATS_BUCKETS], 1);
        assert_int_equal(sum, 2 * bounds[0] + 1 + 2 * last + 1);
    }
    stats_destroy(&stats);
}

static void three_in_a_row_make_unusable(void **state)
{
    (void)state;
    struct world a;
    struct stats *stats = stats_of(1);
    make(&a, (char[]){"x"}, "1", "2");
    assert_true(stats_attach(stats, &a.snapshot, NULL));
    struct stats_upstream *u = a.upstreams[0].stats;
    int64_t now = (int64_t)time(NULL);
    assert_true(stats_is_usable(&u->health, now)); /* nobody knows */
    for (int i = 0; i < STATS_FAILED_IN_ROW; i++) {
        assert_true(stats_is_usable(&u->health, now));
        stats_upstream_tried(u, REASON_CONNECT_FAILED);
        stats_upstream_tried(u, REASON_NO_MEMORY); /* ours: says nothing */
    }
    assert_false(stats_is_usable(&u->health, now));
    assert_int_equal(atomic_load(&u->health.last_reason), REASON_CONNECT_FAILED);
    assert_int_equal(atomic_load(&u->failed[REASON_CONNECT_FAILED]), STATS_FAILED_IN_ROW);
    /* Nobody may be sent here now, so it must not stay so for ever. */
    assert_false(stats_is_usable(&u->health, now + STATS_FAILED_FOR_S - 2));
    assert_true(stats_is_usable(&u->health, now + STATS_FAILED_FOR_S + 2));
    stats_upstream_tried(u, REASON_NONE);
    assert_true(stats_is_usable(&u->health, now));
    assert_true(atomic_load(&u->health.last_ok_s) >= now - 1);
    assert_true(stats_is_usable(&a.service.stats->health, now)); /* a book of its own */
    stats_destroy(&stats);
}

static void where_nothing_is_attached_nothing_is_counted(void **state)
{
    (void)state;
    struct world a;
    make(&a, (char[]){"x"}, "1", "2");
    struct stats_slot *slot = stats_slot(&a.service, 0);
    assert_null(slot);
    stats_add(slot, STATS_ACCEPTED, 1);
    stats_observe(slot, STATS_CONNECT, 1);
    stats_ended(slot, PHASE_RELAY, REASON_DONE, 1);
    stats_upstream_tried(NULL, REASON_NONE);
    stats_service_tried(NULL, REASON_NONE);
}

static void phases_have_words(void **state)
{
    (void)state;
    for (int i = 0; i < PHASE_COUNT; i++)
        assert_true(strlen(phase_word((enum phase)i)) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_by_name),
        cmocka_unit_test(slots_share_no_cache_line),
        cmocka_unit_test(added_up_over_workers),
        cmocka_unit_test(buckets_hold_their_upper_bound),
        cmocka_unit_test(three_in_a_row_make_unusable),
        cmocka_unit_test(where_nothing_is_attached_nothing_is_counted),
        cmocka_unit_test(phases_have_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
