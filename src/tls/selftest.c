/* The proof of refusals. */
#include "selftest.h"
#include "selftest_pki.h"

#include <esclusa/str.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#define ROUNDS_MAX 20 /* a handshake takes fewer turns of each side */

/* One self-test under way. */
struct proof {
    const struct tls_profile *profile;
    const struct selftest_pki *pki;
    void (*verify)(struct tls_verdict *v, const struct tls_profile *profile,
                   const struct tls_subject *subject);
    SSL *holder; /* of a TLSA record that fits the leaf, where the profile has records */
    struct tls_peer peer;
    struct tls_peer stranger;
    struct error *err;
};

static bool accepted(const struct proof *t, const char *what)
{
    return error_set(t->err, "self-test: %s was accepted: refusing to start", what);
}

/* It was refused, but not for what it should be: the test has proven nothing. */
static bool missed(const struct proof *t, const char *what, const struct tls_verdict *v)
{
    return error_set(t->err, "self-test: %s was refused for another reason (%s): refusing to start",
                     what, v->failure.reason);
}

/* ---- tls_verify() ---- */

static void ask(const struct proof *t, X509 *leaf, bool trusted, const struct tls_peer *peer,
                struct tls_verdict *v)
{
    STACK_OF(X509) *sent = sk_X509_new_null();
    const struct tls_subject subject = {
        .leaf = leaf,
        .sent = sent,
        .peer = t->profile->role == TLS_UPSTREAM ? peer : NULL,
        .dane = trusted && t->holder != NULL ? SSL_get0_dane(t->holder) : NULL,
        .store = trusted ? t->pki->store : NULL,
    };
    if (sent != NULL)
        (void)sk_X509_push(sent, t->pki->authority);
    t->verify(v, t->profile, &subject);
    tls_verdict_fini(v);
    sk_X509_free(sent);
}

static bool prove_unknown(const struct proof *t)
{
    static const char what[] = "a certificate of an unknown CA";
    struct tls_verdict v;
    ask(t, t->pki->leaf, false, &t->peer, &v);
    return !v.good || accepted(t, what);
}

/* Without this the refusals below could be due to anything. Pins and the rules of admission come
 * last: where they refuse, all before them was good. */
static bool prove_good(const struct proof *t)
{
    struct tls_verdict v;
    bool choosy = t->profile->pins != NULL || t->profile->admission != NULL;
    ask(t, t->pki->leaf, true, &t->peer, &v);
    if (v.good || (choosy && v.failure.verify_error == X509_V_ERR_APPLICATION_VERIFICATION))
        return true;
    return error_set(t->err, "self-test: a good certificate was refused (%s): refusing to start",
                     v.failure.reason);
}

static bool prove_expired(const struct proof *t)
{
    static const char what[] = "an expired certificate";
    struct tls_verdict v;
    if (t->holder != NULL) /* DANE-EE does not look at dates, RFC 7671 5.1 */
        return true;
    ask(t, t->pki->expired, true, &t->peer, &v);
    if (v.good)
        return accepted(t, what);
    return v.failure.verify_error == X509_V_ERR_CERT_HAS_EXPIRED || missed(t, what, &v);
}

static bool prove_name(const struct proof *t)
{
    static const char what[] = "a certificate of another name";
    struct tls_verdict v;
    if (t->profile->role != TLS_UPSTREAM)
        return true; /* consumers have no names that are expected */
    ask(t, t->pki->leaf, true, &t->stranger, &v);
    if (t->profile->names_policy == TLS_POLICY_REPORT)
        return (v.reported & (1U << TLS_REPORT_NAMES)) != 0 ||
               error_set(t->err, "self-test: %s was not reported: refusing to start", what);
    if (v.good)
        return accepted(t, what);
    return v.failure.verify_error == X509_V_ERR_HOSTNAME_MISMATCH || missed(t, what, &v);
}

/* ---- a handshake ---- */

/* A listener may serve only those who ask for a name that it has. */
static void ask_for_our_name(SSL *theirs, const X509 *ours)
{
    char name[TLS_NAME_MAX];
    GENERAL_NAMES *names = X509_get_ext_d2i(ours, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int kind = 0;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind);
        size_t length = kind == GEN_DNS ? (size_t)ASN1_STRING_length(value) : 0;
        if (length == 0 || length >= sizeof name)
            continue;
        memcpy(name, ASN1_STRING_get0_data(value), length);
        name[length] = '\0';
        if (name[0] == '*')
            name[0] = 'x';
        (void)SSL_set_tlsext_host_name(theirs, name);
        break;
    }
    GENERAL_NAMES_free(names);
}

