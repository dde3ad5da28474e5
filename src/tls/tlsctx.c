/* Profiles: one SSL_CTX a worker, made from the settings, and the sessions on them. */
#include "tls_internal.h"

#include <esclusa/str.h>

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* Names of CAs sent to consumers. More than this tells a client nothing, and the message that holds
 * the names must stay small (RFC 8446 4.2.4 leaves the list optional). */
#define CA_NAMES_MAX   64
#define TICKET_KEY_MAX 256

const char *tls_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

const struct tls_profile *tls_profile_of(const SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

const char *tls_profile_trust(const struct tls_profile *profile)
{
    return profile->trust;
}

/* ---- trust ---- */

static void describe_trust(struct tls_profile *p, const struct tls_settings *s, int count)
{
    size_t length = 0;
    if (s->ca_file != NULL)
        (void)str_append(p->trust, sizeof p->trust, &length, "%s", s->ca_file);
    if (s->ca_dir != NULL)
        (void)str_append(p->trust, sizeof p->trust, &length, "%s%s", length > 0 ? " and " : "",
                         s->ca_dir);
    (void)str_append(p->trust, sizeof p->trust, &length, ", %d certificate%s", count,
                     count == 1 ? "" : "s");
}

static bool add_anchors(X509_STORE *store, STACK_OF(X509) * anchors, struct error *err)
{
    ERR_clear_error();
    for (int i = 0; i < sk_X509_num(anchors); i++) {
        X509 *anchor = sk_X509_value(anchors, i);
        /* OpenSSL reads the extensions when they are first asked for. Now, on one thread, and not
         * in several workers' first handshakes at once. */
        (void)X509_check_purpose(anchor, -1, 0);
        if (X509_STORE_add_cert(store, anchor) != 1)
            return error_set(err, "trust store: %s", tls_openssl_reason());
    }
    return true;
}

static bool read_anchors(STACK_OF(X509) * anchors, const struct tls_settings *s,
                         const char *ca_option, struct error *err)
{
    if (s->ca_file != NULL && !tls_anchors_read_file(anchors, s->ca_file, ca_option, err))
        return false;
    if (s->ca_dir == NULL)
        return true;
    char option[64]; /* with both given, ca_option is the file's */
    size_t length = 0;
    (void)str_append(option, sizeof option, &length, "%s%s", ca_option,
                     s->ca_file != NULL ? "-dir" : "");
    return tls_anchors_read_dir(anchors, s->ca_dir, option, err);
}

/* Makes p->store and p->trust. anchors is filled for the caller; left empty for the system store,
 * which OpenSSL reads itself. */
static bool make_store(struct tls_profile *p, const struct tls_settings *s,
                       STACK_OF(X509) * anchors, struct error *err)
{
    bool given = s->ca_file != NULL || s->ca_dir != NULL;
    if (!given && s->role == TLS_DOWNSTREAM) {
        (void)str_copy(p->trust, sizeof p->trust, "no consumer certificates");
        return true;
    }
    p->store = X509_STORE_new();
    if (p->store == NULL)
        return error_set(err, "trust store: no memory");
    if (given) {
        if (!read_anchors(anchors, s, p->ca_option, err) || !add_anchors(p->store, anchors, err))
            return false;
        describe_trust(p, s, sk_X509_num(anchors));
        return true;
    }
    p->system_store = true;
    (void)str_copy(p->trust, sizeof p->trust, "system store");
    ERR_clear_error();
    if (X509_STORE_set_default_paths(p->store) != 1) /* obeys SSL_CERT_FILE and SSL_CERT_DIR */
        return error_set(err, "system store: %s", tls_openssl_reason());
    ERR_clear_error(); /* a missing file of the system is not an error */
    return true;
}

/* ---- one SSL_CTX ---- */

static int version_number(enum tls_version version, int newest)
{
    switch (version) {
    case TLS_1_2:
        return TLS1_2_VERSION;
    case TLS_1_3:
        return TLS1_3_VERSION;
    case TLS_NEWEST:
        break;
    }
    return newest;
}

static bool context_versions(SSL_CTX *ctx, const struct tls_settings *s, struct error *err)
{
    int min = version_number(s->min, TLS1_2_VERSION);
    int max = version_number(s->max, 0);
    if (max != 0 && min > max)
        return error_set(err, "--tls-min 1.3 is above --tls-max 1.2");
    ERR_clear_error();
    if (SSL_CTX_set_min_proto_version(ctx, min) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, max) != 1)
        return error_set(err, "TLS versions: %s", tls_openssl_reason());
    return true;
}

/* What does not depend on the settings. The machine's openssl.cnf has already been applied to ctx:
 * what is needed for safety is set again or taken back. */
