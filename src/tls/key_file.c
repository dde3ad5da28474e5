/* Private keys in files. */
#include "key_file.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs12err.h>

/* ---- what may be wrong with a passphrase ---- */

/* what: "the private key". */
static bool wants_passphrase(const struct pem_file *f, const struct tls_passphrase *p,
                             const char *what, struct error *err)
{
    return error_set(err,
                     "%s '%s': %s is encrypted: say where its passphrase is with %s (file:PATH or "
                     "env:NAME)",
                     f->option, f->path, what, p->option);
}

/* Reads OpenSSL's queue: an algorithm that it does not have is no fault of the passphrase. */
static bool not_opened(const struct pem_file *f, const struct tls_passphrase *p, const char *what,
                       struct error *err)
{
    bool unsupported = false;
    const char *reason = NULL;
    unsigned long code;
    while ((code = ERR_get_error()) != 0) {
        unsupported = unsupported || (ERR_GET_LIB(code) == ERR_LIB_EVP &&
                                      ERR_GET_REASON(code) == ERR_R_UNSUPPORTED);
        reason = reason != NULL ? reason : ERR_reason_error_string(code);
    }
    if (unsupported)
        return error_set(err,
                         "%s '%s': %s is encrypted with an algorithm that OpenSSL 3 has in its "
                         "legacy provider only: have it made anew, with AES",
                         f->option, f->path, what);
    return error_set(err, "%s '%s': the passphrase of %s does not open %s: %s", f->option, f->path,
                     p->option, what, reason != NULL ? reason : "unknown error");
}

/* ---- PEM ---- */

static bool no_key(const struct pem_file *f, const char *missing, bool saw_other, struct error *err)
{
    if (missing != NULL)
        return error_set(err, "%s '%s': no private key in it: %s", f->option, f->path, missing);
    return error_set(err, "%s '%s': no PEM private key in it%s", f->option, f->path,
                     saw_other ? ", but something else" : "");
}

/* Finds the first key, so that an encrypted one is told by name and not by a failed decryption. */
static bool key_find(struct pem_file *f, const char *missing, bool *encrypted_r, struct error *err)
{
    struct pem_block b = {0};
    enum pem_step step = PEM_END;
    bool saw_other = false;
    bool found = false;
    *encrypted_r = false;
    while (!found && (step = pem_next(f, &b)) == PEM_BLOCK) {
        found = pem_is_key(&b);
        *encrypted_r = found && pem_is_encrypted(&b);
        saw_other = true;
        pem_block_free(&b);
    }
    if (found)
        return true;
    if (step == PEM_DAMAGED)
        return error_set(err, "%s '%s': damaged PEM: %s", f->option, f->path, tls_openssl_reason());
    return no_key(f, missing, saw_other, err);
}

EVP_PKEY *key_file_pem(struct pem_file *f, struct tls_passphrase *passphrase, const char *missing,
                       struct error *err)
{
    static const char what[] = "the private key";
    bool encrypted = false;
    if (!key_find(f, missing, &encrypted, err))
        return NULL;
    if (encrypted && !passphrase->given) {
        (void)wants_passphrase(f, passphrase, what, err);
        return NULL;
    }
    ERR_clear_error();
    (void)BIO_reset(f->bio); /* a read-only memory BIO goes back to its start */
    EVP_PKEY *key = PEM_read_bio_PrivateKey(f->bio, NULL, tls_passphrase_answer, passphrase);
    if (key == NULL && encrypted)
        (void)not_opened(f, passphrase, what, err);
    else if (key == NULL)
        (void)error_set(err, "%s '%s': the private key cannot be read: %s", f->option, f->path,
                        tls_openssl_reason());
    ERR_clear_error();
    return key;
}

/* ---- PKCS#12 ---- */

static PKCS12 *parse(const struct pem_file *f)
{
    const unsigned char *der = f->bytes;
    ERR_clear_error();
    PKCS12 *box = f->length > 0 && der[0] == 0x30 /* an ASN.1 SEQUENCE */
                      ? d2i_PKCS12(NULL, &der, (long)f->length)
                      : NULL;
    ERR_clear_error();
    return box;
}

bool key_file_is_pkcs12(const struct pem_file *f)
{
    PKCS12 *box = parse(f);
    PKCS12_free(box);
    return box != NULL;
}

bool key_file_pkcs12(const struct pem_file *f, struct tls_passphrase *passphrase, X509 **leaf_r,
                     EVP_PKEY **key_r, STACK_OF(X509) * *others_r, struct error *err)
{
    static const char what[] = "this PKCS#12 file";
    PKCS12 *box = parse(f);
    if (box == NULL)
        return error_set(err, "%s '%s': no PKCS#12 file, or no memory", f->option, f->path);
    const char *text = passphrase->given ? passphrase->text : NULL;
    bool done = PKCS12_parse(box, text, key_r, leaf_r, others_r) == 1;
    unsigned long code = ERR_peek_error();
    bool refused =
        ERR_GET_LIB(code) == ERR_LIB_PKCS12 && ERR_GET_REASON(code) == PKCS12_R_MAC_VERIFY_FAILURE;
    if (!done && refused && text != NULL) { /* without one, as the other keys may have one */
        done = PKCS12_parse(box, NULL, key_r, leaf_r, others_r) == 1;
        refused = !done;
    }
    if (!done && ERR_GET_REASON(code) == PKCS12_R_MAC_ABSENT)
        (void)error_set(err,
                        "%s '%s': this PKCS#12 file has no MAC, which OpenSSL does not take: have "
                        "it made anew",
                        f->option, f->path);
    else if (!done && refused && !passphrase->given)
        (void)wants_passphrase(f, passphrase, what, err);
    else if (!done)
        (void)not_opened(f, passphrase, what, err);
    PKCS12_free(box);
    ERR_clear_error();
    return done;
}
