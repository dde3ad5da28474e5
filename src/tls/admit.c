/* Which verified consumers may connect. */
#include "admit.h"
#include "glob.h"
#include "pins.h"

#include <esclusa/str.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum rule_kind { RULE_CN, RULE_OU, RULE_DNS, RULE_URI };

struct rule {
    enum rule_kind kind;
    char *glob;
    size_t length;
    size_t host_end; /* RULE_URI with a path: where that begins; else 0 */
    unsigned char hash[TLS_FINGERPRINT_SIZE];
};

struct tls_admission {
    struct rule *rules; /* sorted by hash */
    size_t count;
    struct tls_pins *pins; /* NULL: none */
};

/* ---- URIs: RFC 3986 3 ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Length of "scheme:"; 0: it does not begin with one. */
static size_t scheme_length(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length && (is_letter(text[i]) || (i > 0 && (is_digit(text[i]) || text[i] == '+' ||
                                                           text[i] == '-' || text[i] == '.'))))
        i++;
    return i > 0 && i < length && text[i] == ':' ? i + 1 : 0;
}

/* Length of "scheme://host", or of "scheme:" where no host follows. */
static size_t host_end(const char *text, size_t length)
{
    size_t end = scheme_length(text, length);
    if (end == 0 || length - end < 2 || text[end] != '/' || text[end + 1] != '/')
        return end;
    end += 2;
    while (end < length && text[end] != '/' && text[end] != '?' && text[end] != '#')
        end++;
    return end;
}

static bool uri_matches(const struct rule *r, const char *text, size_t length)
{
    size_t end = host_end(text, length);
    if (r->host_end == 0)
        return glob_match(r->glob, r->length, text, length, end);
    return glob_match(r->glob, r->host_end, text, end, end) &&
           glob_match(r->glob + r->host_end, r->length - r->host_end, text + end, length - end, 0);
}

/* ---- rules ---- */

static const char *dns_problem(char *glob)
{
    size_t length = strlen(glob);
    if (length > 1 && glob[length - 1] == '.')
        glob[length - 1] = '\0';
    for (char *p = glob; *p != '\0'; p++) {
        if (!is_letter(*p) && !is_digit(*p) && strchr("-_.*", *p) == NULL)
            return "only letters, digits, '-', '_', '.' and '*' may be in it (other scripts in "
                   "their form 'xn--...')";
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a'); /* so that one rule has one hash */
    }
    return NULL;
}

static const char *uri_problem(struct rule *r)
{
    for (const char *p = r->glob; *p != '\0'; p++)
        if (*p <= ' ' || *p >= 0x7f)
            return "a URI has visible ASCII characters only";
    size_t scheme = scheme_length(r->glob, r->length);
    if (scheme == 0 && !str_equal(r->glob, "*"))
        return "give it with its scheme, like 'spiffe://example.org/ns/*'";
    size_t end = host_end(r->glob, r->length);
    r->host_end = end > scheme && end < r->length ? end : 0;
    return NULL;
}

static bool rule_make(struct rule *r, enum rule_kind kind, const char *text, const char *option,
                      struct error *err)
{
    const char *problem = NULL;
    EVP_MD_CTX *digest = NULL;
    if (text[0] == '\0')
        return error_set(err, "%s: an empty text matches nobody: give a name, or one with *",
                         option);
    r->kind = kind;
    r->glob = str_dup(text);
    if (r->glob == NULL)
        return error_set(err, "%s: no memory", option);
    if (kind == RULE_DNS)
        problem = dns_problem(r->glob);
    r->length = strlen(r->glob);
    if (kind == RULE_URI)
        problem = uri_problem(r);
    if (problem != NULL)
        return error_set(err, "%s '%s': %s", option, text, problem);
    const unsigned char mark = (unsigned char)kind;
    digest = EVP_MD_CTX_new();
    bool done = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(digest, &mark, 1) == 1 &&
                EVP_DigestUpdate(digest, r->glob, r->length) == 1 &&
                EVP_DigestFinal_ex(digest, r->hash, NULL) == 1;
    EVP_MD_CTX_free(digest);
    return done || error_set(err, "%s: no memory", option);
}

static int by_hash(const void *a, const void *b)
{
    const struct rule *one = a;
    const struct rule *other = b;
    return memcmp(one->hash, other->hash, sizeof one->hash);
}

/* Certificates to hold against the rules must be asked for. */
static bool check_asked(const struct tls_settings *s, const char *name, struct error *err)
{
    return s->client_auth != TLS_CLIENT_AUTO || s->ca_file != NULL || s->ca_dir != NULL ||
           error_set(err,
                     "%s: consumers are not asked for certificates: give the CA of theirs with %s",
                     tls_word(s->role, s->words_of_file, name),
                     tls_word(s->role, s->words_of_file, "ca"));
}

static bool fill(struct tls_admission *a, const struct tls_settings *s, struct error *err)
{
    const struct {
        enum rule_kind kind;
        const char *name;
        const struct tls_texts *texts;
    } lists[] = {
        {RULE_CN, "allow_cn", &s->allow_cn},
        {RULE_OU, "allow_ou", &s->allow_ou},
        {RULE_DNS, "allow_dns", &s->allow_dns},
        {RULE_URI, "allow_uri", &s->allow_uri},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const char *option = tls_word(s->role, s->words_of_file, lists[i].name);
        if (lists[i].texts->count > 0 && !check_asked(s, lists[i].name, err))
            return false;
        for (size_t j = 0; j < lists[i].texts->count; j++)
            if (!rule_make(&a->rules[a->count++], lists[i].kind, lists[i].texts->items[j], option,
                           err))
                return false;
    }
    qsort(a->rules, a->count, sizeof *a->rules, by_hash);
    if (s->allow_pin.count == 0)
        return true;
    if (!check_asked(s, "allow_pin", err))
        return false;
    a->pins = tls_pins_create(&s->allow_pin, tls_word(s->role, s->words_of_file, "allow_pin"), err);
    return a->pins != NULL;
}

