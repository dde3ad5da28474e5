/* Stapled OCSP responses of an upstream. RFC 6066 8, RFC 6960, RFC 7633.
 *
 * What counts as no response at all, and is passed by "prefer": none came, or one whose responder
 * had no answer ("tryLater"). All else that is not good refuses in both modes: a response that is
 * stale, damaged, for another certificate or not signed by the issuer is a mistake that its owner
 * wants to hear of, or somebody hiding a revocation behind an old one. */
#include "ocsp.h"
#include "ocsp_response.h"

#include <esclusa/str.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_REQUEST 5 /* RFC 6066 8: the number of the TLS extension */

/* RFC 7633: a certificate that says that a response is always stapled. */
static bool is_must_staple(const X509 *leaf)
{
    bool found = false;
    TLS_FEATURE *features = X509_get_ext_d2i(leaf, NID_tlsfeature, NULL, NULL);
    for (int i = 0; !found && i < sk_ASN1_INTEGER_num(features); i++)
        found = ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == STATUS_REQUEST;
    TLS_FEATURE_free(features);
    return found;
}

/* The verified chain has it. Where the leaf itself is what is trusted, it may be among what was
 * sent or given; its signature ties it to the leaf either way. */
static X509 *issuer_of(const SSL *ssl, const struct tls_profile *profile, X509 *leaf)
{
    X509 *issuer = ocsp_find_issuer(leaf, SSL_get0_verified_chain(ssl));
    if (issuer == NULL)
        issuer = ocsp_find_issuer(leaf, SSL_get_peer_cert_chain(ssl));
    return issuer != NULL ? issuer : ocsp_find_issuer(leaf, profile->anchors);
}

/* ---- refusals ---- */

struct refusal {
    int error;
    const char *reason; /* before the detail */
    const char *remedy; /* see tls_remedy_write() */
};

static const struct refusal missing = {
    X509_V_ERR_OCSP_VERIFY_NEEDED, "no OCSP response was stapled",
    "{ocsp} requires one: have the {peer} staple OCSP responses (nginx: ssl_stapling on), or use "
    "'prefer'"};
static const struct refusal missing_must = {
    X509_V_ERR_OCSP_VERIFY_NEEDED, "no OCSP response was stapled",
    "the {peer}'s certificate says that one always is (must-staple, RFC 7633): have the {peer} "
    "staple OCSP responses, or get a certificate without that"};
static const struct refusal no_issuer = {
    X509_V_ERR_OCSP_VERIFY_FAILED, "the stapled OCSP response cannot be verified",
    "its signer is checked against the certificate's issuer '{issuer}', which the {peer} did not "
    "send and which is not in {trust}: add it {to}"};

static struct refusal refusal_of(enum ocsp_verdict verdict)
{
    static const char stapled[] = "the stapled OCSP response was refused";
    static const char renew[] = "have the {peer} staple the current response of its CA's "
                                "responder; {ocsp} 'off' ignores it";
    switch (verdict) {
    case OCSP_GOOD:
        break;
    case OCSP_UNSUCCESSFUL:
        return (struct refusal){X509_V_ERR_OCSP_VERIFY_NEEDED, "the stapled OCSP response is none",
                                "see why the {peer} gets no answer from its CA's OCSP responder"};
    case OCSP_REVOKED_ANSWER:
        return (struct refusal){X509_V_ERR_CERT_REVOKED,
                                "certificate revoked, says the stapled OCSP response",
                                "'{subject}' was revoked at {date}: have the {peer} use a new "
                                "certificate"};
    case OCSP_UNKNOWN_ANSWER:
        return (struct refusal){X509_V_ERR_OCSP_CERT_UNKNOWN, stapled,
                                "the responder of '{issuer}' does not know '{subject}': ask that "
                                "CA whether it issued it"};
    case OCSP_EARLY:
        return (struct refusal){X509_V_ERR_OCSP_VERIFY_FAILED, stapled,
                                "check this machine's clock; the response is not valid before "
                                "{date}"};
    case OCSP_OF_ANOTHER:
    case OCSP_UNVERIFIED:
    case OCSP_WEAK:
    case OCSP_DAMAGED:
    case OCSP_EXPIRED:
        break;
    }
    return (struct refusal){X509_V_ERR_OCSP_VERIFY_FAILED, stapled, renew};
}

