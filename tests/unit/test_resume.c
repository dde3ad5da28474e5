/* Sessions with upstreams: which are resumed, how long, and that a live one can be verified anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/resume.h"
#include "tls_world.h"

#define HOUR_MS (3600 * INT64_C(1000))

static struct fx_cert rogue; /* bears the right name, from a CA that nobody trusts */

static int setup(void **state)
{
    int failed = world_setup(state);
    rogue = fx_make(&(struct fx_spec){.cn = "good", .issuer = &other_root, .san = "DNS:good.test"});
    return failed;
}

static int teardown(void **state)
{
    fx_free(&rogue);
    return world_teardown(state);
}

static struct tls_settings resuming(void)
{
    struct tls_settings s = upstream();
    s.strict = TLS_STRICT_OFF; /* what it reports is not resumed either, but only once */
    s.resumption = true;
    s.resumption_age_ms = HOUR_MS;
    return s;
}

static struct tls_profile *resuming_profile(void)
{
    const struct tls_settings s = resuming();
    return profile_of(&s);
}

/* ---- a server that remembers ---- */

static SSL_CTX *server_of(const struct fx_cert *leaf, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(ctx);
    assert_int_equal(SSL_CTX_use_certificate(ctx, leaf->cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, leaf->key), 1);
    if (leaf == &good)
        assert_int_equal(SSL_CTX_add1_chain_cert(ctx, sub.cert), 1);
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"test", 4);
    return ctx;
}

static SSL *accepting(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);
    assert_non_null(ssl);
    SSL_set_accept_state(ssl);
    return ssl;
}

/* One connection. */
struct meeting {
    SSL *ours, *theirs;
    enum fx_state state;
    bool resumed;
    struct tls_failure failure;
    struct tls_flood flood;
};

static void finish(struct meeting *m)
{
    enum fx_state theirs;
    fx_join(m->ours, m->theirs);
    fx_handshake(m->ours, m->theirs, &m->failure, NULL, &m->state, &theirs);
    struct tls_info info;
    tls_session_info(m->ours, &info);
    m->resumed = info.resumed;
    if (m->state == FX_DONE)
        tls_session_established(m->ours, &m->flood);
}

static struct meeting begin(const struct tls_profile *profile, unsigned worker,
                            const struct tls_peer *peer, SSL_CTX *server)
{
    struct meeting m = {.ours = tls_session_create(profile, worker, peer),
                        .theirs = accepting(server)};
    assert_non_null(m.ours);
    return m;
}

static void part(struct meeting *m)
{
    ERR_clear_error();
    (void)SSL_shutdown(m->ours); /* a session that ends without may not be resumed */
    tls_session_destroy(&m->ours);
    SSL_free(m->theirs);
    ERR_clear_error();
}

/* A whole connection. True: it was resumed. */
static bool once(const struct tls_profile *profile, unsigned worker, const struct tls_peer *peer,
                 SSL_CTX *server)
{
    struct meeting m = begin(profile, worker, peer, server);
    finish(&m);
    assert_int_equal(m.state, FX_DONE);
    part(&m);
    return m.resumed;
}

/* ---- what is resumed ---- */

static void tls13(void **state)
{
    (void)state;
    struct named_peer named;
    const struct tls_peer *peer = peer_named(&named, "good.test");
    struct tls_profile *profile = resuming_profile();
    SSL_CTX *server = server_of(&good, TLS1_3_VERSION);
    assert_int_equal(SSL_CTX_set_num_tickets(server, 1), 1);
    assert_false(once(profile, 0, peer, server));
    assert_true(once(profile, 0, peer, server));
    /* The one ticket is for one connection. */
    struct meeting first = begin(profile, 0, peer, server);
    struct meeting second = begin(profile, 0, peer, server);
    finish(&second);
    finish(&first);
    assert_int_equal(first.state, FX_DONE);
    assert_int_equal(second.state, FX_DONE);
    assert_true(first.resumed);
    assert_false(second.resumed);
    part(&first);
    part(&second);
    tls_profile_destroy(&profile);
    SSL_CTX_free(server);
}

static void a_few_tickets_are_kept(void **state)
{
    (void)state;
    struct named_peer named;
    const struct tls_peer *peer = peer_named(&named, "good.test");
    struct tls_profile *profile = resuming_profile();
    SSL_CTX *server = server_of(&good, TLS1_3_VERSION);
    assert_int_equal(SSL_CTX_set_num_tickets(server, 8), 1);
    assert_false(once(profile, 0, peer, server));
    assert_int_equal(SSL_CTX_set_num_tickets(server, 0), 1);
    for (int i = 0; i < 4; i++)
        assert_true(once(profile, 0, peer, server));
    assert_false(once(profile, 0, peer, server));
    assert_false(once(profile, 0, peer, server)); /* there was no ticket to be had */
    /* There was none left when one was wanted: more are kept from now on. */
    assert_int_equal(SSL_CTX_set_num_tickets(server, 8), 1);
    assert_false(once(profile, 0, peer, server));
    assert_int_equal(SSL_CTX_set_num_tickets(server, 0), 1);
    for (int i = 0; i < 8; i++)
        assert_true(once(profile, 0, peer, server));
    assert_false(once(profile, 0, peer, server));
    tls_profile_destroy(&profile);
    SSL_CTX_free(server);
}

