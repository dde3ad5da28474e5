/* Which certificate a consumer is shown, by name and by kind of key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_world.h"

/* ---- certificates of a listener ---- */

enum { ONE, ONE_RSA, EXACT, WILD, WILD_RSA, OTHER, TWIN, COUNTED };

static const struct fx_spec specs[COUNTED] = {
    [ONE] = {.cn = "one", .san = "DNS:one.test,DNS:uno.test"},
    [ONE_RSA] = {.cn = "one-rsa", .san = "DNS:one.test,DNS:uno.test,DNS:x.test", .rsa_bits = 2048},
    [EXACT] = {.cn = "exact", .san = "DNS:A.wild.test"},
    [WILD] = {.cn = "wild", .san = "DNS:*.wild.test,IP:192.0.2.1"},
    [WILD_RSA] = {.cn = "wild-rsa", .san = "DNS:*.wild.test", .rsa_bits = 2048},
    [OTHER] = {.cn = "other-rsa", .san = "DNS:other.test", .rsa_bits = 2048},
    [TWIN] = {.cn = "twin", .san = "DNS:one.test"},
};
static const char *paths[COUNTED];

static int make(void **state)
{
    if (world_setup(state) != 0)
        return -1;
    for (size_t i = 0; i < COUNTED; i++) {
        static char names[COUNTED][600];
        struct fx_spec spec = specs[i];
        spec.issuer = &sub;
        struct fx_cert made = fx_make(&spec);
        (void)snprintf(names[i], sizeof names[i], "%s/%s.both.pem", dir, spec.cn);
        paths[i] = names[i];
        fx_write(paths[i], "w", made.cert, made.key);
        fx_write(paths[i], "a", sub.cert, NULL);
        fx_free(&made);
    }
    return 0;
}

static struct tls_settings listener(void)
{
    struct tls_settings s = downstream();
    s.certs = (struct tls_texts){paths, COUNTED};
    s.keys = (struct tls_texts){0};
    return s;
}

/* ---- a consumer ---- */

struct consumer {
    const char *name; /* NULL: no SNI */
    int version;
    const char *sigalgs, *ciphers;
    SSL_SESSION *session;
    SSL_SESSION **session_r;
};

struct seen {
    char subject[128]; /* of the leaf that came */
    int chain;
    bool resumed, done;
    int alert; /* that came; 0: none */
    struct tls_failure failure;
};

static int alert_seen;

static void note_alert(const SSL *ssl, int where, int value)
{
    (void)ssl;
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && value >> 8 == SSL3_AL_FATAL)
        alert_seen = value & 0xff;
}

static SSL *consumer_create(const struct consumer *c)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(ctx);
    SSL_CTX_set_min_proto_version(ctx, c->version);
    SSL_CTX_set_max_proto_version(ctx, c->version);
    if (c->sigalgs != NULL) {
        char list[300]; /* the macro casts const away */
        assert_true(str_copy(list, sizeof list, c->sigalgs));
        assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, list), 1);
    }
    if (c->ciphers != NULL)
        assert_int_equal(SSL_CTX_set_cipher_list(ctx, c->ciphers), 1);
    SSL_CTX_set_info_callback(ctx, note_alert);
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    assert_non_null(ssl);
    if (c->name != NULL) {
        char name[300];
        (void)str_copy(name, sizeof name, c->name);
        assert_int_equal(SSL_set_tlsext_host_name(ssl, name), 1);
    }
    if (c->session != NULL)
        assert_int_equal(SSL_set_session(ssl, c->session), 1);
    SSL_set_connect_state(ssl);
    return ssl;
}

static struct seen visit(const struct tls_profile *profile, const struct consumer *c)
{
    struct seen seen = {.done = false};
    enum fx_state ours;
    enum fx_state theirs;
    SSL *two = tls_session_create(profile, 0, NULL);
    SSL *one = consumer_create(c);
    alert_seen = 0;
    fx_join(two, one);
    fx_handshake(two, one, &seen.failure, NULL, &ours, &theirs);
    seen.done = ours == FX_DONE && theirs == FX_DONE;
    seen.alert = alert_seen;
    seen.resumed = SSL_session_reused(one) == 1;
    X509 *leaf = SSL_get0_peer_certificate(one);
    if (leaf != NULL)
        (void)X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, seen.subject,
                                        sizeof seen.subject);
    seen.chain = sk_X509_num(SSL_get_peer_cert_chain(one));
    if (c->session_r != NULL)
        *c->session_r = SSL_get1_session(one);
    SSL_set_shutdown(one, SSL_SENT_SHUTDOWN); /* or OpenSSL would not resume the session */
    SSL_free(one);
    tls_session_destroy(&two);
    ERR_clear_error();
    return seen;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* ---- tests ---- */

#define EC_ONLY   "ECDSA+SHA256"
#define RSA_ONLY  "RSA-PSS+SHA256:RSA+SHA256"
#define ANY_FIRST "ECDSA+SHA256:RSA-PSS+SHA256:RSA+SHA256"

