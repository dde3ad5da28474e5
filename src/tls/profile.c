/* Profiles: all that one side of a service needs for its TLS sessions, built whole or not at all.
 */
#include "admit.h"
#include "dane.h"
#include "identity.h"
#include "negotiate.h"
#include "ocsp.h"
#include "pins.h"
#include "resume.h"
#include "revoke.h"
#include "selftest.h"
#include "sni.h"
#include "strict.h"
#include "tickets.h"
#include "tlsctx.h"

#include <esclusa/str.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *tls_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

const char *tls_profile_trust(const struct tls_profile *profile)
{
    return profile->trust;
}

static const char *word(const struct tls_settings *s, const char *name)
{
    return tls_word(s->role, s->words_of_file, name);
}

/* ---- trust ---- */

static void describe_trust(struct tls_profile *p, const struct tls_settings *s, int count)
{
    size_t length = 0;
    if (s->ca_file != NULL)
        (void)str_append(p->trust, sizeof p->trust, &length, "%s", s->ca_file);
    if (s->ca_dir != NULL)
        (void)str_append(p->trust, sizeof p->trust, &length, "%s%s", length > 0 ? " and " : "",
                         s->ca_dir);
    (void)str_append(p->trust, sizeof p->trust, &length, ", %d certificate%s", count,
                     count == 1 ? "" : "s");
}

static int by_content(const X509 *const *a, const X509 *const *b)
{
    return X509_cmp(*a, *b);
}

static bool add_anchors(struct tls_profile *p, EVP_MD_CTX *digest, struct error *err)
{
    (void)sk_X509_set_cmp_func(p->anchors, by_content);
    sk_X509_sort(p->anchors); /* so that the fingerprint does not depend on their order */
    ERR_clear_error();
    for (int i = 0; i < sk_X509_num(p->anchors); i++) {
        X509 *anchor = sk_X509_value(p->anchors, i);
        unsigned char hash[EVP_MAX_MD_SIZE];
        unsigned length = 0;
        /* OpenSSL reads the extensions when they are first asked for. Now, on one thread, and not
         * in several workers' first handshakes at once. */
        (void)X509_check_purpose(anchor, -1, 0);
        if (X509_STORE_add_cert(p->store, anchor) != 1 ||
            X509_digest(anchor, EVP_sha256(), hash, &length) != 1 ||
            EVP_DigestUpdate(digest, hash, length) != 1)
            return error_set(err, "trust store: %s", tls_openssl_reason());
    }
    return true;
}

static bool read_anchors(struct tls_profile *p, const struct tls_settings *s, struct error *err)
{
    return (s->ca_file == NULL ||
            tls_anchors_read_file(p->anchors, s->ca_file, word(s, "ca"), err)) &&
           (s->ca_dir == NULL ||
            tls_anchors_read_dir(p->anchors, s->ca_dir, word(s, "ca_dir"), err));
}

/* OpenSSL opens this one by itself, and would wait for a FIFO. Devices are taken: /dev/null says
 * that there is none. */
static bool system_file_check(struct error *err)
{
    struct stat st;
    const char *path = getenv(X509_get_default_cert_file_env());
    if (path == NULL)
        path = X509_get_default_cert_file();
    if (stat(path, &st) != 0 || !S_ISFIFO(st.st_mode))
        return true;
    return error_set(err, "%s '%s': this is a FIFO, a regular file is needed",
                     X509_get_default_cert_file_env(), path);
}

