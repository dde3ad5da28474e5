/* One SSL_CTX, for one worker and profile. */
#include "tlsctx.h"
#include "dane.h"
#include "negotiate.h"
#include "ocsp.h"
#include "resume.h"
#include "sni.h"
#include "tickets.h"
#include "verify.h"

#include <openssl/err.h>

/* Names of CAs sent to consumers. More than this tells a client nothing, and the message that holds
 * the names must stay small (RFC 8446 4.2.4 leaves the list optional). */
#define CA_NAMES_MAX 64

/* What does not depend on the settings. The machine's openssl.cnf has already been applied to ctx:
 * what is needed for safety is set again or taken back. */
static void context_fixed(SSL_CTX *ctx)
{
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

static int verify_mode(const struct tls_profile *p)
{
    if (p->role == TLS_UPSTREAM)
        return p->insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
    switch (p->client_auth) {
    case TLS_CLIENT_AUTO:
    case TLS_CLIENT_NONE:
        return SSL_VERIFY_NONE;
    case TLS_CLIENT_OPTIONAL:
        return SSL_VERIFY_PEER;
    case TLS_CLIENT_REQUIRED:
        break;
    }
    return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
}

static bool context_verification(SSL_CTX *ctx, const struct tls_profile *p, struct error *err)
{
    SSL_CTX_set_verify(ctx, verify_mode(p), NULL);
    SSL_CTX_set_cert_verify_callback(ctx, tls_verify_session, NULL);
    if (p->role == TLS_DOWNSTREAM && !context_ca_names(ctx, p->anchors))
        return error_set(err, "names of consumers' CAs: %s", tls_openssl_reason());
    return true;
}

static bool context_upstream(SSL_CTX *ctx, const struct tls_profile *p, struct error *err)
{
    if (p->identity_count == 0)
        SSL_CTX_set_client_cert_cb(ctx, tls_client_certificate_asked);
    if (p->resume != NULL && !tls_resume_arm_context(ctx, p))
        return error_set(err, "session resumption: %s", tls_openssl_reason());
    return (p->tlsa == NULL || tls_dane_arm_context(ctx, err)) &&
           (p->ocsp == TLS_OCSP_OFF || p->insecure_skip_verify || tls_ocsp_arm(ctx, p, err));
}

static bool context_downstream(SSL_CTX *ctx, const struct tls_profile *p, struct error *err)
{
    return tls_tickets_arm(ctx, p, err) && (p->staples == NULL || tls_staples_arm(ctx, p, err));
}

SSL_CTX *tls_context_create(const struct tls_profile *p, const struct tls_settings *s,
                            struct error *err)
{
    bool server = p->role == TLS_DOWNSTREAM;
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (ctx == NULL) {
        (void)error_set(err, "OpenSSL: %s", tls_openssl_reason());
        return NULL;
    }
    context_fixed(ctx);
    if (tls_negotiation_arm(ctx, p, s, err) && tls_identities_arm(ctx, p, err) &&
        context_verification(ctx, p, err) &&
        (server ? context_downstream(ctx, p, err) : context_upstream(ctx, p, err)))
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}
