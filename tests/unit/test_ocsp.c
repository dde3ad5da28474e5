/* OCSP responses: those that an upstream staples, and those that we do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tls/dane.h"
#include "tls/ocsp_response.h"
#include "tls_world.h"

#include "ocsp_fixture.h"

/* Beside those of tls_world.h: a certificate with must-staple, one that sub let sign responses, one
 * that it did not, and one that root let. */
static struct fx_cert stapling, responder, plain, root_responder;

/* ---- an upstream that staples ---- */

static struct tls_settings asking(enum tls_ocsp mode)
{
    struct tls_settings settings = upstream();
    settings.strict = TLS_STRICT_OFF;
    settings.ocsp = mode;
    return settings;
}

static int staple(SSL *ssl, void *arg)
{
    const struct bytes *b = arg;
    if (b->data == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, OPENSSL_memdup(b->data, (size_t)b->length),
                                    (long)b->length);
    return SSL_TLSEXT_ERR_OK;
}

struct met {
    enum fx_state state;
    struct tls_failure failure;
    int alert; /* that the peer got; 0: none */
    char report[512];
    uint64_t reported;
    int64_t valid_until_s;
};

static struct met meet_stapling(const struct tls_settings *settings, const struct fx_cert *leaf,
                                const struct bytes *bytes, int version)
{
    struct met m;
    struct named_peer named;
    enum fx_state theirs_end;
    struct bytes none = {NULL, 0};
    struct bytes copy = bytes != NULL ? *bytes : none;
    memset(&m, 0, sizeof m);
    struct tls_profile *profile = profile_of(settings);
    SSL *ours = tls_session_create(profile, 0, peer_named(&named, "good.test"));
    SSL *theirs =
        fx_peer_create(&(struct fx_peer){.leaf = leaf, .chain = {&sub}, .version = version}, true);
    SSL_CTX_set_tlsext_status_cb(SSL_get_SSL_CTX(theirs), staple);
    SSL_CTX_set_tlsext_status_arg(SSL_get_SSL_CTX(theirs), &copy);
    tls_state_of(ours)->valid_until_s = INT64_MAX;
    fx_join(ours, theirs);
    fx_handshake(ours, theirs, &m.failure, NULL, &m.state, &theirs_end);
    m.alert = ERR_GET_REASON(ERR_peek_error()) - SSL_AD_REASON_OFFSET;
    ERR_clear_error();
    if (tls_session_report(ours) != NULL)
        (void)str_copy(m.report, sizeof m.report, tls_session_report(ours));
    m.valid_until_s = tls_state_of(ours)->valid_until_s;
    m.reported = tls_profile_reported(profile, TLS_REPORT_REVOCATION);
    tls_session_destroy(&ours);
    SSL_free(theirs);
    tls_profile_destroy(&profile);
    assert_int_equal(ERR_peek_error(), 0);
    return m;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* error 0: accepted. */
static void try_bytes(enum tls_ocsp mode, const struct fx_cert *leaf, const struct bytes *bytes,
                      int error, const char *reason, const char *remedy)
{
    struct tls_settings settings = asking(mode);
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct met m = meet_stapling(&settings, leaf, bytes, versions[i]);
        if (error == 0) {
            if (m.state != FX_DONE)
                fail_msg("refused: %s", m.failure.reason);
            assert_string_equal(m.report, "");
            continue;
        }
        assert_int_equal(m.state, FX_FAILED);
        assert_int_equal(m.alert, SSL_AD_BAD_CERTIFICATE_STATUS_RESPONSE);
        assert_int_equal(m.failure.fault, TLS_FAULT_VERIFY);
        assert_int_equal(m.failure.verify_error, error);
        assert_int_equal(m.failure.depth, 0);
        assert_true(m.failure.revocation);
        assert_has(m.failure.reason, reason);
        assert_has(m.failure.remedy, remedy);
        assert_null(strchr(m.failure.remedy, '{'));
        assert_has(m.failure.subject, "CN=");
        assert_has(m.failure.issuer, "CN=Sub");
    }
}

