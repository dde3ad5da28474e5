/* consumer: who may connect to a service: allow_from, deny_from, allow_uid, allow_gid. Private to
 * core; any thread. */
#ifndef ESCLUSA_CORE_CONSUMER_H
#define ESCLUSA_CORE_CONSUMER_H

#include <esclusa/config.h>
#include <esclusa/net.h>

/* Why one may not. */
struct denial {
    char error[128];
    const char *remedy;
};

/* By its address and the service's networks; a unix consumer has none. */
bool consumer_is_elsewhere(const struct service *service, const struct net_addr *of,
                           struct denial *why);
/* Of an accepted connection, by its descriptor and where it came from. Does not block: for a
 * service with allow_uid it asks the kernel who owns the other end. With accept_proxy it is the
 * proxy that is looked at: of the consumer itself consumer_is_elsewhere() tells, once it is known.
 */
bool consumer_is_denied(const struct service *service, int fd, const struct net_addr *from,
                        struct denial *why);

#endif
