/* Sessions with upstreams that can be resumed. */
#include "resume.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Tickets kept a peer and worker: each is good for one connection (RFC 8446 C.4), and servers send
 * one to four a handshake (OpenSSL: two, and one where it resumed). What is kept must last for the
 * connections that begin before the first of them has brought new ones: so a few, and twice as many
 * whenever there was none left. At some 2 KiB each: certificates are shared. */
#define KEPT_FIRST 4
#define KEPT_MAX   128
/* RFC 8446 4.6.1: no ticket is kept longer, whatever the server says. */
#define LIFE_MAX_S (INT64_C(7) * 24 * 3600)

struct kept {
    SSL_SESSION *session;
    int64_t verified_s;    /* the last full verification behind it */
    int64_t valid_until_s; /* of that verification */
    int64_t until_s;       /* what the server said it keeps it for */
};

/* Of one peer; oldest first. */
struct store {
    struct store *next;
    uint64_t peer;
    unsigned count, most;
    struct kept *kept;
};

struct slot {
    struct store *stores;
    bool retired; /* the profile has been replaced: nothing is kept or offered any more */
};

struct tls_resume {
    int64_t age_ms;
    /* of what a session depends on: what verification does, what we show, what may be agreed on */
    unsigned char print[TLS_FINGERPRINT_SIZE];
    bool comparable; /* print says all: the machine's own trust store is read as it is needed */
    unsigned workers;
    struct slot slots[]; /* one a worker */
};

/* ---- life ---- */

static bool digest_text(EVP_MD_CTX *digest, const char *text)
{
    const char *given = text != NULL ? text : ""; /* none of these settings may be empty */
    return EVP_DigestUpdate(digest, given, strlen(given) + 1) == 1;
}

