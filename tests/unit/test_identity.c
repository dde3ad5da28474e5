/* Certificates and keys from everything that may hold them, and the order of chains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_world.h"

#include <openssl/pkcs12.h>
#include <sys/stat.h>

#define SECRET "correct horse"

/* ---- making them ---- */

static void write_key(const char *path, EVP_PKEY *key, bool pkcs8, const char *secret)
{
    const EVP_CIPHER *cipher = EVP_aes_128_cbc();
    int length = (int)strlen(secret);
    unsigned char word[64];
    BIO *bio = BIO_new_file(path, "w");
    assert_non_null(bio);
    memcpy(word, secret, (size_t)length);
    int done =
        pkcs8 ? PEM_write_bio_PKCS8PrivateKey(bio, key, cipher, (char *)word, length, NULL, NULL)
              : PEM_write_bio_PrivateKey_traditional(bio, key, cipher, word, length, NULL, NULL);
    assert_int_equal(done, 1);
    BIO_free(bio);
}

struct box {
    X509 *leaf;
    EVP_PKEY *key;
    X509 *others[4];
    const char *secret;
};

static void write_pkcs12(const char *path, const struct box *box)
{
    STACK_OF(X509) *others = sk_X509_new_null();
    for (size_t i = 0; i < COUNT(box->others) && box->others[i] != NULL; i++)
        assert_true(sk_X509_push(others, box->others[i]) > 0);
    int cipher = box->secret[0] != '\0' ? NID_aes_256_cbc : -1;
    PKCS12 *made =
        PKCS12_create(box->secret, NULL, box->key, box->leaf, others, cipher, cipher, 0, 0, 0);
    FILE *file = fopen(path, "w");
    assert_non_null(made);
    assert_non_null(file);
    assert_int_equal(i2d_PKCS12_fp(file, made), 1);
    assert_int_equal(fclose(file), 0);
    PKCS12_free(made);
    sk_X509_free(others);
}

/* ---- what is expected ---- */

static void refused(const struct tls_settings *settings, const char *why)
{
    struct error err;
    error_init(&err);
    struct tls_profile *profile = tls_profile_create(settings, &err);
    if (profile != NULL)
        fail_msg("was taken, should be: %s", why);
    assert_has(err.text, why);
    assert_null(strchr(err.text, '\n'));
    assert_null(strstr(err.text, SECRET));
    assert_int_equal(ERR_peek_error(), 0);
}

struct seen {
    char text[512];
    size_t length;
};

static void remember(void *context, const struct tls_certificate *c)
{
    struct seen *seen = context;
    (void)str_append(seen->text, sizeof seen->text, &seen->length, "%s%s",
                     seen->length > 0 ? ", " : "", c->subject);
}

/* The certificates, in the order they are sent in; and a consumer that meets them. */
static void taken(const struct tls_settings *settings, const char *certificates)
{
    struct seen seen = {.length = 0};
    struct tls_profile *profile = profile_of(settings);
    tls_profile_certificates(profile, remember, &seen);
    tls_profile_destroy(&profile);
    assert_string_equal(seen.text, certificates);
    const struct fx_peer peer = {.ca = &root};
    struct outcome o = meet(settings, NULL, &peer);
    if (o.ours != FX_DONE || o.theirs != FX_DONE)
        fail_msg("%s: %s", certificates, o.failure.reason);
}

static struct tls_settings with(const char *cert, const char *key, const char *passphrase)
{
    struct tls_settings s = downstream();
    s.certs = one_text(cert);
    s.keys = key != NULL ? one_text(key) : (struct tls_texts){0};
    s.key_passphrase = passphrase;
    return s;
}

static const char *file_source(const char *name, const char *content)
{
    static char source[4][600];
    static unsigned next;
    char *text = source[next++ % 4];
    fx_write_text(in_dir(name), content);
    (void)snprintf(text, sizeof source[0], "file:%s", in_dir(name));
    return text;
}

static const char *uri(const char *path)
{
    static char text[4][600];
    static unsigned next;
    char *slot = text[next++ % 4];
    (void)snprintf(slot, sizeof text[0], "file:%s", path);
    return slot;
}

/* ---- encrypted keys ---- */

