/* The self-test passes for every honest profile, and can fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/selftest.h"
#include "tls_world.h"

#define ZEROS  "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define NO_KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static struct tls_settings required(void)
{
    struct tls_settings s = downstream();
    s.ca_file = in_dir("ca.pem");
    s.client_auth = TLS_CLIENT_REQUIRED;
    return s;
}

static void assert_passes(const struct tls_settings *s)
{
    struct tls_profile *profile = profile_of(s); /* runs it */
    struct error err;
    error_init(&err);
    for (int i = 0; i < 2; i++)
        if (!tls_selftest(profile, &err))
            fail_msg("%s", err.text);
    for (int what = 0; what < TLS_REPORTS; what++)
        assert_int_equal(tls_profile_reported(profile, (enum tls_report)what), 0);
    tls_profile_destroy(&profile);
    assert_int_equal(ERR_peek_error(), 0);
}

static void honest_profiles(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    for (int level = 0; level <= 5; level++) {
        s.security_level = level;
        assert_passes(&s);
    }
    s = upstream();
    s.strict = TLS_STRICT_ON;
    assert_passes(&s);
    s.names_policy = TLS_POLICY_REPORT;
    assert_passes(&s);
    s.pins = one_text(ZEROS);
    assert_passes(&s);
    s.pins_policy = TLS_POLICY_REPORT;
    assert_passes(&s);
    s = upstream();
    s.revocation_policy = TLS_POLICY_REPORT;
    s.ocsp = TLS_OCSP_REQUIRE;
    assert_passes(&s);
    for (int usage = 0; usage <= 3; usage++) {
        char text[128];
        (void)snprintf(text, sizeof text, "%d 1 1 " NO_KEY, usage);
        s = upstream();
        s.tlsa = one_text(text);
        assert_passes(&s);
        s.names_policy = TLS_POLICY_REPORT;
        assert_passes(&s);
    }
    s = upstream();
    s.max = TLS_1_2;
    s.ciphers = "ECDHE-RSA-AES256-GCM-SHA384";
    assert_passes(&s);
    s = upstream();
    s.sigalgs = "RSA-PSS+SHA256";
    assert_passes(&s);
}

static void honest_listeners(void **state)
{
    (void)state;
    struct tls_settings s = downstream(); /* asks for no certificate: nothing to prove */
    assert_passes(&s);
    s = required();
    assert_passes(&s);
    s.client_auth = TLS_CLIENT_OPTIONAL;
    assert_passes(&s);
    /* The throw-away key cannot sign so: its holder shows no certificate, which is allowed. */
    struct fx_cert rsa = fx_make(&(struct fx_spec){.cn = "rsa", .issuer = &root, .rsa_bits = 2048});
    fx_write(in_dir("rsa.pem"), "w", rsa.cert, rsa.key);
    s.certs = one_text(in_dir("rsa.pem"));
    s.keys = (struct tls_texts){NULL, 0};
    s.sigalgs = "RSA-PSS+SHA256";
    assert_passes(&s);
    fx_free(&rsa);
    s = required();
    s.allow_dns = one_text("*.nobody.test");
    assert_passes(&s);
    s.sni_strict = true;
    assert_passes(&s);
    s.max = TLS_1_2;
    assert_passes(&s);
}

/* ---- it can fail ---- */

static int accept_all(X509_STORE_CTX *ctx, void *unused)
{
    (void)unused;
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return 1;
}

static void tampered_context(void **state)
{
    (void)state;
    struct tls_settings all[] = {upstream(), required(), required(), upstream(), required()};
    all[2].client_auth = TLS_CLIENT_OPTIONAL;
    all[3].max = TLS_1_2;
    all[4].max = TLS_1_2;
    for (size_t i = 0; i < COUNT(all); i++) {
        struct error err;
        struct tls_profile *profile = profile_of(&all[i]);
        error_init(&err);
        SSL_CTX_set_cert_verify_callback(profile->contexts[0], accept_all, NULL);
        assert_false(tls_selftest(profile, &err));
        assert_string_equal(err.text, "self-test: a handshake with a peer of an unknown CA was "
                                      "accepted: refusing to start");
        error_clear(&err);
        SSL_CTX_set_cert_verify_callback(profile->contexts[0], tls_verify_session, NULL);
        assert_true(tls_selftest(profile, &err));
        SSL_CTX_set_verify(profile->contexts[0], SSL_VERIFY_NONE, NULL);
        /* A listener asks for no certificate then, and no session is refused. */
        assert_int_equal(tls_selftest(profile, &err), i == 2);
        tls_profile_destroy(&profile);
    }
}

