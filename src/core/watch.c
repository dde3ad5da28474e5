/* Watching by looking: no inotify(7), which sees neither network file systems nor, without a watch
 * on every directory on the way, that a symbolic link above the file was turned. */
#include "watch.h"

#include <esclusa/str.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- what a path is ---- */

#define HASH_BEGIN UINT64_C(0xcbf29ce484222325) /* FNV-1a */
#define HASH_PRIME UINT64_C(0x100000001b3)

static uint64_t hash(uint64_t h, const void *bytes, size_t length)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < length; i++)
        h = (h ^ p[i]) * HASH_PRIME;
    return h;
}

static uint64_t hash_number(uint64_t h, uint64_t number)
{
    return hash(h, &number, sizeof number);
}

static bool later(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

/* *newest: the last change of what was looked at so far. */
static uint64_t hash_stat(const struct stat *s, struct timespec *newest)
{
    uint64_t h = HASH_BEGIN;
    h = hash_number(h, s->st_dev);
    h = hash_number(h, s->st_ino);
    h = hash_number(h, (uint64_t)s->st_size);
    h = hash_number(h, (uint64_t)s->st_mtim.tv_sec);
    h = hash_number(h, (uint64_t)s->st_mtim.tv_nsec);
    h = hash_number(h, (uint64_t)s->st_ctim.tv_sec);
    h = hash_number(h, (uint64_t)s->st_ctim.tv_nsec);
    if (later(&s->st_ctim, newest))
        *newest = s->st_ctim;
    return h;
}

static uint64_t hash_failure(int why)
{
    return hash_number(HASH_BEGIN, (uint64_t)why);
}

/* A sum, so that the order in which readdir(3) gives them does not matter. */
static uint64_t hash_entries(DIR *dir, struct timespec *newest)
{
    uint64_t sum = 0;
    const struct dirent *entry;
    for (unsigned i = 0; i < WATCH_ENTRIES_MAX && (entry = readdir(dir)) != NULL; i++) {
        struct stat s;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue; /* what is above changes with things that do not concern us */
        uint64_t h = fstatat(dirfd(dir), entry->d_name, &s, 0) == 0 ? hash_stat(&s, newest)
                                                                    : hash_failure(errno);
        sum += hash(h, entry->d_name, strlen(entry->d_name));
    }
    return sum;
}

/* That a path cannot be had is something to know of it; that we cannot look just now is not. */
static uint64_t hash_absence(int why)
{
    return why == EMFILE || why == ENFILE || why == ENOMEM ? 0 : hash_failure(why) | 1;
}

/* 0: not known. */
static uint64_t identity(const char *path, struct timespec *newest)
{
    struct stat s;
    if (stat(path, &s) != 0)
        return hash_absence(errno);
    uint64_t h = hash_stat(&s, newest);
    if (!S_ISDIR(s.st_mode))
        return h | 1;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return hash_absence(errno);
    h = hash_number(h, hash_entries(dir, newest));
    closedir(dir);
    return h | 1;
}

/* ---- lists ---- */

void watch_list_add(void *context, const char *path)
{
    struct watch_list *list = context;
    if (list->no_memory)
        return;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        struct watched *items = realloc(list->items, capacity * sizeof *items);
        if (items == NULL) {
            list->no_memory = true;
            return;
        }
        list->items = items;
        list->capacity = capacity;
    }
    char *copy = str_dup(path);
    if (copy == NULL)
        list->no_memory = true;
    else
        list->items[list->count++] = (struct watched){.path = copy};
}

static void list_fini(struct watch_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].path);
    free(list->items);
    *list = (struct watch_list){.items = NULL};
}

static int by_path(const void *a, const void *b)
{
    const struct watched *left = a, *right = b;
    return strcmp(left->path, right->path);
}

/* Sorted, each path once. */
static void settle(struct watch_list *list)
{
    size_t kept = 0;
    if (list->count > 0)
        qsort(list->items, list->count, sizeof list->items[0], by_path);
    for (size_t i = 0; i < list->count; i++) {
        if (kept > 0 && strcmp(list->items[kept - 1].path, list->items[i].path) == 0)
            free(list->items[i].path);
        else
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

static void look(struct watch_list *list)
{
    struct timespec unused = {0};
    for (size_t i = 0; i < list->count; i++)
        list->items[i].known = list->items[i].seen = identity(list->items[i].path, &unused);
}

bool watch_look(struct watch *w, struct watch_list *list)
{
    bool whole = !list->no_memory;
    w->polls = 0;
    if (whole) {
        settle(list);
        list_fini(&w->list);
        w->list = *list;
    } else {
        list_fini(list);
    }
    look(&w->list);
    return whole;
}

bool watch_keep(struct watch *w, struct watch_list *list)
{
    if (list->no_memory) {
        list_fini(list);
        return false;
    }
    settle(list);
    for (size_t i = 0; i < list->count; i++) {
        const struct watched *old = w->list.count == 0
                                        ? NULL
                                        : bsearch(&list->items[i], w->list.items, w->list.count,
                                                  sizeof w->list.items[0], by_path);
        if (old != NULL) {
            list->items[i].known = old->known;
            list->items[i].seen = old->seen;
        }
    }
    list_fini(&w->list);
    w->list = *list;
    return true;
}

void watch_suspect(struct watch *w, const struct timespec *since)
{
    for (size_t i = 0; i < w->list.count; i++) {
        struct timespec newest = {0};
        (void)identity(w->list.items[i].path, &newest);
        if (later(&newest, since))
            w->list.items[i].known = 0;
    }
}

/* ---- looking ---- */

static void poll_files(void *context)
{
    struct watch *w = context;
    const char *first = NULL;
    bool settled = true;
    for (size_t i = 0; i < w->list.count; i++) {
        struct watched *f = &w->list.items[i];
        struct timespec unused = {0};
        uint64_t now = identity(f->path, &unused);
        if (now == 0)
            now = f->seen;
        if (now != f->known && first == NULL)
            first = f->path;
        settled = settled && now == f->seen;
        f->seen = now;
    }
    if (!watch_every(w, w->interval_ms))
        return; /* what is left of the memory is needed elsewhere */
    if (first == NULL) {
        w->polls = 0; /* or what it was before */
        return;
    }
    w->polls++;
    if ((w->polls >= 2 && settled) || w->polls >= WATCH_POLLS_MAX)
        w->changed(w->context, first);
}

void watch_init(struct watch *w, struct loop *loop,
                void (*changed)(void *context, const char *path), void *context)
{
    *w = (struct watch){.loop = loop, .changed = changed, .context = context};
    timer_init(&w->timer, poll_files, w);
}

bool watch_every(struct watch *w, int64_t interval_ms)
{
    bool set = timer_set(w->loop, &w->timer, loop_now(w->loop) + interval_ms);
    w->interval_ms = set ? interval_ms : 0;
    return set;
}

void watch_stop(struct watch *w)
{
    timer_clear(w->loop, &w->timer);
    w->interval_ms = 0;
}

void watch_fini(struct watch *w)
{
    if (w->loop != NULL)
        watch_stop(w);
    list_fini(&w->list);
}
