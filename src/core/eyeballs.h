/* eyeballs: in which order the addresses of one candidate are tried, and how soon the next one
 * begins while the first is silent: RFC 8305, sections 4 and 5. Private to core; pure. */
#ifndef ESCLUSA_CORE_EYEBALLS_H
#define ESCLUSA_CORE_EYEBALLS_H

#include <esclusa/net.h>

#include <stddef.h>
#include <stdint.h>

/* Stands for an address, without its port; never 0. */
uint64_t eyeballs_mark(const struct net_addr *a);

/* Puts the last good one first (its mark; 0: none is known), then families in turn, beginning with
 * the other one. Within one target: addresses of different SRV targets do not change places.
 * targets: as in struct resolve_query, ascending. */
void eyeballs_order(struct net_addr *list, const uint8_t *targets, size_t count, uint64_t last);

/* Until the next begins, ms: `wanted`, or less where that would keep some of the addresses from
 * being tried at all within half of the time that is left; at least 10 (RFC 8305 section 5). */
int64_t eyeballs_delay(int64_t wanted, int64_t left_ms, size_t addresses);

#endif
