/* candidates: the upstreams of a service for one connection: in which order, and what is kept and
 * said of how each did. Private to core; any worker's thread.
 *
 * What an upstream did counts for or against it by the class of failure: one that did not answer
 * missed, and after some misses in a row is ejected (eject.h). One that answered and was found
 * wrong (a certificate that does not verify, no TLS) is never ejected for it: it would be passed
 * over in silence. */
#ifndef ESCLUSA_CORE_CANDIDATES_H
#define ESCLUSA_CORE_CANDIDATES_H

#include "worker.h"

#include <esclusa/reason.h>

struct candidates {
    uint8_t order[UPSTREAMS_MAX]; /* indices of service->upstreams */
    size_t count;                 /* of them */
    size_t usable;                /* so many in front are not known to be down */
};

/* source: the consumer; NULL: there is none. */
void candidates_order(struct candidates *c, struct worker *w, const struct service *service,
                      const struct net_addr *source);

/* A connection to it that is ready is of no use: it is down, or another is to be used before it
 * now. */
bool candidate_outranked(const struct service *service, const struct upstream *u, int64_t now_ms);

/* Turning to one: *trying_r is for the calls below. False: it has been ejected meanwhile. */
bool candidate_may_try(const struct upstream *u, int64_t now_ms, bool *trying_r);

struct candidate_try {
    const struct service *service;
    const struct upstream *upstream;
    int64_t began_ms, now_ms;
    bool trying;
};

/* How it ended; each gives `trying` back. It answered: REASON_NONE: and was good; else wrong. */
void candidate_answered(const struct candidate_try *t, enum reason reason);
/* error: of the last address. */
void candidate_missed(const struct candidate_try *t, enum reason reason, const char *error);
/* Nothing was learnt of it; REASON_NONE: nor did anything fail. */
void candidate_undecided(const struct candidate_try *t, enum reason reason);
/* Its certificate does not verify, and the next one is asked all the same. */
void candidate_alarm(const struct service *service, const struct upstream *u,
                     const struct net_addr *address, enum reason reason, const char *error,
                     const char *remedy);

/* A connection to it, from the beginning of its dial to the end of its session. Both take NULL. */
void candidate_enter(struct stats_upstream *u);
void candidate_leave(struct stats_upstream **u); /* NULLs *u */

#endif
