/* Verification of the peer: one function for the handshake, the self-test and live sessions at a
 * reload. RFC 5280, RFC 9525. */
#include "verify.h"
#include "admit.h"
#include "chain.h"
#include "dane.h"
#include "names.h"
#include "pins.h"
#include "remedy.h"
#include "revoke.h"
#include "strict.h"

#include <esclusa/str.h>

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What one verification is about. */
struct run {
    const struct tls_profile *profile;
    const struct tls_subject *subject;
    X509_STORE *store;
    SSL_DANE *dane;
};

/* What X509_verify_cert(3) said to one set of certificates. */
struct trial {
    const struct run *run;
    bool good;
    int error, depth;
    X509 *refused;                         /* owned */
    STACK_OF(X509) * chain;                /* owned; where it is good */
    char revocation[TLS_REPORT_TEXT_SIZE]; /* what the policy let pass; "" nothing */
};

static void trial_fini(struct trial *t)
{
    X509_free(t->refused);
    sk_X509_pop_free(t->chain, X509_free);
    t->refused = NULL;
    t->chain = NULL;
}

/* ---- within X509_verify_cert(3) ---- */

/* CRL_CHECK_ALL asks for one of the last certificate too, whose issuer is not in the chain (unless
 * it is self-signed), so that OpenSSL finds none or cannot verify it. What stands there is trusted
 * as it is and needs no list; but our own lists may have it. X509_V_OK: nothing is wrong. */
static int judge_last(X509_STORE_CTX *ctx, const struct run *r, int error)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
    int last = sk_X509_num(chain) - 1;
    X509 *at = sk_X509_value(chain, last);
    if (X509_STORE_CTX_get_error_depth(ctx) != last)
        return error;
    bool none = error == X509_V_ERR_UNABLE_TO_GET_CRL;
    bool unverified = error == X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER ||
                      error == X509_V_ERR_CRL_SIGNATURE_FAILURE ||
                      error == X509_V_ERR_KEYUSAGE_NO_CRL_SIGN;
    if (!none && (!unverified || X509_self_signed(at, 0) != 0))
        return error;
    /* A TLSA record with a bare key (2 1 0) issued it: it is not trusted itself. */
    if (X509_STORE_CTX_get_num_untrusted(ctx) > last)
        return tls_crls_look_up(r->store, at);
    return tls_crls_list(r->store, at) ? X509_V_ERR_CERT_REVOKED : X509_V_OK;
}

static void note_revocation(struct trial *t, const X509 *at, int error)
{
    char subject[128] = "";
    size_t length = strlen(t->revocation);
    if (at != NULL)
        tls_name_text(subject, sizeof subject, X509_get_subject_name(at));
    (void)str_append(t->revocation, sizeof t->revocation, &length, "%s%s at '%s'",
                     length > 0 ? ", " : "revocation: ", X509_verify_cert_error_string(error),
                     subject);
}

/* The verify callback, there for revocation alone. */
static int on_error(int ok, X509_STORE_CTX *ctx)
{
    struct trial *t = X509_STORE_CTX_get_app_data(ctx);
    int error = X509_STORE_CTX_get_error(ctx);
    if (ok != 0 || t == NULL)
        return ok;
    int last = judge_last(ctx, t->run, error);
    if (last == X509_V_OK)
        return 1;
    X509_STORE_CTX_set_error(ctx, last);
    if (t->run->profile->revocation_policy != TLS_POLICY_REPORT || !tls_is_revocation_error(last))
        return 0;
    note_revocation(t, X509_STORE_CTX_get_current_cert(ctx), last);
    return 1;
}

