/* Addresses side by side, over real sockets and a real loop, in plain. Races of handshakes are
 * driven from tests/e2e. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "loopback.h"

#include "core/race.h"
#include "core/worker.h"

#include <esclusa/clock.h>
#include <esclusa/dialogue.h>

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define WAIT_MS   10000
#define FILL      4
#define NO_MATTER "tcp://127.0.0.1:1"

struct bench {
    struct worker_group group;
    struct worker worker;
    struct service_config config;
    struct upstream upstream;
    struct service service;
    struct buf hello;
    struct loop_io io;
    struct race *race;
    unsigned began, unanswered, most_lanes;
    enum { NOTHING, SETTLED, LOST } end;
    enum attempt_outcome outcome;
    struct net_addr won;
    int64_t began_ms;
};

/* ---- addresses ---- */

static void nobody_listens(struct net_addr *at)
{
    close(listen_at(at));
}

/* Its queue is full: the kernel answers nobody any more. */
struct silent {
    int listener, full[FILL];
    struct net_addr at;
};

static void silent_init(struct silent *s)
{
    s->listener = listen_at(&s->at);
    assert_int_equal(listen(s->listener, 0), 0);
    for (int i = 0; i < FILL; i++) {
        s->full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(s->full[i], &s->at.u.sa, s->at.length);
    }
}

static void silent_fini(struct silent *s)
{
    for (int i = 0; i < FILL; i++)
        close(s->full[i]);
    close(s->listener);
}

/* ---- what is told ---- */

static void on_io(void *context, unsigned events)
{
    struct bench *b = context;
    race_event(b->race, events);
}

static void began(void *context)
{
    struct bench *b = context;
    b->began++;
    if (b->race->lanes > b->most_lanes)
        b->most_lanes = b->race->lanes;
}

static void connected(void *context, struct attempt *a)
{
    (void)context;
    (void)a;
}

static void unanswered(void *context, const struct attempt *a)
{
    struct bench *b = context;
    assert_non_null(a->error);
    b->unanswered++;
}

static bool may_pass(void *context, const struct attempt *a)
{
    (void)context;
    (void)a;
    return false;
}

static void settled(void *context, struct attempt *a)
{
    struct bench *b = context;
    assert_int_equal(b->end, NOTHING);
    b->end = SETTLED;
    b->outcome = a->outcome;
    b->won = a->order.address;
    assert_ptr_equal(b->race->running, a); /* alone */
    assert_null(a->next);
    if (a->outcome == ATTEMPT_GOOD)
        assert_int_equal(b->io.fd, a->transport->fd);
}

static void lost(void *context)
{
    struct bench *b = context;
    assert_int_equal(b->end, NOTHING);
    b->end = LOST;
}

static void no_memory(void *context)
{
    (void)context;
    fail();
}

/* ---- a race ---- */

static void bench_init(struct bench *b)
{
    struct error err;
    error_init(&err);
    *b = (struct bench){.config = {.connect_timeout = WAIT_MS, .handshake_timeout = WAIT_MS}};
    b->group.descriptors = 1000;
    b->worker.group = &b->group;
    b->worker.loop = loop_create(&err);
    assert_non_null(b->worker.loop);
    strcpy(b->upstream.text, NO_MATTER);
    assert_true(net_endpoint_parse(&b->upstream.endpoint, NO_MATTER, NET_CONNECT, &err));
    b->service =
        (struct service){.config = &b->config, .upstreams = &b->upstream, .upstream_count = 1};
    b->race = calloc(1, sizeof *b->race);
    assert_non_null(b->race);
}

static void start(struct bench *b, const struct net_addr *list, size_t count, int64_t delay_ms)
{
    memcpy(b->race->addresses, list, count * sizeof *list);
    b->race->count = count;
    b->began_ms = clock_ms();
    const struct race_order order = {.worker = &b->worker,
                                     .service = &b->service,
                                     .upstream = &b->upstream,
                                     .hello = &b->hello,
                                     .last = true,
                                     .delay_ms = delay_ms,
                                     .until_ms =
                                         loop_now(b->worker.loop) + b->config.connect_timeout,
                                     .io = &b->io,
                                     .on_io = on_io,
                                     .io_context = b,
                                     .began = began,
                                     .connected = connected,
                                     .unanswered = unanswered,
                                     .may_pass = may_pass,
                                     .settled = settled,
                                     .lost = lost,
                                     .no_memory = no_memory,
                                     .context = b};
    race_start(b->race, &order);
}

