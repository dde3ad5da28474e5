/* strict: which certificates RFC 5280 strictness would refuse, told once each. */
#ifndef ESCLUSA_TLS_STRICT_H
#define ESCLUSA_TLS_STRICT_H

#include "tls_internal.h"

struct tls_strict_seen;

struct tls_strict_seen *tls_strict_seen_create(void);
void tls_strict_seen_destroy(struct tls_strict_seen **seen);
/* True the first time for a certificate (bounded: the oldest are forgotten). Any thread. */
bool tls_strict_first_time(struct tls_strict_seen *seen, const X509 *leaf);

#endif