static bool make_store(struct tls_profile *p, const struct tls_settings *s, EVP_MD_CTX *digest,
                       struct error *err)
{
    bool given = s->ca_file != NULL || s->ca_dir != NULL;
    if (s->role == TLS_DOWNSTREAM && p->client_auth == TLS_CLIENT_NONE) {
        (void)str_copy(p->trust, sizeof p->trust, "no consumer certificates");
        return true;
    }
    p->store = X509_STORE_new();
    if (p->store == NULL)
        return error_set(err, "trust store: no memory");
    if (given) {
        if (!read_anchors(p, s, err) || !add_anchors(p, digest, err))
            return false;
        describe_trust(p, s, sk_X509_num(p->anchors));
    } else {
        p->system_store = true;
        (void)str_copy(p->trust, sizeof p->trust, "system store");
        if (!system_file_check(err))
            return false;
        ERR_clear_error();
        if (X509_STORE_set_default_paths(p->store) != 1) /* SSL_CERT_FILE and SSL_CERT_DIR */
            return error_set(err, "system store: %s", tls_openssl_reason());
        ERR_clear_error(); /* a missing file of the system is not an error */
    }
    return tls_crls_read(p->store, s, digest, &p->crls, err);
}

/* ---- what else verification depends on ---- */

static bool make_rules(struct tls_profile *p, const struct tls_settings *s, EVP_MD_CTX *digest,
                       struct error *err)
{
    if ((s->pins.count > 0 &&
         (p->pins = tls_pins_create(&s->pins, word(s, "pins"), err)) == NULL) ||
        (s->tlsa.count > 0 &&
         (p->tlsa = tls_tlsa_create(&s->tlsa, word(s, "tlsa"), err)) == NULL) ||
        !tls_admission_create(&p->admission, s, err))
        return false;
    if (p->pins != NULL)
        tls_pins_digest(p->pins, digest);
    if (p->tlsa != NULL)
        tls_tlsa_digest(p->tlsa, digest);
    if (p->admission != NULL)
        tls_admission_digest(p->admission, digest);
    const unsigned char words[] = {
        (unsigned char)p->role,           (unsigned char)p->strict,
        (unsigned char)p->names_policy,   (unsigned char)p->pins_policy,
        (unsigned char)p->client_auth,    (unsigned char)p->revocation_policy,
        (unsigned char)p->ocsp,           (unsigned char)p->insecure_skip_verify,
        (unsigned char)s->security_level, (unsigned char)p->system_store,
    };
    return EVP_DigestUpdate(digest, words, sizeof words) == 1 &&
           EVP_DigestFinal_ex(digest, p->fingerprint, NULL) == 1;
}

static bool make_verification(struct tls_profile *p, const struct tls_settings *s,
                              struct error *err)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    p->strict_seen = tls_strict_seen_create();
    bool ready = digest != NULL && p->strict_seen != NULL &&
                 EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1;
    bool done = ready && make_store(p, s, digest, err) && make_rules(p, s, digest, err);
    EVP_MD_CTX_free(digest);
    if (!ready) /* no memory, or an openssl.cnf that OpenSSL does not take */
        return error_set(err, "OpenSSL: %s", tls_openssl_reason());
    return done || error_set(err, "TLS: no memory"); /* the first reason stays */
}

/* ---- profiles ---- */

static bool settings_check(const struct tls_settings *s, struct error *err)
{
    if (s->workers == 0)
        return error_set(err, "TLS: no workers");
    if (s->certs.count == 0 && s->role == TLS_DOWNSTREAM)
        return error_set(err, "a tls:// listener needs a certificate: give it with %s",
                         word(s, "cert"));
    /* Not the system store: everybody can have a certificate from one of those. */
    if (s->role == TLS_DOWNSTREAM && s->client_auth > TLS_CLIENT_NONE && s->ca_file == NULL &&
        s->ca_dir == NULL)
        return error_set(err,
                         "%s: nothing to verify consumers' certificates by: give their CA "
                         "with %s",
                         word(s, "client"), word(s, "ca"));
    if (s->certs.count == 0 && s->keys.count > 0)
        return error_set(err, "%s '%s': a key without its certificate: give that with %s",
                         word(s, "key"),
                         strstr(s->keys.items[0], "pin-value") != NULL ? "..." : s->keys.items[0],
                         word(s, "cert"));
    if (s->keys.count > 0 && s->keys.count != s->certs.count)
        return error_set(err, "%s: %zu keys for %zu certificates: give one each, in their order",
                         word(s, "key"), s->keys.count, s->certs.count);
    return true;
}

