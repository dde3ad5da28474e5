/* Why a certificate was refused, and what would fix that. RFC 5280, RFC 9525. */
#include "remedy.h"
#include "dane.h"
#include "names.h"
#include "pins.h"

#include <esclusa/str.h>

#include <string.h>

/* ---- by error ---- */

static const struct verify_remedy {
    int error;
    const char *text; /* see tls_remedy_write() */
} verify_remedies[] = {
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "the {peer}'s chain ends at '{subject}', which is not "
                                           "in {trust}: add it {to} if you trust it"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
     "the {peer}'s certificate is self-signed and not in {trust}: if it is the right one, add it "
     "{to}; otherwise have the {peer} use one that a trusted CA issued"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
     "'{subject}' is in {trust}, but its issuer '{issuer}' is not: add that {to}"},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE,
     "'{subject}' was not signed with the key of the '{issuer}' in {trust}: that CA has probably "
     "got a new key, get its current certificate"},
    {X509_V_ERR_INVALID_CA,
     "'{subject}' issued a certificate but is no CA (basic constraints): have the {peer} use a "
     "certificate that a CA issued"},
    {X509_V_ERR_KEYUSAGE_NO_CERTSIGN,
     "'{subject}' issued a certificate but its key usage lacks keyCertSign: have that CA's "
     "certificate made anew"},
    {X509_V_ERR_PATH_LENGTH_EXCEEDED,
     "the chain below '{subject}' is longer than that CA allows (path length): have the {peer}'s "
     "certificate issued within it"},
    {X509_V_ERR_CERT_CHAIN_TOO_LONG, "the {peer} sent a chain that is too long: have it shortened"},
    {X509_V_ERR_EE_KEY_TOO_SMALL,
     "the key of '{subject}' is too small: it needs RSA of 2048 bits or more, or EC of 224 or "
     "more"},
    {X509_V_ERR_CA_KEY_TOO_SMALL,
     "the key of the CA '{subject}' is too small: it needs RSA of 2048 bits or more, or EC of 224 "
     "or more"},
    {X509_V_ERR_CA_MD_TOO_WEAK,
     "'{subject}' is signed with a digest that is too weak (SHA-1 or MD5): have it issued anew "
     "with SHA-256"},
    {X509_V_ERR_PERMITTED_VIOLATION,
     "the certificate bears a name ({names}) outside of those that its CA '{issuer}' or one above "
     "may issue (name constraints): have it issued by another CA or for another name"},
    {X509_V_ERR_EXCLUDED_VIOLATION,
     "the certificate bears a name ({names}) that its CA '{issuer}' or one above must not issue "
     "(name constraints): have it issued by another CA or for another name"},
    {X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION,
     "'{subject}' has a critical extension that OpenSSL does not know: have it issued without"},
    {X509_V_ERR_CERT_REVOKED, "'{subject}' was revoked: have the {peer} use a new certificate"},
    {X509_V_ERR_CERT_REJECTED, "'{subject}' is marked as rejected in {trust}"},
    {X509_V_ERR_CERT_UNTRUSTED, "'{subject}' is not trusted for this use in {trust}"},
};

/* X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY and its like: three different mistakes. */
static const char *no_issuer_remedy(int sent, int depth)
{
    if (sent <= 1)
        return "the {peer} sent only its own certificate and its issuer '{issuer}' is not in "
               "{trust}: have the {peer} send its intermediate certificate, or add the CA "
               "that issued it {to}";
    if (depth == 0)
        return "the {peer} sent {sent} certificates, but not the issuer '{issuer}' of its own, "
               "which is not in {trust} either: have the {peer} send the right chain, or add "
               "'{issuer}' {to}";
    return "'{issuer}', at which the {peer}'s chain ends, is not in {trust}: add it {to} if you "
           "trust it";
}

static const char *time_remedy(int error, int depth)
{
    if (error == X509_V_ERR_CERT_NOT_YET_VALID)
        return "'{subject}' is not valid before {date}: check this machine's clock";
    if (depth == 0)
        return "the {peer}'s certificate expired at {date}: have it renewed";
    return "the CA certificate '{subject}' expired at {date}: have the {peer} send a current "
           "chain, and look in {trust} for a newer one";
}

