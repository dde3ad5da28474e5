/* Active checks over real sockets and real loops, in plain: when an upstream is down, when it is
 * back, and what says nothing of it. Checks by handshakes are driven from tests/e2e. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "loopback.h"

#include "core/probe.h"
#include "core/stats.h"
#include "core/worker.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TURNS 500

static char service_name[] = "x";

struct bench {
    struct worker_group group;
    struct worker workers[2];
    struct service_config config;
    struct upstream upstreams[2];
    struct service service;
    struct snapshot snapshot;
    struct stats *stats;
};

/* *port 0: any. */
static int bind_to(uint16_t *port)
{
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(*port)};
    socklen_t length = sizeof at;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &length), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static void set_up(struct bench *b, const uint16_t *ports, size_t count)
{
    struct error err;
    error_init(&err);
    for (size_t i = 0; i < count; i++) {
        struct upstream *up = &b->upstreams[i];
        snprintf(up->text, sizeof up->text, "tcp://127.0.0.1:%u", (unsigned)ports[i]);
        assert_true(net_endpoint_parse(&up->endpoint, up->text, NET_CONNECT, &err));
    }
    b->service =
        (struct service){.config = &b->config, .upstreams = b->upstreams, .upstream_count = count};
    b->snapshot = (struct snapshot){
        .references = 100, .workers = 2, .services = &b->service, .service_count = 1};
    assert_true(stats_attach(b->stats, &b->snapshot, &err));
}

static void bench_init(struct bench *b, const uint16_t *ports, size_t count)
{
    struct error err;
    error_init(&err);
    *b = (struct bench){.config = {.name = service_name,
                                   .check = CHECK_TCP,
                                   .check_interval = 20,
                                   .check_fall = 2,
                                   .check_rise = 2,
                                   .connect_timeout = 5000,
                                   .handshake_timeout = 5000}};
    for (unsigned i = 0; i < 2; i++) {
        b->workers[i] = (struct worker){.group = &b->group, .index = i};
        b->workers[i].loop = loop_create(&err);
        assert_non_null(b->workers[i].loop);
        probe_init(&b->workers[i].probe, &b->workers[i]);
    }
    b->stats = stats_create(2);
    assert_non_null(b->stats);
    set_up(b, ports, count);
}

static void bench_fini(struct bench *b)
{
    for (unsigned i = 0; i < 2; i++) {
        probe_stop(&b->workers[i].probe);
        loop_destroy(&b->workers[i].loop);
    }
    stats_destroy(&b->stats);
}

static void move(struct bench *b, unsigned worker, struct snapshot *snapshot)
{
    assert_true(probe_move(&b->workers[worker].probe, snapshot));
}

static struct stats_check *check_of(struct bench *b, size_t upstream)
{
    return &b->upstreams[upstream].stats->check;
}

/* Until so many checks of it have been counted. */
static void run(struct bench *b, size_t upstream, uint64_t good, uint64_t failed)
{
    const struct stats_check *c = check_of(b, upstream);
    for (int i = 0; i < TURNS && (atomic_load(&c->good) < good || atomic_load(&c->failed) < failed);
         i++) {
        loop_turn(b->workers[0].loop, 10);
        loop_turn(b->workers[1].loop, 0);
    }
    assert_int_equal(atomic_load(&c->good), good);
    assert_int_equal(atomic_load(&c->failed), failed);
}

static void fall_and_rise(void **state)
{
    (void)state;
    struct bench b;
    uint16_t port = 0;
    int fd = bind_to(&port);
    const int before = count_descriptors();
    bench_init(&b, &port, 1);
    move(&b, 0, &b.snapshot);
    const struct stats_check *c = check_of(&b, 0);
    run(&b, 0, 0, 1);
    assert_int_equal(atomic_load(&c->state), CHECK_UNKNOWN);
    run(&b, 0, 0, 2);
    assert_int_equal(atomic_load(&c->state), CHECK_DOWN);
    assert_int_equal(listen(fd, 16), 0);
    run(&b, 0, 1, 2);
    assert_int_equal(atomic_load(&c->state), CHECK_DOWN);
    run(&b, 0, 2, 2);
    assert_int_equal(atomic_load(&c->state), CHECK_UP);
    /* It is no consumer's connection, and no consumer's failure. */
    const struct stats_upstream *u = b.upstreams[0].stats;
    assert_int_equal(atomic_load(&u->connections), 0);
    assert_int_equal(atomic_load(&u->health.failed_in_row), 0);
    assert_int_equal(atomic_load(&u->health.last_ok_s), 0);
    assert_int_equal(atomic_load(&u->last_good), 0); /* that it was connected is too little */
    bench_fini(&b);
    assert_int_equal(count_descriptors(), before);
    close(fd);
}

