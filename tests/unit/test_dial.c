/* The dial, over real sockets and a real loop, in plain: candidates, failures, and being given up.
 * TLS and what it fails for are driven from tests/e2e. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "loopback.h"

#include "core/dial.h"
#include "core/stats.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 10000

struct bench {
    struct worker_group group;
    struct worker worker;
    struct service_config config;
    struct upstream upstreams[3];
    struct service service;
    struct snapshot snapshot;
    struct stats *stats; /* NULL: nothing is counted */
    struct loop_io io;
    struct dial *dial;
    int overs;
    bool destroy; /* in over() */
};

static void on_io(void *context, unsigned events)
{
    struct bench *b = context;
    if (b->dial != NULL)
        dial_event(b->dial, events);
}

static void over(void *context)
{
    struct bench *b = context;
    b->overs++;
    assert_true(b->dial->is_over);
    if (b->destroy)
        dial_destroy(&b->dial);
}

static void bench_init(struct bench *b, const uint16_t *ports, size_t count)
{
    struct error err;
    error_init(&err);
    *b = (struct bench){.config = {.connect_timeout = WAIT_MS, .handshake_timeout = WAIT_MS}};
    b->worker.group = &b->group;
    b->worker.loop = loop_create(&err);
    assert_non_null(b->worker.loop);
    for (size_t i = 0; i < count; i++) {
        struct upstream *up = &b->upstreams[i];
        snprintf(up->text, sizeof up->text, "tcp://127.0.0.1:%u", (unsigned)ports[i]);
        assert_true(net_endpoint_parse(&up->endpoint, up->text, NET_CONNECT, &err));
    }
    b->service =
        (struct service){.config = &b->config, .upstreams = b->upstreams, .upstream_count = count};
}

/* only: NULL: all of them. */
static void bench_start(struct bench *b, const struct upstream *only)
{
    const struct dial_order order = {.worker = &b->worker,
                                     .service = &b->service,
                                     .only = only,
                                     .io = &b->io,
                                     .on_io = on_io,
                                     .over = over,
                                     .context = b};
    b->dial = dial_create(&order);
    assert_non_null(b->dial);
    dial_start(b->dial);
}

static void bench_run(struct bench *b)
{
    for (int i = 0; i < 100 && b->overs == 0; i++)
        loop_turn(b->worker.loop, WAIT_MS / 100);
    assert_int_equal(b->overs, 1);
    loop_turn(b->worker.loop, 0);
    assert_int_equal(b->overs, 1); /* told once */
}

static void bench_fini(struct bench *b)
{
    dial_destroy(&b->dial);
    loop_io_remove(&b->io);
    loop_destroy(&b->worker.loop);
    for (size_t i = 0; b->stats != NULL && i < b->service.upstream_count; i++)
        assert_int_equal(atomic_load(&b->upstreams[i].stats->connections), 0);
    if (b->stats != NULL)
        stats_destroy(&b->stats);
}

static char service_name[] = "x";

/* The first is due to be tried again. */
static void bench_count(struct bench *b)
{
    struct error err;
    error_init(&err);
    b->config.name = service_name;
    b->config.eject_after = 1;
    b->config.eject_time = b->config.eject_max = 60000;
    b->snapshot = (struct snapshot){.workers = 1, .services = &b->service, .service_count = 1};
    b->stats = stats_create(1);
    assert_non_null(b->stats);
    assert_true(stats_attach(b->stats, &b->snapshot, &err));
    atomic_store(&b->upstreams[0].stats->eject.due_ms, 1);
}

static struct stats_upstream *stats_of(const struct bench *b, size_t i)
{
    return b->upstreams[i].stats;
}