/* What only X509_V_FLAG_X509_STRICT minds. */
static bool is_strictness(int error)
{
    switch (error) {
    case X509_V_ERR_PATHLEN_INVALID_FOR_NON_CA:
    case X509_V_ERR_PATHLEN_WITHOUT_KU_KEY_CERT_SIGN:
    case X509_V_ERR_KU_KEY_CERT_SIGN_INVALID_FOR_NON_CA:
    case X509_V_ERR_ISSUER_NAME_EMPTY:
    case X509_V_ERR_SUBJECT_NAME_EMPTY:
    case X509_V_ERR_MISSING_AUTHORITY_KEY_IDENTIFIER:
    case X509_V_ERR_MISSING_SUBJECT_KEY_IDENTIFIER:
    case X509_V_ERR_EMPTY_SUBJECT_ALT_NAME:
    case X509_V_ERR_EMPTY_SUBJECT_SAN_NOT_CRITICAL:
    case X509_V_ERR_CA_BCONS_NOT_CRITICAL:
    case X509_V_ERR_AUTHORITY_KEY_IDENTIFIER_CRITICAL:
    case X509_V_ERR_SUBJECT_KEY_IDENTIFIER_CRITICAL:
    case X509_V_ERR_CA_CERT_MISSING_KEY_USAGE:
    case X509_V_ERR_EXTENSIONS_REQUIRE_VERSION_3:
    case X509_V_ERR_SIGNATURE_ALGORITHM_INCONSISTENCY:
        return true;
    default:
        return false;
    }
}

static bool is_weakness(int error)
{
    return error == X509_V_ERR_EE_KEY_TOO_SMALL || error == X509_V_ERR_CA_KEY_TOO_SMALL ||
           error == X509_V_ERR_CA_MD_TOO_WEAK;
}

static const char *chain_remedy(const struct tls_failure *f, const struct tls_profile *profile,
                                int sent)
{
    switch (f->verify_error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return no_issuer_remedy(sent, f->depth);
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return time_remedy(f->verify_error, f->depth);
    case X509_V_ERR_DANE_NO_MATCH:
        return "no record of {tlsa} fits the {peer}'s chain: if it is the right one, add "
               "'{names}', which its certificate fits";
    case X509_V_ERR_INVALID_PURPOSE:
        return f->depth == 0
                   ? "the {peer}'s certificate is not made for this use: it needs the extended "
                     "key usage {usage}"
                   : "the CA certificate '{subject}' may not issue for this use: its extended key "
                     "usage lacks {usage}";
    default:
        break;
    }
    if (is_weakness(f->verify_error) && profile->security_level != 2)
        return "the key or the signature of '{subject}' is weaker than {security_level} asks for: "
               "have it issued anew with a stronger one";
    if (profile->strict == TLS_STRICT_ON && is_strictness(f->verify_error))
        return "'{subject}' is not as RFC 5280 wants it: have it issued anew, or let it pass with "
               "{x509_strict} report";
    for (size_t i = 0; i < sizeof verify_remedies / sizeof verify_remedies[0]; i++)
        if (verify_remedies[i].error == f->verify_error)
            return verify_remedies[i].text;
    return "";
}

static const char *name_remedy(const struct tls_peer *peer, const char *names,
                               const char *common_name)
{
    /* Names of their own, or that of the server. */
    bool own = peer->name_count != 1 || !str_equal(peer->names[0].text, peer->server_name.text);
    if (names[0] == '\0' && common_name[0] != '\0')
        return "the certificate has only a common name (CN), which does not count (RFC 9525): it "
               "needs a subjectAltName with {expected}";
    if (names[0] == '\0')
        return "the certificate bears no name: it needs a subjectAltName with {expected}";
    if (own)
        return "the certificate bears {names}: if it is the right one, give one of these with "
               "{verify_names}";
    bool ip = tls_peer_all(peer, TLS_NAME_IP);
    if (ip && strstr(names, "IP:") == NULL)
        return "the certificate bears {names} and no IP address: connect to one of these names or "
               "give it with {server_name}";
    if (!ip && strstr(names, "DNS:*.") != NULL)
        return "the certificate bears {names} (a wildcard stands for one label): connect to one "
               "of these or give it with {server_name}";
    return "the certificate bears {names}; connect to one of these or give it with {server_name}";
}

/* ---- the failure as a whole ---- */

static void begin(struct tls_failure *f, const struct tls_subject *subject, int error, int depth,
                  const X509 *refused)
{
    memset(f, 0, sizeof *f);
    f->fault = TLS_FAULT_VERIFY;
    f->alert = -1;
    f->verify_error = error;
    f->depth = depth;
    (void)str_copy(f->reason, sizeof f->reason, X509_verify_cert_error_string(error));
    tls_names_text(f->names, sizeof f->names, subject->leaf);
    tls_name_text(f->subject, sizeof f->subject, X509_get_subject_name(refused));
    tls_name_text(f->issuer, sizeof f->issuer, X509_get_issuer_name(refused));
}

/* names: what {names} stands for. */
static void advise(struct tls_failure *f, const struct tls_profile *profile, const char *text,
                   const char *names, struct tls_remedy_words *more)
{
    struct tls_remedy_words words;
    tls_remedy_words_init(&words, profile);
    words.subject = f->subject;
    words.issuer = f->issuer;
    words.names = names;
    if (more != NULL) {
        words.expected = more->expected;
        words.date = more->date;
        words.sent = more->sent;
    }
    tls_remedy_write(f->remedy, sizeof f->remedy, text, &words);
}