/* One side's turn. True: it goes on, or is done. */
static bool turn(SSL *ssl, bool *done)
{
    ERR_clear_error();
    int result = SSL_do_handshake(ssl);
    int why = SSL_get_error(ssl, result);
    *done = result == 1;
    return *done || why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

static bool comes_to_its_end(SSL *ours, SSL *theirs)
{
    bool done = false;
    bool other = false;
    for (int i = 0; i < ROUNDS_MAX && !done; i++)
        if (!turn(ours, &done) || (!turn(theirs, &other) && !done))
            break;
    return done;
}

/* A peer that could not sign for this profile shows no certificate, as TLS lets it; where that is
 * allowed nothing was proven, and nothing is wrong. */
static bool took_it(const struct proof *t, const SSL *ours)
{
    return t->profile->client_auth != TLS_CLIENT_OPTIONAL ||
           SSL_get0_peer_certificate(ours) != NULL;
}

static bool prove_handshake(const struct proof *t)
{
    bool up = t->profile->role == TLS_UPSTREAM;
    BIO *near = NULL;
    BIO *far = NULL;
    SSL *ours = tls_session_create(t->profile, 0, up ? &t->peer : NULL);
    SSL *theirs = SSL_new(up ? t->pki->server : t->pki->client);
    bool ready = ours != NULL && theirs != NULL && BIO_new_bio_pair(&near, 0, &far, 0) == 1;
    bool refused = false;
    if (ready) {
        SSL_set_bio(ours, near, near);
        SSL_set_bio(theirs, far, far);
        if (up) {
            SSL_set_accept_state(theirs);
        } else {
            SSL_set_connect_state(theirs);
            ask_for_our_name(theirs, t->profile->identities[0].leaf);
        }
        refused = !comes_to_its_end(ours, theirs) || !took_it(t, ours);
    }
    SSL_free(theirs);
    tls_session_destroy(&ours);
    if (!ready)
        return error_set(t->err, "self-test: no memory");
    return refused || accepted(t, "a handshake with a peer of an unknown CA");
}

/* ---- all of it ---- */

/* The profile's own records would refuse all that is shown here. One that fits lets the rest be
 * tested. */
static bool arm(struct proof *t)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    unsigned char *der = NULL;
    if (t->profile->tlsa == NULL)
        return true;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(t->pki->leaf), &der);
    t->holder = SSL_new(t->profile->contexts[0]);
    bool done = size > 0 && t->holder != NULL &&
                EVP_Digest(der, (size_t)size, hash, &length, EVP_sha256(), NULL) == 1 &&
                SSL_dane_enable(t->holder, SELFTEST_NAME) == 1 &&
                SSL_dane_tlsa_add(t->holder, 3, 1, 1, hash, length) == 1;
    OPENSSL_free(der);
    return done || error_set(t->err, "self-test: DANE: %s", tls_openssl_reason());
}

static bool verifies(const struct tls_profile *p)
{
    return !p->insecure_skip_verify &&
           (p->role == TLS_UPSTREAM || p->client_auth != TLS_CLIENT_NONE);
}

bool tls_selftest_by(const struct tls_profile *profile,
                     void (*verify)(struct tls_verdict *v, const struct tls_profile *profile,
                                    const struct tls_subject *subject),
                     struct error *err)
{
    if (!verifies(profile))
        return true;
    struct proof t = {.profile = profile, .verify = verify, .err = err};
    ERR_clear_error();
    t.pki = selftest_pki(profile->security_level);
    if (t.pki == NULL)
        return error_set(err, "self-test: its certificates cannot be made: %s",
                         tls_openssl_reason());
    struct tls_name other;
    if (!tls_name_set(&t.peer.server_name, SELFTEST_NAME, err) ||
        !tls_name_set(&other, "other." SELFTEST_NAME, err))
        return false;
    t.peer.names = &t.peer.server_name;
    t.peer.name_count = 1;
    t.peer.id = UINT64_MAX;
    t.stranger = t.peer;
    t.stranger.names = &other;
    bool proven = arm(&t) && prove_unknown(&t) && prove_good(&t) && prove_expired(&t) &&
                  prove_name(&t) && prove_handshake(&t);
    SSL_free(t.holder);
    ERR_clear_error();
    return proven;
}

bool tls_selftest(const struct tls_profile *profile, struct error *err)
{
    return tls_selftest_by(profile, tls_verify, err);
}