static void the_first_that_answers(void **state)
{
    (void)state;
    struct bench b;
    uint16_t port;
    int listener = listen_anywhere(&port);
    uint16_t ports[] = {free_port(), port, free_port()};
    int before = count_descriptors();
    bench_init(&b, ports, 3);
    bench_start(&b, NULL);
    bench_run(&b);
    assert_true(dial_ok(b.dial));
    assert_ptr_equal(b.dial->upstream, &b.upstreams[1]);
    assert_int_equal(b.dial->attempts, 2);
    assert_int_equal(ntohs(b.dial->address.u.in.sin_port), port);
    assert_true(b.dial->connect_us >= 0);
    assert_int_equal(b.dial->handshake_us, -1);
    assert_string_equal(phase_word(dial_phase_of(b.dial)), "connect");

    /* Whoever takes the transport has the registration with the loop, too. */
    struct transport *t = b.dial->transport;
    assert_int_equal(b.io.fd, t->fd);
    b.dial->transport = NULL;
    dial_destroy(&b.dial);
    assert_ptr_equal(b.io.loop, b.worker.loop);
    bench_fini(&b);
    transport_destroy(&t);
    assert_int_equal(count_descriptors(), before);
    close(listener);
}

static void nobody_answers(void **state)
{
    (void)state;
    struct bench b;
    uint16_t ports[] = {free_port(), free_port()};
    int before = count_descriptors();
    bench_init(&b, ports, 2);
    bench_start(&b, NULL);
    bench_run(&b);
    assert_false(dial_ok(b.dial));
    assert_true(b.dial->exhausted);
    assert_int_equal(b.dial->reason, REASON_CONNECT_FAILED);
    assert_int_equal(b.dial->attempts, 2);
    assert_non_null(b.dial->remedy);
    assert_null(b.dial->transport);
    assert_non_null(strstr(b.dial->error, b.upstreams[0].text + strlen("tcp://")));
    assert_non_null(strstr(b.dial->error, b.upstreams[1].text + strlen("tcp://")));
    bench_fini(&b);
    assert_int_equal(count_descriptors(), before);
}

static void one_alone_if_so_ordered(void **state)
{
    (void)state;
    struct bench b;
    uint16_t port;
    int listener = listen_anywhere(&port);
    uint16_t ports[] = {free_port(), port};
    bench_init(&b, ports, 2);
    bench_start(&b, &b.upstreams[0]);
    bench_run(&b);
    assert_false(dial_ok(b.dial));
    assert_ptr_equal(b.dial->upstream, &b.upstreams[0]);
    assert_int_equal(b.dial->attempts, 1);
    bench_fini(&b);
    close(listener);
}

static void given_up(void **state)
{
    (void)state;
    struct bench b;
    uint16_t port;
    int listener = listen_anywhere(&port);
    int before = count_descriptors();
    bench_init(&b, &port, 1);
    bench_start(&b, NULL);
    dial_destroy(&b.dial); /* while it connects */
    assert_null(b.io.loop);
    loop_turn(b.worker.loop, 0);
    assert_int_equal(b.overs, 0);
    dial_destroy(&b.dial); /* nothing for NULL */
    bench_fini(&b);

    bench_init(&b, &port, 1);
    b.destroy = true; /* in its own callback */
    bench_start(&b, NULL);
    bench_run(&b);
    assert_null(b.dial);
    assert_null(b.io.loop);
    bench_fini(&b);
    assert_int_equal(count_descriptors(), before);
    close(listener);
}

static void no_answer_in_time(void **state)
{
    (void)state;
    struct bench b;
    uint16_t port;
    int listener = listen_anywhere(&port);
    assert_int_equal(listen(listener, 0), 0);
    int full[4]; /* the queue is full: the kernel answers nobody any more */
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    for (int i = 0; i < 4; i++) {
        full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(full[i], (struct sockaddr *)&at, sizeof at);
    }
    bench_init(&b, &port, 1);
    b.config.connect_timeout = 150;
    bench_start(&b, NULL);
    bench_run(&b);
    assert_int_equal(b.dial->reason, REASON_CONNECT_TIMEOUT);
    assert_true(b.dial->exhausted);
    bench_fini(&b);
    for (int i = 0; i < 4; i++)
        close(full[i]);
    close(listener);
}

