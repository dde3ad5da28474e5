/* Verification of the peer: which name it must bear, why it was refused, and what would fix that.
 * RFC 5280, RFC 9525. */
#include "tls_internal.h"

#include <esclusa/str.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define DNS_NAME_MAX  253 /* RFC 1035 2.3.4, without the root's dot */
#define DNS_LABEL_MAX 63

/* ---- what is kept with an SSL ---- */

static pthread_once_t slots_once = PTHREAD_ONCE_INIT;
static int slot_expected = -1; /* struct tls_name of the caller */
static int slot_failure = -1;  /* struct tls_failure, owned, made when verification fails */
static int slot_asked = -1;    /* not NULL: the peer asked for a certificate and we have none */

static void free_failure(void *parent, void *failure, CRYPTO_EX_DATA *data, int slot, long number,
                         void *pointer)
{
    (void)parent;
    (void)data;
    (void)slot;
    (void)number;
    (void)pointer;
    free(failure);
}

static void make_slots(void)
{
    slot_expected = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    slot_failure = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_failure);
    slot_asked = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

bool tls_verify_prepare(void)
{
    return pthread_once(&slots_once, make_slots) == 0 && slot_expected >= 0 && slot_failure >= 0 &&
           slot_asked >= 0;
}

const struct tls_name *tls_expected_name(const SSL *ssl)
{
    return SSL_get_ex_data(ssl, slot_expected);
}

const struct tls_failure *tls_verify_recorded(const SSL *ssl)
{
    return SSL_get_ex_data(ssl, slot_failure);
}

int tls_client_certificate_asked(SSL *ssl, X509 **leaf, EVP_PKEY **key)
{
    static char mark;
    (void)leaf;
    (void)key;
    (void)SSL_set_ex_data(ssl, slot_asked, &mark);
    return 0; /* go on without one */
}

bool tls_was_asked_for_certificate(const SSL *ssl)
{
    return SSL_get_ex_data(ssl, slot_asked) != NULL;
}

/* ---- the expected name ---- */

/* Sets *name and returns true if text is an IP literal. A zone ("%eth0") has a meaning on this
 * machine only and is in no certificate. */
static bool take_ip(struct tls_name *name, const char *text)
{
    char bare[INET6_ADDRSTRLEN];
    struct in6_addr address;
    int family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    size_t length = family == AF_INET6 ? strcspn(text, "%") : strlen(text);
    if (length >= sizeof bare)
        return false;
    memcpy(bare, text, length);
    bare[length] = '\0';
    if (inet_pton(family, bare, &address) != 1)
        return false;
    name->is_ip = true;
    return inet_ntop(family, &address, name->text, sizeof name->text) != NULL;
}

static bool is_label_char(unsigned char c)
{
    /* '_' is no host name's (RFC 952), but such names are in use inside clusters. */
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_';
}

/* Says what is wrong with the first bad label; NULL: nothing. An empty first label is more than a
 * slip: to OpenSSL ".example.com" means every name below. */
static const char *labels_problem(const char *text, size_t length)
{
    size_t label = 0;
    bool digits = true;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x80)
            return "give the name in its ASCII form ('xn--...')";
        if (c == '.') {
            if (label == 0)
                return "it has an empty label";
            label = 0;
            digits = true;
            continue;
        }
        if (!is_label_char(c))
            return "only letters, digits, '-', '_' and '.' may be in a host name";
        digits = digits && c >= '0' && c <= '9';
        if (++label > DNS_LABEL_MAX)
            return "a label is longer than 63 characters";
    }
    if (label == 0)
        return "it has an empty label";
    return digits ? "it looks like an IP address but is none" : NULL;
}

bool tls_name_set(struct tls_name *name, const char *text, struct error *err)
{
    memset(name, 0, sizeof *name);
    if (text == NULL || text[0] == '\0')
        return error_set(err, "the name is empty: give a host name or an IP address");
    if (take_ip(name, text))
        return true;
    memset(name, 0, sizeof *name);
    size_t length = strlen(text);
    if (length > 1 && text[length - 1] == '.')
        length--;
    if (length > DNS_NAME_MAX)
        return error_set(err, "'%.40s...' is longer than 253 characters: no host name is", text);
    const char *problem = labels_problem(text, length);
    if (problem != NULL)
        return error_set(err, "'%s' is neither a host name nor an IP address: %s", text, problem);
    for (size_t i = 0; i < length; i++)
        name->text[i] = (char)tolower((unsigned char)text[i]);
    return true;
}

