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

/* Of an accepted connection, by its descriptor and where it came from. Does not block: for a
 * service with allow_uid it asks the kernel who owns the other end. */
bool consumer_is_denied(const struct service *service, int fd, const struct net_addr *from,
                        struct denial *why);

#endif
