/* OpenSSL's failures put in words: which of the few kinds it is, and what would fix it. */
#include "tls_internal.h"

#include <esclusa/str.h>

#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <string.h>

/* OpenSSL's reason for a fatal alert of the peer is this and the alert's number; an alert that we
 * send ourselves gets no reason of this kind (SSL_AD_REASON_OFFSET in ssl.h). */
#define ALERT_FIRST SSL_AD_REASON_OFFSET
#define ALERT_LAST  (SSL_AD_REASON_OFFSET + 255)

/* ---- remedies with {words} ---- */

void tls_remedy_words_init(struct tls_remedy_words *words, const struct tls_profile *profile)
{
    bool up = profile->role == TLS_UPSTREAM;
    memset(words, 0, sizeof *words);
    words->profile = profile;
    words->peer = up ? "upstream" : "consumer";
    words->usage = up ? "serverAuth" : "clientAuth";
    words->trust = profile->system_store ? "the system store" : profile->ca_word;
    words->to = profile->add_to;
}

static const char *word_value(const struct tls_remedy_words *w, const char *word, size_t length)
{
    const struct {
        const char *word;
        const char *value;
    } words[] = {
        {"peer", w->peer},         {"trust", w->trust},     {"to", w->to},
        {"usage", w->usage},       {"subject", w->subject}, {"issuer", w->issuer},
        {"names", w->names},       {"date", w->date},       {"sent", w->sent},
        {"expected", w->expected},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i].word) == length && memcmp(words[i].word, word, length) == 0)
            return words[i].value != NULL ? words[i].value : "";
    char name[32];
    (void)str_copy(name, length + 1 < sizeof name ? length + 1 : sizeof name, word);
    const char *setting = str_equal(name, "ca")
                              ? w->profile->ca_word
                              : tls_word(w->profile->role, w->profile->words_of_file, name);
    return setting != NULL ? setting : "";
}

void tls_remedy_write(char *dst, size_t size, const char *text,
                      const struct tls_remedy_words *words)
{
    size_t length = 0;
    dst[0] = '\0';
    while (*text != '\0') {
        size_t plain = strcspn(text, "{");
        (void)str_append(dst, size, &length, "%.*s", (int)plain, text);
        text += plain;
        if (*text != '{')
            break;
        size_t word = strcspn(text + 1, "}");
        (void)str_append(dst, size, &length, "%s", word_value(words, text + 1, word));
        text += 1 + word;
        if (*text == '}')
            text++;
    }
}

/* ---- alerts of the peer ---- */

