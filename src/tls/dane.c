/* TLSA records. */
#include "dane.h"

#include <esclusa/str.h>

#include <ctype.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* A whole certificate (matching type 0) fits; it is the longest that a record can hold. */
#define TLSA_DATA_MAX 16384

struct record {
    uint8_t usage, selector, matching;
    size_t length;
    unsigned char *data;
};
struct tls_tlsa {
    size_t count;
    struct record items[]; /* sorted, so that the digest does not depend on the order given */
};

/* ---- reading ---- */

/* One number of the three in front; moves *text behind it. */
static bool take_number(const char **text, uint8_t *number_r, uint8_t max)
{
    const char *at = *text + strspn(*text, " \t");
    if (at[0] < '0' || at[0] > '0' + max || (at[1] != ' ' && at[1] != '\t'))
        return false;
    *number_r = (uint8_t)(at[0] - '0');
    *text = at + 1;
    return true;
}

static int hex_value(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, tolower((unsigned char)c));
    return at == NULL ? -1 : (int)(at - digits);
}

/* Blanks may stand anywhere, as zone files have them (RFC 6698 2.2). NULL: read. */
static const char *take_hex(struct record *r, const char *text)
{
    size_t digits = 0;
    for (; *text != '\0'; text++) {
        if (*text == ' ' || *text == '\t')
            continue;
        int value = hex_value(*text);
        if (value < 0)
            return "the data must be hexadecimal";
        r->data[digits / 2] = (unsigned char)((r->data[digits / 2] << 4) | value);
        digits++;
    }
    if (digits == 0)
        return "the data is missing";
    if (digits % 2 != 0)
        return "the data has an odd number of hexadecimal digits";
    r->length = digits / 2;
    if (r->matching == 1 && r->length != 32)
        return "a SHA-256 (matching type 1) has 64 hexadecimal digits";
    if (r->matching == 2 && r->length != 64)
        return "a SHA-512 (matching type 2) has 128 hexadecimal digits";
    return NULL;
}

static const char *parse(struct record *r, const char *text)
{
    if (!take_number(&text, &r->usage, 3))
        return "the first number is the usage: 0, 1, 2 or 3";
    if (!take_number(&text, &r->selector, 1))
        return "the second number is the selector: 0 (certificate) or 1 (public key)";
    if (!take_number(&text, &r->matching, 2))
        return "the third number is the matching type: 0 (whole), 1 (SHA-256) or 2 (SHA-512)";
    size_t room = strlen(text) / 2 + 1;
    if (room > TLSA_DATA_MAX)
        return "the data is too long";
    r->data = calloc(1, room);
    return r->data == NULL ? "no memory" : take_hex(r, text);
}

static bool add(SSL *ssl, const struct record *r)
{
    /* 0 would be a record that OpenSSL cannot use: it must not silently count for nothing. */
    return SSL_dane_tlsa_add(ssl, r->usage, r->selector, r->matching, r->data, r->length) == 1;
}

/* What OpenSSL would say to it in a session, where whole certificates and keys are parsed: NULL,
 * nothing. */
static const char *try_out(const struct record *r)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = ctx != NULL && SSL_CTX_dane_enable(ctx) == 1 ? SSL_new(ctx) : NULL;
    bool taken = ssl != NULL && SSL_dane_enable(ssl, "x.invalid") == 1 && add(ssl, r);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    /* The newest error is about the record, those before it are about its bytes. */
    const char *reason = taken ? NULL : ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return taken || reason != NULL ? reason : "OpenSSL cannot use it";
}

static int by_content(const void *left, const void *right)
{
    const struct record *a = left;
    const struct record *b = right;
    if (a->usage != b->usage)
        return a->usage - b->usage;
    if (a->selector != b->selector)
        return a->selector - b->selector;
    if (a->matching != b->matching)
        return a->matching - b->matching;
    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    return memcmp(a->data, b->data, a->length);
}

