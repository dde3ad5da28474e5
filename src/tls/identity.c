/* Our own certificates and keys: read from whatever holds them, and checked together. */
#include "identity.h"
#include "key_file.h"
#include "store_uri.h"

#include <esclusa/str.h>

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* One pair, and the words for its errors. */
struct identity_source {
    const char *cert, *key; /* files or URIs; key NULL: where cert is */
    const char *cert_word, *key_word;
    struct tls_passphrase *passphrase;
};

static const char *subject_of(char *storage, size_t size, const X509 *certificate)
{
    tls_name_text(storage, size, X509_get_subject_name(certificate));
    return storage;
}

static bool fits(const X509 *certificate, const EVP_PKEY *key)
{
    bool answer = X509_check_private_key(certificate, key) == 1;
    ERR_clear_error();
    return answer;
}

/* issuer's name, key identifier and key usage are those of a CA that issued certificate. */
static bool issued(X509 *issuer, X509 *certificate)
{
    return X509_check_issued(issuer, certificate) == X509_V_OK;
}

/* ---- the order of a chain ---- */

/* RFC 8446 4.4.2: each certificate should certify the one before it. More than one may certify the
 * same (a CA with a new root and, cross-signed, an old one): any of those before will do. */
static bool chain_check(const struct tls_identity *identity, const struct identity_source *from,
                        struct error *err)
{
    char subject[256];
    for (int i = 0; i < sk_X509_num(identity->chain); i++) {
        X509 *certificate = sk_X509_value(identity->chain, i);
        bool found = issued(certificate, identity->leaf);
        for (int j = 0; !found && j < i; j++)
            found = issued(certificate, sk_X509_value(identity->chain, j));
        if (!found)
            return error_set(err,
                             "%s '%s': certificate %d ('%s') did not issue certificate %d nor any "
                             "before it: put each issuer behind what it issued, and leave out the "
                             "rest",
                             from->cert_word, from->cert, i + 2,
                             subject_of(subject, sizeof subject, certificate), i + 1);
    }
    return true;
}

/* Moves those of others that certify something of the chain so far behind it; the order in a
 * PKCS#12 file or a token says nothing. */
static bool chain_sort(struct tls_identity *identity, STACK_OF(X509) * others)
{
    X509 *last = identity->leaf;
    for (int at = 0; last != NULL; at++) {
        for (int i = 0; i < sk_X509_num(others);) {
            X509 *certificate = sk_X509_value(others, i);
            if (certificate == last || !issued(certificate, last)) {
                i++;
            } else if (sk_X509_push(identity->chain, certificate) > 0) {
                (void)sk_X509_delete(others, i);
            } else {
                return false;
            }
        }
        last = sk_X509_value(identity->chain, at); /* NULL behind the end */
    }
    return true;
}

/* ---- keys ---- */

static EVP_PKEY *pkcs12_key(const struct pem_file *f, const struct identity_source *from,
                            struct error *err)
{
    X509 *leaf = NULL;
    EVP_PKEY *key = NULL;
    STACK_OF(X509) *others = NULL;
    if (key_file_pkcs12(f, from->passphrase, &leaf, &key, &others, err) && key == NULL)
        (void)error_set(err, "%s '%s': no private key in this PKCS#12 file", f->option, f->path);
    X509_free(leaf);
    sk_X509_pop_free(others, X509_free);
    return key;
}

/* The key of a file of its own. */
static EVP_PKEY *key_of_file(const struct identity_source *from, struct error *err)
{
    struct pem_file f;
    EVP_PKEY *key = NULL;
    if (pem_open(&f, from->key, from->key_word, err))
        key = key_file_is_pkcs12(&f) ? pkcs12_key(&f, from, err)
                                     : key_file_pem(&f, from->passphrase, NULL, err);
    pem_close(&f);
    return key;
}

/* Of several, that of the certificate; else the first, which match_check() will refuse. */
static EVP_PKEY *key_choose(const struct store_keys *keys, const X509 *leaf)
{
    size_t chosen = 0;
    for (size_t i = keys->count; i > 0; i--)
        if (fits(leaf, keys->items[i - 1]))
            chosen = i - 1;
    return EVP_PKEY_up_ref(keys->items[chosen]) == 1 ? keys->items[chosen] : NULL;
}

/* identity->leaf is known. */
static bool key_read_apart(struct tls_identity *identity, const struct identity_source *from,
                           struct error *err)
{
    struct store_keys keys = {.count = 0};
    if (!store_is_uri(from->key))
        identity->key = key_of_file(from, err);
    else if (store_keys_read(&keys, from->key, from->key_word, from->passphrase, err))
        identity->key = key_choose(&keys, identity->leaf);
    store_keys_free(&keys);
    return identity->key != NULL || error_set(err, "TLS: no memory");
}

