/* Trust anchors from a file or a directory. */
#include "cert_dir.h"
#include "pem.h"

bool tls_anchors_read_file(STACK_OF(X509) * anchors, const char *path, const char *option,
                           struct error *err)
{
    struct pem_file f;
    int found = 0;
    bool saw_key = false;
    bool done = pem_open(&f, path, option, err) &&
                pem_certificates(&f, anchors, true, &found, &saw_key, err);
    if (done && found == 0)
        done = pem_no_certificate(&f, saw_key, err);
    pem_close(&f);
    return done;
}

/* ---- a directory of certificates ---- */

struct reading {
    STACK_OF(X509) * anchors;
    const char *option;
    int total;
};

static int is_certificate_name(const struct dirent *entry)
{
    const char *name = entry->d_name;
    return name[0] != '.' &&
           (cert_dir_ends_with(name, ".pem") || cert_dir_ends_with(name, ".crt") ||
            cert_dir_ends_with(name, ".cer") || cert_dir_is_hash_name(name, "."));
}

/* A file without a certificate is passed over: a key or a CRL may lie there too. */
static bool take(void *context, const char *path, const struct stat *st, struct error *err)
{
    struct reading *r = context;
    if (st->st_size == 0)
        return true;
    struct pem_file f;
    int found = 0;
    bool saw_key = false;
    bool done = pem_open(&f, path, r->option, err) &&
                pem_certificates(&f, r->anchors, true, &found, &saw_key, err);
    pem_close(&f);
    r->total += found;
    return done;
}

bool tls_anchors_read_dir(STACK_OF(X509) * anchors, const char *path, const char *option,
                          struct error *err)
{
    struct reading r = {.anchors = anchors, .option = option};
    return cert_dir_read(path, option, is_certificate_name, take, &r, err) &&
           (r.total > 0 ||
            error_set(err, "%s '%s': no certificate in any *.pem, *.crt or *.cer file there",
                      option, path));
}