static void the_first_good_one_counts_at_once(void **state)
{
    (void)state;
    struct bench b;
    uint16_t port = 0;
    int fd = bind_to(&port);
    assert_int_equal(listen(fd, 16), 0);
    bench_init(&b, &port, 1);
    b.config.check_rise = 100;
    move(&b, 0, &b.snapshot);
    run(&b, 0, 1, 0);
    assert_int_equal(atomic_load(&check_of(&b, 0)->state), CHECK_UP);
    bench_fini(&b);
    close(fd);
}

/* All ports that may be connected from are taken. */
static void what_is_lacking_here_says_nothing(void **state)
{
    (void)state;
    struct bench b;
    uint16_t port = 0, from = 0;
    int fd = bind_to(&port), taken = bind_to(&from);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(listen(taken, 1), 0);
    bench_init(&b, &port, 1);
    b.service.connect_sock.first_port = b.service.connect_sock.last_port = from;
    move(&b, 0, &b.snapshot);
    for (int i = 0; i < 30; i++)
        loop_turn(b.workers[0].loop, 10);
    run(&b, 0, 0, 0);
    assert_int_equal(atomic_load(&check_of(&b, 0)->state), CHECK_UNKNOWN);
    b.service.connect_sock.first_port = 0;
    run(&b, 0, 1, 0);
    bench_fini(&b);
    close(taken);
    close(fd);
}

/* A reload that turns checks off, and gives the upstream to another worker, which moves first. */
static void nothing_is_left_of_checks_that_are_off(void **state)
{
    (void)state;
    struct bench b, off;
    uint16_t port = 0, other = 0;
    int fd = bind_to(&port), second = bind_to(&other);
    bench_init(&b, &port, 1);
    move(&b, 0, &b.snapshot);
    move(&b, 1, &b.snapshot);
    const uint16_t turned[] = {other, port};
    off = (struct bench){.config = b.config, .stats = b.stats};
    off.config.check = CHECK_OFF;
    set_up(&off, turned, 2);
    assert_ptr_equal(off.upstreams[1].stats, b.upstreams[0].stats);
    move(&b, 1, &off.snapshot);
    run(&b, 0, 0, 2);
    assert_int_equal(atomic_load(&check_of(&b, 0)->state), CHECK_DOWN);
    move(&b, 0, &off.snapshot);
    assert_int_equal(atomic_load(&check_of(&b, 0)->state), CHECK_UNKNOWN);
    assert_int_equal(atomic_load(&check_of(&b, 0)->against), 0);
    bench_fini(&b);
    close(second);
    close(fd);
}

static void one_given_twice_is_checked_once(void **state)
{
    (void)state;
    struct bench b;
    uint16_t port = 0;
    int fd = bind_to(&port);
    const uint16_t twice[] = {port, port};
    bench_init(&b, twice, 2);
    move(&b, 0, &b.snapshot);
    move(&b, 1, &b.snapshot);
    assert_int_equal(b.workers[0].probe.count, 1);
    assert_int_equal(b.workers[1].probe.count, 0);
    bench_fini(&b);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fall_and_rise),
        cmocka_unit_test(the_first_good_one_counts_at_once),
        cmocka_unit_test(what_is_lacking_here_says_nothing),
        cmocka_unit_test(nothing_is_left_of_checks_that_are_off),
        cmocka_unit_test(one_given_twice_is_checked_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
