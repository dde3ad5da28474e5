/* srv: the order in which the targets of an SRV record are tried (RFC 2782, "The format of the SRV
 * RR"). Pure: chance is the caller's. Private to policy. */
#ifndef ESCLUSA_SRC_SRV_H
#define ESCLUSA_SRC_SRV_H

#include "answer.h"

/* The lowest priority first; within one, by chance in proportion to the weights. Targets without an
 * address are left out. chance(context, n) gives 0 to n, both included. order_r: at least as many
 * as there are targets. How many were ordered. */
size_t srv_order(const struct answer *answer, uint32_t (*chance)(void *context, uint32_t n),
                 void *context, uint8_t *order_r);

#endif