#define NAMES_SIZE 200 /* fewer than tls_failure's: the advice behind them must still fit */

void tls_refuse_chain(struct tls_failure *f, const struct tls_profile *profile,
                      const struct tls_subject *subject, int error, int depth, X509 *refused)
{
    char names[NAMES_SIZE];
    char date[64];
    char count[16];
    size_t length = 0;
    const X509 *at = refused != NULL ? refused : subject->leaf;
    int sent = sk_X509_num(subject->sent);

    begin(f, subject, error, depth, at);
    if (error == X509_V_ERR_DANE_NO_MATCH)
        tls_tlsa_text(names, sizeof names, subject->leaf);
    else
        tls_names_text(names, sizeof names, subject->leaf);
    tls_time_text(date, sizeof date,
                  error == X509_V_ERR_CERT_NOT_YET_VALID ? X509_get0_notBefore(at)
                                                         : X509_get0_notAfter(at));
    count[0] = '\0';
    (void)str_append(count, sizeof count, &length, "%d", sent > 0 ? sent : 0);
    advise(f, profile, chain_remedy(f, profile, sent), names,
           &(struct tls_remedy_words){.date = date, .sent = count});
}

void tls_refuse_names(struct tls_failure *f, const struct tls_profile *profile,
                      const struct tls_subject *subject)
{
    char names[NAMES_SIZE];
    char common_name[128];
    char expected[2 * TLS_NAME_MAX];
    const struct tls_peer *peer = subject->peer;
    bool ip = tls_peer_all(peer, TLS_NAME_IP);

    begin(f, subject, ip ? X509_V_ERR_IP_ADDRESS_MISMATCH : X509_V_ERR_HOSTNAME_MISMATCH, 0,
          subject->leaf);
    if (tls_peer_all(peer, TLS_NAME_URI))
        (void)str_copy(f->reason, sizeof f->reason, "URI mismatch");
    tls_peer_names(f->expected, sizeof f->expected, peer);
    tls_names_text(names, sizeof names, subject->leaf);
    tls_common_name_text(common_name, sizeof common_name, X509_get_subject_name(subject->leaf));
    tls_peer_text(expected, sizeof expected, peer);
    advise(f, profile, name_remedy(peer, names, common_name), names,
           &(struct tls_remedy_words){.expected = expected});
}

void tls_refuse_admission(struct tls_failure *f, const struct tls_profile *profile,
                          const struct tls_subject *subject)
{
    char bears[360];
    char pin[TLS_PIN_TEXT_SIZE];
    char names[NAMES_SIZE];
    size_t length = 0;

    begin(f, subject, X509_V_ERR_APPLICATION_VERIFICATION, 0, subject->leaf);
    (void)str_copy(f->reason, sizeof f->reason, "the certificate is not among those allowed");
    tls_names_text(names, sizeof names, subject->leaf);
    tls_pin_text(pin, sizeof pin, subject->leaf);
    bears[0] = '\0';
    (void)str_append(bears, sizeof bears, &length, "%s%s%s, %s", names,
                     names[0] != '\0' ? ", " : "", pin, f->subject);
    advise(f, profile,
           "to let it in allow something that it bears with {allow_cn}, {allow_ou}, {allow_dns}, "
           "{allow_uri} or {allow_pin}: {names}",
           bears, NULL);
}

/* ---- pins ---- */

void tls_chain_pins_text(char *dst, size_t size, STACK_OF(X509) * chain)
{
    size_t length = 0;
    dst[0] = '\0';
    for (int i = 0; i < sk_X509_num(chain); i++) {
        const X509 *certificate = sk_X509_value(chain, i);
        char pin[TLS_PIN_TEXT_SIZE];
        char name[48];
        tls_pin_text(pin, sizeof pin, certificate);
        tls_common_name_text(name, sizeof name, X509_get_subject_name(certificate));
        if (length + strlen(pin) + strlen(name) + sizeof ",  ()" > size)
            return; /* half a pin is of no use */
        (void)str_append(dst, size, &length, "%s%s (%s)", i > 0 ? ", " : "", pin, name);
    }
}

void tls_refuse_pins(struct tls_failure *f, const struct tls_profile *profile,
                     const struct tls_subject *subject, STACK_OF(X509) * chain)
{
    char pins[360];
    begin(f, subject, X509_V_ERR_APPLICATION_VERIFICATION, 0, subject->leaf);
    (void)str_copy(f->reason, sizeof f->reason, TLS_NO_PIN);
    tls_chain_pins_text(pins, sizeof pins, chain);
    advise(f, profile,
           "if this is the right {peer}, give one of its chain's keys with {pins}: {names}", pins,
           NULL);
}