static void accept_response(enum tls_ocsp mode, const struct response *r)
{
    struct bytes b = make_response(r);
    try_bytes(mode, r->subject != NULL ? r->subject : &good, &b, 0, NULL, NULL);
    OPENSSL_free(b.data);
}

/* In both modes. */
static void refuse_response(const struct response *r, int error, const char *reason,
                            const char *remedy)
{
    struct bytes b = make_response(r);
    try_bytes(TLS_OCSP_PREFER, &good, &b, error, reason, remedy);
    try_bytes(TLS_OCSP_REQUIRE, &good, &b, error, reason, remedy);
    OPENSSL_free(b.data);
}

static void test_good(void **state)
{
    (void)state;
    accept_response(TLS_OCSP_PREFER, &(struct response){.status = V_OCSP_CERTSTATUS_GOOD});
    accept_response(TLS_OCSP_REQUIRE, &(struct response){.status = V_OCSP_CERTSTATUS_GOOD});
    accept_response(TLS_OCSP_REQUIRE, &(struct response){.subject = &stapling});
    accept_response(TLS_OCSP_REQUIRE, &(struct response){.id_digest = EVP_sha256()});
    accept_response(TLS_OCSP_REQUIRE, &(struct response){.signer = &responder});
    accept_response(TLS_OCSP_REQUIRE, &(struct response){.also = &stapling});
    accept_response(TLS_OCSP_REQUIRE, &(struct response){.from = -6 * FX_DAY, .endless = true});
    /* clocks differ a little */
    accept_response(TLS_OCSP_REQUIRE, &(struct response){.from = 200, .until = FX_DAY});
    accept_response(TLS_OCSP_REQUIRE, &(struct response){.from = -FX_DAY, .until = -200});
}

static void test_none(void **state)
{
    (void)state;
    try_bytes(TLS_OCSP_PREFER, &good, NULL, 0, NULL, NULL);
    try_bytes(TLS_OCSP_REQUIRE, &good, NULL, X509_V_ERR_OCSP_VERIFY_NEEDED,
              "no OCSP response was stapled", "--ocsp requires one");
    try_bytes(TLS_OCSP_PREFER, &stapling, NULL, X509_V_ERR_OCSP_VERIFY_NEEDED,
              "no OCSP response was stapled", "must-staple");
    try_bytes(TLS_OCSP_OFF, &stapling, NULL, 0, NULL, NULL);
}

/* "tryLater" is as good as none. */
static void test_unsuccessful(void **state)
{
    (void)state;
    struct bytes b = make_response(&(struct response){.outer = OCSP_RESPONSE_STATUS_TRYLATER});
    try_bytes(TLS_OCSP_PREFER, &good, &b, 0, NULL, NULL);
    try_bytes(TLS_OCSP_REQUIRE, &good, &b, X509_V_ERR_OCSP_VERIFY_NEEDED, "trylater",
              "its CA's OCSP responder");
    try_bytes(TLS_OCSP_PREFER, &stapling, &b, X509_V_ERR_OCSP_VERIFY_NEEDED, "trylater",
              "its CA's OCSP responder");
    OPENSSL_free(b.data);
}

static void test_revoked(void **state)
{
    (void)state;
    const char *reason = "revoked at 2026-01-02 03:04:05 UTC, keyCompromise";
    const char *remedy = "'CN=good' was revoked at 2026-01-02";
    struct response r = {.status = V_OCSP_CERTSTATUS_REVOKED};
    refuse_response(&r, X509_V_ERR_CERT_REVOKED, reason, remedy);
    r.also = &good; /* two answers about it: the worse one counts */
    refuse_response(&r, X509_V_ERR_CERT_REVOKED, reason, remedy);
    r.also_last = true;
    refuse_response(&r, X509_V_ERR_CERT_REVOKED, reason, remedy);
    r = (struct response){
        .status = V_OCSP_CERTSTATUS_REVOKED, .from = -2 * FX_DAY, .until = -FX_DAY};
    refuse_response(&r, X509_V_ERR_CERT_REVOKED, reason, remedy); /* however old */
    struct bytes b = make_response(&r);
    try_bytes(TLS_OCSP_OFF, &good, &b, 0, NULL, NULL);
    OPENSSL_free(b.data);
}

