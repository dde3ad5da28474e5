/* The search for another path. */
#include "chain.h"

#include <openssl/x509v3.h>

/* One search under way. */
struct walk {
    const struct tls_chain_search *search;
    X509_STORE_CTX *lookup;
    STACK_OF(X509) * path; /* borrowed certificates; the leaf first */
    int work, paths;
};

bool tls_chain_may_help(int error, int depth)
{
    switch (error) {
    case X509_V_ERR_UNSPECIFIED:
    case X509_V_ERR_OUT_OF_MEM:
    case X509_V_ERR_INVALID_CALL:
    case X509_V_ERR_STORE_LOOKUP:
        return false;
    /* Told of the leaf, but due to what is above it. */
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
        return true;
    default:
        return depth > 0;
    }
}

static bool contains(STACK_OF(X509) * list, const X509 *certificate)
{
    for (int i = 0; i < sk_X509_num(list); i++)
        if (X509_cmp(sk_X509_value(list, i), certificate) == 0)
            return true;
    return false;
}

static bool same(STACK_OF(X509) * a, STACK_OF(X509) * b)
{
    if (sk_X509_num(a) != sk_X509_num(b))
        return false;
    for (int i = 0; i < sk_X509_num(a); i++)
        if (X509_cmp(sk_X509_value(a, i), sk_X509_value(b, i)) != 0)
            return false;
    return true;
}

/* Nothing is accepted for what is said here; it spares work that a full verification would refuse
 * anyway. */
static bool promising(X509 *subject, X509 *issuer)
{
    return X509_check_issued(issuer, subject) == X509_V_OK && X509_check_ca(issuer) != 0 &&
           X509_cmp_current_time(X509_get0_notBefore(issuer)) < 0 &&
           X509_cmp_current_time(X509_get0_notAfter(issuer)) > 0;
}

static bool spent(const struct walk *w)
{
    return w->work >= TLS_CHAIN_WORK_MAX || w->paths >= TLS_CHAIN_PATHS_MAX;
}

/* Which of several issuers of the same name has really signed. */
static bool signed_by(struct walk *w, X509 *subject, X509 *issuer)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    w->work++;
    return key != NULL && X509_verify(subject, key) == 1;
}

static bool propose(struct walk *w)
{
    if (w->search->known != NULL && same(w->path, w->search->known))
        return false;
    int signatures = sk_X509_num(w->path) - 1;
    if (spent(w) || w->work + signatures > TLS_CHAIN_WORK_MAX)
        return false;
    w->work += signatures;
    w->paths++;
    return w->search->propose(w->search->context, w->path);
}

static bool extend(struct walk *w);

static bool try_issuer(struct walk *w, X509 *issuer, bool anchor)
{
    X509 *subject = sk_X509_value(w->path, sk_X509_num(w->path) - 1);
    if (spent(w) || contains(w->path, issuer) || !promising(subject, issuer) ||
        !signed_by(w, subject, issuer) || sk_X509_push(w->path, issuer) == 0)
        return false;
    /* A longer way than to the first anchor may be what a pin asks for. */
    bool taken = (anchor && propose(w)) || extend(w);
    (void)sk_X509_pop(w->path);
    return taken;
}

/* Goes on from the last certificate of the path: to what is trusted first. The depth is bounded, so
 * the recursion is. */
static bool extend(struct walk *w)
{
    X509 *last = sk_X509_value(w->path, sk_X509_num(w->path) - 1);
    if (spent(w) || sk_X509_num(w->path) >= TLS_CHAIN_DEPTH_MAX || X509_self_signed(last, 0) != 0)
        return false;
    bool taken = false;
    STACK_OF(X509) *anchors = X509_STORE_CTX_get1_certs(w->lookup, X509_get_issuer_name(last));
    for (int i = 0; !taken && i < sk_X509_num(anchors); i++)
        taken = try_issuer(w, sk_X509_value(anchors, i), true);
    for (int i = 0; !taken && i < sk_X509_num(w->search->sent); i++) {
        X509 *issuer = sk_X509_value(w->search->sent, i);
        if (!contains(anchors, issuer))
            taken = try_issuer(w, issuer, false);
    }
    sk_X509_pop_free(anchors, X509_free);
    return taken;
}

/* A leaf that is trusted itself needs no issuer. */
static bool leaf_alone(struct walk *w)
{
    X509 *leaf = w->search->leaf;
    STACK_OF(X509) *anchors = X509_STORE_CTX_get1_certs(w->lookup, X509_get_subject_name(leaf));
    bool taken = contains(anchors, leaf) && propose(w);
    sk_X509_pop_free(anchors, X509_free);
    return taken;
}

bool tls_chain_search(const struct tls_chain_search *search)
{
    struct walk w = {.search = search, .lookup = X509_STORE_CTX_new(), .path = sk_X509_new_null()};
    bool taken = w.lookup != NULL && w.path != NULL &&
                 X509_STORE_CTX_init(w.lookup, search->store, NULL, NULL) == 1 &&
                 sk_X509_push(w.path, search->leaf) > 0 && (leaf_alone(&w) || extend(&w));
    if (search->work_r != NULL)
        *search->work_r = w.work;
    sk_X509_free(w.path);
    X509_STORE_CTX_free(w.lookup);
    return taken;
}
