/* ocsp_response: what one OCSP response says about one certificate, and whether to believe it
 * (RFC 6960 3.2, 4.2.2). For responses that an upstream staples and for those that we staple. */
#ifndef ESCLUSA_TLS_OCSP_RESPONSE_H
#define ESCLUSA_TLS_OCSP_RESPONSE_H

#include "tls_internal.h"

enum ocsp_verdict {
    OCSP_GOOD,
    OCSP_UNSUCCESSFUL, /* the responder had no answer: "tryLater" */
    OCSP_DAMAGED,
    OCSP_OF_ANOTHER, /* about other certificates only */
    OCSP_UNVERIFIED, /* not signed by the issuer, nor by whom it delegated */
    OCSP_WEAK,       /* signed, but with a digest that is no proof */
    OCSP_REVOKED_ANSWER,
    OCSP_UNKNOWN_ANSWER,
    OCSP_EARLY,
    OCSP_EXPIRED
};

struct ocsp_answer {
    enum ocsp_verdict verdict;
    char detail[256]; /* in words what was found, but for OCSP_GOOD */
    char date[64];    /* of the revocation, the begin or the end; "" none */
    /* Seconds since the epoch. Without nextUpdate: OCSP_AGE_MAX_S after the begin. */
    int64_t this_update_s, valid_until_s;
};

/* A response without nextUpdate says that newer ones are to be had at any time (RFC 6960 4.2.2.1).
 * It is taken for this long. */
#define OCSP_AGE_MAX_S ((int64_t)7 * 24 * 3600)
/* By which the clocks of the responder and this machine may differ. */
#define OCSP_SKEW_S ((int64_t)300)

/* issuer NULL: not at hand; the signature is then not checked, and the certificate is matched by
 * serial number and issuer's name. security_level: SSL_CTX_set_security_level(3). Of several
 * answers about the certificate the worst counts. Any thread; does not block. */
void ocsp_check(struct ocsp_answer *answer, const unsigned char *der, size_t length, X509 *leaf,
                X509 *issuer, int security_level);

/* The issuer of leaf among candidates, by name and signature; borrowed. NULL: not there. */
X509 *ocsp_find_issuer(X509 *leaf, STACK_OF(X509) * candidates);

#endif