/* ---- PEM ---- */

static bool read_pem(struct tls_identity *identity, struct pem_file *f,
                     const struct identity_source *from, struct error *err)
{
    char missing[64];
    size_t length = 0;
    int found = 0;
    bool saw_key = false;
    if (!pem_certificates(f, identity->chain, false, &found, &saw_key, err))
        return false;
    if (found == 0)
        return pem_no_certificate(f, saw_key, err);
    identity->leaf = sk_X509_shift(identity->chain);
    if (from->key != NULL)
        return true;
    (void)str_append(missing, sizeof missing, &length, "give the key's file with %s",
                     from->key_word);
    (void)BIO_reset(f->bio); /* a read-only memory BIO goes back to its start */
    identity->key = key_file_pem(f, from->passphrase, missing, err);
    return identity->key != NULL;
}

/* ---- PKCS#12 ---- */

/* The leaf is the certificate of the key in the file (RFC 7292 says so by localKeyId, OpenSSL looks
 * at the key itself); with a key from elsewhere, the first that fits it. */
static X509 *take_leaf(STACK_OF(X509) * others, const EVP_PKEY *key)
{
    int chosen = 0;
    for (int i = sk_X509_num(others) - 1; key != NULL && i >= 0; i--)
        if (fits(sk_X509_value(others, i), key))
            chosen = i;
    return sk_X509_delete(others, chosen);
}

static bool read_pkcs12(struct tls_identity *identity, const struct pem_file *f,
                        const struct identity_source *from, struct error *err)
{
    STACK_OF(X509) *others = NULL;
    bool done = key_file_pkcs12(f, from->passphrase, &identity->leaf, &identity->key, &others, err);
    if (done && identity->leaf == NULL)
        identity->leaf = take_leaf(others, identity->key);
    if (done && identity->leaf == NULL)
        done = error_set(err, "%s '%s': no certificate in this PKCS#12 file", f->option, f->path);
    if (done && from->key == NULL && identity->key == NULL)
        done = error_set(err,
                         "%s '%s': no private key in this PKCS#12 file: give the key's file with "
                         "%s",
                         f->option, f->path, from->key_word);
    if (from->key != NULL) { /* that one counts */
        EVP_PKEY_free(identity->key);
        identity->key = NULL;
    }
    done = done && (chain_sort(identity, others) || error_set(err, "TLS: no memory"));
    sk_X509_pop_free(others, X509_free);
    return done;
}

/* ---- URIs ---- */

/* With several certificates behind the URI the leaf is the one that has its key there too. */
static bool pair(struct tls_identity *identity, STACK_OF(X509) * found,
                 const struct store_keys *keys)
{
    for (int i = 0; i < sk_X509_num(found); i++)
        for (size_t k = 0; identity->leaf == NULL && k < keys->count; k++)
            if (fits(sk_X509_value(found, i), keys->items[k]))
                identity->leaf = sk_X509_delete(found, i);
    if (identity->leaf == NULL)
        identity->leaf = sk_X509_shift(found);
    if (keys->count > 0)
        identity->key = key_choose(keys, identity->leaf);
    return (keys->count == 0 || identity->key != NULL) && chain_sort(identity, found);
}

static bool read_uri(struct tls_identity *identity, const struct identity_source *from,
                     struct error *err)
{
    struct store_keys keys = {.count = 0};
    STACK_OF(X509) *found = sk_X509_new_null();
    bool done = found != NULL &&
                store_certificates(from->cert, from->cert_word, from->passphrase, found, err);
    if (done && from->key == NULL) {
        done = store_keys_read(&keys, from->cert, from->cert_word, from->passphrase, err);
    } else if (done && store_is_uri(from->key)) {
        done = store_keys_read(&keys, from->key, from->key_word, from->passphrase, err);
    } else if (done) {
        keys.items[0] = key_of_file(from, err);
        keys.count = keys.items[0] != NULL ? 1 : 0;
        done = keys.count > 0;
    }
    done = done && (pair(identity, found, &keys) || error_set(err, "TLS: no memory"));
    store_keys_free(&keys);
    sk_X509_pop_free(found, X509_free);
    return done || error_set(err, "TLS: no memory"); /* the first reason stays */
}

/* ---- what must hold of each ---- */

