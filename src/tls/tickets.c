/* Keys of session tickets, and which tickets are taken. */
#include "tickets.h"
#include "pem.h"

#include <esclusa/clock.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FILE_KEY_SIZE  ((size_t)(TICKET_NAME_SIZE + 2 * TICKET_KEY_SIZE))
#define FILE_KEYS_MAX  64
#define LIFETIME_MAX_S ((int64_t)7 * 24 * 60 * 60) /* RFC 8446 4.6.1 */

/* Keys and their age. One's own: two at most, the first in use. */
struct ring {
    struct ring *next;   /* of the rings made here */
    unsigned references; /* guarded by rings_lock */
    unsigned char context[TLS_FINGERPRINT_SIZE];
    int64_t rotation_ms; /* 0: from a file */
    pthread_mutex_t lock;
    int64_t made_ms; /* the first key's birth */
    size_t count;
    struct tls_ticket_key *keys;
};

struct tls_tickets {
    bool enabled;
    long lifetime_s;
    unsigned char context[TLS_FINGERPRINT_SIZE];
    struct ring *ring;  /* NULL: not enabled */
    EVP_CIPHER *cipher; /* looked up once, and not in each handshake */
};

/* ---- rings ---- */

/* Those made here, for a later profile like the one they were made for. */
static pthread_mutex_t rings_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ring *rings;

static struct ring *ring_new(size_t room)
{
    struct ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL)
        return NULL;
    ring->keys = calloc(room > 0 ? room : 1, sizeof *ring->keys);
    if (ring->keys == NULL || pthread_mutex_init(&ring->lock, NULL) != 0) {
        free(ring->keys);
        free(ring);
        return NULL;
    }
    ring->references = 1;
    return ring;
}

static void ring_unref(struct ring *ring)
{
    if (ring == NULL)
        return;
    (void)pthread_mutex_lock(&rings_lock);
    bool last = --ring->references == 0;
    for (struct ring **at = &rings; last && *at != NULL; at = &(*at)->next)
        if (*at == ring) {
            *at = ring->next;
            break;
        }
    (void)pthread_mutex_unlock(&rings_lock);
    if (!last)
        return;
    OPENSSL_cleanse(ring->keys, ring->count * sizeof *ring->keys);
    free(ring->keys);
    (void)pthread_mutex_destroy(&ring->lock);
    free(ring);
}

static bool key_make(struct tls_ticket_key *key)
{
    return RAND_bytes(key->name, sizeof key->name) == 1 &&
           RAND_priv_bytes(key->hmac, sizeof key->hmac) == 1 &&
           RAND_priv_bytes(key->aes, sizeof key->aes) == 1;
}

/* Locked. False: a new key was due and could not be made. */
static bool ring_rotate(struct ring *ring, int64_t now_ms)
{
    int64_t age = now_ms - ring->made_ms;
    if (ring->rotation_ms == 0 || (ring->count > 0 && age < ring->rotation_ms))
        return true;
    struct tls_ticket_key fresh;
    if (!key_make(&fresh)) {
        ERR_clear_error();
        return false;
    }
    /* Nobody came for longer than the first key may still open: both are too old. */
    bool keep = ring->count > 0 && age < 2 * ring->rotation_ms;
    if (keep)
        ring->keys[1] = ring->keys[0];
    ring->keys[0] = fresh;
    OPENSSL_cleanse(&fresh, sizeof fresh);
    if (!keep)
        OPENSSL_cleanse(&ring->keys[1], sizeof ring->keys[1]);
    /* Not from now: the one before would live for longer than said. */
    ring->made_ms = keep ? ring->made_ms + ring->rotation_ms : now_ms;
    ring->count = keep ? 2 : 1;
    return true;
}

static struct ring *ring_share(const unsigned char *context, int64_t rotation_ms)
{
    (void)pthread_mutex_lock(&rings_lock);
    struct ring *ring = rings;
    while (ring != NULL && (ring->rotation_ms != rotation_ms ||
                            memcmp(ring->context, context, sizeof ring->context) != 0))
        ring = ring->next;
    if (ring != NULL) {
        ring->references++;
    } else if ((ring = ring_new(2)) != NULL) {
        memcpy(ring->context, context, sizeof ring->context);
        ring->rotation_ms = rotation_ms;
        ring->next = rings;
        rings = ring;
    }
    (void)pthread_mutex_unlock(&rings_lock);
    return ring;
}

