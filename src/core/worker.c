/* A worker's thread, its list of sessions, and how it ends. */
#include "heartbeat.h"
#include "session.h"

#include <esclusa/clock.h>
#include <esclusa/log.h>

#include <malloc.h>
#include <stdlib.h>

#define TRIM_PEAK_MIN    64
#define TRIM_AFTER_MS    1000
#define GIVE_UP_AFTER_MS 1000 /* what still lingers that long after the deadline is cut */

/* What a burst of sessions took goes back to the kernel once most of them are gone, or once they
 * rest: their handshakes took three times of what they hold, and malloc(3) keeps what is freed in
 * between and below the top of its heap until it is told, mallopt(3). Not at once, for the next
 * burst may be on its way, and it takes milliseconds. */
static void trim(void *context)
{
    struct worker *w = context;
    w->settled = w->count <= w->peak / 4 ? w->count : w->peak;
    w->peak = w->count;
    malloc_trim(0);
}

static void trim_after_burst(struct worker *w)
{
    bool gone = w->peak >= TRIM_PEAK_MIN && w->count <= w->peak / 4;
    bool come = w->count >= w->settled + TRIM_PEAK_MIN;
    if ((!gone && !come) || timer_is_set(&w->trim))
        return;
    if (!timer_set(w->loop, &w->trim, loop_now(w->loop) + TRIM_AFTER_MS))
        w->peak = w->settled = w->count; /* no memory for a timer: another time */
}

void worker_adopt(struct worker *w, struct session *s)
{
    s->next = w->sessions;
    s->previous = NULL;
    if (w->sessions != NULL)
        w->sessions->previous = s;
    w->sessions = s;
    if (++w->count > w->peak)
        w->peak = w->count;
    trim_after_burst(w);
}

static void stop_if_over(struct worker *w)
{
    /* load counts what was handed over and has not begun here yet, too */
    if (w->may_stop && atomic_load(&w->load) == 0)
        loop_stop(w->loop);
}

void worker_lost(struct worker *w)
{
    atomic_fetch_sub(&w->load, 1);
    atomic_fetch_sub(&w->group->sessions, 1);
    atomic_fetch_sub(&w->group->connections, 1);
    stop_if_over(w);
}

void worker_handshake_over(struct worker_group *group, struct gate *gate)
{
    atomic_fetch_sub(&group->handshakes, 1);
    if (gate != NULL)
        gate_handshake_over(gate);
}

void worker_release(struct worker *w, struct session *s)
{
    if (s->previous != NULL)
        s->previous->next = s->next;
    else
        w->sessions = s->next;
    if (s->next != NULL)
        s->next->previous = s->previous;
    w->count--;
    reverify_forget(&w->reverify, s);
    listing_forget(&w->listing, s);
    trim_after_burst(w);
    worker_lost(w);
}

/* ---- drain ---- */

static void for_each(struct worker *w, void (*what)(struct session *s))
{
    struct session *next;
    for (struct session *s = w->sessions; s != NULL; s = next) {
        next = s->next; /* what() may release s, never another */
        what(s);
    }
}

static void drain_give_up(void *context)
{
    for_each(context, session_kill);
}

static void drain_end(void *context)
{
    struct worker *w = context;
    for_each(w, session_drain_close);
    if (!timer_set(w->loop, &w->drain_give_up, loop_now(w->loop) + GIVE_UP_AFTER_MS))
        drain_give_up(w);
}

static void leave_listeners(struct worker *w)
{
    if (w->draining)
        return;
    w->draining = true;
    acceptors_leave(w);
    w->group->on_deaf(w->group);
}

static void drain_for(struct worker *w, int64_t timeout_ms)
{
    leave_listeners(w);
    warm_stop(&w->warm);
    probe_stop(&w->probe);
    if (!timer_set(w->loop, &w->drain_end, loop_now(w->loop) + timeout_ms))
        drain_end(w);
}

static void drain(struct loop_message *message)
{
    struct worker *w = LOOP_OWNER(message, struct worker, drain_message);
    drain_for(w, w->drain_timeout_ms);
}

static void hurry(struct loop_message *message)
{
    struct worker *w = LOOP_OWNER(message, struct worker, hurry_message);
    drain_for(w, w->hurry_timeout_ms);
}

static void finish(struct loop_message *message)
{
    struct worker *w = LOOP_OWNER(message, struct worker, finish_message);
    w->may_stop = true;
    stop_if_over(w);
}

static void kill_now(struct loop_message *message)
{
    struct worker *w = LOOP_OWNER(message, struct worker, kill_message);
    leave_listeners(w);
    warm_stop(&w->warm);
    probe_stop(&w->probe);
    w->killed = true;
    for_each(w, session_kill);
    stop_if_over(w);
}

void worker_check_killed(struct worker *w)
{
    if (w->killed)
        for_each(w, session_kill);
}

