/* Revocation lists: which files are taken, which list of several counts, what is said about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tls/revoke.h"
#include "tls_world.h"

#include <openssl/x509_vfy.h>
#include <sys/stat.h>

/* ---- lists ---- */

struct crl_spec {
    const struct fx_cert *issuer;
    const X509 *revoked; /* NULL: none */
    int reason;          /* -1: none given */
    long from, until;    /* seconds from now; both 0: yesterday to tomorrow */
    long count;          /* further entries, of serial numbers that nobody has */
    int extension;       /* NID */
    const char *value;
    bool delta;       /* RFC 5280 5.2.4 */
    bool endless;     /* no nextUpdate */
    EVP_PKEY *signer; /* NULL: the issuer's */
};

static void add_entry(X509_CRL *crl, const ASN1_INTEGER *serial, int reason)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *when = ASN1_TIME_new();
    assert_non_null(entry);
    assert_int_equal(ASN1_TIME_set_string(when, "20260102030405Z"), 1);
    assert_int_equal(X509_REVOKED_set_revocationDate(entry, when), 1);
    ASN1_TIME_free(when);
    ASN1_INTEGER *copy = ASN1_INTEGER_dup(serial);
    assert_int_equal(X509_REVOKED_set_serialNumber(entry, copy), 1);
    ASN1_INTEGER_free(copy);
    if (reason >= 0) {
        ASN1_ENUMERATED *code = ASN1_ENUMERATED_new();
        assert_int_equal(ASN1_ENUMERATED_set(code, reason), 1);
        assert_int_equal(X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, code, 0, 0), 1);
        ASN1_ENUMERATED_free(code);
    }
    assert_int_equal(X509_CRL_add0_revoked(crl, entry), 1);
}

static X509_CRL *make_crl(const struct crl_spec *spec)
{
    X509_CRL *crl = X509_CRL_new();
    bool dated = spec->from != 0 || spec->until != 0;
    assert_non_null(crl);
    assert_int_equal(X509_CRL_set_version(crl, X509_CRL_VERSION_2), 1);
    assert_int_equal(X509_CRL_set_issuer_name(crl, X509_get_subject_name(spec->issuer->cert)), 1);
    ASN1_TIME *when = X509_gmtime_adj(NULL, dated ? spec->from : -FX_DAY);
    assert_int_equal(X509_CRL_set1_lastUpdate(crl, when), 1);
    assert_non_null(X509_gmtime_adj(when, dated ? spec->until : FX_DAY));
    if (!spec->endless)
        assert_int_equal(X509_CRL_set1_nextUpdate(crl, when), 1);
    ASN1_TIME_free(when);
    for (long i = spec->count; i > 0; i--) {
        ASN1_INTEGER *serial = ASN1_INTEGER_new();
        assert_int_equal(ASN1_INTEGER_set(serial, 1000000 + i), 1);
        add_entry(crl, serial, -1);
        ASN1_INTEGER_free(serial);
    }
    if (spec->revoked != NULL)
        add_entry(crl, X509_get0_serialNumber(spec->revoked), spec->reason);
    if (spec->value != NULL) {
        X509V3_CTX context;
        X509V3_set_ctx(&context, spec->issuer->cert, NULL, NULL, crl, 0);
        X509_EXTENSION *extension =
            X509V3_EXT_conf_nid(NULL, &context, spec->extension, spec->value);
        assert_non_null(extension);
        assert_int_equal(X509_CRL_add_ext(crl, extension, -1), 1);
        X509_EXTENSION_free(extension);
    }
    if (spec->delta) {
        ASN1_INTEGER *base = ASN1_INTEGER_new();
        assert_int_equal(X509_CRL_add1_ext_i2d(crl, NID_delta_crl, base, 1, 0), 1);
        ASN1_INTEGER_free(base);
    }
    EVP_PKEY *signer = spec->signer != NULL ? spec->signer : spec->issuer->key;
    assert_true(X509_CRL_sign(crl, signer, EVP_sha256()) > 0);
    return crl;
}

/* mode "w" or "a". Returns the path. */
static const char *write_crl(const char *name, const char *mode, bool der,
                             const struct crl_spec *spec)
{
    const char *path = in_dir(name);
    X509_CRL *crl = make_crl(spec);
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    assert_int_equal(der ? i2d_X509_CRL_fp(file, crl) : PEM_write_X509_CRL(file, crl), 1);
    assert_int_equal(fclose(file), 0);
    X509_CRL_free(crl);
    return path;
}

