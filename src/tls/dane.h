/* dane: TLSA records given in the configuration (RFC 6698, RFC 7671), not looked up in DNS.
 *
 * One record that fits is enough. Usages 0 (PKIX-TA) and 1 (PKIX-EE) are asked for on top of the
 * normal trust. So are 2 (DANE-TA) and 3 (DANE-EE) where trust anchors are given: both must hold.
 * Where none are, records of these are the trust, in place of the system's store (RFC 7671 5.1,
 * 5.2). Under 3 OpenSSL looks at the leaf's key alone: dates do not count then, CRLs that are given
 * do (verify.c). RFC 7671 5.1 would drop the name check too; here it stays for every usage: the
 * record says which key, the configuration which name, and a key may serve several. */
#ifndef ESCLUSA_TLS_DANE_H
#define ESCLUSA_TLS_DANE_H

#include "tls_internal.h"

struct tls_tlsa;

/* NULL: err says which record and why: one that could never be used is an error. */
struct tls_tlsa *tls_tlsa_create(const struct tls_texts *texts, const char *option,
                                 struct error *err) WARN_UNUSED;
void tls_tlsa_destroy(struct tls_tlsa **tlsa);
/* Into the fingerprint of a profile, whatever their order. */
void tls_tlsa_digest(const struct tls_tlsa *tlsa, EVP_MD_CTX *digest);
/* One at least is of usage 2 or 3. */
bool tls_tlsa_are_trust(const struct tls_tlsa *tlsa);
bool tls_dane_arm_context(SSL_CTX *ctx, struct error *err) WARN_UNUSED;
/* Before the handshake of one session. OpenSSL wants a base domain, by which records are found in
 * DNS: the first DNS name expected of the peer, none for one with IP or URI names only. Nothing
 * hangs on it here, and the SNI stays as it was. False: no session may be made. */
bool tls_dane_arm(SSL *ssl, const struct tls_tlsa *tlsa, const struct tls_peer *peer) WARN_UNUSED;
/* For a verification outside of a session: an SSL that does nothing but hold the profile's records
 * (SSL_get0_dane()); SSL_free(). NULL: none can be made, which must refuse. */
SSL *tls_dane_holder(const struct tls_profile *profile);
/* "3 1 1 HEX" that a certificate fits; "" where it has no key that can be written. */
#define TLS_TLSA_TEXT_SIZE 72
void tls_tlsa_text(char *dst, size_t size, const X509 *certificate);

#endif
