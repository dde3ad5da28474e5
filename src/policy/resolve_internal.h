/* policy, inside: the resolver with its parts chosen by the caller, for tests. */
#ifndef ESCLUSA_SRC_RESOLVE_INTERNAL_H
#define ESCLUSA_SRC_RESOLVE_INTERNAL_H

#include <esclusa/policy.h>

#define RESOLVE_IDLE_MS   10000 /* a helper thread with nothing to do ends after that */
#define RESOLVE_CACHE_MAX 256   /* answers kept; the oldest goes first */

struct resolver_options {
    unsigned max_threads;
    int64_t keep_ms; /* RESOLVE_KEEP_MS */
    int64_t idle_ms; /* RESOLVE_IDLE_MS */
    /* net_resolve_blocking(), or a stand-in with its contract. Runs in helper threads. */
    bool (*lookup)(const char *host, uint16_t port, struct net_addr *list, size_t max,
                   size_t *count_r, struct error *err);
};

struct resolver *resolver_create_with(const struct resolver_options *options,
                                      struct error *err) WARN_UNUSED;
unsigned resolver_threads(struct resolver *r); /* helper threads alive */
size_t resolver_entries(struct resolver *r);   /* names looked up or kept */

#endif
