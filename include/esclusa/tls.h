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

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct ssl_st; /* OpenSSL's SSL */
struct tls_profile;
struct tls_failure;

enum tls_role {
    TLS_UPSTREAM,  /* the gateway is the TLS client: chain and name are always verified */
    TLS_DOWNSTREAM /* the gateway is the TLS server */
};
enum tls_version { TLS_NEWEST, TLS_1_2, TLS_1_3 };
/* The words of choices stand in the order of their strength, weakest first. */
enum tls_client_auth {
    TLS_CLIENT_AUTO, /* required if there is a CA to verify them, else none */
    TLS_CLIENT_NONE,
    TLS_CLIENT_OPTIONAL, /* one that is shown must be good */
    TLS_CLIENT_REQUIRED
};
enum tls_policy { TLS_POLICY_REPORT, TLS_POLICY_ENFORCE };
enum tls_strictness { TLS_STRICT_OFF, TLS_STRICT_REPORT, TLS_STRICT_ON };
enum tls_ocsp { TLS_OCSP_OFF, TLS_OCSP_PREFER, TLS_OCSP_REQUIRE };

/* What OpenSSL reads by itself: the system store (renewed: others write it anew), its configuration
 * and modules (not so). Paths live during the call; what is not there is told too. */
void tls_system_paths(void (*tell)(void *context, const char *path, bool renewed), void *context);

/* Private keys and key shares go to memory of their own: guard pages around it, left out of cores,
 * cleared when freed, and never swapped out (locked, mlock(2)) where RLIMIT_MEMLOCK lets it. Once,
 * before the first key is read and while there is one thread; without it they are in the heap. The
 * copies that OpenSSL makes of the primes of RSA keys stay outside. */
enum tls_secret_memory { TLS_SECRETS_LOCKED, TLS_SECRETS_UNLOCKED, TLS_SECRETS_ANYWHERE };
enum tls_secret_memory tls_secret_memory_open(size_t *size_r);
/* Bytes for a process that may have so many descriptors. */
size_t tls_secret_memory_size(size_t descriptors);

struct tls_texts {
    const char *const *items;
    size_t count;
};

