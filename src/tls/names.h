/* names: which names a certificate bears, and whether one of them is among those expected. RFC
 * 9525, RFC 5280 4.2.1.6. Any thread. */
#ifndef ESCLUSA_TLS_NAMES_H
#define ESCLUSA_TLS_NAMES_H

#include "tls_internal.h"

/* The leaf bears one of the peer's names. One that is a SPIFFE ID counts only where it is the only
 * URI of the certificate. */
bool tls_names_match(X509 *leaf, const struct tls_peer *peer);
/* "DNS:a or URI:spiffe://b" */
void tls_peer_text(char *dst, size_t size, const struct tls_peer *peer);
/* "a or spiffe://b" */
void tls_peer_names(char *dst, size_t size, const struct tls_peer *peer);
/* All of the peer's names are of that kind. */
bool tls_peer_all(const struct tls_peer *peer, enum tls_name_kind kind);

#endif
