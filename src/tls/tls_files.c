/* PEM files: trust anchors, certificate chains and keys, with errors that name the option, the file
 * and what is wrong with it. RFC 7468. */
#include "tls_internal.h"

#include <esclusa/str.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The largest CA bundle of the world is a few MiB. Reading is bounded so that a device given by
 * mistake cannot fill the memory. */
#define FILE_SIZE_MAX ((size_t)16 * 1024 * 1024)

/* A file being read, and the words for its errors. */
struct pem_file {
    const char *option;
    const char *path;
    unsigned char *bytes; /* may hold a key: cleared when freed */
    size_t length;
    size_t size;
    BIO *bio;
};

struct pem_block {
    char *name;
    char *header;
    unsigned char *der;
    long length;
};

enum pem_step { PEM_BLOCK, PEM_END, PEM_DAMAGED };

const char *tls_openssl_reason(void)
{
    unsigned long code = ERR_get_error();
    const char *reason = ERR_reason_error_string(code);
    ERR_clear_error();
    return reason != NULL ? reason : "unknown error";
}

/* ---- files ---- */

static bool file_grow(struct pem_file *f, struct error *err)
{
    if (f->size >= FILE_SIZE_MAX)
        return error_set(err, "%s '%s': larger than 16 MiB: this is no PEM file", f->option,
                         f->path);
    size_t size = f->size == 0 ? (size_t)64 * 1024 : f->size * 2;
    unsigned char *bytes = OPENSSL_clear_realloc(f->bytes, f->size, size);
    if (bytes == NULL)
        return error_set_errno(err, ENOMEM, "%s '%s'", f->option, f->path);
    f->bytes = bytes;
    f->size = size;
    return true;
}

static bool file_read_all(struct pem_file *f, int fd, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set_errno(err, errno, "%s '%s'", f->option, f->path);
    if (S_ISDIR(st.st_mode))
        return error_set(err, "%s '%s': this is a directory, a PEM file is needed", f->option,
                         f->path);
    for (;;) {
        if (f->length == f->size && !file_grow(f, err))
            return false;
        ssize_t n = read(fd, f->bytes + f->length, f->size - f->length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "%s '%s'", f->option, f->path);
        if (n == 0)
            break;
        f->length += (size_t)n;
    }
    if (f->length == 0)
        return error_set(err, "%s '%s': the file is empty", f->option, f->path);
    return true;
}

static void file_close(struct pem_file *f)
{
    BIO_free(f->bio);
    OPENSSL_clear_free(f->bytes, f->size);
    memset(f, 0, sizeof *f);
}

/* The file is read whole before any of it is parsed, so that a read error is never taken for the
 * end of the certificates. To be closed with file_close(), also after false. */
static bool file_open(struct pem_file *f, const char *path, const char *option, struct error *err)
{
    memset(f, 0, sizeof *f);
    f->option = option;
    f->path = path;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(err, errno, "%s '%s'", option, path);
    bool done = file_read_all(f, fd, err);
    (void)close(fd);
    if (!done)
        return false;
    f->bio = BIO_new_mem_buf(f->bytes, (int)f->length);
    if (f->bio == NULL)
        return error_set_errno(err, ENOMEM, "%s '%s'", option, path);
    return true;
}

/* ---- PEM blocks ---- */

static enum pem_step block_next(struct pem_file *f, struct pem_block *b)
{
    ERR_clear_error();
    if (PEM_read_bio(f->bio, &b->name, &b->header, &b->der, &b->length) == 1)
        return PEM_BLOCK;
    memset(b, 0, sizeof *b);
    unsigned long code = ERR_peek_last_error();
    if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
        return PEM_DAMAGED; /* the queue says why */
    ERR_clear_error();
    return PEM_END;
}

static void block_free(struct pem_block *b)
{
    OPENSSL_free(b->name);
    OPENSSL_free(b->header);
    OPENSSL_clear_free(b->der, b->length > 0 ? (size_t)b->length : 0);
    memset(b, 0, sizeof *b);
}

