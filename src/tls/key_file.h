/* key_file: private keys in PEM, encrypted or not, and PKCS#12 (RFC 7292). Start and reload only:
 * blocks. */
#ifndef ESCLUSA_TLS_KEY_FILE_H
#define ESCLUSA_TLS_KEY_FILE_H

#include "passphrase.h"
#include "pem.h"

/* The first private key of a PEM file. missing: what to do if there is none; may be NULL. */
EVP_PKEY *key_file_pem(struct pem_file *f, struct tls_passphrase *passphrase, const char *missing,
                       struct error *err) WARN_UNUSED;

/* By content: a DER file that is one. */
bool key_file_is_pkcs12(const struct pem_file *f);
/* What the file holds: any of *leaf_r and *key_r may stay NULL, and *others_r empty or NULL. They
 * are the caller's, also after false. */
bool key_file_pkcs12(const struct pem_file *f, struct tls_passphrase *passphrase, X509 **leaf_r,
                     EVP_PKEY **key_r, STACK_OF(X509) * *others_r, struct error *err) WARN_UNUSED;

#endif