/* IANA, TLS Alerts. up: the upstream sent it; down: a consumer did; NULL: nothing to advise. */
static const struct alert_row {
    int number;
    bool credential; /* says that our certificate is refused or missing */
    const char *name;
    const char *up, *down;
} alerts[] = {
    {SSL_AD_CLOSE_NOTIFY, false, "close_notify",
     "the upstream ended the session during the handshake: see its log", NULL},
    {SSL_AD_UNEXPECTED_MESSAGE, false, "unexpected_message", NULL, NULL},
    {SSL_AD_BAD_RECORD_MAC, false, "bad_record_mac",
     "bytes were changed on the way: look for a middlebox or bad memory", NULL},
    {SSL_AD_DECRYPTION_FAILED, false, "decryption_failed", NULL, NULL},
    {SSL_AD_RECORD_OVERFLOW, false, "record_overflow", NULL, NULL},
    {SSL_AD_DECOMPRESSION_FAILURE, false, "decompression_failure", NULL, NULL},
    {SSL_AD_HANDSHAKE_FAILURE, false, "handshake_failure",
     "the upstream found nothing in common: check {tls_min} and {tls_max}, {server_name}, and "
     "whether it wants a client certificate ({cert} and {key})",
     "the consumer found nothing in common: check its TLS versions, ciphers and the kind of key in "
     "{cert}"},
    {SSL_AD_NO_CERTIFICATE, false, "no_certificate", NULL, NULL},
    {SSL_AD_BAD_CERTIFICATE, true, "bad_certificate",
     "the upstream refuses our client certificate: check {cert}",
     "the consumer refuses our certificate: check {cert} and the CA it trusts"},
    {SSL_AD_UNSUPPORTED_CERTIFICATE, true, "unsupported_certificate",
     "the upstream does not take this kind of client certificate: {cert} needs the extended key "
     "usage clientAuth",
     "the consumer does not take this kind of certificate: {cert} needs the extended key usage "
     "serverAuth"},
    {SSL_AD_CERTIFICATE_REVOKED, true, "certificate_revoked",
     "the upstream says that our client certificate is revoked: give another with {cert}",
     "the consumer says that our certificate is revoked: give another with {cert}"},
    {SSL_AD_CERTIFICATE_EXPIRED, true, "certificate_expired",
     "the upstream says that our client certificate, or one of its chain, expired: renew {cert}",
     "the consumer says that our certificate, or one of its chain, expired: renew {cert}"},
    {SSL_AD_CERTIFICATE_UNKNOWN, true, "certificate_unknown",
     "the upstream refuses our client certificate: check {cert} and see the upstream's log",
     "the consumer refuses our certificate: check the name and CA of {cert}, and the consumer's "
     "log"},
    {SSL_AD_ILLEGAL_PARAMETER, false, "illegal_parameter", NULL, NULL},
    {SSL_AD_UNKNOWN_CA, true, "unknown_ca",
     "the upstream does not accept our client certificate: it does not know the CA. Put the "
     "intermediates behind the certificate in {cert}, or have the upstream trust that CA",
     "the consumer does not know the CA of our certificate: put the intermediates behind it in "
     "{cert}, and give the consumer the CA"},
    {SSL_AD_ACCESS_DENIED, true, "access_denied",
     "the upstream knows our client certificate and does not let it in: ask for access or give "
     "another with {cert}",
     NULL},
    {SSL_AD_DECODE_ERROR, false, "decode_error", NULL, NULL},
    {SSL_AD_DECRYPT_ERROR, false, "decrypt_error", NULL, NULL},
    {SSL_AD_EXPORT_RESTRICTION, false, "export_restriction", NULL, NULL},
    {SSL_AD_PROTOCOL_VERSION, false, "protocol_version",
     "the upstream does not speak these TLS versions: check {tls_min} and {tls_max}",
     "the consumer does not speak these TLS versions: check {tls_min} and {tls_max}"},
    {SSL_AD_INSUFFICIENT_SECURITY, false, "insufficient_security",
     "the upstream wants stronger ciphers: check {tls_max}", NULL},
    {SSL_AD_INTERNAL_ERROR, false, "internal_error",
     "the upstream failed; if it does so always, check {server_name} and see its log", NULL},
    {SSL_AD_INAPPROPRIATE_FALLBACK, false, "inappropriate_fallback", NULL, NULL},
    {SSL_AD_USER_CANCELLED, false, "user_canceled", NULL, NULL},
    {SSL_AD_NO_RENEGOTIATION, false, "no_renegotiation", NULL, NULL},
    {SSL_AD_MISSING_EXTENSION, false, "missing_extension",
     "the upstream misses a TLS extension; if {expected} is an IP address, give a name with "
     "{server_name} so that it is sent (SNI)",
     NULL},
    {SSL_AD_UNSUPPORTED_EXTENSION, false, "unsupported_extension", NULL, NULL},
    {SSL_AD_UNRECOGNIZED_NAME, false, "unrecognized_name",
     "the upstream has no service by the name '{expected}': give the right one with {server_name}",
     NULL},
    {SSL_AD_BAD_CERTIFICATE_STATUS_RESPONSE, false, "bad_certificate_status_response", NULL,
     "the consumer refuses the OCSP response that we staple, or wants one: renew {ocsp}"},
    {SSL_AD_UNKNOWN_PSK_IDENTITY, false, "unknown_psk_identity", NULL, NULL},
    {SSL_AD_CERTIFICATE_REQUIRED, true, "certificate_required",
     "the upstream wants a client certificate: give {cert} and {key}", NULL},
    {SSL_AD_NO_APPLICATION_PROTOCOL, false, "no_application_protocol",
     "the upstream wants an application protocol to be named (ALPN) that it knows: give it with "
     "{alpn}",
     "no application protocol (ALPN) in common with the consumer: see {alpn}"},
};

static const struct alert_row *alert_find(int number)
{
    for (size_t i = 0; i < sizeof alerts / sizeof alerts[0]; i++)
        if (alerts[i].number == number)
            return &alerts[i];
    return NULL;
}

/* ---- OpenSSL's own reasons ---- */

