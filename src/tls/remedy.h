/* remedy: why a peer's certificate was refused and what would fix that, in words. */
#ifndef ESCLUSA_TLS_REMEDY_H
#define ESCLUSA_TLS_REMEDY_H

#include "verify.h"

/* Each fills all of f. */

/* error, depth: X509_verify_cert(3)'s; refused: the certificate it stopped at; NULL: the leaf. */
void tls_refuse_chain(struct tls_failure *f, const struct tls_profile *profile,
                      const struct tls_subject *subject, int error, int depth, X509 *refused);
void tls_refuse_names(struct tls_failure *f, const struct tls_profile *profile,
                      const struct tls_subject *subject);
void tls_refuse_admission(struct tls_failure *f, const struct tls_profile *profile,
                          const struct tls_subject *subject);
void tls_refuse_pins(struct tls_failure *f, const struct tls_profile *profile,
                     const struct tls_subject *subject, STACK_OF(X509) * chain);
#define TLS_NO_PIN "no certificate of the chain has a pinned key"
/* The chain's pins, the leaf's first: "sha256//... (CN), ..."; what does not fit is left out. */
void tls_chain_pins_text(char *dst, size_t size, STACK_OF(X509) * chain);

#endif
