/* What certificates a profile holds, for `esclusa check`. */
#include "revoke.h"
#include "tls_internal.h"

#include <esclusa/str.h>

#include <string.h>

static void describe(struct tls_certificate *c, const struct tls_profile *p,
                     enum tls_certificate_use use, const X509 *certificate)
{
    *c = (struct tls_certificate){.use = use};
    const ASN1_TIME *end = X509_get0_notAfter(certificate);
    int days = 0;
    int seconds = 0;
    c->option =
        use == TLS_CERTIFICATE_ANCHOR ? p->ca_word : tls_word(p->role, p->words_of_file, "cert");
    tls_name_text(c->subject, sizeof c->subject, X509_get_subject_name(certificate));
    tls_time_text(c->not_after, sizeof c->not_after, end);
    if (ASN1_TIME_diff(&days, &seconds, NULL, end) == 1) /* NULL: from now */
        c->seconds_left = (int64_t)days * 86400 + seconds;
    (void)tls_time_seconds(end, &c->not_after_s);
    const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
    size_t length = 0;
    c->serial[0] = '\0';
    for (int i = 0; i < ASN1_STRING_length(serial); i++)
        (void)str_append(c->serial, sizeof c->serial, &length, "%02x",
                         (unsigned)ASN1_STRING_get0_data(serial)[i]);
}

static void tell(const struct tls_profile *p, enum tls_certificate_use use, const X509 *certificate,
                 void (*callback)(void *context, const struct tls_certificate *c), void *context)
{
    struct tls_certificate c;
    describe(&c, p, use, certificate);
    callback(context, &c);
}

bool tls_profile_same_rules(const struct tls_profile *a, const struct tls_profile *b)
{
    return memcmp(a->fingerprint, b->fingerprint, sizeof a->fingerprint) == 0;
}

void tls_profile_certificates(const struct tls_profile *profile,
                              void (*callback)(void *context, const struct tls_certificate *c),
                              void *context)
{
    for (size_t n = 0; n < profile->identity_count; n++) {
        const struct tls_identity *id = &profile->identities[n];
        tell(profile, TLS_CERTIFICATE_OWN, id->leaf, callback, context);
        for (int i = 0; i < sk_X509_num(id->chain); i++)
            tell(profile, TLS_CERTIFICATE_ISSUER, sk_X509_value(id->chain, i), callback, context);
    }
    for (int i = 0; i < sk_X509_num(profile->anchors); i++)
        tell(profile, TLS_CERTIFICATE_ANCHOR, sk_X509_value(profile->anchors, i), callback,
             context);
}
