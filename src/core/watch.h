/* watch: tells when a file that the configuration was made from has changed, by looking at all of
 * them every few seconds. Private to core; main thread, beside its loop.
 *
 * A path is what stat(2) says of it, links followed: device, inode, size, times, or why it cannot
 * be had. Of a directory it is also that of each entry. So a change of the content is seen, and so
 * is another file behind the same name, as when Kubernetes turns a volume's `..data` link. No file
 * is opened. A path on a network file system that hangs holds up the main thread (reloads and
 * signals), not the workers. */
#ifndef ESCLUSA_CORE_WATCH_H
#define ESCLUSA_CORE_WATCH_H

#include <esclusa/event.h>

#include <time.h>

#define WATCH_ENTRIES_MAX                                                                          \
    4096                  /* of a directory that are looked at; its own times tell the rest        \
                           */
#define WATCH_POLLS_MAX 3 /* a change that does not settle is told after so many */

struct watched {
    char *path;
    uint64_t known, seen; /* what it was when last read, and at the last look; 0: not known */
};

struct watch_list {
    struct watched *items; /* sorted, each path once, when the watch has it */
    size_t count, capacity;
    bool no_memory;
};

struct watch {
    struct loop *loop;
    struct timer timer;
    int64_t interval_ms; /* 0: off */
    unsigned polls;      /* in a row that found a change */
    struct watch_list list;
    void (*changed)(void *context, const char *path);
    void *context;
};

/* changed: on the loop; path: the first that differs. A change is told when the files were the same
 * at two looks, or after WATCH_POLLS_MAX, and again until watch_look() takes note of it. */
void watch_init(struct watch *w, struct loop *loop,
                void (*changed)(void *context, const char *path), void *context);
void watch_fini(struct watch *w);
/* False: no memory for the timer, and it is off. */
bool watch_every(struct watch *w, int64_t interval_ms) WARN_UNUSED;
void watch_stop(struct watch *w);

/* A list starts zeroed; this is config_paths()'s callback. */
void watch_list_add(void *list, const char *path);
/* Both take the list over. False: no memory, and the paths are as they were. */
/* Before files are read: these paths are looked at from now on, and what they are now is known. */
bool watch_look(struct watch *w, struct watch_list *list) WARN_UNUSED;
/* After they were read: of the paths only these are to be watched. One that watch_look() was not
 * told of counts as changed: nobody knows what it was before it was read. */
bool watch_keep(struct watch *w, struct watch_list *list) WARN_UNUSED;
/* Of files that were read before watch_look(): those that have changed since (CLOCK_REALTIME) count
 * as changed. File systems write times as coarse as a tick, never ahead of that clock: a file
 * written just before is not suspected, one changed within the tick after may go unnoticed. */
void watch_suspect(struct watch *w, const struct timespec *since);

#endif
