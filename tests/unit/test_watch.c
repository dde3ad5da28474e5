/* The watch: what it takes for a change, when it tells of one, and what it lets pass. The loop is
 * turned by hand, with an interval of a millisecond: a turn is a look. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "core/watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct world {
    char directory[64];
    struct loop *loop;
    struct watch watch;
    unsigned told;
    char path[256];
};

static void on_changed(void *context, const char *path)
{
    struct world *w = context;
    w->told++;
    snprintf(w->path, sizeof w->path, "%s", path);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct error err;
    error_init(&err);
    assert_non_null(w);
    strcpy(w->directory, "/tmp/esclusa-watch-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    w->loop = loop_create(&err);
    assert_non_null(w->loop);
    watch_init(&w->watch, w->loop, on_changed, w);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    char command[128];
    watch_fini(&w->watch);
    loop_destroy(&w->loop);
    snprintf(command, sizeof command, "rm -r %s", w->directory);
    int done = system(command); /* NOLINT: a directory of our own */
    free(w);
    return done;
}

/* A path in the world's directory; four at a time. */
static const char *at(const struct world *w, const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", w->directory, name);
    return path;
}

static void put(const struct world *w, const char *name, const char *text)
{
    FILE *file = fopen(at(w, name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Time stamps are as fine as the kernel's tick: what is written within one may look unwritten. */
static void next_tick(void)
{
    struct timespec a_while = {.tv_nsec = 15000000};
    nanosleep(&a_while, NULL);
}

static struct watch_list list_of(const struct world *w, const char *const names[])
{
    struct watch_list list = {.items = NULL};
    for (size_t i = 0; names[i] != NULL; i++)
        watch_list_add(&list, at(w, names[i]));
    return list;
}

static void watch(struct world *w, const char *const names[])
{
    struct watch_list list = list_of(w, names);
    assert_true(watch_look(&w->watch, &list));
    assert_true(watch_every(&w->watch, 1));
    next_tick();
}

/* Looks that many times; how often a change was told of. */
static unsigned looks(struct world *w, unsigned count)
{
    unsigned before = w->told;
    for (unsigned i = 0; i < count; i++) {
        struct timespec interval = {.tv_nsec = 2000000};
        nanosleep(&interval, NULL);
        loop_turn(w->loop, 0);
    }
    return w->told - before;
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void a_change_is_told_when_it_has_settled(void **state)
{
    struct world *w = *state;
    put(w, "a", "one");
    put(w, "b", "one");
    watch(w, NAMES("a", "b", "a"));
    assert_int_equal(w->watch.list.count, 2);
    assert_int_equal(looks(w, 5), 0);
    put(w, "b", "two");
    assert_int_equal(looks(w, 1), 0);
    assert_int_equal(looks(w, 1), 1);
    assert_string_equal(w->path, at(w, "b"));
    /* Until note is taken of it. */
    assert_int_equal(looks(w, 2), 2);
    struct watch_list list = list_of(w, NAMES("a", "b"));
    assert_true(watch_look(&w->watch, &list));
    assert_int_equal(looks(w, 5), 0);
}

static void one_that_does_not_settle_is_told_too(void **state)
{
    struct world *w = *state;
    put(w, "a", "0");
    watch(w, NAMES("a"));
    const char *const texts[] = {"01", "012", "0123"};
    for (unsigned i = 0; i < WATCH_POLLS_MAX; i++) {
        put(w, "a", texts[i]);
        assert_int_equal(looks(w, 1), i + 1 == WATCH_POLLS_MAX ? 1 : 0);
    }
}

static void what_is_as_it_was_again_is_no_change(void **state)
{
    struct world *w = *state;
    put(w, "a", "one");
    assert_int_equal(link(at(w, "a"), at(w, "kept")), 0);
    next_tick();
    put(w, "other", "two");
    assert_int_equal(symlink("kept", at(w, "l")), 0);
    watch(w, NAMES("l"));
    assert_int_equal(unlink(at(w, "l")), 0);
    assert_int_equal(symlink("other", at(w, "l")), 0);
    assert_int_equal(looks(w, 1), 0);
    assert_int_equal(unlink(at(w, "l")), 0);
    assert_int_equal(symlink("kept", at(w, "l")), 0);
    assert_int_equal(looks(w, 5), 0);
    assert_int_equal(w->watch.polls, 0); /* the next change starts anew */
}

/* Same size, same moment of the last write: it is another file all the same. */
static void every_way_to_replace_a_file_counts(void **state)
{
    struct world *w = *state;
    static const struct timespec same[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    put(w, "a", "one");
    put(w, "new", "two");
    assert_int_equal(utimensat(AT_FDCWD, at(w, "a"), same, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, at(w, "new"), same, 0), 0);
    watch(w, NAMES("a"));
    assert_int_equal(rename(at(w, "new"), at(w, "a")), 0);
    assert_int_equal(looks(w, 2), 1);

    watch(w, NAMES("a"));
    put(w, "a", "six"); /* in place */
    assert_int_equal(utimensat(AT_FDCWD, at(w, "a"), same, 0), 0);
    assert_int_equal(looks(w, 2), 1);

    watch(w, NAMES("a"));
    assert_int_equal(chmod(at(w, "a"), 0600), 0);
    assert_int_equal(looks(w, 2), 1);

    watch(w, NAMES("a"));
    assert_int_equal(unlink(at(w, "a")), 0);
    assert_int_equal(looks(w, 2), 1);

    watch(w, NAMES("a")); /* that it is not there is known now */
    assert_int_equal(looks(w, 5), 0);
    put(w, "a", "one");
    assert_int_equal(looks(w, 2), 1);
}

/* As kubelet does it: the entries are links through ..data, which is replaced by rename(2). */
static void a_turned_link_above_the_file_is_seen(void **state)
{
    struct world *w = *state;
    static const struct timespec same[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    for (int i = 1; i <= 2; i++) {
        char directory[16], file[32];
        snprintf(directory, sizeof directory, "..%d", i);
        snprintf(file, sizeof file, "..%d/crt", i);
        assert_int_equal(mkdir(at(w, directory), 0700), 0);
        put(w, file, i == 1 ? "one" : "two");
        assert_int_equal(utimensat(AT_FDCWD, at(w, file), same, 0), 0);
    }
    assert_int_equal(symlink("..1", at(w, "..data")), 0);
    assert_int_equal(symlink("..data/crt", at(w, "crt")), 0);
    assert_int_equal(symlink("..2", at(w, "..new")), 0);
    assert_int_equal(mkdir(at(w, "by-entry"), 0700), 0);
    assert_int_equal(symlink("../crt", at(w, "by-entry/crt")), 0);
    watch(w, NAMES("crt", "by-entry"));
    assert_int_equal(rename(at(w, "..new"), at(w, "..data")), 0);
    assert_int_equal(looks(w, 2), 1);

    /* Of a directory, what its entries lead to counts, though the directory has not changed. */
    watch(w, NAMES("by-entry"));
    assert_int_equal(symlink("..1", at(w, "..new")), 0);
    assert_int_equal(rename(at(w, "..new"), at(w, "..data")), 0);
    assert_int_equal(looks(w, 2), 1);
    assert_string_equal(w->path, at(w, "by-entry"));
}

static void entries_of_a_directory_count(void **state)
{
    struct world *w = *state;
    assert_int_equal(mkdir(at(w, "d"), 0700), 0);
    put(w, "d/a", "one");
    watch(w, NAMES("d"));
    assert_int_equal(looks(w, 5), 0);
    put(w, "d/a", "two");
    assert_int_equal(looks(w, 2), 1);
    watch(w, NAMES("d"));
    put(w, "d/b", "two");
    assert_int_equal(looks(w, 2), 1);
    watch(w, NAMES("d"));
    assert_int_equal(rename(at(w, "d/a"), at(w, "d/c")), 0);
    assert_int_equal(looks(w, 2), 1);
    /* Not what is beside it. */
    watch(w, NAMES("d"));
    put(w, "e", "one");
    assert_int_equal(looks(w, 5), 0);
}

static void out_of_descriptors_is_no_change(void **state)
{
    struct world *w = *state;
    assert_int_equal(mkdir(at(w, "d"), 0700), 0);
    put(w, "d/a", "one");
    watch(w, NAMES("d"));
    struct rlimit limit, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = 3; /* less than are open: no more can be */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    DIR *none = opendir(w->directory);
    unsigned told = looks(w, 5);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_null(none);
    assert_int_equal(told, 0);
    put(w, "d/a", "two");
    assert_int_equal(looks(w, 2), 1);
}

static void a_change_during_the_load_is_seen(void **state)
{
    struct world *w = *state;
    put(w, "a", "one");
    put(w, "b", "one");
    put(w, "gone", "one");
    watch(w, NAMES("a", "gone"));
    put(w, "a", "two"); /* while the files are read */
    struct watch_list list = list_of(w, NAMES("a"));
    assert_true(watch_keep(&w->watch, &list));
    assert_int_equal(w->watch.list.count, 1);
    assert_int_equal(looks(w, 2), 1);
    assert_string_equal(w->path, at(w, "a"));

    watch(w, NAMES("a"));
    list = list_of(w, NAMES("b", "a")); /* b: nobody knows what it was when it was read */
    assert_true(watch_keep(&w->watch, &list));
    assert_int_equal(looks(w, 2), 1);
    assert_string_equal(w->path, at(w, "b"));

    /* What is not named any more is not looked at. */
    watch(w, NAMES("a", "gone"));
    list = list_of(w, NAMES("a"));
    assert_true(watch_keep(&w->watch, &list));
    assert_int_equal(unlink(at(w, "gone")), 0);
    assert_int_equal(looks(w, 5), 0);
}

static void files_read_before_the_watch_began_are_suspected(void **state)
{
    struct world *w = *state;
    struct timespec since;
    put(w, "a", "one"); /* just before the program began */
    clock_gettime(CLOCK_REALTIME, &since);
    next_tick();
    watch(w, NAMES("a"));
    watch_suspect(&w->watch, &since);
    assert_int_equal(looks(w, 5), 0);
    put(w, "a", "two");
    watch(w, NAMES("a"));
    watch_suspect(&w->watch, &since);
    assert_int_equal(looks(w, 2), 1);
}

static void off_is_off(void **state)
{
    struct world *w = *state;
    put(w, "a", "one");
    watch(w, NAMES("a"));
    watch_stop(&w->watch);
    put(w, "a", "two");
    assert_int_equal(looks(w, 5), 0);
    assert_true(watch_every(&w->watch, 1));
    assert_int_equal(looks(w, 2), 1);
}

/* A list that memory ran out for: what was watched stays watched. */
static void half_a_list_is_not_taken(void **state)
{
    struct world *w = *state;
    put(w, "a", "one");
    watch(w, NAMES("a"));
    struct watch_list list = list_of(w, NAMES("b"));
    list.no_memory = true;
    assert_false(watch_look(&w->watch, &list));
    list = list_of(w, NAMES("b"));
    list.no_memory = true;
    assert_false(watch_keep(&w->watch, &list));
    assert_int_equal(looks(w, 3), 0);
    put(w, "a", "two");
    assert_int_equal(looks(w, 2), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_change_is_told_when_it_has_settled),
        TEST(one_that_does_not_settle_is_told_too),
        TEST(what_is_as_it_was_again_is_no_change),
        TEST(every_way_to_replace_a_file_counts),
        TEST(a_turned_link_above_the_file_is_seen),
        TEST(entries_of_a_directory_count),
        TEST(out_of_descriptors_is_no_change),
        TEST(a_change_during_the_load_is_seen),
        TEST(files_read_before_the_watch_began_are_suspected),
        TEST(off_is_off),
        TEST(half_a_list_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
