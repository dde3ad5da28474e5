/* chain: other paths from a leaf to a trust anchor. OpenSSL takes the first issuer that looks right
 * and does not turn back (RFC 4158 tells why one should). What is found here is a proposal: only a
 * full verification of exactly that path decides. Any thread; bounded in work: no signature is
 * checked where no way leads to an anchor by name, then from the anchor down, so that only keys
 * that an anchor vouches for are used; none of RSA beyond 8192 bits. */
#ifndef ESCLUSA_TLS_CHAIN_H
#define ESCLUSA_TLS_CHAIN_H

#include "tls_internal.h"

/* Signatures checked in one search, those of the full verifications of its paths included, each as
 * much as its key costs (1: RSA of 2048 bits, P-256; 4: RSA of 4096; 8: P-384; 16: RSA of 8192):
 * what a peer can make us do with a heap of certificates of the same name. */
#define TLS_CHAIN_WORK_MAX  128
#define TLS_CHAIN_PATHS_MAX 16
#define TLS_CHAIN_DEPTH_MAX 10 /* certificates of a path, the leaf and the anchor included */

struct tls_chain_search {
    X509_STORE *store; /* of the trust anchors */
    X509 *leaf;
    STACK_OF(X509) * sent;  /* what the peer sent; may be NULL */
    STACK_OF(X509) * known; /* a path that is not to be proposed again; may be NULL */
    /* Leaf first, anchor last; true: taken, the search is over. */
    bool (*propose)(void *context, STACK_OF(X509) * path);
    void *context;
    int *work_r; /* what the signatures cost; NULL: not asked for */
};
/* True: a path was taken. Depth first; issuers that have expired or are no CA are passed over. */
bool tls_chain_search(const struct tls_chain_search *search);
/* Whether another path can make a difference to a verification that failed: not where the leaf
 * itself is at fault. */
bool tls_chain_may_help(int error, int depth);

#endif
