/* The resolver's inside: what its three files share. resolve.c asks and answers, on the askers'
 * threads; resolve_thread.c looks up, on the resolver's own; resolve_table.c has the names.
 *
 * Three kinds of object, all guarded by the resolver's one mutex, which is never held during a
 * lookup:
 * - an entry is a name with what is kept of it (cache.h), in the table;
 * - a ticket is one question: the message that is posted is in it, not in the asker's query, so a
 *   query may be freed right after a cancel although its message is under way;
 * - the query is touched by the asking loop's thread alone.
 * What of an entry only the resolver's thread touches is told there. Lock order: the resolver's
 * mutex, then a loop's mailbox. */
#ifndef ESCLUSA_SRC_RESOLVE_STATE_H
#define ESCLUSA_SRC_RESOLVE_STATE_H

#include "cache.h"
#include "lookup.h"

#include <pthread.h>
#include <sys/queue.h>

#define RESOLVE_BUCKETS     256
#define RESOLVE_SERVERS_MAX 1024

TAILQ_HEAD(entry_list, entry);
TAILQ_HEAD(ticket_list, resolve_ticket);

struct entry {
    TAILQ_ENTRY(entry) in_bucket;
    struct resolver *resolver;
    unsigned users; /* the table, the lookup, each ticket */
    struct ticket_list waiting;
    struct cached cached;
    char why[ANSWER_WHY_MAX]; /* of the last failure; "": none */
    int64_t asked_ms;
    bool looking_up;
    bool impatient;  /* it takes long: an old answer is given meanwhile */
    bool stale_told; /* to the listener */
    /* The resolver's thread alone. */
    struct loop_message begin;
    struct lookup lookup;
    struct timer patience;
    bool srv;
    char host[];
};

struct resolve_ticket {
    struct loop_message message; /* first: the callback gets the ticket by it */
    struct loop *loop;
    struct entry *entry;
    struct resolve_query *query; /* NULL: cancelled after it was posted */
    uint16_t port;
    TAILQ_ENTRY(resolve_ticket) link;
    bool posted; /* link is in resolver.posted, else in entry->waiting */
};

struct resolver {
    pthread_mutex_t mutex;
    struct loop *loop;
    pthread_t thread;
    bool started;
    /* what was set; servers is the only one of the settings that is kept elsewhere */
    struct resolver_settings settings;
    char servers[RESOLVE_SERVERS_MAX];
    bool configured; /* and posted: the thread has not taken them over yet */
    struct resolver_listener listener;
    struct system_options system_options;
    struct entry_list buckets[RESOLVE_BUCKETS];
    struct ticket_list posted;
    struct resolver_counts counts;
    uint64_t random;
    struct loop_message configure, end;
    /* The resolver's thread alone. */
    struct ares_world *ares;
    struct system_world *system;
};

/* ---- resolve_table.c; the mutex is held in all of these ---- */

void entry_unref(struct entry *e);
/* Out of the table. The caller must not use it any more but by a ref of its own. */
void entry_drop(struct resolver *r, struct entry_list *bucket, struct entry *e);
/* NULL: there is none. */
struct entry *entry_find(struct resolver *r, const char *host, bool srv);
/* NULL: no memory. */
struct entry *entry_add(struct resolver *r, const char *host, bool srv, int64_t now);
/* Its last failure, for a sentence. */
const char *entry_words(const struct entry *e);

/* ---- resolve_thread.c ---- */

/* Fills what of a new entry is the thread's. */
void resolve_thread_adopt(struct entry *e);
/* The mutex is held. Begins a lookup, unless one is under way. False: there is no thread for it. */
bool resolve_thread_look_up(struct resolver *r, struct entry *e) WARN_UNUSED;
/* The thread is to take the settings over; the mutex is held. */
void resolve_thread_configure(struct resolver *r);
/* Joins the thread, if there was one. */
void resolve_thread_end(struct resolver *r);

/* ---- resolve.c; the mutex is held ---- */

void entry_answer_waiting(struct resolver *r, struct entry *e);

#endif
