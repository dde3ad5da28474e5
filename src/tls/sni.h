/* sni: which of a listener's certificates a consumer is shown (RFC 6066 3). An exact name beats a
 * wildcard; of identities with the same name and kind of key the first is taken, and of the kinds
 * OpenSSL picks the one that the consumer can use. Without a name, or with one that no certificate
 * bears, it is the first identity, with those of other kinds that bear all of its names; or, with
 * sni_strict, the consumer is refused: with the alert unrecognized_name (112), and without a name
 * with missing_extension (109, RFC 8446 9.2; in TLS 1.2, which has none such, handshake_failure).
 * A session is resumed with the name that it began with, and no other. */
#ifndef ESCLUSA_TLS_SNI_H
#define ESCLUSA_TLS_SNI_H

#include "tls_internal.h"

struct tls_sni;

/* Tries each identity at the profile's security level, so that nothing is left to fail in a
 * handshake; for a listener with several of them or with sni_strict, makes profile->sni. */
bool tls_sni_prepare(struct tls_profile *profile, const struct tls_settings *s,
                     struct error *err) WARN_UNUSED;
void tls_sni_destroy(struct tls_sni **sni);
/* Puts the profile's identities into ctx, and the choice among them. */
bool tls_identities_arm(SSL_CTX *ctx, const struct tls_profile *profile,
                        struct error *err) WARN_UNUSED;

#endif