bool tls_verify_arm(SSL *ssl, const struct tls_name *expected)
{
    union {
        const void *in;
        void *out;
    } kept = {.in = expected}; /* ex_data knows no const; it is only read */
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (expected->text[0] == '\0' || SSL_set_ex_data(ssl, slot_expected, kept.out) != 1)
        return false;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                               X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (expected->is_ip)
        return X509_VERIFY_PARAM_set1_ip_asc(param, expected->text) == 1;
    char sni[TLS_NAME_MAX]; /* OpenSSL's macro takes no const; it makes a copy */
    (void)str_copy(sni, sizeof sni, expected->text);
    return X509_VERIFY_PARAM_set1_host(param, expected->text, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, sni) == 1;
}

/* ---- texts out of certificates ---- */

void tls_name_text(char *dst, size_t size, const X509_NAME *name)
{
    dst[0] = '\0';
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL)
        return;
    unsigned long flags =
        (XN_FLAG_ONELINE & ~(unsigned long)XN_FLAG_SPC_EQ) | ASN1_STRFLGS_UTF8_CONVERT;
    flags &= ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
    char *text = NULL;
    if (X509_NAME_print_ex(bio, name, 0, flags) >= 0) {
        long length = BIO_get_mem_data(bio, &text);
        /* OpenSSL quotes a value that holds a comma; double quotes are the log's own. */
        for (long i = 0; i < length; i++)
            if (text[i] == '"')
                text[i] = '\'';
        str_escape(dst, size, text, length > 0 ? (size_t)length : 0);
    }
    BIO_free(bio);
}

void tls_time_text(char *dst, size_t size, const ASN1_TIME *time)
{
    struct tm tm;
    if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1 ||
        strftime(dst, size, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        (void)str_copy(dst, size, "an unreadable date");
}

static void common_name_text(char *dst, size_t size, const X509_NAME *name)
{
    dst[0] = '\0';
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    if (at < 0)
        return;
    const ASN1_STRING *value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    if (value != NULL && ASN1_STRING_length(value) > 0)
        str_escape(dst, size, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
}

static void ip_text(char *dst, size_t size, const ASN1_STRING *octets)
{
    int length = ASN1_STRING_length(octets);
    int family = length == 4 ? AF_INET : AF_INET6;
    if ((length != 4 && length != 16) ||
        inet_ntop(family, ASN1_STRING_get0_data(octets), dst, (socklen_t)size) == NULL)
        (void)str_copy(dst, size, "?");
}

/* False: a kind that is not listed. */
static bool general_name_text(char *dst, size_t size, const GENERAL_NAME *name)
{
    int kind = 0;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &kind);
    const char *word;
    char text[256];
    switch (kind) {
    case GEN_DNS:
        word = "DNS";
        break;
    case GEN_IPADD:
        word = "IP";
        break;
    case GEN_URI:
        word = "URI";
        break;
    case GEN_EMAIL:
        word = "email";
        break;
    default:
        return false;
    }
    if (kind == GEN_IPADD)
        ip_text(text, sizeof text, value);
    else
        str_escape(text, sizeof text, ASN1_STRING_get0_data(value),
                   (size_t)ASN1_STRING_length(value));
    size_t length = 0;
    (void)str_append(dst, size, &length, "%s:%s", word, text);
    return true;
}

/* "DNS:a, IP:192.0.2.1"; what does not fit becomes "...". */
static void names_text(char *dst, size_t size, const X509 *leaf)
{
    static const char more[] = "...";
    size_t length = 0;
    dst[0] = '\0';
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        char one[300];
        if (!general_name_text(one, sizeof one, sk_GENERAL_NAME_value(names, i)))
            continue;
        const char *comma = length > 0 ? ", " : "";
        if (length + strlen(comma) + strlen(one) + 2 + sizeof more > size) {
            (void)str_append(dst, size, &length, "%s%s", comma, more);
            break;
        }
        (void)str_append(dst, size, &length, "%s%s", comma, one);
    }
    GENERAL_NAMES_free(names);
}

/* ---- remedies ---- */

static const struct verify_remedy {
    int error;
    const char *text; /* see tls_remedy_write() */
} verify_remedies[] = {
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "the {peer}'s chain ends at '{subject}', which is not "
                                           "in {trust}: add it {to} if you trust it"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
     "the {peer}'s certificate is self-signed and not in {trust}: if it is the right one, add it "
     "{to}; "
     "otherwise have the {peer} use one that a trusted CA issued"},
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

