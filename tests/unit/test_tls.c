/* Sessions: what is agreed, how their ends and failures are told, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_world.h"

#include <errno.h>
#include <pthread.h>

/* ---- good cases ---- */

static void good_handshakes(void **state)
{
    (void)state;
    static const struct {
        int version;
        const char *ciphers;
        const char *name;
        const char *text;
        const char *sni;
    } rows[] = {
        {TLS1_3_VERSION, NULL, "good.test", "TLSv1.3", "good.test"},
        {TLS1_2_VERSION, NULL, "good.test", "TLSv1.2", "good.test"},
        {0, NULL, "GOOD.test.", "TLSv1.3", "good.test"},
        {0, NULL, "a.wild.test", "TLSv1.3", "a.wild.test"},
        {0, NULL, "192.0.2.1", "TLSv1.3", ""}, /* no SNI for an address */
        {TLS1_2_VERSION, NULL, "::1", "TLSv1.2", ""},
        {TLS1_2_VERSION, NULL, "0:0::1", "TLSv1.2", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tls_settings s = upstream();
        const struct fx_peer peer = {
            .leaf = &good, .chain = {&sub}, .version = rows[i].version, .ciphers = rows[i].ciphers};
        struct outcome o = meet(&s, rows[i].name, &peer);
        if (o.ours != FX_DONE)
            fail_msg("%s: %s: %s", rows[i].name, o.failure.reason, o.failure.names);
        assert_int_equal(o.theirs, FX_DONE);
        assert_string_equal(o.info.version, rows[i].text);
        assert_has(o.info.group, "X25519"); /* OpenSSL 3.5: X25519MLKEM768 */
        assert_true(o.info.cipher[0] != '\0');
        assert_false(o.info.resumed);
        assert_string_equal(o.sni, rows[i].sni);
    }
}

/* ---- alerts and protocol errors ---- */

static void assert_alert(const struct outcome *o, int alert, bool credential, const char *remedy)
{
    if (o->ours != FX_FAILED || o->failure.fault != TLS_FAULT_ALERT || o->failure.alert != alert)
        fail_msg("state %d, fault %d, alert %d: %s", (int)o->ours, (int)o->failure.fault,
                 o->failure.alert, o->failure.reason);
    char number[16];
    (void)snprintf(number, sizeof number, "alert %d", alert);
    assert_has(o->failure.reason, number);
    assert_int_equal(o->failure.verify_error, 0);
    assert_int_equal(o->failure.depth, -1);
    assert_int_equal(o->failure.credential_alert, credential);
    assert_has(o->failure.remedy, remedy);
}

static void client_certificates_upstream(void **state)
{
    (void)state;
    struct fx_peer peer = {.leaf = &good, .chain = {&sub}, .ca = &root, .version = TLS1_3_VERSION};
    struct tls_settings s = upstream();
    struct outcome o = meet(&s, "good.test", &peer);
    assert_alert(&o, SSL_AD_CERTIFICATE_REQUIRED, true, "give --cert and --key");
    peer.version = TLS1_2_VERSION;
    o = meet(&s, "good.test", &peer);
    assert_alert(&o, SSL_AD_HANDSHAKE_FAILURE, true, "give --cert and --key");

    s.certs = one_text(in_dir("client.pem"));
    assert_int_equal(meet(&s, "good.test", &peer).ours, FX_DONE);
    s.certs = one_text(in_dir("other-client.pem"));
    o = meet(&s, "good.test", &peer);
    assert_alert(&o, SSL_AD_UNKNOWN_CA, true, "does not accept our client certificate");
    peer.version = TLS1_3_VERSION;
    o = meet(&s, "good.test", &peer);
    assert_alert(&o, SSL_AD_UNKNOWN_CA, true, "--cert");
    s.certs = one_text(in_dir("client.pem"));
    o = meet(&s, "good.test", &peer);
    assert_int_equal(o.ours, FX_DONE);
    assert_int_equal(o.theirs, FX_DONE);
}

static void versions_and_names(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    struct fx_peer peer = {.leaf = &good, .chain = {&sub}, .version = TLS1_3_VERSION};
    s.max = TLS_1_2;
    struct outcome o = meet(&s, "good.test", &peer);
    assert_alert(&o, SSL_AD_PROTOCOL_VERSION, false, "--tls-min and --tls-max");
    s.max = TLS_NEWEST;
    peer.version = TLS1_1_VERSION;
    o = meet(&s, "good.test", &peer);
    assert_int_equal(o.ours, FX_FAILED); /* TLS 1.1 is never spoken */
    assert_has(o.failure.remedy, "--tls-min");
    s.min = TLS_1_3;
    peer.version = TLS1_2_VERSION;
    o = meet(&s, "good.test", &peer);
    assert_int_equal(o.ours, FX_FAILED);
    assert_has(o.failure.remedy, "--tls-min");
    s.min = TLS_NEWEST;
    peer.sni_wanted = "good2.test";
    o = meet(&s, "good.test", &peer);
    assert_alert(&o, SSL_AD_UNRECOGNIZED_NAME, false, "'good.test'");
    assert_has(o.failure.remedy, "--server-name");
    assert_string_equal(o.failure.expected, "good.test");
    peer.sni_wanted = NULL;
    peer.ciphers = "AES128-SHA256"; /* RSA key exchange: not with an EC key */
    o = meet(&s, "good.test", &peer);
    assert_alert(&o, SSL_AD_HANDSHAKE_FAILURE, false, "--tls-min"); /* was not asked for one */
}

/* Feeds bytes to our side as the first that come. */
static struct tls_failure feed(const struct tls_settings *settings, const char *bytes,
                               size_t length)
{
    struct tls_failure f;
    struct named_peer named;
    const struct tls_peer *peer = peer_named(&named, "good.test");
    struct tls_profile *profile = profile_of(settings);
    SSL *ssl = tls_session_create(profile, 0, settings->role == TLS_UPSTREAM ? peer : NULL);
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, 0);
    if (length > 0)
        assert_int_equal(BIO_write(in, bytes, (int)length), (int)length);
    SSL_set_bio(ssl, in, out);
    int result = SSL_do_handshake(ssl);
    assert_true(result <= 0);
    int error = SSL_get_error(ssl, result);
    assert_true(error == SSL_ERROR_SSL || error == SSL_ERROR_SYSCALL);
    tls_failure_collect(&f, ssl, error, 0);
    tls_session_destroy(&ssl);
    tls_profile_destroy(&profile);
    return f;
}

