/* Paths from a leaf to an anchor, where OpenSSL's first one leads nowhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/chain.h"
#include "tls/pins.h"
#include "tls/verify.h"
#include "tls_world.h"
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include "tls_crl.h"

#define SENT_MAX 256

/* The same subject and key, certified anew. */
static struct fx_cert certify(const struct fx_cert *of, const struct fx_cert *issuer, long from,
                              long until)
{
    static long serial = 1000;
    struct fx_cert made = {X509_dup(of->cert), of->key};
    assert_non_null(made.cert);
    assert_int_equal(EVP_PKEY_up_ref(made.key), 1);
    ASN1_INTEGER_set(X509_get_serialNumber(made.cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(made.cert), from);
    X509_gmtime_adj(X509_getm_notAfter(made.cert), until);
    X509_set_issuer_name(made.cert, X509_get_subject_name(issuer->cert));
    assert_true(X509_sign(made.cert, issuer->key, EVP_sha256()) > 0);
    return made;
}

static struct fx_cert authority(const char *name, const struct fx_cert *issuer)
{
    return fx_make(&(struct fx_spec){.cn = name, .issuer = issuer, .ca = true});
}

static struct fx_cert leaf_of(const struct fx_cert *issuer)
{
    return fx_make(&(struct fx_spec){.cn = "leaf", .issuer = issuer, .san = "DNS:c.test"});
}

static const char *trust(const char *file, const struct fx_cert *const *anchors, size_t count)
{
    const char *path = in_dir(file);
    for (size_t i = 0; i < count; i++)
        fx_write(path, i == 0 ? "w" : "a", anchors[i]->cert, NULL);
    return path;
}

static STACK_OF(X509) * stack(const struct fx_cert *const *certs, size_t count)
{
    STACK_OF(X509) *list = sk_X509_new_null();
    for (size_t i = 0; i < count; i++)
        assert_true(sk_X509_push(list, certs[i]->cert) > 0);
    return list;
}

/* One verification by OpenSSL alone, as it was before there was a search. */
static int openssl_says(const struct tls_profile *profile, const struct fx_cert *leaf,
                        STACK_OF(X509) * sent)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    assert_int_equal(X509_STORE_CTX_init(ctx, profile->store, leaf->cert, sent), 1);
    assert_int_equal(X509_STORE_CTX_set_default(ctx, "ssl_server"), 1);
    X509_VERIFY_PARAM_set_flags(
        X509_STORE_CTX_get0_param(ctx),
        X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST |
            (profile->crls ? X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL : 0));
    int error = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return error;
}

struct question {
    const char *ca, *crl;
    const char *pin;
    const struct fx_cert *leaf;
    const struct fx_cert *const *sent;
    size_t sent_count;
    int alone; /* OpenSSL's own answer */
};

static struct tls_verdict verdict_of(const struct question *q)
{
    struct tls_settings s = upstream();
    struct tls_name name = name_of("c.test");
    const struct tls_peer peer = {.server_name = name, .names = &name, .name_count = 1};
    struct tls_verdict v;
    s.ca_file = q->ca;
    s.crl_file = q->crl;
    s.strict = TLS_STRICT_OFF;
    if (q->pin != NULL)
        s.pins = one_text(q->pin);
    struct tls_profile *profile = profile_of(&s);
    STACK_OF(X509) *sent = stack(q->sent, q->sent_count);
    const struct tls_subject subject = {.leaf = q->leaf->cert, .sent = sent, .peer = &peer};
    assert_int_equal(openssl_says(profile, q->leaf, sent), q->alone);
    tls_verify(&v, profile, &subject);
    sk_X509_free(sent);
    tls_profile_destroy(&profile);
    assert_int_equal(ERR_peek_error(), 0);
    return v;
}