static void by_name_and_kind(void **state)
{
    (void)state;
    static const struct {
        const char *name, *sigalgs, *subject; /* subject NULL: the handshake fails */
    } rows[] = {
        {"one.test", EC_ONLY, "one"}, /* and not "twin", which comes later */
        {"one.test", RSA_ONLY, "one-rsa"},
        {"ONE.Test", EC_ONLY, "one"},
        {"one.test.", RSA_ONLY, "one-rsa"},
        {"uno.test", EC_ONLY, "one"},
        {"x.test", RSA_ONLY, "one-rsa"},
        {"x.test", EC_ONLY, NULL}, /* only an RSA certificate bears it */
        {"a.wild.test", EC_ONLY, "exact"},
        {"a.wild.test", ANY_FIRST, "exact"},
        {"a.wild.test", RSA_ONLY, NULL}, /* the exact name counts, whatever the kind */
        {"b.wild.test", EC_ONLY, "wild"},
        {"b.wild.test", RSA_ONLY, "wild-rsa"},
        {"a.b.wild.test", EC_ONLY, "one"}, /* a wildcard stands for one label */
        {"wild.test", EC_ONLY, "one"},
        {"*.wild.test", EC_ONLY, "wild"},
        {"other.test", ANY_FIRST, "other-rsa"},
        {"nobody.test", EC_ONLY, "one"},
        {"nobody.test", RSA_ONLY, "one-rsa"}, /* it bears all the names of the first */
        {NULL, EC_ONLY, "one"},
        {NULL, RSA_ONLY, "one-rsa"},
    };
    struct tls_settings s = listener();
    struct tls_profile *profile = profile_of(&s);
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t v = 0; v < COUNT(versions); v++) {
            const struct consumer c = {
                .name = rows[i].name, .version = versions[v], .sigalgs = rows[i].sigalgs};
            struct seen seen = visit(profile, &c);
            const char *name = rows[i].name != NULL ? rows[i].name : "no name";
            if (seen.done != (rows[i].subject != NULL))
                fail_msg("%s, %s: %s", name, rows[i].sigalgs, seen.failure.reason);
            if (!seen.done)
                continue;
            if (strcmp(seen.subject, rows[i].subject) != 0)
                fail_msg("%s, %s: %s", name, rows[i].sigalgs, seen.subject);
            assert_int_equal(seen.chain, 2); /* the issuer came along */
        }
    }
    /* TLS 1.2 says it by the cipher too. */
    const struct consumer c = {
        .name = "one.test", .version = TLS1_2_VERSION, .ciphers = "ECDHE-RSA-AES128-GCM-SHA256"};
    assert_string_equal(visit(profile, &c).subject, "one-rsa");
    tls_profile_destroy(&profile);
}

static void strict(void **state)
{
    (void)state;
    struct tls_settings s = listener();
    s.sni_strict = true;
    struct tls_profile *profile = profile_of(&s);
    for (size_t v = 0; v < COUNT(versions); v++) {
        struct consumer c = {.name = "one.test", .version = versions[v]};
        assert_true(visit(profile, &c).done);
        c.name = "b.wild.test";
        assert_true(visit(profile, &c).done);
        c.name = "nobody\".test";
        struct seen seen = visit(profile, &c);
        assert_false(seen.done);
        assert_int_equal(seen.alert, SSL_AD_UNRECOGNIZED_NAME);
        assert_int_equal(seen.failure.fault, TLS_FAULT_PROTOCOL);
        assert_int_equal(seen.failure.alert, -1); /* ours, not the peer's */
        assert_string_equal(seen.failure.reason, "no certificate for the name 'nobody\\x22.test'");
        assert_has(seen.failure.remedy, "turn --listen-sni-strict off");
        assert_has(seen.failure.remedy, "a certificate in --listen-cert");
        c.name = NULL;
        seen = visit(profile, &c);
        assert_false(seen.done);
        /* RFC 8446 9.2; TLS 1.2 has no such alert. */
        assert_int_equal(seen.alert, versions[v] == TLS1_3_VERSION ? TLS13_AD_MISSING_EXTENSION
                                                                   : SSL_AD_HANDSHAKE_FAILURE);
        assert_has(seen.failure.reason, "no SNI");
    }
    tls_profile_destroy(&profile);

    /* One certificate alone can be strict, and must have a name for it. */
    s.certs = one_text(paths[OTHER]);
    profile = profile_of(&s);
    assert_true(visit(profile, &(struct consumer){.name = "other.test"}).done);
    assert_false(visit(profile, &(struct consumer){.name = "one.test"}).done);
    tls_profile_destroy(&profile);
    s.certs = one_text(in_dir("client.pem"));
    struct error err;
    error_init(&err);
    assert_null(tls_profile_create(&s, &err));
    assert_has(err.text, "--listen-sni-strict: no certificate of --listen-cert bears a DNS name");
}

