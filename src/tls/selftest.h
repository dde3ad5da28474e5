/* selftest: before a profile is used it proves, in memory, that it refuses what it must.
 *
 * With authorities made for the purpose, once a process: a leaf of an unknown CA is refused by the
 * profile's own store; where that CA is trusted a good leaf passes, an expired one and one of
 * another name do not; and a handshake on the profile's first context with a peer of the unknown CA
 * does not come to its end. Nothing is proven of a profile that verifies nobody
 * (insecure_skip_verify, listeners that ask for no certificate). */
#ifndef ESCLUSA_TLS_SELFTEST_H
#define ESCLUSA_TLS_SELFTEST_H

#include "verify.h"

/* False: err begins with "self-test: ". Any thread; a few milliseconds. */
bool tls_selftest(const struct tls_profile *profile, struct error *err) WARN_UNUSED;
/* The same with another function in the place of tls_verify(): how a test sees it fail. */
bool tls_selftest_by(const struct tls_profile *profile,
                     void (*verify)(struct tls_verdict *v, const struct tls_profile *profile,
                                    const struct tls_subject *subject),
                     struct error *err) WARN_UNUSED;

#endif