static void test_unknown(void **state)
{
    (void)state;
    refuse_response(&(struct response){.status = V_OCSP_CERTSTATUS_UNKNOWN},
                    X509_V_ERR_OCSP_CERT_UNKNOWN, "does not know", "ask that CA");
}

static void test_out_of_time(void **state)
{
    (void)state;
    refuse_response(&(struct response){.from = -2 * FX_DAY, .until = -400},
                    X509_V_ERR_OCSP_VERIFY_FAILED, "it expired at 20", "--ocsp 'off' ignores");
    refuse_response(&(struct response){.from = 400, .until = FX_DAY}, X509_V_ERR_OCSP_VERIFY_FAILED,
                    "not valid before 20", "clock");
    refuse_response(&(struct response){.from = -8 * FX_DAY, .endless = true},
                    X509_V_ERR_OCSP_VERIFY_FAILED, "no nextUpdate: too old", "current");
    refuse_response(&(struct response){.from = -60, .until = -100}, X509_V_ERR_OCSP_VERIFY_FAILED,
                    "before its thisUpdate", "current");
}

static void test_of_another(void **state)
{
    (void)state;
    refuse_response(&(struct response){.subject = &stapling}, X509_V_ERR_OCSP_VERIFY_FAILED,
                    "another certificate", "current");
}

static void test_signers(void **state)
{
    (void)state;
    const struct fx_cert *wrong[] = {&other_root, &plain, &root_responder, &root, &good};
    for (size_t i = 0; i < COUNT(wrong); i++)
        refuse_response(&(struct response){.signer = wrong[i]}, X509_V_ERR_OCSP_VERIFY_FAILED,
                        "not signed by the certificate's issuer", "current");
    /* A revocation that nobody vouches for is none, and no approval either. */
    refuse_response(&(struct response){.signer = &other_root, .status = V_OCSP_CERTSTATUS_REVOKED},
                    X509_V_ERR_OCSP_VERIFY_FAILED, "not signed", "current");
    refuse_response(&(struct response){.digest = EVP_sha1()}, X509_V_ERR_OCSP_VERIFY_FAILED,
                    "too weak", "current");
}

static void test_damaged(void **state)
{
    (void)state;
    struct bytes b = make_response(&(struct response){.bare = true});
    b.length--;
    try_bytes(TLS_OCSP_PREFER, &good, &b, X509_V_ERR_OCSP_VERIFY_FAILED, "damaged", "current");
    b.length++;
    unsigned char more[4096];
    assert_true((size_t)b.length < sizeof more);
    memcpy(more, b.data, (size_t)b.length);
    more[b.length] = 0;
    struct bytes longer = {more, b.length + 1};
    try_bytes(TLS_OCSP_PREFER, &good, &longer, X509_V_ERR_OCSP_VERIFY_FAILED, "damaged", "current");
    struct ocsp_answer answer;
    ocsp_check(&answer, b.data, (size_t)b.length, good.cert, sub.cert, 2);
    assert_int_equal(answer.verdict, OCSP_GOOD);
    for (int i = 0; i < b.length; i++) {
        b.data[i] ^= 0x55;
        ocsp_check(&answer, b.data, (size_t)b.length, good.cert, sub.cert, 2);
        assert_int_not_equal(answer.verdict, OCSP_GOOD);
        assert_true(answer.detail[0] != '\0');
        b.data[i] ^= 0x55;
    }
    OPENSSL_free(b.data);
}

