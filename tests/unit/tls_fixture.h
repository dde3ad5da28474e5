/* Certificates made at test time and TLS peers in memory, for tests of the tls and transport
 * modules. Header only: every test file is built alone. Failures end the test (cmocka asserts);
 * include <cmocka.h> and what it needs before this. */
#ifndef ESCLUSA_TESTS_TLS_FIXTURE_H
#define ESCLUSA_TESTS_TLS_FIXTURE_H

#include <esclusa/tls.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FX_DAY   86400L
#define FX_CHAIN 3

/* ---- certificates ---- */

struct fx_cert {
    X509 *cert;
    EVP_PKEY *key;
};

struct fx_spec {
    const char *cn;
    const char *org;
    const struct fx_cert *issuer; /* NULL: self-signed */
    bool ca;
    const char *san;         /* "DNS:a,IP:192.0.2.1" */
    const char *eku;         /* "serverAuth" */
    const char *constraints; /* "permitted;DNS:x" */
    long from, until;        /* seconds from now; both 0: yesterday to tomorrow */
    unsigned rsa_bits;       /* 0: EC P-256 */
};

static inline void fx_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    if (value == NULL)
        return;
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline void fx_name(X509_NAME *name, const char *field, const char *value)
{
    if (value == NULL)
        return;
    assert_int_equal(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                                (const unsigned char *)value, -1, -1, 0),
                     1);
}

static inline struct fx_cert fx_make(const struct fx_spec *spec)
{
    static long serial = 1;
    struct fx_cert made = {X509_new(), NULL};
    made.key = spec->rsa_bits != 0 ? EVP_RSA_gen(spec->rsa_bits) : EVP_EC_gen("P-256");
    assert_non_null(made.cert);
    assert_non_null(made.key);
    X509 *issuer = spec->issuer != NULL ? spec->issuer->cert : made.cert;
    EVP_PKEY *signer = spec->issuer != NULL ? spec->issuer->key : made.key;
    bool dated = spec->from != 0 || spec->until != 0;

    X509_set_version(made.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(made.cert), dated ? spec->from : -FX_DAY);
    X509_gmtime_adj(X509_getm_notAfter(made.cert), dated ? spec->until : FX_DAY);
    fx_name(X509_get_subject_name(made.cert), "CN", spec->cn);
    fx_name(X509_get_subject_name(made.cert), "O", spec->org);
    X509_set_issuer_name(made.cert, X509_get_subject_name(issuer));
    X509_set_pubkey(made.cert, made.key);
    fx_extension(made.cert, issuer, NID_basic_constraints,
                 spec->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    fx_extension(made.cert, issuer, NID_subject_key_identifier, "hash");
    fx_extension(made.cert, issuer, NID_subject_alt_name, spec->san);
    fx_extension(made.cert, issuer, NID_ext_key_usage, spec->eku);
    fx_extension(made.cert, issuer, NID_name_constraints, spec->constraints);
    assert_true(X509_sign(made.cert, signer, EVP_sha256()) > 0);
    return made;
}

static inline void fx_free(struct fx_cert *cert)
{
    X509_free(cert->cert);
    EVP_PKEY_free(cert->key);
    memset(cert, 0, sizeof *cert);
}

/* ---- files ---- */

/* mode "w" or "a"; a NULL certificate or key is left out. */
static inline void fx_write(const char *path, const char *mode, X509 *cert, EVP_PKEY *key)
{
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    if (cert != NULL)
        assert_int_equal(PEM_write_X509(file, cert), 1);
    if (key != NULL)
        assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(file), 0);
}

static inline void fx_write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* ---- the other end: OpenSSL with no rule of ours ---- */

struct fx_peer {
    const struct fx_cert *leaf;            /* NULL: none */
    const struct fx_cert *chain[FX_CHAIN]; /* sent behind the leaf */
    const struct fx_cert *ca;              /* NULL: it verifies nothing */
    int version;                           /* the only one it speaks; 0: any from TLS 1.0 */
    const char *ciphers;                   /* NULL: all */
    const char *sni_wanted;                /* refuses any other name with an alert */
};

static inline int fx_sni_check(SSL *ssl, int *alert, void *wanted)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (wanted == NULL || (name != NULL && strcmp(name, wanted) == 0))
        return SSL_TLSEXT_ERR_OK;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static inline SSL *fx_peer_create(const struct fx_peer *peer, bool server)
{
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    assert_non_null(ctx);
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, peer->version != 0 ? peer->version : TLS1_VERSION);
    SSL_CTX_set_max_proto_version(ctx, peer->version);
    assert_int_equal(
        SSL_CTX_set_cipher_list(ctx, peer->ciphers != NULL ? peer->ciphers : "ALL:@SECLEVEL=0"), 1);
    if (peer->leaf != NULL) {
        assert_int_equal(SSL_CTX_use_certificate(ctx, peer->leaf->cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, peer->leaf->key), 1);
    }
    for (int i = 0; i < FX_CHAIN && peer->chain[i] != NULL; i++)
        assert_int_equal(SSL_CTX_add1_chain_cert(ctx, peer->chain[i]->cert), 1);
    if (peer->ca != NULL) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), peer->ca->cert);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    SSL_CTX_set_tlsext_servername_callback(ctx, fx_sni_check);
    union {
        const char *in;
        void *out;
    } wanted = {.in = peer->sni_wanted};
    SSL_CTX_set_tlsext_servername_arg(ctx, wanted.out);
    SSL *ssl = SSL_new(ctx);
    assert_non_null(ssl);
    SSL_CTX_free(ctx);
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ssl;
}

/* ---- both ends in memory ---- */

static inline void fx_join(SSL *a, SSL *b)
{
    BIO *bio_a = NULL;
    BIO *bio_b = NULL;
    assert_int_equal(BIO_new_bio_pair(&bio_a, 65536, &bio_b, 65536), 1);
    SSL_set_bio(a, bio_a, bio_a);
    SSL_set_bio(b, bio_b, bio_b);
}

enum fx_state { FX_GOING, FX_DONE, FX_FAILED };

/* One try of the handshake or, once that is done, of a read: TLS 1.3 tells a client only after its
 * handshake that its certificate was refused. */
static inline enum fx_state fx_step(SSL *ssl, bool *shaken, struct tls_failure *f)
{
    char bytes[64];
    ERR_clear_error();
    int result = *shaken ? SSL_read(ssl, bytes, sizeof bytes) : SSL_do_handshake(ssl);
    int error = SSL_get_error(ssl, result);
    if (result > 0) {
        *shaken = true;
        return FX_GOING;
    }
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return *shaken ? FX_DONE : FX_GOING;
    if (f != NULL)
        tls_failure_collect(f, ssl, error, 0);
    return FX_FAILED;
}

/* Goes on until both have finished or failed. f_a, f_b: NULL for a peer without profile. */
static inline void fx_handshake(SSL *a, SSL *b, struct tls_failure *f_a, struct tls_failure *f_b,
                                enum fx_state *a_r, enum fx_state *b_r)
{
    bool shaken_a = false;
    bool shaken_b = false;
    *a_r = *b_r = FX_GOING;
    for (int round = 0; round < 20; round++) {
        if (*a_r != FX_FAILED)
            *a_r = fx_step(a, &shaken_a, f_a);
        if (*b_r != FX_FAILED)
            *b_r = fx_step(b, &shaken_b, f_b);
    }
}

#endif
