/* revoke: certificate revocation lists (RFC 5280 5). An expired CRL fails closed. Deltas are not
 * supported (crl_files.h). Of two current CRLs of one issuer the one that was issued last counts.
 */
#ifndef ESCLUSA_TLS_REVOKE_H
#define ESCLUSA_TLS_REVOKE_H

#include "tls_internal.h"

/* Reads the CRLs of the settings into the store; *any_r: there are some. Their contents go into
 * the digest, in an order that does not depend on files. err: which file and why. A CRL that has
 * expired is no error here: it refuses later. Once for a store, before others see it. */
bool tls_crls_read(X509_STORE *store, const struct tls_settings *s, EVP_MD_CTX *digest, bool *any_r,
                   struct error *err) WARN_UNUSED;
/* A verify error (X509_V_ERR_*) that is about revocation: what revocation_policy governs. */
bool tls_is_revocation_error(int error);
/* For certificates whose issuer is not in the chain, so that OpenSSL finds no list of it (one that
 * names its key fits nothing there) or could not verify it: by the issuer's name and the serial
 * number, in the lists as they were given. Any thread; takes no lock. */
/* A list has it, and none that was issued later by the same key is without it. */
bool tls_crls_list(X509_STORE *store, X509 *certificate);
/* What OpenSSL would say of it: X509_V_OK, or X509_V_ERR_... for one that is listed, or whose
 * issuer's newest list is missing, over, or not valid yet. One that is self-signed need only not be
 * listed. */
int tls_crls_look_up(X509_STORE *store, X509 *certificate);
/* The first nextUpdate still to come, seconds since the epoch, of the CRLs that a chain was looked
 * up in; INT64_MAX: there are none. Any thread; takes no lock. */
int64_t tls_crls_valid_until(X509_STORE *store, STACK_OF(X509) * chain);
/* Sets f->revocation. For a failure about the revocation of the certificate `refused`, with
 * verify_error, subject and issuer set: says in its reason which CRL it is about, or when and why
 * the certificate was revoked, and writes the remedy. Others are left alone. Any thread; takes no
 * lock. */
void tls_revocation_explain(struct tls_failure *f, const struct tls_profile *profile,
                            X509_STORE *store, X509 *refused);

/* False: not a date. */
bool tls_time_seconds(const ASN1_TIME *time, int64_t *seconds_r);

#endif
