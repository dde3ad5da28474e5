/* store_uri: certificates and keys behind a URI that OpenSSL's store opens: "file:", and whatever
 * the active providers add ("pkcs11:", RFC 7512). Start and reload only: blocks. */
#ifndef ESCLUSA_TLS_STORE_URI_H
#define ESCLUSA_TLS_STORE_URI_H

#include "passphrase.h"

#define STORE_KEYS_MAX 16

struct store_keys {
    EVP_PKEY *items[STORE_KEYS_MAX];
    size_t count;
};

/* A scheme (RFC 3986 3.1) of two letters or more, and no file of that name. */
bool store_is_uri(const char *text);
/* Both want at least one, and take no more than a bounded number. Nothing is ever asked on a
 * terminal: what is asked for is the passphrase. */
bool store_certificates(const char *uri, const char *option, struct tls_passphrase *passphrase,
                        STACK_OF(X509) * list, struct error *err) WARN_UNUSED;
bool store_keys_read(struct store_keys *keys, const char *uri, const char *option,
                     struct tls_passphrase *passphrase, struct error *err) WARN_UNUSED;
void store_keys_free(struct store_keys *keys);

#endif
