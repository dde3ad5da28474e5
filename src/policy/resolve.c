/* Questions and answers: the side of the resolver that any thread may call. resolve_state.h says
 * how it is built. */
#include "resolve_internal.h"
#include "resolve_state.h"
#include "srv.h"

#include <esclusa/clock.h>
#include <esclusa/str.h>

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define HELPERS_MAX    16
#define HELPER_IDLE_MS 10000

/* ---- answers ---- */

/* xorshift64*: which target of equal ones is nobody's secret. */
static uint32_t chance(void *context, uint32_t n)
{
    struct resolver *r = context;
    r->random ^= r->random >> 12;
    r->random ^= r->random << 25;
    r->random ^= r->random >> 27;
    uint64_t high = (r->random * UINT64_C(2685821657736338717)) >> 32;
    return (uint32_t)((high * ((uint64_t)n + 1)) >> 32);
}

/* Both with the mutex held. */
static size_t fill(struct resolver *r, const struct entry *e, uint16_t port, struct net_addr *list,
                   uint8_t *targets)
{
    uint8_t order[ANSWER_TARGETS_MAX] = {0};
    const struct answer *good = e->cached.good;
    size_t ordered = e->srv ? srv_order(good, chance, r, order) : 1;
    return answer_fill(good, order, ordered, port, list, targets, RESOLVE_MAX);
}

static void tell_asker(struct resolver *r, const struct resolve_ticket *ticket)
{
    const struct entry *e = ticket->entry;
    struct resolve_query *query = ticket->query;
    const int64_t now = clock_ms();
    error_init(&query->error);
    query->count = 0;
    query->ok = cache_is_usable(&e->cached, now, r->settings.stale_max_ms);
    if (query->ok) {
        query->count = fill(r, e, ticket->port, query->addresses, query->targets);
        r->counts.stale += now >= e->cached.fresh_ms;
    } else if (e->why[0] != '\0')
        error_set(&query->error, "%s", e->why);
    else
        error_set(&query->error, "%s: %s", e->host, entry_words(e));
    query->ticket = NULL;
}

static void ticket_delivered(struct loop_message *message)
{
    struct resolve_ticket *ticket = (struct resolve_ticket *)message;
    struct resolver *r = ticket->entry->resolver;
    pthread_mutex_lock(&r->mutex);
    TAILQ_REMOVE(&r->posted, ticket, link);
    struct resolve_query *query = ticket->query;
    if (query != NULL)
        tell_asker(r, ticket);
    entry_unref(ticket->entry);
    pthread_mutex_unlock(&r->mutex);
    free(ticket);
    if (query != NULL)
        query->callback(query);
}

/* The mutex is held. Posting inside it makes a cancel wait until loop_post() is done with the loop.
 */
static void ticket_post(struct resolver *r, struct resolve_ticket *ticket)
{
    ticket->posted = true;
    TAILQ_INSERT_TAIL(&r->posted, ticket, link);
    loop_post(ticket->loop, &ticket->message);
}

void entry_answer_waiting(struct resolver *r, struct entry *e)
{
    struct resolve_ticket *ticket = NULL;
    while ((ticket = TAILQ_FIRST(&e->waiting)) != NULL) {
        TAILQ_REMOVE(&e->waiting, ticket, link);
        ticket_post(r, ticket);
    }
}

/* ---- questions ---- */

/* The mutex is held. False: it cannot be answered. */
static bool put_question(struct resolver *r, struct entry *e, struct resolve_ticket *ticket,
                         int64_t now)
{
    struct cache_verdict verdict = cache_judge(&e->cached, now, r->settings.stale_max_ms);
    const bool begun = !verdict.look_up || resolve_thread_look_up(r, e);
    if (verdict.now == CACHE_WAIT && verdict.stale && e->looking_up && e->impatient)
        verdict.now = CACHE_SERVE;
    if (verdict.now == CACHE_WAIT && !begun)
        return false;
    e->asked_ms = now;
    ticket->entry = e;
    e->users++;
    switch (verdict.now) {
    case CACHE_WAIT:
        r->counts.waited++;
        TAILQ_INSERT_TAIL(&e->waiting, ticket, link);
        return true;
    case CACHE_SERVE:
        r->counts.kept += !verdict.stale;
        break;
    case CACHE_FAIL:
        r->counts.negative++;
        break;
    }
    ticket_post(r, ticket);
    return true;
}

bool resolve_ask(struct resolver *r, struct loop *loop, struct resolve_query *query,
                 const char *host, uint16_t port)
{
    struct resolve_ticket *ticket = calloc(1, sizeof *ticket);
    const bool srv = port == 0;
    const int64_t now = clock_ms();
    if (ticket == NULL)
        return false;
    ticket->message.callback = ticket_delivered;
    ticket->loop = loop;
    ticket->query = query;
    ticket->port = port;
    pthread_mutex_lock(&r->mutex);
    struct entry *e = entry_find(r, host, srv);
    if (e == NULL)
        e = entry_add(r, host, srv, now);
    bool asked = e != NULL && put_question(r, e, ticket, now);
    if (asked)
        query->ticket = ticket;
    pthread_mutex_unlock(&r->mutex);
    if (!asked)
        free(ticket);
    return asked;
}

