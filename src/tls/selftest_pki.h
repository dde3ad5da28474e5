/* selftest_pki: authorities and leaves for the self-test, made in memory once a process; their keys
 * never leave it. */
#ifndef ESCLUSA_TLS_SELFTEST_PKI_H
#define ESCLUSA_TLS_SELFTEST_PKI_H

#include "tls_internal.h"

#define SELFTEST_NAME "self-test.invalid" /* RFC 6761 6.4: nobody's */

struct selftest_pki {
    X509 *authority, *leaf, *expired; /* both leaves bear SELFTEST_NAME */
    EVP_PKEY *authority_key, *key;    /* of both leaves */
    X509_STORE *store;                /* trusts the authority; with its (empty) CRL */
    SSL_CTX *server, *client;         /* show the leaf and accept anything */
};
/* One whose keys and digests are strong enough for the security level (0 to 5). Shared; read only;
 * NULL: it could not be made. Any thread. */
const struct selftest_pki *selftest_pki(int security_level);

#endif
