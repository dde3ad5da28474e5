/* Certificates that must be refused: why, and what the remedy says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_world.h"

#include <openssl/x509_vfy.h>

/* ---- certificates that must be refused ---- */

struct bad_row {
    const char *what;
    struct fx_spec leaf;
    bool send_sub;
    bool sub_issues; /* else the root does */
    const char *name;
    int verify_error;
    int depth;
    const char *names, *subject, *issuer, *expected;
    const char *remedy[3];
};

static const struct bad_row bad_rows[] = {
    {"wrong name",
     {.cn = "x", .san = "DNS:a.test,DNS:b.test,URI:spiffe://x/y,email:me@x.test"},
     .name = "c.test",
     .verify_error = X509_V_ERR_HOSTNAME_MISMATCH,
     .names = "DNS:a.test, DNS:b.test, URI:spiffe://x/y, email:me@x.test",
     .subject = "CN=x",
     .issuer = "CN=Root",
     .expected = "c.test",
     .remedy = {"DNS:a.test, DNS:b.test", "--server-name"}},
    {"names of a peer are escaped",
     {.cn = "a\"b\\c\nd", .org = "Foo, Inc.", .san = "DNS:a.test"},
     .name = "c.test",
     .verify_error = X509_V_ERR_HOSTNAME_MISMATCH,
     .subject = "O='Foo, Inc.'",
     .expected = "c.test"},
    {"one wildcard stands for one label",
     {.cn = "x", .san = "DNS:*.w.test"},
     .name = "a.b.w.test",
     .verify_error = X509_V_ERR_HOSTNAME_MISMATCH,
     .names = "DNS:*.w.test",
     .expected = "a.b.w.test",
     .remedy = {"wildcard", "one label", "--server-name"}},
    {"a wildcard does not stand for nothing",
     {.cn = "x", .san = "DNS:*.w.test"},
     .name = "w.test",
     .verify_error = X509_V_ERR_HOSTNAME_MISMATCH,
     .expected = "w.test"},
    {"partial wildcard",
     {.cn = "x", .san = "DNS:a*.w.test"},
     .name = "ab.w.test",
     .verify_error = X509_V_ERR_HOSTNAME_MISMATCH,
     .expected = "ab.w.test"},
    {"common name only",
     {.cn = "c.test"},
     .name = "c.test",
     .verify_error = X509_V_ERR_HOSTNAME_MISMATCH,
     .names = "",
     .expected = "c.test",
     .remedy = {"CN", "subjectAltName", "DNS:c.test"}},
    {"no name at all",
     {.org = "o"},
     .name = "192.0.2.9",
     .verify_error = X509_V_ERR_IP_ADDRESS_MISMATCH,
     .names = "",
     .expected = "192.0.2.9",
     .remedy = {"no name", "subjectAltName", "IP:192.0.2.9"}},
    {"wrong address",
     {.cn = "x", .san = "IP:192.0.2.1,IP:2001:db8::1"},
     .name = "192.0.2.2",
     .verify_error = X509_V_ERR_IP_ADDRESS_MISMATCH,
     .names = "IP:192.0.2.1, IP:2001:db8::1",
     .expected = "192.0.2.2",
     .remedy = {"IP:192.0.2.1, IP:2001:db8::1", "--server-name"}},
    {"an address as dNSName does not count",
     {.cn = "192.0.2.2", .san = "DNS:192.0.2.2"},
     .name = "192.0.2.2",
     .verify_error = X509_V_ERR_IP_ADDRESS_MISMATCH,
     .expected = "192.0.2.2",
     .remedy = {"no IP address", "--server-name"}},
    {"expired",
     {.cn = "x", .san = "DNS:c.test", .from = -9 * FX_DAY, .until = -FX_DAY},
     .name = "c.test",
     .verify_error = X509_V_ERR_CERT_HAS_EXPIRED,
     .subject = "CN=x",
     .remedy = {"expired at 20", " UTC", "renew"}},
    {"not yet valid",
     {.cn = "x", .san = "DNS:c.test", .from = FX_DAY, .until = 9 * FX_DAY},
     .name = "c.test",
     .verify_error = X509_V_ERR_CERT_NOT_YET_VALID,
     .remedy = {"not valid before 20", "check this machine's clock"}},
    {"wrong extended key usage",
     {.cn = "x", .san = "DNS:c.test", .eku = "clientAuth"},
     .name = "c.test",
     .verify_error = X509_V_ERR_INVALID_PURPOSE,
     .remedy = {"extended key usage serverAuth"}},
    {"missing intermediate",
     {.cn = "x", .san = "DNS:c.test"},
     .sub_issues = true,
     .name = "c.test",
     .verify_error = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
     .names = "DNS:c.test",
     .subject = "CN=x",
     .issuer = "CN=Sub",
     .remedy = {"only its own certificate", "'CN=Sub' is not in --ca",
                "have the upstream send its intermediate certificate"}},
    {"RSA of 1024 bits",
     {.cn = "x", .san = "DNS:c.test", .rsa_bits = 1024},
     .name = "c.test",
     .verify_error = X509_V_ERR_EE_KEY_TOO_SMALL,
     .remedy = {"too small", "2048"}},
};

