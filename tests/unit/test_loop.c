/* The loop itself: what is deferred and posted, stopping, signals, two loops on one listener. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "event_probe.h"

#include <esclusa/clock.h>

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

/* ---- deferred ---- */

struct chain {
    struct loop_deferred deferred;
    unsigned left;
    unsigned runs;
    unsigned calls_before; /* probes' calls when it first ran */
};

static void chain_runs(struct loop_deferred *deferred)
{
    struct chain *c = (struct chain *)deferred;
    if (c->runs++ == 0) {
        c->calls_before = total_calls;
    }
    if (c->left > 0) {
        c->left--;
        loop_defer(loop, deferred);
    }
}

static struct chain chain;

static void defer_chain(struct probe *p)
{
    p->other->act = NULL;
    p->act = NULL;
    loop_defer(loop, &chain.deferred);
}

static void test_defer(void **state)
{
    (void)state;
    struct probe a, b;
    chain = (struct chain){.deferred.callback = chain_runs, .left = 3};
    two_ready(&a, &b, LOOP_READ, defer_chain);
    loop_turn(loop, -1);
    assert_int_equal(1, chain.runs);
    assert_int_equal(2, chain.calls_before); /* after the batch */
    probe_close(&a);
    probe_close(&b);
    for (unsigned i = 2; i <= 4; i++) {
        loop_turn(loop, -1); /* does not sleep while there is some */
        assert_int_equal(i, chain.runs);
    }
    loop_turn(loop, 0);
    assert_int_equal(4, chain.runs);
    struct chain more[2] = {{.deferred.callback = chain_runs}, {.deferred.callback = chain_runs}};
    chain.left = 2;
    loop_defer(loop, &more[0].deferred);
    loop_defer(loop, &chain.deferred);
    loop_defer(loop, &more[1].deferred);
    loop_destroy(&loop); /* runs them all */
    assert_int_equal(1, more[0].runs);
    assert_int_equal(7, chain.runs);
    assert_int_equal(1, more[1].runs);
    loop = loop_create(NULL);
    assert_non_null(loop);
}

/* ---- posted ---- */

enum { SENDERS = 4, LETTERS = 25000 };

struct letter {
    struct loop_message message;
    unsigned sender, number;
};

struct sender {
    pthread_t thread;
    unsigned index, received, disorder;
    struct letter letters[LETTERS];
};

static struct sender senders[SENDERS];
static unsigned letters_received;

static void letter_arrives(struct loop_message *message)
{
    const struct letter *letter = (struct letter *)message;
    struct sender *s = &senders[letter->sender];
    s->disorder += letter->number != s->received;
    s->received++;
    letters_received++;
    if (letters_received == SENDERS * LETTERS) {
        loop_stop(loop);
    }
}

static void *send_letters(void *context)
{
    struct sender *s = context;
    for (unsigned i = 0; i < LETTERS; i++) {
        s->letters[i] = (struct letter){{NULL, letter_arrives}, s->index, i};
        loop_post(loop, &s->letters[i].message);
        if (i % 1000 == 0) {
            usleep(100); /* lets the loop fall asleep now and then */
        }
    }
    return NULL;
}

static void test_post_from_threads(void **state)
{
    (void)state;
    letters_received = 0;
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i].index = i;
        senders[i].received = 0;
        senders[i].disorder = 0;
        assert_int_equal(0, pthread_create(&senders[i].thread, NULL, send_letters, &senders[i]));
    }
    loop_run(loop); /* a lost one would leave it waiting for the alarm of main() */
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        assert_int_equal(LETTERS, senders[i].received);
        assert_int_equal(0, senders[i].disorder);
    }
}

static unsigned echoes;

static void echo(struct loop_message *message)
{
    echoes++;
    loop_post(loop, message); /* its memory is ours again */
}

static void test_post_from_callback(void **state)
{
    (void)state;
    struct loop_message message = {NULL, echo};
    echoes = 0;
    loop_post(loop, &message);
    assert_int_equal(0, echoes);
    for (unsigned i = 1; i <= 5; i++) {
        loop_turn(loop, -1);
        assert_int_equal(i, echoes);
    }
    loop_destroy(&loop); /* drops it */
    assert_int_equal(5, echoes);
    loop = loop_create(NULL);
    assert_non_null(loop);
}

static void stop_by_message(struct loop_message *message)
{
    (void)message;
    loop_stop(loop);
}

static void *post_one(void *context)
{
    loop_post(loop, context);
    return NULL;
}

static void test_destroy_after_last_message(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        struct loop_message message = {NULL, stop_by_message};
        pthread_t thread;
        assert_int_equal(0, pthread_create(&thread, NULL, post_one, &message));
        loop_run(loop);
        loop_destroy(&loop); /* while the sender may still be leaving loop_post() */
        pthread_join(thread, NULL);
        loop = loop_create(NULL);
        assert_non_null(loop);
    }
}

/* ---- running ---- */

static void stop(struct probe *p)
{
    (void)p;
    loop_stop(loop);
}

static void test_stop(void **state)
{
    (void)state;
    struct probe a, b;
    two_ready(&a, &b, LOOP_READ, stop);
    loop_run(loop);
    assert_int_equal(1, a.calls); /* the turn is finished */
    assert_int_equal(1, b.calls);
    loop_run(loop); /* and it may run again */
    assert_int_equal(2, a.calls);
    assert_int_equal(2, b.calls);
    probe_close(&a);
    probe_close(&b);
}

static atomic_uint signals_seen;
static atomic_bool storm_over;

static void on_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals_seen, 1);
}

