/* Names are looked up in helper threads and answered through the asking loop's mailbox.
 *
 * Three kinds of object, all guarded by the resolver's one mutex:
 * - an entry is a host:port with its answer; in the table while it is looked up or kept;
 * - a ticket is one question: the message that is posted is in it, not in the asker's query, so a
 *   query may be freed right after a cancel although its message is under way;
 * - the query is touched by the asking loop's thread alone.
 * Lock order: the resolver's mutex, then a loop's mailbox. */
#include "resolve_internal.h"

#include <esclusa/clock.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum entry_state { ENTRY_QUEUED, ENTRY_RUNNING, ENTRY_DONE };

TAILQ_HEAD(entry_list, resolve_entry);
TAILQ_HEAD(ticket_list, resolve_ticket);
TAILQ_HEAD(helper_list, helper);

struct resolve_entry {
    TAILQ_ENTRY(resolve_entry) in_table;
    TAILQ_ENTRY(resolve_entry) in_queue; /* while ENTRY_QUEUED */
    enum entry_state state;
    unsigned users; /* the table, the helper at work on it, each ticket */
    struct ticket_list waiting;
    int64_t expires_ms;
    bool ok;
    size_t count;
    struct net_addr addresses[RESOLVE_MAX];
    struct error error;
    uint16_t port;
    char host[];
};

struct resolve_ticket {
    struct loop_message message; /* first: the callback gets the ticket by it */
    struct resolver *resolver;
    struct loop *loop;
    struct resolve_entry *entry;
    struct resolve_query *query; /* NULL: cancelled after it was posted */
    TAILQ_ENTRY(resolve_ticket) link;
    bool posted; /* link is in resolver.posted, else in entry->waiting */
};

struct helper {
    TAILQ_ENTRY(helper) link;
    struct resolver *resolver;
    pthread_t thread;
    bool looking_up;
    bool detached; /* not in the list any more: the thread frees this itself */
};

struct resolver {
    struct resolver_options options;
    pthread_mutex_t mutex;
    pthread_cond_t work; /* the queue is not empty, or ending */
    unsigned users;      /* the owner and each helper: the last one frees */
    bool ending;
    unsigned threads;
    unsigned idle;
    size_t queued;
    size_t done; /* kept answers */
    size_t entries;
    struct entry_list table;
    struct entry_list queue;
    struct ticket_list posted;
    struct helper_list helpers;
};

static void resolver_free(struct resolver *r)
{
    pthread_cond_destroy(&r->work);
    pthread_mutex_destroy(&r->mutex);
    free(r);
}

/* Unlocks. */
static void resolver_leave(struct resolver *r)
{
    bool last = --r->users == 0;
    pthread_mutex_unlock(&r->mutex);
    if (last) {
        resolver_free(r);
    }
}

struct resolver *resolver_create_with(const struct resolver_options *options, struct error *err)
{
    struct resolver *r = calloc(1, sizeof *r);
    if (r == NULL) {
        error_set(err, "no memory for the resolver");
        return NULL;
    }
    r->options = *options;
    if (r->options.max_threads == 0) {
        r->options.max_threads = 1;
    }
    r->users = 1;
    TAILQ_INIT(&r->table);
    TAILQ_INIT(&r->queue);
    TAILQ_INIT(&r->posted);
    TAILQ_INIT(&r->helpers);
    /* None of these can fail with glibc: they allocate nothing. */
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&r->work, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&r->mutex, NULL);
    return r;
}

struct resolver *resolver_create(unsigned max_threads, struct error *err)
{
    struct resolver_options options = {.max_threads = max_threads,
                                       .keep_ms = RESOLVE_KEEP_MS,
                                       .idle_ms = RESOLVE_IDLE_MS,
                                       .lookup = net_resolve_blocking};
    return resolver_create_with(&options, err);
}

/* ---- entries; the mutex is held in all of these ---- */

static void entry_unref(struct resolve_entry *entry)
{
    if (--entry->users == 0) {
        free(entry);
    }
}

/* Out of the table, and of the queue. The caller must not use it any more but by its own ref. */
static void entry_drop(struct resolver *r, struct resolve_entry *entry)
{
    if (entry->state == ENTRY_QUEUED) {
        TAILQ_REMOVE(&r->queue, entry, in_queue);
        r->queued--;
    } else if (entry->state == ENTRY_DONE) {
        r->done--;
    }
    TAILQ_REMOVE(&r->table, entry, in_table);
    r->entries--;
    entry_unref(entry);
}

/* Drops answers that are too old; and the oldest ones while there are more than max. */
static void drop_old_answers(struct resolver *r, size_t max)
{
    int64_t now = clock_ms();
    struct resolve_entry *next = NULL;
    for (struct resolve_entry *entry = TAILQ_FIRST(&r->table); entry != NULL; entry = next) {
        next = TAILQ_NEXT(entry, in_table);
        if (entry->state == ENTRY_DONE && (entry->expires_ms <= now || r->done > max)) {
            entry_drop(r, entry);
        }
    }
}

