/* verify: one verification for the handshake, the self-test and live sessions at a reload. */
#ifndef ESCLUSA_TLS_VERIFY_H
#define ESCLUSA_TLS_VERIFY_H

#include "tls_internal.h"

struct tls_subject {
    X509 *leaf;
    STACK_OF(X509) * sent;       /* with or without the leaf; may be NULL */
    const struct tls_peer *peer; /* upstream only */
    /* Of a session made on this very profile. NULL: made for this one verification if the profile
     * has TLSA records. */
    SSL_DANE *dane;
    X509_STORE *store; /* NULL: the profile's; others are the self-test's, and nothing is reported
                          once for ever on their account */
};
#define TLS_REPORT_TEXT_SIZE 320
struct tls_verdict {
    bool good;
    struct tls_failure failure; /* when it is not */
    int64_t valid_until_s;      /* the first end of a certificate or CRL that it stands on */
    unsigned reported;          /* bit (1 << enum tls_report): what a policy let pass */
    char reports[TLS_REPORTS][TLS_REPORT_TEXT_SIZE]; /* in words, for each bit */
    STACK_OF(X509) * chain; /* that was accepted, leaf first; owned; NULL where none was */
};
/* Chain (another path is looked for where the first fails), revocation, names or admission, pins,
 * strictness; in that order, and the first refusal is told. Any thread; does not block. OpenSSL's
 * error queue is left as it was. */
void tls_verify(struct tls_verdict *v, const struct tls_profile *profile,
                const struct tls_subject *subject);
void tls_verdict_fini(struct tls_verdict *v);
/* SSL_CTX_set_cert_verify_callback(3): the above, with the verdict noted in the session's state. */
int tls_verify_session(X509_STORE_CTX *store, void *unused);

#endif