void resolve_cancel(struct resolver *r, struct resolve_query *query)
{
    struct resolve_ticket *ticket = query->ticket;
    if (ticket == NULL)
        return;
    query->ticket = NULL;
    pthread_mutex_lock(&r->mutex);
    if (ticket->posted) {
        ticket->query = NULL; /* its message is under way: ticket_delivered() frees it */
    } else {
        /* The lookup goes on, for the next who asks. */
        TAILQ_REMOVE(&ticket->entry->waiting, ticket, link);
        entry_unref(ticket->entry);
        free(ticket);
    }
    pthread_mutex_unlock(&r->mutex);
}

/* ---- what is seen from outside ---- */

struct loop *resolver_loop(struct resolver *r)
{
    pthread_mutex_lock(&r->mutex);
    struct loop *loop = r->started ? r->loop : NULL;
    pthread_mutex_unlock(&r->mutex);
    return loop;
}

void resolver_count(struct resolver *r, struct resolver_counts *counts)
{
    pthread_mutex_lock(&r->mutex);
    *counts = r->counts;
    pthread_mutex_unlock(&r->mutex);
}

bool resolver_view(struct resolver *r, const char *host, uint16_t port, struct resolver_view *view)
{
    uint8_t targets[RESOLVE_MAX];
    const int64_t now = clock_ms();
    memset(view, 0, sizeof *view);
    pthread_mutex_lock(&r->mutex);
    const struct entry *e = entry_find(r, host, port == 0);
    if (e != NULL && cache_is_usable(&e->cached, now, r->settings.stale_max_ms)) {
        view->count = fill(r, e, port, view->addresses, targets);
        view->age_ms = now - e->cached.good_ms;
        view->stale = now >= e->cached.fresh_ms;
    }
    if (e != NULL)
        view->failed = e->cached.failed;
    pthread_mutex_unlock(&r->mutex);
    return e != NULL;
}

/* ---- life ---- */

/* The mutex is held, or nobody else knows it yet. */
static void set(struct resolver *r, const struct resolver_settings *settings)
{
    r->settings = *settings;
    r->settings.servers = NULL;
    (void)str_copy(r->servers, sizeof r->servers, settings->servers);
}

struct resolver *resolver_create_with(const struct resolver_settings *settings,
                                      const struct system_options *system,
                                      const struct resolver_listener *listener, struct error *err)
{
    struct resolver *r = calloc(1, sizeof *r);
    if (r == NULL) {
        error_set(err, "no memory for the resolver");
        return NULL;
    }
    r->loop = loop_create(err);
    if (r->loop == NULL) {
        free(r);
        return NULL;
    }
    set(r, settings);
    r->system_options = *system;
    if (listener != NULL)
        r->listener = *listener;
    for (size_t i = 0; i < RESOLVE_BUCKETS; i++)
        TAILQ_INIT(&r->buckets[i]);
    TAILQ_INIT(&r->posted);
    if (getrandom(&r->random, sizeof r->random, GRND_NONBLOCK) != sizeof r->random)
        r->random = (uint64_t)clock_us();
    r->random |= 1; /* never 0 */
    pthread_mutex_init(&r->mutex, NULL);
    return r;
}

struct resolver *resolver_create(const struct resolver_settings *settings,
                                 const struct resolver_listener *listener, struct error *err)
{
    const struct system_options system = {.max_threads = HELPERS_MAX, .idle_ms = HELPER_IDLE_MS};
    return resolver_create_with(settings, &system, listener, err);
}

void resolver_configure(struct resolver *r, const struct resolver_settings *settings)
{
    const int64_t now = clock_ms();
    pthread_mutex_lock(&r->mutex);
    const bool asks_others =
        settings->system != r->settings.system || strcmp(settings->servers, r->servers) != 0 ||
        settings->timeout_ms != r->settings.timeout_ms || settings->tries != r->settings.tries;
    set(r, settings);
    for (size_t i = 0; asks_others && i < RESOLVE_BUCKETS; i++) {
        struct entry *e = NULL;
        TAILQ_FOREACH(e, &r->buckets[i], in_bucket)
        {
            cache_doubt(&e->cached, now);
        }
    }
    if (asks_others)
        resolve_thread_configure(r);
    pthread_mutex_unlock(&r->mutex);
}

static void drop_tickets(struct ticket_list *list)
{
    struct resolve_ticket *ticket = NULL;
    while ((ticket = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, ticket, link);
        if (ticket->query != NULL)
            ticket->query->ticket = NULL;
        entry_unref(ticket->entry);
        free(ticket);
    }
}

void resolver_destroy(struct resolver **resolver)
{
    struct resolver *r = *resolver;
    if (r == NULL)
        return;
    *resolver = NULL;
    resolve_thread_end(r);
    drop_tickets(&r->posted);
    for (size_t i = 0; i < RESOLVE_BUCKETS; i++) {
        struct entry *e = NULL;
        while ((e = TAILQ_FIRST(&r->buckets[i])) != NULL) {
            drop_tickets(&e->waiting);
            timer_clear(r->loop, &e->patience);
            if (e->looking_up) /* the lookup's, which is no more */
                e->users--;
            entry_drop(r, &r->buckets[i], e);
        }
    }
    loop_destroy(&r->loop);
    pthread_mutex_destroy(&r->mutex);
    free(r);
}