static void context_fixed(SSL_CTX *ctx)
{
    SSL_CTX_set_security_level(ctx, 2);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* The first would make a truncated stream look whole (RFC 8446 6.1), the second would allow
     * injected plaintext (RFC 5746). */
    (void)SSL_CTX_clear_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF |
                                         SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION |
                                         SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* No chain is made up from the trust store: what is sent is what the file holds. */
    (void)SSL_CTX_set_mode(ctx,
                           SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY | SSL_MODE_NO_AUTO_CHAIN);
    (void)SSL_CTX_clear_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE);
    /* Servers resume from tickets, which need no memory here. */
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
}

static bool context_identity(SSL_CTX *ctx, const struct tls_profile *p,
                             const struct tls_settings *s, struct error *err)
{
    const struct tls_identity *id = &p->identity;
    if (id->leaf == NULL) {
        SSL_CTX_set_client_cert_cb(ctx, tls_client_certificate_asked);
        return true;
    }
    ERR_clear_error();
    bool done =
        SSL_CTX_use_certificate(ctx, id->leaf) == 1 && SSL_CTX_use_PrivateKey(ctx, id->key) == 1;
    for (int i = 0; done && i < sk_X509_num(id->chain); i++)
        done = SSL_CTX_add1_chain_cert(ctx, sk_X509_value(id->chain, i)) == 1;
    if (done && SSL_CTX_check_private_key(ctx) == 1)
        return true;
    return error_set(err, "%s '%s': OpenSSL does not take it: %s", p->cert_option, s->cert_file,
                     tls_openssl_reason());
}

static bool context_ca_names(SSL_CTX *ctx, STACK_OF(X509) * anchors)
{
    int count = sk_X509_num(anchors);
    if (count > CA_NAMES_MAX)
        return true; /* an empty list: any CA */
    for (int i = 0; i < count; i++)
        if (SSL_CTX_add_client_CA(ctx, sk_X509_value(anchors, i)) != 1)
            return false;
    return true;
}

static bool context_verification(SSL_CTX *ctx, const struct tls_profile *p,
                                 STACK_OF(X509) * anchors, struct error *err)
{
    if (p->store == NULL) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
        return true;
    }
    int mode = SSL_VERIFY_PEER;
    if (p->role == TLS_DOWNSTREAM)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ctx, mode, tls_verify_callback);
    SSL_CTX_set1_cert_store(ctx, p->store);
    /* The purpose (sslserver, sslclient) is OpenSSL's default for the role. */
    ERR_clear_error();
    if (X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx),
                                    X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST) != 1)
        return error_set(err, "verification: %s", tls_openssl_reason());
    if (p->role == TLS_DOWNSTREAM && !context_ca_names(ctx, anchors))
        return error_set(err, "names of consumers' CAs: %s", tls_openssl_reason());
    return true;
}

/* A consumer may come back on another worker: its ticket must be known there too. */
static bool context_tickets(SSL_CTX *ctx, SSL_CTX *first, struct error *err)
{
    static const unsigned char id[] = "esclusa"; /* required with consumers' certificates */
    unsigned char keys[TICKET_KEY_MAX];
    ERR_clear_error();
    bool done = SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1) == 1;
    long length = SSL_CTX_get_tlsext_ticket_keys(first, NULL, 0);
    if (done && ctx != first && length > 0 && length <= TICKET_KEY_MAX)
        done = SSL_CTX_get_tlsext_ticket_keys(first, keys, length) == 1 &&
               SSL_CTX_set_tlsext_ticket_keys(ctx, keys, length) == 1;
    OPENSSL_cleanse(keys, sizeof keys);
    return done || error_set(err, "session tickets: %s", tls_openssl_reason());
}

