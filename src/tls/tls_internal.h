/* What the files of src/tls share. */
#ifndef ESCLUSA_TLS_INTERNAL_H
#define ESCLUSA_TLS_INTERNAL_H

#include <esclusa/tls.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

/* Certificate, key and chain that we show. All NULL: none. */
struct tls_identity {
    X509 *leaf;
    EVP_PKEY *key;
    STACK_OF(X509) * chain; /* without the leaf */
};

struct tls_profile {
    enum tls_role role;
    bool system_store; /* the anchors are those of the machine */
    const char *ca_option, *cert_option, *key_option;
    struct tls_identity identity;
    X509_STORE *store; /* NULL: peers' certificates are not asked for */
    unsigned workers;
    SSL_CTX **contexts; /* one a worker; each has the profile as its app data */
    char trust[512];
    char add_to[64]; /* how a remedy says where an anchor goes: "to --ca", "with --ca" */
};

/* Only while a session lives: a profile outlives its sessions. */
const struct tls_profile *tls_profile_of(const SSL *ssl);

/* ---- tls_files.c ---- */

/* Adds the certificates of a PEM file, or of a directory, to anchors; none is added twice. */
bool tls_anchors_read_file(STACK_OF(X509) * anchors, const char *path, const char *option,
                           struct error *err) WARN_UNUSED;
bool tls_anchors_read_dir(STACK_OF(X509) * anchors, const char *path, const char *option,
                          struct error *err) WARN_UNUSED;
/* Needs settings->cert_file. The leaf is in its time of validity and the key fits it. */
bool tls_identity_read(struct tls_identity *identity, const struct tls_settings *settings,
                       struct error *err) WARN_UNUSED;
void tls_identity_fini(struct tls_identity *identity);
/* The reason of the oldest error in OpenSSL's queue, which is emptied; "unknown error". */
const char *tls_openssl_reason(void);

/* ---- verify.c ---- */

/* Once a process; false: no memory. */
bool tls_verify_prepare(void) WARN_UNUSED;
bool tls_verify_arm(SSL *ssl, const struct tls_name *expected) WARN_UNUSED;
/* Never overrules OpenSSL: it writes down why and returns what it was given. */
int tls_verify_callback(int ok, X509_STORE_CTX *store);
/* What the callback wrote down; NULL: nothing. */
const struct tls_failure *tls_verify_recorded(const SSL *ssl);
const struct tls_name *tls_expected_name(const SSL *ssl);
/* For a client without a certificate: remembers that it was asked for one. */
int tls_client_certificate_asked(SSL *ssl, X509 **leaf, EVP_PKEY **key);
bool tls_was_asked_for_certificate(const SSL *ssl);
/* "CN=x, O=y", escaped. */
void tls_name_text(char *dst, size_t size, const X509_NAME *name);
/* "2026-01-27 12:00:00 UTC" */
void tls_time_text(char *dst, size_t size, const ASN1_TIME *time);

/* ---- tls_error.c ---- */

/* What stands for the {word}s of a remedy's text; see tls_remedy_write(). */
struct tls_remedy_words {
    const char *ca, *cert, *key; /* options */
    const char *peer;            /* "upstream" or "consumer" */
    const char *trust;           /* where the anchors are: an option or "the system store" */
    const char *to;              /* "to --ca" or "with --ca" */
    const char *usage;           /* extended key usage that the peer's certificate needs */
    const char *subject, *issuer, *names, *expected, *date, *sent;
};
void tls_remedy_words_init(struct tls_remedy_words *words, const struct tls_profile *profile);
/* Copies text with each {word} replaced; cut where dst is full. */
void tls_remedy_write(char *dst, size_t size, const char *text,
                      const struct tls_remedy_words *words);

#endif
