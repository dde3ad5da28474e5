/* identity: our certificates and keys: PEM, PKCS#12, or a URI that OpenSSL's store opens; keys with
 * a passphrase. */
#ifndef ESCLUSA_TLS_IDENTITY_H
#define ESCLUSA_TLS_IDENTITY_H

#include "tls_internal.h"

/* Reads profile->identities from the settings. Each leaf is in its time of validity, its key fits
 * it, and each certificate behind it issued one before: in a PEM file that is demanded, PKCS#12 and
 * URIs are put in order. */
bool tls_identities_read(struct tls_profile *profile, const struct tls_settings *s,
                         struct error *err) WARN_UNUSED;
void tls_identities_free(struct tls_profile *profile);

#endif
