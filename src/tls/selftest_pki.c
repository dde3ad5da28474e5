/* A throw-away PKI in memory, as strict as RFC 5280 wants one. */
#include "selftest_pki.h"

#include <openssl/bn.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <pthread.h>

/* The clock may be wrong at start and right at a reload: only the expired one depends on it, and no
 * clock stands before 1960 (RFC 5280 4.1.2.5 for the end that is none). */
#define BEGIN   "19500101000000Z"
#define EXPIRED "19600101000000Z"
#define NEVER   "99991231235959Z"

static struct selftest_pki pkis[2];
static bool made[2];
static pthread_once_t once[2] = {PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT};

/* What a certificate is made of. */
struct spec {
    const char *name;
    const char *until;
    const char *constraints, *usage, *extended_usage, *names;
    EVP_PKEY *key;
    X509 *issuer; /* NULL: itself */
    EVP_PKEY *issuer_key;
    const EVP_MD *digest;
};

static bool extend(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    if (value == NULL)
        return true;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool done = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return done;
}

static bool set_serial(X509 *certificate)
{
    unsigned char bytes[8];
    BIGNUM *number = NULL;
    bool done = RAND_bytes(bytes, sizeof bytes) == 1;
    bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, never nought */
    done = done && (number = BN_bin2bn(bytes, sizeof bytes, NULL)) != NULL &&
           BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return done;
}

static bool fill(X509 *certificate, const struct spec *s)
{
    X509 *issuer = s->issuer != NULL ? s->issuer : certificate;
    return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
           ASN1_TIME_set_string_X509(X509_getm_notBefore(certificate), BEGIN) == 1 &&
           ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), s->until) == 1 &&
           X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                                      (const unsigned char *)s->name, -1, -1, 0) == 1 &&
           X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
           X509_set_pubkey(certificate, s->key) == 1 &&
           extend(certificate, issuer, NID_basic_constraints, s->constraints) &&
           extend(certificate, issuer, NID_key_usage, s->usage) &&
           extend(certificate, issuer, NID_subject_key_identifier, "hash") &&
           extend(certificate, issuer, NID_authority_key_identifier, "keyid:always") &&
           extend(certificate, issuer, NID_ext_key_usage, s->extended_usage) &&
           extend(certificate, issuer, NID_subject_alt_name, s->names) &&
           X509_sign(certificate, s->issuer_key, s->digest) > 0;
}

static X509 *make(const struct spec *s)
{
    X509 *certificate = X509_new();
    if (certificate != NULL && fill(certificate, s)) {
        /* Its extensions are read now, and not by several threads at once. */
        (void)X509_check_purpose(certificate, -1, 0);
        return certificate;
    }
    X509_free(certificate);
    return NULL;
}

static X509_CRL *make_crl(const struct selftest_pki *p, const EVP_MD *digest)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *from = ASN1_TIME_new();
    ASN1_TIME *until = ASN1_TIME_new();
    bool done = crl != NULL && from != NULL && until != NULL &&
                ASN1_TIME_set_string_X509(from, BEGIN) == 1 &&
                ASN1_TIME_set_string_X509(until, NEVER) == 1 &&
                X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
                X509_CRL_set_issuer_name(crl, X509_get_subject_name(p->authority)) == 1 &&
                X509_CRL_set1_lastUpdate(crl, from) == 1 &&
                X509_CRL_set1_nextUpdate(crl, until) == 1 &&
                X509_CRL_sign(crl, p->authority_key, digest) > 0;
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    if (!done) {
        X509_CRL_free(crl);
        crl = NULL;
    }
    return crl;
}

static bool make_store(struct selftest_pki *p, const EVP_MD *digest)
{
    X509_CRL *crl = make_crl(p, digest);
    p->store = X509_STORE_new();
    bool done = crl != NULL && p->store != NULL &&
                X509_STORE_add_cert(p->store, p->authority) == 1 &&
                X509_STORE_add_crl(p->store, crl) == 1;
    X509_CRL_free(crl);
    return done;
}

/* A peer that minds nothing. */
static SSL_CTX *make_peer(const struct selftest_pki *p, const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (ctx == NULL)
        return NULL;
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_max_proto_version(ctx, 0) == 1 && SSL_CTX_use_certificate(ctx, p->leaf) == 1 &&
        SSL_CTX_use_PrivateKey(ctx, p->key) == 1 && SSL_CTX_add1_chain_cert(ctx, p->authority) == 1)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

static bool make_all(struct selftest_pki *p, const char *curve, const EVP_MD *digest)
{
    p->authority_key = EVP_EC_gen(curve);
    p->key = EVP_EC_gen(curve);
    if (p->authority_key == NULL || p->key == NULL)
        return false;
    p->authority = make(&(struct spec){.name = "esclusa self-test CA",
                                       .until = NEVER,
                                       .constraints = "critical,CA:TRUE",
                                       .usage = "critical,keyCertSign,cRLSign",
                                       .key = p->authority_key,
                                       .issuer_key = p->authority_key,
                                       .digest = digest});
    if (p->authority == NULL)
        return false;
    struct spec leaf = {.name = "esclusa self-test",
                        .until = NEVER,
                        .constraints = "critical,CA:FALSE",
                        .usage = "critical,digitalSignature",
                        .extended_usage = "serverAuth,clientAuth",
                        .names = "DNS:" SELFTEST_NAME,
                        .key = p->key,
                        .issuer = p->authority,
                        .issuer_key = p->authority_key,
                        .digest = digest};
    p->leaf = make(&leaf);
    leaf.until = EXPIRED;
    p->expired = make(&leaf);
    return p->leaf != NULL && p->expired != NULL && make_store(p, digest) &&
           (p->server = make_peer(p, TLS_server_method())) != NULL &&
           (p->client = make_peer(p, TLS_client_method())) != NULL;
}

/* 128 bits do up to level 3 (SSL_CTX_set_security_level(3)); what is stronger is slower. */
static void make_common(void)
{
    made[0] = make_all(&pkis[0], "P-256", EVP_sha256());
}

static void make_strong(void)
{
    made[1] = make_all(&pkis[1], "P-521", EVP_sha512());
}

const struct selftest_pki *selftest_pki(int security_level)
{
    int which = security_level > 3;
    (void)pthread_once(&once[which], which == 0 ? make_common : make_strong);
    return made[which] ? &pkis[which] : NULL;
}
