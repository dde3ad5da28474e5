/* tickets: the keys that seal a listener's session tickets (RFC 5077, RFC 8446 4.6.1): made here
 * and rotated, or read from a file that several gateways share.
 *
 * Keys made here belong to what is listened with, not to one profile: profiles of the same session
 * context and rotation share them, so that consumers can resume after a reload that changed
 * neither. They go with the last such profile. A key seals for one rotation and opens for one more.
 *
 * A file holds 80 bytes a key, as nginx's ssl_session_ticket_key and OpenSSL have them: 16 of name,
 * 32 for HMAC-SHA256, 32 for AES-256-CBC. The first seals, all open. It rotates when the file does:
 * put a new key first, and leave the old ones until their tickets have died.
 *
 * The session context is a digest of the profile's fingerprint, the names that its certificates
 * bear and what it may negotiate: whatever keys two listeners share, a ticket of one is taken by
 * the other only if a full handshake there would have had the same outcome. A session is resumed no
 * later than two rotations (7 days at most, RFC 8446 4.6.1) after its full handshake, and not after
 * the end of the consumer's certificate, or of any other that its verification stands on. */
#ifndef ESCLUSA_TLS_TICKETS_H
#define ESCLUSA_TLS_TICKETS_H

#include "tls_internal.h"

#define TICKET_NAME_SIZE 16
#define TICKET_KEY_SIZE  32 /* each of the two */

struct tls_tickets;

struct tls_ticket_key {
    unsigned char name[TICKET_NAME_SIZE];
    unsigned char hmac[TICKET_KEY_SIZE];
    unsigned char aes[TICKET_KEY_SIZE];
};

/* Needs the profile's fingerprint and identities. Blocks: reads the file. */
struct tls_tickets *tls_tickets_create(const struct tls_profile *profile,
                                       const struct tls_settings *s, struct error *err) WARN_UNUSED;
void tls_tickets_destroy(struct tls_tickets **tickets);
/* Session tickets of a context, or none of them, and its session context. */
bool tls_tickets_arm(SSL_CTX *ctx, const struct tls_profile *profile,
                     struct error *err) WARN_UNUSED;
/* TLS_FINGERPRINT_SIZE bytes: the session context. */
const unsigned char *tls_tickets_context(const struct tls_tickets *tickets);

/* Any thread; now_ms is clock_ms(). The caller clears *key_r. */

/* The key to seal with; false: OpenSSL has no random bytes. */
bool tls_tickets_seal(struct tls_tickets *tickets, int64_t now_ms,
                      struct tls_ticket_key *key_r) WARN_UNUSED;
enum tls_ticket_age { TLS_TICKET_UNKNOWN, TLS_TICKET_CURRENT, TLS_TICKET_OLD };
/* The key of that name; TLS_TICKET_OLD: it no longer seals. */
enum tls_ticket_age tls_tickets_open(struct tls_tickets *tickets, const unsigned char *name,
                                     int64_t now_ms, struct tls_ticket_key *key_r);

#endif
