/* crowd: how many of a service's consumers are in from each address. An IPv6 consumer is its /64,
 * which is what one subscriber is given (RFC 6177); a unix consumer has no address and is not
 * counted. Private to core.
 *
 * Any thread; a lock a bucket, held for some comparisons, and taken only by services that set a
 * limit. Memory: one entry an address that is in. */
#ifndef ESCLUSA_CORE_CROWD_H
#define ESCLUSA_CORE_CROWD_H

#include <esclusa/net.h>

#include <pthread.h>

#define CROWD_BUCKETS 256

struct crowd_entry;

struct crowd_bucket {
    pthread_mutex_t mutex;
    struct crowd_entry *first;
};

struct crowd {
    uint64_t seed; /* so that nobody can choose addresses that share a bucket */
    struct crowd_bucket buckets[CROWD_BUCKETS];
};

void crowd_init(struct crowd *c);
void crowd_fini(struct crowd *c); /* nobody is in any more, or will leave */
/* Counts one more from there, unless most are in. False: it was not counted; no memory counts as
 * too many. */
bool crowd_enter(struct crowd *c, const struct net_addr *from, unsigned most) WARN_UNUSED;
/* One that entered has left. */
void crowd_leave(struct crowd *c, const struct net_addr *from);
/* How many are in from there. */
unsigned crowd_count(struct crowd *c, const struct net_addr *from);

#endif