/* RFC 6066 3: a session is resumed with its own name only. */
static void resumption(void **state)
{
    (void)state;
    struct tls_settings s = listener();
    struct tls_profile *profile = profile_of(&s);
    static const struct {
        const char *first, *second;
        bool resumed;
        const char *subject;
    } rows[] = {
        {"one.test", "one.test", true, "one"},
        {"one.test", "ONE.test", true, "one"},
        {"one.test", "uno.test", false, "one"}, /* the same certificate, another name */
        {"one.test", "a.wild.test", false, "exact"},
        {"one.test", NULL, false, "one"},
        {NULL, "one.test", false, "one"},
        {NULL, NULL, true, "one"},
        {"nobody.test", "nobody.test", true, "one"},
        {"b.wild.test", "c.wild.test", false, "wild"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t v = 0; v < COUNT(versions); v++) {
            SSL_SESSION *session = NULL;
            struct consumer c = {.name = rows[i].first,
                                 .version = versions[v],
                                 .sigalgs = ANY_FIRST,
                                 .session_r = &session};
            assert_true(visit(profile, &c).done);
            assert_non_null(session);
            /* The session of the client bears a name, which OpenSSL would send again. */
            assert_int_equal(SSL_SESSION_set1_hostname(session, rows[i].second), 1);
            c = (struct consumer){.name = rows[i].second,
                                  .version = versions[v],
                                  .sigalgs = ANY_FIRST,
                                  .session = session};
            struct seen seen = visit(profile, &c);
            assert_true(seen.done);
            if (seen.resumed != rows[i].resumed)
                fail_msg(
                    "%s then %s in version %x: resumed %d", rows[i].first ? rows[i].first : "none",
                    rows[i].second ? rows[i].second : "none", (unsigned)versions[v], seen.resumed);
            assert_string_equal(seen.subject, rows[i].subject);
            SSL_SESSION_free(session);
        }
    }
    tls_profile_destroy(&profile);
}

/* A ticket of a listener that takes weaker ciphers: OpenSSL resumes TLS 1.2 with the session's
 * cipher, whatever the list. */
static void listeners_with_other_ciphers(void **state)
{
    (void)state;
    static char keys[81];
    memset(keys, 'k', 80);
    fx_write_text(in_dir("sni.keys"), keys);
    struct tls_settings s = listener();
    s.ticket_keys = in_dir("sni.keys");
    s.ciphers = "ECDHE-ECDSA-AES128-SHA";
    struct tls_profile *weak = profile_of(&s);
    struct tls_profile *alike = profile_of(&s);
    s.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
    struct tls_profile *strong = profile_of(&s);
    static const char *const names[] = {"one.test", NULL};
    for (size_t i = 0; i < COUNT(names); i++) {
        SSL_SESSION *session = NULL;
        struct consumer c = {.name = names[i],
                             .version = TLS1_2_VERSION,
                             .ciphers = "ECDHE-ECDSA-AES128-SHA",
                             .session_r = &session};
        assert_true(visit(weak, &c).done);
        c.session_r = NULL;
        c.session = session;
        struct seen seen = visit(alike, &c);
        assert_true(seen.done && seen.resumed);
        seen = visit(strong, &c);
        assert_false(seen.done || seen.resumed);
        SSL_SESSION_free(session);
    }
    tls_profile_destroy(&weak);
    tls_profile_destroy(&alike);
    tls_profile_destroy(&strong);
}

/* The choice takes nothing of what the context says of consumers' certificates. */
static void with_client_certificates(void **state)
{
    (void)state;
    struct tls_settings s = listener();
    s.ca_file = in_dir("ca.pem");
    struct tls_profile *profile = profile_of(&s);
    for (size_t v = 0; v < COUNT(versions); v++) {
        const struct consumer c = {.name = "other.test", .version = versions[v]};
        struct seen seen = visit(profile, &c);
        assert_false(seen.done);
        assert_int_equal(seen.failure.fault, TLS_FAULT_VERIFY);
        assert_has(seen.failure.reason, "did not return a certificate");
    }
    tls_profile_destroy(&profile);
}

/* Each is tried at its security level, also one that few will be shown. */
static void weak_one_among_them(void **state)
{
    (void)state;
    struct error err;
    struct fx_cert weak =
        fx_make(&(struct fx_spec){.cn = "weak", .san = "DNS:weak.test", .rsa_bits = 1024});
    const char *list[] = {paths[ONE], in_dir("weak.both.pem")};
    fx_write(list[1], "w", weak.cert, weak.key);
    fx_free(&weak);
    struct tls_settings s = listener();
    s.certs = (struct tls_texts){list, 2};
    error_init(&err);
    assert_null(tls_profile_create(&s, &err));
    assert_has(err.text, "weak.both.pem': OpenSSL does not take it at --listen-security-level 2");
    assert_has(err.text, "key too small");
    s.security_level = 0;
    struct tls_profile *profile = profile_of(&s);
    tls_profile_destroy(&profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_name_and_kind),    cmocka_unit_test(strict),
        cmocka_unit_test(resumption),          cmocka_unit_test(with_client_certificates),
        cmocka_unit_test(weak_one_among_them), cmocka_unit_test(listeners_with_other_ciphers),
    };
    return cmocka_run_group_tests(tests, make, world_teardown);
}