/* Texts are borrowed during tls_profile_create() only. NULL and empty lists: not given. */
struct tls_settings {
    enum tls_role role;
    unsigned workers;   /* how many SSL_CTX to build, >= 1 */
    bool words_of_file; /* errors and remedies say "server_name" instead of "--server-name" */
    bool insecure_skip_verify; /* upstream */
    bool resumption;           /* upstream */
    bool sni_strict;           /* downstream: no SNI, or one that no certificate bears: refused */
    bool tickets;              /* downstream */
    /* how verification is done */
    enum tls_strictness strict; /* X509_V_FLAG_X509_STRICT */
    enum tls_policy names_policy, pins_policy, revocation_policy;
    enum tls_ocsp ocsp;               /* upstream: stapled responses (RFC 6066 8; not RFC 6961) */
    enum tls_client_auth client_auth; /* downstream */
    /* trust */
    const char *ca_file;  /* trust anchors, PEM; NULL and no ca_dir: upstream: the system store; */
    const char *ca_dir;   /* downstream: no consumer certificate is asked for */
    const char *crl_file; /* PEM or DER, any number of CRLs */
    const char *crl_dir;
    struct tls_texts pins; /* "sha256//BASE64" of a subjectPublicKeyInfo (RFC 7469 2.4) */
    struct tls_texts tlsa; /* upstream: "3 1 1 HEX" (RFC 6698 2.2) */
    struct tls_texts allow_cn, allow_ou, allow_dns, allow_uri, allow_pin; /* downstream: any one */
    /* what we show. certs: PEM chains (leaf first), PKCS#12 files, or URIs for OpenSSL's store.
     * keys: none, or one for each of certs; PEM or URI; none: the cert's file holds it.
     * Upstream: one certificate at most; downstream: one at least. */
    struct tls_texts certs, keys;
    const char *key_passphrase;  /* "file:PATH" (first line) or "env:NAME"; for all keys */
    struct tls_texts ocsp_files; /* downstream: DER, to staple, matched to certs by their CertID */
    /* what is negotiated; lists in OpenSSL's own syntax */
    enum tls_version min, max; /* TLS_NEWEST: 1.2 and what the library has */
    const char *groups, *ciphers, *ciphersuites, *sigalgs;
    struct tls_texts alpn;
    int64_t resumption_age_ms; /* upstream: since the last full verification */
    const char *ticket_keys;   /* downstream; NULL: made here */
    int64_t ticket_rotation_ms;
    int security_level; /* 0 to 5, SSL_CTX_set_security_level(3) */
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

/* Also while sessions run: the certificates that a profile was made from: ours, its issuers beside
 * it, the trust anchors that were given (not those of the system store). In that order; texts live
 * during the call. */
enum tls_certificate_use { TLS_CERTIFICATE_OWN, TLS_CERTIFICATE_ISSUER, TLS_CERTIFICATE_ANCHOR };
struct tls_certificate {
    enum tls_certificate_use use;
    const char *option;   /* as in the settings: "--cert", "--ca" */
    char subject[256];    /* "CN=x, O=y", escaped */
    char serial[64];      /* hexadecimal; RFC 5280 4.1.2.2: at most 20 octets */
    char not_after[64];   /* "2026-01-27 12:00:00 UTC" */
    int64_t not_after_s;  /* seconds since the epoch */
    int64_t seconds_left; /* negative: it has expired */
};
void tls_profile_certificates(const struct tls_profile *profile,
                              void (*callback)(void *context, const struct tls_certificate *c),
                              void *context);
/* The same for its revocation lists. next_update_s: seconds since the epoch; 0: it says none. */
struct tls_crl {
    char issuer[256]; /* escaped */
    int64_t next_update_s;
};
void tls_profile_crls(const struct tls_profile *profile,
                      void (*callback)(void *context, const struct tls_crl *crl), void *context);
/* They accept the same peers: settings, anchors, revocation lists and rules are equal by content.
 */
bool tls_profile_same_rules(const struct tls_profile *a, const struct tls_profile *b);

/* A name that the peer's certificate must bear: dNSName, iPAddress or URI SAN; the subject's CN
 * never counts (RFC 9525 6.3). A URI is compared as it is, but for the case of its scheme and host
 * (RFC 3986 6.2.2.1): SPIFFE IDs. */
#define TLS_NAME_MAX 512
enum tls_name_kind { TLS_NAME_DNS, TLS_NAME_IP, TLS_NAME_URI };
struct tls_name {
    char text[TLS_NAME_MAX]; /* in the form it is compared in, and shown */
    enum tls_name_kind kind;
};
/* Takes a host name (a trailing dot is dropped), an IP literal without brackets, or a URI. */
bool tls_name_set(struct tls_name *name, const char *text, struct error *err) WARN_UNUSED;

/* What an upstream showed last, in a full handshake, whether it was accepted or not: seconds since
 * the epoch, 0 before there was one. Any thread. */
struct tls_seen {
    atomic_int_fast64_t seen_s;
    atomic_int_fast64_t leaf_not_after_s;
    atomic_int_fast64_t chain_not_after_s; /* the first end in the chain: as it was verified, or as
                                              it was sent where that failed */
};

/* Who the upstream must be. Immutable while sessions run. */
struct tls_peer {
    struct tls_name server_name;  /* SNI; sent if it is a DNS name (RFC 6066 3) */
    const struct tls_name *names; /* the leaf must bear one of these; at least one */
    size_t name_count;
    struct tls_seen *seen; /* where that is kept, for the peer's life; NULL: it is not */
    uint64_t id; /* unique within the snapshot: sessions of one are never resumed with another */
};

/* A new SSL on worker's SSL_CTX, in connect or accept state, its verification armed; no BIO yet.
 * The profile must outlive it.
 * peer: required for TLS_UPSTREAM, NULL for TLS_DOWNSTREAM; borrowed for the session's life.
 * Free with tls_session_destroy(). NULL: no memory, or no name for TLS_UPSTREAM. */
struct ssl_st *tls_session_create(const struct tls_profile *profile, unsigned worker,
                                  const struct tls_peer *peer);
void tls_session_destroy(struct ssl_st **ssl);

/* ---- what was agreed ---- */
struct tls_info {
    char version[12]; /* "TLSv1.3" */
    char cipher[48];
    char group[32]; /* key exchange group; "" where the library cannot say */
    char alpn[32];  /* protocol agreed on, escaped; "" none */
    bool resumed;
};
void tls_session_info(struct ssl_st *ssl, struct tls_info *info);
/* What may be told to others of the other side. After the handshake. */
struct tls_told {
    struct tls_info info;
    char sni[256];           /* that it sent; "" none */
    char alpn[256];          /* agreed on, as it is; "" none */
    char common_name[256];   /* of its certificate, UTF-8; "" none */
    bool has_cert, verified; /* verified: it has one, and that was verified */
};
void tls_session_told(struct ssl_st *ssl, struct tls_told *told);
bool tls_session_resumed(const struct ssl_st *ssl);

/* What a policy of "report", or strictness, let pass in this session: "pins: ...; names: ...", for
 * the log; NULL: nothing. Lives as long as the session. */
const char *tls_session_report(const struct ssl_st *ssl);
/* How often each policy of the profile let something pass, since it was made. Any thread. */
enum tls_report { TLS_REPORT_NAMES, TLS_REPORT_PINS, TLS_REPORT_REVOCATION, TLS_REPORT_STRICT };
#define TLS_REPORTS 4
uint64_t tls_profile_reported(const struct tls_profile *profile, enum tls_report what);

/* Messages after the handshake cost the peer little and us a key derivation or an answer each:
 * KeyUpdate and NewSessionTicket (RFC 8446 4.6). More than 32 within 10 s are a flood, but each 64
 * KiB of data, either way, excuse one: peers that often make new keys do so by volume. */
struct tls_flood {
    unsigned count;
    int64_t since_ms;
    size_t data;      /* bytes that have not excused one yet */
    const char *what; /* the last message, in plural */
    bool over;        /* stop reading at once: within the record */
    bool fresh;       /* one has come; the owner takes it back */
};
/* To be called once, when the handshake is done: a session that can be resumed is kept, and what
 * comes from now on is counted. flood: zero before, and as long-lived as ssl. */
void tls_session_established(struct ssl_st *ssl, struct tls_flood *flood);
/* Data that was read or written. */
void tls_flood_data(struct tls_flood *flood, size_t size);
/* The failure of a session that ended for it. */
void tls_flood_failure(struct tls_failure *f, const struct tls_flood *flood);

/* ---- at a reload, on the session's worker ---- */

/* Profiles and peers of the same service, before the reload and now. What before kept of the peer's
 * sessions to resume goes to now, unless anything that a session stands on differs. */
void tls_profile_inherit(const struct tls_profile *now, const struct tls_peer *now_peer,
                         const struct tls_profile *before, const struct tls_peer *before_peer,
                         unsigned worker);
/* The profile was replaced: its live sessions go on, but none is resumed from them. */
void tls_profile_retire(const struct tls_profile *profile, unsigned worker);

/* Verifies live upstream sessions anew. Remembers its last verdicts, so that many sessions with one
 * upstream cost one verification. Within one walk no profile may be replaced. */
struct tls_reverify;
struct tls_reverify *tls_reverify_create(void); /* NULL: no memory */
void tls_reverify_destroy(struct tls_reverify **r);
/* r may be NULL: nothing is remembered then.
 * False: now would refuse the certificates that the session was made with: anchors, revocation
 * lists, pins, names, but no stapled OCSP response, which is the handshake's. True at once if
 * nothing of that has changed, or if now verifies nothing. */
bool tls_session_reverify(struct tls_reverify *r, struct ssl_st *ssl, const struct tls_profile *now,
                          const struct tls_peer *peer, struct tls_failure *why_r) WARN_UNUSED;

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
    bool revocation;       /* the certificate is revoked, or whether it is cannot be known */
    bool credential_alert; /* the alert says that the peer refuses our certificate, or lacks it */
    char reason[256];      /* OpenSSL's words, with the alert's number where there is one */
    char expected[TLS_NAME_MAX]; /* the names expected, " or " between; "" not a matter of names */
    char names[512];   /* the names the leaf bears: "DNS:a, IP:192.0.2.1"; bounded; "" unknown */
    char subject[256]; /* of the certificate that was refused */
    char issuer[256];
    char chain[512]; /* subjects of what the peer sent, leaf first, a newline between; "" unknown */
    char remedy[512]; /* what would fix it, naming the option; "" where that is not known */
};

/* To be called right after an SSL_* function failed, before any other: reads SSL_get_error()'s
 * ssl_error, the thread's OpenSSL error queue and the session's verification result. */
void tls_failure_collect(struct tls_failure *f, struct ssl_st *ssl, int ssl_error, int sys_errno);

/* The OpenSSL the process runs with, for --version: "OpenSSL 3.0.19 27 Jan 2026". */
const char *tls_library_version(void);

#endif