static void *storm(void *context)
{
    const pthread_t *target = context;
    while (!atomic_load(&storm_over)) {
        pthread_kill(*target, SIGUSR1);
        usleep(200);
    }
    return NULL;
}

static void count_fire(void *context)
{
    unsigned *count = context;
    (*count)++;
}

static void test_signals_are_no_events(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART */
    assert_int_equal(0, sigaction(SIGUSR1, &action, NULL));
    struct probe p;
    struct timer timer;
    unsigned fired = 0;
    pthread_t self = pthread_self();
    pthread_t thread;
    probe_open(&p, LOOP_READ);
    atomic_store(&signals_seen, 0);
    atomic_store(&storm_over, false);
    assert_int_equal(0, pthread_create(&thread, NULL, storm, &self));
    int64_t start = clock_ms();
    loop_turn(loop, 150);
    int64_t waited = clock_ms() - start;
    timer_init(&timer, count_fire, &fired);
    assert_true(timer_set(loop, &timer, clock_ms() + 150));
    int64_t due = timer.at_ms;
    loop_turn(loop, -1);
    int64_t fired_at = clock_ms();
    atomic_store(&storm_over, true);
    pthread_join(thread, NULL);
    assert_in_range(atomic_load(&signals_seen), 20, UINT32_MAX);
    assert_true(waited >= 150);
    assert_int_equal(1, fired);
    assert_true(fired_at >= due);
    assert_int_equal(0, p.calls);
    probe_close(&p);
}

/* ---- one listener, two loops ---- */

enum { ROUNDS = 15, CALLERS = 20 };

struct acceptor {
    pthread_t thread;
    struct loop *loop;
    struct loop_io io;
    struct loop_message stop;
    int listener;
    unsigned accepted;
};

static void accept_one(void *context, unsigned events)
{
    struct acceptor *a = context;
    (void)events;
    int fd = accept4(a->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        a->accepted++;
        (void)!write(fd, "x", 1);
        close(fd);
    }
}

static void stop_acceptor(struct loop_message *message)
{
    struct acceptor *a =
        (struct acceptor *)(void *)((char *)message - offsetof(struct acceptor, stop));
    loop_stop(a->loop);
}

static void *accept_all(void *context)
{
    struct acceptor *a = context;
    loop_run(a->loop);
    return NULL;
}

static int listen_on_loopback(struct sockaddr_in *address)
{
    socklen_t length = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    assert_int_equal(0, bind(fd, (struct sockaddr *)address, sizeof *address));
    assert_int_equal(0, getsockname(fd, (struct sockaddr *)address, &length));
    assert_int_equal(0, listen(fd, 64));
    return fd;
}

static int call(const struct sockaddr_in *address)
{
    struct timeval patience = {.tv_sec = 30};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(0, setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience));
    assert_int_equal(0, connect(fd, (const struct sockaddr *)address, sizeof *address));
    return fd;
}

static void test_exclusive_listener(void **state)
{
    (void)state;
    struct sockaddr_in address;
    struct acceptor acceptors[2] = {0};
    int listener = listen_on_loopback(&address);
    for (int i = 0; i < 2; i++) {
        struct acceptor *a = &acceptors[i];
        a->listener = listener;
        a->stop.callback = stop_acceptor;
        a->loop = loop_create(NULL);
        assert_non_null(a->loop);
        assert_true(loop_io_add_exclusive(a->loop, &a->io, listener, accept_one, a, NULL));
        assert_int_equal(0, pthread_create(&a->thread, NULL, accept_all, a));
    }
    unsigned served = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int fds[CALLERS];
        char bytes[2];
        for (int i = 0; i < CALLERS; i++) {
            fds[i] = call(&address);
        }
        for (int i = 0; i < CALLERS; i++) {
            served += recv(fds[i], bytes, sizeof bytes, MSG_WAITALL) == 1;
            close(fds[i]);
        }
    }
    for (int i = 0; i < 2; i++) {
        loop_post(acceptors[i].loop, &acceptors[i].stop);
        pthread_join(acceptors[i].thread, NULL);
        loop_io_remove(&acceptors[i].io);
        loop_destroy(&acceptors[i].loop);
    }
    close(listener);
    assert_int_equal(ROUNDS * CALLERS, served);
    assert_int_equal(ROUNDS * CALLERS, acceptors[0].accepted + acceptors[1].accepted);
}

static void test_exclusive_rests(void **state)
{
    (void)state;
    struct sockaddr_in address;
    struct probe p = {.fd = listen_on_loopback(&address)};
    assert_true(loop_io_add_exclusive(loop, &p.io, p.fd, probe_called, &p, NULL));
    loop_io_set(&p.io, LOOP_NONE);
    p.far = call(&address);
    loop_turn(loop, 0);
    assert_int_equal(0, p.calls);
    loop_io_set(&p.io, LOOP_READ | LOOP_WRITE); /* the kernel would refuse a change to this */
    loop_turn(loop, -1);
    assert_int_equal(LOOP_READ, p.events);
    loop_io_set(&p.io, LOOP_READ | LOOP_HUP);
    loop_turn(loop, -1);
    assert_int_equal(LOOP_READ, p.events);
    probe_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defer),
        TEST(test_post_from_threads),
        TEST(test_post_from_callback),
        TEST(test_destroy_after_last_message),
        TEST(test_stop),
        TEST(test_signals_are_no_events),
        TEST(test_exclusive_listener),
        TEST(test_exclusive_rests),
    };
    alarm(100); /* a wait that never ends is a failure, not a hang */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
