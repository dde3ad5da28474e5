/* For tests with real sockets: listeners on free ports of loopback, and what is open. After
 * cmocka.h. */
#ifndef ESCLUSA_TESTS_LOOPBACK_H
#define ESCLUSA_TESTS_LOOPBACK_H

#include <esclusa/net.h>

#include <dirent.h>
#include <sys/socket.h>
#include <unistd.h>

static inline int count_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* A blocking listener; nobody accepts. */
static inline int listen_at(struct net_addr *at)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_true(net_addr_from_literal(at, "127.0.0.1", 0));
    assert_int_equal(bind(fd, &at->u.sa, at->length), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_true(sock_local(fd, at));
    return fd;
}

static inline int listen_anywhere(uint16_t *port)
{
    struct net_addr at;
    int fd = listen_at(&at);
    *port = ntohs(at.u.in.sin_port);
    return fd;
}

static inline uint16_t free_port(void)
{
    uint16_t port;
    close(listen_anywhere(&port));
    return port;
}

#endif
