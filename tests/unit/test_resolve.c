/* The resolver, with a stand-in for the lookup; and once with the real one. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/clock.h>
#include <esclusa/event.h>

#include "policy/resolve_internal.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the stand-in: what a name does is in the name ---- */

static atomic_uint lookups;       /* begun */
static atomic_uint lookups_ended; /* returned */
static atomic_uint unblocked;     /* helper threads that would take a signal */
static atomic_bool gate_open;     /* "gate..." waits for it */
static atomic_uint running, peak; /* lookups at the same time */

static void note_running(void)
{
    unsigned now = atomic_fetch_add(&running, 1) + 1;
    unsigned seen = atomic_load(&peak);
    while (now > seen && !atomic_compare_exchange_weak(&peak, &seen, now)) {
    }
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    if (sigismember(&mask, SIGTERM) != 1 || sigismember(&mask, SIGCHLD) != 1) {
        atomic_fetch_add(&unblocked, 1);
    }
}

static bool fake_lookup(const char *host, uint16_t port, struct net_addr *list, size_t max,
                        size_t *count_r, struct error *err)
{
    atomic_fetch_add(&lookups, 1);
    note_running();
    /* At most 30 s: a test that forgets the gate fails, it does not hang. */
    for (int i = 0; strncmp(host, "gate", 4) == 0 && !atomic_load(&gate_open) && i < 30000; i++) {
        usleep(1000);
    }
    bool ok = strstr(host, "bad") == NULL;
    if (ok) {
        *count_r = max < 2 ? max : 2;
        for (size_t i = 0; i < *count_r; i++) {
            list[i].length = sizeof list[i].u.in;
            list[i].u.in = (struct sockaddr_in){.sin_family = AF_INET,
                                                .sin_port = htons(port),
                                                .sin_addr.s_addr = htonl((uint32_t)i + 1)};
        }
    } else {
        *count_r = 7; /* must not show */
        error_set(err, "%s: no such host", host);
    }
    atomic_fetch_sub(&running, 1);
    atomic_fetch_add(&lookups_ended, 1);
    return ok;
}

/* ---- a loop and a resolver for each test ---- */

static struct loop *loop;
static struct resolver *resolver;

static void open_resolver(unsigned max_threads, int64_t keep_ms, int64_t idle_ms)
{
    struct resolver_options options = {
        .max_threads = max_threads, .keep_ms = keep_ms, .idle_ms = idle_ms, .lookup = fake_lookup};
    resolver = resolver_create_with(&options, NULL);
    assert_non_null(resolver);
}

static int set_up(void **state)
{
    (void)state;
    atomic_store(&lookups, 0);
    atomic_store(&lookups_ended, 0);
    atomic_store(&gate_open, false);
    atomic_store(&peak, 0);
    loop = loop_create(NULL);
    return loop == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    atomic_store(&gate_open, true);
    resolver_destroy(&resolver);
    loop_destroy(&loop);
    return resolver != NULL || loop != NULL;
}

struct asker {
    struct resolve_query query;
    unsigned answers;
    void (*act)(struct asker *a);
};

static unsigned answered; /* all of them; only the loop of the test's thread counts here */

static void on_answer(struct resolve_query *query)
{
    struct asker *a = query->context;
    a->answers++;
    answered++;
    if (a->act != NULL) {
        a->act(a);
    }
}

static void ask(struct asker *a, const char *host, uint16_t port)
{
    a->query.callback = on_answer;
    a->query.context = a;
    assert_true(resolve_ask(resolver, loop, &a->query, host, port));
}

static void run_until_answered(unsigned total)
{
    int64_t give_up = clock_ms() + 30000;
    while (answered < total && clock_ms() < give_up) {
        loop_turn(loop, 1000);
    }
    assert_int_equal(total, answered);
}

static void wait_for(atomic_uint *counter, unsigned at_least)
{
    for (int i = 0; i < 30000 && atomic_load(counter) < at_least; i++) {
        usleep(1000);
    }
    assert_true(atomic_load(counter) >= at_least);
}