static void assert_found(const struct question *q, const struct fx_cert *const *path, size_t count)
{
    struct tls_verdict v = verdict_of(q);
    if (!v.good)
        fail_msg("%s", v.failure.reason);
    assert_int_equal(sk_X509_num(v.chain), (int)count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(X509_cmp(sk_X509_value(v.chain, (int)i), path[i]->cert), 0);
    tls_verdict_fini(&v);
}

static void assert_refused(const struct question *q, int error, int depth)
{
    struct tls_verdict v = verdict_of(q);
    assert_false(v.good);
    assert_int_equal(v.failure.verify_error, error);
    assert_int_equal(v.failure.depth, depth);
    assert_null(v.chain);
}

#define LIST(...)  ((const struct fx_cert *const[]){__VA_ARGS__})
#define LENGTH(of) (sizeof(of) / sizeof(struct fx_cert *))
#define SENT(...)  .sent = LIST(__VA_ARGS__), .sent_count = LENGTH(LIST(__VA_ARGS__))

/* ---- found ---- */

/* Two of the same name, no key identifier tells them apart: the first has not signed the leaf. */
static void wrong_one_of_two_issuers(void **state)
{
    (void)state;
    struct fx_cert right = authority("Twin", &root);
    struct fx_cert wrong = authority("Twin", &root);
    struct fx_cert leaf = leaf_of(&right);
    const struct question served = {.ca = in_dir("ca.pem"),
                                    .leaf = &leaf,
                                    SENT(&leaf, &wrong, &right),
                                    .alone = X509_V_ERR_CERT_SIGNATURE_FAILURE};
    assert_found(&served, LIST(&leaf, &right, &root), 3);
    const char *both = trust("twins.pem", LIST(&wrong, &right), 2);
    struct question trusted = {.ca = both, .leaf = &leaf, SENT(&leaf)};
    struct tls_verdict v;
    trusted.alone = X509_V_ERR_CERT_SIGNATURE_FAILURE;
    /* Which of the two OpenSSL takes first from a store depends on their order there. */
    if (X509_cmp(wrong.cert, right.cert) > 0)
        trusted.alone = X509_V_OK;
    v = verdict_of(&trusted);
    assert_true(v.good);
    tls_verdict_fini(&v);
    fx_free(&leaf);
    fx_free(&wrong);
    fx_free(&right);
}

/* The cross-signed one comes first and hangs on a CA that has expired. */
static void expired_cross_signer(void **state)
{
    (void)state;
    struct fx_cert old = fx_make(&(struct fx_spec){
        .cn = "Old", .issuer = &root, .ca = true, .from = -9 * FX_DAY, .until = -FX_DAY});
    struct fx_cert direct = authority("Cross", &root);
    struct fx_cert cross = certify(&direct, &old, -FX_DAY, FX_DAY);
    struct fx_cert leaf = leaf_of(&direct);
    const struct question q = {.ca = in_dir("ca.pem"),
                               .leaf = &leaf,
                               SENT(&leaf, &cross, &old, &direct),
                               .alone = X509_V_ERR_CERT_HAS_EXPIRED};
    assert_found(&q, LIST(&leaf, &direct, &root), 3);
    fx_free(&leaf);
    fx_free(&cross);
    fx_free(&direct);
    fx_free(&old);
}

/* The first leads to a root that is not trusted, sent along or not. */
static void untrusted_cross_signer(void **state)
{
    (void)state;
    struct fx_cert direct = authority("Cross", &root);
    struct fx_cert cross = certify(&direct, &other_root, -FX_DAY, FX_DAY);
    struct fx_cert leaf = leaf_of(&direct);
    const struct question sent = {.ca = in_dir("ca.pem"),
                                  .leaf = &leaf,
                                  SENT(&leaf, &cross, &other_root, &direct),
                                  .alone = X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN};
    assert_found(&sent, LIST(&leaf, &direct, &root), 3);
    const struct question not_sent = {.ca = in_dir("ca.pem"),
                                      .leaf = &leaf,
                                      SENT(&leaf, &cross, &direct),
                                      .alone = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY};
    assert_found(&not_sent, LIST(&leaf, &direct, &root), 3);
    fx_free(&leaf);
    fx_free(&cross);
    fx_free(&direct);
}

/* Name constraints are a matter of the path, though the leaf is what breaks them. */
static void constrained_cross_signer(void **state)
{
    (void)state;
    struct fx_cert bound = fx_make(&(struct fx_spec){
        .cn = "Bound", .issuer = &root, .ca = true, .constraints = "permitted;DNS:in.test"});
    struct fx_cert direct = authority("Cross", &root);
    struct fx_cert cross = certify(&direct, &bound, -FX_DAY, FX_DAY);
    struct fx_cert leaf = leaf_of(&direct);
    const struct question q = {.ca = in_dir("ca.pem"),
                               .leaf = &leaf,
                               SENT(&leaf, &cross, &bound, &direct),
                               .alone = X509_V_ERR_PERMITTED_VIOLATION};
    assert_found(&q, LIST(&leaf, &direct, &root), 3);
    fx_free(&leaf);
    fx_free(&cross);
    fx_free(&direct);
    fx_free(&bound);
}

/* The first path hangs on a CA that was revoked. The other is looked up as well. */
static void revoked_cross_signer(void **state)
{
    (void)state;
    struct fx_cert gone = authority("Gone", &root);
    struct fx_cert direct = authority("Cross", &root);
    struct fx_cert cross = certify(&direct, &gone, -FX_DAY, FX_DAY);
    struct fx_cert leaf = leaf_of(&direct);
    struct question q = {.ca = in_dir("ca.pem"),
                         .leaf = &leaf,
                         SENT(&leaf, &cross, &gone, &direct),
                         .alone = X509_V_ERR_CERT_REVOKED};
    q.crl = crl_file("all.crl", &root, &gone, "w");
    (void)crl_file("all.crl", &gone, NULL, "a");
    (void)crl_file("all.crl", &direct, NULL, "a");
    assert_found(&q, LIST(&leaf, &direct, &root), 3);
    q.crl = crl_file("leaf.crl", &root, &gone, "w");
    (void)crl_file("leaf.crl", &gone, NULL, "a");
    (void)crl_file("leaf.crl", &direct, &leaf, "a");
    assert_refused(&q, X509_V_ERR_CERT_REVOKED, 0);
    q.crl = crl_file("direct.crl", &root, &direct, "w"); /* and not the other: it is not known */
    (void)crl_file("direct.crl", &direct, NULL, "a");
    q.alone = X509_V_ERR_UNABLE_TO_GET_CRL;
    assert_refused(&q, X509_V_ERR_UNABLE_TO_GET_CRL, 1);
    fx_free(&leaf);
    fx_free(&cross);
    fx_free(&direct);
    fx_free(&gone);
}

/* A root that is pinned lies behind an intermediate that is trusted as well: OpenSSL stops there.
 */
static void pin_behind_the_first_anchor(void **state)
{
    (void)state;
    char pin[TLS_PIN_TEXT_SIZE];
    tls_pin_text(pin, sizeof pin, root.cert);
    const char *ca = trust("both.pem", LIST(&sub, &root), 2);
    struct fx_cert leaf = leaf_of(&sub);
    struct question q = {.ca = ca, .leaf = &leaf, SENT(&leaf, &sub)};
    assert_found(&q, LIST(&leaf, &sub), 2);
    q.pin = pin;
    assert_found(&q, LIST(&leaf, &sub, &root), 3);
    tls_pin_text(pin, sizeof pin, other_root.cert);
    assert_refused(&q, X509_V_ERR_APPLICATION_VERIFICATION, 0);
    fx_free(&leaf);
}

/* The leaf is trusted itself, and so is an old certificate of its issuer, where OpenSSL ends. */
static void trusted_leaf(void **state)
{
    (void)state;
    struct fx_cert old =
        fx_make(&(struct fx_spec){.cn = "Old", .ca = true, .from = -9 * FX_DAY, .until = -FX_DAY});
    struct fx_cert leaf = leaf_of(&old);
    const struct question q = {.ca = trust("leaf-and-old.pem", LIST(&leaf, &old), 2),
                               .leaf = &leaf,
                               SENT(&leaf),
                               .alone = X509_V_ERR_CERT_HAS_EXPIRED};
    assert_found(&q, LIST(&leaf), 1);
    fx_free(&leaf);
    fx_free(&old);
}

/* ---- not found ---- */

static void no_path_verifies(void **state)
{
    (void)state;
    struct fx_cert old = fx_make(&(struct fx_spec){
        .cn = "Old", .issuer = &root, .ca = true, .from = -9 * FX_DAY, .until = -FX_DAY});
    struct fx_cert bound = fx_make(&(struct fx_spec){
        .cn = "Bound", .issuer = &root, .ca = true, .constraints = "permitted;DNS:in.test"});
    struct fx_cert cross = authority("Cross", &old);
    struct fx_cert second = certify(&cross, &bound, -FX_DAY, FX_DAY);
    struct fx_cert leaf = leaf_of(&cross);
    /* The second path is complete, and a full verification refuses it; the first one's is told. */
    const struct question q = {.ca = in_dir("ca.pem"),
                               .leaf = &leaf,
                               SENT(&leaf, &cross, &old, &second, &bound),
                               .alone = X509_V_ERR_CERT_HAS_EXPIRED};
    assert_refused(&q, X509_V_ERR_CERT_HAS_EXPIRED, 2);
    const struct question unknown = {.ca = in_dir("other.pem"),
                                     .leaf = &leaf,
                                     SENT(&leaf, &cross, &second, &bound, &root),
                                     .alone = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY};
    assert_refused(&unknown, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, 1);
    fx_free(&leaf);
    fx_free(&second);
    fx_free(&cross);
    fx_free(&bound);
    fx_free(&old);
}

/* A leaf's own fault is not searched away, nor is an issuer that is no CA taken. */
static void leafs_own_fault(void **state)
{
    (void)state;
    assert_false(tls_chain_may_help(X509_V_ERR_CERT_HAS_EXPIRED, 0));
    assert_false(tls_chain_may_help(X509_V_ERR_CERT_REVOKED, 0));
    assert_false(tls_chain_may_help(X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, 0));
    assert_false(tls_chain_may_help(X509_V_ERR_OUT_OF_MEM, 1));
    assert_true(tls_chain_may_help(X509_V_ERR_CERT_REVOKED, 1));
    struct fx_cert no_ca = fx_make(&(struct fx_spec){.cn = "Cross", .issuer = &root});
    struct fx_cert leaf = leaf_of(&no_ca);
    const struct question q = {
        .ca = in_dir("ca.pem"), .leaf = &leaf, SENT(&leaf, &no_ca), .alone = X509_V_ERR_INVALID_CA};
    assert_refused(&q, X509_V_ERR_INVALID_CA, 1);
    fx_free(&leaf);
    fx_free(&no_ca);
}

/* ---- bounds ---- */

static bool count_path(void *context, STACK_OF(X509) * path)
{
    assert_in_range(sk_X509_num(path), 2, TLS_CHAIN_DEPTH_MAX);
    (*(int *)context)++;
    return false;
}

static int work; /* of the last search */

static int paths_of(const char *ca, const struct fx_cert *leaf, STACK_OF(X509) * sent)
{
    int count = 0;
    struct tls_settings s = upstream();
    s.ca_file = ca;
    struct tls_profile *profile = profile_of(&s);
    const struct tls_chain_search search = {.store = profile->store,
                                            .leaf = leaf->cert,
                                            .sent = sent,
                                            .propose = count_path,
                                            .context = &count,
                                            .work_r = &work};
    assert_false(tls_chain_search(&search));
    assert_in_range(work, 0, TLS_CHAIN_WORK_MAX);
    tls_profile_destroy(&profile);
    return count;
}

/* One CA, certified many times: each is a way of its own. */
static void many_paths(void **state)
{
    (void)state;
    static struct fx_cert many[SENT_MAX];
    struct fx_cert first = authority("Many", NULL);
    struct fx_cert leaf = leaf_of(&first);
    STACK_OF(X509) *sent = sk_X509_new_null();
    assert_true(sk_X509_push(sent, sub.cert) > 0);
    for (int i = 0; i < 40; i++) {
        many[i] = certify(&first, &sub, -FX_DAY, FX_DAY);
        assert_true(sk_X509_push(sent, many[i].cert) > 0);
        int paths = paths_of(in_dir("ca.pem"), &leaf, sent);
        assert_int_equal(paths, i < TLS_CHAIN_PATHS_MAX ? i + 1 : TLS_CHAIN_PATHS_MAX);
        /* Two signatures to find it, one for all, and three to verify it. */
        assert_int_equal(work, 1 + paths * 5);
        /* Where they are anchors themselves a path costs less. */
        const char *ca = in_dir("many.pem");
        fx_write(ca, i == 0 ? "w" : "a", many[i].cert, NULL);
        paths = paths_of(ca, &leaf, NULL);
        assert_int_equal(paths, i < TLS_CHAIN_PATHS_MAX ? i + 1 : TLS_CHAIN_PATHS_MAX);
    }
    sk_X509_free(sent);
    for (size_t i = 0; i < 40; i++)
        fx_free(&many[i]);
    fx_free(&leaf);
    fx_free(&first);
}

/* Decoys of the same name before the one that signed: found behind some, given up behind many. */
static void many_decoys(void **state)
{
    (void)state;
    static struct fx_cert decoys[SENT_MAX];
    struct fx_cert right = authority("Many", &root);
    struct fx_cert leaf = leaf_of(&right);
    for (size_t n = 8; n <= 128; n *= 16) {
        STACK_OF(X509) *sent = sk_X509_new_null();
        for (size_t i = 0; i < n; i++) {
            decoys[i] = authority("Many", &root);
            assert_true(sk_X509_push(sent, decoys[i].cert) > 0);
        }
        assert_true(sk_X509_push(sent, right.cert) > 0);
        assert_int_equal(paths_of(in_dir("ca.pem"), &leaf, sent), n == 8 ? 1 : 0);
        sk_X509_free(sent);
        for (size_t i = 0; i < n; i++)
            fx_free(&decoys[i]);
    }
    fx_free(&leaf);
    fx_free(&right);
}

/* Certificates that vouch for each other, and a chain longer than a path may be. */
static void circles_and_depth(void **state)
{
    (void)state;
    struct fx_cert a = authority("A", NULL);
    struct fx_cert b = authority("B", NULL);
    struct fx_cert a_by_b = certify(&a, &b, -FX_DAY, FX_DAY);
    struct fx_cert b_by_a = certify(&b, &a, -FX_DAY, FX_DAY);
    struct fx_cert leaf = leaf_of(&a);
    STACK_OF(X509) *sent = stack(LIST(&a_by_b, &b_by_a, &leaf), 3);
    assert_int_equal(paths_of(in_dir("ca.pem"), &leaf, sent), 0);
    assert_int_equal(work, 0); /* by their names alone they lead nowhere */
    sk_X509_free(sent);
    fx_free(&leaf);
    fx_free(&b_by_a);
    fx_free(&a_by_b);
    fx_free(&b);
    fx_free(&a);

    struct fx_cert links[12];
    for (int length = TLS_CHAIN_DEPTH_MAX - 2; length < 12; length++) {
        const struct fx_cert *above = &root;
        sent = sk_X509_new_null();
        for (int i = 0; i < length; i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "Link %d", i);
            links[i] = authority(name, above);
            above = &links[i];
            assert_true(sk_X509_push(sent, above->cert) > 0);
        }
        leaf = leaf_of(above);
        assert_int_equal(paths_of(in_dir("ca.pem"), &leaf, sent),
                         length + 2 <= TLS_CHAIN_DEPTH_MAX ? 1 : 0);
        fx_free(&leaf);
        sk_X509_free(sent);
        for (int i = 0; i < length; i++)
            fx_free(&links[i]);
    }
}