struct tls_tlsa *tls_tlsa_create(const struct tls_texts *texts, const char *option,
                                 struct error *err)
{
    struct tls_tlsa *tlsa = calloc(1, sizeof *tlsa + texts->count * sizeof tlsa->items[0]);
    if (tlsa == NULL) {
        (void)error_set(err, "%s: no memory", option);
        return NULL;
    }
    while (tlsa->count < texts->count) {
        const char *text = texts->items[tlsa->count];
        struct record *r = &tlsa->items[tlsa->count++];
        const char *problem = parse(r, text);
        if (problem == NULL)
            problem = try_out(r);
        if (problem != NULL) {
            (void)error_set(err, "%s '%.100s': %s; a record is \"USAGE SELECTOR TYPE HEX\"", option,
                            text, problem);
            tls_tlsa_destroy(&tlsa);
            return NULL;
        }
    }
    qsort(tlsa->items, tlsa->count, sizeof tlsa->items[0], by_content);
    return tlsa;
}

void tls_tlsa_destroy(struct tls_tlsa **tlsa)
{
    if (*tlsa == NULL)
        return;
    for (size_t i = 0; i < (*tlsa)->count; i++)
        free((*tlsa)->items[i].data);
    free(*tlsa);
    *tlsa = NULL;
}

void tls_tlsa_digest(const struct tls_tlsa *tlsa, EVP_MD_CTX *digest)
{
    (void)EVP_DigestUpdate(digest, "tlsa", sizeof "tlsa");
    for (size_t i = 0; i < tlsa->count; i++) {
        const struct record *r = &tlsa->items[i];
        const unsigned char head[] = {r->usage, r->selector, r->matching,
                                      (unsigned char)(r->length >> 8),
                                      (unsigned char)(r->length & 0xff)};
        if (i > 0 && by_content(r, r - 1) == 0)
            continue;
        (void)EVP_DigestUpdate(digest, head, sizeof head);
        (void)EVP_DigestUpdate(digest, r->data, r->length);
    }
}

/* ---- use ---- */

bool tls_tlsa_are_trust(const struct tls_tlsa *tlsa)
{
    for (size_t i = 0; i < tlsa->count; i++)
        if (tlsa->items[i].usage >= 2)
            return true;
    return false;
}

bool tls_dane_arm_context(SSL_CTX *ctx, struct error *err)
{
    ERR_clear_error();
    return SSL_CTX_dane_enable(ctx) == 1 || error_set(err, "DANE: %s", tls_openssl_reason());
}

static const char *base_domain(const struct tls_peer *peer)
{
    for (size_t i = 0; peer != NULL && i < peer->name_count; i++)
        if (peer->names[i].kind == TLS_NAME_DNS)
            return peer->names[i].text;
    return NULL;
}

bool tls_dane_arm(SSL *ssl, const struct tls_tlsa *tlsa, const struct tls_peer *peer)
{
    bool sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) != NULL;
    if (SSL_dane_enable(ssl, base_domain(peer)) != 1)
        return false;
    /* Where there was none OpenSSL has made one of the base domain. */
    if (!sni && SSL_set_tlsext_host_name(ssl, NULL) != 1)
        return false;
    for (size_t i = 0; i < tlsa->count; i++)
        if (!add(ssl, &tlsa->items[i]))
            return false;
    return tlsa->count > 0; /* without a record OpenSSL would verify as if there were no DANE */
}

SSL *tls_dane_holder(const struct tls_profile *profile)
{
    SSL *ssl = SSL_new(profile->contexts[0]);
    if (ssl == NULL || tls_dane_arm(ssl, profile->tlsa, NULL))
        return ssl;
    SSL_free(ssl);
    return NULL;
}

void tls_tlsa_text(char *dst, size_t size, const X509 *certificate)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned char *der = NULL;
    unsigned length = 0;
    size_t used = 0;
    int der_size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    dst[0] = '\0';
    if (der_size > 0 && EVP_Digest(der, (size_t)der_size, hash, &length, EVP_sha256(), NULL) == 1) {
        (void)str_append(dst, size, &used, "3 1 1 ");
        for (unsigned i = 0; i < length; i++)
            (void)str_append(dst, size, &used, "%02x", hash[i]);
    }
    OPENSSL_free(der);
}
