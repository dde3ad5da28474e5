/* TLSA records from the configuration: how they are written, what they let in and keep out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/dane.h"
#include "tls/verify.h"
#include "tls_world.h"

#include "tls_crl.h"

/* "U S M HEX" that fits the certificate. */
static const char *record(int usage, int selector, int matching, const struct fx_cert *of)
{
    static char texts[64][8192];
    static unsigned next;
    char *text = texts[next++ % COUNT(texts)];
    unsigned char *der = NULL;
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned hash_size = 0;
    size_t length = 0;
    int size = selector == 0 ? i2d_X509(of->cert, &der) : i2d_PUBKEY(of->key, &der);
    assert_true(size > 0);
    const unsigned char *data = der;
    if (matching != 0) {
        assert_int_equal(EVP_Digest(der, (size_t)size, hash, &hash_size,
                                    matching == 1 ? EVP_sha256() : EVP_sha512(), NULL),
                         1);
        data = hash;
        size = (int)hash_size;
    }
    text[0] = '\0';
    (void)str_append(text, sizeof texts[0], &length, "%d %d %d ", usage, selector, matching);
    for (int i = 0; i < size; i++)
        assert_true(
            str_append(text, sizeof texts[0], &length, "%02X%s", data[i], i % 16 == 15 ? " " : ""));
    OPENSSL_free(der);
    return text;
}

static const struct tls_texts *two_texts(const char *a, const char *b)
{
    static const char *items[2];
    static struct tls_texts texts;
    items[0] = a;
    items[1] = b;
    texts = (struct tls_texts){items, b != NULL ? 2 : 1};
    return &texts;
}

/* ---- reading ---- */

#define HASH "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"

static void wrong_records(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "usage"},
        {"311 " HASH, "usage"},
        {"4 1 1 " HASH, "usage: 0, 1, 2 or 3"},
        {"-1 1 1 " HASH, "usage"},
        {"3 2 1 " HASH, "selector: 0 (certificate) or 1 (public key)"},
        {"3 1 3 " HASH, "matching type: 0 (whole), 1 (SHA-256) or 2 (SHA-512)"},
        {"3 1 1", "matching type"},
        {"3 1 1 ", "missing"},
        {"3 1 1 " HASH "0", "odd number"},
        {"3 1 1 " HASH "00", "64 hexadecimal digits"},
        {"3 1 2 " HASH, "128 hexadecimal digits"},
        {"3 1 1 xyz", "must be hexadecimal"},
        {"3 0 0 " HASH, "bad certificate"},
        {"3 1 0 " HASH, "bad public key"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err;
        error_init(&err);
        assert_null(tls_tlsa_create(two_texts("3 1 1 " HASH, rows[i].text), "tlsa", &err));
        assert_has(err.text, rows[i].says);
        assert_memory_equal(err.text, "tlsa '", 6);
    }
    struct tls_settings s = upstream();
    struct error err;
    error_init(&err);
    s.tlsa = one_text("3 1 9 00");
    assert_null(tls_profile_create(&s, &err));
    assert_has(err.text, "--tlsa '3 1 9 00': ");
}

static void digest_of(const char *a, const char *b, unsigned char *out)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    struct tls_tlsa *tlsa = tls_tlsa_create(two_texts(a, b), "tlsa", NULL);
    assert_non_null(tlsa);
    assert_int_equal(EVP_DigestInit_ex(digest, EVP_sha256(), NULL), 1);
    tls_tlsa_digest(tlsa, digest);
    assert_int_equal(EVP_DigestFinal_ex(digest, out, NULL), 1);
    EVP_MD_CTX_free(digest);
    tls_tlsa_destroy(&tlsa);
    assert_null(tlsa);
}

static void digest_is_of_the_set(void **state)
{
    (void)state;
    unsigned char a[32], b[32], c[32], d[32], e[32];
    digest_of("3 1 1 " HASH, "2 0 1 " HASH, a);
    digest_of("2 0 1 " HASH,
              " 3\t1 1 0011 2233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF", b);
    digest_of("3 1 1 " HASH, "2 1 1 " HASH, c);
    digest_of("3 1 1 " HASH, NULL, d);
    digest_of("3 1 1 " HASH, "3 1 1 " HASH, e);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    assert_memory_not_equal(a, d, sizeof a);
    assert_memory_equal(d, e, sizeof a);
}

/* ---- handshakes ---- */

/* Whatever the order, this is not the last one. */
#define FIRST "3 1 1 0000000000000000000000000000000000000000000000000000000000000000"

struct dane_row {
    const char *what;
    const char *ca; /* NULL: the system's store, in which there is nothing of ours */
    const char *records[2];
    long send_root; /* 1: behind the intermediate, which always comes */
    const char *name;
    int error; /* X509_V_OK: accepted */
    const char *says;
};