static void encrypted_keys(void **state)
{
    (void)state;
    const char *cert = in_dir("good.pem");
    for (int pkcs8 = 0; pkcs8 < 2; pkcs8++) {
        const char *key = in_dir("encrypted.key");
        write_key(key, good.key, pkcs8 == 1, SECRET);
        struct tls_settings s = with(cert, key, file_source("word", SECRET "\nsecond line\n"));
        taken(&s, "CN=good, CN=Sub");
        s.key_passphrase = file_source("word", SECRET "\r\n");
        taken(&s, "CN=good, CN=Sub");
        s.key_passphrase = file_source("word", SECRET);
        taken(&s, "CN=good, CN=Sub");
        assert_int_equal(setenv("ESCLUSA_TEST_WORD", SECRET, 1), 0);
        s.key_passphrase = "env:ESCLUSA_TEST_WORD";
        taken(&s, "CN=good, CN=Sub");

        s.key_passphrase = file_source("word", "wrong\n");
        refused(&s, "the passphrase of --listen-key-passphrase does not open the private key");
        s.key_passphrase = NULL;
        refused(&s, "is encrypted: say where its passphrase is with --listen-key-passphrase");
        s.words_of_file = true;
        refused(&s, "with listen_key_passphrase");
    }
    unsetenv("ESCLUSA_TEST_WORD");
}

static void passphrases(void **state)
{
    (void)state;
    char longest[TLS_NAME_MAX * 2];
    struct tls_settings s = with(in_dir("good.pem"), in_dir("good.key"), "env:ESCLUSA_TEST_NONE");
    refused(&s, "--listen-key-passphrase 'env:ESCLUSA_TEST_NONE': no such variable");
    s.key_passphrase = uri(in_dir("missing.word"));
    refused(&s, "missing.word': No such file or directory");
    s.key_passphrase = uri(dir);
    refused(&s, "directory");
    s.key_passphrase = file_source("word", "");
    refused(&s, "the passphrase is empty");
    s.key_passphrase = file_source("word", "\n" SECRET "\n");
    refused(&s, "the passphrase is empty");
    assert_int_equal(setenv("ESCLUSA_TEST_WORD", "", 1), 0);
    s.key_passphrase = "env:ESCLUSA_TEST_WORD";
    refused(&s, "the passphrase is empty");
    unsetenv("ESCLUSA_TEST_WORD");
    static const char *const wrong[] = {SECRET, ("pass:" SECRET), "", "file:", "env:"};
    for (size_t i = 0; i < COUNT(wrong); i++) { /* the word itself is not repeated */
        s.key_passphrase = wrong[i];
        refused(&s, "--listen-key-passphrase: give file:PATH");
    }
    /* OpenSSL hands over a buffer of 1,024 bytes. */
    memset(longest, 'x', sizeof longest);
    longest[1023] = '\0';
    s.key_passphrase = file_source("word", longest);
    struct tls_profile *profile = profile_of(&s); /* no key of this one needs it */
    tls_profile_destroy(&profile);
    longest[1023] = 'x';
    longest[sizeof longest - 1] = '\0';
    fx_write_text(in_dir("word"), longest);
    FILE *more = fopen(in_dir("word"), "a");
    assert_non_null(more);
    assert_true(fputs("xx\n", more) >= 0);
    assert_int_equal(fclose(more), 0);
    refused(&s, "the first line is longer than 1023 bytes");
}

/* ---- PKCS#12 ---- */

static void pkcs12_files(void **state)
{
    (void)state;
    const char *path = in_dir("box.p12");
    struct tls_settings s = with(path, NULL, file_source("word", SECRET));
    const struct box box = {good.cert, good.key, {root.cert, other_root.cert, sub.cert}, SECRET};
    write_pkcs12(path, &box);
    taken(&s, "CN=good, CN=Sub, CN=Root"); /* in order, and without what is none of it */
    s.key_passphrase = file_source("word", "wrong");
    refused(&s, "the passphrase of --listen-key-passphrase does not open this PKCS#12 file");
    s.key_passphrase = NULL;
    refused(&s, "this PKCS#12 file is encrypted: say where its passphrase is with");

    const struct box open = {good.cert, good.key, {sub.cert}, ""};
    write_pkcs12(path, &open);
    taken(&s, "CN=good, CN=Sub");
    s.key_passphrase = file_source("word", SECRET); /* for another key */
    taken(&s, "CN=good, CN=Sub");
    s = with(in_dir("good.pem"), path, NULL); /* the key alone */
    taken(&s, "CN=good, CN=Sub");
    const struct box apart = {good.cert, NULL, {sub.cert}, ""};
    write_pkcs12(path, &apart);
    refused(&s, "no private key in this PKCS#12 file");
    s = with(path, NULL, NULL);
    refused(&s, "no private key in this PKCS#12 file: give the key's file with --listen-key");
    s = with(path, in_dir("good.key"), NULL);
    taken(&s, "CN=good, CN=Sub");
    s = with(path, in_dir("client.pem"), NULL);
    refused(&s, "does not match");
    const struct box keys_only = {NULL, good.key, {NULL}, ""};
    write_pkcs12(path, &keys_only);
    s = with(path, NULL, NULL);
    refused(&s, "no certificate in this PKCS#12 file");
}