static void test_report_only(void **state)
{
    (void)state;
    struct tls_settings settings = asking(TLS_OCSP_REQUIRE);
    settings.revocation_policy = TLS_POLICY_REPORT;
    struct bytes b = make_response(&(struct response){.status = V_OCSP_CERTSTATUS_REVOKED});
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct met m = meet_stapling(&settings, &good, &b, versions[i]);
        assert_int_equal(m.state, FX_DONE);
        assert_has(m.report, "revocation: certificate revoked");
        assert_int_equal(m.reported, 1);
        m = meet_stapling(&settings, &good, NULL, versions[i]);
        assert_int_equal(m.state, FX_DONE);
        assert_has(m.report, "revocation: no OCSP response");
    }
    OPENSSL_free(b.data);
}

static void test_valid_until(void **state)
{
    (void)state;
    struct tls_settings settings = asking(TLS_OCSP_PREFER);
    struct bytes b = make_response(&(struct response){.from = -60, .until = 1000});
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct met m = meet_stapling(&settings, &good, &b, versions[i]);
        assert_int_equal(m.state, FX_DONE);
        assert_in_range(m.valid_until_s - (int64_t)time(NULL), 900, 1000);
    }
    OPENSSL_free(b.data);
}

/* A certificate that is trusted itself: its issuer may not be known. */
static void test_without_issuer(void **state)
{
    (void)state;
    struct tls_settings settings = asking(TLS_OCSP_PREFER);
    struct fx_cert lonely =
        fx_make(&(struct fx_spec){.cn = "lonely", .issuer = &other_root, .san = "DNS:good.test"});
    fx_write(in_dir("lonely.pem"), "w", lonely.cert, NULL);
    settings.ca_file = in_dir("lonely.pem");
    struct bytes b = make_response(&(struct response){.subject = &lonely, .signer = &other_root});
    assert_int_equal(meet_stapling(&settings, &lonely, &b, 0).state, FX_DONE);
    settings.ocsp = TLS_OCSP_REQUIRE;
    struct met m = meet_stapling(&settings, &lonely, &b, 0);
    assert_int_equal(m.state, FX_FAILED);
    assert_has(m.failure.reason, "cannot be verified");
    assert_has(m.failure.remedy, "'CN=Other Root'");
    OPENSSL_free(b.data);
    fx_free(&lonely);
}

/* With DANE-EE the chain ends at the leaf, but the issuer may be sent all the same. */
static void test_issuer_sent(void **state)
{
    (void)state;
    struct tls_settings settings = asking(TLS_OCSP_REQUIRE);
    char record[TLS_TLSA_TEXT_SIZE];
    tls_tlsa_text(record, sizeof record, good.cert);
    settings.tlsa = one_text(record);
    struct bytes b = make_response(&(struct response){.status = V_OCSP_CERTSTATUS_GOOD});
    struct met m = meet_stapling(&settings, &good, &b, 0);
    assert_string_equal(m.failure.reason, "");
    assert_int_equal(m.state, FX_DONE);
    OPENSSL_free(b.data);
    b = make_response(&(struct response){.status = V_OCSP_CERTSTATUS_REVOKED});
    assert_int_equal(meet_stapling(&settings, &good, &b, 0).state, FX_FAILED);
    OPENSSL_free(b.data);
}

