/* Live upstream sessions, verified anew at a reload with what they keep of their handshake. */
#include "resume.h"
#include "verify.h"

#include <esclusa/str.h>

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* Different upstreams whose sessions alternate in a worker's list. */
#define VERDICTS_MAX 8

struct known {
    const struct tls_profile *profile;
    const struct tls_peer *peer;
    X509 *leaf;
    STACK_OF(X509) * sent;
    struct tls_failure *failure; /* NULL: it is good */
};

struct tls_reverify {
    struct known known[VERDICTS_MAX];
    unsigned next; /* the oldest */
};

static void forget(struct known *k)
{
    X509_free(k->leaf);
    sk_X509_pop_free(k->sent, X509_free);
    free(k->failure);
    memset(k, 0, sizeof *k);
}

struct tls_reverify *tls_reverify_create(void)
{
    return calloc(1, sizeof(struct tls_reverify));
}

void tls_reverify_destroy(struct tls_reverify **r)
{
    for (size_t i = 0; *r != NULL && i < VERDICTS_MAX; i++)
        forget(&(*r)->known[i]);
    free(*r);
    *r = NULL;
}

static bool same_chain(const STACK_OF(X509) * a, const STACK_OF(X509) * b)
{
    int count = sk_X509_num(a); /* -1 for none */
    if (count != sk_X509_num(b))
        return false;
    for (int i = 0; i < count; i++)
        if (X509_cmp(sk_X509_value(a, i), sk_X509_value(b, i)) != 0)
            return false;
    return true;
}

static const struct known *find(const struct tls_reverify *r, const struct tls_profile *profile,
                                const struct tls_peer *peer, const X509 *leaf,
                                const STACK_OF(X509) * sent)
{
    for (size_t i = 0; r != NULL && i < VERDICTS_MAX; i++) {
        const struct known *k = &r->known[i];
        if (k->profile == profile && k->peer == peer && X509_cmp(k->leaf, leaf) == 0 &&
            same_chain(k->sent, sent))
            return k;
    }
    return NULL;
}

/* Failing to remember costs time only. */
static void remember(struct tls_reverify *r, const struct tls_profile *profile,
                     const struct tls_subject *subject, const struct tls_verdict *v)
{
    if (r == NULL)
        return;
    struct known *k = &r->known[r->next];
    forget(k);
    if (!v->good && (k->failure = malloc(sizeof *k->failure)) == NULL)
        return;
    if (subject->sent != NULL && (k->sent = X509_chain_up_ref(subject->sent)) == NULL) {
        forget(k);
        return;
    }
    if (!v->good)
        *k->failure = v->failure;
    (void)X509_up_ref(subject->leaf);
    k->leaf = subject->leaf;
    k->profile = profile;
    k->peer = subject->peer;
    r->next = (r->next + 1) % VERDICTS_MAX;
}

static bool unable(struct tls_failure *why, const char *reason)
{
    memset(why, 0, sizeof *why);
    why->fault = TLS_FAULT_INTERNAL;
    why->alert = -1;
    why->depth = -1;
    (void)str_copy(why->reason, sizeof why->reason, reason);
    return false;
}

static bool verify_anew(struct tls_reverify *r, const struct tls_profile *now,
                        const struct tls_subject *subject, struct tls_failure *why_r)
{
    struct tls_verdict v;
    tls_verify(&v, now, subject);
    bool good = v.good;
    if (!good)
        *why_r = v.failure;
    remember(r, now, subject, &v);
    tls_verdict_fini(&v);
    return good;
}

bool tls_session_reverify(struct tls_reverify *r, struct ssl_st *ssl, const struct tls_profile *now,
                          const struct tls_peer *peer, struct tls_failure *why_r)
{
    const struct tls_state *state = tls_state_of(ssl);
    const struct tls_profile *before = state->profile;
    /* The machine's own trust store may have changed behind its name. */
    bool same = !now->system_store && tls_same_peer(peer, state->peer) &&
                memcmp(now->fingerprint, before->fingerprint, sizeof now->fingerprint) == 0;
    if (now == before || same || now->insecure_skip_verify)
        return true;
    /* A resumed session has those of the one that it goes back to. */
    const struct tls_subject subject = {
        .leaf = SSL_get0_peer_certificate(ssl),
        .sent = SSL_get_peer_cert_chain(ssl),
        .peer = peer,
    };
    if (subject.leaf == NULL)
        return unable(why_r, "its certificate is not known any more");
    const struct known *k = find(r, now, peer, subject.leaf, subject.sent);
    if (k != NULL) {
        if (k->failure != NULL)
            *why_r = *k->failure;
        return k->failure == NULL;
    }
    ERR_clear_error();
    bool good = verify_anew(r, now, &subject, why_r);
    ERR_clear_error();
    return good;
}