static void test_answer(void **state)
{
    (void)state;
    struct asker a = {0};
    open_resolver(4, RESOLVE_KEEP_MS, RESOLVE_IDLE_MS);
    assert_int_equal(0, resolver_threads(resolver)); /* on demand */
    answered = 0;
    ask(&a, "name", 443);
    assert_int_equal(0, answered);
    run_until_answered(1);
    assert_true(a.query.ok);
    assert_int_equal(2, a.query.count);
    assert_int_equal(443, ntohs(a.query.addresses[1].u.in.sin_port));
    assert_int_equal(2, ntohl(a.query.addresses[1].u.in.sin_addr.s_addr));
    assert_false(a.query.error.set);
    assert_null(a.query.ticket);
    assert_int_equal(1, resolver_threads(resolver));
    assert_int_equal(0, atomic_load(&unblocked));
    resolve_cancel(resolver, &a.query); /* nothing to do */
}

static void test_kept_answer(void **state)
{
    (void)state;
    struct asker a = {0}, b = {0}, c = {0};
    open_resolver(4, 60000, RESOLVE_IDLE_MS);
    answered = 0;
    ask(&a, "name", 443);
    run_until_answered(1);
    ask(&b, "name", 443);
    assert_int_equal(1, answered); /* never from inside the call */
    run_until_answered(2);
    assert_true(b.query.ok);
    assert_int_equal(2, b.query.count);
    assert_int_equal(1, atomic_load(&lookups));
    ask(&c, "name", 444); /* another port is another question */
    run_until_answered(3);
    assert_int_equal(444, ntohs(c.query.addresses[0].u.in.sin_port));
    assert_int_equal(2, atomic_load(&lookups));
    assert_int_equal(2, resolver_entries(resolver));
}

static void test_kept_answer_gets_old(void **state)
{
    (void)state;
    struct asker a = {0};
    open_resolver(4, 20, RESOLVE_IDLE_MS);
    answered = 0;
    ask(&a, "one", 1);
    run_until_answered(1);
    usleep(40000);
    ask(&a, "two", 1); /* adding drops what is too old */
    run_until_answered(2);
    assert_int_equal(1, resolver_entries(resolver));
    usleep(40000);
    ask(&a, "two", 1);
    run_until_answered(3);
    assert_int_equal(3, atomic_load(&lookups));
}

static void test_kept_answers_are_bounded(void **state)
{
    (void)state;
    struct asker a = {0};
    open_resolver(4, 60000, RESOLVE_IDLE_MS);
    answered = 0;
    for (unsigned i = 0; i < RESOLVE_CACHE_MAX + 20; i++) {
        ask(&a, "name", (uint16_t)(i + 1));
        run_until_answered(i + 1);
        assert_true(a.query.ok);
    }
    assert_int_equal(RESOLVE_CACHE_MAX, resolver_entries(resolver));
    ask(&a, "name", RESOLVE_CACHE_MAX + 20); /* the newest is there */
    run_until_answered(RESOLVE_CACHE_MAX + 21);
    assert_int_equal(RESOLVE_CACHE_MAX + 20, atomic_load(&lookups));
    ask(&a, "name", 1); /* the oldest is not */
    run_until_answered(RESOLVE_CACHE_MAX + 22);
    assert_int_equal(RESOLVE_CACHE_MAX + 21, atomic_load(&lookups));
}