/* The public key alone, which is not one that anybody has the other half of. */
static EVP_PKEY *huge_key(void)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = NULL;
    BIGNUM *n = BN_new();
    BIGNUM *e = BN_new();
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    assert_int_equal(BN_rand(n, 16384, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD), 1);
    assert_int_equal(BN_set_word(e, RSA_F4), 1);
    assert_int_equal(OSSL_PARAM_BLD_push_BN(build, "n", n), 1);
    assert_int_equal(OSSL_PARAM_BLD_push_BN(build, "e", e), 1);
    params = OSSL_PARAM_BLD_to_param(build);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(e);
    BN_free(n);
    return key;
}

static void huge_keys_are_not_worked_with(void **state)
{
    (void)state;
    struct fx_cert huge =
        fx_make(&(struct fx_spec){.cn = "Huge", .issuer = &root, .ca = true, .rsa_bits = 2048});
    struct fx_cert leaf = leaf_of(&huge);
    EVP_PKEY *key = huge_key();
    STACK_OF(X509) *sent = stack(LIST(&huge), 1);
    assert_int_equal(paths_of(in_dir("ca.pem"), &leaf, sent), 1);
    assert_int_equal(work, 4);
    assert_int_equal(X509_set_pubkey(huge.cert, key), 1);
    assert_true(X509_sign(huge.cert, root.key, EVP_sha256()) > 0);
    assert_int_equal(paths_of(in_dir("ca.pem"), &leaf, sent), 0);
    assert_int_equal(work, 0);
    sk_X509_free(sent);
    EVP_PKEY_free(key);
    fx_free(&leaf);
    fx_free(&huge);
}

