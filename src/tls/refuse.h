/* refuse: why our side ends a consumer's handshake, where OpenSSL only knows that a callback said
 * no. */
#ifndef ESCLUSA_TLS_REFUSE_H
#define ESCLUSA_TLS_REFUSE_H

#include "tls_internal.h"

/* What tls_failure_collect() will tell; the first cause stays. remedy: as tls_remedy_write(). */
void tls_refuse(const SSL *ssl, const char *remedy, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