static const struct reason_row {
    int reason;
    const char *up, *down;
} reasons[] = {
    {SSL_R_WRONG_VERSION_NUMBER,
     "the upstream does not speak TLS on this port: check the port of {connect}, or use tcp:// if "
     "it is meant to be plain",
     "the consumer does not speak TLS: connect with TLS, or use a tcp:// listener"},
    {SSL_R_BAD_RECORD_TYPE, "the upstream does not speak TLS on this port",
     "the consumer does not speak TLS: connect with TLS, or use a tcp:// listener"},
    {SSL_R_PACKET_LENGTH_TOO_LONG, "the upstream does not speak TLS on this port",
     "the consumer does not speak TLS: connect with TLS, or use a tcp:// listener"},
    {SSL_R_HTTP_REQUEST, NULL,
     "the consumer speaks plaintext (HTTP): connect with https, or use a tcp:// listener"},
    {SSL_R_HTTPS_PROXY_REQUEST, NULL,
     "the consumer takes this port for an HTTP proxy and speaks plaintext: this is no proxy"},
    {SSL_R_UNSUPPORTED_PROTOCOL,
     "the upstream speaks no TLS version that is allowed here: check {tls_min} and {tls_max} (TLS "
     "1.2 is the oldest)",
     "the consumer speaks no TLS version that is allowed here: check {tls_min} and {tls_max} (TLS "
     "1.2 is the oldest)"},
    {SSL_R_WRONG_SSL_VERSION, "check {tls_min} and {tls_max}", "check {tls_min} and {tls_max}"},
    {SSL_R_NO_PROTOCOLS_AVAILABLE,
     "no TLS version is left: check {tls_min}, {tls_max} and this machine's openssl.cnf",
     "no TLS version is left: check {tls_min}, {tls_max} and this machine's openssl.cnf"},
    {SSL_R_NO_SHARED_CIPHER, NULL,
     "no cipher in common with the consumer: check the kind of key in {cert} (RSA or EC) and the "
     "consumer's ciphers"},
    {SSL_R_NO_SHARED_GROUPS, NULL, "no key exchange group in common with the consumer"},
    {SSL_R_NO_SUITABLE_KEY_SHARE, NULL, "no key exchange group in common with the consumer"},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "the upstream takes no signature of the key in {key}",
     "the consumer takes no signature of the key in {key}"},
    {SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, "no signature algorithm in common with the upstream",
     "no signature algorithm in common with the consumer"},
    {SSL_R_DH_KEY_TOO_SMALL,
     "the upstream's Diffie-Hellman parameters are too small: have it use ECDHE or 2048 bits",
     NULL},
    {SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED,
     "the upstream lacks secure renegotiation (RFC 5746): have its TLS library updated", NULL},
};

static const char *reason_remedy(int reason, bool up)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].reason == reason)
            return up ? reasons[i].up : reasons[i].down;
    return NULL;
}

/* ---- the queue ---- */

/* What the error queue holds, in the order of what counts most. */
struct queue {
    unsigned long first; /* the oldest error: the cause; 0: the queue was empty */
    int alert;           /* of the peer; -1: none */
    unsigned long alert_code;
    bool eof;
    bool no_certificate; /* the consumer sent none */
    bool refused;        /* by verification */
    int system;          /* errno of a failed system call in OpenSSL; 0: none */
    bool internal;
};

static void queue_sort_ssl(struct queue *q, unsigned long code)
{
    int reason = ERR_GET_REASON(code);
    if (reason >= ALERT_FIRST && reason <= ALERT_LAST) {
        if (q->alert < 0) {
            q->alert = reason - ALERT_FIRST;
            q->alert_code = code;
        }
    } else if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        q->eof = true;
    } else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        q->no_certificate = true;
    } else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        q->refused = true;
    }
}

/* Empties OpenSSL's queue. */
static void queue_read(struct queue *q)
{
    unsigned long code;
    memset(q, 0, sizeof *q);
    q->alert = -1;
    while ((code = ERR_get_error()) != 0) {
        int reason = ERR_GET_REASON(code);
        if (q->first == 0)
            q->first = code;
        if (ERR_SYSTEM_ERROR(code)) {
            if (q->system == 0)
                q->system = reason;
        } else if (reason == ERR_R_MALLOC_FAILURE || reason == ERR_R_INTERNAL_ERROR) {
            q->internal = true;
        } else if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
            queue_sort_ssl(q, code);
        }
    }
}

/* ---- the kinds of failure ---- */

static void set_reason(struct tls_failure *f, unsigned long code, const char *fallback)
{
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;
    (void)str_copy(f->reason, sizeof f->reason, text != NULL ? text : fallback);
}

static void set_remedy(struct tls_failure *f, const SSL *ssl, const char *text)
{
    struct tls_remedy_words words;
    if (text == NULL)
        return;
    tls_remedy_words_init(&words, tls_profile_of(ssl));
    const struct tls_peer *peer = tls_state_of(ssl)->peer;
    words.expected = peer != NULL ? peer->server_name.text : NULL;
    tls_remedy_write(f->remedy, sizeof f->remedy, text, &words);
}

