/* resume: sessions with upstreams that can be resumed (RFC 8446 2.2, RFC 5246 F.1.4).
 *
 * One store a worker, used on its thread alone, keyed by the peer's id. It belongs to a profile, so
 * that what verification depends on cannot change below it; at a reload what it holds goes to the
 * next profile only if that is equal in everything (tls_profile_inherit()).
 * A resumed session was not verified: it stands on the full verification of the session that it
 * goes back to, and never longer than resumption_age after that, nor longer than what that
 * verification stood on was valid. */
#ifndef ESCLUSA_TLS_RESUME_H
#define ESCLUSA_TLS_RESUME_H

#include "tls_internal.h"

struct tls_resume;

/* profile: its verification and identities are ready. NULL: no memory. */
struct tls_resume *tls_resume_create(const struct tls_profile *profile,
                                     const struct tls_settings *s);
void tls_resume_destroy(struct tls_resume **resume);
bool tls_resume_arm_context(SSL_CTX *ctx, const struct tls_profile *profile) WARN_UNUSED;
/* Offers a session to resume, if there is one that is young enough. The session's state gets the
 * times of the verification that this stands on; should the peer not resume it, the full handshake
 * sets its own. */
void tls_resume_offer(SSL *ssl);
/* The handshake is done. */
void tls_resume_established(SSL *ssl);
/* Seconds for which a session may be offered, by what the server said of it; seven days at most. */
int64_t tls_resume_life(const SSL_SESSION *session);
/* The same server name and names. */
bool tls_same_peer(const struct tls_peer *a, const struct tls_peer *b);

#endif