/* As libssl would set it up, and what the profile asks for on top. */
static bool prepare(X509_STORE_CTX *ctx, struct trial *t, unsigned long flags)
{
    const struct run *r = t->run;
    const struct tls_profile *p = r->profile;
    if (X509_STORE_CTX_set_default(ctx, p->role == TLS_UPSTREAM ? "ssl_server" : "ssl_client") != 1)
        return false;
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    flags |= X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST;
    if (p->strict == TLS_STRICT_ON)
        flags |= X509_V_FLAG_X509_STRICT;
    if (p->crls) {
        flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
        X509_STORE_CTX_set_verify_cb(ctx, on_error);
        if (X509_STORE_CTX_set_app_data(ctx, t) != 1)
            return false;
    }
    X509_VERIFY_PARAM_set_auth_level(param, p->security_level);
    if (r->dane != NULL)
        X509_STORE_CTX_set0_dane(ctx, r->dane);
    return X509_VERIFY_PARAM_set_flags(param, flags) == 1;
}

/* trusted: NULL: the store's anchors. CRLs come from the store in any case. */
static void trial_run(struct trial *t, const struct run *r, STACK_OF(X509) * untrusted,
                      STACK_OF(X509) * trusted, unsigned long flags)
{
    memset(t, 0, sizeof *t);
    t->run = r;
    t->error = X509_V_ERR_OUT_OF_MEM;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (ctx == NULL || X509_STORE_CTX_init(ctx, r->store, r->subject->leaf, untrusted) != 1 ||
        !prepare(ctx, t, flags)) {
        X509_STORE_CTX_free(ctx);
        return;
    }
    if (trusted != NULL)
        X509_STORE_CTX_set0_trusted_stack(ctx, trusted);
    t->good = X509_verify_cert(ctx) == 1;
    if (t->good) {
        t->chain = X509_STORE_CTX_get1_chain(ctx);
        t->good = t->chain != NULL;
    } else {
        t->error = X509_STORE_CTX_get_error(ctx);
        t->depth = X509_STORE_CTX_get_error_depth(ctx);
        t->refused = X509_STORE_CTX_get_current_cert(ctx);
        if (t->refused != NULL && X509_up_ref(t->refused) != 1)
            t->refused = NULL;
    }
    X509_STORE_CTX_free(ctx);
}

/* ---- records ---- */

/* Trust anchors that were given are not replaced by records: both must hold. Those of usage 0 and 1
 * OpenSSL itself takes so. */
static bool records_add(const struct run *r)
{
    return r->dane != NULL && !r->profile->system_store && tls_tlsa_are_trust(r->profile->tlsa);
}

/* Where a record of usage 3 fits OpenSSL looks at nothing else. RFC 7671 5.1 wants it so for dates
 * and names of CAs; lists are given to be asked. */
static void look_up_leaf(struct trial *t)
{
    const struct run *r = t->run;
    X509 *leaf = r->subject->leaf;
    /* The self-test's store is not the one that the lists were read for. */
    if (!t->good || r->dane == NULL || !r->profile->crls || r->subject->store != NULL ||
        sk_X509_num(t->chain) != 1)
        return;
    int error = tls_crls_look_up(r->store, leaf);
    if (error == X509_V_OK)
        return;
    if (r->profile->revocation_policy == TLS_POLICY_REPORT) {
        note_revocation(t, leaf, error);
        return;
    }
    trial_fini(t);
    t->good = false;
    t->error = error;
    t->depth = 0;
    t->refused = X509_up_ref(leaf) == 1 ? leaf : NULL;
}

/* ---- pins and other paths ---- */

static bool has_pin(const struct tls_profile *p, STACK_OF(X509) * chain)
{
    if (p->pins == NULL)
        return true;
    for (int i = 0; i < sk_X509_num(chain); i++)
        if (tls_pins_have(p->pins, sk_X509_value(chain, i)))
            return true;
    return false;
}

