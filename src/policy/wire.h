/* wire: what of a DNS message c-ares does not tell. Pure; the bytes are a stranger's. */
#ifndef ESCLUSA_SRC_WIRE_H
#define ESCLUSA_SRC_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* The least TTL of the records in the answer section, seconds (RFC 1035 section 4.1); INT32_MAX:
 * there is none; -1: the message is not well-formed that far. */
int64_t wire_least_ttl(const unsigned char *message, size_t length);

#endif