/* Nobody else may try it meanwhile, and whatever comes of it, others may afterwards. */
static void a_trial_is_given_back(void **state)
{
    (void)state;
    struct bench b;
    uint16_t port, other;
    int listener = listen_anywhere(&port), second = listen_anywhere(&other);
    const uint16_t good[] = {port, other};
    bench_init(&b, good, 2); /* given up while it connects */
    bench_count(&b);
    bench_start(&b, NULL);
    assert_ptr_equal(b.dial->upstream, &b.upstreams[0]);
    assert_true(atomic_load(&stats_of(&b, 0)->eject.trying));
    assert_int_equal(atomic_load(&stats_of(&b, 0)->connections), 1);
    dial_destroy(&b.dial);
    assert_false(atomic_load(&stats_of(&b, 0)->eject.trying));
    assert_int_equal(atomic_load(&stats_of(&b, 0)->eject.due_ms), 1);
    bench_fini(&b);

    bench_init(&b, good, 2); /* it answers */
    bench_count(&b);
    bench_start(&b, NULL);
    bench_run(&b);
    assert_ptr_equal(b.dial->upstream, &b.upstreams[0]);
    assert_false(atomic_load(&stats_of(&b, 0)->eject.trying));
    assert_int_equal(atomic_load(&stats_of(&b, 0)->eject.due_ms), 0);
    assert_int_equal(atomic_load(&stats_of(&b, 0)->connections), 1);
    bench_fini(&b);

    const uint16_t dead[] = {free_port(), other};
    bench_init(&b, dead, 2); /* it does not: out again */
    bench_count(&b);
    bench_start(&b, NULL);
    bench_run(&b);
    assert_ptr_equal(b.dial->upstream, &b.upstreams[1]);
    assert_false(atomic_load(&stats_of(&b, 0)->eject.trying));
    assert_true(atomic_load(&stats_of(&b, 0)->eject.due_ms) > loop_now(b.worker.loop));
    assert_int_equal(atomic_load(&stats_of(&b, 0)->connections), 0);
    assert_int_equal(atomic_load(&stats_of(&b, 1)->connections), 1);
    bench_fini(&b);
    close(listener);
    close(second);
}

/* It was ejected after this dial had put them in order, or another tries it: the others first. */
static void ejected_meanwhile(void **state)
{
    (void)state;
    struct bench b;
    uint16_t port, other;
    int listener = listen_anywhere(&port), second = listen_anywhere(&other);
    const uint16_t ports[] = {free_port(), port, other};
    bench_init(&b, ports, 3);
    bench_count(&b);
    atomic_store(&stats_of(&b, 0)->eject.due_ms, 0);
    bench_start(&b, NULL); /* the refusal comes with the next turn */
    atomic_store(&stats_of(&b, 1)->eject.due_ms, INT64_MAX);
    bench_run(&b);
    assert_true(dial_ok(b.dial));
    assert_ptr_equal(b.dial->upstream, &b.upstreams[2]);
    bench_fini(&b);
    close(listener);
    close(second);
}

/* One alone is asked whatever it did, so nothing would be gained. */
static void one_alone_is_never_ejected(void **state)
{
    (void)state;
    struct bench b;
    const uint16_t port = free_port();
    bench_init(&b, &port, 1);
    bench_count(&b);
    atomic_store(&stats_of(&b, 0)->eject.due_ms, 0);
    bench_start(&b, NULL);
    bench_run(&b);
    assert_int_equal(atomic_load(&stats_of(&b, 0)->health.failed_in_row), 1);
    assert_int_equal(atomic_load(&stats_of(&b, 0)->eject.times), 0);
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_that_answers),  cmocka_unit_test(nobody_answers),
        cmocka_unit_test(one_alone_if_so_ordered), cmocka_unit_test(given_up),
        cmocka_unit_test(no_answer_in_time),       cmocka_unit_test(a_trial_is_given_back),
        cmocka_unit_test(ejected_meanwhile),       cmocka_unit_test(one_alone_is_never_ejected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
