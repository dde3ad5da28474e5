/* The ring of failures: the newest are kept, writers never wait, and no note is torn. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "core/failures.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void fill(struct failure_note *n, const void *what)
{
    n->id = *(const uint64_t *)what;
    assert_int_equal(n->error[0], '\0'); /* nothing of the one before */
    memset(n->error, 'a' + (int)(n->id % 26), sizeof n->error - 1);
    memset(n->chain, 'a' + (int)(n->id % 26), sizeof n->chain - 1);
}

static struct failure_note *room(void)
{
    struct failure_note *notes = calloc(FAILURES_KEPT, sizeof *notes);
    assert_non_null(notes);
    return notes;
}

static void the_newest_are_kept(void **state)
{
    (void)state;
    struct failures *f = failures_create();
    struct failure_note *notes = room();
    assert_non_null(f);
    assert_int_equal(failures_list(f, notes), 0);
    for (uint64_t id = 1; id <= 2 * FAILURES_KEPT + 10; id++) {
        failures_add(f, fill, &id);
        size_t count = failures_list(f, notes);
        assert_int_equal(count, id < FAILURES_KEPT ? id : FAILURES_KEPT);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(notes[i].id, id - i);
    }
    assert_int_equal(failures_total(f), 2 * FAILURES_KEPT + 10);
    assert_int_equal(failures_dropped(f), 0);
    free(notes);
    failures_destroy(&f);
    assert_null(f);
}

static void none_is_fine(void **state)
{
    (void)state;
    uint64_t id = 1;
    failures_add(NULL, fill, &id);
    assert_int_equal(failures_list(NULL, NULL), 0);
    assert_int_equal(failures_total(NULL), 0);
    assert_int_equal(failures_dropped(NULL), 0);
}

#define WRITERS 3
#define EACH    20000

static void *write_many(void *context)
{
    for (uint64_t id = 1; id <= EACH; id++)
        failures_add(context, fill, &id);
    return NULL;
}

static void no_note_is_torn(void **state)
{
    (void)state;
    struct failures *f = failures_create();
    struct failure_note *notes = room();
    pthread_t writers[WRITERS];
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, write_many, f), 0);
    for (int round = 0; round < 300; round++) {
        size_t count = failures_list(f, notes);
        for (size_t i = 0; i < count; i++) {
            const struct failure_note *n = &notes[i];
            char wanted = (char)('a' + (int)(n->id % 26));
            for (size_t k = 0; k < sizeof n->error - 1; k++)
                assert_true(n->error[k] == wanted && n->chain[k] == wanted);
            assert_true(i == 0 || notes[i - 1].sequence > n->sequence);
        }
    }
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    assert_int_equal(failures_total(f), WRITERS * EACH);
    free(notes);
    failures_destroy(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_are_kept),
        cmocka_unit_test(none_is_fine),
        cmocka_unit_test(no_note_is_torn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
