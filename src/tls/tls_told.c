/* What a peer of ours is told of a TLS session: the PROXY protocol's view of it. */
#include "tls_internal.h"

#include <esclusa/str.h>

#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

/* As UTF-8. Of several the last, which is the most specific. "": none, or one that cannot be a
 * text. */
static void common_name(const X509 *cert, char *dst, size_t size)
{
    const X509_NAME *name = X509_get_subject_name(cert);
    int at = -1, last = -1;
    while ((at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0)
        last = at;
    if (last < 0)
        return;
    unsigned char *text = NULL;
    const int length =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, last)));
    if (length > 0 && (size_t)length < size && memchr(text, '\0', (size_t)length) == NULL) {
        memcpy(dst, text, (size_t)length);
        dst[length] = '\0';
    }
    OPENSSL_free(text);
}

void tls_session_told(struct ssl_st *ssl, struct tls_told *told)
{
    const unsigned char *alpn = NULL;
    unsigned length = 0;
    memset(told, 0, sizeof *told);
    ERR_clear_error();
    tls_session_info(ssl, &told->info);
    const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)str_copy(told->sni, sizeof told->sni, sni != NULL ? sni : "");
    SSL_get0_alpn_selected(ssl, &alpn, &length);
    if (length > 0 && length < sizeof told->alpn)
        memcpy(told->alpn, alpn, length);
    const X509 *cert = SSL_get0_peer_certificate(ssl);
    told->has_cert = cert != NULL;
    told->verified = cert != NULL && SSL_get_verify_result(ssl) == X509_V_OK;
    if (cert != NULL)
        common_name(cert, told->common_name, sizeof told->common_name);
    ERR_clear_error();
}