/* Until it is over, or for so long. */
static int64_t run(struct bench *b, int64_t for_ms)
{
    while (b->end == NOTHING && clock_ms() - b->began_ms < for_ms)
        loop_turn(b->worker.loop, 10);
    return clock_ms() - b->began_ms;
}

static void run_until_lanes(struct bench *b, unsigned lanes)
{
    for (int i = 0; i < 1000 && b->race->lanes < lanes; i++)
        loop_turn(b->worker.loop, 10);
    assert_int_equal(b->race->lanes, lanes);
}

static void bench_fini(struct bench *b)
{
    race_fini(b->race, b->worker.loop);
    assert_null(b->io.loop);
    assert_int_equal(atomic_load(&b->group.lanes), 0);
    loop_turn(b->worker.loop, 0);
    free(b->race);
    loop_destroy(&b->worker.loop);
}

static void a_silent_one_is_joined(void **state)
{
    (void)state;
    struct bench b;
    struct silent s;
    struct net_addr list[2];
    const int before = count_descriptors();
    silent_init(&s);
    list[0] = s.at;
    int listener = listen_at(&list[1]);
    bench_init(&b);
    start(&b, list, 2, 50);
    const int64_t took = run(&b, WAIT_MS);
    assert_int_equal(b.end, SETTLED);
    assert_int_equal(b.outcome, ATTEMPT_GOOD);
    assert_true(net_addr_equal(&b.won, &list[1]));
    assert_int_equal(b.began, 2);
    assert_int_equal(b.unanswered, 0);
    assert_in_range(took, 40, WAIT_MS / 2);
    bench_fini(&b);
    silent_fini(&s);
    close(listener);
    assert_int_equal(count_descriptors(), before);
}

/* Not after the delay. */
static void a_refusal_is_followed_at_once(void **state)
{
    (void)state;
    struct bench b;
    struct net_addr list[3];
    nobody_listens(&list[0]);
    nobody_listens(&list[1]);
    int listener = listen_at(&list[2]);
    bench_init(&b);
    start(&b, list, 3, WAIT_MS);
    (void)run(&b, WAIT_MS / 4); /* delays are at most a sixth of the time here */
    assert_int_equal(b.end, SETTLED);
    assert_true(net_addr_equal(&b.won, &list[2]));
    assert_int_equal(b.unanswered, 2);
    assert_int_equal(b.most_lanes, 1);
    bench_fini(&b);
    close(listener);
}

static void nobody_is_left(void **state)
{
    (void)state;
    struct bench b;
    struct net_addr list[2];
    nobody_listens(&list[0]);
    nobody_listens(&list[1]);
    bench_init(&b);
    start(&b, list, 2, 50);
    (void)run(&b, WAIT_MS);
    assert_int_equal(b.end, LOST);
    assert_int_equal(b.unanswered, 2);
    bench_fini(&b);
}

/* A crowd of dead addresses does not take a descriptor each at once, and every one is tried. */
static void lanes(void **state)
{
    (void)state;
    struct bench b;
    struct silent s;
    struct net_addr list[9];
    silent_init(&s);
    for (size_t i = 0; i < 8; i++)
        list[i] = s.at;
    int listener = listen_at(&list[8]);
    bench_init(&b);
    b.config.connect_timeout = 5000;
    start(&b, list, 9, 10);
    const int64_t took = run(&b, WAIT_MS);
    assert_int_equal(b.end, SETTLED);
    assert_int_equal(b.outcome, ATTEMPT_GOOD);
    assert_int_equal(b.most_lanes, RACE_LANES);
    assert_int_equal(b.began, 9);
    assert_in_range(took, 1500, 5500);
    bench_fini(&b);
    silent_fini(&s);
    close(listener);
}

/* Nothing is to be done before one of them has ended. */
static void all_lanes_are_taken(void **state)
{
    (void)state;
    struct bench b;
    struct silent s;
    struct net_addr list[RACE_LANES + 1];
    silent_init(&s);
    for (size_t i = 0; i <= RACE_LANES; i++)
        list[i] = s.at;
    bench_init(&b);
    start(&b, list, RACE_LANES + 1, 10);
    assert_true(timer_is_set(&b.race->timer));
    run_until_lanes(&b, RACE_LANES);
    assert_false(timer_is_set(&b.race->timer));
    bench_fini(&b);
    silent_fini(&s);
}

static bool is_running(const struct bench *b, const struct net_addr *at)
{
    for (const struct attempt *a = b->race->running; a != NULL; a = a->next) {
        if (net_addr_equal(&a->order.address, at))
            return true;
    }
    return false;
}

