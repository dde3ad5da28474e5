/* admit: which verified consumers may connect: by CN, OU, DNS and URI names with * globs, by pin.
 *
 * A * stands for any text, also none, and also for dots: "*.example.org" takes "a.b.example.org".
 * DNS names are compared without regard to case; CN and OU exactly, as UTF-8; of URIs scheme and
 * host without regard to case (RFC 3986 6.2.2.1), the rest exactly. In a URI with a path a * in the
 * host stays within the host: what is meant for the hosts below example.org does not take
 * "spiffe://evil.test/.example.org/x". Of several CNs or OUs each counts. A wildcard in a
 * certificate stands for itself. A SPIFFE ID counts only where it is the certificate's only URI, as
 * for upstreams (names.h). */
#ifndef ESCLUSA_TLS_ADMIT_H
#define ESCLUSA_TLS_ADMIT_H

#include "tls_internal.h"

struct tls_admission;

/* *admission_r is NULL where the settings have no rule, or say that no certificate is asked for.
 * Rules where that only follows from a missing CA are an error: they would let everybody in. */
bool tls_admission_create(struct tls_admission **admission_r, const struct tls_settings *s,
                          struct error *err) WARN_UNUSED;
void tls_admission_destroy(struct tls_admission **admission);
/* Into the fingerprint of a profile, whatever the order of the rules. */
void tls_admission_digest(const struct tls_admission *admission, EVP_MD_CTX *digest);
/* One rule of any kind is enough. Any thread. */
bool tls_admitted(const struct tls_admission *admission, X509 *leaf);

#endif
