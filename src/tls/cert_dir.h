/* cert_dir: a directory of certificates or revocation lists, read file by file. Start and reload
 * only: blocks. */
#ifndef ESCLUSA_TLS_CERT_DIR_H
#define ESCLUSA_TLS_CERT_DIR_H

#include <esclusa/error.h>

#include <dirent.h>
#include <sys/stat.h>

/* Calls take with the path of each regular file whose name is wanted, links followed (Kubernetes
 * mounts secrets as such), in the order of their names, until one call is false. */
bool cert_dir_read(const char *path, const char *option, int (*wanted)(const struct dirent *),
                   bool (*take)(void *context, const char *path, const struct stat *st,
                                struct error *err),
                   void *context, struct error *err) WARN_UNUSED;
bool cert_dir_ends_with(const char *text, const char *tail);
/* "9d66eef0.0": what openssl-rehash(1) makes. mark: "." for a certificate, ".r" for a CRL. */
bool cert_dir_is_hash_name(const char *name, const char *mark);

#endif