static enum tls_client_auth client_auth(const struct tls_settings *s)
{
    if (s->client_auth != TLS_CLIENT_AUTO)
        return s->client_auth;
    return s->ca_file != NULL || s->ca_dir != NULL ? TLS_CLIENT_REQUIRED : TLS_CLIENT_NONE;
}

static void take_settings(struct tls_profile *p, const struct tls_settings *s)
{
    size_t length = 0;
    bool system_store = s->role == TLS_UPSTREAM && s->ca_file == NULL && s->ca_dir == NULL;
    p->role = s->role;
    p->words_of_file = s->words_of_file;
    p->ca_word = word(s, s->ca_file == NULL && s->ca_dir != NULL ? "ca_dir" : "ca");
    (void)str_append(p->add_to, sizeof p->add_to, &length, "%s %s", system_store ? "with" : "to",
                     p->ca_word);
    p->strict = s->strict;
    p->names_policy = s->names_policy;
    p->pins_policy = s->pins_policy;
    p->revocation_policy = s->revocation_policy;
    p->client_auth = client_auth(s);
    p->ocsp = s->ocsp;
    p->insecure_skip_verify = s->insecure_skip_verify;
    p->security_level = s->security_level;
    for (size_t i = 0; i < TLS_REPORTS; i++)
        atomic_init(&p->reported[i], 0);
}

static bool make_side(struct tls_profile *p, const struct tls_settings *s, struct error *err)
{
    if (s->role == TLS_UPSTREAM) {
        if (s->resumption && !s->insecure_skip_verify) {
            p->resume = tls_resume_create(p, s);
            return p->resume != NULL || error_set(err, "TLS: no memory");
        }
        return true;
    }
    if (s->ocsp_files.count > 0) {
        p->staples = tls_staples_create(p, s, err);
        if (p->staples == NULL)
            return false;
    }
    p->tickets = tls_tickets_create(p, s, err);
    return p->tickets != NULL;
}

static bool profile_fill(struct tls_profile *p, const struct tls_settings *s, struct error *err)
{
    if (!settings_check(s, err))
        return false;
    take_settings(p, s);
    if (!make_verification(p, s, err) || !tls_identities_read(p, s, err) ||
        !tls_sni_prepare(p, s, err) || !tls_alpn_prepare(p, s, err) || !make_side(p, s, err))
        return false;
    p->contexts = calloc(s->workers, sizeof(SSL_CTX *));
    if (p->contexts == NULL)
        return error_set(err, "TLS: no memory");
    while (p->workers < s->workers) {
        SSL_CTX *ctx = tls_context_create(p, s, err);
        if (ctx == NULL)
            return false;
        p->contexts[p->workers++] = ctx;
    }
    return tls_selftest(p, err);
}

struct tls_profile *tls_profile_create(const struct tls_settings *settings, struct error *err)
{
    struct tls_profile *p = calloc(1, sizeof *p);
    if (p == NULL || (p->anchors = sk_X509_new_null()) == NULL)
        (void)error_set(err, "TLS: no memory");
    else if (profile_fill(p, settings, err))
        return p;
    tls_profile_destroy(&p);
    ERR_clear_error();
    return p;
}

void tls_profile_destroy(struct tls_profile **profile)
{
    struct tls_profile *p = *profile;
    if (p == NULL)
        return;
    for (unsigned i = 0; i < p->workers; i++)
        SSL_CTX_free(p->contexts[i]);
    free(p->contexts);
    tls_resume_destroy(&p->resume);
    tls_tickets_destroy(&p->tickets);
    tls_staples_destroy(&p->staples);
    tls_sni_destroy(&p->sni);
    tls_admission_destroy(&p->admission);
    tls_tlsa_destroy(&p->tlsa);
    tls_pins_destroy(&p->pins);
    tls_strict_seen_destroy(&p->strict_seen);
    X509_STORE_free(p->store);
    sk_X509_pop_free(p->anchors, X509_free);
    tls_identities_free(p);
    free(p->alpn);
    free(p);
    *profile = NULL;
}