/* One that takes the connection has won, and the others are closed; when it is cut before TLS they
 * have their turn again, all of them, and the time that it took is given back. */
static void the_others_have_their_turn_again(void **state)
{
    (void)state;
    struct bench b;
    struct silent s, t;
    struct net_addr list[3];
    silent_init(&s);
    silent_init(&t);
    list[0] = s.at;
    int listener = listen_at(&list[1]);
    list[2] = t.at;
    bench_init(&b);
    b.config.starttls = DIALOGUE_SMTP; /* whose server speaks first */
    b.config.connect_timeout = 1000;
    start(&b, list, 3, 10);
    for (int i = 0; i < 1000 && b.race->ahead == NULL; i++)
        loop_turn(b.worker.loop, 10);
    assert_non_null(b.race->ahead);
    assert_true(is_running(&b, &list[1]));
    assert_int_equal(b.race->lanes, 1);
    (void)run(&b, 1200); /* past the end, had it not won */
    assert_int_equal(b.end, NOTHING);
    close(accept(listener, NULL, NULL));
    run_until_lanes(&b, 2);
    assert_int_equal(b.unanswered, 1);
    assert_true(is_running(&b, &list[0]));
    assert_true(is_running(&b, &list[2]));
    assert_int_equal(b.race->next, 3); /* and none is left */
    bench_fini(&b);
    close(listener);
    silent_fini(&s);
    silent_fini(&t);
}

static void given_up(void **state)
{
    (void)state;
    struct bench b;
    struct silent s;
    struct net_addr list[3];
    const int before = count_descriptors();
    silent_init(&s);
    list[0] = list[1] = list[2] = s.at;
    bench_init(&b);
    start(&b, list, 3, 10);
    run_until_lanes(&b, 3);
    bench_fini(&b);
    assert_int_equal(b.end, NOTHING);
    silent_fini(&s);
    assert_int_equal(count_descriptors(), before);
}

/* Says nothing of the address; where another runs already, that one is waited for. */
static void no_descriptor(void **state)
{
    (void)state;
    struct bench b;
    struct silent s;
    struct net_addr list[2];
    struct rlimit was, none;
    bench_init(&b);
    silent_init(&s);
    int listener = listen_at(&list[0]);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = was;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    start(&b, list, 1, 10);
    (void)run(&b, WAIT_MS);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_int_equal(b.end, SETTLED);
    assert_int_equal(b.outcome, ATTEMPT_OURS);
    bench_fini(&b);

    bench_init(&b);
    list[1] = list[0];
    list[0] = s.at;
    start(&b, list, 2, 10);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    (void)run(&b, 200);
    assert_int_equal(b.end, NOTHING);
    assert_int_equal(b.race->lanes, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    (void)run(&b, WAIT_MS);
    assert_int_equal(b.end, SETTLED);
    assert_int_equal(b.outcome, ATTEMPT_GOOD);
    bench_fini(&b);
    silent_fini(&s);
    close(listener);
}

/* What sessions may come to need is not for lanes, but for the first of each race. */
static void no_descriptor_of_a_session(void **state)
{
    (void)state;
    struct bench b;
    struct silent s;
    struct net_addr list[RACE_LANES];
    silent_init(&s);
    for (size_t i = 0; i < RACE_LANES; i++)
        list[i] = s.at;
    bench_init(&b);
    b.group.descriptors = 82;
    atomic_store(&b.group.sessions, 40);
    atomic_store(&b.group.warm, 1);
    start(&b, list, RACE_LANES, 10);
    run_until_lanes(&b, 2);
    (void)run(&b, 300);
    assert_int_equal(b.race->lanes, 2);
    assert_int_equal(b.began, 2);
    assert_int_equal(atomic_load(&b.group.lanes), 1);
    atomic_store(&b.group.sessions, 1);
    run_until_lanes(&b, RACE_LANES);
    bench_fini(&b);

    bench_init(&b);
    b.group.descriptors = 16; /* an eighth at most */
    start(&b, list, RACE_LANES, 10);
    run_until_lanes(&b, 3);
    (void)run(&b, 300);
    assert_int_equal(b.race->lanes, 3);
    bench_fini(&b);
    silent_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_one_is_joined),
        cmocka_unit_test(a_refusal_is_followed_at_once),
        cmocka_unit_test(nobody_is_left),
        cmocka_unit_test(lanes),
        cmocka_unit_test(all_lanes_are_taken),
        cmocka_unit_test(given_up),
        cmocka_unit_test(no_descriptor),
        cmocka_unit_test(no_descriptor_of_a_session),
        cmocka_unit_test(the_others_have_their_turn_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