/* A path of the search: taken if it verifies in full, on its own, and holds a pinned key. */
static bool consider(void *context, STACK_OF(X509) * path)
{
    struct trial *best = context;
    const struct run *r = best->run;
    struct trial t;
    bool taken = false;
    int last = sk_X509_num(path) - 1;
    STACK_OF(X509) *trusted = sk_X509_new_null();
    STACK_OF(X509) *between = sk_X509_new_null();
    bool ready =
        trusted != NULL && between != NULL && sk_X509_push(trusted, sk_X509_value(path, last)) > 0;
    for (int i = 1; ready && i < last; i++)
        ready = sk_X509_push(between, sk_X509_value(path, i)) > 0;
    if (ready) {
        trial_run(&t, r, between, trusted, 0);
        taken = t.good && has_pin(r->profile, t.chain);
        if (taken || (t.good && !best->good)) {
            trial_fini(best);
            *best = t;
        } else {
            trial_fini(&t);
        }
    }
    sk_X509_free(trusted);
    sk_X509_free(between);
    return taken;
}

/* Where the first path failed, or holds no pinned key. Records say which path is meant: with DANE
 * OpenSSL's search is bound to them. */
static void look_further(struct trial *t)
{
    const struct run *r = t->run;
    bool wanted = t->good ? !has_pin(r->profile, t->chain) : tls_chain_may_help(t->error, t->depth);
    if (!wanted || r->dane != NULL || r->store == NULL)
        return;
    /* consider() replaces what is known: keep it for the search. */
    STACK_OF(X509) *known = t->good ? X509_chain_up_ref(t->chain) : NULL;
    const struct tls_chain_search search = {
        .store = r->store,
        .leaf = r->subject->leaf,
        .sent = r->subject->sent,
        .known = known,
        .propose = consider,
        .context = t,
    };
    (void)tls_chain_search(&search);
    sk_X509_pop_free(known, X509_free);
}

/* ---- the verdict ---- */

static void report(struct tls_verdict *v, enum tls_report what, const char *text)
{
    v->reported |= 1U << what;
    (void)str_copy(v->reports[what], sizeof v->reports[what], text);
}

static bool judge_names(struct tls_verdict *v, const struct run *r)
{
    const struct tls_subject *s = r->subject;
    if (s->peer == NULL || tls_names_match(s->leaf, s->peer))
        return true;
    if (r->profile->names_policy == TLS_POLICY_ENFORCE) {
        tls_refuse_names(&v->failure, r->profile, s);
        return false;
    }
    char expected[TLS_NAME_MAX];
    char names[160];
    char text[TLS_REPORT_TEXT_SIZE];
    size_t length = 0;
    tls_peer_text(expected, sizeof expected, s->peer);
    tls_names_text(names, sizeof names, s->leaf);
    (void)str_append(text, sizeof text, &length, "names: the certificate bears %s, not %s",
                     names[0] != '\0' ? names : "none", expected);
    report(v, TLS_REPORT_NAMES, text);
    return true;
}

static bool judge_admission(struct tls_verdict *v, const struct run *r)
{
    if (r->profile->admission == NULL || tls_admitted(r->profile->admission, r->subject->leaf))
        return true;
    tls_refuse_admission(&v->failure, r->profile, r->subject);
    return false;
}

static bool judge_pins(struct tls_verdict *v, const struct run *r)
{
    if (has_pin(r->profile, v->chain))
        return true;
    if (r->profile->pins_policy == TLS_POLICY_ENFORCE) {
        tls_refuse_pins(&v->failure, r->profile, r->subject, v->chain);
        return false;
    }
    char pins[200];
    char text[TLS_REPORT_TEXT_SIZE];
    size_t length = 0;
    tls_chain_pins_text(pins, sizeof pins, v->chain);
    (void)str_append(text, sizeof text, &length, "pins: " TLS_NO_PIN ": %s", pins);
    report(v, TLS_REPORT_PINS, text);
    return true;
}