static void test_error_to_all_and_not_kept(void **state)
{
    (void)state;
    enum { ALL = 10 };
    struct asker askers[ALL] = {0};
    open_resolver(4, 60000, RESOLVE_IDLE_MS);
    answered = 0;
    for (unsigned i = 0; i < ALL; i++) {
        ask(&askers[i], "gate-bad", 1);
    }
    atomic_store(&gate_open, true);
    run_until_answered(ALL);
    for (unsigned i = 0; i < ALL; i++) {
        assert_int_equal(1, askers[i].answers);
        assert_false(askers[i].query.ok);
        assert_int_equal(0, askers[i].query.count);
        assert_string_equal("gate-bad: no such host", askers[i].query.error.text);
    }
    assert_int_equal(1, atomic_load(&lookups));
    assert_int_equal(0, resolver_entries(resolver));
    ask(&askers[0], "gate-bad", 1);
    run_until_answered(ALL + 1);
    assert_int_equal(2, atomic_load(&lookups));
    ask(&askers[0], "good", 1); /* no trace of the error in the next answer */
    run_until_answered(ALL + 2);
    assert_true(askers[0].query.ok);
    assert_false(askers[0].query.error.set);
}

/* ---- many at once ---- */

static void test_single_flight(void **state)
{
    (void)state;
    enum { ALL = 50 };
    struct asker askers[ALL] = {0};
    open_resolver(8, 60000, RESOLVE_IDLE_MS);
    answered = 0;
    for (unsigned i = 0; i < ALL; i++) {
        ask(&askers[i], "gate", 443);
    }
    atomic_store(&gate_open, true);
    run_until_answered(ALL);
    loop_turn(loop, 0);
    for (unsigned i = 0; i < ALL; i++) {
        assert_int_equal(1, askers[i].answers);
        assert_true(askers[i].query.ok);
    }
    assert_int_equal(1, atomic_load(&lookups));
    assert_int_equal(1, resolver_threads(resolver));
}

static void test_slow_name_delays_no_other(void **state)
{
    (void)state;
    struct asker slow = {0}, other = {0};
    open_resolver(2, 60000, RESOLVE_IDLE_MS);
    answered = 0;
    ask(&slow, "gate", 1);
    wait_for(&lookups, 1);
    for (unsigned i = 1; i <= 20; i++) { /* all of them while the gate is shut */
        ask(&other, "name", (uint16_t)i);
        run_until_answered(i);
    }
    assert_int_equal(0, slow.answers);
    atomic_store(&gate_open, true);
    run_until_answered(21);
    assert_int_equal(1, slow.answers);
}

static void test_threads_are_bounded_and_end(void **state)
{
    (void)state;
    enum { ALL = 12 };
    struct asker askers[ALL] = {0};
    open_resolver(3, 60000, 50);
    answered = 0;
    for (unsigned i = 0; i < ALL; i++) {
        ask(&askers[i], "gate", (uint16_t)(i + 1));
    }
    wait_for(&lookups, 3);
    assert_int_equal(3, resolver_threads(resolver));
    atomic_store(&gate_open, true);
    run_until_answered(ALL);
    assert_int_equal(3, atomic_load(&peak));
    for (int i = 0; i < 30000 && resolver_threads(resolver) > 0; i++) {
        usleep(1000);
    }
    assert_int_equal(0, resolver_threads(resolver)); /* idle for long: ended */
    ask(&askers[0], "again", 1);
    run_until_answered(ALL + 1);
}

static struct asker *new_asker(void)
{
    struct asker *a = calloc(1, sizeof *a);
    assert_non_null(a);
    return a;
}

/* What is cancelled is freed at once: a late use of it is ASan's to find. */
static void cancel_and_free(struct asker *a)
{
    resolve_cancel(resolver, &a->query);
    free(a);
}

static void test_cancel_while_running(void **state)
{
    (void)state;
    struct asker *gone = new_asker();
    struct asker stays = {0};
    open_resolver(2, 60000, RESOLVE_IDLE_MS);
    answered = 0;
    ask(gone, "gate", 1);
    ask(&stays, "gate", 1);
    wait_for(&lookups, 1);
    cancel_and_free(gone);
    atomic_store(&gate_open, true);
    run_until_answered(1);
    loop_turn(loop, 20);
    assert_int_equal(1, answered);
    assert_int_equal(1, stays.answers);
}