static bool block_is_certificate(const struct pem_block *b)
{
    return strcmp(b->name, PEM_STRING_X509) == 0 || strcmp(b->name, PEM_STRING_X509_OLD) == 0 ||
           strcmp(b->name, PEM_STRING_X509_TRUSTED) == 0;
}

static bool block_is_key(const struct pem_block *b)
{
    static const char tail[] = "PRIVATE KEY"; /* also "RSA PRIVATE KEY", "ENCRYPTED ..." */
    size_t length = strlen(b->name);
    return length >= sizeof tail - 1 && strcmp(b->name + length - (sizeof tail - 1), tail) == 0;
}

/* PKCS#8 says it in the name, the older form in a header (RFC 1421). */
static bool block_is_encrypted(const struct pem_block *b)
{
    return strcmp(b->name, PEM_STRING_PKCS8) == 0 || strstr(b->header, "ENCRYPTED") != NULL;
}

static X509 *block_certificate(const struct pem_block *b)
{
    const unsigned char *der = b->der;
    ERR_clear_error();
    if (strcmp(b->name, PEM_STRING_X509_TRUSTED) == 0)
        return d2i_X509_AUX(NULL, &der, b->length);
    return d2i_X509(NULL, &der, b->length);
}

/* ---- certificates of a file ---- */

static bool no_certificate(const struct pem_file *f, bool saw_key, struct error *err)
{
    if (saw_key)
        return error_set(err, "%s '%s': no certificate in it, only a private key", f->option,
                         f->path);
    if (f->bytes[0] == 0x30) /* an ASN.1 SEQUENCE */
        return error_set(err,
                         "%s '%s': no PEM certificate in it; it looks like DER: convert it with "
                         "'openssl x509 -inform DER'",
                         f->option, f->path);
    return error_set(err, "%s '%s': no PEM certificate in it", f->option, f->path);
}

static bool is_in(STACK_OF(X509) * list, const X509 *certificate)
{
    for (int i = 0; i < sk_X509_num(list); i++)
        if (X509_cmp(sk_X509_value(list, i), certificate) == 0)
            return true;
    return false;
}

/* Takes certificate over. */
static bool keep(STACK_OF(X509) * list, X509 *certificate, bool unique)
{
    if (unique && is_in(list, certificate)) {
        X509_free(certificate);
        return true;
    }
    if (sk_X509_push(list, certificate) > 0)
        return true;
    X509_free(certificate);
    return false;
}

/* Appends every certificate of the file; *found_r counts them, *saw_key_r: there is a key too. */
static bool certificates_read(struct pem_file *f, STACK_OF(X509) * list, bool unique, int *found_r,
                              bool *saw_key_r, struct error *err)
{
    struct pem_block b = {0};
    enum pem_step step;
    *found_r = 0;
    *saw_key_r = false;
    while ((step = block_next(f, &b)) == PEM_BLOCK) {
        X509 *certificate = NULL;
        bool wanted = block_is_certificate(&b);
        if (block_is_key(&b))
            *saw_key_r = true;
        if (wanted)
            certificate = block_certificate(&b);
        block_free(&b);
        if (!wanted)
            continue;
        ++*found_r;
        if (certificate == NULL)
            return error_set(err, "%s '%s': certificate %d in it is damaged: %s", f->option,
                             f->path, *found_r, tls_openssl_reason());
        if (!keep(list, certificate, unique))
            return error_set_errno(err, ENOMEM, "%s '%s'", f->option, f->path);
    }
    if (step == PEM_DAMAGED)
        return error_set(err, "%s '%s': damaged PEM after certificate %d: %s", f->option, f->path,
                         *found_r, tls_openssl_reason());
    return true;
}

bool tls_anchors_read_file(STACK_OF(X509) * anchors, const char *path, const char *option,
                           struct error *err)
{
    struct pem_file f;
    int found = 0;
    bool saw_key = false;
    bool done = file_open(&f, path, option, err) &&
                certificates_read(&f, anchors, true, &found, &saw_key, err);
    if (done && found == 0)
        done = no_certificate(&f, saw_key, err);
    file_close(&f);
    return done;
}

/* ---- a directory of certificates ---- */

static bool ends_with(const char *text, const char *tail)
{
    size_t a = strlen(text);
    size_t b = strlen(tail);
    return a > b && strcmp(text + a - b, tail) == 0;
}

