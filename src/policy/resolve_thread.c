/* The resolver's thread: a loop on which lookups begin and end. Everything here is on it but for
 * the last part. */
#include "resolve_state.h"

#include <esclusa/clock.h>
#include <esclusa/str.h>

#include <signal.h>
#include <stdlib.h>

static void tell(const struct resolver *r, enum resolve_event event, const char *host,
                 const char *text)
{
    if (r->listener.tell != NULL)
        r->listener.tell(r->listener.context, event, host, text);
}

static void system_changed(void *context, const char *why)
{
    tell(context, RESOLVE_EVENT_SYSTEM, NULL, why);
}

/* The settings, as far as the thread has not seen them. Whom to ask now; false: no memory. */
static bool take_settings(struct resolver *r, bool *system_r)
{
    char servers[RESOLVE_SERVERS_MAX];
    pthread_mutex_lock(&r->mutex);
    const struct ares_settings settings = {.servers = servers,
                                           .timeout_ms = (int)r->settings.timeout_ms,
                                           .tries = (int)r->settings.tries};
    (void)str_copy(servers, sizeof servers, r->servers);
    *system_r = r->settings.system;
    const bool changed = r->configured;
    r->configured = false;
    pthread_mutex_unlock(&r->mutex);
    if (*system_r && r->system == NULL)
        r->system = system_world_create(r->loop, &r->system_options);
    if (!*system_r && r->ares == NULL)
        r->ares = ares_world_create(r->loop, &settings, system_changed, r);
    else if (changed && r->ares != NULL && !ares_world_configure(r->ares, &settings))
        tell(r, RESOLVE_EVENT_SYSTEM, NULL, "the new settings could not be taken: no memory");
    return *system_r ? r->system != NULL : r->ares != NULL;
}

/* At once, so that what is under way is asked anew. */
static void configure(struct loop_message *message)
{
    struct resolver *r = LOOP_OWNER(message, struct resolver, configure);
    bool system = false;
    (void)!take_settings(r, &system);
}

static void out_of_patience(void *context)
{
    struct entry *e = context;
    struct resolver *r = e->resolver;
    pthread_mutex_lock(&r->mutex);
    e->impatient = true;
    if (cache_is_usable(&e->cached, clock_ms(), r->settings.stale_max_ms))
        entry_answer_waiting(r, e);
    pthread_mutex_unlock(&r->mutex);
}

/* The mutex is held. */
static void took_failure(struct entry *e, const struct answer *answer, int64_t now)
{
    cache_failed(&e->cached, answer != NULL ? answer->reason : RESOLVE_OTHER, now);
    (void)str_copy(e->why, sizeof e->why, answer != NULL ? answer->why : "");
}

static void answered(struct lookup *lookup, struct answer *answer, bool last)
{
    struct entry *e = LOOP_OWNER(lookup, struct entry, lookup);
    struct resolver *r = e->resolver;
    char why[ERROR_TEXT_MAX];
    if (last)
        timer_clear(r->loop, &e->patience);
    const int64_t now = clock_ms();
    const bool good = answer != NULL && answer->reason == RESOLVE_OK;
    pthread_mutex_lock(&r->mutex);
    const int64_t stale_max_ms = r->settings.stale_max_ms;
    if (good) {
        pthread_mutex_unlock(&r->mutex);
        if (e->cached.good != NULL) /* which nobody but this thread replaces */
            answer_keep(answer, e->cached.good, now, stale_max_ms);
        answer_arrange(answer); /* some system calls */
        pthread_mutex_lock(&r->mutex);
        cache_take(&e->cached, answer, now);
        e->why[0] = '\0';
    } else {
        took_failure(e, answer, now);
    }
    const bool was_told = e->stale_told;
    e->stale_told = !good && cache_is_usable(&e->cached, now, stale_max_ms);
    const bool news = e->stale_told != was_told;
    (void)str_copy(why, sizeof why, e->why[0] != '\0' ? e->why : entry_words(e));
    if (last) {
        r->counts.ended[good ? RESOLVE_OK : e->cached.failed]++;
        e->looking_up = false;
        e->impatient = false;
    }
    entry_answer_waiting(r, e);
    pthread_mutex_unlock(&r->mutex);
    if (!good)
        free(answer);
    if (news && (good || e->stale_told))
        tell(r, good ? RESOLVE_EVENT_RECOVERED : RESOLVE_EVENT_STALE, e->host, good ? NULL : why);
    if (!last)
        return;
    pthread_mutex_lock(&r->mutex);
    entry_unref(e);
    pthread_mutex_unlock(&r->mutex);
}

static void begin(struct loop_message *message)
{
    struct entry *e = LOOP_OWNER(message, struct entry, begin);
    struct resolver *r = e->resolver;
    bool system = false;
    bool done = take_settings(r, &system);
    if (done) {
        /* No memory for it: then they wait for the lookup. */
        (void)!timer_set(r->loop, &e->patience, loop_now(r->loop) + CACHE_PATIENCE_MS);
        /* SRV is beyond getaddrinfo(3); the configuration's check refuses it. */
        done = !system   ? ares_world_look_up(r->ares, &e->lookup)
               : !e->srv ? system_world_look_up(r->system, &e->lookup)
                         : false;
    }
    if (!done)
        answered(&e->lookup, NULL, true);
}

/* ---- the thread ---- */

static void end(struct loop_message *message)
{
    loop_stop(LOOP_OWNER(message, struct resolver, end)->loop);
}

static void *thread_main(void *context)
{
    struct resolver *r = context;
    loop_run(r->loop);
    /* Not from inside the loop: what it was about to deliver is theirs. */
    ares_world_destroy(&r->ares);
    system_world_destroy(&r->system);
    return NULL;
}

/* The mutex is held. */
static bool assure_thread(struct resolver *r)
{
    if (r->started)
        return true;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a new thread inherits it: pthread_sigmask(3) */
    r->started = pthread_create(&r->thread, NULL, thread_main, r) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r->started;
}

/* ---- from other threads ---- */

void resolve_thread_adopt(struct entry *e)
{
    e->begin.callback = begin;
    e->lookup = (struct lookup){.host = e->host, .srv = e->srv, .answered = answered};
    timer_init(&e->patience, out_of_patience, e);
}

bool resolve_thread_look_up(struct resolver *r, struct entry *e)
{
    if (e->looking_up)
        return true;
    if (!assure_thread(r))
        return false;
    e->looking_up = true;
    e->users++;
    r->counts.lookups++;
    loop_post(r->loop, &e->begin);
    return true;
}

void resolve_thread_configure(struct resolver *r)
{
    if (!r->started || r->configured)
        return; /* it will read them, or is about to */
    r->configured = true;
    r->configure.callback = configure;
    loop_post(r->loop, &r->configure);
}

void resolve_thread_end(struct resolver *r)
{
    if (!r->started)
        return;
    r->end.callback = end;
    loop_post(r->loop, &r->end);
    pthread_join(r->thread, NULL);
}
