/* What the files of src/tls share: the profile, what is kept with a session, and the texts. Each
 * feature has a header of its own beside its source. */
#ifndef ESCLUSA_TLS_INTERNAL_H
#define ESCLUSA_TLS_INTERNAL_H

#include <esclusa/tls.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <stdatomic.h>

#define TLS_FINGERPRINT_SIZE 32 /* SHA-256 */

/* Certificate, key and chain that we show. */
struct tls_identity {
    X509 *leaf;
    EVP_PKEY *key;
    STACK_OF(X509) * chain; /* without the leaf */
};

struct tls_profile {
    enum tls_role role;
    bool words_of_file;
    bool system_store;   /* the anchors are those of the machine */
    const char *ca_word; /* what a remedy calls the trust anchors' setting */
    /* what verification depends on; copies, as the settings are borrowed */
    X509_STORE *store;        /* NULL: peers' certificates are not asked for */
    STACK_OF(X509) * anchors; /* those that were given; empty for the system store */
    bool crls;                /* the store has some: every certificate is looked up */
    enum tls_strictness strict;
    enum tls_policy names_policy, pins_policy, revocation_policy;
    enum tls_client_auth client_auth; /* never TLS_CLIENT_AUTO */
    enum tls_ocsp ocsp;
    bool insecure_skip_verify;
    int security_level;
    struct tls_pins *pins;           /* pins.h; NULL: none */
    struct tls_tlsa *tlsa;           /* dane.h; NULL: none */
    struct tls_admission *admission; /* admit.h; NULL: any verified consumer */
    /* SHA-256 over all of the above by content, not by path: two profiles with the same one accept
     * the same peers */
    unsigned char fingerprint[TLS_FINGERPRINT_SIZE];
    /* what we show */
    struct tls_identity *identities;
    size_t identity_count;
    struct tls_sni *sni;                 /* sni.h; NULL: one identity, whatever the name */
    struct tls_staples *staples;         /* ocsp.h; NULL: none */
    struct tls_tickets *tickets;         /* tickets.h; downstream */
    struct tls_resume *resume;           /* resume.h; upstream; NULL: off */
    struct tls_strict_seen *strict_seen; /* strict.h */
    unsigned char *alpn;                 /* RFC 7301 3.1: each with its length before it */
    size_t alpn_length;

    unsigned workers;
    SSL_CTX **contexts; /* one a worker */
    char trust[512];
    char add_to[64]; /* how a remedy says where an anchor goes: "to --ca", "with --ca" */
    atomic_uint_fast64_t reported[TLS_REPORTS];
};

/* What is kept with an SSL (its ex_data), from tls_session_create() to its end. */
struct tls_state {
    const struct tls_profile *profile;
    const struct tls_peer *peer; /* upstream only */
    unsigned worker;
    struct tls_failure *failure; /* why the peer was refused; the first cause stays */
    bool asked_for_certificate;  /* and we have none */
    char *report;                /* tls_session_report() */
    /* of the full verification that this session stands on, its own or that of the one it resumed;
     * seconds since the epoch; 0: none */
    int64_t verified_s, valid_until_s;
};
struct tls_state *tls_state_of(const SSL *ssl);
/* Only while a session lives: a profile outlives its sessions. */
const struct tls_profile *tls_profile_of(const SSL *ssl);
/* Notes what a policy let pass; text: "pins: no certificate of the chain has one". */
void tls_report(const struct tls_profile *profile, struct tls_state *state, enum tls_report what,
                const char *text);

/* ---- tls_word.c ---- */

/* "--listen-ca", "listen_ca"; static. NULL: no such setting. */
const char *tls_word(enum tls_role role, bool of_file, const char *name);

/* ---- anchors.c, pem.c ---- */

/* Adds the certificates of a PEM file, or of a directory, to anchors; none is added twice. */
bool tls_anchors_read_file(STACK_OF(X509) * anchors, const char *path, const char *option,
                           struct error *err) WARN_UNUSED;
bool tls_anchors_read_dir(STACK_OF(X509) * anchors, const char *path, const char *option,
                          struct error *err) WARN_UNUSED;
/* The reason of the oldest error in OpenSSL's queue, which is emptied; "unknown error". */
const char *tls_openssl_reason(void);

/* ---- tls_text.c: texts out of certificates ---- */

/* "CN=x, O=y", escaped. */
void tls_name_text(char *dst, size_t size, const X509_NAME *name);
/* The common name alone, escaped; "" for none. */
void tls_common_name_text(char *dst, size_t size, const X509_NAME *name);
/* "2026-01-27 12:00:00 UTC" */
void tls_time_text(char *dst, size_t size, const ASN1_TIME *time);
/* "DNS:a, IP:192.0.2.1"; what does not fit becomes "...". */
void tls_names_text(char *dst, size_t size, const X509 *leaf);

/* ---- tls_error.c ---- */

/* What stands for the {word}s of a remedy's text; see tls_remedy_write(). {ca}, {tls_min} and the
 * like become the setting as the user writes it (tls_word()). */
struct tls_remedy_words {
    const struct tls_profile *profile;
    const char *peer;  /* "upstream" or "consumer" */
    const char *trust; /* where the anchors are: an option or "the system store" */
    const char *to;    /* "to --ca" or "with --ca" */
    const char *usage; /* extended key usage that the peer's certificate needs */
    const char *subject, *issuer, *names, *expected, *date, *sent;
};
void tls_remedy_words_init(struct tls_remedy_words *words, const struct tls_profile *profile);
/* Copies text with each {word} replaced; cut where dst is full. */
void tls_remedy_write(char *dst, size_t size, const char *text,
                      const struct tls_remedy_words *words);
/* For a client without a certificate: remembers that it was asked for one. */
int tls_client_certificate_asked(SSL *ssl, X509 **leaf, EVP_PKEY **key);

#endif
