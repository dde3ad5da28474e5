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
#include <stdio.h>
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

static atomic_uint told_stale, told_recovered;

static void note_event(void *context, enum resolve_event event, const char *host, const char *text)
{
    (void)context;
    (void)host;
    (void)text;
    atomic_fetch_add(event == RESOLVE_EVENT_STALE ? &told_stale : &told_recovered, 1);
}

static const struct resolver_settings by_system = {
    .system = true, .servers = "", .timeout_ms = 1000, .tries = 1, .stale_max_ms = 60000};

static void open_resolver(unsigned max_threads)
{
    const struct system_options options = {
        .max_threads = max_threads, .idle_ms = 10000, .lookup = fake_lookup};
    const struct resolver_listener listener = {.tell = note_event};
    resolver = resolver_create_with(&by_system, &options, &listener, NULL);
    assert_non_null(resolver);
}

static struct resolver_counts counts(void)
{
    struct resolver_counts c;
    resolver_count(resolver, &c);
    return c;
}

static int set_up(void **state)
{
    (void)state;
    atomic_store(&lookups, 0);
    atomic_store(&lookups_ended, 0);
    atomic_store(&gate_open, false);
    atomic_store(&peak, 0);
    atomic_store(&told_stale, 0);
    atomic_store(&told_recovered, 0);
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
    open_resolver(4);
    assert_int_equal(0, atomic_load(&lookups)); /* on demand */
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
    assert_int_equal(0, atomic_load(&unblocked));
    resolve_cancel(resolver, &a.query); /* nothing to do */
}

static void test_kept_answer(void **state)
{
    (void)state;
    struct asker a = {0}, b = {0}, c = {0};
    open_resolver(4);
    answered = 0;
    ask(&a, "name", 443);
    run_until_answered(1);
    ask(&b, "name", 443);
    assert_int_equal(1, answered); /* never from inside the call */
    run_until_answered(2);
    assert_true(b.query.ok);
    assert_int_equal(2, b.query.count);
    assert_int_equal(1, atomic_load(&lookups));
    ask(&c, "NAME", 444); /* the same name; each gets its port */
    run_until_answered(3);
    assert_int_equal(444, ntohs(c.query.addresses[0].u.in.sin_port));
    assert_int_equal(1, atomic_load(&lookups));
    assert_int_equal(1, counts().names);
    assert_int_equal(1, counts().lookups);
    assert_int_equal(1, counts().ended[RESOLVE_OK]);
    assert_int_equal(1, counts().waited);
    assert_int_equal(2, counts().kept);
    assert_int_equal(0, counts().stale);
}

static void test_names_are_bounded(void **state)
{
    (void)state;
    struct asker a = {0};
    char host[24];
    open_resolver(4);
    answered = 0;
    for (unsigned i = 0; i < RESOLVE_NAMES_MAX + 20; i++) {
        (void)snprintf(host, sizeof host, "name-%u", i);
        ask(&a, host, 1);
        run_until_answered(i + 1);
        assert_true(a.query.ok);
    }
    assert_int_equal(RESOLVE_NAMES_MAX, counts().names);
    ask(&a, host, 1); /* the newest is there */
    run_until_answered(RESOLVE_NAMES_MAX + 21);
    assert_int_equal(RESOLVE_NAMES_MAX + 20, atomic_load(&lookups));
}

static void test_error_to_all_and_believed(void **state)
{
    (void)state;
    enum { ALL = 10 };
    struct asker askers[ALL] = {0};
    open_resolver(4);
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
    assert_int_equal(1, counts().ended[RESOLVE_OTHER]);
    ask(&askers[0], "gate-bad", 1); /* within CACHE_FAILED_MS */
    run_until_answered(ALL + 1);
    assert_false(askers[0].query.ok);
    assert_int_equal(1, counts().negative);
    assert_int_equal(1, atomic_load(&lookups));
    ask(&askers[0], "good", 1); /* no trace of the error in the next answer */
    run_until_answered(ALL + 2);
    assert_true(askers[0].query.ok);
    assert_false(askers[0].query.error.set);
}

static bool broken;

static bool breakable_lookup(const char *host, uint16_t port, struct net_addr *list, size_t max,
                             size_t *count_r, struct error *err)
{
    return fake_lookup(broken ? "bad" : host, port, list, max, count_r, err);
}

