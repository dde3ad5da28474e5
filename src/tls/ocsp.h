/* ocsp: stapled responses, asked for and checked (upstream), and shown (downstream). RFC 6960,
 * RFC 6066 8, RFC 7633 (must-staple). */
#ifndef ESCLUSA_TLS_OCSP_H
#define ESCLUSA_TLS_OCSP_H

#include "tls_internal.h"

struct tls_staples;

/* Upstream: has ctx ask for a response and check it before the handshake ends. */
bool tls_ocsp_arm(SSL_CTX *ctx, const struct tls_profile *profile, struct error *err) WARN_UNUSED;
/* Downstream: reads the responses. Each must be for one of the profile's certificates, good and in
 * its time; the signature is checked where the issuer is at hand. NULL: err says why. */
struct tls_staples *tls_staples_create(const struct tls_profile *profile,
                                       const struct tls_settings *s, struct error *err) WARN_UNUSED;
void tls_staples_destroy(struct tls_staples **staples);
bool tls_staples_arm(SSL_CTX *ctx, const struct tls_profile *profile,
                     struct error *err) WARN_UNUSED;

#endif
