/* Why our side ends a consumer's handshake. */
#include "refuse.h"

#include <stdio.h>
#include <stdlib.h>

void tls_refuse(const SSL *ssl, const char *remedy, const char *format, ...)
{
    struct tls_state *state = tls_state_of(ssl);
    struct tls_failure *f = state->failure == NULL ? calloc(1, sizeof *f) : NULL;
    if (f == NULL)
        return;
    struct tls_remedy_words words;
    va_list arguments;
    f->fault = TLS_FAULT_PROTOCOL;
    f->alert = -1;
    f->depth = -1;
    va_start(arguments, format);
    (void)vsnprintf(f->reason, sizeof f->reason, format, arguments);
    va_end(arguments);
    tls_remedy_words_init(&words, state->profile);
    tls_remedy_write(f->remedy, sizeof f->remedy, remedy, &words);
    state->failure = f;
}