/* A resumed session brings no certificate, and no response. */
static void test_resumed(void **state)
{
    (void)state;
    struct tls_settings settings = asking(TLS_OCSP_REQUIRE);
    struct tls_profile *profile = profile_of(&settings);
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct named_peer named;
        struct tls_failure failure;
        enum fx_state a;
        enum fx_state b;
        struct bytes bytes = make_response(&(struct response){.status = V_OCSP_CERTSTATUS_GOOD});
        SSL *first = fx_peer_create(
            &(struct fx_peer){.leaf = &good, .chain = {&sub}, .version = versions[i]}, true);
        SSL_CTX *ctx = SSL_get_SSL_CTX(first);
        SSL_CTX_set_tlsext_status_cb(ctx, staple);
        SSL_CTX_set_tlsext_status_arg(ctx, &bytes);
        SSL *second = SSL_new(ctx);
        SSL_set_accept_state(second);
        SSL *ours = tls_session_create(profile, 0, peer_named(&named, "good.test"));
        fx_join(ours, first);
        fx_handshake(ours, first, &failure, NULL, &a, &b);
        assert_int_equal(a, FX_DONE);
        SSL_SESSION *session = SSL_get1_session(ours);
        SSL_set_shutdown(ours, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else it is spoilt */
        tls_session_destroy(&ours);
        OPENSSL_free(bytes.data);
        bytes.data = NULL;
        ours = tls_session_create(profile, 0, peer_named(&named, "good.test"));
        assert_int_equal(SSL_set_session(ours, session), 1);
        fx_join(ours, second);
        fx_handshake(ours, second, &failure, NULL, &a, &b);
        assert_int_equal(SSL_session_reused(ours), 1);
        assert_int_equal(a, FX_DONE);
        SSL_SESSION_free(session);
        tls_session_destroy(&ours);
        SSL_free(first);
        SSL_free(second);
    }
    tls_profile_destroy(&profile);
}

/* ---- a listener that staples ---- */

static void refuse_staples(const struct tls_texts *files, const char *words)
{
    struct error err;
    struct tls_settings settings = downstream();
    settings.ocsp_files = *files;
    error_init(&err);
    assert_null(tls_profile_create(&settings, &err));
    assert_has(err.text, "--listen-ocsp '");
    assert_has(err.text, files->items[files->count - 1]);
    assert_has(err.text, words);
}

static void refuse_staple(const struct response *r, const char *words)
{
    struct tls_texts one = one_text(write_response("bad.ocsp", r));
    refuse_staples(&one, words);
}

static void test_bad_staples(void **state)
{
    (void)state;
    refuse_staple(&(struct response){.from = -2 * FX_DAY, .until = -FX_DAY}, "it expired at 20");
    refuse_staple(&(struct response){.from = -2 * FX_DAY, .until = -60}, "just expired");
    refuse_staple(&(struct response){.from = 400, .until = FX_DAY}, "not valid before 20");
    refuse_staple(&(struct response){.status = V_OCSP_CERTSTATUS_REVOKED}, "revoked at 2026-01-02");
    refuse_staple(&(struct response){.status = V_OCSP_CERTSTATUS_UNKNOWN}, "does not know");
    refuse_staple(&(struct response){.subject = &stapling}, "none of the certificates in "
                                                            "--listen-cert");
    refuse_staple(&(struct response){.signer = &other_root}, "not signed");
    refuse_staple(&(struct response){.outer = OCSP_RESPONSE_STATUS_UNAUTHORIZED}, "unauthorized");
    struct tls_texts files = one_text(in_dir("good.pem"));
    refuse_staples(&files, "damaged");
    files = one_text(in_dir("not-there"));
    refuse_staples(&files, "No such file");
    const char *pair[] = {write_response("one.ocsp", &(struct response){.until = FX_DAY}),
                          write_response("two.ocsp", &(struct response){.until = 2 * FX_DAY})};
    files = (struct tls_texts){pair, 2};
    refuse_staples(&files, "a second response for 'CN=good'");
}

/* What a consumer gets that asks for a response; data NULL: none. */
static struct bytes ask(const struct tls_profile *profile, int version)
{
    enum fx_state a;
    enum fx_state b;
    struct tls_failure failure;
    const unsigned char *data = NULL;
    struct bytes got = {NULL, 0};
    SSL *ours = tls_session_create(profile, 0, NULL);
    SSL *theirs = fx_peer_create(&(struct fx_peer){.version = version}, false);
    SSL_set_tlsext_status_type(theirs, TLSEXT_STATUSTYPE_ocsp);
    fx_join(ours, theirs);
    fx_handshake(ours, theirs, &failure, NULL, &a, &b);
    assert_int_equal(a, FX_DONE);
    assert_int_equal(b, FX_DONE);
    long length = SSL_get_tlsext_status_ocsp_resp(theirs, &data);
    if (data != NULL) {
        got.data = OPENSSL_memdup(data, (size_t)length);
        got.length = (int)length;
    }
    tls_session_destroy(&ours);
    SSL_free(theirs);
    return got;
}

