/* pins: SHA-256 of a subjectPublicKeyInfo, "sha256//BASE64" (RFC 7469 2.4, curl's spelling). */
#ifndef ESCLUSA_TLS_PINS_H
#define ESCLUSA_TLS_PINS_H

#include "tls_internal.h"

struct tls_pins;

/* NULL: err says which pin and why. */
struct tls_pins *tls_pins_create(const struct tls_texts *texts, const char *option,
                                 struct error *err) WARN_UNUSED;
void tls_pins_destroy(struct tls_pins **pins);
bool tls_pins_have(const struct tls_pins *pins, const X509 *certificate);
/* Into the fingerprint of a profile, whatever their order. */
void tls_pins_digest(const struct tls_pins *pins, EVP_MD_CTX *digest);
#define TLS_PIN_TEXT_SIZE 64
/* "sha256//..." of a certificate; "?" where it has no key that can be written. */
void tls_pin_text(char *dst, size_t size, const X509 *certificate);

#endif
