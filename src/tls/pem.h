/* pem: a file read whole, and the PEM blocks in it (RFC 7468). Start and reload only: blocks. */
#ifndef ESCLUSA_TLS_PEM_H
#define ESCLUSA_TLS_PEM_H

#include "tls_internal.h"

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

/* The file is read whole before any of it is parsed, so that a read error is never taken for the
 * end of the certificates. To be closed with pem_close(), also after false. */
bool pem_open(struct pem_file *f, const char *path, const char *option,
              struct error *err) WARN_UNUSED;
void pem_close(struct pem_file *f);
/* PEM_DAMAGED: OpenSSL's queue says why. */
enum pem_step pem_next(struct pem_file *f, struct pem_block *b);
void pem_block_free(struct pem_block *b);
bool pem_is_certificate(const struct pem_block *b);
bool pem_is_key(const struct pem_block *b);
bool pem_is_encrypted(const struct pem_block *b);
/* Appends every certificate of the file; *found_r counts them, *saw_key_r: there is a key too. */
bool pem_certificates(struct pem_file *f, STACK_OF(X509) * list, bool unique, int *found_r,
                      bool *saw_key_r, struct error *err) WARN_UNUSED;
/* Sets the error for a file without a certificate; false. */
bool pem_no_certificate(const struct pem_file *f, bool saw_key, struct error *err);

#endif
