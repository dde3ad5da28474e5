/* What a handshake may agree on: each setting on both sides, its mistakes, and what is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_world.h"

/* ---- a peer with rules ---- */

struct rules {
    int version;
    const char *groups, *ciphers, *ciphersuites, *sigalgs;
    const char *alpn; /* in the form of RFC 7301 3.1 */
};

static int alpn_first_of_ours(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                              const unsigned char *in, unsigned in_length, void *ours)
{
    unsigned char *chosen = NULL;
    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_length, ours, (unsigned)strlen(ours), in, in_length) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* OpenSSL's macros take no const; the list is only read. */
static char *writable(const char *list)
{
    const union {
        const char *in;
        char *out;
    } text = {.in = list};
    return text.out;
}

static SSL *peer_create(const struct rules *r, bool server)
{
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    assert_non_null(ctx);
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, r->version);
    SSL_CTX_set_max_proto_version(ctx, r->version);
    if (r->groups != NULL)
        assert_int_equal(SSL_CTX_set1_groups_list(ctx, writable(r->groups)), 1);
    if (r->ciphers != NULL)
        assert_int_equal(SSL_CTX_set_cipher_list(ctx, r->ciphers), 1);
    if (r->ciphersuites != NULL)
        assert_int_equal(SSL_CTX_set_ciphersuites(ctx, r->ciphersuites), 1);
    if (r->sigalgs != NULL)
        assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, writable(r->sigalgs)), 1);
    if (r->alpn != NULL && server) {
        union {
            const char *in;
            void *out;
        } ours = {.in = r->alpn};
        SSL_CTX_set_alpn_select_cb(ctx, alpn_first_of_ours, ours.out);
    } else if (r->alpn != NULL) {
        assert_int_equal(
            SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)r->alpn, (unsigned)strlen(r->alpn)),
            0);
    }
    if (server) {
        assert_int_equal(SSL_CTX_use_certificate(ctx, good.cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, good.key), 1);
        assert_int_equal(SSL_CTX_add1_chain_cert(ctx, sub.cert), 1);
    }
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    assert_non_null(ssl);
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ssl;
}

static struct outcome deal(const struct tls_settings *s, const struct rules *rules)
{
    struct outcome o;
    struct named_peer named;
    bool up = s->role == TLS_UPSTREAM;
    memset(&o, 0, sizeof o);
    struct tls_profile *profile = profile_of(s);
    SSL *ours = tls_session_create(profile, 0, up ? peer_named(&named, "good.test") : NULL);
    SSL *theirs = peer_create(rules, up);
    fx_join(ours, theirs);
    fx_handshake(ours, theirs, &o.failure, NULL, &o.ours, &o.theirs);
    tls_session_info(ours, &o.info);
    tls_session_destroy(&ours);
    SSL_free(theirs);
    tls_profile_destroy(&profile);
    ERR_clear_error();
    return o;
}

static struct tls_settings side(size_t i)
{
    return i == 0 ? upstream() : downstream();
}

/* ---- what nobody has chosen ---- */

static void upstreams_are_offered_aes128_first(void **state)
{
    (void)state;
    static const struct rules newest = {.version = TLS1_3_VERSION};
    static const struct rules no_128 = {.version = TLS1_3_VERSION,
                                        .ciphersuites = "TLS_AES_256_GCM_SHA384"};
    struct tls_settings s = upstream();
    assert_string_equal(deal(&s, &newest).info.cipher, "TLS_AES_128_GCM_SHA256");
    assert_string_equal(deal(&s, &no_128).info.cipher, "TLS_AES_256_GCM_SHA384");
    s = downstream(); /* there the consumer chooses */
    assert_string_equal(deal(&s, &newest).info.cipher, "TLS_AES_256_GCM_SHA384");
}

/* ---- accepting and refusing ---- */

