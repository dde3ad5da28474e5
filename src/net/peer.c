/* Whose process is at the other end of a connection from this machine. */
#include <esclusa/net.h>

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_MAX   256
#define ANSWER_BYTES 8192

bool sock_peer_user(int fd, uid_t *uid_r, gid_t *gid_r)
{
    struct ucred who;
    socklen_t length = sizeof(who);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) != 0)
        return false;
    *uid_r = who.uid;
    *gid_r = who.gid;
    return true;
}

bool sock_peer_in_group(int fd, const gid_t *groups, size_t count)
{
    gid_t of_peer[GROUPS_MAX];
    socklen_t length = sizeof(of_peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, of_peer, &length) != 0)
        return false;
    for (size_t i = 0; i < length / sizeof(of_peer[0]); i++)
        for (size_t k = 0; k < count; k++)
            if (of_peer[i] == groups[k])
                return true;
    return false;
}

/* ---- sock_diag(7) ---- */

struct question {
    struct nlmsghdr header;
    struct inet_diag_req_v2 ask;
};

static bool put_end(const struct net_addr *a, __be32 address[4], __be16 *port)
{
    if (a->u.sa.sa_family == AF_INET) {
        memcpy(address, &a->u.in.sin_addr, sizeof(a->u.in.sin_addr));
        *port = a->u.in.sin_port;
        return true;
    }
    if (a->u.sa.sa_family != AF_INET6)
        return false;
    memcpy(address, &a->u.in6.sin6_addr, sizeof(a->u.in6.sin6_addr));
    *port = a->u.in6.sin6_port;
    return true;
}

/* The one socket with those ends, whatever its state. */
static bool put_question(struct question *q, const struct net_addr *from, const struct net_addr *to)
{
    memset(q, 0, sizeof(*q));
    q->header.nlmsg_len = sizeof(*q);
    q->header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    q->header.nlmsg_flags = NLM_F_REQUEST;
    q->ask.sdiag_family = (__u8)from->u.sa.sa_family;
    q->ask.sdiag_protocol = IPPROTO_TCP;
    q->ask.idiag_states = ~0U;
    q->ask.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
    q->ask.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    return put_end(from, q->ask.id.idiag_src, &q->ask.id.idiag_sport) &&
           put_end(to, q->ask.id.idiag_dst, &q->ask.id.idiag_dport);
}

/* The answer is a message of its own type, or the error that there is none. */
static bool read_answer(const void *answer, size_t size, uid_t *uid_r)
{
    struct nlmsghdr header;
    struct inet_diag_msg found;
    if (size < sizeof(header))
        return false;
    memcpy(&header, answer, sizeof(header));
    if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || size < NLMSG_HDRLEN + sizeof(found))
        return false;
    memcpy(&found, (const char *)answer + NLMSG_HDRLEN, sizeof(found));
    *uid_r = found.idiag_uid;
    return true;
}

bool sock_owner(const struct net_addr *of, const struct net_addr *to, uid_t *uid_r)
{
    struct question q;
    char answer[ANSWER_BYTES];
    if (!put_question(&q, of, to))
        return false;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return false;
    /* The kernel answers within send(2): what recv(2) finds is all there will be. */
    ssize_t got = -1;
    if (send(fd, &q, sizeof(q), 0) == (ssize_t)sizeof(q))
        got = recv(fd, answer, sizeof(answer), 0);
    sock_close(fd);
    return got > 0 && read_answer(answer, (size_t)got, uid_r);
}