/* Verifiers that are wrong in one way each. */
static void lenient(struct tls_verdict *v, const struct tls_profile *profile,
                    const struct tls_subject *subject, int let_pass)
{
    tls_verify(v, profile, subject);
    if (let_pass == 0 || v->failure.verify_error == let_pass)
        v->good = true;
}

static void takes_all(struct tls_verdict *v, const struct tls_profile *profile,
                      const struct tls_subject *subject)
{
    lenient(v, profile, subject, 0);
}

static void takes_unknown(struct tls_verdict *v, const struct tls_profile *profile,
                          const struct tls_subject *subject)
{
    lenient(v, profile, subject, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN);
}

static void takes_expired(struct tls_verdict *v, const struct tls_profile *profile,
                          const struct tls_subject *subject)
{
    lenient(v, profile, subject, X509_V_ERR_CERT_HAS_EXPIRED);
}

static void takes_any_name(struct tls_verdict *v, const struct tls_profile *profile,
                           const struct tls_subject *subject)
{
    lenient(v, profile, subject, X509_V_ERR_HOSTNAME_MISMATCH);
}

static void reports_nothing(struct tls_verdict *v, const struct tls_profile *profile,
                            const struct tls_subject *subject)
{
    tls_verify(v, profile, subject);
    v->reported = 0;
}

static void takes_none(struct tls_verdict *v, const struct tls_profile *profile,
                       const struct tls_subject *subject)
{
    lenient(v, profile, subject, -1);
    v->good = false;
    v->failure.verify_error = X509_V_ERR_UNSPECIFIED;
    (void)str_copy(v->failure.reason, sizeof v->failure.reason, "whatever");
}

static void tampered_verification(void **state)
{
    (void)state;
    static const struct {
        void (*verify)(struct tls_verdict *v, const struct tls_profile *profile,
                       const struct tls_subject *subject);
        bool listener, report, dane;
        const char *says;
    } rows[] = {
        {takes_all, false, false, false, "a certificate of an unknown CA was accepted"},
        {takes_all, false, false, true, "a certificate of an unknown CA was accepted"},
        {takes_unknown, false, false, false, "a certificate of an unknown CA was accepted"},
        {takes_unknown, true, false, false, "a certificate of an unknown CA was accepted"},
        {takes_none, false, false, false, "a good certificate was refused (whatever)"},
        {takes_expired, false, false, false, "an expired certificate was accepted"},
        {takes_expired, true, false, false, "an expired certificate was accepted"},
        {takes_any_name, false, false, false, "a certificate of another name was accepted"},
        {takes_any_name, false, false, true, "a certificate of another name was accepted"},
        {reports_nothing, false, true, false, "a certificate of another name was not reported"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err;
        struct tls_settings s = rows[i].listener ? required() : upstream();
        if (rows[i].report)
            s.names_policy = TLS_POLICY_REPORT;
        if (rows[i].dane)
            s.tlsa = one_text("3 1 1 " NO_KEY);
        struct tls_profile *profile = profile_of(&s);
        error_init(&err);
        assert_false(tls_selftest_by(profile, rows[i].verify, &err));
        assert_has(err.text, rows[i].says);
        assert_has(err.text, "refusing to start");
        tls_profile_destroy(&profile);
    }
}

static void nothing_to_prove(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    s.insecure_skip_verify = true;
    struct tls_profile *profile = profile_of(&s);
    assert_true(tls_selftest_by(profile, takes_all, NULL));
    tls_profile_destroy(&profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(honest_profiles),  cmocka_unit_test(honest_listeners),
        cmocka_unit_test(tampered_context), cmocka_unit_test(tampered_verification),
        cmocka_unit_test(nothing_to_prove),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
