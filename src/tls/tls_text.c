/* What certificates say, as text fit for a log. */
#include "tls_internal.h"

#include <esclusa/str.h>

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <string.h>

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

void tls_common_name_text(char *dst, size_t size, const X509_NAME *name)
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

void tls_names_text(char *dst, size_t size, const X509 *leaf)
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