static void tls12(void **state)
{
    (void)state;
    struct named_peer named;
    const struct tls_peer *peer = peer_named(&named, "good.test");
    struct tls_profile *profile = resuming_profile();
    SSL_CTX *server = server_of(&good, TLS1_2_VERSION);
    assert_false(once(profile, 0, peer, server));
    for (int i = 0; i < 5; i++)
        assert_true(once(profile, 0, peer, server));
    /* Two at a time. */
    struct meeting first = begin(profile, 0, peer, server);
    struct meeting second = begin(profile, 0, peer, server);
    finish(&second);
    finish(&first);
    assert_true(first.resumed);
    assert_true(second.resumed);
    part(&second);
    /* One that is cut must not be resumed (RFC 5246 7.2.2). */
    tls_session_destroy(&first.ours);
    SSL_free(first.theirs);
    assert_false(once(profile, 0, peer, server));
    tls_profile_destroy(&profile);
    SSL_CTX_free(server);
}

static void tls12_needs_bound_keys(void **state)
{
    (void)state;
    struct named_peer named;
    const struct tls_peer *peer = peer_named(&named, "good.test");
    struct tls_profile *profile = resuming_profile();
    SSL_CTX *server = server_of(&good, TLS1_2_VERSION);
    SSL_CTX_set_options(server, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    assert_false(once(profile, 0, peer, server));
    assert_false(once(profile, 0, peer, server)); /* RFC 7627 5.3 */
    tls_profile_destroy(&profile);
    SSL_CTX_free(server);
}

static void off(void **state)
{
    (void)state;
    struct named_peer named;
    const struct tls_peer *peer = peer_named(&named, "good.test");
    struct tls_settings plain = resuming();
    plain.resumption = false;
    struct tls_settings unverified = resuming();
    unverified.insecure_skip_verify = true;
    const struct tls_settings *each[] = {&plain, &unverified};
    for (size_t i = 0; i < COUNT(each); i++) {
        struct tls_profile *profile = profile_of(each[i]);
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            SSL_CTX *server = server_of(&good, version);
            assert_false(once(profile, 0, peer, server));
            assert_false(once(profile, 0, peer, server));
            SSL_CTX_free(server);
        }
        tls_profile_destroy(&profile);
    }
}

static void not_across_peers_or_workers(void **state)
{
    (void)state;
    struct named_peer named;
    struct named_peer other;
    const struct tls_peer *peer = peer_named(&named, "good.test");
    (void)peer_named(&other, "good.test");
    other.peer.id = 2;
    struct tls_settings s = resuming();
    s.workers = 2;
    struct tls_profile *profile = profile_of(&s);
    SSL_CTX *server = server_of(&good, TLS1_2_VERSION);
    assert_false(once(profile, 0, peer, server));
    assert_false(once(profile, 0, &other.peer, server));
    assert_false(once(profile, 1, peer, server));
    assert_true(once(profile, 0, peer, server));
    assert_true(once(profile, 0, &other.peer, server));
    assert_true(once(profile, 1, peer, server));
    tls_profile_destroy(&profile);
    SSL_CTX_free(server);
}

/* What a policy lets pass must be told each time. */
static void not_what_is_only_reported(void **state)
{
    (void)state;
    struct named_peer named;
    const struct tls_peer *peer = peer_named(&named, "not-good.test");
    struct tls_settings s = resuming();
    s.names_policy = TLS_POLICY_REPORT;
    struct tls_profile *profile = profile_of(&s);
    SSL_CTX *server = server_of(&good, TLS1_3_VERSION);
    for (int i = 0; i < 3; i++)
        assert_false(once(profile, 0, peer, server));
    assert_int_equal(tls_profile_reported(profile, TLS_REPORT_NAMES), 3);
    tls_profile_destroy(&profile);
    SSL_CTX_free(server);
}

