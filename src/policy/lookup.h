/* lookup: one question to the outside, and who can answer it: ares.c, system.c. Private to policy;
 * everything on the resolver's thread. */
#ifndef ESCLUSA_SRC_LOOKUP_H
#define ESCLUSA_SRC_LOOKUP_H

#include "answer.h"

struct lookup {
    const char *host; /* lives until the last answer */
    bool srv;
    /* The answer, concluded, is the callee's from then on. It may come in parts, a better one after
     * a first usable one; last: no further one. One that is not the last has an address. It may
     * come from inside of the call that began it. NULL, and last: no memory. */
    void (*answered)(struct lookup *lookup, struct answer *answer, bool last);
};

/* ---- ares.c ---- */

struct ares_world;

struct ares_settings {
    const char *servers; /* copied */
    int timeout_ms, tries;
};
/* changed: resolv.conf did, and was read (NULL) or not (why). NULL: no memory. */
struct ares_world *ares_world_create(struct loop *loop, const struct ares_settings *settings,
                                     void (*changed)(void *context, const char *why),
                                     void *context);
/* Lookups under way begin anew with these. False: no memory, and nothing changed. */
bool ares_world_configure(struct ares_world *w, const struct ares_settings *settings) WARN_UNUSED;
/* False: no memory; answered() is not called. */
bool ares_world_look_up(struct ares_world *w, struct lookup *lookup) WARN_UNUSED;
/* Lookups under way are dropped, without a word. */
void ares_world_destroy(struct ares_world **w);

/* ---- system.c ---- */

struct system_world;

/* net_resolve_blocking(), or a stand-in with its contract. Runs in helper threads. */
typedef bool system_lookup(const char *host, uint16_t port, struct net_addr *list, size_t max,
                           size_t *count_r, struct error *err);
struct system_options {
    unsigned max_threads;  /* at least 1 */
    int64_t idle_ms;       /* a helper thread with nothing to do ends after that */
    system_lookup *lookup; /* NULL: net_resolve_blocking() */
};
struct system_world *system_world_create(struct loop *loop, const struct system_options *options);
/* False: no memory, or not one helper thread can be had. */
bool system_world_look_up(struct system_world *w, struct lookup *lookup) WARN_UNUSED;
/* Does not wait for a lookup that runs. */
void system_world_destroy(struct system_world **w);
unsigned system_world_threads(struct system_world *w); /* helper threads alive; any thread */

#endif
