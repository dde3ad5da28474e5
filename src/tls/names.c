/* Names of peers: how they are written, and whether a certificate bears one. RFC 9525. */
#include "names.h"

#include <esclusa/str.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <openssl/x509v3.h>
#include <string.h>

#define DNS_NAME_MAX  253 /* RFC 1035 2.3.4, without the root's dot */
#define DNS_LABEL_MAX 63

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
    name->kind = TLS_NAME_IP;
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

/* ---- URIs ---- */

/* RFC 3986 3.1: "spiffe://..." and the like. Host names hold no "://". */
static bool is_uri(const char *text)
{
    size_t scheme = 0;
    while (isalnum((unsigned char)text[scheme]) || strchr("+-.", text[scheme]) != NULL) {
        if (text[scheme] == '\0')
            return false;
        scheme++;
    }
    return scheme > 0 && isalpha((unsigned char)text[0]) && strncmp(text + scheme, "://", 3) == 0;
}

/* No NUL either: what is behind one would not count. */
static bool is_visible(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 0x7f)
            return false;
    return true;
}

static void lower(char *from, const char *end)
{
    for (char *c = from; c < end; c++)
        *c = (char)tolower((unsigned char)*c);
}

/* Scheme and host in lower case (RFC 3986 6.2.2.1), the rest as it is: what stands before an '@' or
 * after the authority differs by its case. */
static bool take_uri(struct tls_name *name, const char *text, size_t length)
{
    if (length >= sizeof name->text || !is_visible(text, length))
        return false;
    memcpy(name->text, text, length);
    name->text[length] = '\0';
    name->kind = TLS_NAME_URI;
    char *authority = strstr(name->text, "://");
    if (authority == NULL)
        return true;
    authority += strlen("://");
    char *end = authority + strcspn(authority, "/?#");
    char *host = end;
    while (host > authority && host[-1] != '@')
        host--;
    lower(name->text, authority);
    lower(host, end);
    return true;
}

bool tls_name_set(struct tls_name *name, const char *text, struct error *err)
{
    memset(name, 0, sizeof *name);
    if (text == NULL || text[0] == '\0')
        return error_set(err, "the name is empty: give a host name or an IP address");
    if (is_uri(text))
        return take_uri(name, text, strlen(text)) ||
               error_set(err, "'%.80s': a URI has at most %d characters, all of them visible ASCII",
                         text, TLS_NAME_MAX - 1);
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

/* ---- matching ---- */

/* SPIFFE X509-SVID 2 and 5: a certificate with more than one URI is no SVID. */
static bool is_svid(const struct tls_name *name, int uris)
{
    return strncmp(name->text, "spiffe://", strlen("spiffe://")) != 0 || uris == 1;
}

static bool bears_uri(X509 *leaf, const struct tls_name *wanted)
{
    bool found = false;
    int uris = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int kind = 0;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind);
        struct tls_name borne;
        if (kind != GEN_URI)
            continue;
        uris++;
        found = found || (ASN1_STRING_length(value) > 0 &&
                          take_uri(&borne, (const char *)ASN1_STRING_get0_data(value),
                                   (size_t)ASN1_STRING_length(value)) &&
                          strcmp(borne.text, wanted->text) == 0);
    }
    GENERAL_NAMES_free(names);
    return found && is_svid(wanted, uris);
}

static bool bears(X509 *leaf, const struct tls_name *wanted)
{
    switch (wanted->kind) {
    case TLS_NAME_DNS:
        return X509_check_host(leaf, wanted->text, 0,
                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                   X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                               NULL) == 1;
    case TLS_NAME_IP:
        return X509_check_ip_asc(leaf, wanted->text, 0) == 1;
    case TLS_NAME_URI:
        break;
    }
    return bears_uri(leaf, wanted);
}

bool tls_names_match(X509 *leaf, const struct tls_peer *peer)
{
    for (size_t i = 0; i < peer->name_count; i++)
        if (bears(leaf, &peer->names[i]))
            return true;
    return false;
}

static const char *const kind_words[] = {"DNS", "IP", "URI"};

void tls_peer_text(char *dst, size_t size, const struct tls_peer *peer)
{
    size_t length = 0;
    dst[0] = '\0';
    for (size_t i = 0; i < peer->name_count; i++)
        (void)str_append(dst, size, &length, "%s%s:%s", i > 0 ? " or " : "",
                         kind_words[peer->names[i].kind], peer->names[i].text);
}

void tls_peer_names(char *dst, size_t size, const struct tls_peer *peer)
{
    size_t length = 0;
    dst[0] = '\0';
    for (size_t i = 0; i < peer->name_count; i++)
        (void)str_append(dst, size, &length, "%s%s", i > 0 ? " or " : "", peer->names[i].text);
}

bool tls_peer_all(const struct tls_peer *peer, enum tls_name_kind kind)
{
    for (size_t i = 0; i < peer->name_count; i++)
        if (peer->names[i].kind != kind)
            return false;
    return peer->name_count > 0;
}