/* What strictness would say, once a certificate: the chain is known to be good otherwise. */
static void judge_strictly(struct tls_verdict *v, const struct run *r)
{
    if (r->profile->strict != TLS_STRICT_REPORT || r->subject->store != NULL ||
        !tls_strict_first_time(r->profile->strict_seen, r->subject->leaf))
        return;
    struct trial t;
    STACK_OF(X509) *trusted = sk_X509_new_null();
    int last = sk_X509_num(v->chain) - 1;
    /* With DANE-TA the chain's end need not be in the store: all as it was the first time. */
    bool same_path = r->dane == NULL && trusted != NULL &&
                     sk_X509_push(trusted, sk_X509_value(v->chain, last)) > 0;
    trial_run(&t, r, same_path ? v->chain : r->subject->sent, same_path ? trusted : NULL,
              X509_V_FLAG_X509_STRICT);
    if (!t.good && t.refused != NULL) {
        char subject[160];
        char text[TLS_REPORT_TEXT_SIZE];
        size_t length = 0;
        tls_name_text(subject, sizeof subject, X509_get_subject_name(t.refused));
        (void)str_append(text, sizeof text, &length, "x509_strict: %s at '%s'",
                         X509_verify_cert_error_string(t.error), subject);
        report(v, TLS_REPORT_STRICT, text);
    }
    trial_fini(&t);
    sk_X509_free(trusted);
}

static int64_t first_end(STACK_OF(X509) * chain, int64_t until)
{
    for (int i = 0; i < sk_X509_num(chain); i++) {
        int64_t end = 0;
        (void)tls_time_seconds(X509_get0_notAfter(sk_X509_value(chain, i)), &end);
        if (end < until)
            until = end;
    }
    return until;
}

static int64_t valid_until(const struct run *r, STACK_OF(X509) * chain)
{
    return first_end(chain, r->profile->crls ? tls_crls_valid_until(r->store, chain) : INT64_MAX);
}

static void limit(struct tls_verdict *v, int64_t until)
{
    if (until < v->valid_until_s)
        v->valid_until_s = until;
}

/* The records, on top of what was good without them; by a chain of their own. */
static void ask_records(struct trial *t, struct tls_verdict *v, const struct run *r)
{
    struct trial by_record;
    trial_run(&by_record, r, r->subject->sent, NULL, 0);
    if (!by_record.good) {
        trial_fini(t);
        *t = by_record;
        return;
    }
    limit(v, valid_until(r, by_record.chain));
    if (t->revocation[0] == '\0')
        (void)str_copy(t->revocation, sizeof t->revocation, by_record.revocation);
    trial_fini(&by_record);
}

static void judge(struct tls_verdict *v, const struct run *with)
{
    struct trial t;
    struct run r = *with;
    bool add = records_add(with);
    if (add)
        r.dane = NULL;
    trial_run(&t, &r, r.subject->sent, NULL, 0);
    look_further(&t);
    look_up_leaf(&t);
    if (t.good && add)
        ask_records(&t, v, with);
    if (!t.good) {
        tls_refuse_chain(&v->failure, r.profile, r.subject, t.error, t.depth, t.refused);
        tls_revocation_explain(&v->failure, r.profile, r.store, t.refused);
        trial_fini(&t);
        return;
    }
    v->chain = t.chain;
    t.chain = NULL;
    trial_fini(&t);
    if (t.revocation[0] != '\0')
        report(v, TLS_REPORT_REVOCATION, t.revocation);
    v->good = judge_names(v, &r) && judge_admission(v, &r) && judge_pins(v, &r);
    if (!v->good) {
        tls_verdict_fini(v);
        return;
    }
    limit(v, valid_until(&r, v->chain));
    judge_strictly(v, &r);
}

void tls_verify(struct tls_verdict *v, const struct tls_profile *profile,
                const struct tls_subject *subject)
{
    struct run r = {
        .profile = profile,
        .subject = subject,
        .store = subject->store != NULL ? subject->store : profile->store,
        .dane = subject->dane,
    };
    memset(v, 0, sizeof *v);
    v->valid_until_s = INT64_MAX;
    if (profile->insecure_skip_verify) {
        v->good = true;
        return;
    }
    (void)ERR_set_mark();
    SSL *holder = NULL;
    if (profile->tlsa != NULL && r.dane == NULL) {
        holder = tls_dane_holder(profile);
        r.dane = holder != NULL ? SSL_get0_dane(holder) : NULL;
    }
    if (profile->tlsa != NULL && r.dane == NULL)
        tls_refuse_chain(&v->failure, profile, subject, X509_V_ERR_OUT_OF_MEM, 0, NULL);
    else
        judge(v, &r);
    SSL_free(holder);
    (void)ERR_pop_to_mark();
}

