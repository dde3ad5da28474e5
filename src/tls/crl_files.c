/* Revocation lists from a file or a directory. RFC 5280 5. */
#include "crl_files.h"
#include "cert_dir.h"
#include "pem.h"

#include <esclusa/str.h>

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* Every one is in memory, and looked at for each certificate of a chain. */
#define CRLS_MAX 4096

#define ASN1_SEQUENCE 0x30 /* the first octet of whatever is DER here */

/* ---- one list ---- */

/* What to say of it; NULL: it can be used. */
static const char *unfit(const X509_CRL *crl)
{
    /* OpenSSL takes a delta for a full list unless it is told to handle them: what only the full
     * one lists would pass. */
    if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0)
        return "is a delta CRL, which is not supported: give the full one";
    if (X509_CRL_get0_nextUpdate(crl) == NULL)
        return "has no nextUpdate, so that it would never expire: have its CA set one (RFC 5280 "
               "5.1.2.5)";
    int critical = -1;
    ISSUING_DIST_POINT *scope =
        X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, &critical, NULL);
    if (scope == NULL)
        return critical == -1 ? NULL : "has an issuing distribution point that cannot be read";
    bool whole = scope->indirectCRL <= 0 && scope->onlysomereasons == NULL;
    ISSUING_DIST_POINT_free(scope);
    return whole ? NULL
                 : "is an indirect CRL or one for some reasons only, which is not supported: give "
                   "the CA's own full one";
}

/* Takes crl over; NULL: it could not be read. which: its place in the file. */
static bool keep(STACK_OF(X509_CRL) * list, X509_CRL *crl, const struct pem_file *f, int which,
                 struct error *err)
{
    if (crl == NULL)
        return error_set(err, "%s '%s': CRL %d in it is damaged: %s", f->option, f->path, which,
                         tls_openssl_reason());
    const char *fault = unfit(crl);
    if (fault != NULL)
        (void)error_set(err, "%s '%s': CRL %d in it %s", f->option, f->path, which, fault);
    else if (sk_X509_CRL_num(list) >= CRLS_MAX)
        (void)error_set(err, "%s '%s': more than %d CRLs", f->option, f->path, CRLS_MAX);
    else if (sk_X509_CRL_push(list, crl) > 0)
        return true;
    else
        (void)error_set_errno(err, ENOMEM, "%s '%s'", f->option, f->path);
    X509_CRL_free(crl);
    return false;
}

/* ---- one file ---- */

static bool read_pem(struct pem_file *f, STACK_OF(X509_CRL) * list, int *found_r, struct error *err)
{
    struct pem_block b = {0};
    enum pem_step step;
    while ((step = pem_next(f, &b)) == PEM_BLOCK) {
        const unsigned char *der = b.der;
        bool wanted = strcmp(b.name, PEM_STRING_X509_CRL) == 0;
        X509_CRL *crl = wanted ? d2i_X509_CRL(NULL, &der, b.length) : NULL;
        pem_block_free(&b);
        if (wanted && !keep(list, crl, f, ++*found_r, err))
            return false;
    }
    return step == PEM_END || error_set(err, "%s '%s': damaged PEM after CRL %d: %s", f->option,
                                        f->path, *found_r, tls_openssl_reason());
}

static bool is_der_certificate(const struct pem_file *f)
{
    const unsigned char *der = f->bytes;
    X509 *certificate = d2i_X509(NULL, &der, (long)f->length);
    X509_free(certificate);
    ERR_clear_error();
    return certificate != NULL;
}

static bool read_der(struct pem_file *f, STACK_OF(X509_CRL) * list, int *found_r, struct error *err)
{
    const unsigned char *der = f->bytes;
    if (is_der_certificate(f))
        return true;
    ERR_clear_error();
    X509_CRL *crl = d2i_X509_CRL(NULL, &der, (long)f->length);
    size_t rest = crl != NULL ? f->length - (size_t)(der - f->bytes) : 0;
    ++*found_r;
    return keep(list, crl, f, 1, err) &&
           (rest == 0 || error_set(err, "%s '%s': %zu bytes behind the CRL: the file is damaged",
                                   f->option, f->path, rest));
}

/* *found_r: how many CRLs are in it. */
static bool read_any(STACK_OF(X509_CRL) * list, const char *path, const char *option, int *found_r,
                     struct error *err)
{
    struct pem_file f;
    *found_r = 0;
    bool done = pem_open(&f, path, option, err) && read_pem(&f, list, found_r, err);
    if (done && *found_r == 0 && f.bytes[0] == ASN1_SEQUENCE)
        done = read_der(&f, list, found_r, err);
    pem_close(&f);
    return done;
}

bool tls_crls_read_file(STACK_OF(X509_CRL) * list, const char *path, const char *option,
                        struct error *err)
{
    int found = 0;
    return read_any(list, path, option, &found, err) &&
           (found > 0 ||
            error_set(err, "%s '%s': no CRL in it, neither PEM nor DER", option, path));
}

/* ---- a directory ---- */

struct reading {
    STACK_OF(X509_CRL) * list;
    const char *option;
    int total;
};

static int is_crl_name(const struct dirent *entry)
{
    const char *name = entry->d_name;
    return name[0] != '.' &&
           (cert_dir_ends_with(name, ".pem") || cert_dir_ends_with(name, ".crl") ||
            cert_dir_ends_with(name, ".der") || cert_dir_is_hash_name(name, ".r"));
}

static bool take(void *context, const char *path, const struct stat *st, struct error *err)
{
    struct reading *r = context;
    int found = 0;
    (void)st;
    if (!read_any(r->list, path, r->option, &found, err))
        return false;
    r->total += found;
    /* By its name it should have one: half written, probably. Passed over, it would be missed by
     * all sessions alike. */
    return found > 0 || cert_dir_ends_with(path, ".pem") || cert_dir_ends_with(path, ".der") ||
           error_set(err, "%s '%s': no CRL in it, neither PEM nor DER", r->option, path);
}

bool tls_crls_read_dir(STACK_OF(X509_CRL) * list, const char *path, const char *option,
                       struct error *err)
{
    struct reading r = {.list = list, .option = option};
    return cert_dir_read(path, option, is_crl_name, take, &r, err) &&
           (r.total > 0 || error_set(err, "%s '%s': no CRL in any *.pem, *.crl or *.der file there",
                                     option, path));
}