static SSL_CTX *context_create(struct tls_profile *p, const struct tls_settings *s,
                               STACK_OF(X509) * anchors, struct error *err)
{
    bool server = p->role == TLS_DOWNSTREAM;
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (ctx == NULL) {
        (void)error_set(err, "OpenSSL: %s", tls_openssl_reason());
        return NULL;
    }
    context_fixed(ctx);
    (void)SSL_CTX_set_app_data(ctx, p);
    if (context_versions(ctx, s, err) && context_identity(ctx, p, s, err) &&
        context_verification(ctx, p, anchors, err) &&
        (!server || context_tickets(ctx, p->workers > 0 ? p->contexts[0] : ctx, err)))
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* ---- profiles ---- */

static bool settings_check(const struct tls_settings *s, struct error *err)
{
    if (s->workers == 0)
        return error_set(err, "TLS: no workers");
    if (s->cert_file == NULL && s->role == TLS_DOWNSTREAM)
        return error_set(err, "a tls:// listener needs a certificate: give it with %s",
                         s->cert_option);
    if (s->cert_file == NULL && s->key_file != NULL)
        return error_set(err, "%s '%s': a key without its certificate: give that with %s",
                         s->key_option, s->key_file, s->cert_option);
    return true;
}

static bool profile_fill(struct tls_profile *p, const struct tls_settings *s,
                         STACK_OF(X509) * anchors, struct error *err)
{
    if (!settings_check(s, err))
        return false;
    if (!tls_verify_prepare())
        return error_set(err, "OpenSSL: no memory");
    size_t length = 0;
    bool system_store = s->role == TLS_UPSTREAM && s->ca_file == NULL && s->ca_dir == NULL;
    (void)str_append(p->add_to, sizeof p->add_to, &length, "%s %s", system_store ? "with" : "to",
                     p->ca_option);
    if (!make_store(p, s, anchors, err) ||
        (s->cert_file != NULL && !tls_identity_read(&p->identity, s, err)))
        return false;
    p->contexts = calloc(s->workers, sizeof(SSL_CTX *));
    if (p->contexts == NULL)
        return error_set(err, "TLS: no memory");
    while (p->workers < s->workers) {
        SSL_CTX *ctx = context_create(p, s, anchors, err);
        if (ctx == NULL)
            return false;
        p->contexts[p->workers++] = ctx;
    }
    return true;
}

struct tls_profile *tls_profile_create(const struct tls_settings *settings, struct error *err)
{
    struct tls_settings s = *settings;
    bool up = s.role == TLS_UPSTREAM;
    if (s.ca_option == NULL)
        s.ca_option = up ? "--ca" : "--listen-ca";
    if (s.cert_option == NULL)
        s.cert_option = up ? "--cert" : "--listen-cert";
    if (s.key_option == NULL)
        s.key_option = up ? "--key" : "--listen-key";

    struct tls_profile *p = calloc(1, sizeof *p);
    STACK_OF(X509) *anchors = sk_X509_new_null();
    bool done = p != NULL && anchors != NULL;
    if (!done) {
        (void)error_set(err, "TLS: no memory");
    } else {
        p->role = s.role;
        p->ca_option = s.ca_option;
        p->cert_option = s.cert_option;
        p->key_option = s.key_option;
        done = profile_fill(p, &s, anchors, err);
    }
    sk_X509_pop_free(anchors, X509_free);
    if (!done)
        tls_profile_destroy(&p);
    ERR_clear_error();
    return p;
}

void tls_profile_destroy(struct tls_profile **profile)
{
    struct tls_profile *p = *profile;
    if (p == NULL)
        return;
    for (unsigned i = 0; i < p->workers; i++)
        SSL_CTX_free(p->contexts[i]);
    free(p->contexts);
    X509_STORE_free(p->store);
    tls_identity_fini(&p->identity);
    free(p);
    *profile = NULL;
}

/* ---- sessions ---- */

struct ssl_st *tls_session_create(const struct tls_profile *profile, unsigned worker,
                                  const struct tls_name *expected)
{
    bool up = profile->role == TLS_UPSTREAM;
    if (worker >= profile->workers || (up && expected == NULL))
        return NULL; /* without a name nothing would tie the certificate to the upstream */
    ERR_clear_error();
    SSL *ssl = SSL_new(profile->contexts[worker]);
    if (ssl == NULL || (up && !tls_verify_arm(ssl, expected))) {
        ERR_clear_error();
        SSL_free(ssl);
        return NULL;
    }
    if (up)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    return ssl;
}

void tls_session_destroy(struct ssl_st **ssl)
{
    SSL_free(*ssl);
    *ssl = NULL;
}

/* The names of RFC 8446 4.2.7, in the spelling that people know. */
static const char *group_name(SSL *ssl)
{
    int group = (int)SSL_get_negotiated_group(ssl);
    if (group == 0) /* static RSA, or a resumption without key exchange */
        return "";
    switch (group) {
    case NID_X25519:
        return "X25519";
    case NID_X448:
        return "X448";
    case NID_X9_62_prime256v1:
        return "secp256r1";
    default:
        break;
    }
    const char *name = SSL_group_to_name(ssl, group);
    if (name == NULL)
        name = OBJ_nid2sn(group);
    return name != NULL ? name : "";
}

void tls_session_info(struct ssl_st *ssl, struct tls_info *info)
{
    memset(info, 0, sizeof *info);
    (void)str_copy(info->version, sizeof info->version, SSL_get_version(ssl));
    const char *cipher = SSL_get_cipher_name(ssl);
    (void)str_copy(info->cipher, sizeof info->cipher, cipher != NULL ? cipher : "");
    ERR_clear_error();
    (void)str_copy(info->group, sizeof info->group, group_name(ssl));
    ERR_clear_error();
    info->resumed = SSL_session_reused(ssl) == 1;
}
