/* facts: what the main thread tells other threads of itself: the snapshot in service, and how the
 * last reload went. Behind a mutex that the main thread and the admin's take, never a worker.
 * Private to core. */
#ifndef ESCLUSA_CORE_FACTS_H
#define ESCLUSA_CORE_FACTS_H

#include <esclusa/config.h>

#include <pthread.h>

struct reload_facts {
    uint64_t generation; /* of the configuration in service; 1: that of the start */
    int64_t loaded_us;   /* since when; all times are those of clock_wall_us() */
    bool ok;             /* the last reload; true when there was none */
    int64_t ended_us;    /* 0: there was none */
    uint64_t failures;   /* reloads that failed */
    char why[512], error[ERROR_TEXT_MAX]; /* of the last; "" none */
};

struct facts {
    pthread_mutex_t mutex;
    struct snapshot *snapshot; /* a reference */
    struct reload_facts reload;
    int64_t started_us, started_mono_us; /* clock_wall_us(), clock_us(); constant */
};

/* Main thread. */
void facts_init(struct facts *f, struct snapshot *snapshot);
void facts_fini(struct facts *f);
void facts_reloaded(struct facts *f, struct snapshot *snapshot, const char *why);
void facts_reload_failed(struct facts *f, const char *why, const char *error);

/* Any thread. The snapshot is a reference of the caller's. */
struct snapshot *facts_snapshot(struct facts *f);
void facts_reload(struct facts *f, struct reload_facts *copy_r);

#endif