static bool times_check(const struct tls_identity *identity, const struct identity_source *from,
                        struct error *err)
{
    char subject[256];
    char when[64];
    (void)subject_of(subject, sizeof subject, identity->leaf);
    if (X509_cmp_current_time(X509_get0_notBefore(identity->leaf)) > 0) {
        tls_time_text(when, sizeof when, X509_get0_notBefore(identity->leaf));
        return error_set(err,
                         "%s '%s': the certificate '%s' is not valid before %s: wait, or check "
                         "this machine's clock",
                         from->cert_word, from->cert, subject, when);
    }
    if (X509_cmp_current_time(X509_get0_notAfter(identity->leaf)) <= 0) {
        tls_time_text(when, sizeof when, X509_get0_notAfter(identity->leaf));
        return error_set(err, "%s '%s': the certificate '%s' expired at %s: renew it",
                         from->cert_word, from->cert, subject, when);
    }
    return true;
}

static bool match_check(const struct tls_identity *identity, const struct identity_source *from,
                        struct error *err)
{
    const char *key_file = from->key != NULL ? from->key : from->cert;
    const char *option = from->key != NULL ? from->key_word : from->cert_word;
    if (fits(identity->leaf, identity->key))
        return true;
    for (int i = 0; i < sk_X509_num(identity->chain); i++)
        if (fits(sk_X509_value(identity->chain, i), identity->key))
            return error_set(err,
                             "%s '%s': the key is that of certificate %d in the file: put that one "
                             "first, then its issuers",
                             from->cert_word, from->cert, i + 2);
    char subject[256];
    return error_set(err, "%s '%s': the private key does not match the certificate '%s' of %s '%s'",
                     option, key_file, subject_of(subject, sizeof subject, identity->leaf),
                     from->cert_word, from->cert);
}

/* ---- identities ---- */

static bool read_file(struct tls_identity *identity, const struct identity_source *from,
                      struct error *err)
{
    struct pem_file f;
    bool done = pem_open(&f, from->cert, from->cert_word, err);
    bool box = done && key_file_is_pkcs12(&f);
    if (done)
        done = box ? read_pkcs12(identity, &f, from, err) : read_pem(identity, &f, from, err);
    pem_close(&f);
    if (done && from->key != NULL)
        done = key_read_apart(identity, from, err);
    /* In this order: a turned chain is told by its key, which says what comes first. */
    return done && match_check(identity, from, err) && (box || chain_check(identity, from, err));
}

static bool identity_read(struct tls_identity *identity, const struct identity_source *from,
                          struct error *err)
{
    identity->chain = sk_X509_new_null();
    if (identity->chain == NULL)
        return error_set_errno(err, ENOMEM, "%s", from->cert_word);
    if (!store_is_uri(from->cert))
        return read_file(identity, from, err) && times_check(identity, from, err);
    return read_uri(identity, from, err) && match_check(identity, from, err) &&
           times_check(identity, from, err);
}

static bool read_all(struct tls_profile *profile, const struct tls_settings *s,
                     struct tls_passphrase *passphrase, struct error *err)
{
    for (size_t i = 0; i < s->certs.count; i++) {
        const struct identity_source from = {
            .cert = s->certs.items[i],
            .key = s->keys.count > 0 ? s->keys.items[i] : NULL,
            .cert_word = tls_word(s->role, s->words_of_file, "cert"),
            .key_word = tls_word(s->role, s->words_of_file, "key"),
            .passphrase = passphrase,
        };
        profile->identity_count = i + 1;
        if (!identity_read(&profile->identities[i], &from, err))
            return false;
    }
    return true;
}

bool tls_identities_read(struct tls_profile *profile, const struct tls_settings *s,
                         struct error *err)
{
    struct tls_passphrase passphrase;
    if (s->certs.count == 0)
        return true;
    profile->identities = calloc(s->certs.count, sizeof *profile->identities);
    if (profile->identities == NULL)
        return error_set(err, "TLS: no memory");
    bool done = tls_passphrase_read(&passphrase, s->key_passphrase,
                                    tls_word(s->role, s->words_of_file, "key_passphrase"), err) &&
                read_all(profile, s, &passphrase, err);
    tls_passphrase_clear(&passphrase);
    return done;
}

void tls_identities_free(struct tls_profile *profile)
{
    for (size_t i = 0; i < profile->identity_count; i++) {
        X509_free(profile->identities[i].leaf);
        EVP_PKEY_free(profile->identities[i].key);
        sk_X509_pop_free(profile->identities[i].chain, X509_free);
    }
    free(profile->identities);
    profile->identities = NULL;
    profile->identity_count = 0;
}