/* "9d66eef0.0": what openssl-rehash(1) makes; ".r0" is a CRL. */
static bool is_hash_name(const char *name)
{
    static const char digits[] = "0123456789";
    if (strspn(name, "0123456789abcdef") != 8 || name[8] != '.')
        return false;
    return name[9] != '\0' && name[9 + strspn(name + 9, digits)] == '\0';
}

static int is_certificate_name(const struct dirent *entry)
{
    const char *name = entry->d_name;
    return name[0] != '.' && (ends_with(name, ".pem") || ends_with(name, ".crt") ||
                              ends_with(name, ".cer") || is_hash_name(name));
}

/* A file without a certificate is passed over: a key or a CRL may lie there too. */
static bool read_dir_file(STACK_OF(X509) * anchors, const char *path, const char *option,
                          int *total, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0) /* follows links: Kubernetes mounts secrets as such */
        return error_set_errno(err, errno, "%s '%s'", option, path);
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return true;
    struct pem_file f;
    int found = 0;
    bool saw_key = false;
    bool done = file_open(&f, path, option, err) &&
                certificates_read(&f, anchors, true, &found, &saw_key, err);
    file_close(&f);
    *total += found;
    return done;
}

static bool read_dir_entry(STACK_OF(X509) * anchors, const char *dir, const char *name,
                           const char *option, int *total, struct error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return error_set_errno(err, ENOMEM, "%s '%s'", option, dir);
    bool done = read_dir_file(anchors, path, option, total, err);
    free(path);
    return done;
}

bool tls_anchors_read_dir(STACK_OF(X509) * anchors, const char *path, const char *option,
                          struct error *err)
{
    struct dirent **entries = NULL;
    int total = 0;
    int count = scandir(path, &entries, is_certificate_name, alphasort);
    if (count < 0)
        return error_set_errno(err, errno, "%s '%s'", option, path);
    bool done = true;
    for (int i = 0; i < count; i++) {
        done = done && read_dir_entry(anchors, path, entries[i]->d_name, option, &total, err);
        free(entries[i]);
    }
    free(entries);
    if (done && total == 0)
        return error_set(err, "%s '%s': no certificate in any *.pem, *.crt or *.cer file there",
                         option, path);
    return done;
}

/* ---- our own certificate and key ---- */

/* There is nobody to ask: a prompt would stop a service at its start. */
static int refuse_passphrase(char *text, int size, int writing, void *data)
{
    (void)text;
    (void)size;
    (void)writing;
    (void)data;
    return -1;
}

static bool encrypted_key(const struct pem_file *f, struct error *err)
{
    return error_set(err,
                     "%s '%s': the private key is encrypted, which is not supported yet: give one "
                     "without passphrase ('openssl pkey -in FILE -out NEW')",
                     f->option, f->path);
}

static bool no_key(const struct pem_file *f, const struct tls_settings *settings, bool saw_other,
                   struct error *err)
{
    if (settings->key_file == NULL)
        return error_set(err, "%s '%s': no private key in it: give the key's file with %s",
                         f->option, f->path, settings->key_option);
    return error_set(err, "%s '%s': no PEM private key in it%s", f->option, f->path,
                     saw_other ? ", but something else" : "");
}

/* Finds the first key, so that an encrypted one is told by name and not by a failed decryption. */
static bool key_find(struct pem_file *f, const struct tls_settings *settings, struct error *err)
{
    struct pem_block b = {0};
    enum pem_step step;
    bool saw_other = false;
    bool found = false;
    bool encrypted = false;
    while (!found && (step = block_next(f, &b)) == PEM_BLOCK) {
        found = block_is_key(&b);
        encrypted = found && block_is_encrypted(&b);
        saw_other = true;
        block_free(&b);
    }
    if (encrypted)
        return encrypted_key(f, err);
    if (found)
        return true;
    if (step == PEM_DAMAGED)
        return error_set(err, "%s '%s': damaged PEM: %s", f->option, f->path, tls_openssl_reason());
    return no_key(f, settings, saw_other, err);
}