bool tls_admission_create(struct tls_admission **admission_r, const struct tls_settings *s,
                          struct error *err)
{
    size_t count = s->allow_cn.count + s->allow_ou.count + s->allow_dns.count + s->allow_uri.count;
    *admission_r = NULL;
    if (count + s->allow_pin.count == 0 || s->client_auth == TLS_CLIENT_NONE)
        return true;
    struct tls_admission *a = calloc(1, sizeof *a);
    if (a != NULL)
        a->rules = calloc(count + 1, sizeof *a->rules); /* never 0 bytes */
    if (a != NULL && a->rules != NULL && fill(a, s, err)) {
        *admission_r = a;
        return true;
    }
    tls_admission_destroy(&a);
    return error_set(err, "TLS: no memory"); /* the first reason stays */
}

void tls_admission_destroy(struct tls_admission **admission)
{
    struct tls_admission *a = *admission;
    if (a == NULL)
        return;
    for (size_t i = 0; i < a->count; i++)
        free(a->rules[i].glob);
    free(a->rules);
    tls_pins_destroy(&a->pins);
    free(a);
    *admission = NULL;
}

void tls_admission_digest(const struct tls_admission *admission, EVP_MD_CTX *digest)
{
    static const char mark[] = "admission";
    const unsigned char pinned = admission->pins != NULL;
    (void)EVP_DigestUpdate(digest, mark, sizeof mark);
    for (size_t i = 0; i < admission->count; i++)
        if (i == 0 || by_hash(&admission->rules[i - 1], &admission->rules[i]) != 0)
            (void)EVP_DigestUpdate(digest, admission->rules[i].hash,
                                   sizeof admission->rules[i].hash);
    (void)EVP_DigestUpdate(digest, &pinned, 1);
    if (admission->pins != NULL)
        tls_pins_digest(admission->pins, digest);
}

/* ---- matching ---- */

/* length counts; the text may hold anything. */
static bool any_rule(const struct tls_admission *a, enum rule_kind kind, const void *bytes,
                     size_t length)
{
    const char *text = bytes;
    /* A name with a zero in it was made to look like another one. */
    if (length == 0 || memchr(text, '\0', length) != NULL)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct rule *r = &a->rules[i];
        if (r->kind != kind)
            continue;
        if (kind == RULE_URI
                ? uri_matches(r, text, length)
                : glob_match(r->glob, r->length, text, length, kind == RULE_DNS ? length : 0))
            return true;
    }
    return false;
}

static bool subject_admitted(const struct tls_admission *a, enum rule_kind kind, int nid,
                             const X509_NAME *subject)
{
    bool found = false;
    for (int at = -1; !found && (at = X509_NAME_get_index_by_NID(subject, nid, at)) >= 0;) {
        const ASN1_STRING *value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
        unsigned char *utf8 = NULL;
        /* From whatever kind of string it is; fails for broken ones. */
        int length = ASN1_STRING_to_UTF8(&utf8, value);
        found = length > 0 && any_rule(a, kind, utf8, (size_t)length);
        if (length >= 0)
            OPENSSL_free(utf8);
    }
    return found;
}

/* IA5String holds ASCII (RFC 5280 4.2.1.6), whatever bytes it is made of. */
static bool is_visible(const unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] <= ' ' || bytes[i] >= 0x7f)
            return false;
    return true;
}

/* SPIFFE X509-SVID 2 and 5: a certificate with more than one URI is no SVID. */
static bool is_svid(const unsigned char *bytes, size_t length, int uris)
{
    static const char scheme[] = "spiffe:";
    return uris == 1 || length < sizeof scheme - 1 ||
           strncasecmp((const char *)bytes, scheme, sizeof scheme - 1) != 0;
}

static int count_uris(const GENERAL_NAMES *names)
{
    int count = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        count += sk_GENERAL_NAME_value(names, i)->type == GEN_URI;
    return count;
}

static bool names_admitted(const struct tls_admission *a, const X509 *leaf)
{
    bool found = false;
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    int uris = count_uris(names);
    for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
        int kind = 0;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind);
        if (kind != GEN_DNS && kind != GEN_URI)
            continue;
        const unsigned char *bytes = ASN1_STRING_get0_data(value);
        size_t length = (size_t)ASN1_STRING_length(value);
        found = is_visible(bytes, length) && (kind == GEN_DNS || is_svid(bytes, length, uris)) &&
                any_rule(a, kind == GEN_DNS ? RULE_DNS : RULE_URI, bytes, length);
    }
    GENERAL_NAMES_free(names);
    return found;
}

bool tls_admitted(const struct tls_admission *admission, X509 *leaf)
{
    const X509_NAME *subject = X509_get_subject_name(leaf);
    (void)ERR_set_mark(); /* broken names leave errors */
    bool admitted = (admission->pins != NULL && tls_pins_have(admission->pins, leaf)) ||
                    subject_admitted(admission, RULE_CN, NID_commonName, subject) ||
                    subject_admitted(admission, RULE_OU, NID_organizationalUnitName, subject) ||
                    names_admitted(admission, leaf);
    (void)ERR_pop_to_mark();
    return admitted;
}
