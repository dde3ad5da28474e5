/* passphrase: of our private keys, from where the user says it is; never from a terminal, never in
 * a text. Start and reload only: reading its file blocks. */
#ifndef ESCLUSA_TLS_PASSPHRASE_H
#define ESCLUSA_TLS_PASSPHRASE_H

#include "tls_internal.h"

/* OpenSSL hands its callbacks a buffer of this size (PEM_BUFSIZE), the terminator included. */
#define TLS_PASSPHRASE_SIZE 1024

struct tls_passphrase {
    const char *option; /* "--key-passphrase" */
    bool given;
    bool asked; /* OpenSSL wanted one since this was last set to false */
    size_t length;
    char text[TLS_PASSPHRASE_SIZE]; /* terminated */
};

/* source: "file:PATH" (its first line), "env:NAME", or NULL: none is given. To be cleared with
 * tls_passphrase_clear(), also after false. */
bool tls_passphrase_read(struct tls_passphrase *p, const char *source, const char *option,
                         struct error *err) WARN_UNUSED;
void tls_passphrase_clear(struct tls_passphrase *p);

/* A pem_password_cb; data: struct tls_passphrase. There is nobody to ask: a prompt would stop a
 * service at its start. */
int tls_passphrase_answer(char *text, int size, int writing, void *data);

#endif
