/* Files, and the PEM blocks in them, with errors that name the option, the file and what is wrong
 * with it. RFC 7468. */
#include "pem.h"

#include <esclusa/file.h>
#include <esclusa/str.h>

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The largest CA bundle of the world is a few MiB. Reading is bounded so that what was given by
 * mistake cannot fill the memory. */
#define FILE_SIZE_MAX ((size_t)16 * 1024 * 1024)

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

void pem_close(struct pem_file *f)
{
    BIO_free(f->bio);
    OPENSSL_clear_free(f->bytes, f->size);
    memset(f, 0, sizeof *f);
}

/* The file is read whole before any of it is parsed, so that a read error is never taken for the
 * end of the certificates. To be closed with pem_close(), also after false. */
bool pem_open(struct pem_file *f, const char *path, const char *option, struct error *err)
{
    memset(f, 0, sizeof *f);
    f->option = option;
    f->path = path;
    const char *why = NULL;
    int fd = file_open_regular(path, &why);
    if (fd < 0)
        return error_set(err, "%s '%s': %s", option, path, why);
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

enum pem_step pem_next(struct pem_file *f, struct pem_block *b)
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

void pem_block_free(struct pem_block *b)
{
    OPENSSL_free(b->name);
    OPENSSL_free(b->header);
    OPENSSL_clear_free(b->der, b->length > 0 ? (size_t)b->length : 0);
    memset(b, 0, sizeof *b);
}

bool pem_is_certificate(const struct pem_block *b)
{
    return strcmp(b->name, PEM_STRING_X509) == 0 || strcmp(b->name, PEM_STRING_X509_OLD) == 0 ||
           strcmp(b->name, PEM_STRING_X509_TRUSTED) == 0;
}

bool pem_is_key(const struct pem_block *b)
{
    static const char tail[] = "PRIVATE KEY"; /* also "RSA PRIVATE KEY", "ENCRYPTED ..." */
    size_t length = strlen(b->name);
    return length >= sizeof tail - 1 && strcmp(b->name + length - (sizeof tail - 1), tail) == 0;
}

/* PKCS#8 says it in the name, the older form in a header (RFC 1421). */
bool pem_is_encrypted(const struct pem_block *b)
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

bool pem_no_certificate(const struct pem_file *f, bool saw_key, struct error *err)
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
bool pem_certificates(struct pem_file *f, STACK_OF(X509) * list, bool unique, int *found_r,
                      bool *saw_key_r, struct error *err)
{
    struct pem_block b = {0};
    enum pem_step step;
    *found_r = 0;
    *saw_key_r = false;
    while ((step = pem_next(f, &b)) == PEM_BLOCK) {
        X509 *certificate = NULL;
        bool wanted = pem_is_certificate(&b);
        if (pem_is_key(&b))
            *saw_key_r = true;
        if (wanted)
            certificate = block_certificate(&b);
        pem_block_free(&b);
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
