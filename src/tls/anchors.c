/* Trust anchors from a file or a directory. */
#include "pem.h"

#include <esclusa/str.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
    bool done = pem_open(&f, path, option, err) &&
                pem_certificates(&f, anchors, true, &found, &saw_key, err);
    pem_close(&f);
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
