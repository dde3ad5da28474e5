/* tlsctx: one SSL_CTX, made from a profile whose other parts are ready. */
#ifndef ESCLUSA_TLS_TLSCTX_H
#define ESCLUSA_TLS_TLSCTX_H

#include "tls_internal.h"

SSL_CTX *tls_context_create(const struct tls_profile *profile, const struct tls_settings *s,
                            struct error *err) WARN_UNUSED;

#endif