void tls_verdict_fini(struct tls_verdict *v)
{
    sk_X509_pop_free(v->chain, X509_free);
    v->chain = NULL;
}

/* ---- in a handshake ---- */

static void note_good(struct tls_state *state, struct tls_verdict *v)
{
    state->verified_s = (int64_t)time(NULL);
    state->valid_until_s = v->valid_until_s;
    for (int what = 0; what < TLS_REPORTS; what++)
        if ((v->reported & (1U << what)) != 0)
            tls_report(state->profile, state, (enum tls_report)what, v->reports[what]);
}

/* chain: as it was verified, or sent. */
static void note_seen(const struct tls_peer *peer, const X509 *leaf, STACK_OF(X509) * chain)
{
    struct tls_seen *seen = peer != NULL ? peer->seen : NULL;
    int64_t end = 0;
    if (seen == NULL)
        return;
    (void)tls_time_seconds(X509_get0_notAfter(leaf), &end);
    atomic_store_explicit(&seen->leaf_not_after_s, end, memory_order_relaxed);
    atomic_store_explicit(&seen->chain_not_after_s, first_end(chain, end), memory_order_relaxed);
    atomic_store_explicit(&seen->seen_s, (int64_t)time(NULL), memory_order_relaxed);
}

static void chain_text(char *dst, size_t size, X509 *leaf, STACK_OF(X509) * sent)
{
    size_t length = 0;
    char subject[160];
    tls_name_text(subject, sizeof subject, X509_get_subject_name(leaf));
    (void)str_append(dst, size, &length, "%s", subject);
    for (int i = 0; i < sk_X509_num(sent); i++) {
        X509 *at = sk_X509_value(sent, i);
        tls_name_text(subject, sizeof subject, X509_get_subject_name(at));
        if (at == leaf || X509_cmp(at, leaf) == 0)
            continue;
        if (length + strlen(subject) + 2 > size) /* whole ones only */
            return;
        (void)str_append(dst, size, &length, "\n%s", subject);
    }
}

static void note_refused(struct tls_state *state, const struct tls_failure *why,
                         const struct tls_subject *subject)
{
    if (state->failure != NULL)
        return;
    state->failure = calloc(1, sizeof *state->failure);
    if (state->failure == NULL)
        return;
    *state->failure = *why;
    chain_text(state->failure->chain, sizeof state->failure->chain, subject->leaf, subject->sent);
}

int tls_verify_session(X509_STORE_CTX *store, void *unused)
{
    (void)unused;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_state *state = ssl == NULL ? NULL : tls_state_of(ssl);
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    /* what is returned is not all that libssl looks at */
    X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED);
    if (state == NULL || leaf == NULL)
        return 0;
    if (state->profile->insecure_skip_verify) {
        note_seen(state->peer, leaf, X509_STORE_CTX_get0_untrusted(store));
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    struct tls_verdict v;
    const struct tls_subject subject = {
        .leaf = leaf,
        .sent = X509_STORE_CTX_get0_untrusted(store),
        .peer = state->peer,
        .dane = state->profile->tlsa != NULL ? SSL_get0_dane(ssl) : NULL,
    };
    tls_verify(&v, state->profile, &subject);
    X509_STORE_CTX_set_error(store, v.good ? X509_V_OK : v.failure.verify_error);
    note_seen(state->peer, leaf, v.good ? v.chain : subject.sent);
    if (v.good) {
        note_good(state, &v);
        X509_STORE_CTX_set0_verified_chain(store, v.chain); /* for SSL_get0_verified_chain() */
        v.chain = NULL;
    } else {
        note_refused(state, &v.failure, &subject);
    }
    tls_verdict_fini(&v);
    return v.good;
}