/* ---- URIs ---- */

static void uris(void **state)
{
    (void)state;
    const char *box = in_dir("uri.p12");
    const struct box content = {good.cert, good.key, {root.cert, sub.cert}, SECRET};
    write_pkcs12(box, &content);
    struct tls_settings s = with(uri(box), NULL, file_source("word", SECRET));
    taken(&s, "CN=good, CN=Sub, CN=Root");
    s.key_passphrase = file_source("word", "wrong");
    refused(&s, "with the passphrase of --listen-key-passphrase");
    s.key_passphrase = NULL;
    refused(&s, "a passphrase or PIN is needed: say where it is with --listen-key-passphrase");

    s = with(uri(in_dir("good.pem")), uri(in_dir("good.key")), NULL);
    taken(&s, "CN=good, CN=Sub");
    s = with(uri(in_dir("good.pem")), in_dir("good.key"), NULL);
    taken(&s, "CN=good, CN=Sub");
    s = with(in_dir("good.pem"), uri(in_dir("good.key")), NULL);
    taken(&s, "CN=good, CN=Sub");
    s = with(in_dir("good.pem"), uri(in_dir("client.pem")), NULL);
    refused(&s, "does not match the certificate 'CN=good'");
    fx_write(in_dir("keys.pem"), "w", NULL, client.key);
    fx_write(in_dir("keys.pem"), "a", NULL, good.key);
    s = with(in_dir("good.pem"), uri(in_dir("keys.pem")), NULL); /* of several, the one that fits */
    taken(&s, "CN=good, CN=Sub");
    s = with(uri(in_dir("good.pem")), NULL, NULL);
    refused(&s, "there is no private key");
    s = with(uri(in_dir("good.key")), NULL, NULL);
    refused(&s, "no certificate could be read there");
    s = with(uri(in_dir("nowhere")), NULL, NULL);
    refused(&s, "No such file or directory");
    write_key(in_dir("uri.key"), good.key, true, SECRET);
    s = with(in_dir("good.pem"), uri(in_dir("uri.key")), file_source("word", SECRET));
    taken(&s, "CN=good, CN=Sub");
    s.key_passphrase = NULL;
    refused(&s, "a passphrase or PIN is needed");
}