/* A server that does not know the ticket is verified like any other. */
static void a_ticket_is_no_proof(void **state)
{
    (void)state;
    struct named_peer named;
    const struct tls_peer *peer = peer_named(&named, "good.test");
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct tls_profile *profile = resuming_profile();
        SSL_CTX *server = server_of(&good, version);
        SSL_CTX *restarted = server_of(&good, version);
        SSL_CTX *replaced = server_of(&rogue, version);
        assert_false(once(profile, 0, peer, server));
        struct meeting m = begin(profile, 0, peer, replaced);
        assert_non_null(SSL_get_session(m.ours)); /* it was offered */
        finish(&m);
        assert_int_equal(m.state, FX_FAILED);
        assert_int_equal(m.failure.fault, TLS_FAULT_VERIFY);
        part(&m);
        assert_false(once(profile, 0, peer, restarted));
        assert_true(once(profile, 0, peer, restarted));
        tls_profile_destroy(&profile);
        SSL_CTX_free(server);
        SSL_CTX_free(restarted);
        SSL_CTX_free(replaced);
    }
}

/* ---- how long ---- */

/* The age is that of the full verification, however often it was resumed since. */
static void the_age(void **state)
{
    (void)state;
    struct named_peer named;
    const struct tls_peer *peer = peer_named(&named, "good.test");
    struct tls_settings s = resuming();
    s.resumption_age_ms = 4000;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct tls_profile *profile = profile_of(&s);
        SSL_CTX *server = server_of(&good, version);
        time_t begun = time(NULL);
        assert_false(once(profile, 0, peer, server));
        int resumed = 0;
        while (resumed < 100 && once(profile, 0, peer, server)) {
            resumed++;
            usleep(100000);
        }
        assert_in_range((uintmax_t)(time(NULL) - begun), 3, 6);
        assert_true(resumed > 1);
        assert_true(once(profile, 0, peer, server));
        tls_profile_destroy(&profile);
        SSL_CTX_free(server);
    }
}

/* RFC 8446 4.6.1: a week, whatever the server says. */
static void a_week_at_most(void **state)
{
    (void)state;
    const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < COUNT(versions); i++) {
        SSL_SESSION *session = SSL_SESSION_new();
        assert_int_equal(SSL_SESSION_set_protocol_version(session, versions[i]), 1);
        (void)SSL_SESSION_set_timeout(session, 3600);
        assert_int_equal(tls_resume_life(session), i == 0 ? 3600 : 0);
        (void)SSL_SESSION_set_timeout(session, 30 * FX_DAY);
        assert_int_equal(tls_resume_life(session), i == 0 ? 7 * FX_DAY : 0);
        SSL_SESSION_free(session);
    }
    /* By the hint of a ticket, that of a month. */
    struct named_peer named;
    struct tls_profile *profile = resuming_profile();
    SSL_CTX *server = server_of(&good, TLS1_2_VERSION);
    (void)SSL_CTX_set_timeout(server, 30 * FX_DAY);
    struct meeting m = begin(profile, 0, peer_named(&named, "good.test"), server);
    finish(&m);
    assert_int_equal(m.state, FX_DONE);
    assert_int_equal(SSL_SESSION_get_ticket_lifetime_hint(SSL_get_session(m.ours)), 30 * FX_DAY);
    assert_int_equal(tls_resume_life(SSL_get_session(m.ours)), 7 * FX_DAY);
    part(&m);
    tls_profile_destroy(&profile);
    SSL_CTX_free(server);
}

/* Never longer than what the verification stood on is valid. */
static void not_beyond_the_certificate(void **state)
{
    (void)state;
    struct named_peer named;
    const struct tls_peer *peer = peer_named(&named, "good.test");
    struct tls_profile *profile = resuming_profile();
    struct fx_cert brief = fx_make(&(struct fx_spec){
        .cn = "brief", .issuer = &root, .san = "DNS:good.test", .from = -FX_DAY, .until = 3});
    SSL_CTX *server = server_of(&brief, TLS1_3_VERSION);
    assert_false(once(profile, 0, peer, server));
    assert_true(once(profile, 0, peer, server));
    sleep(4);
    struct meeting m = begin(profile, 0, peer, server);
    assert_null(SSL_get_session(m.ours));
    finish(&m);
    assert_int_equal(m.state, FX_FAILED);
    part(&m);
    tls_profile_destroy(&profile);
    SSL_CTX_free(server);
    fx_free(&brief);
}

/* ---- at a reload ---- */

/* Connects by a profile of `before`, replaces it by one of `after`; whether the next is resumed. */
static bool resumed_after(const struct tls_settings *before, const struct tls_settings *after,
                          const char *name_after)
{
    struct named_peer named;
    struct named_peer next;
    const struct tls_peer *peer = peer_named(&named, "good.test");
    (void)peer_named(&next, name_after);
    next.peer.id = 7; /* another place in the list */
    struct tls_profile *old = profile_of(before);
    struct tls_profile *new = profile_of(after);
    SSL_CTX *server = server_of(&good, TLS1_3_VERSION);
    assert_false(once(old, 0, peer, server));
    tls_profile_inherit(new, &next.peer, old, peer, 0);
    tls_profile_retire(old, 0);
    bool resumed = once(new, 0, &next.peer, server);
    /* Sessions of the old one are still made, but never resumed. */
    assert_false(once(old, 0, peer, server));
    assert_false(once(old, 0, peer, server));
    tls_profile_destroy(&old);
    tls_profile_destroy(&new);
    SSL_CTX_free(server);
    return resumed;
}