static EVP_PKEY *key_read(const struct tls_settings *settings, struct error *err)
{
    bool apart = settings->key_file != NULL;
    struct pem_file f;
    EVP_PKEY *key = NULL;
    if (file_open(&f, apart ? settings->key_file : settings->cert_file,
                  apart ? settings->key_option : settings->cert_option, err) &&
        key_find(&f, settings, err)) {
        ERR_clear_error();
        (void)BIO_reset(f.bio); /* a read-only memory BIO goes back to its start */
        key = PEM_read_bio_PrivateKey(f.bio, NULL, refuse_passphrase, NULL);
        if (key == NULL)
            (void)error_set(err, "%s '%s': the private key cannot be read: %s", f.option, f.path,
                            tls_openssl_reason());
    }
    file_close(&f);
    return key;
}

static bool chain_read(struct tls_identity *identity, const struct tls_settings *settings,
                       struct error *err)
{
    struct pem_file f;
    int found = 0;
    bool saw_key = false;
    identity->chain = sk_X509_new_null();
    if (identity->chain == NULL)
        return error_set_errno(err, ENOMEM, "%s", settings->cert_option);
    bool done = file_open(&f, settings->cert_file, settings->cert_option, err) &&
                certificates_read(&f, identity->chain, false, &found, &saw_key, err);
    if (done && found == 0)
        done = no_certificate(&f, saw_key, err);
    file_close(&f);
    if (done)
        identity->leaf = sk_X509_shift(identity->chain);
    return done;
}

static bool times_check(const struct tls_identity *identity, const struct tls_settings *settings,
                        struct error *err)
{
    char subject[256];
    char when[64];
    tls_name_text(subject, sizeof subject, X509_get_subject_name(identity->leaf));
    if (X509_cmp_current_time(X509_get0_notBefore(identity->leaf)) > 0) {
        tls_time_text(when, sizeof when, X509_get0_notBefore(identity->leaf));
        return error_set(err,
                         "%s '%s': the certificate '%s' is not valid before %s: wait, or check "
                         "this machine's clock",
                         settings->cert_option, settings->cert_file, subject, when);
    }
    if (X509_cmp_current_time(X509_get0_notAfter(identity->leaf)) <= 0) {
        tls_time_text(when, sizeof when, X509_get0_notAfter(identity->leaf));
        return error_set(err, "%s '%s': the certificate '%s' expired at %s: renew it",
                         settings->cert_option, settings->cert_file, subject, when);
    }
    return true;
}

static bool match_check(const struct tls_identity *identity, const struct tls_settings *settings,
                        struct error *err)
{
    const char *key_file = settings->key_file != NULL ? settings->key_file : settings->cert_file;
    const char *option = settings->key_file != NULL ? settings->key_option : settings->cert_option;
    bool fits = X509_check_private_key(identity->leaf, identity->key) == 1;
    ERR_clear_error();
    if (fits)
        return true;
    for (int i = 0; i < sk_X509_num(identity->chain); i++) {
        fits = X509_check_private_key(sk_X509_value(identity->chain, i), identity->key) == 1;
        ERR_clear_error();
        if (fits)
            return error_set(err,
                             "%s '%s': the key is that of certificate %d in the file: put that one "
                             "first, then its issuers",
                             settings->cert_option, settings->cert_file, i + 2);
    }
    char subject[256];
    tls_name_text(subject, sizeof subject, X509_get_subject_name(identity->leaf));
    return error_set(err, "%s '%s': the private key does not match the certificate '%s' of %s '%s'",
                     option, key_file, subject, settings->cert_option, settings->cert_file);
}

bool tls_identity_read(struct tls_identity *identity, const struct tls_settings *settings,
                       struct error *err)
{
    memset(identity, 0, sizeof *identity);
    if (!chain_read(identity, settings, err))
        return false;
    identity->key = key_read(settings, err);
    return identity->key != NULL && match_check(identity, settings, err) &&
           times_check(identity, settings, err);
}

void tls_identity_fini(struct tls_identity *identity)
{
    X509_free(identity->leaf);
    EVP_PKEY_free(identity->key);
    sk_X509_pop_free(identity->chain, X509_free);
    memset(identity, 0, sizeof *identity);
}
