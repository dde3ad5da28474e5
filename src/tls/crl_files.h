/* crl_files: revocation lists from a file or a directory. Start and reload only: blocks. */
#ifndef ESCLUSA_TLS_CRL_FILES_H
#define ESCLUSA_TLS_CRL_FILES_H

#include "tls_internal.h"

/* Appends the CRLs of a file: any number in PEM, or one in DER. None in it: an error. Refused are
 * also the kinds that OpenSSL would misread or pass over: delta CRLs (RFC 5280 5.2.4), which do not
 * list what the full one does; indirect ones and those for some reasons only (5.2.5); those without
 * nextUpdate (5.1.2.5), which never expire. */
bool tls_crls_read_file(STACK_OF(X509_CRL) * list, const char *path, const char *option,
                        struct error *err) WARN_UNUSED;
/* The same with every *.pem, *.crl and *.der file of a directory, and the names that
 * openssl-rehash(1) makes. A *.pem or *.der file without a CRL is passed over: certificates may lie
 * there too; a directory without any CRL is an error. */
bool tls_crls_read_dir(STACK_OF(X509_CRL) * list, const char *path, const char *option,
                       struct error *err) WARN_UNUSED;

#endif