static struct ring *ring_read(const char *path, const char *option, struct error *err)
{
    static const unsigned char zeros[FILE_KEY_SIZE];
    struct ring *ring = NULL;
    struct pem_file file; /* its reading only: this is no PEM */
    bool done = pem_open(&file, path, option, err);
    size_t count = file.length / FILE_KEY_SIZE;
    if (done && (file.length % FILE_KEY_SIZE != 0 || count > FILE_KEYS_MAX))
        done = error_set(err,
                         "%s '%s': %zu bytes are not 1 to %d keys of %zu bytes: make one with "
                         "'openssl rand %zu'",
                         option, path, file.length, FILE_KEYS_MAX, FILE_KEY_SIZE, FILE_KEY_SIZE);
    for (size_t i = 0; done && i < count; i++)
        if (memcmp(file.bytes + i * FILE_KEY_SIZE, zeros, FILE_KEY_SIZE) == 0)
            done = error_set(err, "%s '%s': key %zu is all zeros: make one with 'openssl rand %zu'",
                             option, path, i + 1, FILE_KEY_SIZE);
    if (done && (ring = ring_new(count)) == NULL)
        done = error_set(err, "%s '%s': no memory", option, path);
    for (size_t i = 0; done && i < count; i++) {
        const unsigned char *bytes = file.bytes + i * FILE_KEY_SIZE;
        struct tls_ticket_key *key = &ring->keys[ring->count++];
        memcpy(key->name, bytes, sizeof key->name);
        memcpy(key->hmac, bytes + sizeof key->name, sizeof key->hmac);
        memcpy(key->aes, bytes + sizeof key->name + sizeof key->hmac, sizeof key->aes);
    }
    pem_close(&file);
    return ring;
}

bool tls_tickets_seal(struct tls_tickets *tickets, int64_t now_ms, struct tls_ticket_key *key_r)
{
    struct ring *ring = tickets->ring;
    (void)pthread_mutex_lock(&ring->lock);
    bool ready = ring_rotate(ring, now_ms);
    if (ready)
        *key_r = ring->keys[0];
    (void)pthread_mutex_unlock(&ring->lock);
    return ready;
}

enum tls_ticket_age tls_tickets_open(struct tls_tickets *tickets, const unsigned char *name,
                                     int64_t now_ms, struct tls_ticket_key *key_r)
{
    struct ring *ring = tickets->ring;
    enum tls_ticket_age age = TLS_TICKET_UNKNOWN;
    (void)pthread_mutex_lock(&ring->lock);
    bool ready = ring_rotate(ring, now_ms); /* else a key that is over would be taken */
    for (size_t i = 0; ready && age == TLS_TICKET_UNKNOWN && i < ring->count; i++)
        if (memcmp(ring->keys[i].name, name, TICKET_NAME_SIZE) == 0) {
            *key_r = ring->keys[i];
            age = i == 0 ? TLS_TICKET_CURRENT : TLS_TICKET_OLD;
        }
    (void)pthread_mutex_unlock(&ring->lock);
    return age;
}

/* ---- the session context ---- */

static bool digest_bytes(EVP_MD_CTX *digest, const void *bytes, size_t length)
{
    const uint64_t before = length; /* so that two of them cannot be taken for others */
    return EVP_DigestUpdate(digest, &before, sizeof before) == 1 &&
           EVP_DigestUpdate(digest, bytes, length) == 1;
}