static bool make_print(struct tls_resume *r, const struct tls_profile *p,
                       const struct tls_settings *s)
{
    unsigned char leaf[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    const unsigned char numbers[] = {(unsigned char)s->min, (unsigned char)s->max,
                                     (unsigned char)s->security_level};
    if (p->identity_count > 0 && p->identities[0].leaf != NULL &&
        X509_digest(p->identities[0].leaf, EVP_sha256(), leaf, &length) != 1)
        return false;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool done = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(digest, p->fingerprint, sizeof p->fingerprint) == 1 &&
                EVP_DigestUpdate(digest, numbers, sizeof numbers) == 1 &&
                digest_text(digest, s->groups) && digest_text(digest, s->ciphers) &&
                digest_text(digest, s->ciphersuites) && digest_text(digest, s->sigalgs);
    for (size_t i = 0; done && i < s->alpn.count; i++)
        done = digest_text(digest, s->alpn.items[i]);
    done = done && EVP_DigestUpdate(digest, leaf, length) == 1 &&
           EVP_DigestFinal_ex(digest, r->print, NULL) == 1;
    EVP_MD_CTX_free(digest);
    return done;
}

struct tls_resume *tls_resume_create(const struct tls_profile *profile,
                                     const struct tls_settings *s)
{
    struct tls_resume *r = calloc(1, sizeof *r + s->workers * sizeof r->slots[0]);
    if (r == NULL)
        return NULL;
    r->age_ms = s->resumption_age_ms;
    r->workers = s->workers;
    r->comparable = !profile->system_store;
    if (!make_print(r, profile, s)) {
        free(r);
        return NULL;
    }
    return r;
}

static void kept_free(struct store *store, unsigned at)
{
    SSL_SESSION_free(store->kept[at].session);
    store->count--;
    memmove(&store->kept[at], &store->kept[at + 1], (store->count - at) * sizeof store->kept[0]);
}

static void slot_clear(struct slot *slot)
{
    while (slot->stores != NULL) {
        struct store *store = slot->stores;
        slot->stores = store->next;
        while (store->count > 0)
            kept_free(store, store->count - 1);
        free(store->kept);
        free(store);
    }
}

void tls_resume_destroy(struct tls_resume **resume)
{
    struct tls_resume *r = *resume;
    *resume = NULL;
    for (unsigned i = 0; r != NULL && i < r->workers; i++)
        slot_clear(&r->slots[i]);
    free(r);
}

static struct store *find(const struct slot *slot, uint64_t peer)
{
    struct store *store = slot->stores;
    while (store != NULL && store->peer != peer)
        store = store->next;
    return store;
}

/* ---- keeping ---- */

static bool make_room(struct store *store, unsigned most)
{
    struct kept *kept = realloc(store->kept, most * sizeof *kept);
    if (kept == NULL)
        return false;
    store->kept = kept;
    store->most = most;
    return true;
}

static void keep(struct slot *slot, uint64_t peer, const struct kept *one)
{
    struct store *store = find(slot, peer);
    if (store == NULL) {
        store = calloc(1, sizeof *store);
        if (store == NULL || !make_room(store, KEPT_FIRST)) {
            free(store);
            SSL_SESSION_free(one->session);
            return;
        }
        store->peer = peer;
        store->next = slot->stores;
        slot->stores = store;
    }
    /* A session of TLS 1.2 can be resumed again and again: one is enough. */
    bool single = SSL_SESSION_get_protocol_version(one->session) < TLS1_3_VERSION;
    while (store->count > 0 && (single || store->count == store->most))
        kept_free(store, 0);
    store->kept[store->count++] = *one;
}

/* How long the server keeps it: RFC 8446 4.6.1 (0: it is good for nothing), RFC 5077 3.3 (0: it
 * does not say). */
int64_t tls_resume_life(const SSL_SESSION *session)
{
    int64_t life = (int64_t)SSL_SESSION_get_ticket_lifetime_hint(session);
    if (life <= 0 && SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION)
        life = SSL_SESSION_get_timeout(session);
    return life < LIFE_MAX_S ? life : LIFE_MAX_S;
}

/* The store that a session may go into. What a policy of "report" let pass is to be reported each
 * time, so each time there must be a full handshake. */
static struct slot *slot_for(SSL *ssl, const struct tls_state *state)
{
    struct tls_resume *r = state->profile->resume;
    if (r == NULL || state->peer == NULL || state->worker >= r->workers ||
        r->slots[state->worker].retired || state->verified_s <= 0 || state->report != NULL ||
        SSL_get_verify_result(ssl) != X509_V_OK)
        return NULL;
    return &r->slots[state->worker];
}

/* Takes the reference. */
static void keep_session(struct slot *slot, const struct tls_state *state, SSL_SESSION *session)
{
    const struct kept one = {
        .session = session,
        .verified_s = state->verified_s,
        .valid_until_s = state->valid_until_s,
        .until_s = (int64_t)time(NULL) + tls_resume_life(session),
    };
    keep(slot, state->peer->id, &one);
}

/* SSL_CTX_sess_set_new_cb(3); of TLS 1.3: a ticket has come, at any time after the handshake.
 * 1: the reference is ours. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    const struct tls_state *state = tls_state_of(ssl);
    struct slot *slot =
        state == NULL || SSL_version(ssl) < TLS1_3_VERSION ? NULL : slot_for(ssl, state);
    if (slot == NULL || SSL_SESSION_is_resumable(session) != 1)
        return 0;
    keep_session(slot, state, session);
    return 1;
}

/* That of TLS 1.2 is called before the handshake is quite over, when OpenSSL does not tell yet
 * whether the session's keys are bound to its certificates; where they are not it could be another
 * one's (RFC 7627 5.3). One that was resumed is kept already. */
void tls_resume_established(SSL *ssl)
{
    const struct tls_state *state = tls_state_of(ssl);
    if (SSL_version(ssl) >= TLS1_3_VERSION || SSL_session_reused(ssl) == 1 ||
        SSL_get_extms_support(ssl) != 1)
        return;
    struct slot *slot = slot_for(ssl, state);
    SSL_SESSION *session = slot == NULL ? NULL : SSL_get1_session(ssl);
    if (session == NULL)
        return;
    if (SSL_SESSION_is_resumable(session) == 1)
        keep_session(slot, state, session);
    else
        SSL_SESSION_free(session);
}

bool tls_resume_arm_context(SSL_CTX *ctx, const struct tls_profile *profile)
{
    /* Without a hint of the server's the timeout is how long a session is good for. */
    (void)SSL_CTX_set_timeout(ctx, (long)(profile->resume->age_ms / 1000 + 1));
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL |
                                                  SSL_SESS_CACHE_NO_AUTO_CLEAR);
    SSL_CTX_sess_set_new_cb(ctx, on_new_session);
    return true;
}

