/* The search for another path. */
#include "chain.h"

#include <openssl/x509v3.h>

#include <stdlib.h>

#define NODES_MAX   64   /* certificates looked at: more are not needed by anybody honest */
#define STEPS_MAX   4096 /* from one certificate to the next, signatures apart */
#define KEY_BITS    8192 /* of RSA: larger ones make one signature cost what a handshake may */
#define COST_STRONG 8    /* of curves beyond P-256 and the like */

enum edge { EDGE_NONE, EDGE_NAMED, EDGE_GOOD, EDGE_BAD };

struct node {
    X509 *certificate; /* owned */
    int cost;          /* of a signature by its key; 0: it may issue nothing */
    bool anchor;
    bool up; /* by what is known, a way leads to an anchor */
};

/* One search under way: first what could have issued what, by name; then the ways up from the leaf
 * that end at an anchor. A signature is checked only below one that was: keys of a stranger's
 * making are not worked with. */
struct walk {
    const struct tls_chain_search *search;
    X509_STORE_CTX *lookup;
    STACK_OF(X509) * path; /* borrowed certificates; the leaf first */
    int at[TLS_CHAIN_DEPTH_MAX];
    int length; /* of the path */
    int work, paths, steps;
    int count;
    struct node nodes[NODES_MAX];              /* the leaf first */
    unsigned char edges[NODES_MAX][NODES_MAX]; /* [subject][issuer] */
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

/* ---- who could have issued whom ---- */

/* In signatures by an RSA key of 2048 bits. */
static int key_cost(const EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
    case EVP_PKEY_DSA:
        return bits > KEY_BITS ? 0 : (bits + 2047) / 2048 * ((bits + 2047) / 2048);
    default:
        return bits <= 256 ? 1 : COST_STRONG;
    }
}

/* Nothing is accepted for what is said here; it spares work that a full verification would refuse
 * anyway. */
static int issuer_cost(X509 *issuer)
{
    const EVP_PKEY *key = X509_get0_pubkey(issuer);
    bool may_issue = key != NULL && X509_check_ca(issuer) != 0 &&
                     X509_cmp_current_time(X509_get0_notBefore(issuer)) < 0 &&
                     X509_cmp_current_time(X509_get0_notAfter(issuer)) > 0;
    return may_issue ? key_cost(key) : 0;
}

/* -1: no room. */
static int add_node(struct walk *w, X509 *certificate, bool anchor)
{
    for (int i = 0; i < w->count; i++)
        if (X509_cmp(w->nodes[i].certificate, certificate) == 0) {
            w->nodes[i].anchor = w->nodes[i].anchor || anchor;
            return i;
        }
    if (w->count == NODES_MAX || X509_up_ref(certificate) != 1)
        return -1;
    w->nodes[w->count] = (struct node){
        .certificate = certificate, .cost = issuer_cost(certificate), .anchor = anchor};
    return w->count++;
}

static void add_issuer(struct walk *w, int subject, X509 *issuer, bool anchor)
{
    if (X509_check_issued(issuer, w->nodes[subject].certificate) != X509_V_OK)
        return;
    int at = add_node(w, issuer, anchor);
    if (at >= 0 && at != subject && w->nodes[at].cost > 0)
        w->edges[subject][at] = EDGE_NAMED;
}

/* What is trusted first: it stays in front of what was sent. */
static void add_issuers(struct walk *w, int subject)
{
    X509 *of = w->nodes[subject].certificate;
    if (X509_self_signed(of, 0) != 0)
        return;
    STACK_OF(X509) *anchors = X509_STORE_CTX_get1_certs(w->lookup, X509_get_issuer_name(of));
    for (int i = 0; i < sk_X509_num(anchors); i++)
        add_issuer(w, subject, sk_X509_value(anchors, i), true);
    sk_X509_pop_free(anchors, X509_free);
    for (int i = 0; i < sk_X509_num(w->search->sent) && i < NODES_MAX; i++)
        add_issuer(w, subject, sk_X509_value(w->search->sent, i), false);
}

static bool is_open(const struct walk *w, int subject, int issuer)
{
    return w->edges[subject][issuer] == EDGE_NAMED || w->edges[subject][issuer] == EDGE_GOOD;
}

/* Again whenever a signature was found to be bad. */
static void find_ways_up(struct walk *w)
{
    bool more = true;
    for (int i = 0; i < w->count; i++)
        w->nodes[i].up = w->nodes[i].anchor;
    for (int round = 0; more && round < TLS_CHAIN_DEPTH_MAX; round++) {
        more = false;
        for (int i = 0; i < w->count; i++)
            for (int j = 0; !w->nodes[i].up && j < w->count; j++)
                if (w->nodes[j].up && is_open(w, i, j))
                    w->nodes[i].up = more = true;
    }
}