static void inherited_if_all_is_equal(void **state)
{
    (void)state;
    const struct tls_settings s = resuming();
    assert_true(resumed_after(&s, &s, "good.test"));
    assert_false(resumed_after(&s, &s, "x.wild.test"));

    fx_write(in_dir("both.pem"), "w", root.cert, NULL);
    fx_write(in_dir("both.pem"), "a", other_root.cert, NULL);
    struct tls_settings ca = s;
    ca.ca_file = in_dir("both.pem");
    struct tls_settings least = s;
    least.min = TLS_1_3;
    struct tls_settings groups = s;
    groups.groups = "P-256";
    struct tls_settings identity = s;
    identity.certs = one_text(in_dir("client.pem"));
    struct tls_settings alpn = s;
    alpn.alpn = one_text("h2");
    struct tls_settings level = s;
    level.security_level = 1;
    struct tls_settings none = s;
    none.resumption = false;
    const struct tls_settings *others[] = {&ca, &least, &groups, &identity, &alpn, &level, &none};
    for (size_t i = 0; i < COUNT(others); i++) {
        assert_false(resumed_after(&s, others[i], "good.test"));
        assert_false(resumed_after(others[i], &s, "good.test"));
    }
    assert_true(resumed_after(&identity, &identity, "good.test"));
}

/* ---- live sessions ---- */

static void live_sessions_are_verified_anew(void **state)
{
    (void)state;
    struct named_peer named;
    struct named_peer other;
    struct named_peer third;
    const struct tls_peer *peer = peer_named(&named, "good.test");
    struct tls_settings s = resuming();
    struct tls_profile *profile = profile_of(&s);
    struct tls_profile *same = profile_of(&s);
    s.ca_file = in_dir("other.pem");
    struct tls_profile *distrusts = profile_of(&s);
    s.insecure_skip_verify = true;
    struct tls_profile *asks_nothing = profile_of(&s);
    SSL_CTX *server = server_of(&good, TLS1_3_VERSION);
    struct tls_reverify *walk = tls_reverify_create();
    assert_non_null(walk);
    for (int resumed = 0; resumed < 2; resumed++) {
        struct meeting m = begin(profile, 0, peer, server);
        struct tls_failure why;
        finish(&m);
        assert_int_equal(m.resumed, resumed);
        assert_true(tls_session_reverify(walk, m.ours, profile, peer, &why));
        assert_true(tls_session_reverify(walk, m.ours, same, peer, &why));
        assert_true(tls_session_reverify(walk, m.ours, asks_nothing, peer, &why));
        for (int again = 0; again < 2; again++) {
            memset(&why, 0, sizeof why);
            assert_false(tls_session_reverify(walk, m.ours, distrusts, peer, &why));
            assert_int_equal(why.fault, TLS_FAULT_VERIFY);
            assert_int_not_equal(why.verify_error, 0);
            assert_true(why.reason[0] != '\0' && why.remedy[0] != '\0');
        }
        assert_false(tls_session_reverify(NULL, m.ours, distrusts, peer, &why));
        assert_true(
            tls_session_reverify(walk, m.ours, same, peer_named(&other, "x.wild.test"), &why));
        assert_false(
            tls_session_reverify(walk, m.ours, same, peer_named(&third, "other.test"), &why));
        assert_int_equal(why.verify_error, X509_V_ERR_HOSTNAME_MISMATCH);
        /* The session itself is as it was. */
        assert_int_equal(SSL_write(m.ours, "x", 1), 1);
        part(&m);
    }
    tls_reverify_destroy(&walk);
    assert_null(walk);
    tls_profile_destroy(&profile);
    tls_profile_destroy(&same);
    tls_profile_destroy(&distrusts);
    tls_profile_destroy(&asks_nothing);
    SSL_CTX_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls13),
        cmocka_unit_test(a_few_tickets_are_kept),
        cmocka_unit_test(tls12),
        cmocka_unit_test(tls12_needs_bound_keys),
        cmocka_unit_test(off),
        cmocka_unit_test(not_across_peers_or_workers),
        cmocka_unit_test(not_what_is_only_reported),
        cmocka_unit_test(a_ticket_is_no_proof),
        cmocka_unit_test(the_age),
        cmocka_unit_test(a_week_at_most),
        cmocka_unit_test(not_beyond_the_certificate),
        cmocka_unit_test(inherited_if_all_is_equal),
        cmocka_unit_test(live_sessions_are_verified_anew),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