static void fail_alert(struct tls_failure *f, const SSL *ssl, int number, unsigned long code)
{
    const struct alert_row *row = alert_find(number);
    bool up = tls_profile_of(ssl)->role == TLS_UPSTREAM;
    bool missing = up && tls_state_of(ssl)->asked_for_certificate;
    const char *remedy = NULL;
    f->fault = TLS_FAULT_ALERT;
    f->alert = number;
    f->credential_alert = row != NULL && row->credential;
    if (row != NULL)
        remedy = up ? row->up : row->down;
    /* Before TLS 1.3 there was no alert for a missing certificate: servers send this one, RFC 5246
     * 7.4.6. */
    if (missing && number == SSL_AD_HANDSHAKE_FAILURE)
        f->credential_alert = true;
    if (missing && f->credential_alert)
        remedy = "the upstream wants a client certificate: give {cert} and {key}";
    if (number == SSL_AD_UNRECOGNIZED_NAME && up)
        (void)str_copy(f->expected, sizeof f->expected, tls_state_of(ssl)->peer->server_name.text);

    size_t length = 0;
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;
    (void)str_append(f->reason, sizeof f->reason, &length, "%s (the peer sent alert %d%s%s)",
                     text != NULL ? text : "alert", number, row != NULL ? ", " : "",
                     row != NULL ? row->name : "");
    set_remedy(f, ssl, remedy);
}

static void fail_system(struct tls_failure *f, int sys_errno)
{
    char storage[128];
    f->fault = TLS_FAULT_SYSTEM;
    f->sys_errno = sys_errno;
    (void)str_copy(f->reason, sizeof f->reason, strerror_r(sys_errno, storage, sizeof storage));
}

static void fail_truncated(struct tls_failure *f, const SSL *ssl, unsigned long code)
{
    f->fault = TLS_FAULT_TRUNCATED;
    set_reason(f, code, "the stream ended without close_notify");
    if (SSL_get_state(ssl) == TLS_ST_OK) /* SSL_in_init() is true after any fatal error */
        return;
    (void)str_copy(f->reason, sizeof f->reason,
                   "the peer closed the connection during the TLS handshake");
    if (tls_profile_of(ssl)->role != TLS_UPSTREAM)
        return;
    set_remedy(f, ssl, "check that the port of {connect} speaks TLS, and see the upstream's log");
}

static void fail_verify(struct tls_failure *f, const SSL *ssl)
{
    long result = SSL_get_verify_result(ssl);
    f->fault = TLS_FAULT_VERIFY;
    f->verify_error = result != X509_V_OK ? (int)result : X509_V_ERR_UNSPECIFIED;
    (void)str_copy(f->reason, sizeof f->reason, X509_verify_cert_error_string(f->verify_error));
}

static void fail_no_certificate(struct tls_failure *f, const SSL *ssl, unsigned long code)
{
    f->fault = TLS_FAULT_VERIFY;
    set_reason(f, code, "peer did not return a certificate");
    set_remedy(f, ssl,
               "the consumer must show a certificate from a CA in {ca}; without {ca} none is "
               "asked for");
}

static void fail_protocol(struct tls_failure *f, const SSL *ssl, unsigned long code)
{
    f->fault = TLS_FAULT_PROTOCOL;
    set_reason(f, code, "broken TLS");
    if (ERR_GET_LIB(code) == ERR_LIB_SSL)
        set_remedy(f, ssl,
                   reason_remedy(ERR_GET_REASON(code), tls_profile_of(ssl)->role == TLS_UPSTREAM));
}

/* The queue was empty. */
static void fail_silent(struct tls_failure *f, const SSL *ssl, int ssl_error, int sys_errno)
{
    if (ssl_error == SSL_ERROR_SYSCALL && sys_errno != 0) {
        fail_system(f, sys_errno);
    } else if (ssl_error == SSL_ERROR_SYSCALL) {
        fail_truncated(f, ssl, 0);
    } else if (ssl_error == SSL_ERROR_ZERO_RETURN) {
        fail_alert(f, ssl, SSL_AD_CLOSE_NOTIFY, 0);
    } else {
        f->fault = TLS_FAULT_INTERNAL;
        (void)str_copy(f->reason, sizeof f->reason, "OpenSSL failed without a reason");
    }
}

void tls_failure_collect(struct tls_failure *f, struct ssl_st *ssl, int ssl_error, int sys_errno)
{
    struct queue q;
    const struct tls_failure *recorded = tls_state_of(ssl)->failure;
    queue_read(&q);
    if (recorded != NULL) {
        *f = *recorded;
        return;
    }
    memset(f, 0, sizeof *f);
    f->alert = -1;
    f->depth = -1;
    if (q.alert >= 0) {
        fail_alert(f, ssl, q.alert, q.alert_code);
    } else if (q.no_certificate) {
        fail_no_certificate(f, ssl, q.first);
    } else if (q.refused) {
        fail_verify(f, ssl);
    } else if (q.system != 0) {
        fail_system(f, q.system);
    } else if (q.internal) {
        f->fault = TLS_FAULT_INTERNAL;
        set_reason(f, q.first, "internal error");
    } else if (q.eof) {
        fail_truncated(f, ssl, q.first);
    } else if (q.first != 0) {
        fail_protocol(f, ssl, q.first);
    } else {
        fail_silent(f, ssl, ssl_error, sys_errno);
    }
}