static const char *name_remedy(const struct tls_name *expected, const char *names,
                               const char *common_name)
{
    if (names[0] == '\0' && common_name[0] != '\0')
        return "the certificate has only a common name (CN), which does not count (RFC 9525): it "
               "needs a subjectAltName with {expected}";
    if (names[0] == '\0')
        return "the certificate bears no name: it needs a subjectAltName with {expected}";
    if (expected != NULL && expected->is_ip && strstr(names, "IP:") == NULL)
        return "the certificate bears {names} and no IP address: connect to one of these names or "
               "give it with --server-name";
    if (expected != NULL && !expected->is_ip && strstr(names, "DNS:*.") != NULL)
        return "the certificate bears {names} (a wildcard stands for one label): connect to one "
               "of these or give it with --server-name";
    return "the certificate bears {names}; connect to one of these or give it with --server-name";
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

static const char *remedy_text(const struct tls_failure *f, int sent,
                               const struct tls_name *expected, const char *common_name)
{
    switch (f->verify_error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return no_issuer_remedy(sent, f->depth);
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return name_remedy(expected, f->names, common_name);
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return time_remedy(f->verify_error, f->depth);
    case X509_V_ERR_INVALID_PURPOSE:
        return f->depth == 0
                   ? "the {peer}'s certificate is not made for this use: it needs the extended "
                     "key usage {usage}"
                   : "the CA certificate '{subject}' may not issue for this use: its extended key "
                     "usage lacks {usage}";
    default:
        break;
    }
    for (size_t i = 0; i < sizeof verify_remedies / sizeof verify_remedies[0]; i++)
        if (verify_remedies[i].error == f->verify_error)
            return verify_remedies[i].text;
    return "";
}

/* ---- the callback ---- */

static void write_remedy(struct tls_failure *f, const SSL *ssl, const X509 *leaf, int sent,
                         const X509 *refused)
{
    char names[200]; /* fewer than f->names: the advice behind them must still fit */
    char date[64];
    char common_name[128];
    char count[16];
    char quoted[TLS_NAME_MAX + 8];
    size_t length = 0;
    const struct tls_name *expected = tls_expected_name(ssl);
    struct tls_remedy_words words;

    names_text(names, sizeof names, leaf);
    common_name_text(common_name, sizeof common_name, X509_get_subject_name(leaf));
    tls_time_text(date, sizeof date,
                  f->verify_error == X509_V_ERR_CERT_NOT_YET_VALID ? X509_get0_notBefore(refused)
                                                                   : X509_get0_notAfter(refused));
    (void)str_append(count, sizeof count, &length, "%d", sent);
    length = 0;
    if (expected != NULL)
        (void)str_append(quoted, sizeof quoted, &length, "%s:%s", expected->is_ip ? "IP" : "DNS",
                         expected->text);
    else
        quoted[0] = '\0';

    tls_remedy_words_init(&words, tls_profile_of(ssl));
    words.subject = f->subject;
    words.issuer = f->issuer;
    words.names = names;
    words.expected = quoted;
    words.date = date;
    words.sent = count;
    tls_remedy_write(f->remedy, sizeof f->remedy, remedy_text(f, sent, expected, common_name),
                     &words);
}

static void fill_failure(struct tls_failure *f, const SSL *ssl, X509_STORE_CTX *store)
{
    const X509 *leaf = X509_STORE_CTX_get0_cert(store);
    const X509 *refused = X509_STORE_CTX_get_current_cert(store);
    const struct tls_name *expected = tls_expected_name(ssl);
    f->fault = TLS_FAULT_VERIFY;
    f->alert = -1;
    f->verify_error = X509_STORE_CTX_get_error(store);
    f->depth = X509_STORE_CTX_get_error_depth(store);
    (void)str_copy(f->reason, sizeof f->reason, X509_verify_cert_error_string(f->verify_error));
    if (refused == NULL)
        refused = leaf;
    if (leaf == NULL || refused == NULL)
        return;
    bool of_names = f->verify_error == X509_V_ERR_HOSTNAME_MISMATCH ||
                    f->verify_error == X509_V_ERR_IP_ADDRESS_MISMATCH;
    if (of_names && expected != NULL)
        (void)str_copy(f->expected, sizeof f->expected, expected->text);
    names_text(f->names, sizeof f->names, leaf);
    tls_name_text(f->subject, sizeof f->subject, X509_get_subject_name(refused));
    tls_name_text(f->issuer, sizeof f->issuer, X509_get_issuer_name(refused));
    write_remedy(f, ssl, leaf, sk_X509_num(X509_STORE_CTX_get0_untrusted(store)), refused);
}

int tls_verify_callback(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    if (ok == 1 || ssl == NULL || tls_verify_recorded(ssl) != NULL)
        return ok; /* the first cause stays */
    struct tls_failure *f = calloc(1, sizeof *f);
    if (f == NULL)
        return ok; /* tls_failure_collect() still has SSL_get_verify_result() */
    (void)ERR_set_mark();
    fill_failure(f, ssl, store);
    if (SSL_set_ex_data(ssl, slot_failure, f) != 1)
        free(f);
    (void)ERR_pop_to_mark();
    return ok;
}