static bool digest_text(EVP_MD_CTX *digest, const char *text)
{
    return digest_bytes(digest, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
}

/* What a consumer knows us by: a renewed certificate of the same names changes nothing. */
static bool digest_names(EVP_MD_CTX *digest, X509 *leaf)
{
    int at = X509_get_ext_by_NID(leaf, NID_subject_alt_name, -1);
    if (at >= 0) {
        const ASN1_OCTET_STRING *names = X509_EXTENSION_get_data(X509_get_ext(leaf, at));
        return digest_bytes(digest, ASN1_STRING_get0_data(names),
                            (size_t)ASN1_STRING_length(names));
    }
    unsigned char *der = NULL;
    int length = i2d_X509_NAME(X509_get_subject_name(leaf), &der);
    bool done = length >= 0 && digest_bytes(digest, der, (size_t)length);
    OPENSSL_free(der);
    return done;
}

static bool make_context(struct tls_tickets *t, const struct tls_profile *p,
                         const struct tls_settings *s)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool done = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                digest_bytes(digest, p->fingerprint, sizeof p->fingerprint);
    for (size_t i = 0; done && i < p->identity_count; i++)
        done = digest_names(digest, p->identities[i].leaf);
    /* OpenSSL resumes TLS 1.2 with the session's cipher, whatever the server's list. */
    done = done && digest_text(digest, s->ciphers) && digest_text(digest, s->ciphersuites) &&
           digest_text(digest, s->groups) && digest_text(digest, s->sigalgs) &&
           EVP_DigestFinal_ex(digest, t->context, NULL) == 1;
    EVP_MD_CTX_free(digest);
    return done;
}

const unsigned char *tls_tickets_context(const struct tls_tickets *tickets)
{
    return tickets->context;
}

/* ---- making ---- */

static long lifetime(int64_t rotation_ms)
{
    int64_t seconds = 2 * rotation_ms / 1000;
    return (long)(seconds < 1 ? 1 : seconds < LIFETIME_MAX_S ? seconds : LIFETIME_MAX_S);
}

struct tls_tickets *tls_tickets_create(const struct tls_profile *profile,
                                       const struct tls_settings *s, struct error *err)
{
    const char *option = tls_word(s->role, s->words_of_file, "ticket_keys");
    struct tls_tickets *t = calloc(1, sizeof *t);
    ERR_clear_error();
    bool done = t != NULL && make_context(t, profile, s);
    if (done && s->tickets) {
        t->enabled = true;
        t->lifetime_s = lifetime(s->ticket_rotation_ms);
        t->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
        t->ring = s->ticket_keys != NULL ? ring_read(s->ticket_keys, option, err)
                                         : ring_share(t->context, s->ticket_rotation_ms);
        done = t->cipher != NULL && t->ring != NULL;
    }
    if (done)
        return t;
    tls_tickets_destroy(&t);
    (void)error_set(err, "session tickets: %s", tls_openssl_reason()); /* the first reason stays */
    return t;
}

void tls_tickets_destroy(struct tls_tickets **tickets)
{
    if (*tickets == NULL)
        return;
    ring_unref((*tickets)->ring);
    EVP_CIPHER_free((*tickets)->cipher);
    free(*tickets);
    *tickets = NULL;
}

/* ---- what OpenSSL asks ---- */

static bool key_use(const struct tls_tickets *t, const struct tls_ticket_key *key,
                    const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool seal)
{
    char name[] = "SHA256"; /* OSSL_PARAM takes no const */
    unsigned char hmac[TICKET_KEY_SIZE];
    memcpy(hmac, key->hmac, sizeof hmac);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, hmac, sizeof hmac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_end(),
    };
    bool done = EVP_MAC_CTX_set_params(mac, params) == 1 &&
                EVP_CipherInit_ex(cipher, t->cipher, NULL, key->aes, iv, seal) == 1;
    OPENSSL_cleanse(hmac, sizeof hmac);
    return done;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): -1 failure, 0 no such key, 1 good, 2 good and renew. */
static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int seal)
{
    const struct tls_state *state = tls_state_of(ssl);
    if (state == NULL)
        return 0;
    struct tls_tickets *t = state->profile->tickets;
    struct tls_ticket_key key;
    int result = -1;
    if (seal) {
        if (tls_tickets_seal(t, clock_ms(), &key) &&
            RAND_bytes(iv, EVP_CIPHER_get_iv_length(t->cipher)) == 1 &&
            key_use(t, &key, iv, cipher, mac, true)) {
            memcpy(name, key.name, sizeof key.name);
            result = 1;
        }
    } else {
        enum tls_ticket_age age = tls_tickets_open(t, name, clock_ms(), &key);
        if (age == TLS_TICKET_UNKNOWN)
            return 0;
        /* With TLS 1.3 a client uses a ticket once (RFC 8446 C.4) and needs the next one. */
        bool renew = age == TLS_TICKET_OLD || SSL_version(ssl) >= TLS1_3_VERSION;
        if (key_use(t, &key, iv, cipher, mac, false))
            result = renew ? 2 : 1;
    }
    OPENSSL_cleanse(&key, sizeof key);
    return result;
}

