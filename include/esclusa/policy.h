/* policy: which upstream, and its addresses. Resolving runs in helper threads (getaddrinfo(3)
 * blocks) and answers on the asking loop. */
#ifndef ESCLUSA_POLICY_H
#define ESCLUSA_POLICY_H

#include <esclusa/event.h>
#include <esclusa/net.h>

#include <stddef.h>
#include <stdint.h>

#define RESOLVE_MAX 8 /* addresses kept of one answer */

struct resolver;
struct resolve_ticket; /* private: one question under way */

/* One question; zero before the first resolve_ask() but for callback and context. The memory is the
 * asker's and must live until the callback was called or resolve_cancel() returned; the callback
 * may free it or ask again. */
struct resolve_query {
    /* answer, valid in the callback */
    bool ok;
    struct net_addr addresses[RESOLVE_MAX];
    size_t count;
    struct error error;                            /* when not ok */
    void (*callback)(struct resolve_query *query); /* on the asking loop's thread */
    void *context;
    /* private */
    struct resolve_ticket *ticket; /* NULL: no question outstanding. Only the asking thread's. */
};

/* One for the process. Threads are started on demand, at most max_threads (at least one), and end
 * after 10 s with nothing to do; all signals are blocked in them. */
struct resolver *resolver_create(unsigned max_threads, struct error *err) WARN_UNUSED;
/* After all loops have ended: questions outstanding are cancelled, their memory still being there.
 * Threads are joined, but one that is inside a lookup is left to end by itself, so this does not
 * wait for a slow name. A loop may be destroyed before this only if no question of its is still
 * being looked up: cancel first.
 */
void resolver_destroy(struct resolver **r);

/* Asks; the callback always comes later, from the loop, never from inside this call. The same
 * host:port asked by many at once is one lookup (single flight); a good answer is kept for
 * RESOLVE_KEEP_MS, an error is not. A slow name holds one helper thread, no other name. False: no
 * memory, or not one helper thread can be had. Any thread, for its own loop. */
#define RESOLVE_KEEP_MS 5000
bool resolve_ask(struct resolver *r, struct loop *loop, struct resolve_query *query,
                 const char *host, uint16_t port) WARN_UNUSED;
/* On the asking loop's thread: the callback will not be called any more, and the query's memory is
 * the asker's again. Nothing when there is no question outstanding. */
void resolve_cancel(struct resolver *r, struct resolve_query *query);

#endif
