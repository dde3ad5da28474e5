/* One TLS session: made on a profile's context, with what we keep about it; what was agreed. */
#include "dane.h"
#include "negotiate.h"
#include "resume.h"

#include <esclusa/str.h>

#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t slot_once = PTHREAD_ONCE_INIT;
static int slot = -1;

static void make_slot(void)
{
    slot = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

struct tls_state *tls_state_of(const SSL *ssl)
{
    return SSL_get_ex_data(ssl, slot);
}

const struct tls_profile *tls_profile_of(const SSL *ssl)
{
    return tls_state_of(ssl)->profile;
}

static void state_free(struct tls_state *state)
{
    if (state == NULL)
        return;
    free(state->failure);
    free(state->report);
    free(state);
}

/* SNI is for DNS names only (RFC 6066 3). */
static bool name_server(SSL *ssl, const struct tls_peer *peer)
{
    char sni[TLS_NAME_MAX]; /* OpenSSL's macro takes no const; it makes a copy */
    if (peer->server_name.kind != TLS_NAME_DNS || peer->server_name.text[0] == '\0')
        return true;
    (void)str_copy(sni, sizeof sni, peer->server_name.text);
    return SSL_set_tlsext_host_name(ssl, sni) == 1;
}

static bool arm_upstream(SSL *ssl, const struct tls_profile *profile, const struct tls_peer *peer)
{
    if (!name_server(ssl, peer) ||
        (profile->tlsa != NULL && !tls_dane_arm(ssl, profile->tlsa, peer)))
        return false;
    if (profile->resume != NULL)
        tls_resume_offer(ssl);
    return true;
}

struct ssl_st *tls_session_create(const struct tls_profile *profile, unsigned worker,
                                  const struct tls_peer *peer)
{
    bool up = profile->role == TLS_UPSTREAM;
    /* Without a name nothing would tie the certificate to the upstream. */
    if (worker >= profile->workers || (up && (peer == NULL || peer->name_count == 0)) ||
        pthread_once(&slot_once, make_slot) != 0 || slot < 0)
        return NULL;
    ERR_clear_error();
    struct tls_state *state = calloc(1, sizeof *state);
    SSL *ssl = state == NULL ? NULL : SSL_new(profile->contexts[worker]);
    if (ssl == NULL || SSL_set_ex_data(ssl, slot, state) != 1) {
        SSL_free(ssl);
        free(state);
        ERR_clear_error();
        return NULL;
    }
    *state = (struct tls_state){.profile = profile, .peer = peer, .worker = worker};
    if (up)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    if (up && !arm_upstream(ssl, profile, peer)) {
        tls_session_destroy(&ssl);
        ERR_clear_error();
    }
    return ssl;
}

void tls_session_destroy(struct ssl_st **ssl)
{
    struct tls_state *state = *ssl == NULL ? NULL : tls_state_of(*ssl);
    SSL_free(*ssl);
    state_free(state);
    *ssl = NULL;
}

int tls_client_certificate_asked(SSL *ssl, X509 **leaf, EVP_PKEY **key)
{
    (void)leaf;
    (void)key;
    tls_state_of(ssl)->asked_for_certificate = true;
    return 0; /* go on without one */
}

void tls_session_info(struct ssl_st *ssl, struct tls_info *info)
{
    memset(info, 0, sizeof *info);
    (void)str_copy(info->version, sizeof info->version, SSL_get_version(ssl));
    const char *cipher = SSL_get_cipher_name(ssl);
    (void)str_copy(info->cipher, sizeof info->cipher, cipher != NULL ? cipher : "");
    tls_negotiated(ssl, info);
    info->resumed = SSL_session_reused(ssl) == 1;
}

bool tls_session_resumed(const struct ssl_st *ssl)
{
    return SSL_session_reused(ssl) == 1;
}

const char *tls_session_report(const struct ssl_st *ssl)
{
    return tls_state_of(ssl)->report;
}

void tls_report(const struct tls_profile *profile, struct tls_state *state, enum tls_report what,
                const char *text)
{
    union {
        const atomic_uint_fast64_t *in;
        atomic_uint_fast64_t *out;
    } counter = {.in = &profile->reported[what]}; /* the one part of a profile that changes */
    atomic_fetch_add_explicit(counter.out, 1, memory_order_relaxed);
    char whole[1024];
    size_t length = 0;
    (void)str_append(whole, sizeof whole, &length, "%s%s%s",
                     state->report != NULL ? state->report : "", state->report != NULL ? "; " : "",
                     text);
    char *copy = str_dup(whole);
    if (copy == NULL)
        return;
    free(state->report);
    state->report = copy;
}

uint64_t tls_profile_reported(const struct tls_profile *profile, enum tls_report what)
{
    return atomic_load_explicit(&profile->reported[what], memory_order_relaxed);
}