static const char *write_pem(const char *name, const struct crl_spec *spec)
{
    return write_crl(name, "w", false, spec);
}

static const char *make_directory(const char *name)
{
    const char *path = in_dir(name);
    assert_int_equal(mkdir(path, 0700), 0);
    return path;
}

/* ---- one trial ---- */

struct trial {
    X509_STORE *store;
    unsigned char digest[TLS_FINGERPRINT_SIZE];
    struct error err;
    int error; /* of the verification */
    int depth;
    struct tls_failure failure;
    int64_t valid_until_s;
};

static bool trial_read(struct trial *t, const char *file, const char *directory)
{
    struct tls_settings settings = upstream();
    bool any = false;
    settings.crl_file = file;
    settings.crl_dir = directory;
    memset(t, 0, sizeof *t);
    error_init(&t->err);
    t->store = X509_STORE_new();
    assert_int_equal(X509_STORE_add_cert(t->store, root.cert), 1);
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestInit_ex(digest, EVP_sha256(), NULL), 1);
    bool done = tls_crls_read(t->store, &settings, digest, &any, &t->err);
    assert_int_equal(EVP_DigestFinal_ex(digest, t->digest, NULL), 1);
    EVP_MD_CTX_free(digest);
    assert_int_equal(any, done && (file != NULL || directory != NULL));
    assert_int_equal(ERR_peek_error(), 0);
    return done;
}

static void trial_fini(struct trial *t)
{
    X509_STORE_free(t->store);
}

/* Verifies good, below sub, below root, as the gateway does. */
static void trial_verify(struct trial *t)
{
    struct tls_profile profile = {.role = TLS_UPSTREAM, .ca_word = "--ca"};
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *sent = sk_X509_new_null();
    assert_true(sk_X509_push(sent, sub.cert) > 0);
    assert_int_equal(X509_STORE_CTX_init(ctx, t->store, good.cert, sent), 1);
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    (void)X509_verify_cert(ctx);
    t->error = X509_STORE_CTX_get_error(ctx);
    t->depth = X509_STORE_CTX_get_error_depth(ctx);
    X509 *refused = X509_STORE_CTX_get_current_cert(ctx);
    if (t->error != X509_V_OK) {
        t->failure.verify_error = t->error;
        (void)str_copy(t->failure.reason, sizeof t->failure.reason,
                       X509_verify_cert_error_string(t->error));
        tls_name_text(t->failure.subject, sizeof t->failure.subject,
                      X509_get_subject_name(refused));
        tls_name_text(t->failure.issuer, sizeof t->failure.issuer, X509_get_issuer_name(refused));
        tls_revocation_explain(&t->failure, &profile, t->store, refused);
    }
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
    t->valid_until_s = tls_crls_valid_until(t->store, chain);
    sk_X509_free(sent);
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
}

/* What becomes of good with the CRLs of this file. */
static struct trial try_file(const char *path)
{
    struct trial t;
    if (!trial_read(&t, path, NULL))
        fail_msg("%s", t.err.text);
    trial_verify(&t);
    trial_fini(&t);
    return t;
}

static void assert_refused(const char *path, int error, const char *reason, const char *remedy)
{
    struct trial t = try_file(path);
    assert_int_equal(t.error, error);
    assert_true(tls_is_revocation_error(t.error));
    assert_true(t.failure.revocation);
    assert_has(t.failure.reason, reason);
    assert_has(t.failure.remedy, remedy);
    assert_null(strchr(t.failure.remedy, '{'));
}

static const struct crl_spec of_root = {.issuer = &root, .reason = -1};
static const struct crl_spec of_sub = {.issuer = &sub, .reason = -1};

/* A file with those of root and of sub. */
static const char *write_both(const char *name, const struct crl_spec *roots,
                              const struct crl_spec *subs)
{
    (void)write_crl(name, "w", false, roots);
    return write_crl(name, "a", false, subs);
}

/* ---- files ---- */

static void test_none_given(void **state)
{
    (void)state;
    struct trial t;
    assert_true(trial_read(&t, NULL, NULL));
    assert_int_equal(tls_crls_valid_until(t.store, NULL), INT64_MAX);
    trial_fini(&t);
}

static void test_pem_of_several(void **state)
{
    (void)state;
    struct trial t = try_file(write_both("both.pem", &of_root, &of_sub));
    assert_int_equal(t.error, X509_V_OK);
    int64_t left = t.valid_until_s - (int64_t)time(NULL);
    assert_in_range(left, FX_DAY - 60, FX_DAY);
}

