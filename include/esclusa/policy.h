/* policy: the addresses of a name. What is asked and kept is in src/policy/resolve.c; who is asked:
 * c-ares on a loop of its own, or getaddrinfo(3) in helper threads. The answer comes on the asking
 * loop. */
#ifndef ESCLUSA_POLICY_H
#define ESCLUSA_POLICY_H

#include <esclusa/event.h>
#include <esclusa/net.h>

#include <stddef.h>
#include <stdint.h>

#define RESOLVE_MAX 16 /* addresses given of one name */

struct resolver;
struct resolve_ticket; /* private: one question under way */

/* How looking up a name ended: X(enum name, word). Closed: it is a label of a metric. */
#define RESOLVE_REASONS(X)                                                                         \
    X(RESOLVE_OK, "ok")                                                                            \
    X(RESOLVE_NO_NAME, "no_name")         /* NXDOMAIN */                                           \
    X(RESOLVE_EMPTY, "empty")             /* the name is there, an address or record is not */     \
    X(RESOLVE_NOT_OFFERED, "not_offered") /* SRV with "." as target: RFC 2782 */                   \
    X(RESOLVE_TIMEOUT, "timeout")                                                                  \
    X(RESOLVE_SERVERS, "servers") /* each server failed, refused or was not reached */             \
    X(RESOLVE_MALFORMED, "malformed")                                                              \
    X(RESOLVE_OTHER, "other")

enum resolve_reason {
#define RESOLVE_ENUM(name, word) name,
    RESOLVE_REASONS(RESOLVE_ENUM)
#undef RESOLVE_ENUM
        RESOLVE_REASON_COUNT
};
const char *resolve_reason_word(enum resolve_reason reason);

/* One question; zero before the first resolve_ask() but for callback and context. The memory is the
 * asker's and must live until the callback was called or resolve_cancel() returned; the callback
 * may free it or ask again. */
struct resolve_query {
    /* answer, valid in the callback */
    bool ok;
    struct net_addr addresses[RESOLVE_MAX]; /* in order of preference */
    /* To which target of an SRV record each belongs, counted from 0 in the order they are to be
     * tried: addresses of different targets may not change places. All 0 for a plain name. */
    uint8_t targets[RESOLVE_MAX];
    size_t count;
    struct error error;                            /* when not ok */
    void (*callback)(struct resolve_query *query); /* on the asking loop's thread */
    void *context;
    /* private */
    struct resolve_ticket *ticket; /* NULL: no question outstanding. Only the asking thread's. */
};

struct resolver_settings {
    bool system;          /* getaddrinfo(3) in helper threads rather than c-ares */
    const char *servers;  /* "IP:PORT,[IP]:PORT"; "": those of resolv.conf(5). Copied. */
    int64_t timeout_ms;   /* for the answer of a server before it is asked again */
    int64_t tries;        /* each server is asked so often */
    int64_t stale_max_ms; /* how long an answer that could not be renewed is used; 0: not at all */
};

enum resolve_event {
    RESOLVE_EVENT_STALE,     /* host could not be looked up: its last answer is used. text: why */
    RESOLVE_EVENT_RECOVERED, /* it could again */
    RESOLVE_EVENT_SYSTEM     /* resolv.conf changed; text: NULL, or why it could not be read */
};
struct resolver_listener {
    /* On the resolver's thread; host may be NULL, text too. */
    void (*tell)(void *context, enum resolve_event event, const char *host, const char *text);
    void *context;
};

/* One for the process. A thread is started when the first name is asked for, helper threads for
 * settings.system on demand, too; all signals are blocked in them. listener: NULL: none. */
struct resolver *resolver_create(const struct resolver_settings *settings,
                                 const struct resolver_listener *listener,
                                 struct error *err) WARN_UNUSED;
/* Any thread. Where it changes whom is asked, what is under way is asked anew, and what is kept is
 * looked up again when it is next asked for. */
void resolver_configure(struct resolver *r, const struct resolver_settings *settings);
/* After all loops have ended: questions outstanding are cancelled, their memory still being there.
 * Threads are joined, but one that is inside getaddrinfo(3) is left to end by itself, so this does
 * not wait for a slow name. A loop may be destroyed before this only if no question of its is still
 * being looked up: cancel first. */
void resolver_destroy(struct resolver **r);

/* Asks; the callback always comes later, from the loop, never from inside this call. port 0: host
 * is the name of SRV records (RFC 2782), and they give hosts and ports. A name asked by many at
 * once is one lookup; src/policy/cache.h has the rules of what is kept for how long. A slow name
 * holds up no other. False: no memory, or no thread can be had. Any thread, for its own loop. */
bool resolve_ask(struct resolver *r, struct loop *loop, struct resolve_query *query,
                 const char *host, uint16_t port) WARN_UNUSED;
/* On the asking loop's thread: the callback will not be called any more, and the query's memory is
 * the asker's again. Nothing when there is no question outstanding. */
void resolve_cancel(struct resolver *r, struct resolve_query *query);

/* ---- what is seen from outside; any thread ---- */

struct resolver_counts {
    uint64_t lookups;                     /* begun: a name, whatever queries it takes */
    uint64_t ended[RESOLVE_REASON_COUNT]; /* of them, by how they ended */
    uint64_t kept, waited, stale,
        negative; /* questions answered from what is kept; that waited for
                   * a lookup; from an old answer; by a failure just had */
    size_t names;
};
/* Its thread's loop, to be sent messages; NULL: nothing was asked for yet. It lives as long as the
 * resolver. */
struct loop *resolver_loop(struct resolver *r);
void resolver_count(struct resolver *r, struct resolver_counts *counts);

/* What is kept of a name. */
struct resolver_view {
    size_t count; /* 0: no answer is kept */
    struct net_addr addresses[RESOLVE_MAX];
    int64_t age_ms;             /* since they were answered */
    bool stale;                 /* they are older than they should be */
    enum resolve_reason failed; /* the last lookup; RESOLVE_OK: it was good */
};
/* False: the name was never asked for, or nobody has for long. */
bool resolver_view(struct resolver *r, const char *host, uint16_t port, struct resolver_view *view);

#endif
