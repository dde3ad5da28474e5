/* The OCSP responses that a listener staples: read from files at start and at reload, never
 * fetched. RFC 6066 8. */
#include "ocsp.h"
#include "ocsp_response.h"
#include "pem.h"

#include <esclusa/str.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One for each identity, in their order. */
struct staple {
    X509 *leaf;         /* the identity's, borrowed */
    const char *path;   /* during tls_staples_create() only */
    unsigned char *der; /* NULL: none */
    size_t length;
    int64_t valid_until_s;
};

struct tls_staples {
    size_t count;
    struct staple items[];
};

/* NULL: not at hand, as is usual for a certificate file without its chain. */
static X509 *issuer_of(const struct tls_profile *profile, const struct tls_identity *identity)
{
    X509 *issuer = ocsp_find_issuer(identity->leaf, identity->chain);
    return issuer != NULL ? issuer : ocsp_find_issuer(identity->leaf, profile->anchors);
}

static bool refuse(const struct pem_file *f, const X509 *leaf, const struct ocsp_answer *answer,
                   struct error *err)
{
    char subject[256];
    tls_name_text(subject, sizeof subject, X509_get_subject_name(leaf));
    bool old = answer->verdict == OCSP_EXPIRED;
    return error_set(err, "%s '%s': the response for '%s' cannot be stapled: %s%s", f->option,
                     f->path, subject, answer->detail, old ? ": fetch a new one" : "");
}

static bool keep(struct staple *to, const struct pem_file *f, const struct ocsp_answer *answer,
                 struct error *err)
{
    if (to->der != NULL) {
        char subject[256];
        tls_name_text(subject, sizeof subject, X509_get_subject_name(to->leaf));
        return error_set(err, "%s '%s': a second response for '%s', after '%s': give the newer one",
                         f->option, f->path, subject, to->path);
    }
    to->der = malloc(f->length);
    if (to->der == NULL)
        return error_set(err, "TLS: no memory");
    memcpy(to->der, f->bytes, f->length);
    to->length = f->length;
    to->path = f->path;
    to->valid_until_s = answer->valid_until_s;
    return true;
}

/* One response may be about several certificates. */
static bool match(struct tls_staples *staples, const struct tls_profile *profile,
                  const struct pem_file *f, struct error *err)
{
    size_t found = 0;
    struct ocsp_answer answer;
    for (size_t i = 0; i < profile->identity_count; i++) {
        const struct tls_identity *identity = &profile->identities[i];
        ocsp_check(&answer, f->bytes, f->length, identity->leaf, issuer_of(profile, identity),
                   profile->security_level);
        if (answer.verdict == OCSP_OF_ANOTHER)
            continue;
        if (answer.verdict == OCSP_DAMAGED || answer.verdict == OCSP_UNSUCCESSFUL)
            return error_set(err, "%s '%s': no OCSP response to staple: %s", f->option, f->path,
                             answer.detail);
        /* It is served until its last second, not beyond: the skew is not ours to use. */
        if (answer.verdict == OCSP_GOOD && answer.valid_until_s <= (int64_t)time(NULL)) {
            answer.verdict = OCSP_EXPIRED;
            (void)str_copy(answer.detail, sizeof answer.detail, "it has just expired");
        }
        if (answer.verdict != OCSP_GOOD)
            return refuse(f, identity->leaf, &answer, err);
        if (!keep(&staples->items[i], f, &answer, err))
            return false;
        found++;
    }
    return found > 0 ||
           error_set(err, "%s '%s': the response is for none of the certificates in %s", f->option,
                     f->path, tls_word(profile->role, profile->words_of_file, "cert"));
}

static bool read_one(struct tls_staples *staples, const struct tls_profile *profile,
                     const char *path, struct error *err)
{
    struct pem_file f;
    bool done = pem_open(&f, path, tls_word(profile->role, profile->words_of_file, "ocsp"), err) &&
                match(staples, profile, &f, err);
    pem_close(&f);
    return done;
}

struct tls_staples *tls_staples_create(const struct tls_profile *profile,
                                       const struct tls_settings *s, struct error *err)
{
    struct tls_staples *staples =
        calloc(1, sizeof *staples + profile->identity_count * sizeof staples->items[0]);
    if (staples == NULL) {
        (void)error_set(err, "TLS: no memory");
        return NULL;
    }
    staples->count = profile->identity_count;
    for (size_t i = 0; i < staples->count; i++)
        staples->items[i].leaf = profile->identities[i].leaf;
    for (size_t i = 0; i < s->ocsp_files.count; i++) {
        if (!read_one(staples, profile, s->ocsp_files.items[i], err)) {
            tls_staples_destroy(&staples);
            return NULL;
        }
    }
    return staples;
}

void tls_staples_destroy(struct tls_staples **staples)
{
    for (size_t i = 0; *staples != NULL && i < (*staples)->count; i++)
        free((*staples)->items[i].der);
    free(*staples);
    *staples = NULL;
}

/* Called once the certificate is chosen. One that has expired meanwhile is not served: a consumer
 * would refuse it, where none is mostly taken. */
static int serve(SSL *ssl, void *unused)
{
    (void)unused;
    const struct tls_staples *staples = tls_profile_of(ssl)->staples;
    const X509 *shown = SSL_get_certificate(ssl);
    for (size_t i = 0; shown != NULL && staples != NULL && i < staples->count; i++) {
        const struct staple *staple = &staples->items[i];
        if (staple->der == NULL || (staple->leaf != shown && X509_cmp(staple->leaf, shown) != 0))
            continue;
        if (staple->valid_until_s <= (int64_t)time(NULL))
            return SSL_TLSEXT_ERR_NOACK;
        unsigned char *copy = OPENSSL_memdup(staple->der, staple->length);
        if (copy == NULL)
            return SSL_TLSEXT_ERR_NOACK;
        (void)SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)staple->length); /* takes it over */
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

bool tls_staples_arm(SSL_CTX *ctx, const struct tls_profile *profile, struct error *err)
{
    (void)profile;
    return SSL_CTX_set_tlsext_status_cb(ctx, serve) == 1 ||
           error_set(err, "OCSP: %s", tls_openssl_reason());
}
