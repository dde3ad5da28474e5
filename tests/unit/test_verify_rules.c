/* Rules beyond the chain: names, pins, strictness, revocation, admission; enforced or reported; and
 * what is noted of a good session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/pins.h"
#include "tls/verify.h"
#include "tls_world.h"

#include "tls_crl.h"

#include <openssl/x509_vfy.h>

#define ZEROS "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

/* A session that has come to its end; destroyed by its maker. */
static SSL *session_with(const struct tls_profile *profile, const struct tls_peer *expected,
                         const struct fx_peer *peer, bool good_wanted)
{
    struct tls_failure f;
    enum fx_state ours_state, theirs_state;
    SSL *ours = tls_session_create(profile, 0, expected);
    SSL *theirs = fx_peer_create(peer, profile->role == TLS_UPSTREAM);
    assert_non_null(ours);
    fx_join(ours, theirs);
    fx_handshake(ours, theirs, &f, NULL, &ours_state, &theirs_state);
    if ((ours_state == FX_DONE) != good_wanted)
        fail_msg("state %d: %s", (int)ours_state, f.reason);
    SSL_free(theirs);
    return ours;
}

static void expect_counts(const struct tls_profile *profile, const uint64_t *counts)
{
    for (int what = 0; what < TLS_REPORTS; what++)
        assert_int_equal(tls_profile_reported(profile, (enum tls_report)what), counts[what]);
}

static void reported_and_counted(void **state)
{
    (void)state;
    static const char *const names[] = {"good.test", "bad.test"};
    struct tls_settings s = upstream();
    const struct fx_peer peer = {.leaf = &good, .chain = {&sub}};
    struct named_peer named;
    s.strict = TLS_STRICT_OFF;
    s.names_policy = s.pins_policy = TLS_POLICY_REPORT;
    s.pins = one_text(ZEROS);
    struct tls_profile *profile = profile_of(&s);
    for (uint64_t i = 0; i < COUNT(names); i++) {
        SSL *ssl = session_with(profile, peer_named(&named, names[i]), &peer, true);
        const char *report = tls_session_report(ssl);
        assert_non_null(report);
        assert_has(report, "pins: no certificate of the chain has a pinned key: sha256//");
        if (i == 0)
            assert_null(strstr(report, "names: "));
        else
            assert_has(report, "names: the certificate bears DNS:good.test, DNS:*.wild.test, "
                               "IP:192.0.2.1, IP:::1, not DNS:bad.test; pins: ");
        tls_session_destroy(&ssl);
        expect_counts(profile, (const uint64_t[TLS_REPORTS]){
                                   [TLS_REPORT_NAMES] = i, [TLS_REPORT_PINS] = i + 1});
    }
    tls_profile_destroy(&profile);
    /* The chain is never a matter of report. */
    s.ca_file = in_dir("other.pem");
    profile = profile_of(&s);
    SSL *ssl = session_with(profile, peer_named(&named, "good.test"), &peer, false);
    assert_null(tls_session_report(ssl));
    tls_session_destroy(&ssl);
    expect_counts(profile, (const uint64_t[TLS_REPORTS]){0});
    tls_profile_destroy(&profile);
}

/* The fixture's authorities have neither key usage nor authority key identifier. */
static void strictness(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    const struct fx_peer peer = {.leaf = &good, .chain = {&sub}};
    struct named_peer named;
    struct tls_profile *profile = profile_of(&s);
    for (int i = 0; i < 3; i++) {
        SSL *ssl = session_with(profile, peer_named(&named, "good.test"), &peer, true);
        const char *report = tls_session_report(ssl);
        if (i == 0)
            assert_has(report, "x509_strict: ");
        else
            assert_null(report);
        tls_session_destroy(&ssl);
        expect_counts(profile, (const uint64_t[TLS_REPORTS]){[TLS_REPORT_STRICT] = 1});
    }
    tls_profile_destroy(&profile);
    s.strict = TLS_STRICT_OFF;
    profile = profile_of(&s);
    SSL *ssl = session_with(profile, peer_named(&named, "good.test"), &peer, true);
    assert_null(tls_session_report(ssl));
    tls_session_destroy(&ssl);
    tls_profile_destroy(&profile);
    s.strict = TLS_STRICT_ON;
    struct outcome o = meet(&s, "good.test", &peer);
    assert_int_equal(o.ours, FX_FAILED);
    assert_has(o.failure.remedy, "RFC 5280");
    assert_has(o.failure.remedy, "--x509-strict report");
}

