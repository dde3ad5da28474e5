/* tls: TLS profiles (SSL_CTX and what goes in it), verification, and OpenSSL's errors put in words.
 * With src/transport/tp_tls.c the only place that sees OpenSSL; SSL is named by its struct tag here
 * so that this header needs no OpenSSL header.
 *
 * Threads: a profile is built and destroyed by one thread and is read-only in between; worker w
 * uses only SSL_CTX w. A session (struct ssl_st) belongs to one worker. Nothing here blocks but the
 * file reading in tls_profile_create(). */
#ifndef ESCLUSA_TLS_H
#define ESCLUSA_TLS_H

#include <esclusa/error.h>

#include <stddef.h>
#include <stdint.h>

struct ssl_st; /* OpenSSL's SSL */
struct tls_profile;

enum tls_role {
    TLS_UPSTREAM,  /* the gateway is the TLS client: chain and name are always verified */
    TLS_DOWNSTREAM /* the gateway is the TLS server: consumers' certificates if a CA is given */
};
enum tls_version { TLS_NEWEST, TLS_1_2, TLS_1_3 };

/* Texts are borrowed during tls_profile_create() only. */
struct tls_settings {
    enum tls_role role;
    const char *ca_file;   /* trust anchors, PEM; NULL and no ca_dir: upstream: the system store; */
    const char *ca_dir;    /* downstream: no consumer certificate is asked for */
    const char *cert_file; /* chain, leaf first, PEM; required for TLS_DOWNSTREAM */
    const char *key_file;  /* NULL: cert_file holds the key too */
    enum tls_version min;  /* TLS_NEWEST: TLS 1.2 */
    enum tls_version max;  /* TLS_NEWEST: what the library has */
    unsigned workers;      /* how many SSL_CTX to build, >= 1 */
    /* Words for remedies: what the user calls these settings ("--ca"). Static strings. */
    const char *ca_option, *cert_option, *key_option;
};

/* Reads and checks everything: files readable, at least one trust anchor, the key fits the
 * certificate. A certificate already expired or not yet valid is an error too. The trust store is
 * parsed once and shared by the SSL_CTXs. A certificate in ca_file or ca_dir is a trust anchor even
 * if it is not self-signed (X509_V_FLAG_PARTIAL_CHAIN). ca_dir: every regular *.pem, *.crt, *.cer
 * in it, or a c_rehash directory. NULL: err says which file and why. */
struct tls_profile *tls_profile_create(const struct tls_settings *settings,
                                       struct error *err) WARN_UNUSED;
void tls_profile_destroy(struct tls_profile **profile);
/* "system store", "ca.pem, 3 certificates", "no consumer certificates": for the start-up line. */
const char *tls_profile_trust(const struct tls_profile *profile);

/* Before sessions run: the certificates that a profile was made from: ours, its issuers beside it,
 * the trust anchors that were given (not those of the system store). In that order; texts live
 * during the call. */
enum tls_certificate_use { TLS_CERTIFICATE_OWN, TLS_CERTIFICATE_ISSUER, TLS_CERTIFICATE_ANCHOR };
struct tls_certificate {
    enum tls_certificate_use use;
    const char *option;   /* as in the settings: "--cert", "--ca" */
    char subject[256];    /* "CN=x, O=y", escaped */
    char serial[64];      /* hexadecimal; RFC 5280 4.1.2.2: at most 20 octets */
    char not_after[64];   /* "2026-01-27 12:00:00 UTC" */
    int64_t seconds_left; /* negative: it has expired */
};
void tls_profile_certificates(const struct tls_profile *profile,
                              void (*callback)(void *context, const struct tls_certificate *c),
                              void *context);
/* Our own certificate alone, also while sessions run; false: the profile has none. */
bool tls_profile_own_certificate(const struct tls_profile *profile, struct tls_certificate *c);
/* The name the peer must bear. Matched against dNSName SANs, or iPAddress SANs for an IP literal;
 * the subject's CN never counts (RFC 9525 6.3). SNI is sent for a DNS name only (RFC 6066 3). */
#define TLS_NAME_MAX 256
struct tls_name {
    char text[TLS_NAME_MAX];
    bool is_ip;
};
/* Takes a host name (a trailing dot is dropped) or an IP literal without brackets. */
bool tls_name_set(struct tls_name *name, const char *text, struct error *err) WARN_UNUSED;

/* A new SSL on worker's SSL_CTX, in connect or accept state, its verification armed; no BIO yet.
 * The profile must outlive it.
 * expected: required for TLS_UPSTREAM, NULL for TLS_DOWNSTREAM; borrowed for the session's life.
 * Free with tls_session_destroy(). NULL: no memory, or no name for TLS_UPSTREAM. */
struct ssl_st *tls_session_create(const struct tls_profile *profile, unsigned worker,
                                  const struct tls_name *expected);
void tls_session_destroy(struct ssl_st **ssl);

/* ---- what was agreed ---- */
struct tls_info {
    char version[12]; /* "TLSv1.3" */
    char cipher[48];
    char group[32]; /* key exchange group; "" where the library cannot say */
    bool resumed;
};
void tls_session_info(struct ssl_st *ssl, struct tls_info *info);

/* ---- what went wrong ---- */
enum tls_fault {
    TLS_FAULT_SYSTEM,    /* the socket failed: sys_errno */
    TLS_FAULT_VERIFY,    /* the peer's certificate was refused by us */
    TLS_FAULT_ALERT,     /* the peer sent a fatal alert */
    TLS_FAULT_TRUNCATED, /* the stream ended without close_notify */
    TLS_FAULT_PROTOCOL,  /* not TLS, no common version or cipher, garbage */
    TLS_FAULT_INTERNAL   /* no memory and the like */
};

struct tls_failure {
    enum tls_fault fault;
    int sys_errno;
    int alert;             /* TLS_FAULT_ALERT: its number (RFC 8446 6); else -1 */
    int verify_error;      /* X509_V_ERR_*; 0 when not TLS_FAULT_VERIFY or no certificate came */
    int depth;             /* 0 is the leaf; -1: not about a certificate */
    bool credential_alert; /* the alert says that the peer refuses our certificate, or lacks it */
    char reason[256];      /* OpenSSL's words, with the alert's number where there is one */
    char expected[TLS_NAME_MAX]; /* the name that was expected; "" when not a matter of names */
    char names[512];   /* the names the leaf bears: "DNS:a, IP:192.0.2.1"; bounded; "" unknown */
    char subject[256]; /* of the certificate that was refused */
    char issuer[256];
    char remedy[512]; /* what would fix it, naming the option; "" where that is not known */
};

/* To be called right after an SSL_* function failed, before any other: reads SSL_get_error()'s
 * ssl_error, the thread's OpenSSL error queue and the session's verification result. */
void tls_failure_collect(struct tls_failure *f, struct ssl_st *ssl, int ssl_error, int sys_errno);

/* The OpenSSL the process runs with, for --version: "OpenSSL 3.0.19 27 Jan 2026". */
const char *tls_library_version(void);

#endif
