/* Pins of public keys. */
#include "pins.h"

#include <esclusa/str.h>

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define PIN_PREFIX "sha256//"
/* 32 bytes make 43 characters and one '='. */
#define PIN_BASE64 44

struct pin {
    unsigned char hash[TLS_FINGERPRINT_SIZE];
};
struct tls_pins {
    size_t count;
    struct pin items[]; /* sorted, so that the digest does not depend on the order given */
};

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct pin));
}

/* RFC 4648 4, with its padding and without line breaks; EVP_DecodeBlock() alone would take blanks
 * around the text and drop bits behind the last byte. */
static const char *decode(struct pin *pin, const char *base64)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char bytes[TLS_FINGERPRINT_SIZE + 1]; /* with what the padding decodes to */
    unsigned char again[PIN_BASE64 + 1];
    size_t length = strlen(base64);
    size_t good = strspn(base64, letters);
    if (length == (size_t)2 * TLS_FINGERPRINT_SIZE &&
        strspn(base64, "0123456789abcdefABCDEF") == length)
        return "that is hexadecimal; it must be base64";
    if (good < length && base64[good] != '=')
        return "what follows 'sha256//' is not base64";
    if (length != PIN_BASE64 || good != PIN_BASE64 - 1)
        return "a SHA-256 has 44 characters in base64, the last one '='";
    if (EVP_DecodeBlock(bytes, (const unsigned char *)base64, PIN_BASE64) != (int)sizeof bytes ||
        EVP_EncodeBlock(again, bytes, TLS_FINGERPRINT_SIZE) != PIN_BASE64 ||
        memcmp(again, base64, PIN_BASE64) != 0)
        return "what follows 'sha256//' is not base64 of 32 bytes";
    memcpy(pin->hash, bytes, sizeof pin->hash);
    return NULL;
}

static bool parse(struct pin *pin, const char *text, const char *option, struct error *err)
{
    const char *problem = "a pin begins with 'sha256//', then the base64 of the SHA-256 of a "
                          "subjectPublicKeyInfo";
    if (strncmp(text, PIN_PREFIX, strlen(PIN_PREFIX)) == 0)
        problem = decode(pin, text + strlen(PIN_PREFIX));
    return problem == NULL || error_set(err, "%s '%.100s': %s", option, text, problem);
}

struct tls_pins *tls_pins_create(const struct tls_texts *texts, const char *option,
                                 struct error *err)
{
    struct tls_pins *pins = calloc(1, sizeof *pins + texts->count * sizeof pins->items[0]);
    if (pins == NULL) {
        (void)error_set(err, "%s: no memory", option);
        return NULL;
    }
    for (size_t i = 0; i < texts->count; i++) {
        if (!parse(&pins->items[i], texts->items[i], option, err)) {
            free(pins);
            return NULL;
        }
        pins->count++;
    }
    qsort(pins->items, pins->count, sizeof pins->items[0], by_bytes);
    return pins;
}

void tls_pins_destroy(struct tls_pins **pins)
{
    free(*pins);
    *pins = NULL;
}

/* RFC 7469 2.4: over the DER of the whole SubjectPublicKeyInfo, algorithm and parameters too. */
static bool pin_of(struct pin *pin, const X509 *certificate)
{
    unsigned char *der = NULL;
    unsigned length = 0;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    bool done = size > 0 &&
                EVP_Digest(der, (size_t)size, pin->hash, &length, EVP_sha256(), NULL) == 1 &&
                length == sizeof pin->hash;
    OPENSSL_free(der);
    return done;
}

bool tls_pins_have(const struct tls_pins *pins, const X509 *certificate)
{
    struct pin pin;
    return pin_of(&pin, certificate) &&
           bsearch(&pin, pins->items, pins->count, sizeof pins->items[0], by_bytes) != NULL;
}

void tls_pins_digest(const struct tls_pins *pins, EVP_MD_CTX *digest)
{
    (void)EVP_DigestUpdate(digest, "pins", sizeof "pins");
    for (size_t i = 0; i < pins->count; i++)
        if (i == 0 || by_bytes(&pins->items[i], &pins->items[i - 1]) != 0)
            (void)EVP_DigestUpdate(digest, pins->items[i].hash, sizeof pins->items[i].hash);
}

void tls_pin_text(char *dst, size_t size, const X509 *certificate)
{
    struct pin pin;
    unsigned char base64[PIN_BASE64 + 1];
    size_t length = 0;
    if (!pin_of(&pin, certificate) ||
        EVP_EncodeBlock(base64, pin.hash, sizeof pin.hash) != PIN_BASE64) {
        (void)str_copy(dst, size, "?");
        return;
    }
    dst[0] = '\0';
    (void)str_append(dst, size, &length, PIN_PREFIX "%s", (const char *)base64);
}