static void pins(void **state)
{
    (void)state;
    const struct fx_cert *const holders[] = {&good, &sub, &root, &other_root};
    const struct fx_peer peer = {.leaf = &good, .chain = {&sub}};
    struct tls_settings s = upstream();
    for (size_t i = 0; i < COUNT(holders); i++) {
        char pin[TLS_PIN_TEXT_SIZE];
        const char *both[] = {ZEROS, pin};
        tls_pin_text(pin, sizeof pin, holders[i]->cert);
        s.pins = (struct tls_texts){both, 2};
        struct outcome o = meet(&s, "good.test", &peer);
        assert_int_equal(o.ours, i < 3 ? FX_DONE : FX_FAILED);
        if (i < 3)
            continue;
        assert_int_equal(o.failure.verify_error, X509_V_ERR_APPLICATION_VERIFICATION);
        assert_string_equal(o.failure.reason, "no certificate of the chain has a pinned key");
        assert_has(o.failure.remedy, "with --pins: sha256//");
        tls_pin_text(pin, sizeof pin, good.cert);
        assert_has(o.failure.remedy, pin);
        tls_pin_text(pin, sizeof pin, root.cert);
        assert_has(o.failure.remedy, pin);
        assert_has(o.failure.remedy, "(good), ");
    }
    /* Added to the rest, never in its place. */
    char pin[TLS_PIN_TEXT_SIZE];
    tls_pin_text(pin, sizeof pin, good.cert);
    s.pins = one_text(pin);
    assert_int_equal(meet(&s, "bad.test", &peer).failure.verify_error,
                     X509_V_ERR_HOSTNAME_MISMATCH);
    s.ca_file = in_dir("other.pem");
    assert_int_equal(meet(&s, "good.test", &peer).failure.verify_error,
                     X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
}

static struct tls_failure refused_for(const char *const *texts, size_t count)
{
    struct tls_name names[3];
    struct tls_settings s = upstream();
    struct tls_verdict v;
    STACK_OF(X509) *sent = sk_X509_new_null();
    for (size_t i = 0; i < count; i++)
        names[i] = name_of(texts[i]);
    const struct tls_peer peer = {
        .server_name = name_of("good.test"), .names = names, .name_count = count};
    struct tls_profile *profile = profile_of(&s);
    assert_true(sk_X509_push(sent, sub.cert) > 0);
    tls_verify(&v, profile, &(struct tls_subject){.leaf = good.cert, .sent = sent, .peer = &peer});
    assert_false(v.good);
    tls_verdict_fini(&v);
    sk_X509_free(sent);
    tls_profile_destroy(&profile);
    return v.failure;
}

/* Names of their own: the server's name, which the certificate bears, is not asked for. */
static void names_of_their_own(void **state)
{
    (void)state;
    struct tls_failure f = refused_for((const char *const[]){"a.test", "spiffe://x/y", "::2"}, 3);
    assert_int_equal(f.verify_error, X509_V_ERR_HOSTNAME_MISMATCH);
    assert_string_equal(f.expected, "a.test or spiffe://x/y or ::2");
    assert_has(f.remedy, "--verify-names");
    f = refused_for((const char *const[]){"192.0.2.3", "::2"}, 2);
    assert_int_equal(f.verify_error, X509_V_ERR_IP_ADDRESS_MISMATCH);
    assert_string_equal(f.reason, "IP address mismatch");
    f = refused_for((const char *const[]){"spiffe://x/y"}, 1);
    assert_string_equal(f.reason, "URI mismatch");
}

static void admission(void **state)
{
    (void)state;
    struct tls_settings s = downstream();
    const struct fx_peer peer = {.leaf = &client};
    char pin[TLS_PIN_TEXT_SIZE];
    s.ca_file = in_dir("ca.pem");
    s.client_auth = TLS_CLIENT_REQUIRED;
    s.allow_cn = one_text("cli*");
    struct outcome o = meet(&s, NULL, &peer);
    assert_int_equal(o.ours, FX_DONE);
    s.allow_cn = one_text("other");
    s.words_of_file = true;
    o = meet(&s, NULL, &peer);
    assert_int_equal(o.ours, FX_FAILED);
    assert_int_equal(o.failure.verify_error, X509_V_ERR_APPLICATION_VERIFICATION);
    assert_string_equal(o.failure.reason, "the certificate is not among those allowed");
    tls_pin_text(pin, sizeof pin, client.cert);
    assert_has(o.failure.remedy, pin);
    assert_has(o.failure.remedy, "CN=client");
    assert_has(o.failure.remedy, "listen_allow_cn, listen_allow_ou, ");
}

static void skipped(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    struct fx_cert self = fx_make(
        &(struct fx_spec){.cn = "self", .rsa_bits = 2048, .from = -9 * FX_DAY, .until = -FX_DAY});
    struct named_peer named;
    s.insecure_skip_verify = true;
    struct tls_profile *profile = profile_of(&s);
    SSL *ssl =
        session_with(profile, peer_named(&named, "c.test"), &(struct fx_peer){.leaf = &self}, true);
    assert_int_equal(tls_state_of(ssl)->verified_s, 0); /* it was not */
    tls_session_destroy(&ssl);
    tls_profile_destroy(&profile);
    fx_free(&self);
}

/* ---- what is noted of a good one ---- */

static void noted(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    struct named_peer named;
    struct fx_cert brief = fx_make(&(struct fx_spec){
        .cn = "Brief", .issuer = &root, .ca = true, .from = -FX_DAY, .until = 3600});
    struct fx_cert leaf =
        fx_make(&(struct fx_spec){.cn = "x", .issuer = &brief, .san = "DNS:c.test"});
    const struct fx_peer peer = {.leaf = &leaf, .chain = {&brief}};
    struct tls_profile *profile = profile_of(&s);
    SSL *ssl = session_with(profile, peer_named(&named, "c.test"), &peer, true);
    const struct tls_state *kept = tls_state_of(ssl);
    int64_t now = (int64_t)time(NULL);
    assert_in_range(kept->verified_s, now - 60, now);
    assert_in_range(kept->valid_until_s, now + 3600 - 120, now + 3600 + 60);
    STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    assert_int_equal(sk_X509_num(chain), 3);
    assert_int_equal(X509_cmp(sk_X509_value(chain, 2), root.cert), 0);
    tls_session_destroy(&ssl);
    tls_profile_destroy(&profile);
    fx_free(&leaf);
    fx_free(&brief);
}

static void security_levels(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    const struct fx_peer peer = {.leaf = &good, .chain = {&sub}};
    s.strict = TLS_STRICT_OFF;
    s.security_level = 3; /* P-256 and SHA-256 are 128 bits */
    assert_int_equal(meet(&s, "good.test", &peer).ours, FX_DONE);
    s.security_level = 4;
    struct named_peer named;
    struct tls_profile *profile = profile_of(&s);
    struct tls_verdict v;
    tls_verify(&v, profile,
               &(struct tls_subject){.leaf = good.cert, .peer = peer_named(&named, "good.test")});
    assert_false(v.good);
    assert_int_equal(v.failure.verify_error, X509_V_ERR_EE_KEY_TOO_SMALL);
    assert_has(v.failure.remedy, "--security-level");
    tls_verdict_fini(&v);
    tls_profile_destroy(&profile);
}

/* ---- revocation lists and the anchor ---- */

static void expect_error(const struct tls_settings *s, const struct fx_peer *peer, int error,
                         int depth)
{
    struct outcome o = meet(s, "good.test", peer);
    if (o.failure.verify_error != error || (o.ours == FX_DONE) != (error == X509_V_OK))
        fail_msg("%s", o.failure.reason);
    if (error != X509_V_OK)
        assert_int_equal(o.failure.depth, depth);
}

/* Of the anchor's issuer no list is asked for; where there is one, the anchor cannot vouch for it.
 * But who is on it is refused, also where OpenSSL sees no use for it. */
static void lists_of_the_anchor(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    const struct fx_peer peer = {.leaf = &good, .chain = {&sub}};
    const struct fx_peer alone = {.leaf = &good};
    fx_write(in_dir("sub.pem"), "w", sub.cert, NULL);
    fx_write(in_dir("both.pem"), "w", sub.cert, NULL);
    fx_write(in_dir("both.pem"), "a", root.cert, NULL);
    fx_write(in_dir("leaf.pem"), "w", good.cert, NULL);
    s.strict = TLS_STRICT_OFF;
    for (int named = 0; named < 2; named++) {
        crl_names_key = named != 0;
        s.ca_file = in_dir("sub.pem");
        s.crl_file = crl_file("sub.crl", &sub, NULL, "w");
        expect_error(&s, &peer, X509_V_OK, 0);
        s.crl_file = crl_file("sub.crl", &root, NULL, "a"); /* with that of the root */
        expect_error(&s, &peer, X509_V_OK, 0);
        s.crl_file = crl_file("root.crl", &root, NULL, "w"); /* but none of the leaf's issuer */
        expect_error(&s, &peer, X509_V_ERR_UNABLE_TO_GET_CRL, 0);
        s.crl_file = crl_file("bad.crl", &sub, &good, "w");
        expect_error(&s, &peer, X509_V_ERR_CERT_REVOKED, 0);
        /* The anchor itself is on one, and its issuer is trusted as well, or not. */
        s.crl_file = crl_file("sub.crl", &sub, NULL, "w");
        s.crl_file = crl_file("sub.crl", &root, &sub, "a");
        expect_error(&s, &peer, X509_V_ERR_CERT_REVOKED, 1);
        s.ca_file = in_dir("both.pem");
        expect_error(&s, &peer, X509_V_ERR_CERT_REVOKED, 1);
        assert_has(meet(&s, "good.test", &peer).failure.remedy, "'CN=Sub' was revoked at 2");
        /* The leaf itself is trusted: nobody's list is asked for, but it must not be on one. */
        s.ca_file = in_dir("leaf.pem");
        s.crl_file = in_dir("root.crl");
        expect_error(&s, &alone, X509_V_OK, 0);
        s.crl_file = in_dir("bad.crl");
        expect_error(&s, &alone, X509_V_ERR_CERT_REVOKED, 0);
    }
}

static void revocation_reported(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    const struct fx_peer peer = {.leaf = &good, .chain = {&sub}};
    struct named_peer named;
    s.strict = TLS_STRICT_OFF;
    s.revocation_policy = TLS_POLICY_REPORT;
    s.crl_file = crl_file("bad.crl", &sub, &good, "w"); /* and none of the root */
    struct tls_profile *profile = profile_of(&s);
    SSL *ssl = session_with(profile, peer_named(&named, "good.test"), &peer, true);
    assert_string_equal(tls_session_report(ssl), "revocation: certificate revoked at 'CN=good', "
                                                 "unable to get certificate CRL at 'CN=Sub'");
    tls_session_destroy(&ssl);
    expect_counts(profile, (const uint64_t[TLS_REPORTS]){[TLS_REPORT_REVOCATION] = 1});
    ssl = session_with(profile, peer_named(&named, "bad.test"), &peer, false);
    assert_null(tls_session_report(ssl));
    tls_session_destroy(&ssl);
    tls_profile_destroy(&profile);
    /* Of an anchor too. */
    s.ca_file = in_dir("leaf.pem");
    profile = profile_of(&s);
    ssl = session_with(profile, peer_named(&named, "good.test"), &peer, true);
    assert_string_equal(tls_session_report(ssl), "revocation: certificate revoked at 'CN=good'");
    tls_session_destroy(&ssl);
    tls_profile_destroy(&profile);
    s.ca_file = in_dir("ca.pem");
    /* A list's end is the end of what was verified by it. */
    s.revocation_policy = TLS_POLICY_ENFORCE;
    s.crl_file = crl_file("good.crl", &sub, NULL, "w");
    s.crl_file = crl_file("good.crl", &root, NULL, "a");
    profile = profile_of(&s);
    ssl = session_with(profile, peer_named(&named, "good.test"), &peer, true);
    int64_t now = (int64_t)time(NULL);
    assert_in_range(tls_state_of(ssl)->valid_until_s, now + CRL_LIFE - 120, now + CRL_LIFE + 60);
    tls_session_destroy(&ssl);
    tls_profile_destroy(&profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reported_and_counted),
        cmocka_unit_test(strictness),
        cmocka_unit_test(pins),
        cmocka_unit_test(names_of_their_own),
        cmocka_unit_test(admission),
        cmocka_unit_test(skipped),
        cmocka_unit_test(noted),
        cmocka_unit_test(security_levels),
        cmocka_unit_test(lists_of_the_anchor),
        cmocka_unit_test(revocation_reported),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