static void assert_refused(const struct bad_row *row, const struct outcome *o)
{
    const struct tls_failure *f = &o->failure;
    if (o->ours != FX_FAILED || f->fault != TLS_FAULT_VERIFY ||
        f->verify_error != row->verify_error || f->depth != row->depth)
        fail_msg("%s: state %d, fault %d, error %d at depth %d: %s", row->what, (int)o->ours,
                 (int)f->fault, f->verify_error, f->depth, f->reason);
    assert_int_equal(f->alert, -1);
    assert_false(f->credential_alert);
    assert_string_equal(f->reason, X509_verify_cert_error_string(row->verify_error));
    if (row->names != NULL)
        assert_string_equal(f->names, row->names);
    if (row->subject != NULL)
        assert_has(f->subject, row->subject);
    if (row->issuer != NULL)
        assert_string_equal(f->issuer, row->issuer);
    assert_string_equal(f->expected, row->expected != NULL ? row->expected : "");
    assert_true(f->remedy[0] != '\0');
    for (size_t i = 0; i < COUNT(row->remedy) && row->remedy[i] != NULL; i++)
        assert_has(f->remedy, row->remedy[i]);
    for (const char *c = f->subject; *c != '\0'; c++)
        assert_true(*c >= ' ' && *c < 0x7f && *c != '"');
    assert_null(strchr(f->remedy, '{'));
}

static void bad_certificates(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < COUNT(bad_rows); i++) {
        struct fx_spec spec = bad_rows[i].leaf;
        spec.issuer = bad_rows[i].sub_issues ? &sub : &root;
        struct fx_cert leaf = fx_make(&spec);
        for (size_t v = 0; v < COUNT(versions); v++) {
            /* TLS 1.3 has no signature scheme for so short an RSA key. */
            if (spec.rsa_bits != 0 && versions[v] == TLS1_3_VERSION)
                continue;
            const struct fx_peer peer = {.leaf = &leaf, .version = versions[v]};
            struct tls_settings s = upstream();
            struct outcome o = meet(&s, bad_rows[i].name, &peer);
            assert_refused(&bad_rows[i], &o);
        }
        fx_free(&leaf);
    }
}

/* Chains that need more than one certificate made for them. */
static void refuse_chain(const struct bad_row *row, const char *ca, const struct fx_cert *leaf,
                         const struct fx_cert *first, const struct fx_cert *second)
{
    struct tls_settings s = upstream();
    const struct fx_peer peer = {.leaf = leaf, .chain = {first, second}};
    s.ca_file = ca;
    struct outcome o = meet(&s, row->name, &peer);
    assert_refused(row, &o);
}

static void unknown_authorities(void **state)
{
    (void)state;
    refuse_chain(&(struct bad_row){.what = "unknown root, not sent",
                                   .name = "good.test",
                                   .verify_error = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
                                   .depth = 1,
                                   .subject = "CN=Sub",
                                   .issuer = "CN=Root",
                                   .remedy = {"'CN=Root'", "not in --ca", "add it to --ca"}},
                 in_dir("other.pem"), &good, &sub, NULL);
    refuse_chain(&(struct bad_row){.what = "unknown root, sent",
                                   .name = "good.test",
                                   .verify_error = X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
                                   .depth = 2,
                                   .subject = "CN=Root",
                                   .remedy = {"'CN=Root'", "not in --ca", "add it to --ca"}},
                 in_dir("other.pem"), &good, &sub, &root);
    refuse_chain(&(struct bad_row){.what = "wrong intermediate",
                                   .name = "good.test",
                                   .verify_error = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
                                   .issuer = "CN=Sub",
                                   .remedy = {"sent 2 certificates", "'CN=Sub'", "to --ca"}},
                 in_dir("ca.pem"), &good, &other_root, NULL);
    struct fx_cert self = fx_make(&(struct fx_spec){.cn = "self", .san = "DNS:c.test"});
    refuse_chain(&(struct bad_row){.what = "self-signed",
                                   .name = "c.test",
                                   .verify_error = X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
                                   .subject = "CN=self",
                                   .remedy = {"self-signed", "--ca"}},
                 in_dir("ca.pem"), &self, NULL, NULL);
    fx_free(&self);
}