static void test_der(void **state)
{
    (void)state;
    struct trial t = try_file(write_crl("root.der", "w", true, &of_root));
    assert_int_equal(t.error, X509_V_ERR_UNABLE_TO_GET_CRL); /* of sub: the file was read */
    assert_int_equal(t.depth, 0);
}

static void refuse_file(const char *path, const char *words)
{
    struct trial t;
    assert_false(trial_read(&t, path, NULL));
    assert_has(t.err.text, "--crl '");
    assert_has(t.err.text, path);
    assert_has(t.err.text, words);
    trial_fini(&t);
}

static void test_bad_files(void **state)
{
    (void)state;
    refuse_file(in_dir("not-there.pem"), "No such file");
    refuse_file(in_dir("ca.pem"), "no CRL in it");
    refuse_file(dir, "directory");
    fx_write_text(in_dir("empty.crl"), "");
    refuse_file(in_dir("empty.crl"), "empty");
    fx_write_text(in_dir("text.crl"), "no list\n");
    refuse_file(in_dir("text.crl"), "no CRL in it");
    fx_write_text(in_dir("bad.crl"), "-----BEGIN X509 CRL-----\nMAAA\n-----END X509 CRL-----\n");
    refuse_file(in_dir("bad.crl"), "CRL 1 in it is damaged");
    /* cut in the second one */
    const char *path = write_both("cut.crl", &of_root, &of_sub);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 40), 0);
    refuse_file(path, "after CRL 1");
    path = write_crl("cut.der", "w", true, &of_root);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 1), 0);
    refuse_file(path, "damaged");
    (void)write_crl("more.der", "w", true, &of_root);
    refuse_file(write_crl("more.der", "a", true, &of_sub), "behind the CRL");
}

static void test_unfit_kinds(void **state)
{
    (void)state;
    struct crl_spec spec = of_sub;
    spec.delta = true;
    refuse_file(write_pem("delta.pem", &spec), "delta");
    spec.delta = false;
    spec.extension = NID_issuing_distribution_point;
    spec.value = "critical,indirectCRL:TRUE";
    refuse_file(write_pem("indirect.pem", &spec), "indirect");
    spec.value = "critical,onlysomereasons:keyCompromise";
    refuse_file(write_pem("reasons.pem", &spec), "some reasons");
    spec = of_sub;
    spec.endless = true;
    refuse_file(write_pem("endless.pem", &spec), "nextUpdate");
    /* one that is for all users' certificates of its CA can be used */
    spec = of_sub;
    spec.extension = NID_issuing_distribution_point;
    spec.value = "critical,onlyuser:TRUE";
    assert_int_equal(try_file(write_both("users.pem", &of_root, &spec)).error, X509_V_OK);
}

/* ---- directories ---- */

static void test_directory(void **state)
{
    (void)state;
    struct trial t;
    const char *path = make_directory("crls");
    (void)write_pem("crls/root.pem", &of_root);
    (void)write_crl("crls/sub.der", "w", true, &of_sub);
    fx_write(in_dir("crls/ca.pem"), "w", root.cert, NULL); /* passed over, and so are these: */
    fx_write_text(in_dir("crls/README"), "no list\n");
    (void)make_directory("crls/sub.pem");
    assert_true(trial_read(&t, NULL, path));
    trial_verify(&t);
    assert_int_equal(t.error, X509_V_OK);
    trial_fini(&t);
    /* A half-written one must not be passed over. */
    fx_write_text(in_dir("crls/new.crl"), "");
    assert_false(trial_read(&t, NULL, path));
    assert_has(t.err.text, "--crl-dir '");
    assert_has(t.err.text, "new.crl");
    trial_fini(&t);
    fx_write_text(in_dir("crls/new.crl"), "-----BEGIN X509 ");
    assert_false(trial_read(&t, NULL, path));
    assert_has(t.err.text, "new.crl");
    trial_fini(&t);
}

/* As openssl-rehash(1) and Kubernetes lay them out: links. */
static void test_directory_of_links(void **state)
{
    (void)state;
    struct trial t;
    const char *path = make_directory("hashed");
    (void)write_both("hashed/data", &of_root, &of_sub);
    assert_int_equal(symlink("data", in_dir("hashed/0a1b2c3d.r0")), 0);
    assert_true(trial_read(&t, NULL, path));
    trial_verify(&t);
    assert_int_equal(t.error, X509_V_OK);
    trial_fini(&t);
    assert_int_equal(unlink(in_dir("hashed/data")), 0);
    assert_false(trial_read(&t, NULL, path)); /* a link to nothing is a mistake */
    assert_has(t.err.text, "0a1b2c3d.r0");
    trial_fini(&t);
}