static void fill_failure(struct tls_failure *f, const struct tls_profile *profile, const X509 *leaf,
                         const struct refusal *r, const struct ocsp_answer *answer)
{
    struct tls_remedy_words words;
    size_t length = 0;
    f->fault = TLS_FAULT_VERIFY;
    f->alert = -1;
    f->verify_error = r->error;
    f->depth = 0;
    f->revocation = true;
    (void)str_append(f->reason, sizeof f->reason, &length, "%s%s%s", r->reason,
                     answer->detail[0] != '\0' ? ": " : "", answer->detail);
    tls_names_text(f->names, sizeof f->names, leaf);
    tls_name_text(f->subject, sizeof f->subject, X509_get_subject_name(leaf));
    tls_name_text(f->issuer, sizeof f->issuer, X509_get_issuer_name(leaf));
    tls_remedy_words_init(&words, profile);
    words.subject = f->subject;
    words.issuer = f->issuer;
    words.date = answer->date;
    tls_remedy_write(f->remedy, sizeof f->remedy, r->remedy, &words);
}

/* True: the policy only reports. */
static bool passes(struct tls_state *state, const X509 *leaf, const struct refusal *r,
                   const struct ocsp_answer *answer)
{
    struct tls_failure *f = calloc(1, sizeof *f);
    if (f == NULL)
        return false;
    fill_failure(f, state->profile, leaf, r, answer);
    if (state->profile->revocation_policy == TLS_POLICY_REPORT) {
        char text[sizeof f->reason + 16];
        size_t length = 0;
        (void)str_append(text, sizeof text, &length, "revocation: %s", f->reason);
        tls_report(state->profile, state, TLS_REPORT_REVOCATION, text);
        free(f);
        return true;
    }
    free(state->failure);
    state->failure = f;
    return false;
}

/* ---- one handshake ---- */

static bool judge(SSL *ssl, struct tls_state *state, X509 *leaf)
{
    const struct tls_profile *profile = state->profile;
    bool must = is_must_staple(leaf);
    const unsigned char *der = NULL;
    struct ocsp_answer answer = {.verdict = OCSP_GOOD};
    long length = SSL_get_tlsext_status_ocsp_resp(ssl, &der);
    bool needed = must || profile->ocsp == TLS_OCSP_REQUIRE;

    if (der == NULL || length <= 0)
        return !needed || passes(state, leaf, must ? &missing_must : &missing, &answer);
    X509 *issuer = issuer_of(ssl, profile, leaf);
    if (issuer == NULL)
        return !needed || passes(state, leaf, &no_issuer, &answer);
    ocsp_check(&answer, der, (size_t)length, leaf, issuer, profile->security_level);
    if (answer.verdict == OCSP_GOOD) {
        if (state->valid_until_s > answer.valid_until_s)
            state->valid_until_s = answer.valid_until_s;
        return true;
    }
    if (answer.verdict == OCSP_UNSUCCESSFUL && !needed)
        return true;
    const struct refusal refusal = refusal_of(answer.verdict);
    return passes(state, leaf, &refusal, &answer);
}

/* OpenSSL calls it for every handshake in which a response was asked for: TLS 1.2, before the
 * client's flight; TLS 1.3, at the server's Finished. 0: alert bad_certificate_status_response.
 * A session that is resumed brings no certificate: it stands on the verification it began with. */
static int check_status(SSL *ssl, void *unused)
{
    (void)unused;
    struct tls_state *state = tls_state_of(ssl);
    if (SSL_session_reused(ssl) == 1)
        return 1;
    X509 *leaf = SSL_get0_peer_certificate(ssl);
    if (state == NULL || leaf == NULL)
        return 0;
    (void)ERR_set_mark();
    bool good = judge(ssl, state, leaf);
    (void)ERR_pop_to_mark();
    return good;
}

bool tls_ocsp_arm(SSL_CTX *ctx, const struct tls_profile *profile, struct error *err)
{
    (void)profile;
    if (SSL_CTX_set_tlsext_status_type(ctx, TLSEXT_STATUSTYPE_ocsp) != 1 ||
        SSL_CTX_set_tlsext_status_cb(ctx, check_status) != 1)
        return error_set(err, "OCSP: %s", tls_openssl_reason());
    return true;
}