static struct resolve_entry *entry_find(struct resolver *r, const char *host, uint16_t port)
{
    struct resolve_entry *entry = NULL;
    TAILQ_FOREACH(entry, &r->table, in_table)
    {
        if (entry->port == port && strcmp(entry->host, host) == 0) {
            break;
        }
    }
    if (entry != NULL && entry->state == ENTRY_DONE && entry->expires_ms <= clock_ms()) {
        entry_drop(r, entry);
        return NULL;
    }
    return entry;
}

static struct resolve_entry *entry_add(struct resolver *r, const char *host, uint16_t port)
{
    size_t length = strlen(host) + 1;
    struct resolve_entry *entry = calloc(1, sizeof *entry + length);
    if (entry == NULL) {
        return NULL;
    }
    memcpy(entry->host, host, length);
    entry->port = port;
    entry->users = 1;
    TAILQ_INIT(&entry->waiting);
    drop_old_answers(r, RESOLVE_CACHE_MAX);
    TAILQ_INSERT_TAIL(&r->table, entry, in_table);
    TAILQ_INSERT_TAIL(&r->queue, entry, in_queue);
    r->entries++;
    r->queued++;
    return entry;
}

/* ---- answers ---- */

static void ticket_delivered(struct loop_message *message)
{
    struct resolve_ticket *ticket = (struct resolve_ticket *)message;
    struct resolver *r = ticket->resolver;
    pthread_mutex_lock(&r->mutex);
    TAILQ_REMOVE(&r->posted, ticket, link);
    struct resolve_query *query = ticket->query;
    if (query != NULL) {
        const struct resolve_entry *entry = ticket->entry;
        query->ok = entry->ok;
        query->count = entry->ok ? entry->count : 0;
        memcpy(query->addresses, entry->addresses, sizeof query->addresses);
        query->error = entry->error;
        query->ticket = NULL;
    }
    entry_unref(ticket->entry);
    pthread_mutex_unlock(&r->mutex);
    free(ticket);
    if (query != NULL) {
        query->callback(query);
    }
}

/* The mutex is held. Posting inside it makes a cancel wait until loop_post() is done with the loop.
 */
static void ticket_post(struct resolver *r, struct resolve_ticket *ticket)
{
    ticket->posted = true;
    TAILQ_INSERT_TAIL(&r->posted, ticket, link);
    loop_post(ticket->loop, &ticket->message);
}

static void entry_answered(struct resolver *r, struct resolve_entry *entry)
{
    struct resolve_ticket *ticket = NULL;
    while ((ticket = TAILQ_FIRST(&entry->waiting)) != NULL) {
        TAILQ_REMOVE(&entry->waiting, ticket, link);
        ticket_post(r, ticket);
    }
    if (entry->ok) {
        entry->state = ENTRY_DONE;
        entry->expires_ms = clock_ms() + r->options.keep_ms;
        r->done++;
        drop_old_answers(r, RESOLVE_CACHE_MAX);
    } else {
        entry_drop(r, entry); /* the tickets keep it until the error is delivered */
    }
}

/* ---- helper threads ---- */

/* The mutex is held on entry and return, not in between. */
static void look_up(struct helper *helper, struct resolve_entry *entry)
{
    struct resolver *r = helper->resolver;
    TAILQ_REMOVE(&r->queue, entry, in_queue);
    r->queued--;
    entry->state = ENTRY_RUNNING;
    entry->users++;
    helper->looking_up = true;
    pthread_mutex_unlock(&r->mutex);

    /* Nobody else touches these fields of a running entry, and host does not change. */
    entry->ok = r->options.lookup(entry->host, entry->port, entry->addresses, RESOLVE_MAX,
                                  &entry->count, &entry->error);

    pthread_mutex_lock(&r->mutex);
    helper->looking_up = false;
    if (!r->ending) {
        entry_answered(r, entry);
    }
    entry_unref(entry);
}

/* The mutex is held. False: the thread has been idle for long, or all is ending. */
static bool wait_for_work(struct resolver *r)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(r->options.idle_ms / 1000);
    until.tv_nsec += (long)(r->options.idle_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    r->idle++;
    int status = 0;
    while (!r->ending && TAILQ_EMPTY(&r->queue) && status == 0) {
        status = pthread_cond_timedwait(&r->work, &r->mutex, &until);
    }
    r->idle--;
    return !r->ending && !TAILQ_EMPTY(&r->queue);
}

static void *helper_main(void *context)
{
    struct helper *helper = context;
    struct resolver *r = helper->resolver;
    pthread_mutex_lock(&r->mutex);
    while (wait_for_work(r)) {
        look_up(helper, TAILQ_FIRST(&r->queue));
    }
    r->threads--;
    if (!r->ending) {
        TAILQ_REMOVE(&r->helpers, helper, link);
        helper->detached = true;
        pthread_detach(helper->thread);
    }
    if (helper->detached) {
        free(helper);
    }
    resolver_leave(r);
    return NULL;
}

