/* Pins of public keys: how they are written, what they fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/pins.h"
#include "tls/strict.h"
#include "tls_world.h"

/* RFC 7469 has no vector with its key; these bytes are nobody's. */
#define ZEROS "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define ONES  "sha256//AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

static struct tls_pins *pins_of(const char *const *items, size_t count)
{
    struct error err;
    const struct tls_texts texts = {items, count};
    error_init(&err);
    struct tls_pins *pins = tls_pins_create(&texts, "--pins", &err);
    if (pins == NULL)
        fail_msg("%s", err.text);
    return pins;
}

static void fits_the_public_key(void **state)
{
    (void)state;
    char pin[TLS_PIN_TEXT_SIZE];
    tls_pin_text(pin, sizeof pin, good.cert);
    assert_int_equal(strlen(pin), strlen(ZEROS));
    struct tls_pins *pins = pins_of((const char *const[]){ONES, pin, ZEROS}, 3);
    assert_true(tls_pins_have(pins, good.cert));
    assert_false(tls_pins_have(pins, sub.cert));
    /* Another certificate of the same key. */
    struct fx_cert renewed = {X509_dup(good.cert), NULL};
    ASN1_INTEGER_set(X509_get_serialNumber(renewed.cert), 4711);
    assert_true(X509_sign(renewed.cert, sub.key, EVP_sha256()) > 0);
    assert_int_not_equal(X509_cmp(renewed.cert, good.cert), 0);
    assert_true(tls_pins_have(pins, renewed.cert));
    fx_free(&renewed);
    tls_pins_destroy(&pins);
    assert_null(pins);
    pins = pins_of((const char *const[]){ONES, ZEROS}, 2);
    assert_false(tls_pins_have(pins, good.cert));
    tls_pins_destroy(&pins);
    tls_pins_destroy(&pins); /* of nothing */
}

/* The text is what `openssl dgst -sha256` makes of the DER of the key. */
static void is_the_sha256_of_the_spki(void **state)
{
    (void)state;
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned char base64[64];
    unsigned char *der = NULL;
    char pin[TLS_PIN_TEXT_SIZE];
    int size = i2d_PUBKEY(good.key, &der);
    assert_true(size > 0);
    assert_int_equal(EVP_Digest(der, (size_t)size, hash, NULL, EVP_sha256(), NULL), 1);
    assert_int_equal(EVP_EncodeBlock(base64, hash, 32), 44);
    OPENSSL_free(der);
    tls_pin_text(pin, sizeof pin, good.cert);
    assert_memory_equal(pin, "sha256//", 8);
    assert_string_equal(pin + 8, (const char *)base64);
}

static void wrong_pins(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "begins with 'sha256//'"},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "begins with 'sha256//'"},
        {"sha1//AAAA", "begins with 'sha256//'"},
        {"SHA256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "begins with 'sha256//'"},
        {"sha256//", "44 characters"},
        {"sha256//AAAA", "44 characters"},
        {"sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "44 characters"},
        {"sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "44 characters"},
        {"sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", "44 characters"},
        {"sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=AAAA", "44 characters"},
        {"sha256// AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "not base64"},
        {"sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-=", "not base64"},
        /* bits behind the last byte: another text for the same pin */
        {"sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", "not base64 of 32 bytes"},
        {"sha256//0000000000000000000000000000000000000000000000000000000000000000", "hexadecimal"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err;
        const struct tls_texts texts = {(const char *const[]){ZEROS, rows[i].text}, 2};
        error_init(&err);
        assert_null(tls_pins_create(&texts, "--pins", &err));
        assert_has(err.text, rows[i].says);
        assert_memory_equal(err.text, "--pins '", 8);
        assert_has(err.text, rows[i].text);
    }
}

static void digest_of(const struct tls_pins *pins, unsigned char *out)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestInit_ex(digest, EVP_sha256(), NULL), 1);
    tls_pins_digest(pins, digest);
    assert_int_equal(EVP_DigestFinal_ex(digest, out, NULL), 1);
    EVP_MD_CTX_free(digest);
}

static void digest_is_of_the_set(void **state)
{
    (void)state;
    unsigned char a[32], b[32], c[32], d[32];
    struct tls_pins *pins = pins_of((const char *const[]){ONES, ZEROS}, 2);
    digest_of(pins, a);
    tls_pins_destroy(&pins);
    pins = pins_of((const char *const[]){ZEROS, ONES}, 2);
    digest_of(pins, b);
    tls_pins_destroy(&pins);
    pins = pins_of((const char *const[]){ZEROS, ONES, ZEROS}, 3);
    digest_of(pins, c);
    tls_pins_destroy(&pins);
    pins = pins_of((const char *const[]){ZEROS}, 1);
    digest_of(pins, d);
    tls_pins_destroy(&pins);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_equal(a, c, sizeof a);
    assert_memory_not_equal(a, d, sizeof a);
}

/* ---- strictness: once a certificate ---- */

static void told_once(void **state)
{
    (void)state;
    struct tls_strict_seen *seen = tls_strict_seen_create();
    assert_non_null(seen);
    assert_true(tls_strict_first_time(seen, good.cert));
    assert_false(tls_strict_first_time(seen, good.cert));
    assert_true(tls_strict_first_time(seen, sub.cert));
    assert_false(tls_strict_first_time(seen, good.cert));
    /* bounded: the oldest are forgotten */
    struct fx_cert other = {X509_dup(good.cert), NULL};
    for (long i = 0; i < 1000; i++) {
        ASN1_INTEGER_set(X509_get_serialNumber(other.cert), i);
        assert_true(X509_sign(other.cert, sub.key, EVP_sha256()) > 0);
        assert_true(tls_strict_first_time(seen, other.cert));
        assert_false(tls_strict_first_time(seen, other.cert));
    }
    assert_true(tls_strict_first_time(seen, good.cert));
    fx_free(&other);
    tls_strict_seen_destroy(&seen);
    assert_null(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits_the_public_key), cmocka_unit_test(is_the_sha256_of_the_spki),
        cmocka_unit_test(wrong_pins),          cmocka_unit_test(digest_is_of_the_set),
        cmocka_unit_test(told_once),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