/* As if of a CA that is trusted: each costs one signature of that, however they hang together. */
static void strangers_keys_are_not_worked_with(void **state)
{
    (void)state;
    static struct fx_cert many[20];
    struct fx_cert liar = authority("Root", NULL);
    struct fx_cert first = authority("Many", NULL);
    struct fx_cert leaf = leaf_of(&first);
    struct fx_cert strong =
        fx_make(&(struct fx_spec){.cn = "Strong", .issuer = &root, .ca = true, .rsa_bits = 4096});
    STACK_OF(X509) *sent = sk_X509_new_null();
    for (size_t i = 0; i < COUNT(many); i++) {
        many[i] = certify(&first, i % 2 == 0 ? &liar : &first, -FX_DAY, FX_DAY);
        /* The even ones say that the root has issued them, the odd ones that those have. */
        assert_true(sk_X509_push(sent, many[i].cert) > 0);
    }
    assert_int_equal(paths_of(in_dir("ca.pem"), &leaf, sent), 0);
    assert_int_equal(work, COUNT(many) / 2);
    sk_X509_free(sent);
    fx_free(&leaf);
    leaf = leaf_of(&strong);
    sent = stack(LIST(&strong), 1);
    assert_int_equal(paths_of(in_dir("ca.pem"), &leaf, sent), 1);
    assert_int_equal(work, 2 * (1 + 4)); /* as much as the key costs */
    sk_X509_free(sent);
    for (size_t i = 0; i < COUNT(many); i++)
        fx_free(&many[i]);
    fx_free(&strong);
    fx_free(&leaf);
    fx_free(&first);
    fx_free(&liar);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_one_of_two_issuers),
        cmocka_unit_test(expired_cross_signer),
        cmocka_unit_test(untrusted_cross_signer),
        cmocka_unit_test(constrained_cross_signer),
        cmocka_unit_test(revoked_cross_signer),
        cmocka_unit_test(pin_behind_the_first_anchor),
        cmocka_unit_test(trusted_leaf),
        cmocka_unit_test(no_path_verifies),
        cmocka_unit_test(leafs_own_fault),
        cmocka_unit_test(many_paths),
        cmocka_unit_test(many_decoys),
        cmocka_unit_test(circles_and_depth),
        cmocka_unit_test(huge_keys_are_not_worked_with),
        cmocka_unit_test(strangers_keys_are_not_worked_with),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