/* ---- signatures ---- */

static bool charge(struct walk *w, int cost)
{
    if (w->work + cost > TLS_CHAIN_WORK_MAX) {
        w->steps = STEPS_MAX; /* that was all */
        return false;
    }
    w->work += cost;
    return true;
}

static bool spent(const struct walk *w)
{
    return w->work >= TLS_CHAIN_WORK_MAX || w->paths >= TLS_CHAIN_PATHS_MAX ||
           w->steps >= STEPS_MAX;
}

/* From the anchor down. Each is checked once. */
static bool is_signed(struct walk *w)
{
    for (int i = w->length - 1; i > 0; i--) {
        const struct node *issuer = &w->nodes[w->at[i]];
        unsigned char *edge = &w->edges[w->at[i - 1]][w->at[i]];
        if (*edge == EDGE_GOOD)
            continue;
        if (!charge(w, issuer->cost))
            return false;
        bool good = X509_verify(w->nodes[w->at[i - 1]].certificate,
                                X509_get0_pubkey(issuer->certificate)) == 1;
        *edge = good ? EDGE_GOOD : EDGE_BAD;
        if (!good) {
            find_ways_up(w);
            return false;
        }
    }
    return true;
}

static bool is_broken(const struct walk *w)
{
    for (int i = 1; i < w->length; i++)
        if (w->edges[w->at[i - 1]][w->at[i]] == EDGE_BAD)
            return true;
    return false;
}

static bool propose(struct walk *w)
{
    int cost = 0;
    if (w->search->known != NULL && same(w->path, w->search->known))
        return false;
    for (int i = 1; i < w->length; i++)
        cost += w->nodes[w->at[i]].cost;
    if (spent(w) || !charge(w, cost)) /* the full verification checks them again */
        return false;
    w->paths++;
    return w->search->propose(w->search->context, w->path);
}

/* ---- ways ---- */

static bool push(struct walk *w, int node)
{
    if (sk_X509_push(w->path, w->nodes[node].certificate) <= 0)
        return false;
    w->at[w->length++] = node;
    return true;
}

static bool is_on_path(const struct walk *w, int node)
{
    for (int i = 0; i < w->length; i++)
        if (w->at[i] == node)
            return true;
    return false;
}

static bool climb(struct walk *w);

static bool try_issuer(struct walk *w, int node)
{
    w->steps++;
    if (!push(w, node))
        return false;
    bool taken = w->nodes[node].anchor && is_signed(w) && propose(w);
    /* A longer way than to the first anchor may be what a pin asks for. */
    taken = taken || (!is_broken(w) && climb(w));
    (void)sk_X509_pop(w->path);
    w->length--;
    return taken;
}

/* Goes on from the last certificate of the path: to what is trusted first. The depth is bounded, so
 * the recursion is. */
static bool climb(struct walk *w)
{
    int last = w->at[w->length - 1];
    if (w->length == TLS_CHAIN_DEPTH_MAX)
        return false;
    for (int trusted = 1; trusted >= 0; trusted--)
        for (int i = 0; i < w->count && !spent(w) && !is_broken(w); i++)
            if (w->nodes[i].anchor == (trusted == 1) && w->nodes[i].up && is_open(w, last, i) &&
                !is_on_path(w, i) && try_issuer(w, i))
                return true;
    return false;
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

static bool climb_from_leaf(struct walk *w)
{
    for (int i = 0; i < w->count; i++) /* which adds more */
        add_issuers(w, i);
    find_ways_up(w);
    return w->nodes[0].up && climb(w);
}

bool tls_chain_search(const struct tls_chain_search *search)
{
    struct walk *w = calloc(1, sizeof *w);
    bool taken = false;
    if (w == NULL)
        return false;
    w->search = search;
    w->lookup = X509_STORE_CTX_new();
    w->path = sk_X509_new_null();
    if (w->lookup != NULL && w->path != NULL &&
        X509_STORE_CTX_init(w->lookup, search->store, NULL, NULL) == 1 &&
        add_node(w, search->leaf, false) == 0 && push(w, 0))
        taken = leaf_alone(w) || climb_from_leaf(w);
    if (search->work_r != NULL)
        *search->work_r = w->work;
    for (int i = 0; i < w->count; i++)
        X509_free(w->nodes[i].certificate);
    sk_X509_free(w->path);
    X509_STORE_CTX_free(w->lookup);
    free(w);
    return taken;
}
