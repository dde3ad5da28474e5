/* tls: who may connect: globs, names of certificates, pins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_world.h"

#include "tls/admit.h"
#include "tls/glob.h"
#include "tls/pins.h"

/* ---- globs ---- */

static bool globs(const char *glob, const char *text, size_t folded)
{
    return glob_match(glob, strlen(glob), text, strlen(text), folded);
}

static void test_globs(void **state)
{
    static const struct {
        const char *glob, *text;
        bool match;
    } rows[] = {
        {"", "", true},
        {"", "a", false},
        {"a", "", false},
        {"*", "", true},
        {"*", "anything", true},
        {"**", "x", true},
        {"a", "a", true},
        {"a", "b", false},
        {"a", "aa", false},
        {"a*", "a", true},
        {"a*", "abc", true},
        {"a*", "ba", false},
        {"*a", "a", true},
        {"*a", "ba", true},
        {"*a", "ab", false},
        {"a*c", "ac", true},
        {"a*c", "abbc", true},
        {"a*c", "abbcd", false},
        {"*b*", "abc", true},
        {"*b*", "ac", false},
        {"a*b*c", "a-b-b-c", true},
        {"a*b*c", "a-c-b", false},
        {"*ab", "aab", true},
        {"*aab*", "aaaab", true},
        {"x*x", "x", false},
        {"a?c", "abc", false},
        {"[a]", "a", false},
        {"a.c", "abc", false},
        {"\\*", "*", false},
        {"*.x", "*.x", true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (globs(rows[i].glob, rows[i].text, 0) != rows[i].match)
            fail_msg("'%s' against '%s'", rows[i].glob, rows[i].text);
}

static void test_glob_case(void **state)
{
    (void)state;
    assert_false(globs("ab*", "ABC", 0));
    assert_true(globs("ab*", "ABC", 3));
    assert_true(globs("AB*c", "abxc", 2));
    assert_true(globs("abC", "ABC", 2));
    assert_false(globs("abc", "ABC", 2));
    assert_false(globs("[", "{", 1)); /* only letters have a case */
    assert_false(globs("\xc3\x84", "\xc3\xa4", 2));
}

/* With backtracking over every star this would not end in our lifetime. */
static void test_glob_is_bounded(void **state)
{
    static char text[20000];
    (void)state;
    memset(text, 'a', sizeof text - 1);
    assert_false(globs("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text, 0));
}

/* ---- certificates ---- */

struct part {
    int nid, type;
    const char *bytes;
    int length;
};

#define TEXT(nid, text)                                                                            \
    {                                                                                              \
        nid, V_ASN1_UTF8STRING, text, (int)sizeof(text) - 1                                        \
    }

/* Not signed: nothing here verifies it. */
static X509 *leaf_of(const struct part *parts, size_t count, const char *san)
{
    X509 *leaf = X509_new();
    assert_non_null(leaf);
    for (size_t i = 0; i < count; i++) {
        /* With the type's number the bytes are taken as they are. */
        X509_NAME_ENTRY *entry =
            X509_NAME_ENTRY_create_by_NID(NULL, parts[i].nid, parts[i].type,
                                          (const unsigned char *)parts[i].bytes, parts[i].length);
        assert_non_null(entry);
        assert_int_equal(X509_NAME_add_entry(X509_get_subject_name(leaf), entry, -1, 0), 1);
        X509_NAME_ENTRY_free(entry);
    }
    fx_extension(leaf, leaf, NID_subject_alt_name, san);
    return leaf;
}

static void add_san(X509 *leaf, int kind, const char *bytes, int length)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    assert_non_null(names);
    assert_non_null(name);
    assert_int_equal(ASN1_STRING_set(value, bytes, length), 1);
    GENERAL_NAME_set0_value(name, kind, value);
    assert_true(sk_GENERAL_NAME_push(names, name) > 0);
    assert_int_equal(X509_add1_ext_i2d(leaf, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
}

static struct tls_settings rules(void)
{
    struct tls_settings s = downstream();
    s.ca_file = in_dir("ca.pem");
    return s;
}

static struct tls_admission *admission_of(const struct tls_settings *s)
{
    struct tls_admission *a = NULL;
    struct error err;
    error_init(&err);
    if (!tls_admission_create(&a, s, &err))
        fail_msg("%s", err.text);
    return a;
}

static bool admits(const struct tls_settings *s, X509 *leaf)
{
    struct tls_admission *a = admission_of(s);
    assert_non_null(a);
    bool admitted = tls_admitted(a, leaf);
    tls_admission_destroy(&a);
    assert_null(a);
    assert_int_equal(ERR_peek_error(), 0);
    return admitted;
}

enum kind { CN, OU, DNS, URI };

static bool kind_admits(enum kind kind, const char *glob, X509 *leaf)
{
    struct tls_settings s = rules();
    struct tls_texts *lists[] = {&s.allow_cn, &s.allow_ou, &s.allow_dns, &s.allow_uri};
    *lists[kind] = one_text(glob);
    return admits(&s, leaf);
}

static void test_subjects(void **state)
{
    const struct part parts[] = {
        TEXT(NID_commonName, "payments"),
        TEXT(NID_commonName, "second"),
        TEXT(NID_organizationalUnitName, "Ops"),
        TEXT(NID_organizationalUnitName, "B\xc3\xbcro"),
    };
    (void)state;
    X509 *leaf = leaf_of(parts, COUNT(parts), NULL);
    assert_true(kind_admits(CN, "payments", leaf));
    assert_true(kind_admits(CN, "pay*", leaf));
    assert_true(kind_admits(CN, "second", leaf));
    assert_false(kind_admits(CN, "Payments", leaf));
    assert_false(kind_admits(CN, "payment", leaf));
    assert_false(kind_admits(CN, "Ops", leaf));
    assert_true(kind_admits(OU, "Ops", leaf));
    assert_true(kind_admits(OU, "B\xc3\xbc*", leaf));
    assert_false(kind_admits(OU, "ops", leaf));
    assert_false(kind_admits(OU, "payments", leaf));
    assert_false(kind_admits(DNS, "payments", leaf)); /* a CN is no DNS name */
    X509_free(leaf);

    leaf = leaf_of(NULL, 0, NULL);
    assert_false(kind_admits(CN, "*", leaf)); /* it has none */
    assert_false(kind_admits(OU, "*", leaf));
    assert_false(kind_admits(DNS, "*", leaf));
    assert_false(kind_admits(URI, "*", leaf));
    X509_free(leaf);
}

static void test_tricks_with_subjects(void **state)
{
    const struct part tricks[] = {
        {NID_commonName, V_ASN1_UTF8STRING, "admin\0.evil", 11},
        {NID_commonName, V_ASN1_UTF8STRING, "admin\xff", 6},
        {NID_commonName, V_ASN1_UTF8STRING, "\xc0\x80", 2}, /* a zero, too long */
        {NID_commonName, V_ASN1_BMPSTRING, "\0a\0\0", 4},
        {NID_commonName, V_ASN1_UTF8STRING, "", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(tricks); i++) {
        X509 *leaf = leaf_of(&tricks[i], 1, NULL);
        if (kind_admits(CN, "admin", leaf) || kind_admits(CN, "admin*", leaf) ||
            kind_admits(CN, "*", leaf))
            fail_msg("trick %zu", i);
        X509_free(leaf);
    }
    /* The same text in other kinds of string. */
    const struct part wide = {NID_commonName, V_ASN1_BMPSTRING, "\0a\0\xfc", 4};
    X509 *leaf = leaf_of(&wide, 1, NULL);
    assert_true(kind_admits(CN, "a\xc3\xbc", leaf));
    X509_free(leaf);
    const struct part old = {NID_commonName, V_ASN1_T61STRING, "a\xfc", 2};
    leaf = leaf_of(&old, 1, NULL);
    assert_true(kind_admits(CN, "a\xc3\xbc", leaf));
    X509_free(leaf);
}

static void test_dns_names(void **state)
{
    (void)state;
    X509 *leaf = leaf_of(NULL, 0, "DNS:API.Example.org,DNS:*.wild.test,email:mail.test,URI:x:y");
    assert_true(kind_admits(DNS, "api.example.org", leaf));
    assert_true(kind_admits(DNS, "API.EXAMPLE.ORG.", leaf));
    assert_true(kind_admits(DNS, "*.example.org", leaf));
    assert_true(kind_admits(DNS, "a*.org", leaf)); /* dots are text */
    assert_false(kind_admits(DNS, "example.org", leaf));
    assert_false(kind_admits(DNS, "*.example.com", leaf));
    assert_false(kind_admits(DNS, "host.wild.test", leaf)); /* its wildcard is text */
    assert_true(kind_admits(DNS, "*.wild.test", leaf));
    assert_false(kind_admits(DNS, "mail.test", leaf));
    assert_false(kind_admits(CN, "api.example.org", leaf));
    X509_free(leaf);

    leaf = leaf_of(NULL, 0, "email:a@mail.test,IP:192.0.2.1");
    assert_false(kind_admits(DNS, "*", leaf));
    assert_false(kind_admits(URI, "*", leaf));
    X509_free(leaf);

    static const struct {
        const char *bytes;
        int length;
    } tricks[] = {{"good.test\0.evil", 15}, {"good.test\xe9", 10}, {"good.test ", 10}, {"", 0}};
    for (size_t i = 0; i < COUNT(tricks); i++) {
        leaf = leaf_of(NULL, 0, NULL);
        add_san(leaf, GEN_DNS, tricks[i].bytes, tricks[i].length);
        if (kind_admits(DNS, "good.test", leaf) || kind_admits(DNS, "*", leaf))
            fail_msg("trick %zu", i);
        X509_free(leaf);
    }
}

static void test_uris(void **state)
{
    static const struct {
        const char *glob, *uri;
        bool match;
    } rows[] = {
        {"spiffe://example.org/ns/a", "spiffe://example.org/ns/a", true},
        {"spiffe://example.org/ns/a", "SPIFFE://Example.ORG/ns/a", true},
        {"SPIFFE://Example.ORG/ns/a", "spiffe://example.org/ns/a", true},
        {"spiffe://example.org/ns/A", "spiffe://example.org/ns/a", false},
        {"spiffe://example.org/ns/*", "spiffe://example.org/ns/a/b", true},
        {"spiffe://example.org/ns/*", "spiffe://example.org/nt/a", false},
        {"spiffe://example.org/*/a", "spiffe://example.org/ns/b/a", true},
        {"spiffe://example.org/*", "spiffe://example.org.evil.test/x", false},
        {"spiffe://example.org/*", "spiffe://example.org", false},
        {"spiffe://*.example.org/x", "spiffe://a.b.Example.org/x", true},
        {"spiffe://*.example.org/x", "spiffe://evil.test/.example.org/x", false},
        {"spiffe://*/x", "spiffe://a/x", true},
        {"spiffe://*/x", "spiffe://a/y/x", false},
        {"spiffe://*/*", "spiffe://a/y/X", true},
        {"spiffe://*", "spiffe://a/y/X", true},
        {"spiffe://*X", "spiffe://a/y/X", true},
        {"spiffe://*x", "spiffe://a/y/X", false},
        {"spiffe://a?x/*", "spiffe://a/b?x/c", false},
        {"*", "urn:a:b", true},
        {"urn:Foo:*", "URN:Foo:b", true},
        {"urn:foo:*", "urn:Foo:b", false},
        {"urn:*", "urn:Foo:b", true},
        {"spiffe://e/x", "https://e/x", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        X509 *leaf = leaf_of(NULL, 0, NULL);
        add_san(leaf, GEN_URI, rows[i].uri, (int)strlen(rows[i].uri));
        if (kind_admits(URI, rows[i].glob, leaf) != rows[i].match)
            fail_msg("'%s' against '%s'", rows[i].glob, rows[i].uri);
        assert_false(kind_admits(DNS, "*", leaf));
        X509_free(leaf);
    }
    X509 *leaf = leaf_of(NULL, 0, NULL);
    add_san(leaf, GEN_URI, "spiffe://e/x\0y", 14);
    assert_false(kind_admits(URI, "spiffe://e/x", leaf));
    assert_false(kind_admits(URI, "*", leaf));
    X509_free(leaf);
}

/* One that is no SVID for its second URI: what else it bears still counts. */
static void test_one_spiffe_id_only(void **state)
{
    (void)state;
    X509 *leaf = leaf_of(NULL, 0, "DNS:a.test,URI:spiffe://a.test/x,URI:Spiffe://b.test/y");
    assert_false(kind_admits(URI, "spiffe://a.test/x", leaf));
    assert_false(kind_admits(URI, "spiffe://b.test/y", leaf));
    assert_false(kind_admits(URI, "*", leaf));
    assert_true(kind_admits(DNS, "a.test", leaf));
    X509_free(leaf);
    leaf = leaf_of(NULL, 0, "URI:urn:a:b,URI:spiffe://a.test/x");
    assert_false(kind_admits(URI, "spiffe://a.test/x", leaf));
    assert_true(kind_admits(URI, "urn:a:b", leaf));
    X509_free(leaf);
    leaf = leaf_of(NULL, 0, "DNS:a.test,URI:spiffe://a.test/x");
    assert_true(kind_admits(URI, "spiffe://a.test/x", leaf));
    X509_free(leaf);
}

static void test_pins_and_several(void **state)
{
    char pin[TLS_PIN_TEXT_SIZE];
    (void)state;
    tls_pin_text(pin, sizeof pin, client.cert);
    struct tls_settings s = rules();
    s.allow_pin = one_text(pin);
    assert_true(admits(&s, client.cert));
    assert_false(admits(&s, other_client.cert));
    /* One rule of any kind is enough. */
    s.allow_cn = one_text("other client");
    assert_true(admits(&s, client.cert));
    assert_true(admits(&s, other_client.cert));
    assert_false(admits(&s, good.cert));
    const char *two[] = {"nobody", "*.wild.test"};
    s.allow_dns = (struct tls_texts){two, 2};
    assert_true(admits(&s, good.cert));
}

/* ---- making ---- */

static void test_errors(void **state)
{
    static const struct {
        enum kind kind;
        const char *glob, *says;
    } rows[] = {
        {CN, "", "--listen-allow-cn: "},
        {OU, "", "--listen-allow-ou: "},
        {DNS, "https://x.test", "--listen-allow-dns 'https://x.test': "},
        {DNS, "b\xc3\xbcro.test", "xn--"},
        {URI, "example.org/*", "--listen-allow-uri 'example.org/*': "},
        {URI, "spiffe*", "spiffe://example.org/ns/*"},
        {URI, "sp*://x/y", "--listen-allow-uri"},
        {URI, "spiffe://x/a b", "visible"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tls_settings s = rules();
        struct tls_texts *lists[] = {&s.allow_cn, &s.allow_ou, &s.allow_dns, &s.allow_uri};
        struct tls_admission *a = NULL;
        struct error err;
        *lists[rows[i].kind] = one_text(rows[i].glob);
        error_init(&err);
        assert_false(tls_admission_create(&a, &s, &err));
        assert_null(a);
        assert_has(err.text, rows[i].says);
        assert_int_equal(strncmp(err.text, "--listen-allow-", 15), 0);
    }
    struct tls_settings s = rules();
    struct tls_admission *a = NULL;
    struct error err;
    s.allow_pin = one_text("sha1//x");
    error_init(&err);
    assert_false(tls_admission_create(&a, &s, &err));
    assert_has(err.text, "--listen-allow-pin");
    /* Rules, and nobody is asked. */
    s = downstream();
    s.allow_cn = one_text("x");
    error_init(&err);
    assert_false(tls_admission_create(&a, &s, &err));
    assert_has(err.text, "--listen-allow-cn: ");
    assert_has(err.text, "--listen-ca");
    s.words_of_file = true;
    error_init(&err);
    assert_false(tls_admission_create(&a, &s, &err));
    assert_has(err.text, "listen_allow_cn: ");
    /* Said so: what `defaults` has goes unused. */
    s.client_auth = TLS_CLIENT_NONE;
    assert_true(tls_admission_create(&a, &s, &err));
    assert_null(a);
    /* Asked for, and nothing to verify them by. */
    s = downstream();
    s.client_auth = TLS_CLIENT_OPTIONAL;
    error_init(&err);
    assert_null(tls_profile_create(&s, &err));
    assert_has(err.text, "--listen-client: ");
    assert_has(err.text, "--listen-ca");
    /* No rule. */
    s = rules();
    assert_true(tls_admission_create(&a, &s, &err));
    assert_null(a);
    tls_admission_destroy(&a);
}

static void digest_of(const struct tls_settings *s, unsigned char *hash)
{
    struct tls_admission *a = admission_of(s);
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestInit_ex(digest, EVP_sha256(), NULL), 1);
    tls_admission_digest(a, digest);
    assert_int_equal(EVP_DigestFinal_ex(digest, hash, NULL), 1);
    EVP_MD_CTX_free(digest);
    tls_admission_destroy(&a);
}

static bool same_digest(const struct tls_settings *a, const struct tls_settings *b)
{
    unsigned char one[TLS_FINGERPRINT_SIZE];
    unsigned char other[TLS_FINGERPRINT_SIZE];
    digest_of(a, one);
    digest_of(b, other);
    return memcmp(one, other, sizeof one) == 0;
}

static void test_digest(void **state)
{
    const char *ab[] = {"a", "b"};
    const char *bab[] = {"b", "a", "b"};
    const char *pins[] = {"sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="};
    (void)state;
    struct tls_settings one = rules();
    struct tls_settings other = rules();
    one.allow_cn = (struct tls_texts){ab, 2};
    other.allow_cn = (struct tls_texts){bab, 3};
    assert_true(same_digest(&one, &other));
    other.allow_cn = one_text("a");
    assert_false(same_digest(&one, &other));
    one.allow_cn = one_text("a");
    assert_true(same_digest(&one, &other));
    other = rules();
    other.allow_ou = one_text("a");
    assert_false(same_digest(&one, &other));
    other = one;
    other.allow_pin = (struct tls_texts){pins, 1};
    assert_false(same_digest(&one, &other));
    one = rules();
    other = rules();
    one.allow_dns = one_text("A.test");
    other.allow_dns = one_text("a.test.");
    assert_true(same_digest(&one, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_globs),
        cmocka_unit_test(test_glob_case),
        cmocka_unit_test(test_glob_is_bounded),
        cmocka_unit_test(test_subjects),
        cmocka_unit_test(test_tricks_with_subjects),
        cmocka_unit_test(test_dns_names),
        cmocka_unit_test(test_uris),
        cmocka_unit_test(test_one_spiffe_id_only),
        cmocka_unit_test(test_pins_and_several),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_digest),
    };
    return cmocka_run_group_tests_name("admit", tests, world_setup, world_teardown);
}
