/* Reading certificates and keys: each mistake has its own text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_world.h"

#include <sys/stat.h>

/* ---- files ---- */

static void assert_no_profile(const struct tls_settings *settings, const char *path,
                              const char *option, const char *why)
{
    struct error err;
    error_init(&err);
    struct tls_profile *profile = tls_profile_create(settings, &err);
    if (profile != NULL)
        fail_msg("%s '%s' was taken, should be: %s", option, path, why);
    char start[600];
    (void)snprintf(start, sizeof start, "%s '%s': ", option, path);
    if (strncmp(err.text, start, strlen(start)) != 0)
        fail_msg("\"%s\" does not start with \"%s\"", err.text, start);
    assert_has(err.text, why);
    assert_null(strchr(err.text, '\n'));
    assert_int_equal(ERR_peek_error(), 0);
}

static void write_der(const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(i2d_X509_fp(file, root.cert), 1);
    assert_int_equal(fclose(file), 0);
}

static void ca_files(void **state)
{
    (void)state;
    fx_write_text(in_dir("empty.pem"), "");
    fx_write_text(in_dir("garbage.pem"), "Die Luft der Freiheit weht.\n");
    fx_write_text(in_dir("damaged.pem"),
                  "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    fx_write_text(in_dir("cut.pem"), "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIB\n");
    fx_write(in_dir("key-only.pem"), "w", NULL, root.key);
    fx_write(in_dir("half.pem"), "w", root.cert, NULL);
    FILE *half = fopen(in_dir("half.pem"), "a");
    assert_non_null(half);
    assert_true(fputs("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", half) >= 0);
    assert_int_equal(fclose(half), 0);
    write_der(in_dir("der.crt"));
    static const struct {
        const char *file, *why;
    } rows[] = {
        {"missing.pem", "No such file or directory"},
        {".", "directory"},
        {"empty.pem", "empty"},
        {"garbage.pem", "no PEM certificate"},
        {"damaged.pem", "certificate 1 in it is damaged"},
        {"cut.pem", "damaged PEM"},
        {"key-only.pem", "only a private key"},
        {"half.pem", "damaged PEM after certificate 1"},
        {"der.crt", "DER"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tls_settings s = upstream();
        s.ca_file = in_dir(rows[i].file);
        assert_no_profile(&s, s.ca_file, "--ca", rows[i].why);
        s = downstream();
        s.ca_file = in_dir(rows[i].file);
        assert_no_profile(&s, s.ca_file, "--listen-ca", rows[i].why);
    }
    if (geteuid() != 0) { /* root reads everything */
        struct tls_settings s = upstream();
        s.ca_file = in_dir("locked.pem");
        fx_write(s.ca_file, "w", root.cert, NULL);
        assert_int_equal(chmod(s.ca_file, 0), 0);
        assert_no_profile(&s, s.ca_file, "--ca", "Permission denied");
    }
    unlink(in_dir("half.pem")); /* the directory's test wants none of these */
}

static void assert_trust(const struct tls_settings *settings, const char *trust)
{
    struct tls_profile *profile = profile_of(settings);
    assert_string_equal(tls_profile_trust(profile), trust);
    tls_profile_destroy(&profile);
}

static void trust_words(void **state)
{
    (void)state;
    char text[600];
    struct tls_settings s = upstream();
    (void)snprintf(text, sizeof text, "%s, 1 certificate", s.ca_file);
    assert_trust(&s, text);
    const char *two = in_dir("two.pem");
    fx_write(two, "w", root.cert, root.key); /* a key beside it does no harm */
    fx_write(two, "a", other_root.cert, NULL);
    fx_write(two, "a", root.cert, NULL); /* not counted twice */
    s.ca_file = two;
    (void)snprintf(text, sizeof text, "%s, 2 certificates", two);
    assert_trust(&s, text);
    s.ca_file = NULL;
    assert_trust(&s, "system store");
    s = downstream();
    assert_trust(&s, "no consumer certificates");
}

static void ca_directories(void **state)
{
    (void)state;
    char text[600];
    char path[512];
    const char *name = in_dir("anchors");
    assert_int_equal(mkdir(name, 0700), 0);
    struct tls_settings s = upstream();
    s.ca_file = NULL;
    s.ca_dir = name;
    assert_no_profile(&s, name, "--ca-dir", "no certificate in any");
    (void)snprintf(path, sizeof path, "%s/a.key", name);
    fx_write(path, "w", NULL, root.key);
    (void)snprintf(path, sizeof path, "%s/key.pem", name); /* no certificate: passed over */
    fx_write(path, "w", NULL, root.key);
    (void)snprintf(path, sizeof path, "%s/README.txt", name);
    fx_write(path, "w", sub.cert, NULL);
    assert_no_profile(&s, name, "--ca-dir", "no certificate in any");
    (void)snprintf(path, sizeof path, "%s/a.crt", name);
    fx_write(path, "w", root.cert, NULL);
    (void)snprintf(path, sizeof path, "%s/01234567.0", name); /* as c_rehash makes it */
    assert_int_equal(symlink("a.crt", path), 0);
    (void)snprintf(path, sizeof path, "%s/89abcdef.12", name);
    fx_write(path, "w", other_root.cert, NULL);
    (void)snprintf(text, sizeof text, "%s, 2 certificates", name);
    assert_trust(&s, text);
    const struct fx_peer peer = {.leaf = &good, .chain = {&sub}};
    assert_int_equal(meet(&s, "good.test", &peer).ours, FX_DONE);

    s.ca_file = in_dir("ca.pem");
    (void)snprintf(text, sizeof text, "%s and %s, 2 certificates", s.ca_file, name);
    assert_trust(&s, text);
    (void)snprintf(path, sizeof path, "%s/b.cer", name);
    fx_write_text(path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_no_profile(&s, path, "--ca-dir", "damaged");
    s.ca_dir = in_dir("nowhere");
    assert_no_profile(&s, s.ca_dir, "--ca-dir", "No such file or directory");
}

/* A FIFO would be waited for, /dev/zero read up to the bound. */
static void no_regular_files(void **state)
{
    (void)state;
    const char *fifo = in_dir("ca.fifo");
    const char *why = "this is a FIFO, a regular file is needed";
    assert_int_equal(mkfifo(fifo, 0600), 0);
    (void)alarm(20);
    struct tls_settings s = upstream();
    s.ca_file = fifo;
    assert_no_profile(&s, fifo, "--ca", why);
    s.ca_file = "/dev/zero";
    assert_no_profile(&s, s.ca_file, "--ca", "this is a device, a regular file is needed");
    s = upstream();
    s.crl_file = fifo;
    assert_no_profile(&s, fifo, "--crl", why);
    s = downstream();
    s.ticket_keys = fifo;
    assert_no_profile(&s, fifo, "--listen-ticket-keys", why);
    s = downstream();
    s.ocsp_files = one_text(fifo);
    assert_no_profile(&s, fifo, "--listen-ocsp", why);
    s = upstream();
    s.ca_file = NULL;
    assert_int_equal(setenv("SSL_CERT_FILE", fifo, 1), 0);
    assert_no_profile(&s, fifo, "SSL_CERT_FILE", why);
    assert_int_equal(setenv("SSL_CERT_FILE", "/dev/null", 1), 0);
    struct tls_profile *profile = profile_of(&s);
    tls_profile_destroy(&profile);
    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
    (void)alarm(0);
    assert_int_equal(unlink(fifo), 0);
}

static void write_encrypted(const char *path, bool pkcs8)
{
    BIO *bio = BIO_new_file(path, "w");
    assert_non_null(bio);
    const EVP_CIPHER *cipher = EVP_aes_128_cbc();
    unsigned char word[] = "secret";
    if (pkcs8)
        assert_int_equal(
            PEM_write_bio_PKCS8PrivateKey(bio, good.key, cipher, (char *)word, 6, NULL, NULL), 1);
    else
        assert_int_equal(
            PEM_write_bio_PrivateKey_traditional(bio, good.key, cipher, word, 6, NULL, NULL), 1);
    BIO_free(bio);
}

static void identities(void **state)
{
    (void)state;
    struct tls_settings s = upstream();
    s.certs = one_text(in_dir("good.pem"));
    s.keys = one_text(in_dir("client.pem")); /* holds a certificate too: its key is taken */
    assert_no_profile(&s, s.keys.items[0], "--key", "does not match the certificate 'CN=good'");
    s.keys = (struct tls_texts){0};
    assert_no_profile(&s, s.certs.items[0], "--cert",
                      "no private key in it: give the key's file with");
    s.keys = one_text(in_dir("ca.pem"));
    assert_no_profile(&s, s.keys.items[0], "--key", "no PEM private key");
    s.keys = one_text(in_dir("missing.key"));
    assert_no_profile(&s, s.keys.items[0], "--key", "No such file or directory");
    s.keys = one_text(in_dir("enc8.key"));
    write_encrypted(s.keys.items[0], true);
    assert_no_profile(&s, s.keys.items[0], "--key",
                      "encrypted: say where its passphrase is with --key-passphrase");
    s.keys = one_text(in_dir("enc1.key"));
    write_encrypted(s.keys.items[0], false);
    assert_no_profile(&s, s.keys.items[0], "--key",
                      "encrypted: say where its passphrase is with --key-passphrase");
    fx_write_text(in_dir("bad.key"),
                  "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    s.keys = one_text(in_dir("bad.key"));
    assert_no_profile(&s, s.keys.items[0], "--key", "the private key cannot be read");
    s.keys = one_text(in_dir("good.key"));
    assert_int_equal(chmod(s.keys.items[0], 0644), 0); /* others may read it: not our business */
    struct tls_profile *profile = profile_of(&s);
    tls_profile_destroy(&profile);
    s.certs = one_text(in_dir("turned.pem"));
    fx_write(s.certs.items[0], "w", sub.cert, NULL);
    fx_write(s.certs.items[0], "a", good.cert, NULL);
    assert_no_profile(&s, s.certs.items[0], "--cert",
                      "that of certificate 2 in the file: put that one");
    s.certs = one_text(in_dir("good.key"));
    assert_no_profile(&s, s.certs.items[0], "--cert", "only a private key");
    s.certs = (struct tls_texts){0};
    assert_no_profile(&s, s.keys.items[0], "--key", "give that with --cert");
}

static void identity_dates(void **state)
{
    (void)state;
    static const struct {
        long from, until;
        unsigned rsa_bits;
        const char *why;
    } rows[] = {
        {-9 * FX_DAY, -FX_DAY, 0, "the certificate 'CN=mine' expired at 20"},
        {FX_DAY, 9 * FX_DAY, 0, "the certificate 'CN=mine' is not valid before 20"},
        {-FX_DAY, FX_DAY, 1024, "key too small"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fx_cert mine = fx_make(&(struct fx_spec){.cn = "mine",
                                                        .from = rows[i].from,
                                                        .until = rows[i].until,
                                                        .rsa_bits = rows[i].rsa_bits});
        struct tls_settings s = downstream();
        s.certs = one_text(in_dir("mine.pem"));
        s.keys = (struct tls_texts){0};
        fx_write(s.certs.items[0], "w", mine.cert, mine.key);
        assert_no_profile(&s, s.certs.items[0], "--listen-cert", rows[i].why);
        fx_free(&mine);
    }
}

static void wrong_settings(void **state)
{
    (void)state;
    struct error err;
    struct tls_settings s = downstream();
    error_init(&err);
    s.certs = (struct tls_texts){0};
    assert_null(tls_profile_create(&s, &err));
    assert_has(err.text, "--listen-cert");
    error_clear(&err);
    s = upstream();
    s.min = TLS_1_3;
    s.max = TLS_1_2;
    assert_null(tls_profile_create(&s, &err));
    assert_has(err.text, "--tls-min");
    error_clear(&err);
    s = upstream();
    s.workers = 0;
    assert_null(tls_profile_create(&s, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ca_files),         cmocka_unit_test(trust_words),
        cmocka_unit_test(ca_directories),   cmocka_unit_test(identities),
        cmocka_unit_test(identity_dates),   cmocka_unit_test(wrong_settings),
        cmocka_unit_test(no_regular_files),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