static void test_cancel_of_all_while_running(void **state)
{
    (void)state;
    struct asker *gone = new_asker();
    struct asker later = {0};
    open_resolver(2, 60000, RESOLVE_IDLE_MS);
    answered = 0;
    ask(gone, "gate", 1);
    wait_for(&lookups, 1);
    cancel_and_free(gone);
    ask(&later, "gate", 1); /* joins the lookup that runs */
    atomic_store(&gate_open, true);
    run_until_answered(1);
    assert_int_equal(1, atomic_load(&lookups));
}

static void test_cancel_while_queued(void **state)
{
    (void)state;
    struct asker slow = {0}, after = {0};
    struct asker *gone = new_asker();
    open_resolver(1, 60000, RESOLVE_IDLE_MS);
    answered = 0;
    ask(&slow, "gate", 1);
    wait_for(&lookups, 1);
    ask(gone, "never", 1);
    ask(&after, "after", 1);
    assert_int_equal(3, resolver_entries(resolver));
    cancel_and_free(gone);
    assert_int_equal(2, resolver_entries(resolver));
    atomic_store(&gate_open, true);
    run_until_answered(2);
    assert_int_equal(2, atomic_load(&lookups)); /* "never" was not looked up */
}

static void test_cancel_after_posted(void **state)
{
    (void)state;
    struct asker *gone = new_asker();
    struct asker kept = {0};
    open_resolver(1, 60000, RESOLVE_IDLE_MS);
    answered = 0;
    ask(&kept, "name", 1);
    run_until_answered(1);
    ask(gone, "name", 1); /* a kept answer: its message is under way already */
    cancel_and_free(gone);
    gone = new_asker();
    ask(gone, "other", 1);
    wait_for(&lookups_ended, 2);
    usleep(20000); /* likely posted by now; either way must do */
    cancel_and_free(gone);
    loop_turn(loop, 50);
    loop_turn(loop, 0);
    assert_int_equal(1, answered);
}

static struct asker *victim;

static void cancel_victim(struct asker *a)
{
    (void)a;
    if (victim != NULL) {
        cancel_and_free(victim);
        victim = NULL;
    }
}

/* Both answers are in one batch of messages: the first one's callback cancels the second. */
static void test_cancel_in_callback(void **state)
{
    (void)state;
    struct asker first = {.act = cancel_victim};
    struct asker kept = {0};
    open_resolver(1, 60000, RESOLVE_IDLE_MS);
    answered = 0;
    ask(&kept, "name", 1);
    run_until_answered(1);
    victim = new_asker();
    ask(&first, "name", 1);
    ask(victim, "name", 1);
    loop_turn(loop, 1000);
    loop_turn(loop, 0);
    assert_int_equal(2, answered);
    assert_null(victim);
}

static void ask_again(struct asker *a)
{
    if (a->answers < 5) {
        ask(a, "name", (uint16_t)a->answers);
    }
}

static void test_ask_again_in_callback(void **state)
{
    (void)state;
    struct asker a = {.act = ask_again};
    open_resolver(1, 60000, RESOLVE_IDLE_MS);
    answered = 0;
    ask(&a, "name", 77);
    run_until_answered(5);
    assert_int_equal(5, a.answers);
}

/* ---- several loops, asking and cancelling in a hurry ---- */

enum { CROWD = 3, HURRIES = 400 };

struct crowd {
    pthread_t thread;
    struct loop *loop;
    unsigned index, answers, asked, cancelled, refused;
};

static void crowd_answer(struct resolve_query *query)
{
    struct crowd *c = query->context;
    c->answers++;
    c->refused += !query->ok || query->count != 2;
    free(query);
}

static void *hurry(void *context)
{
    struct crowd *c = context;
    for (unsigned i = 0; i < HURRIES; i++) {
        struct resolve_query *query = calloc(1, sizeof *query);
        if (query == NULL) {
            break;
        }
        query->callback = crowd_answer;
        query->context = c;
        if (!resolve_ask(resolver, c->loop, query, "name", (uint16_t)(1 + i % 7))) {
            free(query);
            break;
        }
        c->asked++;
        if (i % 2 == c->index % 2) {
            if (i % 3 == 0) {
                usleep(200);
            }
            resolve_cancel(resolver, query);
            free(query);
            c->cancelled++;
        } else if (i % 5 == 0) {
            loop_turn(c->loop, 1);
        }
    }
    int64_t give_up = clock_ms() + 30000;
    while (c->answers + c->cancelled < c->asked && clock_ms() < give_up) {
        loop_turn(c->loop, 100);
    }
    return NULL;
}