/* After resolver_configure() what is kept is looked up again; if that fails it is still given. */
static void test_settings_changed(void **state)
{
    (void)state;
    struct asker a = {0};
    const struct system_options options = {
        .max_threads = 1, .idle_ms = 10000, .lookup = breakable_lookup};
    const struct resolver_listener listener = {.tell = note_event};
    struct resolver_settings settings = by_system;
    struct resolver_view view;
    resolver = resolver_create_with(&settings, &options, &listener, NULL);
    assert_non_null(resolver);
    assert_false(resolver_view(resolver, "name", 1, &view));
    answered = 0;
    broken = false;
    ask(&a, "name", 1);
    run_until_answered(1);
    resolver_configure(resolver, &settings); /* the same: nothing is looked up again */
    ask(&a, "name", 1);
    run_until_answered(2);
    assert_int_equal(1, atomic_load(&lookups));
    settings.timeout_ms++;
    broken = true;
    resolver_configure(resolver, &settings);
    ask(&a, "name", 1);
    run_until_answered(3);
    assert_int_equal(2, atomic_load(&lookups));
    assert_true(a.query.ok);
    assert_int_equal(2, a.query.count);
    assert_int_equal(1, counts().stale);
    assert_true(resolver_view(resolver, "Name", 1, &view));
    assert_true(view.stale);
    assert_int_equal(2, view.count);
    assert_int_equal(RESOLVE_OTHER, view.failed);
    wait_for(&told_stale, 1);
    broken = false;
    settings.timeout_ms++;
    resolver_configure(resolver, &settings);
    ask(&a, "name", 1);
    run_until_answered(4);
    wait_for(&told_recovered, 1);
    assert_true(resolver_view(resolver, "name", 1, &view));
    assert_false(view.stale);
    assert_int_equal(1, counts().stale);
    assert_int_equal(1, atomic_load(&told_stale));
}

/* A question with an old answer at hand does not wait long for a slow lookup. */
static void test_patience(void **state)
{
    (void)state;
    struct asker a = {0};
    struct resolver_settings settings = by_system;
    open_resolver(1);
    atomic_store(&gate_open, true);
    answered = 0;
    ask(&a, "gate", 1);
    run_until_answered(1);
    atomic_store(&gate_open, false);
    settings.tries++;
    resolver_configure(resolver, &settings);
    ask(&a, "gate", 1);
    run_until_answered(2); /* while the gate is shut */
    assert_true(a.query.ok);
    assert_int_equal(1, counts().stale);
    ask(&a, "gate", 1); /* and now at once */
    run_until_answered(3);
    assert_int_equal(2, counts().waited);
    assert_int_equal(2, atomic_load(&lookups));
}

/* ---- many at once ---- */

static void test_single_flight(void **state)
{
    (void)state;
    enum { ALL = 50 };
    struct asker askers[ALL] = {0};
    open_resolver(8);
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
}

static void test_slow_name_delays_no_other(void **state)
{
    (void)state;
    struct asker slow = {0}, other = {0};
    open_resolver(2);
    answered = 0;
    ask(&slow, "gate", 1);
    wait_for(&lookups, 1);
    for (unsigned i = 1; i <= 20; i++) { /* all of them while the gate is shut */
        char host[8];
        (void)snprintf(host, sizeof host, "name%u", i);
        ask(&other, host, 1);
        run_until_answered(i);
    }
    assert_int_equal(0, slow.answers);
    atomic_store(&gate_open, true);
    run_until_answered(21);
    assert_int_equal(1, slow.answers);
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
    open_resolver(2);
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
    open_resolver(2);
    answered = 0;
    ask(gone, "gate", 1);
    wait_for(&lookups, 1);
    cancel_and_free(gone);
    ask(&later, "gate", 1); /* joins the lookup that runs */
    atomic_store(&gate_open, true);
    run_until_answered(1);
    assert_int_equal(1, atomic_load(&lookups));
}

static void test_cancel_after_posted(void **state)
{
    (void)state;
    struct asker *gone = new_asker();
    struct asker kept = {0};
    open_resolver(1);
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
    open_resolver(1);
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
    open_resolver(1);
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
        char host[24]; /* mostly kept, at times not */
        (void)snprintf(host, sizeof host, "name%u", i % 16 == 0 ? 100 + i : i % 7);
        if (!resolve_ask(resolver, c->loop, query, host, 1)) {
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
    open_resolver(3);
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
    open_resolver(1);
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
    resolver = resolver_create(&by_system, NULL, NULL);
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
        TEST(test_names_are_bounded),
        TEST(test_error_to_all_and_believed),
        TEST(test_settings_changed),
        TEST(test_patience),
        TEST(test_single_flight),
        TEST(test_slow_name_delays_no_other),
        TEST(test_cancel_while_running),
        TEST(test_cancel_of_all_while_running),
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