void worker_post_drain(struct worker *w, int64_t drain_timeout_ms)
{
    /* A message, and its argument, may still be on their way: each has its own, posted once. */
    if (!w->drain_posted) {
        w->drain_posted = true;
        w->drain_timeout_ms = drain_timeout_ms;
        loop_post(w->loop, &w->drain_message);
    } else if (!w->hurry_posted) {
        w->hurry_posted = true;
        w->hurry_timeout_ms = drain_timeout_ms;
        loop_post(w->loop, &w->hurry_message);
    }
}

void worker_post_finish(struct worker *w)
{
    if (!w->finish_posted)
        loop_post(w->loop, &w->finish_message);
    w->finish_posted = true;
}

void worker_post_kill(struct worker *w)
{
    if (!w->kill_posted)
        loop_post(w->loop, &w->kill_message);
    w->kill_posted = true;
}

/* ---- another configuration ---- */

static void move(struct loop_message *message)
{
    struct worker *w = LOOP_OWNER(message, struct worker, move_message);
    struct error err;
    error_init(&err);
    struct listen_set *before = w->draining ? NULL : listen_set_ref(w->set);
    if (!w->draining && !acceptors_move(w, w->move_to, &err))
        log_message(LOG_LEVEL_ERROR, "listen_failed", "worker %u: %s", w->index, err.text);
    if (before != NULL) {
        reverify_begin(&w->reverify, before->snapshot, w->set->snapshot);
        if (!warm_move(&w->warm, w->set->snapshot))
            log_message(LOG_LEVEL_ERROR, "warm_off", "worker %u: no memory", w->index);
        if (!probe_move(&w->probe, w->set->snapshot))
            log_message(LOG_LEVEL_ERROR, "checks_off", "worker %u: no memory", w->index);
    }
    listen_set_unref(&before);
    listen_set_unref(&w->move_to);
    w->group->on_moved(w->group);
}

void worker_post_move(struct worker *w, struct listen_set *set)
{
    w->move_to = listen_set_ref(set);
    loop_post(w->loop, &w->move_message);
}

/* Connections kept ready may take what is theirs, and not one descriptor of a session's. */
#define WARM_PART 8

void worker_group_limits(struct worker_group *group, const struct snapshot *snapshot)
{
    unsigned warm = warm_wanted(snapshot);
    if (warm > group->descriptors / WARM_PART)
        warm = group->descriptors / WARM_PART;
    unsigned sessions = (group->descriptors - warm) / 2;
    const int64_t most = snapshot->config.max_connections;
    if (sessions == 0)
        sessions = 1;
    atomic_store(&group->max_warm, warm);
    atomic_store(&group->max_by_descriptors, sessions);
    atomic_store(&group->max_sessions, most > 0 && most < sessions ? (unsigned)most : sessions);
    atomic_store(&group->max_handshakes, (unsigned)snapshot->config.max_handshakes);
}

bool worker_group_fits(const struct worker_group *group)
{
    return 2 * (uint64_t)atomic_load(&group->sessions) + atomic_load(&group->warm) +
               atomic_load(&group->lanes) <=
           group->descriptors;
}

/* ---- life ---- */

bool worker_init(struct worker *w, struct worker_group *group, unsigned index,
                 struct listen_set *set, struct error *err)
{
    *w = (struct worker){.group = group, .index = index, .random = (uint64_t)clock_us() + index};
    w->move_message.callback = move;
    w->drain_message.callback = drain;
    w->hurry_message.callback = hurry;
    w->finish_message.callback = finish;
    w->kill_message.callback = kill_now;
    reverify_init(&w->reverify, w);
    listing_part_init(&w->listing, w);
    warm_init(&w->warm, w);
    probe_init(&w->probe, w);
    timer_init(&w->trim, trim, w);
    timer_init(&w->drain_end, drain_end, w);
    timer_init(&w->drain_give_up, drain_give_up, w);
    w->loop = loop_create(err);
    if (w->loop == NULL || !transport_scratch_init(&w->scratch, err) ||
        !transport_scratch_init(&w->scratch_under, err) || !acceptors_move(w, set, err))
        return false;
    if (!probe_move(&w->probe, set->snapshot))
        return error_set(err, "no memory for checks");
    return warm_move(&w->warm, set->snapshot) || error_set(err, "no memory for a warm pool");
}

void worker_fini(struct worker *w)
{
    if (w->loop != NULL) {
        for_each(w, session_kill);
        acceptors_close(w);
        warm_stop(&w->warm);
        probe_stop(&w->probe);
        reverify_fini(&w->reverify);
        timer_clear(w->loop, &w->trim);
        timer_clear(w->loop, &w->drain_end);
        timer_clear(w->loop, &w->drain_give_up);
        loop_destroy(&w->loop);
    }
    listen_set_unref(&w->move_to);
    transport_scratch_fini(&w->scratch);
    transport_scratch_fini(&w->scratch_under);
}

static void *thread_main(void *context)
{
    struct worker *w = context;
    loop_run(w->loop);
    heartbeat_left(w->group->heartbeat, w->index);
    w->group->on_ended(w->group);
    return NULL;
}

bool worker_start(struct worker *w, struct error *err)
{
    int why = pthread_create(&w->thread, NULL, thread_main, w);
    if (why != 0)
        return error_set_errno(err, why, "cannot start a worker thread");
    w->started = true;
    return true;
}
