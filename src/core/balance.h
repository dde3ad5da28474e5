/* balance: in which order the upstreams of a service are candidates for one connection. Private to
 * core; pure: who is usable and how busy is told to it. */
#ifndef ESCLUSA_CORE_BALANCE_H
#define ESCLUSA_CORE_BALANCE_H

#include <esclusa/config.h>

struct balance_item {
    uint32_t weight; /* >= 1 */
    uint32_t active; /* connections */
    uint64_t mark;   /* the same for the same upstream, whatever its place */
    bool usable, backup;
};

struct balance_by {
    enum balance how;
    uint64_t ticket; /* one more each time: BALANCE_ROUND_ROBIN; ties of others */
    uint64_t source; /* the same for one consumer: BALANCE_SOURCE_HASH */
    uint64_t random; /* state of random.h */
};

/* Fills order_r with all of 0 to count - 1, count <= UPSTREAMS_MAX: those that are usable, the
 * backups behind the others, then those that are not, in the same way. Returns how many are
 * usable. */
size_t balance_order(struct balance_by *by, const struct balance_item *items, size_t count,
                     uint8_t *order_r);

#endif
