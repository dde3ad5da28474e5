#include "facts.h"

#include <esclusa/clock.h>
#include <esclusa/str.h>

#include <string.h>

void facts_init(struct facts *f, struct snapshot *snapshot)
{
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->mutex, NULL);
    f->snapshot = snapshot_ref(snapshot);
    f->started_us = clock_wall_us();
    f->started_mono_us = clock_us();
    f->reload.generation = 1;
    f->reload.loaded_us = f->started_us;
    f->reload.ok = true;
}

void facts_fini(struct facts *f)
{
    snapshot_unref(&f->snapshot);
    pthread_mutex_destroy(&f->mutex);
}

/* With the mutex held. */
static void ended(struct reload_facts *r, bool ok, const char *why, const char *error)
{
    r->ok = ok;
    r->ended_us = clock_wall_us();
    (void)str_copy(r->why, sizeof r->why, why);
    (void)str_copy(r->error, sizeof r->error, error);
}

void facts_reloaded(struct facts *f, struct snapshot *snapshot, const char *why)
{
    pthread_mutex_lock(&f->mutex);
    struct snapshot *before = f->snapshot;
    f->snapshot = snapshot_ref(snapshot);
    ended(&f->reload, true, why, "");
    f->reload.generation++;
    f->reload.loaded_us = f->reload.ended_us;
    pthread_mutex_unlock(&f->mutex);
    snapshot_unref(&before);
}

void facts_reload_failed(struct facts *f, const char *why, const char *error)
{
    pthread_mutex_lock(&f->mutex);
    ended(&f->reload, false, why, error);
    f->reload.failures++;
    pthread_mutex_unlock(&f->mutex);
}

struct snapshot *facts_snapshot(struct facts *f)
{
    pthread_mutex_lock(&f->mutex);
    struct snapshot *s = snapshot_ref(f->snapshot);
    pthread_mutex_unlock(&f->mutex);
    return s;
}

void facts_reload(struct facts *f, struct reload_facts *copy_r)
{
    pthread_mutex_lock(&f->mutex);
    *copy_r = f->reload;
    pthread_mutex_unlock(&f->mutex);
}