/* None is waited for: OpenSSL opens those of a URI by itself. */
static void no_regular_files(void **state)
{
    (void)state;
    const char *fifo = in_dir("identity.fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const char *good_cert = in_dir("good.pem");
    const char *good_key = in_dir("good.key");
    char local[600];
    char triple[600];
    (void)snprintf(local, sizeof local, "FILE://LocalHost%s", fifo);
    (void)snprintf(triple, sizeof triple, "file://%s", fifo);
    const char *const values[] = {fifo, uri(fifo), local, triple};
    (void)alarm(20);
    for (size_t i = 0; i < COUNT(values); i++) {
        struct tls_settings s = with(values[i], good_key, NULL);
        refused(&s, "this is a FIFO, a regular file is needed");
        s = with(good_cert, values[i], NULL);
        refused(&s, "this is a FIFO, a regular file is needed");
    }
    struct tls_settings s = with(good_cert, good_key, uri(fifo));
    refused(&s, "this is a FIFO, a regular file is needed");
    s.key_passphrase = "file:/dev/zero";
    refused(&s, "this is a device, a regular file is needed");
    s = with("file:/dev/zero", good_key, NULL);
    refused(&s, "this is a device, a regular file is needed");
    (void)alarm(0);
    assert_int_equal(unlink(fifo), 0);
}

static void schemes(void **state)
{
    (void)state;
    struct tls_settings s = with(in_dir("good.pem"), "nosuch:thing", NULL);
    refused(&s, "--listen-key 'nosuch:thing': OpenSSL has nothing that opens 'nosuch:'");
    s = with("nosuch:thing", NULL, NULL);
    refused(&s, "--listen-cert 'nosuch:thing': OpenSSL has nothing that opens 'nosuch:'");
    s = with(in_dir("good.pem"), "pkcs11:object=a?pin-value=" SECRET, NULL);
    refused(&s, "a PIN must not be in the URI");
    s = with(in_dir("good.pem"), "c:\\key.pem", NULL); /* one letter: a path */
    refused(&s, "No such file or directory");
    s = with(in_dir("good.pem"), "some/dir:x", NULL);
    refused(&s, "No such file or directory");
    /* A file of that name is a file. */
    assert_int_equal(chdir(dir), 0);
    fx_write("odd:name.pem", "w", NULL, good.key);
    s = with(in_dir("good.pem"), "odd:name.pem", NULL);
    taken(&s, "CN=good, CN=Sub");
    fx_write("odd:turned.pem", "w", good.cert, good.key);
    fx_write("odd:turned.pem", "a", root.cert, NULL);
    fx_write("odd:turned.pem", "a", sub.cert, NULL);
    s = with("odd:turned.pem", NULL, NULL); /* OpenSSL's store would open it too, in any order */
    refused(&s, "certificate 2 ('CN=Root') did not issue certificate 1");
    assert_int_equal(chdir("/"), 0);
}

/* ---- the order of a chain ---- */

static void chains(void **state)
{
    (void)state;
    struct fx_cert again = fx_make(&(struct fx_spec){.cn = "Other Root", .ca = true});
    X509 *cross = X509_dup(sub.cert); /* the same CA below another root */
    assert_int_equal(X509_set_issuer_name(cross, X509_get_subject_name(other_root.cert)), 1);
    assert_true(X509_sign(cross, other_root.key, EVP_sha256()) > 0);
    const struct {
        X509 *files[4];
        const char *why; /* NULL: taken */
    } rows[] = {
        {{good.cert}, NULL},
        {{good.cert, sub.cert, root.cert}, NULL},
        {{good.cert, sub.cert, cross, other_root.cert}, NULL}, /* cross-signed */
        {{good.cert, root.cert, sub.cert},
         "certificate 2 ('CN=Root') did not issue certificate 1 nor any before it"},
        {{good.cert, sub.cert, other_root.cert},
         "certificate 3 ('CN=Other Root') did not issue certificate 2 nor any before it"},
        {{good.cert, good.cert, sub.cert}, "certificate 2 ('CN=good') did not issue"},
        {{sub.cert, good.cert}, "that of certificate 2 in the file: put that one first"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *path = in_dir("chain.pem");
        for (size_t j = 0; j < COUNT(rows[i].files) && rows[i].files[j] != NULL; j++)
            fx_write(path, j == 0 ? "w" : "a", rows[i].files[j], NULL);
        struct tls_settings s = with(path, in_dir("good.key"), NULL);
        if (rows[i].why != NULL) {
            refused(&s, rows[i].why);
            continue;
        }
        struct tls_profile *profile = profile_of(&s);
        tls_profile_destroy(&profile);
    }
    X509_free(cross);
    fx_free(&again);
}

/* ---- several ---- */

static void several(void **state)
{
    (void)state;
    const char *box = in_dir("several.p12");
    const struct box content = {client.cert, client.key, {NULL}, SECRET};
    write_pkcs12(box, &content);
    const char *certs[] = {in_dir("good.pem"), box};
    const char *keys[] = {in_dir("good.key"), box};
    struct tls_settings s = downstream();
    s.certs = (struct tls_texts){certs, 2};
    s.keys = (struct tls_texts){keys, 2};
    s.key_passphrase = file_source("word", SECRET);
    taken(&s, "CN=good, CN=Sub, CN=client");
    s.keys.count = 1;
    refused(&s, "1 keys for 2 certificates");
    struct tls_settings up = upstream(); /* the same for a client certificate */
    up.certs = one_text(box);
    up.key_passphrase = s.key_passphrase;
    const struct fx_peer peer = {.leaf = &good, .chain = {&sub}, .ca = &root};
    struct outcome o = meet(&up, "good.test", &peer);
    assert_int_equal(o.ours, FX_DONE);
    assert_int_equal(o.theirs, FX_DONE);
    up.key_passphrase = NULL;
    refused(&up, "with --key-passphrase");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encrypted_keys), cmocka_unit_test(passphrases),
        cmocka_unit_test(pkcs12_files),   cmocka_unit_test(uris),
        cmocka_unit_test(schemes),        cmocka_unit_test(chains),
        cmocka_unit_test(several),        cmocka_unit_test(no_regular_files),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