static void assert_served(const struct tls_settings *settings, const struct bytes *wanted)
{
    struct tls_profile *profile = profile_of(settings);
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct bytes got = ask(profile, versions[i]);
        assert_int_equal(got.length, wanted->length);
        assert_memory_equal(got.data, wanted->data, (size_t)wanted->length);
        OPENSSL_free(got.data);
    }
    tls_profile_destroy(&profile);
}

static void test_served(void **state)
{
    (void)state;
    struct tls_settings settings = downstream();
    struct bytes b = make_response(&(struct response){.signer = &responder, .also = &stapling});
    settings.ocsp_files = one_text(write_bytes("served.ocsp", &b));
    assert_served(&settings, &b);
    /* Without its issuer at hand nothing is known of the signature. */
    fx_write(in_dir("good-alone.pem"), "w", good.cert, NULL);
    settings.certs = one_text(in_dir("good-alone.pem"));
    assert_served(&settings, &b);
    OPENSSL_free(b.data);
    /* the serial number alone is not enough */
    struct fx_cert twin = fx_make(&(struct fx_spec){.cn = "twin", .issuer = &other_root});
    assert_int_equal(X509_set_serialNumber(twin.cert, X509_get_serialNumber(good.cert)), 1);
    b = make_response(&(struct response){.subject = &twin});
    fx_free(&twin);
    (void)write_bytes("served.ocsp", &b);
    struct error err;
    error_init(&err);
    assert_null(tls_profile_create(&settings, &err));
    assert_has(err.text, "none of the certificates");
    OPENSSL_free(b.data);
}

static void test_none_served_once_expired(void **state)
{
    (void)state;
    struct tls_settings settings = downstream();
    settings.ocsp_files =
        one_text(write_response("short.ocsp", &(struct response){.from = -60, .until = 3}));
    int64_t end = (int64_t)time(NULL) + 3;
    struct tls_profile *profile = profile_of(&settings);
    while ((int64_t)time(NULL) <= end)
        (void)usleep(100000);
    for (size_t i = 0; i < COUNT(versions); i++)
        assert_null(ask(profile, versions[i]).data);
    tls_profile_destroy(&profile);
}

static void add_must_staple(struct fx_cert *cert)
{
    fx_extension(cert->cert, sub.cert, NID_tlsfeature, "status_request");
    assert_true(X509_sign(cert->cert, sub.key, EVP_sha256()) > 0);
}

static int setup(void **state)
{
    (void)world_setup(state);
    stapling = fx_make(&(struct fx_spec){.cn = "stapling", .issuer = &sub, .san = "DNS:good.test"});
    add_must_staple(&stapling);
    responder = fx_make(&(struct fx_spec){.cn = "responder", .issuer = &sub, .eku = "OCSPSigning"});
    plain = fx_make(&(struct fx_spec){.cn = "plain", .issuer = &sub});
    root_responder =
        fx_make(&(struct fx_spec){.cn = "root responder", .issuer = &root, .eku = "OCSPSigning"});
    return 0;
}

static int teardown(void **state)
{
    fx_free(&stapling);
    fx_free(&responder);
    fx_free(&plain);
    fx_free(&root_responder);
    return world_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_unsuccessful),
        cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_out_of_time),
        cmocka_unit_test(test_of_another),
        cmocka_unit_test(test_signers),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_report_only),
        cmocka_unit_test(test_valid_until),
        cmocka_unit_test(test_without_issuer),
        cmocka_unit_test(test_issuer_sent),
        cmocka_unit_test(test_resumed),
        cmocka_unit_test(test_bad_staples),
        cmocka_unit_test(test_served),
        cmocka_unit_test(test_none_served_once_expired),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