static void bad_authorities(void **state)
{
    (void)state;
    struct fx_cert no_ca = fx_make(&(struct fx_spec){.cn = "No CA", .issuer = &root});
    struct fx_cert leaf =
        fx_make(&(struct fx_spec){.cn = "x", .issuer = &no_ca, .san = "DNS:c.test"});
    refuse_chain(&(struct bad_row){.what = "issuer is no CA",
                                   .name = "c.test",
                                   .verify_error = X509_V_ERR_INVALID_CA,
                                   .depth = 1,
                                   .subject = "CN=No CA",
                                   .remedy = {"'CN=No CA'", "is no CA"}},
                 in_dir("ca.pem"), &leaf, &no_ca, NULL);
    fx_free(&leaf);
    fx_free(&no_ca);

    struct fx_cert bound = fx_make(&(struct fx_spec){
        .cn = "Bound", .issuer = &root, .ca = true, .constraints = "permitted;DNS:in.test"});
    leaf = fx_make(&(struct fx_spec){.cn = "x", .issuer = &bound, .san = "DNS:c.test"});
    refuse_chain(&(struct bad_row){.what = "name constraints",
                                   .name = "c.test",
                                   .verify_error = X509_V_ERR_PERMITTED_VIOLATION,
                                   .subject = "CN=x",
                                   .issuer = "CN=Bound",
                                   .remedy = {"DNS:c.test", "name constraints", "'CN=Bound'"}},
                 in_dir("ca.pem"), &leaf, &bound, NULL);
    fx_free(&leaf);
    fx_free(&bound);

    struct fx_cert old = fx_make(&(struct fx_spec){
        .cn = "Old", .issuer = &root, .ca = true, .from = -9 * FX_DAY, .until = -FX_DAY});
    leaf = fx_make(&(struct fx_spec){.cn = "x", .issuer = &old, .san = "DNS:c.test"});
    refuse_chain(&(struct bad_row){.what = "expired intermediate",
                                   .name = "c.test",
                                   .verify_error = X509_V_ERR_CERT_HAS_EXPIRED,
                                   .depth = 1,
                                   .subject = "CN=Old",
                                   .names = "DNS:c.test",
                                   .remedy = {"CA certificate 'CN=Old'", "expired at"}},
                 in_dir("ca.pem"), &leaf, &old, NULL);
    fx_free(&leaf);
    fx_free(&old);
}

/* The system's store is used when no other is given; it is named in the remedy. */
static void system_store(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    const struct fx_peer peer = {.leaf = &good, .chain = {&sub}};
    s.ca_file = NULL;
    assert_int_equal(setenv("SSL_CERT_DIR", in_dir("none"), 1), 0);
    assert_int_equal(setenv("SSL_CERT_FILE", in_dir("other.pem"), 1), 0);
    struct outcome o = meet(&s, "good.test", &peer);
    assert_int_equal(o.failure.verify_error, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    assert_has(o.failure.remedy, "not in the system store");
    assert_has(o.failure.remedy, "with --ca");
    assert_int_equal(setenv("SSL_CERT_FILE", in_dir("ca.pem"), 1), 0);
    assert_int_equal(meet(&s, "good.test", &peer).ours, FX_DONE);
    assert_int_equal(setenv("SSL_CERT_FILE", in_dir("none"), 1), 0);
    assert_int_equal(meet(&s, "good.test", &peer).ours, FX_FAILED); /* fails closed */
    unsetenv("SSL_CERT_DIR");
    unsetenv("SSL_CERT_FILE");
}

/* An intermediate or a leaf in the CA file is an anchor of its own. */
static void partial_chain(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    const struct fx_peer peer = {.leaf = &good};
    fx_write(in_dir("sub.pem"), "w", sub.cert, NULL);
    s.ca_file = in_dir("sub.pem");
    assert_int_equal(meet(&s, "good.test", &peer).ours, FX_DONE);
    fx_write(in_dir("leaf.pem"), "w", good.cert, NULL);
    s.ca_file = in_dir("leaf.pem");
    assert_int_equal(meet(&s, "good.test", &peer).ours, FX_DONE);
    struct outcome o = meet(&s, "bad.test", &peer); /* a pinned leaf must bear the name as well */
    assert_int_equal(o.failure.verify_error, X509_V_ERR_HOSTNAME_MISMATCH);
}

static void many_names_are_bounded(void **state)
{
    (void)state;
    char san[4096];
    size_t length = 0;
    san[0] = '\0';
    for (int i = 0; i < 100; i++)
        (void)str_append(san, sizeof san, &length, "%sDNS:name-%03d.test", i > 0 ? "," : "", i);
    struct fx_cert leaf = fx_make(&(struct fx_spec){.cn = "x", .issuer = &root, .san = san});
    const struct fx_peer peer = {.leaf = &leaf};
    struct tls_settings s = upstream();
    struct outcome o = meet(&s, "c.test", &peer);
    assert_has(o.failure.names, "DNS:name-000.test, DNS:name-001.test");
    assert_string_equal(o.failure.names + strlen(o.failure.names) - 10, ".test, ...");
    assert_has(o.failure.remedy, ", ...; connect to one of these or give it with --server-name");
    fx_free(&leaf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_certificates), cmocka_unit_test(unknown_authorities),
        cmocka_unit_test(bad_authorities),  cmocka_unit_test(system_store),
        cmocka_unit_test(partial_chain),    cmocka_unit_test(many_names_are_bounded),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