static void test_crowd(void **state)
{
    (void)state;
    struct crowd crowd[CROWD] = {0};
    open_resolver(3, 1, 1); /* hardly anything kept, threads come and go */
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i].index = i;
        crowd[i].loop = loop_create(NULL);
        assert_non_null(crowd[i].loop);
        assert_int_equal(0, pthread_create(&crowd[i].thread, NULL, hurry, &crowd[i]));
    }
    for (unsigned i = 0; i < CROWD; i++) {
        pthread_join(crowd[i].thread, NULL);
        assert_int_equal(HURRIES, crowd[i].asked);
        assert_int_equal(HURRIES, crowd[i].answers + crowd[i].cancelled);
        assert_int_equal(0, crowd[i].refused);
        loop_destroy(&crowd[i].loop); /* messages of cancelled ones may be in it still */
    }
}

/* ---- the end ---- */

static void test_destroy_with_questions_outstanding(void **state)
{
    (void)state;
    struct asker running_one = {0}, queued = {0}, posted = {0}, cancelled = {0};
    open_resolver(1, 60000, RESOLVE_IDLE_MS);
    answered = 0;
    ask(&posted, "name", 1);
    run_until_answered(1);
    ask(&running_one, "gate-bad", 1);
    wait_for(&lookups, 2);
    ask(&queued, "queued", 1);
    ask(&posted, "name", 1);
    ask(&cancelled, "name", 1);
    resolve_cancel(resolver, &cancelled.query);
    loop_destroy(&loop); /* drops the two messages: the tickets are the resolver's */
    int64_t start = clock_ms();
    resolver_destroy(&resolver); /* does not wait for the gate */
    assert_in_range(clock_ms() - start, 0, 10000);
    assert_null(resolver);
    assert_int_equal(1, atomic_load(&lookups_ended));
    resolve_cancel(NULL, &queued.query); /* no question is outstanding any more */
    resolve_cancel(NULL, &running_one.query);
    resolve_cancel(NULL, &posted.query);
    atomic_store(&gate_open, true); /* the late thread frees what is left: LSan's to see */
    wait_for(&lookups_ended, 2);
    usleep(50000);
    assert_int_equal(1, answered);
    loop = loop_create(NULL);
    assert_non_null(loop);
}

static void test_real_lookup(void **state)
{
    (void)state;
    struct asker a = {0};
    resolver = resolver_create(0, NULL); /* 0: one thread all the same */
    assert_non_null(resolver);
    answered = 0;
    ask(&a, "127.0.0.1", 8080);
    run_until_answered(1);
    assert_true(a.query.ok);
    assert_int_equal(1, a.query.count);
    assert_int_equal(AF_INET, a.query.addresses[0].u.sa.sa_family);
    assert_int_equal(8080, ntohs(a.query.addresses[0].u.in.sin_port));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answer),
        TEST(test_kept_answer),
        TEST(test_kept_answer_gets_old),
        TEST(test_kept_answers_are_bounded),
        TEST(test_error_to_all_and_not_kept),
        TEST(test_single_flight),
        TEST(test_slow_name_delays_no_other),
        TEST(test_threads_are_bounded_and_end),
        TEST(test_cancel_while_running),
        TEST(test_cancel_of_all_while_running),
        TEST(test_cancel_while_queued),
        TEST(test_cancel_after_posted),
        TEST(test_cancel_in_callback),
        TEST(test_ask_again_in_callback),
        TEST(test_crowd),
        TEST(test_destroy_with_questions_outstanding),
        TEST(test_real_lookup),
    };
    alarm(100); /* a wait that never ends is a failure, not a hang */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