static void test_directory_without_any(void **state)
{
    (void)state;
    struct trial t;
    const char *path = make_directory("none");
    fx_write(in_dir("none/ca.pem"), "w", root.cert, NULL);
    fx_write_text(in_dir("none/0a1b2c3d.0"), "a certificate by its name");
    assert_false(trial_read(&t, NULL, path));
    assert_has(t.err.text, "no CRL in any");
    trial_fini(&t);
    assert_false(trial_read(&t, NULL, in_dir("nowhere")));
    assert_has(t.err.text, "No such file");
    trial_fini(&t);
}

/* ---- the digest is of the contents ---- */

static void test_digest(void **state)
{
    (void)state;
    struct trial one;
    struct trial other;
    (void)write_both("order.pem", &of_root, &of_sub);
    assert_true(trial_read(&one, in_dir("order.pem"), NULL));
    /* the same two, the other way round, one of them twice */
    const char *path = make_directory("order");
    BIO *in = BIO_new_file(in_dir("order.pem"), "r");
    X509_CRL *first = PEM_read_bio_X509_CRL(in, NULL, NULL, NULL);
    X509_CRL *second = PEM_read_bio_X509_CRL(in, NULL, NULL, NULL);
    BIO_free(in);
    BIO *out = BIO_new_file(in_dir("order/a.pem"), "w");
    assert_int_equal(PEM_write_bio_X509_CRL(out, second), 1);
    assert_int_equal(PEM_write_bio_X509_CRL(out, first), 1);
    assert_int_equal(PEM_write_bio_X509_CRL(out, second), 1);
    BIO_free(out);
    X509_CRL_free(first);
    X509_CRL_free(second);
    assert_true(trial_read(&other, NULL, path));
    assert_memory_equal(one.digest, other.digest, sizeof one.digest);
    trial_verify(&other);
    assert_int_equal(other.error, X509_V_OK);
    trial_fini(&other);
    (void)write_pem("order/b.pem", &(struct crl_spec){.issuer = &other_root, .reason = -1});
    assert_true(trial_read(&other, NULL, path));
    assert_memory_not_equal(one.digest, other.digest, sizeof one.digest);
    trial_fini(&other);
    trial_fini(&one);
}

/* ---- refusals and their words ---- */

static void test_revoked(void **state)
{
    (void)state;
    const struct crl_spec leaf = {.issuer = &sub, .revoked = good.cert, .reason = 1, .count = 50};
    const char *path = write_both("revoked.pem", &of_root, &leaf);
    assert_refused(path, X509_V_ERR_CERT_REVOKED, "(2026-01-02 03:04:05 UTC, keyCompromise)",
                   "'CN=good' was revoked at 2026-01-02");
    assert_int_equal(try_file(path).depth, 0);
    const struct crl_spec issuer = {.issuer = &root, .revoked = sub.cert, .reason = -1};
    path = write_both("revoked-sub.pem", &issuer, &of_sub);
    assert_refused(path, X509_V_ERR_CERT_REVOKED, "no reason given", "'CN=Sub' was revoked");
    assert_int_equal(try_file(path).depth, 1);
}

static void test_expired(void **state)
{
    (void)state;
    const struct crl_spec old = {
        .issuer = &sub, .reason = -1, .from = -2 * FX_DAY, .until = -FX_DAY};
    assert_refused(write_both("expired.pem", &of_root, &old), X509_V_ERR_CRL_HAS_EXPIRED,
                   "CRL has expired (CRL of 'CN=Sub')", "the CRL of 'CN=Sub' expired at 20");
    const struct crl_spec early = {
        .issuer = &sub, .reason = -1, .from = FX_DAY, .until = 2 * FX_DAY};
    assert_refused(write_both("early.pem", &of_root, &early), X509_V_ERR_CRL_NOT_YET_VALID,
                   "CRL is not yet valid", "this machine's clock");
}

static void test_missing(void **state)
{
    (void)state;
    assert_refused(write_pem("one.pem", &of_sub), X509_V_ERR_UNABLE_TO_GET_CRL, "CRL",
                   "with --crl every certificate of the chain is looked up: add the current CRL of "
                   "'CN=Root'");
    struct crl_spec spec = of_sub; /* a list that is only about CAs */
    spec.extension = NID_issuing_distribution_point;
    spec.value = "critical,onlyCA:TRUE";
    assert_refused(write_both("scope.pem", &of_root, &spec), X509_V_ERR_DIFFERENT_CRL_SCOPE, "CRL",
                   "not for this certificate");
}

