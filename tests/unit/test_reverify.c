/* The walk over live sessions after a reload: in turns, while sessions come and go. What it finds
 * is told by tests/e2e/test_revoked.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/session.h"

#include <esclusa/log.h>
#include <stdlib.h>
#include <string.h>

#define SESSIONS 200

static struct worker_group group;
static struct worker worker;
static struct snapshot before, now;

static int setup(void **state)
{
    (void)state;
    struct error err;
    error_init(&err);
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, 2);
    memset(&group, 0, sizeof group);
    worker = (struct worker){.group = &group};
    worker.loop = loop_create(&err);
    assert_non_null(worker.loop);
    reverify_init(&worker.reverify, &worker);
    before = (struct snapshot){.references = 1000};
    now = (struct snapshot){.references = 1000};
    for (int i = 0; i < SESSIONS; i++) {
        struct session *s = calloc(1, sizeof *s);
        assert_non_null(s);
        s->worker = &worker;
        s->snapshot = &before;
        s->state = SESSION_RELAY;
        worker_adopt(&worker, s);
    }
    return 0;
}

static void end(struct session *s)
{
    worker_release(&worker, s);
    memset(s, 0xff, sizeof *s); /* whoever still looks at it does not go unnoticed */
    free(s);
}

static int teardown(void **state)
{
    (void)state;
    while (worker.sessions != NULL)
        end(worker.sessions);
    reverify_fini(&worker.reverify);
    timer_clear(worker.loop, &worker.trim);
    loop_destroy(&worker.loop);
    assert_int_equal(atomic_load(&before.references), 1000);
    assert_int_equal(atomic_load(&now.references), 1000);
    return 0;
}

static bool walking(void)
{
    return worker.reverify.next != NULL;
}

static void goes_in_turns(void **state)
{
    (void)state;
    int turns = 0;
    reverify_begin(&worker.reverify, &before, &now);
    while (walking()) {
        loop_turn(worker.loop, 0);
        turns++;
        assert_true(turns < SESSIONS);
    }
    assert_true(turns >= 3);
    assert_null(worker.reverify.tls);
}

static void sessions_end_meanwhile(void **state)
{
    (void)state;
    reverify_begin(&worker.reverify, &before, &now);
    for (int turns = 0; walking(); turns++) {
        end(worker.reverify.next); /* the next one */
        end(worker.sessions);      /* one that it has seen */
        loop_turn(worker.loop, 0);
        assert_true(turns < SESSIONS);
    }
}

static void begins_anew_with_another_reload(void **state)
{
    (void)state;
    struct snapshot third = {.references = 1000};
    reverify_begin(&worker.reverify, &before, &now);
    assert_true(walking());
    assert_ptr_not_equal(worker.reverify.next, worker.sessions);
    reverify_begin(&worker.reverify, &now, &third);
    assert_ptr_equal(worker.reverify.now, &third);
    assert_int_equal(atomic_load(&now.references), 1000);
    while (walking())
        loop_turn(worker.loop, 0);
    reverify_begin(&worker.reverify, &third, &before); /* the last reference is not ours */
    assert_int_equal(atomic_load(&third.references), 1000);
}

static void nothing_changed(void **state)
{
    (void)state;
    reverify_begin(&worker.reverify, &now, &now);
    assert_false(walking());
    assert_true(reverify_late(worker.sessions));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(goes_in_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(sessions_end_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(begins_anew_with_another_reload, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_changed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
