/* A page of live sessions: the newest first, over several turns of the loop, and what happens when
 * a session leaves where the walk has stopped. The loop is turned by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "core/session.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SESSIONS ((size_t)3 * LISTING_TURN)

struct world {
    struct worker_group group;
    struct worker worker;
    struct listing listing;
    struct snapshot snapshot;
    struct session *sessions; /* index: id - 1 */
    /* of the asking thread */
    pthread_t thread;
    uint64_t below;
    size_t limit, count;
    struct listed *items;
    enum listing_status status;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct error err;
    error_init(&err);
    assert_non_null(w);
    w->sessions = calloc(SESSIONS, sizeof *w->sessions);
    assert_non_null(w->sessions);
    w->worker.loop = loop_create(&err);
    assert_non_null(w->worker.loop);
    w->worker.group = &w->group;
    w->group.workers = &w->worker;
    w->group.count = 1;
    atomic_init(&w->snapshot.references, 1000);
    listing_part_init(&w->worker.listing, &w->worker);
    listing_init(&w->listing, &w->group);
    for (size_t i = 0; i < SESSIONS; i++) {
        struct session *s = &w->sessions[i];
        s->id = i + 1;
        s->worker = &w->worker;
        s->snapshot = &w->snapshot;
        s->next = w->worker.sessions;
        if (s->next != NULL)
            s->next->previous = s;
        w->worker.sessions = s;
    }
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    listing_fini(&w->listing);
    loop_destroy(&w->worker.loop);
    assert_int_equal(atomic_load(&w->snapshot.references), 1000); /* none is kept */
    free(w->sessions);
    free(w);
    return 0;
}

static void leave(struct world *w, struct session *s)
{
    if (s->previous != NULL)
        s->previous->next = s->next;
    else
        w->worker.sessions = s->next;
    if (s->next != NULL)
        s->next->previous = s->previous;
    listing_forget(&w->worker.listing, s);
    memset(s, 0xff, sizeof *s); /* as if freed: who touches it now falls */
}

static void *take(void *context)
{
    struct world *w = context;
    w->status = listing_take(&w->listing, 1, w->below, w->limit, &w->items, &w->count);
    return NULL;
}

static void begin(struct world *w, uint64_t below, size_t limit)
{
    w->below = below;
    w->limit = limit;
    assert_int_equal(pthread_create(&w->thread, NULL, take, w), 0);
}

static void end(struct world *w)
{
    for (int i = 0; i < 100 && (w->worker.listing.walking || i < 5); i++)
        loop_turn(w->worker.loop, 1);
    pthread_join(w->thread, NULL);
}

static void the_newest_first(void **state)
{
    struct world *w = *state;
    begin(w, INT64_MAX, 10);
    loop_turn(w->worker.loop, 1000);
    end(w);
    assert_int_equal(w->status, LISTING_OK);
    assert_int_equal(w->count, 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(w->items[i].id, SESSIONS - i);
    listing_free(w->items, w->count);
    /* The page behind it, and the last one. */
    begin(w, SESSIONS - 9, 10);
    loop_turn(w->worker.loop, 1000);
    end(w);
    assert_int_equal(w->items[0].id, SESSIONS - 10);
    listing_free(w->items, w->count);
    begin(w, 4, 10);
    loop_turn(w->worker.loop, 1000);
    assert_true(w->worker.listing.walking); /* far down the list: not in one turn */
    end(w);
    assert_int_equal(w->count, 3);
    assert_int_equal(w->items[0].id, 3);
    listing_free(w->items, w->count);
}

static void one_leaves_where_the_walk_has_stopped(void **state)
{
    struct world *w = *state;
    begin(w, INT64_MAX, SESSIONS);
    loop_turn(w->worker.loop, 1000);
    assert_true(w->worker.listing.walking);
    uint64_t at = w->worker.listing.next->id;
    leave(w, &w->sessions[at - 1]);
    leave(w, &w->sessions[at - 2]); /* and the one after it */
    leave(w, &w->sessions[at]);     /* and one that was copied already */
    end(w);
    assert_int_equal(w->status, LISTING_OK);
    assert_int_equal(w->count, SESSIONS - 2);
    for (size_t i = 0; i < w->count; i++)
        assert_true(w->items[i].id != at && w->items[i].id != at - 1);
    listing_free(w->items, w->count);
}

static void all_leave(void **state)
{
    struct world *w = *state;
    begin(w, INT64_MAX, SESSIONS);
    loop_turn(w->worker.loop, 1000);
    while (w->worker.sessions != NULL)
        leave(w, w->worker.sessions);
    end(w);
    assert_int_equal(w->status, LISTING_OK);
    assert_int_equal(w->count, LISTING_TURN);
    listing_free(w->items, w->count);
}

static void a_worker_that_is_late(void **state)
{
    struct world *w = *state;
    begin(w, INT64_MAX, 5);
    pthread_join(w->thread, NULL); /* nobody turned the loop */
    assert_int_equal(w->status, LISTING_LATE);
    begin(w, INT64_MAX, 5);
    pthread_join(w->thread, NULL); /* it has not answered the first yet */
    assert_int_equal(w->status, LISTING_LATE);
    loop_turn(w->worker.loop, 1000); /* now it does, to nobody */
    begin(w, INT64_MAX, 5);
    loop_turn(w->worker.loop, 1000);
    end(w);
    assert_int_equal(w->status, LISTING_OK);
    assert_int_equal(w->count, 5);
    listing_free(w->items, w->count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_newest_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_leaves_where_the_walk_has_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_leave, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_worker_that_is_late, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