static void play(const struct dane_row *row, const struct fx_cert *leaf)
{
    struct tls_settings s = upstream();
    const struct fx_peer peer = {.leaf = leaf, .chain = {&sub, row->send_root ? &root : NULL}};
    s.ca_file = row->ca != NULL ? in_dir(row->ca) : NULL;
    s.tlsa = *two_texts(row->records[0], row->records[1]);
    struct outcome o = meet(&s, row->name != NULL ? row->name : "good.test", &peer);
    if ((row->error == X509_V_OK) != (o.ours == FX_DONE) || o.failure.verify_error != row->error)
        fail_msg("%s: %d, %s", row->what, (int)o.ours, o.failure.reason);
    if (row->says != NULL)
        assert_has(o.failure.remedy, row->says);
}

static void end_entities(void **state)
{
    (void)state;
    char fitting[TLS_TLSA_TEXT_SIZE];
    tls_tlsa_text(fitting, sizeof fitting, good.cert);
    const struct dane_row rows[] = {
        {"DANE-EE, no CA", NULL, {record(3, 1, 1, &good)}, false, NULL, 0, NULL},
        {"DANE-EE, certificate", NULL, {record(3, 0, 2, &good)}, false, NULL, 0, NULL},
        {"DANE-EE, whole key", NULL, {record(3, 1, 0, &good)}, false, NULL, 0, NULL},
        {"DANE-EE, as told", NULL, {fitting}, false, NULL, 0, NULL},
        {"DANE-EE, another key, CA known",
         "ca.pem",
         {record(3, 1, 1, &client)},
         true,
         NULL,
         X509_V_ERR_DANE_NO_MATCH,
         fitting},
        {"DANE-EE, another name",
         "ca.pem",
         {record(3, 1, 1, &good)},
         true,
         "bad.test",
         X509_V_ERR_HOSTNAME_MISMATCH,
         "--server-name"},
        {"rotation", NULL, {FIRST, record(3, 1, 1, &good)}, false, NULL, 0, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        play(&rows[i], &good);
}

static void authorities_and_pkix(void **state)
{
    (void)state;
    const struct dane_row rows[] = {
        {"DANE-TA, root sent", NULL, {record(2, 0, 1, &root)}, true, NULL, 0, NULL},
        {"DANE-TA, intermediate", NULL, {record(2, 1, 1, &sub)}, false, NULL, 0, NULL},
        {"DANE-TA, whole root not sent", NULL, {record(2, 0, 0, &root)}, false, NULL, 0, NULL},
        {"DANE-TA, another",
         "ca.pem",
         {record(2, 0, 1, &other_root)},
         true,
         NULL,
         X509_V_ERR_DANE_NO_MATCH,
         NULL},
        {"DANE-TA, another name",
         "ca.pem",
         {record(2, 0, 1, &root)},
         true,
         "bad.test",
         X509_V_ERR_HOSTNAME_MISMATCH,
         NULL},
        {"PKIX-EE", "ca.pem", {record(1, 1, 1, &good)}, false, NULL, 0, NULL},
        {"PKIX-EE, another key",
         "ca.pem",
         {record(1, 1, 1, &client)},
         false,
         NULL,
         X509_V_ERR_DANE_NO_MATCH,
         NULL},
        {"PKIX-EE, CA unknown",
         "other.pem",
         {record(1, 1, 1, &good)},
         false,
         NULL,
         X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
         NULL},
        {"PKIX-TA", "ca.pem", {record(0, 0, 1, &root)}, false, NULL, 0, NULL},
        {"PKIX-TA, another",
         "ca.pem",
         {record(0, 0, 1, &other_root)},
         false,
         NULL,
         X509_V_ERR_DANE_NO_MATCH,
         NULL},
        {"PKIX-TA, CA unknown",
         "other.pem",
         {record(0, 0, 1, &root)},
         true,
         NULL,
         X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
         NULL},
        {"an address", NULL, {record(3, 1, 1, &good)}, false, "192.0.2.1", 0, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        play(&rows[i], &good);
}

/* Where CAs are given a record of usage 2 or 3 does not replace them: both must hold. */
static void in_addition_to_given_anchors(void **state)
{
    (void)state;
    const int unknown = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
    const char *ee = record(3, 1, 1, &good);
    const char *ta = record(2, 1, 1, &sub);
    const struct dane_row rows[] = {
        {"EE and CA", "ca.pem", {ee}, false, NULL, 0, NULL},
        {"EE, CA unknown", "other.pem", {ee}, false, NULL, unknown, "--ca"},
        {"EE fits not", "ca.pem", {FIRST}, false, NULL, X509_V_ERR_DANE_NO_MATCH, "--tlsa"},
        {"TA and CA", "ca.pem", {ta}, false, NULL, 0, NULL},
        {"TA, CA unknown", "other.pem", {ta}, false, NULL, unknown, "--ca"},
        {"one of both kinds", "other.pem", {record(1, 1, 1, &client), ee}, false, NULL, unknown, 0},
        {"one of both kinds, CA", "ca.pem", {record(1, 1, 1, &client), ee}, false, NULL, 0, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        play(&rows[i], &good);
}

static void look_up(const char *what, const char *tlsa, const char *crl, const struct fx_cert *leaf,
                    int error)
{
    struct tls_settings s = upstream();
    s.ca_file = NULL;
    s.tlsa = one_text(tlsa);
    s.crl_file = crl;
    for (int report = 0; report < 2; report++) {
        s.revocation_policy = report ? TLS_POLICY_REPORT : TLS_POLICY_ENFORCE;
        struct outcome o = meet(&s, "good.test", &(struct fx_peer){.leaf = leaf, .chain = {&sub}});
        int expected = report ? X509_V_OK : error;
        if ((expected == X509_V_OK) != (o.ours == FX_DONE) || o.failure.verify_error != expected)
            fail_msg("%s: %s", what, o.failure.reason);
        assert_int_equal(o.failure.revocation, expected != X509_V_OK);
    }
}

/* Without CAs the record is the trust. CRLs that are given are asked all the same. */
static void lists_count(void **state)
{
    (void)state;
    const char *ee = record(3, 1, 1, &good);
    const char *bare = record(2, 1, 0, &sub); /* its certificate is not sent */
    const char *list = crl_file("good.crl", &sub, NULL, "w");
    look_up("not listed", ee, list, &good, X509_V_OK);
    look_up("missing", ee, crl_file("root.crl", &root, NULL, "w"), &good,
            X509_V_ERR_UNABLE_TO_GET_CRL);
    look_up("revoked", ee, crl_file("bad.crl", &sub, &good, "w"), &good, X509_V_ERR_CERT_REVOKED);
    look_up("TA, revoked", record(2, 0, 0, &sub), in_dir("bad.crl"), &good,
            X509_V_ERR_CERT_REVOKED);
    look_up("TA", record(2, 0, 0, &sub), list, &good, X509_V_OK);
    look_up("bare key, revoked", bare, in_dir("bad.crl"), &good, X509_V_ERR_CERT_REVOKED);
    crl_from = -9 * FX_DAY;
    crl_until = -FX_DAY;
    (void)crl_file("old.crl", &sub, NULL, "w");
    crl_until = CRL_LIFE;
    crl_from = -FX_DAY;
    look_up("expired", ee, in_dir("old.crl"), &good, X509_V_ERR_CRL_HAS_EXPIRED);
    (void)crl_file("old.crl", &sub, NULL, "a");
    look_up("with the current one", ee, in_dir("old.crl"), &good, X509_V_OK);
    /* What was issued last counts, whatever the order. */
    crl_from = -2 * FX_DAY;
    (void)crl_file("bad.crl", &sub, NULL, "a");
    look_up("not on an older one", ee, in_dir("bad.crl"), &good, X509_V_ERR_CERT_REVOKED);
    crl_from = -3600;
    (void)crl_file("bad.crl", &sub, NULL, "a");
    look_up("taken back", ee, in_dir("bad.crl"), &good, X509_V_OK);
    crl_from = -FX_DAY;
    /* A self-signed one has no issuer that could list it. */
    struct fx_cert self = fx_make(&(struct fx_spec){.cn = "self", .san = "DNS:good.test"});
    look_up("self-signed", record(3, 1, 1, &self), list, &self, X509_V_OK);
    look_up("self-signed, listed", record(3, 1, 1, &self), crl_file("self.crl", &self, &self, "w"),
            &self, X509_V_ERR_CERT_REVOKED);
    fx_free(&self);
}

/* An issuer of which only the key is known: of its list only the name and the dates are. */
static void lists_of_a_bare_key(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    const struct fx_peer alone = {.leaf = &good};
    s.ca_file = NULL;
    s.tlsa = one_text(record(2, 1, 0, &sub));
    const char *const lists[] = {crl_file("good.crl", &sub, NULL, "w"),
                                 crl_file("bad.crl", &sub, &good, "w"),
                                 crl_file("root.crl", &root, NULL, "w"), NULL};
    const int errors[] = {X509_V_OK, X509_V_ERR_CERT_REVOKED, X509_V_ERR_UNABLE_TO_GET_CRL,
                          X509_V_OK};
    for (size_t i = 0; i < COUNT(lists); i++) {
        s.crl_file = lists[i];
        assert_int_equal(meet(&s, "good.test", &alone).failure.verify_error, errors[i]);
    }
}

/* RFC 7671 5.1: the record says all; OpenSSL does not look at dates. Where CAs are given they do.
 */
static void dates(void **state)
{
    (void)state;
    struct fx_cert old = fx_make(&(struct fx_spec){
        .cn = "x", .issuer = &sub, .san = "DNS:good.test", .from = -9 * FX_DAY, .until = -FX_DAY});
    play(&(struct dane_row){.what = "DANE-EE", .records = {record(3, 1, 1, &old)}}, &old);
    play(&(struct dane_row){.what = "DANE-EE and CA",
                            .ca = "ca.pem",
                            .records = {record(3, 1, 1, &old)},
                            .error = X509_V_ERR_CERT_HAS_EXPIRED},
         &old);
    play(&(struct dane_row){.what = "DANE-TA",
                            .records = {record(2, 1, 1, &sub)},
                            .error = X509_V_ERR_CERT_HAS_EXPIRED},
         &old);
    play(&(struct dane_row){.what = "DANE-TA",
                            .ca = "ca.pem",
                            .records = {record(2, 1, 1, &sub)},
                            .error = X509_V_ERR_CERT_HAS_EXPIRED},
         &old);
    fx_free(&old);
}

/* ---- sessions ---- */

static void sni_is_not_touched(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    s.tlsa = *two_texts(record(3, 1, 1, &good), NULL);
    struct tls_profile *profile = profile_of(&s);
    struct tls_name names[] = {name_of("spiffe://td.test/a"), name_of("verified.test")};
    struct tls_peer peer = {.server_name = name_of("192.0.2.1"), .names = names, .name_count = 2};
    SSL *ssl = tls_session_create(profile, 0, &peer);
    assert_non_null(ssl);
    assert_null(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    tls_session_destroy(&ssl);
    peer.name_count = 1; /* no DNS name at all */
    ssl = tls_session_create(profile, 0, &peer);
    assert_non_null(ssl);
    assert_null(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    tls_session_destroy(&ssl);
    peer.server_name = name_of("sni.test");
    peer.name_count = 2;
    ssl = tls_session_create(profile, 0, &peer);
    assert_string_equal(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name), "sni.test");
    tls_session_destroy(&ssl);
    tls_profile_destroy(&profile);
}

/* Without a record OpenSSL would fall back to the CAs alone. */
static void fails_closed(void **state)
{
    (void)state;
    const struct tls_texts none = {NULL, 0};
    struct tls_tlsa *tlsa = tls_tlsa_create(&none, "tlsa", NULL);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(tlsa);
    SSL *ssl = SSL_new(ctx);
    assert_false(tls_dane_arm(ssl, tlsa, NULL)); /* the context was not armed */
    SSL_free(ssl);
    assert_true(tls_dane_arm_context(ctx, NULL));
    ssl = SSL_new(ctx);
    assert_false(tls_dane_arm(ssl, tlsa, NULL));
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    tls_tlsa_destroy(&tlsa);
    ERR_clear_error();
}

/* As a reload asks: no session of this profile is at hand. */
static void outside_of_a_session(void **state)
{
    (void)state;
    const struct fx_cert *certs[] = {&good, &client};
    struct tls_settings s = upstream();
    struct named_peer named;
    STACK_OF(X509) *sent = sk_X509_new_null();
    assert_true(sk_X509_push(sent, sub.cert) > 0);
    for (size_t i = 0; i < COUNT(certs); i++) {
        struct tls_verdict v;
        s.tlsa = *two_texts(record(1, 1, 1, certs[i]), NULL);
        struct tls_profile *profile = profile_of(&s);
        const struct tls_subject subject = {
            .leaf = good.cert, .sent = sent, .peer = peer_named(&named, "good.test")};
        tls_verify(&v, profile, &subject);
        assert_int_equal(v.good, i == 0);
        assert_int_equal(v.failure.verify_error, i == 0 ? 0 : X509_V_ERR_DANE_NO_MATCH);
        tls_verdict_fini(&v);
        tls_profile_destroy(&profile);
    }
    sk_X509_free(sent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_records),
        cmocka_unit_test(digest_is_of_the_set),
        cmocka_unit_test(end_entities),
        cmocka_unit_test(authorities_and_pkix),
        cmocka_unit_test(dates),
        cmocka_unit_test(in_addition_to_given_anchors),
        cmocka_unit_test(lists_count),
        cmocka_unit_test(lists_of_a_bare_key),
        cmocka_unit_test(sni_is_not_touched),
        cmocka_unit_test(fails_closed),
        cmocka_unit_test(outside_of_a_session),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