static void not_tls(void **state)
{
    (void)state;
    static const char banner[] = "220 mail.example ESMTP ready\r\n";
    static const char get[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    static const char redis[] = "*1\r\n$4\r\nPING\r\n";
    struct tls_settings up = upstream();
    struct tls_settings down = downstream();
    struct tls_failure f = feed(&up, banner, sizeof banner - 1);
    assert_int_equal(f.fault, TLS_FAULT_PROTOCOL);
    assert_int_equal(f.alert, -1); /* the one that we sent is not the peer's */
    assert_has(f.reason, "wrong version number");
    assert_has(f.remedy, "does not speak TLS");
    f = feed(&down, get, sizeof get - 1);
    assert_int_equal(f.fault, TLS_FAULT_PROTOCOL);
    assert_has(f.reason, "http request");
    assert_has(f.remedy, "consumer speaks plaintext");
    f = feed(&down, redis, sizeof redis - 1);
    assert_int_equal(f.fault, TLS_FAULT_PROTOCOL);
    assert_has(f.remedy, "consumer does not speak TLS");
    f = feed(&up, NULL, 0);
    assert_int_equal(f.fault, TLS_FAULT_TRUNCATED);
    assert_has(f.reason, "during the TLS handshake");
    assert_has(f.remedy, "--connect");
}

/* A stream of ours after a good handshake, and how its end is told. */
static void ends_of_streams(void **state)
{
    (void)state;
    for (int cut = 0; cut < 2; cut++) {
        struct tls_settings s = upstream();
        struct tls_profile *profile = profile_of(&s);
        struct named_peer named;
        const struct fx_peer peer = {.leaf = &good, .chain = {&sub}};
        SSL *ours = tls_session_create(profile, 0, peer_named(&named, "good.test"));
        SSL *theirs = fx_peer_create(&peer, true);
        enum fx_state a;
        enum fx_state b;
        char byte;
        fx_join(ours, theirs);
        fx_handshake(ours, theirs, NULL, NULL, &a, &b);
        assert_int_equal(a, FX_DONE);
        if (cut == 0)
            assert_int_equal(SSL_shutdown(theirs), 0);
        assert_int_equal(BIO_shutdown_wr(SSL_get_wbio(theirs)), 1);
        ERR_clear_error();
        int result = SSL_read(ours, &byte, 1);
        int error = SSL_get_error(ours, result);
        assert_true(result <= 0);
        if (cut == 0) {
            assert_int_equal(error, SSL_ERROR_ZERO_RETURN);
        } else {
            struct tls_failure f;
            tls_failure_collect(&f, ours, error, 0);
            assert_int_equal(f.fault, TLS_FAULT_TRUNCATED);
            assert_has(f.reason, "unexpected eof");
            assert_string_equal(f.remedy, "");
        }
        tls_session_destroy(&ours);
        SSL_free(theirs);
        tls_profile_destroy(&profile);
    }
}

static void system_failures(void **state)
{
    (void)state;
    struct tls_settings s = downstream();
    struct tls_profile *profile = profile_of(&s);
    SSL *ssl = tls_session_create(profile, 0, NULL);
    struct tls_failure f;
    ERR_clear_error();
    tls_failure_collect(&f, ssl, SSL_ERROR_SYSCALL, ECONNRESET);
    assert_int_equal(f.fault, TLS_FAULT_SYSTEM);
    assert_int_equal(f.sys_errno, ECONNRESET);
    assert_has(f.reason, "reset by peer");
    assert_int_equal(f.alert, -1);
    assert_int_equal(f.depth, -1);
    tls_failure_collect(&f, ssl, SSL_ERROR_SYSCALL, 0);
    assert_int_equal(f.fault, TLS_FAULT_TRUNCATED);
    assert_int_equal(f.sys_errno, 0);
    tls_failure_collect(&f, ssl, SSL_ERROR_SSL, 0);
    assert_int_equal(f.fault, TLS_FAULT_INTERNAL);
    ERR_raise(ERR_LIB_SSL, ERR_R_MALLOC_FAILURE);
    tls_failure_collect(&f, ssl, SSL_ERROR_SSL, 0);
    assert_int_equal(f.fault, TLS_FAULT_INTERNAL);
    ERR_raise(ERR_LIB_SYS, EPIPE);
    tls_failure_collect(&f, ssl, SSL_ERROR_SYSCALL, 0);
    assert_int_equal(f.fault, TLS_FAULT_SYSTEM);
    assert_int_equal(f.sys_errno, EPIPE);
    ERR_raise(ERR_LIB_SSL, SSL_AD_REASON_OFFSET + 200); /* an alert nobody knows */
    tls_failure_collect(&f, ssl, SSL_ERROR_SSL, 0);
    assert_int_equal(f.fault, TLS_FAULT_ALERT);
    assert_int_equal(f.alert, 200);
    assert_has(f.reason, "alert 200");
    assert_int_equal(ERR_peek_error(), 0);
    tls_session_destroy(&ssl);
    tls_profile_destroy(&profile);
}

/* ---- the gateway as server ---- */

static void consumers(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct tls_settings s = downstream();
        struct fx_peer peer = {.version = versions[i]};
        assert_int_equal(meet(&s, NULL, &peer).ours, FX_DONE); /* none is asked for */

        s.ca_file = in_dir("ca.pem");
        struct outcome o = meet(&s, NULL, &peer);
        assert_int_equal(o.ours, FX_FAILED);
        assert_int_equal(o.failure.fault, TLS_FAULT_VERIFY);
        assert_int_equal(o.failure.depth, -1);
        assert_has(o.failure.reason, "did not return a certificate");
        assert_has(o.failure.remedy, "--listen-ca");

        peer.leaf = &client;
        o = meet(&s, NULL, &peer);
        assert_int_equal(o.ours, FX_DONE);
        assert_int_equal(o.theirs, FX_DONE);
        peer.leaf = &other_client;
        o = meet(&s, NULL, &peer);
        assert_int_equal(o.failure.fault, TLS_FAULT_VERIFY);
        assert_int_equal(o.failure.verify_error, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
        assert_string_equal(o.failure.subject, "CN=other client");
        assert_has(o.failure.remedy, "the consumer sent only its own certificate");
        assert_has(o.failure.remedy, "--listen-ca");

        struct fx_cert server = fx_make(&(struct fx_spec){
            .cn = "server", .issuer = &root, .eku = "serverAuth"}); /* sslclient is the purpose */
        peer.leaf = &server;
        o = meet(&s, NULL, &peer);
        assert_int_equal(o.failure.verify_error, X509_V_ERR_INVALID_PURPOSE);
        assert_has(o.failure.remedy, "clientAuth");
        fx_free(&server);

        s.ca_file = NULL;
        peer = (struct fx_peer){.version = versions[i], .ca = &other_root};
        o = meet(&s, NULL, &peer); /* the consumer does not trust us */
        assert_alert(&o, SSL_AD_UNKNOWN_CA, true, "--listen-cert");
    }
}

/* Both ends are ours, the names of CAs are sent, and a ticket is good on every worker. */
static void between_profiles(void **state)
{
    (void)state;
    struct tls_settings up = upstream();
    struct tls_settings down = downstream();
    up.certs = one_text(in_dir("client.pem"));
    up.max = TLS_1_2; /* its ticket comes within the handshake */
    down.ca_file = in_dir("ca.pem");
    down.workers = 2;
    struct tls_profile *us = profile_of(&up);
    struct tls_profile *them = profile_of(&down);
    struct named_peer named;
    const struct tls_peer *peer = peer_named(&named, "good.test");
    SSL_SESSION *session = NULL;
    for (unsigned worker = 0; worker < 2; worker++) {
        enum fx_state a;
        enum fx_state b;
        struct tls_failure f_a;
        struct tls_failure f_b;
        struct tls_info info;
        SSL *one = tls_session_create(us, 0, peer);
        SSL *two = tls_session_create(them, worker, NULL);
        if (session != NULL)
            assert_int_equal(SSL_set_session(one, session), 1);
        fx_join(one, two);
        fx_handshake(one, two, &f_a, &f_b, &a, &b);
        assert_int_equal(a, FX_DONE);
        assert_int_equal(b, FX_DONE);
        tls_session_info(two, &info);
        assert_int_equal(info.resumed, worker == 1);
        if (worker == 0)
            assert_int_equal(sk_X509_NAME_num(SSL_get_client_CA_list(one)), 1);
        SSL_SESSION_free(session);
        session = SSL_get1_session(one);
        assert_int_equal(SSL_get_options(two) & SSL_OP_IGNORE_UNEXPECTED_EOF, 0);
        assert_true((SSL_get_options(two) & SSL_OP_NO_RENEGOTIATION) != 0);
        assert_int_equal(SSL_get_security_level(one), 2);
        SSL_set_shutdown(one, SSL_SENT_SHUTDOWN); /* or OpenSSL would not resume the session */
        tls_session_destroy(&one);
        tls_session_destroy(&two);
    }
    SSL_SESSION_free(session);
    assert_null(tls_session_create(us, 0, NULL)); /* never without a name */
    assert_null(tls_session_create(us, 1, peer));
    tls_profile_destroy(&us);
    tls_profile_destroy(&them);
    tls_profile_destroy(&us); /* nothing for NULL */
}

struct crew {
    const struct tls_profile *up, *down;
    unsigned worker;
    int failed;
};

static void *work(void *argument)
{
    struct crew *crew = argument;
    struct named_peer good_one;
    struct named_peer bad_one;
    (void)peer_named(&good_one, "good.test");
    (void)peer_named(&bad_one, "no.test");
    for (int i = 0; i < 20; i++) {
        enum fx_state a;
        enum fx_state b;
        struct tls_failure f_a = {0};
        struct tls_failure f_b = {0};
        SSL *one =
            tls_session_create(crew->up, crew->worker, i % 2 ? &bad_one.peer : &good_one.peer);
        SSL *two = tls_session_create(crew->down, crew->worker, NULL);
        fx_join(one, two);
        fx_handshake(one, two, &f_a, &f_b, &a, &b);
        bool expected =
            i % 2 ? f_a.verify_error == X509_V_ERR_HOSTNAME_MISMATCH && f_b.fault == TLS_FAULT_ALERT
                  : a == FX_DONE && b == FX_DONE;
        crew->failed += !expected;
        tls_session_destroy(&one);
        tls_session_destroy(&two);
    }
    return NULL;
}

static void workers_at_once(void **state)
{
    (void)state;
    struct tls_settings up = upstream();
    struct tls_settings down = downstream();
    up.workers = down.workers = 4;
    struct tls_profile *us = profile_of(&up);
    struct tls_profile *them = profile_of(&down);
    struct crew crews[4];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        crews[i] = (struct crew){us, them, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &crews[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(crews[i].failed, 0);
    }
    tls_profile_destroy(&us);
    tls_profile_destroy(&them);
}

/* ---- names ---- */

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *text, *set; /* NULL: refused */
        enum tls_name_kind kind;
    } rows[] = {
        {"Example.COM", "example.com", TLS_NAME_DNS},
        {"example.com.", "example.com", TLS_NAME_DNS},
        {"localhost", "localhost", TLS_NAME_DNS},
        {"a_b.c-d.e1", "a_b.c-d.e1", TLS_NAME_DNS},
        {"1.example", "1.example", TLS_NAME_DNS},
        {"192.0.2.1", "192.0.2.1", TLS_NAME_IP},
        {"2001:DB8:0::1", "2001:db8::1", TLS_NAME_IP},
        {"fe80::1%eth0", "fe80::1", TLS_NAME_IP},
        {"", NULL, TLS_NAME_DNS},
        {".", NULL, TLS_NAME_DNS},
        {".example.com", NULL, TLS_NAME_DNS},
        {"a..b", NULL, TLS_NAME_DNS},
        {"a.b..", NULL, TLS_NAME_DNS},
        {"*.example.com", NULL, TLS_NAME_DNS},
        {"a b", NULL, TLS_NAME_DNS},
        {"a/b", NULL, TLS_NAME_DNS},
        {"a\nb", NULL, TLS_NAME_DNS},
        {"[::1]", NULL, TLS_NAME_DNS},
        {"::1::2", NULL, TLS_NAME_DNS},
        {"host:443", NULL, TLS_NAME_DNS},
        {"192.0.2.256", NULL, TLS_NAME_DNS},
        {"127.1", NULL, TLS_NAME_DNS},
        {"b\xc3\xbc"
         "cher.example",
         NULL, TLS_NAME_DNS},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tls_name name;
        struct error err;
        error_init(&err);
        bool set = tls_name_set(&name, rows[i].text, &err);
        if (set != (rows[i].set != NULL))
            fail_msg("'%s': %s", rows[i].text, set ? "was taken" : err.text);
        assert_int_equal(err.set, !set);
        if (set) {
            assert_string_equal(name.text, rows[i].set);
            assert_int_equal(name.kind, rows[i].kind);
        }
    }
}