/* The mutex is held: the new thread waits for it, so helper->thread is set when it runs. */
static bool start_helper(struct resolver *r)
{
    struct helper *helper = calloc(1, sizeof *helper);
    if (helper == NULL) {
        return false;
    }
    helper->resolver = r;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a new thread inherits it: pthread_sigmask(3) */
    int status = pthread_create(&helper->thread, NULL, helper_main, helper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != 0) {
        free(helper);
        return false;
    }
    TAILQ_INSERT_TAIL(&r->helpers, helper, link);
    r->threads++;
    r->users++;
    return true;
}

/* The mutex is held. False: there is no thread at all to look it up. */
static bool assure_helper(struct resolver *r)
{
    if (r->queued > r->idle && r->threads < r->options.max_threads && !start_helper(r)) {
        return r->threads > 0;
    }
    pthread_cond_signal(&r->work);
    return true;
}

/* ---- questions ---- */

bool resolve_ask(struct resolver *r, struct loop *loop, struct resolve_query *query,
                 const char *host, uint16_t port)
{
    struct resolve_ticket *ticket = calloc(1, sizeof *ticket);
    if (ticket == NULL) {
        return false;
    }
    ticket->message.callback = ticket_delivered;
    ticket->resolver = r;
    ticket->loop = loop;
    ticket->query = query;
    pthread_mutex_lock(&r->mutex);
    struct resolve_entry *entry = entry_find(r, host, port);
    if (entry == NULL) {
        entry = entry_add(r, host, port);
        if (entry != NULL && !assure_helper(r)) {
            entry_drop(r, entry);
            entry = NULL;
        }
    }
    if (entry != NULL) {
        ticket->entry = entry;
        entry->users++;
        query->ticket = ticket;
        if (entry->state == ENTRY_DONE) {
            ticket_post(r, ticket);
        } else {
            TAILQ_INSERT_TAIL(&entry->waiting, ticket, link);
        }
    }
    pthread_mutex_unlock(&r->mutex);
    if (entry == NULL) {
        free(ticket);
    }
    return entry != NULL;
}

void resolve_cancel(struct resolver *r, struct resolve_query *query)
{
    struct resolve_ticket *ticket = query->ticket;
    if (ticket == NULL) {
        return;
    }
    query->ticket = NULL;
    pthread_mutex_lock(&r->mutex);
    if (ticket->posted) {
        ticket->query = NULL; /* its message is under way: ticket_delivered() frees it */
    } else {
        struct resolve_entry *entry = ticket->entry;
        TAILQ_REMOVE(&entry->waiting, ticket, link);
        if (entry->state == ENTRY_QUEUED && TAILQ_EMPTY(&entry->waiting)) {
            entry_drop(r, entry); /* nobody wants it any more */
        }
        entry_unref(entry);
        free(ticket);
    }
    pthread_mutex_unlock(&r->mutex);
}

/* ---- the end ---- */

static void drop_tickets(struct ticket_list *list)
{
    struct resolve_ticket *ticket = NULL;
    while ((ticket = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, ticket, link);
        if (ticket->query != NULL) {
            ticket->query->ticket = NULL;
        }
        entry_unref(ticket->entry);
        free(ticket);
    }
}

static void drop_everything(struct resolver *r)
{
    drop_tickets(&r->posted);
    struct resolve_entry *next = NULL;
    for (struct resolve_entry *entry = TAILQ_FIRST(&r->table); entry != NULL; entry = next) {
        next = TAILQ_NEXT(entry, in_table);
        drop_tickets(&entry->waiting);
        entry_drop(r, entry);
    }
}

void resolver_destroy(struct resolver **resolver)
{
    struct resolver *r = *resolver;
    if (r == NULL) {
        return;
    }
    *resolver = NULL;
    pthread_mutex_lock(&r->mutex);
    r->ending = true;
    pthread_cond_broadcast(&r->work);
    struct helper *next = NULL;
    for (struct helper *helper = TAILQ_FIRST(&r->helpers); helper != NULL; helper = next) {
        next = TAILQ_NEXT(helper, link);
        if (helper->looking_up) {
            TAILQ_REMOVE(&r->helpers, helper, link);
            helper->detached = true;
            pthread_detach(helper->thread);
        }
    }
    drop_everything(r);
    pthread_mutex_unlock(&r->mutex);
    /* No helper changes the list once ending is set: what is left in it is ours. */
    struct helper *helper = NULL;
    while ((helper = TAILQ_FIRST(&r->helpers)) != NULL) {
        TAILQ_REMOVE(&r->helpers, helper, link);
        pthread_join(helper->thread, NULL);
        free(helper);
    }
    pthread_mutex_lock(&r->mutex);
    resolver_leave(r);
}

unsigned resolver_threads(struct resolver *r)
{
    pthread_mutex_lock(&r->mutex);
    unsigned threads = r->threads;
    pthread_mutex_unlock(&r->mutex);
    return threads;
}

size_t resolver_entries(struct resolver *r)
{
    pthread_mutex_lock(&r->mutex);
    size_t entries = r->entries;
    pthread_mutex_unlock(&r->mutex);
    return entries;
}
