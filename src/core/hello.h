/* hello: what an upstream is told first, with send_proxy: a PROXY header that names the consumer.
 * Private to core; a worker's thread. */
#ifndef ESCLUSA_CORE_HELLO_H
#define ESCLUSA_CORE_HELLO_H

#include <esclusa/buf.h>
#include <esclusa/config.h>
#include <esclusa/proxy_header.h>
#include <esclusa/transport.h>

struct session;

#define HELLO_ID_MAX (2 * PROXY_UNIQUE_ID_MAX + 1)

/* The session's header, as its service wants it. False: no memory. */
bool hello_make(struct buf *hello, const struct session *s) WARN_UNUSED;
/* The ID that it bears: the one that the consumer's proxy gave, escaped, or one of ours. */
void hello_id(const struct session *s, char dst[HELLO_ID_MAX]);

/* Says it over a connection on which nothing was sent yet, so that there is room for all of it; an
 * empty hello, of a connection that is for no consumer, as LOCAL (version 1: UNKNOWN). Nothing
 * without send_proxy. 0, or the errno. */
int hello_send(int fd, const struct service_config *c, const struct buf *hello);
/* The same over what a proxy has opened. */
bool hello_write(struct transport *t, const struct service_config *c, const struct buf *hello);

#endif