/* What goes with a session in its ticket, in seconds since the epoch. */
struct ticket_times {
    int64_t verified_s;    /* the full handshake */
    int64_t valid_until_s; /* of what the consumer's verification stands on */
};
#define TIMES_SIZE 16

static void times_write(unsigned char *bytes, const struct ticket_times *times)
{
    for (unsigned i = 0; i < TIMES_SIZE / 2; i++) {
        bytes[i] = (unsigned char)((uint64_t)times->verified_s >> (56 - 8 * i));
        bytes[i + 8] = (unsigned char)((uint64_t)times->valid_until_s >> (56 - 8 * i));
    }
}

static void times_read(const unsigned char *bytes, struct ticket_times *times)
{
    uint64_t verified = 0;
    uint64_t until = 0;
    for (unsigned i = 0; i < TIMES_SIZE / 2; i++) {
        verified = verified << 8 | bytes[i];
        until = until << 8 | bytes[i + 8];
    }
    times->verified_s = (int64_t)verified;
    times->valid_until_s = (int64_t)until;
}

/* Before a ticket is sealed. A resumed session keeps the times of the full handshake that it
 * stands on: else it could go on for ever. */
static int ticket_made(SSL *ssl, void *unused)
{
    (void)unused;
    const struct tls_state *state = tls_state_of(ssl);
    SSL_SESSION *session = SSL_get_session(ssl);
    if (SSL_session_reused(ssl) == 1 || session == NULL)
        return 1;
    struct ticket_times times = {.verified_s = time(NULL), .valid_until_s = INT64_MAX};
    if (state != NULL && state->valid_until_s != 0)
        times.valid_until_s = state->valid_until_s;
    unsigned char bytes[TIMES_SIZE];
    times_write(bytes, &times);
    return SSL_SESSION_set1_ticket_appdata(session, bytes, sizeof bytes);
}

static bool session_usable(const struct tls_tickets *t, SSL_SESSION *session)
{
    void *bytes = NULL;
    size_t length = 0;
    struct ticket_times times;
    if (SSL_SESSION_get0_ticket_appdata(session, &bytes, &length) != 1 || length != TIMES_SIZE)
        return false; /* sealed by another program with the same keys */
    times_read(bytes, &times);
    int64_t now = time(NULL);
    if (now - times.verified_s > t->lifetime_s || now >= times.valid_until_s)
        return false;
    const X509 *peer = SSL_SESSION_get0_peer(session);
    return peer == NULL || X509_cmp_current_time(X509_get0_notAfter(peer)) > 0;
}

/* After a ticket was opened. Whoever is refused gets a full handshake and a new ticket. */
static SSL_TICKET_RETURN ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                       size_t length, SSL_TICKET_STATUS status, void *unused)
{
    (void)name;
    (void)length;
    (void)unused;
    const struct tls_state *state = tls_state_of(ssl);
    if ((status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) || session == NULL ||
        state == NULL)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (!session_usable(state->profile->tickets, session))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

bool tls_tickets_arm(SSL_CTX *ctx, const struct tls_profile *profile, struct error *err)
{
    const struct tls_tickets *t = profile->tickets;
    ERR_clear_error();
    bool done = SSL_CTX_set_session_id_context(ctx, t->context, sizeof t->context) == 1;
    if (!t->enabled) {
        (void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        done = done && SSL_CTX_set_num_tickets(ctx, 0) == 1; /* TLS 1.3: nor ids of sessions */
    } else {
        (void)SSL_CTX_set_timeout(ctx, t->lifetime_s);
        done = done && SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key) == 1 &&
               SSL_CTX_set_session_ticket_cb(ctx, ticket_made, ticket_opened, NULL) == 1;
    }
    return done || error_set(err, "session tickets: %s", tls_openssl_reason());
}