static void lists(void **state)
{
    (void)state;
    static const struct {
        struct rules ours, theirs;
        bool done;
        const char *group, *cipher;
    } rows[] = {
        {{.groups = "P-384:P-256"}, {.groups = "P-256"}, true, "secp256r1", NULL},
        {{.groups = "P-384"}, {.groups = "P-256:P-384"}, true, "secp384r1", NULL},
        {{.groups = "P-384"}, {.groups = "P-256:X25519"}, false, NULL, NULL},
        {{.groups = "X448"}, {0}, true, "X448", NULL},
        {{.groups = "P-256"}, /* in TLS 1.2 it is about certificates' keys too (RFC 8422 5.1.1) */
         {.groups = "P-384:P-256", .version = TLS1_2_VERSION},
         true,
         "secp256r1",
         NULL},
        {{.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384"},
         {.version = TLS1_2_VERSION},
         true,
         NULL,
         "ECDHE-ECDSA-AES256-GCM-SHA384"},
        {{.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384"},
         {.version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"},
         false,
         NULL,
         NULL},
        {{.ciphersuites = "TLS_CHACHA20_POLY1305_SHA256"},
         {.version = TLS1_3_VERSION},
         true,
         NULL,
         "TLS_CHACHA20_POLY1305_SHA256"},
        {{.ciphersuites = "TLS_CHACHA20_POLY1305_SHA256"},
         {.version = TLS1_3_VERSION, .ciphersuites = "TLS_AES_128_GCM_SHA256"},
         false,
         NULL,
         NULL},
        {{.sigalgs = "ECDSA+SHA256"}, {.sigalgs = "ECDSA+SHA256:RSA-PSS+SHA256"}, true, NULL, NULL},
        {{.sigalgs = "RSA-PSS+SHA256"}, {0}, false, NULL, NULL},
        {{.sigalgs = "RSA+SHA256"}, {.version = TLS1_2_VERSION}, false, NULL, NULL},
        {{.sigalgs = "ECDSA+SHA384"},
         {.sigalgs = "ECDSA+SHA256", .version = TLS1_2_VERSION},
         false,
         NULL,
         NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t role = 0; role < 2; role++) {
            struct tls_settings s = side(role);
            s.groups = rows[i].ours.groups;
            s.ciphers = rows[i].ours.ciphers;
            s.ciphersuites = rows[i].ours.ciphersuites;
            s.sigalgs = rows[i].ours.sigalgs;
            struct outcome o = deal(&s, &rows[i].theirs);
            if ((o.ours == FX_DONE && o.theirs == FX_DONE) != rows[i].done)
                fail_msg("row %zu, role %zu: %s", i, role, o.failure.reason);
            if (rows[i].group != NULL)
                assert_string_equal(o.info.group, rows[i].group);
            if (rows[i].cipher != NULL)
                assert_string_equal(o.info.cipher, rows[i].cipher);
        }
    }
}

static void versions_of_each_side(void **state)
{
    (void)state;
    static const struct {
        enum tls_version min, max;
        int theirs;
        bool done;
    } rows[] = {
        {TLS_1_2, TLS_1_2, TLS1_2_VERSION, true},
        {TLS_1_2, TLS_1_2, TLS1_3_VERSION, false},
        {TLS_1_3, TLS_NEWEST, TLS1_3_VERSION, true},
        {TLS_1_3, TLS_NEWEST, TLS1_2_VERSION, false},
        {TLS_NEWEST, TLS_1_3, TLS1_2_VERSION, true},
        {TLS_NEWEST, TLS_NEWEST, TLS1_3_VERSION, true},
        {TLS_NEWEST, TLS_NEWEST, TLS1_1_VERSION, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t role = 0; role < 2; role++) {
            struct tls_settings s = side(role);
            s.min = rows[i].min;
            s.max = rows[i].max;
            struct outcome o = deal(&s, &(struct rules){.version = rows[i].theirs});
            if ((o.ours == FX_DONE && o.theirs == FX_DONE) != rows[i].done)
                fail_msg("row %zu, role %zu: %s", i, role, o.failure.reason);
        }
    }
}

static void protocols(void **state)
{
    (void)state;
    static const char *const two[] = {"h2", "http/1.1"};
    static const struct {
        const char *theirs, *agreed; /* agreed NULL: refused */
    } rows[] = {
        {"\x02h2\x08http/1.1", "h2"}, {"\x08http/1.1\x02h2", "h2"}, /* the server's order counts:
                                                                       see below for the upstream */
        {"\x08http/1.1", "http/1.1"}, {"\x05redis", NULL},          {NULL, ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tls_settings s = downstream();
        s.alpn = (struct tls_texts){two, COUNT(two)};
        struct outcome o = deal(&s, &(struct rules){.alpn = rows[i].theirs});
        assert_int_equal(o.ours == FX_DONE, rows[i].agreed != NULL);
        if (rows[i].agreed != NULL) {
            assert_string_equal(o.info.alpn, rows[i].agreed);
            continue;
        }
        assert_int_equal(o.failure.fault, TLS_FAULT_PROTOCOL);
        assert_has(o.failure.reason, "the consumer offers redis, we take h2, http/1.1");
        assert_has(o.failure.remedy, "--listen-alpn");
    }
    struct tls_settings s = upstream();
    s.alpn = (struct tls_texts){two, COUNT(two)};
    assert_string_equal(deal(&s, &(struct rules){.alpn = "\x08http/1.1\x02h2"}).info.alpn,
                        "http/1.1");
    assert_string_equal(deal(&s, &(struct rules){0}).info.alpn, "");
    struct outcome o = deal(&s, &(struct rules){.alpn = "\x05redis"});
    assert_int_equal(o.ours, FX_FAILED);
    assert_int_equal(o.failure.alert, SSL_AD_NO_APPLICATION_PROTOCOL);
    static const char *const odd[] = {"a\"b\n"};
    s.alpn = (struct tls_texts){odd, 1};
    assert_string_equal(deal(&s, &(struct rules){.alpn = "\x04"
                                                         "a\"b\n"})
                            .info.alpn,
                        "a\\x22b\\x0a");
}

/* ---- mistakes ---- */

static void refused(const struct tls_settings *s, const char *why)
{
    struct error err;
    error_init(&err);
    struct tls_profile *profile = tls_profile_create(s, &err);
    if (profile != NULL)
        fail_msg("was taken, should be: %s", why);
    assert_has(err.text, why);
    assert_int_equal(ERR_peek_error(), 0);
}

static void mistakes(void **state)
{
    (void)state;
    static const struct {
        struct rules list;
        const char *why;
    } rows[] = {
        {{.groups = "P-256:NOSUCH:X25519"},
         "groups 'P-256:NOSUCH:X25519': 'NOSUCH' is no key exchange group of OpenSSL 3."},
        {{.groups = ""}, "groups: the list is empty"},
        {{.groups = "::"}, "groups: the list is empty"},
        {{.ciphers = "ECDHE-RSA-AES128-GCM-SHA256:NOSUCH"}, "'NOSUCH' is no TLS 1.2 cipher"},
        {{.ciphers = "TLS_AES_128_GCM_SHA256"}, "(those of TLS 1.3 are ciphersuites)"},
        {{.ciphers = "DEFAULT@SECLEVEL=0"}, "security-level"},
        {{.ciphers = "aNULL"}, "OpenSSL does not take this list"},
        {{.ciphers = "eNULL"}, "OpenSSL does not take this list"},
        {{.ciphersuites = "TLS_AES_128_GCM_SHA256:TLS_NOSUCH"},
         "'TLS_NOSUCH' is no TLS 1.3 ciphersuite"},
        {{.sigalgs = "ECDSA+SHA256:NOSUCH"}, "'NOSUCH' is no signature algorithm"},
        {{.alpn = ""}, "alpn: the name of a protocol has 1 to 255 bytes, entry 1 has 0"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t role = 0; role < 2; role++) {
            struct tls_settings s = side(role);
            s.groups = rows[i].list.groups;
            s.ciphers = rows[i].list.ciphers;
            s.ciphersuites = rows[i].list.ciphersuites;
            s.sigalgs = rows[i].list.sigalgs;
            if (rows[i].list.alpn != NULL)
                s.alpn = one_text(rows[i].list.alpn);
            refused(&s, rows[i].why);
            refused(&s, role == 0 ? "--" : "--listen-");
        }
    }
    struct tls_settings s = upstream();
    s.min = TLS_1_3;
    s.ciphers = "HIGH";
    refused(&s, "--ciphers: these are for TLS 1.2, which --tls-min 1.3 leaves out");
    s = downstream();
    s.max = TLS_1_2;
    s.ciphersuites = "TLS_AES_128_GCM_SHA256";
    refused(&s, "--listen-ciphersuites: these are for TLS 1.3, which --listen-tls-max 1.2");
}

/* Not even on demand, and at the lowest level, is there TLS without a certificate or in the clear:
 * nobody would be verified. */
static void never_anonymous(void **state)
{
    (void)state;
    static const char *const lists_of_all[] = {"ALL", "ALL:eNULL", "aNULL:ALL", "HIGH"};
    for (size_t i = 0; i < COUNT(lists_of_all); i++) {
        for (size_t role = 0; role < 2; role++) {
            struct tls_settings s = side(role);
            s.security_level = 0;
            s.ciphers = lists_of_all[i];
            struct rules peer = {.version = TLS1_2_VERSION, .ciphers = "aNULL:@SECLEVEL=0"};
            assert_int_equal(deal(&s, &peer).ours, FX_FAILED);
            peer.ciphers = "eNULL:!aNULL:@SECLEVEL=0";
            assert_int_equal(deal(&s, &peer).ours, FX_FAILED);
            peer.ciphers = "ALL:!aNULL:!eNULL:@SECLEVEL=0";
            assert_int_equal(deal(&s, &peer).ours, FX_DONE);
        }
    }
}

static void security_level(void **state)
{
    (void)state;
    /* P-256 has 128 bits: enough for levels 2 and 3. */
    for (int level = 0; level <= 5; level++) {
        struct tls_settings s = upstream();
        s.security_level = level;
        s.insecure_skip_verify = true; /* the certificates have 128 bits too: not looked at */
        struct outcome o = deal(&s, &(struct rules){.groups = "P-256"});
        assert_int_equal(o.ours == FX_DONE, level < 4);
    }
    struct fx_cert large = fx_make(&(struct fx_spec){.cn = "large", .rsa_bits = 2048});
    /* What is shown must reach it too: RSA 2048 has 112 bits. */
    struct tls_settings s = downstream();
    fx_write(in_dir("large.pem"), "w", large.cert, large.key);
    s.certs = one_text(in_dir("large.pem"));
    s.keys = (struct tls_texts){0};
    s.security_level = 3;
    refused(&s, "at --listen-security-level 3: ee key too small");
    s.security_level = 2;
    struct tls_profile *profile = profile_of(&s);
    tls_profile_destroy(&profile);
    fx_free(&large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upstreams_are_offered_aes128_first),
        cmocka_unit_test(lists),
        cmocka_unit_test(versions_of_each_side),
        cmocka_unit_test(protocols),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(never_anonymous),
        cmocka_unit_test(security_level),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
