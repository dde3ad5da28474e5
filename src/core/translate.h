/* translate: what a consumer that speaks its protocol without TLS says and hears differently from
 * the server with STARTTLS, at the beginning of a session: PostgreSQL's questions for encryption,
 * MySQL's sequence numbers. Nothing for the other protocols. Private to core; on the worker's
 * thread. */
#ifndef ESCLUSA_CORE_TRANSLATE_H
#define ESCLUSA_CORE_TRANSLATE_H

#include <esclusa/dialogue.h>
#include <esclusa/relay.h>

struct translate;

/* Puts its filters into a relay that has not run yet, if the protocol (0: none) has any. held: what
 * the consumer said before, for the upstream first; it is taken over; may be NULL. False: no
 * memory. *t_r must live as long as the relay. */
bool translate_begin(struct translate **t_r, enum dialogue_protocol protocol, struct relay *relay,
                     struct buf *held) WARN_UNUSED;
void translate_end(struct translate **t); /* NULLs *t; nothing for NULL */

#endif
