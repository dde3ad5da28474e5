/* Names that a certificate must bear. RFC 9525, RFC 3986, SPIFFE X509-SVID. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/names.h"
#include "tls_world.h"

struct match_row {
    const char *san;
    const char *name;
    bool fits;
};

static const struct match_row match_rows[] = {
    {"DNS:a.test", "a.test", true},
    {"DNS:a.test", "A.Test.", true},
    {"DNS:A.TEST", "a.test", true},
    {"DNS:a.test", "b.a.test", false},
    {"DNS:*.a.test", "b.a.test", true},
    {"DNS:*.a.test", "a.test", false},
    {"DNS:*.a.test", "c.b.a.test", false},
    {"DNS:b*.a.test", "bc.a.test", false},
    {"DNS:x_y.test", "x_y.test", true},
    {"URI:spiffe://a.test/x", "a.test", false},
    /* addresses */
    {"IP:192.0.2.1", "192.0.2.1", true},
    {"IP:192.0.2.1", "192.0.2.2", false},
    {"IP:2001:db8::1", "2001:DB8:0:0::1", true},
    {"IP:2001:db8::1", "2001:db8::1%eth0", true},
    {"IP:2001:db8::1", "2001:db8::2", false},
    {"DNS:192.0.2.1", "192.0.2.1", false},
    {"IP:192.0.2.1", "::ffff:192.0.2.1", false},
    /* URIs: scheme and host without case, the rest to the letter */
    {"URI:spiffe://td.test/ns/a", "spiffe://td.test/ns/a", true},
    {"URI:SPIFFE://TD.test/ns/a", "spiffe://td.TEST/ns/a", true},
    {"URI:spiffe://td.test/ns/a", "spiffe://td.test/NS/a", false},
    {"URI:spiffe://td.test/ns/a", "spiffe://td.test/ns/a/", false},
    {"URI:spiffe://td.test/ns/ab", "spiffe://td.test/ns/a", false},
    {"URI:spiffe://td.test/ns/a", "spiffe://td.test/ns/ab", false},
    {"URI:https://h.test?Q", "https://h.test?q", false},
    {"URI:https://H.test?Q", "https://h.test?Q", true},
    {"URI:https://H.test#F", "https://h.test#f", false},
    {"URI:https://User@H.test/", "https://User@h.test/", true},
    {"URI:https://User@h.test/", "https://user@h.test/", false},
    {"DNS:td.test", "spiffe://td.test/ns/a", false},
    {"URI:https://a.test/,URI:https://b.test/", "https://b.test/", true},
    {"URI:https://a.test/,DNS:b.test", "https://b.test/", false},
    /* an SVID has one URI: more make it none */
    {"URI:spiffe://td.test/a,URI:spiffe://td.test/b", "spiffe://td.test/a", false},
    {"URI:spiffe://td.test/a,URI:https://a.test/", "spiffe://td.test/a", false},
    {"URI:spiffe://td.test/a,DNS:a.test", "spiffe://td.test/a", true},
};

static bool fits(const struct fx_cert *leaf, const char *const *names, size_t count)
{
    struct tls_name list[4];
    struct tls_peer peer = {.names = list, .name_count = count};
    assert_in_range(count, 0, COUNT(list));
    for (size_t i = 0; i < count; i++)
        list[i] = name_of(names[i]);
    peer.server_name = name_of("sni.test"); /* never counts */
    return tls_names_match(leaf->cert, &peer);
}

static void one_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(match_rows); i++) {
        const struct match_row *row = &match_rows[i];
        struct fx_cert leaf =
            fx_make(&(struct fx_spec){.cn = row->name, .issuer = &root, .san = row->san});
        if (fits(&leaf, &row->name, 1) != row->fits)
            fail_msg("%s for %s", row->san, row->name);
        fx_free(&leaf);
    }
}

static void several_names(void **state)
{
    (void)state;
    struct fx_cert leaf = fx_make(&(struct fx_spec){
        .cn = "x", .issuer = &root, .san = "DNS:sni.test,IP:192.0.2.1,URI:spiffe://td.test/a"});
    assert_true(fits(&leaf, (const char *const[]){"no.test", "192.0.2.1"}, 2));
    assert_true(fits(&leaf, (const char *const[]){"spiffe://td.test/a", "no.test"}, 2));
    assert_false(
        fits(&leaf, (const char *const[]){"no.test", "192.0.2.2", "https://td.test/a"}, 3));
    assert_false(fits(&leaf, NULL, 0));
    fx_free(&leaf);
    struct fx_cert bare = fx_make(&(struct fx_spec){.cn = "a.test", .issuer = &root});
    assert_false(fits(&bare, (const char *const[]){"a.test"}, 1));
    fx_free(&bare);
}

/* What is behind a NUL in a name is not shown and must not be passed over. */
static void nul_in_a_uri(void **state)
{
    (void)state;
    struct fx_cert leaf = fx_make(&(struct fx_spec){.cn = "x", .issuer = &root});
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    assert_int_equal(ASN1_STRING_set(text, "https://a.test/\0b", 17), 1);
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    assert_true(sk_GENERAL_NAME_push(names, name) > 0);
    assert_int_equal(X509_add1_ext_i2d(leaf.cert, NID_subject_alt_name, names, 0, 0), 1);
    assert_true(X509_sign(leaf.cert, root.key, EVP_sha256()) > 0);
    assert_false(fits(&leaf, (const char *const[]){"https://a.test/"}, 1));
    GENERAL_NAMES_free(names);
    fx_free(&leaf);
}

static void texts(void **state)
{
    (void)state;
    struct tls_name list[] = {name_of("A.test"), name_of("::1"), name_of("spiffe://TD.test/A")};
    struct tls_peer peer = {.names = list, .name_count = 3};
    char text[128];
    tls_peer_text(text, sizeof text, &peer);
    assert_string_equal(text, "DNS:a.test or IP:::1 or URI:spiffe://td.test/A");
    tls_peer_names(text, sizeof text, &peer);
    assert_string_equal(text, "a.test or ::1 or spiffe://td.test/A");
    tls_peer_names(text, 8, &peer);
    assert_string_equal(text, "a.test ");
    assert_false(tls_peer_all(&peer, TLS_NAME_IP));
    peer.names = &list[1];
    peer.name_count = 1;
    assert_true(tls_peer_all(&peer, TLS_NAME_IP));
    peer.name_count = 0;
    assert_false(tls_peer_all(&peer, TLS_NAME_IP));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_name),
        cmocka_unit_test(several_names),
        cmocka_unit_test(nul_in_a_uri),
        cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
