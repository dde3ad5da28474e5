/* answer: what a lookup brought. Pure but for answer_arrange(). Private to policy.
 *
 * A plain name has one target with port 0. The two families of addresses are kept apart, for they
 * are two queries: one may fail while the other is good. */
#ifndef ESCLUSA_SRC_ANSWER_H
#define ESCLUSA_SRC_ANSWER_H

#include <esclusa/policy.h>

#define ANSWER_FAMILY_MAX  8 /* addresses kept of a family */
#define ANSWER_TARGETS_MAX 8 /* SRV records kept */
#define ANSWER_WHY_MAX     160

enum answer_family { ANSWER_V6, ANSWER_V4, ANSWER_FAMILIES };

struct answer_part {
    enum resolve_reason reason; /* RESOLVE_OK: there is at least one */
    int64_t at_ms;              /* when they were answered */
    size_t count;
    struct net_addr list[ANSWER_FAMILY_MAX];
};

struct answer_target {
    char host[NET_HOST_MAX]; /* "" for a plain name */
    uint16_t priority, weight, port;
    struct answer_part parts[ANSWER_FAMILIES];
    /* Of both, in the order they should be tried: family * ANSWER_FAMILY_MAX + index. */
    size_t count;
    uint8_t order[ANSWER_FAMILIES * ANSWER_FAMILY_MAX];
};

struct answer {
    enum resolve_reason reason; /* RESOLVE_OK: there is at least one address */
    int64_t ttl_ms;             /* as it was answered; INT64_MAX: nothing was */
    char why[ANSWER_WHY_MAX];   /* further words about a failure; "": none */
    size_t count;
    struct answer_target targets[]; /* in the order of the records */
};

/* With count targets of which nothing is known: RESOLVE_OTHER. NULL: no memory. */
struct answer *answer_create(size_t count);
/* An address of that target; false: there are enough, or it is there already, or of no IP family.
 */
bool answer_add(struct answer_target *target, const struct sockaddr *address, size_t length);
void answer_ttl(struct answer *answer, int64_t seconds); /* the least counts */
/* An answer in which a part failed (but not one that says there is none) takes over that part's
 * addresses from the one before, when they are younger than max_age_ms. */
void answer_keep(struct answer *answer, const struct answer *before, int64_t now_ms,
                 int64_t max_age_ms);
/* Fills reason from what came of the parts. Where there is no target it stays as it is. */
void answer_conclude(struct answer *answer);
/* Fills each target's order: IPv6 before IPv4, but what this machine has no way to last (RFC 6724,
 * rule 1). Asks the kernel for routes, by connect(2) on datagram sockets. */
void answer_arrange(struct answer *answer);
/* The addresses for one asker, targets in the order given (see srv.h), each with its port, or the
 * asker's where it has none. Each target gets a share. The number of addresses. */
size_t answer_fill(const struct answer *answer, const uint8_t *order, size_t ordered, uint16_t port,
                   struct net_addr *list, uint8_t *targets, size_t max);

#endif