/* ---- offering ---- */

static bool is_good(const struct tls_resume *r, const struct kept *k, int64_t now_s)
{
    /* A clock that was set back tells nothing about the age. */
    return SSL_SESSION_is_resumable(k->session) == 1 && now_s >= k->verified_s &&
           (now_s - k->verified_s) * 1000 < r->age_ms && now_s < k->valid_until_s &&
           now_s < k->until_s;
}

void tls_resume_offer(SSL *ssl)
{
    struct tls_state *state = tls_state_of(ssl);
    const struct tls_resume *r = state->profile->resume;
    const struct slot *slot = &r->slots[state->worker];
    struct store *store = slot->retired ? NULL : find(slot, state->peer->id);
    int64_t now_s = (int64_t)time(NULL);
    while (store != NULL && store->count > 0) {
        const struct kept newest = store->kept[store->count - 1];
        bool good = is_good(r, &newest, now_s);
        if (good && SSL_set_session(ssl, newest.session) == 1) { /* takes a reference */
            state->verified_s = newest.verified_s;
            state->valid_until_s = newest.valid_until_s;
        } else {
            good = false;
        }
        bool once = SSL_SESSION_get_protocol_version(newest.session) >= TLS1_3_VERSION;
        if (!good || once) /* RFC 8446 C.4: who sees a ticket twice can tell that it is us */
            kept_free(store, store->count - 1);
        if (good)
            return;
    }
    if (store != NULL && store->most < KEPT_MAX) /* more at a time than it was meant for */
        (void)make_room(store, 2 * store->most);
    ERR_clear_error();
}

/* ---- at a reload ---- */

bool tls_same_peer(const struct tls_peer *a, const struct tls_peer *b)
{
    if (strcmp(a->server_name.text, b->server_name.text) != 0 || a->name_count != b->name_count)
        return false;
    for (size_t i = 0; i < a->name_count; i++)
        if (a->names[i].kind != b->names[i].kind || strcmp(a->names[i].text, b->names[i].text) != 0)
            return false;
    return true;
}

void tls_profile_inherit(const struct tls_profile *now, const struct tls_peer *now_peer,
                         const struct tls_profile *before, const struct tls_peer *before_peer,
                         unsigned worker)
{
    const struct tls_resume *from = before->resume;
    struct tls_resume *to = now->resume;
    if (from == NULL || to == NULL || worker >= from->workers || worker >= to->workers ||
        !from->comparable || !to->comparable ||
        memcmp(from->print, to->print, sizeof to->print) != 0 ||
        !tls_same_peer(now_peer, before_peer))
        return;
    struct store *store = find(&from->slots[worker], before_peer->id);
    for (unsigned i = 0; store != NULL && i < store->count; i++)
        keep(&to->slots[worker], now_peer->id, &store->kept[i]);
    if (store != NULL)
        store->count = 0; /* the references are the other's now */
}

void tls_profile_retire(const struct tls_profile *profile, unsigned worker)
{
    struct tls_resume *r = profile->resume;
    if (r == NULL || worker >= r->workers)
        return;
    slot_clear(&r->slots[worker]);
    r->slots[worker].retired = true;
}