static void long_names(void **state)
{
    (void)state;
    struct tls_name name;
    char text[400];
    static const struct {
        size_t length, label;
        bool taken;
    } rows[] = {{253, 63, true},  {254, 63, false}, {256, 63, false},
                {399, 63, false}, {63, 99, true},   {64, 99, false}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t c = 0; c < rows[i].length; c++)
            text[c] = (c + 1) % (rows[i].label + 1) == 0 ? '.' : 'a';
        text[rows[i].length] = '\0';
        if (text[rows[i].length - 1] == '.')
            text[rows[i].length - 1] = 'a';
        assert_int_equal(tls_name_set(&name, text, NULL), rows[i].taken);
    }
}

static void library_version(void **state)
{
    (void)state;
    assert_has(tls_library_version(), "OpenSSL 3.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_handshakes),    cmocka_unit_test(client_certificates_upstream),
        cmocka_unit_test(versions_and_names), cmocka_unit_test(not_tls),
        cmocka_unit_test(ends_of_streams),    cmocka_unit_test(system_failures),
        cmocka_unit_test(consumers),          cmocka_unit_test(between_profiles),
        cmocka_unit_test(workers_at_once),    cmocka_unit_test(names),
        cmocka_unit_test(long_names),         cmocka_unit_test(library_version),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
