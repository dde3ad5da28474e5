/* negotiate: versions, groups, ciphers, signature algorithms, security level, ALPN. */
#ifndef ESCLUSA_TLS_NEGOTIATE_H
#define ESCLUSA_TLS_NEGOTIATE_H

#include "tls_internal.h"

/* Makes profile->alpn. */
bool tls_alpn_prepare(struct tls_profile *profile, const struct tls_settings *s,
                      struct error *err) WARN_UNUSED;
bool tls_negotiation_arm(SSL_CTX *ctx, const struct tls_profile *profile,
                         const struct tls_settings *s, struct error *err) WARN_UNUSED;
/* tls_session_info(). */
void tls_negotiated(SSL *ssl, struct tls_info *info);

#endif