static void test_forged(void **state)
{
    (void)state;
    struct crl_spec spec = of_sub;
    spec.signer = other_root.key;
    assert_refused(write_both("forged.pem", &of_root, &spec), X509_V_ERR_CRL_SIGNATURE_FAILURE,
                   "CRL of 'CN=Sub'", "was not signed with the key");
}

static void test_directory_is_named_in_remedies(void **state)
{
    (void)state;
    struct trial t;
    const char *path = make_directory("only-sub");
    (void)write_pem("only-sub/sub.pem", &of_sub);
    assert_true(trial_read(&t, NULL, path));
    trial_verify(&t);
    assert_has(t.failure.remedy, "with --crl-dir every");
    trial_fini(&t);
}

static void test_other_failures_are_left_alone(void **state)
{
    (void)state;
    struct tls_profile profile = {.role = TLS_UPSTREAM, .ca_word = "--ca"};
    struct trial t;
    assert_true(trial_read(&t, write_both("left.pem", &of_root, &of_sub), NULL));
    struct tls_failure f = {.verify_error = X509_V_ERR_CERT_HAS_EXPIRED, .remedy = "mine"};
    tls_revocation_explain(&f, &profile, t.store, good.cert);
    assert_string_equal(f.remedy, "mine");
    assert_false(f.revocation);
    assert_false(tls_is_revocation_error(X509_V_ERR_CERT_HAS_EXPIRED));
    assert_false(tls_is_revocation_error(X509_V_OK));
    trial_fini(&t);
}

/* ---- which of two ---- */

/* While a new one is rolled out the old one may lie beside it, in either order. */
static void test_newer_wins(void **state)
{
    (void)state;
    const struct crl_spec new_good = {.issuer = &sub, .reason = -1, .from = -60, .until = FX_DAY};
    const struct crl_spec new_bad = {
        .issuer = &sub, .revoked = good.cert, .reason = 6, .from = -60, .until = FX_DAY};
    const struct crl_spec expired = {
        .issuer = &sub, .reason = -1, .from = -3 * FX_DAY, .until = -FX_DAY};
    const struct crl_spec old_bad = {
        .issuer = &sub, .revoked = good.cert, .reason = 6, .from = -2 * FX_DAY, .until = FX_DAY};
    const struct {
        const struct crl_spec *a, *b;
        int error;
    } rows[] = {
        {&of_sub, &new_bad, X509_V_ERR_CERT_REVOKED},
        {&expired, &new_good, X509_V_OK},
        {&expired, &new_bad, X509_V_ERR_CERT_REVOKED},
        {&old_bad, &new_good, X509_V_OK}, /* taken off the list: "certificateHold" is over */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        (void)write_both("two.pem", &of_root, rows[i].a);
        assert_int_equal(try_file(write_crl("two.pem", "a", false, rows[i].b)).error,
                         rows[i].error);
        (void)write_both("two.pem", &of_root, rows[i].b);
        assert_int_equal(try_file(write_crl("two.pem", "a", false, rows[i].a)).error,
                         rows[i].error);
    }
}

static void test_valid_until(void **state)
{
    (void)state;
    const struct crl_spec soon = {.issuer = &sub, .reason = -1, .from = -60, .until = 600};
    const struct crl_spec others = {.issuer = &other_root, .reason = -1, .from = -60, .until = 60};
    const struct crl_spec over = {.issuer = &sub, .reason = -1, .from = -FX_DAY, .until = -60};
    (void)write_both("until.pem", &of_root, &soon);
    (void)write_crl("until.pem", "a", false, &over);
    struct trial t = try_file(write_crl("until.pem", "a", false, &others));
    assert_int_equal(t.error, X509_V_OK);
    assert_in_range(t.valid_until_s - (int64_t)time(NULL), 540, 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_given),
        cmocka_unit_test(test_pem_of_several),
        cmocka_unit_test(test_der),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_unfit_kinds),
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_directory_of_links),
        cmocka_unit_test(test_directory_without_any),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_expired),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_directory_is_named_in_remedies),
        cmocka_unit_test(test_other_failures_are_left_alone),
        cmocka_unit_test(test_newer_wins),
        cmocka_unit_test(test_valid_until),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
